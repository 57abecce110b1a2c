//! What this composer lets a platform do on its host. Whoever may define connectors could otherwise run any program on every host that has a composer.

use std::path::{Component, Path, PathBuf};

use ferrocti_catalog::{
    launch::{Launch, SELF_PROGRAM},
    local,
};

use crate::{Definition, Source};

/// What the composer's own settings allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permits {
    /// Which programs may run as processes.
    pub commands: Commands,
    /// Directories of the host that containers may be given, with all that is in them. Named volumes are always allowed.
    pub mounts: Vec<PathBuf>,
    /// Beginnings of the images that may be run; empty: all.
    pub images: Vec<String>,
}

/// Which programs may run as processes of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Commands {
    /// The connectors that come with this program, exactly as its own catalog has them.
    #[default]
    Shipped,
    /// Whatever the platform asks for.
    Any,
}

impl Default for Permits {
    /// What needs no setting: shipped programs, any image, nothing of the host.
    fn default() -> Self {
        Self {
            commands: Commands::Shipped,
            mounts: Vec::new(),
            images: Vec::new(),
        }
    }
}

/// Variables with which the environment alone changes what a program does: those that the dynamic loader ignores for privileged programs.
const LOADER: &[&str] = &[
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "HOSTALIASES",
    "LD_",
    "LOCALDOMAIN",
    "LOCPATH",
    "MALLOC_",
    "NIS_PATH",
    "NLSPATH",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "TMPDIR",
    "TZDIR",
    "FERROCTI_",
];

impl Permits {
    /// Why a connector must not be run, in words that name the setting; `None`: it may. `launch` is what the platform says, `definition` what was
    /// made of it.
    #[must_use]
    pub fn refusal(&self, launch: &Launch, definition: &Definition) -> Option<String> {
        if let (Commands::Shipped, Launch::Command { .. }) = (self.commands, launch) {
            if !shipped(launch) {
                return Some(
                    "this composer runs only the programs that come with it; whoever administers its host can allow others (composer.commands = any)"
                        .to_owned(),
                );
            }
            let variable = definition
                .environment
                .iter()
                .find(|variable| LOADER.iter().any(|name| variable.key.starts_with(name)));
            if let Some(variable) = variable {
                return Some(format!(
                    "the variable {} can change which program runs, and this composer runs only those that come with it; remove it, or let whoever administers the host allow others (composer.commands = any)",
                    variable.key
                ));
            }
        }
        if let Source::Image { reference, .. } = &definition.source
            && !self.images.is_empty()
            && !self
                .images
                .iter()
                .any(|prefix| reference.starts_with(prefix))
        {
            return Some(format!(
                "this composer does not run the image {reference}; whoever administers its host allows images by how they begin (composer.images)"
            ));
        }
        // `container:ID` would put it into whatever else runs on the host
        let named = |network: &&String| !is_name(network);
        if let Some(network) = definition.options.networks.iter().find(named) {
            return Some(format!(
                "{network:?} is no name of a network; name one of the engine's, or `host`"
            ));
        }
        definition
            .options
            .mounts
            .iter()
            .find(|mount| !self.mountable(&mount.source))
            .map(|mount| {
                format!(
                    "this composer does not give {} to connectors; whoever administers its host allows directories (composer.mounts)",
                    mount.source
                )
            })
    }

    fn mountable(&self, source: &str) -> bool {
        if !source.contains('/') {
            return is_name(source);
        }
        let path = Path::new(source);
        let plain = |path: &Path| {
            path.is_absolute()
                && path
                    .components()
                    .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        };
        let within = |path: &Path| self.mounts.iter().any(|allowed| path.starts_with(allowed));
        // a link that leads out of what is allowed is not allowed; what is not on this host cannot be looked at
        let real = path.canonicalize().map_or(true, |real| {
            self.mounts.iter().any(|allowed| {
                real.starts_with(allowed.canonicalize().unwrap_or_else(|_| allowed.clone()))
            })
        });
        plain(path) && within(path) && real
    }
}

/// Whether this can be the name of a volume or network of a container engine.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(inner)
}

/// Whether this is, word for word, how a connector of the own catalog is started.
fn shipped(launch: &Launch) -> bool {
    let Launch::Command { command, .. } = launch else {
        return false;
    };
    command
        .first()
        .is_some_and(|program| program == SELF_PROGRAM)
        && local::catalog("0").is_ok_and(|catalog| {
            catalog
                .contracts
                .iter()
                .any(|contract| contract.launch() == *launch)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnvVar, Mount, Options, Requested};

    fn command(words: &[&str]) -> Launch {
        Launch::Command {
            command: words.iter().map(|&word| word.to_owned()).collect(),
            working_directory: None,
            requirements: None,
        }
    }

    fn definition(source: Source) -> Definition {
        Definition {
            connector: "c".to_owned(),
            name: "c".to_owned(),
            revision: "1".to_owned(),
            requested: Requested::Running,
            source,
            environment: Vec::new(),
            options: Options::default(),
            fault: None,
        }
    }

    fn program() -> Definition {
        definition(Source::Command {
            argv: vec!["/x".to_owned()],
            directory: None,
            requirements: None,
        })
    }

    fn image(reference: &str) -> (Launch, Definition) {
        let image = reference.to_owned();
        let reference = reference.to_owned();
        let source = Source::Image {
            reference,
            command: None,
        };
        (Launch::Image { image }, definition(source))
    }

    #[test]
    fn only_what_comes_with_the_program_runs_as_a_process_unless_the_host_allows_more() {
        let table = [
            (command(&["@ferrocti", "connector", "sample"]), true),
            (command(&["@ferrocti", "user", "reset"]), false),
            (command(&["@ferrocti"]), false),
            (command(&["/usr/bin/python3", "main.py"]), false),
            (
                Launch::Command {
                    command: vec!["@ferrocti".into(), "connector".into(), "sample".into()],
                    working_directory: None,
                    requirements: Some("/tmp/requirements.txt".into()),
                },
                false,
            ),
        ];
        let any = Permits {
            commands: Commands::Any,
            ..Permits::default()
        };
        for (launch, allowed) in table {
            let refusal = Permits::default().refusal(&launch, &program());
            assert_eq!(refusal.is_none(), allowed, "{launch:?}");
            assert!(refusal.is_none_or(|why| why.contains("composer.commands")));
            assert_eq!(any.refusal(&launch, &program()), None);
        }
    }

    #[test]
    fn the_environment_does_not_change_which_program_runs() {
        let launch = command(&["@ferrocti", "connector", "sample"]);
        for (key, allowed) in [
            ("CONNECTOR_NAME", true),
            ("HTTPS_PROXY", true),
            ("LD_PRELOAD", false),
            ("GCONV_PATH", false),
            ("FERROCTI_DATA", false),
        ] {
            let mut definition = program();
            definition.environment = vec![EnvVar::plain(key, "x")];
            let refusal = Permits::default().refusal(&launch, &definition);
            assert_eq!(refusal.is_none(), allowed, "{key}");
        }
    }

    #[test]
    fn images_are_allowed_by_how_they_begin() {
        let permits = Permits {
            images: vec!["opencti/".to_owned(), "ghcr.io/us/".to_owned()],
            ..Permits::default()
        };
        for (reference, allowed) in [
            ("opencti/connector-mitre:7", true),
            ("ghcr.io/us/x:1", true),
            ("ghcr.io/them/x:1", false),
            ("evil/opencti/x:1", false),
        ] {
            let (launch, definition) = image(reference);
            let refusal = permits.refusal(&launch, &definition);
            assert_eq!(refusal.is_none(), allowed, "{reference}");
            assert_eq!(Permits::default().refusal(&launch, &definition), None);
        }
    }

    #[test]
    fn nobody_is_put_into_the_network_of_another_container() {
        for (network, allowed) in [
            ("cti", true),
            ("host", true),
            ("my_net-1.x", true),
            ("container:postgres", false),
            ("", false),
        ] {
            let (launch, mut definition) = image("x:1");
            definition.options.networks = vec!["bridge".to_owned(), network.to_owned()];
            let refusal = Permits::default().refusal(&launch, &definition);
            assert_eq!(refusal.is_none(), allowed, "{network}: {refusal:?}");
        }
    }

    #[test]
    fn of_the_host_only_allowed_directories_are_given() {
        let directory = tempfile::tempdir().unwrap();
        let allowed_directory = directory.path().join("shared");
        std::fs::create_dir(&allowed_directory).unwrap();
        std::os::unix::fs::symlink("/etc", allowed_directory.join("link")).unwrap();
        let permits = Permits {
            mounts: vec![allowed_directory.clone(), "/srv/not-here".into()],
            ..Permits::default()
        };
        let inside = |name: &str| allowed_directory.join(name).display().to_string();
        for (source, allowed) in [
            (inside("x"), true),
            (allowed_directory.display().to_string(), true),
            (inside("link"), false),
            (inside("link/passwd"), false),
            (inside("../other"), false),
            (format!("{}-other", allowed_directory.display()), false),
            ("/srv/not-here/data".to_owned(), true),
            ("/srv/not-here/../../etc".to_owned(), false),
            ("/".to_owned(), false),
            ("relative/path".to_owned(), false),
            ("volume-1".to_owned(), true),
            ("..".to_owned(), false),
            (String::new(), false),
        ] {
            let (launch, mut definition) = image("x:1");
            definition.options.mounts = vec![Mount {
                source: source.clone(),
                target: "/data".to_owned(),
                read_only: false,
            }];
            let refusal = permits.refusal(&launch, &definition);
            assert_eq!(refusal.is_none(), allowed, "{source}");
            assert!(refusal.is_none_or(|why| why.contains("composer.mounts")));
        }
    }
}
