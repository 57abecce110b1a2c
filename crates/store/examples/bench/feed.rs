//! A made-up feed: reports with indicators, observables and relationships over a pool of malware, actors and techniques, always the same for the
//! same seed. It makes elements in the platform's form, so that the store is measured without a decoder.

use std::collections::HashMap;

use ferrocti_model::{EntityType, Key, Registry, StixId, clock};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// One object of the feed; references are places of earlier objects.
pub struct Item {
    pub kind: &'static EntityType,
    pub standard: StixId,
    pub keys: Vec<Key>,
    pub attributes: Map<String, Value>,
    pub refs: Vec<(u16, usize)>,
    pub ends: Option<(usize, usize)>,
}

/// Reproducible random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0xd1b5_4a32_d192_ed03)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap_or(0)
    }

    /// A skewed choice: few are very common, as in real feeds.
    fn skewed(&mut self, n: usize) -> usize {
        let unit = self.below(1 << 30) as f64 / f64::from(1 << 30);
        (((n as f64 + 1.0).powf(unit) - 1.0) as usize).min(n - 1)
    }
}

const SYLLABLES: [&str; 24] = [
    "ka", "ro", "ven", "ti", "mor", "sha", "lux", "dra", "pe", "gon", "zi", "tal", "ber", "os",
    "nim", "qua", "rel", "fy", "sto", "ark", "ul", "cin", "vex", "hol",
];
pub const WORDS: [&str; 48] = [
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
];

fn word(random: &mut Random, syllables: usize) -> String {
    (0..syllables)
        .map(|_| SYLLABLES[random.below(SYLLABLES.len())])
        .collect()
}

fn text(random: &mut Random, words: usize) -> String {
    let mut text = String::with_capacity(words * 9);
    for n in 0..words {
        if n > 0 {
            text.push(' ');
        }
        match random.below(12) {
            0 => text.push_str(&word(random, 3)),
            _ => text.push_str(WORDS[random.skewed(WORDS.len())]),
        }
    }
    text
}

fn hex(random: &mut Random, digits: usize) -> String {
    let mut hex = String::new();
    while hex.len() < digits {
        hex.push_str(&format!("{:016x}", random.next()));
    }
    hex.truncate(digits);
    hex
}

/// The feed under construction.
struct Feed {
    random: Random,
    items: Vec<Item>,
    places: HashMap<StixId, usize>,
    references: HashMap<&'static str, u16>,
}

impl Feed {
    fn add(
        &mut self,
        kind: &str,
        identity: &str,
        attributes: Value,
        refs: &[(&'static str, usize)],
        ends: Option<(usize, usize)>,
    ) -> usize {
        let Some(kind) = Registry::get().by_name(kind) else {
            panic!("unknown type {kind}")
        };
        let standard = StixId {
            type_code: kind.stix_code,
            uuid: Uuid::new_v5(
                &Uuid::NAMESPACE_OID,
                format!("{}{identity}", kind.name).as_bytes(),
            ),
        };
        if let Some(place) = self.places.get(&standard) {
            return *place;
        }
        let Value::Object(attributes) = attributes else {
            panic!("attributes are an object")
        };
        let mut keys = Vec::new();
        for alias in attributes
            .get("aliases")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let uuid = Uuid::new_v5(
                &Uuid::NAMESPACE_OID,
                format!("{}alias{alias}{identity}", kind.name).as_bytes(),
            );
            keys.push(
                StixId {
                    type_code: kind.stix_code,
                    uuid,
                }
                .key(),
            );
        }
        let hashes = attributes
            .get("hashes")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        keys.extend(hashes.filter_map(|(algorithm, hash)| {
            Some(Key::hash_value(kind.code, algorithm, hash.as_str()?))
        }));
        let mut refs: Vec<(u16, usize)> = refs
            .iter()
            .map(|(name, place)| (self.references[name], *place))
            .collect();
        refs.sort_unstable();
        refs.dedup();
        self.items.push(Item {
            kind,
            standard,
            keys,
            attributes,
            refs,
            ends,
        });
        self.places.insert(standard, self.items.len() - 1);
        self.items.len() - 1
    }
}

/// `count` objects.
pub fn feed(seed: u64, count: usize) -> Vec<Item> {
    let names = [
        "created-by",
        "object-marking",
        "object-label",
        "object",
        "external-reference",
        "kill-chain-phase",
    ];
    let references = names
        .into_iter()
        .filter_map(|name| Some((name, Registry::get().reference_type(name)?.code)))
        .collect();
    let mut feed = Feed {
        random: Random::new(seed),
        items: Vec::with_capacity(count + 200),
        places: HashMap::new(),
        references,
    };
    let scale = |full: usize| full.min(count / 60).max(8);
    let start = 1_640_000_000_000_i64;
    let tlps: Vec<usize> = [
        "TLP:CLEAR",
        "TLP:GREEN",
        "TLP:AMBER",
        "TLP:AMBER+STRICT",
        "TLP:RED",
    ]
    .iter()
    .map(|tlp| {
        feed.add(
            "Marking-Definition",
            tlp,
            json!({"definition_type": "TLP", "definition": tlp}),
            &[],
            None,
        )
    })
    .collect();
    let labels: Vec<usize> = WORDS
        .iter()
        .map(|label| {
            feed.add(
                "Label",
                label,
                json!({"value": label, "color": "#123456"}),
                &[],
                None,
            )
        })
        .collect();
    let phase = feed.add("Kill-Chain-Phase", "c2", json!({"kill_chain_name": "mitre-attack", "phase_name": "command-and-control", "x_opencti_order": 0}), &[], None);
    let authors: Vec<usize> = (0..8)
        .map(|n| {
            let description = text(&mut feed.random, 12);
            feed.add(
                "Organization",
                &n.to_string(),
                json!({"name": format!("feed source {n}"), "description": description}),
                &[],
                None,
            )
        })
        .collect();
    let pool = |feed: &mut Feed, kind: &str, n: usize, words: usize| -> Vec<usize> {
        (0..scale(n))
            .map(|n| {
                let name = format!("{} {n}", word(&mut feed.random, 3));
                let attributes = json!({
                    "name": name, "description": text(&mut feed.random, words), "aliases": [word(&mut feed.random, 4)],
                    "created": clock::format_date(start), "modified": clock::format_date(start), "confidence": 80, "revoked": false, "lang": "en",
                });
                feed.add(kind, &name, attributes, &[("created-by", authors[0]), ("object-marking", tlps[0])], None)
            })
            .collect()
    };
    let malware = pool(&mut feed, "Malware", 400, 60);
    let actors = pool(&mut feed, "Threat-Actor-Group", 120, 80);
    let techniques = pool(&mut feed, "Attack-Pattern", 600, 90);
    let mut event = 0_i64;
    while feed.items.len() < count {
        let at = start + event * 40_000;
        let base = |at: i64, confidence: usize| json!({"created": clock::format_date(at), "modified": clock::format_date(at), "confidence": confidence, "revoked": false, "lang": "en"});
        let with = |mut attributes: Value, more: Value| {
            if let (Value::Object(attributes), Value::Object(more)) = (&mut attributes, more) {
                attributes.extend(more);
            }
            attributes
        };
        let random = &mut feed.random;
        let author = ("created-by", authors[random.skewed(8)]);
        let marking = (
            "object-marking",
            tlps[[0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4][random.below(11)]],
        );
        let (mal, actor, technique) = (
            malware[random.skewed(malware.len())],
            actors[random.skewed(actors.len())],
            techniques[random.skewed(techniques.len())],
        );
        let source = feed.add(
            "External-Reference",
            &format!("event {event}"),
            json!({"source_name": "feed", "url": format!("https://feed.example/event/{event}")}),
            &[],
            None,
        );
        let mut contents = vec![mal, actor, technique];
        let relate = |feed: &mut Feed, kind: &str, from: usize, to: usize| {
            let attributes = with(
                base(at, 40 + feed.random.below(60)),
                json!({"relationship_type": kind, "start_time": clock::format_date(at)}),
            );
            feed.add(
                kind,
                &format!("{from} {to}"),
                attributes,
                &[author, marking],
                Some((from, to)),
            )
        };
        for _ in 0..6 + feed.random.below(18) {
            let random = &mut feed.random;
            let (kind, value, attributes) = match random.below(10) {
                0..=2 => {
                    let value = format!(
                        "{}.{}.{}.{}",
                        1 + random.below(223),
                        random.below(256),
                        random.below(256),
                        random.below(256)
                    );
                    ("IPv4-Addr", value.clone(), json!({"value": value}))
                }
                3..=5 => {
                    let value = format!("{}.{}.example", word(random, 4), word(random, 2));
                    ("Domain-Name", value.clone(), json!({"value": value}))
                }
                6..=7 => {
                    let value = format!(
                        "http://{}.example/{}/{}",
                        word(random, 3),
                        word(random, 3),
                        hex(random, 16)
                    );
                    ("Url", value.clone(), json!({"value": value}))
                }
                _ => {
                    let sha = hex(random, 64);
                    let attributes = json!({"name": format!("{}.exe", word(random, 3)), "size": random.below(5_000_000), "hashes": {"MD5": hex(random, 32), "SHA-1": hex(random, 40), "SHA-256": sha}});
                    ("StixFile", sha, attributes)
                }
            };
            let score = random.below(101);
            let three = [
                labels[random.skewed(48)],
                labels[random.skewed(48)],
                labels[random.skewed(48)],
            ];
            let words = 14 + random.below(30);
            let description = text(random, words);
            let observable = feed.add(
                kind,
                &value,
                with(attributes, json!({"x_opencti_score": score})),
                &[
                    author,
                    marking,
                    ("object-label", three[0]),
                    ("object-label", three[1]),
                ],
                None,
            );
            let pattern = format!("[{}:value = '{value}']", kind.to_lowercase());
            let attributes = with(
                base(at, 30 + score / 2),
                json!({"name": value, "pattern": pattern, "pattern_type": "stix", "description": description, "indicator_types": ["malicious-activity"],
                       "valid_from": clock::format_date(at), "valid_until": clock::format_date(at + 7_776_000_000), "x_opencti_score": score,
                       "x_opencti_main_observable_type": kind, "x_opencti_detection": false}),
            );
            let refs = [
                author,
                marking,
                ("object-label", three[0]),
                ("object-label", three[1]),
                ("object-label", three[2]),
                ("external-reference", source),
                ("kill-chain-phase", phase),
            ];
            let indicator = feed.add("Indicator", &value, attributes, &refs, None);
            contents.extend([
                observable,
                indicator,
                relate(&mut feed, "based-on", indicator, observable),
            ]);
            if feed.random.below(10) < 7 {
                contents.push(relate(&mut feed, "indicates", indicator, mal));
            }
        }
        contents.extend([
            relate(&mut feed, "uses", actor, mal),
            relate(&mut feed, "uses", actor, technique),
        ]);
        let name = format!(
            "{} activity {event} {}",
            word(&mut feed.random, 3),
            WORDS[feed.random.below(48)]
        );
        let description = text(&mut feed.random, 150);
        let attributes = with(
            base(at, 80),
            json!({"name": name, "description": description, "published": clock::format_date(at), "report_types": ["threat-report"]}),
        );
        let mut refs = vec![
            author,
            marking,
            ("external-reference", source),
            ("object-label", labels[feed.random.skewed(48)]),
        ];
        refs.extend(contents.into_iter().map(|place| ("object", place)));
        feed.add("Report", &name, attributes, &refs, None);
        event += 1;
    }
    feed.items.truncate(count);
    let last = feed.items.len();
    for item in &mut feed.items {
        item.refs.retain(|(_, place)| *place < last);
    }
    feed.items
}
