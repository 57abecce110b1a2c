"""A scripted OpenCTI: a server that answers those of upstream's operations that a composer may use, and refuses every other field as upstream does.

The schema is that of upstream's connector module, as far as a composer meets it; documents are validated against it, so that a client that asks for anything of
ours gets an error, with status 400, as from upstream's server.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from graphql import GraphQLError, build_schema, graphql_sync, parse, validate

SCHEMA = build_schema("""
scalar DateTime
type AppInfo { version: String! }
type User { id: ID! name: String! }
type ConnectorContractConfiguration { key: String! value: String encrypted: Boolean }
type ManagerContractConfiguration { key: String value: String }
enum ConnectorRequestStatus { starting stopping }
enum ConnectorCurrentStatus { started stopped }
type ConnectorHealthMetrics { restart_count: Int! started_at: DateTime! last_update: DateTime! is_in_reboot_loop: Boolean! }
type ConnectorInfo { run_and_terminate: Boolean! buffering: Boolean! queue_threshold: Float! queue_messages_size: Float! next_run_datetime: DateTime last_run_datetime: DateTime }
type Connector {
  id: ID! standard_id: String! entity_type: String! name: String! title: String! active: Boolean last_seen_at: DateTime auto: Boolean connector_type: String
  connector_scope: [String!] connector_state: String connector_state_timestamp: DateTime connector_user_id: ID connector_info: ConnectorInfo
  updated_at: DateTime created_at: DateTime is_managed: Boolean manager_current_status: String manager_requested_status: String manager_contract_image: String
  manager_contract_hash: String manager_connector_logs: [String!] manager_health_metrics: ConnectorHealthMetrics built_in: Boolean version: String slug: String
}
type ManagedConnector {
  id: ID! standard_id: String! entity_type: String! name: String! connector_user_id: ID connector_state_timestamp: DateTime manager: ConnectorManager
  manager_contract_image: String! manager_current_status: String manager_requested_status: String!
  manager_contract_configuration: [ConnectorContractConfiguration!]! manager_contract_hash: String! manager_connector_logs: [String!]!
  manager_health_metrics: ConnectorHealthMetrics manager_connector_uptime: Int
}
type ConnectorManager { id: ID! standard_id: String! entity_type: String! name: String! public_key: String! last_sync_execution: DateTime about_version: String! active: Boolean! }
input RegisterConnectorsManagerInput { id: ID! name: String! public_key: String! }
input UpdateConnectorManagerStatusInput { id: ID! }
input CurrentConnectorStatusInput { id: ID! status: ConnectorCurrentStatus! }
input LogsConnectorStatusInput { id: ID! logs: [String!]! }
input HealthConnectorStatusInput { id: ID! restart_count: Int! started_at: DateTime! is_in_reboot_loop: Boolean! }
type Query {
  about: AppInfo
  me: User
  connector(id: String!): Connector
  connectors: [Connector!]!
  connectorManager(managerId: ID!): ConnectorManager!
  connectorManagers: [ConnectorManager!]!
  connectorsForManagers: [ManagedConnector!]
}
type Mutation {
  registerConnectorsManager(input: RegisterConnectorsManagerInput): ConnectorManager
  updateConnectorManagerStatus(input: UpdateConnectorManagerStatusInput): ConnectorManager
  updateConnectorCurrentStatus(input: CurrentConnectorStatusInput!): ManagedConnector
  updateConnectorLogs(input: LogsConnectorStatusInput!): ID!
  updateConnectorHealth(input: HealthConnectorStatusInput!): ID!
}
""")
VERSION = "7.261026.0"


def seal(public_key: str, text: str) -> str:
    """Upstream's envelope, version 2."""
    key, nonce = os.urandom(32), os.urandom(12)
    public = serialization.load_pem_public_key(public_key.encode())
    wrapped = public.encrypt(key + nonce, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    return base64.b64encode(b"\x02" + wrapped + AESGCM(key).encrypt(nonce, text.encode(), None)).decode()


@dataclass
class Wanted:
    """A managed connector as the administrator of that OpenCTI defined it."""

    id: str
    name: str
    image: str
    requested: str = "starting"
    current: str | None = None
    hash: str = "00000001"
    settings: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    sealed: dict[str, str] = field(default_factory=dict)
    last_seen: datetime | None = None
    logs: list[str] = field(default_factory=list)
    health: dict[str, Any] | None = None


class OpenCti:
    """The server. `wanted` is what it wants; `listing` overrides the answer of the listing (`"empty"`, `"error"`)."""

    def __init__(self, token: str = "the-token") -> None:  # noqa: S107 - a token of the tests
        self.token = token
        self.wanted: dict[str, Wanted] = {}
        self.managers: dict[str, dict[str, Any]] = {}
        self.listing: str | None = None
        self.operations: Counter[str] = Counter()
        self.refused: list[str] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = outer.answer(self.path, self.headers.get("Authorization"), body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self) -> None:
                outer.refused.append(f"GET {self.path}")
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, authorization: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
        if path.rstrip("/") != "/graphql":
            self.refused.append(f"POST {path}")
            return 404, {"errors": [{"message": "not found"}]}
        given = json.loads(body)
        try:
            document = parse(given["query"])
        except GraphQLError as error:
            return 400, {"errors": [{"message": error.message, "extensions": {"code": "GRAPHQL_PARSE_FAILED"}}]}
        faults = validate(SCHEMA, document)
        if faults:
            self.refused.append(faults[0].message)
            return 400, {"errors": [{"message": fault.message, "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}} for fault in faults]}
        if authorization != f"Bearer {self.token}":
            error = {"message": "You must be logged in to do this.", "name": "AUTH_REQUIRED", "extensions": {"code": "AUTH_REQUIRED", "data": {"http_status": 401}}}
            return 200, {"errors": [error], "data": None}
        for definition in document.definitions:
            for selection in getattr(getattr(definition, "selection_set", None), "selections", ()):
                self.operations[selection.name.value] += 1
        with self.lock:
            result = graphql_sync(SCHEMA, given["query"], self, variable_values=given.get("variables") or {}, operation_name=given.get("operationName"))
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [
                {"message": error.message, "name": "FUNCTIONAL_ERROR", "extensions": {"code": "FUNCTIONAL_ERROR", "data": {"http_status": 500}}} for error in result.errors
            ]
        return 200, answer

    # --- resolvers: each is named as the root field that it answers -----------------------------------------------------------

    def about(self, _: Any) -> dict[str, Any]:
        return {"version": VERSION}

    def me(self, _: Any) -> dict[str, Any]:
        return {"id": "composer-user", "name": "composer"}

    def connectorManagers(self, _: Any) -> list[dict[str, Any]]:
        return list(self.managers.values())

    def connectorManager(self, _: Any, managerId: str) -> dict[str, Any] | None:
        return self.managers.get(managerId)

    def registerConnectorsManager(self, _: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 - the name of the argument
        if self.managers and input["id"] not in self.managers:
            raise GraphQLError("Only one connector manager is supported per instance")
        known = {"standard_id": "connector-manager", "entity_type": "ConnectorManager", "about_version": VERSION, "active": True}
        self.managers[input["id"]] = known | dict(input) | {"last_sync_execution": datetime.now(UTC).isoformat()}
        return self.managers[input["id"]]

    def updateConnectorManagerStatus(self, _: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
        if input["id"] not in self.managers:
            raise GraphQLError("Cant find element to update")
        return self.managers[input["id"]]

    def connectorsForManagers(self, _: Any) -> list[dict[str, Any]]:
        if self.listing == "error":
            raise GraphQLError("Lock timeout")
        if self.listing == "empty":
            return []
        return [self._managed(each) for each in self.wanted.values()]

    def connectors(self, _: Any) -> list[dict[str, Any]]:
        return [self._connector(each) for each in self.wanted.values()]

    def connector(self, _: Any, id: str) -> dict[str, Any] | None:  # noqa: A002
        return self._connector(self.wanted[id]) if id in self.wanted else None

    def _connector(self, found: Wanted) -> dict[str, Any]:
        seen = found.last_seen.isoformat() if found.last_seen else None
        fresh = found.last_seen is not None and (datetime.now(UTC) - found.last_seen).total_seconds() < 300
        return self._managed(found) | {"title": found.name, "is_managed": True, "active": fresh, "last_seen_at": seen, "updated_at": seen}

    def updateConnectorCurrentStatus(self, _: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
        found = self._known(input["id"])
        found.current = input["status"]
        return self._managed(found)

    def updateConnectorLogs(self, _: Any, input: dict[str, Any]) -> str:  # noqa: A002
        self._known(input["id"]).logs = list(input["logs"])
        return input["id"]

    def updateConnectorHealth(self, _: Any, input: dict[str, Any]) -> str:  # noqa: A002
        self._known(input["id"]).health = dict(input)
        return input["id"]

    def _known(self, connector_id: str) -> Wanted:
        if connector_id not in self.wanted:
            raise GraphQLError("Cant find element to update")
        return self.wanted[connector_id]

    def _managed(self, found: Wanted) -> dict[str, Any]:
        manager = next(iter(self.managers.values()), None)
        for key, secret in found.secrets.items():
            if key not in found.sealed and manager:
                found.sealed[key] = seal(manager["public_key"], secret)
        entries = [{"key": key, "value": value} for key, value in found.settings.items()]
        entries += [
            {"key": "CONNECTOR_ID", "value": found.id}, {"key": "CONNECTOR_NAME", "value": found.name}, {"key": "CONNECTOR_TYPE", "value": "EXTERNAL_IMPORT"},
        ]  # fmt: skip
        entries += [{"key": key, "value": value, "encrypted": True} for key, value in found.sealed.items()]
        entries.append({"key": "HTTPS_PROXY_REJECT_UNAUTHORIZED", "value": "false"})
        return {
            "id": found.id, "standard_id": f"connector--{found.id}", "entity_type": "Connector", "name": found.name, "manager_contract_image": found.image,
            "manager_current_status": found.current, "manager_requested_status": found.requested, "manager_contract_configuration": entries,
            "manager_contract_hash": found.hash, "manager_connector_logs": found.logs, "manager": manager,
        }  # fmt: skip
