"""What the sample connectors share: telling the test what happens, and waiting for its word."""

import json
import os
import sys
from importlib.metadata import version

PYCTI = tuple(int(part) for part in version("pycti").split("."))


def emit(event, **details):
    """One line of JSON on standard output for the test that runs this connector."""
    print(json.dumps({"event": event, **details}), flush=True)


def wait_for_word():
    """Returns when the test says so."""
    return sys.stdin.readline().strip()


def bundles():
    """The bundle files that the test wants sent, as text."""
    for path in os.environ["TEST_BUNDLES"].split(os.pathsep):
        with open(path, encoding="utf-8") as file:
            yield file.read()


def initiate_work(helper, name, is_multipart=False):
    """`initiate_work` of either generation: the older one does not know works of several parts."""
    if PYCTI >= (7,):
        return helper.api.work.initiate_work(helper.connect_id, name, is_multipart=is_multipart)
    return helper.api.work.initiate_work(helper.connect_id, name)
