//! What goes wrong: the platform, the engine, the clock, the disk, the key. Each with the state and the words that an operator sees.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use ferrocti_catalog::{Entry, launch::Launch};
use ferrocti_composer::{
    Current, EngineSettings, Orchestrator, Place, ProcessOrchestrator, ProcessSettings, Requested,
    Routed, State, platform::Assigned,
};
use ferrocti_model::clock::Clock;

use super::{
    fake::World,
    world::{Composer, Platforms, assigned, settings},
};

#[tokio::test(start_paused = true)]
async fn a_platform_that_is_away_for_an_hour_loses_nothing() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.platform.assign(assigned("b", "1"));
    world.runs("a").await;
    world.runs("b").await;
    // a new definition that nobody has heard of when the platform goes away
    world.platform.assign(assigned("b", "2"));
    world
        .platform
        .until("the new one lives", |p| {
            p.told["b"].hash == "2" && p.told["b"].state == State::Starting
        })
        .await;
    world.platform.change(|platform| platform.away = true);
    let before = world.platform.get().questions;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    world.engine.die("a");
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let questions = world.platform.get().questions - before;
    assert!(questions < 150, "{questions} while it was away");
    assert_eq!(
        world.engine.live("a").len(),
        1,
        "what ended is started again"
    );
    assert_eq!(world.engine.live("b").len(), 1);
    world.platform.change(|platform| platform.away = false);
    // it had no chance to be heard of while the platform was away: it is not given up for that
    let _pings = world.ping(vec!["a".to_owned(), "b".to_owned()]);
    world
        .platform
        .until("both run", |p| {
            p.told.values().all(|told| told.state == State::Running)
        })
        .await;
    let platform = world.platform.get();
    let told = platform
        .reports
        .iter()
        .flat_map(|(_, report)| &report.connectors);
    for told in told {
        assert_eq!(told.rejected, None);
        assert_ne!(told.state, State::Degraded, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_makes_nobody_silent() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    let _pings = world.ping(vec!["a".to_owned()]);
    for jump in [3_600_000, -7_200_000, 86_400_000, -90_000_000] {
        world.time.jump(jump);
        tokio::time::sleep(Duration::from_secs(400)).await;
    }
    let platform = world.platform.get();
    let told = platform
        .reports
        .iter()
        .flat_map(|(_, report)| &report.connectors);
    let bad = told.filter(|told| told.state == State::Degraded || told.rejected.is_some());
    assert_eq!(bad.count(), 0);
    assert_eq!(platform.told["a"].state, State::Running);
    assert_eq!(world.engine.get().instances.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_and_so_is_its_end() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    let told = world.platform.until_state("a", State::Degraded).await;
    assert!(told.reason.contains("has not heard"), "{}", told.reason);
    world.platform.hear("a");
    world.platform.until_state("a", State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_or_shorter_listing_of_the_platform_removes_nothing() {
    let world = World::new();
    let _composer = world.compose();
    for id in ["a", "b", "c"] {
        world.platform.assign(assigned(id, "1"));
        world.runs(id).await;
    }
    let all = world.platform.get().connectors.clone();
    world.platform.change(|platform| {
        platform.connectors.remove("a");
    });
    tokio::time::sleep(Duration::from_secs(600)).await;
    world
        .platform
        .change(|platform| platform.connectors.clear());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    for id in ["a", "b", "c"] {
        assert_eq!(world.engine.live(id).len(), 1, "{id}");
    }
    world.platform.change(|platform| platform.connectors = all);
    world
        .platform
        .until("all are there again", |p| p.told.len() == 3)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_platform_without_tombstones_is_asked_one_by_one_and_not_while_it_lists_nothing() {
    let world = World::new();
    let _composer = world.compose();
    for id in ["a", "b"] {
        world.platform.assign(assigned(id, "1"));
        world.runs(id).await;
    }
    // it has forgotten everything, as one that is being restored
    let all = world.platform.get().connectors.clone();
    world.platform.change(|platform| {
        platform.connectors.clear();
        platform.nowhere = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    });
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!(world.engine.get().instances.len(), 2);
    world.platform.change(|platform| {
        platform.connectors = all;
        platform.connectors.remove("a");
        platform.nowhere.remove("b");
    });
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(world.engine.live("a").is_empty());
    assert_eq!(world.engine.live("b").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_deletions_at_once_wait_for_an_operator() {
    let world = World::new();
    let _composer = world.compose();
    let ids = ["a", "b", "c", "d", "e"].map(str::to_owned);
    for id in &ids {
        world.platform.assign(assigned(id, "1"));
        world.runs(id).await;
    }
    world.platform.change(|platform| {
        platform.connectors.clear();
        platform.tombstones = ids.iter().cloned().collect();
    });
    world
        .platform
        .until("it is told why", |platform| {
            let (_, report) = platform.reports.last().unwrap();
            let blocked = report.blocked.as_deref().unwrap_or_default();
            report.held.len() == 5 && blocked.contains("confirmation")
        })
        .await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.engine.get().instances.len(), 5);
    world
        .platform
        .change(|platform| platform.approved = ids.iter().cloned().collect());
    world
        .platform
        .until("all are gone", |platform| platform.removed.len() == 5)
        .await;
    assert_eq!(world.engine.get().instances, []);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_fetched_or_never_arrives_holds_up_nobody() {
    let world = World::new();
    let _composer = world.compose();
    {
        let mut engine = world.engine.get();
        let why = "the image is nowhere; correct its name".to_owned();
        engine
            .unfetchable
            .insert("example/bad:".to_owned(), Some(why));
        engine.unfetchable.insert("example/hangs:".to_owned(), None);
    }
    for id in ["bad", "hangs", "good"] {
        world.platform.assign(assigned(id, "1"));
    }
    world.runs("good").await;
    let told = world.platform.until_state("bad", State::Failed).await;
    assert!(told.reason.contains("nowhere"), "{}", told.reason);
    assert_eq!(told.current, None);
    assert_eq!(world.platform.get().told["hangs"].state, State::Pulling);
    // it is fetched as soon as that can be
    world.engine.get().unfetchable.clear();
    world
        .platform
        .until("it runs", |_| !world.engine.live("bad").is_empty())
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_without_end_keeps_nobody_from_stopping_or_from_another_definition() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    {
        let mut engine = world.engine.get();
        engine.unfetchable.insert("example/a:2".to_owned(), None);
    }
    let fetching = |p: &Platforms| p.told["a"].state == State::Pulling;
    world.platform.assign(assigned("a", "2"));
    world.platform.until("it is fetched", fetching).await;
    world.platform.change(|platform| {
        let wanted = platform.connectors.get_mut("a").unwrap();
        wanted.requested = Requested::Stopped;
    });
    world.platform.until_state("a", State::Stopped).await;
    assert!(world.engine.live("a").is_empty());
    world.platform.assign(assigned("a", "2"));
    world.platform.until("it is fetched again", fetching).await;
    world.platform.assign(assigned("a", "3"));
    world
        .platform
        .until("the next one runs", |_| !world.engine.live("a").is_empty())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_waits_longer_each_time_and_shows_the_log() {
    let world = World::new();
    let _composer = world.compose();
    world.engine.get().die.insert("example/a:".to_owned());
    world.platform.assign(assigned("a", "1"));
    world
        .platform
        .until("it was made", |_| !world.engine.get().instances.is_empty())
        .await;
    {
        let mut engine = world.engine.get();
        let handle = engine.instances[0].handle.clone();
        let lines = ["Traceback", "ValueError: no such feed", ""];
        engine
            .logs
            .insert(handle, lines.map(str::to_owned).to_vec());
    }
    let told = world.platform.until_state("a", State::CrashLooping).await;
    assert!(
        told.reason.contains("ValueError: no such feed"),
        "{}",
        told.reason
    );
    assert_eq!(told.current, Some(Current::Stopped));
    let health = told.health.unwrap();
    assert!(health.crash_looping && health.restarts >= 3, "{health:?}");
    assert_eq!(health.memory, None);
    let before = world.engine.get().lists;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // at most every five minutes by now
    assert!(world.engine.get().lists - before < 200);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_removes_by_hand_is_made_again() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    world.engine.happen(|engine| engine.instances.clear());
    world
        .platform
        .until("it is made again", |_| !world.engine.live("a").is_empty())
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_told_and_nothing_is_concluded() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    world.engine.happen(|engine| {
        engine.away = Some("the engine at /run/x.sock cannot be asked".to_owned());
    });
    let told = world.platform.until_state("a", State::Unreachable).await;
    assert!(told.reason.contains("/run/x.sock"), "{}", told.reason);
    assert_eq!(told.current, None);
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.engine.happen(|engine| engine.away = None);
    world
        .platform
        .until("it is seen again", |p| {
            p.told["a"].current == Some(Current::Started)
        })
        .await;
    assert_eq!(world.engine.get().instances.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_arrive_is_told_again_and_no_line_is_lost_or_doubled() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    let handle = world.engine.live("a").remove(0).handle;
    let mut expected = Vec::new();
    for round in 0..10 {
        world.platform.get().deaf = round % 2 == 0;
        for n in 0..30 {
            let line = format!("{round}-{n}");
            expected.push(line.clone());
            let mut engine = world.engine.get();
            engine.logs.entry(handle.clone()).or_default().push(line);
        }
        tokio::time::sleep(Duration::from_secs(45)).await;
    }
    world
        .platform
        .until("all lines are told", |p| p.lines["a"].len() >= 300)
        .await;
    assert_eq!(world.platform.get().lines["a"], expected);
}

#[tokio::test(start_paused = true)]
async fn a_composer_that_starts_again_goes_on_where_it_was() {
    let world = World::new();
    let composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    let handle = world.engine.live("a").remove(0).handle;
    let write = |line: &str| {
        let mut engine = world.engine.get();
        engine
            .logs
            .entry(handle.clone())
            .or_default()
            .push(line.to_owned());
    };
    write("one");
    world
        .platform
        .until("the line is told", |p| p.lines.contains_key("a"))
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    composer.kill().await;
    write("two");
    let _composer = world.compose();
    world
        .platform
        .until("the next line is told", |p| p.lines["a"].len() > 1)
        .await;
    assert_eq!(world.platform.get().lines["a"], ["one", "two"]);
    assert_eq!(world.engine.live("a")[0].handle, handle);
    assert_eq!(world.engine.get().instances.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_has_forgotten_the_composer_is_told_everything_again() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    world.platform.change(|platform| {
        platform.forgot = true;
        platform.told.clear();
    });
    world.platform.until_state("a", State::Running).await;
    assert_eq!(world.platform.get().registrations.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_opened_stops_the_deployment_and_not_the_old_instance() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    let mut sealed = assigned("a", "2");
    sealed.configuration.push(Entry::sealed("API_KEY", "AgAB"));
    world.platform.assign(sealed);
    let told = world.platform.until_state("a", State::Failed).await;
    assert!(told.reason.contains("API_KEY"), "{}", told.reason);
    assert_eq!(told.current, Some(Current::Started));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.engine.get().instances.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_others_may_read_is_refused_with_words_and_taken_when_it_is_mended() {
    let world = World::new();
    let key = world.directory.path().join("key.pem");
    let composer = world.compose();
    composer.kill().await;
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let _composer = world.compose();
    let mut sealed = assigned("a", "1");
    sealed.configuration.push(Entry::sealed("API_KEY", "AgAB"));
    world.platform.assign(sealed);
    world.platform.assign(assigned("b", "1"));
    let told = world.platform.until_state("a", State::Failed).await;
    assert!(told.reason.contains("chmod 600"), "{}", told.reason);
    // what has no secret needs no key
    world.runs("b").await;
    world
        .platform
        .until("the composer's trouble is told", |p| {
            let blocked = p.reports.iter().find_map(|(_, r)| r.blocked.clone());
            blocked.is_some_and(|why| why.contains("chmod 600"))
        })
        .await;
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    world
        .platform
        .until("it is taken", |p| {
            p.told["a"].reason.contains("cut or sealed")
        })
        .await;
    assert_eq!(world.platform.get().registrations.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_memory_that_cannot_be_written_or_read_stops_nothing() {
    let world = World::new();
    // as a full disk: no file can be put there
    std::fs::create_dir(world.directory.path().join("memory.json")).unwrap();
    let composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    composer.kill().await;
    let _composer = world.compose();
    world.platform.assign(assigned("b", "1"));
    world.runs("b").await;
    assert_eq!(world.engine.live("a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_nobody_understands_is_told_and_holds_up_nobody() {
    let world = World::new();
    let _composer = world.compose();
    let mut broken = assigned("a", "1");
    broken.fault = Some("its runtime cannot be read: memry is no option".to_owned());
    world.platform.assign(broken);
    world.platform.assign(assigned("b", "1"));
    world.runs("b").await;
    let told = world.platform.until_state("a", State::Failed).await;
    assert!(told.reason.contains("memry"), "{}", told.reason);
}

/// A composer of processes and containers, with the engine of containers being the test's own.
fn both(world: &World) -> Arc<Routed> {
    let mark = world.directory.path().file_name().unwrap();
    let processes = ProcessOrchestrator::open(ProcessSettings {
        directory: world.directory.path().join("processes"),
        composer: format!("engine-test-{}", mark.to_string_lossy().replace('.', "")),
        log_bytes: 1 << 20,
        clock: world.time.clone(),
    });
    let parts: [(Place, Arc<dyn Orchestrator>); 2] = [
        (Place::Processes, Arc::new(processes.unwrap())),
        (Place::Containers, world.engine.clone()),
    ];
    Arc::new(Routed::new(parts))
}

fn sleeper(id: &str) -> Assigned {
    let mut program = assigned(id, "1");
    program.launch = Launch::Command {
        command: vec!["/bin/sleep".to_owned(), "600".to_owned()],
        working_directory: None,
        requirements: None,
    };
    program
}

async fn stop_all(routed: &Routed) {
    for instance in routed.list().await.unwrap().instances {
        let stopped = routed.stop(&instance.handle, Duration::from_secs(1));
        stopped.await.unwrap();
    }
}

#[tokio::test]
async fn a_container_engine_that_goes_away_holds_up_no_process() {
    let world = World::real();
    let routed = both(&world);
    let directory = world.directory.path();
    let composer = Composer::start(directory, &world.platform, routed.clone(), &world.time);
    world.platform.assign(assigned("c", "1"));
    world.platform.until_state("c", State::Starting).await;
    world
        .engine
        .happen(|engine| engine.away = Some("no engine here".to_owned()));
    world.platform.assign(sleeper("p"));
    world
        .platform
        .until("the process runs", |p| {
            p.told
                .get("p")
                .is_some_and(|told| told.current == Some(Current::Started))
        })
        .await;
    let told = world.platform.until_state("c", State::Unreachable).await;
    assert!(told.reason.contains("no engine here"), "{}", told.reason);
    composer.kill().await;
    stop_all(&routed).await;
}

#[tokio::test]
async fn a_new_composer_starts_processes_although_it_has_never_seen_its_container_engine() {
    let world = World::real();
    world.engine.get().away = Some("no engine here".to_owned());
    let routed = both(&world);
    // it has no key yet: making one takes a while
    let settings = EngineSettings {
        directory: world.directory.path().join("new"),
        ..settings(world.directory.path())
    };
    let engine = routed.clone();
    let composer = Composer::start_with(settings, &world.platform, engine, &world.time);
    world.platform.get().patient = true;
    world.platform.assign(sleeper("p"));
    world
        .platform
        .until("the process runs", |p| {
            p.told
                .get("p")
                .is_some_and(|told| told.current == Some(Current::Started))
        })
        .await;
    composer.kill().await;
    stop_all(&routed).await;
}

#[tokio::test]
async fn fifty_processes_start_and_stop_side_by_side() {
    let world = World::real();
    let routed = both(&world);
    let directory = world.directory.path();
    let composer = Composer::start(directory, &world.platform, routed.clone(), &world.time);
    world.platform.assign(sleeper("first"));
    world
        .platform
        .until("the first runs", |p| p.told.contains_key("first"))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = Instant::now();
    world.platform.assign(sleeper("one"));
    let started = |p: &Platforms, id: &str| {
        let told = p.told.get(id);
        told.is_some_and(|told| told.current == Some(Current::Started))
    };
    world
        .platform
        .until("it is told", |p| started(p, "one"))
        .await;
    let told = asked.elapsed();
    let listing = routed.list().await.unwrap();
    let one = listing.instances.iter().find(|i| i.connector == "one");
    let age = world.time.now() - one.unwrap().started_at.unwrap();
    let lived = asked.elapsed() - Duration::from_millis(u64::try_from(age).unwrap());
    println!("MEASURED process: request → started {lived:?}, → told {told:?}");
    let ids: Vec<String> = (0..50).map(|n| format!("c{n:02}")).collect();
    let began = Instant::now();
    world.platform.change(|platform| {
        for id in &ids {
            platform.connectors.insert(id.clone(), sleeper(id));
        }
    });
    world
        .platform
        .until("all are told", |p| ids.iter().all(|id| started(p, id)))
        .await;
    println!(
        "MEASURED 50 processes: from nothing to all running and told {:?}",
        began.elapsed()
    );
    let began = Instant::now();
    world.platform.change(|platform| {
        for assigned in platform.connectors.values_mut() {
            assigned.requested = Requested::Stopped;
        }
    });
    world
        .platform
        .until("all are stopped", |p| {
            p.told.values().all(|told| told.state == State::Stopped)
        })
        .await;
    println!("MEASURED 50 processes: all stopped {:?}", began.elapsed());
    let listing = routed.list().await.unwrap();
    assert_eq!(listing.instances.len(), 52);
    assert!(listing.instances.iter().all(|i| !i.is_live()));
    composer.kill().await;
}
