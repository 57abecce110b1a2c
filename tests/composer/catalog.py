"""Catalogs that the tests make: contracts as upstream's catalog has them, and contracts of programs that run as processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness.connector import CONNECTORS, python

CATALOG = "test-catalog"
ENRICH_IMAGE = "example/connector-enrich"
PROGRAMS = Path(__file__).parent / "programs"


def schema(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """A schema as upstream's generator writes it: what every connector has, and `properties`."""
    common = {
        "OPENCTI_URL": {"description": "The platform.", "format": "uri", "maxLength": 2083, "minLength": 1, "type": "string"},
        "OPENCTI_TOKEN": {"description": "The token.", "type": "string"},
        "CONNECTOR_NAME": {"default": "A connector", "type": "string"},
        "CONNECTOR_SCOPE": {"default": ["stix2"], "items": {"type": "string"}, "type": "array"},
        "CONNECTOR_LOG_LEVEL": {"default": "error", "enum": ["debug", "info", "warn", "warning", "error"], "type": "string"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.org/connectors/test_config.schema.json",
        "type": "object",
        "properties": common | properties,
        "required": ["OPENCTI_URL", "OPENCTI_TOKEN", *required],
        "additionalProperties": True,
    }


def contract(slug: str, image: str, config_schema: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """A contract in upstream's older format."""
    return {
        "title": slug.replace("-", " ").title(), "slug": slug, "description": f"What {slug} does.", "short_description": f"{slug} in short.",
        "logo": None, "use_cases": ["Other"], "solution_categories": ["Other"], "license_type": "Free", "contact": None, "verified": True,
        "last_verified_date": "2026-01-01", "playbook_supported": False, "max_confidence_level": 75, "support_version": ">= 5.6.1",
        "subscription_link": None, "source_code": "https://example.org", "manager_supported": True, "container_version": "rolling",
        "container_image": image, "container_type": "EXTERNAL_IMPORT", "config_schema": config_schema,
    } | more  # fmt: skip


def enrich() -> dict[str, Any]:
    """An image with a mandatory secret and a setting of every kind."""
    properties = {
        "CONNECTOR_TYPE": {"const": "INTERNAL_ENRICHMENT", "default": "INTERNAL_ENRICHMENT", "type": "string"},
        "CONNECTOR_AUTO": {"default": True, "description": "Whether by itself.", "type": "boolean"},
        "ENRICH_TOKEN": {"description": "The key.", "format": "password", "type": "string", "writeOnly": True},
        "ENRICH_MAX_TLP": {"default": "TLP:AMBER", "enum": ["TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"], "type": "string"},
        "ENRICH_PAGE": {"default": 50, "minimum": 1, "maximum": 100, "type": "integer"},
    }
    return contract("enrich", ENRICH_IMAGE, schema(properties, ("ENRICH_TOKEN",)), container_type="INTERNAL_ENRICHMENT")


def imports(version: str, pycti: str, *, script: str = "import_with_state", properties: dict[str, Any] | None = None,
            required: tuple[str, ...] = (), command: list[str] | None = None) -> dict[str, Any]:  # fmt: skip
    """A version of a contract that runs a connector of `tests/connectors` on an unmodified pycti, as a process."""
    own = {
        "CONNECTOR_TYPE": {"const": "EXTERNAL_IMPORT", "default": "EXTERNAL_IMPORT", "type": "string"},
        "CONNECTOR_DURATION_PERIOD": {"default": "PT1H", "format": "duration", "type": "string"},
        "TEST_BUNDLES": {"default": "", "type": "string"},
        "TEST_KEY": {"format": "password", "type": "string", "writeOnly": True, "default": None},
    }
    launch = {"command": command or [python(pycti), "-u", str(CONNECTORS / f"{script}.py")]}
    return contract(
        "import", "example/connector-import", schema(own | (properties or {}), required), container_version=version, launch=launch
    )


def program(slug: str, name: str, *, properties: dict[str, Any] | None = None, required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A contract that runs a program of `programs/`."""
    own = {"CONNECTOR_TYPE": {"const": "EXTERNAL_IMPORT", "default": "EXTERNAL_IMPORT", "type": "string"}}
    launch = {"command": [sys.executable, "-u", str(PROGRAMS / name)]}
    return contract(slug, f"example/{slug}", schema(own | (properties or {}), required), launch=launch, **more)


def write(path: Path, *contracts: Any, catalog: str = CATALOG) -> Path:
    """A manifest in upstream's older format."""
    path.write_text(json.dumps({"id": catalog, "name": "Contracts of the tests", "description": "", "version": "rolling", "contracts": list(contracts)}))
    return path
