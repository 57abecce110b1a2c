//! What happens every day: connectors come, change, stop and go, and the platform is told at once.

use std::{collections::BTreeSet, time::Duration};

use ferrocti_catalog::{Entry, PrivateKey, Secret, launch::Launch, seal::Envelope};
use ferrocti_composer::{Current, EngineSettings, Permits, Requested, State};
use ferrocti_model::clock::SeededEntropy;
use tokio::time::Instant;

use super::{
    fake::World,
    world::{Composer, KEY, assigned, settings},
};

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("c{n:03}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_connector_is_started_at_once_and_the_platform_told_at_once() {
    let world = World::new();
    let _composer = world.compose();
    // it idles, and waits for the platform's word
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let asked = Instant::now();
    world.platform.assign(assigned("a", "1"));
    let told = world.platform.until_state("a", State::Starting).await;
    assert_eq!(told.hash, "1");
    world
        .platform
        .until("it lives", |_| !world.engine.live("a").is_empty())
        .await;
    let lived = world.engine.get().alive_at["a"];
    assert!(
        lived - asked < Duration::from_millis(300),
        "{:?}",
        lived - asked
    );
    world
        .platform
        .until("it is told", |p| {
            p.told["a"].current == Some(Current::Started)
        })
        .await;
    assert!(lived.elapsed() < Duration::from_millis(500));
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.platform.hear("a");
    let heard = Instant::now();
    let told = world.platform.until_state("a", State::Running).await;
    assert!(heard.elapsed() < Duration::from_millis(500));
    assert_eq!(
        (told.current, told.rejected),
        (Some(Current::Started), None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_hundred_start_several_at_a_time_and_every_event_does_not_cost_a_listing() {
    let world = World::new();
    let _composer = world.compose();
    let began = Instant::now();
    world.platform.change(|platform| {
        for id in ids(100) {
            platform.connectors.insert(id.clone(), assigned(&id, "1"));
        }
    });
    let _pings = world.ping(ids(100));
    world
        .platform
        .until("all live", |_| {
            ids(100).iter().all(|id| !world.engine.live(id).is_empty())
        })
        .await;
    let engine = world.engine.get();
    assert_eq!(engine.most_starting, 8);
    // 100 × 80 ms of making and starting, eight at a time
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let most = began.elapsed().as_millis() / 20 + 5;
    assert!(engine.lists as u128 <= most, "{} > {most}", engine.lists);
    let reports = world.platform.get().reports.len() as u128;
    assert!(
        reports <= began.elapsed().as_millis() / 200 + 2,
        "{reports}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_do_not_end_when_they_are_asked_stop_side_by_side() {
    let world = World::new();
    let _composer = world.compose();
    world.engine.get().stop = Duration::from_secs(10);
    world.platform.change(|platform| {
        for id in ids(100) {
            platform.connectors.insert(id.clone(), assigned(&id, "1"));
        }
    });
    let live = || {
        ids(100)
            .iter()
            .filter(|id| !world.engine.live(id).is_empty())
            .count()
    };
    world.platform.until("all live", |_| live() == 100).await;
    let began = Instant::now();
    world.platform.change(|platform| {
        for assigned in platform.connectors.values_mut() {
            assigned.requested = Requested::Stopped;
        }
    });
    world
        .platform
        .until("all are stopped", |platform| {
            platform
                .told
                .values()
                .all(|told| told.state == State::Stopped)
        })
        .await;
    assert_eq!(live(), 0);
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn figures_and_logs_of_all_arrive_and_idle_costs_less_than_a_request_a_second() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.change(|platform| {
        for id in ids(100) {
            platform.connectors.insert(id.clone(), assigned(&id, "1"));
        }
    });
    let _pings = world.ping(ids(100));
    let live = || {
        ids(100)
            .iter()
            .filter(|id| !world.engine.live(id).is_empty())
            .count()
    };
    world.platform.until("all live", |_| live() == 100).await;
    let write = |line: &str| {
        let mut engine = world.engine.get();
        let handles: Vec<String> = engine.instances.iter().map(|i| i.handle.clone()).collect();
        for handle in handles {
            engine.logs.entry(handle).or_default().push(line.to_owned());
        }
    };
    write("first");
    tokio::time::sleep(Duration::from_secs(300)).await;
    world.platform.get().reports.clear();
    write("second");
    tokio::time::sleep(Duration::from_secs(31)).await;
    {
        let platform = world.platform.get();
        let told = platform.reports.iter().flat_map(|(_, r)| &r.connectors);
        let healthy: BTreeSet<&str> = told
            .filter(|told| told.health.is_some_and(|h| h.memory == Some(5_000_000)))
            .map(|told| told.id.as_str())
            .collect();
        assert_eq!(healthy.len(), 100);
        for id in ids(100) {
            assert_eq!(platform.lines[&id], ["first", "second"], "{id}");
        }
    }
    let before = world.platform.get().questions;
    let lists = world.engine.get().lists;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let questions = world.platform.get().questions - before;
    assert!(questions < 120, "{questions} in ten minutes");
    let lists = world.engine.get().lists - lists;
    assert!(lists < 30, "{lists} in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_replaces_and_what_it_replaced_goes_when_it_is_heard_of() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    let old = world.engine.live("a").remove(0);
    world.platform.assign(assigned("a", "2"));
    world
        .platform
        .until("the new one lives", |_| {
            world
                .engine
                .live("a")
                .iter()
                .any(|i| i.handle != old.handle)
        })
        .await;
    assert_eq!(world.engine.get().instances.len(), 2, "the old one is kept");
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.platform.hear("a");
    world.platform.until_state("a", State::Running).await;
    world
        .platform
        .until("the old one is gone", |_| {
            world.engine.get().instances.len() == 1
        })
        .await;
    assert_eq!(world.engine.get().twice, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_ends_is_told_as_given_up_and_the_platform_takes_the_old_one_back() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.runs("a").await;
    let old = world.engine.live("a").remove(0);
    world.engine.get().die.insert("example/a:2".to_owned());
    world.platform.change(|platform| {
        let before = platform
            .connectors
            .insert("a".to_owned(), assigned("a", "2"));
        platform.before.insert("a".to_owned(), before.unwrap());
    });
    world
        .platform
        .until("it is given up", |p| {
            p.reports
                .iter()
                .flat_map(|(_, r)| &r.connectors)
                .any(|told| {
                    told.rejected.as_deref() == Some("2") && told.reason.contains("ended by itself")
                })
        })
        .await;
    world
        .platform
        .until("the old one runs as defined", |p| {
            let told = &p.told["a"];
            told.hash == "1" && told.rejected.is_none() && told.current == Some(Current::Started)
        })
        .await;
    assert_eq!(world.engine.live("a")[0].handle, old.handle);
    assert_eq!(world.engine.get().twice, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn secrets_are_opened_and_the_environment_is_whole() {
    let world = World::new();
    let _composer = world.compose();
    let key = PrivateKey::from_pem(KEY).unwrap();
    let seal = |text: &str| {
        let entropy = SeededEntropy::new(1);
        key.public()
            .seal(&Secret::from(text), Envelope::V2, &entropy)
            .unwrap()
    };
    let mut connector = assigned("a", "1");
    connector.configuration.extend([
        Entry::sealed("OPENCTI_TOKEN", seal("token-of-a")),
        Entry::sealed("API_KEY", seal("hunter2")),
    ]);
    connector
        .runtime
        .environment
        .insert("EXTRA".to_owned(), "yes".to_owned());
    world.platform.assign(connector);
    world.runs("a").await;
    let handle = world.engine.live("a").remove(0).handle;
    let environment = world.engine.get().environments[&handle].clone();
    for (key, value) in [
        ("CONNECTOR_ID", "a"),
        ("OPENCTI_TOKEN", "token-of-a"),
        ("API_KEY", "hunter2"),
        ("EXTRA", "yes"),
        ("OPENCTI_URL", "http://platform:8080"),
        ("OPENCTI_CONFIG_HASH", "1"),
    ] {
        let found = environment.iter().find(|(k, _)| k == key);
        assert_eq!(found.map(|(_, v)| v.as_str()), Some(value), "{key}");
    }
    let registration = world.platform.get().registrations[0].clone();
    assert_eq!(registration.public_key, key.public().to_pem().unwrap());
    assert_eq!(registration.version, "1.2.3");
    // what the platform is told of a crash and of its log holds none of them
    {
        let mut engine = world.engine.get();
        let lines = engine.logs.entry(handle).or_default();
        lines
            .push(r#"{"level": "ERROR", "message": "401 for token-of-a with hunter2"}"#.to_owned());
    }
    world.engine.die("a");
    world
        .platform
        .until("its last words are told", |p| {
            p.told["a"].reason.contains("401 for *** with ***")
        })
        .await;
    world
        .platform
        .until("its log is told", |p| p.lines.contains_key("a"))
        .await;
    let lines = world.platform.get().lines["a"].concat();
    assert!(
        !lines.contains("token-of-a") && !lines.contains("hunter2"),
        "{lines}"
    );
}

#[tokio::test(start_paused = true)]
async fn containers_are_told_an_address_of_their_own_or_why_there_is_none() {
    let url_of = |world: &World, id: &str| {
        let handle = world.engine.live(id).remove(0).handle;
        let environment = world.engine.get().environments[&handle].clone();
        let found = environment.into_iter().find(|(k, _)| k == "OPENCTI_URL");
        found.unwrap().1
    };
    let beside_the_host = |id: &str| {
        let mut connector = assigned(id, "1");
        connector.runtime.networks = vec!["host".to_owned()];
        connector
    };
    for container_url in [
        Ok("http://host:8080".to_owned()),
        Err("set host".to_owned()),
    ] {
        let world = World::new();
        let settings = EngineSettings {
            container_url: container_url.clone(),
            ..settings(world.directory.path())
        };
        let engine = world.engine.clone();
        let _composer = Composer::start_with(settings, &world.platform, engine, &world.time);
        world.platform.assign(assigned("a", "1"));
        world.platform.assign(beside_the_host("b"));
        world.runs("b").await;
        assert_eq!(url_of(&world, "b"), "http://platform:8080");
        match container_url {
            Ok(url) => {
                world.runs("a").await;
                assert_eq!(url_of(&world, "a"), url);
            }
            Err(why) => {
                let told = world.platform.until_state("a", State::Failed).await;
                assert!(told.reason.contains(&why), "{}", told.reason);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_composer_must_not_do_is_refused_before_anything_is_fetched() {
    let world = World::new();
    let mut settings = settings(world.directory.path());
    settings.permits = Permits {
        images: vec!["opencti/".to_owned()],
        ..Permits::default()
    };
    let engine = world.engine.clone();
    let _composer = Composer::start_with(settings, &world.platform, engine, &world.time);
    world.platform.assign(assigned("a", "1"));
    let mut program = assigned("b", "1");
    program.launch = Launch::Command {
        command: vec!["/bin/sh".to_owned()],
        working_directory: None,
        requirements: None,
    };
    world.platform.assign(program);
    let told = world.platform.until_state("a", State::Failed).await;
    assert!(told.reason.contains("composer.images"), "{}", told.reason);
    let told = world.platform.until_state("b", State::Failed).await;
    assert!(told.reason.contains("composer.commands"), "{}", told.reason);
    assert_eq!(world.engine.get().instances, []);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_goes_and_the_platform_is_told_when_nothing_is_left() {
    let world = World::new();
    let _composer = world.compose();
    world.platform.assign(assigned("a", "1"));
    world.platform.assign(assigned("b", "1"));
    world.runs("a").await;
    world.platform.change(|platform| {
        platform.connectors.remove("a");
        platform.tombstones.insert("a".to_owned());
        // one that was never started here
        platform.tombstones.insert("never".to_owned());
    });
    world
        .platform
        .until("both are told", |p| p.removed.len() == 2)
        .await;
    assert!(world.engine.live("a").is_empty());
    let left = world.engine.get();
    assert!(left.instances.iter().all(|i| i.connector == "b"));
}
