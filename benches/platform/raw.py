"""The yardsticks: what SQLite alone needs for the same rows, read from and written to a file of the platform's own layout."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = ROOT / "crates" / "model" / "registry"
SCHEMA = ROOT / "crates" / "store" / "schema"
#: References that the measured fields follow.
FOLLOWED = ("createdBy", "objectMarking", "objectLabel", "killChainPhases", "externalReferences")


def type_code(name: str) -> int:
    """The stored number of an entity type."""
    return json.loads((REGISTRY / "domain.json").read_text())[name]["code"]


class Reads:
    """The statements that the measured queries cannot do without: rows by index, their references, the rows that these lead to."""

    def __init__(self, file: Path) -> None:
        self.db = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
        self.db.execute("PRAGMA cache_size = -2048")
        references = json.loads((REGISTRY / "references.json").read_text())
        self.codes = ",".join(str(references[name]["code"]) for name in FOLLOWED)
        self.indicator = type_code("Indicator")

    def internal_ids(self, number: int) -> list[bytes]:
        """Internal ids of indicators, spread over the whole store."""
        return [row[0] for row in self.db.execute(
            "SELECT internal FROM object WHERE iid IN (SELECT iid FROM object WHERE type = ? ORDER BY random() LIMIT ?)", (self.indicator, number)
        )]  # fmt: skip

    def by_id(self, internal: bytes) -> int:
        """One object by its internal id with what it refers to; returns the number of rows."""
        self.db.execute("BEGIN")
        (iid,) = self.db.execute("SELECT iid FROM ident WHERE key = ?", (b"\0" + internal,)).fetchone()
        row = self.db.execute("SELECT * FROM object WHERE iid = ?", (iid,)).fetchone()
        rows = 1 + self._follow([row])
        self.db.execute("COMMIT")
        return rows

    def page(self) -> int:
        """Fifty indicators by an index, newest first, with what they refer to; returns the number of rows."""
        self.db.execute("BEGIN")
        rows = self.db.execute("SELECT * FROM object WHERE type = ? ORDER BY updated_at DESC LIMIT 50", (self.indicator,)).fetchall()
        total = len(rows) + self._follow(rows)
        self.db.execute("COMMIT")
        return total

    def _follow(self, rows: list[tuple]) -> int:
        sources = ",".join(str(row[0]) for row in rows)
        targets = {dst for _, dst in self.db.execute(f"SELECT src, dst FROM edge WHERE src IN ({sources}) AND ref IN ({self.codes})")}
        found = self.db.execute(f"SELECT * FROM object WHERE iid IN ({','.join(map(str, targets))})").fetchall()
        return len(found)

    def close(self) -> None:
        self.db.close()


def insert_rate(loaded: Path, scratch: Path, most: int = 100_000, batch: int = 10_000) -> float:
    """Rows of `object` a second when SQLite alone writes the same rows into the same layout, with identifiers, references, full text, history, checkpoints."""
    db = sqlite3.connect(scratch, isolation_level=None)
    db.execute("PRAGMA page_size = 8192")
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -98304", "wal_autocheckpoint = 8192", "secure_delete = 0"):
        db.execute(f"PRAGMA {pragma}")
    for migration in sorted(SCHEMA.glob("*.sql")):
        # an option that older versions of SQLite, as Python may have them, do not know; inserting costs the same without it
        db.executescript(migration.read_text().replace("contentless_delete=1,", ""))
    db.execute("DELETE FROM marking_set")
    db.execute(f"ATTACH 'file:{loaded}?mode=ro' AS loaded")
    first, last = db.execute("SELECT min(iid), min(max(iid), min(iid) + ?) FROM loaded.object", (most,)).fetchone()
    columns = ",".join(row[1] for row in db.execute("PRAGMA loaded.table_info(object)"))
    began = time.perf_counter()
    for start in range(first, last, batch):
        span = (start, min(start + batch, last) - 1)
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"INSERT INTO main.object({columns}) SELECT {columns} FROM loaded.object WHERE iid BETWEEN ? AND ?", span)
        db.execute(
            "INSERT INTO main.ident(key, iid, extra) SELECT CAST(x'00' || internal AS BLOB), iid, 0 FROM loaded.object WHERE iid BETWEEN ? AND ? "
            "UNION ALL SELECT standard, iid, 0 FROM loaded.object WHERE iid BETWEEN ? AND ?",
            span + span,
        )
        db.execute("INSERT INTO main.edge SELECT * FROM loaded.edge WHERE src BETWEEN ? AND ?", span)
        db.execute(
            "INSERT INTO main.search(rowid, name, body) SELECT iid, name_key, json_extract(attributes, '$.description') FROM loaded.object "
            "WHERE iid BETWEEN ? AND ? AND (name_key IS NOT NULL OR json_extract(attributes, '$.description') IS NOT NULL)",
            span,
        )
        db.execute("INSERT INTO main.history SELECT * FROM loaded.history WHERE seq BETWEEN ? AND ?", span)
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    seconds = time.perf_counter() - began
    db.close()
    return (last - first) / seconds


def sizes(file: Path) -> dict[str, int]:
    """Bytes of the database by table or index, free pages as `(free)`."""
    db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    found = dict(db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"))
    page = db.execute("PRAGMA page_size").fetchone()[0]
    found["(free)"] = page * db.execute("PRAGMA freelist_count").fetchone()[0]
    db.close()
    return found
