//! A composer that is killed before or after every single deed: the next one finds what there is, runs nothing twice, and gets to the end.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use ferrocti_composer::{Orchestrator, ProcessOrchestrator, ProcessSettings};
use serde_json::{Value, json};

use super::{Wall, crash::example, kill_marked};

const KEY: &str = include_str!("../../../../catalog/tests/vectors/test-key.pem");

struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        kill_marked(&self.0);
    }
}

fn prepare(directory: &Path, composer: &str) {
    let key = directory.join("key.pem");
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(directory.join("composer"), composer).unwrap();
}

/// Runs a composer until everything is as asked, or it dies at the step; whether it got to the end.
fn run(directory: &Path, work: &Value, kill_at: u64) -> bool {
    std::fs::write(directory.join("work.json"), work.to_string()).unwrap();
    let status = Command::new(example("engine_host"))
        .arg(directory)
        .arg(kill_at.to_string())
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(matches!(status.code(), Some(0 | 9)), "{status:?}");
    status.success()
}

/// How many live of each connector, and of which revision.
async fn alive(directory: &Path, composer: &str) -> BTreeMap<String, Vec<String>> {
    let orchestrator = ProcessOrchestrator::open(ProcessSettings {
        directory: directory.join("processes"),
        composer: composer.to_owned(),
        log_bytes: 1 << 20,
        clock: Arc::new(Wall),
    })
    .unwrap();
    let mut alive: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for instance in orchestrator.list().await.unwrap().instances {
        let revisions = alive.entry(instance.connector.clone()).or_default();
        if instance.is_live() {
            revisions.push(instance.revision);
        }
    }
    alive
}

#[tokio::test]
async fn a_composer_that_is_killed_at_each_step_leaves_the_next_one_nothing_to_repair() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let composer = format!("killed-{}", std::process::id());
    prepare(directory, &composer);
    let _cleanup = Cleanup(composer.clone());
    let wish =
        |id: &str, hash: &str, running: bool| json!({"id": id, "hash": hash, "running": running});
    // made; replaced; one stopped; all deleted
    let stages = [
        json!([[wish("a", "1", true), wish("b", "1", true)], []]),
        json!([[wish("a", "2", true), wish("b", "1", true)], []]),
        json!([[wish("a", "2", true), wish("b", "1", false)], []]),
        json!([[], ["a", "b"]]),
    ];
    let mut deaths = 0;
    for (number, work) in stages.iter().enumerate() {
        // each composer gets one step further than the one before it
        for kill_at in 1.. {
            let done = run(directory, work, kill_at);
            for (connector, revisions) in alive(directory, &composer).await {
                assert!(
                    revisions.len() <= 1,
                    "{connector} runs twice: {revisions:?}"
                );
            }
            if done {
                break;
            }
            deaths += 1;
            assert!(kill_at < 60, "stage {number} never comes to an end");
        }
        let alive = alive(directory, &composer).await;
        let live = |id: &str| alive.get(id).map_or(0, Vec::len);
        let expected = [(1, 1), (1, 1), (1, 0), (0, 0)][number];
        assert_eq!(
            (live("a"), live("b")),
            expected,
            "stage {number}: {alive:?}"
        );
    }
    assert!(deaths >= 12, "{deaths} deaths only");
    assert!(alive(directory, &composer).await.is_empty());
}
