//! The steps of a migration, and the way back from each: decided here, carried out elsewhere.
//!
//! [`step`] takes the journal of a migration and an event, and gives the next journal with what is to be done. Whoever runs it keeps three rules:
//!
//! 1. The next journal is stored, and the commands that are [`Command::in_transaction`] are carried out, in **one transaction**. When that fails, nothing
//!    has happened, and [`What::TransactionFailed`] is the next event.
//! 2. Only then the other commands go out. They carry a ticket; an executor does nothing for a ticket lower than one it has seen, and the same thing
//!    again for the same ticket. So commands may be lost, doubled or late.
//! 3. After a restart the first event is [`What::Resumed`], which gives the commands of the current step again. Answers with an old ticket are ignored.
//!
//! While a migration goes on nobody else changes the lease. Ownership is decided by [`Command::Fence`] alone, which raises the epoch of the connector's lease from the one it knows: a late or doubled one finds
//! another epoch and is refused. Times only decide how long something is waited for. The old instance is not touched before the fence, and the fence comes
//! before its stop, because a connector that is stopped may try to delete itself.

mod report;
mod step;
mod verify;

use ferrocti_model::clock::Millis;
use serde::{Deserialize, Serialize};

pub use report::{Measures, Report, StepTime, report};
pub use step::step;
pub use verify::{Expected, Position, Sighting, Verdict, judge};

/// Where a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The new instance is made ready and not started: image, mounts, networks, secrets. The old one knows nothing of it.
    Preparing,
    /// The old instance is waited for until it does nothing.
    Quiescing,
    /// It did not become quiet: somebody chooses to wait, to force or to give up.
    Undecided,
    /// It is fenced, and stopped where that is possible.
    StoppingOld,
    /// The new instance is started with a lease of its own.
    StartingNew,
    /// It is looked at: registered, with the same user, type, scope and position.
    Verifying,
    /// All is well; the way back stays open for a while.
    Observing,
    /// It is done.
    Committed,
    /// Way back before the fence: what was made ready is taken away.
    Discarding,
    /// Way back after the fence: the new instance is stopped.
    StoppingNew,
    /// The lease is the old instance's again, and it is started where that is possible.
    StartingOld,
    /// The old instance is looked at.
    VerifyingOld,
    /// Everything is as before.
    RolledBack,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Preparing,
        Self::Quiescing,
        Self::Undecided,
        Self::StoppingOld,
        Self::StartingNew,
        Self::Verifying,
        Self::Observing,
        Self::Committed,
        Self::Discarding,
        Self::StoppingNew,
        Self::StartingOld,
        Self::VerifyingOld,
        Self::RolledBack,
    ];

    /// Whether the migration is over.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Committed | Self::RolledBack)
    }

    /// Whether the way back has begun.
    #[must_use]
    pub fn is_back(self) -> bool {
        matches!(
            self,
            Self::Discarding
                | Self::StoppingNew
                | Self::StartingOld
                | Self::VerifyingOld
                | Self::RolledBack
        )
    }
}

/// Who may write as the connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// The instance that ran before.
    Old,
    /// The one that the composer runs.
    New,
}

/// How long each step may take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// To make the new instance ready.
    pub prepare: Millis,
    /// For the old one to become quiet.
    pub quiesce: Millis,
    /// For somebody to decide when it does not.
    pub decide: Millis,
    /// To stop the old one; the fence holds all the same.
    pub stop_old: Millis,
    /// To start the new one.
    pub start_new: Millis,
    /// For the new one to show that all is well.
    pub verify: Millis,
    /// To watch it before the way back is closed; nothing: until somebody says so.
    pub observe: Option<Millis>,
    /// To stop the new one on the way back.
    pub stop_new: Millis,
    /// To start the old one again.
    pub start_old: Millis,
    /// For the old one to be heard of again.
    pub verify_old: Millis,
    /// After which a command without an answer goes out again.
    pub repeat: Millis,
}

impl Default for Timeouts {
    fn default() -> Self {
        const MINUTE: Millis = 60_000;
        Self {
            prepare: 15 * MINUTE,
            quiesce: 30 * MINUTE,
            decide: 24 * 60 * MINUTE,
            stop_old: 2 * MINUTE,
            start_new: 5 * MINUTE,
            verify: 10 * MINUTE,
            observe: Some(10 * MINUTE),
            stop_new: 2 * MINUTE,
            start_old: 5 * MINUTE,
            verify_old: 5 * MINUTE,
            repeat: MINUTE / 4,
        }
    }
}

/// What a migration is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id, which the new container carries too.
    pub id: String,
    /// The connector.
    pub connector: String,
    /// The plan that was agreed to.
    pub plan: String,
    /// The epoch of the lease as it is.
    pub epoch: i64,
    /// Whether a composer can stop and start the old instance.
    pub old_in_reach: bool,
    /// Whether the new instance may only be started once the old one is known to be stopped, because a broker of its own cannot be fenced.
    pub must_stop: bool,
    /// Whether the old instance does not run, so that nothing is waited for.
    pub old_silent: bool,
    /// What the new instance has to show.
    pub expected: Expected,
    /// How long each step may take.
    pub timeouts: Timeouts,
}

/// One line of what has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Millis,
    /// The step that began then.
    pub step: Step,
    /// Why.
    pub why: String,
}

/// A migration as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// What it is to be.
    pub order: Order,
    /// Where it is.
    pub step: Step,
    /// Since when.
    pub since: Millis,
    /// Until when.
    pub deadline: Option<Millis>,
    /// The ticket of the commands of this step; answers with another are ignored.
    pub ticket: u64,
    /// When those commands last went out.
    pub sent: Millis,
    /// The latest time that was seen; it never goes back.
    pub now: Millis,
    /// The epoch of the lease.
    pub epoch: i64,
    /// Who has it.
    pub holder: Holder,
    /// Whether the old instance was fenced before it had become quiet.
    pub forced: bool,
    /// Whether the old instance is known to be stopped.
    pub old_stopped: bool,
    /// Whether the new instance is known to be gone, once it was to be stopped.
    pub new_stopped: bool,
    /// Why the way back was taken.
    pub reason: Option<String>,
    /// What somebody has to do by hand at the end.
    pub by_hand: Vec<String>,
    /// What has happened.
    pub lines: Vec<Line>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub now: Millis,
    /// What.
    pub what: What,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Time has passed.
    Tick,
    /// The platform was started anew, or is not sure that its commands went out.
    Resumed,
    /// A command was carried out, or could not be.
    Answer {
        /// Its ticket.
        ticket: u64,
        /// Why not.
        failure: Option<String>,
    },
    /// The old instance does nothing, and its position is stored.
    Quiet {
        /// The ticket of the wait in which that was seen.
        ticket: u64,
    },
    /// What is seen of the instance that has the lease.
    Seen(Sighting),
    /// The new instance has ended or was refused something that it needs.
    NewFailed {
        /// What is known.
        reason: String,
    },
    /// The transaction of the last step could not be made.
    TransactionFailed {
        /// Why.
        reason: String,
    },
    /// Somebody has decided something.
    Decided(Decision),
}

/// What somebody may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Wait once more for the old instance to become quiet.
    Wait,
    /// Fence it although it is not quiet; what may come twice is in the plan.
    Force,
    /// Close the way back now.
    Commit,
    /// Go back.
    RollBack,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Keep everything that is needed to go back: the entity, the state, the old definition. In the transaction.
    Snapshot,
    /// Deliver nothing new to the old instance: queue and stream are held. In the transaction.
    HoldDelivery,
    /// Deliver again. In the transaction.
    ReleaseDelivery,
    /// Raise the epoch of the lease and give it to `holder`, if it is still `from`; refuse everything older from now on. In the transaction.
    Fence {
        /// The epoch that it must have.
        from: i64,
        /// The epoch that it gets.
        to: i64,
        /// Who gets it.
        holder: Holder,
    },
    /// Mark the connector as managed and put the definition in place; revoke the old token only if nothing else uses it. In the transaction.
    Finalize,
    /// Give the entity its fields of before, not its state, and revoke the new token. In the transaction.
    Restore,
    /// Make the new instance ready and do not start it.
    Prepare {
        /// The ticket.
        ticket: u64,
    },
    /// Take away what was made ready.
    Discard {
        /// The ticket.
        ticket: u64,
    },
    /// Stop the old instance and keep it from being started again.
    StopOld {
        /// The ticket.
        ticket: u64,
    },
    /// Start the new instance with this epoch.
    StartNew {
        /// The ticket.
        ticket: u64,
        /// The epoch of its lease.
        epoch: i64,
    },
    /// Stop the new instance and take it away.
    StopNew {
        /// The ticket.
        ticket: u64,
    },
    /// Start the old instance again.
    StartOld {
        /// The ticket.
        ticket: u64,
    },
    /// Tell somebody.
    Alarm {
        /// What.
        text: String,
    },
}

impl Command {
    /// Whether it is carried out in the transaction that stores the journal.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        matches!(
            self,
            Self::Snapshot
                | Self::HoldDelivery
                | Self::ReleaseDelivery
                | Self::Fence { .. }
                | Self::Finalize
                | Self::Restore
        )
    }

    /// Its ticket, when it is for an executor.
    #[must_use]
    pub fn ticket(&self) -> Option<u64> {
        match self {
            Self::Prepare { ticket }
            | Self::Discard { ticket }
            | Self::StopOld { ticket }
            | Self::StartNew { ticket, .. }
            | Self::StopNew { ticket }
            | Self::StartOld { ticket } => Some(*ticket),
            _ => None,
        }
    }
}
