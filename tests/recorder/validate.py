"""Validates recorded documents and variables against the served SDL."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode, build_schema, parse, validate
from graphql.execution.values import get_variable_values

from harness.connector import python
from harness.platform import clean_environment

HERE = Path(__file__).resolve().parent


@dataclass
class Report:
    """What became of the documents of one client version."""

    client: str
    recorded: dict[str, Any]
    valid: int = 0
    valid_of_release: int = 0
    of_release: int = 0
    failures: list[str] = field(default_factory=list)
    unknown_fields: list[str] = field(default_factory=list)
    allowed_unused: list[str] = field(default_factory=list)
    roots_seen: set[tuple[str, str]] = field(default_factory=set)

    @property
    def total(self) -> int:
        return len(self.recorded["documents"])


def record(version: str) -> dict[str, Any]:
    """Runs the recorder inside the environment of this client version."""
    done = subprocess.run(
        [python(version), str(HERE / "record.py")], capture_output=True, text=True, timeout=180, check=False, env=clean_environment()
    )
    assert done.returncode == 0 and done.stdout, f"the recorder failed: {done.stderr[-3000:]}"
    return json.loads(done.stdout)


def load_schema(path: Path) -> GraphQLSchema:
    return build_schema(path.read_text(encoding="utf-8"))


def check(schema: GraphQLSchema, recorded: dict[str, Any], allowed: list[dict[str, Any]]) -> Report:
    """Validates every document; a failure counts when all its root fields exist in the schema, that is when the operation is of this release."""
    report = Report(recorded["client"], recorded)
    roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
    exceptions = [entry for entry in allowed if report.client in entry["clients"]]
    used = set()
    for entry in recorded["documents"]:
        text, where = entry["document"], ", ".join(entry["sites"][:2])
        excuse = next((number for number, exception in enumerate(exceptions) if exception["contains"] in text), None)
        try:
            document = parse(text)
        except GraphQLError as error:
            if excuse is None:
                report.failures.append(f"{where}: does not parse: {error.message}")
            else:
                used.add(excuse)
            continue
        operation = next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
        kind = operation.operation.value
        fields = [selection.name.value for selection in operation.selection_set.selections]
        report.roots_seen |= {(kind, name) for name in fields}
        ours = roots[kind] is not None and all(name in roots[kind].fields for name in fields)
        report.of_release += ours
        errors = validate(schema, document, max_errors=10)
        if not errors:
            report.valid += 1
            report.valid_of_release += ours
            report.unknown_fields += [f"{where}: {message}" for message in unknown_variable_fields(schema, operation, entry["variables"])]
        elif ours and excuse is None:
            messages = "; ".join(error.message for error in errors[:3])
            report.failures.append(f"{where} ({kind} {', '.join(fields)}): {messages}")
        elif ours:
            used.add(excuse)
    report.allowed_unused = [exception["reason"] for number, exception in enumerate(exceptions) if number not in used]
    return report


UNKNOWN = re.compile(r"unknown field|is not defined by type")


def unknown_variable_fields(schema: GraphQLSchema, operation: OperationDefinitionNode, recorded: list[dict[str, Any]]) -> list[str]:
    """Input fields in the variables that really went out but that our input types lack. Values are made up, so other errors say nothing."""
    found = set()
    for variables in recorded:
        values = get_variable_values(schema, operation.variable_definitions or [], variables)
        errors = values if isinstance(values, list) else []
        found |= {error.message[:300] for error in errors if UNKNOWN.search(error.message)}
    return sorted(found)


def load_allowed() -> list[dict[str, Any]]:
    return json.loads((HERE / "allowed.json").read_text())["allowed"]


def main() -> None:
    """Prints the report of all client versions: python -m recorder.validate [SCHEMA]."""
    import sys

    from harness.connector import PYCTI_VERSIONS
    from harness.platform import ROOT

    schema = load_schema(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "schema.graphql")
    for version in os.environ.get("CLIENTS", " ".join(PYCTI_VERSIONS)).split():
        report = check(schema, record(version), load_allowed())
        print(f"pycti {version}: {report.valid} of {report.total} documents validate; of this release {report.valid_of_release} of {report.of_release}")
        for line in (*report.failures, *report.unknown_fields):
            print("  ", line[:400])


if __name__ == "__main__":
    main()
