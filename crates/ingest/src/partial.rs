//! What is told of an object that was applied in part: neither an error nor silence.
//!
//! An input of lower confidence than what is stored, a reference to something hidden, or a label that nobody may make does not refuse an object; what is left
//! of it is applied. The work tells what was not, and why. The rules: `docs/development/merging.md`.

use serde::{Deserialize, Serialize};

/// Names of one kind that are listed; of further ones only the number is told.
const LISTED: usize = 20;

/// Attributes and references of an object that were not applied for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Names of attributes, as in the API.
    pub attributes: Vec<String>,
    /// Names of references, as in inputs of the API.
    pub references: Vec<String>,
    /// Why, in words.
    pub reason: String,
}

/// An object of which a part was not applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Its standard id.
    pub object_id: String,
    /// Its name or value, shortened; relationships have none.
    pub object_name: Option<String>,
    /// Name of its type.
    pub entity_type: String,
    /// What was not applied, by reason.
    pub parts: Vec<Part>,
}

impl Partial {
    /// All of it in one sentence for people.
    #[must_use]
    pub fn message(&self) -> String {
        let name = self
            .object_name
            .as_ref()
            .map_or_else(String::new, |name| format!(" \"{name}\""));
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|part| {
                let names: Vec<&str> = part
                    .attributes
                    .iter()
                    .chain(&part.references)
                    .map(String::as_str)
                    .collect();
                let more = match names.len().saturating_sub(LISTED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let listed = names.get(..LISTED).unwrap_or(&names).join(", ");
                if listed.is_empty() {
                    part.reason.clone()
                } else {
                    format!("{listed}{more} ({})", part.reason)
                }
            })
            .collect();
        format!(
            "{}{name} ({}): not applied: {}",
            self.entity_type,
            self.object_id,
            parts.join("; ")
        )
    }

    /// From the source of a note of a work, which keeps it as JSON.
    #[must_use]
    pub fn parse(source: &str) -> Option<Self> {
        serde_json::from_str(source).ok()
    }

    /// As the source of a note of a work.
    #[must_use]
    pub fn source(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_object_what_was_left_out_and_why() {
        let part = |attributes: &[&str], references: &[&str], reason: &str| Part {
            attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
            references: references.iter().map(|&name| name.to_owned()).collect(),
            reason: reason.to_owned(),
        };
        let partial = Partial {
            object_id: "malware--1".to_owned(),
            object_name: Some("Foo".to_owned()),
            entity_type: "Malware".to_owned(),
            parts: vec![
                part(&["description"], &["createdBy"], "30 is less than 80"),
                part(&[], &["objects"], "hidden"),
            ],
        };
        assert_eq!(
            partial.message(),
            "Malware \"Foo\" (malware--1): not applied: description, createdBy (30 is less than 80); objects (hidden)"
        );
        assert_eq!(Partial::parse(&partial.source()), Some(partial));
    }

    #[test]
    fn long_lists_are_cut() {
        let partial = Partial {
            parts: vec![Part {
                attributes: (0..LISTED + 5).map(|n| format!("x_{n}")).collect(),
                references: Vec::new(),
                reason: "because".to_owned(),
            }],
            ..Partial::default()
        };
        assert!(partial.message().ends_with("x_19 and 5 more (because)"));
    }
}
