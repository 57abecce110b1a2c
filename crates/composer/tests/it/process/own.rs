//! What only an orchestrator of processes has to keep.

use std::{os::unix::fs::MetadataExt, sync::Arc, time::Duration};

use ferrocti_composer::{
    Failure, Limits, LogQuery, Mount, Options, Orchestrator, Phase, ProcessOrchestrator, Restart,
    Source,
};

use super::{marked, processes, until};
use crate::contract::{Bench, FOR_EVER, STUBBORN, find, run, script, wait_for_end, wait_for_line};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn one_directory_has_one_composer() {
    let mut bench = processes().await;
    let _first = bench.open().await;
    let Err(refused) = ProcessOrchestrator::open(bench.settings("one")) else {
        panic!("two composers in one directory");
    };
    assert!(matches!(refused, Failure::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn a_process_whose_number_was_not_noted_is_found_by_its_mark() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let handle = run(&orchestrator, &script(&bench, "c", "1", FOR_EVER)).await;
    drop(orchestrator);
    let path = bench
        .settings("one")
        .directory
        .join(format!("instances/{handle}/run.json"));
    let mut run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(run["process"].is_array());
    run["process"] = serde_json::Value::Null;
    std::fs::write(&path, run.to_string()).unwrap();
    let orchestrator = bench.open().await;
    assert_eq!(
        find(&orchestrator, &handle).await.unwrap().phase,
        Phase::Running
    );
    orchestrator.stop(&handle, SHORT).await.unwrap();
    assert!(!find(&orchestrator, &handle).await.unwrap().is_live());
}

#[tokio::test]
async fn another_process_with_the_number_of_an_ended_one_is_not_taken_for_it() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let handle = run(&orchestrator, &script(&bench, "c", "1", FOR_EVER)).await;
    orchestrator.stop(&handle, SHORT).await.unwrap();
    wait_for_end(&orchestrator, &handle).await;
    drop(orchestrator);
    let path = bench
        .settings("one")
        .directory
        .join(format!("instances/{handle}/run.json"));
    let mut run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // this test itself has the number now, but not the start time
    run["process"] = serde_json::json!([std::process::id(), 1]);
    run["ended"] = serde_json::Value::Null;
    std::fs::write(&path, run.to_string()).unwrap();
    let orchestrator = bench.open().await;
    assert!(!find(&orchestrator, &handle).await.unwrap().is_live());
    orchestrator.stop(&handle, SHORT).await.unwrap();
    orchestrator.remove(&handle).await.unwrap();
}

#[tokio::test]
async fn a_process_whose_directory_was_removed_by_hand_is_listed_and_can_be_stopped() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let handle = run(&orchestrator, &script(&bench, "c/ü", "1", FOR_EVER)).await;
    std::fs::remove_dir_all(
        bench
            .settings("one")
            .directory
            .join("instances")
            .join(&handle),
    )
    .unwrap();
    let orphan = find(&orchestrator, &handle).await.unwrap();
    assert_eq!((orphan.connector.as_str(), orphan.is_live()), ("c/ü", true));
    orchestrator.stop(&handle, SHORT).await.unwrap();
    assert_eq!(find(&orchestrator, &handle).await, None);
}

#[tokio::test]
async fn what_left_the_group_is_stopped_too() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let daemon = format!("setsid sh -c \"{STUBBORN}\" & echo up; wait");
    let handle = run(&orchestrator, &script(&bench, "c", "1", &daemon)).await;
    wait_for_line(&orchestrator, &handle, "up").await;
    let mark = format!("FERROCTI_INSTANCE={}/", bench.settings("one").composer);
    until("the daemon runs", || marked(&mark).len() >= 2).await;
    orchestrator.stop(&handle, SHORT).await.unwrap();
    assert!(marked(&mark).is_empty());
}

#[tokio::test]
async fn what_a_process_leaves_behind_ends_with_it() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let leaves = "sleep 600 & setsid sleep 600 & exit 0";
    let handle = run(&orchestrator, &script(&bench, "c", "1", leaves)).await;
    wait_for_end(&orchestrator, &handle).await;
    let mark = format!("FERROCTI_INSTANCE={}/", bench.settings("one").composer);
    until("nothing is left", || marked(&mark).is_empty()).await;
}

#[tokio::test]
async fn a_log_is_bounded_and_its_places_stay_valid() {
    let bench = processes().await;
    let mut settings = bench.settings("one");
    settings.log_bytes = 20_000;
    let directory = settings.directory.clone();
    let orchestrator: Arc<dyn Orchestrator> =
        Arc::new(ProcessOrchestrator::open(settings).unwrap());
    let talks =
        "n=0; while :; do n=$((n+1)); echo line $n; [ $((n % 100)) = 0 ] && sleep 0.05; done";
    let handle = run(&orchestrator, &script(&bench, "c", "1", talks)).await;
    let place = directory.join("instances").join(&handle);
    let files = || {
        let entries = std::fs::read_dir(&place).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|n| n.starts_with("log.")).collect();
        names.retain(|name| name != "log.draft");
        names.sort_by_key(|name| name[4..].parse::<u64>().unwrap());
        names
    };
    until("two files were moved aside", || files().len() == 2).await;
    let first = files();
    until("the oldest is gone", || !files().contains(&first[0])).await;
    orchestrator.stop(&handle, SHORT).await.unwrap();
    for name in files() {
        let file = std::fs::metadata(place.join(name)).unwrap();
        assert!(file.len() <= 20_000);
        assert_eq!(file.mode() & 0o077, 0, "others read nothing of it");
    }
    let mut query = LogQuery {
        after: Some("0".to_owned()),
        limit: 0,
    };
    let mut lines = Vec::new();
    loop {
        let page = orchestrator.logs(&handle, &query).await.unwrap();
        if page.lines.is_empty() {
            break;
        }
        lines.extend(page.lines);
        query.after = page.next;
    }
    let numbers: Vec<u64> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("line ")?.parse().ok())
        .collect();
    assert!(numbers.len() > 100);
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "no line comes twice"
    );
}

#[tokio::test]
async fn what_a_process_cannot_have_is_refused_when_it_is_made() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let mount = Mount {
        source: "/a".to_owned(),
        target: "/b".to_owned(),
        read_only: true,
    };
    let limits = |limits| Options {
        limits,
        ..Options::default()
    };
    let table = [
        (
            Options {
                mounts: vec![mount],
                ..Options::default()
            },
            "mounts",
        ),
        (
            Options {
                networks: vec!["n".to_owned()],
                ..Options::default()
            },
            "networks",
        ),
        (
            Options {
                restart: Restart::Engine,
                ..Options::default()
            },
            "restart",
        ),
        (
            limits(Limits {
                cpu_millis: Some(500),
                ..Limits::default()
            }),
            "processor time",
        ),
        (
            limits(Limits {
                processes: Some(5),
                ..Limits::default()
            }),
            "processes",
        ),
    ];
    for (options, word) in table {
        let mut definition = script(&bench, "c", "1", FOR_EVER);
        definition.options = options;
        let failure = orchestrator.create(&definition).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Unsupported(why) if why.contains(word)),
            "{failure:?}"
        );
    }
    let mut definition = script(&bench, "c", "1", FOR_EVER);
    definition.source = Source::Image {
        reference: "x:1".to_owned(),
        command: None,
    };
    let failure = orchestrator.create(&definition).await.unwrap_err();
    assert!(matches!(failure, Failure::Unsupported(_)), "{failure:?}");
    assert_eq!(orchestrator.list().await.unwrap().instances, []);
}

#[tokio::test]
async fn limits_hold() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    // the limits are set right after the start
    let mut definition = script(&bench, "c", "1", "sleep 1; ulimit -n; ulimit -v");
    definition.options.limits = Limits {
        files: Some(77),
        memory: Some(512 << 20),
        ..Limits::default()
    };
    let handle = run(&orchestrator, &definition).await;
    wait_for_line(&orchestrator, &handle, "77").await;
    wait_for_line(&orchestrator, &handle, "524288").await;
}

#[tokio::test]
async fn another_user_needs_a_composer_that_may() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let mut definition = script(&bench, "c", "1", "id -u; id -g; pwd > /dev/null && echo in");
    definition.options.user = Some((65534, 65534));
    let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(bench.directory.path(), passable).unwrap();
    if !rustix::process::geteuid().is_root() {
        let failure = orchestrator.create(&definition).await.unwrap_err();
        assert!(matches!(failure, Failure::Unsupported(_)), "{failure:?}");
        return;
    }
    let handle = run(&orchestrator, &definition).await;
    wait_for_end(&orchestrator, &handle).await;
    let page = orchestrator
        .logs(&handle, &LogQuery::default())
        .await
        .unwrap();
    assert_eq!(page.lines, ["65534", "65534", "in"]);
}

#[tokio::test]
async fn a_python_environment_is_made_of_the_requirements_once() {
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let requirements = bench.directory.path().join("requirements.txt");
    std::fs::write(&requirements, "# nothing but the standard library\n").unwrap();
    let mut definition = script(&bench, "c", "1", "");
    let show = "import sys; print(sys.prefix != sys.base_prefix)";
    definition.source = Source::Command {
        argv: ["python3", "-c", show].map(str::to_owned).to_vec(),
        directory: None,
        requirements: Some(requirements.clone()),
    };
    let handle = run(&orchestrator, &definition).await;
    wait_for_line(&orchestrator, &handle, "True").await;
    // a second time nothing is made
    let began = std::time::Instant::now();
    orchestrator.prepare(&definition).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(500));
    std::fs::write(&requirements, "/no/such/package-of-this-name.whl\n").unwrap();
    let failure = orchestrator.prepare(&definition).await.unwrap_err();
    assert!(
        failure.to_string().contains("package-of-this-name"),
        "{failure}"
    );
}

#[tokio::test]
async fn secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let mut bench = processes().await;
    let orchestrator = bench.open().await;
    let handle = run(&orchestrator, &script(&bench, "c", "1", FOR_EVER)).await;
    let place = bench
        .settings("one")
        .directory
        .join("instances")
        .join(handle);
    for (name, mode) in [
        ("", 0o711),
        ("work", 0o700),
        ("spec.json", 0o600),
        ("run.json", 0o600),
        ("log", 0o600),
    ] {
        let file = std::fs::metadata(place.join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode, "{name}");
    }
}
