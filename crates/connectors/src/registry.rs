//! Connectors as they come and go: registration, ping, state, deletion.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use ferrocti_access::{Action, Actor, may};
use ferrocti_accounts::{Acting, Scope, Subject, record};
use ferrocti_broker::{Depth, Queues};
use ferrocti_catalog::environment::Proxy;
use ferrocti_ingest::works;
use ferrocti_model::clock::{Clock, Entropy, Millis};
use ferrocti_store::{Connector, Lease, Snapshot, StateVersion, Store, Tx};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    ConnectorError, PlatformKey, Registration,
    lease::{self, Call, Zombies},
    managed,
    state::{self, Ping},
};

/// A connector that was not heard of for so long is shown as inactive.
const ACTIVE_FOR: Millis = 5 * 60 * 1000;
/// A managed connector that says something again after so long is news for its composer.
const SILENCE: Millis = 60 * 1000;
/// Versions of a state that are kept.
pub(crate) const STATE_VERSIONS: u32 = 50;
/// Epochs back from the present one whose broker passwords are recognised, only to tell who still uses them.
const FORMER_EPOCHS: i64 = 8;
/// Largest state that is stored; a state is a bookmark, not a database.
const MAX_STATE: usize = 1 << 20;

/// What ends the open connections of a connector to the broker, by its id.
type Disconnect = Box<dyn Fn(&str) + Send + Sync>;

/// The connectors of a platform. Cheap to clone.
#[derive(Clone)]
pub struct Connectors {
    pub(crate) store: Store,
    pub(crate) queues: Queues,
    pub(crate) key: PlatformKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The platform's way out, which managed connectors are given.
    pub(crate) proxy: Arc<Proxy>,
    /// Counts what composers must see.
    pub(crate) changes: Arc<watch::Sender<u64>>,
    disconnect: Arc<OnceLock<Disconnect>>,
    /// Instances that are refused, and those that are more than one.
    pub(crate) zombies: Arc<Zombies>,
}

impl std::fmt::Debug for Connectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connectors")
    }
}

impl Connectors {
    /// The connectors kept in a store, with their queues.
    #[must_use]
    pub fn new(store: Store, queues: Queues, key: PlatformKey, clock: Arc<dyn Clock>) -> Self {
        Self {
            entropy: store.entropy(),
            store,
            queues,
            key,
            clock,
            proxy: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
            disconnect: Arc::default(),
            zombies: Arc::default(),
        }
    }

    /// With the way out of the network that managed connectors are given; it is part of what they are started with.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Arc::new(proxy);
        self
    }

    /// Makes sure that every connector has its queues, and that the broker knows who acts as which; called at start, before anybody can log in.
    pub fn declare_queues(&self) -> Result<(), ConnectorError> {
        self.settle_all()?;
        for connector in self
            .store
            .read(|snapshot| Ok::<_, ConnectorError>(snapshot.connectors()?))?
        {
            self.declare(&connector.id)?;
        }
        Ok(())
    }

    fn declare(&self, id: &str) -> Result<(), ConnectorError> {
        if self.queues.depth(&push(id)).is_none() || self.queues.depth(&listen(id)).is_none() {
            self.queues
                .declare_connector(id, bytes::Bytes::new())
                .wait()?;
        }
        Ok(())
    }

    /// A connector starts. State, works and queues of the same id stay; the connector now belongs to the actor.
    /// Reading its state here is how a connector takes notice of a reset.
    ///
    /// # Errors
    /// [`ConnectorError::Fenced`] when somebody else acts as it; nothing is changed then.
    pub fn register<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        registration: Registration,
    ) -> Result<Connector, ConnectorError> {
        let acting = acting.into();
        let actor = acting.actor;
        registration.check()?;
        // the queues come first: who is told that it is registered may publish
        self.store.read(|snapshot| {
            self.admit(snapshot, &acting, &registration.id, Call::Register)?;
            owned(snapshot, actor, &registration.id).map(|_| ())
        })?;
        self.declare(&registration.id)?;
        let mut changes_hands = false;
        let registered = self.store.write(|tx| {
            let lease = self.admit(tx, &acting, &registration.id, Call::Register)?;
            let known = owned(tx, actor, &registration.id)?;
            as_chosen(known.as_ref(), actor)?;
            let composed = known.as_ref().is_some_and(managed::is_managed);
            // who was given the lease takes nothing away from anybody: what was published before is applied
            changes_hands = lease.token.is_none()
                && known
                    .as_ref()
                    .is_some_and(|known| known.user != Some(actor.user_row));
            let now = tx.now();
            let r = &registration;
            let base = known.clone().unwrap_or_else(|| blank(&r.id, now));
            let connector = Connector {
                // the name of a managed connector is part of what it is started with
                name: if composed {
                    base.name.clone()
                } else {
                    r.name.clone()
                },
                kind: r.connector_type.clone(),
                scope: r
                    .scope
                    .iter()
                    .map(|entry| entry.trim().to_owned())
                    .filter(|entry| !entry.is_empty())
                    .collect(),
                auto: r.auto,
                auto_update: r.auto_update,
                only_contextual: r.only_contextual,
                playbook_compatible: r.playbook_compatible,
                enrichment_resolution: r.enrichment_resolution.clone(),
                listen_callback_uri: r.listen_callback_uri.clone(),
                xtm_one_intent: r.xtm_one_intent.clone(),
                version: r.version.clone().or(base.version.filter(|_| composed)),
                slug: r.slug.clone().or(base.slug.filter(|_| composed)),
                user: Some(actor.user_row),
                built_in: false,
                state_reset: false,
                updated_at: now,
                registered_at: Some(now),
                last_ping: Some(now),
                registered_token: acting.token,
                ..base
            };
            tx.put_connector(&connector)?;
            match known {
                None => audit(
                    tx,
                    &acting,
                    (Scope::Create, "creates connector"),
                    &connector,
                    None,
                )?,
                Some(before) if before.user != connector.user => {
                    audit(
                        tx,
                        &acting,
                        (Scope::Update, "takes over connector"),
                        &connector,
                        Some(json!({ "former_user": before.user })),
                    )?;
                }
                Some(_) => {}
            }
            Ok::<_, ConnectorError>(connector)
        })?;
        self.heard(&acting, &registered.id);
        if changes_hands {
            self.shut_out_former_user(&registered.id)?;
        }
        if managed::is_managed(&registered) {
            // its composer waits for this to know that the new instance works
            self.bump();
        }
        Ok(registered)
    }

    /// Sets what ends the open connections of a connector to the broker when it changes hands. Only the first call counts.
    pub fn on_change_of_hands(&self, disconnect: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.disconnect.set(Box::new(disconnect));
    }

    /// Ends the open connections of a connector to the broker.
    pub(crate) fn disconnect(&self, id: &str) {
        if let Some(disconnect) = self.disconnect.get() {
            disconnect(id);
        }
    }

    fn heard(&self, acting: &Acting<'_>, id: &str) {
        let now = self.clock.now();
        self.zombies
            .heard(id, acting.token, acting.origin.address, now);
    }

    /// What the former user of a connector published must not run with the rights of the new one: its connections end, and what of it was not
    /// applied yet is dropped. The new user has no broker password yet, so that nothing of its own is among it.
    pub(crate) fn shut_out_former_user(&self, id: &str) -> Result<(), ConnectorError> {
        self.disconnect(id);
        let queue = push(id);
        if self
            .queues
            .depth(&queue)
            .is_none_or(|depth| depth.messages == 0)
        {
            return Ok(());
        }
        let messages = self.queues.purge(&queue).wait()?;
        self.store.write(|tx| {
            tx.delete_pushes_of(id)?;
            discarded(tx, id, "another user", messages)?;
            works::close_all(
                tx,
                id,
                "The connector was taken over by another user: what was still waiting is discarded.",
            )?;
            Ok(())
        })
    }

    /// A sign of life, with the state and what the connector says of its schedule. The answer's state is what was sent, unless an operator's
    /// state is held: then it is that one.
    ///
    /// # Errors
    /// [`ConnectorError::Fenced`] when somebody else acts as the connector; nothing is written then.
    pub fn ping<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        sent: Option<&str>,
        info: Option<Value>,
    ) -> Result<Connector, ConnectorError> {
        let acting = acting.into();
        let actor = acting.actor;
        if sent.is_some_and(|state| state.len() > MAX_STATE) {
            return Err(ConnectorError::Invalid(format!(
                "the state is larger than {MAX_STATE} bytes; keep a bookmark there, not data"
            )));
        }
        self.declare_known(&acting, id)?;
        let (connector, back) = self.store.write(|tx| {
            let lease = self.admit(tx, &acting, id, Call::Ping)?;
            let mut connector = required(tx, actor, id)?;
            let now = tx.now();
            let back = managed::is_managed(&connector)
                && connector.last_ping.is_none_or(|ping| now - ping >= SILENCE);
            connector.last_ping = Some(now);
            if info.is_some() {
                connector.info = info;
            }
            if connector.registered_token.is_none() {
                connector.registered_token = acting.token;
            }
            let mut outcome =
                state::on_ping(connector.state.as_deref(), connector.state_reset, sent);
            if let Some(why) = goes_back(&lease, &connector, outcome, sent) {
                outcome = Ping::Keep;
                lease::state_refused(tx, &lease, why, sent)?;
            }
            match outcome {
                Ping::Held => {}
                Ping::ResetTaken => connector.state_reset = false,
                Ping::Keep => connector.updated_at = now,
                Ping::Store => {
                    connector.updated_at = now;
                    if connector.state.as_deref() != sent {
                        connector.state = sent.map(str::to_owned);
                        tx.add_state_version(
                            id,
                            sent,
                            "ping",
                            Some(actor.user_row),
                            STATE_VERSIONS,
                        )?;
                    }
                }
            }
            tx.put_connector(&connector)?;
            // The answer is what was sent: clients compare the two, and several versions throw their own copy away where they differ.
            if let (Ping::Keep, Some(sent)) = (outcome, sent) {
                connector.state = Some(sent.to_owned());
            }
            Ok::<_, ConnectorError>((connector, back))
        })?;
        self.heard(&acting, id);
        if back {
            self.bump();
        }
        Ok(connector)
    }

    fn declare_known(&self, acting: &Acting<'_>, id: &str) -> Result<(), ConnectorError> {
        self.store.read(|snapshot| {
            self.admit(snapshot, acting, id, Call::Ping)?;
            required(snapshot, acting.actor, id).map(|_| ())
        })?;
        self.declare(id)
    }

    /// Empties the state and the queues, so that the connector starts from the beginning. The former state stays in the history.
    pub fn reset_state<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
    ) -> Result<Connector, ConnectorError> {
        let acting = acting.into();
        let actor = acting.actor;
        let connector = self.store.write(|tx| {
            self.admit_operator(tx, &acting, id)?;
            let mut connector = manageable(tx, actor, id)?;
            let now = tx.now();
            connector.state = Some(String::new());
            connector.state_reset = true;
            connector.state_at = now;
            connector.updated_at = now;
            tx.put_connector(&connector)?;
            tx.add_state_version(id, Some(""), "reset", Some(actor.user_row), STATE_VERSIONS)?;
            let dropped = tx.delete_pushes_of(id)?;
            let waiting = self.queues.depth(&push(id)).unwrap_or_default().messages;
            // asked for, whatever the state of the lease
            let epoch = tx.lease(id)?.epoch;
            let detail = json!({ "why": "reset", "messages": waiting });
            tx.add_lease_event(id, "discarded", epoch, &detail)?;
            works::close_all(
                tx,
                id,
                "The connector was reset: what was still waiting is discarded.",
            )?;
            audit(
                tx,
                &acting,
                (Scope::Update, "resets the state of connector"),
                &connector,
                Some(json!({ "pushes_dropped": dropped })),
            )?;
            Ok::<_, ConnectorError>(connector)
        })?;
        for queue in [push(id), listen(id)] {
            if self.queues.depth(&queue).is_some() {
                self.queues.purge(&queue).wait()?;
            }
        }
        self.bump_for(&connector);
        Ok(connector)
    }

    /// Puts an earlier version of the state back. The connector gets it when it registers next; what it pings until then is not stored.
    pub fn restore_state<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        version: i64,
    ) -> Result<Connector, ConnectorError> {
        let acting = acting.into();
        let actor = acting.actor;
        let connector = self.store.write(|tx| {
            self.admit_operator(tx, &acting, id)?;
            let mut connector = manageable(tx, actor, id)?;
            let wanted =
                tx.state_version(id, version)?
                    .ok_or_else(|| ConnectorError::NoSuchVersion {
                        id: id.to_owned(),
                        version,
                    })?;
            let now = tx.now();
            connector.state = wanted.state;
            connector.state_reset = true;
            connector.state_at = now;
            connector.updated_at = now;
            tx.put_connector(&connector)?;
            tx.add_state_version(
                id,
                connector.state.as_deref(),
                "restore",
                Some(actor.user_row),
                STATE_VERSIONS,
            )?;
            audit(
                tx,
                &acting,
                (Scope::Update, "restores the state of connector"),
                &connector,
                Some(json!({ "version": version })),
            )?;
            Ok::<_, ConnectorError>(connector)
        })?;
        self.bump_for(&connector);
        Ok(connector)
    }

    /// Deletes a connector with its queues, works and state — unless it is its own user that asks: several connectors delete
    /// themselves when they stop, and would lose their state. Such a connector is only marked as offline; once it is, its user may delete it
    /// for good if he may manage connectors. The token that acts as the connector never does, and one that formerly did is refused.
    ///
    /// # Errors
    /// [`ConnectorError::FormerToken`]; nothing is changed then.
    pub fn delete<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
    ) -> Result<(), ConnectorError> {
        let acting = acting.into();
        let actor = acting.actor;
        let gone_for_good = self.store.read(|snapshot| {
            self.admit_operator(snapshot, &acting, id)?;
            let connector = manageable(snapshot, actor, id)?;
            if acting.token.is_some() && snapshot.lease(id)?.token == acting.token {
                return Ok(false);
            }
            let own = connector.user == Some(actor.user_row);
            let manager = may(actor, Action::Use(ferrocti_access::names::MODULES_MANAGE)).is_ok();
            Ok::<_, ConnectorError>(manager && !(own && is_active(&connector, self.clock.now())))
        })?;
        if gone_for_good {
            // the queues go first: a crash in between leaves a connector whose queues are made again, not queues that nobody knows
            self.queues.delete_connector(id).wait()?;
        }
        let connector = self.store.write(|tx| {
            self.admit_operator(tx, &acting, id)?;
            let mut connector = manageable(tx, actor, id)?;
            if gone_for_good {
                managed::bury(tx, &acting, &connector)?;
                tx.delete_works_of(id)?;
                tx.delete_pushes_of(id)?;
                tx.delete_queue_mark(&push(id))?;
                tx.delete_connector(id)?;
                audit(
                    tx,
                    &acting,
                    (Scope::Delete, "deletes connector"),
                    &connector,
                    None,
                )?;
            } else {
                connector.last_ping = None;
                tx.put_connector(&connector)?;
                audit(
                    tx,
                    &acting,
                    (Scope::Update, "signs off connector"),
                    &connector,
                    None,
                )?;
            }
            Ok::<_, ConnectorError>(connector)
        })?;
        self.bump_for(&connector);
        Ok(())
    }

    /// The kept versions of a connector's state, newest first.
    pub fn state_history(
        &self,
        snapshot: &Snapshot<'_>,
        actor: &Actor,
        id: &str,
    ) -> Result<Vec<StateVersion>, ConnectorError> {
        manageable(snapshot, actor, id)?;
        Ok(snapshot.state_versions(id)?)
    }

    /// Messages and bytes that wait in a connector's queues.
    #[must_use]
    pub fn depth(&self, id: &str) -> Depth {
        [push(id), listen(id)]
            .iter()
            .filter_map(|queue| self.queues.depth(queue))
            .fold(Depth::default(), |sum, depth| Depth {
                messages: sum.messages + depth.messages,
                bytes: sum.bytes + depth.bytes,
            })
    }

    /// The broker password of a connector; its user name there is its id. It is the password of the user that registered the connector and of the epoch of its lease,
    /// and ends when another one takes it over.
    #[must_use]
    pub fn broker_password(&self, connector: &Connector, lease: &Lease) -> String {
        let user = connector.user.unwrap_or_default();
        self.key.broker_password(&connector.id, user, lease.epoch)
    }

    /// The epoch in which somebody who logs in at the broker acts as a connector: it is a registered one, the password is its own, and its user is let in.
    #[must_use]
    pub fn broker_login(&self, user: &str, password: &str, peer: IpAddr) -> Option<i64> {
        let known = self.store.read(|snapshot| {
            let owner = snapshot
                .connector(user)?
                .and_then(|connector| connector.user);
            let let_in = match owner {
                Some(owner) => ferrocti_accounts::rights(snapshot, owner)?.is_some(),
                None => false,
            };
            let lease = snapshot.lease(user)?;
            Ok::<_, ConnectorError>((owner.unwrap_or_default(), lease.epoch, let_in))
        });
        // passwords are looked at in any case, so that the time tells nothing
        let (owner, epoch, let_in) = known.unwrap_or_default();
        let right = |epoch: i64| self.key.is_broker_password(user, owner, epoch, password);
        if right(epoch) && let_in {
            return Some(epoch);
        }
        let formerly = (epoch - FORMER_EPOCHS..epoch)
            .filter(|epoch| *epoch >= 0)
            .any(right);
        if formerly {
            let who = (peer.to_string(), None, "");
            let now = self.clock.now();
            self.zombies.knock(user, who, Call::Broker.name(), now);
        }
        None
    }

    /// The platform's public signing key, as a JSON text.
    #[must_use]
    pub fn jwks(&self) -> String {
        self.key.jwks()
    }

    /// A signed token by which a connector knows that a call comes from this platform.
    #[must_use]
    pub fn connector_jwt(&self, now: Millis) -> String {
        self.key.connector_jwt(now)
    }
}

/// Whether a connector was heard of lately. A managed one that shall not run, or of which its composer says that it does not, is inactive whatever
/// was heard of it.
#[must_use]
pub fn is_active(connector: &Connector, now: Millis) -> bool {
    if managed::is_down(connector) {
        return false;
    }
    connector.built_in
        || connector
            .last_ping
            .is_some_and(|ping| now - ping < ACTIVE_FOR)
}

/// Why a state is not stored although its connector sent it: while a change of hands is not settled it must not go back.
fn goes_back(
    lease: &Lease,
    connector: &Connector,
    outcome: Ping,
    sent: Option<&str>,
) -> Option<&'static str> {
    let stored = connector
        .state
        .as_deref()
        .filter(|stored| lease.guarded && !state::is_empty(stored))?;
    match outcome {
        Ping::Keep if sent.is_none_or(state::is_empty) => Some("empty"),
        Ping::Store if sent.is_some_and(|sent| state::is_older(stored, sent)) => Some("older"),
        _ => None,
    }
}

/// Records that messages of a connector were thrown away.
fn discarded(tx: &mut Tx<'_>, id: &str, why: &str, messages: u64) -> Result<(), ConnectorError> {
    let lease = tx.lease(id)?;
    let detail = json!({ "why": why, "messages": messages, "guarded": lease.guarded });
    tx.add_lease_event(id, "discarded", lease.epoch, &detail)?;
    Ok(())
}

fn push(id: &str) -> String {
    ferrocti_broker::queue::push_queue(id)
}

fn listen(id: &str) -> String {
    ferrocti_broker::queue::listen_queue(id)
}

/// The connector, if there is one; refused when it belongs to somebody else.
fn owned(
    snapshot: &Snapshot<'_>,
    actor: &Actor,
    id: &str,
) -> Result<Option<Connector>, ConnectorError> {
    let known = snapshot.connector(id)?;
    if let Some(owner) = known.as_ref().and_then(|connector| connector.user) {
        may(actor, Action::SpeakForConnector { owner })?;
    }
    Ok(known)
}

/// Refuses that anybody registers a managed connector but the user that it was given, even who may manage connectors: it would act with other
/// rights than those that were chosen for it.
fn as_chosen(known: Option<&Connector>, actor: &Actor) -> Result<(), ConnectorError> {
    match known {
        Some(known) if managed::is_managed(known) && known.user != Some(actor.user_row) => {
            Err(ConnectorError::Refused(format!(
                "the connector `{}` is managed and acts as another user; choose its user there, or stop what registers under its id with this token",
                known.name
            )))
        }
        _ => Ok(()),
    }
}

/// The connector, for whoever may speak for it.
fn required(snapshot: &Snapshot<'_>, actor: &Actor, id: &str) -> Result<Connector, ConnectorError> {
    owned(snapshot, actor, id)?.ok_or_else(|| ConnectorError::NotFound(id.to_owned()))
}

/// The connector, for whoever may manage it.
fn manageable(
    snapshot: &Snapshot<'_>,
    actor: &Actor,
    id: &str,
) -> Result<Connector, ConnectorError> {
    let connector = snapshot
        .connector(id)?
        .ok_or_else(|| ConnectorError::NotFound(id.to_owned()))?;
    may(
        actor,
        Action::ManageConnector {
            owner: connector.user.unwrap_or_default(),
        },
    )?;
    Ok(connector)
}

pub(crate) fn audit(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    (scope, what): (Scope, &str),
    connector: &Connector,
    data: Option<Value>,
) -> Result<(), ConnectorError> {
    let subject = Subject {
        kind: "Connector",
        id: &connector.id,
        name: &connector.name,
    };
    let message = format!("{what} `{}`", connector.name);
    record(tx, acting, scope, Some(subject), &message, data)?;
    Ok(())
}

pub(crate) fn blank(id: &str, now: Millis) -> Connector {
    Connector {
        id: id.to_owned(),
        name: String::new(),
        kind: String::new(),
        scope: Vec::new(),
        auto: false,
        auto_update: false,
        only_contextual: false,
        playbook_compatible: false,
        enrichment_resolution: None,
        listen_callback_uri: None,
        xtm_one_intent: None,
        version: None,
        slug: None,
        user: None,
        built_in: false,
        title: None,
        trigger_filters: None,
        priority_group: "DEFAULT".to_owned(),
        info: None,
        state: None,
        state_reset: false,
        state_at: now,
        created_at: now,
        updated_at: now,
        registered_at: None,
        last_ping: None,
        catalog_id: None,
        manager: None,
        registered_token: None,
    }
}
