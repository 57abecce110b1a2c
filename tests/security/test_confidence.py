"""Confidence: the level that a user has, and what it lets the user create, change, deliver again and delete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from harness import GraphQLError

from .cases import Cases
from .world import LEVEL, MARKINGS, PUBLISHED, READER, World, forbidden, insufficient, level

CASES = Cases()
case = CASES.case


# --- the effective level --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rights:
    """Groups as (maximum, overrides), and the user's own level; and what follows."""

    groups: tuple[tuple[int | None, dict[str, int]], ...]
    own: dict[str, Any] | None
    maximum: int | None
    source: str | None
    overrides: dict[str, tuple[int, str]] = field(default_factory=dict)
    role: tuple[str, ...] = READER
    source_group: int | None = None


EFFECTIVE = {
    73: ("the highest of the groups counts", Rights(((70, {}), (80, {})), None, 80, "Group", source_group=1)),
    74: ("the user's own level counts before the groups'", Rights(((70, {}), (80, {})), level(30), 30, "User")),
    75: ("with an own level the groups' overrides do not count", Rights(((40, {"Report": 90}),), level(30), 30, "User")),
    76: ("overrides of a group count", Rights(((40, {"Report": 90}),), None, 40, "Group", {"Report": (90, "Group")}, source_group=0)),
    77: (
        "the user's overrides count before the groups'",
        Rights(
            ((70, {}), (40, {"Report": 90, "Case-Rfi": 20})), level(None, {"Report": 50, "Malware": 35}), 70, "Group",
            {"Report": (50, "User"), "Case-Rfi": (20, "Group"), "Malware": (35, "User")}, source_group=0,
        ),
    ),
    78: (
        "of two groups' overrides the higher counts",
        Rights(((50, {"Report": 10}), (20, {"Report": 60})), None, 50, "Group", {"Report": (60, "Group")}, source_group=0),
    ),
    79: ("overrides alone are no level", Rights((), level(None, {"Report": 50}), None, None)),
    80: ("who may do everything has 100", Rights(((70, {}),), level(30), 100, "Bypass", role=("BYPASS",))),
    81: ("nothing is a level too", Rights(((70, {}),), level(0), 0, "User")),
}  # fmt: skip


def effective(rights: Rights):  # noqa: ANN201 - a check
    """A check that the level of a user with these rights is the expected one, as others and as the user see it."""

    def check(world: World) -> None:
        role = world.role(*rights.role)
        groups = [world.group(maximum, overrides, roles=(role,)) for maximum, overrides in rights.groups]
        actor = world.in_groups(*groups, user_confidence_level=rights.own)
        found = world.user(actor.id, LEVEL)["effective_confidence_level"]
        if rights.maximum is None:
            assert found is None
            return
        assert (found["max_confidence"], found["source"]["type"]) == (rights.maximum, rights.source)
        assert {entry["entity_type"]: (entry["max_confidence"], entry["source"]["type"]) for entry in found["overrides"]} == rights.overrides
        if rights.source_group is not None:
            assert found["source"]["object"]["id"] == groups[rights.source_group]
        if rights.source == "User":
            assert found["source"]["object"]["id"] == actor.id
        if rights.source == "Bypass":
            assert found["source"]["object"] is None
        assert world.me(actor)["effective_confidence_level"]["max_confidence"] == rights.maximum

    return check


for number, (says, rights) in EFFECTIVE.items():
    case(number, says)(effective(rights))


@case(82, "a new level of a group counts at once")
def _(world: World) -> None:
    actor = world.actor(70)
    world.group_patch(actor.group, group_confidence_level=level(20, {"Malware": 5}))
    assert world.me(actor)["effective_confidence_level"]["max_confidence"] == 20
    assert world.add("report", by=actor)["confidence"] == 20
    assert world.add("malware", by=actor)["confidence"] == 5


@case(83, "a level is a number from 0 to 100")
def _(world: World) -> None:
    for wrong in (101, -1):
        with pytest.raises(GraphQLError) as refused:
            world.add_user(user_confidence_level=level(wrong))
        assert refused.value.name in ("VALIDATION_ERROR", "FUNCTIONAL_ERROR", "UNSUPPORTED_ERROR"), refused.value
        with pytest.raises(GraphQLError):
            world.add_user(user_confidence_level=level(50, {"Report": wrong}))
        with pytest.raises(GraphQLError):
            world.group(wrong)


# --- creating ---------------------------------------------------------------------------------------------------------------------


CREATED = {
    84: ("what is above the level is capped", 30, None, [("report", 80, 30)]),
    85: ("what has no confidence gets the level", 30, None, [("report", None, 30)]),
    86: ("what is below the level is kept", 80, None, [("report", 20, 20)]),
    87: ("a lower level of a type counts for that type alone", 80, {"Report": 10}, [("report", 50, 10), ("malware", 50, 50)]),
    88: ("a higher level of a type counts too", 30, {"Report": 90}, [("report", 100, 90)]),
}


def created(maximum: int, overrides: dict[str, int] | None, objects: list[tuple[str, int | None, int]]):  # noqa: ANN201 - a check
    def check(world: World) -> None:
        actor = world.actor(maximum, overrides)
        for kind, given, stored in objects:
            fields = {} if given is None else {"confidence": given}
            made = world.add(kind, by=actor, **fields)
            assert world.read(kind, made["id"])["confidence"] == stored

    return check


for number, (says, maximum, overrides, objects) in CREATED.items():
    case(number, says)(created(maximum, overrides, objects))


@case(89, "without a level nothing is created")
def _(world: World) -> None:
    actor = world.actor(None)
    for attempt in (lambda: world.add("report", by=actor), lambda: world.ipv4(by=actor), lambda: world.label(by=actor)):
        with pytest.raises(GraphQLError) as refused:
            attempt()
        assert refused.value.name == "FUNCTIONAL_ERROR"
        assert "User has no effective max confidence level and cannot create this element" in refused.value.message


# --- changing ---------------------------------------------------------------------------------------------------------------------


def change(world: World, maximum: int, existing: int | None, **fields: Any) -> dict[str, Any]:
    """A report of this confidence after a user of this level changed it."""
    actor = world.actor(maximum)
    report = world.add("report", confidence=existing) if existing is not None else without_confidence(world)
    world.patch(report["id"], by=actor, root="reportEdit", **fields)
    return world.read("report", report["id"])


def without_confidence(world: World) -> dict[str, Any]:
    """A report without a confidence."""
    report = world.add("report")
    world.forget_confidence(report["id"])
    assert world.read("report", report["id"])["confidence"] is None
    return report


@case(90, "a higher confidence is not changed")
def _(world: World) -> None:
    actor = world.actor(30)
    report = world.add("report", confidence=50, description="a")
    for fields in ({"name": world.name()}, {"description": "b"}, {"confidence": "10"}):
        with pytest.raises(GraphQLError) as refused:
            world.patch(report["id"], by=actor, root="reportEdit", **fields)
        insufficient(refused.value)
    after = world.read("report", report["id"])
    assert (after["description"], after["confidence"], after["updated_at"]) == ("a", 50, report["updated_at"])


@case(91, "an equal confidence is changed")
def _(world: World) -> None:
    after = change(world, 50, 50, description="b")
    assert (after["description"], after["confidence"]) == ("b", 50)


@case(92, "a change does not raise the confidence")
def _(world: World) -> None:
    after = change(world, 80, 50, description="b")
    assert (after["description"], after["confidence"]) == ("b", 50)


@case(93, "a confidence is raised at most to the level")
def _(world: World) -> None:
    assert change(world, 80, 50, confidence="90")["confidence"] == 80


@case(94, "a confidence may be lowered")
def _(world: World) -> None:
    assert change(world, 80, 50, confidence="10")["confidence"] == 10


@case(95, "a change gives a confidence to what has none")
def _(world: World) -> None:
    after = change(world, 40, None, description="b")
    assert (after["description"], after["confidence"]) == ("b", 40)


@case(96, "labels and external references are open to every level")
def _(world: World) -> None:
    actor = world.actor(30)
    label, reference = world.label(), world.reference()
    report = world.add("report", confidence=50)
    world.relate(report["id"], "object-label", label["id"], by=actor, root="reportEdit")
    world.relate(report["id"], "external-reference", reference["id"], by=actor, root="reportEdit")
    after = world.read("report", report["id"])
    assert [entry["value"] for entry in after["objectLabel"]] == [label["value"]]
    assert [edge["node"]["source_name"] for edge in after["externalReferences"]["edges"]] == [reference["source_name"]]
    world.unrelate(report["id"], "object-label", label["id"], by=actor, root="reportEdit")
    world.unrelate(report["id"], "external-reference", reference["id"], by=actor, root="reportEdit")
    after = world.read("report", report["id"])
    assert (after["objectLabel"], after["externalReferences"]["edges"], after["confidence"]) == ([], [], 50)


@case(97, "markings, authors and objects are not")
def _(world: World) -> None:
    actor = world.actor(30, markings=("TLP:GREEN",))
    author, malware = world.add("organization", fields="id"), world.add("malware", confidence=10)
    report = world.add("report", confidence=50)
    for attempt in (
        lambda: world.relate(report["id"], "object-marking", MARKINGS["TLP:GREEN"], by=actor, root="reportEdit"),
        lambda: world.relate(report["id"], "created-by", author["id"], by=actor, root="reportEdit"),
        lambda: world.patch(report["id"], by=actor, root="reportEdit", createdBy=author["id"]),
        lambda: world.relate(report["id"], "object", malware["id"], by=actor, root="reportEdit"),
    ):
        with pytest.raises(GraphQLError) as refused:
            attempt()
        insufficient(refused.value)
    query = "objects { edges { node { ... on BasicObject { id } } } }"
    after = world.read("report", report["id"], query)
    assert (after["objectMarking"], after["createdBy"], after["objects"]["edges"]) == ([], None, [])


@case(98, "a higher confidence is neither deleted nor merged")
def _(world: World) -> None:
    actor = world.actor(30)
    high, low = world.add("malware", confidence=50), world.add("malware", confidence=10)
    for attempt in (
        lambda: world.delete(high["id"], by=actor), lambda: world.delete(high["id"], by=actor, root="malwareEdit"),
        lambda: world.delete(high["id"], by=actor, root="stixCoreObjectEdit"), lambda: world.delete(high["id"], by=actor, root="stixEdit"),
        lambda: world.merge(low["id"], [high["id"]], by=actor), lambda: world.merge(high["id"], [low["id"]], by=actor),
    ):  # fmt: skip
        with pytest.raises(GraphQLError) as refused:
            attempt()
        insufficient(refused.value)
    assert world.read("malware", high["id"])
    assert world.read("malware", low["id"])


@case(99, "a relationship asks for no level of its ends")
def _(world: World) -> None:
    actor = world.actor(30)
    one, other = world.add("intrusionSet", confidence=90), world.add("malware", confidence=90)
    assert world.link("uses", one["id"], other["id"], by=actor, confidence=60)["confidence"] == 30


@case(100, "an observable has no confidence and is changed by every level")
def _(world: World) -> None:
    observable = world.ipv4(description="a")
    world.patch(observable["id"], by=world.actor(0), root="stixCyberObservableEdit", x_opencti_description="b")
    query = "query O($id: String!) { stixCyberObservable(id: $id) { x_opencti_description } }"
    assert world.run(query, {"id": observable["id"]})["stixCyberObservable"]["x_opencti_description"] == "b"


# --- delivering again ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """A malware of confidence `existing` and description "a" (or `before`) is delivered again with "b" (or `text`)."""

    level: int | str
    given: int | None
    existing: int | None
    text: str | None
    stored: int
    before: str | None = "a"
    after: str = "b"
    headers: dict[str, str] = field(default_factory=dict)


AGAIN = {
    101: ("a higher confidence overwrites, and is taken over", Again(50, 30, 10, "b", 30)),
    102: ("a lower confidence changes nothing, and is no error", Again(50, 10, 30, "b", 30, after="a")),
    103: ("a lower confidence fills what is empty", Again(50, 10, 30, "b", 30, before=None)),
    104: ("without a confidence the level is compared", Again(30, None, 50, "b", 50, after="a")),
    105: ("what has no confidence is overwritten", Again(50, 30, None, "b", 30)),
    112: ("an empty value clears nothing", Again(50, 50, 30, "", 50, after="a")),
    113: ("the confidence of the data counts, whoever delivers it", Again("BYPASS", 20, 80, "b", 80, after="a")),
    114: ("who may do everything delivers with 100", Again("BYPASS", None, 80, "b", 100)),
    115: ("no header switches the comparison off", Again(30, 100, 90, "b", 90, after="a", headers={"synchronized-upsert": "true"})),
}


def again(row: Again):  # noqa: ANN201 - a check
    def check(world: World) -> None:
        bypass = row.level == "BYPASS"
        actor = world.actor(100, may=("BYPASS",)) if bypass else world.actor(row.level)
        name = world.name("malware")
        given = {} if row.existing is None else {"confidence": row.existing}
        if row.before is not None:
            given["description"] = row.before
        first = world.add("malware", name=name, **given)
        if row.existing is None:
            world.forget_confidence(first["id"])
            assert world.read("malware", first["id"])["confidence"] is None
        before = world.read("malware", first["id"])
        fields = {} if row.given is None else {"confidence": row.given}
        second = world.add("malware", by=actor, name=name, description=row.text, headers=row.headers, **fields)
        assert second["id"] == first["id"]
        after = world.read("malware", first["id"])
        assert (after["description"], after["confidence"]) == (row.after, row.stored)
        if (row.after, row.stored) == (row.before, row.existing) and actor.id in [entry["id"] for entry in before["creators"]]:
            assert after["updated_at"] == before["updated_at"]

    return check


for number, (says, row) in AGAIN.items():
    case(number, says)(again(row))


@case(106, "a lower confidence adds labels and external references")
def _(world: World) -> None:
    actor = world.actor(50)
    name, label, reference = world.name("malware"), world.label(), world.reference()
    first = world.add("malware", name=name, confidence=30, description="a")
    more = {"objectLabel": [label["value"]], "externalReferences": [reference["id"]]}
    world.add("malware", by=actor, name=name, confidence=10, description="b", **more)
    after = world.read("malware", first["id"])
    assert (after["description"], after["confidence"]) == ("a", 30)
    assert [entry["value"] for entry in after["objectLabel"]] == [label["value"]]
    assert [edge["node"]["source_name"] for edge in after["externalReferences"]["edges"]] == [reference["source_name"]]


@case(107, "a lower confidence puts objects only into an empty report")
def _(world: World) -> None:
    actor = world.actor(50)
    old, new = world.add("malware")["id"], world.add("malware")["id"]
    for existing, expected in (([old], {old}), ([], {new})):
        name = world.name("report")
        first = world.add("report", name=name, confidence=30, objects=existing)
        world.add("report", by=actor, name=name, confidence=10, objects=[new])
        found = world.read("report", first["id"], "objects { edges { node { ... on BasicObject { id } } } }")
        assert {edge["node"]["id"] for edge in found["objects"]["edges"]} == expected


def author_after(world: World, existing: int, given: int) -> tuple[bool, bool]:
    """Whether the author is the old one, and whether it is the new one."""
    old, new = world.add("organization", fields="id")["id"], world.add("organization", fields="id")["id"]
    name = world.name("malware")
    first = world.add("malware", name=name, confidence=existing, createdBy=old)
    world.add("malware", by=world.actor(50), name=name, confidence=given, createdBy=new)
    author = world.read("malware", first["id"])["createdBy"]["id"]
    return author == old, author == new


@case(108, "an equal confidence keeps the author")
def _(world: World) -> None:
    assert author_after(world, 30, 30) == (True, False)


@case(109, "a higher confidence replaces the author")
def _(world: World) -> None:
    assert author_after(world, 30, 31) == (False, True)


@case(110, "a lower confidence gives aliases only to what has none")
def _(world: World) -> None:
    actor = world.actor(50)
    old, new = world.name("alias"), world.name("alias")
    for existing, given, expected in (([old], world.name("alias"), [old]), ([], new, [new])):
        name = world.name("malware")
        first = world.add("malware", name=name, confidence=30, aliases=existing)
        world.add("malware", by=actor, name=name, confidence=10, aliases=[given])
        assert world.read("malware", first["id"], "aliases")["aliases"] == expected


@case(111, "a sufficient confidence adds aliases")
def _(world: World) -> None:
    name, old, new = world.name("malware"), world.name("alias"), world.name("alias")
    first = world.add("malware", name=name, confidence=30, aliases=[old])
    world.add("malware", by=world.actor(50), name=name, confidence=30, aliases=[new])
    assert sorted(world.read("malware", first["id"], "aliases")["aliases"]) == sorted([old, new])


@case(117, "operations inside an upsert are for who may do everything")
def _(world: World) -> None:
    operations = [{"key": "description", "value": ["c"], "operation": "replace"}]
    error = world.add_refused("malware", by=world.actor(100), upsertOperations=operations)
    assert (error.name, "User has insufficient rights to use upsertOperations" in error.message) == ("FUNCTIONAL_ERROR", True)


@case(118, "the same again is nothing new")
def _(world: World) -> None:
    actor, name = world.actor(50), world.name("malware")
    given = {"name": name, "confidence": 50, "description": "a", "aliases": [world.name("alias")], "objectLabel": [world.label()["value"]]}
    first = world.add("malware", by=actor, **given)
    before = world.read("malware", first["id"], "modified toStix")
    events = world.history(first["id"])
    assert len(events) == 1
    assert world.add("malware", by=actor, **given)["id"] == first["id"]
    assert world.read("malware", first["id"], "modified toStix") == before
    assert world.history(first["id"]) == events


@case(119, "of a relationship of higher confidence the time widens and the description stays")
def _(world: World) -> None:
    ends = world.add("intrusionSet")["id"], world.add("malware")["id"]
    start, stop, later = PUBLISHED, "2024-04-01T10:00:00.000Z", "2024-04-20T10:00:00.000Z"
    first = world.link("uses", *ends, confidence=80, description="a", start_time=start, stop_time=stop)
    second = world.link("uses", *ends, by=world.actor(50), description="b", start_time=start, stop_time=later)
    assert second["id"] == first["id"]
    query = "query R($id: String!) { stixCoreRelationship(id: $id) { description confidence start_time stop_time } }"
    found = world.run(query, {"id": first["id"]})["stixCoreRelationship"]
    assert found == {"description": "a", "confidence": 80, "start_time": start, "stop_time": later}


@case(120, "a lower confidence changes no score and no validity of an indicator")
def _(world: World) -> None:
    pattern = f"[domain-name:value = '{world.prefix}.example.org']"
    given = {"name": world.name("indicator"), "pattern": pattern, "pattern_type": "stix"}
    fields = "id x_opencti_score valid_from valid_until confidence"
    first = world.add("indicator", fields=fields, confidence=80, x_opencti_score=20, valid_from=PUBLISHED, **given)
    second = world.add("indicator", by=world.actor(30), fields=fields, x_opencti_score=90, valid_until="2034-01-01T00:00:00.000Z", **given)
    assert second["id"] == first["id"]
    query = f"query I($id: String!) {{ indicator(id: $id) {{ {fields} }} }}"
    assert world.run(query, {"id": first["id"]})["indicator"] == first


@CASES.parametrize()
def test_case(world, check):
    check(world)


# --- what decides is the object, not who asks how -----------------------------------------------------------------------------------


def test_a_refused_change_leaves_nothing_of_it(world):
    """A patch of several attributes, of which one is refused, changes none."""
    actor = world.actor(60, markings=("TLP:GREEN",))
    report = world.add("report", confidence=50, description="a")
    with pytest.raises(GraphQLError):
        world.patch(report["id"], by=actor, root="reportEdit", description="b", objectMarking=[MARKINGS["TLP:RED"]])
    after = world.read("report", report["id"])
    assert (after["description"], after["objectMarking"], after["updated_at"]) == ("a", [], report["updated_at"])


def test_who_may_write_but_not_delete_deletes_nothing(world):
    actor = world.actor(100, may=("KNOWLEDGE_KNUPDATE", "APIACCESS_USETOKEN"))
    report = world.add("report")
    for root in ("reportEdit", "stixDomainObjectEdit", "stixCoreObjectEdit", "stixEdit"):
        with pytest.raises(GraphQLError) as refused:
            world.delete(report["id"], by=actor, root=root)
        forbidden(refused.value)
    assert world.read("report", report["id"])
