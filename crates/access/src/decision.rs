//! The one place that decides: an actor, an action, and an answer that says why.

use std::fmt;

use crate::{Actor, names};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Anything that only asks for a capability.
    Use(&'a str),
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
}

/// Why something was refused; its text tells what would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The capability that is missing.
    pub missing: String,
    /// What it is missing for, in words.
    pub purpose: &'static str,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "You are not allowed to do this: {} needs the capability {}.",
            self.purpose, self.missing
        )
    }
}

impl std::error::Error for Denial {}

/// Allowed, or refused with the reason.
pub type Decision = Result<(), Denial>;

/// Whether `actor` may do `action`.
pub fn may(actor: &Actor, action: Action<'_>) -> Decision {
    let need = |capability: &str, purpose| {
        if actor.capabilities.holds(capability) {
            Ok(())
        } else {
            Err(Denial {
                missing: capability.to_owned(),
                purpose,
            })
        }
    };
    match action {
        Action::Use(capability) => need(capability, "this operation"),
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capabilities;

    fn actor(row: i64, capabilities: &[&str]) -> Actor {
        Actor {
            capabilities: capabilities.iter().copied().collect::<Capabilities>(),
            ..Actor::system(row)
        }
    }

    #[test]
    fn a_connector_belongs_to_the_user_that_registered_it() {
        let connector = actor(7, &[names::CONNECTOR_API]);
        assert!(may(&connector, Action::SpeakForConnector { owner: 7 }).is_ok());
        assert!(may(&connector, Action::ManageConnector { owner: 7 }).is_ok());
        let denial = may(&connector, Action::SpeakForConnector { owner: 8 }).unwrap_err();
        assert_eq!(denial.missing, names::MODULES_MANAGE);
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
    }
}
