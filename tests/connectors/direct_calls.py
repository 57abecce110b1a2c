"""A connector that calls the entity API directly: create, create again, read, filter, search and page through every type the client offers.

Tells one event per type, `type` with `failures`: what came back otherwise than it went in.
TEST_PREFIX: put into every name, so that several connectors do not meet.
"""

import hashlib
import os
import traceback

from common import PYCTI, emit
from pycti import OpenCTIConnectorHelper

DATE = "2024-02-03T04:05:06.000Z"
LATER = "2024-03-04T05:06:07.000Z"
P = os.environ["TEST_PREFIX"]
DIGEST = hashlib.sha256(P.encode()).hexdigest()
NUMBER = int(DIGEST[:6], 16)
OWN_DATE = f"2024-02-03T04:05:06.{NUMBER % 1000:03}Z"  # an opinion is identified by this and its one word

# name of the client's member → what to create. `_` stands for members with several kinds.
DOMAIN = {
    "attack_pattern": {"name": f"{P} technique", "description": "d", "x_mitre_id": f"T{NUMBER}", "x_mitre_platforms": ["linux"]},
    "campaign": {"name": f"{P} campaign", "objective": "money", "first_seen": DATE, "last_seen": LATER},
    "case_incident": {"name": f"{P} case", "severity": "high", "priority": "P2", "created": DATE},
    "case_rfi": {"name": f"{P} rfi", "severity": "low", "priority": "P3", "created": DATE},
    "case_rft": {"name": f"{P} rft", "severity": "low", "priority": "P3", "created": DATE},
    "channel": {"name": f"{P} channel", "aliases": [f"{P} feed"], "channel_types": ["Twitter"]},
    "course_of_action": {"name": f"{P} course", "description": "patch it", "x_mitre_id": f"M{NUMBER}"},
    "data_component": {"name": f"{P} component", "description": "d"},
    "data_source": {"name": f"{P} source", "description": "d", "platforms": ["linux"], "collection_layers": ["host"]},
    "event": {"name": f"{P} event", "event_types": ["conference"], "start_time": DATE, "stop_time": LATER},
    "feedback": {"name": f"{P} feedback", "description": "d", "rating": 4},
    "grouping": {"name": f"{P} grouping", "context": "suspicious-activity", "description": "d"},
    "incident": {"name": f"{P} incident", "incident_type": "alert", "severity": "high", "first_seen": DATE, "last_seen": LATER},
    "infrastructure": {"name": f"{P} infrastructure", "infrastructure_types": ["botnet"], "first_seen": DATE},
    "intrusion_set": {"name": f"{P} set", "aliases": [f"{P} bear"], "resource_level": "government", "primary_motivation": "ideology", "goals": ["a", "b"]},
    "language": {"name": f"{P} language", "aliases": [f"{P} tongue"]},
    "malware": {"name": f"{P} malware", "aliases": [f"{P} alias"], "malware_types": ["trojan"], "is_family": True, "first_seen": DATE, "confidence": 42},
    "malware_analysis": {"product": f"{P} product", "result_name": f"{P} result", "result": "malicious", "submitted": DATE},
    "narrative": {"name": f"{P} narrative", "description": "d", "narrative_types": ["propaganda"]},
    "note": {"content": f"{P} note with a text", "abstract": f"{P} note", "created": DATE, "likelihood": 30},
    "observed_data": {"first_observed": DATE, "last_observed": LATER, "number_observed": 3},
    "opinion": {"opinion": "agree", "explanation": f"{P} because", "created": OWN_DATE},
    "report": {"name": f"{P} report", "published": DATE, "report_types": ["threat-report"], "description": "d", "content": "<p>c</p>"},
    "task": {"name": f"{P} task", "description": "d", "due_date": LATER},
    "threat_actor_group": {"name": f"{P} group", "threat_actor_types": ["crime-syndicate"], "aliases": [f"{P} gang"], "sophistication": "advanced"},
    "threat_actor_individual": {"name": f"{P} individual", "threat_actor_types": ["hacker"], "aliases": [f"{P} nick"]},
    "tool": {"name": f"{P} tool", "tool_types": ["remote-access"], "tool_version": "1.2"},
    "vulnerability": {"name": f"CVE-2024-{NUMBER}", "description": "d", "x_opencti_cvss_base_score": 9.8, "x_opencti_cvss_base_severity": "CRITICAL"},
}  # fmt: skip
IDENTITIES = {
    "Individual": {"x_opencti_firstname": "Ada", "x_opencti_lastname": "L"},
    "Organization": {"x_opencti_organization_type": "vendor", "contact_information": "a@example.org"},
    "Sector": {},
    "System": {},
}
LOCATIONS = ["Region", "Country", "City", "Position", "Administrative-Area"]
OBSERVABLES = [
    {"type": "Autonomous-System", "number": NUMBER, "name": P, "rir": "RIPE"},
    {"type": "Directory", "path": f"/tmp/{P}", "path_enc": "utf8"},
    {"type": "Domain-Name", "value": f"{P.lower()}.example.org"},
    {"type": "Email-Addr", "value": f"{P.lower()}@example.org", "display_name": P},
    {"type": "Email-Message", "subject": f"{P} subject", "body": f"{P} body", "is_multipart": False, "message_id": f"<{P}@example.org>"},
    {"type": "Email-Mime-Part-Type", "body": f"{P} part", "content_type": "text/plain", "content_disposition": "inline"},
    {"type": "Artifact", "mime_type": "text/plain", "url": f"https://example.org/{P}", "hashes": {"SHA-256": DIGEST}},
    {"type": "File", "name": f"{P}.exe", "size": 12, "hashes": {"MD5": DIGEST[:32], "SHA-256": DIGEST}},
    {"type": "X509-Certificate", "serial_number": DIGEST[:16], "subject": f"CN={P}", "issuer": "CN=ca", "hashes": {"SHA-1": DIGEST[:40]}},
    {"type": "IPv4-Addr", "value": ".".join(str(int(DIGEST[i : i + 2], 16)) for i in (0, 2, 4, 6))},
    {"type": "IPv6-Addr", "value": "2001:db8:" + ":".join(DIGEST[i : i + 4] for i in range(0, 24, 4))},
    {"type": "Mac-Addr", "value": ":".join(DIGEST[i : i + 2] for i in range(0, 12, 2))},
    {"type": "Mutex", "name": f"{P} mutex"},
    {"type": "Network-Traffic", "src_port": NUMBER % 65536, "dst_port": 443, "protocols": ["tcp", P.lower()], "is_active": False},
    {"type": "Process", "pid": NUMBER, "command_line": f"sh -c {P}", "cwd": "/"},
    {"type": "Software", "name": f"{P} software", "version": "1.0", "vendor": "v", "cpe": f"cpe:2.3:a:v:{P.lower()}:1.0:*:*:*:*:*:*:*"},
    {"type": "Url", "value": f"https://example.org/{P}/x"},
    {"type": "User-Account", "user_id": P, "account_login": P, "account_type": "unix", "is_privileged": True},
    {"type": "Windows-Registry-Key", "attribute_key": f"HKLM\\{P}"},
    {"type": "Windows-Registry-Value-Type", "name": f"{P} value", "data": "1", "data_type": "REG_SZ"},
    {"type": "User-Agent", "value": f"{P}/1.0"},
    {"type": "Cryptographic-Key", "value": f"{P} key"},
    {"type": "Cryptocurrency-Wallet", "value": f"bc1{DIGEST[:30]}"},
    {"type": "Hostname", "value": f"{P.lower()}-host"},
    {"type": "Text", "value": f"{P} text"},
    {"type": "Bank-Account", "iban": f"DE{NUMBER:020}", "bic": "ABCDEFGH", "account_number": str(NUMBER)},
    {"type": "Phone-Number", "value": f"+49{NUMBER:010}"},
    {"type": "Payment-Card", "card_number": f"{NUMBER:016}", "cvv": 123, "expiration_date": LATER},
    {"type": "Media-Content", "title": f"{P} title", "content": "c", "media_category": "news", "url": f"https://example.org/media/{P}"},
    {"type": "Persona", "persona_name": f"{P} persona", "persona_type": "troll"},
    {"type": "Credential", "value": f"{P}:secret"},
    {"type": "Tracking-Number", "value": f"TN{NUMBER}"},
    {"type": "SSH-Key", "key_type": "rsa", "public_key": f"ssh-rsa {DIGEST}", "fingerprint_sha256": f"SHA256:{DIGEST}"},
]
if PYCTI >= (7,):
    OBSERVABLES += [
        {"type": "AI-Prompt", "value": f"{P} prompt"},
        {"type": "IMEI", "value": f"{NUMBER:015}"},
        {"type": "ICCID", "value": f"{NUMBER:019}"},
        {"type": "IMSI", "value": f"9{NUMBER:014}"},
    ]

# where an answer names what went in differently
ANSWERED_AS = {"abstract": "attribute_abstract", "platforms": "x_mitre_platforms"}
# what the client sends but never asks for when it reads
NEVER_READ = {"Email-Mime-Part-Type": {"body", "content_type", "content_disposition"}}


class Calls:
    def __init__(self, helper):
        self.api = helper.api
        self.failures = []

    def check(self, condition, message):
        if not condition:
            self.failures.append(message)

    def same(self, sent, got, where):
        for key, value in sent.items():
            key = ANSWERED_AS.get(key, key)
            if got is None or got.get(key) != value:
                self.failures.append(f"{where}: {key} is {None if got is None else got.get(key)!r}, sent {value!r}")

    def about(self, kind, run):
        """Runs the calls of one type and tells what failed."""
        self.failures = []
        try:
            run()
        except Exception as error:  # every type is tried, whatever happened to the one before
            line = traceback.extract_tb(error.__traceback__)[1]
            self.failures.append(f"{type(error).__name__} at {line.line}: {str(error)[:1500]}")
        emit("type", type=kind, failures=self.failures)

    def references(self):
        """The things that everything refers to; kept for the rest of the run."""
        self.author = self.api.identity.create(type="Organization", name=f"{P} author")
        self.marking = self.api.marking_definition.create(definition_type="TLP", definition="TLP:GREEN", x_opencti_order=2, x_opencti_color="#2e7d32")
        self.label = self.api.label.create(value=f"{P.lower()} label", color="#aa0011")
        self.phase = self.api.kill_chain_phase.create(kill_chain_name=P, phase_name="first", x_opencti_order=1)
        self.external = self.api.external_reference.create(source_name=P, url=f"https://example.org/ref/{P}", external_id="E1", description="d")
        for made in (self.author, self.marking, self.label, self.phase, self.external):
            self.check(made and made["id"] and made["standard_id"], f"no id in {made!r}")
        self.common = {
            "createdBy": self.author["id"],
            "objectMarking": [self.marking["id"]],
            "objectLabel": [self.label["id"]],
            "externalReferences": [self.external["id"]],
        }

    def meta(self):
        self.same({"value": f"{P.lower()} label", "color": "#aa0011"}, self.api.label.read(id=self.label["id"]), "label")
        again = self.api.label.read_or_create_unchecked(value=f"{P.lower()} label")
        self.check(again["id"] == self.label["id"], "the label was made twice")
        found = self.api.label.list(search=P)
        self.check(self.label["id"] in [entry["id"] for entry in found], "the label is not found by search")
        self.same({"kill_chain_name": P, "phase_name": "first"}, self.api.kill_chain_phase.read(id=self.phase["id"]), "phase")
        sent = {"source_name": P, "url": f"https://example.org/ref/{P}", "external_id": "E1", "description": "d"}
        self.same(sent, self.api.external_reference.read(id=self.external["id"]), "external reference")
        self.same({"definition_type": "TLP", "definition": "TLP:GREEN"}, self.api.marking_definition.read(id=self.marking["id"]), "marking")
        markings = self.api.marking_definition.list()
        self.check({"TLP:CLEAR", "TLP:RED"} <= {entry["definition"] for entry in markings}, "the TLP markings are not all there")
        word = self.api.vocabulary.create(name=f"{P.lower()}-malware", category="malware_type_ov", description="d")
        self.same({"name": f"{P.lower()}-malware", "category": {"key": "malware_type_ov"}},
                  self.only(self.api.vocabulary.read(id=word["id"]), "name", "category"), "vocabulary")
        again = self.api.vocabulary.read_or_create_unchecked(name=f"{P.lower()}-malware", category="malware_type_ov")
        self.check(again["id"] == word["id"], "the vocabulary entry was made twice")

    @staticmethod
    def only(entity, *keys):
        """`entity` with these keys, nested objects reduced to their key."""
        if entity is None:
            return None
        kept = {}
        for key in keys:
            value = entity.get(key)
            kept[key] = {"key": value["key"]} if isinstance(value, dict) and "key" in value else value
        return kept

    def life(self, member, sent, name_key="name", extra=None):
        """create, create again, read by id and by filter, search, list: of one type."""
        made = member.create(**sent, **(extra or {}))
        self.check(made and made.get("id"), f"create answered {made!r}")
        again = member.create(**sent, **(extra or {}), update=True)
        self.check(again["id"] == made["id"], "creating the same again made another object")
        got = member.read(id=made["id"])
        self.same({key: value for key, value in sent.items() if key not in ("type", "objects", "update")}, got, "read by id")
        by_standard = member.read(id=made["standard_id"])
        self.check(by_standard and by_standard["id"] == made["id"], "not found by its standard id")
        if name_key in sent:
            equal = {"mode": "and", "filters": [{"key": name_key, "values": [sent[name_key]]}], "filterGroups": []}
            filtered = member.read(filters=equal)
            self.check(filtered and filtered["id"] == made["id"], f"not found by a filter on {name_key}: {filtered!r:.200}")
            listed = member.list(search=f'"{sent[name_key]}"')
            self.check(made["id"] in [entry["id"] for entry in listed], f"not found by searching {sent[name_key]!r}")
        page = member.list(first=1, withPagination=True, orderBy="created_at", orderMode="desc")
        self.check(len(page["entities"]) == 1 and page["pagination"]["globalCount"] >= 1, f"paged list: {str(page)[:200]}")
        return made, got

    def domain(self, name, sent):
        def run():
            extra = dict(self.common)
            if name == "task":
                extra.pop("externalReferences")
            if name in ("report", "grouping", "note", "opinion", "observed_data", "case_incident", "case_rfi", "case_rft", "feedback", "task"):
                extra["objects"] = [self.target["id"]]
            if name in ("attack_pattern", "malware", "tool", "intrusion_set", "infrastructure"):
                if name != "intrusion_set":
                    extra["killChainPhases"] = [self.phase["id"]]
            made, got = self.life(getattr(self.api, name), sent, extra=extra)
            self.check(got["createdById"] == self.author["id"], f"author: {got.get('createdById')}")
            self.check(got["objectMarkingIds"] == [self.marking["id"]], f"markings: {got.get('objectMarkingIds')}")
            self.check(got["objectLabelIds"] == [self.label["id"]], f"labels: {got.get('objectLabelIds')}")
            if "externalReferences" in extra:
                self.check(got["externalReferencesIds"] == [self.external["id"]], f"external references: {got.get('externalReferencesIds')}")
            if "killChainPhases" in extra:
                self.check(got["killChainPhasesIds"] == [self.phase["id"]], f"kill chain phases: {got.get('killChainPhasesIds')}")
            if "objects" in extra and "objectsIds" in got:
                self.check(self.target["id"] in got["objectsIds"], f"contained objects: {got['objectsIds']}")
            if name == "report":
                inside = self.api.report.contains_stix_object_or_stix_relationship(id=made["id"], stixObjectOrStixRelationshipId=self.target["id"])
                self.check(inside is True, "the report does not know what it contains")

        self.about(name, run)

    def indicator(self):
        pattern = "[ipv4-addr:value = '198.51.100.7']"
        sent = {"name": f"{P} indicator", "pattern": pattern.replace("198.51.100.7", OBSERVABLES[9]["value"]), "pattern_type": "stix",
                "x_opencti_main_observable_type": "IPv4-Addr", "valid_from": DATE, "valid_until": "2054-03-04T05:06:07.000Z", "x_opencti_score": 70}  # fmt: skip
        made, _ = self.life(self.api.indicator, sent, extra={**self.common, "killChainPhases": [self.phase["id"]]})
        observable = self.api.stix_cyber_observable.create(observableData=dict(OBSERVABLES[9]))
        self.api.stix_core_relationship.create(fromId=made["id"], toId=observable["id"], relationship_type="based-on")
        linked = self.api.indicator.read(id=made["id"], customAttributes="id observables { edges { node { id } } }")
        self.check(linked["observablesIds"] == [observable["id"]], f"observables of the indicator: {linked.get('observablesIds')}")

    def identity(self, kind, more):
        sent = {"type": kind, "name": f"{P} {kind}", "description": "d", **more}
        made, got = self.life(self.api.identity, sent, extra={"objectMarking": [self.marking["id"]]})
        self.check(got["entity_type"] == kind, f"entity_type {got['entity_type']}")

    def location(self, kind):
        sent = {"type": kind, "name": f"{P} {kind}", "description": "d", "latitude": 52.5, "longitude": 13.4}
        made, got = self.life(self.api.location, sent, extra={"objectMarking": [self.marking["id"]]})
        self.check(got["entity_type"] == kind, f"entity_type {got['entity_type']}")

    def observable(self, data):
        sent = dict(data)
        if sent["type"] == "Windows-Registry-Key":
            sent["key"] = sent.pop("attribute_key")
        member = self.api.stix_cyber_observable
        made = member.create(observableData=dict(sent), x_opencti_score=55, **self.common)
        self.check(made and made["id"], f"create answered {made!r}")
        again = member.create(observableData=dict(sent), **self.common)
        self.check(again["id"] == made["id"], "creating the same again made another observable")
        got = member.read(id=made["id"])
        expected = {key: value for key, value in data.items() if key not in {"type", "hashes"} | NEVER_READ.get(data["type"], set())}
        expected["x_opencti_score"] = 55
        self.same(expected, got, "read by id")
        for algorithm, value in data.get("hashes", {}).items():
            entry = {"algorithm": algorithm, "hash": value}
            self.check(entry in (got.get("hashes") or []), f"hash {entry} not in {got.get('hashes')}")
        self.check(got["createdById"] == self.author["id"], f"author: {got.get('createdById')}")
        self.check(got["objectMarkingIds"] == [self.marking["id"]], f"markings: {got.get('objectMarkingIds')}")
        listed = member.list(types=[got["entity_type"]], getAll=True, first=2)
        self.check(made["id"] in [entry["id"] for entry in listed], "not in the list of its type")
        if "value" in data:
            equal = {"mode": "and", "filters": [{"key": "value", "values": [data["value"]]}], "filterGroups": []}
            self.check((member.read(filters=equal) or {}).get("id") == made["id"], "not found by its value")

    def relationship(self):
        other = self.api.intrusion_set.create(name=f"{P} relation source")
        member = self.api.stix_core_relationship
        sent = {"relationship_type": "uses", "description": "d", "start_time": DATE, "stop_time": LATER, "confidence": 33}
        made = member.create(fromId=other["id"], toId=self.target["id"], **sent, **self.common)
        again = member.create(fromId=other["id"], toId=self.target["id"], update=True, **sent, **self.common)
        self.check(again["id"] == made["id"], "creating the same again made another relationship")
        got = member.read(id=made["id"])
        self.same(sent, got, "read by id")
        self.check((got["from"]["id"], got["to"]["id"]) == (other["id"], self.target["id"]), "the ends differ")
        for query in ({"fromId": other["id"]}, {"toId": self.target["id"], "relationship_type": "uses"}, {"fromOrToId": other["id"]}):
            listed = member.list(getAll=True, first=1, **query)
            self.check(made["id"] in [entry["id"] for entry in listed], f"not listed by {sorted(query)}")
        found = member.read(fromId=other["id"], toId=self.target["id"], relationship_type="uses")
        self.check(found and found["id"] == made["id"], "not read by its ends")

    def sighting(self):
        member = self.api.stix_sighting_relationship
        made = member.create(fromId=self.target["id"], toId=self.author["id"], first_seen=DATE, last_seen=LATER, count=2, confidence=20)
        got = member.read(id=made["id"])
        self.same({"first_seen": DATE, "last_seen": LATER, "attribute_count": 2}, got, "read by id")
        listed = member.list(fromId=self.target["id"])
        self.check(made["id"] in [entry["id"] for entry in listed], "not listed by its source")

    def nested(self):
        resolved = self.api.stix_cyber_observable.create(observableData={"type": "Domain-Name", "value": f"nested-{P.lower()}.example.org"})
        address = self.api.stix_cyber_observable.create(observableData=dict(OBSERVABLES[9]))
        member = self.api.stix_nested_ref_relationship
        made = member.create(fromId=resolved["id"], toId=address["id"], relationship_type="obs_resolves-to")
        self.check(made and made["id"], f"create answered {made!r}")
        listed = member.list(fromId=resolved["id"])
        self.check([entry["to"]["id"] for entry in listed if entry["relationship_type"] == "resolves-to" or "resolves" in entry["relationship_type"]] == [address["id"]],
                   f"nested references: {listed!r:.300}")  # fmt: skip

    def generic(self):
        """The readers that know every type."""
        for member in (self.api.stix_domain_object, self.api.stix_core_object, self.api.opencti_stix_object_or_stix_relationship):
            got = member.read(id=self.target["id"])
            self.check(got and got["id"] == self.target["id"], f"{type(member).__name__} does not read by id")
        by_name = self.api.stix_domain_object.get_by_stix_id_or_name(name=f"{P} target", types=["Malware"])
        self.check(by_name and by_name["id"] == self.target["id"], "not found by its name")
        content = self.api.get_stix_content(self.target["id"])
        self.check(content["id"] == self.target["standard_id"] and content["type"] == "malware", f"STIX content: {str(content)[:200]}")
        self.check(self.api.malware.read(id="malware--00000000-0000-4000-8000-000000000000") is None, "an unknown id must read as nothing")

    def paging(self):
        made = {self.api.tool.create(name=f"{P} paged {number:02}")["id"] for number in range(25)}
        mine = {"mode": "and", "filters": [{"key": "name", "values": [f"{P} paged"], "operator": "starts_with"}], "filterGroups": []}
        listed = [entry["id"] for entry in self.api.tool.list(filters=mine, first=4, getAll=True)]
        self.check(len(listed) == 25 and set(listed) == made, f"{len(listed)} entries in all pages, {len(set(listed) & made)} of 25 known")
        names = [entry["name"] for entry in self.api.tool.list(filters=mine, first=25, orderBy="name", orderMode="desc")]
        self.check(names == sorted(names, reverse=True) and len(names) == 25, f"not in descending order: {names}")
        either = {"mode": "or", "filters": [], "filterGroups": [
            {"mode": "and", "filters": [{"key": ["name"], "values": [f"{P} paged 03"], "operator": "eq", "mode": "or"}], "filterGroups": []},
            {"mode": "and", "filters": [{"key": "name", "values": f"{P} paged 04"}], "filterGroups": []},
        ]}  # fmt: skip
        found = sorted(entry["name"] for entry in self.api.tool.list(filters=either))
        self.check(found == [f"{P} paged 03", f"{P} paged 04"], f"nested filter groups: {found}")

    def run(self):
        self.about("references", self.references)
        self.target = self.api.malware.create(name=f"{P} target", is_family=True)
        self.about("meta", self.meta)
        for name, sent in DOMAIN.items():
            self.domain(name, sent)
        self.about("indicator", self.indicator)
        for kind, more in IDENTITIES.items():
            self.about(f"identity {kind}", lambda kind=kind, more=more: self.identity(kind, more))
        for kind in LOCATIONS:
            self.about(f"location {kind}", lambda kind=kind: self.location(kind))
        for data in OBSERVABLES:
            self.about(f"observable {data['type']}", lambda data=data: self.observable(data))
        self.about("relationship", self.relationship)
        self.about("sighting", self.sighting)
        self.about("nested reference", self.nested)
        self.about("generic readers", self.generic)
        self.about("paging", self.paging)


if __name__ == "__main__":
    helper = OpenCTIConnectorHelper({})
    Calls(helper).run()
    emit("done")
    helper.ping.stop()
