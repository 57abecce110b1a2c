"""The platform under measurement: a process of its own on a temporary directory, and a client with as little overhead as Python allows."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

MIB = 1 << 20


class Client:
    """GraphQL over one kept HTTP connection, without a library, so that little but the server is timed."""

    def __init__(self, port: int, token: str) -> None:
        self.token = token
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self.socket.close()

    def request(self, body: bytes) -> bytes:
        """A whole HTTP request with this GraphQL body."""
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def encode(self, query: str, variables: dict[str, Any] | None = None) -> bytes:
        """The request of an operation."""
        return self.request(json.dumps({"query": query, "variables": variables or {}}).encode())

    def exchange(self, request: bytes) -> bytes:
        """Sends a request and returns the body of its answer."""
        self.socket.sendall(request)
        buffer = self.socket.recv(262_144)
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            buffer += self._more()
        head = buffer[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"refused: {buffer[:2000].decode(errors='replace')}")
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        parts, missing = [buffer[end + 4 :]], length - (len(buffer) - end - 4)
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        return b"".join(parts)

    def _more(self) -> bytes:
        more = self.socket.recv(262_144)
        if not more:
            raise RuntimeError("the server closed the connection")
        return more

    def run(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """An operation's data; errors are raised."""
        return data(self.exchange(self.encode(query, variables)))


def data(answer: bytes) -> dict[str, Any]:
    """The data of an answer; errors are raised."""
    parsed = json.loads(answer)
    if parsed.get("errors"):
        raise RuntimeError(json.dumps(parsed["errors"])[:2000])
    return parsed["data"]


class Server:
    """`ferrocti serve` on a data directory, with a fixed token for its administrator."""

    def __init__(self, binary: Path, directory: Path, extra: dict[str, str] | None = None) -> None:
        self.binary = binary
        self.directory = directory
        self.data_dir = directory / "data"
        self.token = str(uuid.uuid4())
        self.extra = extra or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> float:
        """Starts the server and returns the seconds from the start of the process to its first answer of a GraphQL query."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("FERROCTI_", "APP__", "RUST_LOG"))}
        command = [str(self.binary), "serve", "--json", "--host", "127.0.0.1", "--data-dir", str(self.data_dir), "--port", "0", "--amqp-port", "0"]
        log = (self.directory / "server.log").open("ab")
        began = time.perf_counter()
        self.process = subprocess.Popen(command, env=kept | {"APP__ADMIN__TOKEN": self.token} | self.extra, stdout=subprocess.PIPE, stderr=log)
        log.close()
        self.port = self._listening()
        client = self.client()
        client.run("query First { me { id } stixCoreObjects(first: 1) { edges { node { id } } } }")
        elapsed = time.perf_counter() - began
        client.close()
        return elapsed

    def _listening(self) -> int:
        buffer = b""
        while True:
            ready, _, _ = select.select([self.process.stdout], [], [], 120)
            more = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            if not more:
                raise RuntimeError(f"the server did not start:\n{self.log()[-4000:]}")
            buffer += more
            for line in buffer.split(b"\n")[:-1]:
                event = json.loads(line)
                if event.get("event") == "listening":
                    return int(event["http"].rstrip("/").rsplit(":", 1)[1])

    def client(self) -> Client:
        return Client(self.port, self.token)

    def stop(self) -> None:
        """Ends the server in order, which copies the write-ahead log into the database."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process = None

    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    # --- memory -------------------------------------------------------------------------------------------------------------

    def memory(self) -> dict[str, float]:
        """MiB: resident, of it anonymous and of files, the peak since the last `reset_peak`; and the number of threads."""
        found = {}
        names = {"VmRSS": "resident", "RssAnon": "anonymous", "RssFile": "file", "VmHWM": "peak", "Threads": "threads"}
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in names:
                number = int(value.split()[0])
                found[names[name]] = number if name == "Threads" else number / 1024
        return found

    def reset_peak(self) -> None:
        """Lets the peak of the resident memory start anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
