//! From a definition to a process: without a shell, with an environment of its own, in a group of its own.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{journal::Spec, log, proc_fs::MARK, venv};
use crate::{Definition, Options, Restart, Source, orchestrator::Failure};

type Parts<'a> = (&'a [String], Option<&'a Path>, Option<&'a Path>);

/// Command, working directory and requirements file of a definition.
pub fn command(definition: &Definition) -> Result<Parts<'_>, Failure> {
    match &definition.source {
        Source::Command {
            argv,
            directory,
            requirements,
        } if !argv.is_empty() => Ok((argv, directory.as_deref(), requirements.as_deref())),
        Source::Command { .. } => Err(Failure::Refused(
            "no command is given; name the program to run".to_owned(),
        )),
        Source::Image { reference, .. } => Err(Failure::Unsupported(format!(
            "the image {reference} cannot run as a process; give a command, or assign the connector to a composer with a container engine"
        ))),
    }
}

/// Whether the options can be had for a process.
pub fn check(options: &Options) -> Result<(), Failure> {
    let impossible = if !options.mounts.is_empty() {
        "mounts are"
    } else if !options.networks.is_empty() {
        "networks are"
    } else if options.limits.cpu_millis.is_some() {
        "a limit of processor time is"
    } else if options.restart == Restart::Engine {
        "a restart by the engine is"
    } else if options.limits.processes.is_some() && options.user.is_none() {
        return Err(Failure::Unsupported(
            "a limit of processes counts all of a user's; give the connector a user of its own too"
                .to_owned(),
        ));
    } else if options.user.is_some() && !rustix::process::geteuid().is_root() {
        return Err(Failure::Unsupported(
            "only a composer that runs as root can start connectors as another user".to_owned(),
        ));
    } else {
        return Ok(());
    };
    Err(Failure::Unsupported(format!(
        "{impossible} not possible for a process; remove the option, or use a container engine"
    )))
}

/// Starts the process; it writes to the log by itself.
pub fn spawn(place: &Path, spec: &Spec, mark: &str) -> Result<Child, Failure> {
    let work = place.join("work");
    let directory = spec.directory.as_deref().unwrap_or(&work);
    let name = spec.argv.first().map_or("", String::as_str);
    let program = venv::program(name, spec.venv.as_deref(), spec.directory.as_deref())?;
    let refused = |error: std::io::Error| {
        Failure::Refused(format!("{} cannot be started: {error}", program.display()))
    };
    let log = log::open(place).map_err(refused)?;
    let mut command = Command::new(&program);
    command
        .arg0(name)
        .args(spec.argv.iter().skip(1))
        .current_dir(directory)
        .env_clear()
        .env("PATH", venv::path(spec.venv.as_deref()))
        .env("HOME", &work)
        .env("LANG", "C.UTF-8")
        .env("PYTHONUNBUFFERED", "1")
        .envs(spec.environment.iter().map(|(key, value)| (key, value)))
        .env(MARK, mark)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(refused)?)
        .stderr(log)
        .process_group(0);
    if let Some((user, group)) = spec.options.user {
        command.uid(user).gid(group);
    }
    command.spawn().map_err(refused)
}

/// Sets the limits of a process that was just started; what it forks inherits them.
pub fn limit(pid: i32, options: &Options) {
    let limits = [
        (Resource::As, options.limits.memory),
        (Resource::Nproc, options.limits.processes),
        (Resource::Nofile, options.limits.files),
    ];
    for (resource, limit) in limits {
        if limit.is_some() {
            let bound = Rlimit {
                current: limit,
                maximum: limit,
            };
            // fails only when the process has ended already, or for a limit above the host's own
            let _ = prlimit(Pid::from_raw(pid), resource, bound);
        }
    }
}
