//! The cases of the contract.

use std::{sync::Arc, time::Duration};

use ferrocti_composer::{EnvVar, Failure, LogQuery, Orchestrator, Phase, Source, Stats, follow};
use tokio::time::{Instant, timeout};

use super::{Bench, FOR_EVER, PATIENCE, STUBBORN, find, run, script, wait_for_end, wait_for_line};

const GRACE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

async fn stats(orchestrator: &Arc<dyn Orchestrator>, handle: &str) -> Option<Stats> {
    let handles = [handle.to_owned()];
    orchestrator.stats(&handles).await.unwrap().remove(handle)
}

pub async fn a_made_instance_does_not_run_until_it_is_started(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let definition = script(bench, "Connector/1 ü", "r1", FOR_EVER);
    orchestrator.prepare(&definition).await.unwrap();
    let handle = orchestrator.create(&definition).await.unwrap();
    let made = find(&orchestrator, &handle).await.unwrap();
    assert_eq!(made.phase, Phase::Created);
    assert_eq!(made.started_at, None);
    assert_eq!(made.connector, "Connector/1 ü");
    assert_eq!(made.revision, "r1");
    orchestrator.start(&handle).await.unwrap();
    let running = find(&orchestrator, &handle).await.unwrap();
    assert_eq!(running.phase, Phase::Running);
    assert!(running.started_at.is_some());
}

pub async fn everything_may_be_repeated(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let definition = script(bench, "c", "1", FOR_EVER);
    let handle = run(&orchestrator, &definition).await;
    wait_for_line(&orchestrator, &handle, "up").await;
    let first = find(&orchestrator, &handle).await.unwrap();
    assert_eq!(run(&orchestrator, &definition).await, handle);
    assert_eq!(find(&orchestrator, &handle).await.unwrap(), first);
    assert_eq!(orchestrator.list().await.unwrap().instances.len(), 1);
    orchestrator.stop(&handle, SHORT).await.unwrap();
    orchestrator.stop(&handle, SHORT).await.unwrap();
    orchestrator.remove(&handle).await.unwrap();
    orchestrator.remove(&handle).await.unwrap();
    assert_eq!(orchestrator.list().await.unwrap().instances, []);
}

pub async fn a_second_instance_of_a_connector_cannot_start_beside_the_first(
    bench: &mut impl Bench,
) {
    let orchestrator = bench.open().await;
    let first = run(&orchestrator, &script(bench, "c", "1", FOR_EVER)).await;
    let second = orchestrator
        .create(&script(bench, "c", "2", FOR_EVER))
        .await
        .unwrap();
    assert_ne!(first, second);
    let refused = orchestrator.start(&second).await.unwrap_err();
    assert!(matches!(refused, Failure::Refused(_)), "{refused:?}");
    let made = find(&orchestrator, &second).await.unwrap();
    assert_eq!(made.phase, Phase::Created);
    orchestrator.stop(&first, SHORT).await.unwrap();
    orchestrator.start(&second).await.unwrap();
    assert!(!find(&orchestrator, &first).await.unwrap().is_live());
}

pub async fn a_stopped_instance_is_kept_and_starts_again(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let handle = run(&orchestrator, &script(bench, "c", "1", FOR_EVER)).await;
    wait_for_line(&orchestrator, &handle, "up").await;
    orchestrator.stop(&handle, SHORT).await.unwrap();
    let stopped = find(&orchestrator, &handle).await.unwrap();
    assert!(matches!(stopped.phase, Phase::Exited { .. }), "{stopped:?}");
    orchestrator.start(&handle).await.unwrap();
    let again = find(&orchestrator, &handle).await.unwrap();
    assert_eq!(again.phase, Phase::Running);
    assert!(again.started_at > stopped.started_at, "{again:?}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = orchestrator
            .logs(&handle, &LogQuery::default())
            .await
            .unwrap();
        if page.lines == ["up", "up"] {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", page.lines);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn a_stop_lets_a_program_end_by_itself(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let handle = run(&orchestrator, &script(bench, "c", "1", polite)).await;
    wait_for_line(&orchestrator, &handle, "up").await;
    timeout(PATIENCE, orchestrator.stop(&handle, GRACE))
        .await
        .unwrap()
        .unwrap();
    wait_for_line(&orchestrator, &handle, "bye").await;
}

pub async fn what_ignores_the_request_to_end_is_killed_after_the_grace(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    // what is ignored when it forks is ignored by the child too
    let family = "trap '' TERM; while :; do sleep 0.1; done & echo up; while :; do sleep 0.1; done";
    let handle = run(&orchestrator, &script(bench, "c", "1", family)).await;
    wait_for_line(&orchestrator, &handle, "up").await;
    let grace = Duration::from_secs(1);
    let began = Instant::now();
    orchestrator.stop(&handle, grace).await.unwrap();
    assert!(began.elapsed() >= grace);
    assert!(!find(&orchestrator, &handle).await.unwrap().is_live());
    let left = stats(&orchestrator, &handle).await;
    assert_eq!(left.unwrap_or_default().processes, 0);
}

pub async fn many_stop_at_once(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let mut handles = Vec::new();
    for n in 0..5 {
        let definition = script(bench, &format!("c{n}"), "1", STUBBORN);
        handles.push(run(&orchestrator, &definition).await);
    }
    for handle in &handles {
        wait_for_line(&orchestrator, handle, "up").await;
    }
    let grace = Duration::from_secs(4);
    let began = Instant::now();
    let mut stops = tokio::task::JoinSet::new();
    for handle in handles {
        let orchestrator = orchestrator.clone();
        stops.spawn(async move { orchestrator.stop(&handle, grace).await });
    }
    while let Some(stopped) = stops.join_next().await {
        stopped.unwrap().unwrap();
    }
    assert!(began.elapsed() < grace * 4, "{:?}", began.elapsed());
}

pub async fn an_end_is_told_with_its_code(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let mut changes = orchestrator.changes();
    let ends = "echo up; sleep 1; exit 3";
    let handle = run(&orchestrator, &script(bench, "c", "1", ends)).await;
    let told = async {
        loop {
            changes.changed().await.unwrap();
            changes.mark_unchanged();
            let phase = find(&orchestrator, &handle).await.unwrap().phase;
            if matches!(phase, Phase::Exited { .. }) {
                return;
            }
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    assert_eq!(wait_for_end(&orchestrator, &handle).await, Some(3));
}

pub async fn the_environment_is_the_definitions_own_and_no_shell_reads_it(bench: &mut impl Bench) {
    const ODD: &str = "a b\t\"'$(echo no)`echo no`;$HOME=x\\é";
    let orchestrator = bench.open().await;
    let mut definition = script(bench, "c", "1", "");
    definition.source = bench.shell(&["-c", "printf '%s\\n' \"$ODD\" \"$1\"; env", "sh", ODD]);
    definition.environment.push(EnvVar::secret("ODD", ODD));
    let handle = run(&orchestrator, &definition).await;
    wait_for_end(&orchestrator, &handle).await;
    let lines = orchestrator
        .logs(&handle, &LogQuery::default())
        .await
        .unwrap()
        .lines;
    assert_eq!(lines[..2], [ODD, ODD]);
    assert!(lines.contains(&format!("ODD={ODD}")), "{lines:?}");
    assert!(lines.contains(&"CONNECTOR_ID=c".to_owned()), "{lines:?}");
    // cargo sets this one for the test itself
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!lines.iter().any(|l| l.starts_with("CARGO")), "{lines:?}");
}

pub async fn a_log_can_be_read_page_by_page_without_loss(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let talks = "n=0; while [ $n -lt 2500 ]; do echo line $n; n=$((n+1)); done; printf end";
    let handle = run(&orchestrator, &script(bench, "c", "1", talks)).await;
    wait_for_end(&orchestrator, &handle).await;
    let mut all = Vec::new();
    let mut query = LogQuery {
        after: Some("0".to_owned()),
        limit: 700,
    };
    loop {
        let page = orchestrator.logs(&handle, &query).await.unwrap();
        if page.lines.is_empty() {
            break;
        }
        assert!(page.lines.len() <= 700);
        all.extend(page.lines);
        query.after = page.next;
    }
    let expected: Vec<String> = (0..2500).map(|n| format!("line {n}")).collect();
    assert_eq!(all[..2500], expected);
    assert_eq!(all[2500..], ["end"]);
    let tail = LogQuery {
        after: None,
        limit: 2,
    };
    let page = orchestrator.logs(&handle, &tail).await.unwrap();
    assert_eq!(page.lines, ["line 2499", "end"]);
}

pub async fn a_log_can_be_followed(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let talks = "for n in 1 2 3 4; do echo tick $n; sleep 0.3; done; while :; do sleep 0.1; done";
    let handle = run(&orchestrator, &script(bench, "c", "1", talks)).await;
    let start = LogQuery {
        after: Some("0".to_owned()),
        limit: 0,
    };
    let mut lines = follow(orchestrator.clone(), handle.clone(), start);
    for n in 1..=4 {
        let line = timeout(PATIENCE, lines.recv()).await.unwrap();
        assert_eq!(line, Some(format!("tick {n}")));
    }
    orchestrator.stop(&handle, SHORT).await.unwrap();
    orchestrator.remove(&handle).await.unwrap();
    assert_eq!(timeout(PATIENCE, lines.recv()).await.unwrap(), None);
}

pub async fn instances_are_found_again_after_a_restart(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let running = run(&orchestrator, &script(bench, "c", "1", FOR_EVER)).await;
    wait_for_line(&orchestrator, &running, "up").await;
    let ended = run(&orchestrator, &script(bench, "d", "1", "exit 4")).await;
    wait_for_end(&orchestrator, &ended).await;
    let made = orchestrator
        .create(&script(bench, "e", "1", FOR_EVER))
        .await
        .unwrap();
    let before = orchestrator.list().await.unwrap().instances;
    drop(orchestrator);
    let orchestrator = bench.open().await;
    assert_eq!(orchestrator.list().await.unwrap().instances, before);
    let mut changes = orchestrator.changes();
    orchestrator.stop(&running, SHORT).await.unwrap();
    timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    orchestrator.start(&running).await.unwrap();
    orchestrator.start(&made).await.unwrap();
    assert!(find(&orchestrator, &made).await.unwrap().is_live());
}

pub async fn what_is_alive_is_not_removed(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let handle = run(&orchestrator, &script(bench, "c", "1", FOR_EVER)).await;
    let refused = orchestrator.remove(&handle).await.unwrap_err();
    assert!(matches!(refused, Failure::Refused(_)), "{refused:?}");
    assert!(find(&orchestrator, &handle).await.unwrap().is_live());
}

pub async fn unknown_handles_are_told(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    for handle in ["nothing", "", "..", "../../etc", "a b?x=1"] {
        let failures = [
            orchestrator.start(handle).await.unwrap_err(),
            orchestrator.stop(handle, SHORT).await.unwrap_err(),
            orchestrator
                .logs(handle, &LogQuery::default())
                .await
                .unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure, Failure::NotFound(handle.to_owned()));
        }
        assert_eq!(stats(&orchestrator, handle).await, None);
        // what is gone is gone
        orchestrator.remove(handle).await.unwrap();
    }
}

pub async fn what_cannot_be_fetched_is_named(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let mut definition = script(bench, "c", "1", "");
    let (source, name) = bench.missing();
    definition.source = source;
    let failure = orchestrator.prepare(&definition).await.unwrap_err();
    assert!(failure.to_string().contains(name), "{failure}");
    assert_eq!(orchestrator.list().await.unwrap().instances, []);
}

pub async fn the_instances_of_another_composer_are_invisible_and_out_of_reach(
    bench: &mut impl Bench,
) {
    let orchestrator = bench.open().await;
    let other = bench.other().await;
    let handle = run(&other, &script(bench, "c", "1", FOR_EVER)).await;
    assert_eq!(orchestrator.list().await.unwrap().instances, []);
    let stopped = orchestrator.stop(&handle, SHORT).await;
    assert_eq!(stopped, Err(Failure::NotFound(handle.clone())));
    orchestrator.remove(&handle).await.unwrap();
    assert!(find(&other, &handle).await.unwrap().is_live());
}

pub async fn a_foreign_connector_can_be_looked_at_and_is_not_listed(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let own = run(&orchestrator, &script(bench, "own", "1", FOR_EVER)).await;
    let id = format!("foreign-{}", std::process::id());
    bench
        .foreign(&[("CONNECTOR_ID", id.as_str()), ("API_KEY", "s3cret")])
        .await;
    let listed = orchestrator.list().await.unwrap().instances;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].handle, own);
    let found = orchestrator.adoptable().await.unwrap();
    assert!(found.iter().all(|f| f.connector != "own"), "{found:?}");
    let foreign = found.iter().find(|f| f.connector == id).unwrap();
    assert!(foreign.running);
    let key = foreign.environment.iter().find(|(key, _)| key == "API_KEY");
    assert_eq!(key.unwrap().1.expose(), "s3cret");
    assert!(!format!("{foreign:?}").contains("s3cret"));
    match &foreign.source {
        Source::Command { argv, .. } => assert!(!argv.is_empty()),
        Source::Image { reference, .. } => assert!(!reference.is_empty()),
    }
    let stopped = orchestrator.stop(&foreign.handle, SHORT).await;
    assert_eq!(stopped, Err(Failure::NotFound(foreign.handle.clone())));
}

pub async fn a_running_instance_has_figures(bench: &mut impl Bench) {
    let orchestrator = bench.open().await;
    let handle = run(&orchestrator, &script(bench, "c", "1", FOR_EVER)).await;
    wait_for_line(&orchestrator, &handle, "up").await;
    let stats = stats(&orchestrator, &handle).await.unwrap();
    assert!(stats.memory > 10_000, "{stats:?}");
    assert!(stats.processes >= 1, "{stats:?}");
}
