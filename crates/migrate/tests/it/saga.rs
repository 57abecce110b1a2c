//! The steps of a migration: what follows from what, and the way back from each step.

use ferrocti_migrate::saga::{
    Command, Decision, Event, Expected, Holder, Journal, Measures, Order, Position, Sighting, Step,
    Timeouts, Verdict, What, judge, report, step,
};

pub(crate) fn expected() -> Expected {
    Expected {
        user: "u1".to_owned(),
        connector_type: "EXTERNAL_IMPORT".to_owned(),
        scope: vec!["a".to_owned(), "b".to_owned()],
        had_state: true,
        pings: 2,
        ..Expected::default()
    }
}

pub(crate) fn order() -> Order {
    Order {
        id: "m1".to_owned(),
        connector: "c1".to_owned(),
        plan: "hash".to_owned(),
        epoch: 7,
        old_in_reach: true,
        must_stop: false,
        old_silent: false,
        expected: expected(),
        timeouts: Timeouts {
            prepare: 100,
            quiesce: 100,
            decide: 1000,
            stop_old: 100,
            start_new: 100,
            verify: 100,
            observe: Some(100),
            stop_new: 100,
            start_old: 100,
            verify_old: 100,
            repeat: 10,
        },
    }
}

pub(crate) fn good(epoch: i64) -> Sighting {
    Sighting {
        epoch: Some(epoch),
        user: "u1".to_owned(),
        connector_type: "EXTERNAL_IMPORT".to_owned(),
        scope: vec!["B".to_owned(), "a".to_owned()],
        pings: 2,
        position: Some(Position::Same),
        ..Sighting::default()
    }
}

/// A migration that is driven by hand.
pub(crate) struct Run {
    pub(crate) journal: Journal,
    pub(crate) commands: Vec<Command>,
    pub(crate) now: i64,
}

impl Run {
    pub(crate) fn begin(order: Order) -> Self {
        let (journal, commands) = Journal::begin(order, 1000);
        Self {
            journal,
            commands,
            now: 1000,
        }
    }

    pub(crate) fn happens(&mut self, what: What) -> &mut Self {
        self.now += 1;
        let event = Event {
            now: self.now,
            what,
        };
        let (journal, commands) = step(&self.journal, &event);
        self.journal = journal;
        self.commands = commands;
        self
    }

    pub(crate) fn answered(&mut self) -> &mut Self {
        let ticket = self.journal.ticket;
        self.happens(What::Answer {
            ticket,
            failure: None,
        })
    }

    pub(crate) fn failed(&mut self, reason: &str) -> &mut Self {
        let ticket = self.journal.ticket;
        self.happens(What::Answer {
            ticket,
            failure: Some(reason.to_owned()),
        })
    }

    pub(crate) fn quiet(&mut self) -> &mut Self {
        let ticket = self.journal.ticket;
        self.happens(What::Quiet { ticket })
    }

    pub(crate) fn seen(&mut self, change: impl FnOnce(&mut Sighting)) -> &mut Self {
        let mut sighting = good(self.journal.epoch);
        change(&mut sighting);
        self.happens(What::Seen(sighting))
    }

    pub(crate) fn timed_out(&mut self) -> &mut Self {
        self.now = self.journal.deadline.expect("the step has a deadline") - 1;
        self.happens(What::Tick)
    }

    pub(crate) fn at(&self, expected: Step) -> &Self {
        assert_eq!(self.journal.step, expected, "{:?}", self.journal.lines);
        self
    }

    /// Drives to a step on the way forward.
    pub(crate) fn to(&mut self, wanted: Step) -> &mut Self {
        for _ in 0..10 {
            match self.journal.step {
                at if at == wanted => return self,
                Step::Quiescing if wanted == Step::Undecided => self.timed_out(),
                Step::Quiescing => self.quiet(),
                Step::Verifying => self.seen(|_| {}),
                Step::Observing => self.timed_out(),
                _ => self.answered(),
            };
        }
        panic!("{wanted:?} is not on the way");
    }

    pub(crate) fn fences(&self) -> Vec<Holder> {
        self.commands
            .iter()
            .filter_map(|command| match command {
                Command::Fence { holder, .. } => Some(*holder),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_migration_goes_from_step_to_step() {
    let mut run = Run::begin(order());
    run.at(Step::Preparing);
    assert_eq!(
        run.commands,
        [Command::Snapshot, Command::Prepare { ticket: 1 }]
    );
    run.answered().at(Step::Quiescing);
    assert_eq!(run.commands, [Command::HoldDelivery]);
    run.quiet().at(Step::StoppingOld);
    assert_eq!(
        run.commands,
        [
            Command::Fence {
                from: 7,
                to: 8,
                holder: Holder::New
            },
            Command::StopOld { ticket: 3 }
        ],
        "the fence comes before the stop"
    );
    run.answered().at(Step::StartingNew);
    assert_eq!(
        run.commands,
        [
            Command::ReleaseDelivery,
            Command::StartNew {
                ticket: 4,
                epoch: 8
            }
        ]
    );
    run.answered().at(Step::Verifying);
    run.seen(|_| {}).at(Step::Observing);
    run.timed_out().at(Step::Committed);
    assert_eq!(run.commands, [Command::Finalize]);
    assert!(run.journal.by_hand.is_empty());
}

#[test]
fn what_cannot_be_made_ready_leaves_the_old_instance_alone() {
    for fail in [
        |run: &mut Run| {
            run.failed("no such image");
        },
        |run: &mut Run| {
            run.timed_out();
        },
    ] {
        let mut run = Run::begin(order());
        fail(&mut run);
        run.at(Step::Discarding);
        assert!(run.fences().is_empty());
        run.answered().at(Step::RolledBack);
        assert_eq!((run.journal.holder, run.journal.epoch), (Holder::Old, 7));
    }
}

#[test]
fn a_connector_that_does_not_become_quiet_stays_as_it_is_until_somebody_decides() {
    let mut run = Run::begin(order());
    run.to(Step::Undecided);
    assert!(run.commands.contains(&Command::ReleaseDelivery));
    assert!(
        run.commands
            .iter()
            .any(|command| matches!(command, Command::Alarm { .. }))
    );
    // what was seen in the wait that is over says nothing any more
    run.happens(What::Quiet { ticket: 2 }).at(Step::Undecided);
    run.happens(What::Decided(Decision::Wait))
        .at(Step::Quiescing);
    run.happens(What::Quiet { ticket: 2 }).at(Step::Quiescing);
    run.happens(What::Decided(Decision::Force))
        .at(Step::StoppingOld);
    assert!(run.journal.forced);

    let mut run = Run::begin(order());
    run.to(Step::Undecided).timed_out().at(Step::Discarding);
}

#[test]
fn an_old_instance_that_cannot_be_stopped_is_fenced_and_told() {
    for fail in [
        |run: &mut Run| {
            run.failed("no such container");
        },
        |run: &mut Run| {
            run.timed_out();
        },
    ] {
        let mut run = Run::begin(order());
        run.to(Step::StoppingOld);
        fail(&mut run);
        run.at(Step::StartingNew);
        assert_eq!(run.journal.by_hand.len(), 1);
    }
    let mut run = Run::begin(Order {
        old_in_reach: false,
        ..order()
    });
    run.to(Step::Quiescing).quiet().at(Step::StartingNew);
    assert_eq!(run.fences(), [Holder::New]);
    assert_eq!(run.journal.by_hand.len(), 1);
}

#[test]
fn a_connector_with_a_broker_of_its_own_is_only_started_after_the_stop() {
    let order = Order {
        must_stop: true,
        ..order()
    };
    let mut run = Run::begin(order.clone());
    run.to(Step::StoppingOld).timed_out().at(Step::StoppingNew);
    run.answered().at(Step::StartingOld);
    assert_eq!(run.fences(), [Holder::Old]);

    let mut run = Run::begin(Order {
        old_in_reach: false,
        ..order
    });
    run.to(Step::Quiescing).quiet().at(Step::Discarding);
    assert!(run.fences().is_empty());
}

#[test]
fn an_old_instance_that_does_not_run_is_not_waited_for() {
    let mut run = Run::begin(Order {
        old_silent: true,
        old_in_reach: false,
        ..order()
    });
    run.answered().at(Step::StartingNew);
    assert_eq!(run.fences(), [Holder::New]);
    run.answered()
        .happens(What::Decided(Decision::RollBack))
        .answered()
        .at(Step::RolledBack);
}

#[test]
fn a_new_instance_that_fails_gives_the_lease_back() {
    let fails: [fn(&mut Run); 7] = [
        |run| {
            run.happens(What::NewFailed {
                reason: "exit code 1".to_owned(),
            });
        },
        |run| {
            run.seen(|seen| seen.user = "u2".to_owned());
        },
        |run| {
            run.seen(|seen| seen.connector_type = "STREAM".to_owned());
        },
        |run| {
            run.seen(|seen| seen.scope = vec!["a".to_owned()]);
        },
        |run| {
            run.seen(|seen| seen.position = Some(Position::Empty));
        },
        |run| {
            run.seen(|seen| seen.position = Some(Position::Older));
        },
        |run| {
            run.timed_out();
        },
    ];
    for (number, fail) in fails.iter().enumerate() {
        let mut run = Run::begin(order());
        run.to(Step::Verifying);
        fail(&mut run);
        run.at(Step::StoppingNew);
        assert!(
            run.fences().is_empty(),
            "{number}: the new one has it until it is stopped"
        );
        run.answered().at(Step::StartingOld);
        assert_eq!(run.fences(), [Holder::Old], "{number}");
        assert!(run.commands.contains(&Command::Restore), "{number}");
        run.answered().at(Step::VerifyingOld);
        run.seen(|_| {}).at(Step::RolledBack);
        assert_eq!(run.journal.epoch, 9, "{number}");
        assert!(run.journal.reason.is_some(), "{number}");
    }
}

#[test]
fn the_way_back_is_open_from_every_step_until_the_end() {
    for from in [
        Step::Preparing,
        Step::Quiescing,
        Step::Undecided,
        Step::StoppingOld,
        Step::StartingNew,
        Step::Verifying,
        Step::Observing,
    ] {
        let mut run = Run::begin(order());
        run.to(from);
        assert!(run.journal.can_go_back());
        let fenced = run.journal.holder == Holder::New;
        run.happens(What::Decided(Decision::RollBack))
            .at(if fenced {
                Step::StoppingNew
            } else {
                Step::Discarding
            });
        for _ in 0..5 {
            if !run.journal.step.is_end() {
                run.timed_out();
            }
        }
        run.at(Step::RolledBack);
        assert_eq!(run.journal.holder, Holder::Old, "{from:?}");
        // an old instance that the composer cannot start is told
        assert_eq!(run.journal.by_hand.is_empty(), !fenced, "{from:?}");
    }
    let mut run = Run::begin(order());
    run.to(Step::Committed);
    assert!(!run.journal.can_go_back());
    let before = run.journal.clone();
    run.happens(What::Decided(Decision::RollBack));
    assert_eq!(run.journal.step, before.step);
    assert!(run.commands.is_empty());
}

#[test]
fn commands_go_out_again_and_late_answers_count_for_nothing() {
    let mut run = Run::begin(order());
    run.happens(What::Resumed);
    assert_eq!(run.commands, [Command::Prepare { ticket: 1 }]);
    run.now += 20;
    run.happens(What::Tick);
    assert_eq!(run.commands, [Command::Prepare { ticket: 1 }]);
    run.happens(What::Tick);
    assert!(run.commands.is_empty(), "not at every tick");
    run.to(Step::StoppingOld);
    for failure in [None, Some("late".to_owned())] {
        run.happens(What::Answer { ticket: 1, failure })
            .at(Step::StoppingOld);
    }
    run.answered()
        .at(Step::StartingNew)
        .journal
        .old_stopped
        .then_some(())
        .unwrap();
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut run = Run::begin(order());
    run.to(Step::StoppingOld);
    let deadline = run.journal.deadline;
    run.now = 0;
    run.happens(What::Tick).at(Step::StoppingOld);
    assert_eq!(run.journal.deadline, deadline);
    run.answered().at(Step::StartingNew);
    assert!(run.journal.since >= 1000);
}

#[test]
fn a_transaction_that_fails_before_the_fence_is_given_up() {
    let mut run = Run::begin(order());
    run.to(Step::Quiescing);
    // the journal with the fence was not stored, so the former one meets the failure
    run.happens(What::TransactionFailed {
        reason: "another epoch".to_owned(),
    })
    .at(Step::Discarding);
    assert_eq!((run.journal.holder, run.journal.epoch), (Holder::Old, 7));
}

#[test]
fn what_is_seen_is_judged_by_what_is_expected() {
    let judged = |change: fn(&mut Sighting)| {
        let mut seen = good(8);
        change(&mut seen);
        judge(&expected(), 8, &seen)
    };
    assert_eq!(judged(|_| {}), Verdict::Good);
    assert_eq!(
        judged(|seen| seen.position = Some(Position::Newer)),
        Verdict::Good
    );
    for (what, change) in [
        (
            "another epoch",
            (|seen| seen.epoch = Some(7)) as fn(&mut Sighting),
        ),
        ("no registration", |seen| seen.epoch = None),
        ("one heartbeat", |seen| seen.pings = 1),
        ("no heartbeat", |seen| seen.position = None),
    ] {
        assert!(matches!(judged(change), Verdict::NotYet(_)), "{what}");
    }
    for (what, change) in [
        ("errors", (|seen| seen.errors = 1) as fn(&mut Sighting)),
        ("user", |seen| seen.user.clear()),
        ("empty state", |seen| seen.position = Some(Position::Empty)),
    ] {
        assert!(matches!(judged(change), Verdict::Bad(_)), "{what}");
    }
    let all = Expected {
        had_state: false,
        consumes: true,
        run: true,
        ..expected()
    };
    let mut seen = good(8);
    seen.position = Some(Position::Empty);
    assert!(matches!(judge(&all, 8, &seen), Verdict::NotYet(_)));
    seen.consumes = true;
    assert!(matches!(judge(&all, 8, &seen), Verdict::NotYet(_)));
    seen.run = true;
    assert_eq!(judge(&all, 8, &seen), Verdict::Good);
}

#[test]
fn the_report_has_each_step_with_its_time_and_the_gap() {
    let mut run = Run::begin(order());
    run.to(Step::Verifying);
    run.seen(|_| {}).timed_out().at(Step::Committed);
    let report = report(
        &run.journal,
        Measures {
            state_before: Some("s1".to_owned()),
            state_after: Some("s1".to_owned()),
            last_old_write: Some(5000),
            first_new_write: Some(7500),
            ..Measures::default()
        },
    );
    assert_eq!(report.gap, Some(2500));
    assert_eq!(report.state_kept, Some(true));
    assert_eq!(report.epochs, (7, 8));
    let steps: Vec<Step> = report.steps.iter().map(|step| step.step).collect();
    assert_eq!(
        steps,
        [
            Step::Preparing,
            Step::Quiescing,
            Step::StoppingOld,
            Step::StartingNew,
            Step::Verifying,
            Step::Observing,
            Step::Committed
        ]
    );
    assert_eq!(report.steps[5].millis, Some(100));
    assert_eq!(report.steps[6].millis, None);
    let text = report.to_string();
    for part in ["c1: migrated", "2.5 s", "state before: s1", "epoch 7 -> 8"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        serde_json::to_string(&report)
            .unwrap()
            .contains("\"gap\":2500")
    );
}
