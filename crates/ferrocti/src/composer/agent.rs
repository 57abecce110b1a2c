//! `ferrocti composer`: a composer of its own on this machine, for a Ferrocti or an OpenCTI somewhere else.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use ferrocti_composer::{
    Secret,
    platform::{Access, Found},
};

use super::{Addresses, Parts};
use crate::{
    cli::AgentArgs,
    config::{self, Sources},
    serve,
};

/// Directory of an agent where nothing is said.
const DIRECTORY: &str = "ferrocti-composer";

/// Runs until SIGTERM or SIGINT. What it runs goes on running.
pub fn run(args: &AgentArgs) -> Result<()> {
    let env = serve::environment();
    let given = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let url = args.url.clone().or_else(|| given("FERROCTI_URL"));
    let url =
        url.ok_or_else(|| anyhow!("no platform: give its address with --url or FERROCTI_URL"))?;
    let url = config::address(&url).map_err(|why| anyhow!("the address of the platform: {why}"))?;
    let token = token(args, given("FERROCTI_TOKEN"))?;
    let loaded = config::load(&Sources {
        file: args
            .config
            .clone()
            .or_else(|| given("FERROCTI_CONFIG").map(Into::into)),
        env,
        flags: args.flags(),
    })?;
    let settings = loaded.settings;
    serve::start_log(&settings);
    let runtime = serve::runtime()?;
    let ran = runtime.block_on(async {
        let stop = serve::stop_signal()?;
        let mut settings = settings;
        let composer = &mut settings.composer;
        composer.dir.get_or_insert_with(|| DIRECTORY.into());
        composer.name.get_or_insert_with(own_name);
        let addresses = Addresses::of(composer.connector_url.as_deref(), &url);
        let access = Access {
            proxy: settings.way.proxy()?,
            ca_file: settings.way.ca_file.clone(),
            ..Access::new(&url, token)
        };
        let opening = tokio::task::spawn_blocking(move || Parts::open(&settings, addresses));
        let parts = opening.await??;
        let platform = Found::open(&access, &parts.id)?.working_in(&parts.directory);
        tracing::info!(composer = parts.id, directory = %parts.directory.display(), platform = url, "the composer runs");
        parts.engine(Arc::new(platform)).run(stop).await;
        Ok(())
    });
    tracing::info!("stopped; connectors go on running");
    // a question that waits for changes is not waited for
    runtime.shutdown_background();
    ran
}

/// The token from the command line, a file, or the environment.
fn token(args: &AgentArgs, variable: Option<String>) -> Result<Secret> {
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => read(file)?,
        (None, None) => variable.ok_or_else(|| {
            anyhow!(
                "no token: give --token-file or set FERROCTI_TOKEN; `ferrocti composer add NAME` makes one on a Ferrocti platform"
            )
        })?,
    };
    let token = token.trim();
    // what cannot stand in a header is no token, and is not repeated
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        bail!(
            "what was given as the token is none: it is empty, or holds spaces or other characters"
        );
    }
    Ok(Secret::new(token))
}

fn read(file: &PathBuf) -> Result<String> {
    std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the token in {}", file.display()))
}

/// The name of this machine, which is the agent's where it is given none.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => "Composer".to_owned(),
        host => format!("Composer of {host}"),
    }
}
