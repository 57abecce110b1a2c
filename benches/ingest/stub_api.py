"""An API that answers what pycti's import path asks, at once: the upper bound of a platform behind pycti's worker path.

Plain sockets and answers made in advance, so that its own time (some 0.05 ms a call, on another core) hardly counts. Run as a process of its own:
prints the port, serves until killed.
"""

import json
import re
import socket
import threading

ROOT = re.compile(rb"\{\s*(?:\\n\s*)*([A-Za-z]+)")
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
ID = "6f1b1c1e-7d49-4a53-9d2e-0d6f9f3f0a11"
EMPTY = {"edges": [], "pageInfo": {"startCursor": "", "endCursor": "", "hasNextPage": False, "hasPreviousPage": False, "globalCount": 0}}
answers = {}


def answer(root):
    """The whole HTTP answer for a root field."""
    if root not in answers:
        name = root.decode()
        if name == "about":
            value = {"version": "7.0.0"}
        elif name == "vocabularyCategories":
            value = []
        elif name == "workEdit":
            value = {"reportExpectation": "ok", "addExpectations": "ok", "toProcessed": "ok", "toReceived": "ok"}
        elif name.endswith("Add"):
            kind = name[0].upper() + name[1:-3]
            value = {"id": ID, "standard_id": "x", "name": "x", "value": "x", "entity_type": kind, "parent_types": [], "observables": {"edges": []}}
        else:
            value = EMPTY
        body = json.dumps({"data": {name: value}}).encode()
        answers[root] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    return answers[root]


def serve(connection):
    """Requests of one connection, one after the other."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = b""
    while True:
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            chunk = connection.recv(262144)
            if not chunk:
                return
            buffer += chunk
        length = int(LENGTH.search(buffer, 0, end).group(1))
        while len(buffer) < end + 4 + length:
            buffer += connection.recv(262144)
        body, buffer = buffer[end + 4 : end + 4 + length], buffer[end + 4 + length :]
        connection.sendall(answer(ROOT.search(body, body.index(b'"query"') + 8).group(1)))


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
