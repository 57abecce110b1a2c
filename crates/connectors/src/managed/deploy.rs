//! Deploying a connector, and changing what was deployed.

use std::collections::BTreeSet;

use ferrocti_access::{Action, may, names};
use ferrocti_accounts::{AccountError, Acting, Scope, add_service_account, lend, service_address};
use ferrocti_catalog::{
    Contract, Extra, Given, Notice, environment::for_people, launch::Runtime, names::instance_name,
};
use ferrocti_store::{Composer, Connector, Snapshot, Tx, User};
use serde_json::{Map, Value, json};

use crate::{
    ConnectorError, Connectors,
    managed::{
        Definition, Managed, RequestedStatus, composers,
        define::{self, Values},
        request, tokens,
    },
    registration::check_id,
    registry::{audit, blank},
};

/// Longest title of a connector, in characters.
const MAX_TITLE: usize = 200;

/// As whom a connector acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChoice {
    /// A service account of its own.
    Automatic {
        /// Its name; `None`: the connector's.
        name: Option<String>,
        /// Its confidence; `None`: the one that the contract proposes.
        confidence: Option<u8>,
    },
    /// A user that there is: internal id, standard id or e-mail address.
    Existing(String),
}

/// A connector to be deployed. Its contract was found by the caller.
#[derive(Debug, Clone)]
pub struct Deploy {
    /// Its id; `None`: a new one.
    pub id: Option<String>,
    /// Its name, as people write it.
    pub name: String,
    /// Id of the catalog of its contract.
    pub catalog: String,
    /// Its contract.
    pub contract: Contract,
    /// Its configuration.
    pub given: Vec<Given>,
    /// What becomes of keys that the contract does not know.
    pub extra: Extra,
    /// As whom it acts.
    pub user: UserChoice,
    /// The composer that runs it; `None`: the oldest.
    pub composer: Option<String>,
    /// What it may use.
    pub runtime: Runtime,
    /// Whether it is started at once.
    pub start: bool,
    /// Whether it stays at its version.
    pub pinned: bool,
    /// Whether it comes from a `connectors.yaml`.
    pub declared: bool,
}

/// A new configuration of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The values. `None` as value: the key is taken away.
    pub given: Vec<Given>,
    /// Whether settings that are not given go back to their defaults (upstream's edit). Secrets that are not given stay in any case.
    pub replace: bool,
    /// What becomes of keys that the contract does not know.
    pub extra: Extra,
}

/// What to change of a connector; `None` leaves a part as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Name as composers and clients know it; it is made a name of an instance.
    pub name: Option<String>,
    /// Name as people write it.
    pub title: Option<String>,
    /// As whom it acts.
    pub user: Option<UserChoice>,
    /// The composer that runs it.
    pub composer: Option<String>,
    /// Another contract of the same connector, with the id of its catalog: an upgrade, or the way back to an older version. Values that are not given
    /// stay, as far as the new contract knows them.
    pub contract: Option<(String, Contract)>,
    /// Its configuration.
    pub configuration: Option<Configuration>,
    /// What it may use.
    pub runtime: Option<Runtime>,
    /// Whether it stays at its version.
    pub pinned: Option<bool>,
    /// Whether it belongs to a `connectors.yaml`.
    pub declared: Option<bool>,
}

/// What became of something that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The connector.
    pub connector: Connector,
    /// What was done to what was given.
    pub notices: Vec<Notice>,
}

impl Connectors {
    /// Deploys a connector: it is there at once, and its composer starts it when it shall run.
    ///
    /// # Errors
    /// [`ConnectorError::Denied`] without `MODULES_MODMANAGE`, [`ConnectorError::Account`] for a user that one may not lend,
    /// [`ConnectorError::Configuration`] for values that do not obey the contract, [`ConnectorError::NameTaken`], [`ConnectorError::Refused`].
    pub fn deploy<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        deploy: Deploy,
    ) -> Result<Outcome, ConnectorError> {
        let acting = acting.into();
        may(acting.actor, Action::Use(names::MODULES_MANAGE))?;
        let title = check_title(&deploy.name)?;
        define::check_runtime(&deploy.runtime)?;
        if let Some(id) = &deploy.id {
            check_id(id)?;
        }
        let (outcome, minted) = self.store.write(|tx| {
            let composer = composers::choose(tx, deploy.composer.as_deref())?;
            let name = self.free_name(tx, title, None)?;
            let id = match &deploy.id {
                Some(id) if tx.connector(id)?.is_some() => {
                    return Err(ConnectorError::Refused(format!(
                        "there is a connector {id} already; configure it, or choose another id"
                    )));
                }
                Some(id) => id.clone(),
                None => tx.new_uuid().to_string(),
            };
            let contract = &deploy.contract;
            let values = Values {
                contract,
                given: deploy.given.clone(),
                stored: Vec::new(),
                extra: deploy.extra,
                fingerprints: &std::collections::BTreeMap::new(),
                title,
            };
            let (configured, fingerprints) = self.values(values, &composer)?;
            let user = user(tx, &acting, &deploy.user, title, contract)?;
            let now = tx.now();
            let mut connector = Connector {
                name,
                title: Some(title.to_owned()),
                kind: contract.connector_type.name().to_owned(),
                slug: Some(contract.slug.clone()),
                version: Some(contract.version.clone()),
                user: Some(user.row),
                catalog_id: Some(deploy.catalog.clone()),
                ..blank(&id, now)
            };
            let mut managed = Managed {
                composer: composer.id.clone(),
                requested: if deploy.start {
                    RequestedStatus::Starting
                } else {
                    RequestedStatus::Stopped
                },
                requested_at: now,
                current: None,
                number: 0,
                token: None,
                declared: deploy.declared,
                restarted_at: None,
                rolled_back: None,
                verified: None,
                definition: Definition::default(),
            };
            let definition = Definition {
                catalog: deploy.catalog.clone(),
                contract: contract.document(),
                image: contract.image_reference(),
                kind: contract.connector_type.name().to_owned(),
                entries: configured.entries,
                key_id: composer.key_id.clone(),
                fingerprints,
                runtime: deploy.runtime.clone(),
                launch: contract.launch(),
                pinned: deploy.pinned,
            };
            define::adopt(tx, &acting, &id, &mut managed, definition, "deployed")?;
            let minted = self.ensure_token(tx, &acting, &connector, &mut managed, &composer)?;
            // what was to be removed under this id before is made anew
            tx.delete_tombstone(&composer.id, &id)?;
            request::save(tx, &mut connector, &managed)?;
            let data = json!({
                "contract": contract.slug, "version": contract.version, "composer": composer.id, "user": user.email, "requested": managed.requested,
                "configuration": shown(&managed.definition), "secrets": managed.definition.sealed_keys(),
            });
            audit(tx, &acting, (Scope::Create, "deploys connector"), &connector, Some(data))?;
            let outcome = Outcome {
                connector,
                notices: configured.notices,
            };
            Ok::<_, ConnectorError>((outcome, minted))
        })?;
        drop(minted);
        self.bump();
        Ok(outcome)
    }

    /// Changes a managed connector. What is the same as before changes nothing, so that no connector is started anew without need.
    ///
    /// # Errors
    /// As [`Connectors::deploy`]; nothing is changed then.
    pub fn configure<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        change: Change,
    ) -> Result<Outcome, ConnectorError> {
        let acting = acting.into();
        let title = change.title.as_deref().map(check_title).transpose()?;
        if let Some(runtime) = &change.runtime {
            define::check_runtime(runtime)?;
        }
        let (outcome, changed, other_user, minted) = self.store.write(|tx| {
            let (mut connector, mut managed) = request::manageable(tx, &acting, id)?;
            let (former, former_user) = (managed.clone(), connector.user);
            let mut data = Map::new();
            if let Some(title) = title
                && connector.title.as_deref() != Some(title)
            {
                data.insert("title".to_owned(), title.into());
                connector.title = Some(title.to_owned());
            }
            if let Some(name) = &change.name
                && *name != connector.name
            {
                let name = self.free_name(tx, check_title(name)?, Some(id))?;
                if name != connector.name {
                    data.insert("name".to_owned(), name.as_str().into());
                    connector.name = name;
                }
            }
            if let Some(declared) = change.declared {
                managed.declared = declared;
            }
            let composer =
                self.move_to(tx, &connector, &mut managed, change.composer.as_deref())?;
            let moved = composer.id != former.composer;
            if moved {
                tokens::end(tx, &acting, &mut managed)?;
                data.insert("composer".to_owned(), composer.id.as_str().into());
            }
            if let Some(choice) = &change.user {
                let title = connector.title.clone().unwrap_or_default();
                let contract = contract_of(&managed.definition)?;
                let user = user(tx, &acting, choice, &title, &contract)?;
                if connector.user != Some(user.row) {
                    data.insert("user".to_owned(), user.email.as_str().into());
                    connector.user = Some(user.row);
                    tokens::end(tx, &acting, &mut managed)?;
                }
            }
            let (definition, notices) =
                self.redefine(&connector, &managed, &change, &composer, moved)?;
            if definition != managed.definition {
                differences(&mut data, &managed.definition, &definition);
                let reason = if definition.version() == managed.definition.version() {
                    "configured".to_owned()
                } else {
                    format!("put on version {}", definition.version())
                };
                define::adopt(tx, &acting, id, &mut managed, definition, &reason)?;
                managed.rolled_back = None;
                if change.contract.is_some() {
                    told_by_definition(&mut connector, &managed.definition);
                }
            }
            let minted = self.ensure_token(tx, &acting, &connector, &mut managed, &composer)?;
            let changed = !data.is_empty() || managed != former;
            if changed {
                request::save(tx, &mut connector, &managed)?;
                audit(
                    tx,
                    &acting,
                    (
                        Scope::Update,
                        if managed.definition.version() != former.definition.version() {
                            "upgrades connector"
                        } else {
                            "configures connector"
                        },
                    ),
                    &connector,
                    Some(Value::Object(data)),
                )?;
            }
            let other_user = former_user != connector.user;
            let outcome = Outcome { connector, notices };
            Ok::<_, ConnectorError>((outcome, changed, other_user, minted))
        })?;
        drop(minted);
        if other_user {
            self.shut_out_former_user(id)?;
        }
        if changed {
            self.bump();
        }
        Ok(outcome)
    }

    /// Assigns a connector to another composer. The one before has to remove its instance first, and tells when it has.
    fn move_to(
        &self,
        tx: &mut Tx<'_>,
        connector: &Connector,
        managed: &mut Managed,
        to: Option<&str>,
    ) -> Result<Composer, ConnectorError> {
        let composer = composers::required(tx, to.unwrap_or(&managed.composer))?;
        if composer.id != managed.composer {
            if tx.composer(&managed.composer)?.is_some() {
                tx.put_tombstone(&managed.composer, &connector.id)?;
            }
            tx.delete_tombstone(&composer.id, &connector.id)?;
            tx.delete_connector_report(&connector.id)?;
            managed.composer.clone_from(&composer.id);
            managed.current = None;
        }
        Ok(composer)
    }

    /// The definition after a change; the same when nothing in it changes.
    fn redefine(
        &self,
        connector: &Connector,
        managed: &Managed,
        change: &Change,
        composer: &Composer,
        moved: bool,
    ) -> Result<(Definition, Vec<Notice>), ConnectorError> {
        let former = &managed.definition;
        let mut definition = former.clone();
        if let Some(runtime) = &change.runtime {
            definition.runtime = runtime.clone();
        }
        if let Some(pinned) = change.pinned {
            definition.pinned = pinned;
        }
        let asked = change.configuration.as_ref();
        if asked.is_none() && change.contract.is_none() && !moved {
            return Ok((definition, Vec::new()));
        }
        let given = asked.map_or(&[][..], |asked| &asked.given);
        let mut stored = define::usable(former, composer, given)?;
        definition.key_id.clone_from(&composer.key_id);
        if asked.is_none() && change.contract.is_none() {
            return Ok((definition, Vec::new()));
        }
        let contract = match &change.contract {
            Some((catalog, contract)) => {
                same_connector(connector, former, contract)?;
                stored = define::still_known(former, contract, stored);
                definition.catalog.clone_from(catalog);
                definition.contract = contract.document();
                definition.image = contract.image_reference();
                definition.launch = contract.launch();
                contract.clone()
            }
            None => contract_of(former)?,
        };
        let (given, extra) = match asked {
            Some(asked) if asked.replace => (asked.given.clone(), asked.extra),
            Some(asked) => (
                define::over(&stored, asked.given.clone()),
                define::extra_of(&contract, &stored, asked.extra),
            ),
            None => (define::over(&stored, Vec::new()), Extra::Keep),
        };
        let values = Values {
            contract: &contract,
            given,
            stored,
            extra,
            fingerprints: &former.fingerprints,
            title: connector.title.as_deref().unwrap_or(&connector.name),
        };
        let (configured, fingerprints) = self.values(values, composer)?;
        definition.entries = configured.entries;
        definition.fingerprints = fingerprints;
        Ok((definition, configured.notices))
    }

    /// The name of an instance for what somebody typed, when no other connector has it.
    fn free_name(
        &self,
        snapshot: &Snapshot<'_>,
        typed: &str,
        own: Option<&str>,
    ) -> Result<String, ConnectorError> {
        let name = instance_name(typed, &*self.entropy);
        if name.len() < 2 {
            return Err(ConnectorError::Invalid(
                "the name of a connector has at least 2 letters or digits".to_owned(),
            ));
        }
        let taken = snapshot
            .connectors()?
            .iter()
            .any(|other| other.name == name && own != Some(other.id.as_str()));
        if taken {
            return Err(ConnectorError::NameTaken(name));
        }
        Ok(name)
    }
}

/// The contract that a connector was made from.
pub(crate) fn contract_of(definition: &Definition) -> Result<Contract, ConnectorError> {
    definition.contract().map_err(|fault| {
        ConnectorError::Refused(format!(
            "the contract that the connector was made from cannot be read: {fault}; upgrade it to one of a catalog"
        ))
    })
}

/// What the row of a connector repeats of its definition.
pub(crate) fn told_by_definition(connector: &mut Connector, definition: &Definition) {
    connector.catalog_id = Some(definition.catalog.clone());
    connector.version = Some(definition.version().to_owned());
}

/// Refuses a contract of another connector.
fn same_connector(
    connector: &Connector,
    former: &Definition,
    contract: &Contract,
) -> Result<(), ConnectorError> {
    let kind = contract.connector_type.name();
    if former.slug() == contract.slug && former.kind == kind {
        return Ok(());
    }
    Err(ConnectorError::Refused(format!(
        "`{}` is a `{}` of the type {}, and `{}` of the type {kind} is another connector; deploy that one beside it",
        connector.name,
        former.slug(),
        former.kind,
        contract.slug,
    )))
}

fn check_title(title: &str) -> Result<&str, ConnectorError> {
    let title = title.trim();
    let length = title.chars().count();
    if !(2..=MAX_TITLE).contains(&length) || title.chars().any(char::is_control) {
        return Err(ConnectorError::Invalid(format!(
            "the name of a connector has 2 to {MAX_TITLE} characters and no control characters"
        )));
    }
    Ok(title)
}

/// The user that somebody chose for a connector.
fn user(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    choice: &UserChoice,
    title: &str,
    contract: &Contract,
) -> Result<User, ConnectorError> {
    let (name, confidence) = match choice {
        UserChoice::Existing(id) => return Ok(lend(tx, acting, id)?),
        UserChoice::Automatic { name, confidence } => {
            (name.as_deref().unwrap_or(title), *confidence)
        }
    };
    // clients send the name with the prefix that every such account has
    let name = name.trim();
    let name = name.strip_prefix("[C]").unwrap_or(name).trim();
    if let Some(known) = tx.user_by_email(&service_address(name)?)? {
        return left_over(tx, acting, &known, name);
    }
    let confidence = confidence.or(contract.max_confidence_level);
    Ok(add_service_account(tx, acting, name, confidence, None)?)
}

/// The account of a connector that was deleted is taken up again.
fn left_over(
    snapshot: &Snapshot<'_>,
    acting: &Acting<'_>,
    known: &User,
    name: &str,
) -> Result<User, ConnectorError> {
    let connectors = snapshot.connectors()?;
    let in_use = connectors
        .iter()
        .any(|connector| connector.user == Some(known.row))
        || snapshot.composer_of(known.row)?.is_some()
        // somebody else has a token of it, such as a connector that has not started yet
        || !snapshot.tokens_of(known.row)?.is_empty();
    if !known.service_account || in_use {
        return Err(AccountError::AlreadyExists(format!(
            "This service account already exists: {}. Choose another name than {name:?}, or let the connector act as that user.",
            known.email
        ))
        .into());
    }
    Ok(lend(snapshot, acting, &known.id.to_string())?)
}

/// The settings of a definition that are no secrets.
fn shown(definition: &Definition) -> Map<String, Value> {
    for_people(&definition.entries)
        .iter()
        .map(|entry| (entry.key.clone(), entry.shown().into()))
        .collect()
}

/// What an audit line says of two definitions: which settings became what, and which secrets were set.
pub(crate) fn differences(data: &mut Map<String, Value>, before: &Definition, after: &Definition) {
    let keys: BTreeSet<&str> = before
        .entries
        .iter()
        .chain(&after.entries)
        .map(|entry| entry.key.as_str())
        .collect();
    let mut settings = Map::new();
    for key in keys {
        let find = |definition: &Definition| {
            let mut entries = definition.entries.iter();
            entries.find(|entry| entry.key == key).cloned()
        };
        let (was, is) = (find(before), find(after));
        if was != is {
            let text = is.as_ref().map(|entry| entry.shown().to_owned());
            settings.insert(key.to_owned(), text.into());
        }
    }
    if !settings.is_empty() {
        data.insert("configuration".to_owned(), Value::Object(settings));
    }
    if before.version() != after.version() {
        data.insert("version".to_owned(), after.version().into());
    }
    if before.launch != after.launch {
        data.insert("launch".to_owned(), json!(after.launch));
    }
    if before.runtime != after.runtime {
        data.insert("runtime".to_owned(), "changed".into());
    }
    if before.pinned != after.pinned {
        data.insert("pinned".to_owned(), after.pinned.into());
    }
}
