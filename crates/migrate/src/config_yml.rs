//! A connector's own `config.yml`, as the environment that says the same: `<section>.<key>` is `<SECTION>_<KEY>`.
//!
//! Connectors look into their environment first and into the file after it, so of a name that both have the environment's value counts
//! ([`under`]). The file is read by YAML 1.1 there: `yes` and `on` without quotes are true.

use std::collections::BTreeMap;

use ferrocti_catalog::{
    Secret,
    names::variable_name,
    yaml::{self, Data, Dialect, Node},
};

use crate::compose::{Place, Told, Variable};

/// What a file says.
#[derive(Debug, Clone, Default)]
pub struct ConfigYml {
    /// Its values, in order.
    pub variables: Vec<Variable>,
    /// What cannot be said in an environment, and must stay a file.
    pub remarks: Vec<Told>,
}

/// Reads a file; `path` is its name in messages.
///
/// # Errors
/// The file is no YAML, or no map of sections.
pub fn read(path: &str, bytes: &[u8]) -> Result<ConfigYml, Told> {
    let told = |line, reason: String, remedy: &str| Told {
        at: Place {
            file: path.to_owned(),
            line,
        },
        service: None,
        reason,
        remedy: remedy.to_owned(),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| {
        told(
            1,
            "the file is no text in UTF-8".to_owned(),
            "bring it as it was made",
        )
    })?;
    let document = yaml::read_as(text, Dialect::Lenient)
        .map_err(|error| told(error.line, error.reason, "correct the YAML in that line"))?;
    let mut out = ConfigYml::default();
    for (line, key) in &document.repeated {
        out.remarks.push(told(
            *line,
            format!("`{key}` is there twice, the last one counts"),
            "take the other one away",
        ));
    }
    let sections = match &document.root.data {
        Data::Null => return Ok(out),
        Data::Map(sections) => sections,
        _ => {
            return Err(told(
                document.root.line,
                format!(
                    "a configuration is a map of sections, this is {}",
                    document.root.kind()
                ),
                "write `opencti:` and below it, indented, `url: …`",
            ));
        }
    };
    for section in sections {
        let Data::Map(pairs) = &section.value.data else {
            if !matches!(section.value.data, Data::Null) {
                out.remarks.push(told(
                    section.line,
                    format!(
                        "`{}` is in no section, so no environment variable says it",
                        section.key
                    ),
                    "mount the file into the managed connector too",
                ));
            }
            continue;
        };
        for pair in pairs {
            let key = variable_name(&section.key, &pair.key);
            match value(&pair.value) {
                Some(Some(value)) => out.variables.push(Variable {
                    key,
                    value: Secret::from(value),
                    at: Place {
                        file: path.to_owned(),
                        line: pair.line,
                    },
                }),
                Some(None) => {}
                None => out.remarks.push(told(
                    pair.line,
                    format!(
                        "{} in `{}.{}` cannot be said in an environment",
                        pair.value.kind(),
                        section.key,
                        pair.key
                    ),
                    "mount the file into the managed connector too",
                )),
            }
        }
    }
    Ok(out)
}

/// The text of a value: `None` when it has none, `Some(None)` when there is no value.
fn value(node: &Node) -> Option<Option<String>> {
    match &node.data {
        Data::Null => Some(None),
        Data::Text(text) => Some(Some(if node.plain {
            boolean(text).unwrap_or(text).to_owned()
        } else {
            text.clone()
        })),
        Data::List(items) => {
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| match (&item.data, value(item)) {
                    // a comma within an item cannot be told from one between items
                    (Data::Text(text), Some(value)) if !text.contains(',') => value,
                    _ => None,
                })
                .collect();
            items.map(|items| Some(items.join(",")))
        }
        Data::Map(_) => None,
    }
}

/// What YAML 1.1 takes for true and false.
fn boolean(text: &str) -> Option<&'static str> {
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Some("true"),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Some("false"),
        _ => None,
    }
}

/// An environment with what the file adds to it. An empty value counts as none, as connectors take it.
#[must_use]
pub fn under(environment: &[Variable], file: &ConfigYml) -> Vec<Variable> {
    let mut out = environment.to_vec();
    let own: BTreeMap<&str, &Variable> = environment
        .iter()
        .filter(|variable| !variable.value.is_empty())
        .map(|variable| (variable.key.as_str(), variable))
        .collect();
    for variable in &file.variables {
        if own.contains_key(variable.key.as_str()) {
            continue;
        }
        out.retain(|other| other.key != variable.key);
        out.push(variable.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
opencti:
  url: 'http://x'
  token: ChangeMe
connector:
  id: 5
  scope: [a, b]
  log_level: info
  auto: yes
  quoted: 'yes'
  empty:
my-feed:
  interval: 010
  rules:
    - name: x
  parts: {a: 1}
loose: 5
";

    fn shown(variables: &[Variable]) -> Vec<String> {
        variables
            .iter()
            .map(|variable| format!("{}={}", variable.key, variable.value.expose()))
            .collect()
    }

    #[test]
    fn sections_and_keys_become_names() {
        let read = read("config.yml", FILE.as_bytes()).unwrap();
        assert_eq!(
            shown(&read.variables),
            [
                "OPENCTI_URL=http://x",
                "OPENCTI_TOKEN=ChangeMe",
                "CONNECTOR_ID=5",
                "CONNECTOR_SCOPE=a,b",
                "CONNECTOR_LOG_LEVEL=info",
                "CONNECTOR_AUTO=true",
                "CONNECTOR_QUOTED=yes",
                "MY_FEED_INTERVAL=010",
            ]
        );
        let lines: Vec<usize> = read.remarks.iter().map(|told| told.at.line).collect();
        assert_eq!(lines, [13, 15, 16]);
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let file = read("config.yml", b"a: {b: file, c: file, d: file}").unwrap();
        let own = |key: &str, value: &str| Variable {
            key: key.to_owned(),
            value: Secret::from(value),
            at: Place {
                file: "x".to_owned(),
                line: 1,
            },
        };
        let mut got = shown(&under(&[own("A_B", "env"), own("A_C", "")], &file));
        got.sort();
        assert_eq!(got, ["A_B=env", "A_C=file", "A_D=file"]);
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_line() {
        for (text, line) in [("- a\n", 1), ("a: [\n", 2), ("a:\n  b: 1\n c: 2\n", 3)] {
            let told = read("config.yml", text.as_bytes()).unwrap_err();
            assert!(told.at.line.abs_diff(line) <= 1, "{told}");
        }
        assert!(read("config.yml", b"").unwrap().variables.is_empty());
        assert!(read("config.yml", &[0xff]).is_err());
    }
}
