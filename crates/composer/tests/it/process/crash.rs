//! A composer is killed at random moments; nothing that it started may be unknown to the next one, and nothing may run twice.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ferrocti_composer::{Orchestrator, ProcessOrchestrator, ProcessSettings};

use super::{Wall, kill_marked, marked};

const ROUNDS: u64 = 15;
const COMPOSER: &str = "crash-test";

/// An example, which cargo builds together with the tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is missing; run the tests of the whole package, which builds its examples",
        program.display()
    );
    program
}

struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        kill_marked(COMPOSER);
    }
}

#[tokio::test]
async fn a_killed_composer_leaves_nothing_that_the_next_one_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    let _cleanup = Cleanup;
    let mut seen_alive = 0;
    for round in 0..ROUNDS {
        let mut composer = Command::new(example("process_host"))
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(composer.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        // any moment will do: the fault is injected here, nothing is waited for
        std::thread::sleep(Duration::from_millis(20 + round * 37 % 200));
        composer.kill().unwrap();
        composer.wait().unwrap();

        let orchestrator = ProcessOrchestrator::open(ProcessSettings {
            directory: directory.path().to_path_buf(),
            composer: COMPOSER.to_owned(),
            log_bytes: 1 << 20,
            clock: Arc::new(Wall),
        })
        .unwrap();
        let listing = orchestrator.list().await.unwrap();
        let mut alive: BTreeMap<String, usize> = BTreeMap::new();
        for instance in listing.instances.iter().filter(|i| i.is_live()) {
            *alive.entry(instance.connector.clone()).or_default() += 1;
            seen_alive += 1;
        }
        assert!(alive.values().all(|n| *n == 1), "{alive:?}");
        for pid in marked(&format!("FERROCTI_INSTANCE={COMPOSER}/")) {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let mark = environment
                .split('\0')
                .find_map(|e| e.strip_prefix("FERROCTI_INSTANCE="));
            let Some(handle) = mark.and_then(|m| m.split('/').nth(1)) else {
                continue;
            };
            let known = listing.instances.iter().find(|i| i.handle == handle);
            assert!(known.is_some(), "{handle} is unknown: {listing:?}");
        }
    }
    assert!(
        seen_alive > 0,
        "no composer got far enough to start anything"
    );
    let orchestrator = ProcessOrchestrator::open(ProcessSettings {
        directory: directory.path().to_path_buf(),
        composer: COMPOSER.to_owned(),
        log_bytes: 1 << 20,
        clock: Arc::new(Wall),
    })
    .unwrap();
    for instance in orchestrator.list().await.unwrap().instances {
        orchestrator
            .stop(&instance.handle, Duration::from_millis(300))
            .await
            .unwrap();
    }
    assert!(marked(&format!("FERROCTI_INSTANCE={COMPOSER}/")).is_empty());
}
