"""Groups, roles and capabilities: what guards what, and that a change counts at the next request."""

from __future__ import annotations

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLList, GraphQLNonNull, build_schema, get_named_type, is_composite_type
from harness import GraphQLError, api
from harness.platform import ROOT

from .cases import Cases
from .world import ANALYST, MARKINGS, READER, TOKENS, World, forbidden

CASES = Cases()
case = CASES.case

# What is answered without a login: the login itself.
PUBLIC = {"Mutation.token"}

GROUP = """id standard_id name description default_assignation auto_new_marking no_creators restrict_delete
    allowed_marking { standard_id } roles { edges { node { name } } } group_confidence_level { max_confidence overrides { entity_type } }"""
GROUPS = {
    "Default": ("group--a7991a4f-6192-59a4-87d3-d006d2c41cc8", True, False, ["Default"], 0),
    "Administrators": ("group--1d9d9a2a-d7e1-5a22-8e90-572d597750ac", False, True, ["Administrator"], len(MARKINGS)),
    "Connectors": ("group--599fc7ab-02f4-50c1-94f9-4b68da122010", False, True, ["Connector"], len(MARKINGS)),
}
# Upstream gives its connectors MODULES_MODMANAGE; here a connector manages what its user registered, and no other.
ROLES = {
    "Default": ("role--a7991a4f-6192-59a4-87d3-d006d2c41cc8", {"KNOWLEDGE", TOKENS}),
    "Administrator": ("role--22abb1ff-6ea9-5833-8bf1-aea5c4c971ce", {"BYPASS"}),
    "Connector": ("role--b375ed46-a11c-56d5-a2d4-0c654f61eeee", {
        "KNOWLEDGE_KNUPDATE_KNDELETE", "KNOWLEDGE_KNUPDATE_KNBYPASSREFERENCE", "KNOWLEDGE_KNUPDATE_KNBYPASSFIELDS", "KNOWLEDGE_KNUPLOAD",
        "KNOWLEDGE_KNASKIMPORT", "KNOWLEDGE_KNGETEXPORT_KNASKEXPORT", "KNOWLEDGE_KNENRICHMENT", "CONNECTORAPI", "MODULES", "TAXIIAPI",
        "SETTINGS_SETMARKINGS", "SETTINGS_SETLABELS", "SETTINGS_SETVOCABULARIES", "SETTINGS_SETKILLCHAINPHASES", TOKENS,
    }),
}  # fmt: skip
CAPABILITIES = {
    "SETTINGS_SETLABELS": "capability--0f78ff7d-7197-568f-ac8c-5d7842c07f0f",
    "BYPASS": "capability--5e270c74-931e-5603-8708-e0c0ff723e3d",
    "KNOWLEDGE": "capability--cbc68f4b-1d0c-51f6-a1b9-10344503b493",
    "CONNECTORAPI": "capability--3b45a9ef-b336-5539-be9a-58e3509648e9",
    "MODULES_MODMANAGE": "capability--e8846206-6a51-5870-aa18-89ed158f3810",
    "APIACCESS_USETOKEN": "capability--94ee8e28-c89e-526f-a699-42e736a935b5",
    "SETTINGS_SETACCESSES": "capability--d3247217-10b2-50cf-9c32-3cd3b7196d85",
}


@case(28, "a fresh platform has its groups, roles and capabilities")
def _(world: World) -> None:
    groups = {edge["node"]["name"]: edge["node"] for edge in world.run(f"query {{ groups {{ edges {{ node {{ {GROUP} }} }} }} }}")["groups"]["edges"]}
    for name, (standard_id, default, auto, roles, markings) in GROUPS.items():
        group = groups[name]
        assert group["standard_id"] == standard_id
        assert (group["default_assignation"], group["auto_new_marking"]) == (default, auto)
        assert (group["no_creators"], group["restrict_delete"]) == (False, False)
        assert [edge["node"]["name"] for edge in group["roles"]["edges"]] == roles
        assert len(group["allowed_marking"]) == markings
        assert group["group_confidence_level"] == {"max_confidence": 100, "overrides": []}
    query = "query { roles(first: 100) { edges { node { name standard_id capabilities { name } } } } }"
    found = {edge["node"]["name"]: edge["node"] for edge in world.run(query)["roles"]["edges"]}
    for name, (standard_id, capabilities) in ROLES.items():
        assert found[name]["standard_id"] == standard_id
        assert {entry["name"] for entry in found[name]["capabilities"]} == capabilities
    query = "query { capabilities(first: 1000) { edges { node { name standard_id description attribute_order } } } }"
    nodes = [edge["node"] for edge in world.run(query)["capabilities"]["edges"]]
    assert len(nodes) == 56
    assert [node["attribute_order"] for node in nodes] == sorted(node["attribute_order"] for node in nodes)
    assert all(node["description"] for node in nodes)
    by_name = {node["name"]: node["standard_id"] for node in nodes}
    assert {name: by_name[name] for name in CAPABILITIES} == CAPABILITIES


@case(29, "who may delete may create, but not restrict to organisations")
def _(world: World) -> None:
    actor = world.actor(may=("KNOWLEDGE_KNUPDATE_KNDELETE", TOKENS))
    report = world.add("report", by=actor)
    kept = world.add("report", by=actor)
    world.delete(report["id"], by=actor, root="reportEdit")
    assert world.read("report", report["id"]) is None
    organization = world.add("organization", fields="id")
    query = """mutation Restrict($id: ID!, $organizationId: [ID!]!) {
        stixCoreObjectEdit(id: $id) { restrictionOrganizationAdd(organizationId: $organizationId) { id } } }"""
    forbidden(world.refused(query, {"id": kept["id"], "organizationId": [organization["id"]]}, by=actor))


@case(30, "who may read may not write")
def _(world: World) -> None:
    actor = world.actor(may=READER)
    report = world.add("report")
    assert world.read("report", report["id"], by=actor)["id"] == report["id"]
    error = world.add_refused("report", by=actor, name=(name := world.name("report")))
    forbidden(error)
    assert error.error["extensions"]["data"]["http_status"] == 403
    assert api.named(world.platform, name) == []
    for attempt in (lambda: world.patch(report["id"], by=actor, description="x"), lambda: world.delete(report["id"], by=actor)):
        with pytest.raises(GraphQLError) as refused:
            attempt()
        forbidden(refused.value)


@case(31, "bypassing references is not bypassing everything")
def _(world: World) -> None:
    for capability in ("KNOWLEDGE_KNUPDATE_KNBYPASSREFERENCE", "KNOWLEDGE_KNUPDATE_KNBYPASSFIELDS"):
        actor = world.actor(may=(capability, TOKENS))
        me = world.me(actor)
        assert "BYPASS" not in [entry["name"] for entry in me["capabilities"]]
        assert me["effective_confidence_level"]["source"]["type"] == "Group"
        for attempt in (
            lambda: world.label(by=actor), lambda: world.new_marking("T", 1, by=actor), lambda: world.add_user(by=actor),  # noqa: B023
            lambda: world.group_patch(world.group(), by=actor, name="x"),  # noqa: B023
        ):  # fmt: skip
            with pytest.raises(GraphQLError) as refused:
                attempt()
            forbidden(refused.value)
        hidden = world.add("report", markings=("TLP:CLEAR",))
        assert world.read("report", hidden["id"], by=actor) is None


@case(32, "who may manage connectors may list them")
def _(world: World) -> None:
    actor = world.actor(may=("MODULES_MODMANAGE", TOKENS))
    assert isinstance(world.run("query { connectors { id } }", by=actor)["connectors"], list)


@case(33, "who may list connectors may not reset them")
def _(world: World) -> None:
    connector = world.register(world.connector())
    actor = world.actor(may=("MODULES", TOKENS))
    assert connector["id"] in [entry["id"] for entry in world.run("query { connectors { id } }", by=actor)["connectors"]]
    for field in ("resetStateConnector", "deleteConnector"):
        selection = " { id }" if field == "resetStateConnector" else ""
        forbidden(world.refused(f"mutation Act($id: ID!) {{ {field}(id: $id){selection} }}", {"id": connector["id"]}, by=actor))
    assert api.connector(world.platform, connector["id"])["id"] == connector["id"]


@case(34, "the connectors' interface opens neither labels nor knowledge")
def _(world: World) -> None:
    actor = world.actor(may=("CONNECTORAPI", TOKENS))
    assert world.register(actor)["id"]
    with pytest.raises(GraphQLError) as refused:
        world.label(by=actor)
    forbidden(refused.value)
    forbidden(world.refused("query { reports { edges { node { id } } } }", by=actor))


@case(35, "a role given to a group counts at the next request, by token and by session")
def _(world: World) -> None:
    actor = world.actor(may=READER, person=True)
    with world.login(actor.email) as session:
        query = "mutation Add($input: ReportAddInput!) { reportAdd(input: $input) { id } }"
        given = lambda: {"input": {"name": world.name("report"), "published": "2024-03-01T10:00:00Z"}}  # noqa: E731
        assert world.with_session(session, query, given())["errors"][0]["name"] == "FORBIDDEN_ACCESS"
        world.group_gets(actor.group, "has-role", world.role(*ANALYST))
        assert world.with_session(session, query, given())["data"]["reportAdd"]["id"]
    assert world.add("report", by=actor)["id"]


@case(36, "a capability taken from a role is gone at the next request")
def _(world: World) -> None:
    actor = world.actor(may=ANALYST, own_role=True)
    world.label(by=actor)
    world.role_loses(actor.role, "SETTINGS_SETLABELS")
    with pytest.raises(GraphQLError) as refused:
        world.label(by=actor)
    forbidden(refused.value)
    world.role_gets(actor.role, "SETTINGS_SETLABELS")
    world.label(by=actor)


@case(37, "who leaves a group loses what it gave")
def _(world: World) -> None:
    poor = world.group(20, roles=(world.role(*READER),))
    rich = world.group(90, markings=("TLP:RED",), roles=(world.role(*ANALYST),))
    actor = world.in_groups(poor, rich)
    red = world.add("report", markings=("TLP:RED",))
    assert world.me(actor)["effective_confidence_level"]["max_confidence"] == 90
    assert world.sees(actor, red["id"])
    query = """mutation Leave($id: ID!, $group_id: StixRef!) {
        userEdit(id: $id) { relationDelete(toId: $group_id, relationship_type: "member-of") { id } } }"""
    world.run(query, {"id": actor.id, "group_id": rich})
    me = world.me(actor)
    assert me["effective_confidence_level"]["max_confidence"] == 20
    assert me["allowed_marking"] == []
    assert {entry["name"] for entry in me["capabilities"]} == set(READER)
    assert not world.sees(actor, red["id"])
    forbidden(world.add_refused("report", by=actor))


@case(38, "what asks for a login alone is refused to nobody in particular")
def _(world: World) -> None:
    nobody = world.actor(may=(TOKENS,))
    for query in ("query { me { id } }", "query { about { version } }"):
        assert world.run(query, by=nobody)
        error = world.platform.refused(query, token="")
        assert error["name"] == "AUTH_REQUIRED"


def literal(kind) -> str:  # noqa: ANN001 - a GraphQL type
    """Some value of an input type."""
    if isinstance(kind, GraphQLNonNull):
        return literal(kind.of_type)
    if isinstance(kind, GraphQLList):
        return "[]"
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        fields = [f"{name}: {literal(field.type)}" for name, field in kind.fields.items() if isinstance(field.type, GraphQLNonNull)]
        return "{" + ", ".join(fields) + "}"
    scalars = {"Int": "1", "Float": "1.5", "Boolean": "true", "DateTime": '"2024-03-01T10:00:00.000Z"', "Upload": "null"}
    return scalars.get(kind.name, '"x"')


@case(39, "every operation asks for a login or is known to be public")
def _(world: World) -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text(encoding="utf-8"))
    asked, open_fields = 0, set()
    for root in (schema.query_type, schema.mutation_type):
        for name, definition in root.fields.items():
            arguments = [f"{key}: {literal(value.type)}" for key, value in definition.args.items() if isinstance(value.type, GraphQLNonNull)]
            selection = " { __typename }" if is_composite_type(get_named_type(definition.type)) else ""
            given = f"({', '.join(arguments)})" if arguments else ""
            operation = "query" if root is schema.query_type else "mutation"
            answer = world.platform.post(f"{operation} {{ {name}{given}{selection} }}", token="").json()
            asked += 1
            if "errors" not in answer or answer["errors"][0].get("name") != "AUTH_REQUIRED":
                open_fields.add(f"{root.name}.{name}")
    assert asked > 250
    assert open_fields == PUBLIC


@case(41, "who is restricted deletes only his own")
def _(world: World) -> None:
    actor = world.actor(may=ANALYST, restrict_delete=True)
    others, own = world.add("report"), world.add("report", by=actor)
    with pytest.raises(GraphQLError) as refused:
        world.delete(others["id"], by=actor)
    assert refused.value.name == "FUNCTIONAL_ERROR"
    assert "Restricted to delete this element (not the technical creator)" in refused.value.message
    assert world.read("report", others["id"])
    world.delete(own["id"], by=actor)
    assert world.read("report", own["id"]) is None


@case(42, "the restriction holds only if all groups have it")
def _(world: World) -> None:
    role = world.role(*ANALYST)
    actor = world.in_groups(world.group(roles=(role,), restrict_delete=True), world.group(roles=(role,)))
    others = world.add("report")
    world.delete(others["id"], by=actor)
    assert world.read("report", others["id"]) is None


@case(43, "without creators nobody is named as the creator")
def _(world: World) -> None:
    role = world.role(*ANALYST)
    silent = world.in_groups(world.group(roles=(role,), no_creators=True), world.group(roles=(role,), no_creators=True))
    half = world.in_groups(world.group(roles=(role,), no_creators=True), world.group(roles=(role,)))
    assert not world.add("report", by=silent)["creators"]
    assert [entry["id"] for entry in world.add("report", by=half)["creators"]] == [half.id]


@case(47, "a typed deletion deletes only its type")
def _(world: World) -> None:
    report, malware = world.add("report"), world.add("malware")
    for root, identifier in (("individualEdit", report["id"]), ("malwareEdit", report["id"]), ("reportEdit", malware["id"]), ("labelEdit", report["id"])):
        with pytest.raises(GraphQLError) as refused:
            world.delete(identifier, root=root)
        assert refused.value.name in ("FUNCTIONAL_ERROR", "RESOURCE_NOT_FOUND_ERROR", "RESOURCE_NOT_FOUND", "ALREADY_DELETED_ERROR"), refused.value
    assert world.read("report", report["id"])
    assert world.read("malware", malware["id"])


@CASES.parametrize()
def test_case(world, check):
    check(world)
