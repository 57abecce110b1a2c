//! Several places behind one orchestrator: it keeps the same contract, and a place that is away or hangs does not hold up the others.

use std::{sync::Arc, time::Duration};

use ferrocti_composer::{Failure, Options, Orchestrator, Place, Routed, Source};

use crate::{
    contract::{Bench, FOR_EVER, contract_tests, run, script},
    engine::{fake::FakeEngine, world::Time},
    process::{Processes, processes},
};

/// Processes behind a router that has containers too.
struct Behind(Processes);

fn routed(processes: Arc<dyn Orchestrator>) -> (Arc<Routed>, Arc<FakeEngine>) {
    let containers = FakeEngine::new(&Time::real());
    let parts: [(Place, Arc<dyn Orchestrator>); 2] = [
        (Place::Processes, processes),
        (Place::Containers, containers.clone()),
    ];
    (Arc::new(Routed::new(parts)), containers)
}

impl Bench for Behind {
    async fn open(&mut self) -> Arc<dyn Orchestrator> {
        routed(self.0.open().await).0
    }

    async fn other(&mut self) -> Arc<dyn Orchestrator> {
        routed(self.0.other().await).0
    }

    fn shell(&self, arguments: &[&str]) -> Source {
        self.0.shell(arguments)
    }

    fn missing(&self) -> (Source, &'static str) {
        self.0.missing()
    }

    fn options(&self) -> Options {
        self.0.options()
    }

    async fn foreign(&mut self, environment: &[(&str, &str)]) {
        self.0.foreign(environment).await;
    }
}

async fn made() -> Option<Behind> {
    Some(Behind(processes().await))
}

contract_tests!(made);

#[tokio::test]
async fn a_connector_that_is_alive_in_one_place_does_not_start_in_another() {
    let mut bench = processes().await;
    let (routed, containers) = routed(bench.open().await);
    let all: Arc<dyn Orchestrator> = routed.clone();
    let process = run(&all, &script(&bench, "c", "1", FOR_EVER)).await;
    let mut moved = script(&bench, "c", "2", "");
    moved.source = Source::Image {
        reference: "example/c:2".to_owned(),
        command: None,
    };
    for listed in [false, true] {
        if listed {
            assert_eq!(all.list().await.unwrap().instances.len(), 2);
        }
        let container = all.create(&moved).await.unwrap();
        let refused = all.start(&container).await.unwrap_err();
        assert!(matches!(refused, Failure::Refused(_)), "{refused:?}");
        assert!(containers.live("c").is_empty());
    }
    all.stop(&process, Duration::from_secs(1)).await.unwrap();
    all.list().await.unwrap();
    let container = all.create(&moved).await.unwrap();
    all.start(&container).await.unwrap();
    assert_eq!(containers.live("c").len(), 1);
}

#[tokio::test]
async fn what_no_place_can_run_is_refused_with_the_setting_to_change() {
    let mut bench = processes().await;
    let routed = Routed::new([(Place::Processes, bench.open().await)]);
    let mut container = script(&bench, "c", "1", "");
    container.source = Source::Image {
        reference: "example/c:1".to_owned(),
        command: None,
    };
    let refused = routed.prepare(&container).await.unwrap_err();
    assert!(refused.to_string().contains("composer.docker"), "{refused}");
    assert_eq!(routed.kinds(), ["process"]);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_hangs_is_waited_for_once_and_then_hardly_ever() {
    let time = Time::new();
    let (hangs, answers) = (FakeEngine::new(&time), FakeEngine::new(&time));
    hangs.get().hangs = true;
    let parts: [(Place, Arc<dyn Orchestrator>); 2] = [
        (Place::Containers, hangs.clone()),
        (Place::Processes, answers),
    ];
    let routed = Routed::new(parts);
    let began = tokio::time::Instant::now();
    let listing = routed.list().await.unwrap();
    assert_eq!(
        listing.incomplete.keys().collect::<Vec<_>>(),
        [&Place::Containers]
    );
    let once = began.elapsed();
    for _ in 0..5 {
        assert!(!routed.list().await.unwrap().incomplete.is_empty());
    }
    assert!(began.elapsed() - once < Duration::from_secs(2));
    hangs.get().hangs = false;
    assert!(routed.list().await.unwrap().incomplete.is_empty());
}
