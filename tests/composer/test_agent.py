"""`ferrocti composer`: an agent of another host, for Ferrocti and for a real OpenCTI."""

from __future__ import annotations

import json
import stat
import time
import uuid

import pytest
from harness import Platform, wait_until

from . import managed
from .agent import Agent, Counting
from .conftest import ANSWERS_IMAGE, SLEEPS_IMAGE, end_processes, write_key
from .opencti import OpenCti, Wanted

SECRET = "agent-secret-2d8e"  # noqa: S105 - a secret of the tests


@pytest.fixture
def site(bare_programs, key, prefix, tmp_path):
    """Makes agents of the shared platform, with accounts and directories of their own."""
    made = []

    def make(name="site", url=None, **settings):
        account = bare_programs.add_composer_account(f"agent of {name} {prefix}")
        directory = tmp_path / name
        directory.mkdir()
        write_key(directory, key)
        made.append(Agent(url or bare_programs.url, account.token, directory, id=f"{name}-{prefix}", **settings).start())
        wait_until(lambda: f"{name}-{prefix}" in managers(bare_programs), f"the agent has registered; its log:\n{made[-1].log()[-2000:]}", 60)
        return made[-1]

    yield make
    for each in made:
        each.kill()
        each.url = bare_programs.url
    end_processes(bare_programs)


@pytest.fixture(scope="module")
def bare_programs(tmp_path_factory, programs):
    """A running platform without a composer of its own, with the catalog of programs."""
    env = {"FERROCTI_CATALOG_SOURCES": str(programs)}
    with Platform(tmp_path_factory.mktemp("platform"), env=env) as running:
        yield running


def managers(platform):
    return {entry["id"]: entry for entry in platform.graphql(managed.MANAGERS)["connectorManagers"]}


# --- against Ferrocti --------------------------------------------------------------------------------------------------------------


def test_two_sites_run_their_own_connectors_each(bare_programs, site, prefix):
    site("north")
    site("south")
    north = managed.deploy(bare_programs, f"North {prefix}", contract="answers", composer=f"north-{prefix}")
    south = managed.deploy(bare_programs, f"South {prefix}", contract="answers", composer=f"south-{prefix}")
    for each in (north, south):
        managed.wait_state(bare_programs, each, "running")
    found = managers(bare_programs)
    assert [found[f"{name}-{prefix}"]["connectors_count"] for name in ("north", "south")] == [1, 1]
    assert managed.one(bare_programs, north)["manager"]["id"] == f"north-{prefix}"
    assert len(managed.processes(north)) == len(managed.processes(south)) == 1


def test_where_no_composer_is_named_the_oldest_one_is_taken(bare_programs, site, prefix):
    site("one")
    site("two")
    connector_id = managed.deploy(bare_programs, f"Nowhere {prefix}", contract="answers", start=False)
    oldest = min(managers(bare_programs).values(), key=lambda each: each["created_at"])
    assert managed.one(bare_programs, connector_id)["manager"]["id"] == oldest["id"]


def test_a_connector_moves_to_another_site_and_never_runs_at_both(bare_programs, site, prefix):
    site("from")
    site("to")
    connector_id = managed.deploy(bare_programs, f"Moves {prefix}", {"ANSWER_KEY": SECRET}, contract="answers", composer=f"from-{prefix}")
    managed.wait_state(bare_programs, connector_id, "running")
    (before,) = managed.processes(connector_id)
    most, given = 0, {"id": connector_id, "composer": f"to-{prefix}", "configuration": managed.settings({"ANSWER_KEY": SECRET})}
    bare_programs.graphql(managed.CONFIGURE, {"input": given})

    def moved():
        nonlocal most
        running = managed.processes(connector_id)
        most = max(most, len(running))
        return running not in ([], [before])

    wait_until(moved, "it runs at the other site", 60)
    assert most == 1
    managed.wait_state(bare_programs, connector_id, "running")
    assert managed.one(bare_programs, connector_id)["manager"]["id"] == f"to-{prefix}"


def test_an_agent_that_was_killed_adopts_what_runs(bare_programs, site, prefix):
    agent = site("killed")
    connector_id = managed.deploy(bare_programs, f"Adopted {prefix}", contract="answers", composer=f"killed-{prefix}")
    managed.wait_state(bare_programs, connector_id, "running")
    before = managed.processes(connector_id)
    agent.kill()
    assert managed.processes(connector_id) == before
    agent.start()
    managed.request(bare_programs, connector_id, "stopping")
    managed.wait_state(bare_programs, connector_id, "stopped")
    assert managed.processes(connector_id) == []


def test_an_agent_whose_platform_is_away_leaves_everything_as_it_is(bare_programs, site, prefix):
    proxy = Counting(bare_programs.url)
    try:
        agent = site("cut", url=proxy.url, connector_url=bare_programs.url)
        connector_id = managed.deploy(bare_programs, f"Cut {prefix}", contract="answers", composer=f"cut-{prefix}")
        managed.wait_state(bare_programs, connector_id, "running")
        before = managed.processes(connector_id)
        proxy.open = False
        asked = len(proxy.requests)
        managed.request(bare_programs, connector_id, "stopping")
        wait_until(lambda: len(proxy.requests) >= asked + 2, "the agent asks in vain")
        assert managed.processes(connector_id) == before
        proxy.open = True
        managed.wait_state(bare_programs, connector_id, "stopped")
        assert agent.process.poll() is None
    finally:
        proxy.close()


def test_an_agent_with_nothing_to_do_asks_less_than_once_a_second_and_hears_at_once(bare_programs, site, prefix):
    proxy = Counting(bare_programs.url)
    try:
        site("idle", url=proxy.url, connector_url=bare_programs.url)
        connector_id = managed.deploy(bare_programs, f"Idle {prefix}", contract="answers", composer=f"idle-{prefix}")
        managed.wait_state(bare_programs, connector_id, "running")
        wait_until(lambda: proxy.rate(5) < 1, "it asks less than once a second", 40)
        asked = time.monotonic()
        managed.request(bare_programs, connector_id, "stopping")
        wait_until(lambda: managed.processes(connector_id) == [], "it is stopped", 20)
        assert time.monotonic() - asked < 5
    finally:
        proxy.close()


def test_two_agents_with_one_token_are_not_both_let_in(bare_programs, site, prefix, tmp_path):
    first = site("first")
    second = Agent(bare_programs.url, first.token, tmp_path / "second", id=f"second-{prefix}")
    second.directory.mkdir()
    write_key_of(first, second)
    with second:
        second.says(f"first-{prefix}")
        assert f"second-{prefix}" not in managers(bare_programs)


def write_key_of(first, second):
    path = second.directory / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes((first.directory / "key.pem").read_bytes())


def test_a_directory_has_one_agent_at_a_time(bare_programs, site):
    first = site("busy")
    again = Agent(bare_programs.url, first.token, first.directory)
    again.log_file = first.directory.parent / "again.log"
    with again:
        wait_until(lambda: again.process.poll() is not None or str(first.directory) in again.log(), "the second one says why it does nothing", 30)
        assert first.process.poll() is None


@pytest.mark.parametrize(
    ("token", "url", "word"),
    [("wrong-token-wrong-token-wrong-token", None, "token"), (None, "http://127.0.0.1:9", "127.0.0.1:9")],
    ids=["wrong token", "nobody there"],
)
def test_an_agent_that_is_not_let_in_says_why_and_goes_on_asking(bare_programs, key, prefix, tmp_path, token, url, word):
    account = bare_programs.add_composer_account(f"lost {prefix}")
    directory = tmp_path / "lost"
    directory.mkdir()
    write_key(directory, key)
    with Agent(url or bare_programs.url, token or account.token, directory, id=f"lost-{prefix}") as agent:
        agent.says(word)
        assert agent.process.poll() is None
        assert account.token not in agent.log()


def test_an_agent_makes_its_key_and_its_id_once(bare_programs, prefix, tmp_path):
    account = bare_programs.add_composer_account(f"fresh {prefix}")
    directory = tmp_path / "fresh"
    agent = Agent(bare_programs.url, account.token, directory, name=f"Fresh {prefix}")
    seen = []
    for start in (1, 2):
        with agent:
            wait_until(lambda start=start: agent.log().count("registered with") == start, "it has registered", 240)
            found = wait_until(
                lambda: next((each for each in managers(bare_programs).values() if each["name"] == f"Fresh {prefix}"), None), "it is known", 10
            )
            seen.append((found["id"], found["key_id"], found["public_key"]))
            assert agent.terminate() == 0
    assert seen[0] == seen[1]
    assert stat.S_IMODE((directory / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


# --- against a real OpenCTI --------------------------------------------------------------------------------------------------------


@pytest.fixture
def opencti():
    server = OpenCti()
    yield server
    server.close()


@pytest.fixture
def attached(opencti, engine, key, tmp_path, prefix):
    """An agent of the scripted OpenCTI, on the engine."""
    directory = tmp_path / "attached"
    directory.mkdir()
    write_key(directory, key)
    agent = Agent(opencti.url, opencti.token, directory, id=f"attached-{prefix}", docker=f"unix://{engine.socket}", connector_url=opencti.url).start()
    wait_until(lambda: f"attached-{prefix}" in opencti.managers, f"the agent has registered; its log:\n{agent.log()[-2000:]}", 60)
    yield agent
    agent.kill()
    label = json.dumps({"label": [f"io.ferrocti.composer=attached-{prefix}"]})
    for each in engine.ask("GET", f"/containers/json?all=1&filters={label.replace(' ', '')}"):
        engine.ask("DELETE", f"/containers/{each['Id']}?force=1")


def wanted(opencti, name, image=SLEEPS_IMAGE, **more):
    made = Wanted(str(uuid.uuid4()), name, image, settings={"CONNECTOR_SCOPE": "stix2"}, secrets={"OPENCTI_TOKEN": str(uuid.uuid4()), "KEY": SECRET}, **more)
    with opencti.lock:
        opencti.wanted[made.id] = made
    return made


def test_a_real_opencti_gets_its_connectors_run_by_its_own_operations_alone(opencti, attached, engine, prefix):
    connector = wanted(opencti, f"Live {prefix}")
    wait_until(lambda: engine.running(connector.id), "its container runs", 60)
    wait_until(lambda: connector.current == "started", "its status was told", 30)
    (container,) = engine.running(connector.id)
    environment = dict(entry.split("=", 1) for entry in engine.inspect(container)["Config"]["Env"])
    assert environment["KEY"] == SECRET
    assert environment["CONNECTOR_ID"] == connector.id
    assert environment["CONNECTOR_NAME"] == connector.name
    wait_until(lambda: any("told" in line for line in connector.logs), "its log was told", 60)
    wait_until(lambda: connector.health, "its health was told", 60)
    assert connector.health["is_in_reboot_loop"] is False
    connector.requested = "stopping"
    wait_until(lambda: not engine.running(connector.id), "it is stopped", 60)
    wait_until(lambda: connector.current == "stopped", "that was told", 30)
    assert set(opencti.operations) <= {
        "about", "me", "connector", "connectors", "connectorsForManagers", "registerConnectorsManager", "updateConnectorManagerStatus", "updateConnectorCurrentStatus",
        "updateConnectorLogs", "updateConnectorHealth",
    }  # fmt: skip
    assert SECRET not in attached.log()


def test_an_empty_or_failed_listing_of_a_real_opencti_never_deletes(opencti, attached, engine, prefix):
    wanted(opencti, f"Another {prefix}", requested="stopping")  # what lists nothing at all may be another platform, so that nothing is asked for
    connector = wanted(opencti, f"Stays {prefix}")
    wait_until(lambda: engine.running(connector.id), "its container runs", 60)
    before = engine.running(connector.id)
    start, asked = time.monotonic(), opencti.operations["connectorsForManagers"]
    for listing in ("empty", "error"):
        opencti.listing = listing
        number = opencti.operations["connectorsForManagers"]
        wait_until(lambda number=number: opencti.operations["connectorsForManagers"] > number, "it asked once more", 60)
        assert engine.running(connector.id) == before
    assert opencti.operations["connectorsForManagers"] - asked <= (time.monotonic() - start) / 5 + 1, "it asks every ten seconds, not more often"
    opencti.listing = None
    with opencti.lock:
        del opencti.wanted[connector.id]
    wait_until(lambda: engine.containers(connector.id) == [], "what was deleted there is removed here", 90)


def test_another_hash_of_a_real_opencti_makes_another_container_never_two(opencti, attached, engine, prefix):
    connector = wanted(opencti, f"Hash {prefix}", image=ANSWERS_IMAGE)
    wait_until(lambda: engine.running(connector.id), "its container runs", 60)
    before = engine.running(connector.id)
    with opencti.lock:
        connector.settings["CONNECTOR_LOG_LEVEL"] = "debug"
        connector.hash = "00000002"
    most = 0

    def replaced():
        nonlocal most
        running = engine.running(connector.id)
        most = max(most, len(running))
        return running and running != before

    wait_until(replaced, "another container runs", 60)
    assert most == 1
    (container,) = engine.running(connector.id)
    assert "CONNECTOR_LOG_LEVEL=debug" in engine.inspect(container)["Config"]["Env"]
