"""Who may know and who may change: the numbered cases of the security model, attacks, and the flow of the connector's user."""
