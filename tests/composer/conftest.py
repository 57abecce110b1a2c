"""Fixtures: keys, catalogs, platforms with and without a composer inside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from harness import Platform, stix, wait_until
from harness.connector import PYCTI_VERSIONS

from . import catalog, managed, xtm
from .engine import Engine, packed, python_root


@pytest.fixture(scope="session")
def key():
    """A composer's key; making one takes a second or more."""
    return xtm.new_key()


@pytest.fixture(scope="session")
def other_key():
    return xtm.new_key()


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A catalog of images as upstream's composer gets them: one that works, one that cannot be managed, one that is broken."""
    unsupported = catalog.contract("unsupported", "example/connector-unsupported", None, manager_supported=False)
    broken = catalog.contract("broken", "example/connector-broken", {"type": "object", "properties": {"BROKEN_KEY": {"type": "no such type"}}})
    runner = catalog.contract("runner", "example/connector-runner", catalog.schema({
        "CONNECTOR_TYPE": {"const": "EXTERNAL_IMPORT", "default": "EXTERNAL_IMPORT", "type": "string"},
        "CONNECTOR_DURATION_PERIOD": {"default": "PT1H", "format": "duration", "type": "string"},
        "TEST_BUNDLES": {"default": "", "type": "string"},
        "TEST_KEY": {"format": "password", "type": "string", "writeOnly": True, "default": None},
    }))  # fmt: skip
    return catalog.write(tmp_path_factory.mktemp("catalog") / "images.json", catalog.enrich(), unsupported, broken, runner)


@pytest.fixture(scope="module")
def bare(tmp_path_factory, images):
    """A running platform without a composer of its own."""
    with Platform(tmp_path_factory.mktemp("bare"), env={"FERROCTI_CATALOG_SOURCES": str(images)}) as running:
        yield running


class Host(Platform):
    """A platform with a composer inside, whose start is over when that has registered."""

    def start(self, seconds: float = 30) -> Platform:
        super().start(seconds)
        if self.env.get("FERROCTI_COMPOSER_ENABLED") == "true":
            wait_until(lambda: any(each["active"] for each in self.graphql(managed.MANAGERS)["connectorManagers"]), "its composer has registered", seconds)
        return self


def with_composer(platform: Platform, key, **settings: str) -> Platform:
    """A platform, not yet started, whose composer has this key and may run any program. Settings are those of `composer`, e.g. `commands`."""
    directory = platform.data_dir / "composer"
    directory.mkdir(parents=True)
    write_key(directory, key)
    given = {"enabled": "true", "commands": "any", "docker": "off"} | settings
    platform.env = platform.env | {f"FERROCTI_COMPOSER_{name.upper()}": value for name, value in given.items()}
    return platform


def write_key(directory: Path, key) -> Path:
    """The key as a composer keeps it; so that a test need not wait until one is made."""
    path = directory / "key.pem"
    path.touch(mode=0o600)
    kind = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    return path


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A catalog of programs: one connector in versions of which some are good, and others that show one thing each."""
    extra = {"IMPORT_MODE": {"default": "all", "type": "string"}}
    required = {"IMPORT_API_URL": {"type": "string", "format": "uri", "description": "Where from."}}
    dies = [sys.executable, "-u", str(catalog.PROGRAMS / "dies.py")]
    newest = PYCTI_VERSIONS[1]
    return catalog.write(
        tmp_path_factory.mktemp("catalog") / "programs.json",
        catalog.imports("1.0.0", newest),
        catalog.imports("1.1.0", newest, properties=extra),
        catalog.imports("2.0.0", newest, command=dies),
        catalog.imports("3.0.0", newest, properties=required, required=("IMPORT_API_URL",)),
        catalog.program("dies", "dies.py"),
        catalog.program("tells", "tells.py", properties={
            "TELL_TO": {"type": "string"},
            "TELL_KEY": {"format": "password", "type": "string", "writeOnly": True},
            "TELL_LEVEL": {"type": "string", "enum": ["low", "high"], "default": "low"},
        }, required=("TELL_TO", "TELL_KEY")),
        catalog.program("answers", "answers.py", properties={
            "ANSWER_TERM": {"type": "string", "default": "obey"},
            "ANSWER_KEY": {"format": "password", "type": "string", "writeOnly": True, "default": None},
        }),
    )  # fmt: skip


@pytest.fixture(scope="module")
def host(tmp_path_factory, programs, key):
    """A running platform with a composer inside that may run any program."""
    made = Host(tmp_path_factory.mktemp("host"), env={"FERROCTI_CATALOG_SOURCES": str(programs)})
    with with_composer(made, key) as running:
        yield running
    end_processes(made)


@pytest.fixture
def make_host(tmp_path, programs, key):
    """Makes platforms with a composer inside that belong to one test, not started yet; what they run ends with the test."""
    made = []

    def make(name: str = "host", *, on: Engine | None = None, **settings: str) -> Platform:
        platform = Host(tmp_path / name, env={"FERROCTI_CATALOG_SOURCES": str(programs)})
        made.append(with_engine(platform, on, key, **settings) if on else with_composer(platform, key, **settings))
        return made[-1]

    yield make
    for each in made:
        each.stop()
        end_processes(each)


def end_processes(platform: Platform) -> None:
    """Ends what a composer of this platform left running: connectors outlive it on purpose."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if f"OPENCTI_URL={platform.url}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)


# --- containers --------------------------------------------------------------------------------------------------------------------

ANSWERS_IMAGE = "test/answers:1"
DIES_IMAGE = "test/dies:1"
PYCTI_IMAGE = "test/pycti:1"
SLEEPS_IMAGE = "test/sleeps:1"


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """A Docker engine with images of the tests' connectors."""
    if os.geteuid() != 0:
        pytest.skip("an engine needs root")
    directory = tmp_path_factory.mktemp("engine")
    try:
        made = Engine(directory / "docker").start()
    except OSError as error:
        if os.environ.get("FERROCTI_REQUIRE_DOCKER"):
            raise
        pytest.skip(f"no engine can run here: {str(error)[-200:]}")
    python = ["/usr/bin/python3.11", "-u"]
    (directory / "small").mkdir()
    small = packed(python_root(directory / "small"))
    made.add_image(ANSWERS_IMAGE, small, [*python, "/app/answers.py"])
    made.add_image(DIES_IMAGE, small, [*python, "/app/dies.py"])
    made.add_image(SLEEPS_IMAGE, small, [*python, "/app/tells.py"], {"TELL_TO": "/tmp/told.json"})  # noqa: S108 - in a container
    yield made
    made.stop()


@pytest.fixture(scope="session")
def pycti_image(engine, tmp_path_factory):
    """The name of an image with an unmodified connector on an unmodified pycti."""
    directory = tmp_path_factory.mktemp("image")
    root = python_root(directory, PYCTI_VERSIONS[1])
    (root / "app/bundle.json").write_text(json.dumps(stix.bundle([stix.domain("malware", "container malware", is_family=False)])))
    engine.add_image(PYCTI_IMAGE, root, ["/usr/bin/python3.11", "-u", "/app/import_with_state.py"], {"PYTHONPATH": "/site"})
    shutil.rmtree(directory)
    return PYCTI_IMAGE


def with_engine(platform: Platform, engine: Engine, key, **settings: str) -> Platform:
    """A platform, not yet started, whose composer uses the engine. Containers are in the network of this machine, since the engine makes none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        platform.port = listener.getsockname()[1]
    return with_composer(platform, key, **{"docker": f"unix://{engine.socket}", "connector_url": platform.url} | settings)


@pytest.fixture(scope="module")
def dock(tmp_path_factory, engine, programs, key):
    """A running platform whose composer uses the engine."""
    made = Host(tmp_path_factory.mktemp("dock"), env={"FERROCTI_CATALOG_SOURCES": str(programs)})
    with with_engine(made, engine, key) as running:
        yield running
    end_processes(made)
