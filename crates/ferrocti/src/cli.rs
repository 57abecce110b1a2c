//! The command line: what can be said, and what each word means.

mod composer;
mod connector;
mod security;

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Parser, Subcommand};
pub use composer::*;
pub use connector::*;
pub use security::*;

/// An open, OpenCTI-compatible threat intelligence platform in one binary.
#[derive(Debug, Parser)]
#[command(name = "ferrocti", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the platform on embedded defaults, load a small example, print how to log in and what to try next
    Quickstart(ServerArgs),
    /// Start the platform
    Serve(ServerArgs),
    /// Send STIX 2.1 bundles to a running platform and wait until they are ingested
    Import(ImportArgs),
    /// Show connectors, queues, works and what waits, of a running platform
    Status(RemoteArgs),
    /// Look after users, their tokens and sessions
    #[command(subcommand)]
    User(UserCommand),
    /// Look after groups: what their members may see, and how much their data counts
    #[command(subcommand)]
    Group(GroupCommand),
    /// Look after roles: what the members of a group may do
    #[command(subcommand)]
    Role(RoleCommand),
    /// Ask why somebody may or may not do something
    #[command(subcommand)]
    Access(AccessCommand),
    /// Look for dangerous set-ups of accounts and rights; exit status 1 when there are any
    Doctor(DoctorArgs),
    /// Show who did what, on what, from where and with what outcome
    Audit(AuditArgs),
    /// Deploy connectors, look after them and their state
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// Run connectors on this machine for a platform somewhere else; or look after the composers of a platform
    Composer(Box<ComposerArgs>),
    /// Inspect, replay and discard messages that could not be ingested
    #[command(subcommand)]
    Queue(QueueCommand),
    /// List references that wait for something that has not arrived
    Parked(RemoteArgs),
    /// Check the files of a stopped platform for damage
    Check(CheckArgs),
    /// List all settings: names, environment variables, defaults
    Config,
}

/// Settings of the server as flags; everything else is in the file and the environment.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Configuration file in TOML [env: FERROCTI_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the store, the queues and the keys [env: FERROCTI_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Address to listen on [env: FERROCTI_HOST]
    #[arg(long)]
    pub host: Option<String>,
    /// HTTP port, 0 for a free one [env: FERROCTI_PORT]
    #[arg(long)]
    pub port: Option<String>,
    /// AMQP port, 0 for a free one [env: FERROCTI_AMQP_PORT]
    #[arg(long)]
    pub amqp_port: Option<String>,
    /// Path in front of every route [env: FERROCTI_BASE_PATH]
    #[arg(long)]
    pub base_path: Option<String>,
    /// Log filter, e.g. info or ferrocti_ingest=debug [env: FERROCTI_LOG]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Print events for machines, one JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl ServerArgs {
    /// The given flags by the key of their setting.
    pub fn flags(&self) -> BTreeMap<&'static str, String> {
        [
            ("data_dir", &self.data_dir),
            ("host", &self.host),
            ("port", &self.port),
            ("amqp_port", &self.amqp_port),
            ("base_path", &self.base_path),
            ("log.filter", &self.log),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)))
        .collect()
    }
}

/// Which platform to talk to.
#[derive(Debug, Args)]
pub struct RemoteArgs {
    /// Address of the platform [env: FERROCTI_URL]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Token of a user [env: FERROCTI_TOKEN]
    #[arg(long)]
    pub token: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `ferrocti import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// STIX 2.1 bundles
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Return as soon as the platform has accepted the bundles
    #[arg(long)]
    pub no_wait: bool,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `ferrocti queue …`
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List dead letters with the reason of each
    DeadLetters(RemoteArgs),
    /// Put a dead letter back into its queue
    Replay {
        /// Id of the dead letter
        id: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Remove a dead letter for good
    Discard {
        /// Id of the dead letter
        id: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// `ferrocti check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Data directory of the stopped platform [env: FERROCTI_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Also check what connectors wrote against who acted as them: one writer at a time, no state that goes back, no message lost
    #[arg(long)]
    pub history: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_reach_their_settings() {
        let cli = Cli::parse_from(["ferrocti", "serve", "--port", "0", "--data-dir", "d"]);
        let Command::Serve(args) = cli.command else {
            panic!("serve")
        };
        assert_eq!(
            args.flags(),
            BTreeMap::from([("port", "0".to_owned()), ("data_dir", "d".to_owned())])
        );
    }
}
