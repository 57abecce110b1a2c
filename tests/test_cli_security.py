"""The command line for people and rights, as an administrator uses it: users, tokens, sessions, groups, roles, explanations, the doctor, the audit."""

from __future__ import annotations

import json
import subprocess

import pytest
import requests
from harness import Platform, api, run_cli, stix
from harness.platform import BINARY

ME = """query { me { id user_email capabilities { name } allowed_marking { definition } groups { edges { node { name } } }
    effective_confidence_level { max_confidence overrides { entity_type max_confidence } } } }"""
PASSWORD = "correct horse battery staple 9"


def done(platform: Platform, *args: str, stdin: str | None = None) -> dict:
    """Runs a command that must succeed, and returns its JSON."""
    ran = platform.cli(*args, "--json", stdin=stdin)
    assert ran.returncode == 0, f"{args}: {ran.stderr}"
    return json.loads(ran.stdout)


def refused(platform: Platform, *args: str, token: str | None = None, stdin: str | None = None) -> str:
    """Runs a command that must fail, and returns what it says."""
    ran = platform.cli(*args, token=token, stdin=stdin)
    assert ran.returncode == 1, f"{args}: {ran.returncode} {ran.stdout}"
    assert "panicked" not in ran.stderr
    return ran.stderr


def log_in(platform: Platform, email: str, password: str) -> requests.Response:
    return requests.post(platform.url + "/auth/login", json={"email": email, "password": password}, timeout=10)


def me(platform: Platform, token: str) -> dict:
    return platform.graphql(ME, token=token)["me"]


@pytest.fixture
def group(platform, prefix) -> str:
    name = f"Analysts {prefix}"
    done(platform, "group", "add", name, "--role", "Default", "--marking", "TLP:AMBER", "--max-confidence", "70")
    return name


@pytest.fixture
def person(platform, prefix, group) -> dict:
    """A user with a password and a token."""
    email = f"{prefix}@example.org"
    added = done(platform, "user", "add", email, "--name", f"Ann {prefix}", "--group", group, "--no-default-groups", "--password-stdin", stdin=PASSWORD + "\n")
    token = done(platform, "user", "token", "add", email, "laptop")["userAdminTokenAdd"]["plaintext_token"]
    return {"email": email, "id": added["user"]["id"], "token": token}


# --- users -------------------------------------------------------------------------------------------------------------------------


def test_a_user_is_made_shown_changed_and_deleted(platform, prefix, group):
    email = f"New.{prefix}@Example.org"
    added = done(platform, "user", "add", email, "--name", f"New {prefix}", "--firstname", "Ada", "--lastname", "L", "--max-confidence", "60",
                 "--confidence", "Report=30", "--group", group)  # fmt: skip
    assert log_in(platform, email, added["password"]).status_code == 200
    shown = done(platform, "user", "show", email.upper())["user"]
    assert shown["user_email"] == email.lower()
    assert (shown["firstname"], shown["lastname"]) == ("Ada", "L")
    level = shown["effective_confidence_level"]
    assert (level["max_confidence"], level["source"]["type"]) == (60, "User")
    assert [(entry["entity_type"], entry["max_confidence"]) for entry in level["overrides"]] == [("Report", 30)]
    assert {edge["node"]["name"] for edge in shown["groups"]["edges"]} == {"Default", group}
    done(platform, "user", "edit", email, "--name", f"Renamed {prefix}", "--no-max-confidence", "--remove-group", "Default", "--expires", "2999-01-31")
    shown = done(platform, "user", "show", f"Renamed {prefix}")["user"]
    assert shown["effective_confidence_level"]["max_confidence"] == 70
    assert [edge["node"]["name"] for edge in shown["groups"]["edges"]] == [group]
    assert shown["account_lock_after_date"].startswith("2999-01-31")
    done(platform, "user", "edit", email, "--expires", "never", "--add-group", "Default")
    assert done(platform, "user", "show", email)["user"]["account_lock_after_date"] is None
    done(platform, "user", "delete", email)
    assert "there is no user" in refused(platform, "user", "show", email)


def test_lists_and_pages_for_people_hold_what_is_asked_for(platform, person, group):
    listed = platform.cli("user", "list", "--group", group)
    assert listed.returncode == 0
    assert person["email"] in listed.stdout
    assert "admin" not in listed.stdout
    page = platform.cli("user", "show", person["email"]).stdout
    for part in (person["id"], group, "70 (group", "TLP:AMBER", "laptop", "KNOWLEDGE"):
        assert part in page
    assert person["token"] not in page
    assert [edge["user_email"] for edge in done(platform, "user", "list", "--search", person["email"])["users"]] == [person["email"]]


def test_passwords_come_from_standard_input_or_are_generated_and_obey_the_policy(platform, person):
    assert log_in(platform, person["email"], PASSWORD).status_code == 200
    changed = done(platform, "user", "edit", person["email"], "--new-password")
    assert log_in(platform, person["email"], PASSWORD).status_code == 401
    assert log_in(platform, person["email"], changed["password"]).status_code == 200
    assert "Invalid password" in refused(platform, "user", "edit", person["email"], "--password-stdin", stdin="short\n")
    assert "no password" in refused(platform, "user", "edit", person["email"], "--password-stdin", stdin="")
    assert log_in(platform, person["email"], changed["password"]).status_code == 200
    for command in (("user", "add", "x@example.org", "--password", "secret"), ("user", "edit", "x", "--password", "secret")):
        assert platform.cli(*command).returncode == 2, "a password is no argument"


def test_a_program_gets_an_account_without_a_password(platform, prefix):
    added = done(platform, "user", "add", "--service-account", "--name", f"program {prefix}", "--group", "Connectors")
    assert added["password"] is None
    assert added["user"]["user_service_account"] is True
    token = done(platform, "user", "token", "add", added["user"]["id"], "main", "--days", "unlimited")["userAdminTokenAdd"]
    assert token["expires_at"] is None
    assert me(platform, token["plaintext_token"])["id"] == added["user"]["id"]


def test_the_address_of_somebody_else_is_refused(platform, person):
    assert "exists" in refused(platform, "user", "add", person["email"].upper(), "--name", "Another")


def test_a_name_that_nobody_or_several_have_is_refused_with_a_hint(platform, prefix, group):
    for number in (1, 2):
        done(platform, "user", "add", f"twin{number}.{prefix}@example.org", "--name", f"Twin {prefix}", "--group", group)
    assert "2 users are called" in refused(platform, "user", "lock", f"Twin {prefix}")
    assert "ferrocti user list" in refused(platform, "user", "lock", f"Nobody {prefix}")


def test_who_may_not_administer_is_refused(platform, person, group):
    for command in (("user", "list"), ("user", "add", "y@example.org"), ("user", "lock", "admin"), ("user", "token", "add", "admin", "mine"),
                    ("user", "sessions"), ("group", "list"), ("group", "add-member", "Administrators", person["email"]), ("role", "list"),
                    ("audit",), ("doctor",), ("user", "add-connector", "mine")):  # fmt: skip
        said = refused(platform, *command, token=person["token"])
        assert "not allowed" in said, (command, said)
        assert "SETTINGS_" in said or "BYPASS" in said, (command, said)
    assert "unauthorized read` (users)" in platform.cli("audit", "--user", person["email"], "--type", "read").stdout


def test_the_last_administrator_stays(platform):
    for command in (("user", "lock", "admin"), ("user", "delete", "admin"), ("user", "edit", "admin", "--status", "Inactive")):
        refused(platform, *command)
    assert me(platform, platform.admin.token)["user_email"]


# --- tokens and sessions -----------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_listed_by_its_end_and_revoked_at_once(platform, person):
    made = done(platform, "user", "token", "add", person["email"], "ci", "--days", "30")["userAdminTokenAdd"]
    secret = made["plaintext_token"]
    assert me(platform, secret)["user_email"] == person["email"]
    listed = platform.cli("user", "token", "list", person["email"])
    assert secret not in listed.stdout
    assert secret[-4:] in listed.stdout
    assert "already" in refused(platform, "user", "token", "add", person["email"], "ci")
    done(platform, "user", "token", "revoke", person["email"], "ci")
    assert platform.refused(ME, token=secret)["name"] == "AUTH_REQUIRED"
    assert me(platform, person["token"])["id"] == person["id"]
    assert "has no token" in refused(platform, "user", "token", "revoke", person["email"], "ci")


def test_sessions_are_listed_and_killed(platform, person):
    first, second = (log_in(platform, person["email"], PASSWORD).json()["session"]["id"] for _ in range(2))
    table = platform.cli("user", "sessions").stdout
    assert first in table
    assert second in table
    done(platform, "user", "kill-sessions", person["email"], "--session", first)
    [of] = done(platform, "user", "sessions", person["email"])["sessions"]
    assert [session["id"] for session in of["sessions"]] == [second]
    assert "has no session" in refused(platform, "user", "kill-sessions", "admin", "--session", second)
    assert done(platform, "user", "kill-sessions", person["email"])["userSessionsKill"] == [second]
    assert done(platform, "user", "sessions", person["email"])["sessions"] == []


def test_a_locked_user_is_out_until_it_is_unlocked(platform, person):
    session = requests.Session()
    assert session.post(platform.url + "/auth/login", json={"email": person["email"], "password": PASSWORD}, timeout=10).ok
    done(platform, "user", "lock", person["email"])
    assert platform.refused(ME, token=person["token"])["name"] == "AUTH_REQUIRED"
    assert session.get(platform.url + "/auth/session", timeout=10).status_code == 401
    refusal = log_in(platform, person["email"], PASSWORD)
    assert refusal.status_code == 401
    assert "locked" in refusal.json()["error"]
    done(platform, "user", "unlock", person["email"])
    assert me(platform, person["token"])["id"] == person["id"]
    assert log_in(platform, person["email"], PASSWORD).status_code == 200


def test_unlocking_forgets_failed_logins(make_platform):
    platform = make_platform().start()
    done(platform, "user", "add", "ann@example.org", "--password-stdin", stdin=PASSWORD)
    for _ in range(10):
        assert log_in(platform, "ann@example.org", "wrong").status_code == 401
    assert log_in(platform, "ann@example.org", PASSWORD).status_code == 429
    done(platform, "user", "unlock", "ann@example.org")
    assert log_in(platform, "ann@example.org", PASSWORD).status_code == 200


# --- groups and roles --------------------------------------------------------------------------------------------------------------


def test_groups_decide_what_members_see_and_how_much_they_count(platform, person, group):
    seen = {marking["definition"] for marking in me(platform, person["token"])["allowed_marking"]}
    assert seen == {"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"}
    done(platform, "group", "allow-marking", group, "PAP:GREEN")
    done(platform, "group", "forbid-marking", group, "TLP:AMBER")
    assert {marking["definition"] for marking in me(platform, person["token"])["allowed_marking"]} == {"PAP:CLEAR", "PAP:GREEN"}
    done(platform, "group", "edit", group, "--max-confidence", "40", "--confidence", "Report=90")
    level = me(platform, person["token"])["effective_confidence_level"]
    assert level["max_confidence"] == 40
    assert [(entry["entity_type"], entry["max_confidence"]) for entry in level["overrides"]] == [("Report", 90)]
    shown = platform.cli("group", "show", group).stdout
    for part in ("40; Report 90", "PAP:GREEN", person["email"], "Default"):
        assert part in shown
    done(platform, "group", "remove-member", group, person["email"])
    assert platform.refused(ME, token=person["token"])["name"] == "AUTH_REQUIRED", "without a role nobody may use a token"
    done(platform, "group", "add-member", group, person["id"])
    assert me(platform, person["token"])["groups"]["edges"][0]["node"]["name"] == group


def test_a_group_is_made_listed_renamed_and_deleted(platform, prefix):
    name = f"Group {prefix}"
    done(platform, "group", "add", name, "--description", "made here", "--default-membership", "false", "--auto-new-markings", "true",
         "--no-creators", "true", "--restrict-delete", "true")  # fmt: skip
    [listed] = [edge["node"] for edge in done(platform, "group", "list")["groups"]["edges"] if edge["node"]["name"] == name]
    assert (listed["auto_new_marking"], listed["no_creators"], listed["restrict_delete"], listed["default_assignation"]) == (True, True, True, False)
    assert listed["group_confidence_level"]["max_confidence"] == 100
    done(platform, "group", "edit", name, "--name", name + " x", "--restrict-delete", "false")
    assert done(platform, "group", "show", name + " x")["group"]["restrict_delete"] is False
    done(platform, "group", "delete", name + " x")
    assert "there is no group" in refused(platform, "group", "show", name + " x")
    assert "there is no role" in refused(platform, "group", "add", name, "--role", "Nonsense")
    assert "there is no group" in refused(platform, "group", "show", name), "nothing is made when something is unknown"


def test_roles_give_capabilities_at_once(platform, prefix, person, group):
    role = f"Writer {prefix}"
    done(platform, "role", "add", role, "--description", "may write", "--capability", "KNOWLEDGE_KNUPDATE")
    done(platform, "group", "add-role", group, role)
    add = 'mutation { malwareAdd(input: { name: "%s" }) { id } }' % prefix
    assert platform.graphql(add, token=person["token"])["malwareAdd"]["id"]
    done(platform, "role", "edit", role, "--remove-capability", "KNOWLEDGE_KNUPDATE", "--add-capability", "KNOWLEDGE_KNUPLOAD", "--name", role + " x")
    assert platform.refused(add, token=person["token"])["name"] == "FORBIDDEN_ACCESS"
    assert [held["name"] for held in done(platform, "role", "show", role + " x")["role"]["capabilities"]] == ["KNOWLEDGE_KNUPLOAD"]
    done(platform, "group", "remove-role", group, role + " x")
    done(platform, "role", "delete", role + " x")
    assert role not in platform.cli("role", "list").stdout
    assert "ferrocti role capabilities" in refused(platform, "role", "add", role, "--capability", "KNOWLEDGE_NONSENSE")


def test_all_capabilities_are_listed(platform):
    listed = [edge["node"]["name"] for edge in done(platform, "role", "capabilities")["capabilities"]["edges"]]
    assert len(listed) == 56
    assert listed[0] == "BYPASS"


def test_a_reader_that_stops_reading_is_no_failure(platform):
    command = [str(BINARY), "role", "capabilities", "--url", platform.url, "--token", platform.admin.token]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


# --- connectors' accounts ----------------------------------------------------------------------------------------------------------


def test_a_connectors_account_is_limited_in_confidence_and_markings(platform, prefix):
    made = done(platform, "user", "add-connector", f"feed {prefix}", "--max-confidence", "40", "--max-marking", "TLP:GREEN")
    who = me(platform, made["token"])
    assert who["effective_confidence_level"]["max_confidence"] == 40
    seen = {marking["definition"] for marking in who["allowed_marking"]}
    assert "TLP:GREEN" in seen
    assert not seen & {"TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"}
    assert not {"BYPASS", "SETTINGS_SETACCESSES", "MODULES_MODMANAGE"} & {held["name"] for held in who["capabilities"]}
    assert "is no marking" in refused(platform, "user", "add-connector", f"other {prefix}", "--max-marking", "TLP:PINK")


def test_a_limited_account_can_be_made_while_the_platform_is_stopped(make_platform):
    platform = make_platform().start()
    platform.terminate()
    made = run_cli("user", "add-connector", "offline", "--max-marking", "TLP:GREEN", "--data-dir", platform.data_dir, "--json")
    assert made.returncode == 0, made.stderr
    platform.start()
    seen = {marking["definition"] for marking in me(platform, json.loads(made.stdout)["token"])["allowed_marking"]}
    assert "TLP:RED" not in seen


# --- why, what is dangerous, who did what ------------------------------------------------------------------------------------------


def test_explain_says_which_marking_which_group_and_whose_confidence(platform, prefix, person, group):
    red = platform.graphql('{ markingDefinitions(search: "TLP:RED") { edges { node { id definition } } } }')["markingDefinitions"]["edges"][0]["node"]["id"]
    add = "mutation Add($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }"
    hidden = platform.graphql(add, {"input": {"name": f"hidden {prefix}", "objectMarking": [red]}})["malwareAdd"]["id"]
    sure = platform.graphql(add, {"input": {"name": f"sure {prefix}", "confidence": 90}})["malwareAdd"]["id"]

    def explain(action: str, target: str) -> tuple[bool, str]:
        answer = done(platform, "access", "explain", "--user", person["email"], "--action", action, "--object", target)["accessExplain"]
        text = platform.cli("access", "explain", "--user", person["email"], "--action", action, "--object", target).stdout
        assert all(reason["text"] in text for reason in answer["reasons"])
        return answer["allowed"], text

    allowed, text = explain("read", sure)
    assert allowed
    assert group in text
    allowed, text = explain("read", hidden)
    assert not allowed
    assert "TLP:RED is missing" in text
    allowed, text = explain("update", sure)
    assert not allowed
    assert "KNOWLEDGE_KNUPDATE is missing" in text
    assert "70" in text
    assert "90" in text
    assert "object" in refused(platform, "access", "explain", "--user", person["email"], "--action", "read", "--object", api.new_id()).lower()
    assert platform.cli("access", "explain", "--user", "x", "--action", "fly", "--object", sure).returncode == 2


def test_the_doctor_is_content_with_a_new_platform_and_not_with_a_connector_of_the_administrator(make_platform):
    platform = make_platform().start()
    healthy = platform.cli("doctor")
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    connector_id = api.new_id()
    api.register(platform, platform.admin.token, connector_id, name="careless")
    sick = platform.cli("doctor", "--json")
    assert sick.returncode == 1
    findings = json.loads(sick.stdout)["findings"]
    assert any("careless" in finding["text"] for finding in findings), findings
    assert "careless" in platform.cli("doctor").stdout
    platform.terminate()
    offline = run_cli("doctor", "--data-dir", platform.data_dir, "--json")
    assert offline.returncode == 1
    assert json.loads(offline.stdout)["findings"] == findings


def test_the_audit_tells_who_did_what_and_no_secrets(platform, person):
    assert log_in(platform, person["email"], "a wrong secret").status_code == 401
    assert log_in(platform, person["email"], PASSWORD).status_code == 200
    entries = done(platform, "audit", "--since", "1h", "--limit", "5000")["audits"]
    messages = [entry["context_data"]["message"] for entry in entries]
    for part in (f"creates user `{person['email']}`", f"detects `login failure` for `{person['email']}`", "login from provider `local`"):
        assert part in messages
    text = json.dumps(entries)
    for secret in (PASSWORD, "a wrong secret", person["token"], platform.admin.token):
        assert secret not in text
    assert [entry["timestamp"] for entry in entries] == sorted(entry["timestamp"] for entry in entries)


def test_the_audit_is_narrowed_by_user_type_scope_outcome_and_number(platform, person):
    log_in(platform, person["email"], "wrong")
    log_in(platform, person["email"], PASSWORD)
    own = done(platform, "audit", "--user", person["email"])["audits"]
    assert [(entry["event_type"], entry["event_scope"]) for entry in own] == [("authentication", "login")]
    assert own[0]["user_metadata"]["ip"] == "127.0.0.1"
    failed = done(platform, "audit", "--errors", "--type", "authentication", "--scope", "login")["audits"]
    assert failed
    assert all(entry["event_status"] == "error" for entry in failed)
    assert len(done(platform, "audit", "--limit", "2")["audits"]) == 2
    assert done(platform, "audit", "--until", "2020-01-01")["audits"] == []
    assert person["email"] in platform.cli("audit", "--errors").stdout
    assert platform.cli("audit", "--since", "yesterday").returncode == 2
    assert platform.cli("audit", "--type", "mutations").returncode == 2


def test_the_audit_goes_on_naming_a_user_that_is_deleted(platform, person):
    log_in(platform, person["email"], PASSWORD)
    done(platform, "user", "delete", person["email"])
    own = done(platform, "audit", "--user", person["id"])["audits"]
    assert [(entry["event_scope"], entry["user"]["id"]) for entry in own] == [("login", person["id"])]
    assert "login" in platform.cli("audit", "--user", person["id"]).stdout


def test_the_audit_tells_from_where_a_connector_was_registered(platform, account, prefix):
    api.register(platform, account.token, api.new_id(), name=f"placed {prefix}")
    entries = done(platform, "audit", "--type", "mutation", "--since", "1h")["audits"]
    (entry,) = [entry for entry in entries if entry["context_data"]["entity_name"] == f"placed {prefix}"]
    assert entry["user_metadata"]["ip"] == "127.0.0.1"


def test_a_long_audit_is_read_page_by_page(make_platform):
    platform = make_platform().start()
    group = done(platform, "group", "add", "Busy")["groupAdd"]["id"]
    for start in range(0, 600, 50):
        edits = " ".join(
            f'e{number}: groupEdit(id: "{group}") {{ fieldPatch(input: [{{key: "description", value: ["{number}"]}}]) {{ id }} }}' for number in range(start, start + 50)
        )
        platform.graphql(f"mutation {{ {edits} }}")
    entries = done(platform, "audit", "--limit", "590", "--scope", "update")["audits"]
    assert len(entries) == 590
    assert len({entry["id"] for entry in entries}) == 590
    assert [entry["timestamp"] for entry in entries] == sorted(entry["timestamp"] for entry in entries)


def test_old_entries_of_the_audit_go_when_the_operator_wants_it(make_platform):
    platform = make_platform(env={"FERROCTI_AUDIT_RETENTION_DAYS": "1"}).start()
    done(platform, "user", "add", "ann@example.org")
    messages = [entry["context_data"]["message"] for entry in done(platform, "audit")["audits"]]
    assert "creates user `ann@example.org`" in messages, "what is younger stays"


# --- settings ----------------------------------------------------------------------------------------------------------------------


def test_behind_a_trusted_proxy_the_clients_address_is_recorded(make_platform):
    platform = make_platform(env={"FERROCTI_TRUSTED_PROXIES": "127.0.0.0/8"}).start()
    requests.post(platform.url + "/auth/login", json={"email": "x@example.org", "password": "y"}, headers={"X-Forwarded-For": "198.51.100.7"}, timeout=10)
    assert done(platform, "audit", "--errors")["audits"][0]["user_metadata"]["ip"] == "198.51.100.7"


def test_an_externally_managed_administrator_is_removed(make_platform):
    platform = make_platform().start()
    done(platform, "group", "add-member", "Administrators", done(platform, "user", "add", "boss@example.org")["user"]["id"])
    token = done(platform, "user", "token", "add", "boss@example.org", "main")["userAdminTokenAdd"]["plaintext_token"]
    platform.terminate()
    platform.env["APP__ADMIN__EXTERNALLY_MANAGED"] = "true"
    platform.start()
    assert platform.refused(ME)["name"] == "AUTH_REQUIRED"
    assert me(platform, token)["user_email"] == "boss@example.org"


def test_explaining_needs_a_stored_object_of_a_bundle_too(platform, prefix, account):
    connector_id = api.new_id()
    api.register(platform, account.token, connector_id)
    entry = stix.domain("malware", f"{prefix} delivered", is_family=True, confidence=80)
    api.deliver(platform, account.token, connector_id, stix.bundle([entry]))
    answer = done(platform, "access", "explain", "--user", f"[C] {account.name}", "--action", "upsert", "--object", entry["id"])
    assert answer["accessExplain"]["reasons"]
