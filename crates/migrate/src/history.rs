//! Reads what has happened to a connector and says which invariants of a migration it breaks: never two writers, a state that never goes back, no message
//! lost, no object written by an epoch that was fenced.
//!
//! The log is in the order of the platform's transactions; times in it are for people and decide nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The connector.
    pub connector: String,
    /// What has happened.
    pub what: Happened,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happened {
    /// The lease went to an instance; its epoch rises each time.
    Leased {
        /// The epoch.
        epoch: i64,
        /// The instance, by a name of its own such as the id of its token.
        instance: String,
    },
    /// An instance wrote, registered, sent a heartbeat, took a message or began a work, and was let.
    Wrote {
        /// The epoch that it had.
        epoch: i64,
        /// The instance.
        instance: String,
    },
    /// An instance was refused.
    Refused {
        /// The instance.
        instance: String,
    },
    /// The state was stored.
    State {
        /// Its version, which rises with each.
        version: i64,
        /// Whether it is empty.
        empty: bool,
        /// Whether somebody has reset it.
        reset: bool,
    },
    /// A message was put into a queue.
    Queued {
        /// Its id.
        message: String,
    },
    /// A message was handed out.
    Delivered {
        /// Its id.
        message: String,
    },
    /// A message was worked on to the end, or refused for good with a trace of it.
    Done {
        /// Its id.
        message: String,
    },
    /// A queue was emptied or deleted on somebody's order.
    Purged,
}

/// What is broken, and by which entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("entry {at} ({connector}): {broken}")]
pub struct Violation {
    /// Number of the entry, from 0; for what is missing at the end the number after the last.
    pub at: usize,
    /// The connector.
    pub connector: String,
    /// What is broken.
    pub broken: Broken,
}

/// What can be broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Broken {
    /// A lease whose epoch is not above the one before.
    #[error("the lease went from epoch {from} to {to}")]
    EpochBack {
        /// The epoch before.
        from: i64,
        /// The epoch after.
        to: i64,
    },
    /// An instance that does not have the lease wrote.
    #[error(
        "`{instance}` wrote with epoch {epoch}, and the lease of epoch {leased} is `{holder}`'s"
    )]
    TwoWriters {
        /// The instance.
        instance: String,
        /// Its epoch.
        epoch: i64,
        /// The epoch of the lease.
        leased: i64,
        /// Who has it.
        holder: String,
    },
    /// A state that is older than the one that was there.
    #[error("the state went from version {from} to {to}")]
    StateBack {
        /// The version before.
        from: i64,
        /// The version after.
        to: i64,
    },
    /// An empty state over one that was not, without a reset.
    #[error("an empty state took the place of one that was not")]
    StateLost,
    /// A message that was never worked on to the end.
    #[error("the message `{message}` is lost")]
    MessageLost {
        /// Its id.
        message: String,
    },
    /// Something was done with a message that nobody had queued.
    #[error("the message `{message}` came from nowhere")]
    MessageFromNowhere {
        /// Its id.
        message: String,
    },
}

#[derive(Default)]
struct Known {
    lease: Option<(i64, String)>,
    state: Option<(i64, bool)>,
    queued: BTreeSet<String>,
    open: BTreeSet<String>,
}

/// Checks a log. `drained`: everything that was queued had the time to be worked on, so that what is left is lost.
#[must_use]
pub fn check(log: &[Entry], drained: bool) -> Vec<Violation> {
    let mut connectors: BTreeMap<&str, Known> = BTreeMap::new();
    let mut out = Vec::new();
    for (at, entry) in log.iter().enumerate() {
        let known = connectors.entry(&entry.connector).or_default();
        let broken = known.take(&entry.what);
        out.extend(broken.map(|broken| Violation {
            at,
            connector: entry.connector.clone(),
            broken,
        }));
    }
    if drained {
        for (connector, known) in connectors {
            out.extend(known.open.into_iter().map(|message| Violation {
                at: log.len(),
                connector: connector.to_owned(),
                broken: Broken::MessageLost { message },
            }));
        }
    }
    out
}

impl Known {
    fn take(&mut self, what: &Happened) -> Option<Broken> {
        match what {
            Happened::Leased { epoch, instance } => {
                let from = self.lease.as_ref().map(|(epoch, _)| *epoch);
                self.lease = Some((*epoch, instance.clone()));
                from.filter(|from| from >= epoch)
                    .map(|from| Broken::EpochBack { from, to: *epoch })
            }
            Happened::Wrote { epoch, instance } => {
                // before the first lease anybody may: upstream's way
                let (leased, holder) = self.lease.as_ref()?;
                (epoch != leased || instance != holder).then(|| Broken::TwoWriters {
                    instance: instance.clone(),
                    epoch: *epoch,
                    leased: *leased,
                    holder: holder.clone(),
                })
            }
            Happened::State {
                version,
                empty,
                reset,
            } => {
                let before = self.state.replace((*version, *empty));
                let (from, was_empty) = before?;
                if from >= *version {
                    Some(Broken::StateBack { from, to: *version })
                } else {
                    (*empty && !was_empty && !reset).then_some(Broken::StateLost)
                }
            }
            Happened::Queued { message } => {
                self.queued.insert(message.clone());
                self.open.insert(message.clone());
                None
            }
            Happened::Delivered { message } => self.nowhere(message),
            Happened::Done { message } => {
                self.open.remove(message);
                self.nowhere(message)
            }
            Happened::Purged => {
                self.open.clear();
                None
            }
            Happened::Refused { .. } => None,
        }
    }

    fn nowhere(&self, message: &str) -> Option<Broken> {
        (!self.queued.contains(message)).then(|| Broken::MessageFromNowhere {
            message: message.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(log: Vec<Happened>) -> Vec<(usize, Broken)> {
        let log: Vec<Entry> = log
            .into_iter()
            .map(|what| Entry {
                connector: "c".to_owned(),
                what,
            })
            .collect();
        check(&log, true)
            .into_iter()
            .map(|violation| (violation.at, violation.broken))
            .collect()
    }

    fn leased(epoch: i64, instance: &str) -> Happened {
        Happened::Leased {
            epoch,
            instance: instance.to_owned(),
        }
    }

    fn wrote(epoch: i64, instance: &str) -> Happened {
        Happened::Wrote {
            epoch,
            instance: instance.to_owned(),
        }
    }

    fn state(version: i64, empty: bool, reset: bool) -> Happened {
        Happened::State {
            version,
            empty,
            reset,
        }
    }

    fn message(make: fn(String) -> Happened, id: &str) -> Happened {
        make(id.to_owned())
    }

    #[test]
    fn a_migration_and_its_way_back_break_nothing() {
        let queued = |message| Happened::Queued { message };
        let delivered = |message| Happened::Delivered { message };
        let done = |message| Happened::Done { message };
        let log = vec![
            wrote(0, "anybody"),
            leased(1, "old"),
            wrote(1, "old"),
            state(1, false, false),
            message(queued, "m"),
            message(delivered, "m"),
            leased(2, "new"),
            Happened::Refused {
                instance: "old".to_owned(),
            },
            message(delivered, "m"),
            message(done, "m"),
            wrote(2, "new"),
            state(2, false, false),
            state(3, true, true),
            leased(3, "old"),
            wrote(3, "old"),
        ];
        assert_eq!(broken(log), []);
    }

    #[test]
    fn each_invariant_is_seen_to_break() {
        let queued = |message| Happened::Queued { message };
        let done = |message| Happened::Done { message };
        for (log, expected) in [
            (
                vec![leased(2, "new"), wrote(1, "old")],
                "`old` wrote with epoch 1, and the lease of epoch 2 is `new`'s",
            ),
            (
                vec![leased(2, "new"), wrote(2, "old")],
                "`old` wrote with epoch 2, and the lease of epoch 2 is `new`'s",
            ),
            (
                vec![leased(2, "new"), leased(2, "old")],
                "the lease went from epoch 2 to 2",
            ),
            (
                vec![state(5, false, false), state(5, false, false)],
                "the state went from version 5 to 5",
            ),
            (
                vec![state(5, false, false), state(6, true, false)],
                "an empty state took the place of one that was not",
            ),
            (vec![message(queued, "m")], "the message `m` is lost"),
            (
                vec![message(done, "m")],
                "the message `m` came from nowhere",
            ),
        ] {
            let found = broken(log);
            assert_eq!(found.len(), 1, "{expected}");
            assert_eq!(found[0].1.to_string(), expected);
        }
    }

    #[test]
    fn connectors_do_not_disturb_each_other_and_a_purge_loses_what_it_is_told_to() {
        let entry = |connector: &str, what| Entry {
            connector: connector.to_owned(),
            what,
        };
        let log = [
            entry("a", leased(2, "x")),
            entry("b", wrote(1, "y")),
            entry("b", message(|message| Happened::Queued { message }, "m")),
        ];
        assert_eq!(check(&log, false), []);
        assert_eq!(check(&log, true).len(), 1);
        let mut log = log.to_vec();
        log.push(entry("b", Happened::Purged));
        assert_eq!(check(&log, true), []);
    }
}
