//! `connectors.yaml` on a platform: what would be done for a file, and doing it.
//!
//! A plan tells every step before anything is done, and has a hash; what is applied is what was seen. A connector of the file that cannot be what
//! the file says is a step with a problem and keeps no other from its place. Only what came from a file is removed because of one. The file is
//! described in `docs/reference/connectors-file.md`.

mod apply;
mod current;
mod wanted;

use std::collections::{BTreeMap, HashSet};

use ferrocti_access::{Action as Right, may, names};
use ferrocti_accounts::{Accounts, Acting};
use ferrocti_catalog::{
    Secret,
    declared::{self as file, FileError, SecretRef},
    plan::{self, Change, Resolved},
};
use ferrocti_store::{Snapshot, StoreError};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{ConnectorError, Connectors, catalogs::Catalogs};
use current::There;

pub use apply::{Applied, Failure};

/// What applies files on a platform. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    connectors: Connectors,
    catalogs: Catalogs,
    accounts: Accounts,
}

/// A file as it is sent, with the secrets that it refers to.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Its text.
    pub text: &'a str,
    /// The secrets, by [`reference()`]; who sends the file reads them where it runs.
    pub secrets: &'a BTreeMap<String, Secret>,
}

/// Why a file is not planned or applied at all.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is there changed since the plan was made, or the file or a secret did.
    #[error(
        "the plan is not the one that was looked at any more: the file, a secret, a catalog or a connector has changed since; look at the plan again"
    )]
    Stale,
    /// Connectors would be removed, and nobody said that they may be.
    #[error(
        "{} would be removed because the file has them no longer: {}; allow removals to go on, or put them back into the file", .0.len(), .0.join(", ")
    )]
    Removals(Vec<String>),
    /// The platform refuses it.
    #[error(transparent)]
    Connectors(#[from] ConnectorError),
}

impl From<StoreError> for FilesError {
    fn from(error: StoreError) -> Self {
        Self::Connectors(error.into())
    }
}

impl From<ferrocti_access::Denial> for FilesError {
    fn from(denial: ferrocti_access::Denial) -> Self {
        Self::Connectors(denial.into())
    }
}

impl FilesError {
    /// The error code that clients know.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(_) => "VALIDATION_ERROR",
            Self::Stale | Self::Removals(_) => "FUNCTIONAL_ERROR",
            Self::Connectors(error) => error.code(),
        }
    }
}

/// What happens to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Change,
    /// It is as it shall be.
    Keep,
    /// It came from a file and is in it no longer.
    Remove,
    /// It cannot be what the file says, and stays as it is.
    Problem,
}

impl Action {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Keep => "keep",
            Self::Remove => "remove",
            Self::Problem => "problem",
        }
    }
}

/// What a file means for one connector.
#[derive(Debug, Clone)]
pub struct Step {
    /// What happens.
    pub action: Action,
    /// The connector's name.
    pub name: String,
    /// Its id, when it is there already.
    pub id: Option<String>,
    /// What differs; for a connector that is made what the file says of it. Values of secrets are masked.
    pub changes: Vec<Change>,
    /// What was done to what the file says.
    pub notices: Vec<String>,
    /// Why it cannot be what the file says.
    pub problem: Option<String>,
    /// What is carried out.
    work: Work,
}

/// What a step is carried out with.
#[derive(Debug, Clone)]
enum Work {
    Nothing,
    Deploy(Box<wanted::Wanted>),
    Change(Box<(wanted::Wanted, There)>),
    Delete,
}

/// Everything that would be done for a file.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The connectors of the file in its order, then those to be removed by name.
    pub steps: Vec<Step>,
    /// Names the plan: equal as long as the same would be done.
    pub hash: String,
}

impl Plan {
    /// How many connectors would be removed.
    #[must_use]
    pub fn removals(&self) -> usize {
        self.count(Action::Remove)
    }

    /// Whether not everything is as the file says, be it that something would be done or that something cannot be.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.steps.iter().any(|step| step.action != Action::Keep)
    }

    /// How many steps there are of a kind.
    #[must_use]
    pub fn count(&self, action: Action) -> usize {
        self.steps
            .iter()
            .filter(|step| step.action == action)
            .count()
    }
}

/// The text by which a secret is sent along with a file: `env:NAME` or `file:PATH`.
#[must_use]
pub fn reference(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Environment(name) => format!("env:{name}"),
        SecretRef::File(path) => format!("file:{path}"),
    }
}

/// The secrets that a file refers to, each once: what a client has to read and send along, by [`reference()`].
///
/// # Errors
/// The file cannot be read.
pub fn references(text: &str) -> Result<BTreeMap<String, SecretRef>, FileError> {
    Ok(file::read(text)?
        .connectors
        .into_iter()
        .flat_map(|connector| connector.secrets.into_values())
        .map(|secret| (reference(&secret), secret))
        .collect())
}

impl Files {
    /// What applies files on a platform.
    #[must_use]
    pub fn new(connectors: Connectors, catalogs: Catalogs, accounts: Accounts) -> Self {
        Self {
            connectors,
            catalogs,
            accounts,
        }
    }

    /// What would be done for a file. Nothing is changed.
    ///
    /// # Errors
    /// The file cannot be read, or the actor may not manage connectors. What is wrong with one connector is a step, not an error.
    pub fn plan<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        sent: Sent<'_>,
    ) -> Result<Plan, FilesError> {
        let acting = acting.into();
        may(acting.actor, Right::Use(names::MODULES_MANAGE))?;
        let file = file::read(sent.text)?;
        self.connectors.store.read(|snapshot| {
            let there = current::all(snapshot)?;
            let mut steps = Vec::with_capacity(file.connectors.len());
            let mut named = HashSet::new();
            for declared in file.connectors {
                let name = declared.name.trim().to_owned();
                steps.push(self.step(snapshot, &acting, declared, sent, &there)?);
                named.insert(name);
            }
            let mut gone: Vec<&There> = there
                .iter()
                .filter(|there| {
                    there.current.declared && !named.contains(&there.current.definition.name)
                })
                .collect();
            gone.sort_by_key(|there| (&there.current.definition.name, &there.current.id));
            steps.extend(gone.into_iter().map(|there| Step {
                action: Action::Remove,
                name: there.current.definition.name.clone(),
                id: Some(there.current.id.clone()),
                changes: Vec::new(),
                notices: Vec::new(),
                problem: None,
                work: Work::Delete,
            }));
            let hash = hash(&steps, &there);
            Ok(Plan { steps, hash })
        })
    }

    /// The step of one connector of the file.
    fn step(
        &self,
        snapshot: &Snapshot<'_>,
        acting: &Acting<'_>,
        declared: file::Declared,
        sent: Sent<'_>,
        there: &[There],
    ) -> Result<Step, FilesError> {
        let name = declared.name.trim().to_owned();
        let same: Vec<&There> = there
            .iter()
            .filter(|there| there.current.definition.name == name)
            .collect();
        let mut step = Step {
            action: Action::Problem,
            name: name.clone(),
            id: same.first().map(|there| there.current.id.clone()),
            changes: Vec::new(),
            notices: Vec::new(),
            problem: None,
            work: Work::Nothing,
        };
        if same.len() > 1 {
            let ids = same.iter().map(|there| there.current.id.clone()).collect();
            step.problem = Some(plan::Ambiguous { name, ids }.to_string());
            return Ok(step);
        }
        let there = same.first().copied();
        let declared = file::Declared { name, ..declared };
        let wanted = match self.wanted(snapshot, acting, declared, sent.secrets, there)? {
            Ok(wanted) => wanted,
            Err(problem) => {
                step.problem = Some(problem);
                return Ok(step);
            }
        };
        step.notices.clone_from(&wanted.notices);
        match there {
            None => {
                step.action = Action::Create;
                step.changes = wanted.all();
                step.work = Work::Deploy(Box::new(wanted));
            }
            Some(there) => {
                step.changes = wanted.changes(there);
                if step.changes.is_empty() {
                    step.action = Action::Keep;
                } else {
                    step.action = Action::Change;
                    step.work = Work::Change(Box::new((wanted, there.clone())));
                }
            }
        }
        Ok(step)
    }
}

/// What names a plan: everything that would be done, and the definitions that it starts from.
fn hash(steps: &[Step], there: &[There]) -> String {
    let mut hash = Sha256::new();
    for step in steps {
        let resolved: Option<&Resolved> = match &step.work {
            Work::Deploy(wanted) => Some(&wanted.resolved),
            Work::Change(work) => Some(&work.0.resolved),
            Work::Nothing | Work::Delete => None,
        };
        let from = there
            .iter()
            .find(|there| Some(&there.current.id) == step.id.as_ref())
            .map(|there| (there.managed.number, there.managed.requested));
        let changes: Vec<_> = step
            .changes
            .iter()
            .map(|change| (&change.path, &change.before, &change.after))
            .collect();
        let text = json!([
            step.action.name(),
            step.name,
            step.id,
            changes,
            step.problem,
            from,
            resolved.map(|resolved| &resolved.definition.settings),
            resolved.map(|resolved| &resolved.definition.secrets),
            resolved.map(|resolved| &resolved.definition.runtime),
            resolved.map(|resolved| resolved.contract.content_hash()),
        ])
        .to_string();
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
