//! Programs and the Python environments that they run in.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use sha2::{Digest, Sha256};

use super::proc_fs;
use crate::orchestrator::Failure;

/// How long one step of making an environment may take: large packages are compiled.
const MADE_WITHIN: Duration = Duration::from_secs(30 * 60);
/// How often a step is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where programs are looked for; nothing of the composer's own environment reaches a connector.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The `PATH` of an instance.
pub fn path(venv: Option<&Path>) -> String {
    match venv {
        Some(venv) => format!("{}:{PATH}", venv.join("bin").display()),
        None => PATH.to_owned(),
    }
}

/// Where a program is: as it is given when it holds a slash, else the first in `PATH`.
pub fn program(
    name: &str,
    venv: Option<&Path>,
    directory: Option<&Path>,
) -> Result<PathBuf, Failure> {
    use std::os::unix::fs::PermissionsExt;
    let executable = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = directory.map_or_else(|| PathBuf::from(name), |d| d.join(name));
        if !path.is_absolute() {
            return Err(Failure::Refused(format!(
                "the program {name} has no fixed place; give its absolute path, or a working directory"
            )));
        }
        return if executable(&path) {
            Ok(path)
        } else {
            Err(Failure::Refused(format!(
                "{} is not there or may not be executed; correct the command",
                path.display()
            )))
        };
    }
    let path = path(venv);
    path.split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| executable(path))
        .ok_or_else(|| {
            Failure::Refused(format!(
                "there is no program {name} in {path}; install it, or give its absolute path"
            ))
        })
}

/// The directory of the environment for the requirements, by their content.
pub fn place(venvs: &Path, requirements: &Path) -> Result<PathBuf, Failure> {
    let content = fs::read(requirements).map_err(|error| {
        Failure::Refused(format!(
            "the requirements file {} cannot be read: {error}",
            requirements.display()
        ))
    })?;
    let mut name = String::new();
    for byte in &Sha256::digest(content)[..8] {
        name.push_str(&format!("{byte:02x}"));
    }
    Ok(venvs.join(name))
}

/// Makes the environment unless it is there as a whole.
pub fn make(place: &Path, requirements: &Path) -> Result<(), Failure> {
    let complete = place.join(".complete");
    if complete.exists() {
        return Ok(());
    }
    let disk = |error: std::io::Error| {
        Failure::Unavailable(format!("{} cannot be made: {error}", place.display()))
    };
    if place.exists() {
        fs::remove_dir_all(place).map_err(disk)?;
    }
    if let Some(venvs) = place.parent() {
        fs::create_dir_all(venvs).map_err(disk)?;
    }
    let python = program("python3", None, None)?;
    let words = place.with_extension("log");
    run(
        Command::new(python).args(["-m", "venv"]).arg(place),
        &words,
        MADE_WITHIN,
    )?;
    let mut pip = Command::new(place.join("bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--requirement",
    ]);
    run(pip.arg(requirements), &words, MADE_WITHIN)?;
    fs::write(complete, "").map_err(disk)
}

/// Runs a step; what it writes goes to a file, so that what it leaves behind in the background holds nothing up.
fn run(command: &mut Command, words: &Path, within: Duration) -> Result<(), Failure> {
    let shown = command.get_program().to_string_lossy().into_owned();
    // what is installed runs programs of its own; proxies and indexes are for it, and the composer's token and settings are not
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"FERROCTI_") {
            command.env_remove(name);
        }
    }
    let cannot =
        |error: std::io::Error| Failure::Unavailable(format!("{shown} cannot be run: {error}"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(words).map_err(cannot)?)
        .process_group(0)
        .spawn()
        .map_err(cannot)?;
    let until = Instant::now() + within;
    let ended = loop {
        if let Some(ended) = child.try_wait().map_err(cannot)? {
            break ended;
        }
        if Instant::now() >= until {
            if let Ok(leader) = i32::try_from(child.id()) {
                proc_fs::signal_group(leader, Signal::KILL);
            }
            child.wait().map_err(cannot)?;
            return Err(Failure::Refused(format!(
                "the Python environment was not made within {} minutes; look at what its requirements run when they are installed",
                within.as_secs() / 60
            )));
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let text = fs::read(words).unwrap_or_default();
    // gone or not, the words are of no use any more
    let _ = fs::remove_file(words);
    if ended.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&text);
    let tail: Vec<&str> = text.lines().rev().take(5).collect();
    let tail: Vec<String> = tail.into_iter().rev().map(without_logins).collect();
    Err(Failure::Refused(format!(
        "the Python environment cannot be made: {}",
        tail.join(" / ")
    )))
}

/// A line in which no address has a user and a password: an index may ask for them, and the reason of a state is read by many.
fn without_logins(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || "/?#'\"".contains(c))
            .unwrap_or(after.len());
        let host = &after[..end];
        match host.rfind('@') {
            Some(login) => {
                out.push_str("***");
                out.push_str(&host[login..]);
            }
            None => out.push_str(host),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_logins() {
        for (line, shown) in [
            (
                "Looking in indexes: https://me:s3cret@pypi.example.org/simple, http://other",
                "Looking in indexes: https://***@pypi.example.org/simple, http://other",
            ),
            ("no address at all: a@b", "no address at all: a@b"),
            ("'http://u@h' ://", "'http://***@h' ://"),
        ] {
            assert_eq!(without_logins(line), shown);
        }
    }

    #[test]
    fn a_step_that_does_not_end_is_ended_with_what_it_began() {
        let directory = tempfile::tempdir().unwrap();
        let words = directory.path().join("words");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "sleep 600 & wait"]);
        let failure = run(&mut shell, &words, Duration::from_millis(200)).unwrap_err();
        assert!(failure.to_string().contains("not made within"), "{failure}");
    }

    #[test]
    fn a_step_that_fails_tells_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let words = directory.path().join("words");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo no such package >&2; exit 1"]);
        let failure = run(&mut shell, &words, MADE_WITHIN).unwrap_err();
        assert!(
            failure.to_string().ends_with("no such package"),
            "{failure}"
        );
        assert!(!words.exists());
    }
}
