"""Upstream's composer, unmodified as far as a client can tell, against a platform: its seven operations, its reconciling, its secrets, who may what."""

from __future__ import annotations

import json
import os
import re
import uuid

import pytest
from harness import GraphQLError, Platform, api, stix, wait_until
from harness.connector import CONNECTORS, PYCTI_VERSIONS, python
from security.world import Shared, World

from . import catalog, managed, xtm

SECRET = "enrich-secret-9f7a"  # noqa: S105 - a secret of the tests
NEW_SECRET = "enrich-secret-c44e"  # noqa: S105


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def composer(bare, key, prefix):
    """A registered composer with a service account of its own and no containers."""
    made = make_composer(bare, key, prefix)
    made.alive()
    yield made
    made.containers.close()


def make_composer(platform, key, prefix, **more):
    account = platform.add_composer_account(f"composer {prefix} {uuid.uuid4().hex[:4]}")
    options = {"containers": xtm.Containers(), "manager_id": f"manager-{prefix}-{uuid.uuid4().hex[:4]}", "clock": Clock()} | more
    return xtm.XtmComposer(platform.url, account.token, key, **options)


def add(platform, composer, name, *, configuration=None, image=catalog.ENRICH_IMAGE, contract="enrich", **more):
    """A connector of this composer: the one operation of ours that names one, since the tests of a module share a platform."""
    given = {"ENRICH_TOKEN": SECRET} if configuration is None else configuration
    return managed.deploy(platform, name, given, contract=contract, composer=composer.manager_id, **({"start": False} | more))


def upstream_add(platform, title, **more):
    given = {
        "name": title, "user_id": f"[C] {title}", "automatic_user": True, "catalog_id": catalog.CATALOG, "manager_contract_image": catalog.ENRICH_IMAGE,
        "manager_contract_configuration": managed.settings({"ENRICH_TOKEN": SECRET}),
    } | more  # fmt: skip
    return platform.graphql(managed.ADD, {"input": given})["managedConnectorAdd"]


def edit(platform, connector_id, configuration, **more):
    found = managed.one(platform, connector_id)
    given = {
        "id": connector_id, "name": found["name"], "title": found["title"], "connector_user_id": found["connector_user_id"],
        "manager_contract_configuration": managed.settings(configuration),
    } | more  # fmt: skip
    return platform.graphql(managed.EDIT, {"input": given})["managedConnectorEdit"]


def listed(composer, connector_id):
    return next((each for each in composer.listing() if each.id == connector_id), None)


def container(composer, connector_id):
    return next((each for each in composer.containers.by_name.values() if each.labels["opencti-connector-id"] == connector_id), None)


def started(platform, composer, name, **more):
    """A connector that the composer has deployed and started."""
    connector_id = add(platform, composer, name, **more)
    managed.request(platform, connector_id, "starting")
    composer.orchestrate()
    composer.orchestrate()
    assert managed.one(platform, connector_id)["manager_current_status"] == "started"
    composer.containers.actions.clear()
    return connector_id


# --- the recorded exchange ---------------------------------------------------------------------------------------------------------


def test_the_whole_life_of_a_connector_uses_only_upstreams_operations_and_meets_no_error(bare, composer, prefix):
    containers, clock = composer.containers, composer.clock
    assert composer.listing() == []
    connector_id = add(bare, composer, f"Life {prefix}")
    assert managed.one(bare, connector_id)["manager_requested_status"] == "stopped"
    composer.orchestrate()
    assert containers.actions == [("deploy", connector_id)]
    assert managed.one(bare, connector_id)["manager_current_status"] == "stopped"

    managed.request(bare, connector_id, "starting")
    composer.orchestrate()
    composer.orchestrate()
    assert containers.actions[1:] == [("start", connector_id)]
    found = managed.one(bare, connector_id)
    assert (found["manager_current_status"], found["manager_requested_status"]) == ("started", "starting")
    assert found["manager_health_metrics"]["restart_count"] == 0

    container(composer, connector_id).log = ["first line", "second line"]
    clock.now += 31
    composer.orchestrate()
    assert managed.one(bare, connector_id)["manager_connector_logs"][-2:] == ["first line", "second line"]

    containers.actions.clear()
    edit(bare, connector_id, {"ENRICH_TOKEN": SECRET, "CONNECTOR_LOG_LEVEL": "debug"})
    composer.orchestrate()
    assert [action for action, _ in containers.actions] == ["remove", "deploy", "start"]
    assert container(composer, connector_id).envs["CONNECTOR_LOG_LEVEL"] == "debug"

    containers.actions.clear()
    managed.request(bare, connector_id, "stopping")
    composer.orchestrate()
    composer.orchestrate()
    assert containers.actions == [("stop", connector_id)]
    assert managed.one(bare, connector_id)["manager_current_status"] == "stopped"
    assert managed.one(bare, connector_id)["active"] is False

    managed.delete(bare, connector_id)
    assert managed.one(bare, connector_id) is None
    composer.orchestrate()
    assert containers.by_name == {}
    assert composer.errors == []
    assert composer.undecryptable == []
    assert {exchange.operation for exchange in composer.exchanges} == set(xtm.OPERATIONS)
    assert {exchange.status for exchange in composer.exchanges} == {200}
    assert all("errors" not in exchange.answer for exchange in composer.exchanges)


def test_no_redeploy_when_nothing_changed(bare, composer, prefix):
    connector_id = started(bare, composer, f"Still {prefix}")
    found = managed.one(bare, connector_id)
    for _ in range(3):
        composer.clock.now += 31
        composer.orchestrate()
    edit(bare, connector_id, {"ENRICH_TOKEN": "", **managed.configuration(found)})
    composer.orchestrate()
    assert composer.containers.actions == []
    assert managed.one(bare, connector_id)["manager_contract_hash"] == found["manager_contract_hash"]


def test_two_edits_make_two_redeploys_and_the_connector_runs_on(bare, composer, prefix):
    connector_id = started(bare, composer, f"Level {prefix}")
    hashes = {managed.one(bare, connector_id)["manager_contract_hash"]}
    for level in ("debug", "info"):
        edit(bare, connector_id, {"ENRICH_TOKEN": SECRET, "CONNECTOR_LOG_LEVEL": level})
        composer.orchestrate()
        composer.orchestrate()
        found = managed.one(bare, connector_id)
        assert found["manager_current_status"] == "started"
        assert managed.configuration(found)["CONNECTOR_LOG_LEVEL"] == level
        hashes.add(found["manager_contract_hash"])
    assert [action for action, _ in composer.containers.actions] == ["remove", "deploy", "start"] * 2
    assert len(hashes) == 3
    assert all(isinstance(each, str) and each for each in hashes)


def test_the_listing_says_everything_that_upstream_reads_and_nothing_is_null(bare, composer, prefix):
    connector_id = add(bare, composer, f"Full {prefix}")
    listing = composer.run("GetConnectors")
    (given,) = [entry for entry in listing if entry["id"] == connector_id]
    assert given["name"] == f"full-{prefix}"
    assert given["manager_contract_image"] == f"{catalog.ENRICH_IMAGE}:rolling"
    assert given["manager_requested_status"] == "stopped"
    assert given["manager_current_status"] is None
    assert re.fullmatch(r"[0-9a-f]{8}", given["manager_contract_hash"])
    assert all(entry["key"] and entry["value"] is not None for entry in given["manager_contract_configuration"])
    values = dict(listed(composer, connector_id).configuration)
    assert values["CONNECTOR_ID"] == connector_id
    assert values["CONNECTOR_NAME"] == f"full-{prefix}"
    assert values["CONNECTOR_TYPE"] == "INTERNAL_ENRICHMENT"
    assert values["CONNECTOR_SCOPE"] == "stix2"
    assert values["CONNECTOR_AUTO"] == "true"
    assert values["ENRICH_PAGE"] == "50"
    assert "OPENCTI_URL" not in values
    keys = [entry["key"] for entry in given["manager_contract_configuration"]]
    assert len(keys) == len(set(keys))


def test_the_listing_is_the_same_after_the_platform_was_restarted(make_platform, images, key, prefix):
    platform = make_platform(env={"FERROCTI_CATALOG_SOURCES": str(images)}).start()
    composer = make_composer(platform, key, prefix)
    composer.alive()
    connector_id = started(platform, composer, "Restarted")
    before = composer.run("GetConnectors")
    platform.kill()
    composer.orchestrate()
    assert composer.errors == ["GetConnectors: ConnectionError"]
    assert composer.containers.actions == []
    platform.start()
    composer.alive()
    composer.orchestrate()
    assert composer.containers.actions == []
    assert composer.run("GetConnectors") == before
    assert listed(composer, connector_id)


# --- secrets -----------------------------------------------------------------------------------------------------------------------


def test_secrets_arrive_sealed_for_the_composer_and_are_not_shown_to_anybody(bare, composer, prefix):
    connector_id = add(bare, composer, f"Secret {prefix}")
    (given,) = [entry for entry in composer.run("GetConnectors") if entry["id"] == connector_id]
    sealed = {entry["key"]: entry["value"] for entry in given["manager_contract_configuration"] if entry["encrypted"]}
    assert set(sealed) == {"ENRICH_TOKEN", "OPENCTI_TOKEN"}
    assert dict(listed(composer, connector_id).configuration)["ENRICH_TOKEN"] == SECRET
    found = managed.one(bare, connector_id)
    assert "ENRICH_TOKEN" not in managed.configuration(found)
    assert "OPENCTI_TOKEN" not in managed.configuration(found)
    assert found["manager_secret_keys"] == ["ENRICH_TOKEN"]
    shown = json.dumps([found, bare.graphql(managed.DEFINITIONS, {"id": connector_id}), composer.run("GetConnectors")])
    token = dict(listed(composer, connector_id).configuration)["OPENCTI_TOKEN"]
    for secret in (SECRET, token):
        assert secret not in shown
        assert secret not in bare.log()
    audit = bare.cli("audit", "--json").stdout
    assert SECRET not in audit
    assert token not in audit


def test_the_token_is_the_connectors_own_and_ends_with_it(bare, composer, prefix):
    connector_id = add(bare, composer, f"Token {prefix}")
    token = dict(listed(composer, connector_id).configuration)["OPENCTI_TOKEN"]
    user = managed.one(bare, connector_id)["connector_user_id"]
    assert bare.graphql("query Me { me { id } }", token=token)["me"]["id"] == user
    assert dict(listed(composer, connector_id).configuration)["OPENCTI_TOKEN"] == token
    managed.delete(bare, connector_id)
    assert bare.refused("query Me { me { id } }", token=token)


def test_an_edit_without_the_secret_keeps_its_envelope_and_other_keys_fall_back(bare, composer, prefix):
    connector_id = add(bare, composer, f"Keep {prefix}", configuration={"ENRICH_TOKEN": SECRET, "ENRICH_PAGE": "7"})

    def envelope():
        (given,) = [entry for entry in composer.run("GetConnectors") if entry["id"] == connector_id]
        return next(entry["value"] for entry in given["manager_contract_configuration"] if entry["key"] == "ENRICH_TOKEN")

    before = envelope()
    edit(bare, connector_id, {"CONNECTOR_LOG_LEVEL": "info"})
    assert envelope() == before
    values = dict(listed(composer, connector_id).configuration)
    assert (values["ENRICH_PAGE"], values["CONNECTOR_LOG_LEVEL"], values["ENRICH_TOKEN"]) == ("50", "info", SECRET)
    edit(bare, connector_id, {"ENRICH_TOKEN": NEW_SECRET})
    assert dict(listed(composer, connector_id).configuration)["ENRICH_TOKEN"] == NEW_SECRET


def test_another_key_of_the_composer_never_makes_it_redeploy_with_secrets_that_it_cannot_open(bare, composer, other_key, prefix):
    connector_id = started(bare, composer, f"Rekey {prefix}")
    composer.key = other_key
    composer.register()
    composer.orchestrate()
    assert composer.containers.actions == []
    edit(bare, connector_id, {"ENRICH_TOKEN": NEW_SECRET})
    composer.orchestrate()
    envs = container(composer, connector_id).envs
    assert envs["ENRICH_TOKEN"] == NEW_SECRET
    assert bare.graphql("query Me { me { id } }", token=envs["OPENCTI_TOKEN"])["me"]["id"]


def test_a_key_that_upstream_could_never_use_is_refused_at_registration(bare, key, prefix):
    account = bare.add_composer_account(f"small {prefix}")
    small = xtm.rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for public_key, word in ((xtm.public_pem(small), "4096"), ("no key", "PEM")):
        given = {"id": f"small-{prefix}", "name": "Small", "public_key": public_key}
        error = bare.refused(managed.REGISTER, {"input": given}, token=account.token)
        assert word in error["message"]


def test_a_public_key_in_the_other_format_is_taken(bare, composer, key, prefix):
    pem = key.public_key().public_bytes(xtm.serialization.Encoding.PEM, xtm.serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    given = {"id": composer.manager_id, "name": "Other format", "public_key": pem}
    bare.graphql(managed.REGISTER, {"input": given}, token=composer.token)
    connector_id = add(bare, composer, f"Spki {prefix}")
    assert dict(listed(composer, connector_id).configuration)["ENRICH_TOKEN"] == SECRET


# --- what changes the hash ---------------------------------------------------------------------------------------------------------


def test_reports_and_requests_do_not_change_the_hash(bare, composer, prefix):
    connector_id = started(bare, composer, f"Hash {prefix}")
    before = managed.one(bare, connector_id)["manager_contract_hash"]
    composer.report_logs(connector_id, ["line"])
    composer.report_health(connector_id, 1, xtm.now_as_engines_write(), False)
    composer.report_status(connector_id, "stopped")
    managed.request(bare, connector_id, "stopping")
    composer.alive()
    assert managed.one(bare, connector_id)["manager_contract_hash"] == before


def test_a_reset_of_the_state_and_another_user_change_the_hash(bare, composer, prefix):
    connector_id = add(bare, composer, f"Reset {prefix}")
    seen = [managed.one(bare, connector_id)["manager_contract_hash"]]
    bare.graphql(managed.RESET, {"id": connector_id})
    seen.append(managed.one(bare, connector_id)["manager_contract_hash"])
    token = dict(listed(composer, connector_id).configuration)["OPENCTI_TOKEN"]
    other = bare.add_connector_account(f"other {prefix}")
    other_id = bare.graphql("query Me { me { id } }", token=other.token)["me"]["id"]
    edit(bare, connector_id, {"ENRICH_TOKEN": SECRET}, connector_user_id=other_id)
    seen.append(managed.one(bare, connector_id)["manager_contract_hash"])
    assert len(set(seen)) == 3
    assert bare.refused("query Me { me { id } }", token=token)
    new = dict(listed(composer, connector_id).configuration)["OPENCTI_TOKEN"]
    assert bare.graphql("query Me { me { id } }", token=new)["me"]["id"] == other_id


# --- adding, editing, refusing -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory, images, key):
    """A platform with exactly one composer, as upstream's mutations expect it, and what it said before there was one."""
    env = {"FERROCTI_CATALOG_SOURCES": str(images)}
    with Platform(tmp_path_factory.mktemp("alone"), env=env) as running:
        error = running.refused(managed.ADD, {"input": {
            "name": "Too early", "user_id": "[C] Too early", "automatic_user": True, "catalog_id": catalog.CATALOG,
            "manager_contract_image": catalog.ENRICH_IMAGE, "manager_contract_configuration": managed.settings({"ENRICH_TOKEN": SECRET}),
        }})  # fmt: skip
        composer = make_composer(running, key, "alone")
        composer.alive()
        yield running, composer, error


def test_without_a_composer_nothing_can_be_added(alone):
    _, _, error = alone
    assert "composer" in error["message"].lower()


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ServiceNow Connector", "servicenow-connector"),
        ("-Test@Connector#2024!", "test-connector-2024"),
        (
            "Very___Long---Name__With$$Special##Chars@@That--Exceeds--The--Maximum--Length--Limit--Of--63--Characters",
            "very-long-name-with-special-chars-that-exceeds-the-maximum-leng",
        ),
    ],
)
def test_names_are_made_usable_and_kept_as_title(alone, typed, name):
    platform, composer, _ = alone
    made = upstream_add(platform, typed)
    assert made["name"] == name
    assert made["manager_requested_status"] == "stopped"
    assert made["manager_contract_image"].split(":")[0] == catalog.ENRICH_IMAGE
    assert made["manager_contract_hash"]
    found = managed.one(platform, made["id"])
    assert found["title"] == typed
    assert found["is_managed"] is True
    assert found["manager"]["id"] == composer.manager_id
    assert found["manager_contract_excerpt"]["slug"] == "enrich"
    managed.delete(platform, made["id"])


def test_the_contract_can_be_read_back(alone):
    platform, _, _ = alone
    made = upstream_add(platform, "Definition")
    found = managed.one(platform, made["id"])
    definition = json.loads(found["manager_contract_definition"])
    assert definition["container_image"] == catalog.ENRICH_IMAGE
    assert definition["container_type"] == "INTERNAL_ENRICHMENT"
    assert definition["config_schema"]["properties"]["ENRICH_PAGE"]["maximum"] == 100
    assert all(isinstance(entry["key"], str) and isinstance(entry["value"], str) for entry in found["manager_contract_configuration"])
    managed.delete(platform, made["id"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"manager_contract_image": "example/no-such-image"}, ["example/no-such-image"]),
        ({"manager_contract_image": "example/connector-unsupported"}, ["unsupported"]),
        ({"manager_contract_configuration": []}, ["ENRICH_TOKEN"]),
        ({"manager_contract_configuration": managed.settings({"ENRICH_TOKEN": SECRET, "CONNECTOR_AUTO": "yes"})}, ["CONNECTOR_AUTO"]),
        ({"manager_contract_configuration": managed.settings({"ENRICH_TOKEN": SECRET, "ENRICH_PAGE": "many"})}, ["ENRICH_PAGE"]),
        ({"manager_contract_configuration": managed.settings({"ENRICH_TOKEN": SECRET, "ENRICH_PAGE": "101"})}, ["ENRICH_PAGE", "100"]),
        ({"manager_contract_configuration": managed.settings({"ENRICH_TOKEN": SECRET, "ENRICH_MAX_TLP": "TLP:RED"})}, ["ENRICH_MAX_TLP", "TLP:GREEN"]),
        ({"user_id": "00000000-0000-4000-8000-000000000000", "automatic_user": False}, ["user"]),
        ({"name": " "}, ["name"]),
    ],
    ids=["unknown image", "not supported", "missing key", "no boolean", "no number", "too large", "not in the list", "unknown user", "blank name"],
)
def test_what_cannot_run_is_refused_with_the_reason_and_leaves_nothing(alone, change, words):
    platform, _, _ = alone

    def known():
        found = platform.graphql("query Known { connectors { id } users { edges { node { name } } } }")
        return sorted(entry["id"] for entry in found["connectors"]), sorted(edge["node"]["name"] for edge in found["users"]["edges"])

    before = known()
    with pytest.raises(GraphQLError) as refused:
        upstream_add(platform, "Refused", **change)
    for word in words:
        assert word.lower() in json.dumps(refused.value.error).lower()
    assert SECRET not in json.dumps(refused.value.answer)
    assert known() == before


def test_names_must_differ_when_added_and_when_edited(alone):
    platform, _, _ = alone
    first = upstream_add(platform, "Duplicate Name")
    second = upstream_add(platform, "Another Name")
    for number, name in enumerate(("Duplicate Name", "Duplicate-Name!")):
        with pytest.raises(GraphQLError) as refused:
            upstream_add(platform, name, user_id=f"[C] duplicate {number}")
        assert "CONNECTOR_NAME_ALREADY_EXISTS" in json.dumps(refused.value.error)
    with pytest.raises(GraphQLError) as refused:
        edit(platform, second["id"], {"ENRICH_TOKEN": SECRET}, name="duplicate-name", title="Duplicate Name")
    assert "CONNECTOR_NAME_ALREADY_EXISTS" in json.dumps(refused.value.error)
    for made in (first, second):
        managed.delete(platform, made["id"])


@pytest.mark.parametrize(("given", "confidence"), [(None, 75), ("42", 42)], ids=["contract", "given"])
def test_an_automatic_user_is_a_service_account_with_the_confidence(alone, given, confidence):
    platform, _, _ = alone
    name = f"[C] Automatic {given}"
    made = upstream_add(platform, f"Automatic {given}", user_id=name, confidence_level=given)
    query = "query User($id: String!) { user(id: $id) { name user_service_account user_confidence_level { max_confidence } } }"
    user = platform.graphql(query, {"id": made["connector_user_id"]})["user"]
    assert user == {"name": name, "user_service_account": True, "user_confidence_level": {"max_confidence": confidence}}
    managed.delete(platform, made["id"])


def test_an_existing_user_can_be_given(alone):
    platform, composer, _ = alone
    account = platform.add_connector_account("existing user")
    user = platform.graphql("query Me { me { id } }", token=account.token)["me"]["id"]
    made = upstream_add(platform, "Existing user", user_id=user, automatic_user=False)
    assert made["connector_user_id"] == user
    token = dict(listed(composer, made["id"]).configuration)["OPENCTI_TOKEN"]
    assert token != account.token
    assert platform.graphql("query Me { me { id } }", token=token)["me"]["id"] == user
    managed.delete(platform, made["id"])
    assert platform.graphql("query Me { me { id } }", token=account.token)["me"]["id"] == user


def test_a_user_that_was_deleted_spoils_nobody_elses_listing(alone):
    platform, composer, _ = alone
    first, second = upstream_add(platform, "Orphan"), upstream_add(platform, "Healthy")
    done = platform.cli("user", "delete", first["connector_user_id"])
    listing = composer.listing()
    assert listing is not None
    assert second["id"] in [each.id for each in listing]
    assert first["id"] in [each.id for each in listing], done.stderr
    for made in (first, second):
        managed.delete(platform, made["id"])


def test_a_broken_contract_is_listed_with_its_fault_and_hides_no_other(alone):
    platform, _, _ = alone
    found = platform.graphql("query Catalogs { catalogs { id contracts broken { name fault } } }")["catalogs"]
    ours = next(each for each in found if each["id"] == catalog.CATALOG)
    assert {json.loads(each)["slug"] for each in ours["contracts"]} == {"enrich", "unsupported", "runner"}
    (broken,) = ours["broken"]
    assert "BROKEN_KEY" in broken["fault"]
    properties = json.loads(next(each for each in ours["contracts"] if '"enrich"' in each))["config_schema"]["properties"]
    assert not {"OPENCTI_URL", "OPENCTI_TOKEN", "CONNECTOR_TYPE", "CONNECTOR_RUN_AND_TERMINATE"} & set(properties)


# --- health and logs ---------------------------------------------------------------------------------------------------------------


def test_health_is_null_until_the_composer_has_started_it(bare, composer, prefix):
    connector_id = add(bare, composer, f"Health {prefix}")
    assert managed.one(bare, connector_id)["manager_health_metrics"] is None
    managed.request(bare, connector_id, "starting")
    composer.orchestrate()
    composer.orchestrate()
    found = managed.one(bare, connector_id)
    metrics = found["manager_health_metrics"]
    assert (metrics["restart_count"], metrics["is_in_reboot_loop"]) == (0, False)
    assert metrics["started_at"][:19] == container(composer, connector_id).started_at[:19]
    assert metrics["last_update"]
    assert 0 <= found["manager_connector_uptime"] < 60


def test_health_that_was_reported_is_shown_whatever_the_status(bare, composer, prefix):
    connector_id = add(bare, composer, f"Health {prefix}")
    assert managed.one(bare, connector_id)["manager_health_metrics"] is None
    started_at = xtm.now_as_engines_write()
    assert composer.report_health(connector_id, 3, started_at, False) == connector_id
    found = managed.one(bare, connector_id)["manager_health_metrics"]
    assert found["restart_count"] == 3
    assert found["is_in_reboot_loop"] is False
    assert found["started_at"][:19] == started_at[:19]
    assert found["last_update"]


def test_a_reboot_loop_is_detected_after_more_than_three_restarts(bare, composer, prefix):
    connector_id = started(bare, composer, f"Loop {prefix}")
    seen = []
    for count in (3, 4):
        found = container(composer, connector_id)
        found.restart_count, found.started_at = count, xtm.now_as_engines_write()
        composer.clock.now += 31
        composer.orchestrate()
        metrics = managed.one(bare, connector_id)["manager_health_metrics"]
        seen.append((metrics["restart_count"], metrics["is_in_reboot_loop"]))
    assert seen == [(3, False), (4, True)]


def test_logs_reported_again_and_again_are_kept_once_and_can_be_searched(bare, composer, prefix):
    connector_id = add(bare, composer, f"Logs {prefix}")
    lines = [f"line {number}" for number in range(150)]
    for end in (60, 100, 150):
        assert composer.report_logs(connector_id, lines[max(0, end - 100) : end]) == connector_id
    assert managed.log_lines(bare, connector_id) == lines
    assert managed.log_lines(bare, connector_id, "LINE 14") == ["line 14", *(f"line {number}" for number in range(140, 150))]


# --- who may what ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(bare, prefix):
    return World(Shared(bare), prefix)


def test_who_is_no_connector_may_neither_register_nor_list_nor_report(bare, composer, world, prefix):
    connector_id = add(bare, composer, f"Rights {prefix}")
    editor = world.actor(may=("KNOWLEDGE_KNUPDATE_KNDELETE", "MODULES", "APIACCESS_USETOKEN"))
    stranger = make_composer(bare, composer.key, prefix)
    stranger.token = editor.token
    for operation, variables in {
        "GetConnectors": None,
        "RegisterConnectorsManager": {"input": {"id": stranger.manager_id, "name": "Stranger", "public_key": xtm.public_pem(composer.key)}},
        "UpdateConnectorManagerStatus": {"input": {"id": composer.manager_id}},
        "UpdateConnectorCurrentStatus": {"input": {"id": connector_id, "status": "stopped"}},
        "ReportConnectorLogs": {"input": {"id": connector_id, "logs": ["forged"]}},
        "UpdateConnectorHealth": {"input": {"id": connector_id, "restart_count": 9, "started_at": "2026-01-01T00:00:00Z", "is_in_reboot_loop": True}},
    }.items():
        assert stranger.run(operation, variables) is None
        assert stranger.exchanges[-1].answer["errors"][0]["name"] == "FORBIDDEN_ACCESS", operation
    for document, variables in {
        managed.ADD: {"input": {"name": "Stranger", "user_id": "x", "catalog_id": catalog.CATALOG, "manager_contract_image": catalog.ENRICH_IMAGE,
                                "manager_contract_configuration": []}},
        managed.DELETE: {"id": connector_id},
        managed.REQUEST: {"input": {"id": connector_id, "status": "starting"}},
        managed.DEPLOY: {"input": {"name": "Stranger", "contract": "enrich"}},
    }.items():  # fmt: skip
        assert bare.refused(document, variables, token=editor.token)["name"] == "FORBIDDEN_ACCESS", document
    assert managed.log_lines(bare, connector_id) == []


def test_a_connectors_own_user_may_not_define_what_runs_nor_speak_for_a_composer(bare, composer, prefix):
    connector_id = add(bare, composer, f"Own {prefix}")
    token = dict(listed(composer, connector_id).configuration)["OPENCTI_TOKEN"]
    given = {"name": "Self made", "user_id": "[C] Self made", "automatic_user": True, "catalog_id": catalog.CATALOG,
             "manager_contract_image": catalog.ENRICH_IMAGE, "manager_contract_configuration": managed.settings({"ENRICH_TOKEN": SECRET})}  # fmt: skip
    for document, variables in {
        managed.ADD: {"input": given},
        managed.REQUEST: {"input": {"id": connector_id, "status": "starting"}},
        managed.LOGS_REPORT: {"input": {"id": connector_id, "logs": ["forged"]}},
        xtm.OPERATIONS["GetConnectors"]: {},
    }.items():
        assert bare.refused(document, variables, token=token), document
    # what pycti sends when a connector stops itself; it must not cost the connector its place
    bare.post(managed.DELETE, {"id": connector_id}, token=token)
    assert listed(composer, connector_id)
    assert managed.one(bare, connector_id)["manager_requested_status"] == "stopped"
    assert managed.log_lines(bare, connector_id) == []


def test_a_second_composer_of_the_same_user_is_refused_in_words(bare, composer, prefix):
    second = xtm.XtmComposer(bare.url, composer.token, composer.key, xtm.Containers(), manager_id=f"second-{prefix}")
    assert second.register() is None
    assert composer.manager_id in second.exchanges[-1].answer["errors"][0]["message"]
    composer.alive()
    assert composer.errors == []


def test_a_composer_that_never_registered_gets_no_empty_list(bare, key, prefix):
    stranger = make_composer(bare, key, prefix)
    assert stranger.listing() is None
    assert stranger.ping() is None
    stranger.token = bare.admin.token
    assert stranger.listing() is None
    assert "regist" in stranger.exchanges[-1].answer["errors"][0]["message"]


def test_each_composer_sees_only_its_own_connectors(bare, composer, other_key, prefix):
    other = make_composer(bare, other_key, prefix)
    other.alive()
    mine, theirs = add(bare, composer, f"Mine {prefix}"), add(bare, other, f"Theirs {prefix}")
    assert [each.id for each in composer.listing()] == [mine]
    assert [each.id for each in other.listing()] == [theirs]
    assert composer.report_status(theirs, "started") is None
    assert managed.one(bare, theirs)["manager_current_status"] is None
    found = {entry["id"]: entry for entry in bare.graphql(managed.MANAGERS)["connectorManagers"]}
    assert found[composer.manager_id]["active"] is True
    assert found[other.manager_id]["connectors_count"] == 1


def test_the_administrators_token_serves_as_well(make_platform, images, key):
    platform = make_platform(env={"FERROCTI_CATALOG_SOURCES": str(images)}).start()
    composer = xtm.XtmComposer(platform.url, platform.admin.token, key, xtm.Containers(), manager_id="default-manager-id", clock=Clock())
    composer.alive()
    made = upstream_add(platform, "By the administrator")
    managed.request(platform, made["id"], "starting")
    composer.orchestrate()
    composer.orchestrate()
    assert managed.one(platform, made["id"])["manager_current_status"] == "started"
    assert composer.errors == []


# --- real connectors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pycti", PYCTI_VERSIONS, ids=lambda version: f"pycti-{version}")
def test_an_unmodified_connector_runs_with_what_the_composer_injects_and_keeps_its_state(bare, key, prefix, pycti, tmp_path):
    image = "example/connector-runner"
    containers = xtm.Containers(tmp_path, {f"{image}:rolling": [python(pycti), "-u", str(CONNECTORS / "import_with_state.py")]})
    composer = make_composer(bare, key, prefix, containers=containers)
    composer.alive()
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps(stix.bundle([stix.domain("malware", f"{prefix} malware", is_family=False)])))
    try:
        connector_id = add(bare, composer, f"Runner {prefix}", contract="runner", configuration={"TEST_BUNDLES": str(bundle), "TEST_KEY": SECRET})
        for runs in (1, 2):
            managed.request(bare, connector_id, "starting")
            composer.orchestrate()
            composer.orchestrate()

            def state():
                found = managed.one(bare, connector_id)["connector_state"]
                return json.loads(found)["runs"] if found else 0

            wait_until(lambda runs=runs: state() == runs, f"run {runs} is over", 60)
            found = managed.one(bare, connector_id)
            assert found["active"] is True
            assert found["is_managed"] is True
            assert found["manager_current_status"] == "started"
            managed.request(bare, connector_id, "stopping")
            composer.orchestrate()
            composer.orchestrate()
            assert managed.one(bare, connector_id)["active"] is False
        assert api.named(bare, prefix) == [f"{prefix} malware"]
        assert composer.errors == []
        composer.clock.now += 11
        composer.orchestrate()
        assert any('"event": "run"' in line for line in managed.log_lines(bare, connector_id))
    finally:
        containers.close()


def test_environment_of_a_container_is_exactly_what_was_configured(bare, composer, prefix):
    connector_id = started(bare, composer, f"Environment {prefix}")
    envs = container(composer, connector_id).envs
    assert envs["OPENCTI_URL"] == bare.url
    assert envs["OPENCTI_CONFIG_HASH"] == managed.one(bare, connector_id)["manager_contract_hash"]
    assert envs["HTTPS_PROXY_REJECT_UNAUTHORIZED"] in ("true", "false")
    assert not os.environ.keys() & {"ENRICH_TOKEN"}
    assert envs["ENRICH_TOKEN"] == SECRET
