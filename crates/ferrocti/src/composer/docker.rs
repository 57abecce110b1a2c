//! The Docker engine of this machine, and logins at registries as `docker login` leaves them.

use std::{
    io::ErrorKind,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use ferrocti_composer::{Registry, Secret};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::config::Docker;

/// What there is of an engine.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It is behind this socket; whether it answers is seen later.
    At(PathBuf),
    /// None is wanted, or there is none.
    Nothing,
    /// There is one that this user may not use.
    Barred(PathBuf),
}

/// The engine that a setting means.
pub fn engine(setting: &Docker) -> Found {
    match setting {
        Docker::Off => Found::Nothing,
        Docker::Socket(socket) => Found::At(socket.clone()),
        Docker::Auto => among(&usual()),
    }
}

/// Where engines usually are: where `docker` would look, the user's own, the machine's.
fn usual() -> Vec<PathBuf> {
    let named = std::env::var("DOCKER_HOST").ok();
    let named = named.and_then(|host| host.strip_prefix("unix://").map(PathBuf::from));
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("docker.sock"));
    let machine = PathBuf::from("/var/run/docker.sock");
    named.into_iter().chain(own).chain([machine]).collect()
}

/// The first that may be used. One that does not answer now counts, since it may do so later.
fn among(sockets: &[PathBuf]) -> Found {
    let mut barred = None;
    for socket in sockets {
        match UnixStream::connect(socket) {
            Ok(_) => return Found::At(socket.clone()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                return Found::At(socket.clone());
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                barred.get_or_insert(socket.clone());
            }
            Err(_) => {}
        }
    }
    barred.map_or(Found::Nothing, Found::Barred)
}

/// Docker's own file of logins.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<Secret64>,
}

/// A name and a password, in base64; it does not print.
#[derive(Deserialize)]
#[serde(transparent)]
struct Secret64(String);

/// Reads the logins of a file.
pub fn registries(path: &Path) -> Result<Vec<Registry>> {
    let shown = path.display();
    let text = std::fs::read(path).with_context(|| {
        format!("cannot read the logins of registries in {shown} (setting composer.registries)")
    })?;
    // the error would repeat what it found, which may be a password
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|_| {
        anyhow!(
            "{shown} is no file of logins; it is JSON with `auths`, as `docker login` writes it"
        )
    })?;
    config
        .auths
        .into_iter()
        .map(|(address, auth)| {
            let Some(Secret64(auth)) = auth.auth else {
                bail!(
                    "{shown} has no password for {address}: Docker keeps it in a credential store, which is not asked; log in once without one"
                );
            };
            let unreadable = || anyhow!("the login for {address} in {shown} cannot be read; log in again");
            let bytes = BASE64_STANDARD.decode(auth).map_err(|_| unreadable())?;
            let both = String::from_utf8(bytes).map_err(|_| unreadable())?;
            let (user, password) = both.split_once(':').ok_or_else(unreadable)?;
            Ok(Registry {
                server: server(&address).to_owned(),
                user: user.to_owned(),
                password: Secret::new(password),
            })
        })
        .collect()
}

/// The host of a registry as image references have it.
fn server(address: &str) -> &str {
    let host = address
        .split_once("://")
        .map_or(address, |(_, rest)| rest)
        .split('/')
        .next()
        .unwrap_or_default();
    if host == "index.docker.io" {
        "docker.io"
    } else {
        host
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_first_engine_that_may_be_used_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let _listener = UnixListener::bind(path("there")).unwrap();
        drop(UnixListener::bind(path("away")).unwrap());
        assert_eq!(
            among(&[path("none"), path("there")]),
            Found::At(path("there"))
        );
        assert_eq!(
            among(&[path("away"), path("there")]),
            Found::At(path("away"))
        );
        assert_eq!(among(&[path("none")]), Found::Nothing);
        assert_eq!(engine(&Docker::Off), Found::Nothing);
        let given = path("not-there-yet");
        assert_eq!(engine(&Docker::Socket(given.clone())), Found::At(given));
    }

    fn read(text: &str) -> Result<Vec<Registry>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        registries(&path)
    }

    #[test]
    fn logins_are_read_as_docker_wrote_them() {
        let auth = BASE64_STANDARD.encode("me:pass:word");
        let text = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}}, "registry.example.org:5000": {{"auth": "{auth}"}}}}, "other": 1}}"#
        );
        let found = read(&text).unwrap();
        let servers: Vec<&str> = found
            .iter()
            .map(|registry| registry.server.as_str())
            .collect();
        assert_eq!(servers, ["docker.io", "registry.example.org:5000"]);
        assert_eq!(
            (found[0].user.as_str(), found[0].password.expose()),
            ("me", "pass:word")
        );
        assert!(read("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_login_is_told_without_the_password() {
        let secret = BASE64_STANDARD.encode("hunter2");
        for (text, word) in [
            ("nothing".to_owned(), "docker login"),
            (r#"{"auths": {"r": {}}}"#.to_owned(), "credential store"),
            (
                format!(r#"{{"auths": {{"r": {{"auth": "{secret}"}}}}}}"#),
                "log in again",
            ),
            (
                r#"{"auths": {"r": {"auth": "hunter2!"}}}"#.to_owned(),
                "log in again",
            ),
            (
                r#"{"auths": {"r": {"auth": ["hunter2"]}}}"#.to_owned(),
                "docker login",
            ),
        ] {
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(error.contains(word), "{error}");
            assert!(
                !error.contains("hunter2") && !error.contains(&secret),
                "{error}"
            );
        }
        let missing = registries(Path::new("/nowhere/config.json")).unwrap_err();
        assert!(missing.to_string().contains("composer.registries"));
    }
}
