"""Who acts as a connector: unmodified instances that do not any more are refused at every door, and nobody else is."""

from __future__ import annotations

import pika.exceptions
import pytest
from harness import GraphQLError, Platform, api, stix, wait_until
from harness.amqp import Publisher, message
from harness.platform import Account

from . import managed, xtm

LISTING = "query GetConnectors { connectorsForManagers { id manager_contract_configuration { key value encrypted } } }"
FENCED = """query Fenced($id: String!, $of: ID!) { connectorFenced(id: $of) { address token agent what calls }
    connector(id: $id) { name connector_state fenced_calls lease { epoch bound holder } } }"""
WORDS = "Stop it and remove it"


def own_token(platform: Platform, composer: Account, key, connector_id: str) -> str:
    """The token that a managed connector is started with, as its composer finds it."""
    listed = platform.graphql(LISTING, token=composer.token)["connectorsForManagers"]
    [entries] = [each["manager_contract_configuration"] for each in listed if each["id"] == connector_id]
    [sealed] = [entry["value"] for entry in entries if entry["key"] == "OPENCTI_TOKEN"]
    return xtm.open_secret(key, sealed)


def test_an_instance_that_lives_on_is_refused_at_every_door(bare, run_connector, bundle_files, prefix, key):
    composer = bare.add_composer_account(f"composer {prefix}")
    bare.graphql(managed.REGISTER, {"input": {"id": f"composer-{prefix}", "name": "Here", "public_key": xtm.public_pem(key)}}, token=composer.token)
    shared = bare.add_connector_account(f"shared {prefix}")
    settings = {"TEST_BUNDLES": bundle_files(stix.mixed_feed(70, 12, prefix)), "CONNECTOR_DURATION_PERIOD": "PT1S"}
    zombie = run_connector("import_with_state", on=bare, account=shared, env=settings)
    bystander = run_connector("import_with_state", on=bare, account=shared, env=settings)
    zombie.wait_event("run")
    config = zombie.seen("registered")[0]["config"]
    # somebody makes another connector of its id, and nobody stops the process
    managed.delete(bare, zombie.id)
    generic = {"title": "Taken over", "type": "EXTERNAL_IMPORT", "launch": {"command": ["true"]}}
    managed.deploy(bare, f"Taken over {prefix}", id=zombie.id, generic=generic, composer=f"composer-{prefix}", start=False)
    token = own_token(bare, composer, key, zombie.id)

    def knocks() -> dict[str, int]:
        return {each["what"]: each["calls"] for each in bare.graphql(FENCED, {"id": zombie.id, "of": zombie.id})["connectorFenced"]}

    wait_until(knocks, "the process that lives on is counted", 60)
    for refused in (
        lambda: api.register(bare, shared.token, zombie.id),
        lambda: api.ping(bare, shared.token, zombie.id, '{"runs": 900}'),
        lambda: api.work_add(bare, shared.token, zombie.id),
        lambda: bare.graphql(managed.DELETE, {"id": zombie.id}, token=shared.token),
    ):
        with pytest.raises(GraphQLError, match=WORDS):
            refused()
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        Publisher(bare, config)
    # started again by hand, it ends with the reason
    again = run_connector("import_with_state", on=bare, account=shared, env=settings, connector_id=zombie.id)
    assert again.wait() != 0
    assert WORDS in again.log()
    shown = bare.graphql(FENCED, {"id": zombie.id, "of": zombie.id})
    assert shown["connector"]["lease"] == {"epoch": 1, "bound": True, "holder": "the composer `Here`"}
    assert shown["connector"]["connector_state"] is None
    assert shown["connector"]["fenced_calls"] >= 5
    assert all(shared.token not in (each["token"] or "") for each in shown["connectorFenced"])
    # the same token goes on as the other connector
    seen = len(bystander.seen("run"))
    work = bystander.wait_event("run", seen + 2)["work_id"]
    assert api.completed(bare, work)["errors"] == []
    # and the new instance does everything with its own
    successor = api.register(bare, token, zombie.id)
    publisher = Publisher(bare, successor["config"])
    work = api.work_add(bare, token, zombie.id)
    api.work_edit(bare, token, work, "addExpectations(expectations: 1)")
    publisher.publish(message(stix.bundle([stix.domain("malware", f"{prefix} successor", is_family=False)]), work_id=work))
    publisher.close()
    assert api.processed(bare, work, 1)["errors"] == []
    api.ping(bare, token, zombie.id, '{"runs": 1}')
    assert api.connector(bare, zombie.id)["connector_state"] == '{"runs": 1}'
