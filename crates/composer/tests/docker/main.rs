//! The contract of orchestrators on a real Docker engine, and what only containers have to keep.
//!
//! Runs when `FERROCTI_TEST_DOCKER` holds the path of an engine's socket (`scripts/docker-test-engine start DIRECTORY` prints one); the engine
//! must have the image `ferrocti-test:1`.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that goes wrong"
)]

#[path = "../it/contract/mod.rs"]
mod contract;
mod engine;
mod killed;
mod many;
#[expect(
    dead_code,
    reason = "the orchestrator of virtual time is not needed here"
)]
#[path = "../it/engine/world.rs"]
mod world;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use contract::{Bench, FOR_EVER, contract_tests, find, run, script, wait_for_end, wait_for_line};
use ferrocti_composer::{
    DockerOrchestrator, DockerSettings, Failure, Limits, LogQuery, Mount, Options, Orchestrator,
    Phase, Source,
};
use ferrocti_model::clock::{Clock, Millis};
use serde_json::{Value, json};

const IMAGE: &str = "ferrocti-test:1";

/// The host's clock.
struct Wall;

impl Clock for Wall {
    fn now(&self) -> Millis {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as Millis)
    }
}

/// Two composers on one engine, of which each test has its own.
struct Containers {
    socket: PathBuf,
    composer: String,
    foreign: Vec<String>,
}

async fn containers() -> Option<Containers> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Some(socket) = std::env::var_os("FERROCTI_TEST_DOCKER") else {
        eprintln!(
            "NOT RUN against Docker, which was not requested (set FERROCTI_TEST_DOCKER to an engine's socket)"
        );
        return None;
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Some(Containers {
        socket: socket.into(),
        composer: format!("test-{}-{count}", std::process::id()),
        foreign: Vec::new(),
    })
}

impl Containers {
    fn at(&self, socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            composer: self.composer.clone(),
            foreign: Vec::new(),
        }
    }

    fn orchestrator(&self, suffix: &str) -> Arc<dyn Orchestrator> {
        let settings = DockerSettings {
            socket: self.socket.clone(),
            composer: format!("{}{suffix}", self.composer),
            registries: Vec::new(),
        };
        Arc::new(DockerOrchestrator::open(settings).unwrap())
    }

    /// Asks the engine without the code that is under test.
    fn engine(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        // in one piece: the engine hangs up when it has answered
        let request = format!(
            "{method} /v1.41{path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_default()
    }

    fn inspect(&self, handle: &str) -> Value {
        self.engine("GET", &format!("/containers/{handle}/json"), &Value::Null)
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for suffix in ["", "-other"] {
            let label = format!("io.ferrocti.composer={}{suffix}", self.composer);
            let path = format!("/containers/json?all=1&filters=%7B%22label%22:[%22{label}%22]%7D");
            let found = self.engine("GET", &path, &Value::Null);
            for container in found.as_array().into_iter().flatten() {
                self.foreign
                    .extend(container["Id"].as_str().map(str::to_owned));
            }
        }
        for id in &self.foreign {
            self.engine("DELETE", &format!("/containers/{id}?force=1"), &Value::Null);
        }
    }
}

impl Bench for Containers {
    async fn open(&mut self) -> Arc<dyn Orchestrator> {
        self.orchestrator("")
    }

    async fn other(&mut self) -> Arc<dyn Orchestrator> {
        self.orchestrator("-other")
    }

    fn shell(&self, arguments: &[&str]) -> Source {
        let mut command = vec!["/bin/sh".to_owned()];
        command.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Source::Image {
            reference: IMAGE.to_owned(),
            command: Some(command),
        }
    }

    fn missing(&self) -> (Source, &'static str) {
        // nobody listens there
        let reference = "127.0.0.1:9/no-such-image:1".to_owned();
        let source = Source::Image {
            reference,
            command: None,
        };
        (source, "no-such-image")
    }

    fn options(&self) -> Options {
        Options {
            networks: vec!["none".to_owned()],
            ..Options::default()
        }
    }

    async fn foreign(&mut self, environment: &[(&str, &str)]) {
        let environment: Vec<String> = environment
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let body = json!({
            "Image": IMAGE,
            "Cmd": ["/bin/sh", "-c", FOR_EVER],
            "Env": environment,
            "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "unless-stopped"}},
        });
        let made = self.engine("POST", "/containers/create", &body);
        let id = made["Id"].as_str().unwrap().to_owned();
        self.engine("POST", &format!("/containers/{id}/start"), &Value::Null);
        self.foreign.push(id);
    }
}

contract_tests!(containers);

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn an_engine_that_is_away_is_named_and_nothing_is_taken_for_gone() {
    let settings = DockerSettings {
        socket: "/no/such/engine.sock".into(),
        composer: "c".to_owned(),
        registries: Vec::new(),
    };
    let orchestrator = DockerOrchestrator::open(settings).unwrap();
    for failure in [
        orchestrator.list().await.map(|_| ()).unwrap_err(),
        orchestrator.remove("x").await.unwrap_err(),
        orchestrator.stop("x", SHORT).await.unwrap_err(),
    ] {
        let named = failure.to_string().contains("/no/such/engine.sock");
        assert!(
            matches!(failure, Failure::Unavailable(_)) && named,
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn limits_and_mounts_hold() {
    let Some(mut bench) = containers().await else {
        return;
    };
    let orchestrator = bench.open().await;
    let shared = tempfile::tempdir().unwrap();
    std::fs::write(shared.path().join("note"), "from outside\n").unwrap();
    let looks = "cat /shared/note; echo x 2>/dev/null >/shared/new || echo refused; id -u";
    let mut definition = script(&bench, "c", "1", looks);
    definition.options.mounts = vec![Mount {
        source: shared.path().to_string_lossy().into_owned(),
        target: "/shared".to_owned(),
        read_only: true,
    }];
    definition.options.user = Some((65534, 65534));
    definition.options.limits = Limits {
        memory: Some(64 << 20),
        cpu_millis: Some(500),
        processes: Some(20),
        files: Some(77),
    };
    let handle = run(&orchestrator, &definition).await;
    wait_for_end(&orchestrator, &handle).await;
    let page = orchestrator
        .logs(&handle, &LogQuery::default())
        .await
        .unwrap();
    assert_eq!(page.lines, ["from outside", "refused", "65534"]);
    let host = &bench.inspect(&handle)["HostConfig"];
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["PidsLimit"], 20);
    assert_eq!(host["RestartPolicy"]["Name"], "no");
}

#[tokio::test]
async fn a_program_that_is_not_in_the_image_ends_at_once_and_the_log_names_it() {
    let Some(mut bench) = containers().await else {
        return;
    };
    let orchestrator = bench.open().await;
    let mut definition = script(&bench, "c", "1", "");
    definition.source = Source::Image {
        reference: IMAGE.to_owned(),
        command: Some(vec!["/no/such/program".to_owned()]),
    };
    let handle = run(&orchestrator, &definition).await;
    assert_ne!(wait_for_end(&orchestrator, &handle).await, Some(0));
    let page = orchestrator
        .logs(&handle, &LogQuery::default())
        .await
        .unwrap();
    assert!(page.lines.concat().contains("/no/such/program"), "{page:?}");
}

#[tokio::test]
async fn a_container_that_is_removed_by_hand_is_gone_and_can_be_made_again() {
    let Some(mut bench) = containers().await else {
        return;
    };
    let orchestrator = bench.open().await;
    let definition = script(&bench, "c", "1", FOR_EVER);
    let handle = run(&orchestrator, &definition).await;
    bench.engine(
        "DELETE",
        &format!("/containers/{handle}?force=1"),
        &Value::Null,
    );
    assert_eq!(find(&orchestrator, &handle).await, None);
    assert_eq!(run(&orchestrator, &definition).await, handle);
    wait_for_line(&orchestrator, &handle, "up").await;
}

#[tokio::test]
async fn a_container_that_is_paused_is_alive() {
    let Some(mut bench) = containers().await else {
        return;
    };
    let orchestrator = bench.open().await;
    let handle = run(&orchestrator, &script(&bench, "c", "1", FOR_EVER)).await;
    bench.engine("POST", &format!("/containers/{handle}/pause"), &Value::Null);
    let paused = find(&orchestrator, &handle).await.unwrap();
    assert_eq!((paused.is_live(), paused.phase), (true, Phase::Paused));
    bench.engine(
        "POST",
        &format!("/containers/{handle}/unpause"),
        &Value::Null,
    );
}
