//! Why something is allowed or refused, in words: which group, which role, which marking is missing, whose confidence wins.

use std::fmt;

use ferrocti_model::StixId;
use serde::Serialize;

use crate::{
    Action, Denial, LevelSource, Rights,
    capability::implies,
    decision::{Target, may},
    names,
};

/// What somebody would do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// See it.
    Read,
    /// Change it, by hand or through the API.
    Update,
    /// Deliver it again, as connectors do.
    Upsert,
    /// Delete it.
    Delete,
}

impl Verb {
    /// The verbs by the names under which they are asked for.
    pub const ALL: [(&'static str, Self); 4] = [
        ("read", Self::Read),
        ("update", Self::Update),
        ("upsert", Self::Upsert),
        ("delete", Self::Delete),
    ];

    /// The verb of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, verb)| *verb)
    }

    /// The capability that it asks for.
    #[must_use]
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Read => names::KNOWLEDGE,
            Self::Update | Self::Upsert => names::KNOWLEDGE_UPDATE,
            Self::Delete => names::KNOWLEDGE_DELETE,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        })
    }
}

/// The object that is asked about.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// What it is.
    pub target: Target<'a>,
    /// Its markings with their texts, for a relationship also those of its ends.
    pub markings: &'a [(StixId, String)],
}

/// One rule that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `capability`, `marking`, `confidence` or `creator`.
    pub rule: &'static str,
    /// What it says.
    pub allowed: bool,
    /// Why, in words.
    pub text: String,
}

/// The answer: allowed when no rule refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Every rule that was asked, in the order in which they are asked.
    pub reasons: Vec<Reason>,
}

/// Explains whether a user may do something with an object.
#[must_use]
pub fn explain(rights: &Rights, verb: Verb, subject: &Subject<'_>) -> Explanation {
    let mut reasons = vec![capability(rights, verb.capability())];
    reasons.extend(
        subject
            .markings
            .iter()
            .map(|(id, text)| marking(rights, *id, text)),
    );
    if subject.markings.is_empty() {
        reasons.push(Reason {
            rule: "marking",
            allowed: true,
            text: "the object carries no marking, so that everybody with KNOWLEDGE sees it"
                .to_owned(),
        });
    }
    if verb != Verb::Read {
        reasons.push(confidence(rights, verb, subject.target));
    }
    if verb == Verb::Delete {
        reasons.push(creator(rights, subject.target));
    }
    Explanation {
        allowed: reasons.iter().all(|reason| reason.allowed),
        reasons,
    }
}

/// Explains whether a user holds a capability.
#[must_use]
pub fn capability(rights: &Rights, wanted: &str) -> Reason {
    let allowed = rights.actor.capabilities.holds(wanted);
    let source = rights.groups.iter().find_map(|group| {
        group.roles.iter().find_map(|role| {
            let held = role
                .capabilities
                .iter()
                .find(|held| *held == names::BYPASS || implies(held, wanted))?;
            Some((group, role, held))
        })
    });
    let text = match source {
        Some((group, role, held)) => format!(
            "the role \"{}\" of the group \"{}\" gives {held}{}",
            role.name,
            group.name,
            if held == wanted {
                String::new()
            } else {
                format!(", which includes {wanted}")
            }
        ),
        None if allowed => {
            format!("the first administrator may do everything, {wanted} included")
        }
        None => format!(
            "{wanted} is missing: none of the roles of {} gives it",
            groups(rights)
        ),
    };
    Reason {
        rule: "capability",
        allowed,
        text,
    }
}

fn marking(rights: &Rights, id: StixId, text: &str) -> Reason {
    let grant = rights.markings.iter().find(|grant| grant.marking == id);
    let allowed = rights.actor.may_use_marking(id);
    let text = match grant.and_then(|grant| grant.granted.as_ref()) {
        Some((group, granted)) if *granted == id => {
            format!("{text} is allowed by the group \"{}\"", group.name)
        }
        Some((group, _)) => format!(
            "{text} is allowed by the group \"{}\", through a marking of its kind that is at least as strict",
            group.name
        ),
        None if allowed => format!("{text} hides nothing from a user with BYPASS"),
        None => format!(
            "{text} is missing: it is allowed by none of {}",
            groups(rights)
        ),
    };
    Reason {
        rule: "marking",
        allowed,
        text,
    }
}

fn confidence(rights: &Rights, verb: Verb, target: Target<'_>) -> Reason {
    let level = rights.actor.level(target.entity_type);
    let stored = target.confidence.unwrap_or(0);
    let own = match (level, whose(rights, target.entity_type)) {
        (Some(level), Some(source)) => format!(
            "the user's level for {} is {level} ({source})",
            target.entity_type
        ),
        _ => "the user has no maximum confidence: set one on the user or on one of its groups"
            .to_owned(),
    };
    let (allowed, outcome) = match (verb, level) {
        (_, None) => (false, "so that it may write nothing".to_owned()),
        _ if !target.has_confidence => (
            true,
            format!(
                "objects of type {} have no confidence, so that every level counts",
                target.entity_type
            ),
        ),
        (_, Some(level)) if level >= stored => (
            true,
            format!(
                "and the object's confidence is {}, which does not outweigh it",
                told(target.confidence)
            ),
        ),
        (Verb::Upsert, Some(_)) => (
            true,
            format!(
                "but the object's confidence is {stored}, which outweighs it: only empty values are filled, labels, external references and files added; everything else stays"
            ),
        ),
        _ => (
            false,
            format!("but the object's confidence is {stored}, which outweighs it"),
        ),
    };
    Reason {
        rule: "confidence",
        allowed,
        text: format!("{own}, {outcome}"),
    }
}

fn creator(rights: &Rights, target: Target<'_>) -> Reason {
    let denied = matches!(
        may(&rights.actor, Action::Delete { target }),
        Err(Denial::NotCreator)
    );
    Reason {
        rule: "creator",
        allowed: !denied,
        text: if denied {
            format!(
                "every one of {} lets its members delete only what they created, and others created this object",
                groups(rights)
            )
        } else if rights.actor.restrict_delete {
            "the user may delete only what it created, which this object is, or nobody is recorded as its creator".to_owned()
        } else {
            "it does not matter who created the object".to_owned()
        },
    }
}

/// Whose level it is, in words.
fn whose(rights: &Rights, entity_type: &str) -> Option<String> {
    let level = rights.level.as_ref()?;
    let (source, what) = match level.overrides.get(entity_type) {
        Some((_, source)) => (source, "an override set on"),
        None => (&level.source, "set on"),
    };
    Some(match source {
        LevelSource::User => format!("{what} the user"),
        LevelSource::Group(group) => format!("{what} the group \"{}\"", group.name),
        LevelSource::Bypass => "BYPASS".to_owned(),
    })
}

fn told(confidence: Option<u8>) -> String {
    confidence.map_or_else(|| "not set".to_owned(), |confidence| confidence.to_string())
}

/// The groups of the user, in words.
fn groups(rights: &Rights) -> String {
    if rights.groups.is_empty() {
        return "the user's groups (it is in none)".to_owned();
    }
    let names: Vec<String> = rights
        .groups
        .iter()
        .map(|group| format!("\"{}\"", group.name))
        .collect();
    format!("the user's groups ({})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use uuid::Uuid;

    use super::*;
    use crate::{GroupFacts, Level, MarkingFacts, RoleFacts, UserFacts, rights};

    fn fixture() -> (Rights, [StixId; 2]) {
        let ids = [1, 2].map(|number| {
            StixId::parse(&format!("marking-definition--{}", Uuid::from_u128(number))).unwrap()
        });
        let markings: Vec<_> = ids
            .iter()
            .zip(1..)
            .map(|(id, order)| MarkingFacts {
                id: *id,
                definition_type: "TLP".to_owned(),
                definition: format!("TLP:{order}"),
                order,
            })
            .collect();
        let group = GroupFacts {
            id: Uuid::nil(),
            name: "Analysts".to_owned(),
            level: Level::of(40),
            markings: vec![ids[0]],
            roles: vec![Arc::new(RoleFacts {
                id: Uuid::nil(),
                name: "Writer".to_owned(),
                capabilities: vec!["KNOWLEDGE_KNUPDATE".to_owned()],
            })],
            no_creators: false,
            restrict_delete: false,
            default_markings: BTreeMap::new(),
            max_shareable: BTreeMap::new(),
        };
        let user = UserFacts {
            id: Uuid::from_u128(9),
            row: 9,
            name: "u".to_owned(),
            email: "u@example.org".to_owned(),
            level: Level::default(),
            service_account: false,
        };
        (rights(&user, &[Arc::new(group)], &markings), ids)
    }

    fn text(verb: Verb, confidence: Option<u8>, markings: &[(StixId, String)]) -> (bool, String) {
        let (rights, _) = fixture();
        let subject = Subject {
            target: Target {
                entity_type: "Report",
                has_confidence: true,
                confidence,
                creators: &[],
            },
            markings,
        };
        let found = explain(&rights, verb, &subject);
        let texts: Vec<_> = found
            .reasons
            .into_iter()
            .map(|reason| reason.text)
            .collect();
        (found.allowed, texts.join("; "))
    }

    #[test]
    fn it_names_the_group_the_role_the_marking_and_whose_confidence_wins() {
        let (_, ids) = fixture();
        let (allowed, told) = text(Verb::Read, None, &[(ids[0], "TLP:1".to_owned())]);
        assert!(allowed);
        assert!(told.contains("role \"Writer\" of the group \"Analysts\" gives KNOWLEDGE_KNUPDATE, which includes KNOWLEDGE"), "{told}");
        assert!(
            told.contains("TLP:1 is allowed by the group \"Analysts\""),
            "{told}"
        );

        let (allowed, told) = text(Verb::Read, None, &[(ids[1], "TLP:2".to_owned())]);
        assert!(!allowed);
        assert!(told.contains("TLP:2 is missing"), "{told}");

        let (allowed, told) = text(Verb::Update, Some(80), &[]);
        assert!(!allowed);
        assert!(
            told.contains("level for Report is 40 (set on the group \"Analysts\")"),
            "{told}"
        );
        assert!(
            told.contains("confidence is 80, which outweighs it"),
            "{told}"
        );

        let (allowed, told) = text(Verb::Upsert, Some(80), &[]);
        assert!(allowed);
        assert!(told.contains("only empty values are filled"), "{told}");

        let (allowed, told) = text(Verb::Delete, Some(10), &[]);
        assert!(!allowed);
        assert!(
            told.contains("KNOWLEDGE_KNUPDATE_KNDELETE is missing"),
            "{told}"
        );
    }
}
