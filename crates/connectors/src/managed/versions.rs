//! Upgrades, and the way back.

use ferrocti_accounts::{Acting, Scope};
use ferrocti_catalog::Contract;
use ferrocti_model::clock::Millis;
use ferrocti_store::{Snapshot, Tx};
use serde_json::{Map, Value};

use crate::{
    ConnectorError, Connectors,
    managed::{Change, Definition, Managed, Outcome, composers, define, deploy, model, request},
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
        let change = Change {
            contract: Some((catalog.to_owned(), contract.clone())),
            ..Change::default()
        };
        self.configure(acting, id, change)
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
            deploy::told_by_definition(&mut connector, &managed.definition);
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
