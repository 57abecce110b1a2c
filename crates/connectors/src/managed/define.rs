//! Definitions: made of a contract and what somebody gives, stored with those before them.

use std::collections::{BTreeMap, BTreeSet};

use ferrocti_accounts::Acting;
use ferrocti_catalog::{
    Configured, Contract, Entry, Envelope, Extra, Given, Invalid, PublicKey, Request, Secret,
    check, configure, launch::Runtime, plan, secret::is_secret_name,
};
use ferrocti_store::{Composer, StoredDefinition, Tx};

use crate::{
    ConnectorError, Connectors,
    managed::{Definition, Managed},
};

/// Definitions that are kept of a connector.
const KEPT: u32 = 20;

/// Whether a contract is newer than the one that a connector was made from: of a higher version, or of the same with other contents.
#[must_use]
pub fn pending_upgrade(definition: &Definition, newest: &Contract) -> bool {
    definition
        .contract()
        .is_ok_and(|own| match newest.compare_versions(&own) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => newest.content_hash() != own.content_hash(),
            std::cmp::Ordering::Less => false,
        })
}

/// What the values of a definition are made of.
pub(crate) struct Values<'a> {
    pub contract: &'a Contract,
    pub given: Vec<Given>,
    /// What is stored, as far as it can go on being used.
    pub stored: Vec<Entry>,
    pub extra: Extra,
    /// Fingerprints of what is stored.
    pub fingerprints: &'a BTreeMap<String, String>,
    /// What tells the fingerprints of this connector's secrets from those of others.
    pub title: &'a str,
}

impl Connectors {
    /// Checks values against a contract and seals the secrets for a composer. A secret that is known by its fingerprint stays as it is.
    pub(crate) fn values(
        &self,
        values: Values<'_>,
        composer: &Composer,
    ) -> Result<(Configured, BTreeMap<String, String>), ConnectorError> {
        let key = PublicKey::from_pem(&composer.public_key)?;
        let fingerprint_key = self.fingerprint_key();
        let print = |name: &str, secret: &Secret| {
            plan::fingerprint(&fingerprint_key, values.title, name, secret)
        };
        let is_stored =
            |given: &Given| {
                let known = values.fingerprints.get(&given.key);
                given.value.as_ref().is_some_and(|value| {
                    known.is_some_and(|known| *known == print(&given.key, value))
                }) && values
                    .stored
                    .iter()
                    .any(|entry| entry.encrypted && entry.key == given.key)
            };
        let last = |place: usize, given: &Given| {
            let mut later = values.given[place + 1..].iter();
            later.all(|other| other.key != given.key)
        };
        let given: Vec<Given> = values
            .given
            .iter()
            .enumerate()
            .filter(|(place, given)| last(*place, given) && !is_stored(given))
            .map(|(_, given)| given.clone())
            .collect();
        let configured = configure(
            &Request {
                title: &values.contract.title,
                schema: values.contract.schema.as_ref(),
                given: &given,
                stored: &values.stored,
                extra: values.extra,
            },
            &|secret| key.seal(secret, Envelope::V2, &*self.entropy),
        )?;
        let mut fingerprints = BTreeMap::new();
        for entry in configured.entries.iter().filter(|entry| entry.encrypted) {
            let was = values.stored.iter().find(|stored| *stored == entry);
            let print = match was {
                Some(_) => values.fingerprints.get(&entry.key).cloned(),
                None => given
                    .iter()
                    .rev()
                    .find(|given| given.key == entry.key)
                    .and_then(|given| given.value.as_ref())
                    .map(|secret| print(&entry.key, secret)),
            };
            if let Some(print) = print {
                fingerprints.insert(entry.key.clone(), print);
            }
        }
        Ok((configured, fingerprints))
    }
}

/// What is stored of a definition and can go on being used with a composer's key; fails when secrets cannot, and are not given again.
pub(crate) fn usable(
    definition: &Definition,
    composer: &Composer,
    given: &[Given],
) -> Result<Vec<Entry>, ConnectorError> {
    let lost = definition.sealed_for_another(&composer.key_id);
    let again: BTreeSet<&str> = given.iter().map(|given| given.key.as_str()).collect();
    let missing: Vec<&str> = lost
        .iter()
        .copied()
        .filter(|key| !again.contains(key))
        .collect();
    if !missing.is_empty() {
        return Err(ConnectorError::Refused(format!(
            "the composer `{}` cannot open what was sealed for another key; give again {}",
            composer.name,
            missing.join(", ")
        )));
    }
    Ok(definition
        .entries
        .iter()
        .filter(|entry| !(entry.encrypted && lost.contains(&entry.key.as_str())))
        .cloned()
        .collect())
}

/// What is given over what is stored: keys that are not given stay.
pub(crate) fn over(stored: &[Entry], given: Vec<Given>) -> Vec<Given> {
    let mut all: Vec<Given> = stored
        .iter()
        .filter(|entry| !entry.encrypted && given.iter().all(|given| given.key != entry.key))
        .map(|entry| Given::new(&entry.key, entry.value.as_str()))
        .collect();
    all.extend(given);
    all
}

/// What becomes of keys that the contract does not know when only some keys are given: those that are stored stay.
pub(crate) fn extra_of(contract: &Contract, stored: &[Entry], extra: Extra) -> Extra {
    let unknown = |entry: &Entry| {
        contract
            .schema
            .as_ref()
            .is_none_or(|schema| schema.property(&entry.key).is_none())
    };
    if stored.iter().any(unknown) {
        Extra::Keep
    } else {
        extra
    }
}

/// What is stored without the keys that the former contract had and the new one has no longer. Keys that neither has were put there on purpose.
pub(crate) fn still_known(
    former: &Definition,
    contract: &Contract,
    stored: Vec<Entry>,
) -> Vec<Entry> {
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

/// Refuses what cannot be an environment, and secrets in clear.
pub(crate) fn check_runtime(runtime: &Runtime) -> Result<(), ConnectorError> {
    for (key, value) in &runtime.environment {
        if let Some(fault) = check::variable(key, value) {
            return Err(ConnectorError::Invalid(format!("{key:?}: {fault}")));
        }
        if is_secret_name(key) {
            return Err(ConnectorError::Invalid(format!(
                "{key} has the name of a secret, and the environment of the runtime is not sealed; give it as a setting"
            )));
        }
    }
    Ok(())
}

/// Makes a definition the present one of a connector.
pub(crate) fn adopt(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    connector: &str,
    managed: &mut Managed,
    definition: Definition,
    reason: &str,
) -> Result<(), ConnectorError> {
    managed.number += 1;
    managed.definition = definition;
    let document = serde_json::to_value(&managed.definition)
        .map_err(|error| ConnectorError::Invalid(error.to_string()))?;
    let stored = StoredDefinition {
        number: managed.number,
        at: tx.now(),
        actor: Some(acting.actor.user_row),
        reason: reason.to_owned(),
        document,
    };
    Ok(tx.add_definition(connector, &stored, KEPT)?)
}

impl From<Invalid> for ConnectorError {
    fn from(invalid: Invalid) -> Self {
        Self::Configuration(invalid)
    }
}
