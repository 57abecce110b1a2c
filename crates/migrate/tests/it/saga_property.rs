//! Whatever is lost, doubled, late or killed: one holder of the lease at any time, and every migration ends.

use std::collections::VecDeque;

use ferrocti_migrate::saga::{
    Command, Decision, Event, Holder, Journal, Order, Position, Step, What, step,
};
use proptest::{collection::vec, prelude::*};

use crate::saga::{good, order};

/// What the platform has stored: the journal and the lease change in one transaction.
#[derive(Clone)]
struct Stored {
    journal: Journal,
    epoch: i64,
    holder: Holder,
    held: bool,
}

struct World {
    stored: Stored,
    /// Commands on their way to the composer, and answers on their way back; both may be lost, doubled and late.
    outbox: VecDeque<Command>,
    inbox: VecDeque<What>,
    /// The highest ticket that the composer has seen.
    seen: u64,
    old_runs: bool,
    /// The epoch that the new instance runs with.
    new_runs: Option<i64>,
    prepared: bool,
    now: i64,
    composer_away: bool,
}

/// What may happen.
#[derive(Debug, Clone)]
enum Happening {
    Deliver { keep: bool, last: bool },
    Lose,
    Answer { keep: bool, last: bool },
    LoseAnswer,
    Tick(i64),
    Kill { before: bool },
    Quiet,
    Seen(u8),
    NewFailed,
    Decide(u8),
    StaleQuiet(u64),
    ComposerAway(bool),
    OldRestarted,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>()).prop_map(|(keep, last)| Happening::Deliver { keep, last }),
        1 => Just(Happening::Lose),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(keep, last)| Happening::Answer { keep, last }),
        1 => Just(Happening::LoseAnswer),
        3 => (1i64..60).prop_map(Happening::Tick),
        2 => any::<bool>().prop_map(|before| Happening::Kill { before }),
        3 => Just(Happening::Quiet),
        3 => (0u8..6).prop_map(Happening::Seen),
        1 => Just(Happening::NewFailed),
        1 => (0u8..4).prop_map(Happening::Decide),
        1 => (0u64..6).prop_map(Happening::StaleQuiet),
        1 => any::<bool>().prop_map(Happening::ComposerAway),
        1 => Just(Happening::OldRestarted),
    ]
}

impl World {
    fn new(order: Order) -> Self {
        let epoch = order.epoch;
        let old_runs = !order.old_silent;
        let (journal, commands) = Journal::begin(order, 0);
        let mut world = Self {
            stored: Stored {
                journal: journal.clone(),
                epoch,
                holder: Holder::Old,
                held: false,
            },
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
            seen: 0,
            old_runs,
            new_runs: None,
            prepared: false,
            now: 0,
            composer_away: false,
        };
        world.store(journal, commands);
        world
    }

    /// One transaction, and then what goes out.
    fn store(&mut self, journal: Journal, commands: Vec<Command>) {
        let mut next = Stored {
            journal,
            ..self.stored.clone()
        };
        for command in commands.iter().filter(|command| command.in_transaction()) {
            match command {
                Command::Fence { from, to, holder } => {
                    assert_eq!(next.epoch, *from, "the journal knows the lease");
                    assert!(*to > *from, "the epoch only rises");
                    next.epoch = *to;
                    next.holder = *holder;
                }
                Command::HoldDelivery => next.held = true,
                Command::ReleaseDelivery => next.held = false,
                _ => {}
            }
        }
        self.stored = next;
        self.outbox.extend(
            commands
                .into_iter()
                .filter(|command| command.ticket().is_some()),
        );
    }

    fn happens(&mut self, what: What) {
        let event = Event {
            now: self.now,
            what,
        };
        let (journal, commands) = step(&self.stored.journal, &event);
        self.store(journal, commands);
    }

    fn composer(&mut self, command: &Command) {
        let Some(ticket) = command.ticket() else {
            return;
        };
        if self.composer_away || ticket < self.seen {
            return;
        }
        self.seen = ticket;
        let journal = &self.stored.journal;
        match command {
            Command::Prepare { .. } => self.prepared = true,
            Command::Discard { .. } => self.prepared = false,
            Command::StopOld { .. } => {
                assert_ne!(
                    self.stored.epoch, journal.order.epoch,
                    "fenced before the stop"
                );
                self.old_runs = false;
            }
            Command::StartNew { epoch, .. } => {
                assert!(self.prepared, "only what was made ready is started");
                assert!(*epoch <= self.stored.epoch);
                if journal.order.must_stop {
                    assert!(
                        journal.old_stopped || journal.order.old_silent || journal.step.is_back()
                    );
                }
                self.new_runs = Some(*epoch);
            }
            Command::StopNew { .. } => {
                self.new_runs = None;
                self.prepared = false;
            }
            Command::StartOld { .. } => {
                assert_eq!(self.stored.holder, Holder::Old, "it has the lease again");
                self.old_runs = true;
            }
            _ => {}
        }
        self.inbox.push_back(What::Answer {
            ticket,
            failure: None,
        });
    }

    /// The instances that the platform lets write.
    fn writers(&self) -> usize {
        let old = self.old_runs && self.stored.holder == Holder::Old;
        let new = self.stored.holder == Holder::New && self.new_runs == Some(self.stored.epoch);
        usize::from(old) + usize::from(new)
    }

    fn check(&self) {
        let stored = &self.stored;
        assert!(self.writers() <= 1, "one writer at most");
        assert_eq!(stored.journal.epoch, stored.epoch);
        assert_eq!(stored.journal.holder, stored.holder);
        match stored.journal.step {
            Step::Committed => assert_eq!(stored.holder, Holder::New),
            Step::RolledBack
            | Step::Preparing
            | Step::Quiescing
            | Step::Undecided
            | Step::Discarding
            | Step::StartingOld
            | Step::VerifyingOld => assert_eq!(stored.holder, Holder::Old),
            _ => assert_eq!(stored.holder, Holder::New),
        }
        if !matches!(
            stored.journal.step,
            Step::Quiescing | Step::StoppingOld | Step::StoppingNew
        ) {
            assert!(
                !stored.held,
                "messages are delivered again: {:?}",
                stored.journal.step
            );
        }
    }

    fn sighting(&self, kind: u8) -> What {
        let mut seen = good(self.stored.epoch);
        match kind {
            // only an instance that runs with the lease is seen with its epoch
            _ if kind == 0 || self.writers() == 0 => seen.epoch = Some(self.stored.epoch - 1),
            1 => seen.pings = 0,
            2 => seen.position = Some(Position::Empty),
            _ => {}
        }
        What::Seen(seen)
    }

    fn act(&mut self, happening: &Happening) {
        let take =
            |queue_len: usize, last: bool| if last { queue_len.saturating_sub(1) } else { 0 };
        match happening {
            Happening::Deliver { keep, last } => {
                let place = take(self.outbox.len(), *last);
                if let Some(command) = self.outbox.get(place).cloned() {
                    if !keep {
                        self.outbox.remove(place);
                    }
                    self.composer(&command);
                }
            }
            Happening::Lose => {
                self.outbox.pop_front();
            }
            Happening::Answer { keep, last } => {
                let place = take(self.inbox.len(), *last);
                if let Some(what) = self.inbox.get(place).cloned() {
                    if !keep {
                        self.inbox.remove(place);
                    }
                    self.happens(what);
                }
            }
            Happening::LoseAnswer => {
                self.inbox.pop_front();
            }
            Happening::Tick(millis) => {
                self.now += millis;
                self.happens(What::Tick);
            }
            Happening::Kill { before } => {
                // before: the transaction of the next step is not made; after: it is, and nothing goes out
                if *before {
                    let event = Event {
                        now: self.now,
                        what: What::Tick,
                    };
                    let _ = step(&self.stored.journal, &event);
                } else {
                    let sent = self.outbox.len();
                    self.now += 15;
                    self.happens(What::Tick);
                    self.outbox.truncate(sent);
                }
                // what is stored is read again
                let text = serde_json::to_string(&self.stored.journal).unwrap();
                self.stored.journal = serde_json::from_str(&text).unwrap();
                self.happens(What::Resumed);
            }
            Happening::Quiet => {
                let ticket = self.stored.journal.ticket;
                self.happens(What::Quiet { ticket });
            }
            Happening::StaleQuiet(ticket) => self.happens(What::Quiet { ticket: *ticket }),
            Happening::Seen(kind) => {
                let what = self.sighting(*kind);
                self.happens(what);
            }
            Happening::NewFailed => self.happens(What::NewFailed {
                reason: "x".to_owned(),
            }),
            Happening::Decide(kind) => self.happens(What::Decided(match kind {
                0 => Decision::Wait,
                1 => Decision::Force,
                2 => Decision::Commit,
                _ => Decision::RollBack,
            })),
            Happening::ComposerAway(away) => self.composer_away = *away,
            // somebody starts the old container by hand
            Happening::OldRestarted => self.old_runs = true,
        }
        self.check();
    }

    /// From now on messages arrive and time passes.
    fn settle(&mut self) {
        for _ in 0..400 {
            if self.stored.journal.step.is_end() && self.outbox.is_empty() {
                return;
            }
            while let Some(command) = self.outbox.pop_front() {
                self.composer(&command);
            }
            while let Some(what) = self.inbox.pop_front() {
                self.happens(what);
                self.check();
            }
            self.now += 12;
            self.happens(What::Tick);
            self.check();
        }
        panic!("it never ends: {:?}", self.stored.journal.lines);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn there_is_one_holder_at_any_time_and_every_migration_ends(
        happenings in vec(happening(), 0..60),
        in_reach: bool,
        must_stop: bool,
        old_silent: bool,
        comes_back: bool,
    ) {
        let mut world = World::new(Order {
            old_in_reach: in_reach,
            must_stop,
            old_silent,
            ..order()
        });
        world.check();
        for happening in &happenings {
            world.act(happening);
        }
        world.composer_away = !comes_back;
        world.settle();
        world.check();
        prop_assert!(world.stored.journal.step.is_end());
        if world.stored.journal.step == Step::Committed {
            prop_assert!(world.stored.journal.reason.is_none());
        }
        // the composer is there: what was taken back is gone, and what was there before runs again
        if comes_back && world.stored.journal.step == Step::RolledBack {
            let told = !world.stored.journal.by_hand.is_empty();
            prop_assert!(world.new_runs.is_none() || told);
            prop_assert!(world.old_runs || old_silent || !in_reach || told);
        }
    }

    #[test]
    fn nothing_changes_after_the_end(happenings in vec(happening(), 0..40)) {
        let mut world = World::new(order());
        world.settle();
        let end = world.stored.journal.clone();
        let lease = (world.stored.epoch, world.stored.holder);
        for happening in &happenings {
            world.act(happening);
            prop_assert_eq!(world.stored.journal.step, end.step);
            prop_assert_eq!((world.stored.epoch, world.stored.holder), lease);
        }
    }
}
