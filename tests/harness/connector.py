"""Runs a connector of `tests/connectors` as its own process, on one of the installed pycti versions.

A connector tells the test what it does as lines of JSON on standard output (`{"event": "run", …}`) and is told to go on by lines on
standard input. Its log goes to a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from pathlib import Path
from typing import Any

from .platform import ROOT, Account, Platform, clean_environment
from .waiting import Hopeless, wait_until

VENVS = Path(os.environ.get("FERROCTI_VENVS", ROOT / "target" / "venvs"))
CONNECTORS = ROOT / "tests" / "connectors"
PYCTI_VERSIONS = ("7.260817.0", "7.261026.0", "6.9.29")


def python(version: str) -> str:
    """The interpreter of the environment that holds this version of pycti."""
    path = VENVS / f"pycti-{version}" / "bin" / "python"
    assert path.exists(), f"{path} is missing: run scripts/test setup"
    return str(path)


class Connector:
    """One running connector process."""

    def __init__(self, platform: Platform, script: str, version: str, account: Account, *, connector_id: str | None = None,
                 name: str | None = None, env: dict[str, Any] | None = None, log_dir: Path | None = None) -> None:  # fmt: skip
        self.id = connector_id or str(uuid.uuid4())
        self.name = name or script
        self.log_file = (log_dir or platform.directory) / f"connector-{self.name}-{self.id[:8]}.log".replace("/", "_")
        settings = {
            "OPENCTI_URL": platform.url,
            "OPENCTI_TOKEN": account.token,
            "CONNECTOR_ID": self.id,
            "CONNECTOR_NAME": self.name,
            "CONNECTOR_TYPE": "EXTERNAL_IMPORT",
            "CONNECTOR_SCOPE": "stix2",
            "CONNECTOR_LOG_LEVEL": "info",
        }
        for key, value in (env or {}).items():
            settings[key] = value if isinstance(value, str) else json.dumps(value)
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                [python(version), str(CONNECTORS / f"{script}.py")],
                env=clean_environment(**settings, PYTHONUNBUFFERED="1"),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "text", "text": line.rstrip("\n")}
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()

    def seen(self, event: str) -> list[dict[str, Any]]:
        """The events of this name so far, in order."""
        with self._changed:
            return [entry for entry in self.events if entry.get("event") == event]

    def wait_event(self, event: str, count: int = 1, seconds: float = 60) -> dict[str, Any]:
        """Waits for the `count`-th event of this name and returns it; fails at once when the connector ends before."""

        def arrived() -> dict[str, Any] | None:
            ended = self.process.poll() is not None
            if ended:
                self._reader.join()
            found = self.seen(event)
            if len(found) >= count:
                return found[count - 1]
            if ended:
                raise ConnectorEnded(self)
            return None

        try:
            return wait_until(arrived, f"{self.name}: event {event} no. {count}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def go_on(self, word: str = "go") -> None:
        """Tells a connector that waits on its standard input to continue."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def wait(self, seconds: float = 90) -> int:
        """Waits for the end of the process and returns its exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds:g} s\n{self.tail()}") from None
        self._reader.join()
        return status

    def finish(self, seconds: float = 90) -> Connector:
        """Waits for the end and demands success."""
        status = self.wait(seconds)
        assert status == 0, f"{self.name} ended with status {status}\n{self.tail()}"
        return self

    def kill(self) -> None:
        """Ends the process at once, as a power cut would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()

    def tail(self) -> str:
        """The end of the connector's log and its last events, for failure messages."""
        return f"events: {json.dumps(self.events[-5:])[:3000]}\nlog:\n{self.log()[-4000:]}"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def __enter__(self) -> Connector:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()


class ConnectorEnded(Hopeless):
    """The connector ended while the test waited for an event."""

    def __init__(self, connector: Connector) -> None:
        super().__init__(f"{connector.name} ended with status {connector.process.poll()}")
