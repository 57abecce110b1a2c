//! The plan of a migration: what is found, what it means, and what to do about it. Pure and repeatable; nothing is changed by planning.
//!
//! A plan has a hash over everything that it rests on ([`Plan::hash`]), except what changes by itself while the connector runs. Who applies a plan
//! names the hash; when another plan would be made by then, the facts have changed, and it is refused. Secrets go into the hash by keyed fingerprint
//! only, and into what is shown not at all.

mod estimate;
mod facts;
mod findings;
mod render;

use std::collections::BTreeSet;

use ferrocti_catalog::{Secret, plan::fingerprint};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    compose::{NotCarried, Told},
    map::{Carried, Difference, Fate, Kept, Key, Mapping},
};

pub use estimate::{MARGIN, Quiesce, Replay, WaitFor, quiesce, replay};
pub use facts::{
    ContractFacts, Facts, Mounted, Passing, Registered, Running, RunsAs, Target, User,
};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The migration does not begin.
    Blocker,
    /// Somebody should look at it.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub level: Level,
    /// Its name for programs; stable.
    pub code: &'static str,
    /// What it is about, when there may be several of a code: a variable, a path, a place in a file.
    pub about: Option<String>,
    /// What is so.
    pub text: String,
    /// What to do.
    pub remedy: String,
    /// Whether a blocker is one that may be waived by its code.
    pub waivable: bool,
}

/// What becomes of a variable, for people and programs; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// The variable.
    pub key: String,
    /// `mapped`, `given-by-platform`, `kept`, `renamed`, `dropped`, `left-out`, `missing`, `invalid` or `default`.
    pub fate: &'static str,
    /// More about it.
    pub detail: Option<String>,
    /// The value that it gets.
    pub value: Option<String>,
    /// Whether the value is a secret.
    pub secret: bool,
    /// A value that is probably meant, and whether it is taken.
    pub suggestion: Option<SuggestionView>,
}

/// A suggestion, with secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuggestionView {
    /// The value.
    pub value: String,
    /// Why.
    pub why: &'static str,
    /// Whether it is taken.
    pub taken: bool,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The connector's id.
    pub connector: String,
    /// Its name.
    pub name: String,
    /// What it rests on.
    pub hash: String,
    /// Whether it may be applied: no blocker is left.
    pub applicable: bool,
    /// What was found; blockers first.
    pub findings: Vec<Finding>,
    /// What becomes of each variable.
    pub keys: Vec<KeyView>,
    /// How long the connector is waited for.
    pub quiesce: Quiesce,
    /// What may come twice.
    pub replay: Replay,
}

/// Why a plan is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The facts have changed since it was agreed to.
    #[error(
        "the plan {agreed} is no longer about what is there; look at the new plan {now} and agree to that"
    )]
    Stale {
        /// The plan that was agreed to.
        agreed: String,
        /// The plan that would be made now.
        now: String,
    },
    /// It has blockers.
    #[error("the plan cannot be applied: {}", .0.join("; "))]
    Blocked(Vec<String>),
}

impl Plan {
    /// Whether somebody who has agreed to the plan of this hash may have it applied; this one is made anew for the purpose.
    ///
    /// # Errors
    /// Another plan would be made now, or blockers are left.
    pub fn agree(&self, hash: &str) -> Result<(), Refused> {
        if hash != self.hash {
            return Err(Refused::Stale {
                agreed: hash.to_owned(),
                now: self.hash.clone(),
            });
        }
        let blockers: Vec<String> = self
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Blocker)
            .map(|finding| format!("{}: {}", finding.code, finding.text))
            .collect();
        if blockers.is_empty() {
            Ok(())
        } else {
            Err(Refused::Blocked(blockers))
        }
    }
}

/// What a plan is made from besides [`Facts`].
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// The environment against the contract.
    pub mapping: &'a Mapping,
    /// What differs between the environment of today and the new one.
    pub differences: &'a [Difference],
    /// What the definition has and a managed connector has no place for.
    pub not_carried: &'a [NotCarried],
    /// What is wrong with the files that it was read from.
    pub faults: &'a [Told],
    /// What is worth knowing about them.
    pub remarks: &'a [Told],
    /// Codes of blockers that somebody has decided to put up with.
    pub waived: &'a BTreeSet<String>,
    /// The key of fingerprints.
    pub fingerprint_key: &'a [u8; 32],
}

/// Makes a plan.
#[must_use]
pub fn plan(facts: &Facts, material: &Material<'_>) -> Plan {
    let mut findings = findings::find(facts, material);
    for finding in &mut findings {
        if finding.waivable && material.waived.contains(finding.code) {
            finding.level = Level::Warning;
        }
    }
    findings.sort_by_key(|finding| finding.level);
    Plan {
        connector: facts.connector.id.clone(),
        name: facts.connector.name.clone(),
        hash: hash(facts, material),
        applicable: findings
            .iter()
            .all(|finding| finding.level != Level::Blocker),
        findings,
        keys: material.mapping.keys.iter().map(view).collect(),
        quiesce: quiesce(facts),
        replay: replay(facts),
    }
}

/// SHA-256 over what the plan rests on, in hexadecimal.
fn hash(facts: &Facts, material: &Material<'_>) -> String {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text.as_bytes());
    };
    let lasting = Facts {
        passing: Passing::default(),
        ..facts.clone()
    };
    // a struct with text keys has no reason to fail; were it to, the hash would differ from every other
    add(&serde_json::to_string(&lasting).unwrap_or_default());
    let id = &facts.connector.id;
    let print = |key: &str, value: Option<&Secret>| match value {
        Some(value) => fingerprint(material.fingerprint_key, id, key, value),
        None => String::new(),
    };
    for key in &material.mapping.keys {
        let view = view(key);
        add(&key.key);
        add(view.fate);
        add(view.detail.as_deref().unwrap_or_default());
        add(&print(&key.key, key.value.as_ref()));
        let suggestion = key.suggestion.as_ref();
        add(&print(
            &key.key,
            suggestion.map(|suggestion| &suggestion.value),
        ));
        add(if suggestion.is_some_and(|suggestion| suggestion.taken) {
            "taken"
        } else {
            ""
        });
    }
    for difference in material.differences {
        add(&format!("{difference:?}"));
    }
    for not_carried in material.not_carried {
        add(&format!("{} {}", not_carried.key, not_carried.reason));
    }
    for fault in material.faults {
        add(&fault.to_string());
    }
    for code in material.waived {
        add(code);
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn view(key: &Key) -> KeyView {
    let (fate, detail) = match &key.fate {
        Fate::Mapped => ("mapped", None),
        Fate::GivenByPlatform => ("given-by-platform", None),
        Fate::Kept(kept) => (
            "kept",
            Some(match kept {
                Kept::Client => "all connectors know it".to_owned(),
                Kept::Process => "programs in general know it".to_owned(),
                Kept::Proxy => "it is the connector's own proxy".to_owned(),
                Kept::NoSchema => "there is no schema".to_owned(),
                Kept::Unknown { similar: None } => "the contract does not know it".to_owned(),
                Kept::Unknown {
                    similar: Some(other),
                } => {
                    format!("the contract does not know it; it knows {other}")
                }
            }),
        ),
        Fate::Renamed { to, carried } => (
            "renamed",
            Some(match carried {
                Carried::Copied => format!("{to} gets the same value"),
                Carried::Converted => format!("{to} gets the value in its own form"),
                Carried::AlreadySet => format!("{to} has a value of its own"),
                Carried::Unfit => format!("{to} needs a value"),
            }),
        ),
        Fate::Dropped => ("dropped", Some("it is empty".to_owned())),
        Fate::LeftOut => ("left-out", None),
        Fate::Missing { about } => ("missing", about.clone()),
        Fate::Invalid { problems } => ("invalid", Some(problems.join("; "))),
        Fate::Default => ("default", None),
    };
    KeyView {
        key: key.key.clone(),
        fate,
        detail,
        value: key.shown(),
        secret: key.secret,
        suggestion: key.suggestion.as_ref().map(|suggestion| SuggestionView {
            value: key.show(&suggestion.value),
            why: suggestion.why,
            taken: suggestion.taken,
        }),
    }
}
