"""The connector protocol over GraphQL, request by request."""

from __future__ import annotations

import base64
import json

import pytest
import requests
from harness import GraphQLError, api, stix, wait_until


@pytest.fixture
def connector_id():
    return api.new_id()


# --- registration --------------------------------------------------------------------------------------------------------------


def test_registration_gives_all_that_a_connector_needs(platform, account, connector_id):
    answer = api.register(platform, account.token, connector_id)
    config = answer["config"]
    assert answer["id"] == connector_id
    assert answer["connector_state"] in (None, "")
    assert config["connection"]["port"] == platform.amqp_port
    assert config["connection"]["host"] == "127.0.0.1"
    assert config["connection"]["use_ssl"] is False
    assert config["push"] == f"push_{connector_id}"
    assert config["push_routing"] == f"push_routing_{connector_id}"
    assert config["push_exchange"] == "amqp.worker.exchange"
    assert config["listen"] == f"listen_{connector_id}"
    assert config["listen_routing"] == f"listen_routing_{connector_id}"
    assert config["listen_exchange"] == "amqp.connector.exchange"
    assert set(config["s3"]) == {"endpoint", "port", "use_ssl", "bucket_name", "bucket_region", "access_key", "secret_key"}
    assert None not in config["s3"].values()
    me = platform.graphql("query { me { id } }", token=account.token)["me"]["id"]
    assert answer["connector_user_id"] == me


def test_the_key_set_of_the_registration_has_a_usable_key(platform, account, connector_id):
    keys = json.loads(api.register(platform, account.token, connector_id)["jwks"])["keys"]
    assert len(keys) >= 1
    for key in keys:
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
        assert key["kid"]
        assert len(base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))) == 32


def test_registering_again_keeps_state_and_works_and_takes_the_new_name(platform, account, connector_id):
    api.register(platform, account.token, connector_id, name="before", scope=["a", " b"])
    api.ping(platform, account.token, connector_id, '{"cursor": 7}')
    work_id = api.work_add(platform, account.token, connector_id)
    answer = api.register(platform, account.token, connector_id, name="after", scope=["c"], type="INTERNAL_ENRICHMENT")
    assert answer["connector_state"] == '{"cursor": 7}'
    found = api.connector(platform, connector_id)
    assert (found["name"], found["connector_scope"], found["connector_type"]) == ("after", ["c"], "INTERNAL_ENRICHMENT")
    assert api.work(platform, work_id)["id"] == work_id


@pytest.mark.parametrize("fields", [
    {},
    {"auto": True, "only_contextual": True, "playbook_compatible": True},
    {"listen_callback_uri": None, "auto_update": True, "enrichment_resolution": "none"},
    {"xtm_one_intent": "x", "version": None, "slug": None},
    {"version": "1.2.3", "slug": "my-connector"},
], ids=["6.4 minimum", "6.4 all", "6.8.9", "7.26 nulls", "7.26"])  # fmt: skip
def test_registration_takes_the_fields_of_every_client_generation(platform, account, connector_id, fields):
    assert api.register(platform, account.token, connector_id, **fields)["id"] == connector_id


def test_two_slashes_before_graphql_are_the_same_address(platform):
    assert platform.post("query { about { version } }", path="//graphql").json()["data"]["about"]["version"]


@pytest.mark.parametrize("type_name", ["EXTERNAL_IMPORT", "INTERNAL_IMPORT_FILE", "INTERNAL_ENRICHMENT", "INTERNAL_ANALYSIS", "INTERNAL_EXPORT_FILE", "STREAM"])
def test_every_connector_type_can_register(platform, account, connector_id, type_name):
    assert api.register(platform, account.token, connector_id, type=type_name)["id"] == connector_id


def test_another_users_connector_cannot_be_taken_over(platform, account, prefix, connector_id):
    api.register(platform, account.token, connector_id)
    stranger = platform.add_connector_account(f"stranger {prefix}")
    with pytest.raises(GraphQLError) as refused:
        api.register(platform, stranger.token, connector_id, name="mine now")
    assert refused.value.name == "FORBIDDEN_ACCESS"
    with pytest.raises(GraphQLError):
        api.ping(platform, stranger.token, connector_id, '{"stolen": true}')
    assert api.connector(platform, connector_id)["name"] != "mine now"
    assert api.connector(platform, connector_id)["connector_state"] in (None, "")


def test_workers_find_the_connector_with_its_queues(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    query = "query { connectorsForWorker { id name connector_user { id } connector_priority_group config { push push_routing listen_callback_uri dead_letter_routing } } }"
    found = {entry["id"]: entry for entry in platform.graphql(query)["connectorsForWorker"]}
    assert found[connector_id]["config"]["push"] == f"push_{connector_id}"
    assert found[connector_id]["connector_priority_group"] == "DEFAULT"


# --- state and ping --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [
    '{"last_run": "2024-01-01T00:00:00Z"}',
    '{ "spaces" :  1 , "dup": 1, "dup": 2 }',
    '{"big": 12345678901234567890123, "float": 1.10, "exp": 1E+2, "text": "\\u00e9 é \\ud83d\\ude00"}',
    '{"nested": {"deep": [1, {"a": null}]}, "long": "' + "x" * 100_000 + '"}',
], ids=["plain", "odd spacing and duplicate keys", "numbers and escapes", "long"])  # fmt: skip
def test_state_is_echoed_and_kept_character_by_character(platform, account, connector_id, state):
    api.register(platform, account.token, connector_id)
    assert api.ping(platform, account.token, connector_id, state)["connector_state"] == state
    assert api.register(platform, account.token, connector_id)["connector_state"] == state


@pytest.mark.parametrize("empty", ["null", "", None], ids=["the text null", "empty", "null"])
def test_a_ping_without_state_never_erases_the_stored_one(platform, account, connector_id, empty):
    api.register(platform, account.token, connector_id)
    api.ping(platform, account.token, connector_id, '{"cursor": 7}')
    answer = api.ping(platform, account.token, connector_id, empty)["connector_state"]
    if empty is not None:  # what clients send is text
        assert answer == empty, "another answer would wipe what older clients have set in memory meanwhile"
    assert api.connector(platform, connector_id)["connector_state"] == '{"cursor": 7}'


def test_connector_info_is_kept(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    info = {"run_and_terminate": False, "buffering": True, "queue_threshold": 500.0, "queue_messages_size": 1.25,
            "next_run_datetime": "2030-01-02T03:04:05Z", "last_run_datetime": None}  # fmt: skip
    answer = api.ping(platform, account.token, connector_id, "null", info)["connector_info"]
    assert answer["next_run_datetime"].startswith("2030-01-02T03:04:05")
    assert {key: answer[key] for key in ("buffering", "queue_threshold", "queue_messages_size", "last_run_datetime")} == {
        "buffering": True, "queue_threshold": 500.0, "queue_messages_size": 1.25, "last_run_datetime": None}  # fmt: skip


def test_a_ping_of_an_unknown_connector_is_an_error(platform, account):
    with pytest.raises(GraphQLError):
        api.ping(platform, account.token, api.new_id(), "null")


def test_a_reset_holds_until_the_connector_pings_without_state(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    api.ping(platform, account.token, connector_id, '{"cursor": 1}')
    api.reset_state(platform, connector_id)
    for _ in range(3):  # the run goes on and tells its state again and again
        assert api.ping(platform, account.token, connector_id, '{"cursor": 2}')["connector_state"] in ("", None)
    assert api.connector(platform, connector_id)["connector_state"] in ("", None)
    api.ping(platform, account.token, connector_id, "null")
    assert api.ping(platform, account.token, connector_id, '{"cursor": 3}')["connector_state"] == '{"cursor": 3}'


def test_a_reset_holds_until_the_connector_registers_again(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    api.ping(platform, account.token, connector_id, '{"cursor": 1}')
    api.reset_state(platform, connector_id)
    assert api.register(platform, account.token, connector_id)["connector_state"] in ("", None)
    assert api.ping(platform, account.token, connector_id, '{"cursor": 1}')["connector_state"] == '{"cursor": 1}'


def history(platform, connector_id):
    done = platform.cli("connector", "state", "history", connector_id, "--json")
    assert done.returncode == 0, done.stderr
    versions = json.loads(done.stdout)
    return versions if isinstance(versions, list) else next(value for value in versions.values() if isinstance(value, list))


def test_earlier_states_are_listed_and_can_be_restored(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    for cursor in (1, 2, 3):
        api.ping(platform, account.token, connector_id, json.dumps({"cursor": cursor}))
    versions = history(platform, connector_id)
    assert [json.loads(entry["state"])["cursor"] for entry in versions if entry["state"]][:3] in ([3, 2, 1], [1, 2, 3])
    wanted = next(entry["version"] for entry in versions if entry["state"] == '{"cursor": 2}')
    done = platform.cli("connector", "state", "restore", connector_id, str(wanted))
    assert done.returncode == 0, done.stderr
    assert api.register(platform, account.token, connector_id)["connector_state"] == '{"cursor": 2}'


def test_a_reset_state_stays_in_the_history(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    api.ping(platform, account.token, connector_id, '{"cursor": 9}')
    done = platform.cli("connector", "state", "reset", connector_id)
    assert done.returncode == 0, done.stderr
    assert '{"cursor": 9}' in [entry["state"] for entry in history(platform, connector_id)]


def test_pinging_the_same_state_adds_no_version(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    for _ in range(5):
        api.ping(platform, account.token, connector_id, '{"cursor": 1}')
    assert len([entry for entry in history(platform, connector_id) if entry["state"]]) == 1


def test_a_connector_that_deletes_itself_keeps_state_and_queue(platform, account, connector_id):
    """`helper.stop()` of pycti does this on a clean shutdown."""
    api.register(platform, account.token, connector_id)
    api.ping(platform, account.token, connector_id, '{"cursor": 5}')
    query = "mutation Delete($id: ID!) { deleteConnector(id: $id) }"
    assert platform.graphql(query, {"id": connector_id}, token=account.token)["deleteConnector"] == connector_id
    found = api.connector(platform, connector_id)
    assert found is not None
    assert found["active"] is False
    assert api.register(platform, account.token, connector_id)["connector_state"] == '{"cursor": 5}'


def test_an_operator_deletes_a_connector_for_good(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    api.ping(platform, account.token, connector_id, '{"cursor": 5}')
    platform.graphql("mutation Delete($id: ID!) { deleteConnector(id: $id) }", {"id": connector_id})
    assert api.connector(platform, connector_id) is None
    assert api.register(platform, account.token, connector_id)["connector_state"] in (None, "")


def test_a_connector_is_active_after_registration_and_shows_its_queue(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    found = api.connector(platform, connector_id)
    assert found["active"] is True
    assert found["connector_queue_details"] == {"messages_number": 0, "messages_size": 0}
    assert found["built_in"] is False


# --- works -----------------------------------------------------------------------------------------------------------------------


def test_a_work_counts_what_was_expected_and_processed(platform, account, connector_id, prefix):
    api.register(platform, account.token, connector_id)
    bundle = stix.mixed_feed(1, 36, prefix)
    work = api.deliver(platform, account.token, connector_id, bundle)
    assert work["errors"] == []
    assert work["tracking"]["import_expected_number"] == work["tracking"]["import_processed_number"] == work["completed_number"] == len(bundle["objects"])
    assert work["id"].startswith(f"work_{connector_id}_")
    assert work["received_time"] and work["processed_time"] and work["completed_time"]
    assert [entry["message"] for entry in work["messages"]] == ["done"]


def test_a_refused_object_is_named_with_its_reason_and_the_rest_is_kept(platform, account, connector_id, prefix):
    api.register(platform, account.token, connector_id)
    good = [stix.domain("malware", f"{prefix} good {number}", is_family=True) for number in range(3)]
    bad = stix.domain("x-unheard-of", f"{prefix} bad")
    work = api.deliver(platform, account.token, connector_id, stix.bundle([good[0], bad, *good[1:]]))
    assert work["tracking"]["import_expected_number"] == work["tracking"]["import_processed_number"] == 4
    assert len(work["errors"]) == 1
    report = json.dumps(work["errors"][0])
    assert bad["id"] in report
    assert f"{prefix} bad" in report
    assert "x-unheard-of" in work["errors"][0]["message"]
    assert sorted(api.named(platform, prefix)) == sorted(entry["name"] for entry in good)


def test_a_work_that_is_processed_before_its_objects_completes_with_the_last(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    work_id = api.work_add(platform, account.token, connector_id)
    api.work_edit(platform, account.token, work_id, "addExpectations(expectations: 2)")
    api.work_edit(platform, account.token, work_id, 'toProcessed(message: "sent")')
    assert api.work(platform, work_id)["status"] == "progress"
    api.work_edit(platform, account.token, work_id, "reportExpectation")
    assert api.work(platform, work_id)["status"] == "progress"
    api.work_edit(platform, account.token, work_id, 'reportExpectation(error: {error: "no", source: "x"})')
    work = api.work(platform, work_id)
    assert (work["status"], work["completed_number"]) == ("complete", 2)
    assert [(entry["message"], entry["source"]) for entry in work["errors"]] == [("no", "x")]


def test_a_work_of_several_parts_completes_only_when_said(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    work_id = api.work_add(platform, account.token, connector_id, multipart=True)
    for _ in range(2):
        api.work_edit(platform, account.token, work_id, "addExpectations(expectations: 1)")
        api.work_edit(platform, account.token, work_id, "reportExpectation")
        assert api.work(platform, work_id)["status"] == "progress"
    api.work_edit(platform, account.token, work_id, 'toProcessed(message: "all")')
    assert api.work(platform, work_id)["status"] == "complete"


def test_a_work_without_objects_completes_when_it_is_processed(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    work_id = api.work_add(platform, account.token, connector_id)
    api.work_edit(platform, account.token, work_id, 'toReceived(message: "got it")')
    api.work_edit(platform, account.token, work_id, 'toProcessed(message: "failed", inError: true)')
    work = api.work(platform, work_id)
    assert work["status"] == "complete"
    assert [entry["message"] for entry in work["messages"]] == ["got it"]
    assert [entry["message"] for entry in work["errors"]] == ["failed"]


def test_late_expectations_on_a_complete_work_are_counted(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    work_id = api.work_add(platform, account.token, connector_id)
    for _ in range(2):
        api.work_edit(platform, account.token, work_id, "addExpectations(expectations: 1)")
        api.work_edit(platform, account.token, work_id, "reportExpectation")
    assert api.work(platform, work_id)["tracking"]["import_expected_number"] == 2
    assert api.work(platform, work_id)["tracking"]["import_processed_number"] == 2


def test_is_work_alive_until_it_is_deleted(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    work_id = api.work_add(platform, account.token, connector_id)
    query = "query Alive($id: ID!) { isWorkAlive(id: $id) }"
    alive = lambda: platform.graphql(query, {"id": work_id}, token=account.token)["isWorkAlive"]  # noqa: E731
    assert alive() is True
    api.work_edit(platform, account.token, work_id, 'toProcessed(message: "x")')
    assert alive() is True, "completion does not end a work's life"
    api.work_edit(platform, account.token, work_id, "delete")
    assert alive() is False


def test_calls_for_a_deleted_work_carry_the_name_that_clients_look_for(platform, account, connector_id):
    """Upstream's worker sends the work's id as a header; a dead work refuses the whole request."""
    api.register(platform, account.token, connector_id)
    work_id = api.work_add(platform, account.token, connector_id)
    api.work_edit(platform, account.token, work_id, "delete")
    headers = {"opencti-work-id": work_id}
    answer = platform.post("query { about { version } }", token=account.token, headers=headers)
    assert "WORK_NOT_ALIVE" in answer.text


def test_objects_of_a_deleted_work_are_dropped(platform, account, connector_id, prefix):
    from harness.amqp import Publisher, message

    config = api.register(platform, account.token, connector_id)["config"]
    work_id = api.work_add(platform, account.token, connector_id)
    api.work_edit(platform, account.token, work_id, "delete")
    dropped = stix.domain("malware", f"{prefix} dropped", is_family=True)
    kept = stix.domain("malware", f"{prefix} kept", is_family=True)
    with Publisher(platform, config) as publisher:
        publisher.publish(message(stix.bundle([dropped]), work_id=work_id))
        publisher.publish(message(stix.bundle([kept])))
    wait_until(lambda: api.exists(platform, kept["id"]), "the later object is stored")
    assert not api.exists(platform, dropped["id"])


def test_two_works_of_one_moment_have_ids_of_their_own(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    assert len({api.work_add(platform, account.token, connector_id) for _ in range(20)}) == 20


def test_works_are_listed_by_connector_newest_first(platform, account, connector_id):
    api.register(platform, account.token, connector_id)
    made = [api.work_add(platform, account.token, connector_id, f"work {number}") for number in range(3)]
    query = """query ConnectorWorksQuery($first: Int, $orderBy: WorksOrdering, $orderMode: OrderingMode, $filters: FilterGroup) {
        works(first: $first, orderBy: $orderBy, orderMode: $orderMode, filters: $filters) { edges { node { id name } } } }"""
    filters = {"mode": "and", "filters": [{"key": ["connector_id"], "values": [connector_id]}], "filterGroups": []}
    edges = platform.graphql(query, {"first": 10, "orderBy": "timestamp", "orderMode": "desc", "filters": filters})["works"]["edges"]
    assert [edge["node"]["id"] for edge in edges] == made[::-1]


# --- tokens, errors, uploads -------------------------------------------------------------------------------------------------------


def test_tokens_are_opaque_uuids_and_prefixed_ones_are_accepted(platform, account):
    """The admin's token of these tests is a UUID, a made one may be of either form."""
    for token in (platform.admin.token, account.token):
        assert platform.graphql("query { me { id } }", token=token)["me"]["id"]


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "Bearer  {}"], ids=["as clients send it", "lower case", "two blanks"])
def test_forms_of_the_bearer_header(platform, header):
    answer = requests.post(platform.url + "/graphql", json={"query": "query { me { id } }", "variables": {}},
                           headers={"Authorization": header.format(platform.admin.token)}, timeout=10)  # fmt: skip
    assert answer.json().get("data", {}).get("me"), answer.text


@pytest.mark.parametrize("token", ["", "wrong", "00000000-0000-4000-8000-000000000000", "flgrn_octi_tkn_" + "A" * 64],
                         ids=["none", "nonsense", "unknown uuid", "unknown prefixed"])  # fmt: skip
def test_without_a_valid_token_everything_asks_to_log_in(platform, token):
    for query in ("query { about { version } }", "query { me { id } }", "query { malwares { edges { node { id } } } }"):
        error = platform.refused(query, token=token)
        assert error["name"] == "AUTH_REQUIRED"
        assert error["extensions"]["code"] == "AUTH_REQUIRED"


def test_an_error_has_the_envelope_that_both_client_generations_read(platform, account):
    error = platform.refused(api.PING, {"id": api.new_id(), "state": "null", "connectorInfo": None}, token=account.token)
    assert error["message"]
    assert error["name"] == error["extensions"]["code"]
    assert error["data"] == error["extensions"]["data"]
    assert isinstance(error["data"]["http_status"], int)
    assert error["data"]["genre"] in ("TECHNICAL", "BUSINESS")
    assert error["path"] == ["pingConnector"]


def test_an_invalid_document_answers_400(platform):
    answer = platform.post("query { noSuchField }")
    assert answer.status_code == 400
    assert "noSuchField" in answer.json()["errors"][0]["message"]
    assert platform.post("query {").status_code == 400


def test_the_served_schema_is_the_one_in_the_repository(platform):
    from graphql import build_client_schema, get_introspection_query, print_schema
    from harness.platform import ROOT
    from recorder.validate import load_schema

    served = build_client_schema(platform.graphql(get_introspection_query(descriptions=True)))
    checked_in = load_schema(ROOT / "schema.graphql")
    assert set(served.type_map) == set(checked_in.type_map)
    for name in ("Query", "Mutation", "Connector", "MalwareAddInput", "FilterGroup"):
        assert print_fields(served, name) == print_fields(checked_in, name)
    assert print_schema(served)


def print_fields(schema, name):
    def arguments(field):
        return sorted(f"{key}: {argument.type}" for key, argument in getattr(field, "args", {}).items())

    return {key: (str(field.type), arguments(field)) for key, field in schema.type_map[name].fields.items()}


def upload(platform, token, query, variables, where, files):
    """A request after the GraphQL multipart specification, as pycti makes it."""
    parts = [(str(number), (name, content, mime)) for number, (name, content, mime) in enumerate(files)]
    return requests.post(
        platform.url + "/graphql",
        data={"operations": json.dumps({"query": query, "variables": variables}), "map": json.dumps(where)},
        files=parts, headers={"Authorization": f"Bearer {token}"}, timeout=30,
    )  # fmt: skip


def test_a_multipart_request_reaches_its_operation(platform, prefix):
    """Files are not stored yet; the request must be understood and the files refused in words, not the request as such."""
    query = "mutation MalwareAdd($input: MalwareAddInput!) { malwareAdd(input: $input) { id standard_id entity_type parent_types } }"
    variables = {"input": {"name": f"{prefix} with files", "is_family": True, "files": [None, None], "filesMarkings": [[], []]}}
    where = {"0": ["variables.input.files.0"], "1": ["variables.input.files.1"]}
    answer = upload(platform, platform.admin.token, query, variables, where, [("a.txt", b"one", "text/plain"), ("b/c.bin", b"\0two", "")])
    assert answer.status_code == 200, answer.text
    error = answer.json()["errors"][0]
    assert (error["name"], error["path"]) == ("FUNCTIONAL_ERROR", ["malwareAdd"])
    assert "files" in error["message"]
    assert api.named(platform, prefix) == []


def test_a_multipart_request_with_a_single_file_where_a_list_is_declared_is_understood(platform, prefix):
    """pycti sends one file at the place of the list itself."""
    query = "mutation MalwareAdd($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }"
    variables = {"input": {"name": f"{prefix} with a file", "is_family": True, "files": None}}
    answer = upload(platform, platform.admin.token, query, variables, {"0": ["variables.input.files"]}, [("a.txt", b"one", "text/plain")])
    assert answer.status_code == 200, answer.text
    assert "files" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("where", ["not json", '{"0": ["variables.nowhere.0"]}', "[]"], ids=["no JSON", "a path that is not there", "a list"])
def test_a_multipart_request_with_a_wrong_map_is_a_clear_error(platform, where):
    answer = requests.post(
        platform.url + "/graphql",
        data={"operations": json.dumps({"query": "query { about { version } }", "variables": {}}), "map": where},
        files=[("0", ("a.txt", b"x", "text/plain"))], headers={"Authorization": f"Bearer {platform.admin.token}"}, timeout=30,
    )  # fmt: skip
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["errors"][0]["message"]


def test_no_cookie_is_set_on_bearer_calls(platform):
    assert "set-cookie" not in platform.post("query { about { version } }").headers


def test_health_needs_no_token(platform):
    assert requests.get(platform.url + "/health", timeout=10).status_code == 200
