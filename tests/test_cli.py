"""The command line as an operator uses it: quickstart, serve, import, status, configuration, errors, stopping."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import requests
from harness import Platform, StartFailed, api, run_cli, stix, wait_until
from harness.platform import BINARY, ROOT, clean_environment


@pytest.fixture
def taken_port():
    """A port on which somebody else listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def run(tmp_path):
    """Starts `ferrocti …` in the background with its output caught; ends it with the test."""
    started = []

    def start(*args, env=None):
        process = subprocess.Popen([str(BINARY), *map(str, args)], env=clean_environment(**(env or {})), cwd=tmp_path,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        process.lines = {"stdout": [], "stderr": []}
        for name in ("stdout", "stderr"):
            stream, lines = getattr(process, name), process.lines[name]
            threading.Thread(target=lambda stream=stream, lines=lines: lines.extend(iter(stream.readline, "")), daemon=True).start()
        started.append(process)
        return process

    yield start
    for process in started:
        # told to stop, a quickstart takes the connector along that it has deployed
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def output(process) -> str:
    return "".join(process.lines["stdout"])


# --- quickstart --------------------------------------------------------------------------------------------------------------------


def test_quickstart_shows_how_to_log_in_loads_the_example_and_stays_up(run, tmp_path):
    process = run("quickstart", "--data-dir", tmp_path / "data", "--port", "0", "--amqp-port", "0")
    url = wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", output(process)), "the address is shown", 60).group(0)
    token = wait_until(lambda: re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}|flgrn_octi_tkn_[\w-]{64}", output(process)), "the token is shown").group(0)
    assert "@" in output(process), "the admin's e-mail is shown"
    bundle = json.loads((ROOT / "crates" / "ferrocti" / "assets" / "quickstart-bundle.json").read_text())

    def objects() -> int:
        answer = requests.post(url + "/graphql", json={"query": "query { platformStatus { objects open_works } }", "variables": {}},
                               headers={"Authorization": f"Bearer {token}"}, timeout=10).json()["data"]["platformStatus"]  # fmt: skip
        return answer["objects"] if answer["open_works"] == 0 else 0

    assert wait_until(lambda: objects() >= len(bundle["objects"]) or None, "the example is loaded", 60)
    assert process.poll() is None
    doctor = run_cli("doctor", "--url", url, "--token", token)
    assert (doctor.returncode, doctor.stdout) == (0, "nothing to worry about\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    again = run("quickstart", "--data-dir", tmp_path / "data", "--port", "0", "--amqp-port", "0")
    wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", output(again)), "the second start shows its address", 60)
    assert token not in output(again), "the token is shown once"


def programs_below(directory) -> list[str]:
    """Command lines of the processes that run in a directory or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(directory):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
        except OSError:
            continue
    return found


def sample(process) -> dict:
    """What a quickstart with --json says about the sample connector."""
    return wait_until(lambda: next((event for line in process.lines["stdout"] if (event := json.loads(line))["event"] == "sample"), None),
                      "the sample connector is told of", 120)  # fmt: skip


def test_quickstart_deploys_a_connector_that_runs_and_takes_it_along(run, tmp_path):
    data, token = tmp_path / "data", "c9c2a1f4-5d4f-4c57-9d55-1f5b1f8f3a10"

    def start():
        return run("quickstart", "--json", "--data-dir", data, "--port", "0", "--amqp-port", "0", env={"FERROCTI_ADMIN_TOKEN": token})

    def stop(process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert programs_below(data) == []

    def cli(process, *args):
        url = next(json.loads(line)["http"] for line in process.lines["stdout"] if '"listening"' in line)
        done = run_cli("connector", *args, "--json", "--url", url, "--token", token)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = start()
    told = sample(first)
    assert told["outcome"] == "running", told
    shown = cli(first, "show", told["name"])["connector"]
    assert (shown["id"], shown["manager_state"], shown["health"]["level"]) == (told["connector"], "running", "green")
    assert shown["health"]["last_data"]
    assert len(programs_below(data)) == 1
    stop(first)

    second = start()
    assert sample(second)["outcome"] == "running"
    assert len(cli(second, "list", "--managed")["connectors"]) == 1
    cli(second, "stop", told["connector"], "--wait")
    stop(second)

    third = start()
    assert sample(third)["outcome"] == "stopped", "what somebody has stopped stays so"
    cli(third, "delete", told["connector"], "--wait")
    stop(third)

    fourth = start()
    assert sample(fourth)["outcome"] == "removed", "what somebody has removed does not come back"
    stop(fourth)


def test_quickstart_without_a_composer_says_so(run, tmp_path):
    process = run("quickstart", "--data-dir", tmp_path / "data", "--port", "0", "--amqp-port", "0", env={"FERROCTI_COMPOSER_ENABLED": "false"})
    wait_until(lambda: "composer.enabled" in output(process) and "Try next" in output(process), "it goes on without one", 60)


def test_the_example_holds_every_important_kind():
    bundle = json.loads((ROOT / "crates" / "ferrocti" / "assets" / "quickstart-bundle.json").read_text())
    kinds = stix.counts(bundle["objects"])
    assert sum(kinds.values()) >= 200
    assert {"malware", "intrusion-set", "attack-pattern", "indicator", "report", "relationship", "sighting", "identity", "vulnerability", "tool",
            "ipv4-addr", "file", "domain-name", "location", "course-of-action"} <= set(kinds)  # fmt: skip


# --- import and status -------------------------------------------------------------------------------------------------------------


def test_import_sends_files_and_sums_up(platform, tmp_path, prefix):
    bundle = stix.mixed_feed(1, 48, prefix)
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(bundle))
    done = platform.cli("import", path)
    assert done.returncode == 0, done.stderr
    assert "bundle.json" in done.stdout
    assert str(len(bundle["objects"])) in done.stdout
    assert all(api.exists(platform, entry["id"]) for entry in bundle["objects"])


def test_import_as_json_counts_and_names_what_was_refused(platform, tmp_path, prefix):
    good = stix.domain("malware", f"{prefix} good", is_family=True)
    bad = stix.domain("x-nobody-knows", f"{prefix} bad")
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(stix.bundle([good, bad])))
    done = platform.cli("import", path, "--json")
    assert done.returncode != 0
    report = json.loads(done.stdout)
    assert report["refused"] == 1
    assert bad["id"] in done.stdout
    assert api.exists(platform, good["id"])


@pytest.mark.parametrize(("content", "word"), [("{ nope", "JSON"), ('{"type": "report"}', "bundle"), (None, "No such file")],
                         ids=["not json", "no bundle", "no file"])  # fmt: skip
def test_import_of_something_else_says_what_is_wrong_and_where(platform, tmp_path, content, word):
    path = tmp_path / "odd.json"
    if content is not None:
        path.write_text(content)
    done = platform.cli("import", path)
    assert done.returncode != 0
    assert "odd.json" in done.stderr
    assert word.lower() in done.stderr.lower()


def test_users_import_without_being_in_each_others_way_and_status_tells_what_was_not_applied(platform, account, tmp_path, prefix):
    path = tmp_path / "bundle.json"
    known = stix.domain("malware", f"{prefix} known", is_family=True, confidence=90, description="by the administrator")
    for token, text in ((None, "by the administrator"), (account.token, "by the feed")):
        path.write_text(json.dumps(stix.bundle([{**known, "description": text}])))
        done = platform.cli("import", path, token=token)
        assert done.returncode == 0, done.stderr
    assert f'Malware "{prefix} known"' in platform.cli("status").stdout


def test_status_shows_connectors_queues_and_works(platform, account, prefix):
    connector_id = api.new_id()
    api.register(platform, account.token, connector_id, name=f"shown {prefix}")
    work_id = api.work_add(platform, account.token, connector_id, f"work {prefix}")
    text = platform.cli("status")
    assert text.returncode == 0, text.stderr
    assert f"shown {prefix}" in text.stdout
    assert f"work {prefix}" in text.stdout
    report = json.loads(platform.cli("status", "--json").stdout)
    assert connector_id in json.dumps(report)
    assert work_id in json.dumps(report)


@pytest.mark.parametrize("command", [("status",), ("queue", "dead-letters"), ("parked",)])
def test_client_commands_say_when_no_platform_answers_or_the_token_is_wrong(platform, command, taken_port):
    del taken_port
    nobody = run_cli(*command, "--url", "http://127.0.0.1:9", "--token", "x")
    assert nobody.returncode != 0
    assert "127.0.0.1:9" in nobody.stderr
    stranger = run_cli(*command, "--url", platform.url, "--token", "not-a-token")
    assert stranger.returncode != 0
    assert "token" in stranger.stderr.lower() or "logged in" in stranger.stderr.lower()
    assert "not-a-token" not in stranger.stderr


def test_a_connector_account_can_be_made_while_the_platform_is_stopped(make_platform):
    platform = make_platform().start()
    platform.terminate()
    done = run_cli("user", "add-connector", "offline", "--data-dir", platform.data_dir, "--json")
    assert done.returncode == 0, done.stderr
    token = json.loads(done.stdout)["token"]
    platform.start()
    assert api.register(platform, token, api.new_id())["connector_user_id"]


def test_two_accounts_of_one_name_are_refused_or_distinct(platform, prefix):
    first = platform.add_connector_account(f"same {prefix}")
    done = platform.cli("user", "add-connector", f"same {prefix}", "--json")
    if done.returncode == 0:
        assert json.loads(done.stdout)["token"] != first.token
    else:
        assert prefix in done.stderr
    assert platform.graphql("query { me { id } }", token=first.token)["me"]["id"]


# --- starting ----------------------------------------------------------------------------------------------------------------------


def test_a_taken_http_port_is_a_clear_error(make_platform, taken_port):
    platform = make_platform()
    platform.port = taken_port
    with pytest.raises(StartFailed) as failed:
        platform.start()
    assert failed.value.code != 0
    assert str(taken_port) in failed.value.stderr
    assert "--port" in failed.value.stderr or "FERROCTI_PORT" in failed.value.stderr or "in use" in failed.value.stderr


def test_a_taken_amqp_port_is_a_clear_error(make_platform, taken_port):
    platform = make_platform()
    platform.amqp_port = taken_port
    with pytest.raises(StartFailed) as failed:
        platform.start()
    assert str(taken_port) in failed.value.stderr


def test_a_data_directory_in_use_is_a_clear_error(make_platform):
    first = make_platform("first").start()
    second = make_platform("second")
    second.data_dir = first.data_dir
    with pytest.raises(StartFailed) as failed:
        second.start()
    assert str(first.data_dir) in failed.value.stderr
    assert "in use" in failed.value.stderr or "another" in failed.value.stderr
    assert first.graphql("query { about { version } }")


def test_a_data_directory_that_cannot_be_written_is_a_clear_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    done = run_cli("serve", "--data-dir", blocked / "data", "--port", "0", "--amqp-port", "0")
    assert done.returncode != 0
    assert str(blocked) in done.stderr


@pytest.mark.parametrize(("env", "names"), [
    ({"FERROCTI_PROT": "1"}, ["FERROCTI_PROT"]),
    ({"FERROCTI_PORT": "many"}, ["FERROCTI_PORT", "many"]),
    ({"APP__PORT": "70000"}, ["APP__PORT"]),
    ({"FERROCTI_ADMIN_TOKEN": "ChangeMe"}, ["FERROCTI_ADMIN_TOKEN"]),
], ids=["unknown", "not a number", "too large", "bad token"])  # fmt: skip
def test_a_wrong_setting_in_the_environment_is_named(tmp_path, env, names):
    done = run_cli("serve", "--data-dir", tmp_path / "data", env={"FERROCTI_AMQP_PORT": "0"} | env)
    assert done.returncode != 0
    for name in names:
        assert name in done.stderr


def test_a_wrong_setting_in_the_file_is_named_with_the_file(tmp_path):
    file = tmp_path / "ferrocti.toml"
    file.write_text('prot = 8080\n[admin]\nemail = "a@example.org"\n')
    done = run_cli("serve", "--config", file, "--data-dir", tmp_path / "data")
    assert done.returncode != 0
    assert "prot" in done.stderr
    assert str(file) in done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(process) -> dict:
    def look():
        assert process.poll() is None, "".join(process.lines["stderr"])
        for line in process.lines["stdout"]:
            if line.startswith("{") and json.loads(line).get("event") == "listening":
                return json.loads(line)
        return None

    return wait_until(look, "the server listens", 30)


def test_flags_win_over_the_environment_and_that_over_the_file(run, tmp_path):
    file_port, env_port, flag_port = free_port(), free_port(), free_port()
    file = tmp_path / "ferrocti.toml"
    file.write_text(f"port = {file_port}\namqp_port = 0\n")
    base = ["serve", "--json", "--config", file, "--data-dir"]
    assert listening(run(*base, tmp_path / "a"))["http"].endswith(f":{file_port}")
    assert listening(run(*base, tmp_path / "b", env={"APP__PORT": str(env_port)}))["http"].endswith(f":{env_port}")
    assert listening(run(*base, tmp_path / "c", "--port", flag_port, env={"FERROCTI_PORT": str(free_port())}))["http"].endswith(f":{flag_port}")


def test_upstreams_names_for_admin_base_path_and_health_key_carry_over(run, tmp_path):
    token = api.new_id()
    settings = {"APP__ADMIN__EMAIL": "boss@example.org", "APP__ADMIN__PASSWORD": "a long enough password", "APP__ADMIN__TOKEN": token,
                "APP__BASE_PATH": "/cti", "APP__HEALTH_ACCESS_KEY": "open sesame", "APP__PORT": "0", "FERROCTI_AMQP_PORT": "0"}  # fmt: skip
    process = run("serve", "--json", "--data-dir", tmp_path / "data", env=settings)
    root = re.match(r"http://[^/]+", listening(process)["http"]).group(0)
    answer = requests.post(root + "/cti/graphql", json={"query": "query { me { user_email } }", "variables": {}},
                           headers={"Authorization": f"Bearer {token}"}, timeout=10)  # fmt: skip
    assert answer.json()["data"]["me"]["user_email"] == "boss@example.org"
    assert requests.get(root + "/cti/health", timeout=10).status_code in (401, 403)
    assert requests.get(root + "/cti/health", params={"health_access_key": "open sesame"}, timeout=10).status_code == 200
    told = "".join(process.lines["stdout"] + process.lines["stderr"])
    for secret in (token, "a long enough password", "open sesame"):
        assert secret not in told


def test_other_settings_of_an_opencti_deployment_are_ignored_with_a_word(run, tmp_path):
    process = run("serve", "--json", "--data-dir", tmp_path / "data", env={"APP__GRAPHQL__PLAYGROUND__ENABLED": "true", "APP__PORT": "0", "FERROCTI_AMQP_PORT": "0"})
    listening(process)
    assert "APP__GRAPHQL__PLAYGROUND__ENABLED" in "".join(process.lines["stderr"])


def test_config_lists_every_setting():
    done = run_cli("config")
    assert done.returncode == 0
    for name in ("FERROCTI_DATA_DIR", "FERROCTI_PORT", "APP__PORT", "FERROCTI_AMQP_PORT", "APP__ADMIN__TOKEN", "APP__BASE_PATH", "APP__HEALTH_ACCESS_KEY"):
        assert name in done.stdout


# --- stopping, restarting, checking ------------------------------------------------------------------------------------------------


def test_sigterm_stops_gracefully_and_everything_is_there_after_the_next_start(make_platform, prefix):
    platform = make_platform().start()
    account = platform.add_connector_account("account")
    connector_id = api.new_id()
    api.register(platform, account.token, connector_id)
    work_id = api.work_add(platform, account.token, connector_id)
    bundle = stix.mixed_feed(9, 1200, prefix)
    api.push(platform, account.token, connector_id, bundle, work_id)
    assert platform.terminate() == 0
    platform.start()
    api.work_edit(platform, account.token, work_id, 'toProcessed(message: "sent")')
    work = api.completed(platform, work_id)
    assert (work["errors"], work["tracking"]["import_processed_number"]) == ([], len(bundle["objects"]))


def test_sigterm_does_not_wait_for_idle_connections(make_platform, prefix):
    from harness.amqp import Publisher

    platform = make_platform().start()
    account = platform.add_connector_account("account")
    config = api.register(platform, account.token, api.new_id())["config"]
    with Publisher(platform, config) as publisher:
        began = time.monotonic()
        assert platform.terminate() == 0
        assert time.monotonic() - began < 10
        with pytest.raises(Exception):  # noqa: B017, PT011 - the broker said goodbye
            publisher.publish(b"{}")


def test_check_finds_a_sound_directory_sound(make_platform, prefix):
    platform = make_platform().start()
    account = platform.add_connector_account("account")
    connector_id = api.new_id()
    api.register(platform, account.token, connector_id)
    api.deliver(platform, account.token, connector_id, stix.mixed_feed(1, 36, prefix))
    running = run_cli("check", "--data-dir", platform.data_dir)
    assert running.returncode != 0, "a directory in use cannot be checked"
    platform.terminate()
    done = run_cli("check", "--data-dir", platform.data_dir)
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_finds_damage(make_platform, prefix):
    platform = make_platform().start()
    account = platform.add_connector_account("account")
    connector_id = api.new_id()
    api.register(platform, account.token, connector_id)
    api.deliver(platform, account.token, connector_id, stix.mixed_feed(1, 120, prefix))
    platform.terminate()
    database = platform.data_dir / "ferrocti.db"
    pages = database.stat().st_size // 8192
    with database.open("r+b") as file:
        # at the beginnings of pages, where their structure is: some of the others hold nothing or only text
        for page in range(pages // 2, pages // 2 + 5):
            file.seek(page * 8192)
            file.write(os.urandom(4096))
    done = run_cli("check", "--data-dir", platform.data_dir)
    assert done.returncode != 0


def test_secrets_do_not_reach_the_log(make_platform):
    platform = make_platform(args=("--log", "trace")).start()
    account = platform.add_connector_account("account")
    config = api.register(platform, account.token, api.new_id())["config"]
    platform.terminate()
    log = platform.log()
    assert log
    for secret in (platform.admin.token, account.token, config["connection"]["pass"]):
        assert secret not in log


def test_idle_memory_and_start_are_small(make_platform):
    """A coarse guard for every change; the benchmarks measure it properly, with data, on a release build."""
    began = time.monotonic()
    platform = make_platform().start()
    platform.graphql("query { about { version } }")
    assert time.monotonic() - began < 10
    assert platform.resident_memory() < 150 * 1024 * 1024


def test_help_is_complete_and_an_unknown_command_is_an_error():
    assert {"quickstart", "serve", "import", "status"} <= set(re.findall(r"^  ([\w-]+)", run_cli("--help").stdout, re.MULTILINE))
    done = run_cli("quickstrat")
    assert done.returncode != 0
    assert "quickstart" in done.stderr


def test_a_platform_serves_after_the_start_it_announced(tmp_path):
    with Platform(tmp_path / "p") as platform:
        assert requests.get(platform.url + "/health", timeout=10).status_code == 200


def test_metrics_are_counted_for_whoever_asks_when_the_setting_switches_them_on(make_platform, prefix):
    assert requests.get(make_platform("without").start().url + "/metrics", timeout=10).status_code == 404
    platform = make_platform("with", env={"FERROCTI_METRICS": "true"}).start()

    def counts():
        answer = requests.get(platform.url + "/metrics", timeout=10)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = [line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")]
        return {name: int(value) for name, value in lines}

    before = counts()
    platform.graphql("mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }", {"input": {"name": prefix}})
    account = platform.add_connector_account("metrics")
    connector_id = api.new_id()
    api.register(platform, account.token, connector_id)
    after = counts()
    assert after["ferrocti_objects"] == before["ferrocti_objects"] + 1
    assert after["ferrocti_parked"] == 0
    assert after[f'ferrocti_queue_messages{{queue="push_{connector_id}"}}'] == 0
