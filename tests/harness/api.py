"""Short words for what tests ask of the API, with the documents as clients send them."""

from __future__ import annotations

import json
import uuid
from typing import Any

from .platform import Platform
from .waiting import wait_until

REGISTER = """
    mutation RegisterConnector($input: RegisterConnectorInput) {
        registerConnector(input: $input) {
            id connector_state jwks
            config {
                connection { host vhost use_ssl port user pass }
                s3 { endpoint port use_ssl bucket_name bucket_region access_key secret_key }
                listen listen_routing listen_exchange push push_routing push_exchange
            }
            connector_user_id
        }
    }
"""
PING = """
    mutation PingConnector($id: ID!, $state: String, $connectorInfo: ConnectorInfoInput) {
        pingConnector(id: $id, state: $state, connectorInfo: $connectorInfo) {
            id connector_state
            connector_info { run_and_terminate buffering queue_threshold queue_messages_size next_run_datetime last_run_datetime }
        }
    }
"""
CONNECTOR = """
    query GetConnector($id: String!) {
        connector(id: $id) {
            id name active auto only_contextual connector_type connector_scope connector_state connector_state_reset connector_user_id
            connector_queue_details { messages_number messages_size }
            connector_info { buffering queue_threshold queue_messages_size }
            updated_at created_at config { listen listen_exchange push push_exchange push_routing } built_in
        }
    }
"""
WORK = """
    query WorkQuery($id: ID!) {
        work(id: $id) {
            id name status timestamp received_time processed_time completed_time completed_number
            messages { timestamp message sequence source }
            errors { timestamp message sequence source }
            tracking { import_expected_number import_processed_number import_last_processed }
        }
    }
"""


def register(platform: Platform, token: str, connector_id: str, **more: Any) -> dict[str, Any]:
    given = {"id": connector_id, "name": f"connector {connector_id[:8]}", "type": "EXTERNAL_IMPORT", "scope": ["stix2"], "auto": False, **more}
    return platform.graphql(REGISTER, {"input": given}, token=token)["registerConnector"]


def ping(platform: Platform, token: str, connector_id: str, state: str | None, info: dict[str, Any] | None = None) -> dict[str, Any]:
    return platform.graphql(PING, {"id": connector_id, "state": state, "connectorInfo": info}, token=token)["pingConnector"]


def connector(platform: Platform, connector_id: str) -> dict[str, Any] | None:
    return platform.graphql(CONNECTOR, {"id": connector_id})["connector"]


def reset_state(platform: Platform, connector_id: str) -> None:
    platform.graphql("mutation Reset($id: ID!) { resetStateConnector(id: $id) { id } }", {"id": connector_id})


def work_add(platform: Platform, token: str, connector_id: str, name: str = "test", multipart: bool = False) -> str:
    query = """mutation workAdd($connectorId: String!, $friendlyName: String, $isMultiPartWork: Boolean) {
        workAdd(connectorId: $connectorId, friendlyName: $friendlyName, isMultiPartWork: $isMultiPartWork) { id } }"""
    variables = {"connectorId": connector_id, "friendlyName": name, "isMultiPartWork": multipart}
    return platform.graphql(query, variables, token=token)["workAdd"]["id"]


def work_edit(platform: Platform, token: str, work_id: str, call: str) -> None:
    """One of the members of `workEdit`, written out: `addExpectations(expectations: 2)`."""
    platform.graphql(f"mutation Edit($id: ID!) {{ workEdit(id: $id) {{ {call} }} }}", {"id": work_id}, token=token)


def work(platform: Platform, work_id: str) -> dict[str, Any] | None:
    return platform.graphql(WORK, {"id": work_id})["work"]


def completed(platform: Platform, work_id: str, seconds: float = 60) -> dict[str, Any]:
    """Waits until the work is complete and returns it."""

    def look() -> dict[str, Any] | None:
        found = work(platform, work_id)
        return found if found and found["status"] == "complete" else None

    try:
        return wait_until(look, f"work {work_id} completes", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {json.dumps(work(platform, work_id))[:1500]}") from None


def processed(platform: Platform, work_id: str, number: int, seconds: float = 60) -> dict[str, Any]:
    """Waits until so many objects of the work are processed and returns it."""

    def look() -> dict[str, Any] | None:
        found = work(platform, work_id)
        return found if found and (found["tracking"]["import_processed_number"] or 0) >= number else None

    try:
        return wait_until(look, f"{number} objects of work {work_id} are processed", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {json.dumps(work(platform, work_id))[:1500]}") from None


def push(platform: Platform, token: str, connector_id: str, bundle: Any, work_id: str | None = None) -> bool:
    """`stixBundlePush`: the bundle as text, whatever it is."""
    text = bundle if isinstance(bundle, str) else json.dumps(bundle)
    query = "mutation Push($connectorId: String!, $bundle: String!, $work_id: String) { stixBundlePush(connectorId: $connectorId, bundle: $bundle, work_id: $work_id) }"
    return platform.graphql(query, {"connectorId": connector_id, "bundle": text, "work_id": work_id}, token=token)["stixBundlePush"]


def deliver(platform: Platform, token: str, connector_id: str, bundle: Any) -> dict[str, Any]:
    """Pushes a bundle under a work of its own and returns the completed work."""
    work_id = work_add(platform, token, connector_id)
    push(platform, token, connector_id, bundle, work_id)
    work_edit(platform, token, work_id, 'toProcessed(message: "done")')
    return completed(platform, work_id)


def stix(platform: Platform, identifier: str) -> dict[str, Any] | None:
    """One object as STIX, by any of its ids."""
    text = platform.graphql("query Stix($id: String!) { stix(id: $id) }", {"id": identifier})["stix"]
    return json.loads(text) if text else None


def exists(platform: Platform, identifier: str) -> bool:
    query = "query One($id: String!) { stixObjectOrStixRelationship(id: $id) { ... on BasicObject { id } ... on BasicRelationship { id } } }"
    return platform.graphql(query, {"id": identifier})["stixObjectOrStixRelationship"] is not None


def count(platform: Platform, entity_type: str, **filters: Any) -> int:
    """How many objects of this type (or of its subtypes) there are; keywords are equality filters."""
    wanted = [{"key": ["entity_type"], "values": [entity_type], "operator": "eq", "mode": "or"}]
    wanted += [{"key": [key], "values": [value], "operator": "eq", "mode": "or"} for key, value in filters.items()]
    group = {"mode": "and", "filters": wanted, "filterGroups": []}
    roots = {"stix-core-relationship": "stixCoreRelationships", "stix-sighting-relationship": "stixSightingRelationships"}
    root = roots.get(entity_type, "stixCoreObjects")
    query = f"query Count($filters: FilterGroup) {{ {root}(filters: $filters, first: 1) {{ pageInfo {{ globalCount }} }} }}"
    if root != "stixCoreObjects":
        group["filters"] = wanted[1:]
    return platform.graphql(query, {"filters": group})[root]["pageInfo"]["globalCount"]


def named(platform: Platform, prefix: str) -> list[str]:
    """Names of all objects whose name begins so."""
    group = {"mode": "and", "filters": [{"key": ["name"], "values": [prefix], "operator": "starts_with", "mode": "or"}], "filterGroups": []}
    query = """query Names($filters: FilterGroup) { stixDomainObjects(filters: $filters, first: 5000) {
        edges { node { representative { main } } } } }"""
    edges = platform.graphql(query, {"filters": group})["stixDomainObjects"]["edges"]
    return [edge["node"]["representative"]["main"] for edge in edges]


def dead_letters(platform: Platform, connector_id: str | None = None) -> list[dict[str, Any]]:
    query = "query { deadLetters { edges { node { id connector_id queue reason size excerpt created_at } } } }"
    nodes = [edge["node"] for edge in platform.graphql(query)["deadLetters"]["edges"]]
    return [node for node in nodes if connector_id in (None, node["connector_id"])]


def queue_empty(platform: Platform, connector_id: str, seconds: float = 60) -> None:
    wait_until(lambda: connector(platform, connector_id)["connector_queue_details"]["messages_number"] == 0, "the queue is empty", seconds)


def new_id() -> str:
    return str(uuid.uuid4())
