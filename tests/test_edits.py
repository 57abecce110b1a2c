"""Editing knowledge with the calls of unmodified clients, and by orders in bundles."""

from __future__ import annotations

import pytest
from harness import GraphQLError, api, stix


def test_the_clients_own_calls_edit_every_type(platform, run_connector, prefix):
    # merging is not a connector's business, so that the administrator runs this one
    connector = run_connector("direct_edits", account=platform.admin, env={"TEST_PREFIX": prefix})
    connector.wait_event("done", seconds=300)
    subjects = connector.seen("edited")
    failures = [f"{entry['subject']}: {failure}" for entry in subjects for failure in entry["failures"]]
    assert failures == [], "\n".join(failures)
    assert len(subjects) > 30


def test_what_outweighs_a_connector_is_not_edited_by_it(platform, prefix):
    malware = "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }"
    id_ = platform.graphql(malware, {"input": {"name": f"heavy {prefix}", "confidence": 100}})["malwareAdd"]["id"]
    account = "mutation M($name: String!) { connectorAccountAdd(name: $name, max_confidence: 40) { token } }"
    token = platform.graphql(account, {"name": f"light {prefix}"})["connectorAccountAdd"]["token"]
    edit = "mutation M($id: ID!, $input: [EditInput]!) { stixDomainObjectEdit(id: $id) { fieldPatch(input: $input) { id } } }"
    with pytest.raises(GraphQLError) as refused:
        platform.graphql(edit, {"id": id_, "input": {"key": "description", "value": "x"}}, token=token)
    assert refused.value.name == "FUNCTIONAL_ERROR"
    assert refused.value.error["data"]["doc_code"] == "INSUFFICIENT_CONFIDENCE_LEVEL"
    assert refused.value.error["message"].startswith("User effective max confidence level is insufficient to update this element")


def test_a_bundle_deletes_with_the_rights_of_its_sender(platform, account, prefix):
    connector_id = api.new_id()
    api.register(platform, account.token, connector_id)
    one, other = stix.domain("tool", f"{prefix} one"), stix.domain("tool", f"{prefix} other")
    api.deliver(platform, account.token, connector_id, stix.bundle([one, other]))
    assert api.exists(platform, one["id"])
    done = api.deliver(
        platform,
        account.token,
        connector_id,
        stix.bundle([one | {"opencti_operation": "delete"}, other | {"opencti_operation": "add_groups", "group_ids": ["x"]}]),
    )
    assert not api.exists(platform, one["id"])
    assert api.exists(platform, other["id"])
    assert len(done["errors"]) == 1
    assert "add_groups" in done["errors"][0]["message"]
