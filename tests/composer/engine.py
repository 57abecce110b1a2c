"""A Docker engine of the tests' own: started, restarted, asked, and given images that are made from files of this machine, since nothing can be pulled."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from harness import wait_until
from harness.connector import CONNECTORS, VENVS
from harness.platform import ROOT

from .catalog import PROGRAMS

SCRIPT = ROOT / "scripts" / "docker-test-engine"
LEFT_OUT = ("__pycache__", "test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "pip", "setuptools", "turtledemo")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=120)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(self.path)


class Engine:
    """A `dockerd` with its data under one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = ""

    def start(self) -> Engine:
        done = subprocess.run([str(SCRIPT), "start", str(self.directory)], capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            log = self.directory / "log"
            raise OSError(done.stderr + (log.read_text()[-2000:] if log.exists() else ""))
        self.socket = done.stdout.strip()
        return self

    def stop(self) -> None:
        """Ends it with everything in it. An engine leaves a mount of a network behind, which is taken away too."""
        subprocess.run([str(SCRIPT), "stop", str(self.directory)], capture_output=True, timeout=300, check=False)
        for line in Path("/proc/mounts").read_text().splitlines():
            if line.split()[1].startswith(f"{self.directory}/"):
                subprocess.run(["umount", line.split()[1]], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def restart(self) -> None:
        """Ends the engine, as the machine's administrator would, and starts it on its data. Containers end with it."""
        pid = int((self.directory / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2], "the engine has ended", 60)
        self.start()

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        """One request of the engine's API; raises for a status that is none of success."""
        connection = _UnixConnection(self.socket)
        try:
            connection.request(method, f"/v1.41{path}", body, {"Content-Type": kind, "Host": "docker"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise OSError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
            return json.loads(text) if text[:1] in (b"{", b"[") and b"\n{" not in text else text
        finally:
            connection.close()

    def containers(self, connector_id: str | None = None) -> list[dict[str, Any]]:
        """Containers that a composer of ours made, of one connector or of all, whatever their state."""
        label = "io.ferrocti.connector" + (f"={connector_id}" if connector_id else "")
        query = urlencode({"all": "1", "filters": json.dumps({"label": [label]})})
        return self.ask("GET", f"/containers/json?{query}")

    def running(self, connector_id: str) -> list[str]:
        return [each["Id"] for each in self.containers(connector_id) if each["State"] == "running"]

    def inspect(self, container: str) -> dict[str, Any]:
        return self.ask("GET", f"/containers/{container}/json")

    def add_image(self, name: str, root: Path | bytes, command: list[str], environment: dict[str, str] | None = None) -> None:
        """An image from a root file system."""
        changes = [f"CMD {json.dumps(command)}", *(f"ENV {key}={value}" for key, value in (environment or {}).items())]
        repository, tag = name.split(":")
        query = urlencode([("fromSrc", "-"), ("repo", repository), ("tag", tag), *(("changes", each) for each in changes)])
        self.ask("POST", f"/images/create?{query}", root if isinstance(root, bytes) else packed(root), "application/x-tar")


def packed(root: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(root, arcname=".")
    return buffer.getvalue()


def _libraries(*files: Path) -> set[str]:
    """The shared libraries that these files need, by asking the dynamic linker."""
    found = set()
    for start in range(0, len(files), 50):
        done = subprocess.run(["ldd", *map(str, files[start : start + 50])], capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            path = next((word for word in line.split() if word.startswith("/") and not word.endswith(":")), None)
            if path and os.path.exists(path):  # noqa: PTH110 - a text
                found.add(path)
    return found


def python_root(directory: Path, pycti: str | None = None) -> Path:
    """A root file system with this machine's Python, the programs of the tests, and a pycti if one is named."""
    standard = Path(sysconfig.get_paths()["stdlib"])
    program = Path(os.path.realpath("/proc/self/exe"))
    root = directory / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "app").mkdir()
    shutil.copy2(program, root / "usr/bin/python3.11")
    ignore = shutil.ignore_patterns(*LEFT_OUT, "*.a", "config-3*", "dist-packages", "site-packages")
    shutil.copytree(standard, root / str(standard).lstrip("/"), ignore=ignore, symlinks=False)
    for each in (*PROGRAMS.glob("*.py"), *CONNECTORS.glob("*.py")):
        shutil.copy2(each, root / "app")
    native = [program, *standard.rglob("*.so")]
    if pycti:
        site = VENVS / f"pycti-{pycti}" / "lib" / "python3.11" / "site-packages"
        shutil.copytree(site, root / "site", ignore=shutil.ignore_patterns("__pycache__", "pip", "setuptools", "tests"))
        native += site.rglob("*.so*")
    for library in _libraries(*native):
        if str(standard) in library or str(VENVS) in library:
            continue
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, target)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/false\n")
    return root
