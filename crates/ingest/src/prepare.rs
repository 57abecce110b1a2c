//! From the bytes of a message to objects ready to be applied. Pure, and done off the writing thread.

use std::{ops::Range, sync::Arc};

use ferrocti_model::{
    Key, StixId,
    bundle::{self, BundleError, Limits},
    stix::{self, Refusal, RefusalReason},
};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    apply::Input,
    message::{Content, Message, Reason, Undeliverable},
};

/// One message of a push queue on its way to the commit.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Queue it came from.
    pub queue: Arc<str>,
    /// Its number there.
    pub seq: u64,
    /// Bytes it counts as in flight.
    pub size: u64,
    /// When it was published, milliseconds since the epoch.
    pub published_at: i64,
    /// Epoch of the connector that published it over AMQP; `None`: it came from the platform, or was replayed.
    pub epoch: Option<i64>,
    /// Its content, or why there is none.
    pub parcel: Result<Parcel, Undeliverable>,
}

impl Delivery {
    /// Number of objects in it.
    pub(crate) fn objects(&self) -> usize {
        self.parcel.as_ref().map_or(0, |parcel| parcel.items.len())
    }
}

/// The content of one message: a bundle cut into objects.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The connector whose queue it came through.
    pub connector: Arc<str>,
    /// The work that hears of it.
    pub work: Option<Arc<str>>,
    /// The user it asks to run as.
    pub applicant: Option<Uuid>,
    /// Restriction to these lower-case types; empty: none.
    pub entity_types: Vec<String>,
    /// Whether its work hears of it once, as a whole.
    pub whole: bool,
    /// Whether it came with exactly one object, which its sender has announced.
    pub single: bool,
    /// Number of the row in `push` that holds it, for a bundle pushed through the API. Its expectations are counted already.
    pub push: Option<i64>,
    /// Who pushed it (`User.row`), for a bundle pushed through the API: the platform itself vouches for that.
    pub pusher: Option<i64>,
    /// Epoch of the connector by which it was sent; `None`: the present one.
    pub epoch: Option<i64>,
    /// The row in `push` is gone: it has been applied.
    pub gone: bool,
    /// The bundle's text.
    pub text: Arc<str>,
    /// Its objects in order.
    pub items: Vec<Item>,
}

/// One object of a bundle.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where it stands in the text.
    pub range: Range<usize>,
    /// Key of its id, if that is a STIX id of a known type.
    pub key: Option<Key>,
    /// Digest of its text.
    pub digest: u64,
    /// The decoded object, or why it is refused; `None`: not decoded, because it is expected to be unchanged.
    pub decoded: Option<Result<Box<Ready>, Refusal>>,
}

/// A decoded object with what can be computed about it without the store.
#[derive(Debug)]
pub(crate) struct Ready {
    /// What it consists of, usually one element.
    pub elements: Vec<Input>,
    /// Labels, references and the like that it carries within itself.
    pub implied: Vec<Input>,
    /// What was left out of it, and why.
    pub dropped: Vec<String>,
}

impl Parcel {
    /// The text of one item.
    pub(crate) fn json(&self, item: &Item) -> &str {
        self.text.get(item.range.clone()).unwrap_or_default()
    }

    /// Decodes one item.
    pub(crate) fn decode(&self, index: usize) -> Result<Box<Ready>, Refusal> {
        decode(self.items.get(index).map_or("", |item| self.json(item)))
    }
}

/// Decodes the text of one object.
pub(crate) fn decode(json: &str) -> Result<Box<Ready>, Refusal> {
    let decoded = stix::decode_json(json)?;
    Ok(Box::new(Ready {
        elements: decoded.elements.into_iter().map(Input::new).collect(),
        implied: decoded.implied.into_iter().map(Input::new).collect(),
        dropped: decoded.dropped.iter().map(ToString::to_string).collect(),
    }))
}

/// Cuts the bundle of a decoded message into objects. `pushed` is the text of the bundle that a pointer leads to, who pushed it, and
/// in which epoch of the connector; `epoch` is that of the message itself.
pub(crate) fn parcel(
    connector: &Arc<str>,
    message: Message,
    pushed: Option<(String, i64, i64)>,
    epoch: Option<i64>,
) -> Result<Parcel, Undeliverable> {
    let pusher = pushed.as_ref().map(|(_, user, _)| *user);
    let epoch = pushed.as_ref().map_or(epoch, |(.., epoch)| Some(*epoch));
    let (push, bytes, gone) = match (message.content, pushed) {
        (Content::Bundle(bytes), _) => (None, bytes, false),
        (Content::Pushed(push), Some((text, ..))) => (Some(push), text.into_bytes(), false),
        (Content::Pushed(push), None) => (Some(push), Vec::new(), true),
    };
    let mut parcel = Parcel {
        connector: Arc::clone(connector),
        work: message.work_id.as_deref().map(Arc::from),
        applicant: message.applicant,
        entity_types: message.entity_types,
        whole: message.no_split,
        single: false,
        push,
        pusher,
        epoch,
        gone,
        text: "".into(),
        items: Vec::new(),
    };
    if gone {
        return Ok(parcel);
    }
    // bytes that are not UTF-8 become U+FFFD, and the objects they stand in are refused
    let (text, damaged) = match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    };
    let (mut items, duplicates) = items(&text).map_err(|error| Undeliverable {
        reason: Reason::NotBundle(error.to_string()),
        work_id: message.work_id,
    })?;
    for item in items.iter_mut().filter(|_| damaged) {
        let json = text.get(item.range.clone()).unwrap_or_default();
        if json.contains('\u{fffd}') {
            let id = item
                .key
                .and_then(|key| key.ident())
                .map(|ident| ident.to_string());
            let reason = RefusalReason::NotAnObject("its text is not valid UTF-8".to_owned());
            item.decoded = Some(Err(Refusal {
                id,
                name: None,
                reason,
            }));
        }
    }
    parcel.single = items.len() + duplicates == 1;
    parcel.items = items;
    parcel.text = text.into();
    Ok(parcel)
}

/// The objects of a bundle, cut but not decoded, and how many of the same id were left out.
pub(crate) fn items(text: &str) -> Result<(Vec<Item>, usize), BundleError> {
    let bundle = bundle::parse(text.as_bytes(), Limits::default())?;
    let start = text.as_ptr() as usize;
    let items = bundle
        .objects
        .iter()
        .map(|object| {
            let from = (object.json.as_ptr() as usize).saturating_sub(start);
            Item {
                range: from..from + object.json.len(),
                key: object
                    .id
                    .as_deref()
                    .and_then(|id| StixId::parse(id).ok())
                    .map(|id| id.key()),
                digest: xxh3_64(without_dependency_count(object.json).as_bytes()),
                decoded: None,
            }
        })
        .collect();
    Ok((items, bundle.duplicates.len()))
}

/// Clients append `"nb_deps": n` to each object. It tells about the bundle, not about the object, so the digest leaves it out.
pub(crate) fn without_dependency_count(json: &str) -> &str {
    let tail = json.len().saturating_sub(40);
    json.as_bytes()[tail..]
        .windows(11)
        .rposition(|window| window == b",\"nb_deps\":" || window == b", \"nb_deps\"")
        .filter(|at| {
            let rest = json.as_bytes()[tail + at + 11..]
                .strip_suffix(b"}")
                .unwrap_or(b"}");
            rest.iter()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b':'))
        })
        .and_then(|at| json.get(..tail + at))
        .unwrap_or(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_dependencies_does_not_count_as_content() {
        for (json, expected) in [
            (r#"{"id": "a", "nb_deps": 12}"#, r#"{"id": "a""#),
            (r#"{"id":"a","nb_deps":1}"#, r#"{"id":"a""#),
            (r#"{"id":"a"}"#, r#"{"id":"a"}"#),
            (r#"{"nb_deps": 1, "id":"a"}"#, r#"{"nb_deps": 1, "id":"a"}"#),
            (
                r#"{"id":"a","x":{"b":1,"nb_deps":2},"y":3}"#,
                r#"{"id":"a","x":{"b":1,"nb_deps":2},"y":3}"#,
            ),
            (
                r#"{"id":"a","x":{"b":1,"nb_deps":2}}"#,
                r#"{"id":"a","x":{"b":1,"nb_deps":2}}"#,
            ),
            ("", ""),
            ("7", "7"),
        ] {
            assert_eq!(without_dependency_count(json), expected);
        }
    }

    #[test]
    fn items_point_into_the_text() {
        let text = r#"{"type":"bundle","objects":[ {"id":"malware--11111111-1111-4111-8111-111111111111","type":"malware"}, 7 ]}"#;
        let (items, _) = items(text).unwrap();
        assert_eq!(
            &text[items[0].range.clone()],
            r#"{"id":"malware--11111111-1111-4111-8111-111111111111","type":"malware"}"#
        );
        assert!(items[0].key.is_some() && items[1].key.is_none());
        assert_eq!(&text[items[1].range.clone()], "7");
    }
}
