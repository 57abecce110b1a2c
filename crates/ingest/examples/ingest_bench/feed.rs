//! A deterministic feed, which the benchmark of the store takes too: the same seed and size always yield the same bundles; a later round re-sends the same identities with about a
//! tenth of the objects changed.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

const NAMESPACE: Uuid = Uuid::from_u128(0x00ab_edb4_aa42_466c_9c01_fed2_3315_a9b7);
const TLP: [(&str, &str); 5] = [
    (
        "TLP:CLEAR",
        "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    ),
    (
        "TLP:GREEN",
        "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    ),
    (
        "TLP:AMBER",
        "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    ),
    (
        "TLP:AMBER+STRICT",
        "marking-definition--826578e1-40ad-459f-bc73-ede076f81f37",
    ),
    (
        "TLP:RED",
        "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
    ),
];
const SYLLABLES: [&str; 32] = [
    "ka", "ro", "ven", "ti", "mor", "sha", "lux", "dra", "pe", "gon", "zi", "tal", "ber", "os",
    "nim", "qua", "rel", "fy", "sto", "ark", "ul", "cin", "vex", "hol", "tri", "mar", "de", "pho",
    "sel", "wi", "jun", "ox",
];
pub const WORDS: [&str; 96] = [
    "campaign",
    "observed",
    "actor",
    "infrastructure",
    "credential",
    "phishing",
    "loader",
    "beacon",
    "payload",
    "exfiltration",
    "persistence",
    "scheduled",
    "task",
    "registry",
    "lateral",
    "movement",
    "ransomware",
    "victim",
    "sector",
    "finance",
    "energy",
    "telecom",
    "government",
    "command",
    "control",
    "server",
    "domain",
    "address",
    "hash",
    "sample",
    "packed",
    "obfuscated",
    "script",
    "document",
    "macro",
    "attachment",
    "email",
    "spearphishing",
    "exploit",
    "vulnerability",
    "remote",
    "code",
    "execution",
    "privilege",
    "escalation",
    "kernel",
    "driver",
    "backdoor",
    "implant",
    "module",
    "plugin",
    "stealer",
    "wallet",
    "browser",
    "cookie",
    "session",
    "token",
    "proxy",
    "tunnel",
    "encrypted",
    "channel",
    "certificate",
    "self",
    "signed",
    "hosting",
    "provider",
    "autonomous",
    "system",
    "bulletproof",
    "registrar",
    "nameserver",
    "resolved",
    "passive",
    "sighting",
    "sensor",
    "honeypot",
    "scanner",
    "botnet",
    "node",
    "bruteforce",
    "login",
    "attempt",
    "ssh",
    "rdp",
    "smb",
    "share",
    "worm",
    "variant",
    "family",
    "cluster",
    "overlap",
    "attributed",
    "confidence",
    "moderate",
    "analyst",
    "report",
];
const START: u64 = 1_600_000_000_000;

/// Reproducible random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Few values very common, like malware families in feeds.
    fn skewed(&mut self, n: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((n as f64 + 1.0).powf(unit) - 1.0) as usize % n
    }

    fn pick<'a>(&mut self, from: &'a [String]) -> &'a str {
        let index = self.skewed(from.len());
        &from[index]
    }

    fn word(&mut self, syllables: usize) -> String {
        (0..syllables)
            .map(|_| SYLLABLES[self.below(32) as usize])
            .collect()
    }

    fn label(&mut self) -> &'static str {
        WORDS[self.skewed(96)]
    }

    fn text(&mut self, words: usize) -> String {
        let mut text = String::with_capacity(words * 9);
        for index in 0..words {
            if index > 0 {
                text.push(' ');
            }
            if self.below(12) == 0 {
                text.push_str(&self.word(3));
            } else {
                text.push_str(self.label());
            }
            if index % 14 == 13 {
                text.push('.');
            }
        }
        text
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut hex = String::new();
        while hex.len() < digits {
            hex.push_str(&format!("{:016x}", self.next()));
        }
        hex.truncate(digits);
        hex
    }
}

fn id(stix_type: &str, contributing: &Value) -> String {
    format!(
        "{stix_type}--{}",
        Uuid::new_v5(&NAMESPACE, contributing.to_string().as_bytes())
    )
}

/// RFC 3339 of milliseconds since the epoch, for 1970 to 2100.
fn date(millis: u64) -> String {
    let (seconds, milli) = (millis / 1000, millis % 1000);
    let (days, rest) = ((seconds / 86400) as i64, seconds % 86400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 {
        month_shifted + 3
    } else {
        month_shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{milli:03}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

fn common(
    id: &str,
    stix_type: &str,
    created: u64,
    author: &str,
    tlp: usize,
    confidence: u64,
) -> Map<String, Value> {
    let object = json!({
        "type": stix_type, "spec_version": "2.1", "id": id, "created": date(created), "modified": date(created),
        "created_by_ref": author, "object_marking_refs": [TLP[tlp].1], "confidence": confidence,
    });
    match object {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn with(mut object: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        object.extend(more);
    }
    Value::Object(object)
}

fn id_of(object: &Value) -> String {
    object["id"].as_str().unwrap_or_default().to_owned()
}

/// A feed of `n` objects in one of its rounds.
pub struct Feed {
    seed: u64,
    n: usize,
    round: u64,
    head: Vec<Value>,
    authors: Vec<Value>,
    malware: Vec<String>,
    actors: Vec<String>,
    techniques: Vec<String>,
}

impl Feed {
    pub fn new(seed: u64, n: usize, round: u64) -> Self {
        let scale = |full: usize| full.min(n / 60).max(8);
        let mut r = Random::new(seed, u64::MAX);
        let mut head: Vec<Value> = TLP
            .iter()
            .map(|(name, id)| {
                json!({"type": "marking-definition", "spec_version": "2.1", "id": id, "created": "2017-01-20T00:00:00.000Z",
                    "definition_type": "TLP", "x_opencti_definition_type": "TLP", "name": name, "definition": {"TLP": name}, "x_opencti_definition": name})
            })
            .collect();
        let authors: Vec<Value> = (0..8)
            .map(|index| {
                let name = format!("feed source {index} {}", r.word(2));
                json!({"type": "identity", "spec_version": "2.1", "id": id("identity", &json!({"identity_class": "organization", "name": name})),
                    "created": date(START), "modified": date(START), "name": name, "identity_class": "organization",
                    "description": r.text(12), "x_opencti_type": "Organization"})
            })
            .collect();
        head.extend(authors.iter().cloned());
        let author = id_of(&authors[0]);
        let mut feed = Self {
            seed,
            n,
            round,
            head,
            authors,
            malware: vec![],
            actors: vec![],
            techniques: vec![],
        };
        for index in 0..scale(400) {
            let name = format!("{}{index}", r.word(3));
            let id = id("malware", &json!({ "name": name }));
            let base = common(
                &id,
                "malware",
                START + index as u64 * 3_600_000,
                &author,
                0,
                80,
            );
            feed.head.push(with(base, json!({"name": name, "is_family": true, "malware_types": ["backdoor"],
                "aliases": [r.word(4), r.word(5)], "description": r.text(60),
                "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": "execution"}]})));
            feed.malware.push(id);
        }
        for index in 0..scale(120) {
            let name = format!("{} {}{index}", r.word(2), r.word(3));
            let id = id(
                "threat-actor",
                &json!({"name": name, "opencti_type": "Threat-Actor-Group"}),
            );
            let base = common(
                &id,
                "threat-actor",
                START + index as u64 * 7_200_000,
                &author,
                1,
                75,
            );
            feed.head.push(with(base, json!({"name": name, "threat_actor_types": ["crime-syndicate"], "aliases": [r.word(5)], "description": r.text(80)})));
            feed.actors.push(id);
        }
        for index in 0..scale(600) {
            let technique = format!("T{:04}.{:03}", 1000 + index / 3, index % 3);
            let id = id(
                "attack-pattern",
                &json!({"x_mitre_id": technique.to_lowercase()}),
            );
            let base = common(
                &id,
                "attack-pattern",
                START + index as u64 * 60_000,
                &author,
                0,
                100,
            );
            feed.head.push(with(base, json!({"name": format!("{} {}", r.word(3), r.label()), "x_mitre_id": technique, "description": r.text(90),
                "external_references": [{"source_name": "mitre-attack", "external_id": technique, "url": format!("https://attack.example/techniques/{technique}")}],
                "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": "discovery"}]})));
            feed.techniques.push(id);
        }
        feed
    }

    /// Changes about every tenth object in rounds after the first.
    fn revise(&self, object: &mut Value, key: u64) {
        let mut r = Random::new(self.seed ^ (self.round << 40), key);
        if self.round == 0 || r.below(10) != 0 {
            return;
        }
        let Some(map) = object.as_object_mut() else {
            return;
        };
        let observable = !map.contains_key("created");
        if !observable {
            map.insert(
                "modified".to_owned(),
                date(1_760_000_000_000 + self.round * 3_600_000 + key % 3_600_000).into(),
            );
            map.insert("confidence".to_owned(), (95 + self.round).min(100).into());
        }
        let name = if observable {
            "x_opencti_description"
        } else {
            "description"
        };
        let text = map.get(name).and_then(Value::as_str).unwrap_or_default();
        map.insert(
            name.to_owned(),
            format!("{text} revision {} {}", self.round, r.word(3)).into(),
        );
    }

    /// One intelligence event: a report, its indicators, observables and relationships.
    fn event(&self, index: u64) -> Vec<Value> {
        let mut r = Random::new(self.seed, index);
        let author = id_of(&self.authors[r.skewed(8)]);
        let tlp = [0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4][r.below(11) as usize];
        let at = START + 40_000_000_000 + index * 40_000 + r.below(40_000);
        let malware = r.pick(&self.malware).to_owned();
        let actor = r.pick(&self.actors).to_owned();
        let technique = r.pick(&self.techniques).to_owned();
        let mut refs = vec![malware.clone(), actor.clone(), technique.clone()];
        let mut out = Vec::new();
        let relationship = |r: &mut Random, kind: &str, source: &str, target: &str, at: u64| {
            let id = id(
                "relationship",
                &json!({"relationship_type": kind, "source_ref": source, "target_ref": target}),
            );
            let mut base = common(&id, "relationship", at, &author, tlp, 40 + r.below(60));
            if r.below(3) == 0 {
                base.insert("description".to_owned(), r.text(12).into());
            }
            with(
                base,
                json!({"relationship_type": kind, "source_ref": source, "target_ref": target}),
            )
        };
        for step in 0..6 + r.below(18) {
            let at = at + step * 1000;
            let score = r.below(101);
            let (stix_type, main_type, value, pattern, mut observable) = match r.below(10) {
                0..=2 => {
                    let value = format!(
                        "{}.{}.{}.{}",
                        1 + r.below(223),
                        r.below(256),
                        r.below(256),
                        r.below(256)
                    );
                    (
                        "ipv4-addr",
                        "IPv4-Addr",
                        value.clone(),
                        format!("[ipv4-addr:value = '{value}']"),
                        json!({ "value": value }),
                    )
                }
                3..=5 => {
                    let value = format!("{}.{}.example", r.word(4), r.word(2));
                    (
                        "domain-name",
                        "Domain-Name",
                        value.clone(),
                        format!("[domain-name:value = '{value}']"),
                        json!({ "value": value }),
                    )
                }
                6..=7 => {
                    let value = format!("http://{}.example/{}/{}", r.word(3), r.word(3), r.hex(16));
                    (
                        "url",
                        "Url",
                        value.clone(),
                        format!("[url:value = '{value}']"),
                        json!({ "value": value }),
                    )
                }
                _ => {
                    let (md5, sha1, sha256) = (r.hex(32), r.hex(40), r.hex(64));
                    let pattern = format!("[file:hashes.'SHA-256' = '{sha256}']");
                    (
                        "file",
                        "StixFile",
                        sha256.clone(),
                        pattern,
                        json!({"name": format!("{}.exe", r.word(3)), "size": r.below(5_000_000),
                        "hashes": {"MD5": md5, "SHA-1": sha1, "SHA-256": sha256}}),
                    )
                }
            };
            let observable_id = id(stix_type, observable.get("hashes").unwrap_or(&observable));
            if let Some(map) = observable.as_object_mut() {
                map.extend(with(Map::new(), json!({"type": stix_type, "spec_version": "2.1", "id": observable_id, "object_marking_refs": [TLP[tlp].1],
                    "x_opencti_score": score, "x_opencti_created_by_ref": author, "x_opencti_labels": [r.label(), r.label()]}))
                    .as_object().cloned().unwrap_or_default());
            }
            let indicator_id = id("indicator", &json!({ "pattern": pattern }));
            let words = 14 + r.below(30) as usize;
            let indicator = with(
                common(
                    &indicator_id,
                    "indicator",
                    at,
                    &author,
                    tlp,
                    30 + r.below(60),
                ),
                json!({
                "name": value, "pattern": pattern, "pattern_type": "stix", "valid_from": date(at), "valid_until": date(at + 7_776_000_000_000),
                "description": r.text(words), "indicator_types": ["malicious-activity"], "labels": [r.label(), r.label(), r.label()],
                "x_opencti_score": score, "x_opencti_main_observable_type": main_type,
                "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": "command-and-control"}],
                "external_references": [{"source_name": "feed", "url": format!("https://feed.example/event/{index}")}]}),
            );
            let based_on = relationship(&mut r, "based-on", &indicator_id, &observable_id, at);
            refs.extend([id_of(&based_on), observable_id, indicator_id.clone()]);
            out.extend([observable, indicator, based_on]);
            if r.below(10) < 7 {
                let indicates = relationship(&mut r, "indicates", &indicator_id, &malware, at);
                refs.push(id_of(&indicates));
                out.push(indicates);
            }
        }
        out.push(relationship(&mut r, "uses", &actor, &malware, at));
        out.push(relationship(&mut r, "uses", &actor, &technique, at));
        let name = format!("{} activity {index} {}", r.word(3), r.label());
        let report_id = id("report", &json!({"name": name, "published": date(at)}));
        out.push(with(common(&report_id, "report", at, &author, tlp, 60 + r.below(30)), json!({
            "name": name, "published": date(at), "report_types": ["threat-report"], "description": r.text(150), "labels": [r.label()],
            "external_references": [{"source_name": "feed", "url": format!("https://feed.example/event/{index}"), "description": r.text(8)}],
            "object_refs": refs})));
        for (step, object) in out.iter_mut().enumerate() {
            self.revise(object, index << 8 | step as u64);
        }
        out
    }

    /// The bundles of the round, of about `per_bundle` objects each, with the number of objects in each.
    /// Every bundle carries the authors it refers to, as connectors do; the first ones carry what all refer to.
    pub fn bundles(&self, per_bundle: usize) -> Vec<(Vec<u8>, usize)> {
        let mut bundles = Vec::new();
        let mut emit = |objects: &[Value]| {
            let number = format!("bundle {} {} {}", self.seed, self.round, bundles.len());
            let bundle =
                json!({"type": "bundle", "id": id("bundle", &json!(number)), "objects": objects});
            bundles.push((bundle.to_string().into_bytes(), objects.len()));
        };
        for part in self.head.chunks(per_bundle) {
            emit(part);
        }
        let mut walked = self.head.len();
        let mut seen = HashSet::new();
        let mut current = Vec::new();
        let mut index = 0;
        while walked < self.n {
            for object in self.event(index) {
                if walked < self.n && seen.insert(id_of(&object)) {
                    walked += 1;
                    current.push(object);
                }
            }
            index += 1;
            if current.len() >= per_bundle || walked >= self.n {
                let named: HashSet<&str> = current
                    .iter()
                    .filter_map(|object| {
                        object
                            .get("created_by_ref")
                            .or_else(|| object.get("x_opencti_created_by_ref"))?
                            .as_str()
                    })
                    .collect();
                let mut objects: Vec<Value> = self
                    .authors
                    .iter()
                    .filter(|author| named.contains(author["id"].as_str().unwrap_or_default()))
                    .cloned()
                    .collect();
                objects.append(&mut current);
                emit(&objects);
            }
        }
        bundles
    }
}
