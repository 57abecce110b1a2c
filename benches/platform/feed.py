"""A deterministic feed of mixed STIX objects as text: reports with their indicators, observables and relationships, on a pool of context.

The same seed and number always make the same bytes. The text is built directly, not through dictionaries: a million objects take half a minute.
The mix follows what threat feeds carry: of 100 objects about 28 observables, 28 indicators, 42 relationships, 2 reports; some 740 bytes each.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections.abc import Iterator

SCO_NAMESPACE = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7").bytes
TLP = (
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
)
TLP_NAMES = ("TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:RED")
TLP_MIX = (0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3)
SYLLABLES = "ka ro ven ti mor sha lux dra pe gon zi tal ber os nim qua rel fy sto ark ul cin vex hol tri mar de pho sel wi jun ox".split()
WORDS = """campaign observed actor infrastructure credential phishing loader beacon payload exfiltration persistence scheduled task registry
lateral movement ransomware victim sector finance energy telecom government command control server domain address hash sample packed obfuscated
script document macro attachment email spearphishing exploit vulnerability remote code execution privilege escalation kernel driver backdoor
implant module plugin stealer wallet browser cookie session token proxy tunnel encrypted channel certificate self signed hosting provider
autonomous system bulletproof registrar nameserver resolved passive sighting sensor honeypot scanner botnet node bruteforce login attempt ssh
rdp smb share worm variant family cluster overlap attributed confidence moderate analyst report""".split()


def uuid5(name: str) -> str:
    """The UUID, version 5, of a name under the namespace of STIX observables."""
    digest = bytearray(hashlib.sha1(SCO_NAMESPACE + name.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def timestamp(seconds: int) -> str:
    """A date of the year 2022 and later in STIX's form; good for 27 years of 365 days, which is all that a feed needs."""
    day, second = divmod(seconds, 86_400)
    year, day = divmod(day, 365)
    month, day = divmod(day, 31)
    return f"{2022 + year}-{month + 1:02}-{min(day, 27) + 1:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000Z"


class Feed:
    """The objects of one feed, in the order in which they are sent."""

    def __init__(self, seed: int, number: int) -> None:
        self.number = number
        self.random = random.Random(seed)
        self.seed = seed
        self.seen: set[str] = set()
        #: A sample of words that hardly any other object has, for searching.
        self.rare: list[str] = []
        #: A sample of indicators, for reading by id.
        self.indicators: list[str] = []

    def objects(self) -> Iterator[str]:
        """Exactly `number` objects as JSON text, none twice."""
        left = self.number
        for source in (self._context(), self._events()):
            for key, text in source:
                if key in self.seen:
                    continue
                self.seen.add(key)
                yield text
                left -= 1
                if left == 0:
                    return

    def bundles(self, size: int) -> Iterator[tuple[int, str]]:
        """(number of objects, bundle as JSON text)."""
        batch: list[str] = []
        for text in self.objects():
            batch.append(text)
            if len(batch) == size:
                yield size, self._bundle(batch)
                batch = []
        if batch:
            yield len(batch), self._bundle(batch)

    def _bundle(self, batch: list[str]) -> str:
        return '{"type":"bundle","id":"bundle--' + str(uuid.UUID(int=self.random.getrandbits(128), version=4)) + '","objects":[' + ",".join(batch) + "]}"

    # --- small parts --------------------------------------------------------------------------------------------------------

    def _skewed(self, number: int) -> int:
        """A pick of which few values are very common, like families in feeds."""
        return int((number + 1.0) ** self.random.random() - 1.0) % number

    def _word(self, syllables: int) -> str:
        return "".join(self.random.choices(SYLLABLES, k=syllables))

    def _text(self, words: int) -> str:
        picked = [WORDS[self._skewed(len(WORDS))] if self.random.random() > 1 / 12 else self._word(3) for _ in range(words)]
        for end in range(13, words, 14):
            picked[end] += "."
        return " ".join(picked)

    def _hex(self, digits: int) -> str:
        return f"{self.random.getrandbits(digits * 4):0{digits}x}"

    # --- objects ------------------------------------------------------------------------------------------------------------

    def _head(self, kind: str, identifier: str, at: int, author: str, tlp: int, confidence: int) -> str:
        moment = timestamp(at)
        return (
            f'{{"type":"{kind}","spec_version":"2.1","id":"{identifier}","created":"{moment}","modified":"{moment}",'
            f'"created_by_ref":"{author}","object_marking_refs":["{TLP[tlp]}"],"confidence":{confidence}'
        )

    def _context(self) -> Iterator[tuple[str, str]]:
        """Markings, authors, and the pool of malware, actors and techniques that events draw on."""
        scale = lambda full: max(8, min(full, self.number // 60))  # noqa: E731
        for identifier, name in zip(TLP, TLP_NAMES):
            yield identifier, json.dumps(
                {"type": "marking-definition", "spec_version": "2.1", "id": identifier, "created": "2017-01-20T00:00:00.000Z", "definition_type": "TLP",
                 "name": name, "definition": {"TLP": name}, "x_opencti_definition_type": "TLP", "x_opencti_definition": name}
            )  # fmt: skip
        self.authors = []
        for index in range(8):
            name = f"feed source {self.seed} {index} {self._word(2)}"
            identifier = "identity--" + uuid5(f"organization {name}")
            self.authors.append(identifier)
            moment = timestamp(index)
            yield identifier, (
                f'{{"type":"identity","spec_version":"2.1","id":"{identifier}","created":"{moment}","modified":"{moment}","name":"{name}",'
                f'"identity_class":"organization","description":"{self._text(12)}","x_opencti_type":"Organization"}}'
            )
        self.malware, self.actors, self.techniques = [], [], []
        for index in range(scale(400)):
            name = f"{self._word(3)}{self.seed}x{index}"
            identifier = "malware--" + uuid5(f"malware {name}")
            self.malware.append(identifier)
            yield identifier, self._head("malware", identifier, index * 3600, self.authors[0], 0, 80) + (
                f',"name":"{name}","is_family":true,"malware_types":["backdoor"],"aliases":["{self._word(4)}{self.seed}x{index}"],'
                f'"description":"{self._text(60)}","kill_chain_phases":[{{"kill_chain_name":"mitre-attack","phase_name":"execution"}}]}}'
            )
        for index in range(scale(120)):
            name = f"{self._word(2)} {self._word(3)} {self.seed}x{index}"
            identifier = "threat-actor--" + uuid5(f"threat-actor {name}")
            self.actors.append(identifier)
            yield identifier, self._head("threat-actor", identifier, index * 7200, self.authors[0], 1, 75) + (
                f',"name":"{name}","threat_actor_types":["crime-syndicate"],"aliases":["{self._word(4)}{self.seed}x{index}"],"description":"{self._text(80)}"}}'
            )
        for index in range(scale(600)):
            number = f"T{1000 + self.seed % 8 * 1000 + index // 3:04}.{index % 3:03}"
            identifier = "attack-pattern--" + uuid5(f"attack-pattern {number} {self.seed}")
            self.techniques.append(identifier)
            yield identifier, self._head("attack-pattern", identifier, index * 60, self.authors[0], 0, 100) + (
                f',"name":"{self._word(3)} {self.random.choice(WORDS)}","x_mitre_id":"{number}","description":"{self._text(90)}",'
                f'"external_references":[{{"source_name":"mitre-attack","external_id":"{number}","url":"https://attack.example/techniques/{number}"}}],'
                '"kill_chain_phases":[{"kill_chain_name":"mitre-attack","phase_name":"discovery"}]}'
            )

    def _relationship(self, kind: str, source: str, target: str, at: int, author: str, tlp: int) -> tuple[str, str]:
        identifier = "relationship--" + uuid5(f"{kind} {source} {target}")
        text = f',"description":"{self._text(12)}"' if self.random.random() < 1 / 3 else ""
        return identifier, self._head("relationship", identifier, at, author, tlp, 40 + self.random.randrange(60)) + (
            f',"relationship_type":"{kind}","source_ref":"{source}","target_ref":"{target}"{text}}}'
        )

    def _observable(self) -> tuple[str, str, str, str, str]:
        """(STIX type, platform's type, its main value, what identifies it, its own properties)."""
        kind = self.random.randrange(10)
        if kind < 3:
            value = ".".join(str(1 + self.random.randrange(254)) for _ in range(4))
            return "ipv4-addr", "IPv4-Addr", value, f'{{"value":"{value}"}}', f'"value":"{value}"'
        if kind < 6:
            rare = self._word(4)
            if len(self.rare) < 2000 and self.random.random() < 0.1:
                self.rare.append(rare)
            value = f"{rare}.{self._word(2)}.example"
            return "domain-name", "Domain-Name", value, f'{{"value":"{value}"}}', f'"value":"{value}"'
        if kind < 8:
            value = f"http://{self._word(3)}.example/{self._word(3)}/{self._hex(16)}"
            return "url", "Url", value, f'{{"value":"{value}"}}', f'"value":"{value}"'
        md5, sha1, sha256 = self._hex(32), self._hex(40), self._hex(64)
        properties = f'"name":"{self._word(3)}.exe","size":{self.random.randrange(5_000_000)},"hashes":{{"MD5":"{md5}","SHA-1":"{sha1}","SHA-256":"{sha256}"}}'
        return "file", "StixFile", sha256, f'{{"hashes":{{"MD5":"{md5}"}}}}', properties

    def _events(self) -> Iterator[tuple[str, str]]:
        event = 0
        while True:
            event += 1
            yield from self._event(event)

    def _event(self, event: int) -> Iterator[tuple[str, str]]:
        """A report with its indicators, observables and relationships; the report comes last, since it refers to all of them."""
        pick = self.random
        author = self.authors[self._skewed(8)]
        tlp = pick.choice(TLP_MIX)
        at = (event * 40 + pick.randrange(40)) % 600_000_000
        malware, actor, technique = (pool[self._skewed(len(pool))] for pool in (self.malware, self.actors, self.techniques))
        contained = [malware, actor, technique]
        for index in range(6 + pick.randrange(18)):
            moment, score = at + index, pick.randrange(101)
            stix_type, main_type, value, identity, properties = self._observable()
            observable = f"{stix_type}--{uuid5(identity)}"
            labels = ",".join(f'"{WORDS[self._skewed(96)]}"' for _ in range(2))
            yield observable, (
                f'{{"type":"{stix_type}","spec_version":"2.1","id":"{observable}",{properties},"object_marking_refs":["{TLP[tlp]}"],'
                f'"x_opencti_score":{score},"x_opencti_created_by_ref":"{author}","x_opencti_labels":[{labels}]}}'
            )
            path = "file:hashes.'SHA-256'" if stix_type == "file" else f"{stix_type}:value"
            pattern = f"[{path} = '{value}']"
            indicator = "indicator--" + uuid5(f'{{"pattern":"{pattern}"}}')
            if len(self.indicators) < 5000 and pick.random() < 0.1:
                self.indicators.append(indicator)
            labels = ",".join(f'"{WORDS[self._skewed(96)]}"' for _ in range(3))
            yield indicator, self._head("indicator", indicator, moment, author, tlp, 30 + pick.randrange(70)) + (
                f',"name":"{value}","pattern":"{pattern}","pattern_type":"stix","valid_from":"{timestamp(moment)}",'
                f'"valid_until":"{timestamp(moment + 7_776_000)}","description":"{self._text(14 + pick.randrange(30))}",'
                f'"indicator_types":["malicious-activity"],"labels":[{labels}],"x_opencti_score":{score},"x_opencti_main_observable_type":"{main_type}",'
                '"kill_chain_phases":[{"kill_chain_name":"mitre-attack","phase_name":"command-and-control"}],'
                f'"external_references":[{{"source_name":"feed","url":"https://feed.example/event/{self.seed}/{event}"}}]}}'
            )
            contained += (observable, indicator)
            targets = [("based-on", observable)] + ([("indicates", malware)] if pick.random() < 0.7 else [])
            for kind, target in targets:
                relationship = self._relationship(kind, indicator, target, moment, author, tlp)
                contained.append(relationship[0])
                yield relationship
        yield self._relationship("uses", actor, malware, at, author, tlp)
        yield self._relationship("uses", actor, technique, at, author, tlp)
        name = f"{self._word(3)} activity {self.seed} {event} {pick.choice(WORDS)}"
        report = "report--" + uuid5(f"report {name}")
        objects = ",".join(f'"{one}"' for one in contained)
        yield report, self._head("report", report, at, author, tlp, 60 + pick.randrange(40)) + (
            f',"name":"{name}","published":"{timestamp(at)}","report_types":["threat-report"],"description":"{self._text(150)}",'
            f'"labels":["{WORDS[self._skewed(96)]}"],"object_refs":[{objects}],'
            f'"external_references":[{{"source_name":"feed","url":"https://feed.example/event/{self.seed}/{event}","description":"{self._text(8)}"}}]}}'
        )
