//! Composers: who runs connectors, and with which key secrets are sealed for them.

use ferrocti_access::{Action, may, names};
use ferrocti_accounts::{Acting, Scope, Subject, record};
use ferrocti_catalog::PublicKey;
use ferrocti_model::clock::Millis;
use ferrocti_store::{Composer, Snapshot, Tx};
use serde_json::{Value, json};

use crate::{ConnectorError, Connectors, managed::Managed};

/// Longest id and longest name, in characters.
const MAX_TEXT: usize = 200;
/// Longest PEM, and longest text of what a composer says of itself, in bytes.
const MAX_PAPERS: usize = 8 << 10;
/// Without a sign of life for so long, a composer that speaks our protocol is away; it says something every minute at least.
const SILENT: Millis = 2 * 60 * 1000;
/// The same for upstream's, as its clients know it.
const SILENT_UPSTREAM: Millis = 5 * 60 * 1000;
/// How exactly the last sign of life is known: asking more often is not written down.
const TOUCH: Millis = 10 * 1000;

/// A composer that makes itself known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewComposer {
    /// Its id, which it keeps.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The public half of its key: RSA with 4096 bits, PEM.
    pub public_key: String,
    /// What it says of itself: version, orchestrators, host, and `place`, which names the directory that it works in.
    pub about: Option<Value>,
    /// Whether it speaks our protocol.
    pub own: bool,
}

/// Whether a composer was heard of lately.
#[must_use]
pub fn composer_is_active(composer: &Composer, now: Millis) -> bool {
    let patience = if composer.own {
        SILENT
    } else {
        SILENT_UPSTREAM
    };
    now - composer.last_seen < patience
}

impl Connectors {
    /// Makes a composer known, or renews what is known of it. A user is one composer, and a composer belongs to its user: two that act as one
    /// would run every connector twice, and a key that anybody may put in place of another opens every secret that is set from then on.
    ///
    /// # Errors
    /// [`ConnectorError::Denied`] without `CONNECTORAPI`; [`ConnectorError::Key`] for a key that nothing can be sealed with;
    /// [`ConnectorError::Refused`] with the reason.
    pub fn register_composer<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        new: NewComposer,
    ) -> Result<Composer, ConnectorError> {
        let acting = acting.into();
        may(acting.actor, Action::Use(names::CONNECTOR_API))?;
        for (what, text) in [("id", &new.id), ("name", &new.name)] {
            let length = text.trim().chars().count();
            if length < 2 || text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
                return Err(ConnectorError::Invalid(format!(
                    "the {what} of a composer has 2 to {MAX_TEXT} characters and no control characters"
                )));
            }
        }
        let about = new
            .about
            .as_ref()
            .map_or(0, |about| about.to_string().len());
        if about > MAX_PAPERS || new.public_key.len() > MAX_PAPERS {
            return Err(ConnectorError::Invalid(format!(
                "the key of a composer and what it says of itself have {MAX_PAPERS} bytes at most"
            )));
        }
        let key_id = PublicKey::from_pem(&new.public_key)?.id();
        let (composer, news) = self.store.write(|tx| {
            let known = tx.composer(&new.id)?;
            may_be(tx, &acting, &new.id, known.as_ref())?;
            let now = tx.now();
            if let Some(known) = &known {
                same_place(known, &new, now)?;
            }
            let composer = Composer {
                id: new.id.clone(),
                name: new.name.trim().to_owned(),
                public_key: new.public_key.clone(),
                key_id: key_id.clone(),
                user: acting.actor.user_row,
                own: new.own,
                about: new.about.clone(),
                blocked: known.as_ref().and_then(|known| known.blocked.clone()),
                created_at: known.as_ref().map_or(now, |known| known.created_at),
                last_seen: now,
            };
            tx.put_composer(&composer)?;
            let news = match &known {
                None => {
                    log(tx, &acting, Scope::Create, &composer, "registers", None)?;
                    true
                }
                Some(known) => changed(tx, &acting, known, &composer)?,
            };
            Ok::<_, ConnectorError>((composer, news))
        })?;
        if news {
            self.bump();
        }
        Ok(composer)
    }

    /// A sign of life of a composer.
    ///
    /// # Errors
    /// [`ConnectorError::UnknownComposer`]; [`ConnectorError::Denied`] for anybody but its own user and who may manage connectors.
    pub fn composer_alive<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
    ) -> Result<Composer, ConnectorError> {
        let acting = acting.into();
        self.store.write(|tx| {
            let mut composer = speaking_for(tx, &acting, id)?;
            tx.touch_composer(id)?;
            composer.last_seen = tx.now();
            Ok(composer)
        })
    }

    /// The composers, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn composers(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Composer>, ConnectorError> {
        Ok(snapshot.composers()?)
    }

    /// Forgets a composer that no connector is assigned to. What it still had to remove is nobody's business any more.
    ///
    /// # Errors
    /// [`ConnectorError::Refused`] while connectors are assigned to it.
    pub fn remove_composer<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
    ) -> Result<(), ConnectorError> {
        let acting = acting.into();
        may(acting.actor, Action::Use(names::MODULES_MANAGE))?;
        self.store.write(|tx| {
            let composer = required(tx, id)?;
            let assigned: Vec<String> = assigned(tx, id)?
                .into_iter()
                .map(|(connector, _)| format!("`{}`", connector.name))
                .collect();
            if !assigned.is_empty() {
                return Err(ConnectorError::Refused(format!(
                    "the composer `{}` runs {}; delete them or assign them to another composer first",
                    composer.name,
                    assigned.join(", ")
                )));
            }
            tx.delete_composer(id)?;
            log(tx, &acting, Scope::Delete, &composer, "removes", None)
        })?;
        self.bump();
        Ok(())
    }

    /// Confirms that a composer may remove deleted connectors although they are many.
    ///
    /// # Errors
    /// [`ConnectorError::Refused`] for a connector that is not waiting to be removed.
    pub fn approve_removals<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        connectors: &[String],
    ) -> Result<(), ConnectorError> {
        let acting = acting.into();
        may(acting.actor, Action::Use(names::MODULES_MANAGE))?;
        self.store.write(|tx| {
            let composer = required(tx, id)?;
            for connector in connectors {
                if !tx.approve_tombstone(id, connector)? {
                    return Err(ConnectorError::Refused(format!(
                        "the composer `{}` has no connector {connector} to remove",
                        composer.name
                    )));
                }
            }
            let data = json!({ "connectors": connectors });
            log(
                tx,
                &acting,
                Scope::Update,
                &composer,
                "confirms the removals of",
                Some(data),
            )
        })?;
        self.bump();
        Ok(())
    }
}

/// Whether the actor may register as this composer.
fn may_be(
    snapshot: &Snapshot<'_>,
    acting: &Acting<'_>,
    id: &str,
    known: Option<&Composer>,
) -> Result<(), ConnectorError> {
    let actor = acting.actor;
    if let Some(other) = snapshot
        .composer_of(actor.user_row)?
        .filter(|other| other.id != id)
    {
        return Err(ConnectorError::Refused(format!(
            "this user is the composer `{}` already, and two composers that act as one user would run every connector twice; \
             give this one an account of its own, or remove `{}` first",
            other.id, other.id
        )));
    }
    let administers = may(actor, Action::Use(names::SET_ACCESSES)).is_ok();
    match known {
        Some(known) if known.user == actor.user_row => Ok(()),
        Some(_) => {
            if administers && may(actor, Action::Use(names::MODULES_MANAGE)).is_ok() {
                return Ok(());
            }
            Err(ConnectorError::Refused(format!(
                "the composer `{id}` belongs to another user; use that user's token, choose another id, or have an administrator remove it"
            )))
        }
        None if administers => Ok(()),
        None => {
            let connectors = snapshot.connectors()?;
            if let Some(connector) = connectors
                .iter()
                .find(|connector| connector.user == Some(actor.user_row))
            {
                return Err(ConnectorError::Refused(format!(
                    "this user runs the connector `{}`; a composer needs an account of its own",
                    connector.name
                )));
            }
            // who has the token of a connector that has not registered yet would be handed what is deployed without naming a composer
            if may(actor, Action::Use(names::KNOWLEDGE)).is_ok() {
                return Err(ConnectorError::Refused(
                    "this user may read knowledge, as connectors may, and a composer needs an account of its own that may not: `ferrocti composer add` makes one"
                        .to_owned(),
                ));
            }
            Ok(())
        }
    }
}

/// Refuses a copy of a composer while the original is there: both have the same id, key and token, and would run every connector twice.
fn same_place(known: &Composer, new: &NewComposer, now: Millis) -> Result<(), ConnectorError> {
    let said = |about: &Option<Value>, what: &str| {
        let about = about.as_ref()?;
        Some(about.get(what)?.as_str()?.to_owned())
    };
    let (before, after) = (said(&known.about, "place"), said(&new.about, "place"));
    if before.is_none() || after.is_none() || before == after || !composer_is_active(known, now) {
        return Ok(());
    }
    Err(ConnectorError::Refused(format!(
        "the composer `{}` works in another directory{}, and was heard of {} s ago; this one is a copy of it, and both would run every connector. It is let in when the other has been silent for {} minutes; to run both, give this one an account and a directory of its own",
        known.name,
        said(&known.about, "host")
            .map(|host| format!(" (on {host})"))
            .unwrap_or_default(),
        (now - known.last_seen).max(0) / 1000,
        SILENT / 60_000,
    )))
}

/// Records what is other than before; whether there is something that a composer or an operator should see.
fn changed(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    known: &Composer,
    now: &Composer,
) -> Result<bool, ConnectorError> {
    if known.user == now.user && known.key_id == now.key_id {
        return Ok(known.name != now.name);
    }
    let data = json!({ "former_key": known.key_id, "key": now.key_id, "former_user": known.user });
    let what = if known.key_id == now.key_id {
        "takes over"
    } else {
        "changes the key of"
    };
    log(tx, acting, Scope::Update, now, what, Some(data))?;
    Ok(true)
}

fn log(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    scope: Scope,
    composer: &Composer,
    what: &str,
    data: Option<Value>,
) -> Result<(), ConnectorError> {
    let subject = Subject {
        kind: "ConnectorManager",
        id: &composer.id,
        name: &composer.name,
    };
    let message = format!("{what} composer `{}`", composer.name);
    Ok(record(tx, acting, scope, Some(subject), &message, data)?)
}

/// The composer of an id.
pub(crate) fn required(snapshot: &Snapshot<'_>, id: &str) -> Result<Composer, ConnectorError> {
    snapshot
        .composer(id)?
        .ok_or_else(|| ConnectorError::UnknownComposer(id.to_owned()))
}

/// The composer of an id, for its own user and for whoever may manage connectors.
pub(crate) fn speaking_for(
    snapshot: &Snapshot<'_>,
    acting: &Acting<'_>,
    id: &str,
) -> Result<Composer, ConnectorError> {
    let composer = required(snapshot, id)?;
    if composer.user == acting.actor.user_row {
        may(acting.actor, Action::Use(names::CONNECTOR_API))?;
    } else {
        may(acting.actor, Action::Use(names::MODULES_MANAGE))?;
    }
    Ok(composer)
}

/// Notes that a composer has asked something, but not more often than is of use.
pub(crate) fn seen(connectors: &Connectors, composer: &Composer) -> Result<(), ConnectorError> {
    if connectors.clock.now() - composer.last_seen < TOUCH {
        return Ok(());
    }
    connectors
        .store
        .write(|tx| Ok(tx.touch_composer(&composer.id)?))
}

/// The composer that a new connector is assigned to: the one that is named, or else the oldest, also when it is away: that another one is there at
/// the moment is no reason to seal secrets for it.
pub(crate) fn choose(
    snapshot: &Snapshot<'_>,
    named: Option<&str>,
) -> Result<Composer, ConnectorError> {
    if let Some(id) = named {
        return required(snapshot, id);
    }
    snapshot.composers()?.into_iter().next().ok_or_else(|| {
        ConnectorError::Refused(
            "no composer is registered that could run connectors; start one with `ferrocti composer`, or enable the built-in one"
                .to_owned(),
        )
    })
}

/// The connectors of a composer, by name. Definitions are left out.
pub(crate) fn assigned(
    snapshot: &Snapshot<'_>,
    composer: &str,
) -> Result<Vec<(ferrocti_store::Connector, Managed)>, ConnectorError> {
    let mut list = Vec::new();
    for connector in snapshot.managed_connectors()? {
        if let Some(managed) = Managed::without_definition(&connector)?
            && managed.composer == composer
        {
            list.push((connector, managed));
        }
    }
    Ok(list)
}
