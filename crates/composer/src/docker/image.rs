//! Images: what a reference means, and fetching it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use hyper::Method;
use serde_json::{Value, json};

use super::{Docker, Registry, client};
use crate::orchestrator::Failure;

/// Fetching a large image over a slow line takes long.
const LONG: std::time::Duration = std::time::Duration::from_secs(3600);
/// What an image without a registry in its name comes from.
const HUB: &str = "docker.io";

/// The registry of a reference: its first part when that looks like a host.
fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// Whether a reference can mean another image tomorrow by its very name.
fn moves(reference: &str) -> bool {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    !name.contains('@')
        && name
            .split_once(':')
            .is_none_or(|(_, tag)| matches!(tag, "latest" | "rolling"))
}

/// The header that carries the credentials for a reference.
fn credentials(registries: &[Registry], reference: &str) -> Option<String> {
    let server = registry(reference);
    let known = registries.iter().find(|known| known.server == server)?;
    let text = json!({
        "username": known.user,
        "password": known.password.expose(),
        "serveraddress": server,
    });
    Some(URL_SAFE.encode(text.to_string()))
}

impl Docker {
    /// Fetches an image unless it is here; one whose tag moves is asked for each time, and the one that is here serves when that fails.
    pub async fn fetch(&self, reference: &str) -> Result<(), Failure> {
        let here = self.has(reference).await?;
        if here && !moves(reference) {
            return Ok(());
        }
        let full = if moves(reference)
            && !reference.contains(":latest")
            && !reference.contains(":rolling")
        {
            format!("{reference}:latest")
        } else {
            reference.to_owned()
        };
        let path = format!("/images/create?fromImage={}", client::encode(&full));
        let credentials = credentials(&self.settings.registries, reference);
        let reply = self
            .client
            .ask_as(Method::POST, &path, None, credentials.as_deref(), LONG)
            .await?;
        let trouble = if reply.status.is_success() {
            // the answer is a line of JSON for each step, and an error may be the last of them
            String::from_utf8_lossy(&reply.body)
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find_map(|line| Some(line.get("error")?.as_str()?.to_owned()))
        } else {
            Some(reply.message())
        };
        match trouble {
            Some(why) if !here => Err(Failure::Refused(format!(
                "the image {reference} cannot be fetched: {why}"
            ))),
            _ => Ok(()),
        }
    }

    async fn has(&self, reference: &str) -> Result<bool, Failure> {
        let path = format!("/images/{}/json", client::encode(reference));
        let reply = self
            .client
            .ask(Method::GET, &path, None, client::SOON)
            .await?;
        match reply.status.as_u16() {
            404 => Ok(false),
            _ => reply.done().map(|_| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn a_reference_names_its_registry() {
        let table = [
            ("opencti/connector-mitre:6.9.0", HUB),
            ("busybox", HUB),
            ("ghcr.io/org/image:1", "ghcr.io"),
            ("registry:5000/image@sha256:00", "registry:5000"),
            ("localhost/image", "localhost"),
        ];
        for (reference, expected) in table {
            assert_eq!(registry(reference), expected, "{reference}");
        }
    }

    #[test]
    fn only_tags_that_move_are_asked_for_again() {
        let table = [
            ("a/b", true),
            ("a/b:latest", true),
            ("a/b:rolling", true),
            ("host:5000/a/b", true),
            ("a/b:6.9.0", false),
            ("host:5000/a/b@sha256:00", false),
        ];
        for (reference, expected) in table {
            assert_eq!(moves(reference), expected, "{reference}");
        }
    }

    #[test]
    fn credentials_go_to_their_registry_only() {
        let known = [Registry {
            server: "ghcr.io".to_owned(),
            user: "me".to_owned(),
            password: Secret::new("hunter2"),
        }];
        assert_eq!(credentials(&known, "opencti/x:1"), None);
        assert_eq!(credentials(&known, "ghcr.io.evil.example/x:1"), None);
        let header = credentials(&known, "ghcr.io/x:1").unwrap();
        let text = URL_SAFE.decode(header).unwrap();
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["password"], "hunter2");
    }
}
