//! `ferrocti composer`: the agent itself, and the commands that look after composers.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand};

use super::RemoteArgs;

/// `ferrocti composer …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ComposerArgs {
    /// How the agent runs
    #[command(flatten)]
    pub agent: AgentArgs,
    /// What to do with the composers of a platform; nothing: run as one
    #[command(subcommand)]
    pub command: Option<ComposerCommand>,
}

/// `ferrocti composer`: everything that is not here is in the file and the environment.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Address of the platform, a Ferrocti or an OpenCTI [env: FERROCTI_URL]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Token of the composer's own user; others on this machine see it, so rather use --token-file or the environment [env: FERROCTI_TOKEN]
    #[arg(long)]
    pub token: Option<String>,
    /// File with the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// Configuration file in TOML [env: FERROCTI_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of its key, its id and what it runs; ferrocti-composer when nothing is said [env: FERROCTI_COMPOSER_DIR]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<String>,
    /// Its id; made once when nothing is said [env: FERROCTI_COMPOSER_ID]
    #[arg(long)]
    pub id: Option<String>,
    /// Its name, for people [env: FERROCTI_COMPOSER_NAME]
    #[arg(long)]
    pub name: Option<String>,
    /// The Docker engine: auto, off, or unix:///path/of/the/socket [env: FERROCTI_COMPOSER_DOCKER]
    #[arg(long)]
    pub docker: Option<String>,
    /// Address of the platform that connectors are told [env: FERROCTI_COMPOSER_CONNECTOR_URL]
    #[arg(long, value_name = "URL")]
    pub connector_url: Option<String>,
    /// Programs that may run as processes: shipped or any [env: FERROCTI_COMPOSER_COMMANDS]
    #[arg(long)]
    pub commands: Option<String>,
    /// Directories that connectors may be given, separated by commas [env: FERROCTI_COMPOSER_MOUNTS]
    #[arg(long, value_name = "DIRS")]
    pub mounts: Option<String>,
    /// Beginnings of the images that may run, separated by commas [env: FERROCTI_COMPOSER_IMAGES]
    #[arg(long)]
    pub images: Option<String>,
    /// File with logins of registries, as `docker login` writes it [env: FERROCTI_COMPOSER_REGISTRIES]
    #[arg(long, value_name = "FILE")]
    pub registries: Option<String>,
    /// Log filter, e.g. info or ferrocti_composer=debug [env: FERROCTI_LOG]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

impl AgentArgs {
    /// The given flags by the key of their setting.
    pub fn flags(&self) -> BTreeMap<&'static str, String> {
        [
            ("composer.dir", &self.dir),
            ("composer.id", &self.id),
            ("composer.name", &self.name),
            ("composer.docker", &self.docker),
            ("composer.connector_url", &self.connector_url),
            ("composer.commands", &self.commands),
            ("composer.mounts", &self.mounts),
            ("composer.images", &self.images),
            ("composer.registries", &self.registries),
            ("log.filter", &self.log),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)))
        .collect()
    }
}

/// The commands about composers. A composer is named by id or name.
#[derive(Debug, Subcommand)]
pub enum ComposerCommand {
    /// List the composers with what they run on, and whether they are there
    List(RemoteArgs),
    /// Create the account that a composer on another machine needs, and print its token once
    Add {
        /// Name of the composer
        name: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Agree to the removal of what runs of deleted connectors, where a composer holds that back because they are many
    Approve {
        /// Id or name
        composer: String,
        /// Ids of deleted connectors; none: all that wait, which are listed
        connectors: Vec<String>,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Forget a composer that has no connectors
    Remove {
        /// Id or name
        composer: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
}
