//! Deterministic STIX ids: what an element is decides its id, so that two sources that know the same thing name the same element.
//!
//! An id is the UUIDv5 of the canonical JSON (RFC 8785) of the contributing properties; which properties, and how they are
//! normalised, is stated per type in the registry. The rules are those of platform release 7; [`legacy_id`] gives the id of
//! release 6 where it differs.

use std::borrow::Cow;

use serde_json::{Map, Value};
use uuid::{Uuid, uuid};

use crate::{
    clock,
    id::{Key, StixId},
    list,
    registry::{Contribution, EntityType, IdRule, Normalise, Registry},
};

/// Namespace of the ids of everything that STIX knows (STIX 2.1, section 2.9).
pub const OASIS_NAMESPACE: Uuid = uuid!("00abedb4-aa42-466c-9c01-fed23315a9b7");
/// Namespace of the ids of the platform's own objects (users, groups, …).
pub const PLATFORM_NAMESPACE: Uuid = uuid!("b639ff3b-00eb-42ed-aa36-a8dd6f8fb4cf");

/// Hash algorithms in the order in which they identify a file.
const IDENTIFYING_HASHES: [&str; 7] = [
    "MD5", "SHA-1", "SHA-256", "SHA-512", "SHA3-256", "SHA3-512", "SSDEEP",
];
/// Hash algorithms by what it takes to make two files share a value, the hardest first. Those that are not listed come last.
const HASHES_BY_STRENGTH: [&str; 9] = [
    "SHA-512", "SHA3-512", "SHA-384", "SHA3-384", "SHA-256", "SHA3-256", "SHA-224", "SHA-1", "MD5",
];
/// Hashes that different files may share; they never make two objects the same.
const FUZZY_HASHES: [&str; 4] = ["SSDEEP", "SDHASH", "TLSH", "LZJD"];

/// Ids of the TLP markings, fixed by STIX 2.1 section 7.2.1.4 and by the platform for the levels that came later.
const FIXED_MARKINGS: [(&str, Uuid); 6] = [
    ("TLP:CLEAR", uuid!("613f2e26-407d-48c7-9eca-b8e91df99dc9")),
    ("TLP:WHITE", uuid!("613f2e26-407d-48c7-9eca-b8e91df99dc9")),
    ("TLP:GREEN", uuid!("34098fce-860f-48ae-8e50-ebd3cc5e41da")),
    ("TLP:AMBER", uuid!("f88d31f6-486f-44da-b317-01333bde0b82")),
    (
        "TLP:AMBER+STRICT",
        uuid!("826578e1-40ad-459f-bc73-ede076f81f37"),
    ),
    ("TLP:RED", uuid!("5e57c739-391a-4eb3-b6be-7d15ca92d5ed")),
];

/// Why an element has no deterministic id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdRuleError {
    /// No way of the type's rule has content.
    #[error("a {kind} needs {needs} to be identified, and none is given")]
    Missing {
        /// Name of the type.
        kind: String,
        /// Ways to identify it, for the reader.
        needs: String,
    },
}

/// The standard ids of the elements that a reference (`objects`, `networkSrc`, …) or an end (`from`, `to`) of the element points to.
pub type Targets<'a> = dyn Fn(&str) -> Vec<StixId> + 'a;

/// The standard id of an element by the rules of release 7; `None` when its type has random ids.
///
/// `attributes` are in stored form (dates with milliseconds and `Z`). `targets` is asked only for the references and ends that
/// contribute.
pub fn standard_id(
    kind: &EntityType,
    attributes: &Map<String, Value>,
    targets: &Targets<'_>,
) -> Result<Option<StixId>, IdRuleError> {
    if kind.id_rule.ways.is_empty() {
        return Ok(None);
    }
    let uuid = fixed_marking(kind, attributes)
        .or_else(|| by_rule(&kind.id_rule, OASIS_NAMESPACE, attributes, targets))
        .ok_or_else(|| IdRuleError::Missing {
            kind: kind.name.clone(),
            needs: needs(&kind.id_rule),
        })?;
    Ok(Some(StixId {
        type_code: kind.stix_code,
        uuid,
    }))
}

/// The standard id that release 6 gave this element, where it differs from that of release 7.
#[must_use]
pub fn legacy_id(
    kind: &EntityType,
    attributes: &Map<String, Value>,
    targets: &Targets<'_>,
) -> Option<StixId> {
    let rule = kind.legacy_id_rule.as_ref()?;
    let uuid = by_rule(rule, OASIS_NAMESPACE, attributes, targets)?;
    let now = by_rule(&kind.id_rule, OASIS_NAMESPACE, attributes, targets);
    (now != Some(uuid)).then_some(StixId {
        type_code: kind.stix_code,
        uuid,
    })
}

/// The ids that the element would have with each of its aliases as its name, without repetition.
#[must_use]
pub fn alias_ids(kind: &EntityType, attributes: &Map<String, Value>) -> Vec<StixId> {
    let aliases = kind
        .alias_attribute
        .as_deref()
        .and_then(|name| attributes.get(name))
        .and_then(Value::as_array);
    let Some(aliases) = aliases.filter(|aliases| !aliases.is_empty()) else {
        return Vec::new();
    };
    let Some(way) = kind
        .id_rule
        .ways
        .iter()
        .find(|way| way.iter().any(|c| c.property == "name"))
    else {
        return Vec::new();
    };
    let mut renamed: Map<String, Value> = way
        .iter()
        .filter_map(|c| {
            attributes
                .get(&c.property)
                .map(|value| (c.property.clone(), value.clone()))
        })
        .collect();
    let mut ids = Vec::with_capacity(aliases.len());
    for alias in aliases {
        renamed.insert("name".to_owned(), alias.clone());
        ids.extend(content(way, &renamed, &|_| Vec::new()).map(|json| StixId {
            type_code: kind.stix_code,
            uuid: Uuid::new_v5(&OASIS_NAMESPACE, &json),
        }));
    }
    list::unique(&ids)
}

/// Keys of the hash values by which a hashed observable (file, artifact, certificate) is recognised; none for other types.
#[must_use]
pub fn hash_keys(kind: &EntityType, attributes: &Map<String, Value>) -> Vec<Key> {
    hashes(kind, attributes)
        .map(|(algorithm, value)| Key::hash_value(kind.code, algorithm, value))
        .collect()
}

/// The ids that a hashed observable would have if only one of its hashes were known, for each identifying hash.
#[must_use]
pub fn hash_ids(kind: &EntityType, attributes: &Map<String, Value>) -> Vec<StixId> {
    hashes(kind, attributes)
        .filter(|(algorithm, _)| IDENTIFYING_HASHES.contains(algorithm))
        .filter_map(|(algorithm, value)| {
            let one = Value::from(Map::from_iter([(algorithm.to_owned(), Value::from(value))]));
            let only = Map::from_iter([("hashes".to_owned(), one)]);
            standard_id(kind, &only, &|_| Vec::new()).ok().flatten()
        })
        .collect()
}

/// One hash algorithm and the values that two hashed observables have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommonHash<'a> {
    /// The algorithm.
    pub algorithm: &'a str,
    /// The value of the one.
    pub one: &'a str,
    /// The value of the other.
    pub other: &'a str,
}

impl CommonHash<'_> {
    /// Whether both values are the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.one.eq_ignore_ascii_case(self.other)
    }

    /// How much the algorithm says: 0 for the strongest.
    #[must_use]
    pub fn rank(&self) -> usize {
        HASHES_BY_STRENGTH
            .iter()
            .position(|known| *known == self.algorithm)
            .unwrap_or(HASHES_BY_STRENGTH.len())
    }
}

/// The hashes that two hashed observables of one type both have, the strongest first; fuzzy ones say nothing and are left out.
///
/// The first decides whether the two are the same: files can be made that share a weak hash (MD5, SHA-1).
#[must_use]
pub fn common_hashes<'a>(
    kind: &EntityType,
    one: &'a Map<String, Value>,
    other: &'a Map<String, Value>,
) -> Vec<CommonHash<'a>> {
    let mut common: Vec<CommonHash<'a>> = hashes(kind, one)
        .filter_map(|(algorithm, one)| {
            let (_, other) = hashes(kind, other).find(|(known, _)| *known == algorithm)?;
            Some(CommonHash {
                algorithm,
                one,
                other,
            })
        })
        .collect();
    common.sort_by_key(CommonHash::rank);
    common
}

/// The standard id `<type>--<uuid>` of an object that is not part of the knowledge (`User`, `Group`, `Role`, …); `None` when the
/// type has random ids or nothing identifies the object.
#[must_use]
pub fn internal_standard_id(type_name: &str, attributes: &Map<String, Value>) -> Option<String> {
    let (stix_type, rule) = Registry::get().internal_id_rule(type_name)?;
    let uuid = by_rule(rule, PLATFORM_NAMESPACE, attributes, &|_| Vec::new())?;
    Some(format!("{stix_type}--{uuid}"))
}

/// A name as identifiers compare it: lower case, trimmed.
#[must_use]
pub fn normalise_name(text: &str) -> String {
    trim(&lower(text)).to_owned()
}

/// Cuts blanks at both ends as JavaScript does: Unicode white space and U+FEFF, but not U+0085.
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}'))
}

fn hashes<'a>(
    kind: &EntityType,
    attributes: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    kind.is_a("Hashed-Observable")
        .then(|| attributes.get("hashes").and_then(Value::as_object))
        .flatten()
        .into_iter()
        .flatten()
        .filter_map(|(algorithm, value)| Some((algorithm.as_str(), value.as_str()?)))
        .filter(|(algorithm, value)| !FUZZY_HASHES.contains(algorithm) && !trim(value).is_empty())
}

fn fixed_marking(kind: &EntityType, attributes: &Map<String, Value>) -> Option<Uuid> {
    if kind.name != "Marking-Definition" {
        return None;
    }
    let text = |name: &str| {
        attributes
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_uppercase)
    };
    if text("definition_type")? != "TLP" {
        return None;
    }
    let definition = text("definition")?;
    FIXED_MARKINGS
        .iter()
        .find(|(name, _)| *name == definition)
        .map(|(_, uuid)| *uuid)
}

fn by_rule(
    rule: &IdRule,
    namespace: Uuid,
    attributes: &Map<String, Value>,
    targets: &Targets<'_>,
) -> Option<Uuid> {
    rule.ways
        .iter()
        .find_map(|way| content(way, attributes, targets))
        .map(|json| Uuid::new_v5(&namespace, &json))
}

/// The canonical JSON of one way, or nothing when no property has content or one lacks what it requires.
fn content(
    way: &[Contribution],
    attributes: &Map<String, Value>,
    targets: &Targets<'_>,
) -> Option<Vec<u8>> {
    let parts: Vec<Option<Part<'_>>> = way.iter().map(|c| part(c, attributes, targets)).collect();
    let has = |property: &String| {
        way.iter()
            .zip(&parts)
            .any(|(c, part)| c.property == *property && part.is_some())
    };
    let mut json = Vec::with_capacity(192);
    let mut identifies = false;
    for (contribution, part) in way.iter().zip(&parts) {
        let Some(part) = part else { continue };
        if !contribution.requires.iter().all(has) {
            return None;
        }
        identifies |= contribution.constant.is_none();
        json.push(if json.is_empty() { b'{' } else { b',' });
        write_text(&mut json, &contribution.key);
        json.push(b':');
        part.write(&mut json);
    }
    json.push(b'}');
    identifies.then_some(json)
}

/// A contributing value, normalised and known not to be empty.
enum Part<'a> {
    Text(Cow<'a, str>),
    Json(&'a Value),
    Hash(&'a str, &'a str),
    One(StixId),
    List(Vec<StixId>),
}

impl Part<'_> {
    fn write(&self, json: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_text(json, text),
            Self::Json(value) => write_json(json, value),
            Self::Hash(algorithm, value) => {
                json.push(b'{');
                write_text(json, algorithm);
                json.push(b':');
                write_text(json, value);
                json.push(b'}');
            }
            Self::One(id) => write_text(json, &id.to_string()),
            Self::List(ids) => {
                let mut texts: Vec<_> = ids.iter().map(ToString::to_string).collect();
                texts.sort_unstable();
                json.push(b'[');
                for (index, text) in texts.iter().enumerate() {
                    if index > 0 {
                        json.push(b',');
                    }
                    write_text(json, text);
                }
                json.push(b']');
            }
        }
    }
}

fn part<'a>(
    rule: &'a Contribution,
    attributes: &'a Map<String, Value>,
    targets: &Targets<'_>,
) -> Option<Part<'a>> {
    if let Some(constant) = &rule.constant {
        return Some(Part::Text(Cow::Borrowed(constant)));
    }
    match rule.normalise {
        Normalise::Target => return targets(&rule.property).first().copied().map(Part::One),
        Normalise::Targets => {
            return Some(targets(&rule.property))
                .filter(|ids| !ids.is_empty())
                .map(Part::List);
        }
        Normalise::TargetList => {
            return targets(&rule.property)
                .first()
                .map(|id| Part::List(vec![*id]));
        }
        _ => {}
    }
    let value = attributes.get(&rule.property)?;
    match (rule.normalise, value) {
        (Normalise::FirstHash, Value::Object(hashes)) => {
            IDENTIFYING_HASHES.iter().find_map(|algorithm| {
                let value = hashes
                    .get(*algorithm)?
                    .as_str()
                    .filter(|value| !trim(value).is_empty())?;
                Some(Part::Hash(algorithm, value))
            })
        }
        (Normalise::FirstHash, _) | (_, Value::Null) => None,
        // a blank text is no content, whatever the rule would make of it
        (_, Value::String(text)) if trim(text).is_empty() => None,
        (Normalise::NumberText, Value::Number(_)) => {
            let mut text = Vec::new();
            write_json(&mut text, value);
            String::from_utf8(text)
                .ok()
                .map(|text| Part::Text(Cow::Owned(text)))
        }
        (normalise, Value::String(text)) => {
            let text: Cow<'a, str> = match normalise {
                Normalise::Trim => Cow::Borrowed(trim(text)),
                Normalise::LowerTrim => match lower(text) {
                    Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
                    Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
                },
                Normalise::Upper => Cow::Owned(text.to_uppercase()),
                Normalise::Date => clock::stored_date(text).unwrap_or(Cow::Borrowed(text)),
                _ => Cow::Borrowed(text),
            };
            Some(Part::Text(text))
        }
        (_, Value::Array(list)) if list.is_empty() => None,
        (_, Value::Object(map)) if map.is_empty() => None,
        (_, value) => Some(Part::Json(value)),
    }
}

fn lower(text: &str) -> Cow<'_, str> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

/// Writes a JSON string as RFC 8785 section 3.2.2.2 wants it; the escapes are those of JSON's ordinary writer.
fn write_text(json: &mut Vec<u8>, text: &str) {
    // writing to memory cannot fail, and neither can a string
    let _ = serde_json::to_writer(json, text);
}

/// Writes any value as RFC 8785; plain texts, truth values and small whole numbers by the short way.
fn write_json(json: &mut Vec<u8>, value: &Value) {
    /// Whole numbers up to here are exact in the double numbers that RFC 8785 is defined on.
    const EXACT: u64 = 1 << 53;
    match value {
        Value::String(text) => write_text(json, text),
        Value::Number(number) if number.as_i64().is_some_and(|n| n.unsigned_abs() <= EXACT) => {
            json.extend_from_slice(number.to_string().as_bytes());
        }
        // only numbers that JSON cannot express fail, and they cannot be in a Value
        value => drop(serde_json_canonicalizer::to_writer(value, json)),
    }
}

/// What would identify an element of this rule, for an error message: "name, or latitude and longitude".
fn needs(rule: &IdRule) -> String {
    let way = |way: &Vec<Contribution>| {
        let properties = way
            .iter()
            .filter(|c| c.constant.is_none())
            .map(|c| c.property.as_str());
        properties.collect::<Vec<_>>().join(" and ")
    };
    rule.ways.iter().map(way).collect::<Vec<_>>().join(", or ")
}
