"""Drives the real `ferrocti` binary and real connectors: everything that the tests share."""

from .connector import Connector
from .platform import Account, GraphQLError, Platform, StartFailed, run_cli
from .waiting import Deadline, wait_until

__all__ = ["Account", "Connector", "Deadline", "GraphQLError", "Platform", "StartFailed", "run_cli", "wait_until"]
