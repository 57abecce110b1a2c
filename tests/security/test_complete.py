"""Every numbered case is either tested or listed with the reason why it cannot be yet."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter

import security

from .cases import LAST, NOT_YET


def test_every_case_is_tested_or_listed_exactly_once():
    seen = Counter(NOT_YET.keys())
    modules = [module.name for module in pkgutil.iter_modules(security.__path__) if module.name.startswith("test_")]
    for name in modules:
        cases = getattr(importlib.import_module(f"security.{name}"), "CASES", None)
        if cases is not None:
            seen.update(cases.checks.keys())
    assert sorted(seen) == list(range(1, LAST + 1)), f"missing: {sorted(set(range(1, LAST + 1)) - set(seen))}"
    assert [number for number, times in seen.items() if times > 1] == []
    assert all(reason for reason in NOT_YET.values())
