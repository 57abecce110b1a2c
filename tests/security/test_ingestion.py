"""What becomes of a connector's bundle: the rights of its user count, and the work tells what was not applied."""

from __future__ import annotations

import json
import uuid
from typing import Any

from harness import Account, Connector, api, stix, wait_until
from harness.amqp import Publisher, message

from .cases import Cases
from .world import ADMIN_ID, ANALYST, INSUFFICIENT, MARKINGS, MISSING_MARKINGS, TOKENS, Actor, World, text_of

CASES = Cases()
case = CASES.case

WRITE = ("KNOWLEDGE_KNUPDATE_KNDELETE", "KNOWLEDGE_KNUPLOAD", "KNOWLEDGE_KNASKIMPORT", "CONNECTORAPI", "MODULES_MODMANAGE", "SETTINGS_SETMARKINGS", TOKENS)
LABELS, PHASES, VOCABULARIES = "SETTINGS_SETLABELS", "SETTINGS_SETKILLCHAINPHASES", "SETTINGS_SETVOCABULARIES"


def malware(world: World, name: str | None = None, **more: Any) -> dict[str, Any]:
    return stix.domain("malware", name or world.name("malware"), is_family=True, **more)


def report(world: World, name: str | None = None, **more: Any) -> dict[str, Any]:
    return stix.domain("report", name or world.name("report"), published=stix.CREATED, **{"object_refs": [], **more})


def publish(world: World, by: Actor, objects: list[dict[str, Any]], **envelope: Any) -> dict[str, Any]:
    """Publishes a bundle to the queue as connectors do, under a work; the completed work."""
    config = world.register(by)
    work_id = api.work_add(world.platform, by.token, config["id"])
    with Publisher(world.platform, config["config"]) as publisher:
        publisher.publish(message(stix.bundle(objects), work_id=work_id, **envelope))
    api.processed(world.platform, work_id, len(objects))
    api.work_edit(world.platform, by.token, work_id, 'toProcessed(message: "sent")')
    return api.completed(world.platform, work_id)


def clean(work: dict[str, Any], objects: int) -> None:
    """All objects of the work are processed and none is refused."""
    assert work["errors"] == []
    assert work["tracking"]["import_expected_number"] == work["tracking"]["import_processed_number"] == objects


def partials(world: World, work_id: str) -> list[dict[str, Any]]:
    """What the platform tells beyond errors: what of which object was not applied, and why."""
    query = """query Partial($id: ID!) { work(id: $id) { partially_applied {
        timestamp message object_id object_name entity_type parts { attributes references reason } } } }"""
    return world.run(query, {"id": work_id})["work"]["partially_applied"]


@case(122, "what a higher confidence protects stays, the work succeeds and tells it")
def _(world: World) -> None:
    connector = world.connector(50)
    name, label = world.name("report"), world.name("label").lower()
    first = world.add("report", name=name, published=stix.CREATED, confidence=90, description="a")
    objects = [report(world, name, description="b", labels=[label]), report(world), report(world)]
    work = world.deliver(connector, objects)
    clean(work, 3)
    after = world.read("report", first["id"])
    assert (after["description"], after["confidence"]) == ("a", 90)
    assert [entry["value"] for entry in after["objectLabel"]] == [label]
    told = partials(world, work["id"])
    assert [(entry["object_id"], entry["object_name"]) for entry in told] == [(first["standard_id"], name)]
    [part] = told[0]["parts"]
    assert part["attributes"] == ["description"]
    assert "50" in part["reason"]
    assert "90" in part["reason"]


@case(123, "without a level everything is refused at once")
def _(world: World) -> None:
    connector = world.connector(None)
    objects = [malware(world) for _ in range(3)]
    work = world.deliver(connector, objects)
    assert len(work["errors"]) == 3
    assert all("User has no effective max confidence level" in entry["message"] for entry in work["errors"])
    assert work["tracking"]["import_processed_number"] == 3
    assert not any(api.exists(world.platform, entry["id"]) for entry in objects)


@case(124, "an object with a marking that the user may not use is refused, the others are stored")
def _(world: World) -> None:
    connector = world.connector(markings=("TLP:AMBER",))
    secret = report(world, object_marking_refs=[MARKINGS["TLP:RED"]])
    other = stix.indicator(world.name("indicator"), f"10.{uuid.uuid4().int % 250}.2.3")
    work = world.deliver(connector, [secret, other])
    assert [MISSING_MARKINGS in entry["message"] for entry in work["errors"]] == [True]
    assert secret["name"] in work["errors"][0]["source"]
    assert not api.exists(world.platform, secret["id"])
    assert api.exists(world.platform, other["id"])


@case(125, "an author that the user does not see is left out")
def _(world: World) -> None:
    connector = world.connector(markings=("TLP:GREEN",))
    author = world.add("organization", markings=("TLP:RED",))
    sent = report(world, created_by_ref=author["standard_id"])
    work = world.deliver(connector, [sent])
    assert work["errors"] == []
    stored = world.read("report", sent["id"])
    assert stored["createdBy"] is None
    assert author["id"] not in text_of(work)


@case(126, "a relationship to what the user does not see is refused as if that were missing")
def _(world: World) -> None:
    connector = world.connector(markings=("TLP:GREEN",))
    secret = world.add("malware", markings=("TLP:RED",), description="secret")
    actor_group = stix.domain("intrusion-set", world.name("set"))
    link = stix.relationship("uses", actor_group, secret["standard_id"])
    unknown = stix.relationship("uses", actor_group, f"malware--{uuid.uuid4()}")
    work = world.deliver(connector, [actor_group, link, unknown])
    messages = sorted(entry["message"].replace(secret["standard_id"], "X").replace(unknown["target_ref"], "X") for entry in work["errors"])
    assert len(set(messages)) <= 1, "hidden and unknown differ"
    assert "secret" not in text_of(work)
    assert api.exists(world.platform, actor_group["id"])
    assert not api.exists(world.platform, link["id"])
    assert not api.exists(world.platform, unknown["id"])


@case(127, "without the capability labels are attached, not made")
def _(world: World) -> None:
    known, unknown = world.label()["value"], world.name("label").lower()
    connector = world.actor(may=(*WRITE, PHASES, VOCABULARIES))
    sent = malware(world, labels=[known, unknown])
    work = world.deliver(connector, [sent])
    assert work["errors"] == []
    assert [entry["value"] for entry in world.read("malware", sent["id"])["objectLabel"]] == [known]
    with_labels = world.actor(may=(*WRITE, LABELS))
    clean(world.deliver(with_labels, [sent]), 1)
    assert {entry["value"] for entry in world.read("malware", sent["id"])["objectLabel"]} == {known, unknown}


@case(128, "without the capability what has an unknown kill chain phase is refused")
def _(world: World) -> None:
    connector = world.actor(may=(*WRITE, LABELS, VOCABULARIES))
    phase = {"kill_chain_name": world.name("chain"), "phase_name": world.name("phase")}
    sent = stix.domain("attack-pattern", world.name("pattern"), kill_chain_phases=[phase])
    work = world.deliver(connector, [sent, other := malware(world)])
    assert len(work["errors"]) == 1
    assert PHASES in work["errors"][0]["message"]
    assert not api.exists(world.platform, sent["id"])
    assert api.exists(world.platform, other["id"])


@case(129, "a message without an applicant counts as the connector's user")
def _(world: World) -> None:
    connector = world.connector(50, markings=("TLP:GREEN",))
    objects = [malware(world, confidence=100), malware(world, object_marking_refs=[MARKINGS["TLP:RED"]])]
    work = publish(world, connector, objects)
    assert [MISSING_MARKINGS in entry["message"] for entry in work["errors"]] == [True]
    stored = world.read("malware", objects[0]["id"])
    assert stored["confidence"] == 50
    assert [entry["id"] for entry in stored["creators"]] == [connector.id]


@case(130, "naming the administrator as the applicant gives nothing")
def _(world: World) -> None:
    connector = world.connector(50, markings=("TLP:GREEN",))
    objects = [malware(world, confidence=100), malware(world, object_marking_refs=[MARKINGS["TLP:RED"]])]
    work = publish(world, connector, objects, applicant_id=ADMIN_ID)
    assert len(work["errors"]) in (1, 2)
    assert not api.exists(world.platform, objects[1]["id"])
    stored = world.read("malware", objects[0]["id"])
    if stored is not None:
        assert stored["confidence"] == 50
        assert [entry["id"] for entry in stored["creators"]] == [connector.id]
    else:
        assert len(work["errors"]) == 2
    noted = [entry for entry in world.audits() if entry["user_id"] == connector.id and entry["event_status"] == "error"]
    assert [entry["event_scope"] for entry in noted] == ["unauthorized"]


@case(131, "who may act for others delivers with the rights of the applicant")
def _(world: World) -> None:
    analyst = world.actor(20, may=ANALYST)
    worker = world.actor(may=("BYPASS",))
    sent = malware(world, confidence=80)
    clean(publish(world, worker, [sent], applicant_id=analyst.id), 1)
    stored = world.read("malware", sent["id"])
    assert stored["confidence"] == 20
    assert [entry["id"] for entry in stored["creators"]] == [analyst.id]
    other = world.connector(80)
    claimed = malware(world, confidence=80)
    publish(world, other, [claimed], applicant_id=analyst.id)
    stored = world.read("malware", claimed["id"])
    assert stored is None or [entry["id"] for entry in stored["creators"]] == [other.id], "nobody else names an applicant"


@case(132, "a right taken away counts for what is still in the queue")
def _(world: World) -> None:
    connector = world.connector(markings=("TLP:GREEN", "TLP:AMBER"))
    config = world.register(connector)
    work_id = api.work_add(world.platform, connector.token, config["id"])
    amber = lambda: malware(world, object_marking_refs=[MARKINGS["TLP:AMBER"]])  # noqa: E731
    before, after = [amber(), malware(world)], [amber(), malware(world)]
    with Publisher(world.platform, config["config"]) as publisher:
        publisher.publish(message(stix.bundle(before), work_id=work_id, applicant_id=connector.id))
        api.processed(world.platform, work_id, 2)
        world.group_loses(connector.group, "accesses-to", MARKINGS["TLP:AMBER"])
        publisher.publish(message(stix.bundle(after), work_id=work_id, applicant_id=connector.id))
    api.processed(world.platform, work_id, 4)
    api.work_edit(world.platform, connector.token, work_id, 'toProcessed(message: "sent")')
    work = api.completed(world.platform, work_id)
    assert [MISSING_MARKINGS in entry["message"] for entry in work["errors"]] == [True]
    assert [api.exists(world.platform, entry["id"]) for entry in (*before, *after)] == [True, True, False, True]


@case(133, "a deletion in a bundle obeys the confidence")
def _(world: World) -> None:
    connector = world.connector(50)
    high, low = world.add("malware", confidence=90), world.add("malware", confidence=50)
    objects = [
        {"type": "malware", "spec_version": "2.1", "id": entry["standard_id"], "name": "x", "is_family": True, "opencti_operation": "delete"}
        for entry in (high, low)
    ]
    work = world.deliver(connector, objects)
    assert [INSUFFICIENT in entry["message"] for entry in work["errors"]] == [True]
    assert world.read("malware", high["id"])
    assert world.read("malware", low["id"]) is None


@case(134, "a bundle does not administrate users")
def _(world: World) -> None:
    connector = world.connector()
    administrators = world.shared.group_named("Administrators")
    standard = world.user(connector.id, "standard_id")["standard_id"]
    for operation, more in (
        ("add_groups", {"opencti_field_patch": {}, "group_ids": [administrators]}), ("remove_groups", {"group_ids": [administrators]}),
        ("add_organizations", {"organization_ids": [str(uuid.uuid4())]}), ("send_email", {"template_id": "x"}), ("clear_access_restriction", {}),
    ):  # fmt: skip
        sent = {"type": "user", "spec_version": "2.1", "id": standard, "name": "x", "opencti_operation": operation, **more}
        work = world.deliver(connector, [sent])
        assert len(work["errors"]) == 1, operation
    assert administrators not in text_of(world.user(connector.id, "groups { edges { node { id } } }"))
    sent = malware(world, opencti_operation="add_groups", group_ids=[administrators])
    assert len(world.deliver(connector, [sent])["errors"]) == 1


@case(135, "a deleted work ends what belongs to it, silently")
def _(world: World) -> None:
    connector = world.connector()
    config = world.register(connector)
    work_id = api.work_add(world.platform, connector.token, config["id"])
    api.work_edit(world.platform, connector.token, work_id, "delete")
    dropped, kept = malware(world), malware(world)
    with Publisher(world.platform, config["config"]) as publisher:
        publisher.publish(message(stix.bundle([dropped]), work_id=work_id, applicant_id=connector.id))
        publisher.publish(message(stix.bundle([kept]), applicant_id=connector.id))
    wait_until(lambda: api.exists(world.platform, kept["id"]), "the later object is stored")
    assert not api.exists(world.platform, dropped["id"])
    assert "WORK_NOT_ALIVE" in world.platform.post("query { about { version } }", token=connector.token, headers={"opencti-work-id": work_id}).text


@case(136, "the older setting of a connector's confidence counts for nothing")
def _(world: World) -> None:
    connector = world.connector(80)
    sent = malware(world)
    path = world.platform.directory / f"{world.prefix}.json"
    path.write_text(json.dumps(stix.bundle([sent])), encoding="utf-8")
    env = {"CONNECTOR_CONFIDENCE_LEVEL": "10", "CONNECTOR_RUN_AND_TERMINATE": "true", "TEST_BUNDLES": str(path)}
    with Connector(world.platform, "run_and_terminate", "7.261026.0", Account(connector.name, connector.token), env=env) as running:
        work_id = running.wait_event("run")["work_id"]
        running.finish()
    clean(api.completed(world.platform, work_id), 1)
    assert world.read("malware", sent["id"])["confidence"] == 80


@case(137, "the more trusted of two connectors wins, whoever comes first")
def _(world: World) -> None:
    trusted, other = world.connector(80), world.connector(40)
    for order in ((trusted, other), (other, trusted)):
        name = world.name("malware")
        for each in order:
            clean(world.deliver(each, [malware(world, name, description=f"of {each.name}")]), 1)
        found = world.read("malware", stix.own_id("malware", name))
        assert (found["description"], found["confidence"]) == (f"of {trusted.name}", 80)


@case(138, "of an observable the last word counts")
def _(world: World) -> None:
    trusted, other = world.connector(80), world.connector(40)
    value = f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.9"
    query = "query O($id: String!) { stixCyberObservable(id: $id) { x_opencti_description } }"
    for each in (trusted, other, trusted):
        sent = stix.ipv4(value, x_opencti_description=f"of {each.name}")
        clean(world.deliver(each, [sent]), 1)
        assert world.run(query, {"id": sent["id"]})["stixCyberObservable"]["x_opencti_description"] == f"of {each.name}"


@CASES.parametrize()
def test_case(world, check):
    check(world)
