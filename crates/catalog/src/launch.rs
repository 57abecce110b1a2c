//! How a connector is started, and within which limits: what a catalog of upstream's has no place for.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize};

use crate::secret::Shown;

/// The program name that stands for the binary that runs the composer itself.
pub const SELF_PROGRAM: &str = "@ferrocti";

/// How a connector is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Launch {
    /// As a container.
    Image {
        /// The image with tag or digest.
        image: String,
    },
    /// As a process on the composer's machine.
    Command {
        /// Program and arguments; nothing in it is interpreted by a shell. The program [`SELF_PROGRAM`] is the composer's own binary.
        command: Vec<String>,
        /// Where it runs; absent: a directory of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        working_directory: Option<String>,
        /// A `requirements.txt` from which a Python environment is made before it starts; `python` is then that environment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requirements: Option<String>,
    },
}

/// What a connector may use, beyond its contract. Where an orchestrator cannot do something, it says so before it starts anything.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// Memory in bytes; texts such as `512m` or `2g` (powers of 1024) are read too.
    #[serde(deserialize_with = "memory", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processors in thousandths: 500 is half of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Number of processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Directories and files of the machine that it sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Networks that it is in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Environment beyond its configuration; a value of the contract goes first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Proxy of its own, in place of the composer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<crate::environment::Proxy>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("memory", &self.memory)
            .field("cpu_millis", &self.cpu_millis)
            .field("processes", &self.processes)
            .field("mounts", &self.mounts)
            .field("networks", &self.networks)
            .field(
                "environment",
                &Shown {
                    variables: &self.environment,
                    none: true,
                },
            )
            .field("proxy", &self.proxy)
            .finish()
    }
}

/// A directory or file of the machine, or a named volume, that a connector sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Path on the machine, or name of a volume.
    pub source: String,
    /// Path that the connector sees.
    pub target: String,
    /// Whether it may only read.
    #[serde(default)]
    pub read_only: bool,
}

/// Bytes from a number or from a text such as `512m`, `2g`, `1048576`, `1.5g`, `64MiB`.
#[must_use]
pub fn parse_memory(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" | "ki" | "kib" => 1 << 10,
        "m" | "mb" | "mi" | "mib" => 1 << 20,
        "g" | "gb" | "gi" | "gib" => 1 << 30,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let (whole, part) = number.split_once('.')?;
    if part.is_empty() || part.len() > 9 || part.contains('.') {
        return None;
    }
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let rest = part.parse::<u64>().ok()?.checked_mul(factor)? / scale;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)?
        .checked_add(rest)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let given = serde_json::Value::deserialize(deserializer)?;
    let bytes = match &given {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(text) => parse_memory(text),
        other => other.as_u64(),
    };
    bytes.map(Some).ok_or_else(|| {
        let given = given.as_str().map_or(given.to_string(), str::to_owned);
        serde::de::Error::custom(format!(
            "`{given}` is no amount of memory; write bytes, or for example `512m` or `2g`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1048576", Some(1 << 20)),
            ("512m", Some(512 << 20)),
            ("4g", Some(4 << 30)),
            ("1.5G", Some(3 << 29)),
            ("64 MiB", Some(64 << 20)),
            ("10k", Some(10 << 10)),
            ("", None),
            ("m", None),
            ("-1m", None),
            ("1.m", None),
            ("1.2.3m", None),
            ("12 parsecs", None),
            ("99999999999999999999g", None),
        ] {
            assert_eq!(parse_memory(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_misspelt_option_is_refused() {
        assert!(serde_json::from_str::<Runtime>(r#"{"memry": "1g"}"#).is_err());
        for much in ["\"much\"", "-1", "1.5", "{}"] {
            let text = format!(r#"{{"memory": {much}}}"#);
            let refused = serde_json::from_str::<Runtime>(&text).unwrap_err();
            assert!(
                refused.to_string().contains("amount of memory"),
                "{refused}"
            );
        }
        let runtime: Runtime =
            serde_json::from_str(r#"{"memory": "1g", "networks": ["cti"]}"#).unwrap();
        assert_eq!(runtime.memory, Some(1 << 30));
        let again: Runtime =
            serde_json::from_value(serde_json::to_value(&runtime).unwrap()).unwrap();
        assert_eq!(again, runtime);
    }
}
