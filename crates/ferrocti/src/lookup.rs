//! Finding users, groups, roles, markings and connectors by what people call them: an id, a name, an e-mail address.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{
    client::Client,
    print::{list, nodes, text},
};

/// A kind of thing that is found by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A user, also by e-mail address.
    User,
    /// A group.
    Group,
    /// A role.
    Role,
    /// A marking definition, by its text such as `TLP:AMBER`.
    Marking,
    /// A capability.
    Capability,
    /// A connector, also by its name for people.
    Connector,
    /// A composer.
    Composer,
}

impl Kind {
    /// The query that lists all of the kind, its field, and the members by which one is found beside its ids.
    fn list(self) -> (&'static str, &'static str, &'static [&'static str]) {
        match self {
            Self::User => (
                "{ users(first: 5000) { edges { node { id standard_id name user_email } } } }",
                "users",
                &["user_email", "name"],
            ),
            Self::Group => (
                "{ groups(first: 5000) { edges { node { id standard_id name } } } }",
                "groups",
                &["name"],
            ),
            Self::Role => (
                "{ roles(first: 5000) { edges { node { id standard_id name } } } }",
                "roles",
                &["name"],
            ),
            Self::Marking => (
                "{ markingDefinitions(first: 5000) { edges { node { id standard_id definition } } } }",
                "markingDefinitions",
                &["definition"],
            ),
            Self::Capability => (
                "{ capabilities(first: 1000) { edges { node { id standard_id name } } } }",
                "capabilities",
                &["name"],
            ),
            Self::Connector => (
                "{ connectors { id name title } }",
                "connectors",
                &["title", "name"],
            ),
            Self::Composer => (
                "{ connectorManagers { id name } }",
                "connectorManagers",
                &["name"],
            ),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Marking => "marking",
            Self::Capability => "capability",
            Self::Connector => "connector",
            Self::Composer => "composer",
        }
    }

    /// Where the operator sees what there is.
    fn hint(self) -> &'static str {
        match self {
            Self::User => "`ferrocti user list` shows all users",
            Self::Group => "`ferrocti group list` shows all groups",
            Self::Role => "`ferrocti role list` shows all roles",
            Self::Marking => "markings are named as e.g. TLP:AMBER",
            Self::Capability => "`ferrocti role capabilities` shows all capabilities",
            Self::Connector => "`ferrocti connector list` shows all connectors",
            Self::Composer => "`ferrocti composer list` shows all composers",
        }
    }
}

/// The things of a kind that a platform has.
#[derive(Debug)]
pub struct Known {
    kind: Kind,
    all: Vec<Value>,
}

impl Known {
    /// Asks a platform for all things of a kind.
    pub fn load(client: &Client, kind: Kind) -> Result<Self> {
        let (query, field, _) = kind.list();
        let data = client.call(query, json!({}))?;
        // some are listed page by page, some at once
        let all = nodes(&data[field]).chain(list(&data[field]));
        Ok(Self {
            kind,
            all: all.cloned().collect(),
        })
    }

    /// The id of the thing that is called so. An id wins over a name; a name that several have is refused.
    pub fn id(&self, called: &str) -> Result<String> {
        let (_, _, keys) = self.kind.list();
        let called = called.trim();
        // ids of connectors may differ in capitals alone
        if let Some(exact) = self.all.iter().find(|thing| thing["id"] == *called) {
            return Ok(text(&exact["id"]));
        }
        for key in ["id", "standard_id"].iter().chain(keys) {
            let same: Vec<&Value> = self
                .all
                .iter()
                .filter(|thing| {
                    thing[*key]
                        .as_str()
                        .is_some_and(|value| value.to_lowercase() == called.to_lowercase())
                })
                .collect();
            match same[..] {
                [] => {}
                [thing] => return Ok(text(&thing["id"])),
                _ => {
                    let ids: Vec<String> = same.iter().map(|thing| text(&thing["id"])).collect();
                    bail!(
                        "{} {}s are called {called:?}; name one by its id: {}",
                        ids.len(),
                        self.kind.word(),
                        ids.join(", ")
                    )
                }
            }
        }
        bail!(
            "there is no {} {called:?}; {}",
            self.kind.word(),
            self.kind.hint()
        )
    }

    /// The ids of several things.
    pub fn ids(&self, called: &[String]) -> Result<Vec<String>> {
        called.iter().map(|called| self.id(called)).collect()
    }
}

/// The id of the one thing of a kind that is called so.
pub fn id(client: &Client, kind: Kind, called: &str) -> Result<String> {
    Known::load(client, kind)?.id(called)
}

/// The ids of several things of a kind; asks only where there are any.
pub fn ids(client: &Client, kind: Kind, called: &[String]) -> Result<Vec<String>> {
    if called.is_empty() {
        return Ok(Vec::new());
    }
    Known::load(client, kind)?.ids(called)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            kind: Kind::User,
            all: vec![
                json!({ "id": "1", "standard_id": "user--1", "name": "Ann", "user_email": "ann@example.org" }),
                json!({ "id": "2", "standard_id": "user--2", "name": "Bob", "user_email": "bob@example.org" }),
                json!({ "id": "3", "standard_id": "user--3", "name": "bob", "user_email": "other@example.org" }),
                json!({ "id": "4", "standard_id": "user--4", "name": "ann@example.org", "user_email": "fake@example.org" }),
            ],
        }
    }

    #[test]
    fn people_are_found_by_any_of_their_names() {
        for (called, id) in [
            ("1", "1"),
            ("user--2", "2"),
            ("ann", "1"),
            (" BOB@example.org ", "2"),
            ("ann@example.org", "1"),
        ] {
            assert_eq!(known().id(called).unwrap(), id, "{called}");
        }
    }

    #[test]
    fn a_name_of_several_and_a_name_of_none_are_refused_with_a_way_out() {
        let several = known().id("bob").unwrap_err().to_string();
        assert!(several.contains("2, 3"), "{several}");
        let none = known().id("Carol").unwrap_err().to_string();
        assert!(none.contains("ferrocti user list"), "{none}");
    }

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        for kind in [
            Kind::User,
            Kind::Group,
            Kind::Role,
            Kind::Marking,
            Kind::Capability,
            Kind::Connector,
            Kind::Composer,
        ] {
            crate::client::served::takes(&[kind.list().0]);
        }
    }
}
