//! Who acts as a connector: the lease, how it changes hands, and who is refused since.
//!
//! A lease is a connector, an epoch and a token. While no token is named, whoever may speak for the connector acts as it, as it was before there were leases. Once one
//! is, only requests that come with exactly that token do: not the user decides, because tokens are shared. Every write asks for the lease in the transaction that it is
//! made in, so that between two instances there is one commit and no clock. The broker, whose queues are a file of their own, is told the epoch ([`Fence`]), and what
//! reaches ingestion all the same from an earlier one is set aside. How it fits together: `docs/development/migration.md`.

mod history;
mod zombies;

use ferrocti_accounts::{Acting, Scope};
use ferrocti_broker::queue::{Hold, push_queue};
use ferrocti_store::{Connector, Fenced, FencedInstance, Lease, LeaseEvent, Snapshot, Tx};
use serde_json::json;
use uuid::Uuid;

use crate::{ConnectorError, Connectors, registry};

pub use history::{Broken, check_history};
pub use zombies::SecondInstance;
pub(crate) use zombies::Zombies;

/// Who gets a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// What comes with this token.
    Token {
        /// `Token.id`.
        token: Uuid,
        /// The holder in words, for those that are refused: "the composer `x`".
        name: String,
    },
    /// Who had it before. Where its token is not known the lease is open, and the caller ends the token of the one that loses it.
    Former,
    /// Whoever may speak for the connector.
    Anybody,
}

/// A lease that changes hands. To be kept until the transaction has ended, whatever comes of it: then the broker is told what was committed.
#[must_use = "dropped before its transaction has ended, the broker takes messages of the former holder until the next change"]
pub struct Fence {
    /// Epoch of the new lease.
    pub epoch: i64,
    connectors: Connectors,
    id: String,
    // ends after the broker was told
    _hold: Hold,
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence")
            .field("id", &self.id)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.connectors.settle(&self.id);
    }
}

/// What is asked for as a connector; told of those that are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Registration.
    Register,
    /// Sign of life with a state.
    Ping,
    /// Deletion of itself.
    Delete,
    /// A step of a work.
    Work,
    /// A bundle.
    Push,
    /// Anything in the name of a work.
    Request,
    /// A login at the broker.
    Broker,
}

impl Call {
    /// As it is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Ping => "ping",
            Self::Delete => "delete",
            Self::Work => "work",
            Self::Push => "push",
            Self::Request => "request",
            Self::Broker => "broker",
        }
    }
}

impl Connectors {
    /// The lease of a connector; one that never changed hands is open, in epoch 0.
    ///
    /// # Errors
    /// The store failed.
    pub fn lease(&self, snapshot: &Snapshot<'_>, id: &str) -> Result<Lease, ConnectorError> {
        Ok(snapshot.lease(id)?)
    }

    /// Gives the lease of a connector to somebody else, in the caller's transaction, if its epoch is still `from`. Who had it is refused from the commit on: what it
    /// published before stays and is applied, queues and state stay as they are. Whether the caller may is the caller's decision.
    ///
    /// # Errors
    /// [`ConnectorError::LeaseMoved`] when the epoch is another one; [`ConnectorError::NotFound`]; [`ConnectorError::Refused`] for a token that does not exist.
    pub fn fence(
        &self,
        tx: &mut Tx<'_>,
        acting: &Acting<'_>,
        id: &str,
        from: i64,
        to: &Holder,
    ) -> Result<Fence, ConnectorError> {
        let connector = tx
            .connector(id)?
            .ok_or_else(|| ConnectorError::NotFound(id.to_owned()))?;
        let lease = tx.lease(id)?;
        if lease.epoch != from {
            return Err(ConnectorError::LeaseMoved {
                connector: connector.name,
                expected: from,
                found: lease.epoch,
            });
        }
        let before = lease.token.or(connector.registered_token);
        let (token, name, former) = match to {
            Holder::Token { token, name } => (Some(*token), name.as_str(), before),
            Holder::Former => (lease.former, "the instance that it had before", before),
            Holder::Anybody => (None, "whoever starts it", lease.former),
        };
        let next = Lease {
            token,
            holder: name.to_owned(),
            former: former.filter(|former| Some(*former) != token),
            guarded: true,
            ..lease.clone()
        };
        let fence = self.change_hands(tx, &connector, &lease, next)?;
        let data = json!({ "epoch": fence.epoch, "holder": name });
        registry::audit(
            tx,
            acting,
            (Scope::Update, "moves the lease of connector"),
            &connector,
            Some(data),
        )?;
        Ok(fence)
    }

    /// The lease of a managed connector follows its token: a new connector's is bound to it, and where the token was replaced the lease goes on to the new one. A
    /// connector that ran before it was managed keeps its lease until it is fenced.
    pub(crate) fn bind_lease(
        &self,
        tx: &mut Tx<'_>,
        connector: &Connector,
        replaced: Option<Uuid>,
        token: Uuid,
        holder: String,
    ) -> Result<Option<Fence>, ConnectorError> {
        let lease = tx.lease(&connector.id)?;
        let fresh = lease.token.is_none() && connector.registered_at.is_none();
        let follows = match lease.token {
            Some(held) => Some(held) == replaced || tx.token(held)?.is_none(),
            None => false,
        };
        if !fresh && !follows {
            return Ok(None);
        }
        let next = Lease {
            token: Some(token),
            holder,
            ..lease.clone()
        };
        self.change_hands(tx, connector, &lease, next).map(Some)
    }

    fn change_hands(
        &self,
        tx: &mut Tx<'_>,
        connector: &Connector,
        lease: &Lease,
        next: Lease,
    ) -> Result<Fence, ConnectorError> {
        let id = connector.id.as_str();
        if let Some(token) = next.token
            && tx.token(token)?.is_none()
        {
            return Err(ConnectorError::Refused(format!(
                "the token that shall act as the connector `{}` does not exist any more; plan anew",
                connector.name
            )));
        }
        // what is on its way to the disk still counts, and nothing is taken until the outcome is known
        let hold = self.queues.hold(id);
        let push_seq = match self.queues.depth(&push_queue(id)) {
            Some(_) => self.queues.barrier().wait()?,
            None => 0,
        };
        let epoch = lease.epoch + 1;
        let mut losers: Vec<Uuid> = self.zombies.tokens(id);
        losers.extend(lease.token.or(connector.registered_token));
        for token in losers {
            if next.token.is_some() && next.token != Some(token) {
                tx.add_former(id, token, epoch)?;
            }
        }
        if let Some(token) = next.token {
            tx.delete_former(id, token)?;
        }
        let frozen_state = match &connector.state {
            Some(state) => Some(tx.add_state_version(
                id,
                Some(state),
                "fence",
                None,
                registry::STATE_VERSIONS,
            )?),
            None => None,
        };
        let [state_version, work_row, push_row, history_seq] = tx.lease_marks(id)?;
        let next = Lease {
            connector: id.to_owned(),
            epoch,
            since: tx.now(),
            frozen_state,
            ..next
        };
        tx.put_lease(&next)?;
        let detail = json!({
            "from": lease.epoch, "holder": next.holder, "token": next.token, "push_seq": push_seq, "state_version": state_version, "work_row": work_row,
            "push_row": push_row, "history_seq": history_seq, "guarded": next.guarded,
        });
        tx.add_lease_event(id, "granted", epoch, &detail)?;
        Ok(Fence {
            epoch,
            connectors: self.clone(),
            id: id.to_owned(),
            _hold: hold,
        })
    }

    /// The change of hands is settled: from now on the state may go wherever the connector wants it.
    ///
    /// # Errors
    /// The store failed.
    pub fn settle_lease(&self, tx: &mut Tx<'_>, id: &str) -> Result<(), ConnectorError> {
        let lease = tx.lease(id)?;
        if lease.guarded {
            let epoch = lease.epoch;
            tx.put_lease(&Lease {
                guarded: false,
                ..lease
            })?;
            tx.add_lease_event(id, "settled", epoch, &json!({}))?;
        }
        Ok(())
    }

    /// Tells the broker the epoch that was committed, and ends the connections of earlier ones. What they have not acknowledged goes back to the queue.
    pub(crate) fn settle(&self, id: &str) {
        let committed = self
            .store
            .read(|snapshot| Ok::<_, ConnectorError>(snapshot.lease(id)?));
        match committed {
            Ok(lease) => {
                if self.queues.set_floor(id, lease.epoch) < lease.epoch {
                    self.zombies.forget_instances(id);
                    self.disconnect(id);
                }
            }
            Err(error) => {
                tracing::error!(connector = id, %error, "the broker cannot be told who acts as a connector; what a former instance publishes is set aside by ingestion");
            }
        }
    }

    /// Tells the broker all leases; at the start.
    pub(crate) fn settle_all(&self) -> Result<(), ConnectorError> {
        let leases = self
            .store
            .read(|snapshot| Ok::<_, ConnectorError>(snapshot.leases()?))?;
        for lease in leases {
            self.queues.set_floor(&lease.connector, lease.epoch);
        }
        Ok(())
    }

    /// Hands nothing more to a connector through its queue until [`Connectors::resume_delivery`], so that it can come to rest. A restart of the platform ends it.
    pub fn pause_delivery(&self, id: &str) {
        self.queues.pause(&ferrocti_broker::queue::listen_queue(id));
    }

    /// Ends [`Connectors::pause_delivery`].
    pub fn resume_delivery(&self, id: &str) {
        self.queues
            .resume(&ferrocti_broker::queue::listen_queue(id));
    }

    /// The lease, if the request acts as the connector. A refusal is counted.
    ///
    /// # Errors
    /// [`ConnectorError::Fenced`].
    pub fn admit(
        &self,
        snapshot: &Snapshot<'_>,
        acting: &Acting<'_>,
        id: &str,
        call: Call,
    ) -> Result<Lease, ConnectorError> {
        let admitted: Result<Lease, ConnectorError> = snapshot.admit(id, acting.token);
        if let Err(ConnectorError::Fenced(fenced)) = &admitted {
            self.refused(acting, fenced, call);
        }
        admitted
    }

    /// Counts a request that was refused because it does not act as the connector any more.
    pub fn refused(&self, acting: &Acting<'_>, fenced: &Fenced, call: Call) {
        let address = acting.origin.address.map(|address| address.to_string());
        let agent = acting.origin.agent.unwrap_or_default();
        self.zombies.knock(
            &fenced.connector,
            (address.unwrap_or_default(), acting.token, agent),
            call.name(),
            self.clock.now(),
        );
    }

    /// Refuses what was started as the connector and is not it any more to administer it: several connectors delete themselves when they stop.
    ///
    /// # Errors
    /// [`ConnectorError::FormerToken`].
    pub fn admit_operator(
        &self,
        snapshot: &Snapshot<'_>,
        acting: &Acting<'_>,
        id: &str,
    ) -> Result<(), ConnectorError> {
        let Some(token) = acting.token else {
            return Ok(());
        };
        let lease = snapshot.lease(id)?;
        if lease.token == Some(token) || !snapshot.is_former(id, token)? {
            return Ok(());
        }
        let fenced = snapshot.refusal(lease)?;
        self.refused(acting, &fenced, Call::Delete);
        Err(ConnectorError::FormerToken(fenced))
    }

    /// The instances that were refused as a connector, the last first.
    ///
    /// # Errors
    /// The store failed.
    pub fn fenced(
        &self,
        snapshot: &Snapshot<'_>,
        id: &str,
    ) -> Result<Vec<FencedInstance>, ConnectorError> {
        self.zombies.of(snapshot, id)
    }

    /// Writes down the refusals that are only counted in memory so far; to be called every minute, and at the end.
    ///
    /// # Errors
    /// The store failed; they stay counted.
    pub fn flush_fenced(&self) -> Result<(), ConnectorError> {
        self.zombies.flush(&self.store)
    }

    /// Another live instance of a connector than the one that was heard of last, if there is one.
    #[must_use]
    pub fn second_instance(&self, id: &str) -> Option<SecondInstance> {
        self.zombies.second(id, self.clock.now())
    }

    /// What happened to the lease of a connector, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn lease_events(
        &self,
        snapshot: &Snapshot<'_>,
        id: &str,
    ) -> Result<Vec<LeaseEvent>, ConnectorError> {
        Ok(snapshot.lease_events(id)?)
    }
}

/// A state that was refused because it goes back while a change of hands is not settled.
pub(crate) fn state_refused(
    tx: &mut Tx<'_>,
    lease: &Lease,
    why: &str,
    sent: Option<&str>,
) -> Result<(), ConnectorError> {
    const SHOWN: usize = 200;
    let sent: String = sent.unwrap_or_default().chars().take(SHOWN).collect();
    let detail = json!({ "why": why, "sent": sent });
    let told = tx.lease_events(&lease.connector)?.into_iter().rev();
    let told = told
        .take_while(|event| event.kind != "granted")
        .any(|event| event.kind == "state-refused" && event.detail == detail);
    if !told {
        tx.add_lease_event(&lease.connector, "state-refused", lease.epoch, &detail)?;
    }
    Ok(())
}
