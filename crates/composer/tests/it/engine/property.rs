//! Whatever happens, in whatever order, with composers that are killed at any moment: never two instances of a connector are even tried, and
//! in the end what was asked for runs.

use std::time::Duration;

use ferrocti_composer::{Phase, Requested, State};
use proptest::prelude::*;

use super::{fake::World, world::assigned};

const CONNECTORS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Define(usize, u8),
    Request(usize, bool),
    Die(usize),
    Vanish(usize),
    Hear(usize),
    EngineAway(bool),
    PlatformAway(bool),
    Clock(i64),
    Kill { forget: bool },
    Delete(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..3_000u64).prop_map(Event::Pass),
        2 => (0..400_000u64).prop_map(Event::Pass),
        4 => (0..3usize, 0..4u8).prop_map(|(n, hash)| Event::Define(n, hash)),
        2 => (0..3usize, any::<bool>()).prop_map(|(n, on)| Event::Request(n, on)),
        2 => (0..3usize).prop_map(Event::Die),
        1 => (0..3usize).prop_map(Event::Vanish),
        4 => (0..3usize).prop_map(Event::Hear),
        1 => any::<bool>().prop_map(Event::EngineAway),
        1 => any::<bool>().prop_map(Event::PlatformAway),
        1 => (-4_000_000..4_000_000i64).prop_map(Event::Clock),
        2 => any::<bool>().prop_map(|forget| Event::Kill { forget }),
        1 => (0..3usize).prop_map(Event::Delete),
    ]
}

async fn story(events: Vec<Event>) {
    let world = World::new();
    // what has this hash ends as soon as it is started
    world.engine.get().die.insert(":3".to_owned());
    world.engine.get().stop = Duration::from_millis(700);
    let mut composer = world.compose();
    for event in events {
        match event {
            Event::Pass(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Event::Define(n, hash) => {
                let id = CONNECTORS[n];
                world.platform.get().tombstones.remove(id);
                world.platform.assign(assigned(id, &hash.to_string()));
            }
            Event::Request(n, on) => world.platform.change(|platform| {
                if let Some(assigned) = platform.connectors.get_mut(CONNECTORS[n]) {
                    assigned.requested = if on {
                        Requested::Running
                    } else {
                        Requested::Stopped
                    };
                }
            }),
            Event::Die(n) => world.engine.die(CONNECTORS[n]),
            Event::Vanish(n) => world.engine.happen(|engine| {
                let of = engine
                    .instances
                    .iter()
                    .position(|i| i.connector == CONNECTORS[n]);
                if let Some(at) = of {
                    engine.instances.remove(at);
                }
            }),
            Event::Hear(n) => {
                if !world.engine.live(CONNECTORS[n]).is_empty() {
                    world.platform.hear(CONNECTORS[n]);
                }
            }
            Event::EngineAway(away) => world
                .engine
                .happen(|engine| engine.away = away.then(|| "the engine is away".to_owned())),
            Event::PlatformAway(away) => world.platform.change(|p| p.away = away),
            Event::Clock(by) => world.time.jump(by),
            Event::Kill { forget } => {
                composer.kill().await;
                if forget {
                    let _ = std::fs::remove_file(world.directory.path().join("memory.json"));
                }
                composer = world.compose();
            }
            Event::Delete(n) => world.platform.change(|platform| {
                if platform.connectors.remove(CONNECTORS[n]).is_some() {
                    platform.tombstones.insert(CONNECTORS[n].to_owned());
                }
            }),
        }
        assert!(world.engine.get().twice.is_empty());
    }
    world.engine.happen(|engine| engine.away = None);
    world.platform.change(|platform| platform.away = false);
    let pings = world.ping(CONNECTORS.map(str::to_owned).to_vec());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    pings.abort();
    assert!(world.engine.get().twice.is_empty());
    let platform = world.platform.get();
    for id in CONNECTORS {
        let live = world.engine.live(id);
        let Some(wanted) = platform.connectors.get(id) else {
            assert!(live.is_empty(), "{id} is deleted");
            continue;
        };
        let told = &platform.told[id];
        assert_eq!(told.hash, wanted.hash);
        match wanted.requested {
            Requested::Stopped => {
                assert!(live.is_empty());
                assert_eq!(told.state, State::Stopped);
            }
            Requested::Running if wanted.hash == "3" => {
                let given_up = told.rejected.as_deref() == Some("3");
                assert_eq!(!live.is_empty(), given_up, "{told:?}");
                let expected = if given_up {
                    State::Degraded
                } else {
                    State::CrashLooping
                };
                assert_eq!(told.state, expected, "{told:?}");
            }
            Requested::Running => {
                assert_eq!(live.len(), 1, "{told:?}");
                assert_eq!(live[0].phase, Phase::Running);
                // what nobody had heard of in time was given up for what was there before
                let expected = match &told.rejected {
                    Some(_) => State::Degraded,
                    None => State::Running,
                };
                assert_eq!(told.state, expected, "{told:?}");
            }
        }
    }
}

fn tell(events: Vec<Event>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(story(events));
}

#[test]
fn a_clock_that_is_set_back_hides_no_crash_loop() {
    tell(vec![
        Event::Define(0, 0),
        Event::Pass(151),
        Event::Define(0, 0),
        Event::Clock(-3_419_946),
        Event::Define(0, 3),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_story_ends_as_asked_and_never_runs_anything_twice(events in prop::collection::vec(event(), 1..40)) {
        tell(events);
    }
}
