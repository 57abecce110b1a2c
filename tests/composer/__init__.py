"""Managed connectors, end to end: upstream's composer as a client, processes, a Docker engine, declared files, the command line, agents."""
