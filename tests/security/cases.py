"""The numbered cases of the security model: which test shows which one, and what is not there to be shown yet."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from .world import World

Check = Callable[[World], None]

LAST = 152

# Cases that need what this platform does not have yet. A case that is tested must not stand here.
NOT_YET = {
    23: "there is no second factor yet",
    40: "there are no drafts yet",
    44: "nothing can be marked as protected yet: the settings say that the protection is off",
    45: "nobody administrates an organisation yet: organisations are plain membership",
    46: "nobody administrates an organisation yet: organisations are plain membership",
    68: "there are no exports and no sharing yet, so nothing limits what may be shared",
    70: "there is no live stream yet",
    71: "there are no files yet",
    72: "nobody can ask a connector for an enrichment yet; the check itself runs inside the connector",
    116: "there are no streams yet, so no client knows an event id to send",
    121: "there are no background tasks yet",
    139: "organisations do not segregate yet: they are plain membership",
    140: "organisations do not segregate yet: they are plain membership",
    141: "organisations do not segregate yet: they are plain membership",
    142: "organisations do not segregate yet: they are plain membership",
    143: "organisations do not segregate yet: they are plain membership",
    144: "objects have no authorised members yet",
    145: "objects have no authorised members yet",
    146: "objects have no authorised members yet",
    147: "there are no dashboards yet",
    148: "there are no notifications yet",
}


class Cases:
    """The cases of one module, by number."""

    def __init__(self) -> None:
        self.checks: dict[int, tuple[str, Check]] = {}

    def case(self, number: int, says: str) -> Callable[[Check], Check]:
        """Registers a function as the check of a case; `says` is the behaviour in words."""

        def register(check: Check) -> Check:
            assert number not in self.checks, f"case {number} is there twice"
            self.checks[number] = (says, check)
            return check

        return register

    def parametrize(self) -> pytest.MarkDecorator:
        """One test per case, named by its number."""
        cases = [
            pytest.param(check, id=f"{number:03}-{re.sub('[^A-Za-z0-9]+', '-', says).strip('-')}")
            for number, (says, check) in sorted(self.checks.items())
        ]
        return pytest.mark.parametrize("check", cases)
