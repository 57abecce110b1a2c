"""The built-in broker as connectors see it: pika, confirms, credentials, dead letters."""

from __future__ import annotations

import json

import pika.exceptions
import pytest
from harness import api, stix, wait_until
from harness.amqp import Publisher, message


@pytest.fixture
def registered(platform, account):
    """(connector id, configuration) of a fresh connector."""
    connector_id = api.new_id()
    return connector_id, api.register(platform, account.token, connector_id)["config"]


def test_a_confirmed_message_is_ingested(platform, account, registered, prefix):
    connector_id, config = registered
    work_id = api.work_add(platform, account.token, connector_id)
    api.work_edit(platform, account.token, work_id, "addExpectations(expectations: 1)")
    malware = stix.domain("malware", f"{prefix} malware", is_family=True)
    with Publisher(platform, config) as publisher:
        publisher.publish(message(stix.bundle([malware]), work_id=work_id))
    assert api.completed(platform, work_id)["errors"] == []
    assert api.stix(platform, malware["id"])["name"] == f"{prefix} malware"


def test_a_message_of_several_objects_is_split_and_counted_by_the_platform(platform, account, registered, prefix):
    """As upstream's worker does it: the expectations are the platform's to add."""
    connector_id, config = registered
    work_id = api.work_add(platform, account.token, connector_id)
    bundle = stix.mixed_feed(1, 24, prefix)
    with Publisher(platform, config) as publisher:
        publisher.publish(message(bundle, work_id=work_id))
    work = api.processed(platform, work_id, len(bundle["objects"]))
    assert work["tracking"]["import_expected_number"] == work["tracking"]["import_processed_number"] == len(bundle["objects"])
    assert work["errors"] == []


def test_wrong_broker_credentials_are_refused(platform, registered):
    _, config = registered
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        Publisher(platform, config, **{"pass": "wrong"})


def test_a_connector_cannot_publish_into_the_queue_of_another(platform, account, registered, prefix):
    victim, victim_config = registered
    stranger = platform.add_connector_account(f"stranger {prefix}")
    config = api.register(platform, stranger.token, api.new_id())["config"]
    assert config["connection"]["user"] != victim_config["connection"]["user"]
    malware = stix.domain("malware", f"{prefix} smuggled", is_family=True)
    with Publisher(platform, config) as publisher, pytest.raises((pika.exceptions.NackError, pika.exceptions.ChannelClosedByBroker)) as refused:
        publisher.publish(message(stix.bundle([malware])), routing_key=victim_config["push_routing"])
    if isinstance(refused.value, pika.exceptions.ChannelClosedByBroker):
        assert refused.value.reply_code == 403
    assert api.connector(platform, victim)["connector_queue_details"]["messages_number"] == 0
    assert not api.exists(platform, malware["id"])


def test_a_message_cannot_act_as_another_user(platform, account, registered, prefix):
    """`applicant_id` is honoured only for who may impersonate: the author of the history stays the connector's user."""
    connector_id, config = registered
    admin = platform.graphql("query { me { id } }")["me"]["id"]
    me = platform.graphql("query { me { id } }", token=account.token)["me"]["id"]
    malware = stix.domain("malware", f"{prefix} by whom", is_family=True, confidence=100)
    with Publisher(platform, config) as publisher:
        publisher.publish(message(stix.bundle([malware]), applicant_id=admin))
    api.queue_empty(platform, connector_id)
    if api.exists(platform, malware["id"]):  # refusing the message is as good
        query = "query One($id: String!) { malware(id: $id) { confidence creators { id } } }"
        found = platform.graphql(query, {"id": malware["id"]})["malware"]
        assert [entry["id"] for entry in found["creators"]] == [me]
        assert found["confidence"] == 50, "the connector's own maximum confidence applies"


def test_an_unknown_routing_key_is_refused_not_dropped(platform, registered):
    _, config = registered
    with Publisher(platform, config) as publisher, pytest.raises((pika.exceptions.NackError, pika.exceptions.ChannelClosedByBroker)):
        publisher.publish(message(stix.bundle([])), routing_key=f"push_routing_{api.new_id()}")


def test_credentials_survive_a_restart_of_the_platform(make_platform, prefix):
    platform = make_platform().start()
    account = platform.add_connector_account("publisher")
    connector_id = api.new_id()
    config = api.register(platform, account.token, connector_id)["config"]
    platform.restart()
    malware = stix.domain("malware", f"{prefix} later", is_family=True)
    with Publisher(platform, config) as publisher:
        publisher.publish(message(stix.bundle([malware])))
    wait_until(lambda: api.exists(platform, malware["id"]), "the object is stored")


def test_objects_that_arrive_before_what_they_refer_to_are_linked_later(platform, account, registered, prefix):
    connector_id, config = registered
    malware = stix.domain("malware", f"{prefix} malware", is_family=True)
    actor = stix.domain("intrusion-set", f"{prefix} set")
    uses = stix.relationship("uses", actor, malware)
    with Publisher(platform, config) as publisher:
        publisher.publish(message(stix.bundle([uses])))
        publisher.publish(message(stix.bundle([actor])))
        api.queue_empty(platform, connector_id)
        assert not api.exists(platform, uses["id"])
        awaited = platform.graphql("query { parkedReferences(first: 5000) { awaited source reference } }")["parkedReferences"]
        assert malware["id"] in [entry["awaited"] for entry in awaited]
        publisher.publish(message(stix.bundle([malware])))
    wait_until(lambda: api.exists(platform, uses["id"]), "the relationship is linked")
    awaited = platform.graphql("query { parkedReferences(first: 5000) { awaited } }")["parkedReferences"]
    assert malware["id"] not in [entry["awaited"] for entry in awaited]


def test_a_message_that_cannot_be_read_is_kept_as_a_dead_letter_and_can_be_replayed(platform, account, registered, prefix):
    connector_id, config = registered
    malware = stix.domain("malware", f"{prefix} after", is_family=True)
    with Publisher(platform, config) as publisher:
        publisher.publish(message({}, content="*** not base64 ***"))
        publisher.publish(message(stix.bundle([malware])))
    wait_until(lambda: api.exists(platform, malware["id"]), "the message behind the broken one is ingested")
    letters = wait_until(lambda: api.dead_letters(platform, connector_id), "the broken message is listed")
    assert len(letters) == 1
    assert "base64" in letters[0]["reason"]
    assert "not base64" in letters[0]["excerpt"]
    listed = platform.cli("queue", "dead-letters", "--json")
    assert letters[0]["id"] in listed.stdout
    done = platform.cli("queue", "replay", letters[0]["id"])
    assert done.returncode == 0, done.stderr
    again = wait_until(lambda: [entry for entry in api.dead_letters(platform, connector_id) if entry["id"] != letters[0]["id"]],
                       "the replayed message is dead again, as it is still broken")  # fmt: skip
    assert len(api.dead_letters(platform, connector_id)) == 1
    done = platform.cli("queue", "discard", again[0]["id"])
    assert done.returncode == 0, done.stderr
    assert api.dead_letters(platform, connector_id) == []


def test_queue_details_are_true(platform, account, registered, prefix):
    """Sizes are those of the waiting messages. A big message is still being ingested while the next ones wait."""
    connector_id, config = registered
    slow = message(stix.bundle([stix.domain("tool", f"{prefix} {number}") for number in range(3000)]), no_split=True)
    waiting = [message(stix.bundle([stix.domain("tool", f"{prefix} waiting {number}")])) for number in range(5)]
    seen = []
    with Publisher(platform, config) as publisher:
        publisher.publish(slow)
        for body in waiting:
            publisher.publish(body)
        seen.append(api.connector(platform, connector_id)["connector_queue_details"])
    api.queue_empty(platform, connector_id)
    assert 0 <= seen[0]["messages_number"] <= 6
    assert 0 <= seen[0]["messages_size"] <= len(slow) + sum(map(len, waiting))
    assert (seen[0]["messages_number"] == 0) == (seen[0]["messages_size"] == 0)
    assert api.connector(platform, connector_id)["connector_queue_details"] == {"messages_number": 0, "messages_size": 0}


def test_sending_the_same_message_again_changes_nothing(platform, account, registered, prefix):
    connector_id, config = registered
    bundle = stix.mixed_feed(3, 24, prefix)
    work_ids = [api.work_add(platform, account.token, connector_id) for _ in range(2)]
    with Publisher(platform, config) as publisher:
        publisher.publish(message(bundle, work_id=work_ids[0]))
        api.processed(platform, work_ids[0], len(bundle["objects"]))
        before = {entry["id"]: api.stix(platform, entry["id"]) for entry in bundle["objects"]}
        publisher.publish(message(bundle, work_id=work_ids[1]))
        work = api.processed(platform, work_ids[1], len(bundle["objects"]))
    assert work["errors"] == []
    after = {entry["id"]: api.stix(platform, entry["id"]) for entry in bundle["objects"]}
    assert json.dumps(after, sort_keys=True) == json.dumps(before, sort_keys=True)


def test_one_delivery_that_says_two_things_of_one_object_changes_nothing_when_it_comes_again(platform, account, registered, prefix):
    """Two relationships that are the same here, and two groups that an alias joins, as ATT&CK has them; sent object by object, as connectors do."""
    connector_id, config = registered
    malware = stix.domain("malware", f"{prefix} malware", is_family=True, description="one")
    group = stix.domain("intrusion-set", f"{prefix} group", aliases=[f"{prefix} other"], description="the group")
    other = stix.domain("intrusion-set", f"{prefix} other", description="the same group under its other name")
    first = stix.relationship("uses", group, malware, description="said first")
    second = first | {"id": f"relationship--{api.new_id()}", "description": "said second"}
    objects = [malware, group, other, first, second]

    def deliver() -> dict:
        work_id = api.work_add(platform, account.token, connector_id)
        api.work_edit(platform, account.token, work_id, f"addExpectations(expectations: {len(objects)})")
        with Publisher(platform, config) as publisher:
            for entry in objects:
                publisher.publish(message(stix.bundle([entry]), work_id=work_id))
        assert api.processed(platform, work_id, len(objects))["errors"] == []
        return {entry["id"]: api.stix(platform, entry["id"]) for entry in objects}

    before = deliver()
    assert before[group["id"]]["id"] == before[other["id"]]["id"]
    assert before[first["id"]]["id"] == before[second["id"]]["id"]
    assert json.dumps(deliver(), sort_keys=True) == json.dumps(before, sort_keys=True)
