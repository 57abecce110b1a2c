"""Deterministic STIX 2.1 bundles for tests: the same seed makes the same bytes.

Domain objects carry ids of their own making (UUIDv5 under a namespace of ours, or random ones from the seeded generator), never the ids that a
platform would compute; observables carry the deterministic ids of the STIX specification (section 3.2) where the tests need them.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections import Counter
from typing import Any

NAMESPACE = uuid.UUID("5e1ab1e5-7e57-4da7-a5ee-d0fbad1c0de5")
SCO_NAMESPACE = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
CREATED = "2024-03-01T10:00:00.000Z"
TLP = {
    "white": "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "green": "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    "amber": "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    "red": "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
}

Object = dict[str, Any]


def own_id(stix_type: str, *parts: str) -> str:
    """An id that is a function of `parts`, and that no platform computes."""
    return f"{stix_type}--{uuid.uuid5(NAMESPACE, '|'.join((stix_type, *parts)))}"


def observable_id(stix_type: str, contributing: Object) -> str:
    """The specification's deterministic id of an observable."""
    canonical = json.dumps(contributing, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{stix_type}--{uuid.uuid5(SCO_NAMESPACE, canonical)}"


def domain(stix_type: str, name: str, **more: Any) -> Object:
    """A domain object with the common properties."""
    made = {
        "type": stix_type,
        "spec_version": "2.1",
        "id": own_id(stix_type, name),
        "created": CREATED,
        "modified": CREATED,
        "name": name,
    }
    return made | more


def relationship(kind: str, source: Object | str, target: Object | str, **more: Any) -> Object:
    """A relationship between two objects or ids."""
    ends = [end if isinstance(end, str) else end["id"] for end in (source, target)]
    made = {
        "type": "relationship",
        "spec_version": "2.1",
        "id": own_id("relationship", kind, *ends, str(more.get("start_time", ""))),
        "created": CREATED,
        "modified": CREATED,
        "relationship_type": kind,
        "source_ref": ends[0],
        "target_ref": ends[1],
    }
    return made | more


def ipv4(value: str, **more: Any) -> Object:
    return {"type": "ipv4-addr", "spec_version": "2.1", "id": observable_id("ipv4-addr", {"value": value}), "value": value} | more


def domain_name(value: str, **more: Any) -> Object:
    return {"type": "domain-name", "spec_version": "2.1", "id": observable_id("domain-name", {"value": value}), "value": value} | more


def file(content: str, **more: Any) -> Object:
    hashes = {"MD5": hashlib.md5(content.encode()).hexdigest(), "SHA-256": hashlib.sha256(content.encode()).hexdigest()}  # noqa: S324
    contributing = {"hashes": {"MD5": hashes["MD5"]}}
    return {"type": "file", "spec_version": "2.1", "id": observable_id("file", contributing), "hashes": hashes, "name": content} | more


def indicator(name: str, value: str, **more: Any) -> Object:
    return domain(
        "indicator", name, pattern=f"[ipv4-addr:value = '{value}']", pattern_type="stix", valid_from=CREATED,
        indicator_types=["malicious-activity"], **more,
    )  # fmt: skip


def bundle(objects: list[Object], **more: Any) -> Object:
    """A bundle whose id depends on its objects."""
    digest = hashlib.sha256(json.dumps([entry["id"] for entry in objects]).encode()).hexdigest()
    return {"type": "bundle", "id": f"bundle--{uuid.uuid5(NAMESPACE, digest)}", "objects": objects} | more


def counts(objects: list[Object]) -> Counter[str]:
    """How many distinct objects of each STIX type."""
    return Counter(identifier.split("--")[0] for identifier in {entry["id"] for entry in objects})


def mixed_feed(seed: int, size: int, prefix: str = "feed") -> Object:
    """About `size` objects of mixed kinds that refer to each other, as an import connector sends them.

    Names carry the prefix and the seed, so that feeds of different seeds share nothing but the author's class and the markings.
    """
    rng = random.Random(f"{prefix}/{seed}")
    tag = f"{prefix}-{seed}"
    author = domain("identity", f"{tag} author", identity_class="organization")
    objects: list[Object] = [author]
    common = {"created_by_ref": author["id"], "object_marking_refs": [TLP["green"]], "confidence": 60}
    malwares: list[Object] = []
    sets: list[Object] = []
    patterns: list[Object] = []
    groups = max(1, size // 12)
    for number in range(groups):
        label = f"{tag} {number}"
        malware = domain(
            "malware", f"{label} malware", is_family=True, aliases=[f"{label} alias"], malware_types=["trojan"],
            labels=[f"{prefix}-label-{number % 3}"],
            external_references=[{"source_name": tag, "external_id": f"M{number}", "url": f"https://example.org/{seed}/{number}"}], **common,
        )  # fmt: skip
        if rng.random() < 0.5:
            malware["id"] = f"malware--{uuid.UUID(int=rng.getrandbits(128), version=4)}"
        intrusion_set = domain("intrusion-set", f"{label} set", aliases=[f"{label} bear"], first_seen=CREATED, **common)
        pattern = domain(
            "attack-pattern", f"{label} technique", x_mitre_id=f"T{seed % 1000:03}{number:04}",
            kill_chain_phases=[{"kill_chain_name": "mitre-attack", "phase_name": ("execution", "persistence", "impact")[number % 3]}], **common,
        )  # fmt: skip
        address = f"{rng.randrange(1, 223)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        observable = ipv4(address, labels=[f"{prefix}-label-{number % 3}"])
        sample = file(f"{label} sample")
        sign = indicator(f"{label} indicator", address, **common)
        objects += [malware, intrusion_set, pattern, observable, sample, sign]
        objects += [
            relationship("uses", intrusion_set, malware, **common),
            relationship("uses", intrusion_set, pattern, **common),
            relationship("indicates", sign, malware, **common),
            relationship("based-on", sign, observable, **common),
        ]
        malwares.append(malware)
        sets.append(intrusion_set)
        patterns.append(pattern)
    for number, (malware, intrusion_set, pattern) in enumerate(zip(malwares, sets, patterns, strict=True)):
        objects.append(
            domain(
                "report", f"{tag} {number} report", published=CREATED, report_types=["threat-report"],
                object_refs=[malware["id"], intrusion_set["id"], pattern["id"]], **common,
            )  # fmt: skip
        )
    unique = {entry["id"]: entry for entry in objects}
    return bundle(list(unique.values()))
