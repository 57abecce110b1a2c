//! Local processes: the contract, and what only processes have to keep.

mod crash;
mod killed;
mod own;
mod together;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ferrocti_composer::{Options, Orchestrator, ProcessOrchestrator, ProcessSettings, Source};
use ferrocti_model::clock::{Clock, Millis};
use tempfile::TempDir;

use crate::contract::{Bench, contract_tests};

/// The host's clock.
pub struct Wall;

impl Clock for Wall {
    fn now(&self) -> Millis {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as Millis)
    }
}

/// A directory for each of two composers.
pub struct Processes {
    directory: TempDir,
    foreign: Vec<Child>,
}

pub fn settings(directory: &Path, composer: &str) -> ProcessSettings {
    ProcessSettings {
        directory: directory.join(composer),
        // unique, because marks of all tests of this machine are seen
        composer: format!(
            "{composer}-{}",
            directory
                .file_name()
                .unwrap()
                .to_string_lossy()
                .replace('.', "")
        ),
        log_bytes: 1 << 20,
        clock: Arc::new(Wall),
    }
}

pub async fn processes() -> Processes {
    Processes {
        directory: tempfile::tempdir().unwrap(),
        foreign: Vec::new(),
    }
}

impl Processes {
    fn settings(&self, composer: &str) -> ProcessSettings {
        settings(self.directory.path(), composer)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.foreign {
            let _ = child.kill();
            let _ = child.wait();
        }
        for composer in ["one", "two"] {
            kill_marked(&self.settings(composer).composer);
        }
    }
}

/// Kills every process with a mark of the composer; a process of its own does it, so that it works without a runtime.
pub fn kill_marked(composer: &str) {
    let mark = format!("FERROCTI_INSTANCE={composer}/");
    for pid in marked(&mark) {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
}

/// The processes that have a text in their environment.
pub fn marked(mark: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry.starts_with(mark.as_bytes()))
    })
    .collect()
}

impl Bench for Processes {
    async fn open(&mut self) -> Arc<dyn Orchestrator> {
        Arc::new(ProcessOrchestrator::open(self.settings("one")).unwrap())
    }

    async fn other(&mut self) -> Arc<dyn Orchestrator> {
        Arc::new(ProcessOrchestrator::open(self.settings("two")).unwrap())
    }

    fn shell(&self, arguments: &[&str]) -> Source {
        let mut argv = vec!["/bin/sh".to_owned()];
        argv.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Source::Command {
            argv,
            directory: None,
            requirements: None,
        }
    }

    fn missing(&self) -> (Source, &'static str) {
        let argv = vec!["no-such-program".to_owned()];
        let source = Source::Command {
            argv,
            directory: None,
            requirements: None,
        };
        (source, "no-such-program")
    }

    fn options(&self) -> Options {
        Options::default()
    }

    async fn foreign(&mut self, environment: &[(&str, &str)]) {
        let child = Command::new("sleep")
            .arg("600")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.foreign.push(child);
    }
}

async fn made() -> Option<Processes> {
    Some(processes().await)
}

contract_tests!(made);

/// Waits until a condition holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + crate::contract::PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
