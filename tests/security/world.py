"""Users with chosen rights and objects with chosen markings, and short words for what they try.

Every operation goes through `/graphql` with the token of the one who acts, in the documents that clients send.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
import requests
from harness import GraphQLError, Platform, api

PASSWORD = "Correct-Horse-42-Battery"  # noqa: S105 - a password of the tests

TOKENS = "APIACCESS_USETOKEN"
READER = ("KNOWLEDGE", TOKENS)
ANALYST = (
    "KNOWLEDGE_KNUPDATE_KNDELETE", "KNOWLEDGE_KNUPDATE_KNMERGE", "KNOWLEDGE_KNUPLOAD", "SETTINGS_SETLABELS", "SETTINGS_SETVOCABULARIES", TOKENS,
)  # fmt: skip
CONNECTOR = "Connector"

ADMIN_ID = "88ec0c6a-13ce-5e39-b486-354fe4a7084f"
MARKINGS = {
    "TLP:CLEAR": "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "TLP:GREEN": "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    "TLP:AMBER": "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    "TLP:AMBER+STRICT": "marking-definition--826578e1-40ad-459f-bc73-ede076f81f37",
    "TLP:RED": "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
    "PAP:CLEAR": "marking-definition--4cdff7eb-acb8-543f-8573-829eb9fe8b34",
    "PAP:GREEN": "marking-definition--89484dde-e3d2-547f-a6c6-d14824429eb1",
    "PAP:AMBER": "marking-definition--a6f20d4d-0360-59b6-ba22-3b48707828b1",
    "PAP:RED": "marking-definition--4e4e3b84-de45-53df-9d9b-b21207699fd8",
}
PUBLISHED = "2024-03-01T10:00:00.000Z"

LEVEL = """effective_confidence_level {
    max_confidence
    overrides { entity_type max_confidence source { type object { ... on Group { id name } } } }
    source { type object { ... on Group { id name } ... on User { id name } } }
}"""
ME = f"""query Me {{ me {{
    id name user_email
    capabilities {{ name }}
    groups {{ edges {{ node {{ id name }} }} }}
    allowed_marking {{ id standard_id definition }}
    {LEVEL}
}} }}"""
OBJECT = """
    id standard_id confidence created_at updated_at
    createdBy { id } creators { id } objectMarking { id definition } objectLabel { value }
    externalReferences { edges { node { source_name } } }
"""
MISSING_MARKINGS = "User trying to create the data has missing markings"
INSUFFICIENT = "User effective max confidence level is insufficient to update this element"


@dataclass(frozen=True)
class Actor:
    """A user with a token. `group` and `role` are the ids of what it got its rights from."""

    id: str
    name: str
    email: str
    token: str
    group: str = ""
    role: str = ""


@dataclass
class Shared:
    """What the cases of one platform share."""

    platform: Platform
    roles: dict[tuple[str, ...], str] = field(default_factory=dict)

    @cached_property
    def capabilities(self) -> dict[str, str]:
        """Capability ids by name."""
        found = self.platform.graphql("query Capabilities { capabilities(first: 1000) { edges { node { id name } } } }")
        return {edge["node"]["name"]: edge["node"]["id"] for edge in found["capabilities"]["edges"]}

    def role_named(self, name: str) -> str:
        found = self.platform.graphql("query Roles { roles(first: 1000) { edges { node { id name } } } }")
        return next(edge["node"]["id"] for edge in found["roles"]["edges"] if edge["node"]["name"] == name)

    def group_named(self, name: str) -> str:
        found = self.platform.graphql("query Groups { groups(first: 1000) { edges { node { id name } } } }")
        return next(edge["node"]["id"] for edge in found["groups"]["edges"] if edge["node"]["name"] == name)


def level(maximum: int | None, overrides: dict[str, int] | None = None) -> dict[str, Any]:
    """A `ConfidenceLevelInput`."""
    return {
        "max_confidence": maximum,
        "overrides": [{"entity_type": entity_type, "max_confidence": value} for entity_type, value in (overrides or {}).items()],
    }


def marking(name: str) -> str:
    """The standard id of one of the markings that every platform has; any other text is an id already."""
    return MARKINGS.get(name, name)


def edit(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """`EditInput`s that replace these attributes."""
    return [{"key": key, "value": value if isinstance(value, list) else [value]} for key, value in fields.items()]


class World:
    """One test's own corner of a platform."""

    def __init__(self, shared: Shared, prefix: str) -> None:
        self.shared = shared
        self.platform = shared.platform
        self.prefix = prefix
        self.counter = 0

    def name(self, what: str = "x") -> str:
        """A name that nothing else on the platform has."""
        self.counter += 1
        return f"{self.prefix} {what} {self.counter}"

    # --- asking -------------------------------------------------------------------------------------------------------------

    def run(self, query: str, variables: dict[str, Any] | None = None, *, by: Actor | None = None, headers: dict[str, str] | None = None) -> Any:
        """The data of an operation of `by`, or of the administrator."""
        return self.platform.graphql(query, variables, token=by.token if by else None, headers=headers)

    def refused(self, query: str, variables: dict[str, Any] | None = None, *, by: Actor | None = None,
                headers: dict[str, str] | None = None) -> GraphQLError:  # fmt: skip
        """An operation that must be refused; the error."""
        with pytest.raises(GraphQLError) as caught:
            self.run(query, variables, by=by, headers=headers)
        return caught.value

    def me(self, by: Actor | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
        return self.run(ME, by=by, headers=headers)["me"]

    def shut_out(self, token: str, headers: dict[str, str] | None = None) -> None:
        """A request with this token is one of nobody: the first guarded field says so, with HTTP status 200."""
        answer = self.platform.post("query Me { me { id } }", token=token, headers=headers)
        assert answer.status_code == 200, answer.text
        error = answer.json()["errors"][0]
        assert (error["name"], error["extensions"]["data"]["http_status"]) == ("AUTH_REQUIRED", 401), answer.text
        assert (answer.json().get("data") or {}).get("me") is None

    # --- rights -------------------------------------------------------------------------------------------------------------

    def role(self, *capabilities: str, own: bool = False) -> str:
        """A role with these capabilities. Tests share it; `own` makes one that the test may change."""
        key = tuple(sorted(capabilities))
        if not own and key in self.shared.roles:
            return self.shared.roles[key]
        role = self.run("mutation RoleCreate($input: RoleAddInput!) { roleAdd(input: $input) { id } }", {"input": {"name": self.name("role")}})
        role_id = role["roleAdd"]["id"]
        for capability in key:
            self.role_gets(role_id, capability)
        if not own:
            self.shared.roles[key] = role_id
        return role_id

    def role_gets(self, role_id: str, capability: str, by: Actor | None = None) -> None:
        query = "mutation Add($id: ID!, $input: InternalRelationshipAddInput!) { roleEdit(id: $id) { relationAdd(input: $input) { id } } }"
        given = {"relationship_type": "has-capability", "toId": self.shared.capabilities[capability]}
        self.run(query, {"id": role_id, "input": given}, by=by)

    def role_loses(self, role_id: str, capability: str) -> None:
        query = """mutation Delete($id: ID!, $toId: StixRef!) {
            roleEdit(id: $id) { relationDelete(toId: $toId, relationship_type: "has-capability") { id } } }"""
        self.run(query, {"id": role_id, "toId": self.shared.capabilities[capability]})

    def group(self, maximum: int | None = 100, overrides: dict[str, int] | None = None, *, markings: tuple[str, ...] = (),
              roles: tuple[str, ...] = (), **options: Any) -> str:  # fmt: skip
        """A group; `roles` are ids."""
        given = {"name": self.name("group"), "group_confidence_level": level(maximum, overrides), **options}
        group = self.run("mutation GroupAdd($input: GroupAddInput!) { groupAdd(input: $input) { id } }", {"input": given})["groupAdd"]["id"]
        for role in roles:
            self.group_gets(group, "has-role", role)
        for each in markings:
            self.group_gets(group, "accesses-to", marking(each))
        return group

    def group_gets(self, group: str, relationship_type: str, to: str, by: Actor | None = None) -> None:
        query = "mutation Add($id: ID!, $input: InternalRelationshipAddInput!) { groupEdit(id: $id) { relationAdd(input: $input) { id } } }"
        self.run(query, {"id": group, "input": {"relationship_type": relationship_type, "toId": to}}, by=by)

    def group_loses(self, group: str, relationship_type: str, to: str) -> None:
        query = """mutation Delete($id: ID!, $toId: StixRef!, $type: String!) {
            groupEdit(id: $id) { relationDelete(toId: $toId, relationship_type: $type) { id } } }"""
        self.run(query, {"id": group, "toId": to, "type": relationship_type})

    def group_patch(self, group: str, by: Actor | None = None, **fields: Any) -> None:
        query = "mutation Patch($id: ID!, $input: [EditInput]!) { groupEdit(id: $id) { fieldPatch(input: $input) { id } } }"
        self.run(query, {"id": group, "input": edit(fields)}, by=by)

    def add_user(self, groups: list[str] | None = None, by: Actor | None = None, **given: Any) -> dict[str, Any]:
        """`userAdd`; a service account without a password unless told otherwise, in these groups only."""
        name = self.name("user")
        fields = {
            "name": name, "user_email": f"{name.replace(' ', '.')}@example.org", "groups": groups or [], "prevent_default_groups": True,
            "user_service_account": True,
        }  # fmt: skip
        query = """mutation UserAdd($input: UserAddInput!) { userAdd(input: $input) {
            id standard_id name user_email account_status user_service_account external groups { edges { node { id name } } } } }"""
        return self.run(query, {"input": fields | given}, by=by)["userAdd"]

    def user(self, user_id: str, fields: str, by: Actor | None = None) -> Any:
        return self.run(f"query User($id: String!) {{ user(id: $id) {{ {fields} }} }}", {"id": user_id}, by=by)["user"]

    def user_patch(self, user_id: str, by: Actor | None = None, **fields: Any) -> None:
        query = "mutation Patch($id: ID!, $input: [EditInput]!) { userEdit(id: $id) { fieldPatch(input: $input) { id } } }"
        self.run(query, {"id": user_id, "input": edit(fields)}, by=by)

    def user_delete(self, user_id: str, by: Actor | None = None) -> None:
        self.run("mutation Delete($id: ID!) { userEdit(id: $id) { delete } }", {"id": user_id}, by=by)

    def add_token(self, user_id: str, by: Actor | None = None, duration: str = "UNLIMITED", name: str | None = None) -> dict[str, Any]:
        query = """mutation Token($userId: ID!, $input: UserTokenAddInput!) {
            userAdminTokenAdd(userId: $userId, input: $input) { token_id plaintext_token expires_at masked_token } }"""
        given = {"name": name or self.name("token"), "duration": duration}
        return self.run(query, {"userId": user_id, "input": given}, by=by)["userAdminTokenAdd"]

    def in_groups(self, *groups: str, **given: Any) -> Actor:
        """A user in these groups, with a token."""
        user = self.add_user(list(groups), **given)
        token = self.add_token(user["id"])["plaintext_token"]
        return Actor(user["id"], user["name"], user["user_email"], token, groups[0] if groups else "")

    def actor(self, maximum: int | None = 100, overrides: dict[str, int] | None = None, *, may: tuple[str, ...] | str = ANALYST,
              markings: tuple[str, ...] = (), person: bool = False, own_role: bool = False, **group: Any) -> Actor:  # fmt: skip
        """A user with these rights, all from one group of its own. `may` names capabilities, or is the name of a role."""
        role = self.shared.role_named(may) if isinstance(may, str) else self.role(*may, own=own_role)
        made = self.group(maximum, overrides, markings=markings, roles=(role,), **group)
        more = {"user_service_account": False, "password": PASSWORD} if person else {}
        found = self.in_groups(made, **more)
        return Actor(found.id, found.name, found.email, found.token, made, role)

    def connector(self, maximum: int | None = 100, overrides: dict[str, int] | None = None, *, markings: tuple[str, ...] = tuple(MARKINGS),
                  **more: Any) -> Actor:  # fmt: skip
        """A user of a connector: the role Connector and, unless told otherwise, every marking."""
        return self.actor(maximum, overrides, may=CONNECTOR, markings=markings, **more)

    def login(self, email: str, password: str = PASSWORD) -> requests.Session:
        """A session that is logged in by cookie, as the platform's own pages use it."""
        session = self.browser()
        answer = self.try_login(session, email, password)
        assert not answer.get("errors"), answer
        return session

    def browser(self) -> requests.Session:
        """A browser that shows the platform's own pages."""
        session = requests.Session()
        session.headers["Origin"] = self.platform.url
        return session

    def try_login(self, session: requests.Session, email: str, password: str) -> dict[str, Any]:
        """The answer of the login mutation."""
        query = "mutation Login($input: UserLoginInput!) { token(input: $input) }"
        body = {"query": query, "variables": {"input": {"email": email, "password": password}}}
        return session.post(f"{self.platform.url}/graphql", json=body, timeout=60).json()

    def with_session(self, session: requests.Session, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """An operation of a person in a browser: the cookie is all that says who."""
        return session.post(f"{self.platform.url}/graphql", json={"query": query, "variables": variables or {}}, timeout=60).json()

    # --- knowledge ----------------------------------------------------------------------------------------------------------

    def add(self, kind: str, by: Actor | None = None, fields: str = OBJECT, headers: dict[str, str] | None = None, **given: Any) -> dict[str, Any]:
        """`<kind>Add`, which creates or upserts; `markings` are names of boot markings or ids."""
        if kind != "label" and "value" not in given and "definition" not in given:
            given.setdefault("name", self.name(kind))
        if kind == "report":
            given.setdefault("published", PUBLISHED)
        if "markings" in given:
            given["objectMarking"] = [marking(each) for each in given.pop("markings")]
        type_name = kind[0].upper() + kind[1:]
        query = f"mutation Add($input: {type_name}AddInput!) {{ {kind}Add(input: $input) {{ {fields} }} }}"
        return self.run(query, {"input": given}, by=by, headers=headers)[f"{kind}Add"]

    def add_refused(self, kind: str, by: Actor, headers: dict[str, str] | None = None, **given: Any) -> GraphQLError:
        with pytest.raises(GraphQLError) as caught:
            self.add(kind, by=by, fields="id", headers=headers, **given)
        return caught.value

    def label(self, by: Actor | None = None) -> dict[str, Any]:
        return self.add("label", by=by, fields="id value", value=self.name("label").lower(), color="#ff0000")

    def reference(self, by: Actor | None = None) -> dict[str, Any]:
        query = "mutation Add($input: ExternalReferenceAddInput!) { externalReferenceAdd(input: $input) { id source_name } }"
        given = {"source_name": self.name("source"), "url": f"https://example.org/{uuid.uuid4()}"}
        return self.run(query, {"input": given}, by=by)["externalReferenceAdd"]

    def new_marking(self, kind: str, order: int, by: Actor | None = None) -> str:
        """A marking definition of a type; its internal id."""
        given = {"definition_type": kind, "definition": self.name(kind), "x_opencti_order": order}
        query = "mutation Add($input: MarkingDefinitionAddInput!) { markingDefinitionAdd(input: $input) { id } }"
        return self.run(query, {"input": given}, by=by)["markingDefinitionAdd"]["id"]

    def ipv4(self, by: Actor | None = None, value: str | None = None, **given: Any) -> dict[str, Any]:
        octets = uuid.uuid4().bytes
        value = value or f"{octets[0] % 220 + 1}.{octets[1]}.{octets[2]}.{octets[3] % 254 + 1}"
        if "markings" in given:
            given["objectMarking"] = [marking(each) for each in given.pop("markings")]
        query = """mutation Add($value: String!, $description: String, $objectMarking: [String], $objectLabel: [String]) {
            stixCyberObservableAdd(type: "IPv4-Addr", x_opencti_description: $description, objectMarking: $objectMarking,
                objectLabel: $objectLabel, IPv4Addr: { value: $value }) { id standard_id observable_value x_opencti_description } }"""
        return self.run(query, {"value": value, **given}, by=by)["stixCyberObservableAdd"]

    def link(self, kind: str, source: str, target: str, by: Actor | None = None, **given: Any) -> dict[str, Any]:
        if "markings" in given:
            given["objectMarking"] = [marking(each) for each in given.pop("markings")]
        query = """mutation Add($input: StixCoreRelationshipAddInput!) {
            stixCoreRelationshipAdd(input: $input) { id standard_id confidence description start_time stop_time } }"""
        given = {"relationship_type": kind, "fromId": source, "toId": target, **given}
        return self.run(query, {"input": given}, by=by)["stixCoreRelationshipAdd"]

    def forget_confidence(self, identifier: str) -> None:
        """Takes the confidence from an object, as data of older platforms may be without: no operation does that, so the store is changed while
        the platform is down."""
        assert self.platform.terminate() == 0
        with sqlite3.connect(self.platform.data_dir / "ferrocti.db") as store:
            change = "UPDATE object SET confidence = NULL, attributes = json_remove(attributes, '$.confidence') WHERE internal = ?"
            assert store.execute(change, (uuid.UUID(identifier).bytes,)).rowcount == 1
        store.close()
        self.platform.start()

    def read(self, kind: str, identifier: str, more: str = "", by: Actor | None = None) -> dict[str, Any] | None:
        query = f"query Read($id: String!) {{ {kind}(id: $id) {{ {OBJECT} name description {more} }} }}"
        return self.run(query, {"id": identifier}, by=by)[kind]

    def sees(self, by: Actor, identifier: str) -> bool:
        """Whether a user finds an object by its id."""
        query = "query One($id: String!) { stixObjectOrStixRelationship(id: $id) { ... on BasicObject { id } ... on BasicRelationship { id } } }"
        return self.run(query, {"id": identifier}, by=by)["stixObjectOrStixRelationship"] is not None

    def patch(self, identifier: str, by: Actor | None = None, root: str = "stixDomainObjectEdit", **fields: Any) -> None:
        query = f"mutation Patch($id: ID!, $input: [EditInput]!) {{ {root}(id: $id) {{ fieldPatch(input: $input) {{ id }} }} }}"
        self.run(query, {"id": identifier, "input": edit(fields)}, by=by)

    def relate(self, identifier: str, relationship_type: str, to: str, by: Actor | None = None, root: str = "stixDomainObjectEdit") -> None:
        query = f"mutation Add($id: ID!, $input: StixRefRelationshipAddInput!) {{ {root}(id: $id) {{ relationAdd(input: $input) {{ id }} }} }}"
        self.run(query, {"id": identifier, "input": {"relationship_type": relationship_type, "toId": to}}, by=by)

    def unrelate(self, identifier: str, relationship_type: str, to: str, by: Actor | None = None, root: str = "stixDomainObjectEdit") -> None:
        query = f"""mutation Delete($id: ID!, $toId: StixRef!, $type: String!) {{
            {root}(id: $id) {{ relationDelete(toId: $toId, relationship_type: $type) {{ id }} }} }}"""
        self.run(query, {"id": identifier, "toId": to, "type": relationship_type}, by=by)

    def delete(self, identifier: str, by: Actor | None = None, root: str = "stixDomainObjectEdit") -> None:
        self.run(f"mutation Delete($id: ID!) {{ {root}(id: $id) {{ delete }} }}", {"id": identifier}, by=by)

    def merge(self, target: str, sources: list[str], by: Actor | None = None) -> None:
        query = "mutation Merge($id: ID!, $sources: [String]!) { stixEdit(id: $id) { merge(stixObjectsIds: $sources) { id } } }"
        self.run(query, {"id": target, "sources": sources}, by=by)

    # --- delivering -------------------------------------------------------------------------------------------------------------

    def register(self, by: Actor) -> dict[str, Any]:
        """Registers a connector of this user; its id and configuration."""
        return api.register(self.platform, by.token, api.new_id())

    def deliver(self, by: Actor, objects: list[dict[str, Any]], connector: dict[str, Any] | None = None) -> dict[str, Any]:
        """Pushes objects through the ingestion under a work of their own; the completed work."""
        from harness import stix

        connector = connector or self.register(by)
        return api.deliver(self.platform, by.token, connector["id"], stix.bundle(objects))

    # --- history ----------------------------------------------------------------------------------------------------------------

    def audits(self, by: Actor | None = None, first: int = 100) -> list[dict[str, Any]]:
        """The newest audit lines, newest first."""
        query = """query AuditList($first: Int) { audits(first: $first, orderBy: timestamp, orderMode: desc) { edges { node {
            id event_type event_scope event_access event_status timestamp user_id user_metadata context_data { entity_id entity_name entity_type message } raw_data
        } } } }"""
        return [edge["node"] for edge in self.run(query, {"first": first}, by=by)["audits"]["edges"]]

    def history(self, identifier: str, by: Actor | None = None) -> list[dict[str, Any]]:
        """What happened to an object, newest first."""
        query = """query History($filters: FilterGroup) { logs(first: 100, orderBy: timestamp, orderMode: desc, filters: $filters) { edges { node {
            id event_type event_scope user_id timestamp context_data { entity_id message } } } } }"""
        wanted = {"key": ["context_data.id"], "values": [identifier], "operator": "eq", "mode": "or"}
        filters = {"mode": "and", "filters": [wanted], "filterGroups": []}
        return [edge["node"] for edge in self.run(query, {"filters": filters}, by=by)["logs"]["edges"]]

    def audited(self, message: str, **fields: str) -> list[dict[str, Any]]:
        """The audit lines whose message contains this text and whose fields are these."""
        return [
            entry for entry in self.audits()
            if message in (entry["context_data"] or {}).get("message", "") and all(entry[key] == value for key, value in fields.items())
        ]  # fmt: skip


def doc_code(error: GraphQLError) -> str | None:
    """The finer code of an error, wherever clients look for it."""
    inner = (error.error.get("extensions") or {}).get("data") or {}
    return inner.get("doc_code") or error.data.get("doc_code")


def insufficient(error: GraphQLError) -> None:
    """Refused because the object's confidence is above the user's level."""
    assert (error.name, doc_code(error)) == ("FUNCTIONAL_ERROR", "INSUFFICIENT_CONFIDENCE_LEVEL"), error
    assert INSUFFICIENT in error.message


def forbidden(error: GraphQLError) -> None:
    """Refused for want of a capability."""
    assert error.name == "FORBIDDEN_ACCESS", error
    assert "You are not allowed to do this" in error.message


def text_of(value: Any) -> str:
    """Everything in an answer, to search in."""
    return json.dumps(value, ensure_ascii=False)


def in_the_past(seconds: float = 3600) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - seconds))
