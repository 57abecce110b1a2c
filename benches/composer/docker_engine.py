"""A Docker engine of the benchmark's own, and its API as raw as it gets: what the composer is compared with."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "docker-test-engine"
#: Ignores SIGTERM for good, also in what it becomes.
DEAF = ["/bin/sh", "-c", "trap '' TERM; echo it runs; exec sleep 1000000"]
#: Ends at once when asked to.
OBEYS = ["/bin/sh", "-c", "echo it runs; exec sleep 1000000"]
#: Seconds for an answer of the engine.
PATIENCE = 60
#: What the raw containers are made with: as the composer makes its own.
HOST = {
    "RestartPolicy": {"Name": "no"},
    "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
    "Init": True,
    "NetworkMode": "none",
}


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


class Engine:
    """`dockerd` with its data under one directory, as `scripts/docker-test-engine` starts it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = ""
        self.kept = threading.local()

    def start(self) -> Engine:
        done = subprocess.run([str(SCRIPT), "start", str(self.directory)], capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the Docker engine did not start: {done.stderr[-2000:]}")
        self.socket = done.stdout.strip()
        root = self.directory / "root"
        self.image("bench/deaf:1", root, DEAF)
        self.image("bench/obeys:1", root, OBEYS)
        return self

    def stop(self) -> None:
        """Ends it with everything in it, also when it hangs."""
        with contextlib.suppress(OSError, RuntimeError, http.client.HTTPException):
            self.remove_all()
            subprocess.run([str(SCRIPT), "stop", str(self.directory)], capture_output=True, timeout=120, check=False)
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for line in Path("/proc/mounts").read_text().splitlines():
            if line.split()[1].startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", line.split()[1]], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """One request over this thread's kept connection, and its JSON; raises for a status that is none of success."""
        if not hasattr(self.kept, "connection"):
            self.kept.connection = _Connection(self.socket)
        connection = self.kept.connection
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            connection.request(method, f"/v1.41{path}", body, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            del self.kept.connection
            raise
        if answer.status >= 300 and answer.status != 304:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text) if text[:1] in (b"{", b"[") and b"\n{" not in text else None

    def image(self, name: str, root: Path, command: list[str]) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(root, arcname=".")
        repository, tag = name.split(":")
        query = urlencode([("fromSrc", "-"), ("repo", repository), ("tag", tag), ("changes", f"CMD {json.dumps(command)}")])
        self.ask("POST", f"/images/create?{query}", buffer.getvalue(), "application/x-tar")

    # --- raw containers -----------------------------------------------------------------------------------------------------

    def run(self, name: str, image: str) -> None:
        """Makes and starts a container: two requests, less than which nobody needs."""
        environment = [f"SETTING_{n}=value {n}" for n in range(12)]
        self.ask("POST", f"/containers/create?name={name}", {"Image": image, "Env": environment, "HostConfig": HOST, "Labels": {"bench": "raw"}})
        self.ask("POST", f"/containers/{name}/start")

    def run_many(self, prefix: str, image: str, number: int, at_a_time: int) -> None:
        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(lambda n: self.run(f"{prefix}-{n}", image), range(number)))

    def stop_many(self, prefix: str, number: int, grace: int) -> None:
        """All at once. An engine under load loses an answer now and then; such a container is asked again, as everybody would."""

        def one(n: int) -> None:
            try:
                self.ask("POST", f"/containers/{prefix}-{n}/stop?t={grace}")
            except TimeoutError:
                self.ask("POST", f"/containers/{prefix}-{n}/stop?t={grace}")

        with ThreadPoolExecutor(number) as pool:
            list(pool.map(one, range(number)))

    def remove_all(self, label: str | None = None) -> None:
        """Removes containers, running or not, with the label or all."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda each: self.ask("DELETE", f"/containers/{each['Id']}?force=1"), self.list(label)))

    def listen(self) -> Events:
        return Events(self.socket)

    # --- what is there ------------------------------------------------------------------------------------------------------

    def list(self, label: str | None = None, **filters: str) -> list[dict[str, Any]]:
        wanted = {key: [value] for key, value in filters.items()} | ({"label": [label]} if label else {})
        return self.ask("GET", "/containers/json?" + urlencode({"all": "1", "filters": json.dumps(wanted)})) or []

    def times(self, container: str) -> tuple[float, float]:
        """When it was started and when it ended, as the engine says."""
        state = self.ask("GET", f"/containers/{container}/json")["State"]
        return instant(state["StartedAt"]), instant(state["FinishedAt"])

    def processes(self) -> list[int]:
        """The engine's two servers. What they start for each container is not among it: that comes and goes."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                named = os.path.basename(command[0]) in (b"dockerd", b"containerd")
                if named and any(str(self.directory).encode() in word for word in command):
                    found.append(int(entry.name))
        return found


class Events:
    """When each connector's container last did what, as the engine tells everybody who listens to it. It keeps few events for those who ask later."""

    def __init__(self, path: str) -> None:
        self.seen: dict[tuple[str, str], float] = {}
        self.connection = _Connection(path)
        self.connection.request("GET", "/v1.41/events?" + urlencode({"filters": json.dumps({"type": ["container"]})}))
        self.connection.sock.settimeout(None)
        self.answer = self.connection.getresponse()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while line := self.answer.readline():
                event = json.loads(line)
                if connector := event["Actor"]["Attributes"].get("io.ferrocti.connector"):
                    self.seen[connector, event["Action"]] = event["timeNano"] / 1e9

    def when(self, action: str) -> dict[str, float]:
        """The time of this for each connector."""
        return {connector: at for (connector, what), at in self.seen.items() if what == action}

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.connection.close()


def instant(text: str) -> float:
    """Seconds since 1970 of the engine's words; the year 1 says never."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?", text)
    whole = datetime.fromisoformat(found[1] + "+00:00").timestamp() if not text.startswith("0001") else 0.0
    return whole + float(found[2] or 0)
