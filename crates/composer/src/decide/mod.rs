//! `decide`: what is wanted and what is there → what to do next, as a pure function.
//!
//! At most one action per connector comes out; it is carried out, its outcome goes into [`Memory::record`], and the question is asked again.
//! So every step is taken on fresh facts, a crash between two steps loses nothing, and no connector waits for another. The rules:
//!
//! * one live instance per connector: another one is started only when a complete listing shows none alive;
//! * pull before stop, stop before create, and the old instance is kept, stopped, until the platform has heard of the new one;
//! * a new definition that does not come alive is given up and the old instance is started again;
//! * nothing is deleted because it is absent from a listing: a tombstone is needed, and many at once are refused;
//! * exit codes decide nothing.

mod connector;
mod memory;

use std::collections::{BTreeMap, BTreeSet};

use ferrocti_model::clock::Millis;

pub use memory::{Memory, Track};

use crate::{ConnectorId, Current, Definition, Evidence, Instance, Listing, Place, State, Wanted};

/// Everything that a decision is made from.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// What the platform wants; the last answer it gave when it gives none.
    pub wanted: &'a Wanted,
    /// What the orchestrator has.
    pub listing: &'a Listing,
    /// What the platform has seen; `None` while it cannot be asked, and then nothing is concluded from silence.
    pub sight: Option<&'a Sight>,
    /// Tombstoned connectors that an operator has confirmed, whatever the threshold says.
    pub approved: &'a BTreeSet<ConnectorId>,
    /// The numbers of the rules.
    pub policy: Policy,
    /// The current time.
    pub now: Millis,
}

/// What the platform has seen of the connectors, in this host's time: ages are subtracted from the local clock, so that clocks need not agree.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// When it was asked: silence is only concluded up to here.
    pub at: Millis,
    /// Since when the platform has been answering without a gap.
    pub since: Millis,
    /// By connector; one that is missing was never seen.
    pub of: BTreeMap<ConnectorId, Evidence>,
}

/// The numbers of the rules, in milliseconds unless they count.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// How many connectors may be removed within `removal_window` without an operator's word.
    pub max_removals: usize,
    /// The time in which removals are counted together.
    pub removal_window: Millis,
    /// The wait after the first failure; it doubles with each further one.
    pub first_wait: Millis,
    /// The longest wait.
    pub longest_wait: Millis,
    /// Ends in a row from which on it is called crash-looping.
    pub crash_loop: u32,
    /// Failed starts of a new definition after which the old one is taken back.
    pub tries: u32,
    /// The time a new instance has until the platform hears of it.
    pub verify_within: Millis,
    /// The silence after which a running connector is degraded (pycti pings every 40 s).
    pub silence: Millis,
    /// Failures are forgotten after it has run for so long.
    pub stable_after: Millis,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_removals: 3,
            removal_window: 600_000,
            first_wait: 1_000,
            longest_wait: 300_000,
            crash_loop: 3,
            tries: 3,
            verify_within: 180_000,
            silence: 150_000,
            stable_after: 600_000,
        }
    }
}

impl Policy {
    /// The wait after the given number of failures in a row.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Millis {
        let doublings = failures.saturating_sub(1).min(30);
        self.first_wait
            .saturating_mul(1 << doublings)
            .min(self.longest_wait)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch what the definition's instance is made of.
    Pull {
        /// The definition's revision.
        revision: String,
    },
    /// Make an instance from the definition, without starting it.
    Create {
        /// The definition's revision.
        revision: String,
    },
    /// Start an instance.
    Start {
        /// Which.
        handle: String,
    },
    /// Stop an instance and keep it.
    Stop {
        /// Which.
        handle: String,
    },
    /// Remove an instance that does not run.
    Remove {
        /// Which.
        handle: String,
    },
}

/// What comes out for one connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Which connector.
    pub connector: ConnectorId,
    /// Its state.
    pub state: State,
    /// Why it is in this state and what is done about it, in words for an operator.
    pub reason: String,
    /// Upstream's word for whether an instance runs; `None`: none was made, or it is not known.
    pub current: Option<Current>,
    /// What to do next; `None`: nothing.
    pub action: Option<Action>,
    /// When to decide again although nothing has happened.
    pub again_at: Option<Millis>,
}

/// What comes out for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each connector that is wanted, deleted or there, in the order of their ids.
    pub decisions: Vec<Decision>,
    /// Why deletions are held back; `None`: none are.
    pub refusal: Option<String>,
    /// The connectors whose deletion is held back.
    pub held: BTreeSet<ConnectorId>,
}

/// Decides what to do next for every connector. The memory that comes out replaces the one that went in.
#[must_use]
pub fn decide(input: &Input<'_>, memory: &Memory) -> (Plan, Memory) {
    let mut memory = memory.clone();
    let mut instances: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for instance in &input.listing.instances {
        instances
            .entry(&instance.connector)
            .or_default()
            .push(instance);
    }
    let mut definitions = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for definition in &input.wanted.definitions {
        let id = definition.connector.as_str();
        if definitions.insert(id, definition).is_some() {
            twice.insert(id);
        }
    }
    let deletion = Deletion::judge(input, &definitions, &instances, &mut memory);
    let ids: BTreeSet<&str> = definitions
        .keys()
        .chain(instances.keys())
        .copied()
        .collect();
    let mut plan = Plan {
        refusal: deletion.refusal.clone(),
        held: deletion.held.clone(),
        ..Plan::default()
    };
    let complete = |place: &Place| !input.listing.incomplete.contains_key(place);
    memory.known.extend(Place::ALL.into_iter().filter(complete));
    for id in ids {
        let there = instances.get(id).map_or(&[][..], Vec::as_slice);
        let track = memory.connectors.entry(id.to_owned()).or_default();
        track.see(input.listing, there);
        let blocked = blocked(
            input.listing,
            definitions.get(id).copied(),
            track,
            &memory.known,
        );
        let outcome = if twice.contains(id) {
            Outcome::new(
                State::Failed,
                "the platform lists two definitions with this id; nothing is changed until one of them is gone",
            )
        } else if let Some(definition) = definitions.get(id) {
            connector::wanted(input, definition, there, track, blocked)
        } else {
            deletion.outcome(input, id, there, track)
        };
        plan.decisions.push(Decision {
            connector: id.to_owned(),
            current: current(blocked, there),
            state: outcome.state,
            reason: outcome.reason,
            action: outcome.action,
            again_at: outcome.again_at,
        });
    }
    if input.listing.incomplete.is_empty() {
        memory.connectors.retain(|id, _| {
            definitions.contains_key(id.as_str()) || instances.contains_key(id.as_str())
        });
    }
    (plan, memory)
}

/// Why instances of a connector may be there although they are not in the listing; `None`: all of them are in it.
fn blocked<'a>(
    listing: &'a Listing,
    definition: Option<&Definition>,
    track: &Track,
    known: &BTreeSet<Place>,
) -> Option<&'a str> {
    let may_be_at = |place: &Place| {
        definition.is_some_and(|definition| definition.source.place() == *place)
            || track.places.contains(place)
            || !known.contains(place)
    };
    listing
        .incomplete
        .iter()
        .find(|(place, _)| may_be_at(place))
        .map(|(_, why)| why.as_str())
}

fn current(blocked: Option<&str>, there: &[&Instance]) -> Option<Current> {
    if there.iter().any(|instance| instance.is_live()) {
        Some(Current::Started)
    } else if there.is_empty() || blocked.is_some() {
        None
    } else {
        Some(Current::Stopped)
    }
}

/// What is decided for one connector.
struct Outcome {
    state: State,
    reason: String,
    action: Option<Action>,
    again_at: Option<Millis>,
}

impl Outcome {
    fn new(state: State, reason: impl Into<String>) -> Self {
        Self {
            state,
            reason: reason.into(),
            action: None,
            again_at: None,
        }
    }

    fn act(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    fn again(mut self, at: Millis) -> Self {
        self.again_at = Some(at);
        self
    }
}

/// Which connectors are removed in this round.
struct Deletion {
    allowed: BTreeSet<ConnectorId>,
    held: BTreeSet<ConnectorId>,
    refusal: Option<String>,
}

impl Deletion {
    fn judge(
        input: &Input<'_>,
        definitions: &BTreeMap<&str, &Definition>,
        instances: &BTreeMap<&str, Vec<&Instance>>,
        memory: &mut Memory,
    ) -> Self {
        let policy = &input.policy;
        memory.removing.retain(|id, begun| {
            instances.contains_key(id.as_str())
                || (input.now - *begun).abs() < policy.removal_window
        });
        memory
            .removing
            .retain(|id, _| !definitions.contains_key(id.as_str()));
        let mut refusal = None;
        let candidates: Vec<&ConnectorId> = input
            .wanted
            .tombstones
            .iter()
            .filter(|id| instances.contains_key(id.as_str()))
            .filter(|id| !definitions.contains_key(id.as_str()))
            .collect();
        let fresh: BTreeSet<ConnectorId> = candidates
            .iter()
            .filter(|id| !memory.removing.contains_key(**id) && !input.approved.contains(**id))
            .map(|id| (*id).clone())
            .collect();
        let mut held = BTreeSet::new();
        if fresh.len() + memory.removing.len() > policy.max_removals && !fresh.is_empty() {
            let ids: Vec<&str> = fresh.iter().map(String::as_str).collect();
            refusal = Some(format!(
                "the platform asks to delete {} connectors; more than {} within {} minutes need an operator's confirmation: {}",
                fresh.len() + memory.removing.len(),
                policy.max_removals,
                policy.removal_window / 60_000,
                ids.join(", ")
            ));
            held = fresh;
        } else {
            let begun = fresh.into_iter().map(|id| (id, input.now));
            memory.removing.extend(begun);
        }
        let allowed = candidates
            .into_iter()
            .filter(|id| input.approved.contains(*id) || memory.removing.contains_key(*id))
            .cloned()
            .collect();
        Self {
            allowed,
            held,
            refusal,
        }
    }

    /// For a connector that no definition names.
    fn outcome(&self, input: &Input<'_>, id: &str, there: &[&Instance], track: &Track) -> Outcome {
        let live = there.iter().find(|instance| instance.is_live());
        let seen = if live.is_some() {
            State::Running
        } else {
            State::Stopped
        };
        if !input.wanted.tombstones.contains(id) {
            return Outcome::new(
                seen,
                "the platform does not list it, and has not said that it was deleted: left as it is",
            );
        }
        if !self.allowed.contains(id) {
            return Outcome::new(
                seen,
                "deleted on the platform; kept, because too many deletions at once need an operator's confirmation",
            );
        }
        if let Some(at) = track.cleanup_due(&input.policy, input.now) {
            return Outcome::new(
                State::Stopping,
                "deleted on the platform; removing it has failed and is tried again",
            )
            .again(at);
        }
        let incomplete = |instance: &Instance| input.listing.incomplete.get(&instance.place);
        if let Some(why) = there.iter().find_map(|instance| incomplete(instance)) {
            return Outcome::new(
                seen,
                format!(
                    "deleted on the platform; it is removed when the listing of instances is complete again ({why})"
                ),
            );
        }
        if let Some(instance) = live {
            return Outcome::new(
                State::Stopping,
                "deleted on the platform: its instance is stopped",
            )
            .act(Action::Stop {
                handle: instance.handle.clone(),
            });
        }
        match there.first() {
            Some(instance) => Outcome::new(
                State::Stopping,
                "deleted on the platform: its instance is removed",
            )
            .act(Action::Remove {
                handle: instance.handle.clone(),
            }),
            None => Outcome::new(State::Stopped, "deleted on the platform"),
        }
    }
}
