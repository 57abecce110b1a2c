"""The flow that an operator follows for a connector: a group, a look at its role, a user with a highest confidence, a token, and the connector runs.

What analysts know with a higher confidence stays, what they know with a lower one is overwritten, and what the group may not see is not there.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from harness import Account, Connector, api, run_cli, stix
from harness.connector import PYCTI_VERSIONS, python
from harness.platform import clean_environment

from .world import ANALYST, LEVEL, MARKINGS, World, text_of

PROGRAMS = Path(__file__).parent / "programs"


def run_program(name: str, version: str, world: World, token: str, **env: str) -> dict:
    """Runs one of the programs on a version of pycti and returns what it prints."""
    settings = clean_environment(OPENCTI_URL=world.platform.url, OPENCTI_TOKEN=token, TEST_PREFIX=world.prefix, **env)
    done = subprocess.run([python(version), str(PROGRAMS / f"{name}.py")], env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def what_analysts_know(world: World) -> dict[str, dict]:
    """Two malware of an analyst, of confidence 80 and 50, and a third that is TLP:RED."""
    analyst = world.actor(100, may=ANALYST, markings=("TLP:RED",))
    return {
        what: world.add("malware", by=analyst, name=f"{world.prefix} {what}", description="of the analyst", fields="id standard_id name confidence", **more)
        for what, more in {"trusted": {"confidence": 80}, "doubtful": {"confidence": 50}, "secret": {"confidence": 50, "markings": ("TLP:RED",)}}.items()
    }


def feed(world: World) -> dict:
    """What the connector delivers: its own view of both, something new, something that it may not mark so, and what is hidden from it."""
    amber = {"object_marking_refs": [MARKINGS["TLP:AMBER"]]}
    objects = [
        stix.domain("malware", f"{world.prefix} {what}", is_family=True, description="of the feed", **amber) for what in ("trusted", "doubtful", "secret", "new")
    ]
    objects.append(stix.domain("malware", f"{world.prefix} red", is_family=True, object_marking_refs=[MARKINGS["TLP:RED"]]))
    return stix.bundle(objects)


def run_feed(world: World, account: Account, version: str, tmp_path: Path, **env: str) -> tuple[Connector, dict]:
    """Runs the connector once with the feed; the connector and the completed work."""
    path = tmp_path / "feed.json"
    path.write_text(json.dumps(feed(world)), encoding="utf-8")
    settings = {"CONNECTOR_RUN_AND_TERMINATE": "true", "TEST_BUNDLES": str(path), **env}
    with Connector(world.platform, "run_and_terminate", version, account, env=settings, log_dir=tmp_path) as running:
        work_id = running.wait_event("run")["work_id"]
        running.finish()
    return running, api.completed(world.platform, work_id)


def check_outcome(world: World, known: dict[str, dict], work: dict, user: str) -> None:
    """The analyst's 80 stays, the 50 is overwritten, the new one has the level of the user, TLP:RED is neither changed nor used."""
    read = lambda what: world.read("malware", known[what]["id"])  # noqa: E731
    assert (read("trusted")["description"], read("trusted")["confidence"]) == ("of the analyst", 80)
    assert (read("doubtful")["description"], read("doubtful")["confidence"]) == ("of the feed", 75)
    assert (read("secret")["description"], read("secret")["confidence"]) == ("of the analyst", 50)
    new = world.read("malware", stix.own_id("malware", f"{world.prefix} new"))
    assert (new["confidence"], [entry["id"] for entry in new["creators"]]) == (75, [user])
    assert world.read("malware", stix.own_id("malware", f"{world.prefix} red")) is None
    messages = sorted(entry["message"] for entry in work["errors"])
    assert len(messages) == 2, messages
    assert any("Restricted entity already exists" in entry for entry in messages)
    assert any("User trying to create the data has missing markings" in entry for entry in messages)
    assert work["tracking"]["import_processed_number"] == 5


@pytest.mark.parametrize("version", PYCTI_VERSIONS)
def test_the_flow_by_pycti_alone(world, version, tmp_path):
    known = what_analysts_know(world)
    made = run_program("operator_by_pycti", version, world, world.platform.admin.token)
    assert "CONNECTORAPI" in made["capabilities"]
    assert "BYPASS" not in made["capabilities"]
    assert (made["markings"], made["roles"]) == (["TLP:AMBER"], ["Connector"])
    assert sorted(made["groups"]) == sorted([f"{world.prefix} feeds", "Default"])
    assert (made["level"]["max_confidence"], made["level"]["source"]["type"]) == (75, "User")
    _, work = run_feed(world, Account("wazuh", made["token"]), version, tmp_path)
    check_outcome(world, known, work, made["user"])
    ids = {what: entry["id"] for what, entry in known.items()}
    seen = run_program("reader_by_pycti", version, world, made["token"], TEST_IDS=json.dumps(list(ids.values())))
    for way, found in seen.items():
        assert ids["trusted"] in found, way
        assert ids["doubtful"] in found, way
        assert ids["secret"] not in found, way


def test_a_client_that_makes_its_own_account_gets_one(world, tmp_path):
    """CONNECTOR_AUTO_CREATE_SERVICE_ACCOUNT: with the administrator's token the helper makes a user and works with that one's token.

    This version of the client looks for the name of the token that it has just made, which the answer does not have, and ends; started again, as containers
    are, it finds the user and goes on.
    """
    version = "7.261026.0"
    name = f"{world.prefix} Feed"
    env = {
        "CONNECTOR_NAME": name, "CONNECTOR_AUTO_CREATE_SERVICE_ACCOUNT": "true", "CONNECTOR_AUTO_CREATE_SERVICE_ACCOUNT_CONFIDENCE_LEVEL": "75",
        "CONNECTOR_RUN_AND_TERMINATE": "true",
    }  # fmt: skip
    known = what_analysts_know(world)
    email = f"{name.lower().replace(' ', '-')}@connector.octi.filigran.io"
    path = tmp_path / "feed.json"
    path.write_text(json.dumps(feed(world)), encoding="utf-8")
    tokens, users = [], set()
    for start in range(3):
        with Connector(world.platform, "run_and_terminate", version, world.platform.admin, env=env | {"TEST_BUNDLES": str(path)}, log_dir=tmp_path) as running:
            status = running.wait()
        query = f"query {{ users(first: 500) {{ edges {{ node {{ id name user_email user_service_account api_tokens {{ id name }} {LEVEL} }} }} }} }}"
        [user] = [edge["node"] for edge in world.run(query)["users"]["edges"] if edge["node"]["user_email"] == email]
        users.add(user["id"])
        if start == 0 and status != 0:
            continue
        assert status == 0, running.tail()
        assert user["name"] == f"[C] {name}"
        assert user["user_service_account"] is True
        assert user["effective_confidence_level"]["max_confidence"] == 75
        tokens.append([entry["id"] for entry in user["api_tokens"] if entry["name"] == "Connector auto generated token"])
        work = api.completed(world.platform, running.seen("run")[0]["work_id"])
        assert work["errors"] == [], "this account is in the group Connectors, which may use every marking"
        assert api.connector(world.platform, running.id)["connector_user_id"] == user["id"], "it works with the administrator's token"
        trusted, doubtful = (world.read("malware", known[what]["id"]) for what in ("trusted", "doubtful"))
        assert (trusted["description"], doubtful["description"], doubtful["confidence"]) == ("of the analyst", "of the feed", 75)
    assert len(users) == 1, "the user is made once"
    assert len(tokens) >= 2
    assert tokens[0] != tokens[1], "each start has a token of its own"
    assert len(tokens[-1]) <= 2, "older tokens are revoked"


def command(world: World, *args: str, token: str | None = None, status: int = 0) -> dict:
    """Runs `ferrocti … --json` against the platform, as the administrator or with a token; what it prints."""
    done = run_cli(*args, "--json", "--url", world.platform.url, "--token", token or world.platform.admin.token)
    assert done.returncode == status, f"{args}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", ["7.261026.0", "6.9.29"])
def test_the_flow_by_the_command_line_alone(world, version, tmp_path):
    known = what_analysts_know(world)
    role = command(world, "role", "show", "Connector")
    assert "CONNECTORAPI" in text_of(role)
    assert "BYPASS\"" not in text_of(role)
    group = f"{world.prefix} feeds"
    command(world, "group", "add", group, "--role", "Connector", "--marking", "TLP:AMBER")
    email = f"{world.prefix}@example.org"
    command(world, "user", "add", email, "--name", f"{world.prefix} wazuh", "--service-account", "--group", group, "--max-confidence", "75")
    token = command(world, "user", "token", "add", email, "connector", "--days", "365")["userAdminTokenAdd"]["plaintext_token"]
    user = command(world, "user", "show", email)
    assert token not in text_of(user)
    account = Account("wazuh", token)
    _, work = run_feed(world, account, version, tmp_path)
    identifier = world.platform.graphql("query { me { id } }", token=token)["me"]["id"]
    check_outcome(world, known, work, identifier)

    def explain(action: str, what: str) -> dict:
        """Asking is answered; whether it is allowed is in the answer."""
        done = run_cli("access", "explain", "--user", email, "--action", action, "--object", known[what]["id"], "--json", "--url", world.platform.url,
                       "--token", world.platform.admin.token)  # fmt: skip
        assert done.stdout, done.stderr
        return json.loads(done.stdout)["accessExplain"]

    trusted, doubtful, secret = explain("update", "trusted"), explain("update", "doubtful"), explain("read", "secret")
    assert [answer["allowed"] for answer in (trusted, doubtful, secret)] == [False, True, False]
    assert "75" in text_of(trusted)
    assert "80" in text_of(trusted)
    assert "TLP:RED" in text_of(secret)
    assert group in text_of(secret)
    findings = text_of(json.loads(run_cli("doctor", "--json", "--url", world.platform.url, "--token", world.platform.admin.token).stdout))
    assert f"{world.prefix} wazuh" not in findings, "a connector with its own limited account is no danger"
    assert email in text_of(command(world, "audit"))


def test_one_command_makes_a_limited_account(world, tmp_path):
    known = what_analysts_know(world)
    name = f"{world.prefix} wazuh"
    made = command(world, "user", "add-connector", name, "--max-confidence", "75", "--max-marking", "TLP:AMBER")
    actor = world.platform.graphql("query { me { id capabilities { name } allowed_marking { definition } effective_confidence_level { max_confidence } } }", token=made["token"])["me"]
    allowed = {entry["definition"] for entry in actor["allowed_marking"]}
    assert {definition for definition in allowed if definition.startswith("TLP")} == {"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"}
    assert "BYPASS" not in [entry["name"] for entry in actor["capabilities"]]
    _, work = run_feed(world, Account(name, made["token"]), "7.261026.0", tmp_path)
    check_outcome(world, known, work, actor["id"])
