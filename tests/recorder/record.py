"""Records every GraphQL document that the installed pycti can send. Runs inside a pycti environment, prints JSON.

Two ways, whose results are joined:

* executed: the client's `query` is replaced, every public method of every member of the client is called with generated arguments, and
  STIX objects of all kinds are imported and exported; documents are caught together with their variables;
* static: the source is searched for `query(…)` calls, and the expressions that build their first argument are evaluated, once for each
  branch, so that documents of methods that cannot be called are seen too.
"""

import ast
import contextlib
import functools
import importlib
import inspect
import io
import itertools
import json
import logging
import os
import pkgutil
import re
import sys
import textwrap
import time
import traceback
import warnings
from importlib.metadata import version

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
time.sleep = lambda seconds: None  # the client pauses before it tries again
import pycti  # noqa: E402
from pycti import OpenCTIApiClient, OpenCTIConnector  # noqa: E402
from pycti.api.opencti_api_client import File  # noqa: E402

PACKAGE = os.path.dirname(pycti.__file__)
UUID = "6f1b1c1e-7d49-4a53-9d2e-0d6f9f3f0a12"
STIX_ID = f"malware--{UUID}"
DATE = "2024-02-03T04:05:06.000Z"
FILTERS = {"mode": "and", "filters": [{"key": "name", "values": ["x"]}], "filterGroups": []}


@functools.cache
def normalise(document):
    """One blank for any run of white space; comments cannot occur in the client's documents."""
    return re.sub(r"\s+", " ", document).strip()


# --- answers ---------------------------------------------------------------------------------------------------------------------


class Found(dict):
    """An answer that holds whatever it is asked for."""

    VALUES = {
        "id": UUID,
        "standard_id": STIX_ID,
        "entity_type": "Malware",
        "relationship_type": "uses",
        "parent_types": ["Basic-Object", "Stix-Object", "Stix-Core-Object", "Stix-Domain-Object"],
        "createdBy": None,
        "hasNextPage": False,
        "endCursor": "",
        "globalCount": 1,
        "status": "complete",
        "errors": [],
        "connector_state": None,
        "version": "7.0.0",
        "importFiles": [],
        "user_email": "a@example.org",
    }
    LISTS = ("objectMarking", "objectLabel", "objectOrganization", "killChainPhases", "vocabularyCategories", "hashes", "api_tokens")

    def __contains__(self, key):
        return True

    def get(self, key, default=None):
        return self[key]

    def __missing__(self, key):
        if key in self.VALUES:
            return self.VALUES[key]
        if key in ("edges", "connectorsForWorker", "connectors") or key.endswith("s") and key in ("connectorsForExport",):
            return [{"node": Found()}]
        if key in self.LISTS:
            return []
        return Found()


class Missing(dict):
    """An answer in which nothing is found."""

    def __contains__(self, key):
        return True

    def get(self, key, default=None):
        return self[key]

    def __missing__(self, key):
        if key == "data":
            return Missing()
        if key in ("edges",):
            return []
        if key == "hasNextPage":
            return False
        if key in ("pageInfo",):
            return Missing()
        return Lists()


class Lists(dict):
    """A connection without entries, which is how the client reads an empty list."""

    def __contains__(self, key):
        return key in ("edges", "pageInfo")

    def __bool__(self):
        return False

    def __missing__(self, key):
        return [] if key == "edges" else Found() if key == "pageInfo" else None


# --- the client under record -----------------------------------------------------------------------------------------------------


class Enough(BaseException):
    """Ends a call of the client that polls for ever; not an `Exception`, because the client catches those."""


class Recorder:
    LIMIT = 40  # queries of one call

    def __init__(self):
        self.budget = self.LIMIT
        self.documents = {}
        self.answer = Found
        self.sites_hit = set()
        self.client = OpenCTIApiClient("http://127.0.0.1:9", UUID, log_level="critical", perform_health_check=False)
        self.client.query = self.query
        self.client.fetch_opencti_file = lambda *a, **k: "text"
        self.client.fetch_opencti_file_by_id = lambda *a, **k: "text"

    def query(self, query, variables=None, disable_impersonate=False):
        self.budget -= 1
        if self.budget < 0:
            raise Enough
        frame = inspect.currentframe().f_back
        path = os.path.relpath(frame.f_code.co_filename, PACKAGE)
        self.sites_hit.add((path, frame.f_lineno))
        self.note(query, f"{path}:{frame.f_lineno}", "executed", variables)
        return {"data": self.answer()} if self.answer is Found else {"data": Missing()}

    def attempt(self, call):
        """Runs one call of the client; what was sent before it failed is recorded all the same."""
        self.budget = self.LIMIT
        try:
            call()
        except (Exception, SystemExit, Enough):  # noqa: S110, BLE001 - only what was sent counts
            pass

    def note(self, query, site, how, variables=None):
        entry = self.documents.setdefault(normalise(query), {"sites": set(), "how": set(), "variables": []})
        entry["sites"].add(site)
        entry["how"].add(how)
        if variables is not None and len(entry["variables"]) < 4:
            plain = plain_json(variables)
            if plain not in entry["variables"]:
                entry["variables"].append(plain)


def plain_json(value):
    """Variables as they go over the wire: a file is null there."""
    if isinstance(value, File):
        return None
    if isinstance(value, dict):
        return {str(key): plain_json(entry) for key, entry in dict.items(value)}
    if isinstance(value, (list, tuple, set)):
        return [plain_json(entry) for entry in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


# --- arguments -------------------------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "filters": FILTERS, "first": 5, "getAll": True, "after": None, "orderBy": "created_at", "orderMode": "desc", "search": "x",
    "customAttributes": None, "withPagination": False, "withFiles": False, "types": ["Malware"], "update": False, "is_family": True,
    "confidence": 50, "x_opencti_score": 50, "revoked": False, "latitude": 1.0, "longitude": 1.0, "precision": 1.0, "number_observed": 1,
    "count": 1, "x_opencti_order": 1, "likelihood": 1, "rating": 1, "toStix": True, "createIndicator": False, "x_opencti_detection": False,
    "stixObject": None, "extras": {}, "input": {"key": "name", "value": ["x"]}, "embedded": False, "noTriggerImport": False,
    "observableData": {"type": "Domain-Name", "value": "a.example.org"}, "file": None, "files": None, "filesMarkings": None,
    "fileMarkings": [UUID], "file_markings": [UUID], "objects": [STIX_ID], "object_ids": [UUID], "marking_ids": [UUID],
    "connector_ids": [UUID], "authors": ["x"], "user_confidence_level": {"max_confidence": 50, "overrides": []},
    "group_confidence_level": {"max_confidence": 50, "overrides": []}, "x_opencti_cvss_base_score": 9.8, "type": "Individual",
    "x_opencti_negative": False, "opinion": "agree", "element": {"id": UUID}, "item": {"id": STIX_ID, "type": "malware"}, "bundle": "{}",
    "coverage_information": [{"coverage_name": "x", "coverage_score": 1}], "custom_field_values": None, "custom_properties": None,
    "upsert_operations": None, "default_assignation": False, "auto_new_marking": False, "external_id": "x", "isMultiPartWork": False,
    "auto_enrichment_disable": False, "x_opencti_cisa_kev": True, "no_creators": False, "restrict_delete": False, "prevent_impersonation": False,
    "user_service_account": False, "no_trigger_import": False, "include_tokens": True, "include_sessions": True, "include_messages": True,
    "include_password_policy": True, "groups": [UUID], "token_duration": "UNLIMITED", "force_delete": True, "simple_observable_key": None,
    "entity": None, "work_id": "work_x", "connector_id": UUID, "error": {"error": "x", "source": "y"}, "expectations": 1,
    "mode": "simple", "selected_ids": [UUID], "data": "text", "file_name": "x.txt", "mime_type": "text/plain", "resolve_result_indicators": True,
    "x_opencti_first_seen_active": DATE, "sharing_direct_container": True, "organization_ids": [UUID], "message": {"id": UUID, "message": "x"},
    "connector_info": {"run_and_terminate": False, "buffering": False, "queue_threshold": 1.0, "queue_messages_size": 0.0},
    "connector_state": {"a": 1}, "list_filters": "x", "stix_id": STIX_ID, "marking": {"id": UUID}, "organizationIds": [UUID],
    "playbook": {"playbook_id": UUID, "execution_id": UUID, "execution_start": DATE, "event_id": UUID, "step_id": UUID, "previous_step_id": UUID,
                 "data_instance_id": UUID, "previous_bundle": "{}"},
    "number_seen": 1, "max_distinct_count": 1, "x_opencti_epss_score": 0.5, "x_opencti_epss_percentile": 0.5, "is_multipart": False, "pirScore": 1,
    "in_error": False, "submenu_show_icons": True, "submenu_auto_collapse": True, "monochrome_labels": True, "scores": [],
    "objectAssignee": [UUID], "objectParticipant": [UUID], "content_source": "x", "content_type": "fields", "analysis_type": "x",
    "notification_data": {"notification_id": UUID}, "sections": [], "x_opencti_modified_at": DATE, "capabilities": ["x"], "configuration": None,
    "sources": [UUID], "object_ids_to_merge": [UUID], "stix_objects_ids": [UUID], "email_addresses": ["a@example.org"], "use_json": True,
}  # fmt: skip
ARGUMENTS["connector"] = OpenCTIConnector(
    connector_id=UUID, connector_name="x", connector_type="EXTERNAL_IMPORT", scope="a,b", auto=False, only_contextual=False,
    playbook_compatible=False, auto_update=False, enrichment_resolution="none",
)  # fmt: skip
# Arguments whose name means something else elsewhere.
OF_METHODS = {
    "edit_message": {"input": {"message": "x", "activated": True, "dismissible": True, "color": "#ffffff", "recipients": [UUID]}},
    "delete_message": {"input": UUID},
}
DATES = re.compile(r"(_at|_date|_seen|_time|_from|_until|_to|_observed|submitted|published|created|modified|started|ended|StartTime|Start|Stop)$")
PLURAL = re.compile(r"(s|Ids|_ids|aliases|goals|roles|capabilities|objectMarking|objectLabel|objectOrganization|externalReferences|killChainPhases)$")


def argument(name):
    if name in ARGUMENTS:
        return ARGUMENTS[name]
    if name in ("id", "ids") or name.endswith(("_id", "Id")):
        return UUID
    if name in ("createdBy", "dataSource", "sample", "hostVm", "operatingSystem", "objectCovered"):
        return STIX_ID
    if DATES.search(name):
        return DATE
    if PLURAL.search(name) and not name.endswith("ss"):
        return [UUID]
    return "x"


def keyword_names(function):
    """Names that a method takes out of its **kwargs, found in its source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):
        return []
    names = []
    for node in ast.walk(tree):
        if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"
                and isinstance(node.func.value, ast.Name) and node.func.value.id == "kwargs" and node.args
                and isinstance(node.args[0], ast.Constant)):  # fmt: skip
            names.append(node.args[0].value)
    return list(dict.fromkeys(names))


def argument_sets(function):
    """Several sets of arguments for one method: all given, each switch turned, and only identifiers."""
    signature = inspect.signature(function)
    positional = {p.name: argument(p.name) for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not any(p.kind == p.VAR_KEYWORD for p in signature.parameters.values()):
        yield positional
        return
    everything = {**positional, **{name: argument(name) for name in keyword_names(function)}, **OF_METHODS.get(function.__name__, {})}
    yield everything
    yield {**positional, **{key: value for key, value in everything.items() if key == "id" or key.endswith(("_id", "Id"))}}
    yield {key: value for key, value in everything.items() if key not in ("id", "stix_id")}
    for switch in ("withFiles", "withPagination", "toStix", "update", "embedded", "createIndicator"):
        if switch in everything:
            yield {**everything, switch: not everything[switch]}
    includes = [name for name in everything if name.startswith("include_")]
    for chosen in itertools.product((True, False), repeat=len(includes)):
        if includes:
            yield {**everything, **dict(zip(includes, chosen))}
            yield {**everything, **dict(zip(includes, chosen)), "customAttributes": "__typename"}
    if "customAttributes" in everything:
        yield {**everything, "customAttributes": "__typename"}
        if "filters" in everything:
            yield {"filters": FILTERS, "customAttributes": "__typename"}
    if "filters" in everything:
        yield {"filters": FILTERS}
        yield {"filters": FILTERS, "withFiles": True}
    for kind in ("Organization", "Sector", "System", "Security-Platform", "SecurityPlatform", "Threat-Actor-Individual", "Country"):
        if "type" in everything:
            yield {**everything, "type": kind}
    if "files" in everything:
        yield {**everything, "files": [File("a.txt", "x"), File("b.txt", "y")], "filesMarkings": [[UUID], []]}
    if "file_name" in everything or "data" in everything:
        yield {**everything, "data": "text", "file": File("a.txt", "x")}
    if "custom_field_values" in everything:
        yield {**everything, "custom_properties": {"x_custom": "v"}}
        yield {**everything, "custom_field_values": [{"field_name": "x_custom", "value": "v"}]}


# --- executed --------------------------------------------------------------------------------------------------------------------

STOP = {"query", "import_bundle_from_file", "wait_for_work_to_finish", "fetch_opencti_file", "fetch_opencti_file_by_id", "health_check_loop"}


def call_everything(recorder):
    """Calls every public method of the client and of its members; failures after a query do not matter."""
    called, silent = 0, []
    members = {"": recorder.client}
    members |= {name: value for name, value in vars(recorder.client).items() if type(value).__module__.startswith("pycti.")}
    for member_name, member in members.items():
        if member_name == "stix2":
            continue
        for name, function in inspect.getmembers(member, callable):
            if name.startswith("_") or name in STOP or inspect.isclass(function) or not hasattr(function, "__func__"):
                continue
            called += 1
            before = len(recorder.documents)
            for answer in (Found, Missing):
                recorder.answer = answer
                for arguments in argument_sets(function):
                    recorder.attempt(lambda arguments=arguments, function=function: function(**json_copy(arguments)))
            if len(recorder.documents) == before:
                silent.append(f"{member_name}.{name}")
    return called, silent


def json_copy(value):
    """A deep copy that keeps files: methods change what they are given."""
    if isinstance(value, dict):
        return {key: json_copy(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [json_copy(entry) for entry in value]
    return value


EXTENSION = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba"
OPERATIONS = ["delete", "delete_force", "restore", "merge", "patch", "pir_flag_element", "pir_unflag_element", "rule_apply", "rule_clear", "rules_rescan",
              "share", "unshare", "clear_access_restriction", "add_related_covered_entities", "enrichment", "add_organizations", "remove_organizations",
              "add_groups", "remove_groups", "send_email", "enroll_playbook", "revert_draft"]  # fmt: skip


def stix_objects():
    """One object of every kind that the client imports."""
    def sdo(kind, **more):
        return {"type": kind, "id": f"{kind}--{UUID}", "spec_version": "2.1", "name": "x", "created": DATE, "modified": DATE,
                "labels": ["x"], "created_by_ref": f"identity--{UUID}", "object_marking_refs": [f"marking-definition--{UUID}"],
                "external_references": [{"source_name": "x", "url": "https://example.org", "external_id": "1"}],
                "kill_chain_phases": [{"kill_chain_name": "x", "phase_name": "y"}], "x_custom_property": "v", **more}  # fmt: skip

    named = ["attack-pattern", "campaign", "case-incident", "case-rfi", "case-rft", "channel", "course-of-action", "data-component", "data-source",
             "event", "feedback", "incident", "infrastructure", "intrusion-set", "language", "malware", "narrative", "tool", "vulnerability", "task",
             "x-opencti-case-incident", "x-mitre-data-component", "x-mitre-data-source", "x-opencti-task", "threat-actor"]  # fmt: skip
    yield from (sdo(kind) for kind in named)
    yield sdo("threat-actor", x_opencti_type="Threat-Actor-Individual")
    yield sdo("threat-actor", resource_level="individual")
    for kind in ("individual", "organization", "class", "system", "securityplatform"):
        yield sdo("identity", identity_class=kind)
    for kind in ("Region", "Country", "City", "Position", "Administrative-Area"):
        yield sdo("location", x_opencti_location_type=kind)
    refs = {"object_refs": [STIX_ID]}
    yield sdo("report", published=DATE, **refs)
    yield sdo("grouping", context="x", **refs)
    yield sdo("note", content="x", **refs)
    yield sdo("opinion", opinion="agree", **refs)
    yield sdo("observed-data", first_observed=DATE, last_observed=DATE, number_observed=1, **refs)
    yield sdo("malware-analysis", product="x", result_name="x")
    yield sdo("indicator", pattern="[url:value = 'x']", pattern_type="stix", valid_from=DATE, x_opencti_main_observable_type="Url")
    yield sdo("security-coverage", covered_ref=STIX_ID, coverage=[{"name": "x", "score": 1}])
    yield sdo("marking-definition", definition_type="statement", definition={"statement": "x"})
    yield sdo("marking-definition", definition_type="tlp", definition={"tlp": "red"})
    yield {"type": "label", "id": f"label--{UUID}", "value": "x", "color": "#ffffff"}
    yield {"type": "vocabulary", "id": f"vocabulary--{UUID}", "name": "x", "category": "malware_type_ov"}
    yield {"type": "external-reference", "id": f"external-reference--{UUID}", "source_name": "x", "url": "https://example.org"}
    yield {"type": "kill-chain-phase", "id": f"kill-chain-phase--{UUID}", "kill_chain_name": "x", "phase_name": "y"}
    yield sdo("relationship", relationship_type="uses", source_ref=STIX_ID, target_ref=f"tool--{UUID}")
    yield sdo("sighting", sighting_of_ref=STIX_ID, where_sighted_refs=[f"identity--{UUID}"], observed_data_refs=[f"observed-data--{UUID}"], count=1)
    for kind, more in {
        "ipv4-addr": {"value": "192.0.2.1", "resolves_to_refs": [f"mac-addr--{UUID}"]}, "ipv6-addr": {"value": "2001:db8::1"},
        "domain-name": {"value": "a.example.org"}, "url": {"value": "https://example.org"}, "email-addr": {"value": "a@example.org"},
        "email-message": {"subject": "x", "is_multipart": False, "from_ref": f"email-addr--{UUID}"}, "email-mime-part-type": {"body": "x"},
        "file": {"name": "x", "hashes": {"MD5": "d41d8cd98f00b204e9800998ecf8427e"}}, "artifact": {"mime_type": "text/plain", "url": "https://example.org/a"},
        "autonomous-system": {"number": 1}, "directory": {"path": "/"}, "mac-addr": {"value": "00:00:00:00:00:01"}, "mutex": {"name": "x"},
        "network-traffic": {"src_port": 1, "dst_port": 2, "protocols": ["tcp"], "src_ref": f"ipv4-addr--{UUID}"}, "process": {"pid": 1, "command_line": "x"},
        "software": {"name": "x"}, "user-account": {"account_login": "x"}, "windows-registry-key": {"key": "HKLM", "values": [{"name": "x", "data": "1"}]},
        "windows-registry-value-type": {"name": "x"}, "x509-certificate": {"serial_number": "1"}, "cryptographic-key": {"value": "x"},
        "cryptocurrency-wallet": {"value": "x"}, "hostname": {"value": "x"}, "text": {"value": "x"}, "user-agent": {"value": "x"}, "bank-account": {"iban": "x"},
        "phone-number": {"value": "1"}, "payment-card": {"card_number": "1"}, "media-content": {"url": "https://example.org"}, "persona": {"persona_name": "x"},
        "credential": {"value": "x"}, "tracking-number": {"value": "x"}, "ssh-key": {"fingerprint_sha256": "x"}, "ai-prompt": {"value": "x"},
        "imei": {"value": "1"}, "iccid": {"value": "1"}, "imsi": {"value": "1"}, "x-opencti-hostname": {"value": "x"},
    }.items():  # fmt: skip
        yield {"type": kind, "id": f"{kind}--{UUID}", "spec_version": "2.1", "x_opencti_score": 1, "labels": ["x"], **more}
    yield {"type": "x-opencti-simple-observable", "id": f"x-opencti-simple-observable--{UUID}", "key": "IPv4-Addr.value", "value": "192.0.2.1"}


def import_and_export(recorder):
    """The import path with every kind of object and every operation, and the export path."""
    stix2 = recorder.client.stix2
    objects = list(stix_objects())
    for operation in OPERATIONS:
        for kind in ("malware", "relationship", "ipv4-addr", "external-reference", "marking-definition", "sighting", "indicator", "report", "label"):
            objects.append({
                "type": kind, "id": f"{kind}--{UUID}", "opencti_operation": operation, "merge_target_id": STIX_ID, "merge_source_ids": [STIX_ID],
                "opencti_field_patch": [{"key": "name", "value": ["x"]}, {"key": "x_opencti_files", "value": []}], "opencti_rule": UUID, "pir_ids": [UUID],
                "input": {"a": 1}, "organization_ids": [UUID], "sharing_organization_ids": [UUID], "sharing_direct_container": True, "connector_ids": [UUID],
                "group_ids": [UUID], "template_id": [UUID], "playbook_id": UUID, "extensions": {EXTENSION: {"id": UUID, "type": "Malware"}},
                "relationship_type": "uses", "source_ref": STIX_ID, "target_ref": STIX_ID,
            })  # fmt: skip
    for answer in (Found, Missing):
        recorder.answer = answer
        for entry in objects:
            bundle = json.dumps({"type": "bundle", "id": f"bundle--{UUID}", "objects": [entry]})
            recorder.attempt(lambda bundle=bundle: stix2.import_bundle_from_json(bundle, True, None, "work_x", 0))
        for kind in list(stix2.get_readers()):
            for mode in ("simple", "full"):
                for call in (
                    lambda kind=kind, mode=mode: stix2.get_stix_bundle_or_object_from_entity_id(entity_type=kind, entity_id=UUID),
                    lambda kind=kind, mode=mode: stix2.export_entity(kind, UUID, mode),
                    lambda kind=kind, mode=mode: stix2.export_list(kind, "x", FILTERS, "name", "asc", mode),
                    lambda kind=kind, mode=mode: stix2.export_entities_list(kind, "x", FILTERS),
                    lambda kind=kind, mode=mode: stix2.export_selected([Found()], mode),
                ):
                    recorder.attempt(call)
        for _, function in inspect.getmembers(stix2, callable):
            if getattr(function, "__name__", "_").startswith("_") or not hasattr(function, "__func__"):
                continue
            if function.__name__ in STOP or function.__name__.startswith(("import_bundle", "export", "import_item")):
                continue
            for item in objects[-len(OPERATIONS) * 9 :: 9]:
                arguments = {name: json_copy(item) if name == "item" else argument(name) for name in inspect.signature(function).parameters}
                recorder.attempt(lambda function=function, arguments=arguments: function(**arguments))


# --- static ----------------------------------------------------------------------------------------------------------------------


class Names(dict):
    """The local names of a function whose code is evaluated piecemeal: what is not known is `fill`."""

    def __init__(self, known, module, fill):
        super().__init__(known)
        self.module, self.fill = module, fill

    def __missing__(self, name):
        if hasattr(self.module, name):
            return getattr(self.module, name)
        import builtins

        if hasattr(builtins, name):
            return getattr(builtins, name)
        return None if "attributes" in name.lower() else self.fill


def static_sites(recorder):
    """Every `….query(…)` call in the package, and the documents that its first argument can be."""
    total, unresolved, deaf = 0, [], []
    owners = {}
    for member in [recorder.client, *vars(recorder.client).values()]:
        if type(member).__module__.startswith("pycti."):
            owners |= {cls.__name__: member for cls in type(member).__mro__}
    for info in pkgutil.walk_packages([PACKAGE], "pycti."):
        module = importlib.import_module(info.name)
        path = os.path.relpath(module.__file__, PACKAGE)
        with open(module.__file__, encoding="utf-8") as source:
            tree = ast.parse(source.read())
        scopes = [(None, node) for node in tree.body if isinstance(node, ast.FunctionDef)]
        for cls in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            scopes += [(cls.name, node) for node in cls.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        for owner, function in scopes:
            for call in ast.walk(function):
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "query" and call.args):
                    continue
                total += 1
                found = documents_of(call.args[0], function, owners.get(owner), owner, module)
                site = f"{path}:{call.lineno}"
                if not found:
                    unresolved.append(f"{site} {owner}.{function.name}")
                elif not any(known[0] == path and call.lineno <= known[1] <= call.end_lineno for known in recorder.sites_hit):
                    deaf.append(f"{site} {owner}.{function.name}")
                for document in found:
                    recorder.note(document, site, "static")
    return total, unresolved, deaf


def documents_of(expression, function, owner, owner_name, module):
    """All values that the expression of a document can take within its function."""
    if isinstance(expression, ast.Name):
        expressions = [node.value for node in ast.walk(function) if isinstance(node, ast.Assign)
                       and any(isinstance(target, ast.Name) and target.id == expression.id for target in node.targets)]  # fmt: skip
    else:
        expressions = [expression]
    found = set()
    for candidate, fill in itertools.product(expressions, (None, True, "x")):
        names = Names({"self": owner}, module, fill)
        # assignments of the same function that need only what is known already: names of types and attributes put together before
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name) and node.value is not candidate:
                if isinstance(node.value, (ast.Constant, ast.JoinedStr, ast.BinOp, ast.IfExp)):
                    value = evaluate(node.value, names)
                    if isinstance(value, str):
                        names[node.targets[0].id] = value
        value = evaluate(candidate, names)
        if isinstance(value, str) and "{" in value:
            found.add(value)
    return found


def evaluate(expression, names):
    try:
        return eval(compile(ast.Expression(expression), "<document>", "eval"), {}, names)  # noqa: S307 - the client's own code
    except Exception:  # noqa: BLE001
        return None


def main():
    sys.setrecursionlimit(220)  # answers that hold everything let the client's clean-up recurse without end
    recorder = Recorder()
    with contextlib.redirect_stdout(io.StringIO()):  # the client prints while it debugs
        called, silent = call_everything(recorder)
        import_and_export(recorder)
    sys.setrecursionlimit(1000)
    total, unresolved, deaf = static_sites(recorder)
    json.dump(
        {
            "client": version("pycti"),
            "methods_called": called,
            "methods_without_new_documents": silent,
            "sites": total,
            "sites_unresolved": unresolved,
            "sites_not_executed": deaf,
            "documents": [
                {"document": text, "sites": sorted(entry["sites"]), "how": sorted(entry["how"]), "variables": entry["variables"]}
                for text, entry in sorted(recorder.documents.items())
            ],
        },
        sys.stdout,
        default=str,
    )


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.exit(1)
