//! The one place that decides: an actor, an action, and an answer that says why.

use std::fmt;

use ferrocti_model::StixId;
use uuid::Uuid;

use crate::{Actor, Capabilities, names};

/// What is known of the object that somebody wants to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Name of its type.
    pub entity_type: &'a str,
    /// Whether objects of its type have a confidence.
    pub has_confidence: bool,
    /// Its confidence; none counts as 0.
    pub confidence: Option<u8>,
    /// Who created it, as recorded; empty where nothing is recorded.
    pub creators: &'a [Uuid],
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Anything that only asks for a capability.
    Use(&'a str),
    /// Anything that asks for one of several capabilities.
    Any(&'a [&'a str]),
    /// Change or delete a connector that `owner` registered (its user's row).
    ManageConnector {
        /// Row of the user that registered the connector.
        owner: i64,
    },
    /// Speak for a connector (ping, works, bundles) that `owner` registered.
    SpeakForConnector {
        /// Row of the user that registered the connector.
        owner: i64,
    },
    /// See an object that carries these markings.
    See {
        /// Standard ids of all its markings, for a relationship also those of its ends.
        markings: &'a [StixId],
    },
    /// Put these markings on an object.
    Mark {
        /// Standard ids.
        markings: &'a [StixId],
    },
    /// Create an object of a type.
    Create {
        /// Name of the type.
        entity_type: &'a str,
    },
    /// Deliver an object that may be known already; its confidence is compared later.
    Upsert {
        /// Name of the type.
        entity_type: &'a str,
    },
    /// Change an object.
    Update {
        /// The object.
        target: Target<'a>,
        /// Only labels or external references are added or removed, which every confidence may.
        exempt: bool,
    },
    /// Delete an object.
    Delete {
        /// The object.
        target: Target<'a>,
    },
    /// Give somebody capabilities: by a role, by a group that has the role, or by a token of somebody who holds them.
    Grant {
        /// What would be given.
        capabilities: &'a Capabilities,
    },
}

/// Why something was refused; its text tells what would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// A capability is missing.
    Capability {
        /// Its name, or several names of which one would do.
        missing: String,
        /// What it is missing for, in words.
        purpose: &'static str,
    },
    /// Neither the user nor one of its groups has a maximum confidence.
    NoLevel {
        /// `create`, `update` or `upsert`.
        verb: &'static str,
    },
    /// The object's confidence is higher than what the user may claim.
    Confidence {
        /// The user's level for the type; `None`: it has none.
        level: Option<u8>,
        /// The object's.
        stored: u8,
        /// Name of the type.
        entity_type: String,
    },
    /// The object carries markings that the user may not see.
    Hidden {
        /// Standard ids of these.
        missing: Vec<StixId>,
    },
    /// The user may not use these markings.
    Markings {
        /// Standard ids of these.
        missing: Vec<StixId>,
    },
    /// The user may delete only what it created.
    NotCreator,
    /// Only who may do everything gives others the right to do everything.
    Bypass,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability { missing, purpose } => write!(
                f,
                "You are not allowed to do this: {purpose} needs the capability {missing}."
            ),
            Self::NoLevel { verb } => write!(
                f,
                "User has no effective max confidence level and cannot {verb} this element. Set a maximum confidence on the user or on one of its groups."
            ),
            Self::Confidence {
                level,
                stored,
                entity_type,
            } => {
                f.write_str("User effective max confidence level is insufficient to update this element: ")?;
                match level {
                    Some(level) => write!(f, "the user's level for {entity_type} is {level}")?,
                    None => f.write_str("the user has no level")?,
                }
                write!(f, ", the element's confidence is {stored}.")
            }
            Self::Hidden { missing } => write!(
                f,
                "The element carries markings that the user may not see: {}.",
                list(missing)
            ),
            Self::Markings { missing } => write!(
                f,
                "User trying to create the data has missing markings: {}. Allow them on one of the user's groups, or leave them out.",
                list(missing)
            ),
            Self::NotCreator => f.write_str(
                "Restricted to delete this element (not the technical creator). Every group of the user restricts deletion to what the user created.",
            ),
            Self::Bypass => f.write_str(
                "You are not allowed to do this: only a user with the capability BYPASS may give BYPASS to others.",
            ),
        }
    }
}

impl std::error::Error for Denial {}

fn list(ids: &[StixId]) -> String {
    let texts: Vec<String> = ids.iter().map(StixId::to_string).collect();
    texts.join(", ")
}

/// Allowed, or refused with the reason.
pub type Decision = Result<(), Denial>;

/// Whether `actor` may do `action`.
pub fn may(actor: &Actor, action: Action<'_>) -> Decision {
    let need = |capability: &str, purpose| {
        if actor.capabilities.holds(capability) {
            Ok(())
        } else {
            Err(Denial::Capability {
                missing: capability.to_owned(),
                purpose,
            })
        }
    };
    match action {
        Action::Use(capability) => need(capability, "this operation"),
        Action::Any(capabilities) => {
            if capabilities
                .iter()
                .any(|capability| actor.capabilities.holds(capability))
            {
                Ok(())
            } else {
                Err(Denial::Capability {
                    missing: capabilities.join(" or "),
                    purpose: "this operation",
                })
            }
        }
        Action::ManageConnector { owner } if owner == actor.user_row => {
            need(names::CONNECTOR_API, "managing one's own connector")
        }
        Action::ManageConnector { .. } => {
            need(names::MODULES_MANAGE, "managing another user's connector")
        }
        Action::SpeakForConnector { owner } if owner == actor.user_row => {
            need(names::CONNECTOR_API, "speaking for a connector")
        }
        Action::SpeakForConnector { .. } => need(
            names::MODULES_MANAGE,
            "speaking for a connector that another user registered",
        ),
        Action::See { markings } => match missing(actor, markings) {
            missing if missing.is_empty() => Ok(()),
            missing => Err(Denial::Hidden { missing }),
        },
        Action::Mark { markings } => match missing(actor, markings) {
            missing if missing.is_empty() => Ok(()),
            missing => Err(Denial::Markings { missing }),
        },
        Action::Create { entity_type } => {
            level(actor, entity_type, "create")?;
            Ok(())
        }
        Action::Upsert { entity_type } => {
            level(actor, entity_type, "upsert")?;
            Ok(())
        }
        Action::Update { target, exempt } => {
            let level = level(actor, target.entity_type, "update")?;
            if exempt {
                Ok(())
            } else {
                outweighs(Some(level), target)
            }
        }
        Action::Delete { target } => {
            outweighs(actor.level(target.entity_type), target)?;
            if actor.restrict_delete
                && !target.creators.is_empty()
                && !target.creators.contains(&actor.user_id)
            {
                return Err(Denial::NotCreator);
            }
            Ok(())
        }
        Action::Grant { capabilities } if capabilities.bypass() && !actor.bypass() => {
            Err(Denial::Bypass)
        }
        Action::Grant { .. } => need(names::SET_ACCESSES, "giving rights to others"),
    }
}

fn missing(actor: &Actor, markings: &[StixId]) -> Vec<StixId> {
    let refused = markings
        .iter()
        .filter(|marking| !actor.may_use_marking(**marking));
    refused.copied().collect()
}

fn level(actor: &Actor, entity_type: &str, verb: &'static str) -> Result<u8, Denial> {
    actor.level(entity_type).ok_or(Denial::NoLevel { verb })
}

/// Whether a level is at least the confidence of an object.
fn outweighs(level: Option<u8>, target: Target<'_>) -> Decision {
    let stored = target.confidence.unwrap_or(0);
    if !target.has_confidence || level.is_some_and(|level| level >= stored) {
        return Ok(());
    }
    Err(Denial::Confidence {
        level,
        stored,
        entity_type: target.entity_type.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Confidence, Markings};

    fn actor(row: i64, capabilities: &[&str]) -> Actor {
        Actor {
            capabilities: capabilities.iter().copied().collect::<Capabilities>(),
            ..Actor::system(row)
        }
    }

    fn target(confidence: Option<u8>) -> Target<'static> {
        Target {
            entity_type: "Report",
            has_confidence: true,
            confidence,
            creators: &[],
        }
    }

    #[test]
    fn a_connector_belongs_to_the_user_that_registered_it() {
        let connector = actor(7, &[names::CONNECTOR_API]);
        assert!(may(&connector, Action::SpeakForConnector { owner: 7 }).is_ok());
        assert!(may(&connector, Action::ManageConnector { owner: 7 }).is_ok());
        let denial = may(&connector, Action::SpeakForConnector { owner: 8 }).unwrap_err();
        assert!(denial.to_string().contains(names::MODULES_MANAGE));
        assert!(
            may(
                &actor(9, &[names::MODULES_MANAGE]),
                Action::ManageConnector { owner: 7 }
            )
            .is_ok()
        );
    }

    #[test]
    fn a_refusal_names_the_capability_that_is_missing() {
        let denial = may(&actor(1, &[]), Action::Use(names::KNOWLEDGE_UPDATE)).unwrap_err();
        assert!(denial.to_string().contains(names::KNOWLEDGE_UPDATE));
        let denial = may(
            &actor(1, &[]),
            Action::Any(&[names::MODULES, names::CONNECTOR_API]),
        )
        .unwrap_err();
        assert!(denial.to_string().contains("MODULES or CONNECTORAPI"));
    }

    #[test]
    fn an_object_may_be_changed_by_who_outweighs_it() {
        for (level, stored, exempt, update, delete) in [
            (Some(50), Some(50), false, true, true),
            (Some(30), Some(50), false, false, false),
            (Some(30), Some(50), true, true, false),
            (Some(0), None, false, true, true),
            (None, Some(1), false, false, false),
            (None, None, true, false, false),
        ] {
            let actor = Actor {
                confidence: level.map(Confidence::of),
                ..actor(1, &[])
            };
            let target = target(stored);
            let found = may(&actor, Action::Update { target, exempt }).is_ok();
            assert_eq!(found, update, "update {level:?} {stored:?}");
            let found = may(&actor, Action::Delete { target }).is_ok();
            assert_eq!(found, delete, "delete {level:?} {stored:?}");
        }
    }

    #[test]
    fn what_has_no_confidence_is_changed_by_every_level() {
        let observable = Target {
            entity_type: "IPv4-Addr",
            has_confidence: false,
            confidence: None,
            creators: &[],
        };
        for (level, update) in [(Some(0), true), (None, false)] {
            let actor = Actor {
                confidence: level.map(Confidence::of),
                ..actor(1, &[])
            };
            let action = Action::Update {
                target: observable,
                exempt: false,
            };
            assert_eq!(may(&actor, action).is_ok(), update);
            assert!(may(&actor, Action::Delete { target: observable }).is_ok());
        }
    }

    #[test]
    fn without_a_level_nothing_is_written() {
        let actor = Actor {
            confidence: None,
            ..actor(1, &[])
        };
        let create = may(
            &actor,
            Action::Create {
                entity_type: "Label",
            },
        );
        assert!(create.unwrap_err().to_string().starts_with(
            "User has no effective max confidence level and cannot create this element"
        ));
    }

    #[test]
    fn who_is_restricted_deletes_only_what_it_created() {
        let actor = Actor {
            restrict_delete: true,
            user_id: Uuid::from_u128(5),
            ..actor(1, &[])
        };
        let (own, others) = ([Uuid::from_u128(5)], [Uuid::from_u128(6)]);
        for (creators, allowed) in [(&own[..], true), (&others[..], false), (&[][..], true)] {
            let target = Target {
                creators,
                ..target(None)
            };
            assert_eq!(may(&actor, Action::Delete { target }).is_ok(), allowed);
        }
    }

    #[test]
    fn all_markings_must_be_allowed() {
        let [one, other] = [1, 2].map(|byte| StixId {
            type_code: 1,
            uuid: Uuid::from_u128(byte),
        });
        let actor = Actor {
            markings: Markings::Only(vec![one]),
            ..actor(1, &[])
        };
        assert!(may(&actor, Action::See { markings: &[one] }).is_ok());
        assert_eq!(
            may(
                &actor,
                Action::See {
                    markings: &[one, other]
                }
            ),
            Err(Denial::Hidden {
                missing: vec![other]
            })
        );
    }

    #[test]
    fn only_who_has_bypass_gives_bypass() {
        let all = Capabilities::administrator();
        let some = Capabilities::connector();
        let manager = actor(1, &[names::SET_ACCESSES]);
        assert!(
            may(
                &manager,
                Action::Grant {
                    capabilities: &some
                }
            )
            .is_ok()
        );
        assert_eq!(
            may(&manager, Action::Grant { capabilities: &all }),
            Err(Denial::Bypass)
        );
        assert!(
            may(
                &actor(1, &[names::BYPASS]),
                Action::Grant { capabilities: &all }
            )
            .is_ok()
        );
        assert!(
            may(
                &actor(1, &[]),
                Action::Grant {
                    capabilities: &some
                }
            )
            .is_err()
        );
    }
}
