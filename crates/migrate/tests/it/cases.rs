//! What may go wrong with a migration, numbered as in docs/development/migration.md, as far as it is decided here.

use ferrocti_migrate::{
    plan::{Mounted, Refused},
    saga::{Command, Decision, Holder, Order, Position, Step, What},
};

use crate::{
    plans::{Case, of},
    saga::{Run, order},
};

fn at(step: Step) -> Run {
    let mut run = Run::begin(order());
    run.to(step);
    run
}

fn blockers(change: impl FnOnce(&mut Case)) -> Vec<String> {
    let plan = of(change);
    match plan.agree(&plan.hash) {
        Err(Refused::Blocked(blockers)) => blockers,
        other => panic!("{other:?}"),
    }
}

#[test]
fn case_01_a_stale_plan_is_refused_and_names_the_new_one() {
    let agreed = of(|_| {});
    let now = of(|case| case.facts.running.digest = Some("sha256:new".to_owned()));
    assert_eq!(agreed.agree(&agreed.hash), Ok(()));
    assert_eq!(
        now.agree(&agreed.hash),
        Err(Refused::Stale {
            agreed: agreed.hash.clone(),
            now: now.hash,
        })
    );
}

#[test]
fn case_02_an_image_that_cannot_be_pulled_costs_nothing() {
    let mut run = at(Step::Preparing);
    run.failed("no such image").at(Step::Discarding);
    assert!(
        run.journal
            .reason
            .as_ref()
            .unwrap()
            .contains("no such image")
    );
    run.answered().at(Step::RolledBack);
    assert_eq!(run.journal.epoch, run.journal.order.epoch);
}

#[test]
fn case_03_a_missing_secret_or_a_placeholder_blocks_before_the_fence() {
    for value in ["", "ChangeMe"] {
        let blockers = blockers(|case| case.environment(&[("FEED_API_KEY", value)]));
        assert!(
            blockers[0].starts_with("value-missing: FEED_API_KEY"),
            "{blockers:?}"
        );
    }
}

#[test]
fn case_04_an_unknown_key_is_kept_and_listed() {
    let plan = of(|case| case.environment(&[("OWN", "x")]));
    assert_eq!(plan.agree(&plan.hash), Ok(()));
    assert!(
        plan.keys
            .iter()
            .any(|key| key.key == "OWN" && key.fate == "kept")
    );
}

#[test]
fn case_05_a_connector_that_is_never_quiet_stays_as_it_is() {
    let mut run = at(Step::Undecided);
    assert_eq!(run.journal.holder, Holder::Old);
    assert!(run.commands.contains(&Command::ReleaseDelivery));
    run.happens(What::Decided(Decision::Force))
        .at(Step::StoppingOld);
    assert!(run.journal.forced);
}

#[test]
fn case_06_a_platform_killed_before_the_fence_goes_on_waiting() {
    let mut run = at(Step::Quiescing);
    run.happens(What::Resumed).at(Step::Quiescing);
    assert_eq!(run.commands, [Command::HoldDelivery]);
    assert_eq!(run.journal.holder, Holder::Old);
}

#[test]
fn case_07_a_platform_killed_after_the_fence_goes_on_with_the_start() {
    let mut run = at(Step::StoppingOld);
    let ticket = run.journal.ticket;
    run.happens(What::Resumed).at(Step::StoppingOld);
    assert_eq!(
        run.commands,
        [Command::StopOld { ticket }],
        "no second fence"
    );
    run.answered().happens(What::Resumed).at(Step::StartingNew);
    let (ticket, epoch) = (run.journal.ticket, run.journal.epoch);
    assert_eq!(run.commands, [Command::StartNew { ticket, epoch }]);
}

#[test]
fn case_08_a_composer_that_does_not_answer_is_told_again() {
    for step in [Step::Preparing, Step::StoppingOld, Step::StartingNew] {
        let mut run = at(step);
        let ticket = run.journal.ticket;
        run.now += run.journal.order.timeouts.repeat;
        run.happens(What::Tick).at(step);
        let tickets: Vec<u64> = run.commands.iter().filter_map(Command::ticket).collect();
        assert_eq!(tickets, [ticket], "{step:?}");
    }
}

#[test]
fn case_09_a_partition_after_the_fence_ends_with_the_old_instance() {
    let mut run = at(Step::StoppingOld);
    run.timed_out().at(Step::StartingNew);
    run.timed_out().at(Step::StoppingNew);
    run.timed_out().at(Step::StartingOld);
    assert_eq!(run.fences(), [Holder::Old]);
    run.timed_out().at(Step::RolledBack);
    assert!(
        run.journal
            .by_hand
            .iter()
            .any(|what| what.contains("start the old instance"))
    );
    // or it was never stopped, and goes on by itself
    let mut run = at(Step::StartingNew);
    run.timed_out().timed_out().at(Step::StartingOld);
    run.seen(|_| {}).at(Step::RolledBack);
}

#[test]
fn case_10_an_old_instance_that_cannot_be_stopped_does_not_stop_the_migration() {
    let mut run = at(Step::StoppingOld);
    run.failed("unknown container").at(Step::StartingNew);
    run.to(Step::Committed);
    assert_eq!(run.journal.by_hand.len(), 1);
}

#[test]
fn case_12_the_fence_comes_before_anything_that_makes_a_connector_delete_itself() {
    let mut run = at(Step::Quiescing);
    run.quiet();
    let fence = run
        .commands
        .iter()
        .position(|command| matches!(command, Command::Fence { .. }));
    let stop = run
        .commands
        .iter()
        .position(|command| matches!(command, Command::StopOld { .. }));
    assert!(fence.unwrap() < stop.unwrap());
    assert!(run.commands[fence.unwrap()].in_transaction());
    assert!(!run.commands[stop.unwrap()].in_transaction());
}

#[test]
fn case_13_a_second_migration_is_told_which_one_goes_on() {
    let blockers = blockers(|case| case.facts.passing.locked_by = Some("m-1".to_owned()));
    assert!(blockers[0].contains("m-1"), "{blockers:?}");
}

#[test]
fn case_14_a_new_instance_that_crashes_while_it_is_watched_goes_back() {
    for step in [Step::StartingNew, Step::Verifying, Step::Observing] {
        let mut run = at(step);
        run.happens(What::NewFailed {
            reason: "exit code 3".to_owned(),
        })
        .at(Step::StoppingNew);
        assert!(run.journal.reason.as_ref().unwrap().contains("exit code 3"));
    }
}

#[test]
fn case_15_an_empty_or_older_state_goes_back() {
    for position in [Position::Empty, Position::Older] {
        let mut run = at(Step::Verifying);
        run.seen(|seen| seen.position = Some(position))
            .at(Step::StoppingNew);
    }
}

#[test]
fn case_16_another_user_type_or_scope_goes_back() {
    let mut run = at(Step::Observing);
    run.seen(|seen| seen.user = "somebody".to_owned())
        .at(Step::StoppingNew);
}

#[test]
fn case_17_a_user_that_is_no_connectors_own_is_not_changed() {
    let plan = of(|case| {
        case.facts.user.bootstrap = true;
        case.facts.user.human = true;
        case.facts.user.shared_by = vec!["workers".to_owned()];
    });
    assert_eq!(
        plan.agree(&plan.hash),
        Ok(()),
        "it does not stand in the way"
    );
    for code in ["user-bootstrap", "user-human", "user-shared"] {
        let finding = plan
            .findings
            .iter()
            .find(|finding| finding.code == code)
            .unwrap();
        assert!(finding.remedy.contains("a step of its own"), "{code}");
    }
}

#[test]
fn case_19_data_in_a_volume_moves_along_or_blocks() {
    let mounted = |source: Option<&str>| Mounted {
        source: source.map(str::to_owned),
        target: "/data".to_owned(),
        read_only: false,
        allowed: true,
    };
    let plan = of(|case| case.facts.running.mounts = vec![mounted(Some("volume"))]);
    assert_eq!(plan.agree(&plan.hash), Ok(()));
    let blockers = blockers(|case| case.facts.running.mounts = vec![mounted(None)]);
    assert!(blockers[0].contains("/data"), "{blockers:?}");
}

#[test]
fn case_20_a_connector_of_no_catalog_is_taken_over_word_by_word() {
    let plan = of(|case| case.facts.contract = None);
    assert_eq!(plan.agree(&plan.hash), Ok(()));
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.code == "no-contract")
    );
}

#[test]
fn case_26_clocks_do_not_decide_who_has_the_lease() {
    let mut run = at(Step::StartingNew);
    let lease = (run.journal.epoch, run.journal.holder);
    for now in [-1_000_000, 0, 5] {
        run.now = now;
        run.happens(What::Tick).at(Step::StartingNew);
        assert_eq!((run.journal.epoch, run.journal.holder), lease);
    }
    // far in the future the time of the step is over, and the way back is taken in order
    run.now = i64::MAX - 1;
    run.happens(What::Tick).at(Step::StoppingNew);
    assert_eq!((run.journal.epoch, run.journal.holder), lease);
}

#[test]
fn a_broker_of_its_own_is_a_blocker_that_makes_the_stop_come_first() {
    let blockers = blockers(|case| case.facts.running.other_broker = true);
    assert!(blockers[0].starts_with("other-broker"));
    let mut run = Run::begin(Order {
        must_stop: true,
        ..order()
    });
    run.to(Step::StoppingOld).failed("no").at(Step::StoppingNew);
}
