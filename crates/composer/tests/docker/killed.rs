//! A composer that is killed before or after every single deed, with a real engine.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    Containers, containers,
    contract::{Bench, FOR_EVER},
    engine::image,
    world::KEY,
};

/// The example, which cargo builds together with the tests.
fn host() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join("engine_host")
}

fn run(bench: &Containers, directory: &Path, image: &str, work: &Value, kill_at: u64) -> bool {
    std::fs::write(directory.join("work.json"), work.to_string()).unwrap();
    let status = Command::new(host())
        .arg(directory)
        .arg(kill_at.to_string())
        .arg(&bench.socket)
        .arg(image)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(matches!(status.code(), Some(0 | 9)), "{status:?}");
    status.success()
}

#[tokio::test]
async fn a_composer_that_is_killed_at_each_step_leaves_the_next_one_nothing_to_repair() {
    let Some(mut bench) = containers().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let key = directory.join("key.pem");
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(directory.join("composer"), &bench.composer).unwrap();
    let image = image(&bench, "ever", FOR_EVER);
    let orchestrator = bench.open().await;
    let wish =
        |hash: &str, running: bool| json!([[{"id": "a", "hash": hash, "running": running}], []]);
    let stages = [
        wish("1", true),
        wish("2", true),
        wish("2", false),
        json!([[], ["a"]]),
    ];
    let mut deaths = 0;
    for (number, work) in stages.iter().enumerate() {
        for kill_at in 1.. {
            let done = run(&bench, directory, &image, work, kill_at);
            let mut alive: BTreeMap<String, usize> = BTreeMap::new();
            for instance in orchestrator.list().await.unwrap().instances {
                *alive.entry(instance.connector.clone()).or_default() +=
                    usize::from(instance.is_live());
            }
            assert!(alive.values().all(|live| *live <= 1), "{alive:?}");
            if done {
                let expected: &[(&str, usize)] = match number {
                    0 | 1 => &[("a", 1)],
                    2 => &[("a", 0)],
                    _ => &[],
                };
                let alive: Vec<(&str, usize)> = alive
                    .iter()
                    .map(|(id, live)| (id.as_str(), *live))
                    .collect();
                assert_eq!(alive, expected, "stage {number}");
                break;
            }
            deaths += 1;
            assert!(kill_at < 40, "stage {number} never comes to an end");
        }
    }
    assert!(deaths >= 10, "{deaths} deaths only");
}
