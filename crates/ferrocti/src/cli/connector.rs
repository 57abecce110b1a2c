//! The commands about connectors: what there is to deploy, deploying, looking after, the state they keep.
//!
//! No command takes a secret as text: arguments are seen by every user of the machine and stay in the shell's history.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};
use ferrocti_catalog::launch::{Mount, parse_memory};

use super::RemoteArgs;

/// `ferrocti connector …`. A connector is named by id or by name.
#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    /// List connectors with their state and health
    List {
        /// Only those that a composer runs
        #[arg(long)]
        managed: bool,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show a connector: state and why, health and why, version, settings, limits, user
    Show {
        /// Id or name
        connector: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Find connectors that can be deployed
    Catalog(CatalogArgs),
    /// Show a contract of a catalog: what the connector does, and every setting that it takes
    Contract {
        /// Slug, from `ferrocti connector catalog`
        slug: String,
        /// Version; otherwise the newest that fits the platform
        #[arg(long)]
        version: Option<String>,
        /// Only in this catalog
        #[arg(long, value_name = "ID")]
        catalog: Option<String>,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Deploy a connector: from a contract of a catalog, an image, or a command
    Deploy(Box<DeployArgs>),
    /// Change the settings, secrets, limits, name, user or composer of a managed connector
    Configure(Box<ConfigureArgs>),
    /// Start a managed connector
    Start(OneArgs),
    /// Stop a managed connector; its state and what waits in its queues stay
    Stop(OneArgs),
    /// Stop and start a managed connector
    Restart(OneArgs),
    /// Show the log of a managed connector
    Logs(LogsArgs),
    /// Bring a managed connector to another version; its settings are checked first, and what does not become healthy is rolled back
    Upgrade {
        /// Version; otherwise the newest that fits the platform
        #[arg(long)]
        version: Option<String>,
        /// Which one, and how long to wait
        #[command(flatten)]
        one: OneArgs,
    },
    /// Put an earlier definition of a managed connector back
    Rollback {
        /// Number of the definition, from `ferrocti connector definitions`; otherwise the one before
        #[arg(long = "to", value_name = "NUMBER")]
        number: Option<i64>,
        /// Which one, and how long to wait
        #[command(flatten)]
        one: OneArgs,
    },
    /// List the definitions that a managed connector has had
    Definitions {
        /// Id or name
        connector: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show what `apply` would do for a file
    Plan {
        /// File with connectors, in YAML
        file: PathBuf,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Make the connectors be as a file says, after showing what that means
    Apply(ApplyArgs),
    /// What a connector remembers between its runs
    #[command(subcommand)]
    State(StateCommand),
    /// Remove a connector with its queues, works and state; what runs of a managed one is removed by its composer
    Delete(OneArgs),
    /// Run the sample connector, which is told everything by its environment; the contract `ferrocti-sample` deploys it
    #[command(hide = true)]
    Sample,
}

/// `ferrocti connector catalog`
#[derive(Debug, Args)]
pub struct CatalogArgs {
    /// Words that a connector's name or description holds
    pub search: Vec<String>,
    /// Only this type, e.g. EXTERNAL_IMPORT; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = connector_type)]
    pub types: Vec<String>,
    /// Only with this use case; may be given several times
    #[arg(long = "use-case", value_name = "TEXT")]
    pub use_cases: Vec<String>,
    /// Only those that their catalog says a composer can run
    #[arg(long)]
    pub supported: bool,
    /// Only those that the makers of their catalog have tried
    #[arg(long)]
    pub verified: bool,
    /// Only in this catalog
    #[arg(long, value_name = "ID")]
    pub catalog: Option<String>,
    /// Read the sources of all catalogs again first
    #[arg(long)]
    pub refresh: bool,
    /// List the catalogs themselves: where they come from, and what is wrong with them
    #[arg(long, conflicts_with_all = ["search", "types", "use_cases", "supported", "verified"])]
    pub sources: bool,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// One managed connector, and how long to wait for it.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Id or name
    pub connector: String,
    /// How long to wait
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Whether to wait for what was asked for.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Wait until it is so, and fail if it does not come to it
    #[arg(long)]
    pub wait: bool,
    /// How many seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    pub timeout: u64,
}

/// What a connector is told.
#[derive(Debug, Args)]
pub struct SettingArgs {
    /// A setting; may be given several times. Secrets are refused here
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// A secret and where it is read: KEY=env:NAME, KEY=file:PATH, or KEY=- for the standard input; may be given several times
    // read by `SecretSource::read` later: a faulty argument may be the secret, and clap repeats what it refuses
    #[arg(long = "secret", value_name = "KEY=SOURCE")]
    pub secrets: Vec<String>,
    /// Also take settings that the contract does not name
    #[arg(long)]
    pub allow_unknown: bool,
}

/// Where a secret is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In an environment variable.
    Environment(String),
    /// In a file, without the end of its last line.
    File(PathBuf),
    /// On the standard input.
    Input,
}

impl SecretSource {
    /// A key and where its secret is, from an argument.
    ///
    /// # Errors
    /// What is expected. It does not repeat what was given, which may be the secret.
    pub fn read(text: &str) -> Result<(String, Self), String> {
        let expected = "write --secret KEY=env:NAME, KEY=file:PATH or KEY=- (standard input); a secret is never given as text";
        let (key, source) = text.split_once('=').ok_or(expected)?;
        let source = match (source, source.split_once(':')) {
            ("-", _) => Self::Input,
            (_, Some(("env", name))) if !name.is_empty() => Self::Environment(name.to_owned()),
            (_, Some(("file", path))) if !path.is_empty() => Self::File(path.into()),
            _ => return Err(expected.to_owned()),
        };
        Ok((key_of(key)?, source))
    }
}

/// What a connector may use, where its orchestrator can see to that.
#[derive(Debug, Args)]
pub struct RuntimeArgs {
    /// Most memory, e.g. 512m
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// Most processors, e.g. 0.5
    #[arg(long, value_name = "NUMBER", value_parser = cpus)]
    pub cpus: Option<u32>,
    /// Most processes and threads
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..))]
    pub processes: Option<u32>,
    /// A directory, file or volume that it sees; may be given several times
    #[arg(long = "mount", value_name = "SOURCE:TARGET[:ro]", value_parser = mount)]
    pub mounts: Vec<Mount>,
    /// A network that it is in; may be given several times
    #[arg(long = "network", value_name = "NAME")]
    pub networks: Vec<String>,
    /// A variable of its environment beside its settings; may be given several times. Secrets are refused here
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = assignment)]
    pub environment: Vec<(String, String)>,
    /// Proxy for http and https in place of its composer's
    #[arg(long, value_name = "URL", value_parser = proxy)]
    pub proxy: Option<String>,
    /// Hosts that it reaches without the proxy, with commas
    #[arg(long, value_name = "HOSTS", requires = "proxy")]
    pub proxy_except: Option<String>,
}

/// `ferrocti connector deploy`
#[derive(Debug, Args)]
#[command(after_help = DEPLOY_HELP)]
pub struct DeployArgs {
    /// Slug of a contract, from `ferrocti connector catalog`
    #[arg(required_unless_present_any = ["image", "command"], conflicts_with_all = ["image", "command"])]
    pub contract: Option<String>,
    /// An image that is in no catalog, with its tag or digest
    #[arg(long, conflicts_with = "command", requires = "name")]
    pub image: Option<String>,
    /// A program with its arguments, as the last option: all that follows belongs to it
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_names = ["PROGRAM", "ARGUMENT"], requires = "name")]
    pub command: Vec<String>,
    /// Name; for a contract its title where it is left out
    #[arg(long)]
    pub name: Option<String>,
    /// Version of the contract, to which it is pinned; otherwise the newest that fits the platform
    #[arg(long, conflicts_with_all = ["image", "command"])]
    pub version: Option<String>,
    /// The catalog of the contract; otherwise the first that has it
    #[arg(long, value_name = "ID", conflicts_with_all = ["image", "command"])]
    pub catalog: Option<String>,
    /// Type of what is in no catalog
    #[arg(long = "type", value_name = "TYPE", value_parser = connector_type, default_value = "EXTERNAL_IMPORT")]
    pub connector_type: String,
    /// Where the program runs, on the composer's machine; otherwise in a directory of its own
    #[arg(long, value_name = "DIR", requires = "command")]
    pub working_directory: Option<String>,
    /// A requirements.txt on the composer's machine from which a Python environment is made for the program
    #[arg(long, value_name = "FILE", requires = "command")]
    pub requirements: Option<String>,
    /// Id of the connector; otherwise a new one
    #[arg(long)]
    pub id: Option<String>,
    /// Run it as this existing user; otherwise it gets a service account of its own
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Name of its service account
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    pub new_user: Option<String>,
    /// Greatest confidence of its service account; otherwise the contract's
    #[arg(long, value_name = "N", conflicts_with = "user", value_parser = value_parser!(u8).range(0..=100))]
    pub confidence: Option<u8>,
    /// Id or name of the composer that runs it; otherwise the one that has been there longest
    #[arg(long)]
    pub composer: Option<String>,
    /// Do not start it
    #[arg(long, conflicts_with = "wait")]
    pub no_start: bool,
    /// Settings
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Limits
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// How long to wait
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

const DEPLOY_HELP: &str = "\
Examples:
  ferrocti connector deploy ferrocti-sample --set SAMPLE_OBJECTS=20 --wait
  ferrocti connector deploy mitre --version 7.260817.0 --confidence 75
  ferrocti connector deploy --image example/feed:1.2 --name \"My feed\" --secret FEED_API_KEY=file:/run/secrets/feed --memory 512m
  ferrocti connector deploy --name \"My feed\" --requirements /srv/feed/requirements.txt --command python /srv/feed/main.py";

/// `ferrocti connector configure`
#[derive(Debug, Args)]
pub struct ConfigureArgs {
    /// Id or name
    pub connector: String,
    /// Settings; what is not named stays
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Forget a setting or a secret: it falls back to its default; may be given several times
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<String>,
    /// New name
    #[arg(long)]
    pub name: Option<String>,
    /// Run it as this existing user
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Let another composer run it; its secrets have to be given again
    #[arg(long)]
    pub composer: Option<String>,
    /// Keep it at its version: a newer one is not proposed
    #[arg(long)]
    pub pin: bool,
    /// Propose newer versions again
    #[arg(long, conflicts_with = "pin")]
    pub unpin: bool,
    /// Forget all limits, mounts, networks, variables and the proxy first
    #[arg(long)]
    pub reset_runtime: bool,
    /// Limits; what is not named stays
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// How long to wait
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `ferrocti connector logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Id or name
    pub connector: String,
    /// Only lines that hold this text
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// How many of the last lines
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = value_parser!(u32).range(1..=2000))]
    pub lines: u32,
    /// Go on showing lines as they come
    #[arg(long, short)]
    pub follow: bool,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `ferrocti connector apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// File with connectors, in YAML
    pub file: PathBuf,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Also remove the connectors that came from a file and are in it no more
    #[arg(long)]
    pub allow_removals: bool,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `ferrocti connector state …`
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Show the state of a connector and its versions
    History {
        /// Id or name
        connector: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Put an earlier version of the state back; the connector gets it at its next start
    Restore {
        /// Id or name
        connector: String,
        /// Number of the version, from `ferrocti connector state history`
        version: i64,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Empty the state and purge the queues, so that the connector starts from the beginning; the state stays in the history
    Reset {
        /// Id or name
        connector: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// A key and its value, which may be empty.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write KEY=VALUE; KEY= for an empty value")?;
    Ok((key_of(key)?, value.to_owned()))
}

fn key_of(key: &str) -> Result<String, String> {
    let key = key.trim();
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("the key before `=` must be the name of a variable".to_owned());
    }
    Ok(key.to_owned())
}

fn memory(text: &str) -> Result<u64, String> {
    parse_memory(text)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write bytes, or for example 512m or 2g".to_owned())
}

/// Thousandths of a processor.
fn cpus(text: &str) -> Result<u32, String> {
    text.parse::<f64>()
        .ok()
        .map(|number| (number * 1000.0).round())
        .filter(|millis| (1.0..=1e6).contains(millis))
        .map(|millis| millis as u32)
        .ok_or_else(|| "write a number such as 0.5 or 2".to_owned())
}

fn mount(text: &str) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, read_only) = match parts[..] {
        [source, target] | [source, target, "rw"] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        _ => return Err("write SOURCE:TARGET or SOURCE:TARGET:ro".to_owned()),
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err("SOURCE must not be empty, and TARGET begins with /".to_owned());
    }
    Ok(Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    })
}

fn proxy(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        Ok(text.to_owned())
    } else {
        Err("a proxy begins with http:// or https://".to_owned())
    }
}

fn connector_type(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    match ferrocti_catalog::ConnectorType::of(&name) {
        Some(_) => Ok(name),
        None => Err(format!(
            "must be one of {}",
            ferrocti_catalog::ConnectorType::names()
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(args: &[&str]) -> Result<ConnectorCommand, String> {
        let words = ["ferrocti", "connector"].iter().chain(args);
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Connector(command)) => Ok(command),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn deploy(args: &[&str]) -> DeployArgs {
        match parse(&[&["deploy"], args].concat()) {
            Ok(ConnectorCommand::Deploy(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_contract_is_deployed_with_settings_secrets_and_limits() {
        let args = deploy(&[
            "mitre",
            "--set",
            "CONNECTOR_SCOPE=tool,report",
            "--set",
            "EMPTY=",
            "--secret",
            "A_KEY=env:HOME",
            "--secret",
            "B_KEY=file:/run/b",
            "--secret",
            "C_KEY=-",
            "--memory",
            "512m",
            "--cpus",
            "0.5",
            "--mount",
            "/srv/a:/a:ro",
            "--env",
            "TZ=UTC",
            "--confidence",
            "75",
            "--wait",
        ]);
        assert_eq!(args.contract.as_deref(), Some("mitre"));
        assert_eq!(args.settings.set[0].1, "tool,report");
        assert_eq!(args.settings.set[1], ("EMPTY".to_owned(), String::new()));
        let secrets: Vec<(String, SecretSource)> = args
            .settings
            .secrets
            .iter()
            .map(|text| SecretSource::read(text).unwrap())
            .collect();
        assert_eq!(
            secrets,
            [
                (
                    "A_KEY".to_owned(),
                    SecretSource::Environment("HOME".to_owned())
                ),
                ("B_KEY".to_owned(), SecretSource::File("/run/b".into())),
                ("C_KEY".to_owned(), SecretSource::Input),
            ]
        );
        assert_eq!(args.runtime.memory, Some(512 << 20));
        assert_eq!(args.runtime.cpus, Some(500));
        assert!(args.runtime.mounts[0].read_only);
        assert!(args.wait.wait && !args.no_start);
    }

    #[test]
    fn a_command_takes_everything_after_it() {
        let args = deploy(&[
            "--name",
            "x feed",
            "--command",
            "python3",
            "-u",
            "main.py",
            "--wait",
        ]);
        assert_eq!(args.command, ["python3", "-u", "main.py", "--wait"]);
        assert!(!args.wait.wait);
        assert_eq!(args.connector_type, "EXTERNAL_IMPORT");
    }

    #[test]
    fn a_secret_is_never_taken_as_text_nor_repeated() {
        for given in ["API_KEY=hunter2", "hunter2", "API_KEY=env:", "=env:hunter2"] {
            let told = SecretSource::read(given).unwrap_err();
            assert!(!told.contains("hunter2"), "{told}");
            assert!(
                told.contains("standard input") || told.contains("name of a variable"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for args in [
            &["deploy"][..],
            &["deploy", "mitre", "--image", "x", "--name", "x y"],
            &["deploy", "--image", "x"],
            &["deploy", "--image", "x", "--name", "x y", "--version", "1"],
            &["deploy", "mitre", "--no-start", "--wait"],
            &["deploy", "mitre", "--user", "a", "--confidence", "5"],
            &["deploy", "mitre", "--confidence", "101"],
            &["deploy", "mitre", "--set", "NOVALUE"],
            &["deploy", "mitre", "--memory", "much"],
            &["deploy", "mitre", "--cpus", "0"],
            &["deploy", "mitre", "--mount", "/a:relative"],
            &["deploy", "mitre", "--proxy", "proxy:3128"],
            &["deploy", "mitre", "--type", "NONSENSE"],
            &["start", "x", "--timeout", "5"],
            &["configure", "x", "--pin", "--unpin"],
            &["logs", "x", "--lines", "0"],
            &["catalog", "mitre", "--sources"],
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn the_sample_is_there_and_not_in_the_help() {
        assert!(matches!(parse(&["sample"]), Ok(ConnectorCommand::Sample)));
        let help = parse(&["--help"]).unwrap_err();
        assert!(
            help.contains("deploy") && !help.contains("sample connector"),
            "{help}"
        );
    }
}
