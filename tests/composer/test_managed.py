"""Managed connectors as processes, from the request to the end, with unmodified connectors and everything that goes wrong with them."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from harness import GraphQLError, Platform, api, stix, wait_until
from harness.connector import CONNECTORS, PYCTI_VERSIONS, python

from . import catalog, managed
from .conftest import end_processes, write_key

SECRET = "managed-secret-71c5e0"  # noqa: S105 - a secret of the tests
STATES = {"requested", "pulling", "starting", "running", "degraded", "crash-looping", "failed", "stopping", "stopped", "unreachable"}


@pytest.fixture
def bundle(prefix, tmp_path):
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(stix.bundle([stix.domain("malware", f"{prefix} malware", is_family=False)])))
    return path


def generic(command, **more):
    return {"title": "A connector of nobody's catalog", "type": "EXTERNAL_IMPORT", "launch": {"command": command}} | more


def answers(platform, name, **more):
    """The quickest connector that the platform hears of."""
    return managed.deploy(platform, name, contract="answers", **more)


def runs(platform, connector_id):
    state = managed.one(platform, connector_id)["connector_state"]
    return json.loads(state)["runs"] if state else 0


def only_process(connector_id):
    found = managed.processes(connector_id)
    assert len(found) == 1, found
    return found[0]


class Watch:
    """Counts the live processes of a connector, and collects its states, as often as it can until it is left."""

    def __init__(self, platform: Platform, connector_id: str) -> None:
        self.platform, self.connector_id = platform, connector_id
        self.most, self.states = 0, []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self._count()
            try:
                state = self.platform.post("query S($id: String!) { connector(id: $id) { manager_state } }", {"id": self.connector_id}).json()
                found = (state.get("data") or {}).get("connector")
            except Exception:  # noqa: BLE001, S112 - the platform is away for a while in some tests
                continue
            if found and found["manager_state"] not in self.states[-1:]:
                self.states.append(found["manager_state"])

    def _count(self) -> None:
        self.most = max(self.most, len(managed.processes(self.connector_id)))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        # what is over sooner than the first look counts too
        self._count()


# --- life --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pycti", PYCTI_VERSIONS, ids=lambda version: f"pycti-{version}")
def test_an_unmodified_connector_that_is_in_no_catalog_lives_and_dies_as_asked(host, prefix, bundle, pycti):
    command = [python(pycti), "-u", str(CONNECTORS / "import_with_state.py")]
    given = generic(command, environment={"TEST_BUNDLES": str(bundle), "CONNECTOR_SCOPE": "stix2"}, secrets=["TEST_KEY"])
    connector_id = managed.deploy(host, f"Generic {prefix}", {"TEST_KEY": SECRET}, generic=given, start=False)
    with Watch(host, connector_id) as watch:
        managed.request(host, connector_id, "starting")
        found = managed.wait_state(host, connector_id, "running")
        assert found["manager_current_status"] == "started"
        assert found["active"] is True
        assert found["connector_type"] == "EXTERNAL_IMPORT"
        assert found["manager_health_metrics"]["is_in_reboot_loop"] is False
        wait_until(lambda: runs(host, connector_id) == 1, "the first run is over")
        first = only_process(connector_id)

        managed.request(host, connector_id, "stopping")
        found = managed.wait_state(host, connector_id, "stopped")
        assert found["manager_current_status"] == "stopped"
        assert found["active"] is False
        assert managed.processes(connector_id) == []

        managed.request(host, connector_id, "starting")
        wait_until(lambda: runs(host, connector_id) == 2, "the second run knows of the first")
        second = only_process(connector_id)
        managed.wait_state(host, connector_id, "running")

        host.graphql(managed.RESTART, {"id": connector_id})
        wait_until(lambda: runs(host, connector_id) == 3, "the third run knows of the second")
        third = only_process(connector_id)
        managed.wait_state(host, connector_id, "running")
    assert len({first, second, third}) == 3
    assert watch.most == 1
    assert set(watch.states) <= STATES
    assert api.named(host, prefix) == [f"{prefix} malware"]

    managed.delete(host, connector_id)
    wait_until(lambda: managed.processes(connector_id) == [], "nothing of it runs")
    wait_until(lambda: managed.own_composer(host)["tombstones"] == [], "the composer has told that it is gone")
    assert managed.one(host, connector_id) is None


def test_a_contract_of_a_catalog_is_deployed_with_its_defaults_and_its_own_account(host, prefix, bundle):
    connector_id = managed.deploy(host, f"Contract {prefix}", {"TEST_BUNDLES": str(bundle)}, contract="import", version="1.0.0")
    found = managed.wait_state(host, connector_id, "running")
    assert (found["contract_slug"], found["contract_version"], found["pinned"]) == ("import", "1.0.0", True)
    assert managed.configuration(found)["CONNECTOR_DURATION_PERIOD"] == "PT1H"
    assert found["connector_user"]["id"] == found["connector_user_id"]
    wait_until(lambda: runs(host, connector_id) == 1, "a run is over")
    wait_until(lambda: api.named(host, prefix) == [f"{prefix} malware"], "its data is there")
    assert found["health"]["level"] in ("green", "grey")
    assert found["health"]["last_ping"]
    managed.delete(host, connector_id)


def test_the_sample_of_the_project_runs_without_any_catalog(make_host, prefix):
    platform = make_host(commands="shipped").start()
    connector_id = managed.deploy(platform, f"Sample {prefix}", {"CONNECTOR_DURATION_PERIOD": "PT1S"}, contract="ferrocti-sample")
    found = managed.wait_state(platform, connector_id, "running")
    assert found["manager_contract_excerpt"]["slug"] == "ferrocti-sample"
    wait_until(lambda: api.count(platform, "Report") > 0, "its reports are there")
    wait_until(lambda: managed.log_lines(platform, connector_id), "its log is there")


def test_environment_is_what_was_configured_and_nothing_else_of_the_server(host, prefix, tmp_path):
    path = tmp_path / "told.json"
    runtime = {"environment": {"EXTRA_ONE": "1", "TELL_LEVEL": "low"}, "proxy": {"https": "http://proxy.example.org:3128", "except": "127.0.0.1"}}
    connector_id = managed.deploy(
        host, f"Tells {prefix}", {"TELL_TO": str(path), "TELL_KEY": SECRET, "TELL_LEVEL": "high"}, contract="tells", runtime=runtime
    )
    told = wait_until(lambda: json.loads(path.read_text()), "it has told")
    environment = told["environment"]
    assert environment["TELL_KEY"] == SECRET
    assert environment["TELL_LEVEL"] == "high"
    assert environment["EXTRA_ONE"] == "1"
    assert environment["HTTPS_PROXY"] == "http://proxy.example.org:3128"
    assert "127.0.0.1" in environment["NO_PROXY"]
    assert environment["CONNECTOR_ID"] == connector_id
    assert environment["OPENCTI_URL"].rstrip("/") == host.url
    assert not [key for key in environment if key.startswith(("APP__", "FERROCTI_ADMIN", "FERROCTI_DATA"))]
    assert host.admin.token not in json.dumps(environment)
    me = host.graphql("query Me { me { id } }", token=environment["OPENCTI_TOKEN"])["me"]["id"]
    assert me == managed.one(host, connector_id)["connector_user_id"]
    managed.delete(host, connector_id)


def test_a_request_becomes_a_process_and_a_state_within_moments(host, prefix):
    connector_id = answers(host, f"Quick {prefix}", start=False)
    managed.wait_state(host, connector_id, "stopped", "requested")
    asked = time.monotonic()
    managed.request(host, connector_id, "starting")
    wait_until(lambda: managed.processes(connector_id), "its process is there", 10)
    started = time.monotonic() - asked
    managed.wait_state(host, connector_id, "running")
    # the goal is 0.3 s for a release build on a machine that does nothing else; upstream's loop would need up to 10 s
    assert started < 4
    managed.delete(host, connector_id)


def test_a_requirements_file_becomes_a_python_environment_of_the_connectors_own(host, prefix, tmp_path):
    path, requirements = tmp_path / "told.json", tmp_path / "requirements.txt"
    requirements.write_text("# nothing is installed, since tests have no network\n")
    launch = {"command": ["python", "-u", str(catalog.PROGRAMS / "tells.py")], "requirements": str(requirements)}
    given = {"title": "With an environment", "type": "EXTERNAL_IMPORT", "launch": launch, "environment": {"TELL_TO": str(path)}}
    connector_id = managed.deploy(host, f"Environment {prefix}", generic=given)
    told = wait_until(lambda: json.loads(path.read_text()), "it has told", 90)
    assert told["prefix"].startswith(str(host.data_dir / "composer"))
    managed.delete(host, connector_id)


# --- refusals ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"TELL_TO": "/x"}, ["TELL_KEY"]),
        ({}, ["TELL_KEY", "TELL_TO"]),
        ({"TELL_TO": "/x", "TELL_KEY": SECRET, "TELL_LEVEL": "middle"}, ["TELL_LEVEL", "low", "high"]),
        ({"TELL_TO": "/x", "TELL_KEY": SECRET, "CONNECTOR_LOG_LEVEL": "loud"}, ["CONNECTOR_LOG_LEVEL"]),
    ],
    ids=["mandatory secret", "all at once", "not in the list", "log level"],
)
def test_a_configuration_that_cannot_run_is_refused_with_its_keys(host, prefix, configuration, words):
    with pytest.raises(GraphQLError) as refused:
        managed.deploy(host, f"Refused {prefix}", configuration, contract="tells")
    for word in words:
        assert word in refused.value.message
    assert SECRET not in json.dumps(refused.value.answer)
    found = host.graphql("query Names { connectors { title } users { edges { node { name } } } }")
    assert prefix not in json.dumps(found)


def test_two_connectors_of_one_name_are_refused(host, prefix):
    first = answers(host, f"Twin {prefix}", start=False)
    for name in (f"Twin {prefix}", f"twin-{prefix}!"):
        with pytest.raises(GraphQLError) as refused:
            answers(host, name, start=False)
        assert "CONNECTOR_NAME_ALREADY_EXISTS" in json.dumps(refused.value.error)
    managed.delete(host, first)


def test_only_shipped_programs_run_where_the_composer_does_not_allow_others(make_host, prefix):
    platform = make_host(commands="shipped").start()
    connector_id = answers(platform, f"Forbidden {prefix}")
    found = managed.wait_state(platform, connector_id, "failed")
    assert "composer.commands" in found["manager_state_reason"]
    assert managed.processes(connector_id) == []


def test_what_a_process_cannot_have_is_refused_and_not_ignored(host, prefix):
    connector_id = answers(host, f"Networks {prefix}", runtime={"networks": ["cti"]})
    found = managed.wait_state(host, connector_id, "failed")
    assert "network" in found["manager_state_reason"]
    assert managed.processes(connector_id) == []
    managed.delete(host, connector_id)


def test_a_connector_without_an_engine_for_its_image_fails_with_the_reason(host, prefix):
    given = {"title": "Image", "type": "EXTERNAL_IMPORT", "launch": {"image": "example/none:1"}}
    connector_id = managed.deploy(host, f"Image {prefix}", generic=given, runtime={"networks": ["host"]})
    found = managed.wait_state(host, connector_id, "failed", "unreachable")
    assert "docker" in found["manager_state_reason"].lower()
    managed.delete(host, connector_id)


# --- what dies ---------------------------------------------------------------------------------------------------------------------


def test_a_connector_that_dies_at_once_is_told_with_the_reason_from_its_log(host, prefix):
    connector_id = managed.deploy(host, f"Dies {prefix}", contract="dies")
    found = managed.wait_state(host, connector_id, "crash-looping")
    assert "401 Unauthorized" in found["manager_state_reason"]
    assert found["health"]["level"] == "red"
    wait_until(lambda: managed.one(host, connector_id)["health"]["restarts"] >= 2, "its restarts are counted", 45)
    assert managed.log_lines(host, connector_id, "unauthorized")
    managed.request(host, connector_id, "stopping")
    managed.wait_state(host, connector_id, "stopped")
    managed.delete(host, connector_id)


def test_a_program_that_is_not_there_fails_with_the_reason(host, prefix):
    connector_id = managed.deploy(host, f"Missing {prefix}", generic=generic(["/no/such/program"]))
    found = managed.wait_state(host, connector_id, "failed", "crash-looping")
    assert "/no/such/program" in found["manager_state_reason"]
    managed.delete(host, connector_id)


def test_a_connector_that_is_killed_from_outside_is_started_again(host, prefix):
    connector_id = answers(host, f"Killed {prefix}")
    managed.wait_state(host, connector_id, "running")
    first = only_process(connector_id)
    with Watch(host, connector_id) as watch:
        os.kill(first, 9)
        wait_until(lambda: managed.processes(connector_id) not in ([], [first]), "another process of it runs")
        managed.wait_state(host, connector_id, "running")
    assert watch.most == 1
    managed.delete(host, connector_id)


def test_one_that_ignores_the_request_to_end_is_ended(host, prefix):
    connector_id = answers(host, f"Stubborn {prefix}", configuration={"ANSWER_TERM": "ignore"})
    managed.wait_state(host, connector_id, "running")
    managed.request(host, connector_id, "stopping")
    managed.wait_state(host, connector_id, "stopped")
    assert managed.processes(connector_id) == []
    managed.delete(host, connector_id)


def test_one_bad_connector_stops_nobody(host, prefix):
    bad = managed.deploy(host, f"Bad {prefix}", contract="dies")
    good = answers(host, f"Good {prefix}")
    managed.wait_state(host, good, "running")
    managed.wait_state(host, bad, "crash-looping")
    for each in (bad, good):
        managed.delete(host, each)


# --- versions ----------------------------------------------------------------------------------------------------------------------


def test_an_upgrade_to_a_broken_version_undoes_itself(host, prefix, bundle):
    connector_id = managed.deploy(host, f"Upgrade {prefix}", {"TEST_BUNDLES": str(bundle)}, contract="import", version="1.0.0")
    managed.wait_state(host, connector_id, "running")
    wait_until(lambda: runs(host, connector_id) == 1, "a run is over")
    with Watch(host, connector_id) as watch:
        host.graphql(managed.UPGRADE, {"id": connector_id, "version": "2.0.0"})
        found = wait_until(lambda: (one := managed.one(host, connector_id))["rolled_back"] and one, "it was rolled back", 90)
        assert found["contract_version"] == "1.0.0"
        assert "401 Unauthorized" in found["rolled_back"]["reason"]
        managed.wait_state(host, connector_id, "running")
        wait_until(lambda: runs(host, connector_id) >= 2, "it runs again with its state")
    assert watch.most == 1
    only_process(connector_id)
    definitions = host.graphql(managed.DEFINITIONS, {"id": connector_id})["connectorDefinitions"]
    versions = [each["version"] for each in sorted(definitions, key=lambda each: each["number"])]
    assert versions[:2] == ["1.0.0", "2.0.0"]
    (current,) = [each for each in definitions if each["current"]]
    assert current["version"] == "1.0.0"
    managed.delete(host, connector_id)


def test_an_upgrade_whose_schema_does_not_fit_changes_nothing(host, prefix, bundle):
    connector_id = managed.deploy(host, f"Schema {prefix}", {"TEST_BUNDLES": str(bundle)}, contract="import", version="1.0.0")
    managed.wait_state(host, connector_id, "running")
    before = only_process(connector_id)
    with pytest.raises(GraphQLError) as refused:
        host.graphql(managed.UPGRADE, {"id": connector_id, "version": "3.0.0"})
    assert "IMPORT_API_URL" in refused.value.message
    assert managed.one(host, connector_id)["contract_version"] == "1.0.0"
    assert only_process(connector_id) == before
    managed.delete(host, connector_id)


def test_upgrade_and_rollback_are_both_ways_and_keep_the_state(host, prefix, bundle):
    connector_id = managed.deploy(host, f"Versions {prefix}", {"TEST_BUNDLES": str(bundle)}, contract="import", version="1.0.0")
    managed.wait_state(host, connector_id, "running")
    wait_until(lambda: runs(host, connector_id) == 1, "a run is over")
    with Watch(host, connector_id) as watch:
        host.graphql(managed.UPGRADE, {"id": connector_id, "version": "1.1.0"})
        wait_until(lambda: runs(host, connector_id) == 2, "the new version runs with the state")
        assert managed.configuration(managed.wait_state(host, connector_id, "running"))["IMPORT_MODE"] == "all"
        host.graphql(managed.ROLLBACK, {"id": connector_id})
        wait_until(lambda: runs(host, connector_id) == 3, "the old version runs with the state")
        found = managed.wait_state(host, connector_id, "running")
    assert found["contract_version"] == "1.0.0"
    assert "IMPORT_MODE" not in managed.configuration(found)
    assert watch.most == 1
    managed.delete(host, connector_id)


def test_a_change_of_the_configuration_restarts_with_it_and_keeps_what_was_not_named(host, prefix, tmp_path):
    path = tmp_path / "told.json"
    connector_id = managed.deploy(host, f"Change {prefix}", {"TELL_TO": str(path), "TELL_KEY": SECRET}, contract="tells")
    wait_until(lambda: json.loads(path.read_text()), "it has told")
    path.unlink()
    host.graphql(managed.CONFIGURE, {"input": {"id": connector_id, "configuration": managed.settings({"TELL_LEVEL": "high"})}})
    told = wait_until(lambda: json.loads(path.read_text()), "it has told again")
    assert told["environment"]["TELL_LEVEL"] == "high"
    assert told["environment"]["TELL_KEY"] == SECRET
    managed.delete(host, connector_id)


# --- composer and platform go away -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_connectors_outlive_the_composer_and_are_adopted_again(make_host, prefix, how):
    platform = make_host().start()
    first, second = answers(platform, f"First {prefix}"), answers(platform, f"Second {prefix}")
    for each in (first, second):
        managed.wait_state(platform, each, "running")
    before = {each: only_process(each) for each in (first, second)}
    with Watch(platform, first) as watch:
        getattr(platform, how)()
        assert {each: only_process(each) for each in (first, second)} == before
        platform.start()
        for each in (first, second):
            managed.wait_state(platform, each, "running")
        managed.request(platform, second, "stopping")
        managed.wait_state(platform, second, "stopped")
    assert watch.most == 1
    assert only_process(first) == before[first]
    assert managed.processes(second) == []


def test_what_was_asked_while_the_composer_was_away_is_done_when_it_is_back(make_host, prefix):
    platform = make_host().start()
    running, dead = answers(platform, f"Runs {prefix}"), answers(platform, f"Dead {prefix}")
    for each in (running, dead):
        managed.wait_state(platform, each, "running")
    before = only_process(dead)
    platform.kill()
    os.kill(before, 9)
    kept = only_process(running)
    enabled, platform.env = platform.env, platform.env | {"FERROCTI_COMPOSER_ENABLED": "false"}
    platform.start()
    managed.delete(platform, running)
    platform.terminate()
    assert only_process(running) == kept
    platform.env = enabled
    platform.start()
    wait_until(lambda: managed.processes(running) == [], "the deleted one is gone")
    wait_until(lambda: managed.processes(dead) not in ([], [before]), "the dead one runs again")
    managed.wait_state(platform, dead, "running")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_told_and_harms_no_other_connector(make_host, prefix):
    platform = make_host()
    directory = platform.data_dir / "composer"
    kept = (directory / "key.pem").read_bytes()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(directory)], check=True)
    try:
        (directory / "key.pem").touch(mode=0o600)
        (directory / "key.pem").write_bytes(kept)
        platform.start()
        before = answers(platform, f"Before {prefix}")
        managed.wait_state(platform, before, "running")
        process = only_process(before)
        filler = directory / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        after = answers(platform, f"After {prefix}")
        found = managed.wait_state(platform, after, "failed", "crash-looping")
        assert "space" in found["manager_state_reason"]
        assert only_process(before) == process
        filler.unlink()
        managed.wait_state(platform, after, "running", seconds=90)
        assert only_process(before) == process
    finally:
        platform.stop()
        end_processes(platform)
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


# --- keys --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["changed", "lost"])
def test_another_key_blocks_what_is_sealed_for_the_old_one_and_touches_nothing_that_runs(make_host, other_key, prefix, tmp_path, how):
    platform = make_host().start()
    path = tmp_path / "told.json"
    running = answers(platform, f"Runs {prefix}", configuration={"ANSWER_KEY": SECRET})
    waiting = managed.deploy(platform, f"Waits {prefix}", {"TELL_TO": str(path), "TELL_KEY": SECRET}, contract="tells", start=False)
    managed.wait_state(platform, running, "running")
    before = only_process(running)
    platform.terminate()
    if how == "changed":
        write_key(platform.data_dir / "composer", other_key)
    else:
        (platform.data_dir / "composer" / "key.pem").unlink()
    platform.start(120)
    managed.request(platform, waiting, "starting")
    found = managed.wait_state(platform, waiting, "failed")
    assert "key" in found["manager_state_reason"].lower()
    assert not path.exists()
    assert only_process(running) == before
    platform.graphql(managed.CONFIGURE, {"input": {"id": waiting, "configuration": managed.settings({"TELL_KEY": "new secret"})}})
    told = wait_until(lambda: json.loads(path.read_text()), "it runs with the secret that was given again")
    assert told["environment"]["TELL_KEY"] == "new secret"


def test_a_key_file_that_others_may_read_is_refused_in_words(make_host, prefix):
    platform = make_host()
    path = platform.data_dir / "composer" / "key.pem"
    path.chmod(0o644)
    Platform.start(platform)
    wait_until(lambda: "key.pem" in platform.log(), "the log names the file")
    assert platform.graphql("query About { about { version } }")["about"]["version"]
    assert path.stat().st_mode & 0o777 == 0o644


# --- deleting ----------------------------------------------------------------------------------------------------------------------


def test_many_deletions_at_once_wait_for_an_operator(make_host, prefix):
    platform = make_host().start()
    made = [answers(platform, f"Mass {prefix} {number}") for number in range(6)]
    for each in made:
        managed.wait_state(platform, each, "running")
    for each in made:
        platform.graphql(managed.DELETE, {"id": each})
    waiting = wait_until(
        lambda: [each["connector_id"] for each in managed.own_composer(platform)["tombstones"]] if managed.own_composer(platform)["blocked"] else None,
        "the composer says that it waits",
    )
    alive = [each for each in made if managed.processes(each)]
    assert len(alive) >= 3
    assert set(alive) <= set(waiting)
    platform.graphql(managed.APPROVE, {"composer": managed.own_composer(platform)["id"], "connectors": waiting})
    wait_until(lambda: not [each for each in made if managed.processes(each)], "all are gone")
    wait_until(lambda: managed.own_composer(platform)["tombstones"] == [], "the composer has told so")


def test_a_deleted_connector_leaves_neither_its_token_nor_its_directory(host, prefix, tmp_path):
    path = tmp_path / "told.json"
    connector_id = managed.deploy(host, f"Gone {prefix}", {"TELL_TO": str(path), "TELL_KEY": SECRET}, contract="tells")
    environment = wait_until(lambda: json.loads(path.read_text()), "it has told")["environment"]
    managed.delete(host, connector_id)
    assert host.refused("query Me { me { id } }", token=environment["OPENCTI_TOKEN"])
    wait_until(lambda: connector_id not in [each["connector_id"] for each in managed.own_composer(host)["tombstones"]], "it is gone")
    left = [str(each) for each in (host.data_dir / "composer").rglob("*") if each.is_file() and SECRET.encode() in each.read_bytes()]
    assert left == []


# --- logs and secrets --------------------------------------------------------------------------------------------------------------


def test_logs_can_be_searched_and_paged(host, prefix):
    word = uuid.uuid4().hex
    script = f"import time\nfor n in range(150): print('line', n, '{word}' if n == 123 else '', flush=True)\ntime.sleep(1000)"
    connector_id = managed.deploy(host, f"Talks {prefix}", generic=generic([sys.executable, "-c", script]))
    wait_until(lambda: len(managed.log_lines(host, connector_id)) == 150, "the log is there")
    assert [line.split()[:2] for line in managed.log_lines(host, connector_id, word)] == [["line", "123"]]
    seen, before = [], None
    while True:
        page = host.graphql(managed.LOGS, {"id": connector_id, "first": 40, "before": before})["connectorLogs"]
        seen = [line["text"].strip() for line in page["lines"]] + seen
        before = page["before"]
        if before is None:
            break
    assert [line.split()[:2] for line in seen] == [["line", str(number)] for number in range(150)]
    managed.delete(host, connector_id)


def test_no_secret_is_in_an_answer_a_log_the_audit_or_a_file_that_others_can_read(host, prefix, tmp_path):
    path = tmp_path / "told.json"
    secret = f"secret-{uuid.uuid4().hex}"
    connector_id = managed.deploy(host, f"Discreet {prefix}", {"TELL_TO": str(path), "TELL_KEY": secret}, contract="tells")
    token = wait_until(lambda: json.loads(path.read_text()), "it has told")["environment"]["OPENCTI_TOKEN"]
    host.graphql(managed.CONFIGURE, {"input": {"id": connector_id, "configuration": managed.settings({"TELL_LEVEL": "high"})}})
    answers_given = json.dumps([
        managed.one(host, connector_id),
        host.graphql(managed.DEFINITIONS, {"id": connector_id}),
        host.graphql(managed.LOGS, {"id": connector_id, "first": 1000}),
        host.graphql(managed.MANAGERS),
    ])  # fmt: skip
    audit = host.cli("audit", "--json")
    assert audit.returncode == 0
    assert connector_id in audit.stdout
    for name, value in (("secret", secret), ("token", token)):
        assert value not in answers_given, name
        assert value not in host.log(), name
        assert value not in audit.stdout, name
        for file in host.directory.rglob("*"):
            if file.is_file() and not file.is_symlink() and value.encode() in file.read_bytes():
                assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, f"{name} in {file}"
    for private in ("key.pem",):
        assert stat.S_IMODE((host.data_dir / "composer" / private).stat().st_mode) == 0o600
    command_lines = b"".join((each / "cmdline").read_bytes() for each in proc())
    assert secret.encode() not in command_lines
    managed.delete(host, connector_id)


def proc():
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "cmdline").exists():
            yield entry
