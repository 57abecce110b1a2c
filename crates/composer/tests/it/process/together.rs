//! The decision and real processes together, without a platform: what a loop would do, step by step.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ferrocti_composer::{
    Action, Decision, Definition, Evidence, Input, Memory, Orchestrator, Policy, Sight, State,
    Wanted, decide,
};
use ferrocti_model::clock::Clock;

use super::{Wall, processes};
use crate::contract::{Bench, FOR_EVER, PATIENCE, script};

/// Asks, acts and notes until a condition holds; `heard` is the revision that a platform would hear from.
async fn drive(
    orchestrator: &Arc<dyn Orchestrator>,
    definition: &Definition,
    memory: &mut Memory,
    heard: &str,
    mut done: impl FnMut(&Decision, &[String]) -> bool,
) -> Decision {
    let policy = Policy {
        first_wait: 20,
        verify_within: 2_000,
        ..Policy::default()
    };
    let wanted = Wanted {
        definitions: vec![definition.clone()],
        tombstones: BTreeSet::new(),
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let listing = orchestrator.list().await.unwrap();
        let live: Vec<String> = listing
            .instances
            .iter()
            .filter(|i| i.is_live())
            .map(|i| i.revision.clone())
            .collect();
        assert!(live.len() <= 1, "{listing:?}");
        let now = Wall.now();
        let mut sight = Sight {
            at: now,
            ..Sight::default()
        };
        if live.iter().any(|revision| revision == heard) {
            let seen = Evidence {
                last_seen: Some(now + 1),
            };
            sight.of.insert(definition.connector.clone(), seen);
        }
        let input = Input {
            wanted: &wanted,
            listing: &listing,
            sight: Some(&sight),
            approved: &BTreeSet::new(),
            policy,
            now,
        };
        let (plan, remembered) = decide(&input, memory);
        *memory = remembered;
        let decision = plan.decisions[0].clone();
        if decision.action.is_none() && done(&decision, &live) {
            return decision;
        }
        assert!(tokio::time::Instant::now() < deadline, "{decision:?}");
        let Some(action) = &decision.action else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let outcome = match action {
            Action::Pull { .. } => orchestrator.prepare(definition).await,
            Action::Create { .. } => orchestrator.create(definition).await.map(|_| ()),
            Action::Start { handle } => orchestrator.start(handle).await,
            Action::Stop { handle } => orchestrator.stop(handle, Duration::from_secs(1)).await,
            Action::Remove { handle } => orchestrator.remove(handle).await,
        };
        let outcome = outcome.map_err(|failure| failure.to_string());
        memory.record(&definition.connector, action, outcome, &policy, Wall.now());
    }
}

#[tokio::test]
async fn an_upgrade_that_dies_or_stays_silent_is_undone_and_a_good_one_replaces() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let mut memory = Memory::default();
    let first = script(&bench, "c", "1", FOR_EVER);
    let running = drive(&orchestrator, &first, &mut memory, "1", |d, live| {
        d.state == State::Running && live == ["1"]
    })
    .await;
    assert!(!running.reason.is_empty());

    let dies = script(&bench, "c", "2", "exit 0");
    let undone = drive(&orchestrator, &dies, &mut memory, "1", |d, live| {
        d.state == State::Degraded && live == ["1"]
    })
    .await;
    assert!(
        undone.reason.contains("ended by itself"),
        "{}",
        undone.reason
    );

    let silent = script(&bench, "c", "3", FOR_EVER);
    let undone = drive(&orchestrator, &silent, &mut memory, "1", |d, live| {
        d.state == State::Degraded && live == ["1"]
    })
    .await;
    assert!(undone.reason.contains("did not hear"), "{}", undone.reason);

    let good = script(&bench, "c", "4", FOR_EVER);
    drive(&orchestrator, &good, &mut memory, "4", |d, live| {
        d.state == State::Running && live == ["4"]
    })
    .await;
    let left = orchestrator.list().await.unwrap().instances;
    assert_eq!(left.len(), 1, "{left:?}");
}
