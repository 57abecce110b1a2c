"""What the installed pycti really sends, validated against the schema that the platform serves."""

from __future__ import annotations

import json

import pytest
from harness.connector import PYCTI_VERSIONS
from harness.platform import ROOT
from recorder import validate

RELEASE = json.loads((ROOT / "tests" / "recorder" / "release_operations.json").read_text())


@pytest.fixture(scope="module")
def schema():
    return validate.load_schema(ROOT / "schema.graphql")


@pytest.fixture(scope="module", params=PYCTI_VERSIONS, ids=lambda value: f"pycti-{value}")
def report(request, schema):
    return validate.check(schema, validate.record(request.param), validate.load_allowed())


def test_the_recorder_sees_every_query_call_of_the_client(report):
    documents = report.recorded["documents"]
    executed = sum("executed" in entry["how"] for entry in documents)
    assert report.recorded["sites"] > 350
    assert report.recorded["sites_unresolved"] == []
    assert executed >= 0.95 * len(documents) > 450


def test_every_document_of_this_release_validates(report, capsys):
    with capsys.disabled():
        print(f"\npycti {report.client}: {report.valid} of {report.total} documents validate; of this release {report.valid_of_release} of {report.of_release}")
    assert report.failures == []
    assert report.of_release > 300


def test_input_types_hold_every_field_that_the_client_sends(report):
    assert report.unknown_fields == []


def test_a_field_that_our_input_types_lack_is_noticed(report):
    sdl = (ROOT / "schema.graphql").read_text()
    start = sdl.index("input MalwareAddInput")
    end = sdl.index("malware_types", start)
    without = validate.build_schema(sdl[:end] + "something_else" + sdl[end + len("malware_types") :])
    some = [entry for entry in report.recorded["documents"] if "malwareAdd" in entry["document"]]
    assert some
    found = validate.check(without, report.recorded | {"documents": some}, []).unknown_fields
    assert any("malware_types" in line for line in found)


def test_the_allow_list_holds_only_what_the_client_still_sends(report):
    needed = [entry for entry in validate.load_allowed() if report.client in entry["clients"]]
    for entry in needed:
        assert any(entry["contains"] in document["document"] for document in report.recorded["documents"]), f"not sent any more: {entry['reason']}"


@pytest.mark.parametrize("kind", ["query", "mutation"])
def test_every_operation_of_this_release_is_served(schema, kind):
    served = schema.query_type.fields if kind == "query" else schema.mutation_type.fields
    assert [name for name in RELEASE[kind] if name not in served] == []
