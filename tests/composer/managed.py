"""Short words for what tests ask about managed connectors, with the documents of upstream's clients where upstream has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import Platform, wait_until

ADD = """mutation ManagedConnectorAdd($input: AddManagedConnectorInput!) { managedConnectorAdd(input: $input) {
    id name connector_user_id manager_contract_image manager_requested_status manager_contract_configuration { key value } manager_contract_hash } }"""
EDIT = """mutation ManagedConnectorEdit($input: EditManagedConnectorInput!) { managedConnectorEdit(input: $input) {
    id name connector_user_id manager_contract_configuration { key value } } }"""
REQUEST = """mutation UpdateConnectorRequestedStatus($input: RequestConnectorStatusInput!) { updateConnectorRequestedStatus(input: $input) {
    id manager_requested_status } }"""
DELETE = "mutation ConnectorDeletionMutation($id: ID!) { deleteConnector(id: $id) }"
RESET = "mutation Reset($id: ID!) { resetStateConnector(id: $id) { id } }"
LOGS_REPORT = "mutation UpdateConnectorLogs($input: LogsConnectorStatusInput!) { updateConnectorLogs(input: $input) }"
REGISTER = """mutation RegisterConnectorsManager($input: RegisterConnectorsManagerInput!) { registerConnectorsManager(input: $input) {
    id public_key name last_sync_execution active about_version } }"""
MANAGERS = """query ConnectorManagers { connectorManagers {
    id name public_key active created_at last_sync_execution about_version key_id blocked connectors_count tombstones { connector_id approved } } }"""
ONE = """query Managed($id: String!) { connector(id: $id) {
    id name title active is_managed connector_type connector_user_id connector_state connector_user { id name user_email }
    manager { id name } manager_current_status manager_requested_status manager_contract_image manager_contract_hash
    manager_contract_configuration { key value } manager_contract_excerpt { title slug logo } manager_contract_definition
    manager_connector_logs manager_health_metrics { restart_count started_at last_update is_in_reboot_loop } manager_connector_uptime
    manager_state manager_state_reason manager_state_at health { level reasons last_ping last_data expected_next errors restarts }
    contract_slug contract_version pinned declared manager_secret_keys definition_number rolled_back { number reason at }
    update_available latest_compatible_version } }"""
DEPLOY = """mutation Deploy($input: ManagedConnectorDeployInput!) { managedConnectorDeploy(input: $input) { connector { id name } notices } }"""
CONFIGURE = """mutation Configure($input: ManagedConnectorConfigureInput!) { managedConnectorConfigure(input: $input) { connector { id } notices } }"""
UPGRADE = """mutation Upgrade($id: ID!, $version: String) { managedConnectorUpgrade(id: $id, version: $version) { connector { id } notices } }"""
ROLLBACK = """mutation Rollback($id: ID!, $number: Int) { managedConnectorRollback(id: $id, number: $number) { connector { id } notices } }"""
RESTART = "mutation Restart($id: ID!) { managedConnectorRestart(id: $id) { connector { id } notices } }"
LOGS = """query Logs($id: String!, $search: String, $first: Int, $before: Float) {
    connectorLogs(id: $id, search: $search, first: $first, before: $before) { lines { seq at text } before } }"""
DEFINITIONS = """query Definitions($id: String!) { connectorDefinitions(id: $id) {
    number at actor_name reason image version current configuration { key value } } }"""
APPROVE = "mutation Approve($composer: ID!, $connectors: [ID!]!) { composerApproveRemovals(composer: $composer, connectors: $connectors) }"


def one(platform: Platform, connector_id: str) -> dict[str, Any] | None:
    return platform.graphql(ONE, {"id": connector_id})["connector"]


def settings(values: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in (values or {}).items()]


def deploy(platform: Platform, name: str, configuration: dict[str, Any] | None = None, **more: Any) -> str:
    """Deploys and returns the id."""
    given = {"name": name, "configuration": settings(configuration)} | more
    return platform.graphql(DEPLOY, {"input": given})["managedConnectorDeploy"]["connector"]["id"]


def request(platform: Platform, connector_id: str, status: str) -> None:
    platform.graphql(REQUEST, {"input": {"id": connector_id, "status": status}})


def delete(platform: Platform, connector_id: str) -> None:
    """Deletes a connector, and agrees to the removal of what runs of it: tests delete more than a composer does without being asked."""
    platform.graphql(DELETE, {"id": connector_id})
    approve(platform, connector_id)


def approve(platform: Platform, connector_id: str) -> None:
    """Agrees to the removal, at the composer that has not told yet that it is done."""
    for composer in platform.graphql(MANAGERS)["connectorManagers"]:
        if connector_id in [each["connector_id"] for each in composer["tombstones"]]:
            platform.graphql(APPROVE, {"composer": composer["id"], "connectors": [connector_id]})


def configuration(found: dict[str, Any]) -> dict[str, str]:
    return {entry["key"]: entry["value"] for entry in found["manager_contract_configuration"]}


def wait_state(platform: Platform, connector_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
    """Waits until the connector is in one of these states and returns it."""

    def look() -> dict[str, Any] | None:
        found = one(platform, connector_id)
        return found if found["manager_state"] in states else None

    try:
        return wait_until(look, f"{connector_id} is {' or '.join(states)}", seconds)
    except AssertionError as error:
        found = one(platform, connector_id) or {}
        kept = {key: found.get(key) for key in ("manager_state", "manager_state_reason", "manager_current_status", "manager_requested_status", "health")}
        lines = "\n".join((found.get("manager_connector_logs") or [])[-20:])
        raise AssertionError(f"{error}; it is {kept}; log:\n{lines}\nserver:\n{platform.log()[-3000:]}") from None


def log_lines(platform: Platform, connector_id: str, search: str | None = None) -> list[str]:
    """The texts of its log, or those that are found."""
    found = platform.graphql(LOGS, {"id": connector_id, "search": search, "first": 1000})["connectorLogs"]
    return [line["text"] for line in found["lines"]]


def own_composer(platform: Platform) -> dict[str, Any]:
    """The composer that runs inside the server."""
    return platform.graphql(MANAGERS)["connectorManagers"][0]


def processes(connector_id: str) -> list[int]:
    """Numbers of the live processes whose environment carries this connector id, wherever they came from; leaders of their group only."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if f"CONNECTOR_ID={connector_id}".encode() in environment and fields[0] != "Z" and fields[2] == entry.name:
            found.append(int(entry.name))
    return found
