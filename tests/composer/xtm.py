"""Upstream's composer (xtm-composer 3.260728) as a client of a platform, written from its behaviour.

It sends exactly the seven operations that the original sends, with their names, selections and variables, treats answers as the original does
(where the original would panic, `Panic` is raised), reconciles as the original does, flaws included, and opens secrets as the original does. Timers
are driven by the test: `alive` is one turn of the original's minute, `orchestrate` one of its ten seconds.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MANAGED = """    id
    name
    manager_contract_hash
    manager_contract_image
    manager_current_status
    manager_requested_status
    manager_contract_configuration {
      key
      value
      encrypted
    }
"""
OPERATIONS = {
    "GetVersion": "query GetVersion {\n  about {\n    version\n  }\n}\n",
    "GetConnectors": f"query GetConnectors {{\n  connectorsForManagers {{\n{MANAGED}  }}\n}}\n",
    "RegisterConnectorsManager": "mutation RegisterConnectorsManager($input: RegisterConnectorsManagerInput!) {\n"
    "  registerConnectorsManager(input: $input) {\n    id\n    about_version\n  }\n}\n",
    "UpdateConnectorManagerStatus": "mutation UpdateConnectorManagerStatus($input: UpdateConnectorManagerStatusInput!) {\n"
    "  updateConnectorManagerStatus(input: $input) {\n    id\n    about_version\n  }\n}\n",
    "UpdateConnectorCurrentStatus": "mutation UpdateConnectorCurrentStatus($input: CurrentConnectorStatusInput!) {\n"
    f"  updateConnectorCurrentStatus(input: $input) {{\n{MANAGED}  }}\n}}\n",
    "ReportConnectorLogs": "mutation ReportConnectorLogs($input: LogsConnectorStatusInput!) {\n  updateConnectorLogs(input: $input)\n}\n",
    "UpdateConnectorHealth": "mutation UpdateConnectorHealth($input: HealthConnectorStatusInput!) {\n  updateConnectorHealth(input: $input)\n}\n",
}
ROOTS = {
    "GetVersion": "about",
    "GetConnectors": "connectorsForManagers",
    "RegisterConnectorsManager": "registerConnectorsManager",
    "UpdateConnectorManagerStatus": "updateConnectorManagerStatus",
    "UpdateConnectorCurrentStatus": "updateConnectorCurrentStatus",
    "ReportConnectorLogs": "updateConnectorLogs",
    "UpdateConnectorHealth": "updateConnectorHealth",
}
LOGS_SCHEDULE = 10.0
HEALTH_SCHEDULE = 30.0
REQUEST_TIMEOUT = 30.0


class Panic(AssertionError):
    """The original would have panicked: its orchestration would be dead from now on, silently."""


def new_key() -> rsa.RSAPrivateKey:
    """A key as the original's documentation makes it."""
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """The public key as the original registers it: PKCS#1."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()


def open_secret(key: rsa.RSAPrivateKey, value: str) -> str:
    """What the original makes of an envelope; raises where it would warn and go on with an empty text."""
    sealed = base64.b64decode(value, validate=True)
    if len(sealed) < 513:
        raise ValueError("Encrypted value too short")
    schemes = {
        1: padding.PKCS1v15(),
        2: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    }
    if sealed[0] not in schemes:
        raise ValueError(f"version {sealed[0]} is not handled")
    wrapped = key.decrypt(sealed[1:513], schemes[sealed[0]])
    try:
        return AESGCM(wrapped[:32]).decrypt(wrapped[32:44], sealed[513:], None).decode()
    except InvalidTag:
        raise ValueError("the tag does not fit") from None


@dataclass
class Exchange:
    """One request and its answer."""

    operation: str
    variables: dict[str, Any] | None
    status: int
    answer: dict[str, Any]


@dataclass
class ApiConnector:
    """A connector as the original holds it after reading the listing."""

    id: str
    name: str
    image: str
    contract_hash: str
    current_status: str | None
    requested_status: str
    configuration: list[tuple[str, str]]

    def container_name(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.name).lower()


@dataclass
class Container:
    """A container as the original sees it."""

    name: str
    image: str
    labels: dict[str, str]
    envs: dict[str, str]
    state: str = "created"
    restart_count: int = 0
    started_at: str = "0001-01-01T00:00:00Z"
    log: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    log_file: Path | None = None

    def in_reboot_loop(self) -> bool:
        if self.restart_count <= 3:
            return False
        started = datetime.fromisoformat(re.sub(r"\.(\d{6})\d+", r".\1", self.started_at).replace("Z", "+00:00"))
        return datetime.now(UTC) - started < timedelta(minutes=5)


def now_as_engines_write() -> str:
    """A time with nine digits of seconds, as a Docker engine writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}123Z"


class Containers:
    """A host's containers in memory. An image with a program in `programs` runs as a process with exactly the container's environment."""

    def __init__(self, directory: Path | None = None, programs: dict[str, list[str]] | None = None) -> None:
        self.by_name: dict[str, Container] = {}
        self.unknown_images: set[str] = set()
        self.actions: list[tuple[str, str]] = []
        self.directory = directory
        self.programs = programs or {}

    def _look(self, container: Container) -> Container:
        if container.process is not None and container.state == "running" and container.process.poll() is not None:
            container.state = "exited"
        if container.log_file is not None:
            container.log = container.log_file.read_text(errors="replace").splitlines()
        return container

    def get(self, connector: ApiConnector) -> Container | None:
        found = self.by_name.get(connector.container_name())
        return self._look(found) if found else None

    def list(self, manager_id: str) -> list[Container]:
        return [each for each in self.by_name.values() if each.labels.get("opencti-manager") == manager_id]

    def deploy(self, connector: ApiConnector, labels: dict[str, str], envs: dict[str, str]) -> Container | None:
        if connector.image in self.unknown_images:
            return None
        name = connector.container_name()
        if name in self.by_name:
            return None  # the engine says that the name is taken
        self.by_name[name] = Container(name, connector.image, labels, envs)
        self.actions.append(("deploy", connector.id))
        if connector.requested_status == "starting":
            self.start(connector)
        return self.by_name[name]

    def start(self, connector: ApiConnector) -> None:
        container = self.by_name.get(connector.container_name())
        if container is None:
            return
        program = self.programs.get(container.image)
        if program:
            container.log_file = self.directory / f"{container.name}.log"
            with container.log_file.open("ab") as log:
                container.process = subprocess.Popen(
                    program, env=container.envs | {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"},
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        container.state = "running"
        container.started_at = now_as_engines_write()
        self.actions.append(("start", connector.id))

    def stop(self, connector: ApiConnector) -> None:
        container = self.by_name.get(connector.container_name())
        if container is None:
            return
        self._end(container)
        self.actions.append(("stop", connector.id))

    def remove(self, container: Container) -> None:
        self._end(container)
        del self.by_name[container.name]
        self.actions.append(("remove", container.labels["opencti-connector-id"]))

    @staticmethod
    def _end(container: Container) -> None:
        if container.process is not None and container.process.poll() is None:
            os.killpg(container.process.pid, signal.SIGKILL)
            container.process.wait()
        if container.state == "running":
            container.state = "exited"

    def close(self) -> None:
        for container in self.by_name.values():
            self._end(container)


class XtmComposer:
    """One composer. `clock` is monotonic seconds; tests move it instead of waiting."""

    def __init__(self, url: str, token: str, key: rsa.RSAPrivateKey, containers: Containers, *, manager_id: str,
                 name: str = "XTM Composer", clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        self.url, self.token, self.key, self.containers = url, token, key, containers
        self.manager_id, self.name, self.clock = manager_id, name, clock
        self.session = requests.Session()
        self.exchanges: list[Exchange] = []
        self.errors: list[str] = []
        self.undecryptable: list[str] = []
        self.version: str | None = None
        self.logs_reported = self.health_reported = clock()

    # --- the API ------------------------------------------------------------------------------------------------------------

    def run(self, operation: str, variables: dict[str, Any] | None = None) -> Any:
        """The root field of an operation; `None` where the original logs an error and goes on."""
        try:
            response = self.session.post(
                f"{self.url}/graphql",
                json={"query": OPERATIONS[operation], "variables": variables, "operationName": operation},
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=REQUEST_TIMEOUT,
            )
            answer = response.json()
        except (requests.RequestException, ValueError) as error:
            self.errors.append(f"{operation}: {type(error).__name__}")
            return None
        self.exchanges.append(Exchange(operation, variables, response.status_code, answer))
        if answer.get("errors"):
            self.errors.append(f"{operation}: {answer['errors'][0].get('message')}")
            return None
        if answer.get("data") is None:
            self.errors.append(f"{operation}: no data")
            return None
        found = answer["data"].get(ROOTS[operation])
        if found is None:
            self.errors.append(f"{operation}: null")
        return found

    def managed(self, given: dict[str, Any]) -> ApiConnector:
        """What the original makes of one connector of an answer."""
        for key in ("id", "name"):
            if not isinstance(given.get(key), str):
                raise Panic(f"{key} is {given.get(key)!r}: {given}")
        for key in ("manager_contract_hash", "manager_contract_image", "manager_requested_status", "manager_contract_configuration"):
            if given.get(key) is None:
                raise Panic(f"{key} is null: {given}")
        configuration = []
        for entry in given["manager_contract_configuration"]:
            value = entry.get("value") or ""
            if entry.get("encrypted"):
                try:
                    value = open_secret(self.key, value)
                except ValueError as error:
                    self.undecryptable.append(f"{entry['key']}: {error}")
                    value = ""
            configuration.append((entry["key"], value))
        return ApiConnector(
            given["id"], given["name"], given["manager_contract_image"], given["manager_contract_hash"],
            given["manager_current_status"], given["manager_requested_status"], configuration,
        )  # fmt: skip

    def listing(self) -> list[ApiConnector] | None:
        found = self.run("GetConnectors")
        return None if found is None else [self.managed(entry) for entry in found]

    def register(self) -> dict[str, Any] | None:
        return self.run("RegisterConnectorsManager", {"input": {"id": self.manager_id, "name": self.name, "public_key": public_pem(self.key)}})

    def ping(self) -> str | None:
        manager = self.run("UpdateConnectorManagerStatus", {"input": {"id": self.manager_id}})
        return manager and manager["about_version"]

    def report_status(self, connector_id: str, status: str) -> ApiConnector | None:
        found = self.run("UpdateConnectorCurrentStatus", {"input": {"id": connector_id, "status": status}})
        return None if found is None else self.managed(found)

    def report_logs(self, connector_id: str, logs: list[str]) -> str | None:
        return self.run("ReportConnectorLogs", {"input": {"id": connector_id, "logs": logs}})

    def report_health(self, connector_id: str, restart_count: int, started_at: str, in_reboot_loop: bool) -> str | None:
        given = {"id": connector_id, "restart_count": restart_count, "started_at": started_at, "is_in_reboot_loop": in_reboot_loop}
        return self.run("UpdateConnectorHealth", {"input": given})

    # --- the loops ----------------------------------------------------------------------------------------------------------

    def alive(self) -> None:
        """One turn of the alive loop: version, register, then pings; another version or a failed ping starts over."""
        if self.version is None:
            about = self.run("GetVersion")
            if about is None:
                return
            self.version = about["version"]
            self.register()
        version = self.ping()
        if version is None:
            self.version = None
        elif version != self.version:
            self.register()
            self.version = version

    def orchestrate(self) -> None:
        """One cycle."""
        connectors = self.listing()
        if connectors is None:
            return
        for connector in connectors:
            container = self.containers.get(connector)
            if container is None:
                if self._deploy(connector):
                    self.report_status(connector.id, "stopped")
            else:
                self._align(connector, container)
        wanted = {connector.id: connector for connector in connectors}
        for container in self.containers.list(self.manager_id):
            if container.labels.get("opencti-platform", "opencti") != "opencti":
                continue
            connector = wanted.get(container.labels["opencti-connector-id"])
            if connector is None or connector.container_name() != container.name:
                self.containers.remove(container)

    def _deploy(self, connector: ApiConnector) -> Container | None:
        labels = {"opencti-manager": self.manager_id, "opencti-connector-id": connector.id, "opencti-platform": "opencti"}
        envs = dict(connector.configuration) | {"OPENCTI_URL": self.url, "OPENCTI_CONFIG_HASH": connector.contract_hash}
        return self.containers.deploy(connector, labels, envs)

    def _align(self, connector: ApiConnector, container: Container) -> None:
        known = "started" if connector.current_status in ("started", "healthy", "running") else "stopped"
        seen = "started" if container.state == "running" else "stopped"
        now = self.clock()
        just_started = seen == "started" and known == "stopped"
        if just_started or (seen == "started" and now - self.health_reported >= HEALTH_SCHEDULE):
            self.report_health(connector.id, container.restart_count, container.started_at, container.in_reboot_loop())
            self.health_reported = now
        if seen != known:
            self.report_status(connector.id, seen)
        if container.envs["OPENCTI_CONFIG_HASH"] != connector.contract_hash:
            self.containers.remove(container)
            self._deploy(connector)
        starting = connector.requested_status == "starting"
        if not starting and seen == "started":
            self.containers.stop(connector)
        elif starting and seen == "stopped":
            self.containers.start(connector)
        if now - self.logs_reported >= LOGS_SCHEDULE:
            self.report_logs(connector.id, container.log[-100:])
            self.logs_reported = now
