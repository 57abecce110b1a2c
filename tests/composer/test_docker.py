"""Managed connectors as containers of a real Docker engine: an unmodified connector, and what an engine and its administrator do to containers."""

from __future__ import annotations

import json
import os

from harness import api, wait_until

from . import managed
from .conftest import ANSWERS_IMAGE, DIES_IMAGE

SECRET = "container-secret-5b1d"  # noqa: S105 - a secret of the tests
HOST_NETWORK = {"networks": ["host"]}


def deploy(platform, name, image, *, environment=None, secrets=None, runtime=None, **more):
    given = {"title": name, "type": "EXTERNAL_IMPORT", "launch": {"image": image}, "environment": environment or {}, "secrets": list(secrets or {})}
    return managed.deploy(platform, name, secrets, generic=given, runtime=HOST_NETWORK | (runtime or {}), **more)


def gone(platform, engine, connector_id):
    managed.delete(platform, connector_id)
    wait_until(lambda: engine.containers(connector_id) == [], "no container of it is left", 60)


def test_an_unmodified_connector_lives_as_a_container_and_its_state_survives_it(dock, engine, pycti_image, prefix):
    environment = {"TEST_BUNDLES": "/app/bundle.json", "CONNECTOR_LOG_LEVEL": "error", "CONNECTOR_DURATION_PERIOD": "PT1H"}
    volume = {"mounts": [{"source": f"volume-{prefix}", "target": "/data", "read_only": False}]}
    connector_id = deploy(dock, f"Container {prefix}", pycti_image, environment=environment, secrets={"TEST_KEY": SECRET}, runtime=volume)

    def runs():
        state = managed.one(dock, connector_id)["connector_state"]
        return json.loads(state)["runs"] if state else 0

    found = managed.wait_state(dock, connector_id, "running", seconds=90)
    assert found["manager_current_status"] == "started"
    assert found["manager_contract_image"] == pycti_image
    wait_until(lambda: runs() == 1, "a run is over", 60)
    (container,) = engine.running(connector_id)
    inspected = engine.inspect(container)
    assert f"TEST_KEY={SECRET}" in inspected["Config"]["Env"]
    assert inspected["Config"]["Labels"]["io.ferrocti.connector"] == connector_id
    assert SECRET not in json.dumps(inspected["Config"]["Labels"])
    assert [mount["Name"] for mount in inspected["Mounts"]] == [f"volume-{prefix}"]

    managed.request(dock, connector_id, "stopping")
    managed.wait_state(dock, connector_id, "stopped")
    assert engine.running(connector_id) == []
    dock.graphql(managed.CONFIGURE, {"input": {"id": connector_id, "configuration": managed.settings({"CONNECTOR_LOG_LEVEL": "info"})}})
    managed.request(dock, connector_id, "starting")
    wait_until(lambda: runs() == 2, "the new container knows of the first run", 90)
    managed.wait_state(dock, connector_id, "running")
    wait_until(lambda: len(engine.containers(connector_id)) == 1, "the old container is gone", 30)
    (new,) = engine.running(connector_id)
    assert new != container
    assert api.named(dock, "container malware") == ["container malware"]
    assert any("registered" in line for line in managed.log_lines(dock, connector_id))
    gone(dock, engine, connector_id)


def test_a_directory_that_the_composer_allows_is_mounted(make_host, engine, prefix, tmp_path):
    directory = tmp_path / "allowed"
    (directory / "inner").mkdir(parents=True)
    platform = make_host("mounts", on=engine, mounts=str(directory)).start()
    runtime = {"mounts": [{"source": str(directory / "inner"), "target": "/data", "read_only": True}]}
    connector_id = deploy(platform, f"Mount {prefix}", ANSWERS_IMAGE, runtime=runtime)
    managed.wait_state(platform, connector_id, "running")
    (container,) = engine.running(connector_id)
    assert [(mount["Source"], mount["RW"]) for mount in engine.inspect(container)["Mounts"]] == [(str(directory / "inner"), False)]
    gone(platform, engine, connector_id)


def test_a_directory_of_the_machine_is_mounted_only_where_the_composer_allows_it(dock, engine, prefix):
    runtime = {"mounts": [{"source": "/etc", "target": "/mnt", "read_only": True}]}
    connector_id = deploy(dock, f"Mount {prefix}", ANSWERS_IMAGE, runtime=runtime)
    found = managed.wait_state(dock, connector_id, "failed")
    assert "composer.mounts" in found["manager_state_reason"]
    assert engine.containers(connector_id) == []
    managed.delete(dock, connector_id)


def test_a_container_that_was_removed_by_hand_comes_back_once(dock, engine, prefix):
    connector_id = deploy(dock, f"Removed {prefix}", ANSWERS_IMAGE)
    managed.wait_state(dock, connector_id, "running")
    (before,) = engine.running(connector_id)
    engine.ask("DELETE", f"/containers/{before}?force=1")
    wait_until(lambda: [each for each in engine.running(connector_id) if each != before], "another container of it runs", 60)
    managed.wait_state(dock, connector_id, "running")
    assert len(engine.running(connector_id)) == 1
    gone(dock, engine, connector_id)


def test_a_container_that_dies_at_once_is_told_with_the_reason_from_its_log(dock, engine, prefix):
    connector_id = deploy(dock, f"Dies {prefix}", DIES_IMAGE)
    found = managed.wait_state(dock, connector_id, "crash-looping", seconds=60)
    assert "401 Unauthorized" in found["manager_state_reason"]
    gone(dock, engine, connector_id)


def test_an_unknown_image_fails_with_the_reason_and_runs_once_it_is_there(dock, engine, prefix):
    image = f"localhost:9/nothing-{prefix}:1"
    connector_id = deploy(dock, f"Unknown {prefix}", image)
    found = managed.wait_state(dock, connector_id, "failed", seconds=90)
    assert image in found["manager_state_reason"]
    assert engine.containers(connector_id) == []
    managed.request(dock, connector_id, "stopping")
    managed.delete(dock, connector_id)


def test_images_that_the_composer_does_not_allow_are_not_run(make_host, engine, prefix):
    platform = make_host("images", on=engine, images="opencti/").start()
    connector_id = deploy(platform, f"Image {prefix}", ANSWERS_IMAGE)
    found = managed.wait_state(platform, connector_id, "failed")
    assert "composer.images" in found["manager_state_reason"]
    assert engine.containers(connector_id) == []


def test_an_upgrade_to_an_image_that_is_not_there_leaves_the_old_one_running(dock, engine, prefix):
    connector_id = deploy(dock, f"Registry {prefix}", ANSWERS_IMAGE)
    managed.wait_state(dock, connector_id, "running")
    before = engine.running(connector_id)
    missing = f"localhost:9/nothing-{prefix}:2"
    given = {"title": f"Registry {prefix}", "type": "EXTERNAL_IMPORT", "launch": {"image": missing}}
    replaced = dock.post(managed.DEPLOY, {"input": {"id": connector_id, "name": f"Registry {prefix}", "generic": given, "runtime": HOST_NETWORK}})
    assert replaced.json().get("errors"), "a connector that is there is not deployed over"
    assert engine.running(connector_id) == before
    gone(dock, engine, connector_id)


def test_containers_of_others_are_never_touched(dock, engine, prefix):
    foreign = json.dumps({
        "Image": ANSWERS_IMAGE, "Cmd": ["/usr/bin/python3.11", "-c", "import time; time.sleep(1000)"], "HostConfig": {"NetworkMode": "none"},
        "Labels": {"io.ferrocti.composer": "another", "io.ferrocti.connector": prefix},
    })  # fmt: skip
    made = engine.ask("POST", "/containers/create", foreign.encode())["Id"]
    engine.ask("POST", f"/containers/{made}/start")
    connector_id = deploy(dock, f"Beside {prefix}", ANSWERS_IMAGE)
    managed.wait_state(dock, connector_id, "running")
    gone(dock, engine, connector_id)
    assert engine.inspect(made)["State"]["Running"]
    engine.ask("DELETE", f"/containers/{made}?force=1")


def test_the_composer_that_was_killed_adopts_its_containers(make_host, engine, prefix):
    platform = make_host("adopts", on=engine).start()
    connector_id = deploy(platform, f"Adopted {prefix}", ANSWERS_IMAGE)
    managed.wait_state(platform, connector_id, "running")
    before = engine.running(connector_id)
    platform.kill()
    assert engine.running(connector_id) == before
    platform.start()
    managed.wait_state(platform, connector_id, "running")
    assert engine.running(connector_id) == before
    gone(platform, engine, connector_id)


def test_containers_run_again_after_the_engine_was_restarted_and_processes_never_noticed(make_host, engine, prefix):
    platform = make_host("restart", on=engine).start()
    container = deploy(platform, f"Container {prefix}", ANSWERS_IMAGE)
    process = managed.deploy(platform, f"Process {prefix}", contract="answers")
    for each in (container, process):
        managed.wait_state(platform, each, "running")
    before = [pid for pid in managed.processes(process) if not in_container(pid)]
    engine.restart()
    wait_until(lambda: len(engine.running(container)) == 1, "one container runs again", 60)
    managed.wait_state(platform, container, "running", seconds=60)
    assert [pid for pid in managed.processes(process) if not in_container(pid)] == before
    managed.wait_state(platform, process, "running")
    managed.delete(platform, process)
    gone(platform, engine, container)


def in_container(pid):
    return os.stat(f"/proc/{pid}/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino


def test_an_engine_that_is_away_is_told_and_blocks_no_process(make_host, prefix, tmp_path):
    platform = make_host("away", docker=f"unix://{tmp_path}/no.sock")
    (platform.data_dir / "composer" / "key.pem").unlink()  # one with a key may have left something on the engine, and waits for it
    platform.start(120)
    container = deploy(platform, f"Container {prefix}", ANSWERS_IMAGE)
    process = managed.deploy(platform, f"Process {prefix}", contract="answers")
    managed.wait_state(platform, process, "running")
    found = managed.wait_state(platform, container, "unreachable", "failed")
    assert "no.sock" in found["manager_state_reason"]


def test_limits_reach_the_container(dock, engine, prefix):
    connector_id = deploy(dock, f"Limits {prefix}", ANSWERS_IMAGE, runtime={"memory": "256m", "cpu_millis": 500, "processes": 50})
    managed.wait_state(dock, connector_id, "running")
    (container,) = engine.running(connector_id)
    limits = engine.inspect(container)["HostConfig"]
    assert (limits["Memory"], limits["NanoCpus"], limits["PidsLimit"]) == (256 << 20, 500_000_000, 50)
    gone(dock, engine, connector_id)
