//! Contracts for connectors that are in no catalog: an image or a command, and what is known of their environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::{
    contract::{ConnectorType, Contract, ContractFault, is_image},
    launch::Launch,
    secret::Shown,
};

/// The id of the catalog that such contracts count as part of.
pub const CATALOG: &str = "ferrocti-generic";

/// A connector as somebody describes it who has no contract.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generic {
    /// Its name for people.
    pub title: String,
    /// What it does, e.g. `EXTERNAL_IMPORT`.
    #[serde(rename = "type")]
    pub connector_type: String,
    /// How it is started.
    pub launch: Launch,
    /// Environment variables that are no secrets, with their values.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Names of environment variables whose values are secrets.
    #[serde(default)]
    pub secrets: BTreeSet<String>,
    /// The confidence proposed for its user.
    #[serde(default)]
    pub confidence: Option<u8>,
}

impl fmt::Debug for Generic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generic")
            .field("title", &self.title)
            .field("connector_type", &self.connector_type)
            .field("launch", &self.launch)
            .field(
                "environment",
                &Shown {
                    variables: &self.environment,
                    none: true,
                },
            )
            .field("secrets", &self.secrets)
            .field("confidence", &self.confidence)
            .finish()
    }
}

impl Generic {
    /// The contract of it: the variables are its schema, secrets are required, and any other key may be set.
    ///
    /// # Errors
    /// What a contract of a catalog would be refused for.
    pub fn contract(&self) -> Result<Contract, ContractFault> {
        let slug = slug(&self.title);
        let (image, version) = match &self.launch {
            Launch::Image { image } => {
                let (name, version) = split_reference(image);
                if !is_image(name) {
                    return Err(ContractFault::Image {
                        found: image.clone(),
                    });
                }
                (name.to_owned(), version.to_owned())
            }
            Launch::Command { command, .. } => {
                if command
                    .first()
                    .is_none_or(|program| program.trim().is_empty())
                {
                    return Err(ContractFault::Launch("the command is empty".to_owned()));
                }
                (format!("local/{slug}"), "1".to_owned())
            }
        };
        let mut properties = Map::new();
        for (key, value) in &self.environment {
            properties.insert(key.clone(), json!({"type": "string", "default": value}));
        }
        for key in &self.secrets {
            properties.insert(
                key.clone(),
                json!({"type": "string", "format": "password", "writeOnly": true}),
            );
        }
        Contract::read(&json!({
            "title": self.title,
            "slug": slug,
            "container_image": image,
            "container_version": version,
            "container_type": self.connector_type,
            "max_confidence_level": self.confidence,
            "manager_supported": true,
            "launch": self.launch,
            "config_schema": {
                "type": "object",
                "properties": properties,
                "required": self.secrets,
                "additionalProperties": true,
            },
        }))
    }

    /// The type of the connector, when it is one.
    #[must_use]
    pub fn kind(&self) -> Option<ConnectorType> {
        ConnectorType::of(&self.connector_type)
    }
}

/// The name of an image, and its tag or digest; without either it is `latest`.
#[must_use]
pub fn split_reference(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        // a tag before a digest says nothing
        return (split_tag(name).0, digest);
    }
    let (name, tag) = split_tag(reference);
    (name, tag.unwrap_or("latest"))
}

/// The tag comes after a colon in the last part of the path; a colon before is that of a registry's port.
fn split_tag(reference: &str) -> (&str, Option<&str>) {
    let last = reference.rfind('/').map_or(0, |place| place + 1);
    match reference[last..].find(':') {
        Some(place) => (
            &reference[..last + place],
            Some(&reference[last + place + 1..]),
        ),
        None => (reference, None),
    }
}

/// A slug from a title: lower-case letters and digits of ASCII, with `-` between.
fn slug(title: &str) -> String {
    let words: Vec<String> = title
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    if words.is_empty() {
        "connector".to_owned()
    } else {
        words.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_images_are_split() {
        for (reference, name, version) in [
            (
                "opencti/connector-mitre:7.1.0",
                "opencti/connector-mitre",
                "7.1.0",
            ),
            ("mitre", "mitre", "latest"),
            ("localhost:5000/x/y", "localhost:5000/x/y", "latest"),
            ("localhost:5000/x:2", "localhost:5000/x", "2"),
            ("x/y@sha256:ab", "x/y", "sha256:ab"),
            ("x/y:1@sha256:ab", "x/y", "sha256:ab"),
        ] {
            assert_eq!(split_reference(reference), (name, version), "{reference}");
        }
    }
}
