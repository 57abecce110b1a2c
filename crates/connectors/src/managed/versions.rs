//! Upgrades, and the way back.

use ferrocti_accounts::{Acting, Scope};
use ferrocti_catalog::{Contract, Extra, Given, recheck};
use ferrocti_model::clock::Millis;
use ferrocti_store::{Snapshot, Tx};
use serde_json::{Map, Value};

use crate::{
    ConnectorError, Connectors,
    managed::{
        Definition, Managed, Outcome, composers,
        define::{self, Values},
        deploy, model, request,
    },
    registry::audit,
};

/// A definition that a connector has or had.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Its number, growing per connector.
    pub number: i64,
    /// Since when.
    pub at: Millis,
    /// Who made it (`User.row`).
    pub actor: Option<i64>,
    /// Why, in words.
    pub reason: String,
    /// Whether it is the present one.
    pub current: bool,
    /// The definition.
    pub definition: Definition,
}

impl Connectors {
    /// Puts a managed connector on another contract of the same connector, newer or older. What is configured is held against its schema first,
    /// so that nothing is stopped for a version that it does not fit.
    ///
    /// # Errors
    /// [`ConnectorError::Configuration`] with every key that the new version does not accept; nothing is changed then.
    pub fn upgrade<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        catalog: &str,
        contract: &Contract,
    ) -> Result<Outcome, ConnectorError> {
        let acting = acting.into();
        let (outcome, changed) = self.store.write(|tx| {
            let (mut connector, mut managed) = request::manageable(tx, &acting, id)?;
            let composer = composers::required(tx, &managed.composer)?;
            let former = managed.definition.clone();
            if former.slug() != contract.slug || former.kind != contract.connector_type.name() {
                return Err(ConnectorError::Refused(format!(
                    "`{}` is a `{}` of the type {}, and `{}` of the type {} is another connector; deploy that one beside it",
                    connector.name,
                    former.slug(),
                    former.kind,
                    contract.slug,
                    contract.connector_type.name()
                )));
            }
            let stored = still_known(
                &former,
                contract,
                define::usable(&former, &composer, &[])?,
            );
            if let Some(schema) = &contract.schema {
                let problems = recheck(schema, &stored);
                if !problems.is_empty() {
                    return Err(ferrocti_catalog::Invalid {
                        title: format!("{} {}", contract.title, contract.version),
                        problems,
                    }
                    .into());
                }
            }
            let given: Vec<Given> = define::over(&stored, Vec::new());
            let values = Values {
                contract,
                given,
                stored,
                extra: Extra::Keep,
                fingerprints: &former.fingerprints,
                title: connector.title.as_deref().unwrap_or(&connector.name),
            };
            let (configured, fingerprints) = self.values(values, &composer)?;
            let definition = Definition {
                catalog: catalog.to_owned(),
                contract: contract.document(),
                image: contract.image_reference(),
                entries: configured.entries,
                key_id: composer.key_id.clone(),
                fingerprints,
                launch: contract.launch(),
                ..former.clone()
            };
            if definition == former {
                let notices = configured.notices;
                return Ok((Outcome { connector, notices }, false));
            }
            let reason = format!("put on version {}", contract.version);
            let mut data = Map::new();
            deploy::differences(&mut data, &former, &definition);
            define::adopt(tx, &acting, id, &mut managed, definition, &reason)?;
            managed.rolled_back = None;
            connector.catalog_id = Some(catalog.to_owned());
            connector.version = Some(contract.version.clone());
            self.ensure_token(tx, &acting, &connector, &mut managed, &composer)?;
            request::save(tx, &mut connector, &managed)?;
            audit(
                tx,
                &acting,
                (Scope::Update, "upgrades connector"),
                &connector,
                Some(Value::Object(data)),
            )?;
            let notices = configured.notices;
            Ok((Outcome { connector, notices }, true))
        })?;
        if changed {
            self.bump();
        }
        Ok(outcome)
    }

    /// Puts an earlier definition of a managed connector back: that of a number, or the one before the present.
    ///
    /// # Errors
    /// [`ConnectorError::NoSuchDefinition`]; [`ConnectorError::Refused`] when its secrets were sealed for a key that the composer has no longer.
    pub fn roll_back<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        number: Option<i64>,
    ) -> Result<Outcome, ConnectorError> {
        let acting = acting.into();
        let connector = self.store.write(|tx| {
            let (mut connector, mut managed) = request::manageable(tx, &acting, id)?;
            let composer = composers::required(tx, &managed.composer)?;
            let versions = history(tx, id, managed.number)?;
            let wanted = versions.into_iter().find(|version| match number {
                Some(number) => version.number == number,
                None => !version.current,
            });
            let missing = || ConnectorError::NoSuchDefinition {
                connector: connector.name.clone(),
                number,
            };
            let wanted = wanted
                .filter(|wanted| !wanted.current)
                .ok_or_else(missing)?;
            define::usable(&wanted.definition, &composer, &[])?;
            let reason = format!("went back to definition {}", wanted.number);
            let data = go_back(tx, &acting, id, &mut managed, wanted.definition, &reason)?;
            managed.rolled_back = None;
            connector.catalog_id = Some(managed.definition.catalog.clone());
            connector.version = Some(managed.definition.version().to_owned());
            self.ensure_token(tx, &acting, &connector, &mut managed, &composer)?;
            request::save(tx, &mut connector, &managed)?;
            audit(
                tx,
                &acting,
                (Scope::Update, "rolls back connector"),
                &connector,
                Some(data),
            )?;
            Ok::<_, ConnectorError>(connector)
        })?;
        self.bump();
        Ok(Outcome {
            connector,
            notices: Vec::new(),
        })
    }

    /// The definitions of a managed connector that are kept, newest first, the present one among them.
    ///
    /// # Errors
    /// [`ConnectorError::NotFound`], [`ConnectorError::NotManaged`].
    pub fn definitions(
        &self,
        snapshot: &Snapshot<'_>,
        id: &str,
    ) -> Result<Vec<Version>, ConnectorError> {
        let connector = snapshot
            .connector(id)?
            .ok_or_else(|| ConnectorError::NotFound(id.to_owned()))?;
        let managed = Managed::without_definition(&connector)?
            .ok_or(ConnectorError::NotManaged(connector.name))?;
        history(snapshot, id, managed.number)
    }
}

/// Makes an earlier definition the present one; what an audit line says of it.
pub(crate) fn go_back(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    id: &str,
    managed: &mut Managed,
    definition: Definition,
    reason: &str,
) -> Result<Value, ConnectorError> {
    let mut data = Map::new();
    data.insert("reason".to_owned(), reason.into());
    deploy::differences(&mut data, &managed.definition, &definition);
    define::adopt(tx, acting, id, managed, definition, reason)?;
    Ok(Value::Object(data))
}

/// The kept definitions, newest first.
pub(crate) fn history(
    snapshot: &Snapshot<'_>,
    id: &str,
    current: i64,
) -> Result<Vec<Version>, ConnectorError> {
    snapshot
        .definitions(id)?
        .into_iter()
        .map(|stored| {
            Ok(Version {
                number: stored.number,
                at: stored.at,
                actor: stored.actor,
                reason: stored.reason,
                current: stored.number == current,
                definition: model::read(id, stored.document)?,
            })
        })
        .collect()
}

/// What is stored without the keys that the former contract had and the new one has no longer. Keys that neither has were put there on purpose.
fn still_known(
    former: &Definition,
    contract: &Contract,
    stored: Vec<ferrocti_catalog::Entry>,
) -> Vec<ferrocti_catalog::Entry> {
    let (Some(before), Some(after)) = (
        former.contract().ok().and_then(|contract| contract.schema),
        &contract.schema,
    ) else {
        return stored;
    };
    stored
        .into_iter()
        .filter(|entry| {
            before.property(&entry.key).is_none() || after.property(&entry.key).is_some()
        })
        .collect()
}
