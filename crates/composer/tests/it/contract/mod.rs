//! What every orchestrator must do, one case for each promise of the trait, over a bench that opens the orchestrator.
//!
//! `contract_tests!(make)` makes a test of each case; `make` is an async function that answers with a fresh [`Bench`], or with none where
//! the orchestrator was not asked to be tested.

mod cases;

use std::{future::Future, sync::Arc, time::Duration};

pub use cases::*;
use ferrocti_composer::{
    Definition, EnvVar, Instance, LogQuery, Options, Orchestrator, Phase, Requested, Source,
};
use tokio::time::Instant;

/// What a case needs of an orchestrator beside the orchestrator itself.
pub trait Bench: Send {
    /// The orchestrator, opened anew as by a composer that was restarted; an earlier one has been dropped.
    fn open(&mut self) -> impl Future<Output = Arc<dyn Orchestrator>> + Send;
    /// That of another composer on the same engine.
    fn other(&mut self) -> impl Future<Output = Arc<dyn Orchestrator>> + Send;
    /// Something that runs `/bin/sh` with the arguments.
    fn shell(&self, arguments: &[&str]) -> Source;
    /// Something that cannot be fetched, with a word that the message must hold.
    fn missing(&self) -> (Source, &'static str);
    /// The options that every instance needs here.
    fn options(&self) -> Options;
    /// Starts a connector that is not the composer's, with the environment. It ends with the bench.
    fn foreign(&mut self, environment: &[(&str, &str)]) -> impl Future<Output = ()> + Send;
}

/// Makes a test of each case of the contract.
macro_rules! contract_tests {
    ($make:path) => {
        $crate::contract::contract_tests!($make:
            a_made_instance_does_not_run_until_it_is_started,
            everything_may_be_repeated,
            a_second_instance_of_a_connector_cannot_start_beside_the_first,
            a_stopped_instance_is_kept_and_starts_again,
            a_stop_lets_a_program_end_by_itself,
            what_ignores_the_request_to_end_is_killed_after_the_grace,
            many_stop_at_once,
            an_end_is_told_with_its_code,
            the_environment_is_the_definitions_own_and_no_shell_reads_it,
            a_log_can_be_read_page_by_page_without_loss,
            a_log_can_be_followed,
            instances_are_found_again_after_a_restart,
            what_is_alive_is_not_removed,
            unknown_handles_are_told,
            what_cannot_be_fetched_is_named,
            the_instances_of_another_composer_are_invisible_and_out_of_reach,
            a_foreign_connector_can_be_looked_at_and_is_not_listed,
            a_running_instance_has_figures,
        );
    };
    ($make:path: $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(mut bench) = $make().await else {
                    return;
                };
                $crate::contract::$case(&mut bench).await;
            }
        )*
    };
}
pub(crate) use contract_tests;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A definition that runs a shell script.
pub fn script<B: Bench>(bench: &B, connector: &str, revision: &str, script: &str) -> Definition {
    Definition {
        connector: connector.to_owned(),
        name: connector.to_owned(),
        revision: revision.to_owned(),
        requested: Requested::Running,
        source: bench.shell(&["-c", script]),
        environment: vec![EnvVar::plain("CONNECTOR_ID", connector)],
        options: bench.options(),
        fault: None,
    }
}

/// Runs until it is killed.
pub const FOR_EVER: &str = "echo up; while :; do sleep 0.1; done";
/// Does not end when it is asked to.
pub const STUBBORN: &str = "trap '' TERM; echo up; while :; do sleep 0.1; done";

/// Prepares, makes and starts.
pub async fn run(orchestrator: &Arc<dyn Orchestrator>, definition: &Definition) -> String {
    orchestrator.prepare(definition).await.unwrap();
    let handle = orchestrator.create(definition).await.unwrap();
    orchestrator.start(&handle).await.unwrap();
    handle
}

/// The instance with that handle.
pub async fn find(orchestrator: &Arc<dyn Orchestrator>, handle: &str) -> Option<Instance> {
    let listing = orchestrator.list().await.unwrap();
    assert!(listing.incomplete.is_empty(), "{listing:?}");
    listing.instances.into_iter().find(|i| i.handle == handle)
}

/// Waits until the log of an instance holds a line.
pub async fn wait_for_line(orchestrator: &Arc<dyn Orchestrator>, handle: &str, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = orchestrator
            .logs(handle, &LogQuery::default())
            .await
            .unwrap();
        if page.lines.iter().any(|l| l == line) {
            return;
        }
        assert!(Instant::now() < deadline, "no {line:?} in {:?}", page.lines);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until an instance has ended; its code.
pub async fn wait_for_end(orchestrator: &Arc<dyn Orchestrator>, handle: &str) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let instance = find(orchestrator, handle).await.unwrap();
        if let Phase::Exited { code, at: Some(_) } = instance.phase {
            return code;
        }
        assert!(Instant::now() < deadline, "{instance:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
