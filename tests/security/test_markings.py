"""Markings: who sees what, who may put which, and what becomes of two that meet."""

from __future__ import annotations

import pytest
from harness import GraphQLError, api

from .cases import Cases
from .world import ANALYST, MARKINGS, MISSING_MARKINGS, READER, TOKENS, World, forbidden

CASES = Cases()
case = CASES.case

BOOT = {
    "TLP:CLEAR": ("#ffffff", 1), "TLP:GREEN": ("#2e7d32", 2), "TLP:AMBER": ("#d84315", 3), "TLP:AMBER+STRICT": ("#d84315", 4),
    "TLP:RED": ("#c62828", 5), "PAP:CLEAR": ("#ffffff", 1), "PAP:GREEN": ("#2e7d32", 2), "PAP:AMBER": ("#d84315", 3), "PAP:RED": ("#c62828", 4),
}  # fmt: skip
LINKS = """query Links($id: [String]) { stixCoreRelationships(fromOrToId: $id) {
    pageInfo { globalCount } edges { node { id from { ... on BasicObject { id } } to { ... on BasicObject { id } } } } } }"""


def names(element: dict) -> set[str]:
    return {entry["definition"] for entry in element["objectMarking"] or []}


@case(48, "a fresh platform has its markings")
def _(world: World) -> None:
    query = """query { markingDefinitions(first: 100) { edges { node {
        standard_id definition_type definition x_opencti_order x_opencti_color } } } }"""
    found = {edge["node"]["definition"]: edge["node"] for edge in world.run(query)["markingDefinitions"]["edges"]}
    for name, (color, order) in BOOT.items():
        node = found[name]
        assert node["standard_id"] == MARKINGS[name]
        assert (node["definition_type"], node["x_opencti_order"], node["x_opencti_color"]) == (name[:3], order, color)


@case(49, "the default group sees what is not marked")
def _(world: World) -> None:
    actor = world.in_groups(world.shared.group_named("Default"))
    marked, plain = world.add("report", markings=("TLP:CLEAR",)), world.add("report")
    assert world.read("report", marked["id"], by=actor) is None
    assert world.read("report", plain["id"], by=actor)["id"] == plain["id"]


@case(50, "a marking opens the lower ones of its type")
def _(world: World) -> None:
    actor = world.actor(may=READER, markings=("TLP:AMBER",))
    seen = [world.read("report", world.add("report", markings=(name,))["id"], by=actor) is not None for name in list(BOOT)[:5]]
    assert seen == [True, True, True, False, False]
    assert {entry["definition"] for entry in world.me(actor)["allowed_marking"]} == {"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"}


@case(51, "every marking of an object is needed")
def _(world: World) -> None:
    actor = world.actor(may=READER, markings=("TLP:RED",))
    both, one = world.add("report", markings=("TLP:GREEN", "PAP:GREEN")), world.add("report", markings=("TLP:GREEN",))
    assert not world.sees(actor, both["id"])
    assert world.sees(actor, one["id"])


@case(52, "markings of equal order open each other")
def _(world: World) -> None:
    kind = world.name("statement")
    first, second = world.new_marking(kind, 0), world.new_marking(kind, 0)
    actor = world.actor(may=READER, markings=(first,))
    assert world.sees(actor, world.add("report", markings=(second,))["id"])


@case(53, "a hidden relationship is in no list and in no count")
def _(world: World) -> None:
    actor = world.actor(may=READER, markings=("TLP:GREEN",))
    one, other = (world.add("intrusionSet", markings=("TLP:GREEN",))["id"] for _ in range(2))
    malware = world.add("malware", markings=("TLP:GREEN",))["id"]
    hidden, shown = world.link("uses", one, malware, markings=("TLP:RED",)), world.link("uses", other, malware, markings=("TLP:GREEN",))
    for viewer, expected in ((None, {hidden["id"], shown["id"]}), (actor, {shown["id"]})):
        found = world.run(LINKS, {"id": [malware]}, by=viewer)["stixCoreRelationships"]
        assert {edge["node"]["id"] for edge in found["edges"]} == expected
        assert found["pageInfo"]["globalCount"] == len(expected)
    assert not world.sees(actor, hidden["id"])


@case(54, "a relationship to a hidden object is hidden")
def _(world: World) -> None:
    actor = world.actor(may=READER, markings=("TLP:GREEN",))
    secret, known = world.add("malware", markings=("TLP:RED",)), world.add("intrusionSet")
    link = world.link("uses", known["id"], secret["id"])
    assert world.sees(actor, known["id"])
    assert not world.sees(actor, link["id"])
    found = world.run(LINKS, {"id": [known["id"]]}, by=actor)["stixCoreRelationships"]
    assert (found["edges"], found["pageInfo"]["globalCount"]) == ([], 0)
    assert world.run(LINKS, {"id": [known["id"]]})["stixCoreRelationships"]["edges"][0]["node"]["to"]["id"] == secret["id"]


@case(55, "a container shows the visible of its objects")
def _(world: World) -> None:
    actor = world.actor(may=READER, markings=("TLP:GREEN",))
    objects = [world.add("malware", markings=(name,))["id"] for name in ("TLP:GREEN", "TLP:CLEAR", "TLP:RED")]
    report = world.add("report", objects=objects)
    query = "query R($id: String!) { report(id: $id) { objects(first: 10) { pageInfo { globalCount } edges { node { ... on BasicObject { id } } } } } }"
    for viewer, expected in ((None, objects), (actor, objects[:2])):
        found = world.run(query, {"id": report["id"]}, by=viewer)["report"]["objects"]
        assert {edge["node"]["id"] for edge in found["edges"]} == set(expected)
        assert found["pageInfo"]["globalCount"] == len(expected)


@case(56, "nobody marks with what he may not use")
def _(world: World) -> None:
    actor = world.actor(may=ANALYST, markings=("TLP:GREEN",))
    name = world.name("report")
    error = world.add_refused("report", by=actor, name=name, markings=("TLP:RED",))
    assert error.name == "FUNCTIONAL_ERROR"
    assert MISSING_MARKINGS in error.message
    assert api.named(world.platform, name) == []
    own = world.add("report", by=actor, markings=("TLP:GREEN",))
    for attempt in (
        lambda: world.relate(own["id"], "object-marking", MARKINGS["TLP:RED"], by=actor),
        lambda: world.patch(own["id"], by=actor, objectMarking=[MARKINGS["TLP:RED"]]),
        lambda: world.add("report", by=actor, name=name, markings=("PAP:RED",)),
    ):
        with pytest.raises(GraphQLError) as refused:
            attempt()
        assert MISSING_MARKINGS in refused.value.message
    assert names(world.read("report", own["id"])) == {"TLP:GREEN"}


def meet(world: World, existing: tuple[str, ...], given: tuple[str, ...]) -> set[str]:
    """The markings of a report after a connector delivers it again with others."""
    connector = world.connector()
    if any(each not in MARKINGS for each in (*existing, *given)):
        for each in (*existing, *given):
            world.group_gets(connector.group, "accesses-to", MARKINGS.get(each, each))
    name = world.name("report")
    first = world.add("report", name=name, markings=existing)
    second = world.add("report", by=connector, name=name, markings=given)
    assert second["id"] == first["id"], "it is the same report"
    return names(world.read("report", first["id"]))


@case(57, "a higher marking replaces the lower")
def _(world: World) -> None:
    assert meet(world, ("TLP:GREEN",), ("TLP:AMBER",)) == {"TLP:AMBER"}


@case(58, "a lower marking is dropped")
def _(world: World) -> None:
    assert meet(world, ("TLP:AMBER",), ("TLP:GREEN",)) == {"TLP:AMBER"}


@case(59, "a marking of another type is added")
def _(world: World) -> None:
    assert meet(world, ("TLP:AMBER",), ("PAP:RED",)) == {"TLP:AMBER", "PAP:RED"}


@case(60, "a marking of equal order is added")
def _(world: World) -> None:
    kind = world.name("statement")
    assert len(meet(world, (world.new_marking(kind, 0),), (world.new_marking(kind, 0),))) == 2


@case(61, "of each type the highest is kept")
def _(world: World) -> None:
    statement = world.new_marking(world.name("statement"), 0)
    report = world.add("report", markings=("PAP:AMBER", "PAP:RED", "TLP:AMBER+STRICT", "TLP:CLEAR", statement))
    found = names(world.read("report", report["id"]))
    assert {"PAP:RED", "TLP:AMBER+STRICT"} < found
    assert len(found) == 3


@case(62, "who says so lowers a marking")
def _(world: World) -> None:
    analyst = world.actor(may=ANALYST, markings=("TLP:RED",))
    report = world.add("report", markings=("TLP:RED",))
    world.patch(report["id"], by=analyst, root="reportEdit", objectMarking=[MARKINGS["TLP:GREEN"]])
    assert names(world.read("report", report["id"])) == {"TLP:GREEN"}
    assert world.read("report", report["id"])["updated_at"] > report["updated_at"]
    assert [entry["user_id"] for entry in world.history(report["id"]) if entry["event_scope"] == "update"] == [analyst.id]


@case(63, "who creates what is hidden from him learns no more than that")
def _(world: World) -> None:
    actor = world.actor(may=ANALYST, markings=("TLP:GREEN",))
    malware = world.add("malware", name=(name := world.name("malware")), markings=("TLP:RED",), description="secret")
    error = world.add_refused("malware", by=actor, name=name, description="mine", markings=("TLP:GREEN",))
    assert (error.name, "Restricted entity already exists" in error.message) == ("UNSUPPORTED_ERROR", True)
    for hidden in (malware["id"], "secret"):
        assert hidden not in error.message
    after = world.read("malware", malware["id"])
    assert (after["description"], names(after), after["updated_at"]) == ("secret", {"TLP:RED"}, malware["updated_at"])
    one, other = world.add("intrusionSet"), world.add("tool", fields="id")
    hidden = world.link("uses", one["id"], other["id"], markings=("TLP:RED",))
    with pytest.raises(GraphQLError) as refused:
        world.link("uses", one["id"], other["id"], by=actor)
    assert (refused.value.name, "Restricted relation already exists" in refused.value.message) == ("UNSUPPORTED_ERROR", True)
    assert hidden["id"] not in refused.value.message


@case(64, "a group may get every new marking")
def _(world: World) -> None:
    actor = world.actor(may=READER, auto_new_marking=True, person=True)
    with world.login(actor.email) as session:
        query = "query { me { allowed_marking { id } } }"
        before = world.with_session(session, query)["data"]["me"]["allowed_marking"]
        made = world.new_marking(world.name("kind"), 1)
        after = world.with_session(session, query)["data"]["me"]["allowed_marking"]
    assert made not in [entry["id"] for entry in before]
    assert made in [entry["id"] for entry in after]
    assert world.sees(actor, world.add("report", markings=(made,))["id"])


@case(65, "another group does not get it")
def _(world: World) -> None:
    actor = world.actor(may=READER)
    made = world.new_marking(world.name("kind"), 1)
    assert made not in [entry["id"] for entry in world.me(actor)["allowed_marking"]]
    assert not world.sees(actor, world.add("report", markings=(made,))["id"])


@case(66, "a deleted marking harms nobody who had it")
def _(world: World) -> None:
    made = world.new_marking(world.name("kind"), 1)
    actor = world.actor(may=READER, markings=(made, "TLP:GREEN"))
    report = world.add("report", markings=(made, "TLP:GREEN"))
    world.delete(made, root="markingDefinitionEdit")
    assert {entry["definition"] for entry in world.me(actor)["allowed_marking"]} == {"TLP:CLEAR", "TLP:GREEN"}
    assert names(world.read("report", report["id"], by=actor)) == {"TLP:GREEN"}
    query = "query G($id: String!) { group(id: $id) { allowed_marking { definition } } }"
    assert world.run(query, {"id": actor.group})["group"]["allowed_marking"] == [{"definition": "TLP:GREEN"}]


@case(67, "a new order of a marking changes who sees it, and is audited")
def _(world: World) -> None:
    kind = world.name("kind")
    low, high = world.new_marking(kind, 2), world.new_marking(kind, 3)
    keeper = world.actor(may=("KNOWLEDGE", "SETTINGS_SETMARKINGS", TOKENS), markings=(high,))
    actor = world.actor(may=READER, markings=(low,))
    report = world.add("report", markings=(high,))
    assert not world.sees(actor, report["id"])
    with pytest.raises(GraphQLError) as refused:
        world.patch(high, by=actor, root="markingDefinitionEdit", x_opencti_order=[1])
    forbidden(refused.value)
    world.patch(high, by=keeper, root="markingDefinitionEdit", x_opencti_order=[1])
    assert world.sees(actor, report["id"])
    assert keeper.id in [entry["user_id"] for entry in world.audits() if entry["context_data"]["entity_id"] == high]
    world.patch(high, by=keeper, root="markingDefinitionEdit", x_opencti_order=[3])
    assert not world.sees(actor, report["id"])


@case(69, "a default marking is applied only where the entity type says so, which none does")
def _(world: World) -> None:
    actor = world.actor(may=ANALYST, markings=("TLP:GREEN",))
    query = """mutation Default($id: ID!, $values: [String!]) {
        groupEdit(id: $id) { editDefaultMarking(input: { entity_type: "GLOBAL", values: $values }) { default_marking { entity_type values { definition } } } } }"""
    found = world.run(query, {"id": actor.group, "values": [MARKINGS["TLP:GREEN"]]})["groupEdit"]["editDefaultMarking"]["default_marking"]
    assert found == [{"entity_type": "GLOBAL", "values": [{"definition": "TLP:GREEN"}]}]
    assert names(world.add("report", by=actor)) == set()
    found = world.run(query, {"id": actor.group, "values": []})["groupEdit"]["editDefaultMarking"]["default_marking"]
    assert found == [{"entity_type": "GLOBAL", "values": []}]


@CASES.parametrize()
def test_case(world, check):
    check(world)
