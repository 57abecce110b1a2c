//! The decision, case by case: what is wanted and there → state, action and reason.

use std::collections::BTreeSet;

use ferrocti_composer::{
    Action, Current, Decision, Definition, EnvVar, Evidence, Input, Instance, Listing, Memory,
    Options, Phase, Place, Plan, Policy, Requested, Restart, Sight, Source, State, Value, Wanted,
    decide,
};
use ferrocti_model::clock::format_date;

const NOW: i64 = 10_000_000;

pub fn definition(connector: &str, revision: &str) -> Definition {
    Definition {
        connector: connector.to_owned(),
        name: connector.to_owned(),
        revision: revision.to_owned(),
        requested: Requested::Running,
        source: Source::Image {
            reference: format!("example/{connector}:{revision}"),
            command: None,
        },
        environment: vec![EnvVar::plain("CONNECTOR_ID", connector)],
        options: Options::default(),
        fault: None,
    }
}

fn instance(revision: &str, phase: Phase) -> Instance {
    Instance {
        handle: format!("c-{revision}"),
        place: Place::Containers,
        connector: "c".to_owned(),
        revision: revision.to_owned(),
        started_at: (phase != Phase::Created).then_some(NOW - 60_000),
        phase,
        restarts: 0,
        said: None,
    }
}

const EXITED: Phase = Phase::Exited {
    code: Some(0),
    at: None,
};

/// A world of one connector `c` that is asked for again and again.
struct World {
    wanted: Wanted,
    listing: Listing,
    sight: Option<Sight>,
    approved: BTreeSet<String>,
    memory: Memory,
    now: i64,
}

impl World {
    fn new(definitions: Vec<Definition>, instances: Vec<Instance>) -> Self {
        Self {
            wanted: Wanted {
                definitions,
                tombstones: BTreeSet::new(),
            },
            listing: Listing {
                instances,
                ..Listing::default()
            },
            sight: Some(Sight::default()),
            approved: BTreeSet::new(),
            memory: Memory::default(),
            now: NOW,
        }
    }

    fn plan(&mut self) -> Plan {
        if let Some(sight) = &mut self.sight {
            sight.at = self.now;
        }
        let (plan, memory) = decide(
            &Input {
                wanted: &self.wanted,
                listing: &self.listing,
                sight: self.sight.as_ref(),
                approved: &self.approved,
                policy: Policy::default(),
                now: self.now,
            },
            &self.memory,
        );
        self.memory = memory;
        plan
    }

    fn next(&mut self) -> Decision {
        self.plan().decisions.remove(0)
    }

    fn record(&mut self, action: &Action, outcome: Result<(), String>) {
        self.memory
            .record("c", action, outcome, &Policy::default(), self.now);
    }

    fn pulled(mut self, revision: &str) -> Self {
        self.next();
        self.record(&pull(revision), Ok(()));
        self
    }

    fn heard(mut self, at: i64) -> Self {
        self.sight.get_or_insert_default().of.insert(
            "c".to_owned(),
            Evidence {
                last_seen: Some(at),
            },
        );
        self
    }
}

fn pull(revision: &str) -> Action {
    Action::Pull {
        revision: revision.to_owned(),
    }
}

fn create(revision: &str) -> Action {
    Action::Create {
        revision: revision.to_owned(),
    }
}

fn start(revision: &str) -> Action {
    Action::Start {
        handle: format!("c-{revision}"),
    }
}

fn stop(revision: &str) -> Action {
    Action::Stop {
        handle: format!("c-{revision}"),
    }
}

fn remove(revision: &str) -> Action {
    Action::Remove {
        handle: format!("c-{revision}"),
    }
}

#[track_caller]
fn expect(decision: &Decision, state: State, action: Option<Action>) {
    assert_eq!(
        (decision.state, decision.action.clone()),
        (state, action),
        "{}",
        decision.reason
    );
    assert!(!decision.reason.is_empty());
}

#[test]
fn a_new_connector_is_pulled_then_made_then_started() {
    let mut world = World::new(vec![definition("c", "1")], vec![]);
    let decision = world.next();
    expect(&decision, State::Pulling, Some(pull("1")));
    assert_eq!(decision.current, None);
    world.record(&pull("1"), Ok(()));
    expect(&world.next(), State::Starting, Some(create("1")));
    world.listing.instances = vec![instance("1", Phase::Created)];
    expect(&world.next(), State::Starting, Some(start("1")));
    world.listing.instances = vec![instance("1", Phase::Running)];
    let decision = world.next();
    expect(&decision, State::Starting, None);
    assert_eq!(decision.current, Some(Current::Started));
    let mut world = world.heard(NOW - 1000);
    expect(&world.next(), State::Running, None);
}

#[test]
fn a_connector_that_shall_not_run_is_not_made() {
    let mut wanted = definition("c", "1");
    wanted.requested = Requested::Stopped;
    let mut world = World::new(vec![wanted], vec![]);
    expect(&world.next(), State::Stopped, None);
}

#[test]
fn a_connector_that_shall_stop_is_stopped_and_kept() {
    let mut wanted = definition("c", "1");
    wanted.requested = Requested::Stopped;
    let mut world = World::new(vec![wanted], vec![instance("1", Phase::Running)]);
    expect(&world.next(), State::Stopping, Some(stop("1")));
    world.listing.instances = vec![instance("1", EXITED)];
    let decision = world.next();
    expect(&decision, State::Stopped, None);
    assert_eq!(decision.current, Some(Current::Stopped));
    world.wanted.definitions[0].requested = Requested::Running;
    // the stop was asked for: starting again does not wait
    expect(&world.next(), State::Starting, Some(start("1")));
}

#[test]
fn an_upgrade_pulls_and_makes_before_it_stops_and_removes_the_old_when_the_new_is_heard_of() {
    let mut world = World::new(
        vec![definition("c", "2")],
        vec![instance("1", Phase::Running)],
    );
    let decision = world.next();
    expect(&decision, State::Pulling, Some(pull("2")));
    assert_eq!(decision.current, Some(Current::Started));
    world.record(&pull("2"), Ok(()));
    expect(&world.next(), State::Starting, Some(create("2")));
    world.listing.instances = vec![instance("1", Phase::Running), instance("2", Phase::Created)];
    expect(&world.next(), State::Starting, Some(stop("1")));
    world.listing.instances = vec![instance("1", EXITED), instance("2", Phase::Created)];
    expect(&world.next(), State::Starting, Some(start("2")));
    world.listing.instances[1] = instance("2", Phase::Running);
    // a ping of the old instance proves nothing
    let mut world = world.heard(NOW - 60_001);
    expect(&world.next(), State::Starting, None);
    let mut world = world.heard(NOW - 1);
    expect(&world.next(), State::Running, Some(remove("1")));
    world.listing.instances.remove(0);
    expect(&world.next(), State::Running, None);
}

#[test]
fn a_new_image_that_cannot_be_pulled_leaves_the_old_running() {
    let mut world = World::new(
        vec![definition("c", "2")],
        vec![instance("1", Phase::Running)],
    );
    world.next();
    world.record(&pull("2"), Err("no such image: example/c:2".to_owned()));
    let decision = world.next();
    expect(&decision, State::Pulling, None);
    assert!(
        decision.reason.contains("no such image"),
        "{}",
        decision.reason
    );
    assert_eq!(decision.again_at, Some(NOW + 1000));
    world.now += 1000;
    expect(&world.next(), State::Pulling, Some(pull("2")));
}

#[test]
fn a_new_definition_that_ends_again_and_again_is_given_up_for_the_old_instance() {
    let mut world = World::new(
        vec![definition("c", "2")],
        vec![instance("1", Phase::Running)],
    )
    .pulled("2");
    world.listing.instances.push(instance("2", Phase::Created));
    expect(&world.next(), State::Starting, Some(stop("1")));
    world.listing.instances[0] = instance("1", EXITED);
    for run in 0..3 {
        let decision = world.next();
        expect(&decision, State::Starting, Some(start("2")));
        let mut ended = instance("2", EXITED);
        ended.started_at = Some(NOW + run);
        world.listing.instances[1] = ended;
        if run < 2 {
            let waiting = world.next();
            expect(&waiting, State::Starting, None);
            world.now = waiting.again_at.unwrap();
        }
    }
    let decision = world.next();
    expect(&decision, State::Starting, Some(start("1")));
    assert!(decision.reason.contains("given up"), "{}", decision.reason);
    world.listing.instances[0] = instance("1", Phase::Running);
    let now = world.now;
    let mut world = world.heard(now);
    expect(&world.next(), State::Running, Some(remove("2")));
    world.listing.instances.truncate(1);
    let decision = world.next();
    expect(&decision, State::Degraded, None);
    assert!(decision.reason.contains("given up"), "{}", decision.reason);
    // the next definition is tried
    world.wanted.definitions = vec![definition("c", "3")];
    expect(&world.next(), State::Pulling, Some(pull("3")));
}

#[test]
fn a_new_definition_that_the_platform_does_not_hear_of_is_given_up() {
    let mut world = World::new(
        vec![definition("c", "2")],
        vec![instance("1", EXITED), instance("2", Phase::Running)],
    );
    expect(&world.next(), State::Starting, None);
    world.now += 180_000;
    expect(&world.next(), State::Failed, Some(stop("2")));
    world.listing.instances[1] = instance("2", EXITED);
    expect(&world.next(), State::Starting, Some(start("1")));
}

#[test]
fn nothing_is_given_up_while_the_platform_is_away_or_has_just_come_back() {
    let mut world = World::new(
        vec![definition("c", "2")],
        vec![instance("1", EXITED), instance("2", Phase::Running)],
    );
    world.sight = None;
    world.now += 3_600_000;
    expect(&world.next(), State::Starting, None);
    world.sight = Some(Sight {
        since: world.now,
        ..Sight::default()
    });
    expect(&world.next(), State::Starting, None);
}

#[test]
fn silence_degrades_a_running_connector_and_says_since_when() {
    let mut world = World::new(
        vec![definition("c", "1")],
        vec![instance("1", Phase::Running)],
    )
    .heard(NOW);
    let decision = world.next();
    expect(&decision, State::Running, None);
    world.now = decision.again_at.unwrap();
    let decision = world.next();
    expect(&decision, State::Degraded, None);
    let heard = format_date(NOW);
    assert!(decision.reason.contains(&heard), "{}", decision.reason);
}

#[test]
fn an_end_is_a_failure_whatever_the_exit_code_and_each_start_waits_longer() {
    let mut world = World::new(
        vec![definition("c", "1")],
        vec![instance("1", Phase::Running)],
    );
    world.next();
    let mut waits = Vec::new();
    let mut states = Vec::new();
    for run in 0..12 {
        let mut ended = instance("1", EXITED);
        ended.started_at = Some(NOW + run);
        world.listing.instances = vec![ended];
        let decision = world.next();
        assert_eq!(decision.action, None);
        states.push(decision.state);
        let again = decision.again_at.unwrap();
        waits.push((again - world.now) / 1000);
        world.now = again;
        assert_eq!(world.next().action, Some(start("1")));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    assert_eq!(states[1], State::Starting);
    assert_eq!(states[2], State::CrashLooping);
}

#[test]
fn one_end_is_counted_once() {
    let mut world = World::new(
        vec![definition("c", "1")],
        vec![instance("1", Phase::Running)],
    );
    world.next();
    world.listing.instances = vec![instance("1", EXITED)];
    let first = world.next().again_at;
    assert_eq!(world.next().again_at, first);
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_a_connector_down() {
    let mut world = World::new(
        vec![definition("c", "1")],
        vec![instance("1", Phase::Running)],
    );
    world.next();
    world.listing.instances = vec![instance("1", EXITED)];
    world.next();
    world.now -= 5_000_000;
    expect(&world.next(), State::Starting, Some(start("1")));
}

#[test]
fn a_connector_that_runs_once_is_not_started_again_before_it_is_asked_for_again() {
    let mut wanted = definition("c", "1");
    wanted.options.restart = Restart::Never;
    let mut world = World::new(vec![wanted], vec![instance("1", Phase::Running)]);
    world.next();
    let mut ended = instance("1", EXITED);
    ended.started_at = Some(NOW);
    world.listing.instances = vec![ended];
    expect(&world.next(), State::Stopped, None);
    world.wanted.definitions[0].requested = Requested::Stopped;
    world.next();
    world.wanted.definitions[0].requested = Requested::Running;
    expect(&world.next(), State::Starting, Some(start("1")));
}

#[test]
fn two_live_instances_become_one() {
    let mut world = World::new(
        vec![definition("c", "2")],
        vec![instance("1", Phase::Running), instance("2", Phase::Running)],
    );
    expect(&world.next(), State::Degraded, Some(stop("1")));
}

#[test]
fn a_secret_that_cannot_be_opened_blocks_the_deployment_and_names_the_variable() {
    let mut wanted = definition("c", "2");
    // nobody can enter the token again, so that it is named only when there is nothing else
    wanted.environment = ["OPENCTI_TOKEN", "SOME_API_KEY"]
        .map(|key| EnvVar {
            key: key.to_owned(),
            value: Value::Unreadable("sealed to another key".to_owned()),
        })
        .into();
    let mut world = World::new(vec![wanted.clone()], vec![]);
    let decision = world.next();
    expect(&decision, State::Failed, None);
    let reason = &decision.reason;
    assert!(reason.contains("the secret SOME_API_KEY"), "{reason}");
    let mut world = World::new(vec![wanted], vec![instance("1", Phase::Running)]);
    let decision = world.next();
    expect(&decision, State::Failed, None);
    assert_eq!(decision.current, Some(Current::Started));
}

#[test]
fn an_incomplete_listing_neither_makes_nor_deletes() {
    let mut world = World::new(vec![definition("c", "1")], vec![]).pulled("1");
    world.listing = Listing::failed(Place::Containers, "the engine does not answer");
    let decision = world.next();
    expect(&decision, State::Unreachable, None);
    assert_eq!(decision.current, None);
    let mut world = World::new(vec![], vec![instance("1", Phase::Running)]);
    world.wanted.tombstones.insert("c".to_owned());
    let why = "one page of two".to_owned();
    world.listing.incomplete.insert(Place::Containers, why);
    expect(&world.next(), State::Running, None);
}

fn command(connector: &str, revision: &str) -> Definition {
    Definition {
        source: Source::Command {
            argv: vec!["/bin/true".to_owned()],
            directory: None,
            requirements: None,
        },
        ..definition(connector, revision)
    }
}

#[test]
fn an_engine_that_is_away_holds_up_no_process() {
    let away = || Listing::failed(Place::Containers, "no engine");
    // it was listed once, so that what is not remembered there is not there
    let mut world = World::new(vec![], vec![]);
    world.plan();
    world.listing = away();
    world.wanted.definitions = vec![command("c", "1")];
    expect(&world.next(), State::Pulling, Some(pull("1")));
    world.record(&pull("1"), Ok(()));
    expect(&world.next(), State::Starting, Some(create("1")));
    let mut container = World::new(vec![], vec![]);
    container.plan();
    container.listing = away();
    container.wanted.definitions = vec![definition("c", "1")];
    expect(&container.next(), State::Unreachable, None);
}

#[test]
fn where_instances_were_last_seen_is_waited_for_and_without_memory_everything_is() {
    let mut moved = World::new(
        vec![definition("c", "1")],
        vec![instance("1", Phase::Running)],
    );
    moved.next();
    moved.listing = Listing::failed(Place::Containers, "no engine");
    moved.wanted.definitions = vec![command("c", "2")];
    expect(&moved.next(), State::Unreachable, None);
    let mut forgotten = World::new(vec![command("c", "1")], vec![]);
    forgotten.listing = Listing::failed(Place::Containers, "no engine");
    expect(&forgotten.next(), State::Unreachable, None);
}

#[test]
fn silence_is_only_concluded_up_to_when_the_platform_was_asked() {
    let mut world = World::new(
        vec![definition("c", "1")],
        vec![instance("1", Phase::Running)],
    )
    .heard(NOW);
    let decision = world.next();
    let sight = world.sight.clone();
    world.now = decision.again_at.unwrap() + 1_000_000;
    let (plan, _) = decide(
        &Input {
            wanted: &world.wanted,
            listing: &world.listing,
            sight: sight.as_ref(),
            approved: &world.approved,
            policy: Policy::default(),
            now: world.now,
        },
        &world.memory,
    );
    expect(&plan.decisions[0], State::Running, None);
}

#[test]
fn what_it_said_last_is_part_of_why_it_ended() {
    let mut world = World::new(
        vec![definition("c", "1")],
        vec![instance("1", Phase::Running)],
    );
    world.next();
    let mut ended = instance("1", EXITED);
    ended.said = Some("ValueError: no key".to_owned());
    world.listing.instances = vec![ended];
    let decision = world.next();
    assert!(
        decision.reason.contains("ValueError: no key"),
        "{}",
        decision.reason
    );
}

#[test]
fn a_definition_with_a_fault_is_not_deployed_and_says_why() {
    let mut faulty = definition("c", "1");
    faulty.fault = Some("this composer does not run it (composer.images)".to_owned());
    let mut world = World::new(vec![faulty], vec![]);
    let decision = world.next();
    expect(&decision, State::Failed, None);
    assert!(
        decision.reason.contains("composer.images"),
        "{}",
        decision.reason
    );
}

#[test]
fn what_the_platform_does_not_list_is_left_as_it_is() {
    let mut world = World::new(vec![], vec![instance("1", Phase::Running)]);
    expect(&world.next(), State::Running, None);
}

#[test]
fn a_tombstone_stops_and_then_removes() {
    let mut world = World::new(vec![], vec![instance("1", Phase::Running)]);
    world.wanted.tombstones.insert("c".to_owned());
    expect(&world.next(), State::Stopping, Some(stop("1")));
    world.listing.instances = vec![instance("1", EXITED)];
    expect(&world.next(), State::Stopping, Some(remove("1")));
}

#[test]
fn a_definition_outweighs_a_tombstone() {
    let mut world = World::new(
        vec![definition("c", "1")],
        vec![instance("1", Phase::Running)],
    );
    world.wanted.tombstones.insert("c".to_owned());
    assert_eq!(world.next().action, None);
}

#[test]
fn many_deletions_at_once_or_one_after_the_other_wait_for_an_operator() {
    let named = |n: usize| Instance {
        connector: format!("c{n}"),
        handle: format!("c{n}-1"),
        ..instance("1", Phase::Running)
    };
    let mut world = World::new(vec![], (0..5).map(named).collect());
    world.wanted.tombstones = (0..5).map(|n| format!("c{n}")).collect();
    let plan = world.plan();
    assert!(plan.decisions.iter().all(|d| d.action.is_none()));
    assert!(plan.refusal.unwrap().contains("c0, c1, c2, c3, c4"));
    // three are within bounds, and two more within the same minutes are not
    world.wanted.tombstones = (0..3).map(|n| format!("c{n}")).collect();
    let plan = world.plan();
    assert_eq!(plan.refusal, None);
    assert_eq!(
        plan.decisions.iter().filter(|d| d.action.is_some()).count(),
        3
    );
    world.wanted.tombstones = (0..5).map(|n| format!("c{n}")).collect();
    world.now += 60_000;
    let plan = world.plan();
    assert!(plan.refusal.is_some());
    assert_eq!(
        plan.decisions.iter().filter(|d| d.action.is_some()).count(),
        3
    );
    world.approved = (3..5).map(|n| format!("c{n}")).collect();
    let plan = world.plan();
    assert_eq!(plan.refusal, None);
    assert_eq!(
        plan.decisions.iter().filter(|d| d.action.is_some()).count(),
        5
    );
}

#[test]
fn two_definitions_of_one_id_change_nothing() {
    let mut world = World::new(
        vec![definition("c", "1"), definition("c", "2")],
        vec![instance("1", Phase::Running)],
    );
    expect(&world.next(), State::Failed, None);
}

#[test]
fn a_broken_instance_is_made_anew() {
    let mut world = World::new(
        vec![definition("c", "1")],
        vec![instance(
            "1",
            Phase::Broken("its files are gone".to_owned()),
        )],
    );
    expect(&world.next(), State::Failed, Some(remove("1")));
}

#[test]
fn a_stop_that_fails_is_tried_again_later() {
    let mut wanted = definition("c", "1");
    wanted.requested = Requested::Stopped;
    let mut world = World::new(vec![wanted], vec![instance("1", Phase::Running)]);
    world.next();
    world.record(&stop("1"), Err("the engine is away".to_owned()));
    let decision = world.next();
    expect(&decision, State::Stopping, None);
    assert!(decision.reason.contains("the engine is away"));
    world.now = decision.again_at.unwrap();
    expect(&world.next(), State::Stopping, Some(stop("1")));
}

#[test]
fn every_state_has_a_word_that_json_uses_too() {
    for state in State::ALL {
        let json = serde_json::to_value(state).unwrap();
        assert_eq!(json, state.as_str());
    }
}

#[test]
fn a_secret_does_not_print() {
    let shown = format!("{:?}", EnvVar::secret("API_KEY", "hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
}
