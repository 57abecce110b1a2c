"""A platform whose connectors are managed, the composer inside or as an agent behind a proxy that counts, and what is asked of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

from report import Report, percentile
from server import Client, Server

__all__ = ["MARK", "NOWHERE", "Managed", "Report", "Server", "cpu", "end_marked", "marked", "percentile", "resident", "until"]

DEPLOY = "mutation Deploy($input: ManagedConnectorDeployInput!) { managedConnectorDeploy(input: $input) { connector { id } } }"
REQUEST = "mutation Request($input: RequestConnectorStatusInput!) { updateConnectorRequestedStatus(input: $input) { id } }"
STATES = "query States { connectors { id manager_current_status manager_state } }"
ONE = "query One($id: String!) { connector(id: $id) { manager_current_status manager_state manager_state_reason } }"
TOLD = "query Told { connectors { id manager_state manager_health_metrics { last_update } manager_connector_logs health { level } } }"
COMPOSERS = "query Composers { connectorManagers { id active } }"
TICKS = os.sysconf("SC_CLK_TCK")
#: In the environment of everything that is run, to find it again.
MARK = f"BENCH_RUN={uuid.uuid4()}"

#: The platform's address for what never asks it; one that changes with each start would be a change of every definition.
NOWHERE = "http://platform.invalid"


def until(condition: Callable[[], Any], what: str, seconds: float = 120, every: float = 0.05) -> Any:
    """What the condition is when it is true at last."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
    return found


def cpu(*pids: int) -> float:
    """Processor seconds of these processes and their waited-for children so far; of one that has gone nothing."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def resident(pid: int) -> float:
    """MiB in memory."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024


def marked() -> list[int]:
    """What was started by this run of the benchmark and lives."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if MARK.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def end_marked() -> None:
    """Connectors outlive their composer on purpose."""
    for pid in marked():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


class Managed:
    """A running platform with one composer."""

    def __init__(self, binary: Path, directory: Path, *, docker: str = "off", agent: bool = False) -> None:
        directory.mkdir(parents=True)
        self.binary, self.directory = binary, directory
        self.settings = {"FERROCTI_COMPOSER_COMMANDS": "any", "FERROCTI_COMPOSER_DOCKER": docker, "FERROCTI_COMPOSER_CONNECTOR_URL": NOWHERE}
        self.server = Server(binary, directory, {"FERROCTI_COMPOSER_ENABLED": "false"} if agent else self.settings)
        self.server.start()
        if docker == "off":
            # not that of the proxy: what connectors ask is not the composer's
            self.settings["FERROCTI_COMPOSER_CONNECTOR_URL"] = f"http://127.0.0.1:{self.server.port}"
        self.api = self.server.client()
        self.proxy: Counting | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        try:
            if agent:
                self._start_agent()
            until(lambda: [each for each in self.api.run(COMPOSERS)["connectorManagers"] if each["active"]], "the composer has registered")
        except BaseException:
            self.close()
            raise

    def _start_agent(self) -> None:
        self.proxy = Counting(self.server.port)
        made = subprocess.run(
            [str(self.binary), "composer", "add", "Bench", "--json", "--url", f"http://127.0.0.1:{self.server.port}", "--token", self.server.token],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("FERROCTI_", "APP__", "RUST_LOG"))}
        with (self.directory / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [str(self.binary), "composer", "--url", self.proxy.url, "--dir", str(self.directory / "agent")],
                env=kept | self.settings | {"FERROCTI_TOKEN": json.loads(made.stdout)["token"]}, stdout=log, stderr=log,
            )  # fmt: skip

    def close(self) -> None:
        if self.agent is not None:
            self.agent.terminate()
            self.agent.wait(30)
        self.api.close()
        self.server.stop()
        if self.proxy is not None:
            self.proxy.close()

    def __enter__(self) -> Managed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def composer(self) -> int:
        """The process of the composer."""
        return (self.agent or self.server.process).pid

    # --- connectors ---------------------------------------------------------------------------------------------------------

    def deploy(self, name: str, launch: dict[str, Any], *, environment: dict[str, str] | None = None, start: bool = True) -> str:
        key, _, value = MARK.partition("=")
        generic = {"title": "Stub", "type": "EXTERNAL_IMPORT", "launch": launch, "environment": {key: value} | (environment or {})}
        runtime = {"networks": ["none"]} if "image" in launch else {}
        given = {"name": name, "generic": generic, "runtime": runtime, "start": start}
        return self.api.run(DEPLOY, {"input": given})["managedConnectorDeploy"]["connector"]["id"]

    def request(self, connector: str, status: str) -> None:
        self.api.run(REQUEST, {"input": {"id": connector, "status": status}})

    def status(self, connector: str) -> str | None:
        return self.api.run(ONE, {"id": connector})["connector"]["manager_current_status"]

    def reported(self, connector: str, status: str, seconds: float = 60) -> float:
        """The time at which the platform says so."""

        def look() -> float | None:
            found = self.api.run(ONE, {"id": connector})["connector"]
            if found["manager_state"] == "failed":
                raise RuntimeError(found["manager_state_reason"])
            return time.time() if found["manager_current_status"] == status else None

        return until(look, f"{connector} is reported as {status}", seconds, 0.005)

    def states(self, api: Client | None = None) -> dict[str, str]:
        """What is said of each managed connector."""
        return {each["id"]: each["manager_current_status"] for each in (api or self.api).run(STATES)["connectors"] if each["manager_state"]}

    def watching(self) -> Watching:
        return Watching(self)

    def told(self) -> list[dict[str, Any]]:
        return [each for each in self.api.run(TOLD)["connectors"] if each["manager_state"]]


class Watching:
    """Asks every tenth of a second what is said of all connectors, and notes when something else was said for the first time."""

    def __init__(self, platform: Managed) -> None:
        self.seen: dict[tuple[str, str], float] = {}
        self.platform = platform
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        api = self.platform.server.client()
        before: dict[str, str] = {}
        while True:
            last = self.stopped.wait(0.1)
            states = self.platform.states(api)
            at = time.time()
            self.seen |= {each: at for each in states.items() - before.items()}
            before = states
            if last:
                break
        api.close()

    def after(self, happened: dict[str, float], status: str) -> list[float]:
        """How long after it had happened the status was said, for each connector, in order."""
        return sorted(self.seen[connector, status] - at for connector, at in happened.items())

    def __enter__(self) -> Watching:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()


class Counting:
    """Passes bytes on to the platform and back, and notes which operations were asked."""

    def __init__(self, port: int) -> None:
        self.requests: list[tuple[float, str]] = []
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(262_144):
                if counted and data.startswith((b"POST ", b"GET ")):
                    self.requests.append((time.monotonic(), data.split(b" ", 2)[1].split(b"?")[0].decode()))
                if counted and (named := re.search(rb'"operationName":\s*"(\w+)"', data)):
                    self.requests[-1] = (self.requests[-1][0], named[1].decode())
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def since(self, moment: float) -> Counter[str]:
        """How often what was asked."""
        return Counter(what for at, what in self.requests if at >= moment)

    def close(self) -> None:
        self.listener.close()
