"""Who is the caller: tokens, logins, accounts, impersonation."""

from __future__ import annotations

import subprocess
import sqlite3
import uuid

import pytest
from harness import GraphQLError
from harness.connector import python

from .cases import Cases
from .world import ADMIN_ID, ANALYST, PASSWORD, READER, TOKENS, World, forbidden, in_the_past, text_of

CASES = Cases()
case = CASES.case

STATUS = "account_status account_lock_after_date"
WITH_TOKENS = "id name user_email api_tokens { id name created_at expires_at masked_token last_used_at }"


@case(1, "the configured administrator may do everything")
def _(world: World) -> None:
    me = world.me()
    assert me["id"] == ADMIN_ID
    assert "BYPASS" in [entry["name"] for entry in me["capabilities"]]
    level = me["effective_confidence_level"]
    assert (level["max_confidence"], level["overrides"], level["source"]["type"]) == (100, [], "Bypass")
    assert level["source"]["object"] is None


@case(2, "the fixed id of the administrator is no credential")
def _(world: World) -> None:
    world.shut_out(ADMIN_ID)


@case(3, "no id of a user, group or role is a credential")
def _(world: World) -> None:
    user = world.add_user()
    standard = world.user(ADMIN_ID, "standard_id")["standard_id"]
    group = world.run("query { groups { edges { node { id standard_id } } } }")["groups"]["edges"][0]["node"]
    role = world.run("query { roles { edges { node { id standard_id } } } }")["roles"]["edges"][0]["node"]
    ids = [user["id"], user["standard_id"], standard, group["id"], group["standard_id"], role["id"], role["standard_id"], user["user_email"]]
    for identifier in ids:
        world.shut_out(identifier)
        world.shut_out(identifier.upper())


@case(4, "without a token even the version is not told, and the health check of pycti fails")
def _(world: World) -> None:
    answer = world.platform.post("query { about { version } }", token="")
    assert answer.status_code == 200
    assert answer.json()["errors"][0]["name"] == "AUTH_REQUIRED"
    script = (
        "import sys; from pycti import OpenCTIApiClient; "
        "print([OpenCTIApiClient(sys.argv[1], token, log_level='critical', perform_health_check=False).health_check() for token in sys.argv[2:]])"
    )
    command = [python("7.261026.0"), "-c", script, world.platform.url, str(uuid.uuid4()), world.platform.admin.token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[False, True]", done.stdout + done.stderr


@case(5, "a wrong password is told apart from nothing, and audited")
def _(world: World) -> None:
    person = world.actor(may=READER, person=True)
    with world.browser() as session:
        error = world.try_login(session, person.email, "wrong")["errors"][0]
        unknown = world.try_login(session, f"nobody-{person.email}", "wrong")["errors"][0]
        assert session.cookies.get_dict() == {} or "errors" in world.with_session(session, "query { me { id } }")
    assert (error["name"], error["message"], error["extensions"]["data"]["http_status"]) == ("AUTH_FAILURE", "Bad login or password", 401)
    assert unknown["message"] == error["message"]
    found = world.audited("login failure", event_type="authentication", event_scope="login", event_status="error")
    assert any(person.email in entry["context_data"]["message"] for entry in found)


@case(6, "the right password opens a session for a cookie, and is audited")
def _(world: World) -> None:
    person = world.actor(may=READER, person=True)
    with world.login(person.email) as session:
        me = world.with_session(session, "query { me { id user_email } }")
    assert me["data"]["me"] == {"id": person.id, "user_email": person.email}
    found = world.audited("login from provider", event_type="authentication", event_scope="login", event_status="success")
    assert person.id in [entry["user_id"] for entry in found]


@case(7, "after many wrong passwords the right one is refused too")
def _(world: World) -> None:
    person = world.actor(may=READER, person=True)
    with world.browser() as session:
        for _ in range(10):
            assert world.try_login(session, person.email, "wrong")["errors"]
        locked = world.try_login(session, person.email, PASSWORD)
        assert locked.get("errors"), "the account is not locked"
        assert "errors" in world.with_session(session, "query { me { id } }")
    assert world.me(person)["id"] == person.id, "tokens are no passwords"
    assert world.audited("login failure", event_status="error")


@case(8, "an inactive account may not in, by token or by password")
def _(world: World) -> None:
    person = world.actor(may=READER, person=True)
    world.user_patch(person.id, account_status="Inactive")
    world.shut_out(person.token)
    with world.browser() as session:
        error = world.try_login(session, person.email, PASSWORD)["errors"][0]
    assert error["name"] == "AUTH_FAILURE"
    assert error["message"] != "Bad login or password"
    world.user_patch(person.id, account_status="Active")
    assert world.me(person)["id"] == person.id


@case(9, "an account after its last day may not in")
def _(world: World) -> None:
    person = world.actor(may=READER, person=True)
    world.user_patch(person.id, account_lock_after_date=in_the_past())
    world.shut_out(person.token)
    with world.browser() as session:
        error = world.try_login(session, person.email, PASSWORD)["errors"][0]
    assert error["name"] == "AUTH_FAILURE"
    assert error["message"] != "Bad login or password"
    assert world.user(person.id, STATUS)["account_status"] == "Expired"


@case(10, "a new user is a member of the default group")
def _(world: World) -> None:
    user = world.add_user(prevent_default_groups=False)
    assert [edge["node"]["name"] for edge in user["groups"]["edges"]] == ["Default"]


@case(11, "a new user can be kept out of the default group")
def _(world: World) -> None:
    user = world.add_user([world.shared.group_named("Connectors")], prevent_default_groups=True)
    assert [edge["node"]["name"] for edge in user["groups"]["edges"]] == ["Connectors"]


@case(12, "an e-mail address belongs to one user, however it is written")
def _(world: World) -> None:
    user = world.add_user()
    for email in (user["user_email"], user["user_email"].upper()):
        for service in (True, False):
            with pytest.raises(GraphQLError) as refused:
                world.add_user(user_email=email, user_service_account=service, password=None if service else PASSWORD)
            assert refused.value.name == "FUNCTIONAL_ERROR"
            assert "already exist" in refused.value.message


@case(13, "a service account has no password and works by token")
def _(world: World) -> None:
    actor = world.actor(may=READER)
    assert world.user(actor.id, "user_service_account")["user_service_account"] is True
    with world.browser() as session:
        for guess in ("", "None", PASSWORD):
            assert world.try_login(session, actor.email, guess)["errors"][0]["name"] == "AUTH_FAILURE"
    assert world.me(actor)["id"] == actor.id
    without = world.add_user(user_email=None)
    assert without["user_email"].startswith("automatic+")
    assert without["user_email"].endswith(".invalid")


@case(14, "a password must follow the policy")
def _(world: World) -> None:
    settings = world.run("query { settings { id password_policy_min_length } }")["settings"]
    query = "mutation Patch($id: ID!, $input: [EditInput]!) { settingsEdit(id: $id) { fieldPatch(input: $input) { id } } }"
    change = lambda length: world.run(  # noqa: E731
        query, {"id": settings["id"], "input": [{"key": "password_policy_min_length", "value": [length]}]}
    )
    change("10")
    try:
        with pytest.raises(GraphQLError) as refused:
            world.add_user(user_service_account=False, password="eight-88")
        assert refused.value.name == "FUNCTIONAL_ERROR"
        assert "size must be >= 10" in refused.value.message
        assert "eight-88" not in text_of(refused.value.answer)
        assert world.add_user(user_service_account=False, password="ten-chars-10")["id"]
    finally:
        change(str(settings["password_policy_min_length"] or 0))


@case(15, "a token is shown once")
def _(world: World) -> None:
    actor = world.actor(may=ANALYST)
    made = world.add_token(actor.id, duration="DAYS_30", name="thirty")
    secret = made["plaintext_token"]
    assert len(secret) >= 40
    assert made["expires_at"]
    assert made["masked_token"] == f"****{secret[-4:]}"
    shown = world.user(actor.id, WITH_TOKENS)
    found = next(entry for entry in shown["api_tokens"] if entry["id"] == made["token_id"])
    assert (found["name"], found["masked_token"], found["expires_at"]) == ("thirty", made["masked_token"], made["expires_at"])
    assert world.run("query { me { id } }", by=actor)["me"]
    world.platform.graphql("query { me { id } }", token=secret)
    everywhere = text_of([
        shown, world.me(actor), world.audits(), world.run("query { users(first: 500) { edges { node { " + WITH_TOKENS + " } } } }"),
    ])  # fmt: skip
    assert secret not in everywhere
    assert secret not in world.platform.log()
    for file in world.platform.data_dir.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), f"the token is in {file.name}"


@case(16, "a revoked token ends at once")
def _(world: World) -> None:
    actor = world.actor(may=READER)
    made = world.add_token(actor.id)
    assert world.platform.graphql("query { me { id } }", token=made["plaintext_token"])["me"]["id"] == actor.id
    query = "mutation Revoke($userId: ID!, $id: ID!) { userAdminTokenRevoke(userId: $userId, id: $id) }"
    world.run(query, {"userId": actor.id, "id": made["token_id"]})
    world.shut_out(made["plaintext_token"])
    assert world.me(actor)["id"] == actor.id, "the other token lives on"
    again = world.refused(query, {"userId": actor.id, "id": made["token_id"]})
    assert (again.name, "Token not found" in again.message) == ("FUNCTIONAL_ERROR", True)


@case(17, "an expired token is refused")
def _(world: World) -> None:
    actor = world.actor(may=READER)
    made = world.add_token(actor.id, duration="DAYS_30")
    secret = made["plaintext_token"]
    assert world.platform.graphql("query { me { id } }", token=secret)["me"]["id"] == actor.id
    status = world.platform.terminate()
    assert status == 0
    with sqlite3.connect(world.platform.data_dir / "ferrocti.db") as store:
        changed = store.execute("UPDATE token SET expires_at = 1000 WHERE expires_at IS NOT NULL").rowcount
    store.close()
    assert changed >= 1
    world.platform.start()
    world.shut_out(secret)
    assert world.me(actor)["id"] == actor.id
    assert "expired" in world.platform.log().lower()


@case(18, "a user without the capability may not use tokens")
def _(world: World) -> None:
    actor = world.actor(may=("KNOWLEDGE",))
    error = world.refused("query { me { id } }", by=actor)
    assert error.name in ("AUTH_REQUIRED", "FORBIDDEN_ACCESS")
    world.role_gets(world.shared.roles.pop(("KNOWLEDGE",)), TOKENS)
    assert world.me(actor)["id"] == actor.id, "it was for this capability alone"


@case(19, "nobody makes a token for somebody who may do more")
def _(world: World) -> None:
    manager = world.actor(may=("KNOWLEDGE", "SETTINGS_SETACCESSES", TOKENS))
    other = world.add_user()
    assert world.add_token(other["id"], by=manager)["plaintext_token"]
    with pytest.raises(GraphQLError) as refused:
        world.add_token(ADMIN_ID, by=manager)
    forbidden(refused.value)


@case(20, "nobody changes what is protected of himself")
def _(world: World) -> None:
    actor = world.actor(40, may=ANALYST, person=True)
    fields = "name user_email external user_service_account user_confidence_level { max_confidence } groups { edges { node { id } } } account_status"
    before = world.user(actor.id, fields)
    everybody = world.shared.group_named("Administrators")
    for key, value in [
        ("api_token", [str(uuid.uuid4())]), ("external", ["true"]), ("external", [True]), ("user_service_account", ["true"]), ("groups", [everybody]),
        ("otp_secret", ["x"]), ("otp_activated", ["true"]), ("user_confidence_level", [{"max_confidence": 100, "overrides": []}]),
        ("account_status", ["Active"]), ("id", [ADMIN_ID]), ("internal_id", [ADMIN_ID]), ("capabilities", ["BYPASS"]), ("roles", [everybody]),
        ("restrict_delete", ["false"]), ("api_tokens", ["x"]), ("account_lock_after_date", [None]), ("password_hash", ["x"]),
    ]:  # fmt: skip
        query = "mutation Me($input: [EditInput]!) { meEdit(input: $input, password: \"" + PASSWORD + "\") { id } }"
        for keys in ([{"key": key, "value": value}], [{"key": "description", "value": ["x"]}, {"key": key, "value": value}]):
            error = world.refused(query, {"input": keys}, by=actor)
            assert error.name in ("FORBIDDEN_ACCESS", "FUNCTIONAL_ERROR", "UNSUPPORTED_ERROR", "VALIDATION_ERROR"), error
    assert world.user(actor.id, fields) == before
    assert world.user(actor.id, "description")["description"] in (None, "")
    world.run(query, {"input": [{"key": "firstname", "value": ["Ada"]}]}, by=actor)
    assert world.user(actor.id, "firstname")["firstname"] == "Ada"


@case(21, "with a user its tokens end")
def _(world: World) -> None:
    stays, goes = world.actor(may=READER), world.actor(may=READER)
    world.user_delete(goes.id)
    world.shut_out(goes.token)
    assert world.user(goes.id, "id") is None
    assert world.me(stays)["id"] == stays.id


@case(22, "a token of the older form works where the configuration sets it")
def _(world: World) -> None:
    token = world.platform.admin.token
    assert str(uuid.UUID(token)) == token
    assert world.platform.graphql("query { me { id } }", token=token)["me"]["id"] == ADMIN_ID
    world.shut_out(str(uuid.uuid4()))


@case(24, "who may do everything may act for somebody, with the rights of that one")
def _(world: World) -> None:
    analyst = world.actor(20, may=ANALYST, markings=("TLP:GREEN",))
    headers = {"opencti-applicant-id": analyst.id}
    me = world.me(headers=headers)
    assert me["id"] == analyst.id
    assert "BYPASS" not in [entry["name"] for entry in me["capabilities"]]
    assert me["effective_confidence_level"]["max_confidence"] == 20
    hidden = world.add("report", markings=("TLP:RED",))
    query = "query R($id: String!) { report(id: $id) { id } }"
    assert world.run(query, {"id": hidden["id"]}, headers=headers)["report"] is None
    assert world.run(query, {"id": hidden["id"]})["report"]["id"] == hidden["id"]
    assert world.add("report", headers=headers, confidence=90)["confidence"] == 20


@case(25, "nobody else may act for somebody")
def _(world: World) -> None:
    actor = world.actor(may=(*ANALYST, "SETTINGS_SETACCESSES", "CONNECTORAPI"))
    me = world.me(actor, headers={"opencti-applicant-id": ADMIN_ID})
    assert me["id"] == actor.id
    assert "BYPASS" not in [entry["name"] for entry in me["capabilities"]]


@case(26, "acting for an unknown user is acting for nobody")
def _(world: World) -> None:
    for unknown in (str(uuid.uuid4()), "x", f"user--{uuid.uuid4()}"):
        world.shut_out(world.platform.admin.token, headers={"opencti-applicant-id": unknown})


@case(27, "acting for an expired user is acting for nobody")
def _(world: World) -> None:
    actor = world.actor(may=READER)
    headers = {"opencti-applicant-id": actor.id}
    assert world.me(headers=headers)["id"] == actor.id
    world.user_patch(actor.id, account_lock_after_date=in_the_past())
    world.shut_out(world.platform.admin.token, headers=headers)


@CASES.parametrize()
def test_case(world, check):
    check(world)
