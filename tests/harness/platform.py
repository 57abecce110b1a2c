"""A platform under test: the real binary on a data directory and ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from .waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("FERROCTI_BIN", ROOT / "target" / "debug" / "ferrocti"))

ADMIN_EMAIL = "admin@ferrocti.test"
ADMIN_PASSWORD = "correct horse battery staple"


class StartFailed(AssertionError):
    """The server ended instead of listening. `stderr` is what it said, `code` its exit status."""

    def __init__(self, code: int | None, stderr: str) -> None:
        super().__init__(f"the server did not start (exit status {code}):\n{stderr[-4000:]}")
        self.code = code
        self.stderr = stderr


class GraphQLError(AssertionError):
    """The first error of an answer, as clients read it."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.error = answer["errors"][0]
        self.message = self.error.get("message")
        self.name = self.error.get("name")
        self.data = self.error.get("data") or {}
        super().__init__(json.dumps(self.error)[:2000])


@dataclass(frozen=True)
class Account:
    """A user of the platform and its token."""

    name: str
    token: str


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without settings of a platform or connector, plus `extra`."""
    prefixes = ("FERROCTI_", "APP__", "OPENCTI_", "CONNECTOR_", "MQ_", "RUST_LOG")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    return kept | extra


def run_cli(*args: str | Path, env: dict[str, str] | None = None, timeout: float = 60, cwd: Path | None = None,
            stdin: str | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Runs `ferrocti ARGS…` to its end, with `stdin` to read, and returns status, stdout and stderr."""
    return subprocess.run(
        [str(BINARY), *map(str, args)],
        env=clean_environment(**(env or {})),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        input=stdin or "",
    )


class Platform:
    """`ferrocti serve`, started, stopped, killed and started again on the same ports and data."""

    def __init__(self, directory: Path, *, args: tuple[str, ...] = (), env: dict[str, str] | None = None) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data_dir = self.directory / "data"
        self.log_file = self.directory / "server.log"
        self.admin = Account(ADMIN_EMAIL, str(uuid.uuid4()))
        self.args = args
        self.env = env or {}
        self.port = 0
        self.amqp_port = 0
        self.process: subprocess.Popen[str] | None = None
        self.session = requests.Session()

    # --- life ---------------------------------------------------------------------------------------------------------------

    def start(self, seconds: float = 30) -> Platform:
        """Starts the server and returns when it listens."""
        assert self.process is None, "the server runs already"
        command = [
            str(BINARY), "serve", "--json", "--host", "127.0.0.1", "--data-dir", str(self.data_dir),
            "--port", str(self.port), "--amqp-port", str(self.amqp_port), *self.args,
        ]  # fmt: skip
        given = {
            "APP__ADMIN__EMAIL": ADMIN_EMAIL, "APP__ADMIN__PASSWORD": ADMIN_PASSWORD, "APP__ADMIN__TOKEN": self.admin.token,
            "FERROCTI_COMPOSER_ENABLED": "false",  # only the tests of the composer want one, which makes a key and looks for an engine
        }  # fmt: skip
        env = clean_environment(**given | self.env)
        offset = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("a") as log:
            process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        listening: dict[str, Any] = {}

        def read() -> None:
            for line in process.stdout:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and event.get("event") == "listening":
                    listening.update(event)

        threading.Thread(target=read, daemon=True).start()
        try:
            wait_until(lambda: listening or process.poll() is not None, "the server says that it listens", seconds)
        except AssertionError:
            process.kill()
            process.wait()
            raise
        if not listening:
            raise StartFailed(process.poll(), self.log_file.read_text()[offset:])
        self.process = process
        self.port = int(listening["http"].rsplit(":", 1)[1].rstrip("/"))
        self.amqp_port = int(listening["amqp"].rsplit(":", 1)[1])
        return self

    def kill(self) -> None:
        """kill -9: no chance to tidy up."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def terminate(self, seconds: float = 20) -> int:
        """SIGTERM; returns the exit status."""
        self._signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None

    def restart(self) -> Platform:
        """Ends the server gracefully and starts it on the same ports and data."""
        status = self.terminate()
        assert status == 0, f"exit status {status} after SIGTERM:\n{self.log()[-4000:]}"
        return self.start()

    def stop(self) -> None:
        """Ends the server if it runs; for the end of a test."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            self.process = None
        self.session.close()

    def __enter__(self) -> Platform:
        return self.start() if self.process is None else self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: int) -> None:
        assert self.process is not None, "the server does not run"
        self.process.send_signal(number)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        """What the server wrote to its standard error so far, over all starts."""
        return self.log_file.read_text(errors="replace")

    # --- addresses ----------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- API ----------------------------------------------------------------------------------------------------------------

    def post(self, query: str, variables: dict[str, Any] | None = None, *, token: str | None = None, path: str = "/graphql",
             headers: dict[str, str] | None = None, timeout: float = 60) -> requests.Response:  # fmt: skip
        """One request as clients send it: exactly `query` and `variables`. An empty token sends no credentials."""
        token = self.admin.token if token is None else token
        auth = {"Authorization": f"Bearer {token}"} if token else {}
        return self.session.post(
            self.url + path, json={"query": query, "variables": variables or {}}, headers=auth | (headers or {}), timeout=timeout
        )

    def graphql(self, query: str, variables: dict[str, Any] | None = None, *, token: str | None = None,
                headers: dict[str, str] | None = None, timeout: float = 60) -> dict[str, Any]:  # fmt: skip
        """Runs an operation and returns its data; raises `GraphQLError` for an answer with errors."""
        response = self.post(query, variables, token=token, headers=headers, timeout=timeout)
        assert response.status_code == 200, f"HTTP {response.status_code}: {response.text[:2000]}"
        answer = response.json()
        if answer.get("errors"):
            raise GraphQLError(answer)
        return answer["data"]

    def refused(self, query: str, variables: dict[str, Any] | None = None, *, token: str | None = None) -> dict[str, Any]:
        """Runs an operation that must be refused and returns the first error, whatever the HTTP status."""
        response = self.post(query, variables, token=token)
        answer = response.json()
        assert answer.get("errors"), f"accepted: {json.dumps(answer)[:1000]}"
        return answer["errors"][0]

    def resident_memory(self) -> int:
        """Bytes of memory that the server holds now (VmRSS)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the kernel reports no VmRSS")

    # --- command line -------------------------------------------------------------------------------------------------------

    def cli(self, *args: str | Path, timeout: float = 60, stdin: str | None = None, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """`ferrocti ARGS… --url … --token …` of the admin, or of who holds `token`, against this running server."""
        return run_cli(*args, "--url", self.url, "--token", token or self.admin.token, timeout=timeout, stdin=stdin)

    def add_connector_account(self, name: str) -> Account:
        """A service account for a connector, made by the command line as an operator makes it."""
        done = self.cli("user", "add-connector", name, "--json")
        assert done.returncode == 0, f"user add-connector failed: {done.stderr}"
        return Account(name, json.loads(done.stdout)["token"])

    def add_composer_account(self, name: str) -> Account:
        """An account that may be a composer and nothing else, made by the command line as an operator makes it."""
        done = self.cli("composer", "add", name, "--json")
        assert done.returncode == 0, f"composer add failed: {done.stderr}"
        return Account(name, json.loads(done.stdout)["token"])
