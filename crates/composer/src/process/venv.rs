//! Programs and the Python environments that they run in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use crate::orchestrator::Failure;

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
    let python = program("python3", None, None)?;
    run(Command::new(python).args(["-m", "venv"]).arg(place))?;
    let mut pip = Command::new(place.join("bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--requirement",
    ]);
    run(pip.arg(requirements))?;
    fs::write(complete, "").map_err(disk)
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = command.get_program().to_string_lossy().into_owned();
    // what is installed runs programs of its own; proxies and indexes are for it, and the composer's token and settings are not
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"FERROCTI_") {
            command.env_remove(name);
        }
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::Unavailable(format!("{shown} cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = text.lines().rev().take(5).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(Failure::Refused(format!(
        "the Python environment cannot be made: {}",
        tail.join(" / ")
    )))
}
