//! What names, addresses, levels and profiles must look like.

use ferrocti_access::{Level, MAX_CONFIDENCE};
use ferrocti_model::Registry;
use serde_json::{Map, Value};

use crate::error::{AccountError, Result};

/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// Longest text of a profile, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// Longest list of a profile.
const MAX_LIST: usize = 1000;
/// Most entity types with a level of their own.
const MAX_OVERRIDES: usize = 200;

/// Languages of the console.
const LANGUAGES: [&str; 10] = [
    "auto", "es-es", "fr-fr", "ja-jp", "zh-cn", "en-us", "de-de", "ko-kr", "ru-ru", "it-it",
];
/// Systems of units.
const UNITS: [&str; 3] = ["auto", "Metric", "Imperial"];

/// What a field of a profile holds.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Flag,
    Texts,
    OneOf(&'static [&'static str], &'static str),
}

/// The fields of a user that are only shown.
const USER: [(&str, Shape); 15] = [
    ("firstname", Shape::Text),
    ("lastname", Shape::Text),
    ("description", Shape::Text),
    (
        "language",
        Shape::OneOf(&LANGUAGES, "The language you have provided is not valid"),
    ),
    ("theme", Shape::Text),
    (
        "unit_system",
        Shape::OneOf(&UNITS, "The unit system you have provided is not valid"),
    ),
    ("submenu_show_icons", Shape::Flag),
    ("submenu_auto_collapse", Shape::Flag),
    ("monochrome_labels", Shape::Flag),
    ("default_time_field", Shape::Text),
    ("default_dashboard", Shape::Text),
    ("default_dashboards", Shape::Texts),
    ("default_hidden_types", Shape::Texts),
    ("personal_notifiers", Shape::Texts),
    ("unsubscribed_news_feed_types", Shape::Texts),
];

/// The fields of a group that are only shown.
const GROUP: [(&str, Shape); 3] = [
    ("description", Shape::Text),
    ("default_dashboard", Shape::Text),
    ("default_hidden_types", Shape::Texts),
];

/// A name of at least two characters, without blanks around it.
pub(crate) fn name(what: &str, name: &str) -> Result<String> {
    let name = name.trim();
    let length = name.chars().count();
    if !(2..=MAX_NAME).contains(&length) || name.chars().any(char::is_control) {
        return Err(AccountError::Invalid(format!(
            "the name of a {what} has 2 to {MAX_NAME} characters"
        )));
    }
    Ok(name.to_owned())
}

/// An e-mail address, roughly (RFC 5321, section 4.1.2): nothing is sent to it here, it only must not be something else by mistake.
pub(crate) fn email(email: &str) -> Result<String> {
    let email = email.trim();
    let well_formed = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    // no invisible characters either: an address must not look like another one's
    let clean = email
        .chars()
        .all(|c| (c.is_ascii_graphic() || c.is_alphanumeric()) && !"<>\"`,;".contains(c));
    if well_formed && clean && (5..=254).contains(&email.len()) {
        Ok(ferrocti_store::fold::fold(email).into_owned())
    } else {
        Err(AccountError::Invalid(format!(
            "{:?} is not an e-mail address; it has the form name@domain",
            email.chars().take(100).collect::<String>()
        )))
    }
}

/// Confidences lie between 0 and 100 and are for types that exist.
pub(crate) fn level(level: &Level) -> Result<()> {
    let values = level.max.iter().chain(level.overrides.values());
    if values.into_iter().any(|value| *value > MAX_CONFIDENCE) {
        return Err(AccountError::invalid(
            "a maximum confidence lies between 0 and 100",
        ));
    }
    if level.overrides.len() > MAX_OVERRIDES {
        return Err(AccountError::Invalid(format!(
            "at most {MAX_OVERRIDES} entity types have a maximum confidence of their own"
        )));
    }
    for name in level.overrides.keys() {
        if Registry::get().by_name(name).is_none() {
            return Err(AccountError::Invalid(format!(
                "there is no entity type {name:?}; a maximum confidence is for a type such as Report or Malware"
            )));
        }
    }
    Ok(())
}

/// The fields of a user that are only shown: known ones, with what they hold.
pub(crate) fn user_profile(profile: &Map<String, Value>) -> Result<()> {
    check(&USER, profile)
}

/// The fields of a group that are only shown.
pub(crate) fn group_profile(profile: &Map<String, Value>) -> Result<()> {
    check(&GROUP, profile)
}

fn check(fields: &[(&str, Shape)], profile: &Map<String, Value>) -> Result<()> {
    for (key, value) in profile {
        let Some((_, shape)) = fields.iter().find(|(name, _)| name == key) else {
            return Err(AccountError::Invalid(format!("{key:?} cannot be set here")));
        };
        let fits = match (shape, value) {
            (_, Value::Null) | (Shape::Flag, Value::Bool(_)) => true,
            (Shape::Text, Value::String(text)) => text.len() <= MAX_TEXT,
            (Shape::OneOf(known, message), Value::String(text)) => {
                if !known.contains(&text.as_str()) {
                    return Err(AccountError::invalid(*message));
                }
                true
            }
            (Shape::Texts, Value::Array(list)) => {
                list.len() <= MAX_LIST
                    && list
                        .iter()
                        .all(|item| item.as_str().is_some_and(|text| text.len() <= MAX_TEXT))
            }
            _ => false,
        };
        if !fits {
            return Err(AccountError::Invalid(format!(
                "{key:?} holds something that does not fit"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_told_from_other_texts() {
        for (text, expected) in [
            (" Jane@Example.ORG ", Some("jane@example.org")),
            ("a@b.c", Some("a@b.c")),
            ("a@b", None),
            ("@example.org", None),
            ("jane@", None),
            ("jane@a@b.org", None),
            ("jane doe@example.org", None),
            ("jane@example.org\r\nx", None),
            ("<jane@example.org>", None),
            ("jane@example.org\u{200b}", None),
            ("jane\u{202e}@example.org", None),
            (
                "j\u{fc}rgen@m\u{fc}nchen.example",
                Some("jurgen@munchen.example"),
            ),
        ] {
            assert_eq!(email(text).ok().as_deref(), expected, "{text}");
        }
        assert!(email(&format!("{}@example.org", "a".repeat(300))).is_err());
    }

    #[test]
    fn levels_are_confidences_of_known_types() {
        let of = |max, overrides: &[(&str, u8)]| Level {
            max,
            overrides: overrides
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
        };
        for (given, fits) in [
            (of(Some(100), &[]), true),
            (of(Some(0), &[("Report", 0), ("uses", 30)]), true),
            (of(Some(101), &[]), false),
            (of(None, &[("Report", 101)]), false),
            (of(None, &[("Nothing", 1)]), false),
        ] {
            assert_eq!(level(&given).is_ok(), fits, "{given:?}");
        }
    }

    #[test]
    fn only_known_fields_of_a_profile_are_taken() {
        for (profile, fits) in [
            (
                json!({"firstname": "Jane", "language": "de-de", "submenu_show_icons": true}),
                true,
            ),
            (
                json!({"firstname": null, "default_hidden_types": ["Tool"]}),
                true,
            ),
            (json!({"language": "xx"}), false),
            (json!({"unit_system": 1}), false),
            (json!({"firstname": {"$set": 1}}), false),
            (json!({"api_token": "x"}), false),
            (json!({"external": true}), false),
            (json!({"otp_secret": "x"}), false),
            (json!({"capabilities": ["BYPASS"]}), false),
        ] {
            let checked = user_profile(profile.as_object().unwrap());
            assert_eq!(checked.is_ok(), fits, "{profile}");
        }
    }
}
