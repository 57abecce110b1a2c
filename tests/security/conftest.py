"""Fixtures of the security tests: one platform a module, a world of own names a test."""

from __future__ import annotations

import pytest
from harness import Platform

from .world import Shared, World


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One running platform that the cases of a module share, and the roles that they have made on it."""
    with Platform(tmp_path_factory.mktemp("security")) as running:
        yield Shared(running)


@pytest.fixture
def world(shared, prefix) -> World:
    """A world whose names are this test's own."""
    return World(shared, prefix)
