//! Looking at instances: what they have written and what they use. Each has its own pace: one that writes is looked at often, a quiet one seldom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::Value as Json;
use tokio::time::{Instant, timeout};

use crate::{
    ConnectorId, Definition, Instance, LogPage, LogQuery, Orchestrator, Phase, Secret, Stats,
    Value, platform::Logs,
};

/// How often an instance that writes is looked at.
const OFTEN: Duration = Duration::from_secs(5);
/// How often one that has been quiet is.
const SELDOM: Duration = Duration::from_secs(20);
/// How often figures are taken.
const FIGURES: Duration = Duration::from_secs(30);
/// The most lines that are read at once.
const LINES: usize = 1000;
/// The lines that are read of a log that grows faster than that.
const LAST_LINES: usize = 200;
/// The most bytes that one look brings.
const BYTES: usize = 512 * 1024;
/// The longest line that is told.
const LINE: usize = 4096;
/// The longest last word of an instance that is part of a reason.
const SAID: usize = 300;
/// How long one log may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much earlier than its turn one is looked at together with others.
const TOGETHER: Duration = Duration::from_secs(1);
/// How many are asked for figures in one question.
const PART: usize = 50;
/// Shorter secrets are found everywhere by chance.
const SHORTEST_SECRET: usize = 6;

/// What was looked at of a connector, and when it is its turn again.
#[derive(Debug)]
struct Watch {
    handle: String,
    /// When the instance was started; another run is looked at soon.
    run: Option<i64>,
    /// Where in its log to go on.
    place: Option<String>,
    logs_at: Option<Instant>,
    pause: Duration,
    figures_at: Instant,
}

/// One thing to look at.
pub(super) struct Look {
    pub connector: ConnectorId,
    pub handle: String,
    /// Where in the log to go on; `None`: at its end.
    place: Option<String>,
    secrets: Vec<Secret>,
}

/// What a look has shown.
pub(super) struct Seen {
    logs: Vec<(ConnectorId, String, LogPage)>,
    /// Those whose turn it was and that were not looked at, because there was too much.
    left: BTreeSet<ConnectorId>,
}

#[derive(Default)]
pub(super) struct Looking {
    watches: BTreeMap<ConnectorId, Watch>,
    reading: bool,
    measuring: bool,
}

/// The instance that matters: what lives, else what was started last.
pub(super) fn current<'a>(there: impl Iterator<Item = &'a Instance>) -> Option<&'a Instance> {
    there
        .filter(|i| i.started_at.is_some() || i.is_live())
        .max_by_key(|i| (i.is_live(), i.started_at))
}

/// The text that says where in which instance's log to go on.
fn cursor(handle: &str, place: &str) -> String {
    format!("{handle} {place}")
}

impl Watch {
    /// Whether it can still write.
    fn lives(&self) -> bool {
        self.pause > Duration::ZERO
    }
}

impl Looking {
    /// Takes note of the instances that there are. `told` is what the platform says it was told last of a connector.
    pub fn note<'a>(
        &mut self,
        current: impl Iterator<Item = (&'a str, &'a Instance)>,
        told: impl Fn(&str) -> Option<String>,
    ) {
        let now = Instant::now();
        let mut there = BTreeSet::new();
        for (connector, instance) in current {
            there.insert(connector);
            let place = || {
                let told = told(connector)?;
                let (handle, place) = told.split_once(' ')?;
                (handle == instance.handle).then(|| place.to_owned())
            };
            let watch = self.watches.entry(connector.to_owned());
            let watch = watch.or_insert_with(|| Watch {
                handle: instance.handle.clone(),
                run: None,
                place: place(),
                logs_at: Some(now),
                pause: OFTEN,
                figures_at: now,
            });
            if watch.handle != instance.handle {
                watch.handle.clone_from(&instance.handle);
                watch.place = None;
                watch.run = None;
            }
            if watch.run != instance.started_at {
                watch.run = instance.started_at;
                watch.pause = OFTEN;
                watch.figures_at = now;
                watch.logs_at = Some(now + Duration::from_secs(1));
            }
            // what it wrote at its end is read once more, and then nothing comes any more
            if matches!(instance.phase, Phase::Exited { .. }) && watch.pause > Duration::ZERO {
                watch.pause = Duration::ZERO;
                watch.logs_at = Some(now);
            }
        }
        self.watches
            .retain(|connector, _| there.contains(connector.as_str()));
    }

    /// When somebody's turn is next.
    pub fn due(&self) -> Option<Instant> {
        let logs = self.watches.values().filter_map(|watch| watch.logs_at);
        let logs = logs.min().filter(|_| !self.reading);
        let live = self.watches.values().filter(|watch| watch.lives());
        let figures = live.map(|watch| watch.figures_at).min();
        let figures = figures.filter(|_| !self.measuring);
        logs.into_iter().chain(figures).min()
    }

    /// Those whose log is to be read. Whose lines still wait to be told is left out.
    pub fn logs(
        &mut self,
        definitions: &BTreeMap<&str, &Definition>,
        waits: impl Fn(&str) -> bool,
    ) -> Vec<Look> {
        let mut looks = Vec::new();
        if self.reading {
            return looks;
        }
        // whose turn is soon is looked at together with the others
        let soon = Instant::now() + TOGETHER;
        for (connector, watch) in &mut self.watches {
            if watch.logs_at.is_none_or(|at| at > soon) {
                continue;
            }
            if waits(connector) {
                watch.logs_at = Some(soon + OFTEN);
                continue;
            }
            watch.logs_at = watch.lives().then(|| soon + watch.pause);
            looks.push(Look {
                connector: connector.clone(),
                handle: watch.handle.clone(),
                place: watch.place.clone(),
                secrets: definitions
                    .get(connector.as_str())
                    .map(|definition| secrets(definition))
                    .unwrap_or_default(),
            });
        }
        self.reading = !looks.is_empty();
        looks
    }

    /// Those whose figures are to be taken, with their handles.
    pub fn figures(&mut self) -> Vec<(ConnectorId, String)> {
        let mut due = Vec::new();
        if self.measuring {
            return due;
        }
        let soon = Instant::now() + TOGETHER;
        for (connector, watch) in &mut self.watches {
            if watch.lives() && watch.figures_at <= soon {
                watch.figures_at = soon + FIGURES;
                due.push((connector.clone(), watch.handle.clone()));
            }
        }
        self.measuring = !due.is_empty();
        due
    }

    /// Figures were taken.
    pub fn measured(&mut self) {
        self.measuring = false;
    }

    /// What has been seen; the lines to tell.
    pub fn seen(&mut self, seen: Seen) -> Vec<(ConnectorId, Logs)> {
        self.reading = false;
        let now = Instant::now();
        for connector in seen.left {
            if let Some(watch) = self.watches.get_mut(&connector) {
                watch.logs_at = Some(now + Duration::from_secs(1));
            }
        }
        let mut told = Vec::new();
        for (connector, handle, page) in seen.logs {
            let Some(watch) = self.watches.get_mut(&connector) else {
                continue;
            };
            if watch.handle != handle {
                continue;
            }
            let quiet = page.lines.is_empty();
            if watch.pause > Duration::ZERO {
                let pause = if quiet { watch.pause * 2 } else { OFTEN };
                watch.pause = pause.min(SELDOM);
                if !quiet {
                    watch.logs_at = watch.logs_at.map(|at| at.min(now + OFTEN));
                }
            }
            if let Some(place) = page.next {
                if !quiet {
                    let logs = Logs {
                        lines: page.lines,
                        cursor: cursor(&handle, &place),
                    };
                    told.push((connector, logs));
                }
                watch.place = Some(place);
            }
        }
        told
    }
}

/// The secrets of a connector, which do not belong into its log.
pub(super) fn secrets(definition: &Definition) -> Vec<Secret> {
    let values = definition
        .environment
        .iter()
        .map(|variable| &variable.value);
    values
        .filter_map(|value| match value {
            Value::Secret(secret) if secret.expose().len() >= SHORTEST_SECRET => {
                Some(secret.clone())
            }
            _ => None,
        })
        .collect()
}

/// A line without secrets and of bounded length.
fn shown(line: &str, secrets: &[Secret], most: usize) -> String {
    let mut line = line.to_owned();
    for secret in secrets {
        if line.contains(secret.expose()) {
            line = line.replace(secret.expose(), "***");
        }
    }
    if line.len() > most {
        let mut end = most;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Looks at everything that is asked for.
pub(super) async fn look(orchestrator: Arc<dyn Orchestrator>, looks: Vec<Look>) -> Seen {
    let mut seen = Seen {
        logs: Vec::new(),
        left: BTreeSet::new(),
    };
    let (mut bytes, mut away) = (0, false);
    for look in &looks {
        if bytes > BYTES || away {
            seen.left.insert(look.connector.clone());
            continue;
        }
        match read(&*orchestrator, look).await {
            Some(page) => {
                bytes += page.lines.iter().map(String::len).sum::<usize>();
                seen.logs
                    .push((look.connector.clone(), look.handle.clone(), page));
            }
            None => {
                seen.left.insert(look.connector.clone());
                // a place that hangs costs its patience once, not once for each connector
                away = true;
            }
        }
    }
    seen
}

/// Takes figures; of one that does not answer in time there are none.
pub(super) async fn measure(
    orchestrator: Arc<dyn Orchestrator>,
    due: Vec<(ConnectorId, String)>,
) -> Vec<(ConnectorId, Option<Stats>)> {
    let handles: Vec<String> = due.iter().map(|(_, handle)| handle.clone()).collect();
    let mut figures = BTreeMap::new();
    // in parts, so that what one part takes too long for is not lost with the others
    for handles in handles.chunks(PART) {
        let answer = timeout(PATIENCE, orchestrator.stats(handles)).await;
        figures.extend(answer.map_or_else(|_| BTreeMap::new(), Result::unwrap_or_default));
    }
    due.into_iter()
        .map(|(connector, handle)| (connector, figures.remove(&handle)))
        .collect()
}

/// What an instance has written since; `None`: the place does not answer.
async fn read(orchestrator: &dyn Orchestrator, look: &Look) -> Option<LogPage> {
    let after = look.place.clone();
    let first = after.is_none();
    let query = LogQuery {
        limit: LINES,
        after,
    };
    let read = |query: LogQuery| async move {
        match timeout(PATIENCE, orchestrator.logs(&look.handle, &query)).await {
            Ok(Ok(page)) => Some(page),
            // it has gone meanwhile
            Ok(Err(crate::Failure::NotFound(_))) => Some(LogPage::default()),
            Ok(Err(_)) | Err(_) => None,
        }
    };
    let mut page = read(query).await?;
    if !first && page.lines.len() >= LINES {
        // it writes faster than is read: the end is worth more than what came before it
        let end = LogQuery {
            after: None,
            limit: LAST_LINES,
        };
        page = read(end).await?;
        let note = "… more was written here than is kept; the whole log is where it runs";
        page.lines.insert(0, note.to_owned());
    }
    for line in &mut page.lines {
        *line = shown(line, &look.secrets, LINE);
    }
    Some(page)
}

/// The last thing that an instance has written, for a reason.
pub(super) async fn last_words(
    orchestrator: &dyn Orchestrator,
    handle: &str,
    secrets: &[Secret],
) -> Option<String> {
    let query = LogQuery {
        after: None,
        limit: 20,
    };
    let page = timeout(PATIENCE, orchestrator.logs(handle, &query)).await;
    let page = page.ok()?.ok()?;
    let line = page
        .lines
        .iter()
        .rev()
        .find(|line| !line.trim().is_empty())?;
    Some(shown(&message(line), secrets, SAID))
}

/// What a line says: the message of one that is JSON, as connectors write it.
fn message(line: &str) -> String {
    let line = line.trim();
    let parsed = serde_json::from_str::<Json>(line).ok();
    let message = parsed.as_ref().and_then(|json| {
        ["message", "msg", "exc_info"]
            .iter()
            .find_map(|key| json.get(key)?.as_str())
    });
    message.unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_what_is_too_long_are_not_shown() {
        let secrets = [Secret::new("hunter22")];
        let line = shown("the key hunter22 is wrong", &secrets, 100);
        assert_eq!(line, "the key *** is wrong");
        assert_eq!(shown("äöü", &[], 3), "ä…");
    }

    #[test]
    fn the_message_of_a_line_that_is_json_is_what_it_says() {
        let table = [
            (r#"{"level": "ERROR", "message": "no key"}"#, "no key"),
            ("  ValueError: no key ", "ValueError: no key"),
            (r#"{"level": "ERROR"}"#, r#"{"level": "ERROR"}"#),
        ];
        for (line, said) in table {
            assert_eq!(message(line), said);
        }
    }
}
