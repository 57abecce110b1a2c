//! The body of a message in a push queue: a JSON envelope around a base64 bundle, as connectors publish it.
//!
//! Decoding is lenient about what does not matter (an optional field of the wrong type counts as absent) and strict about what
//! does (the kind of message, its content). What cannot be decoded is an [`Undeliverable`]: it names the reason for the dead letter and, if it
//! could be read, the work that must hear of it. The format is described in `docs/connectors/messages.md`.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ferrocti_accounts::Barred;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

/// Padding may be missing: some clients cut it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One decoded envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it carries.
    pub content: Content,
    /// The work that hears of every object, if the connector named one.
    pub work_id: Option<String>,
    /// The user the import is to run as, if it is a user id.
    pub applicant: Option<Uuid>,
    /// Lower-case types to which the import is restricted; empty: all.
    pub entity_types: Vec<String>,
    /// The bundle is to be reported to the work once, as a whole.
    pub no_split: bool,
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The UTF-8 JSON of a bundle.
    Bundle(Vec<u8>),
    /// A bundle that was pushed through the API and is kept in the store under this number.
    Pushed(i64),
}

/// Why a message as a whole cannot be imported. It is kept among the dead letters with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The body is not a JSON object.
    #[error("the message is not a JSON object: {0}")]
    NotJson(String),
    /// There is no `content`.
    #[error("the message has no \"content\"; it must hold the bundle in base64")]
    NoContent,
    /// `content` is not base64 text.
    #[error("\"content\" is not base64: {0}")]
    NotBase64(String),
    /// The decoded content is not a STIX bundle.
    #[error("the content is not a STIX bundle: {0}")]
    NotBundle(String),
    /// `type` is neither absent nor `bundle` nor `event`.
    #[error("unknown message type \"{0}\"; supported is \"bundle\"")]
    UnknownType(String),
    /// `type` is `event`.
    #[error("event messages are not available in this release; send the objects as a bundle")]
    Event,
    /// The message belongs to a draft.
    #[error(
        "imports into a draft are not available in this release; send the bundle without a draft"
    )]
    Draft,
    /// The connector of the queue is not registered.
    #[error("the connector {0} is not registered; register it and replay the message")]
    UnknownConnector(String),
    /// The user the connector runs as does not exist.
    #[error(
        "the user of connector {0} does not exist any more; register the connector again and replay the message"
    )]
    UnknownUser(String),
    /// The account that the connector runs under is not let in.
    #[error("connector {connector} runs under an account that is {}; let it in again and replay the message", state(.why))]
    Barred {
        /// The connector.
        connector: String,
        /// Why it is not let in.
        why: Barred,
    },
    /// Who pushed the bundle does not exist any more.
    #[error("the user who pushed the bundle does not exist any more")]
    UnknownPusher,
    /// The message asks to run as somebody who does not exist.
    #[error("the message asks to run as the user {0}, who does not exist")]
    UnknownApplicant(Uuid),
    /// The message asks to run as somebody who is not let in.
    #[error("the message asks to run as the user {applicant}, whose account is {}; let it in again and replay the message", state(.why))]
    BarredApplicant {
        /// The user.
        applicant: Uuid,
        /// Why it is not let in.
        why: Barred,
    },
    /// It was published by an instance after somebody else had taken over as the connector.
    #[error(
        "the message comes from an instance that does not act as connector {0} any more; stop that instance, or replay the message if it shall count"
    )]
    Fenced(String),
    /// Applying the message failed in a way that is our fault.
    #[error("the message could not be applied: {0}")]
    Failed(String),
}

/// What an account is that is not let in.
fn state(barred: &Barred) -> &'static str {
    match barred {
        Barred::Inactive => "inactive",
        Barred::Locked => "locked",
        Barred::Expired => "expired",
    }
}

/// A message that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeliverable {
    /// Why.
    pub reason: Reason,
    /// The work that must hear of it, if the envelope could be read that far.
    pub work_id: Option<String>,
}

/// The envelope with every value unparsed, so that one odd value does not spoil the others and the content is not copied.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    work_id: Option<&'a RawValue>,
    #[serde(borrow)]
    applicant_id: Option<&'a RawValue>,
    #[serde(borrow)]
    entities_types: Option<&'a RawValue>,
    #[serde(borrow)]
    no_split: Option<&'a RawValue>,
    #[serde(borrow)]
    draft_id: Option<&'a RawValue>,
    #[serde(borrow)]
    push_id: Option<&'a RawValue>,
}

/// A JSON text that is borrowed when it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value if it is there and has the wanted form.
fn value<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A text that is there and not blank.
fn text(raw: Option<&RawValue>) -> Option<String> {
    value::<String>(raw).filter(|text| !text.trim().is_empty())
}

/// Message type of the pointer to a bundle that was pushed through the API.
const PUSHED: &str = "pushed";

/// The body of a message that points to a pushed bundle.
#[must_use]
pub fn pointer(push_id: i64, work_id: &str) -> Vec<u8> {
    serde_json::json!({ "type": PUSHED, "push_id": push_id, "work_id": work_id })
        .to_string()
        .into_bytes()
}

/// The number of the pushed bundle that a body points to, if it is a pointer.
#[must_use]
pub fn pointed(body: &[u8]) -> Option<i64> {
    // a pointer is short; bundles need not be parsed to know that they are none
    (body.len() < 1024).then_some(())?;
    match decode(body).ok()?.content {
        Content::Pushed(push) => Some(push),
        Content::Bundle(_) => None,
    }
}

/// Decodes the body of one message of a push queue; pure.
///
/// # Errors
/// [`Undeliverable`] when the message as a whole cannot be imported.
pub fn decode(body: &[u8]) -> Result<Message, Undeliverable> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| Undeliverable {
        reason: Reason::NotJson(error.to_string()),
        work_id: None,
    })?;
    let work_id = text(envelope.work_id);
    let refuse = |reason| Undeliverable {
        reason,
        work_id: work_id.clone(),
    };
    if text(envelope.draft_id).is_some() {
        return Err(refuse(Reason::Draft));
    }
    let content = match text(envelope.kind).as_deref() {
        None | Some("bundle") => Content::Bundle(bundle(envelope.content).map_err(refuse)?),
        Some(PUSHED) => {
            Content::Pushed(value(envelope.push_id).ok_or_else(|| refuse(Reason::NoContent))?)
        }
        Some("event") => return Err(refuse(Reason::Event)),
        Some(other) => {
            return Err(refuse(Reason::UnknownType(
                other.chars().take(60).collect(),
            )));
        }
    };
    Ok(Message {
        content,
        applicant: text(envelope.applicant_id).and_then(|id| Uuid::try_parse(&id).ok()),
        entity_types: value::<Vec<String>>(envelope.entities_types)
            .unwrap_or_default()
            .iter()
            .map(|kind| kind.trim().to_lowercase())
            .filter(|kind| !kind.is_empty())
            .collect(),
        no_split: value(envelope.no_split).unwrap_or(false),
        work_id,
    })
}

/// The bytes inside `content`.
fn bundle(content: Option<&RawValue>) -> Result<Vec<u8>, Reason> {
    let content = content
        .filter(|raw| raw.get() != "null")
        .ok_or(Reason::NoContent)?;
    let Text(content) = serde_json::from_str(content.get())
        .map_err(|_| Reason::NotBase64("it must be a text".to_owned()))?;
    if content.is_empty() {
        return Err(Reason::NoContent);
    }
    BASE64
        .decode(content.as_bytes())
        .map_err(|error| Reason::NotBase64(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(body: &str) -> Reason {
        decode(body.as_bytes()).unwrap_err().reason
    }

    #[test]
    fn an_envelope_as_connectors_send_it_is_decoded() {
        let body = br#"{"bundle_type": "QUEUE_BUNDLE", "applicant_id": "88ec0c6a-13ce-5e39-b486-354fe4a7084f", "action_sequence": 1,
            "entities_types": ["Malware", " indicator "], "content": "e30=", "update": false, "draft_id": "", "no_split": true, "work_id": "work_1"}"#;
        assert_eq!(
            decode(body).unwrap(),
            Message {
                content: Content::Bundle(b"{}".to_vec()),
                work_id: Some("work_1".to_owned()),
                applicant: Some(Uuid::from_u128(0x88ec_0c6a_13ce_5e39_b486_354f_e4a7_084f)),
                entity_types: vec!["malware".to_owned(), "indicator".to_owned()],
                no_split: true,
            }
        );
    }

    #[test]
    fn odd_values_of_optional_fields_count_as_absent() {
        let body = br#"{"content": "e30", "work_id": 7, "applicant_id": "me", "entities_types": "all", "no_split": "yes", "draft_id": null, "type": null}"#;
        assert_eq!(
            decode(body).unwrap(),
            Message {
                content: Content::Bundle(b"{}".to_vec()),
                work_id: None,
                applicant: None,
                entity_types: vec![],
                no_split: false
            }
        );
    }

    #[test]
    fn escaped_base64_is_decoded() {
        assert_eq!(
            decode(br#"{"content": "\/\/8="}"#).unwrap().content,
            Content::Bundle(vec![255, 255])
        );
    }

    #[test]
    fn what_cannot_be_imported_is_refused_with_its_reason() {
        assert!(matches!(reason("nonsense"), Reason::NotJson(_)));
        assert!(matches!(reason("[]"), Reason::NotJson(_)));
        assert!(matches!(
            reason("{\"content\": \"e30=\""),
            Reason::NotJson(_)
        ));
        assert_eq!(reason("{}"), Reason::NoContent);
        assert_eq!(reason(r#"{"content": null}"#), Reason::NoContent);
        assert_eq!(reason(r#"{"content": ""}"#), Reason::NoContent);
        assert!(matches!(
            reason(r#"{"content": {"type": "bundle"}}"#),
            Reason::NotBase64(_)
        ));
        assert!(matches!(
            reason(r#"{"content": "not base64!"}"#),
            Reason::NotBase64(_)
        ));
        assert_eq!(
            reason(r#"{"type": "event", "content": "e30="}"#),
            Reason::Event
        );
        assert_eq!(
            reason(r#"{"draft_id": "d", "content": "e30="}"#),
            Reason::Draft
        );
        assert_eq!(
            reason(r#"{"type": "gift", "content": "e30="}"#),
            Reason::UnknownType("gift".to_owned())
        );
        assert!(matches!(
            decode(b"\xff\xfe").unwrap_err().reason,
            Reason::NotJson(_)
        ));
    }

    #[test]
    fn the_work_of_an_undeliverable_message_is_known() {
        let refused = decode(br#"{"type": "event", "work_id": "work_9"}"#).unwrap_err();
        assert_eq!(refused.work_id.as_deref(), Some("work_9"));
    }

    #[test]
    fn a_pointer_to_a_pushed_bundle_survives_the_queue() {
        let message = decode(&pointer(42, "work_1")).unwrap();
        assert_eq!(
            (message.content, message.work_id.as_deref()),
            (Content::Pushed(42), Some("work_1"))
        );
        assert_eq!(pointed(&pointer(42, "work_1")), Some(42));
        assert_eq!(pointed(br#"{"content": "e30="}"#), None);
    }
}
