"""The only way in which a test waits: polling a condition until it holds or a deadline passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Deadline(AssertionError):
    """A condition did not become true in time; the message says which and what was last seen."""


class Hopeless(AssertionError):
    """Raised by a condition that can no longer become true: waiting ends at once."""


def wait_until(condition: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Polls `condition` and returns its first true value.

    An exception of the condition is no end (a server that restarts refuses connections for a while); the last
    one is shown when the deadline passes.
    """
    deadline = time.monotonic() + seconds
    pause, seen = 0.01, "nothing"
    while True:
        try:
            value = condition()
            if value:
                return value
            seen = repr(value)
        except (Deadline, Hopeless):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may succeed
            seen = f"{type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            raise Deadline(f"not within {seconds:g} s: {what}; last seen: {seen[:2000]}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
