//! What of an element is not applied although the element is: kept as facts, and put into words only when somebody reads them.

use std::sync::Arc;

use ferrocti_access::{Actor, Denial};
use ferrocti_model::{Ident, StixId, registry::EntityType};
use serde_json::{Map, Value};

use crate::partial::{Part, Partial};

/// Hidden targets that are named; of further ones only the number is told.
const NAMED: usize = 5;

/// Why something is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The confidence that was given is higher than what the user may claim.
    Capped {
        /// As given.
        given: u8,
        /// What the user may claim.
        level: u8,
    },
    /// What is stored has a higher confidence; for the author also an equal one.
    Weaker {
        /// The confidence with which the input counts.
        input: u8,
        /// What the user may claim.
        level: u8,
        /// The confidence of what is stored.
        stored: u8,
    },
    /// The user may not see the target.
    Hidden(Ident),
    /// It does not exist, and the user may not make it.
    NotMade {
        /// What, in words.
        what: String,
        /// What is missing.
        denial: Denial,
    },
    /// The user may not change it.
    NotAllowed(Denial),
    /// The same input was applied in part before, and nothing has changed since.
    AsBefore,
}

impl Reason {
    /// Whether it holds for the same input until the object itself, or the user's rights, are changed.
    fn lasts(&self) -> bool {
        matches!(self, Self::Capped { .. } | Self::Weaker { .. })
    }
}

/// What is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// An attribute.
    Attribute(String),
    /// A reference, by its input name.
    Reference(&'static str),
    /// All that the reason speaks of.
    Whole,
}

/// What is not applied of one element.
#[derive(Debug, Clone, Default)]
pub struct Withheld(Vec<(Field, Reason)>);

impl Withheld {
    /// Notes an attribute.
    pub fn attribute(&mut self, name: &str, reason: Reason) {
        self.0.push((Field::Attribute(name.to_owned()), reason));
    }

    /// Notes a reference.
    pub fn reference(&mut self, name: &'static str, reason: Reason) {
        self.0.push((Field::Reference(name), reason));
    }

    /// As it was when the same input came before.
    #[must_use]
    pub fn as_before() -> Self {
        Self(vec![(Field::Whole, Reason::AsBefore)])
    }

    /// Whether everything was applied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the same input would meet the same end until the object itself, or the user's rights, are changed.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.0.iter().all(|(_, reason)| reason.lasts())
    }
}

/// An element of which a part was not applied.
#[derive(Debug)]
pub struct Told {
    /// Standard id of the object that it is.
    pub standard: StixId,
    /// Its type.
    pub kind: &'static EntityType,
    /// Name or value, if it has one.
    pub name: Option<String>,
    /// Whose rights decided.
    pub actor: Arc<Actor>,
    /// What was not applied.
    pub withheld: Withheld,
}

impl Told {
    /// In words.
    #[must_use]
    pub fn partial(&self) -> Partial {
        let mut parts: Vec<Part> = Vec::new();
        let mut reasons: Vec<String> = Vec::new();
        for reference in self.hidden() {
            reasons.push(self.hidden_targets(reference));
            parts.push(Part {
                references: vec![reference.to_owned()],
                ..Part::default()
            });
        }
        for (field, reason) in &self.withheld.0 {
            if matches!((field, reason), (Field::Reference(_), Reason::Hidden(_))) {
                continue;
            }
            let words = self.words(reason);
            let at = match reasons.iter().position(|known| *known == words) {
                Some(at) => at,
                None => {
                    reasons.push(words);
                    parts.push(Part::default());
                    parts.len() - 1
                }
            };
            let Some(part) = parts.get_mut(at) else {
                continue;
            };
            let (list, name) = match field {
                Field::Attribute(name) => (&mut part.attributes, name.as_str()),
                Field::Reference(name) => (&mut part.references, *name),
                Field::Whole => continue,
            };
            if !list.iter().any(|known| known == name) {
                list.push(name.to_owned());
            }
        }
        for (part, reason) in parts.iter_mut().zip(reasons) {
            part.reason = reason;
        }
        Partial {
            object_id: self.standard.to_string(),
            object_name: self.name.as_deref().map(shortened),
            entity_type: self.kind.name.clone(),
            parts,
        }
    }

    /// References with hidden targets, each once.
    fn hidden(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (field, reason) in &self.withheld.0 {
            if let (Field::Reference(name), Reason::Hidden(_)) = (field, reason)
                && !names.contains(name)
            {
                names.push(*name);
            }
        }
        names
    }

    fn hidden_targets(&self, reference: &str) -> String {
        let targets: Vec<&Ident> = self
            .withheld
            .0
            .iter()
            .filter_map(|(field, reason)| match (field, reason) {
                (Field::Reference(name), Reason::Hidden(target)) if *name == reference => {
                    Some(target)
                }
                _ => None,
            })
            .collect();
        let named: Vec<String> = targets
            .iter()
            .take(NAMED)
            .map(ToString::to_string)
            .collect();
        let more = match targets.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{} may not see {}{more}", self.actor.name, named.join(", "))
    }

    fn words(&self, reason: &Reason) -> String {
        let (user, kind) = (&self.actor.name, &self.kind.name);
        match reason {
            Reason::Capped { given, level } => format!(
                "{given} was given, and {user} may claim at most {level} for {kind}; it is stored with {level}"
            ),
            Reason::Weaker {
                input,
                level,
                stored,
            } => {
                let counts = if input < level {
                    format!("the input's confidence is {input}")
                } else {
                    format!("the input counts with {input}, the most that {user} may claim for {kind}")
                };
                if input == stored {
                    format!("{counts}; the stored confidence is {stored} too, and the author asks for a higher one")
                } else {
                    format!("{counts}; the stored confidence is {stored}")
                }
            }
            Reason::Hidden(target) => format!("{user} may not see {target}"),
            Reason::NotMade { what, denial } => format!("{what} does not exist, and {user} may not make it: {denial}"),
            Reason::NotAllowed(denial) => format!("it keeps what is stored: {denial}"),
            Reason::AsBefore => "the same input was applied in part before, for the same reasons, and nothing has changed since".to_owned(),
        }
    }
}

/// What an object is called, out of its attributes.
#[must_use]
pub fn name(attributes: &Map<String, Value>) -> Option<String> {
    let name = attributes.get("name").or_else(|| attributes.get("value"))?;
    Some(name.as_str()?.to_owned())
}

fn shortened(name: &str) -> String {
    name.chars().take(200).collect()
}
