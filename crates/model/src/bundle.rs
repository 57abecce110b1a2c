//! Bundles: from bytes to single objects that are still text, and the order in which decoded elements must be applied.
//!
//! Splitting is cheap and strict about form (UTF-8, JSON, depth, counts); what an object says is `stix::decode`'s business.

mod order;

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

pub use order::order;

/// Bounds on what one bundle may contain.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
    /// Most objects in one bundle.
    pub objects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            objects: 1_000_000,
        }
    }
}

/// Why bytes are not a usable bundle. Nothing of it can be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not UTF-8; the offset of the first bad byte.
    #[error("the bundle is not valid UTF-8: bad byte at offset {0}")]
    Utf8(usize),
    /// Not JSON.
    #[error("the bundle is not valid JSON: {0}")]
    Json(String),
    /// Nested deeper than allowed.
    #[error("the bundle is nested deeper than {limit} levels (at offset {offset}); flatten it")]
    TooDeep {
        /// The bound.
        limit: usize,
        /// Where it was passed.
        offset: usize,
    },
    /// JSON, but not an object with `type: "bundle"`.
    #[error("this is not a STIX bundle: {0}")]
    NotABundle(String),
    /// A bundle without objects.
    #[error("the bundle has no objects")]
    Empty,
    /// More objects than allowed.
    #[error("the bundle has more than {0} objects; send it in parts")]
    TooManyObjects(usize),
}

/// One object of a bundle, still text.
#[derive(Debug, Clone)]
pub struct RawObject<'a> {
    /// Its `id`, if it is an object with a text `id`.
    pub id: Option<Cow<'a, str>>,
    /// Its `type`, if it is an object with a text `type`.
    pub stix_type: Option<Cow<'a, str>>,
    /// The JSON text.
    pub json: &'a str,
}

/// A bundle split into its objects.
#[derive(Debug, Clone)]
pub struct Bundle<'a> {
    /// The bundle's own id, if it has one.
    pub id: Option<Cow<'a, str>>,
    /// Objects in the order of the first appearance of their id; of objects with the same id the last one counts.
    pub objects: Vec<RawObject<'a>>,
    /// Ids that appeared more than once, once per superfluous appearance.
    pub duplicates: Vec<Cow<'a, str>>,
}

/// Splits a bundle. Time and memory are linear in the input; nesting is bounded before anything is parsed.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Bundle<'_>, BundleError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text =
        std::str::from_utf8(bytes).map_err(|error| BundleError::Utf8(error.valid_up_to()))?;
    check_depth(bytes, limits.depth)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = EnvelopeSeed { limits };
    let envelope = seed
        .deserialize(&mut deserializer)
        .map_err(|error| classify(text, &error))?;
    deserializer
        .end()
        .map_err(|error| BundleError::Json(error.to_string()))?;
    if envelope.over_limit {
        return Err(BundleError::TooManyObjects(limits.objects));
    }
    match envelope.stix_type.as_deref() {
        Some("bundle") => {}
        Some(other) => {
            return Err(BundleError::NotABundle(format!(
                "its type is \"{}\", not \"bundle\"",
                shorten(other)
            )));
        }
        None => {
            return Err(BundleError::NotABundle(
                "it has no text property \"type\" with the value \"bundle\"".to_owned(),
            ));
        }
    }
    let Some(raw) = envelope.objects else {
        return Err(BundleError::NotABundle(
            "it has no array \"objects\"".to_owned(),
        ));
    };
    if raw.is_empty() {
        return Err(BundleError::Empty);
    }
    Ok(index(envelope.id, &raw))
}

/// Removes duplicate ids: the content of the last appearance at the place of the first.
fn index<'a>(id: Option<Cow<'a, str>>, raw: &[&'a RawValue]) -> Bundle<'a> {
    let mut objects: Vec<RawObject<'a>> = Vec::with_capacity(raw.len());
    let mut duplicates = Vec::new();
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(raw.len());
    for value in raw {
        let json = value.get();
        let head: Head<'a> = serde_json::from_str(json).unwrap_or_default();
        let object = RawObject {
            id: head.id.0,
            stix_type: head.stix_type.0,
            json,
        };
        match object.id.clone() {
            Some(id) => match places.entry(id) {
                std::collections::hash_map::Entry::Occupied(place) => {
                    duplicates.push(place.key().clone());
                    objects[*place.get()] = object;
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(objects.len());
                    objects.push(object);
                }
            },
            None => objects.push(object),
        }
    }
    Bundle {
        id,
        objects,
        duplicates,
    }
}

/// One linear pass over the bytes; strings are skipped, so that brackets within them do not count.
fn check_depth(bytes: &[u8], limit: usize) -> Result<(), BundleError> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(&inner) = bytes.get(at) {
                    match inner {
                        b'\\' => at += 1,
                        b'"' => break,
                        _ => {}
                    }
                    at += 1;
                }
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return Err(BundleError::TooDeep { limit, offset: at });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Syntax errors carry a position; anything else means that the JSON is not a bundle.
fn classify(text: &str, error: &serde_json::Error) -> BundleError {
    if error.is_data() {
        BundleError::NotABundle(error.to_string())
    } else if text.trim().is_empty() {
        BundleError::Json("it is empty".to_owned())
    } else {
        BundleError::Json(error.to_string())
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The members of a bundle that matter; `None` for a member of another form.
struct Envelope<'a> {
    id: Option<Cow<'a, str>>,
    stix_type: Option<Cow<'a, str>>,
    objects: Option<Vec<&'a RawValue>>,
    over_limit: bool,
}

struct EnvelopeSeed {
    limits: Limits,
}

impl<'de> DeserializeSeed<'de> for EnvelopeSeed {
    type Value = Envelope<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed {
    type Value = Envelope<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object with \"type\": \"bundle\" and an array \"objects\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope {
            id: None,
            stix_type: None,
            objects: None,
            over_limit: false,
        };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "id" => envelope.id = map.next_value::<Text<'de>>()?.0,
                "type" => envelope.stix_type = map.next_value::<Text<'de>>()?.0,
                "objects" => {
                    let (objects, over) = map.next_value_seed(ObjectsSeed {
                        limit: self.limits.objects,
                    })?;
                    envelope.objects = Some(objects);
                    envelope.over_limit = over;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

/// Collects raw objects up to a limit; the rest is only counted as "over".
struct ObjectsSeed {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for ObjectsSeed {
    type Value = (Vec<&'de RawValue>, bool);

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ObjectsSeed {
    type Value = (Vec<&'de RawValue>, bool);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"objects\" to be an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut objects = Vec::new();
        while objects.len() < self.limit {
            match seq.next_element()? {
                Some(object) => objects.push(object),
                None => return Ok((objects, false)),
            }
        }
        let mut over = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            over = true;
        }
        Ok((objects, over))
    }
}

#[derive(Default, Deserialize)]
struct Head<'a> {
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default, rename = "type", borrow)]
    stix_type: Text<'a>,
}

/// A text, or `None` when the value is of another form.
#[derive(Default)]
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any JSON value")
            }
            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Borrowed(value))))
            }
            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(value.to_owned()))))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Text(None))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Text(None))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Text(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Text(None))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Text(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<Bundle<'_>, BundleError> {
        parse(text.as_bytes(), Limits::default())
    }

    #[test]
    fn objects_keep_their_order_and_their_text() {
        let bundle = split(r#"{"type":"bundle","id":"bundle--1","objects":[{"id":"a","type":"x"}, {"type":"y","id":"b"}]}"#).unwrap();
        assert_eq!(bundle.id.as_deref(), Some("bundle--1"));
        let seen: Vec<_> = bundle
            .objects
            .iter()
            .map(|o| (o.id.as_deref(), o.stix_type.as_deref(), o.json))
            .collect();
        assert_eq!(
            seen,
            [
                (Some("a"), Some("x"), r#"{"id":"a","type":"x"}"#),
                (Some("b"), Some("y"), r#"{"type":"y","id":"b"}"#)
            ]
        );
    }

    #[test]
    fn of_duplicate_ids_the_last_content_stands_at_the_first_place() {
        let bundle =
            split(r#"{"type":"bundle","objects":[{"id":"a","n":1},{"id":"b"},{"id":"a","n":2}]}"#)
                .unwrap();
        let seen: Vec<_> = bundle.objects.iter().map(|o| o.json).collect();
        assert_eq!(seen, [r#"{"id":"a","n":2}"#, r#"{"id":"b"}"#]);
        assert_eq!(bundle.duplicates, ["a"]);
    }

    #[test]
    fn things_that_are_not_objects_are_kept_for_the_decoder_to_refuse() {
        let bundle = split(r#"{"type":"bundle","objects":[1,null,"x",{"id":7},[{}]]}"#).unwrap();
        assert_eq!(bundle.objects.len(), 5);
        assert!(bundle.objects.iter().all(|object| object.id.is_none()));
    }

    #[test]
    fn each_malformed_bundle_names_its_fault() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "the bundle is not valid JSON: it is empty"),
            (b"{\"type\":\"bundle\",\"objects\":[{]}", "line 1 column 30"),
            (
                b"{\"type\":\"bundle\",\"objects\":[{}]} x",
                "trailing characters",
            ),
            (b"[1]", "this is not a STIX bundle"),
            (b"{\"objects\":[{}]}", "no text property \"type\""),
            (
                b"{\"type\":\"malware\",\"objects\":[{}]}",
                "its type is \"malware\"",
            ),
            (b"{\"type\":\"bundle\"}", "no array \"objects\""),
            (b"{\"type\":\"bundle\",\"objects\":{}}", "to be an array"),
            (b"{\"type\":\"bundle\",\"objects\":[]}", "has no objects"),
            (b"{\"type\":\"bun\xff\"}", "bad byte at offset 12"),
        ];
        for (bytes, expected) in cases {
            let message = parse(bytes, Limits::default()).unwrap_err().to_string();
            assert!(
                message.contains(expected),
                "{message} does not contain {expected}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded_without_recursion() {
        let deep = format!(
            "{{\"type\":\"bundle\",\"objects\":[{}{}]}}",
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        );
        assert_eq!(
            split(&deep).unwrap_err(),
            BundleError::TooDeep {
                limit: 64,
                offset: 90
            }
        );
        let brackets_in_text = format!(
            "{{\"type\":\"bundle\",\"objects\":[{{\"name\":\"{}\\\"\"}}]}}",
            "[".repeat(1000)
        );
        assert_eq!(split(&brackets_in_text).unwrap().objects.len(), 1);
    }

    #[test]
    fn the_number_of_objects_is_bounded() {
        let text = r#"{"type":"bundle","objects":[1,2,3]}"#;
        let limits = |objects| Limits {
            objects,
            ..Limits::default()
        };
        assert_eq!(
            parse(text.as_bytes(), limits(2)).unwrap_err(),
            BundleError::TooManyObjects(2)
        );
        assert_eq!(parse(text.as_bytes(), limits(3)).unwrap().objects.len(), 3);
    }
}
