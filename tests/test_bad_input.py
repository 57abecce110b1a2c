"""What comes in wrong gets a clear error or a refused object with its reason; everything else in the message is kept; memory stays bounded."""

from __future__ import annotations

import base64
import json
import socket
import struct

import pytest
import requests
from harness import api, stix, wait_until
from harness.amqp import Publisher, message

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bad_platform(tmp_path_factory):
    """A platform of its own, so that memory and dead letters are not other tests'."""
    from harness import Platform

    with Platform(tmp_path_factory.mktemp("bad")) as running:
        yield running


@pytest.fixture
def sender(bad_platform, prefix):
    """A registered connector with a publisher and short words to send with."""
    account = bad_platform.add_connector_account(f"account {prefix}")
    connector_id = api.new_id()
    config = api.register(bad_platform, account.token, connector_id)["config"]
    with Publisher(bad_platform, config) as publisher:
        yield Sender(bad_platform, account, connector_id, publisher, prefix)


class Sender:
    def __init__(self, platform, account, connector_id, publisher, prefix):
        self.platform, self.account, self.connector_id, self.publisher, self.prefix = platform, account, connector_id, publisher, prefix

    def good(self, name: str) -> dict:
        return stix.domain("malware", f"{self.prefix} {name}", is_family=True)

    def deliver(self, objects: list, expected_errors: int, number: int | None = None) -> list:
        """Sends the objects in one message under a work and returns the work's errors, when all (or `number`) are processed."""
        work_id = api.work_add(self.platform, self.account.token, self.connector_id)
        if len(objects) == 1:  # a single object is announced by its sender; what has to be split is counted by the platform
            api.work_edit(self.platform, self.account.token, work_id, "addExpectations(expectations: 1)")
        self.publisher.publish(message({"type": "bundle", "id": f"bundle--{api.new_id()}", "objects": objects}, work_id=work_id))
        work = api.processed(self.platform, work_id, number or len(objects))
        assert work["tracking"]["import_expected_number"] == work["tracking"]["import_processed_number"] == (number or len(objects))
        assert len(work["errors"]) == expected_errors, json.dumps(work["errors"])[:3000]
        return work["errors"]

    def one_refused_rest_kept(self, bad: dict, *reasons: str) -> None:
        """The bad object among good ones: it is refused for the reason, the good ones are stored."""
        before, after = self.good("before"), self.good("after")
        errors = self.deliver([before, bad, after], 1)
        text = json.dumps(errors[0], ensure_ascii=False).lower()
        for reason in reasons:
            assert reason.lower() in text, f"{reason!r} is not in {text}"
        assert api.exists(self.platform, before["id"])
        assert api.exists(self.platform, after["id"])

    def dead(self, body: bytes, *reasons: str) -> None:
        """The message as a whole is set aside with the reason, and the next one is ingested."""
        self.publisher.publish(body)
        following = self.good("following")
        self.publisher.publish(message(stix.bundle([following])))
        wait_until(lambda: api.exists(self.platform, following["id"]), "the message behind the broken one is ingested")
        letters = api.dead_letters(self.platform, self.connector_id)
        assert len(letters) == 1, letters
        for reason in reasons:
            assert reason.lower() in letters[0]["reason"].lower(), letters[0]["reason"]


# --- messages ----------------------------------------------------------------------------------------------------------------------


def test_a_message_that_is_not_json(sender):
    sender.dead(b"{ this is not json", "json")


def test_a_message_that_is_not_utf8(sender):
    sender.dead(b'{"content": "\xff\xfe"}', "json", "unicode")


def test_an_empty_message(sender):
    sender.dead(b"", "json")


def test_a_message_that_is_a_list(sender):
    sender.dead(b"[]", "object")


def test_content_that_is_not_base64(sender):
    sender.dead(message({}, content="*?*"), "base64")


def test_content_that_is_not_utf8_is_refused_not_repaired(sender):
    """A name must never be stored otherwise than it was sent."""
    good = sender.good("beside")
    text = json.dumps(stix.bundle([good, sender.good("b?d")])).encode().replace(b"b?d", b"b\xffd")
    sender.publisher.publish(message({}, content=base64.b64encode(text).decode()))
    following = sender.good("following")
    sender.publisher.publish(message(stix.bundle([following])))
    wait_until(lambda: api.exists(sender.platform, following["id"]), "the next message is ingested")
    stored = set(api.named(sender.platform, sender.prefix)) - {good["name"], following["name"]}
    assert stored == set()
    assert api.exists(sender.platform, good["id"]) or "unicode" in api.dead_letters(sender.platform, sender.connector_id)[0]["reason"].lower()


def test_content_that_is_not_json(sender):
    sender.dead(message("{ nope"), "json")


def test_content_that_is_not_a_bundle(sender):
    sender.dead(message({"type": "report"}), "bundle")


def test_a_bundle_without_objects(sender):
    sender.dead(message({"type": "bundle", "id": f"bundle--{api.new_id()}", "objects": []}), "objects")


def test_deeply_nested_json_in_a_message(sender):
    sender.dead(message("[" * 100_000 + "]" * 100_000), "nest")


def test_deeply_nested_json_in_an_object(sender):
    deep: object = "x"
    for _ in range(200):
        deep = {"a": deep}
    bad = stix.domain("malware", f"{sender.prefix} deep", is_family=True)
    work_id = api.work_add(sender.platform, sender.account.token, sender.connector_id)
    text = json.dumps(stix.bundle([sender.good("beside"), bad])).replace('"is_family": true}]', '"is_family": true, "x_deep": ' + json.dumps(deep) + "}]")
    sender.publisher.publish(message(text, work_id=work_id))
    after = sender.good("after")
    sender.publisher.publish(message(stix.bundle([after])))
    wait_until(lambda: api.exists(sender.platform, after["id"]), "the next message is ingested")
    problems = [entry["reason"] for entry in api.dead_letters(sender.platform, sender.connector_id)]
    problems += [entry["message"] for entry in api.work(sender.platform, work_id)["errors"]]
    assert any("nest" in problem for problem in problems), problems


# --- objects -----------------------------------------------------------------------------------------------------------------------


def test_an_object_of_unknown_type(sender):
    sender.one_refused_rest_kept(stix.domain("x-nobody-knows", "unknown"), "x-nobody-knows", "type")


def test_an_object_without_a_type(sender):
    bad = sender.good("no type")
    del bad["type"]
    errors = sender.deliver([sender.good("a"), bad], 1)
    assert "type" in errors[0]["message"]


def test_an_object_that_is_not_an_object(sender):
    good = sender.good("beside")
    errors = sender.deliver([good, "text", 7], 2)
    assert all("object" in entry["message"].lower() for entry in errors)
    assert api.exists(sender.platform, good["id"])


@pytest.mark.parametrize("identifier", ["malware-1234", "malware--not-a-uuid", "--", "", "tool--5e1ab1e5-7e57-4da7-a5ee-d0fbad1c0de5", 7, None],
                         ids=["no dashes", "no uuid", "dashes only", "empty", "of another type", "a number", "null"])  # fmt: skip
def test_an_id_of_the_wrong_form(sender, identifier):
    bad = sender.good("wrong id") | {"id": identifier}
    errors = sender.deliver([sender.good("beside"), bad], 1)
    assert "id" in errors[0]["message"].lower()


@pytest.mark.parametrize("date", ["yesterday", "2024-13-01T00:00:00Z", "2024-01-01", "", 20240101, "2024-01-01T00:00:00"],
                         ids=["a word", "month 13", "no time", "empty", "a number", "no zone"])  # fmt: skip
def test_an_invalid_date(sender, date):
    bad = stix.domain("malware", f"{sender.prefix} bad date", is_family=True, first_seen=date)
    before, after = sender.good("before"), sender.good("after")
    if date in ("", "2024-01-01", "2024-01-01T00:00:00"):  # readable without doubt: may be accepted, must not break the rest
        work_id = api.work_add(sender.platform, sender.account.token, sender.connector_id)
        sender.publisher.publish(message(stix.bundle([before, bad, after]), work_id=work_id))
        work = api.processed(sender.platform, work_id, 3)
        assert all("first_seen" in entry["message"] for entry in work["errors"])
        assert api.exists(sender.platform, after["id"])
    else:
        errors = sender.deliver([before, bad, after], 1)
        assert "first_seen" in errors[0]["message"]
        assert api.exists(sender.platform, after["id"])


@pytest.mark.parametrize(("field", "value"), [("is_family", "perhaps"), ("confidence", "high"), ("confidence", 1e99), ("aliases", {"a": 1}), ("name", ["a"]), ("name", "")])
def test_a_value_of_the_wrong_kind(sender, field, value):
    bad = stix.domain("malware", f"{sender.prefix} wrong kind", is_family=True, aliases=["x"], confidence=1) | {field: value}
    sender.one_refused_rest_kept(bad, field)


def test_an_unknown_property_is_refused_and_a_custom_one_is_kept(sender):
    custom = sender.good("custom") | {"x_vendor_note": {"deep": [1, "two"]}, "x_flag": True}
    sender.one_refused_rest_kept(sender.good("unknown property") | {"flavour": "vanilla"}, "flavour")
    sender.deliver([custom], 0)
    stored = json.dumps(api.stix(sender.platform, custom["id"]))
    assert "x_vendor_note" in stored
    assert '"two"' in stored


def test_a_relationship_to_nothing_waits_and_is_listed(sender):
    malware = sender.good("here")
    nothing = f"tool--{api.new_id()}"
    relation = stix.relationship("uses", malware, nothing)
    sender.deliver([malware, relation], 0)
    assert not api.exists(sender.platform, relation["id"])
    parked = sender.platform.cli("parked", "--json")
    assert nothing in parked.stdout


def test_a_relationship_without_ends(sender):
    malware = sender.good("malware")
    bad = stix.relationship("uses", malware, malware)
    del bad["target_ref"]
    errors = sender.deliver([malware, bad], 1)
    assert "target_ref" in errors[0]["message"]


def test_a_relationship_of_an_object_to_itself(sender):
    malware = sender.good("malware")
    errors = sender.deliver([malware, stix.relationship("related-to", malware, malware)], 1)
    assert "itself" in errors[0]["message"] or "SELF_REFERENCING" in errors[0]["message"]


def test_a_relationship_that_the_model_does_not_allow(sender):
    malware, tool = sender.good("malware"), stix.domain("tool", f"{sender.prefix} tool")
    errors = sender.deliver([malware, tool, stix.relationship("attributed-to", malware, tool)], 1)
    assert "attributed-to" in errors[0]["message"]
    assert api.exists(sender.platform, tool["id"])


def test_a_bundle_whose_objects_refer_to_each_other_in_a_circle(sender):
    first = stix.domain("report", f"{sender.prefix} first", published=stix.CREATED)
    second = stix.domain("report", f"{sender.prefix} second", published=stix.CREATED, object_refs=[first["id"]])
    first["object_refs"] = [second["id"], first["id"]]
    sender.deliver([first, second], 0)
    for entry in (first, second):
        assert api.exists(sender.platform, entry["id"])


def test_relationships_about_relationships_in_a_circle(sender):
    malware = sender.good("malware")
    a = stix.relationship("related-to", malware, malware)
    b = stix.relationship("related-to", malware, a["id"]) | {"id": f"relationship--{api.new_id()}"}
    a["target_ref"] = b["id"]
    work_id = api.work_add(sender.platform, sender.account.token, sender.connector_id)
    sender.publisher.publish(message(stix.bundle([malware, a, b]), work_id=work_id))
    work = api.processed(sender.platform, work_id, work_expected(sender, work_id))
    assert work["tracking"]["import_expected_number"] == work["tracking"]["import_processed_number"]
    assert api.exists(sender.platform, malware["id"])


def work_expected(sender, work_id: str) -> int:
    return wait_until(lambda: api.work(sender.platform, work_id)["tracking"]["import_expected_number"], "the objects are counted")


def test_the_same_object_twice_in_a_bundle(sender):
    malware = sender.good("twice")
    later = malware | {"description": "the later one"}
    work_id = api.work_add(sender.platform, sender.account.token, sender.connector_id)
    sender.publisher.publish(message(stix.bundle([malware, later]), work_id=work_id))
    work = api.processed(sender.platform, work_id, work_expected(sender, work_id))
    assert work["errors"] == []
    assert api.stix(sender.platform, malware["id"])["description"] == "the later one"
    assert api.named(sender.platform, sender.prefix) == [malware["name"]]


def test_an_indicator_whose_pattern_is_wrong(sender):
    bad = stix.indicator(f"{sender.prefix} sign", "192.0.2.1") | {"pattern": "[ipv4-addr:value = "}
    sender.one_refused_rest_kept(bad, "pattern")


@pytest.mark.parametrize(("kind", "value"), [("ipv4-addr", "300.1.2.3"), ("ipv6-addr", "zz::1"), ("email-addr", "nobody"), ("mac-addr", "12:34")])
def test_an_observable_whose_value_is_wrong(sender, kind, value):
    bad = {"type": kind, "spec_version": "2.1", "id": stix.observable_id(kind, {"value": value}), "value": value}
    sender.one_refused_rest_kept(bad, value)


def test_a_name_with_every_kind_of_character(sender):
    name = f"{sender.prefix} \u0000\u202e\ud83d\ude00 ' \" \\ %s {{}} <b> \n\t é\u0301 ".encode("utf-16", "surrogatepass").decode("utf-16")
    odd = stix.domain("malware", name, is_family=True)
    good = sender.good("beside")
    work_id = api.work_add(sender.platform, sender.account.token, sender.connector_id)
    sender.publisher.publish(message(stix.bundle([odd, good]), work_id=work_id))
    api.processed(sender.platform, work_id, 2)
    assert api.exists(sender.platform, good["id"])


def test_a_lone_surrogate_in_an_object(sender):
    good = sender.good("beside")
    text = json.dumps(stix.bundle([good, sender.good("surrogate")])).replace("surrogate", "\\ud800")
    work_id = api.work_add(sender.platform, sender.account.token, sender.connector_id)
    sender.publisher.publish(message(text, work_id=work_id))
    following = sender.good("following")
    sender.publisher.publish(message(stix.bundle([following])))
    wait_until(lambda: api.exists(sender.platform, following["id"]), "the next message is ingested")
    assert api.exists(sender.platform, good["id"]) or api.dead_letters(sender.platform, sender.connector_id)


# --- the API -----------------------------------------------------------------------------------------------------------------------


def raw(platform, body: bytes, **headers: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {platform.admin.token}", "Content-Type": "application/json"} | headers
    return requests.post(platform.url + "/graphql", data=body, headers=headers, timeout=60)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b'{"query": 7}', b"{}", b'{"query": "{ about { version } }", "variables": []}', b'{"query": "\xff"}'],
                         ids=["empty", "cut off", "a list of numbers", "a string", "query is a number", "no query", "variables are a list", "not utf-8"])  # fmt: skip
def test_a_request_that_is_no_graphql_request(bad_platform, body):
    answer = raw(bad_platform, body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["errors"][0]["message"]


def test_a_query_of_depth_500(bad_platform):
    query = "query { malwares { edges { node { " + "createdBy { ... on Identity { " * 250 + "id" + " } }" * 250 + " } } } }"
    answer = bad_platform.post(query)
    assert answer.status_code in (200, 400)
    assert "deep" in answer.json()["errors"][0]["message"].lower()


def test_a_document_of_very_many_tokens(bad_platform):
    answer = bad_platform.post("query { " + " ".join(f"a{number}: about {{ version }}" for number in range(100_000)) + " }")
    assert answer.json()["errors"][0]["message"]
    assert bad_platform.graphql("query { about { version } }")


def test_fragments_in_a_circle(bad_platform):
    query = "query { about { ...a } } fragment a on AppInfo { ...b } fragment b on AppInfo { ...a }"
    assert bad_platform.post(query).json()["errors"][0]["message"]


def test_variables_nested_very_deep(bad_platform):
    body = b'{"query": "query($f: FilterGroup) { malwares(filters: $f) { edges { node { id } } } }", "variables": {"f": ' + b'{"filterGroups": [' * 20_000 + b"]}" * 20_000 + b"}}"
    assert raw(bad_platform, body).json()["errors"][0]["message"]


@pytest.mark.parametrize(("bundle", "reason"), [
    ("{ nope", "json"), ('{"type": "report"}', "bundle"), ('{"type": "bundle", "objects": []}', "objects"), ("[" * 100_000, "nest"),
], ids=["not json", "no bundle", "no objects", "deeply nested"])  # fmt: skip
def test_a_push_of_something_else_than_a_bundle(sender, bundle, reason):
    from harness import GraphQLError

    with pytest.raises(GraphQLError) as refused:
        api.push(sender.platform, sender.account.token, sender.connector_id, bundle)
    assert reason in refused.value.message.lower()


@pytest.mark.parametrize("filters", [
    {"mode": "and", "filters": [{"key": ["no_such_key"], "values": ["x"]}], "filterGroups": []},
    {"mode": "and", "filters": [{"key": ["created"], "values": ["not a date"], "operator": "gt"}], "filterGroups": []},
], ids=["unknown key", "a date that is none"])  # fmt: skip
def test_a_wrong_filter_is_a_clear_error(bad_platform, filters):
    error = bad_platform.refused("query($f: FilterGroup) { malwares(filters: $f) { edges { node { id } } } }", {"f": filters})
    assert "no_such_key" in error["message"] or "date" in error["message"].lower() or "created" in error["message"]


def test_a_wrong_cursor_is_a_clear_error(bad_platform):
    error = bad_platform.refused("query($a: ID) { malwares(after: $a) { edges { node { id } } } }", {"a": "not a cursor"})
    assert "after" in error["message"] or "cursor" in error["message"]


# --- size --------------------------------------------------------------------------------------------------------------------------


def test_a_bundle_of_100_mb_is_taken_and_memory_stays_bounded(sender):
    """100,000 objects of one kilobyte in one message; the server must not hold a multiple of it for good."""
    objects = [stix.domain("tool", f"{sender.prefix} {number}", description="d" * 800) for number in range(100_000)]
    body = message(stix.bundle(objects), no_split=True)
    assert 90 * MIB < len(json.dumps(objects)) < 130 * MIB
    if len(body) > 128 * MIB:  # with base64 it is larger than a message may be: through the API then
        work_id = api.work_add(sender.platform, sender.account.token, sender.connector_id)
        api.push(sender.platform, sender.account.token, sender.connector_id, stix.bundle(objects), work_id)
        work = api.processed(sender.platform, work_id, len(objects), 400)
        assert work["errors"] == []
    else:
        sender.publisher.publish(body)
        api.queue_empty(sender.platform, sender.connector_id, 400)
    for entry in (objects[0], objects[50_000], objects[-1]):
        assert api.exists(sender.platform, entry["id"])
    assert sender.platform.resident_memory() < 1500 * MIB


def test_a_message_over_the_limit_is_refused_and_the_connection_of_others_goes_on(sender):
    other = Publisher(sender.platform, sender.publisher.config)
    try:
        with pytest.raises(Exception):  # noqa: B017, PT011 - a refusal or a closed channel, both are told to the client
            other.publish(b"x" * (129 * MIB))
    finally:
        other.close()
    good = sender.good("still here")
    sender.publisher.publish(message(stix.bundle([good])))
    wait_until(lambda: api.exists(sender.platform, good["id"]), "others are served")


def test_a_request_body_over_the_limit_is_refused(bad_platform):
    answer = raw(bad_platform, b'{"query": "' + b" " * (151 * MIB) + b'"}')
    assert answer.status_code == 413


# --- AMQP connections --------------------------------------------------------------------------------------------------------------


def dial(platform) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", platform.amqp_port), timeout=10)
    connection.settimeout(30)
    return connection


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def still_served(sender) -> None:
    good = sender.good("still served")
    sender.publisher.publish(message(stix.bundle([good])))
    wait_until(lambda: api.exists(sender.platform, good["id"]), "other connections are served")


def test_something_else_than_amqp_is_answered_with_the_protocol_header(sender):
    with dial(sender.platform) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_to_the_end(connection).startswith(b"AMQP\x00\x00\x09\x01")
    still_served(sender)


def test_an_unknown_frame_type_closes_the_connection(sender):
    with dial(sender.platform) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        assert connection.recv(65536)
        connection.sendall(struct.pack(">BHI", 99, 0, 4) + b"junk\xce")
        read_to_the_end(connection)
    still_served(sender)


def test_a_frame_that_promises_gigabytes_does_not_make_the_server_wait_for_them(sender):
    before = sender.platform.resident_memory()
    with dial(sender.platform) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        assert connection.recv(65536)
        connection.sendall(struct.pack(">BHI", 1, 0, 0xFFFFFFF0) + b"x" * 1000)
        read_to_the_end(connection)
    assert sender.platform.resident_memory() - before < 64 * MIB
    still_served(sender)


def test_half_open_connections_do_not_disturb_others(sender):
    """Many clients that connect and say nothing, or half of a header."""
    silent = [dial(sender.platform) for _ in range(50)]
    try:
        for number, connection in enumerate(silent):
            connection.sendall(b"AMQP\x00\x00\x09\x01"[: number % 8])
        still_served(sender)
    finally:
        for connection in silent:
            connection.close()


def test_a_publisher_that_dies_in_the_middle_of_a_message_leaves_nothing_behind(sender):
    from pika import frame, spec

    lost = sender.good("never finished")
    body = message(stix.bundle([lost]))
    dying = Publisher(sender.platform, sender.publisher.config)
    config = sender.publisher.config
    impl = dying.connection._impl  # noqa: SLF001 - half a message cannot be sent through the public face
    method = spec.Basic.Publish(exchange=config["push_exchange"], routing_key=config["push_routing"])
    header = frame.Header(1, len(body), spec.BasicProperties(delivery_mode=2))
    raw_socket = impl._transport._sock if hasattr(impl._transport, "_sock") else impl._transport.get_extra_info("socket")  # noqa: SLF001
    raw_socket.setblocking(True)
    raw_socket.sendall(frame.Method(1, method).marshal() + header.marshal() + frame.Body(1, body[:20]).marshal())
    raw_socket.shutdown(socket.SHUT_RDWR)
    raw_socket.close()
    still_served(sender)
    assert not api.exists(sender.platform, lost["id"])
