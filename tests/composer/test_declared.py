"""`connectors.yaml` through the command line: the plan shows what would be done, applying it does just that, and doing it again does nothing."""

from __future__ import annotations

import json

import pytest
from harness import run_cli, wait_until

from . import managed

SECRET = "declared-secret-b0a4"  # noqa: S105 - a secret of the tests


@pytest.fixture
def declare(host, tmp_path):
    """Runs `connector plan` or `apply` on a file with this text; the secret is in the environment as DECLARED_KEY."""

    def run(command, text, *more, env=None):
        path = tmp_path / "connectors.yaml"
        path.write_text(text)
        given = {"DECLARED_KEY": SECRET} if env is None else env
        return run_cli("connector", command, path, *more, "--url", host.url, "--token", host.admin.token, env=given)

    yield run
    for each in host.graphql("query Declared { connectors { id declared } }")["connectors"]:
        if each["declared"]:
            managed.delete(host, each["id"])


def entry(name, *, told, level="low", key="{env: DECLARED_KEY}", **more):
    lines = [f"  - name: {name}", "    contract: tells"]
    lines += [f"    {field}: {value}" for field, value in more.items()]
    lines += ["    settings:", f"      TELL_TO: {told}", f"      TELL_LEVEL: {level}", "    secrets:", f"      TELL_KEY: {key}"]
    return "\n".join(lines) + "\n"


def answer(done):
    """What the platform answered, as --json shows it."""
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout).values()
    return found


def steps(done):
    return {step["name"]: step for step in answer(done)["steps"]}


def titles(platform):
    return {each["title"]: each["id"] for each in platform.graphql("query Titles { connectors { id title } }")["connectors"]}


def test_a_file_is_planned_applied_changed_and_emptied(host, declare, prefix, tmp_path):
    told = tmp_path / "told.json"
    name = f"Declared {prefix}"
    text = "connectors:\n" + entry(name, told=told)
    plan = declare("plan", text, "--json")
    assert {key: step["action"] for key, step in steps(plan).items()} == {name: "create"}
    assert name not in titles(host)

    assert steps(declare("apply", text, "--yes", "--json"))[name]["action"] == "create"
    connector_id = titles(host)[name]
    environment = wait_until(lambda: json.loads(told.read_text()), "it runs")["environment"]
    assert environment["TELL_KEY"] == SECRET
    assert managed.one(host, connector_id)["declared"] is True
    before = managed.processes(connector_id)

    again = declare("plan", text, "--json")
    assert steps(again)[name]["action"] == "keep"
    assert answer(again)["changed"] is False
    assert declare("apply", text, "--yes").returncode == 0
    assert managed.processes(connector_id) == before

    told.unlink()
    changed = "connectors:\n" + entry(name, told=told, level="high")
    (change,) = steps(declare("plan", changed, "--json"))[name]["changes"]
    assert "TELL_LEVEL" in change["path"]
    assert (change["before"], change["after"]) == ("low", "high")
    assert declare("apply", changed, "--yes").returncode == 0
    environment = wait_until(lambda: json.loads(told.read_text()), "it runs again")["environment"]
    assert (environment["TELL_LEVEL"], environment["TELL_KEY"]) == ("high", SECRET)

    emptied = "connectors: []\n"
    assert steps(declare("plan", emptied, "--json"))[name]["action"] == "remove"
    refused = declare("apply", emptied, "--yes")
    assert refused.returncode != 0
    assert "remov" in refused.stderr
    assert name in titles(host)
    assert declare("apply", emptied, "--yes", "--allow-removals").returncode == 0
    wait_until(lambda: managed.processes(connector_id) == [], "it is gone")
    assert name not in titles(host)


def test_the_plan_is_for_people_too_and_shows_no_secret(host, declare, prefix, tmp_path):
    name = f"Readable {prefix}"
    done = declare("plan", "connectors:\n" + entry(name, told=tmp_path / "told.json", running="false"))
    assert done.returncode == 0
    assert name in done.stdout
    assert "TELL_KEY" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_another_secret_is_a_change_and_the_same_one_is_none(host, declare, prefix, tmp_path):
    name = f"Rotated {prefix}"
    text = "connectors:\n" + entry(name, told=tmp_path / "told.json", running="false")
    assert declare("apply", text, "--yes").returncode == 0
    assert steps(declare("plan", text, "--json"))[name]["action"] == "keep"
    done = declare("plan", text, "--json", env={"DECLARED_KEY": "another one"})
    assert steps(done)[name]["action"] == "change"
    assert "TELL_KEY" in done.stdout
    assert "another one" not in done.stdout + done.stderr


def test_what_the_file_does_not_name_is_left_alone(host, declare, prefix, tmp_path):
    by_hand = managed.deploy(host, f"By hand {prefix}", contract="answers", start=False)
    name = f"In the file {prefix}"
    text = "connectors:\n" + entry(name, told=tmp_path / "told.json", running="false")
    assert declare("apply", text, "--yes").returncode == 0
    assert f"By hand {prefix}" not in steps(declare("plan", "connectors: []\n", "--json"))
    assert declare("apply", "connectors: []\n", "--yes", "--allow-removals").returncode == 0
    assert managed.one(host, by_hand)
    managed.delete(host, by_hand)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("connectors:\n  - name: One\n    contract: no-such-contract\n", ["no-such-contract"]),
        ("connectors:\n  - name: One\n    contract: tells\n    settings: {TELL_TO: /x}\n", ["TELL_KEY"]),
        ("connectors:\n  - name: One\n    contract: tells\n    settings: {TELL_TO: /x, TELL_LEVEL: middle}\n    secrets: {TELL_KEY: {env: DECLARED_KEY}}\n", ["TELL_LEVEL"]),
        ("connectors:\n  - name: One\n    contract: tells\n    settings: {TELL_TO: /x}\n    secrets: {TELL_KEY: {env: NOT_THERE}}\n", ["NOT_THERE"]),
        ("connectors:\n  - name: One\n    contract: tells\n    settings: {TELL_TO: /x}\n    secrets: {TELL_KEY: {file: /no/such/file}}\n", ["/no/such/file"]),
        ("connectors:\n  - name: One\n    contract: answers\n  - name: One\n    contract: answers\n", ["One"]),
        ("connectors:\n  - name: One\n    contrakt: answers\n", ["3", "contrakt"]),
        ("connectors: [\n", ["line"]),
        ("", ["connectors"]),
    ],
    ids=["contract", "mandatory", "bad value", "variable", "file", "twice", "misspelt", "no yaml", "empty"],
)
def test_a_file_that_cannot_be_applied_is_refused_with_the_place(host, declare, text, words):
    before = titles(host)
    for command, more in (("plan", ()), ("apply", ("--yes",))):
        done = declare(command, text, *more)
        assert command == "plan" or done.returncode == 1, done.stdout
        for word in words:
            assert word in done.stdout + done.stderr, command
        assert "\ufffd" not in done.stdout
        assert SECRET not in done.stdout + done.stderr
    assert titles(host) == before


def test_what_changed_after_the_plan_was_seen_is_not_applied(host, prefix, tmp_path):
    name = f"Stale {prefix}"
    text = "connectors:\n" + entry(name, told=tmp_path / "told.json", running="false")
    secrets = [{"reference": "env:DECLARED_KEY", "value": SECRET}]
    plan = "query Plan($file: String!, $secrets: [DeclaredSecretInput!]) { connectorsPlan(file: $file, secrets: $secrets) { hash } }"
    seen = host.graphql(plan, {"file": text, "secrets": secrets})["connectorsPlan"]["hash"]
    managed.deploy(host, name, {"TELL_TO": "/x", "TELL_KEY": SECRET}, contract="tells", start=False)
    document = """mutation Apply($file: String!, $secrets: [DeclaredSecretInput!], $hash: String!) {
        connectorsApply(file: $file, secrets: $secrets, hash: $hash) { steps { name action } } }"""
    error = host.refused(document, {"file": text, "secrets": secrets, "hash": seen})
    assert "plan" in error["message"].lower()
    managed.delete(host, titles(host)[name])
