"""What somebody may try who should not: each attempt with the answer that refuses it."""

from __future__ import annotations

import concurrent.futures
import json
import statistics
import time
import uuid

import pika.exceptions
import pytest
import requests
from harness import GraphQLError, api, stix, wait_until
from harness.amqp import Publisher, message

from .world import ADMIN_ID, ANALYST, INSUFFICIENT, MARKINGS, PASSWORD, READER, TOKENS, Shared, World, forbidden, level, text_of

MANAGER = ("KNOWLEDGE", "SETTINGS_SETACCESSES", "SETTINGS_SETMARKINGS", "SETTINGS_SECURITYACTIVITY", TOKENS)
LOGIN = "mutation Login($input: UserLoginInput!) { token(input: $input) }"
BUSINESS = ("FUNCTIONAL_ERROR", "UNSUPPORTED_ERROR", "VALIDATION_ERROR", "RESOURCE_NOT_FOUND_ERROR", "RESOURCE_NOT_FOUND", "MISSING_REFERENCE_ERROR")


# --- things that are not there, or not what they should be --------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", [
    str(uuid.uuid4()), "", "x", "user--" + str(uuid.uuid4()), "../../etc/passwd", "' OR 1=1 --", "\u0000", "é" * 300, "9" * 5000, "null",
], ids=["unknown", "empty", "word", "standard", "path", "sql", "nul", "letters", "long", "null"])  # fmt: skip
def test_unknown_ids_change_nothing(world, identifier):
    for query in (
        "mutation M($id: ID!) { userEdit(id: $id) { delete } }", "mutation M($id: ID!) { groupEdit(id: $id) { delete } }",
        "mutation M($id: ID!) { roleEdit(id: $id) { delete } }", "mutation M($id: ID!) { markingDefinitionEdit(id: $id) { delete } }",
        "mutation M($id: ID!) { stixDomainObjectEdit(id: $id) { delete } }", "mutation M($id: ID!) { sessionKill(id: $id) }",
        'mutation M($id: ID!) { userEdit(id: $id) { relationAdd(input: { relationship_type: "member-of", toId: $id }) { id } } }',
        'mutation M($id: ID!) { userAdminTokenAdd(userId: $id, input: { name: "x", duration: UNLIMITED }) { token_id } }',
        "mutation M($id: ID!) { userAdminTokenRevoke(userId: $id, id: $id) }",
    ):  # fmt: skip
        error = world.refused(query, {"id": identifier})
        assert error.name in (*BUSINESS, "ALREADY_DELETED_ERROR"), error
    for query in ("query Q($id: String!) { user(id: $id) { id } }", "query Q($id: String!) { group(id: $id) { id } }", "query Q($id: String!) { role(id: $id) { id } }"):
        assert list(world.run(query, {"id": identifier}).values()) == [None]


def test_relations_join_only_what_they_are_for(world):
    """A role into a role, a user into a user, a marking as a role: refused, whatever the direction."""
    user, group, role = world.add_user()["id"], world.group(), world.role(*READER, own=True)
    red = MARKINGS["TLP:RED"]
    given = "($id: ID!, $input: InternalRelationshipAddInput!)"
    edits = {
        edit: f"mutation M{given} {{ {edit}(id: $id) {{ relationAdd(input: $input) {{ id }} }} }}" for edit in ("userEdit", "groupEdit", "roleEdit")
    }
    kinds = ("member-of", "has-role", "has-capability", "accesses-to", "participate-to", "has-role ", "uses", "object-marking", "")
    allowed = {("userEdit", "member-of", group), ("groupEdit", "has-role", role), ("groupEdit", "accesses-to", red)}
    tried = 0
    for edit, subject in (("userEdit", user), ("groupEdit", group), ("roleEdit", role)):
        for kind in kinds:
            for target in (user, group, role, red):
                if (edit, kind, target) in allowed:
                    continue
                error = world.refused(edits[edit], {"id": subject, "input": {"relationship_type": kind, "toId": target}})
                assert error.name in BUSINESS, error
                tried += 1
    assert tried == 3 * len(kinds) * 4 - len(allowed)
    assert world.user(user, "groups { edges { node { id } } }")["groups"]["edges"] == []
    assert "Only internal-relationship can be added through this method" in world.refused(
        edits["userEdit"], {"id": user, "input": {"relationship_type": "uses", "toId": group}}
    ).message


def test_a_role_in_a_ring_of_groups_gives_what_it_says_and_no_more(world):
    """Roles and groups do not nest: the same role over several groups, added twice, is one role."""
    role = world.role(*READER)
    groups = [world.group(roles=(role,)) for _ in range(3)]
    for group in groups:
        world.group_gets(group, "has-role", role)
    actor = world.in_groups(*groups)
    assert [entry["name"] for entry in world.me(actor)["capabilities"]].count("KNOWLEDGE") == 1
    assert len(world.user(actor.id, "roles { id }")["roles"]) == 1


# --- the last administrator -----------------------------------------------------------------------------------------------------------


def test_the_last_administrator_can_not_be_lost(world):
    for act in (
        lambda: world.user_delete(ADMIN_ID), lambda: world.user_patch(ADMIN_ID, account_status="Inactive"),
        lambda: world.user_patch(ADMIN_ID, account_lock_after_date="2001-01-01T00:00:00.000Z"),
        lambda: world.user_patch(ADMIN_ID, account_status="Locked"),
    ):  # fmt: skip
        with pytest.raises(GraphQLError) as refused:
            act()
        assert refused.value.name in (*BUSINESS, "FORBIDDEN_ACCESS"), refused.value
    assert world.me()["id"] == ADMIN_ID
    assert "BYPASS" in text_of(world.me()["capabilities"])


def test_the_administrator_stays_one_whatever_becomes_of_its_groups(make_platform, prefix):
    """The configured administrator needs no group for its rights."""
    world = World(Shared(make_platform("groups").start()), prefix)
    group = world.shared.group_named("Administrators")
    role = world.shared.role_named("Administrator")
    for act in (
        lambda: world.group_loses(group, "has-role", role), lambda: world.role_loses(role, "BYPASS"),
        lambda: world.run("mutation D($id: ID!) { roleEdit(id: $id) { delete } }", {"id": role}),
    ):  # fmt: skip
        try:
            act()
        except GraphQLError as error:
            assert error.name in (*BUSINESS, "FORBIDDEN_ACCESS")
        assert "BYPASS" in text_of(world.me()["capabilities"])
        assert world.me()["effective_confidence_level"]["max_confidence"] == 100


# --- giving oneself more --------------------------------------------------------------------------------------------------------------


def test_who_manages_users_does_not_become_administrator(world):
    manager = world.actor(50, may=MANAGER, own_role=True)
    administrators, administrator = world.shared.group_named("Administrators"), world.shared.role_named("Administrator")
    other = world.add_user()["id"]
    join = 'mutation J($id: ID!, $group: ID!) { userEdit(id: $id) { relationAdd(input: { relationship_type: "member-of", toId: $group }) { id } } }'
    member = """mutation J($group: ID!, $user: ID!) { groupEdit(id: $group) {
        relationAdd(input: { relationship_type: "member-of", fromId: $user }) { id } } }"""
    for act in (
        lambda: world.run(join, {"id": manager.id, "group": administrators}, by=manager),
        lambda: world.run(join, {"id": other, "group": administrators}, by=manager),
        lambda: world.run(member, {"group": administrators, "user": manager.id}, by=manager),
        lambda: world.add_user([administrators], by=manager),
        lambda: world.group_gets(manager.group, "has-role", administrator, by=manager),
        lambda: world.role_gets(manager.role, "BYPASS", by=manager),
        lambda: world.user_patch(ADMIN_ID, by=manager, password=PASSWORD),
        lambda: world.user_patch(ADMIN_ID, by=manager, user_email="mine@example.org"),
        lambda: world.user_delete(ADMIN_ID, by=manager),
        lambda: world.add_token(ADMIN_ID, by=manager),
        lambda: world.run("mutation R($id: ID!) { userEdit(id: $id) { tokenRenew { api_token } } }", {"id": ADMIN_ID}, by=manager),
        lambda: world.run("mutation K($id: ID!) { userSessionsKill(id: $id) }", {"id": ADMIN_ID}, by=manager),
    ):
        with pytest.raises(GraphQLError) as refused:
            act()
        assert refused.value.name in ("FORBIDDEN_ACCESS", "FUNCTIONAL_ERROR"), refused.value
    assert {entry["name"] for entry in world.me(manager)["capabilities"]} == set(MANAGER)
    assert world.user(ADMIN_ID, "user_email")["user_email"] != "mine@example.org"


def test_who_manages_nothing_administrates_nothing(world):
    analyst = world.actor(50)
    other = world.add_user()["id"]
    for act in (
        lambda: world.add_user(by=analyst), lambda: world.add_token(other, by=analyst), lambda: world.user_delete(other, by=analyst),
        lambda: world.user_patch(analyst.id, by=analyst, user_confidence_level=level(100)),
        lambda: world.group_patch(analyst.group, by=analyst, group_confidence_level=level(100)),
        lambda: world.group_gets(analyst.group, "accesses-to", MARKINGS["TLP:RED"], by=analyst),
        lambda: world.role_gets(analyst.role, "SETTINGS_SETACCESSES", by=analyst),
        lambda: world.new_marking("TLP", 0, by=analyst),
        lambda: world.patch(MARKINGS["TLP:RED"], by=analyst, root="markingDefinitionEdit", x_opencti_order=[1]),
        lambda: world.run("query { users { edges { node { id } } } }", by=analyst), lambda: world.user(other, "id", by=analyst),
        lambda: world.run("query { groups { edges { node { id } } } }", by=analyst), lambda: world.run("query { sessions { user { id } } }", by=analyst),
        lambda: world.run("query { roles { edges { node { id } } } }", by=analyst), lambda: world.run("query { capabilities { edges { node { id } } } }", by=analyst),
    ):  # fmt: skip
        with pytest.raises(GraphQLError) as refused:
            act()
        forbidden(refused.value)


def test_creators_tell_a_name_and_no_more(world):
    """What is shown of a user beside an object: no address, no groups, no tokens."""
    author, reader = world.actor(), world.actor(may=READER)
    report = world.add("report", by=author)
    shown = world.read("report", report["id"], by=reader)
    assert [entry["id"] for entry in shown["creators"]] == [author.id]
    query = "query R($id: String!) { report(id: $id) { creators { id name entity_type } } }"
    assert author.email not in text_of(world.run(query, {"id": report["id"]}, by=reader))
    for field in ("user_email", "api_tokens { id }", "api_token", "password", "sessions { id }", "groups { edges { node { id } } }"):
        answer = world.platform.post(f"query {{ report(id: \"{report['id']}\") {{ creators {{ {field} }} }} }}", token=reader.token).json()
        assert answer.get("errors"), f"{field} of a creator is served"


def test_what_is_marked_opens_to_nobody_by_marking_it_anew(world):
    """A marking that came with order 0 under a type that people hold would open nothing that they do not see already."""
    connector = world.connector(markings=("TLP:GREEN",))
    kind, definition = "TLP", world.name("TLP:FAKE")
    identifier = f"marking-definition--{uuid.uuid4()}"
    fake = {
        "type": "marking-definition", "spec_version": "2.1", "id": identifier, "created": stix.CREATED, "definition_type": kind,
        "definition": {"TLP": definition}, "name": definition, "x_opencti_definition_type": kind, "x_opencti_definition": definition, "x_opencti_order": 0,
    }  # fmt: skip
    red = world.add("report", markings=("TLP:RED",))
    world.deliver(connector, [fake])
    assert not world.sees(connector, red["id"])
    lowered = fake | {"id": MARKINGS["TLP:RED"], "name": "TLP:RED", "x_opencti_definition": "TLP:RED", "definition": {"tlp": "red"}, "x_opencti_order": 1}
    world.deliver(connector, [lowered])
    assert not world.sees(connector, red["id"]), "a bundle opened TLP:RED"
    query = "query M($id: String!) { markingDefinition(id: $id) { x_opencti_order } }"
    assert world.run(query, {"id": MARKINGS["TLP:RED"]})["markingDefinition"]["x_opencti_order"] == 5


# --- logins ----------------------------------------------------------------------------------------------------------------------------


def test_a_second_session_does_not_take_over_the_first_ones_id(world):
    """Fixation: a cookie that somebody planted is not the session after the login."""
    person = world.actor(may=READER, person=True)
    planted = "A" * 43
    with world.browser() as session:
        session.cookies.set("opencti_session", planted, domain="127.0.0.1", path="/")
        answer = session.post(f"{world.platform.url}/graphql", json={"query": LOGIN, "variables": {"input": {"email": person.email, "password": PASSWORD}}}, timeout=60)
        assert not answer.json().get("errors")
        fresh = answer.cookies["opencti_session"]
        assert fresh != planted
        assert "HttpOnly" in answer.headers["set-cookie"]
    with world.browser() as thief:
        thief.cookies.set("opencti_session", planted, domain="127.0.0.1", path="/")
        assert world.with_session(thief, "query { me { id } }")["errors"][0]["name"] == "AUTH_REQUIRED"
    with world.login(person.email) as again:
        assert again.cookies["opencti_session"] != fresh


def test_a_logout_ends_the_session_for_every_copy_of_the_cookie(world):
    person = world.actor(may=READER, person=True)
    with world.login(person.email) as session, world.browser() as copy:
        copy.cookies.set("opencti_session", session.cookies["opencti_session"], domain="127.0.0.1", path="/")
        assert world.with_session(copy, "query { me { id } }")["data"]["me"]["id"] == person.id
        assert not world.with_session(session, "mutation { logout }").get("errors")
        assert world.with_session(copy, "query { me { id } }")["errors"][0]["name"] == "AUTH_REQUIRED"


def test_killed_and_locked_sessions_end_at_once(world):
    person = world.actor(may=READER, person=True)
    me = "query { me { id } }"
    with world.login(person.email) as one, world.login(person.email) as other, world.browser() as late:
        sessions = world.user(person.id, "sessions { id }")["sessions"]
        assert len(sessions) == 2
        assert not any(session.cookies["opencti_session"] == entry["id"] for session in (one, other) for entry in sessions), "a cookie is shown"
        world.run("mutation K($id: ID!) { sessionKill(id: $id) }", {"id": sessions[0]["id"]})
        assert sorted("errors" in world.with_session(session, me) for session in (one, other)) == [False, True]
        world.run("mutation K($id: ID!) { userSessionsKill(id: $id) }", {"id": person.id})
        assert all("errors" in world.with_session(session, me) for session in (one, other))
        assert not world.try_login(late, person.email, PASSWORD).get("errors")
        world.user_patch(person.id, account_status="Inactive")
        world.user_patch(person.id, account_status="Active")
        assert "errors" in world.with_session(late, me), "a session outlived the lock of its account"


def test_a_new_password_ends_the_older_sessions(world):
    person = world.actor(may=READER, person=True)
    with world.login(person.email) as session, world.browser() as other:
        world.user_patch(person.id, password="Another-Horse-43-Battery")
        assert "errors" in world.with_session(session, "query { me { id } }")
        assert world.try_login(other, person.email, PASSWORD)["errors"][0]["name"] == "AUTH_FAILURE"
        assert not world.try_login(other, person.email, "Another-Horse-43-Battery").get("errors")


def test_another_sites_page_does_nothing_with_the_cookie(world):
    person = world.actor(may=ANALYST, person=True)
    query = "mutation Add($input: ReportAddInput!) { reportAdd(input: $input) { id } }"
    with world.login(person.email) as session:
        for headers in (
            {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Origin": world.platform.url},
            {"Sec-Fetch-Site": "same-site", "Origin": f"http://other.{world.platform.url[7:]}"}, {"Origin": f"{world.platform.url}.evil.example"},
            {"Origin": world.platform.url.replace("127.0.0.1", "127.0.0.1:80@evil.example")},
        ):  # fmt: skip
            name = world.name("report")
            body = json.dumps({"query": query, "variables": {"input": {"name": name, "published": stix.CREATED}}})
            for content_type in ("application/json", "text/plain"):
                answer = session.post(f"{world.platform.url}/graphql", data=body, headers={"Content-Type": content_type, **headers}, timeout=60)
                assert answer.status_code >= 400 or answer.json().get("errors"), (headers, answer.text)
            assert api.named(world.platform, name) == []
        answer = session.get(f"{world.platform.url}/graphql", params={"query": "mutation { logout }"}, timeout=60)
        assert answer.status_code >= 400 or answer.json().get("errors")
        assert world.with_session(session, "query { me { id } }")["data"]["me"]["id"] == person.id


def test_aliases_do_not_multiply_guesses(world):
    """One request, many guesses: at most one login field is looked at."""
    person = world.actor(may=READER, person=True)
    guesses = [f"wrong {number}" for number in range(20)] + [PASSWORD]
    fields = " ".join(f'g{number}: token(input: {{ email: "{person.email}", password: "{guess}" }})' for number, guess in enumerate(guesses))
    with world.browser() as session:
        answer = session.post(f"{world.platform.url}/graphql", json={"query": f"mutation {{ {fields} }}"}, timeout=60)
        assert answer.json()["errors"]
        assert not any((answer.json().get("data") or {}).values())
        assert "opencti_session" not in session.cookies.get_dict()
        spread = "mutation { ...G } fragment G on Mutation { " + fields + " }"
        assert session.post(f"{world.platform.url}/graphql", json={"query": spread}, timeout=60).json()["errors"]
        batch = [{"query": LOGIN, "variables": {"input": {"email": person.email, "password": guess}}} for guess in guesses]
        answer = session.post(f"{world.platform.url}/graphql", json=batch, timeout=60)
        assert "opencti_session" not in session.cookies.get_dict(), "a list of requests is a list of guesses"


def test_an_unknown_address_takes_as_long_as_a_wrong_password(world):
    """The time of an answer does not tell which accounts exist."""
    person = world.actor(may=READER, person=True)
    known, unknown = [], []
    with world.browser() as session:
        for number in range(8):
            for times, email in ((known, person.email), (unknown, f"nobody-{number}-{person.email}")):
                began = time.perf_counter()
                assert world.try_login(session, email, "wrong")["errors"]
                times.append(time.perf_counter() - began)
    ratio = min(unknown) / min(known)
    # a password that is not looked at answers fifty times as fast
    assert 0.25 < ratio < 4, f"known {statistics.mean(known):.3f} s, unknown {statistics.mean(unknown):.3f} s"


def test_guesses_at_once_are_not_more_than_guesses_in_a_row(make_platform, prefix):
    """Forty wrong passwords in parallel lock the account as well; the right one is refused then."""
    world = World(Shared(make_platform("parallel").start()), prefix)
    person = world.actor(may=READER, person=True)

    def guess(number: int) -> dict:
        with world.browser() as session:
            return world.try_login(session, person.email, f"wrong {number}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(answer["errors"] for answer in pool.map(guess, range(40)))
    with world.browser() as session:
        assert world.try_login(session, person.email, PASSWORD).get("errors")


def test_guesses_by_the_header_count_like_those_at_the_login(make_platform, prefix):
    """Basic authentication is for people with the capability, and locks as the login does."""
    world = World(Shared(make_platform("basic").start()), prefix)
    allowed = (*READER, "APIACCESS_USEBASICAUTH")
    person, stranger, program = world.actor(may=allowed, person=True), world.actor(may=READER, person=True), world.actor(may=allowed)

    def ask(user: str, password: str) -> str:
        """The name of the error, or the id of the user."""
        answer = requests.post(f"{world.platform.url}/graphql", json={"query": "query { me { id } }"}, auth=(user, password), timeout=60).json()
        return answer["errors"][0]["name"] if answer.get("errors") else answer["data"]["me"]["id"]

    assert ask(person.email, PASSWORD) == person.id
    for user, password in (
        (stranger.email, PASSWORD), (program.email, ""), (program.email, program.token), (person.email, person.token), (person.id, PASSWORD), ("", ""),
    ):  # fmt: skip
        assert ask(user, password) == "AUTH_REQUIRED"
    for number in range(12):
        assert ask(person.email, f"wrong {number}") == "AUTH_REQUIRED"
    assert ask(person.email, PASSWORD) == "AUTH_REQUIRED", "the account is not locked"
    with world.browser() as session:
        assert world.try_login(session, person.email, PASSWORD)["errors"][0]["name"] == "AUTH_FAILURE"
    assert world.me(person)["id"] == person.id
    assert world.audited("login failure", event_status="error")


# --- requests ----------------------------------------------------------------------------------------------------------------------------


def test_the_schema_is_told_to_nobody_unknown(world):
    query = "query { __schema { types { name } } }"
    for spelled in (query, "query {__schema{queryType{name}}}", "{ a: __schema { types { name } } }", '{ __type(name: "Query") { name } }',
                    "query { ...F } fragment F on Query { __schema { types { name } } }", "query { about { version } __schema { types { name } } }"):  # fmt: skip
        answer = world.platform.post(spelled, token="").json()
        assert answer["errors"][0]["name"] == "AUTH_REQUIRED", spelled
        assert "__schema" not in (answer.get("data") or {})
    assert world.run(query)["__schema"]["types"]


def test_suggestions_do_not_tell_the_schema_to_strangers(world):
    answer = world.platform.post("query { reprots { id } }", token="").text
    assert "reports" not in answer


@pytest.mark.parametrize("header", [
    "", "Bearer", "Bearer ", "bearer x", "Bearer  x", "Bearer null", "Bearer undefined", "Basic eDp5", "Token x", f"Bearer {ADMIN_ID}", "Bearer é",
    "Bearer " + "x" * 4000, "Bearer ChangeMe", f"Bearer {ADMIN_ID}, Bearer x", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiI4OGVjMGM2YSJ9.",
])  # fmt: skip
def test_a_malformed_credential_is_none(world, header):
    answer = requests.post(
        f"{world.platform.url}/graphql", json={"query": "query { me { id } }"}, headers={"Authorization": header.encode("utf-8")}, timeout=60
    )
    assert answer.status_code in (200, 400, 401, 431), answer.text
    if answer.status_code == 200:
        assert answer.json()["errors"][0]["name"] == "AUTH_REQUIRED"
    assert ADMIN_ID not in answer.text


@pytest.mark.parametrize("headers", [
    {"synchronized-upsert": "true"}, {"opencti-applicant-id": ADMIN_ID}, {"opencti-event-id": "1"}, {"opencti-retry-number": "99"},
    {"opencti-draft-id": ""}, {"opencti-playbook-id": str(uuid.uuid4())}, {"previous-standard": "x"},
    {"x-forwarded-user": "admin"}, {"x-forwarded-email": "admin@ferrocti.test"}, {"remote-user": "admin"},
], ids=lambda headers: next(iter(headers)))  # fmt: skip
def test_no_header_switches_a_check_off(world, headers):
    """Confidence and markings hold, whatever a client says beside the request."""
    actor = world.actor(30, markings=("TLP:GREEN",))
    name, other = world.name("malware"), world.name("malware")
    first = world.add("malware", name=name, confidence=90, description="a", markings=("TLP:GREEN",))
    world.add("malware", by=actor, name=name, description="b", headers=headers)
    assert world.read("malware", first["id"])["description"] == "a"
    assert world.add("malware", by=actor, name=other, confidence=100, headers=headers)["confidence"] == 30
    world.add_refused("malware", by=actor, markings=("TLP:RED",), headers=headers)
    query = "mutation Patch($id: ID!, $input: [EditInput]!) { stixDomainObjectEdit(id: $id) { fieldPatch(input: $input) { id } } }"
    error = world.refused(query, {"id": first["id"], "input": [{"key": "description", "value": ["b"]}]}, by=actor, headers=headers)
    assert INSUFFICIENT in error.message
    assert world.me(actor, headers=headers)["id"] == actor.id


def test_a_filter_runs_no_script(world):
    actor = world.actor(may=READER)
    filters = {"mode": "and", "filters": [{"key": ["name"], "values": ["true"], "operator": "script", "mode": "or"}], "filterGroups": []}
    error = world.refused("query Q($filters: FilterGroup) { reports(filters: $filters) { edges { node { id } } } }", {"filters": filters}, by=actor)
    assert error.name in (*BUSINESS, "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"), error


def test_what_is_hidden_is_missing_word_for_word(world):
    """An id that is not visible is answered like one that does not exist, by every way to name an object."""
    actor = world.actor(may=ANALYST, markings=("TLP:GREEN",))
    secret = world.add("malware", markings=("TLP:RED",), description="secret")
    own = world.add("malware", by=actor)
    report = world.add("report", by=actor)
    label = world.label(by=actor)

    def answer(identifier: str, number: int) -> str:
        acts = [
            lambda: world.patch(identifier, by=actor, description="b"), lambda: world.delete(identifier, by=actor),
            lambda: world.delete(identifier, by=actor, root="malwareEdit"), lambda: world.relate(identifier, "object-label", label["id"], by=actor),
            lambda: world.relate(report["id"], "object", identifier, by=actor), lambda: world.merge(own["id"], [identifier], by=actor),
            lambda: world.merge(identifier, [own["id"]], by=actor), lambda: world.link("related-to", own["id"], identifier, by=actor),
            lambda: world.link("related-to", identifier, own["id"], by=actor), lambda: world.add("report", by=actor, objects=[identifier], name=report["id"]),
        ]  # fmt: skip
        try:
            done = acts[number]()
        except GraphQLError as error:
            return f"{error.name} {error.message}".replace(identifier, "ID")
        return f"done {sorted(done) if isinstance(done, dict) else done}"

    seen = set()
    for number in range(10):
        for hidden, unknown in ((secret["id"], str(uuid.uuid4())), (secret["standard_id"], f"malware--{uuid.uuid4()}")):
            refused, missing = answer(hidden, number), answer(unknown, number)
            assert refused == missing, number
            seen.add(refused)
    assert len(seen) > 2
    after = world.read("malware", secret["id"])
    assert (after["description"], after["updated_at"], after["objectLabel"]) == ("secret", secret["updated_at"], [])


def test_taking_the_name_of_a_hidden_object_tells_no_id(world):
    """Guessing what a hidden object is known by is answered as creating it is: that it exists, and no more."""
    actor = world.actor(may=ANALYST, markings=("TLP:GREEN",))
    alias = world.name("alias")
    secret = world.add("malware", markings=("TLP:RED",), aliases=[alias])
    own, name = world.add("malware", by=actor), world.read("malware", secret["id"])["name"]
    for fields in ({"name": name}, {"name": alias}, {"aliases": [alias]}, {"x_opencti_stix_ids": [secret["standard_id"]]}):
        with pytest.raises(GraphQLError) as refused:
            world.patch(own["id"], by=actor, **fields)
        assert "Restricted entity already exists" in refused.value.message
        answer = text_of(refused.value.answer)
        assert secret["id"] not in answer
        assert secret["standard_id"] not in answer
    world.add("malware", by=actor, name=world.name(), aliases=[world.name()])
    assert world.read("malware", secret["id"])["updated_at"] == secret["updated_at"]


def test_what_the_platform_keeps_is_not_written_by_hand(world):
    actor = world.actor(may=ANALYST, restrict_delete=True)
    others, own = world.add("malware"), world.add("malware", by=actor)
    for key, value in {
        "creator_id": actor.id, "id": others["id"], "internal_id": others["id"], "standard_id": others["standard_id"], "entity_type": "Report",
        "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01T00:00:00Z", "restricted_members": "x", "authorized_members": "x",
        "i_attributes": "x", "marking_set": "0", "confidence; DROP TABLE object": "1",
    }.items():  # fmt: skip
        for target in (own, others):
            with pytest.raises(GraphQLError):
                world.patch(target["id"], by=actor, **{key: value})
    with pytest.raises(GraphQLError):
        world.delete(others["id"], by=actor)
    with pytest.raises(GraphQLError):
        world.merge(own["id"], [others["id"]], by=actor)
    assert world.read("malware", others["id"])["updated_at"] == others["updated_at"]


def test_a_marking_of_higher_confidence_is_not_taken_off(world):
    actor = world.actor(30, may=ANALYST, markings=("TLP:GREEN",))
    report = world.add("report", confidence=50, markings=("TLP:GREEN",))
    for act in (
        lambda: world.unrelate(report["id"], "object-marking", MARKINGS["TLP:GREEN"], by=actor, root="reportEdit"),
        lambda: world.patch(report["id"], by=actor, root="reportEdit", objectMarking=[]),
        lambda: world.patch(report["id"], by=actor, root="reportEdit", objectMarking=[MARKINGS["TLP:CLEAR"]]),
    ):
        with pytest.raises(GraphQLError) as refused:
            act()
        assert INSUFFICIENT in refused.value.message
    assert [entry["definition"] for entry in world.read("report", report["id"])["objectMarking"]] == ["TLP:GREEN"]


def test_a_new_password_asks_for_the_old_one(world):
    person = world.actor(may=READER, person=True)
    query = "mutation Me($input: [EditInput]!, $password: String) { meEdit(input: $input, password: $password) { id } }"
    new = [{"key": "password", "value": ["Another-Horse-43-Battery"]}]
    for password in (None, "", "wrong"):
        error = world.refused(query, {"input": new, "password": password}, by=person)
        assert "The current password you have provided is not valid" in error.message
    with world.login(person.email) as session:
        world.run(query, {"input": new, "password": PASSWORD}, by=person)
        assert "errors" in world.with_session(session, "query { me { id } }"), "older sessions end"
    with world.login(person.email, "Another-Horse-43-Battery") as session:
        assert world.with_session(session, "query { me { id } }")["data"]["me"]["id"] == person.id


def test_no_other_origin_is_let_in(world):
    for method in ("OPTIONS", "POST", "GET"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        answer = requests.request(method, f"{world.platform.url}/graphql", json={"query": "query { about { version } }"}, headers=headers, timeout=60)
        assert not [name for name in answer.headers if name.lower().startswith("access-control-allow")]


# --- connectors ---------------------------------------------------------------------------------------------------------------------------


def test_a_connector_is_its_users(world):
    """Another connector's user neither takes it over nor speaks for it, and does not read its credentials."""
    owner, stranger = world.connector(), world.actor(may=("KNOWLEDGE", "CONNECTORAPI", TOKENS))
    config = world.register(owner)
    work_id = api.work_add(world.platform, owner.token, config["id"])
    for act in (
        lambda: api.register(world.platform, stranger.token, config["id"], name="mine"),
        lambda: api.ping(world.platform, stranger.token, config["id"], '{"stolen": true}'),
        lambda: api.work_add(world.platform, stranger.token, config["id"]),
        lambda: api.push(world.platform, stranger.token, config["id"], stix.bundle([stix.domain("malware", "x", is_family=True)])),
        lambda: api.work_edit(world.platform, stranger.token, work_id, 'toProcessed(message: "x")'),
    ):
        with pytest.raises(GraphQLError) as refused:
            act()
        assert refused.value.name == "FORBIDDEN_ACCESS", refused.value
    answer = world.platform.post("query { connectors { id config { connection { user pass } } } }", token=stranger.token).text
    assert config["config"]["connection"]["pass"] not in answer


def test_secrets_are_in_no_log(make_platform, prefix):
    """No password, no token, no cookie in what the server writes, however talkative it is."""
    world = World(Shared(make_platform("talkative", env={"FERROCTI_LOG": "trace"}).start()), prefix)
    person, connector = world.actor(may=READER, person=True), world.connector()
    with world.login(person.email) as session:
        cookie = session.cookies["opencti_session"]
        world.with_session(session, "query { me { id } }")
        world.try_login(session, person.email, "wrong-Guess-99")
    requests.post(f"{world.platform.url}/graphql", json={"query": "query { me { id } }"}, auth=(person.email, "basic-Guess-98"), timeout=60)
    config = world.register(connector)
    with Publisher(world.platform, config["config"]) as publisher:
        publisher.publish(message(stix.bundle([stix.domain("malware", world.name(), is_family=True)])))
    world.user_patch(person.id, password="Another-Horse-43-Battery")
    world.platform.post('mutation { userAdd(input: { name: "x", password: "leaky-Pass-123", nonsense: 1 }) { id } }')
    world.platform.post("query { me { id } ", token=person.token)
    world.shut_out("flgrn_octi_tkn_" + "a-Wrong-Token" * 5)
    log = world.platform.log()
    assert "unknown token" in log, "the log says nothing"
    secrets = {
        "password": PASSWORD, "new password": "Another-Horse-43-Battery", "refused password": "leaky-Pass-123", "guess": "wrong-Guess-99",
        "guess by header": "basic-Guess-98", "token": person.token, "administrator": world.platform.admin.token, "cookie": cookie,
        "wrong token": "a-Wrong-Token", "queue": config["config"]["connection"]["pass"],
    }  # fmt: skip
    assert [name for name, secret in secrets.items() if secret in log] == []


def test_nobody_writes_to_the_queue_of_another_connector(world):
    """The credentials of a connector's registration open its own queue alone."""
    weak, strong = world.connector(20), world.connector(90)
    own, others = world.register(weak), world.register(strong)
    forged = stix.domain("malware", world.name("malware"), is_family=True, confidence=90)
    with pytest.raises(pika.exceptions.AMQPError), Publisher(world.platform, own["config"]) as publisher:
        publisher.publish(message(stix.bundle([forged]), applicant_id=strong.id), routing_key=others["config"]["push_routing"])
    honest = stix.domain("malware", world.name("malware"), is_family=True, confidence=90)
    with Publisher(world.platform, others["config"]) as publisher:
        publisher.publish(message(stix.bundle([honest])))
    wait_until(lambda: api.exists(world.platform, honest["id"]), "what came later is stored")
    assert not api.exists(world.platform, forged["id"])
    with pytest.raises(pika.exceptions.AMQPError):
        Publisher(world.platform, own["config"], user=others["config"]["connection"]["user"])


def test_who_lost_a_connector_publishes_nothing_with_the_rights_of_its_new_user(world):
    """The administrator takes a connector over: an open connection ends, and the former credentials open none."""
    connector = world.connector(30)
    registered = world.register(connector)
    with Publisher(world.platform, registered["config"]) as publisher:
        taken = api.register(world.platform, world.platform.admin.token, registered["id"])
        assert taken["config"]["connection"]["pass"] != registered["config"]["connection"]["pass"]
        with pytest.raises((pika.exceptions.AMQPConnectionError, pika.exceptions.ChannelWrongStateError)):
            for _ in range(1000):
                publisher.connection.process_data_events(0.01)
                publisher.publish(message("no bundle"))
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        Publisher(world.platform, registered["config"])
    with Publisher(world.platform, taken["config"]) as publisher:
        publisher.publish(message(stix.bundle([])))


def test_asking_why_tells_nothing_of_what_is_hidden(world):
    """Who may not see an object is told that there is none, also by the explanation of another one's rights."""
    secret = world.add("malware", markings=("TLP:RED",), confidence=77)
    analyst = world.actor(may=ANALYST, markings=("TLP:GREEN",))
    manager = world.actor(may=MANAGER, markings=("TLP:GREEN",))
    query = """query Explain($id: ID!, $user: ID, $action: String!) {
        accessExplain(user: $user, action: $action, object: $id) { allowed reasons { text } } }"""
    for action in ("read", "update", "upsert", "delete"):
        for by, user in ((analyst, None), (manager, None), (manager, analyst.id)):
            answers = {
                world.refused(query, {"id": identifier, "user": user, "action": action}, by=by).message.replace(identifier, "ID")
                for identifier in (secret["id"], secret["standard_id"], str(uuid.uuid4()), f"malware--{uuid.uuid4()}")
            }
            assert len(answers) == 1, answers
    forbidden(world.refused(query, {"id": secret["id"], "user": ADMIN_ID, "action": "read"}, by=analyst))
    found = world.run(query, {"id": secret["id"], "user": analyst.id, "action": "read"})["accessExplain"]
    assert (found["allowed"], "TLP:RED" in text_of(found)) == (False, True)


def test_who_does_not_hold_a_marking_neither_changes_nor_deletes_it(world):
    """Deleting TLP:RED, or putting it below TLP:GREEN, would open everything that carries it."""
    may = ("KNOWLEDGE", "KNOWLEDGE_KNUPDATE", "SETTINGS_SETMARKINGS", TOKENS)
    keeper = world.actor(may=may, markings=("TLP:GREEN",))
    red = world.add("report", markings=("TLP:RED",))
    for act in (
        lambda: world.patch(MARKINGS["TLP:RED"], by=keeper, root="markingDefinitionEdit", x_opencti_order=[1]),
        lambda: world.patch(MARKINGS["TLP:RED"], by=keeper, root="markingDefinitionEdit", definition_type=["PAP"]),
        lambda: world.delete(MARKINGS["TLP:RED"], by=keeper, root="markingDefinitionEdit"),
        lambda: world.delete(MARKINGS["TLP:RED"], by=keeper, root="stixEdit"),
    ):
        with pytest.raises(GraphQLError) as refused:
            act()
        assert "missing markings" in refused.value.message, refused.value
    assert not world.sees(keeper, red["id"])
    world.patch(MARKINGS["TLP:GREEN"], by=keeper, root="markingDefinitionEdit", x_opencti_color=["#2e7d32"])


def test_dead_letters_show_their_messages_to_those_only_who_see_every_marking(world):
    """A message that could not be imported was not looked into: it may carry any marking."""
    manager = ("KNOWLEDGE", "MODULES_MODMANAGE", TOKENS)
    some, every = world.actor(may=manager, markings=("TLP:GREEN",)), world.actor(may=manager, markings=tuple(MARKINGS))
    secret = world.name("secret")
    with Publisher(world.platform, world.register(world.connector())["config"]) as publisher:
        publisher.publish(json.dumps({"type": "gift", "x": secret}).encode())
    query = "query { deadLetters { edges { node { reason excerpt } } } }"
    wait_until(lambda: secret in text_of(world.run(query)), "the message is a dead letter")
    assert secret in text_of(world.run(query, by=every))
    told = world.run(query, by=some)
    assert "gift" in text_of(told) and secret not in text_of(told)


def test_works_tell_others_nothing_of_what_is_hidden(world):
    """What a connector could not deliver, or not in full, is shown to its user, not to those of other connectors."""
    owner, stranger = world.connector(20), world.connector(50, markings=("TLP:GREEN",))
    name, refused = world.name("malware"), world.name("unheard")
    world.add("malware", name=name, markings=("TLP:RED",), confidence=90, description="a")
    red = {"object_marking_refs": [MARKINGS["TLP:RED"]]}
    config = world.register(owner)
    objects = [stix.domain("malware", name, is_family=True, description="b", **red), stix.domain("x-unheard-of", refused, **red)]
    work = world.deliver(owner, objects, config)
    fields = "id status errors { message source } messages { message source } partially_applied { message object_name parts { reason } }"
    for query in (
        f'query {{ work(id: "{work["id"]}") {{ {fields} }} }}', f"query {{ works(first: 100) {{ edges {{ node {{ {fields} }} }} }} }}",
        f"query {{ connectors {{ id works {{ {fields} }} }} }}", f'query {{ connector(id: "{config["id"]}") {{ works {{ {fields} }} }} }}',
    ):  # fmt: skip
        own, others = (world.platform.post(query, token=each.token).text for each in (owner, stranger))
        assert (name in own, refused in own) == (True, True), query
        assert (name in others, refused in others) == (False, False), query
