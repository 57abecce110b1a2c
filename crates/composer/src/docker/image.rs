//! Images: what a reference means, and fetching it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use hyper::Method;
use serde_json::{Value, json};

use super::{Docker, Registry, client};
use crate::orchestrator::Failure;

/// A registry that sends nothing for so long is not waited for any longer.
const QUIET: std::time::Duration = std::time::Duration::from_secs(120);
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

/// What an operator can do about the engine's words.
fn hint(why: &str, server: &str, logged_in: bool) -> String {
    let why = why.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if is(&["unauthorized", "denied", "no basic auth", "authentication"]) {
        if logged_in {
            format!("; correct this composer's login for {server}, or the image's name")
        } else {
            format!("; give this composer a login for {server}, or correct the image's name")
        }
    } else if is(&["manifest unknown", "not found", "invalid reference"]) {
        "; correct the image's name or tag".to_owned()
    } else if is(&["no space left"]) {
        "; make room on the engine's disk".to_owned()
    } else {
        String::new()
    }
}

impl Docker {
    /// Fetches an image unless it is here; one whose tag moves is asked for each time, and the one that is here serves when that fails.
    pub async fn fetch(&self, reference: &str) -> Result<(), Failure> {
        let server = registry(reference);
        let cannot = |why: &str, logged_in| {
            let hint = hint(why, server, logged_in);
            Failure::Refused(format!(
                "the image {reference} cannot be fetched: {why}{hint}"
            ))
        };
        let here = match self.has(reference).await {
            Err(Failure::Refused(why)) => return Err(cannot(&why, false)),
            other => other?,
        };
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
        match self.pull(&path, credentials.as_deref()).await? {
            Some(why) if !here => Err(cannot(&why, credentials.is_some())),
            _ => Ok(()),
        }
    }

    /// Fetches; the engine's words for what went wrong with it.
    async fn pull(&self, path: &str, credentials: Option<&str>) -> Result<Option<String>, Failure> {
        let silent = || Ok(Some(format!("nothing came for {} s", QUIET.as_secs())));
        let opened = self.client.open(Method::POST, path, None, credentials);
        let Ok(response) = tokio::time::timeout(QUIET, opened).await else {
            return silent();
        };
        let response = response?;
        let status = response.status();
        let mut stream = response.into_body();
        let mut rest = Vec::new();
        let mut trouble = None;
        // the answer is a line of JSON for each step, and an error may be the last of them
        loop {
            let Ok(piece) = tokio::time::timeout(QUIET, client::next(&mut stream)).await else {
                return silent();
            };
            let ended = piece.as_ref().is_ok_and(Option::is_none);
            rest.extend_from_slice(&piece?.unwrap_or_default());
            while let Some(end) = rest
                .iter()
                .position(|b| *b == b'\n')
                .or(ended.then_some(rest.len()))
            {
                if end == 0 && rest.is_empty() {
                    break;
                }
                let line: Vec<u8> = rest.drain(..rest.len().min(end + 1)).collect();
                let line = serde_json::from_slice::<Value>(&line).unwrap_or_default();
                let words = line.get("error").or_else(|| line.get("message"));
                trouble = words.and_then(Value::as_str).map(str::to_owned).or(trouble);
            }
            if ended || rest.len() > client::LONGEST {
                break;
            }
        }
        Ok(match trouble {
            None if !status.is_success() => Some(format!("the engine answered {status}")),
            trouble => trouble,
        })
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
