#!/usr/bin/env python3
"""Writes crates/ferrocti/assets/quickstart-bundle.json: the small, made-up intelligence picture that `ferrocti quickstart` loads.

Everything in it is fiction; addresses and domains are from the ranges reserved for documentation (RFC 5737, RFC 3849, RFC 2606).
Deterministic: the same script writes the same bytes. Run it after a change and commit both.
"""
import hashlib
import json
import sys
import uuid
from pathlib import Path

NAMESPACE = uuid.UUID("6a1d1f5e-6f0c-4c6b-9f0e-0f1d5a3b7c11")
OCTI_SCO = "extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82"
CREATED = "2026-03-02T08:00:00.000Z"
MODIFIED = "2026-09-14T16:30:00.000Z"

objects = []


def make_id(stix_type, *parts):
    return f"{stix_type}--{uuid.uuid5(NAMESPACE, '|'.join((stix_type,) + parts))}"


TLP = {
    "clear": "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487",
    "green": "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
    "amber": "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
}
for name, stix_id in TLP.items():
    objects.append({
        "type": "marking-definition", "spec_version": "2.1", "id": stix_id, "created": "2022-10-01T00:00:00.000Z",
        "name": f"TLP:{name.upper()}",
        "extensions": {"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {
            "extension_type": "property-extension", "tlp_2_0": name}},
    })


def sdo(stix_type, name, marking="green", author=True, **fields):
    thing = {"type": stix_type, "spec_version": "2.1", "id": make_id(stix_type, name), "created": CREATED, "modified": MODIFIED, "name": name}
    if author:
        thing["created_by_ref"] = AUTHOR
    thing["object_marking_refs"] = [TLP[marking]]
    thing.update({key: value for key, value in fields.items() if value is not None})
    objects.append(thing)
    return thing["id"]


def relate(source, kind, target, description=None, confidence=70, marking="green", start=None, stop=None):
    thing = {"type": "relationship", "spec_version": "2.1", "id": make_id("relationship", source, kind, target),
             "created": CREATED, "modified": MODIFIED, "relationship_type": kind, "source_ref": source, "target_ref": target,
             "created_by_ref": AUTHOR, "confidence": confidence, "object_marking_refs": [TLP[marking]]}
    if description:
        thing["description"] = description
    if start:
        thing["start_time"] = start
    if stop:
        thing["stop_time"] = stop
    objects.append(thing)
    return thing["id"]


def observable(stix_type, score=60, labels=(), description=None, **fields):
    extension = {"extension_type": "property-extension", "score": score, "created_by_ref": AUTHOR}
    if description:
        extension["description"] = description
    if labels:
        extension["labels"] = list(labels)
    key = json.dumps(fields, sort_keys=True)
    thing = {"type": stix_type, "spec_version": "2.1", "id": make_id(stix_type, key), **fields,
             "object_marking_refs": [TLP["green"]], "extensions": {OCTI_SCO: extension}}
    objects.append(thing)
    return thing["id"]


AUTHOR = make_id("identity", "Harbour Watch CERT")
sdo("identity", "Harbour Watch CERT", "clear", author=False, identity_class="organization", sectors=["government"],
    description="A made-up response team of a made-up port authority; author of this example.", contact_information="cert@example.org",
    x_opencti_reliability="B - Usually reliable", x_opencti_organization_type="csirt")

# --- who and where -----------------------------------------------------------------------------
energy = sdo("identity", "Energy", identity_class="class", description="Production and distribution of energy.")
shipping = sdo("identity", "Maritime transport", identity_class="class", description="Ports, terminals and shipping lines.")
water = sdo("identity", "Water supply", identity_class="class", description="Drinking water and waste water.")
northline = sdo("identity", "Northline Ferries", identity_class="organization", description="A ferry operator; victim in this example.")
gridworks = sdo("identity", "Gridworks Cooperative", identity_class="organization", description="A regional power grid; victim in this example.")
terminal = sdo("identity", "Terminal Operating System", identity_class="system", description="Schedules cranes and yard moves.")
analyst = sdo("identity", "Mara Lind", identity_class="individual", description="Analyst of the made-up response team.", contact_information="mara.lind@example.org")

europe = sdo("location", "Europe", region="europe", x_opencti_location_type="Region", description="Continent.")
norway = sdo("location", "Norway", country="NO", x_opencti_location_type="Country", latitude=60.47, longitude=8.47, x_opencti_aliases=["NO", "NOR"])
portugal = sdo("location", "Portugal", country="PT", x_opencti_location_type="Country", latitude=39.4, longitude=-8.22, x_opencti_aliases=["PT", "PRT"])
bergen = sdo("location", "Bergen", country="NO", city="Bergen", x_opencti_location_type="City", latitude=60.39, longitude=5.32)
quay = sdo("location", "Skolten quay", country="NO", x_opencti_location_type="Position", latitude=60.4, longitude=5.31)
vestland = sdo("location", "Vestland", country="NO", administrative_area="Vestland", x_opencti_location_type="Administrative-Area")
for part, whole in ((norway, europe), (portugal, europe), (bergen, norway), (vestland, norway), (quay, bergen)):
    relate(part, "located-at", whole, confidence=100, marking="clear")
relate(northline, "part-of", shipping, confidence=95)
relate(gridworks, "part-of", energy, confidence=95)
relate(northline, "located-at", bergen, confidence=95)
relate(gridworks, "located-at", portugal, confidence=95)
relate(analyst, "part-of", AUTHOR, confidence=100)

# --- adversaries -------------------------------------------------------------------------------
pale_heron = sdo("intrusion-set", "Pale Heron", "amber", aliases=["Grey Egret", "IS-0417"], first_seen="2024-11-05T00:00:00.000Z",
                 last_seen="2026-08-30T00:00:00.000Z", goals=["Disrupt port operations", "Sell access"], resource_level="organization",
                 primary_motivation="personal-gain", secondary_motivations=["notoriety"], confidence=75, labels=["maritime", "ransomware"],
                 description="Intrusion set that enters shipping companies through their suppliers and sells or uses the access.",
                 external_references=[{"source_name": "Harbour Watch", "external_id": "HW-2026-017", "url": "https://example.org/reports/hw-2026-017",
                                       "description": "First public description of Pale Heron."}])
tin_lantern = sdo("intrusion-set", "Tin Lantern", "amber", aliases=["IS-0533"], first_seen="2025-06-01T00:00:00.000Z", resource_level="government",
                  primary_motivation="organizational-gain", confidence=60, labels=["energy"],
                  description="Quiet collection in power grids; no effect seen so far.")
broker = sdo("threat-actor", "Quayside Brokers", threat_actor_types=["crime-syndicate"], roles=["independent"], sophistication="intermediate",
             resource_level="team", primary_motivation="personal-gain", aliases=["QSB"], confidence=65, x_opencti_type="Threat-Actor-Group",
             description="Sells access to maritime networks.")
mole = sdo("threat-actor", "saltmarsh", threat_actor_types=["criminal"], roles=["agent"], sophistication="advanced", resource_level="individual",
           confidence=45, x_opencti_type="Threat-Actor-Individual", description="Handle of a person who recruits insiders in ports.")
spring = sdo("campaign", "Spring Tide", first_seen="2026-03-10T00:00:00.000Z", last_seen="2026-05-22T00:00:00.000Z", objective="Encrypt terminal systems before the holiday peak",
             aliases=["Operation Spring Tide"], confidence=70, labels=["ransomware"], description="Run against ferry operators.")
ember = sdo("campaign", "Ember Grid", first_seen="2026-01-15T00:00:00.000Z", objective="Map the control networks of two grid operators", confidence=55,
            description="Collection in energy networks.")
relate(pale_heron, "attributed-to", broker, confidence=55)
relate(spring, "attributed-to", pale_heron, confidence=80)
relate(ember, "attributed-to", tin_lantern, confidence=60)
relate(mole, "part-of", broker, confidence=40)
relate(pale_heron, "targets", shipping, start="2024-11-05T00:00:00.000Z", stop="2026-08-30T00:00:00.000Z")
relate(tin_lantern, "targets", energy)
relate(spring, "targets", northline, confidence=90)
relate(ember, "targets", gridworks, confidence=85)
relate(spring, "targets", norway)
relate(ember, "targets", portugal)

# --- how ---------------------------------------------------------------------------------------
def technique(mitre_id, name, phase, description, platforms=("windows",), parent=None):
    identifier = sdo("attack-pattern", name, "clear", x_mitre_id=mitre_id, x_mitre_platforms=list(platforms), description=description,
                     kill_chain_phases=[{"kill_chain_name": "example-intrusion-chain", "phase_name": phase}], confidence=90,
                     external_references=[{"source_name": "Harbour Watch techniques", "external_id": mitre_id}])
    if parent:
        relate(identifier, "subtechnique-of", parent, confidence=100, marking="clear")
    return identifier


phishing = technique("HW1001", "Message to a supplier", "access", "A message in the name of a known supplier.")
invoice = technique("HW1001.001", "Changed invoice", "access", "An invoice whose attachment loads code.", parent=phishing)
remote = technique("HW1002", "Remote maintenance account", "access", "Use of a maintenance account that was never closed.", ("windows", "linux"))
script = technique("HW1101", "Script in the mail client", "execution", "Code that runs inside the mail client.")
schedule = technique("HW1201", "Task on a timer", "persistence", "Code that comes back at fixed times.")
dump = technique("HW1301", "Copy of the credential store", "credential-access", "Reading secrets from memory.")
spread = technique("HW1401", "Administrative shares", "lateral-movement", "Moving with shares that administrators use.")
beacon = technique("HW1501", "Web service as mailbox", "command-and-control", "Commands left in a public web service.", ("windows", "linux", "macos"))
encrypt = technique("HW1601", "Encryption of the yard plan", "impact", "Files that the terminal needs are encrypted.")
map_net = technique("HW1302", "Map of the control network", "discovery", "Reading of device lists.", ("linux",))

dredger = sdo("malware", "Dredger", malware_types=["ransomware"], is_family=True, aliases=["Bagger"], first_seen="2025-02-01T00:00:00.000Z",
              last_seen="2026-08-12T00:00:00.000Z", confidence=80, labels=["ransomware"], implementation_languages=["go"],
              architecture_execution_envs=["x86-64"], capabilities=["violates-system-operational-integrity-triggers"],
              kill_chain_phases=[{"kill_chain_name": "example-intrusion-chain", "phase_name": "impact"}], description="Encrypts shares and virtual machines.")
tidewater = sdo("malware", "Tidewater", malware_types=["backdoor"], is_family=True, confidence=75, labels=["backdoor"], description="Backdoor that polls a web service.")
lamplight = sdo("malware", "Lamplight", malware_types=["spyware"], is_family=True, confidence=55, description="Collects configuration of control devices.")
packer = sdo("tool", "qpack", tool_types=["exploitation"], tool_version="3.1", confidence=60, description="Packer sold with Dredger.")
tunnel = sdo("tool", "burrow", tool_types=["remote-access"], confidence=70, description="Open-source tunnel.")
for user, tools in ((pale_heron, (dredger, tidewater, packer)), (tin_lantern, (lamplight, tunnel)), (spring, (dredger, tidewater)), (ember, (lamplight,))):
    for tool in tools:
        relate(user, "uses", tool)
for user, ways in ((pale_heron, (phishing, invoice, remote, dump, spread, encrypt)), (tin_lantern, (remote, map_net, beacon)),
                   (dredger, (encrypt, spread)), (tidewater, (schedule, beacon, script)), (lamplight, (map_net, beacon))):
    for way in ways:
        relate(user, "uses", way)

hosting = sdo("infrastructure", "Drift relay", infrastructure_types=["command-and-control"], first_seen="2026-02-20T00:00:00.000Z", confidence=70,
              description="Rented servers that relay to the real controller.")
shop = sdo("infrastructure", "Access shop", infrastructure_types=["hosting-malware"], confidence=50, description="Where access is sold.")
relate(pale_heron, "uses", hosting)
relate(broker, "owns", shop)
relate(tidewater, "beacons-to", hosting)
relate(hosting, "located-at", portugal)
relate(hosting, "delivers", dredger)

cve = sdo("vulnerability", "CVE-2026-99001", "clear", description="Made-up flaw: a maintenance gateway accepts any token signed with its demo key.",
          x_opencti_cvss_base_score=9.1, x_opencti_cvss_base_severity="CRITICAL", x_opencti_cvss_attack_vector="NETWORK",
          external_references=[{"source_name": "cve", "external_id": "CVE-2026-99001"}])
cve2 = sdo("vulnerability", "CVE-2026-99002", "clear", description="Made-up flaw: path traversal in a yard planner.", x_opencti_cvss_base_score=7.4, x_opencti_cvss_base_severity="HIGH")
relate(tidewater, "exploits", cve)
relate(pale_heron, "targets", cve2)
relate(terminal, "has", cve2)
rotate = sdo("course-of-action", "Close unused maintenance accounts", "clear", x_mitre_id="HWM01", description="Review accounts of suppliers each quarter.")
verify = sdo("course-of-action", "Verify invoices by a second way", "clear", x_mitre_id="HWM02", description="Call the number you already have.")
segment = sdo("course-of-action", "Separate yard and office networks", "clear", x_mitre_id="HWM03", description="One way in, logged.")
relate(rotate, "mitigates", remote)
relate(verify, "mitigates", invoice)
relate(segment, "mitigates", spread)
relate(segment, "mitigates", dredger)

mail_logs = sdo("x-mitre-data-source", "Mail gateway log", "clear", x_mitre_platforms=["linux"], collection_layers=["network"], description="What the gateway saw.")
mail_part = sdo("x-mitre-data-component", "Attachment opened", "clear", description="An attachment was opened.", x_mitre_data_source_ref=mail_logs)
relate(mail_part, "detects", invoice)
channel = sdo("channel", "quaytalk", channel_types=["Facebook"], description="Where access is announced.", aliases=["qt"])
narrative = sdo("narrative", "Ports are closed", narrative_types=["propaganda"], description="False news spread during the attack.")
event = sdo("event", "Summer sailing week", event_types=["conference"], start_time="2026-06-20T00:00:00.000Z", stop_time="2026-06-27T00:00:00.000Z", description="Peak week of the ferry operator.")
language = sdo("language", "Norwegian", "clear", aliases=["nb", "nn"])
relate(broker, "uses", channel)
relate(spring, "uses", channel)
relate(spring, "uses", narrative)

# --- observables and indicators ----------------------------------------------------------------
observed = []


def indicated(name, pattern, main_type, observed_id, malware, score, valid_days_from="2026-03-12", until="2027-03-12", labels=()):
    identifier = sdo("indicator", name, pattern=pattern, pattern_type="stix", indicator_types=["malicious-activity"], valid_from=f"{valid_days_from}T00:00:00.000Z",
                     valid_until=f"{until}T00:00:00.000Z", confidence=70, x_opencti_score=score, x_opencti_main_observable_type=main_type, labels=list(labels) or None,
                     kill_chain_phases=[{"kill_chain_name": "example-intrusion-chain", "phase_name": "command-and-control"}])
    relate(identifier, "based-on", observed_id, confidence=100)
    relate(identifier, "indicates", malware)
    return identifier


for number in range(1, 9):
    address = f"192.0.2.{number * 11}"
    item = observable("ipv4-addr", 50 + number * 5, ["relay"], f"Relay {number}", value=address)
    observed.append(item)
    indicated(address, f"[ipv4-addr:value = '{address}']", "IPv4-Addr", item, tidewater if number % 2 else dredger, 50 + number * 5)
for number, name in enumerate(("harbour-invoices.example", "ferry-crew.example", "yard-updates.example", "grid-weather.example", "pilot-station.example"), 1):
    item = observable("domain-name", 60 + number * 4, ["phishing"], None, value=name)
    observed.append(item)
    indicated(name, f"[domain-name:value = '{name}']", "Domain-Name", item, tidewater, 60 + number * 4, labels=["phishing"])
for number, path in enumerate(("/invoice/2026/0312.zip", "/crew/plan.iso", "/u/check"), 1):
    url = f"https://harbour-invoices.example{path}"
    item = observable("url", 70 + number, [], None, value=url)
    observed.append(item)
    indicated(url, f"[url:value = '{url}']", "Url", item, dredger, 70 + number)
for number, name in enumerate(("invoice.exe", "bagger.bin", "lamp.so", "qpack.exe"), 1):
    digest = {"MD5": hashlib.md5(name.encode()).hexdigest(), "SHA-1": hashlib.sha1(name.encode()).hexdigest(), "SHA-256": hashlib.sha256(name.encode()).hexdigest()}
    item = observable("file", 80, ["sample"], f"Made-up sample {name}", name=name, hashes=digest, size=10_240 * number, mime_type="application/octet-stream")
    observed.append(item)
    indicated(name, f"[file:hashes.'SHA-256' = '{digest['SHA-256']}']", "StixFile", item, (dredger, dredger, lamplight, dredger)[number - 1], 80)
ipv6 = observable("ipv6-addr", 55, [], None, value="2001:db8::17")
mac = observable("mac-addr", 20, [], None, value="02:00:5e:10:00:01")
asn = observable("autonomous-system", 10, [], None, number=64500, name="EXAMPLE-AS", rir="RIPE NCC")
sender = observable("email-addr", 65, ["phishing"], None, value="invoices@harbour-invoices.example", display_name="Harbour Invoices")
receiver = observable("email-addr", 5, [], None, value="desk@northline.example")
mail = observable("email-message", 65, ["phishing"], None, subject="Changed invoice 0312", is_multipart=False, body="Please pay to the new account.", from_ref=sender, to_refs=[receiver])
directory = observable("directory", 10, [], None, path="C:\\ProgramData\\Yard")
mutex = observable("mutex", 60, [], None, name="Global\\dredger-one")
process = observable("process", 40, [], None, pid=4242, command_line="qpack.exe --silent yard.plan")
software = observable("software", 5, [], None, name="Yard Planner", version="7.2", vendor="Example Software", cpe="cpe:2.3:a:example:yard_planner:7.2:*:*:*:*:*:*:*")
account = observable("user-account", 30, [], None, account_login="svc-maint", account_type="windows-domain", user_id="1107", display_name="Maintenance")
key = observable("windows-registry-key", 50, [], None, key="HKEY_LOCAL_MACHINE\\Software\\Yard\\Run")
certificate = observable("x509-certificate", 45, [], None, serial_number="36:f7:d4:32:f4:ab:70:ea", issuer="CN=Example CA", subject="CN=yard-updates.example",
                         hashes={"SHA-1": hashlib.sha1(b"certificate").hexdigest()})
traffic = observable("network-traffic", 45, [], None, protocols=["tcp", "https"], src_port=49152, dst_port=443, dst_ref=observed[0])
wallet = observable("cryptocurrency-wallet", 70, ["ransom"], None, value="example-wallet-0001")
agent = observable("user-agent", 25, [], None, value="YardClient/7.2")
host = observable("hostname", 30, [], None, value="yard-planner-01")
phone = observable("phone-number", 15, [], None, value="+47 00 00 00 00")
bank = observable("bank-account", 60, [], None, iban="NO9386011117947", bic="EXAMNOKK")
text = observable("text", 5, [], None, value="Pay or the yard stands still")
relate(observed[0], "belongs-to", asn)
relate(observed[8], "resolves-to", observed[0])
relate(observed[9], "resolves-to", observed[1])
relate(hosting, "consists-of", observed[0])
relate(hosting, "consists-of", observed[8])
relate(sender, "related-to", spring)
relate(wallet, "related-to", broker)
relate(account, "related-to", remote)
relate(mail, "related-to", invoice)

# --- what was written about it -----------------------------------------------------------------
def container(stix_type, name, refs, marking="green", **fields):
    return sdo(stix_type, name, marking, object_refs=refs, **fields)


report = container("report", "Pale Heron turns to ferry operators", [pale_heron, spring, dredger, tidewater, northline, norway, invoice, encrypt] + observed[:10],
                   report_types=["threat-report"], published="2026-06-02T09:00:00.000Z", confidence=80, labels=["maritime"],
                   description="How access through a supplier became an encrypted yard plan within nine days.",
                   external_references=[{"source_name": "Harbour Watch", "url": "https://example.org/reports/hw-2026-031", "external_id": "HW-2026-031"}])
report2 = container("report", "Ember Grid: a map nobody asked for", [tin_lantern, ember, lamplight, gridworks, map_net], "amber", report_types=["campaign"],
                    published="2026-07-11T09:00:00.000Z", confidence=60, description="Collection in two grid operators.")
grouping = container("grouping", "Relays seen in March", [hosting] + observed[:4], context="suspicious-activity", description="Addresses that answered the same way.")
incident = sdo("incident", "Yard plan encrypted at Northline Ferries", "amber", incident_type="compromise", severity="high", source="response team",
               first_seen="2026-05-20T02:10:00.000Z", last_seen="2026-05-22T18:00:00.000Z", objective="Ransom", confidence=90, description="Ships sailed by hand-written lists for two days.")
relate(incident, "attributed-to", spring)
relate(incident, "targets", northline)
case = container("x-opencti-case-incident", "Recovery at Northline Ferries", [incident, dredger, terminal], "amber", severity="high", priority="P1",
                 response_types=["ransomware"], description="Rebuild of the yard planner.")
observed_data = {"type": "observed-data", "spec_version": "2.1", "id": make_id("observed-data", "march"), "created": CREATED, "modified": MODIFIED, "created_by_ref": AUTHOR,
                 "first_observed": "2026-03-12T04:00:00.000Z", "last_observed": "2026-03-12T05:00:00.000Z", "number_observed": 12, "object_refs": observed[:2],
                 "object_marking_refs": [TLP["green"]], "confidence": 80}
objects.append(observed_data)
objects.append({"type": "note", "spec_version": "2.1", "id": make_id("note", "1"), "created": CREATED, "modified": MODIFIED, "created_by_ref": AUTHOR,
                "abstract": "Second reading", "content": "The gap between access and encryption was nine days in both cases.", "authors": ["Mara Lind"], "object_refs": [report, pale_heron],
                "note_types": ["analysis"], "object_marking_refs": [TLP["green"]], "confidence": 60})
objects.append({"type": "opinion", "spec_version": "2.1", "id": make_id("opinion", "1"), "created": CREATED, "modified": MODIFIED, "created_by_ref": AUTHOR,
                "opinion": "agree", "explanation": "Same relay, same packer.", "object_refs": [report], "object_marking_refs": [TLP["green"]]})
objects.append({"type": "malware-analysis", "spec_version": "2.1", "id": make_id("malware-analysis", "1"), "created": CREATED, "modified": MODIFIED, "created_by_ref": AUTHOR,
                "product": "example-sandbox", "result_name": "bagger.bin", "result": "malicious", "submitted": "2026-05-23T10:00:00.000Z", "sample_ref": observed[17],
                "object_marking_refs": [TLP["green"]]})
objects.append({"type": "sighting", "spec_version": "2.1", "id": make_id("sighting", "1"), "created": CREATED, "modified": MODIFIED, "created_by_ref": AUTHOR,
                "first_seen": "2026-05-19T00:00:00.000Z", "last_seen": "2026-05-22T00:00:00.000Z", "count": 7, "sighting_of_ref": dredger, "where_sighted_refs": [northline],
                "confidence": 85, "object_marking_refs": [TLP["amber"]], "description": "On seven hosts."})
objects.append({"type": "sighting", "spec_version": "2.1", "id": make_id("sighting", "2"), "created": CREATED, "modified": MODIFIED, "created_by_ref": AUTHOR,
                "first_seen": "2026-02-02T00:00:00.000Z", "last_seen": "2026-02-03T00:00:00.000Z", "count": 1, "sighting_of_ref": lamplight, "where_sighted_refs": [gridworks],
                "confidence": 50, "object_marking_refs": [TLP["amber"]]})

ids = [item["id"] for item in objects]
if len(set(ids)) != len(ids):
    sys.exit("two objects share an id: " + ", ".join(sorted({i for i in ids if ids.count(i) > 1})))
known = set(ids)
for item in objects:
    for field, value in item.items():
        for reference in ([value] if field.endswith("_ref") else value if field.endswith("_refs") else []):
            if reference not in known:
                sys.exit(f"{item['id']} points to {reference}, which is not in the bundle")

bundle = {"type": "bundle", "id": make_id("bundle", "quickstart"), "objects": objects}
target = Path(__file__).resolve().parent.parent / "crates/ferrocti/assets/quickstart-bundle.json"
target.write_text(json.dumps(bundle, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
kinds = {}
for item in objects:
    kinds[item["type"]] = kinds.get(item["type"], 0) + 1
print(f"{len(objects)} objects: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
