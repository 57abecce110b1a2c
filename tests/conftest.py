"""Fixtures: platforms, accounts, connectors, bundle files."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path

import pytest
from harness import Account, Connector, Platform
from harness.connector import PYCTI_VERSIONS


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    """One running platform that the tests share; each uses connectors and names of its own."""
    with Platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture
def make_platform(tmp_path):
    """Makes platforms that belong to one test; they are stopped at its end. Not started yet."""
    made = []

    def make(name: str = "platform", **options) -> Platform:
        made.append(Platform(tmp_path / name, **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture(params=PYCTI_VERSIONS, ids=lambda value: f"pycti-{value}")
def version(request) -> str:
    """Each of the client versions."""
    return request.param


@pytest.fixture
def prefix(request) -> str:
    """A word that is this test's own, for names."""
    return "t" + hashlib.sha256(f"{request.node.nodeid}{uuid.uuid4()}".encode()).hexdigest()[:10]


@pytest.fixture
def account(platform, prefix) -> Account:
    """A connector's service account on the shared platform."""
    return platform.add_connector_account(f"account {prefix}")


@pytest.fixture
def run_connector(platform, account, version, tmp_path):
    """Starts sample connectors on the shared platform under the client version of the test; they end with it."""
    started = []

    def run(script: str, **options) -> Connector:
        where = options.pop("on", platform)
        who = options.pop("account", account)
        started.append(Connector(where, script, version, who, log_dir=tmp_path, **options))
        return started[-1]

    yield run
    for connector in started:
        connector.__exit__()


@pytest.fixture
def bundle_files(tmp_path):
    """Writes bundles to files and returns the value for TEST_BUNDLES."""

    def write(*bundles: dict) -> str:
        paths = []
        for bundle in bundles:
            path = Path(tmp_path / f"bundle-{uuid.uuid4().hex[:8]}.json")
            path.write_text(json.dumps(bundle), encoding="utf-8")
            paths.append(str(path))
        return os.pathsep.join(paths)

    return write
