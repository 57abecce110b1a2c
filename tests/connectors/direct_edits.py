"""A program that edits through the client's own calls: fields, labels, markings, authors, phases, references, contained objects, deletion, merging.

Tells one event per subject, `edited` with `failures`: what came out otherwise than it was asked for.
TEST_PREFIX: put into every name, so that several programs do not meet.
"""

import os
import traceback

from common import PYCTI, emit
from pycti import OpenCTIConnectorHelper

DATE = "2024-02-03T04:05:06.000Z"
P = os.environ["TEST_PREFIX"]

# name of the client's member → (what to create, key that is edited, new value)
DOMAIN = {
    "attack_pattern": ({"name": f"{P} edited technique"}, "description", "new"),
    "campaign": ({"name": f"{P} edited campaign"}, "objective", "new"),
    "case_incident": ({"name": f"{P} edited case", "created": DATE}, "description", "new"),
    "case_rfi": ({"name": f"{P} edited rfi", "created": DATE}, "description", "new"),
    "case_rft": ({"name": f"{P} edited rft", "created": DATE}, "description", "new"),
    "channel": ({"name": f"{P} edited channel"}, "description", "new"),
    "course_of_action": ({"name": f"{P} edited course"}, "description", "new"),
    "data_component": ({"name": f"{P} edited component"}, "description", "new"),
    "data_source": ({"name": f"{P} edited source"}, "description", "new"),
    "event": ({"name": f"{P} edited event"}, "description", "new"),
    "feedback": ({"name": f"{P} edited feedback"}, "description", "new"),
    "grouping": ({"name": f"{P} edited grouping", "context": "suspicious-activity"}, "description", "new"),
    "incident": ({"name": f"{P} edited incident"}, "objective", "new"),
    "infrastructure": ({"name": f"{P} edited infrastructure"}, "description", "new"),
    "intrusion_set": ({"name": f"{P} edited set"}, "goals", ["one", "two"]),
    "language": ({"name": f"{P} edited language"}, "aliases", [f"{P} tongue edited"]),
    "malware": ({"name": f"{P} edited malware", "is_family": True}, "is_family", False),
    "malware_analysis": ({"product": f"{P} edited product", "result_name": f"{P} edited result"}, "result", "benign"),
    "narrative": ({"name": f"{P} edited narrative"}, "description", "new"),
    "note": ({"content": f"{P} edited note", "created": DATE}, "attribute_abstract", "new"),
    "observed_data": ({"first_observed": DATE, "last_observed": DATE, "number_observed": 3}, "number_observed", 7),
    "opinion": ({"opinion": "agree", "explanation": f"{P} edited opinion"}, "explanation", "new"),
    "report": ({"name": f"{P} edited report", "published": DATE}, "description", "new"),
    "threat_actor_group": ({"name": f"{P} edited group"}, "description", "new"),
    "threat_actor_individual": ({"name": f"{P} edited individual"}, "description", "new"),
    "tool": ({"name": f"{P} edited tool"}, "tool_version", "1.3"),
    "vulnerability": ({"name": f"CVE-{P} edited"}, "x_opencti_cvss_base_score", 9.8),
}  # fmt: skip
CONTAINERS = ["report", "grouping", "note", "opinion", "observed_data", "case_incident", "case_rfi", "case_rft", "feedback"]
PHASES = ["attack_pattern", "malware", "tool", "infrastructure"]
UNREAD = {"data_component", "language"}


class Edits:
    def __init__(self, helper):
        self.api = helper.api
        self.failures = []

    def check(self, condition, message):
        if not condition:
            self.failures.append(message)

    def same(self, got, expected, where):
        self.check(got == expected, f"{where}: {got!r} instead of {expected!r}")

    def about(self, subject, body):
        self.failures = []
        try:
            body()
        except Exception:  # noqa: BLE001 - whatever the client raises is the finding
            self.failures.append(traceback.format_exc(limit=-3))
        emit("edited", subject=subject, failures=self.failures)

    def prepare(self):
        self.author = self.api.identity.create(type="Organization", name=f"{P} edit author")
        self.other_author = self.api.identity.create(type="Organization", name=f"{P} other edit author")
        self.marking = self.api.marking_definition.read(
            filters={"mode": "and", "filters": [{"key": "definition", "values": ["TLP:GREEN"]}], "filterGroups": []}
        )
        self.label = self.api.label.create(value=f"{P.lower()} edit label", color="#aa0011")
        self.external = self.api.external_reference.create(source_name=f"{P} edits", url=f"https://example.org/edits/{P}")
        self.phase = self.api.kill_chain_phase.create(kill_chain_name=f"{P} edits", phase_name="first", x_opencti_order=1)
        self.target = self.api.malware.create(name=f"{P} edit target", is_family=True)

    def annotate(self, member, id, read, phases=False):
        """Adds and removes labels, markings, references and authors of anything."""
        member.add_label(id=id, label_id=self.label["id"])
        member.add_label(id=id, label_name=f"{P.lower()} second edit label")
        self.same(len(read()["objectLabelIds"]), 2, "labels")
        member.remove_label(id=id, label_name=f"{P.lower()} second edit label")
        self.same(read()["objectLabelIds"], [self.label["id"]], "labels after one was removed")
        member.add_marking_definition(id=id, marking_definition_id=self.marking["id"])
        self.same(read()["objectMarkingIds"], [self.marking["id"]], "markings")
        member.remove_marking_definition(id=id, marking_definition_id=self.marking["id"])
        self.same(read()["objectMarkingIds"], [], "markings after they were removed")
        member.add_external_reference(id=id, external_reference_id=self.external["id"])
        self.same(read()["externalReferencesIds"], [self.external["id"]], "external references")
        member.remove_external_reference(id=id, external_reference_id=self.external["id"])
        self.same(read()["externalReferencesIds"], [], "external references after they were removed")
        member.update_created_by(id=id, identity_id=self.author["id"])
        member.update_created_by(id=id, identity_id=self.other_author["id"])
        self.same(read()["createdById"], self.other_author["id"], "author")
        if phases:
            member.add_kill_chain_phase(id=id, kill_chain_phase_id=self.phase["id"])
            self.same(read()["killChainPhasesIds"], [self.phase["id"]], "kill chain phases")
            member.remove_kill_chain_phase(id=id, kill_chain_phase_id=self.phase["id"])
            self.same(read()["killChainPhasesIds"], [], "kill chain phases after they were removed")

    def domain(self, name):
        sent, key, value = DOMAIN[name]
        member, generic = getattr(self.api, name), self.api.stix_domain_object
        made = member.create(**sent, **({"objects": [self.target["id"]]} if name in CONTAINERS else {}))
        edit = [{"key": key, "value": value if isinstance(value, list) else [value]}]
        (member if hasattr(member, "update_field") else generic).update_field(id=made["id"], input=edit)
        # a single value without a list around it
        generic.update_field(id=made["id"], input={"key": "confidence", "value": "33"})

        def read():
            return member.read(id=made["id"])

        if name not in UNREAD:
            self.same(read().get(key), value, key)
        self.same(read().get("confidence"), 33, "confidence")
        self.annotate(generic, made["id"], read, phases=name in PHASES)
        if name in CONTAINERS:
            inside = {"id": made["id"], "stixObjectOrStixRelationshipId": self.author["id"]}
            member.add_stix_object_or_stix_relationship(**inside)
            contains = member.contains_stix_object_or_stix_relationship(**inside)
            self.check(contains, "it does not contain what was added")
            member.remove_stix_object_or_stix_relationship(**inside)
            self.check(not member.contains_stix_object_or_stix_relationship(**inside), "it contains what was removed")
        (member if hasattr(member, "delete") else generic).delete(id=made["id"])
        self.check(member.read(id=made["id"]) is None, "it is there after it was deleted")

    def task(self):
        made = self.api.task.create(name=f"{P} edited task")
        self.api.task.update_field(id=made["id"], input=[{"key": "description", "value": ["new"]}])
        self.same(self.api.task.read(id=made["id"])["description"], "new", "description")
        inside = {"id": made["id"], "stixObjectOrStixRelationshipId": self.target["id"]}
        if PYCTI >= (7,):  # the older client names an input type that the platform has not had for long
            self.api.task.add_stix_object_or_stix_relationship(**inside)
            self.check(self.api.task.contains_stix_object_or_stix_relationship(**inside), "it does not contain what was added")
            self.api.task.remove_stix_object_or_stix_relationship(**inside)
        self.api.task.delete(id=made["id"])
        self.check(self.api.task.read(id=made["id"]) is None, "it is there after it was deleted")

    def indicator(self):
        made = self.api.indicator.create(
            name=f"{P} edited indicator", pattern="[domain-name:value = 'example.org']", pattern_type="stix", x_opencti_main_observable_type="Domain-Name"
        )
        self.api.indicator.update_field(id=made["id"], input=[{"key": "x_opencti_score", "value": ["77"]}, {"key": "x_opencti_detection", "value": [True]}])
        got = self.api.indicator.read(id=made["id"])
        self.same((got["x_opencti_score"], got["x_opencti_detection"]), (77, True), "fields")
        self.annotate(self.api.stix_domain_object, made["id"], lambda: self.api.indicator.read(id=made["id"]), phases=True)
        self.api.stix_core_object.delete(id=made["id"])
        self.check(self.api.indicator.read(id=made["id"]) is None, "it is there after it was deleted")

    def observable(self):
        member = self.api.stix_cyber_observable
        made = member.create(observableData={"type": "Domain-Name", "value": f"edits-{P.lower()}.example.org"})
        member.update_field(id=made["id"], input=[{"key": "x_opencti_description", "value": "new"}, {"key": "x_opencti_score", "value": "70"}])
        got = member.read(id=made["id"])
        self.same((got["x_opencti_description"], got["x_opencti_score"]), ("new", 70), "fields")
        self.annotate(member, made["id"], lambda: member.read(id=made["id"]))
        indicator = member.promote_to_indicator_v2(id=made["id"])
        self.same(indicator["pattern"], f"[domain-name:value = 'edits-{P.lower()}.example.org']", "pattern")
        member.delete(id=made["id"])
        self.check(member.read(id=made["id"]) is None, "it is there after it was deleted")

    def relationship(self):
        member = self.api.stix_core_relationship
        other = self.api.intrusion_set.create(name=f"{P} edit source")
        made = member.create(fromId=other["id"], toId=self.target["id"], relationship_type="uses", description="d")
        member.update_field(id=made["id"], input=[{"key": "description", "value": "new"}, {"key": "start_time", "value": DATE}])
        got = member.read(id=made["id"])
        self.same((got["description"], got["start_time"]), ("new", DATE), "fields")
        self.annotate(member, made["id"], lambda: member.read(id=made["id"]))
        member.add_kill_chain_phase(id=made["id"], kill_chain_phase_id=self.phase["id"])
        phases = member.read(id=made["id"], customAttributes="id killChainPhases { id }")
        self.same(phases["killChainPhasesIds"], [self.phase["id"]], "kill chain phases")
        member.remove_kill_chain_phase(id=made["id"], kill_chain_phase_id=self.phase["id"])
        member.delete(id=made["id"])
        self.check(member.read(id=made["id"]) is None, "it is there after it was deleted")

    def sighting(self):
        member = self.api.stix_sighting_relationship
        made = member.create(fromId=self.target["id"], toId=self.author["id"], first_seen=DATE, last_seen=DATE, count=2)
        member.update_field(id=made["id"], input=[{"key": "attribute_count", "value": ["5"]}])
        self.same(member.read(id=made["id"])["attribute_count"], 5, "count")
        member.add_marking_definition(id=made["id"], marking_definition_id=self.marking["id"])
        self.same(member.read(id=made["id"])["objectMarkingIds"], [self.marking["id"]], "markings")
        member.remove_marking_definition(id=made["id"], marking_definition_id=self.marking["id"])
        member.update_created_by(id=made["id"], identity_id=self.author["id"])
        self.same(member.read(id=made["id"])["createdById"], self.author["id"], "author")
        member.delete(id=made["id"])
        self.check(member.read(id=made["id"]) is None, "it is there after it was deleted")

    def meta(self):
        for member, made, key, value in [
            (self.api.label, self.api.label.create(value=f"{P.lower()} third edit label", color="#111111"), "color", "#222222"),
            (self.api.external_reference, self.api.external_reference.create(source_name=f"{P} edits too", url=f"https://example.org/edits/{P}/2"), "description", "new"),
            (self.api.kill_chain_phase, self.api.kill_chain_phase.create(kill_chain_name=f"{P} edits", phase_name="second", x_opencti_order=2), "x_opencti_order", 9),
            (self.api.marking_definition, self.api.marking_definition.create(definition_type="edits", definition=f"{P}", x_opencti_order=1), "x_opencti_color", "#333333"),
        ]:  # fmt: skip
            member.update_field(id=made["id"], input=[{"key": key, "value": [value]}])
            self.same(member.read(id=made["id"])[key], value, f"{type(member).__name__} {key}")
            member.delete(id=made["id"]) if member is not self.api.external_reference else member.delete(made["id"])
            self.check(member.read(id=made["id"]) is None, f"{type(member).__name__} is there after it was deleted")
        word = self.api.vocabulary.create(name=f"{P.lower()}-edit", category="malware_type_ov")
        used = self.api.malware.create(name=f"{P} of an edited kind", malware_types=[f"{P.lower()}-edit"])
        self.api.vocabulary.update_field(id=word["id"], input=[{"key": "name", "value": [f"{P.lower()}-edited"]}])
        self.same(self.api.malware.read(id=used["id"])["malware_types"], [f"{P.lower()}-edited"], "value of a renamed entry")

    def generic(self):
        one, two = (self.api.tool.create(name=f"{P} merge {number}") for number in (1, 2))
        merged = self.api.stix.merge(id=one["id"], object_ids=[two["id"]])
        self.same(merged["id"], one["id"], "merged into")
        self.same(self.api.tool.read(id=two["standard_id"])["id"], one["id"], "found under the other's id")
        self.same(self.api.tool.read(id=one["id"])["aliases"], [f"{P} merge 2"], "aliases")
        self.api.stix.delete(id=one["id"])
        self.check(self.api.tool.read(id=one["id"]) is None, "it is there after it was deleted")

    def run(self):
        self.about("what edits need", self.prepare)
        for name in DOMAIN:
            self.about(name, lambda name=name: self.domain(name))
        for subject in ("task", "indicator", "observable", "relationship", "sighting", "meta", "generic"):
            self.about(subject, getattr(self, subject))


if __name__ == "__main__":
    helper = OpenCTIConnectorHelper({})
    Edits(helper).run()
    emit("done")
    helper.ping.stop()
