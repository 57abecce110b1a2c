"""The yardsticks: what SQLite alone needs for the same rows, read from and written to a file of the platform's own layout."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = ROOT / "crates" / "model" / "registry"
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


def insert_rates(loaded: Path, scratch: Path, most: int = 100_000, batch: int = 10_000) -> tuple[float, float]:
    """Objects a second, by the clock and by the processor's, when prepared statements alone write the rows of the first objects into the same layout:
    objects, identifiers, references, full text, history, in transactions of `batch` objects, checkpoints included. The rows are in memory before the clock starts."""
    source = sqlite3.connect(f"file:{loaded}?mode=ro", uri=True)
    first, last = source.execute("SELECT min(iid), min(max(iid), min(iid) + ?) FROM object", (most,)).fetchone()
    reads = {
        "object": "SELECT * FROM object WHERE iid BETWEEN ? AND ?",
        "ident": "SELECT CAST(x'00' || internal AS BLOB), iid, 0 FROM object WHERE iid BETWEEN ?1 AND ?2 "
        "UNION ALL SELECT standard, iid, 0 FROM object WHERE iid BETWEEN ?1 AND ?2",
        "edge": "SELECT * FROM edge WHERE src BETWEEN ? AND ?",
        "search(rowid, name, body)": "SELECT iid, coalesce(name_key, ''), coalesce(json_extract(attributes, '$.description'), '') FROM object "
        "WHERE iid BETWEEN ? AND ?",
        "history": "SELECT * FROM history WHERE seq BETWEEN ? AND ?",
    }
    batches = [
        {table: source.execute(sql, (start, min(start + batch, last + 1) - 1)).fetchall() for table, sql in reads.items()} for start in range(first, last + 1, batch)
    ]
    layout = source.execute(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'search!_%' ESCAPE '!' AND name NOT LIKE 'sqlite%' ORDER BY type DESC"
    ).fetchall()
    source.close()

    db = sqlite3.connect(scratch, isolation_level=None)
    db.execute("PRAGMA page_size = 8192")
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -98304", "wal_autocheckpoint = 8192", "secure_delete = 0"):
        db.execute(f"PRAGMA {pragma}")
    for (sql,) in layout:
        # an option that older versions of SQLite, as Python may have them, do not know; inserting costs the same without it
        db.execute(sql.replace("contentless_delete=1,", ""))
    began, used = time.perf_counter(), time.process_time()
    for rows in batches:
        db.execute("BEGIN IMMEDIATE")
        for table, values in rows.items():
            if values:
                db.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(values[0]))})", values)
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    seconds, used = time.perf_counter() - began, time.process_time() - used
    db.close()
    return (last + 1 - first) / seconds, (last + 1 - first) / used


def sizes(file: Path) -> dict[str, int]:
    """Bytes of the database by table or index, free pages as `(free)`."""
    db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    found = dict(db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"))
    page = db.execute("PRAGMA page_size").fetchone()[0]
    found["(free)"] = page * db.execute("PRAGMA freelist_count").fetchone()[0]
    db.close()
    return found
