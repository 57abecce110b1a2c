//! A composer for the crash test: starts, stops and replaces instances of four connectors without end, until it is killed.
//! Usage: `process_host DIRECTORY`

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ferrocti_composer::{
    Definition, EnvVar, Options, Orchestrator, ProcessOrchestrator, ProcessSettings, Requested,
    Source,
};
use ferrocti_model::clock::{Clock, Millis};

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Millis {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as Millis)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let orchestrator = ProcessOrchestrator::open(ProcessSettings {
        directory: directory.into(),
        composer: "crash-test".to_owned(),
        log_bytes: 1 << 20,
        clock: Arc::new(Wall),
    })?;
    println!("ready");
    for round in 0u64.. {
        for connector in ["a", "b", "c", "d"] {
            let definition = Definition {
                connector: connector.to_owned(),
                name: connector.to_owned(),
                revision: (round % 3).to_string(),
                requested: Requested::Running,
                source: Source::Command {
                    argv: ["/bin/sh", "-c", "sleep 600 & wait"]
                        .map(str::to_owned)
                        .to_vec(),
                    directory: None,
                    requirements: None,
                },
                environment: vec![EnvVar::plain("CONNECTOR_ID", connector)],
                options: Options::default(),
                fault: None,
            };
            for instance in orchestrator.list().await?.instances {
                if instance.connector == connector {
                    orchestrator
                        .stop(&instance.handle, Duration::from_millis(500))
                        .await?;
                    orchestrator.remove(&instance.handle).await?;
                }
            }
            let handle = orchestrator.create(&definition).await?;
            orchestrator.start(&handle).await?;
        }
    }
    Ok(())
}
