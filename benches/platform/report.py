"""What was measured, each figure beside its goal."""

from __future__ import annotations

import json
import statistics
from pathlib import Path


class Report:
    """Lines of the table, printed as they come, and the raw figures for a file."""

    def __init__(self) -> None:
        self.figures: dict[str, object] = {}
        self.missed: list[str] = []

    def section(self, title: str) -> None:
        print(f"\n{title}", flush=True)

    def note(self, name: str, text: str, figure: object = None) -> None:
        """A figure without a goal."""
        self.figures[name] = figure
        print(f"       {name:<58} {text}", flush=True)

    def goal(self, name: str, value: float, limit: float, unit: str = "", *, at_least: bool = False, more: str = "") -> None:
        """A figure that has to be at most, or at least, `limit`."""
        good = value >= limit if at_least else value <= limit
        if not good:
            self.missed.append(name)
        self.figures[name] = {"value": value, "limit": limit, "at_least": at_least, "good": good}
        sign = "≥" if at_least else "≤"
        print(f"  {'ok  ' if good else 'MISS'} {name:<58} {value:,.2f}{unit}  (goal {sign} {limit:,.2f}{unit}){more and '  ' + more}", flush=True)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.figures, indent=1, default=str) + "\n")


def percentile(values: list[float], part: float) -> float:
    """The value below which this part of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def spread(seconds: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    return f"p50 {statistics.median(seconds) * 1e3:.2f} ms, p99 {percentile(seconds, 0.99) * 1e3:.2f} ms"
