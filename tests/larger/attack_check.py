"""ATT&CK in several versions, in order: what is stored must be what the bundles hold, counted here independently.

Which objects are the same one is decided by pycti's own identifier functions, by STIX ids and by aliases; relationships by their type and ends.
Runs in a pycti environment: python -m larger.attack_check DIR
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pycti
from harness import Platform, api

ORDER = [
    ("ics-attack", ["12.0", "14.1", "16.1", "18.1"]),
    ("mobile-attack", ["12.0", "14.1", "17.1"]),
]
# STIX type → (the platform's type, the class of pycti that computes its identifier)
KNOWN = {
    "attack-pattern": ("Attack-Pattern", pycti.AttackPattern),
    "campaign": ("Campaign", pycti.Campaign),
    "course-of-action": ("Course-Of-Action", pycti.CourseOfAction),
    "identity": ("Organization", pycti.Identity),
    "intrusion-set": ("Intrusion-Set", pycti.IntrusionSet),
    "malware": ("Malware", pycti.Malware),
    "tool": ("Tool", pycti.Tool),
    "x-mitre-data-component": ("Data-Component", pycti.DataComponent),
    "x-mitre-data-source": ("Data-Source", pycti.DataSource),
}
# Types of ATT&CK that the data model has no place for: refused, with this reason and no other.
UNKNOWN = {"x-mitre-collection", "x-mitre-matrix", "x-mitre-tactic", "x-mitre-asset", "x-mitre-analytic", "x-mitre-detection-strategy"}
# A group that was revoked by another one which carries its name as an alias is one group here: the relationship between them would point to itself.
TO_ITSELF = "(revoked-by): a relationship cannot point from an object to itself"


class Expected:
    """What a platform must hold after the bundles so far."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}
        self.kind: dict[str, str] = {}
        self.relations: set[tuple[str, str, str]] = set()

    def find(self, name: str) -> str:
        self.parent.setdefault(name, name)
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def unite(self, a: str, b: str) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self.parent[b] = a

    def add(self, objects: list[dict]) -> None:
        for entry in objects:
            if entry["type"] in KNOWN:
                maker = KNOWN[entry["type"]][1]
                names = [entry["id"], maker.generate_id_from_data(with_mitre_id(entry))]
                aliases = entry.get("aliases") or entry.get("x_mitre_aliases") or []
                names += [maker.generate_id(alias) for alias in aliases] if entry["type"] not in ("attack-pattern", "course-of-action") else []
                for name in names:
                    self.unite(names[0], name)
                self.kind[entry["id"]] = KNOWN[entry["type"]][0]
        self.relations |= {(entry["relationship_type"], entry["source_ref"], entry["target_ref"]) for entry in objects if entry["type"] == "relationship"}

    def counts(self) -> Counter:
        groups: dict[str, str] = {}
        for identifier, kind in self.kind.items():
            groups[self.find(identifier)] = kind
        found = Counter(groups.values())
        ends = [(kind, source, target) for kind, source, target in self.relations if source in self.kind and target in self.kind]
        joined = {(kind, self.find(source), self.find(target)) for kind, source, target in ends}
        found["stix-core-relationship"] = sum(source != target for _, source, target in joined)
        return found


def with_mitre_id(entry: dict) -> dict:
    """The ATT&CK id as the client finds it: in the external references of MITRE."""
    for reference in entry.get("external_references", []):
        if reference.get("source_name", "").startswith("mitre-") and "external_id" in reference:
            return entry | {"x_mitre_id": reference["external_id"]}
    return entry


def stored(platform: Platform) -> Counter:
    kinds = [kind for kind, _ in KNOWN.values()] + ["stix-core-relationship"]
    return Counter({kind: api.count(platform, kind) for kind in kinds})


def history_position(platform: Platform) -> int:
    """The sequence number of the last history event; the platform is stopped for the look."""
    assert platform.terminate() == 0
    database = sqlite3.connect(f"file:{platform.data_dir / 'ferrocti.db'}?mode=ro", uri=True)
    try:
        (position,) = database.execute("SELECT max(seq) FROM history").fetchone()
    finally:
        database.close()
    platform.start()
    return position


def send(platform: Platform, path: Path) -> tuple[dict, float]:
    began = time.monotonic()
    done = platform.cli("import", path, "--json", timeout=900)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)["files"][0], time.monotonic() - began


def check(directory: Path, platform: Platform, domain: str, versions: list[str]) -> list[str]:
    """Each domain on a platform of its own, so that its counts are its own."""
    problems: list[str] = []
    base, expected = stored(platform), Expected()
    for version in versions:
        path = directory / f"{domain}-{version}.json"
        objects = json.loads(path.read_text(encoding="utf-8"))["objects"]
        report, seconds = send(platform, path)
        expected.add(objects)
        wanted, found = expected.counts(), stored(platform) - base
        wrong = {kind: (wanted[kind], found[kind]) for kind in wanted if wanted[kind] != found[kind]}
        if wrong:
            problems.append(f"{path.name}: expected and stored differ: {wrong}")
        if report["expected"] != report["processed"] or report["expected"] != len({entry["id"] for entry in objects}):
            problems.append(f"{path.name}: {len(objects)} objects, expected {report['expected']}, processed {report['processed']}")
        unjustified = [error for error in report["errors"] if not any(kind in json.dumps(error) for kind in (*UNKNOWN, TO_ITSELF))]
        problems += [f"{path.name}: {json.dumps(error)[:600]}" for error in unjustified[:10]]
        before = history_position(platform)
        again, seconds_again = send(platform, path)
        after = history_position(platform)
        if before != after:
            problems.append(f"{path.name}: sending it again made {after - before} history events")
        if stored(platform) - base != found:
            problems.append(f"{path.name}: sending it again changed the counts")
        print(f"{path.name}: {len(objects)} objects in {seconds:.1f} s, again in {seconds_again:.1f} s, {len(report['errors'])} refused, stored {dict(found)}", flush=True)
        del again
    return problems


def main() -> int:
    directory = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        problems: list[str] = []
        for domain, versions in ORDER:
            with Platform(Path(scratch) / domain) as platform:
                problems += check(directory, platform, domain, versions)
    for problem in problems:
        print("PROBLEM", problem)
    print("attack check:", "FAILED" if problems else "passed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
