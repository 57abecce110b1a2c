"""What the audit keeps: who did what to what, from where, with which result, and nothing secret."""

from __future__ import annotations

import json

import pytest
from harness import GraphQLError

from .cases import Cases
from .world import ANALYST, PASSWORD, READER, TOKENS, World, forbidden, text_of

CASES = Cases()
case = CASES.case

AUDITOR = ("KNOWLEDGE", "SETTINGS_SECURITYACTIVITY", TOKENS)


def since(world: World, before: list[dict]) -> list[dict]:
    """The audit lines that are new, oldest first."""
    known = {entry["id"] for entry in before}
    return [entry for entry in reversed(world.audits()) if entry["id"] not in known]


def event(entry: dict) -> tuple[str, str, str, str]:
    return entry["event_type"], entry["event_scope"], entry["event_access"], entry["event_status"]


@case(149, "each act of administration and each login is one line")
def _(world: World) -> None:
    def one(act, kind: tuple[str, str, str, str], *texts: str) -> dict:  # noqa: ANN001 - anything to call
        before = world.audits()
        act()
        new = since(world, before)
        assert [event(entry) for entry in new] == [kind], [(event(entry), entry["context_data"]) for entry in new]
        for text in texts:
            assert text in new[0]["context_data"]["message"]
        assert PASSWORD not in text_of(new)
        assert new[0]["user_metadata"]
        return new[0]

    create, update = ("mutation", "create", "administration", "success"), ("mutation", "update", "administration", "success")
    admin = world.me()["id"]
    made: dict[str, str] = {}
    entry = one(
        lambda: made.update(world.add_user(user_email=f"{world.prefix}@example.org", user_service_account=False, password=PASSWORD)), create,
        f"creates user `{world.prefix}@example.org`",
    )  # fmt: skip
    assert (entry["user_id"], entry["context_data"]["entity_id"]) == (admin, made["id"])
    user = made["id"]
    group = world.group()
    role = world.role(*READER, own=True)
    name = world.name("group")
    one(lambda: world.group_patch(group, name=name), update, "updates", "name", name)
    one(lambda: world.group_gets(group, "has-role", role), update, "Role")
    one(lambda: world.role_gets(role, "EXPLORE"), update, "EXPLORE")
    membership = "mutation Join($id: ID!, $group: ID!) { userEdit(id: $id) { relationAdd(input: { relationship_type: \"member-of\", toId: $group }) { id } } }"
    one(lambda: world.run(membership, {"id": user, "group": group}), update, f"adds Group `{name}` for user")
    token = world.name("token")
    secret: dict[str, str] = {}
    one(lambda: secret.update(world.add_token(user, name=token)), update, f"generated a new API token '{token}' for user '{world.prefix}@example.org'")
    revoke = "mutation Revoke($userId: ID!, $id: ID!) { userAdminTokenRevoke(userId: $userId, id: $id) }"
    one(lambda: world.run(revoke, {"userId": user, "id": secret["token_id"]}), update, f"revoked API token '{token}'")
    one(lambda: world.user_patch(user, password="Another-Horse-43-Battery"), update, "updates", "password")
    login, logout = ("authentication", "login", "administration"), ("authentication", "logout", "administration")
    with world.browser() as session:
        sign_in = lambda password: world.try_login(session, f"{world.prefix}@example.org", password)  # noqa: E731
        one(lambda: sign_in("wrong"), (*login, "error"), "detects `login failure` for", f"{world.prefix}@example.org")
        entry = one(lambda: sign_in("Another-Horse-43-Battery"), (*login, "success"), "login from provider")
        assert entry["user_id"] == user
        entry = one(lambda: world.with_session(session, "mutation { logout }"), (*logout, "success"), "logout")
        assert entry["user_id"] == user
    reader = world.actor(may=READER)
    entry = one(lambda: world.add_refused("report", by=reader), ("mutation", "unauthorized", "administration", "error"), "unauthorized mutation")
    assert entry["user_id"] == reader.id
    one(lambda: world.user_delete(user), ("mutation", "delete", "administration", "success"), f"deletes user `{world.prefix}@example.org`")
    everything = text_of(world.audits())
    for hidden in (PASSWORD, "Another-Horse-43-Battery", secret["plaintext_token"]):
        assert hidden not in everything
        assert hidden not in world.platform.log()


@case(150, "reading is not recorded of who is not listened to")
def _(world: World) -> None:
    reader, report = world.actor(may=READER), world.add("report")
    before = world.audits()
    for _ in range(3):
        assert world.read("report", report["id"], by=reader)
    assert since(world, before) == []


@case(151, "the audit is for who may see it, and the attempt is in it")
def _(world: World) -> None:
    stranger, auditor = world.actor(may=(*ANALYST, "SETTINGS_SETACCESSES")), world.actor(may=AUDITOR)
    before = world.audits()
    with pytest.raises(GraphQLError) as refused:
        world.audits(by=stranger)
    forbidden(refused.value)
    new = since(world, before)
    assert [(event(entry), entry["user_id"]) for entry in new] == [(("read", "unauthorized", "administration", "error"), stranger.id)]
    assert world.audits(by=auditor)[0]["id"] == new[0]["id"]


@case(152, "what is written for somebody is his")
def _(world: World) -> None:
    analyst = world.actor(40, may=ANALYST)
    headers = {"opencti-applicant-id": analyst.id}
    report = world.add("report", headers=headers)
    assert [entry["id"] for entry in report["creators"]] == [analyst.id]
    assert {entry["user_id"] for entry in world.history(report["id"])} == {analyst.id}


@CASES.parametrize()
def test_case(world, check):
    check(world)


def test_the_audit_names_who_spoke_for_somebody(world):
    manager = world.actor(may=("KNOWLEDGE", "SETTINGS_SETACCESSES", TOKENS))
    before = world.audits()
    name = world.name("group")
    query = "mutation GroupAdd($input: GroupAddInput!) { groupAdd(input: $input) { id } }"
    given = {"input": {"name": name, "group_confidence_level": {"max_confidence": 1, "overrides": []}}}
    world.run(query, given, headers={"opencti-applicant-id": manager.id})
    [entry] = since(world, before)
    assert entry["user_id"] == manager.id
    query = "query A($id: ID!) { audit(id: $id) { applicant_id } }"
    assert world.run(query, {"id": entry["id"]})["audit"]["applicant_id"] == world.me()["id"]


def test_a_refused_change_leaves_no_line_of_a_change(world):
    """Data and line are one transaction: what failed is not recorded as done."""
    before = world.audits()
    with pytest.raises(GraphQLError):
        world.add_user(user_email="not an address")
    with pytest.raises(GraphQLError):
        world.add_user(groups=["00000000-0000-4000-8000-000000000000"])
    assert [event(entry) for entry in since(world, before) if entry["event_status"] == "success"] == []


def test_the_command_line_reads_the_audit(world):
    user = world.add_user()
    done = world.platform.cli("audit", "--json")
    assert done.returncode == 0, done.stderr
    assert user["user_email"] in done.stdout
    assert isinstance(json.loads(done.stdout), (list, dict))
