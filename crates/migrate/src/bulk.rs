//! Many migrations as one: how many at once, when to stop beginning new ones, and what has become of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What has become of one connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Outcome {
    /// Its turn has not come.
    Waiting,
    /// Its migration goes on; the name is that of the migration.
    Running {
        /// The migration.
        migration: String,
    },
    /// It is migrated.
    Committed,
    /// It is as before.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// It was not begun: its plan has blockers, or is no longer about what is there.
    Refused {
        /// Why.
        reason: String,
    },
    /// It was not begun, because others had failed, or somebody stopped it all.
    Skipped,
}

impl Outcome {
    /// Whether it counts as a failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::RolledBack { .. } | Self::Refused { .. })
    }

    /// Whether nothing more happens to it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Running { .. })
    }
}

/// Many migrations, as stored: who takes it up again goes on where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulk {
    /// How many go on at once; 0 counts as 1.
    pub at_once: usize,
    /// After how many failures no further one is begun; those that go on then end as they do. `None`: never; 0 counts as 1.
    pub stop_after: Option<usize>,
    /// Whether somebody has stopped it; what goes on ends as it does.
    pub stopped: bool,
    /// The connectors in their order, with the hash of the plan that was agreed to.
    pub connectors: Vec<(String, String)>,
    /// What has become of each; one that is missing waits.
    pub outcomes: BTreeMap<String, Outcome>,
}

impl Bulk {
    /// What has become of a connector.
    #[must_use]
    pub fn outcome(&self, connector: &str) -> &Outcome {
        self.outcomes.get(connector).unwrap_or(&Outcome::Waiting)
    }

    /// The connectors whose migrations begin now, with their plans.
    #[must_use]
    pub fn next(&self) -> Vec<&(String, String)> {
        if self.is_stopped() {
            return Vec::new();
        }
        let running = self.count(|outcome| matches!(outcome, Outcome::Running { .. }));
        let places = self.at_once.max(1).saturating_sub(running);
        self.connectors
            .iter()
            .filter(|(connector, _)| *self.outcome(connector) == Outcome::Waiting)
            .take(places)
            .collect()
    }

    /// Marks what is not begun any more as skipped. True when everything has ended.
    pub fn settle(&mut self) -> bool {
        if self.is_stopped() {
            for (connector, _) in &self.connectors {
                let outcome = self.outcomes.entry(connector.clone());
                let outcome = outcome.or_insert(Outcome::Waiting);
                if *outcome == Outcome::Waiting {
                    *outcome = Outcome::Skipped;
                }
            }
        }
        self.connectors
            .iter()
            .all(|(connector, _)| self.outcome(connector).is_end())
    }

    /// How many have failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.count(Outcome::is_failure)
    }

    fn is_stopped(&self) -> bool {
        self.stopped
            || self
                .stop_after
                .is_some_and(|most| self.failures() >= most.max(1))
    }

    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.connectors
            .iter()
            .filter(|(connector, _)| wanted(self.outcome(connector)))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bulk(count: usize, at_once: usize, stop_after: Option<usize>) -> Bulk {
        Bulk {
            at_once,
            stop_after,
            stopped: false,
            connectors: (0..count)
                .map(|n| (format!("c{n}"), "plan".to_owned()))
                .collect(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Runs it with the outcomes that are given by number; gives how many went on at once at most.
    fn run(bulk: &mut Bulk, fails: impl Fn(usize) -> bool) -> usize {
        let mut most = 0;
        let mut rounds = 0;
        while !bulk.settle() {
            rounds += 1;
            assert!(rounds < 10_000, "it never ends");
            let next: Vec<String> = bulk.next().iter().map(|(id, _)| id.clone()).collect();
            for id in next {
                let migration = format!("m-{id}");
                bulk.outcomes.insert(id, Outcome::Running { migration });
            }
            let running: Vec<String> = bulk
                .outcomes
                .iter()
                .filter(|(_, outcome)| matches!(outcome, Outcome::Running { .. }))
                .map(|(id, _)| id.clone())
                .collect();
            most = most.max(running.len());
            if let Some(id) = running.first() {
                let number: usize = id[1..].parse().unwrap();
                let outcome = if fails(number) {
                    Outcome::RolledBack {
                        reason: "x".to_owned(),
                    }
                } else {
                    Outcome::Committed
                };
                bulk.outcomes.insert(id.clone(), outcome);
            }
        }
        most
    }

    #[test]
    fn one_that_fails_leaves_the_others_alone() {
        let mut bulk = bulk(100, 4, None);
        assert_eq!(run(&mut bulk, |number| number % 10 == 0), 4);
        assert_eq!(bulk.failures(), 10);
        assert!(
            bulk.connectors
                .iter()
                .all(|(id, _)| bulk.outcome(id).is_end())
        );
    }

    #[test]
    fn after_enough_failures_no_further_one_is_begun() {
        let mut bulk = bulk(20, 5, Some(3));
        run(&mut bulk, |_| true);
        // four more went on when the third failed
        assert_eq!(bulk.failures(), 7);
        let skipped = bulk.count(|outcome| *outcome == Outcome::Skipped);
        assert_eq!(skipped, 13);
    }

    #[test]
    fn what_was_stopped_begins_nothing_and_what_goes_on_ends() {
        let mut bulk = bulk(5, 2, None);
        let running = Outcome::Running {
            migration: "m".to_owned(),
        };
        bulk.outcomes.insert("c0".to_owned(), running);
        bulk.stopped = true;
        assert!(bulk.next().is_empty());
        assert!(!bulk.settle());
        bulk.outcomes.insert("c0".to_owned(), Outcome::Committed);
        assert!(bulk.settle());
        assert_eq!(bulk.count(|outcome| *outcome == Outcome::Skipped), 4);
    }

    #[test]
    fn what_was_stored_goes_on_where_it_was() {
        let mut before = bulk(3, 1, None);
        before.outcomes.insert("c0".to_owned(), Outcome::Committed);
        let text = serde_json::to_string(&before).unwrap();
        let after: Bulk = serde_json::from_str(&text).unwrap();
        assert_eq!(after, before);
        assert_eq!(after.next(), [&("c1".to_owned(), "plan".to_owned())]);
    }

    proptest! {
        #[test]
        fn neither_limit_is_ever_passed(
            count in 0usize..30,
            at_once in 0usize..6,
            stop_after in proptest::option::of(0usize..6),
            failing in proptest::collection::vec(any::<bool>(), 30),
        ) {
            let mut bulk = bulk(count, at_once, stop_after);
            let most = run(&mut bulk, |number| failing[number]);
            prop_assert!(most <= at_once.max(1));
            if let Some(stop_after) = stop_after {
                prop_assert!(bulk.failures() < stop_after.max(1) + at_once.max(1));
            }
        }
    }
}
