"""Unmodified connectors on real pycti, in every supported version, against the real binary."""

from __future__ import annotations

import json
import threading

import pika.exceptions
from harness import api, stix, wait_until
from harness.amqp import Publisher, message
from harness.platform import ROOT


def test_an_import_connector_registers_delivers_and_keeps_its_state(platform, run_connector, bundle_files, prefix):
    bundle = stix.mixed_feed(1, 60, prefix)
    connector = run_connector("import_with_state", env={"TEST_BUNDLES": bundle_files(bundle)})
    run = connector.wait_event("run")
    work = api.completed(platform, run["work_id"])
    assert work["errors"] == []
    assert work["tracking"]["import_expected_number"] == work["tracking"]["import_processed_number"] == len(bundle["objects"]) == run["sent"]
    for entry in bundle["objects"]:
        assert api.exists(platform, entry["id"]), f"{entry['id']} is not found by the id under which it was sent"
    assert api.connector(platform, connector.id)["connector_state"] == run["state"]


def test_the_shipped_example_arrives_whole_through_every_client_version(platform, run_connector, bundle_files):
    bundle = json.loads((ROOT / "crates" / "ferrocti" / "assets" / "quickstart-bundle.json").read_text())
    connector = run_connector("import_with_state", env={"TEST_BUNDLES": bundle_files(bundle)})
    run = connector.wait_event("run")
    work = api.completed(platform, run["work_id"])
    assert work["errors"] == []
    assert work["tracking"]["import_processed_number"] == run["sent"] == len(bundle["objects"])
    assert [entry["id"] for entry in bundle["objects"] if not api.exists(platform, entry["id"])] == []


def test_a_connector_that_starts_again_gets_its_state_back(platform, run_connector, bundle_files, prefix):
    files = bundle_files(stix.mixed_feed(2, 12, prefix))
    first = run_connector("import_with_state", env={"TEST_BUNDLES": files})
    kept = first.wait_event("run")["state"]
    first.kill()
    second = run_connector("import_with_state", env={"TEST_BUNDLES": files}, connector_id=first.id)
    assert second.wait_event("registered")["state"] == json.loads(kept)
    run = second.wait_event("run")
    assert json.loads(run["state"])["runs"] == 2
    work = api.completed(platform, run["work_id"])
    assert work["errors"] == []
    assert work["tracking"]["import_expected_number"] == work["tracking"]["import_processed_number"] == run["sent"]


def test_state_survives_a_restart_of_the_platform_while_the_connector_runs(make_platform, run_connector, bundle_files, prefix):
    platform = make_platform().start()
    account = platform.add_connector_account("survivor")
    files = bundle_files(stix.mixed_feed(3, 12, prefix))
    connector = run_connector("import_with_state", on=platform, account=account, env={"TEST_BUNDLES": files, "CONNECTOR_DURATION_PERIOD": "PT1S"})
    state = connector.wait_event("run", 2)["state"]
    platform.kill()
    platform.start()
    stored = json.loads(api.connector(platform, connector.id)["connector_state"])
    assert stored["runs"] >= json.loads(state)["runs"]


def test_run_and_terminate_ends_by_itself_with_state_and_work_kept(platform, run_connector, bundle_files, prefix):
    bundle = stix.mixed_feed(4, 24, prefix)
    settings = {"TEST_BUNDLES": bundle_files(bundle), "CONNECTOR_RUN_AND_TERMINATE": "true"}
    connector = run_connector("run_and_terminate", env=settings).finish()
    work = api.completed(platform, connector.seen("run")[0]["work_id"])
    assert (work["errors"], work["tracking"]["import_processed_number"]) == ([], len(bundle["objects"]))
    assert json.loads(api.connector(platform, connector.id)["connector_state"]) == {"runs": 1}
    again = run_connector("run_and_terminate", env=settings, connector_id=connector.id).finish()
    assert again.seen("registered")[0]["state"] == {"runs": 1}
    assert json.loads(api.connector(platform, connector.id)["connector_state"]) == {"runs": 2}


def test_pushing_through_the_api_does_not_complete_the_work_early(platform, run_connector, bundle_files, prefix):
    """The client says `toProcessed` right after the push; expectations must have been counted by then."""
    bundle = stix.mixed_feed(5, 240, prefix)
    connector = run_connector("api_push", env={"TEST_BUNDLES": bundle_files(bundle), "CONNECTOR_QUEUE_PROTOCOL": "api"}).finish()
    work_id = connector.seen("run")[0]["work_id"]
    assert connector.seen("registered")[0]["protocol"] == "api"
    seen = api.work(platform, work_id)
    assert seen["tracking"]["import_expected_number"] == len(bundle["objects"])
    work = api.completed(platform, work_id)
    assert work["errors"] == []
    assert work["tracking"]["import_processed_number"] == work["completed_number"] == len(bundle["objects"])


def test_the_older_name_of_the_push_protocol_setting_works(platform, run_connector, bundle_files, prefix):
    bundle = stix.mixed_feed(6, 12, prefix)
    connector = run_connector("api_push", env={"TEST_BUNDLES": bundle_files(bundle), "QUEUE_PROTOCOL": "api"}).finish()
    assert connector.seen("registered")[0]["protocol"] == "api"
    assert api.completed(platform, connector.seen("run")[0]["work_id"])["tracking"]["import_processed_number"] == len(bundle["objects"])


def test_a_push_through_the_api_without_a_work_makes_one(platform, run_connector, bundle_files, prefix):
    bundle = stix.mixed_feed(7, 12, prefix)
    settings = {"TEST_BUNDLES": bundle_files(bundle), "CONNECTOR_QUEUE_PROTOCOL": "api", "TEST_WITHOUT_WORK": "1"}
    connector = run_connector("api_push", env=settings).finish()
    query = "query Works($id: String!) { connector(id: $id) { works { id name } } }"
    works = platform.graphql(query, {"id": connector.id})["connector"]["works"]
    assert len(works) == 1
    assert works[0]["name"].startswith(connector.name)
    assert api.processed(platform, works[0]["id"], len(bundle["objects"]))["errors"] == []


def test_a_reset_during_a_run_is_not_lost(platform, run_connector):
    connector = run_connector("state_reset", env={"TEST_CASE": "reset-during-run"})
    connector.wait_event("running")
    assert json.loads(api.connector(platform, connector.id)["connector_state"]) == {"cursor": 1}
    api.reset_state(platform, connector.id)
    connector.go_on()
    connector.wait_event("kept")
    assert api.connector(platform, connector.id)["connector_state"] in (None, "", "null")
    connector.kill()
    again = run_connector("state_reset", env={"TEST_CASE": "reset-during-run"}, connector_id=connector.id)
    assert again.wait_event("registered")["state"] is None
    again.wait_event("running")
    assert json.loads(api.connector(platform, connector.id)["connector_state"]) == {"cursor": 1}, "after the reset the connector's state counts again"


def test_a_client_that_loses_its_state_in_memory_does_not_destroy_ours(platform, run_connector):
    connector = run_connector("state_reset", env={"TEST_CASE": "client-wipe"})
    connector.wait_event("kept")
    connector.go_on()
    assert connector.wait_event("wiped")["state"] is None
    assert json.loads(api.connector(platform, connector.id)["connector_state"]) == {"cursor": 41}
    connector.kill()
    again = run_connector("state_reset", env={"TEST_CASE": "client-wipe"}, connector_id=connector.id)
    assert again.wait_event("registered")["state"] == {"cursor": 41}


def big_bundle(prefix: str, number: int, objects: int) -> dict:
    """A bundle in one message whose ingestion takes a while."""
    return stix.bundle([stix.domain("tool", f"{prefix} {number} {index}", description="d" * 200) for index in range(objects)])


def test_a_scheduled_connector_pauses_while_its_queue_is_over_the_threshold(platform, account, run_connector, prefix):
    """`CONNECTOR_QUEUE_THRESHOLD` of one megabyte; the test fills the queue with the connector's own credentials."""
    connector = run_connector("queue_threshold", env={"CONNECTOR_QUEUE_THRESHOLD": "1"})
    connector.wait_event("run", 2)
    config = api.register(platform, account.token, connector.id, name=connector.name)["config"]
    with Publisher(platform, config) as publisher:
        for number in range(6):
            publisher.publish(message(big_bundle(prefix, number, 1500), no_split=True))
    api.queue_empty(platform, connector.id, 120)
    checked = connector.seen("checked")
    assert any(entry["buffering"] and entry["size"] >= 1 for entry in checked), f"never over the threshold: {checked}"
    runs = len(connector.seen("run"))
    connector.wait_event("run", runs + 2)
    assert connector.seen("checked")[-1]["buffering"] is False
    assert api.connector(platform, connector.id)["connector_info"]["queue_threshold"] == 1


def test_a_full_queue_holds_the_publisher_back_and_loses_nothing(make_platform, version, run_connector, bundle_files, prefix):
    """The client is refused while the queue is full, waits, and goes on when there is room."""
    platform = make_platform(env={"FERROCTI_MAX_QUEUE_MIB": "2"}).start()
    account = platform.add_connector_account("publisher")
    # several, since any single one may find room for a moment
    large = [stix.bundle([stix.domain("tool", f"{prefix} large {number}", description="d" * 700_000)]) for number in range(6)]
    connector = run_connector("backpressure", on=platform, account=account, env={"TEST_BUNDLES": bundle_files(*large)})
    del version  # the connector runs on it
    connector.wait_event("registered")
    config = api.register(platform, account.token, connector.id, name=connector.name)["config"]
    done, full = threading.Event(), threading.Event()

    def keep_full() -> None:
        number = 0
        with Publisher(platform, config) as publisher:
            while not done.is_set():
                number += 1
                try:
                    publisher.publish(message(big_bundle(prefix, number, 1000), no_split=True))
                except pika.exceptions.NackError:
                    full.set()
                    if "Unable to send bundle, retrying" in connector.log():
                        return

    filler = threading.Thread(target=keep_full)
    filler.start()
    try:
        wait_until(full.is_set, "the queue is full")
        connector.go_on()
        run = connector.wait_event("run", seconds=120)
    finally:
        done.set()
        filler.join()
    assert "Unable to send bundle, retrying" in connector.log(), "the queue was never full"
    work = api.completed(platform, run["work_id"])
    assert (work["errors"], work["tracking"]["import_processed_number"]) == ([], len(large))
    for bundle in large:
        assert api.exists(platform, bundle["objects"][0]["id"])


def test_direct_calls_create_and_read_back_every_type(platform, run_connector, prefix):
    connector = run_connector("direct_calls", env={"TEST_PREFIX": prefix})
    connector.wait_event("done", seconds=300)
    types = connector.seen("type")
    failures = [f"{entry['type']}: {failure}" for entry in types for failure in entry["failures"]]
    assert failures == [], "\n".join(failures)
    assert len(types) > 70
