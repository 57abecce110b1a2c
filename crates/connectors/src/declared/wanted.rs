//! A connector of a file with everything that it names found: contract, user, composer, secrets.

use std::collections::BTreeMap;

use ferrocti_access::{Action, may, names};
use ferrocti_accounts::{Acting, ids::find_user, service_address};
use ferrocti_catalog::{
    Catalog, Extra, Secret,
    catalog::Format,
    declared::{Declared, SecretRef, Source},
    launch::{Launch, Runtime},
    names::instance_name,
    plan::{self, Change, Definition, Resolved, Step},
};
use ferrocti_store::{Snapshot, User};

use super::{Files, current::There, reference};
use crate::{ConnectorError, managed::UserChoice};

/// A connector as the file wants it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub resolved: Resolved,
    pub user: UserChoice,
    /// What becomes of keys that the contract does not know.
    pub extra: Extra,
    /// Whether it stays at its version.
    pub pinned: bool,
    /// What was done to what the file says.
    pub notices: Vec<String>,
}

impl Wanted {
    /// What differs from what is there.
    pub(super) fn changes(&self, there: &There) -> Vec<Change> {
        let (is, shall) = (&there.current.definition, &self.resolved.definition);
        let mut changes = differences(shall, is);
        // that the image of another version is another one goes without saying
        let images = [&is.launch, &shall.launch]
            .iter()
            .all(|launch| matches!(launch, Launch::Image { .. }));
        if !images || is.version == shall.version {
            changes.extend(launch(Some(&is.launch), &shall.launch));
        }
        let mut flag = |path: &str, before: bool, after: bool| {
            if before != after {
                changes.push(Change {
                    path: path.to_owned(),
                    before: Some(before.to_string()),
                    after: Some(after.to_string()),
                });
            }
        };
        flag("pinned", there.managed.definition.pinned, self.pinned);
        // one that somebody made by hand belongs to the file from now on
        flag("declared", there.managed.declared, true);
        changes
    }

    /// What the file says, for a connector that is made. Defaults of its contract go without saying.
    pub(super) fn all(&self) -> Vec<Change> {
        let nothing = Definition {
            catalog: String::new(),
            slug: String::new(),
            version: String::new(),
            user: None,
            confidence: None,
            composer: None,
            running: !self.resolved.definition.running,
            settings: BTreeMap::new(),
            secrets: BTreeMap::new(),
            runtime: Runtime::default(),
            ..self.resolved.definition.clone()
        };
        let mut changes = differences(&self.resolved.definition, &nothing);
        let given = &self.resolved.given;
        changes.retain(|change| {
            change
                .path
                .strip_prefix("settings.")
                .is_none_or(|key| given.iter().any(|given| given.key == key))
        });
        for change in &mut changes {
            change.before = None;
        }
        changes.extend(launch(None, &self.resolved.definition.launch));
        changes
    }
}

/// How it is started, when that is another way than before.
fn launch(before: Option<&Launch>, after: &Launch) -> Option<Change> {
    let text = |launch: &Launch| match launch {
        Launch::Image { image } => Some(image.clone()),
        Launch::Command { .. } => serde_json::to_string(launch).ok(),
    };
    (before != Some(after)).then(|| Change {
        path: "launch".to_owned(),
        before: before.and_then(text),
        after: text(after),
    })
}

/// What differs between two definitions of one name. How it is started is told by [`launch`].
fn differences(wanted: &Definition, before: &Definition) -> Vec<Change> {
    let current = plan::Current {
        id: String::new(),
        declared: true,
        definition: before.clone(),
    };
    // one name on both sides is never ambiguous
    let plan = plan::plan(std::slice::from_ref(wanted), &[current]).unwrap_or_default();
    let mut changes = plan
        .steps
        .into_iter()
        .find_map(|step| match step {
            Step::Change { changes, .. } => Some(changes),
            _ => None,
        })
        .unwrap_or_default();
    changes.retain(|change| change.path != "launch");
    changes
}

impl Files {
    /// A connector of the file with everything found; the inner error is what keeps it from being what the file says.
    pub(super) fn wanted(
        &self,
        snapshot: &Snapshot<'_>,
        acting: &Acting<'_>,
        declared: Declared,
        secrets: &BTreeMap<String, Secret>,
        there: Option<&There>,
    ) -> Result<Result<Wanted, String>, ConnectorError> {
        let pinned = declared.version.is_some();
        let (declared, catalogs) = match self.with_contract(declared) {
            Ok(found) => found,
            Err(problem) => return Ok(Err(problem)),
        };
        if let Err(problem) = self.place(snapshot, &declared, &catalogs, there)? {
            return Ok(Err(problem));
        }
        let read = |secret: &SecretRef| {
            secrets
                .get(&reference(secret))
                .cloned()
                .ok_or_else(|| "it was not sent along".to_owned())
        };
        let key = self.connectors.fingerprint_key();
        let platform = self.catalogs.platform();
        let mut resolved = match plan::resolve(&declared, &catalogs, platform, &key, &read) {
            Ok(resolved) => resolved,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut notices: Vec<String> = resolved.notices.iter().map(ToString::to_string).collect();
        if let Some(composer) = &resolved.definition.composer {
            match composer_id(snapshot, composer)? {
                Ok(id) => resolved.definition.composer = Some(id),
                Err(problem) => return Ok(Err(problem)),
            }
        } else if there.is_none() && snapshot.composers()?.is_empty() {
            return Ok(Err("no composer is registered that could run it".to_owned()));
        }
        let user = match chosen(snapshot, acting, &declared, there, &mut notices)? {
            Ok(user) => user,
            Err(problem) => return Ok(Err(problem)),
        };
        resolved.definition.user = user.1;
        Ok(Ok(Wanted {
            user: user.0,
            extra: match declared.source {
                Source::Generic(_) => Extra::Keep,
                Source::Contract { .. } => Extra::Refuse,
            },
            pinned,
            notices,
            resolved,
        }))
    }

    /// The contract that a connector names, as a catalog of one; it is named with its version from here on.
    fn with_contract(&self, declared: Declared) -> Result<(Declared, Vec<Catalog>), String> {
        let Source::Contract { catalog, slug } = &declared.source else {
            return Ok((declared, Vec::new()));
        };
        let found = self
            .catalogs
            .find(catalog.as_deref(), slug, declared.version.as_deref())
            .map_err(|error| error.to_string())?;
        let only = Catalog {
            id: found.catalog,
            name: String::new(),
            description: String::new(),
            version: String::new(),
            format: Format::Fragments,
            broken: Vec::new(),
            contracts: vec![found.contract],
        };
        let version = only.contracts.first().map(|found| found.version.clone());
        Ok((
            Declared {
                version,
                ..declared
            },
            vec![only],
        ))
    }

    /// Whether the connector can be made, or made of the one that is there.
    fn place(
        &self,
        snapshot: &Snapshot<'_>,
        declared: &Declared,
        found: &[Catalog],
        there: Option<&There>,
    ) -> Result<Result<(), String>, ConnectorError> {
        if let Some(there) = there {
            let described = match &declared.source {
                Source::Generic(generic) => generic.contract().ok(),
                Source::Contract { .. } => None,
            };
            let contract = described
                .as_ref()
                .or_else(|| found.iter().flat_map(|catalog| &catalog.contracts).next());
            let is = &there.managed.definition;
            return Ok(match contract {
                Some(wanted)
                    if is.slug() != wanted.slug || is.kind != wanted.connector_type.name() =>
                {
                    Err(format!(
                        "it is there as a `{}` of the type {}, and `{}` of the type {} is another connector; give that one another name, or delete this one first",
                        is.slug(),
                        is.kind,
                        wanted.slug,
                        wanted.connector_type.name(),
                    ))
                }
                _ => Ok(()),
            });
        }
        let name = instance_name(&declared.name, &*self.connectors.entropy);
        let taken = snapshot
            .connectors()?
            .into_iter()
            .find(|other| other.name == name);
        Ok(match taken {
            Some(other) if other.manager.is_some() => Err(format!(
                "the managed connector `{}` has the same short name `{name}`; choose another name",
                other.title.as_deref().unwrap_or(&other.name)
            )),
            Some(_) => Err(format!(
                "a connector `{name}` is there that no composer manages; choose another name"
            )),
            None => Ok(()),
        })
    }
}

/// The id of the composer that a file names by id or name.
fn composer_id(
    snapshot: &Snapshot<'_>,
    named: &str,
) -> Result<Result<String, String>, ConnectorError> {
    let composers = snapshot.composers()?;
    if composers.iter().any(|composer| composer.id == named) {
        return Ok(Ok(named.to_owned()));
    }
    let mut same = composers.iter().filter(|composer| composer.name == named);
    Ok(match (same.next(), same.next()) {
        (Some(composer), None) => Ok(composer.id.clone()),
        (Some(_), Some(_)) => Err(format!(
            "several composers are called `{named}`; write the id of one"
        )),
        (None, _) if composers.is_empty() => Err(format!(
            "there is no composer `{named}`; none is registered"
        )),
        (None, _) => Err(format!(
            "there is no composer `{named}`; there are {}",
            composers
                .iter()
                .map(|composer| format!("`{}`", composer.id))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    })
}

/// Who the connector acts as: the choice, and the user's address to compare with; `None`: whoever it is now.
type Chosen = (UserChoice, Option<String>);

fn chosen(
    snapshot: &Snapshot<'_>,
    acting: &Acting<'_>,
    declared: &Declared,
    there: Option<&There>,
    notices: &mut Vec<String>,
) -> Result<Result<Chosen, String>, ConnectorError> {
    let automatic = |name: Option<String>| UserChoice::Automatic {
        name,
        confidence: declared.confidence,
    };
    let own = match there.and_then(|there| there.connector.user) {
        Some(row) => snapshot.user(row)?,
        None => None,
    };
    // who may not administer users learns here neither whom there is nor whom there is not, and makes no accounts
    let administers = || {
        may(acting.actor, Action::Use(names::SET_ACCESSES))
            .map_err(|denial| format!("a connector acts as a user: {denial}"))
    };
    if there.is_none()
        && let Err(problem) = administers()
    {
        return Ok(Err(problem));
    }
    let known = match &declared.user {
        None => own,
        Some(named) => {
            let is = |user: &User| {
                user.id.to_string() == *named || user.email == *named || user.name == *named
            };
            match own.filter(is) {
                Some(own) => Some(own),
                None => {
                    if let Err(problem) = administers() {
                        return Ok(Err(problem));
                    }
                    match user_of(snapshot, named)? {
                        Ok(user) => user,
                        Err(problem) => return Ok(Err(problem)),
                    }
                }
            }
        }
    };
    if declared.confidence.is_some() && known.as_ref().is_some_and(|user| !user.service_account) {
        return Ok(Err(
            "`confidence` only goes with a service account; this user has a level of its own"
                .to_owned(),
        ));
    }
    Ok(Ok(match (&declared.user, known) {
        (None, _) => (automatic(None), None),
        (Some(_), Some(user)) => (UserChoice::Existing(user.id.to_string()), Some(user.email)),
        (Some(named), None) => {
            let name = named.trim();
            let name = name.strip_prefix("[C]").unwrap_or(name).trim();
            let address = match service_address(name) {
                Ok(address) => address,
                Err(error) => return Ok(Err(error.to_string())),
            };
            notices.push(format!(
                "there is no user `{named}`: a service account {address} is made for it"
            ));
            (automatic(Some(name.to_owned())), Some(address))
        }
    }))
}

/// The user that a file names: by id, e-mail address or name, or the service account of that name.
fn user_of(
    snapshot: &Snapshot<'_>,
    named: &str,
) -> Result<Result<Option<User>, String>, ConnectorError> {
    if let Some(user) = find_user(snapshot, named)? {
        return Ok(Ok(Some(user)));
    }
    if let Some(user) = snapshot.user_by_email(named)? {
        return Ok(Ok(Some(user)));
    }
    let users = snapshot.users()?;
    let mut same = users.into_iter().filter(|user| user.name == named);
    match (same.next(), same.next()) {
        (Some(_), Some(_)) => {
            return Ok(Err(format!(
                "several users are called `{named}`; write the e-mail address of one"
            )));
        }
        (Some(user), None) => return Ok(Ok(Some(user))),
        (None, _) => {}
    }
    let name = named.trim();
    let name = name.strip_prefix("[C]").unwrap_or(name).trim();
    Ok(Ok(match service_address(name) {
        Ok(address) => snapshot.user_by_email(&address)?,
        Err(_) => None,
    }))
}
