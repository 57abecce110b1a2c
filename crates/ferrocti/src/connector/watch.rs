//! Waiting until a managed connector is what it shall be, and telling how far it is meanwhile.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::view;
use crate::{
    cli::WaitArgs,
    client::Client,
    print::{list, text},
    wait,
};

const CONNECTOR: &str = "query Connector($id: String!) { connector(id: $id) {
  id name title connector_type active is_managed connector_user_id connector_user { name } updated_at
  manager { id name active blocked } manager_requested_status manager_state manager_state_reason manager_state_at
  health { level reasons last_ping last_data expected_next errors restarts }
  catalog_id contract_slug contract_version manager_contract_image launch runtime pinned declared definition_number
  rolled_back { number reason at } manager_secret_keys manager_contract_configuration { key value } manager_contract_definition
  update_available latest_compatible_version has_newer_incompatible_version manager_connector_uptime
  connector_info { buffering last_run_datetime next_run_datetime } connector_queue_details { messages_number messages_size } } }";

const LEAVING: &str =
    "{ connectorManagers { id name blocked tombstones { connector_id approved } } }";

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// It runs, and the platform hears from it.
    Running,
    /// Nothing of it runs.
    Stopped,
}

/// What a look at a connector says about the waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    Done,
    /// Not yet.
    Wait,
    /// It will not come to it by itself; the text says why.
    Failed(String),
}

/// The connector with everything that the commands show of it.
pub fn ask(client: &Client, id: &str) -> Result<Value> {
    let mut data = client.call(CONNECTOR, json!({ "id": id }))?;
    let connector = data["connector"].take();
    if connector.is_null() {
        bail!("the connector {id} is gone: somebody deleted it");
    }
    Ok(connector)
}

/// What a connector is to come to, as it is asked for now.
pub fn goal_of(connector: &Value) -> Goal {
    if connector["manager_requested_status"] == "starting" {
        Goal::Running
    } else {
        Goal::Stopped
    }
}

/// Waits for a goal where that was asked for, and gives the connector as it is then. `definition` is the number of the definition that the goal
/// is about.
pub fn outcome(
    client: &Client,
    id: &str,
    goal: Goal,
    definition: Option<i64>,
    args: &WaitArgs,
    quiet: bool,
) -> Result<Value> {
    if !args.wait {
        return ask(client, id);
    }
    let end = Instant::now() + Duration::from_secs(args.timeout);
    let mut progress = Progress::new(quiet);
    let connector = wait::until(|| {
        let connector = ask(client, id)?;
        progress.show(&connector);
        match judge(&connector, goal, definition) {
            Verdict::Done => Ok(Some(connector)),
            Verdict::Failed(why) => bail!("{why}"),
            Verdict::Wait if Instant::now() >= end => bail!(
                "{} is still not {} after {} s: it is {}; `ferrocti connector logs {id}` may tell more",
                view::name(&connector),
                match goal {
                    Goal::Running => "running",
                    Goal::Stopped => "stopped",
                },
                args.timeout,
                view::state(&connector),
            ),
            Verdict::Wait => Ok(None),
        }
    })?;
    progress.end();
    Ok(connector)
}

/// How long a composer has to remove what runs, before what holds it back is told as the outcome.
const REMOVAL: Duration = Duration::from_secs(3);

/// Waits until the composer has removed what ran of a deleted connector.
pub fn until_gone(client: &Client, id: &str, name: &str, timeout: u64) -> Result<()> {
    let begun = Instant::now();
    wait::until(|| {
        let data = client.call(LEAVING, json!({}))?;
        let Some((composer, blocked)) = leaving(&data, id) else {
            return Ok(Some(()));
        };
        let waited = begun.elapsed();
        if let (Some(why), true) = (blocked, waited >= REMOVAL) {
            bail!(
                "{name} is removed from the platform, and its composer has not removed what runs of it: {why}; \
                 `ferrocti composer approve {composer}` agrees to removals that are held back"
            );
        }
        if waited >= Duration::from_secs(timeout) {
            bail!(
                "{name} is removed from the platform, and its composer has not removed what runs of it after {timeout} s; `ferrocti composer list` may tell more"
            );
        }
        Ok(None)
    })
}

/// The id of the composer that still has to remove a connector, and what holds it back.
fn leaving(data: &Value, id: &str) -> Option<(String, Option<String>)> {
    let composer = list(&data["connectorManagers"]).find(|composer| {
        list(&composer["tombstones"]).any(|tombstone| tombstone["connector_id"] == *id)
    })?;
    let blocked = composer["blocked"].as_str().filter(|why| !why.is_empty());
    Some((text(&composer["id"]), blocked.map(|why| text(&json!(why)))))
}

/// Whether a connector is what it shall be, or will not be.
pub fn judge(connector: &Value, goal: Goal, definition: Option<i64>) -> Verdict {
    let given_up = &connector["rolled_back"];
    if let (Some(number), Some(definition)) = (given_up["number"].as_i64(), definition)
        && number >= definition
    {
        return Verdict::Failed(format!(
            "{} did not become healthy with its new definition, and goes back to the one before: {}",
            view::name(connector),
            text(&given_up["reason"])
        ));
    }
    let state = connector["manager_state"].as_str().unwrap_or_default();
    match (goal, state) {
        (Goal::Running, "running") | (Goal::Stopped, "stopped") => Verdict::Done,
        (_, "failed") | (Goal::Running, "crash-looping") => Verdict::Failed(format!(
            "{} is {}",
            view::name(connector),
            view::state(connector)
        )),
        _ => Verdict::Wait,
    }
}

/// What is shown while waiting: on a terminal one line that changes, elsewhere a line for each change.
struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    shown: String,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            quiet,
            shown: String::new(),
        }
    }

    fn show(&mut self, connector: &Value) {
        let now = format!("{}: {}", view::name(connector), view::state(connector));
        if now == self.shown {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(now.clone()),
            None if self.quiet => {}
            None => eprintln!("{now}"),
        }
        self.shown = now;
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(state: &str) -> Value {
        json!({ "name": "feed", "title": "Feed", "manager_state": state, "manager_state_reason": "the token is wrong" })
    }

    #[test]
    fn each_state_says_whether_to_go_on_waiting() {
        for (state, running, stopped) in [
            ("requested", Verdict::Wait, Verdict::Wait),
            ("pulling", Verdict::Wait, Verdict::Wait),
            ("starting", Verdict::Wait, Verdict::Wait),
            ("running", Verdict::Done, Verdict::Wait),
            ("degraded", Verdict::Wait, Verdict::Wait),
            ("stopping", Verdict::Wait, Verdict::Wait),
            ("stopped", Verdict::Wait, Verdict::Done),
            ("unreachable", Verdict::Wait, Verdict::Wait),
        ] {
            let connector = connector(state);
            assert_eq!(judge(&connector, Goal::Running, None), running, "{state}");
            assert_eq!(judge(&connector, Goal::Stopped, None), stopped, "{state}");
        }
    }

    #[test]
    fn a_failure_ends_the_waiting_with_its_reason() {
        for (goal, state) in [
            (Goal::Running, "failed"),
            (Goal::Running, "crash-looping"),
            (Goal::Stopped, "failed"),
        ] {
            let Verdict::Failed(why) = judge(&connector(state), goal, None) else {
                panic!("{goal:?}, {state}");
            };
            assert!(
                why.contains(state) && why.contains("the token is wrong"),
                "{why}"
            );
        }
        let looping = connector("crash-looping");
        assert_eq!(judge(&looping, Goal::Stopped, None), Verdict::Wait);
    }

    #[test]
    fn a_definition_that_was_given_up_is_a_failure_although_the_one_before_runs() {
        let mut connector = connector("running");
        connector["rolled_back"] = json!({ "number": 4, "reason": "it ended 3 times" });
        for (definition, failed) in [(Some(4), true), (Some(5), false), (None, false)] {
            let verdict = judge(&connector, Goal::Running, definition);
            assert_eq!(
                matches!(verdict, Verdict::Failed(_)),
                failed,
                "{definition:?}"
            );
        }
    }

    #[test]
    fn a_deleted_connector_is_gone_when_no_composer_has_it_to_remove() {
        let data = json!({ "connectorManagers": [
            { "id": "a", "blocked": null, "tombstones": [] },
            { "id": "b", "blocked": "4 removals wait", "tombstones": [{ "connector_id": "1" }] },
            { "id": "c", "blocked": "", "tombstones": [{ "connector_id": "2" }] }
        ] });
        assert_eq!(
            leaving(&data, "1"),
            Some(("b".to_owned(), Some("4 removals wait".to_owned())))
        );
        assert_eq!(leaving(&data, "2"), Some(("c".to_owned(), None)));
        assert_eq!(leaving(&data, "3"), None);
    }

    #[test]
    fn what_is_waited_for_follows_from_what_was_asked_for() {
        for (requested, goal) in [
            ("starting", Goal::Running),
            ("stopping", Goal::Stopped),
            ("stopped", Goal::Stopped),
        ] {
            let connector = json!({ "manager_requested_status": requested });
            assert_eq!(goal_of(&connector), goal);
        }
    }

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[CONNECTOR, LEAVING]);
    }
}
