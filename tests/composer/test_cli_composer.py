"""`ferrocti connector …` as an operator uses it, for people and with --json, and what it says to wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from harness import run_cli, wait_until
from harness.platform import BINARY, clean_environment

from . import catalog, managed

SECRET = "typed-secret-8d21"  # noqa: S105 - a secret of the tests


@pytest.fixture
def cli(host):
    """Runs `ferrocti …` against the platform; the secret is in the environment as TYPED_KEY."""

    def run(*args, stdin=None, env=None, timeout=120):
        given = {"TYPED_KEY": SECRET, "FERROCTI_URL": host.url, "FERROCTI_TOKEN": host.admin.token} | (env or {})
        done = run_cli(*args, env=given, stdin=stdin, timeout=timeout)
        assert SECRET not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def ok(cli):
    """The same, for what must succeed: its output, as JSON where that was asked for."""

    def run(*args, **more):
        done = cli(*args, **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in args else done.stdout

    return run


@pytest.fixture
def deployed(host, ok, prefix):
    """A connector that runs: its id and its name."""
    name = f"Typed {prefix}"
    connector_id = ok("connector", "deploy", "answers", "--name", name, "--wait", "--json")["connector"]["id"]
    yield connector_id, name
    if managed.one(host, connector_id):
        managed.delete(host, connector_id)


# --- looking around ----------------------------------------------------------------------------------------------------------------


def test_contracts_are_found_by_word_type_and_support(ok):
    assert "answers" in ok("connector", "catalog")
    found = ok("connector", "catalog", "tells", "--json")
    assert "tells" in json.dumps(found)
    assert "Dies" not in json.dumps(found)
    assert "answers" not in ok("connector", "catalog", "--type", "STREAM")
    assert "ferrocti-sample" in ok("connector", "catalog", "--supported", "--verified", "--catalog", "ferrocti-local")


def test_the_sources_of_catalogs_are_listed_and_read_again(ok, host):
    shown = ok("connector", "catalog", "--sources")
    assert catalog.CATALOG in shown
    assert "ferrocti-local" in shown
    assert catalog.CATALOG in json.dumps(ok("connector", "catalog", "--sources", "--refresh", "--json"))


def test_a_contract_shows_every_setting(ok):
    shown = ok("connector", "contract", "tells")
    for word in ("TELL_TO", "TELL_KEY", "TELL_LEVEL", "low", "high"):
        assert word in shown
    assert "TELL_KEY" in json.dumps(ok("connector", "contract", "tells", "--json"))
    assert "IMPORT_API_URL" not in ok("connector", "contract", "import", "--version", "1.0.0")


def test_connectors_are_listed_and_shown(ok, deployed):
    connector_id, name = deployed
    for args in (("connector", "list"), ("connector", "list", "--managed")):
        assert name in ok(*args)
        assert connector_id in json.dumps(ok(*args, "--json"))
    shown = ok("connector", "show", name)
    assert "running" in shown
    assert "answers" in shown
    assert connector_id in json.dumps(ok("connector", "show", connector_id, "--json"))


# --- life --------------------------------------------------------------------------------------------------------------------------


def test_stop_start_and_restart_wait_until_it_is_so(ok, host, deployed):
    connector_id, name = deployed
    before = managed.processes(connector_id)
    assert "stopped" in ok("connector", "stop", name, "--wait")
    assert managed.processes(connector_id) == []
    assert ok("connector", "start", name, "--wait", "--json")["connector"]["manager_state"] == "running"
    between = managed.processes(connector_id)
    ok("connector", "restart", name, "--wait")
    after = managed.processes(connector_id)
    assert len(before) == len(between) == len(after) == 1
    assert len({*before, *between, *after}) == 3


def test_secrets_come_from_the_environment_a_file_or_the_standard_input(ok, host, prefix, tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    for number, (source, stdin) in enumerate((("env:TYPED_KEY", None), (f"file:{file}", None), ("-", f"{SECRET}\n"))):
        told = tmp_path / f"told-{number}.json"
        name = f"Source {prefix} {number}"
        made = ok("connector", "deploy", "tells", "--name", name, "--set", f"TELL_TO={told}", "--secret", f"TELL_KEY={source}", "--json", stdin=stdin)
        environment = wait_until(lambda told=told: json.loads(told.read_text()), "it has told")["environment"]
        assert environment["TELL_KEY"] == SECRET
        managed.delete(host, made["connector"]["id"])


def test_settings_and_limits_are_changed_and_what_is_not_named_stays(ok, host, prefix, tmp_path):
    told = tmp_path / "told.json"
    name = f"Configured {prefix}"
    args = ("--set", f"TELL_TO={told}", "--secret", "TELL_KEY=env:TYPED_KEY", "--set", "TELL_LEVEL=high", "--memory", "2g", "--env", "EXTRA=1")
    connector_id = ok("connector", "deploy", "tells", "--name", name, *args, "--json")["connector"]["id"]
    wait_until(lambda: json.loads(told.read_text()), "it has told")
    told.unlink()
    ok("connector", "configure", name, "--unset", "TELL_LEVEL", "--env", "OTHER=2", "--pin")
    environment = wait_until(lambda: json.loads(told.read_text()), "it has told again")["environment"]
    assert (environment["TELL_LEVEL"], environment["TELL_KEY"], environment["EXTRA"], environment["OTHER"]) == ("low", SECRET, "1", "2")
    assert managed.one(host, connector_id)["pinned"] is True
    managed.delete(host, connector_id)


def test_a_command_that_is_in_no_catalog_is_deployed(ok, host, prefix, tmp_path):
    program = str(catalog.PROGRAMS / "answers.py")
    name = f"Command {prefix}"
    made = ok("connector", "deploy", "--name", name, "--wait", "--json", "--command", "python3", "-u", program)
    assert made["connector"]["manager_state"] == "running"
    managed.delete(host, made["connector"]["id"])


def test_versions_go_up_and_back_with_their_history(ok, cli, host, prefix):
    name = f"Versioned {prefix}"
    connector_id = ok("connector", "deploy", "import", "--version", "1.0.0", "--name", name, "--wait", "--json")["connector"]["id"]
    ok("connector", "upgrade", name, "--version", "1.1.0", "--wait")
    assert managed.one(host, connector_id)["contract_version"] == "1.1.0"
    ok("connector", "rollback", name, "--wait")
    assert managed.one(host, connector_id)["contract_version"] == "1.0.0"
    shown = ok("connector", "definitions", name)
    assert "1.1.0" in shown
    assert len(json.dumps(ok("connector", "definitions", name, "--json"))) > 100
    refused = cli("connector", "upgrade", name, "--version", "3.0.0")
    assert refused.returncode == 1
    assert "IMPORT_API_URL" in refused.stderr
    broken = cli("connector", "upgrade", name, "--version", "2.0.0", "--wait")
    assert broken.returncode == 1
    assert "401 Unauthorized" in broken.stderr
    managed.wait_state(host, connector_id, "running")
    managed.delete(host, connector_id)


def test_waiting_for_what_dies_fails_with_the_reason(cli, host, prefix):
    done = cli("connector", "deploy", "dies", "--name", f"Dies {prefix}", "--wait")
    assert done.returncode == 1
    assert "401 Unauthorized" in done.stderr
    found = host.graphql("query Titles { connectors { id title } }")["connectors"]
    managed.delete(host, next(each["id"] for each in found if each["title"] == f"Dies {prefix}"))


def test_logs_are_shown_searched_and_followed(ok, host, deployed):
    connector_id, name = deployed
    wait_until(lambda: managed.log_lines(host, connector_id, "registered"), "its log is there")
    assert "registered" in ok("connector", "logs", name)
    assert "registered" in ok("connector", "logs", name, "--search", "REGISTERED", "--lines", "1")
    assert "registered" not in ok("connector", "logs", name, "--search", "no such word")
    assert "registered" in json.dumps(ok("connector", "logs", name, "--json"))
    environment = clean_environment(FERROCTI_URL=host.url, FERROCTI_TOKEN=host.admin.token)
    with subprocess.Popen([str(BINARY), "connector", "logs", name, "--follow"], env=environment, stdout=subprocess.PIPE, text=True) as following:
        assert "registered" in following.stdout.readline()
        os.kill(managed.processes(connector_id)[0], signal.SIGKILL)
        assert wait_until(lambda: "registered" in following.stdout.readline(), "the line of the new process comes by itself")
        following.kill()


def test_deleting_removes_what_runs(ok, cli, host, deployed):
    connector_id, name = deployed
    ok("connector", "delete", name)
    managed.approve(host, connector_id)
    wait_until(lambda: managed.processes(connector_id) == [], "nothing of it runs")
    again = cli("connector", "show", name)
    assert again.returncode == 1
    assert name in again.stderr


def test_composers_are_listed(ok, host):
    composer = managed.own_composer(host)
    assert composer["name"] in ok("composer", "list")
    assert composer["id"] in json.dumps(ok("composer", "list", "--json"))


# --- wrong input -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("deploy", "no-such-contract"), ["no-such-contract"]),
        (("deploy", "import", "--version", "9.9.9"), ["9.9.9"]),
        (("deploy", "tells", "--set", "TELL_TO=/x"), ["TELL_KEY"]),
        (("deploy", "tells", "--set", "TELL_TO=/x", "--set", "TELL_LEVEL=middle", "--secret", "TELL_KEY=env:TYPED_KEY"), ["TELL_LEVEL", "low"]),
        (("deploy", "tells", "--set", "TELL_TO=/x", "--secret", "TELL_KEY=env:NOT_THERE"), ["NOT_THERE"]),
        (("deploy", "tells", "--set", "TELL_TO=/x", "--secret", "TELL_KEY=file:/no/such/file"), ["/no/such/file"]),
        (("deploy", "tells", "--set", "TELL_TO=/x", "--secret", f"TELL_KEY={SECRET}"), ["standard input"]),
        (("deploy", "tells", "--set", "TELL_TO=/x", "--set", f"TELL_KEY={SECRET}"), ["TELL_KEY", "--secret"]),
        (("deploy", "answers", "--set", "UNKNOWN_KEY=1"), ["UNKNOWN_KEY"]),
        (("deploy", "answers", "--composer", "nobody"), ["nobody"]),
        (("deploy", "answers", "--user", "nobody@example.org"), ["nobody@example.org"]),
        (("deploy", "answers", "--memory", "much"), ["--memory", "512m"]),
        (("deploy", "--image", "not an image", "--name", "Image"), ["not an image"]),
        (("show", "nobody"), ["nobody"]),
        (("start", "nobody"), ["nobody"]),
        (("stop", "nobody"), ["nobody"]),
        (("restart", "nobody"), ["nobody"]),
        (("configure", "nobody", "--set", "A=1"), ["nobody"]),
        (("logs", "nobody"), ["nobody"]),
        (("upgrade", "nobody"), ["nobody"]),
        (("rollback", "nobody"), ["nobody"]),
        (("definitions", "nobody"), ["nobody"]),
        (("delete", "nobody"), ["nobody"]),
        (("plan", "/no/such/file.yaml"), ["/no/such/file.yaml"]),
        (("apply", "/no/such/file.yaml", "--yes"), ["/no/such/file.yaml"]),
    ],
    ids=lambda value: " ".join(value[:3]).replace("/", "_") if isinstance(value, tuple) else "",
)
def test_wrong_input_fails_with_words_and_changes_nothing(cli, host, args, words):
    before = host.graphql("query Ids { connectors { id } }")
    for more in ((), ("--json",)):
        done = cli("connector", *args, *more)
        assert done.returncode in (1, 2), done.stdout
        for word in words:
            assert word in done.stderr
        assert "panicked" not in done.stderr
    assert host.graphql("query Ids { connectors { id } }") == before


def test_who_may_not_define_what_runs_is_told_so(cli, host, prefix):
    account = host.add_connector_account(f"unprivileged {prefix}")
    done = cli("connector", "deploy", "answers", "--name", f"Forbidden {prefix}", env={"FERROCTI_TOKEN": account.token})
    assert done.returncode == 1
    assert done.stderr
