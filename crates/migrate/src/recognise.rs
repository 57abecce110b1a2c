//! Which services and containers are connectors, which are parts of a platform, and which are neither.

use ferrocti_catalog::{Secret, generic::split_reference};

use crate::compose::Service;

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A connector.
    Connector,
    /// A part of a platform; the text says which, e.g. `the worker`.
    Platform(&'static str),
    /// Neither.
    Other,
}

/// The id that a connector registers with, as far as its environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// This.
    Given(String),
    /// A text such as `ChangeMe`, which nobody has replaced.
    Placeholder,
    /// Nothing; it may be in the image or in a `config.yml`.
    Missing,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// What it is.
    pub role: Role,
    /// Why.
    pub reason: String,
    /// The id, when it is a connector.
    pub id: Id,
    /// The image's name without registry and tag, by which contracts are found.
    pub image: Option<String>,
}

/// Images that are parts of a platform, by the end of their name.
const PARTS: &[(&str, &str)] = &[
    ("opencti/platform", "the platform"),
    ("opencti/worker", "the worker"),
    ("filigran/xtm-composer", "the composer"),
    ("filigran/openaev", "another product"),
    ("ferrocti", "the platform"),
    ("redis", "Redis"),
    ("redis-stack-server", "Redis"),
    ("valkey", "Redis"),
    ("elasticsearch", "Elasticsearch"),
    ("opensearch", "OpenSearch"),
    ("opensearch-dashboards", "OpenSearch's screens"),
    ("kibana", "Elasticsearch's screens"),
    ("rabbitmq", "RabbitMQ"),
    ("minio", "MinIO"),
    ("mc", "MinIO's client"),
];

/// The name of an image as catalogs have it: without the registry's host, without tag or digest.
#[must_use]
pub fn image_name(reference: &str) -> &str {
    let (name, _) = split_reference(reference);
    let name = match name.split_once('/') {
        // a host has a dot or a port, or is this machine
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => name,
    };
    name.strip_prefix("library/").unwrap_or(name)
}

/// Whether a value is one that files for copying have in the place of a real one.
#[must_use]
pub fn is_placeholder(value: &str) -> bool {
    let value = value.trim().trim_matches(['"', '\'']);
    let letters: String = value
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect::<String>()
        .to_lowercase();
    letters.contains("changeme")
        || letters.starts_with("replaceme")
        || letters.starts_with("yourapikey")
        || letters.starts_with("yourtoken")
        || letters.starts_with("yourpassword")
        || letters == "todo"
        || letters.len() >= 3 && letters.chars().all(|c| c == 'x')
        || value.len() > 2 && value.starts_with('<') && value.ends_with('>')
}

/// Says what a service of a Compose file is.
#[must_use]
pub fn service(service: &Service, known: &dyn Fn(&str) -> bool) -> Recognised {
    recognise(
        service.image.as_deref(),
        &|key| service.variable(key),
        known,
    )
}

/// Says what something is from its image and environment. `known` tells whether a contract has an image of that name.
#[must_use]
pub fn recognise<'e>(
    image: Option<&str>,
    variable: &dyn Fn(&str) -> Option<&'e Secret>,
    known: &dyn Fn(&str) -> bool,
) -> Recognised {
    let filled = |key: &str| {
        variable(key)
            .map(Secret::expose)
            .filter(|value| !value.trim().is_empty())
    };
    let name = image.map(image_name);
    let id = match filled("CONNECTOR_ID") {
        Some(value) if is_placeholder(value) => Id::Placeholder,
        Some(value) => Id::Given(value.to_owned()),
        None => Id::Missing,
    };
    let found = |role, reason: String| Recognised {
        role,
        reason,
        id: if role == Role::Connector {
            id.clone()
        } else {
            Id::Missing
        },
        image: name.map(str::to_owned),
    };
    if let Some(name) = name {
        if known(name) {
            return found(
                Role::Connector,
                format!("a contract has the image `{name}`"),
            );
        }
        let is = |part: &str| name == part || name.ends_with(&format!("/{part}"));
        if let Some((_, part)) = PARTS.iter().find(|(image, _)| is(image)) {
            return found(
                Role::Platform(part),
                format!("the image `{name}` is {part}"),
            );
        }
    }
    for key in [
        "CONNECTOR_ID",
        "CONNECTOR_TYPE",
        "CONNECTOR_SCOPE",
        "CONNECTOR_NAME",
    ] {
        if filled(key).is_some() {
            return found(Role::Connector, format!("its environment has {key}"));
        }
    }
    if filled("APP__ADMIN__TOKEN").is_some() || filled("APP__ADMIN__EMAIL").is_some() {
        return found(
            Role::Platform("the platform"),
            "its environment has the platform's administrator".to_owned(),
        );
    }
    if let Some(name) = name
        && name
            .rsplit('/')
            .next()
            .is_some_and(|last| last.starts_with("connector-") || last.ends_with("-connector"))
    {
        return found(
            Role::Connector,
            format!("the image `{name}` is named like a connector"),
        );
    }
    if filled("OPENCTI_URL").is_some() && filled("OPENCTI_TOKEN").is_some() {
        return if filled("WORKER_LOG_LEVEL").is_some() {
            found(
                Role::Platform("the worker"),
                "its environment is that of a worker".to_owned(),
            )
        } else {
            found(
                Role::Connector,
                "its environment has OPENCTI_URL and OPENCTI_TOKEN".to_owned(),
            )
        };
    }
    found(
        Role::Other,
        "neither its image nor its environment is that of a connector".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(image: Option<&str>, environment: &[(&str, &str)]) -> Recognised {
        let environment: BTreeMap<&str, Secret> = environment
            .iter()
            .map(|(key, value)| (*key, Secret::from(*value)))
            .collect();
        recognise(image, &|key| environment.get(key), &|name| {
            name == "opencti/connector-mitre"
        })
    }

    #[test]
    fn services_are_told_apart() {
        use Role::{Connector, Other, Platform};
        let mine: &[(&str, &str)] = &[("OPENCTI_URL", "x"), ("OPENCTI_TOKEN", "y")];
        let worker: &[(&str, &str)] = &[
            ("OPENCTI_URL", "x"),
            ("OPENCTI_TOKEN", "y"),
            ("WORKER_LOG_LEVEL", "info"),
        ];
        for (image, environment, role) in [
            (Some("opencti/connector-mitre:latest"), &[][..], Connector),
            (
                Some("docker.io/opencti/connector-mitre@sha256:ab"),
                &[],
                Connector,
            ),
            (
                Some("registry.local:5000/opencti/connector-mitre:7"),
                &[],
                Connector,
            ),
            (Some("opencti/connector-other"), &[], Connector),
            (Some("misje/opencti-wazuh-connector:0.3.0"), &[], Connector),
            (Some("own"), &[("CONNECTOR_ID", "x")], Connector),
            (None, &[("CONNECTOR_SCOPE", "x")], Connector),
            (Some("own"), mine, Connector),
            (Some("own"), worker, Platform("the worker")),
            (Some("opencti/worker:6"), mine, Platform("the worker")),
            (Some("opencti/platform:6"), &[], Platform("the platform")),
            (
                Some("own"),
                &[("APP__ADMIN__TOKEN", "x")],
                Platform("the platform"),
            ),
            (Some("redis:7.2"), &[], Platform("Redis")),
            (
                Some("docker.elastic.co/elasticsearch/elasticsearch:8"),
                &[],
                Platform("Elasticsearch"),
            ),
            (Some("rabbitmq:4-management"), &[], Platform("RabbitMQ")),
            (Some("minio/minio"), &[], Platform("MinIO")),
            (
                Some("filigran/xtm-composer:latest"),
                &[],
                Platform("the composer"),
            ),
            (Some("nginx"), &[("X", "y")], Other),
            (None, &[], Other),
        ] {
            assert_eq!(
                of(image, environment).role,
                role,
                "{image:?} {environment:?}"
            );
        }
    }

    #[test]
    fn an_id_that_nobody_has_replaced_is_none() {
        for (value, id) in [
            ("ChangeMe", Id::Placeholder),
            ("ChangeMe_UUIDv4", Id::Placeholder),
            ("<your id>", Id::Placeholder),
            ("", Id::Missing),
            ("VMRay", Id::Given("VMRay".to_owned())),
        ] {
            assert_eq!(
                of(None, &[("CONNECTOR_ID", value), ("CONNECTOR_NAME", "n")]).id,
                id
            );
        }
    }

    #[test]
    fn placeholders_are_told_from_values() {
        for (value, is) in [
            ("ChangeMe", true),
            ("CHANGE_ME", true),
            ("\"ChangeMe\"", true),
            ("xxx", true),
            ("your-api-key", true),
            ("<token>", true),
            ("x", false),
            ("", false),
            ("hunter2", false),
            ("<>", false),
        ] {
            assert_eq!(is_placeholder(value), is, "{value}");
        }
    }
}
