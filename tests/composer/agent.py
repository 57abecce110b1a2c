"""`ferrocti composer` as an agent, and a proxy that counts what it asks."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness import wait_until
from harness.platform import BINARY, clean_environment


class Agent:
    """A running agent with a directory of its own."""

    def __init__(self, url: str, token: str, directory: Path, **settings: str) -> None:
        self.url, self.token, self.directory = url, token, directory
        self.settings = {f"FERROCTI_COMPOSER_{name.upper()}": value for name, value in ({"commands": "any", "docker": "off"} | settings).items()}
        self.log_file = directory.parent / f"{directory.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Agent:
        environment = clean_environment(FERROCTI_TOKEN=self.token, FERROCTI_COMPOSER_DIR=str(self.directory), **self.settings)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen([str(BINARY), "composer", "--url", self.url], env=environment, stdout=log, stderr=log)
        return self

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def says(self, word: str, seconds: float = 60) -> None:
        wait_until(lambda: word in self.log(), f"the agent says {word!r}; its log ends: {self.log()[-1500:]}", seconds)

    def terminate(self, seconds: float = 20) -> int:
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Agent:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class Counting:
    """A proxy in front of a platform that notes when each request came."""

    def __init__(self, upstream: str) -> None:
        self.requests: list[tuple[float, str]] = []
        self.open = True
        target = urlsplit(upstream).netloc
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                outer.requests.append((time.monotonic(), f"{self.command} {self.path}"))
                if not outer.open:
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                connection = http.client.HTTPConnection(target, timeout=90)
                headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "accept-encoding")}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                connection.close()

            do_GET = do_POST = pass_on  # noqa: N815 - names of the library

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def rate(self, seconds: float) -> float:
        """Requests a second within the last `seconds`."""
        since = time.monotonic() - seconds
        return sum(1 for at, _ in self.requests if at >= since) / seconds

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
