//! Settings, secrets and limits from the command line, as the platform takes them.

use std::{collections::BTreeSet, io::Read, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use ferrocti_catalog::{Contract, Secret, launch::Runtime, secret::MASK, secret::is_secret_name};
use serde_json::{Map, Value, json};

use crate::cli::{RuntimeArgs, SecretSource, SettingArgs};

/// The longest secret that is taken; a private key has a few kilobytes.
const LONGEST_SECRET: u64 = 1 << 20;

/// A contract from its text, when there is one that can be read. Without it names alone tell what is a secret.
pub fn contract(text: &Value) -> Option<Contract> {
    Contract::read(&serde_json::from_str(text.as_str()?).ok()?).ok()
}

/// Whether the value of a key is a secret: by the contract, and where that does not know the key by its name.
fn is_secret(contract: Option<&Contract>, key: &str) -> bool {
    contract
        .and_then(|contract| contract.schema.as_ref()?.property(key))
        .map_or_else(|| is_secret_name(key), |property| property.secret)
}

/// What an operator gives, with secrets read where they are.
#[derive(Debug)]
pub struct Gathered {
    /// Keys and values for the platform, and keys that it shall forget.
    values: Vec<(String, Option<Secret>)>,
    /// The keys of the secrets among them.
    pub secrets: BTreeSet<String>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

impl Gathered {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of the field `configuration`.
    pub fn input(&self) -> Value {
        self.values
            .iter()
            .map(|(key, value)| json!({ "key": key, "value": value.as_ref().map(Secret::expose) }))
            .collect()
    }
}

/// Reads the settings that were given. `input` is the standard input.
pub fn gather(
    args: &SettingArgs,
    unset: &[String],
    contract: Option<&Contract>,
    mut input: impl Read,
) -> Result<Gathered> {
    let mut gathered = Gathered {
        values: Vec::new(),
        secrets: BTreeSet::new(),
        notes: Vec::new(),
    };
    let mut seen = BTreeSet::new();
    let mut once = |key: &str| {
        if seen.insert(key.to_owned()) {
            Ok(())
        } else {
            Err(anyhow!("{key} is given twice"))
        }
    };
    for (key, value) in &args.set {
        once(key)?;
        if is_secret(contract, key) {
            bail!(
                "{key} is a secret and was not taken from the command line, where others can see it; \
                 give --secret {key}=env:NAME, {key}=file:PATH or {key}=- (standard input)"
            );
        }
        gathered
            .values
            .push((key.clone(), Some(Secret::new(value.as_str()))));
    }
    let mut read_input = false;
    for given in &args.secrets {
        let (key, source) = SecretSource::read(given).map_err(|told| anyhow!(told))?;
        once(&key)?;
        if source == SecretSource::Input && std::mem::replace(&mut read_input, true) {
            bail!("only one secret can be read from the standard input");
        }
        let value = read(&source, &mut input).with_context(|| key.clone())?;
        if !is_secret(contract, &key) && contract.is_some() {
            let note =
                format!("{key} is no secret in the contract: its value is kept and shown as it is");
            gathered.notes.push(note);
        }
        gathered.secrets.insert(key.clone());
        gathered.values.push((key, Some(value)));
    }
    for key in unset {
        once(key)?;
        gathered.values.push((key.clone(), None));
    }
    Ok(gathered)
}

/// Reads a secret where it is.
pub fn read(source: &SecretSource, input: &mut impl Read) -> Result<Secret> {
    let value = match source {
        SecretSource::Environment(name) => match std::env::var(name) {
            Ok(value) => value,
            Err(std::env::VarError::NotPresent) => {
                bail!("the environment variable {name} is not set")
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                bail!("the environment variable {name} is no UTF-8 text")
            }
        },
        SecretSource::File(path) => read_file(path)?,
        SecretSource::Input => {
            let mut text = String::new();
            input
                .take(LONGEST_SECRET)
                .read_to_string(&mut text)
                .context("the standard input cannot be read as UTF-8 text")?;
            without_line_end(text)
        }
    };
    if value.is_empty() {
        bail!("the secret is empty");
    }
    Ok(Secret::new(value))
}

fn read_file(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path)
        .with_context(|| format!("the file {} cannot be read", path.display()))?;
    let mut text = String::new();
    let read = file
        .take(LONGEST_SECRET)
        .read_to_string(&mut text)
        .with_context(|| format!("the file {} cannot be read as UTF-8 text", path.display()))?;
    if read as u64 == LONGEST_SECRET {
        bail!("the file {} is too long for a secret", path.display());
    }
    Ok(without_line_end(text))
}

fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// The limits that a connector has from now on: those that it has, with what was given in place of them. `None`: nothing was given.
pub fn runtime(args: &RuntimeArgs, present: &Value, reset: bool) -> Result<Option<Value>> {
    let mut runtime: Runtime = if reset || present.is_null() {
        Runtime::default()
    } else {
        serde_json::from_value(present.clone()).context(
            "the limits of the connector cannot be read; give all again with --reset-runtime",
        )?
    };
    let before = runtime.clone();
    runtime.memory = args.memory.or(runtime.memory);
    runtime.cpu_millis = args.cpus.or(runtime.cpu_millis);
    runtime.processes = args.processes.or(runtime.processes);
    for mount in &args.mounts {
        runtime.mounts.retain(|known| known.target != mount.target);
        runtime.mounts.push(mount.clone());
    }
    for network in &args.networks {
        if !runtime.networks.contains(network) {
            runtime.networks.push(network.clone());
        }
    }
    for (name, value) in &args.environment {
        if is_secret_name(name) {
            bail!(
                "{name} looks like a secret; variables given with --env are kept as they are. Give it with --secret {name}=env:NAME, {name}=file:PATH or {name}=-, \
                 with --allow-unknown where the contract does not name it"
            );
        }
        runtime.environment.insert(name.clone(), value.clone());
    }
    if let Some(url) = &args.proxy {
        let mut proxy = Map::new();
        proxy.insert("http".to_owned(), json!(url));
        proxy.insert("https".to_owned(), json!(url));
        if let Some(except) = &args.proxy_except {
            proxy.insert("except".to_owned(), json!(except));
        }
        runtime.proxy = Some(serde_json::from_value(Value::Object(proxy))?);
    }
    if runtime == before && !reset {
        return Ok(None);
    }
    let runtime = serde_json::to_value(&runtime)?;
    // what the platform shows of a secret must not become its value
    if runtime.to_string().contains(&format!("\"{MASK}\"")) {
        bail!(
            "some variables or the proxy of the connector are not shown to you, so they cannot be kept; give all limits again with --reset-runtime"
        );
    }
    Ok(Some(runtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Contract {
        ferrocti_catalog::local::catalog("1")
            .unwrap()
            .contracts
            .remove(0)
    }

    fn args(set: &[(&str, &str)], secrets: &[&str]) -> SettingArgs {
        SettingArgs {
            set: set
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            secrets: secrets.iter().map(|text| (*text).to_owned()).collect(),
            allow_unknown: false,
        }
    }

    fn no_runtime() -> RuntimeArgs {
        RuntimeArgs {
            memory: None,
            cpus: None,
            processes: None,
            mounts: Vec::new(),
            networks: Vec::new(),
            environment: Vec::new(),
            proxy: None,
            proxy_except: None,
        }
    }

    #[test]
    fn settings_and_secrets_become_one_list() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "s3cret\r\n").unwrap();
        let secret = format!("SAMPLE_API_KEY=file:{}", file.display());
        let gathered = gather(
            &args(&[("SAMPLE_OBJECTS", "5")], &[&secret]),
            &["CONNECTOR_SCOPE".to_owned()],
            Some(&sample()),
            std::io::empty(),
        )
        .unwrap();
        assert_eq!(
            gathered.input(),
            json!([
                { "key": "SAMPLE_OBJECTS", "value": "5" },
                { "key": "SAMPLE_API_KEY", "value": "s3cret" },
                { "key": "CONNECTOR_SCOPE", "value": null }
            ])
        );
        assert!(gathered.secrets.contains("SAMPLE_API_KEY"));
        assert!(!format!("{gathered:?}").contains("s3cret"));
    }

    #[test]
    fn a_secret_on_the_command_line_is_refused_with_a_way_out() {
        for (contract, key) in [(Some(sample()), "SAMPLE_API_KEY"), (None, "FEED_TOKEN")] {
            let told = gather(
                &args(&[(key, "hunter2")], &[]),
                &[],
                contract.as_ref(),
                std::io::empty(),
            )
            .unwrap_err()
            .to_string();
            assert!(told.contains("--secret") && told.contains(key), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_secret_comes_from_the_standard_input_once() {
        let one = args(&[], &["SAMPLE_API_KEY=-"]);
        let gathered = gather(&one, &[], None, "s3cret\n".as_bytes()).unwrap();
        assert_eq!(gathered.input()[0]["value"], "s3cret");
        let two = args(&[], &["SAMPLE_API_KEY=-", "OTHER_TOKEN=-"]);
        let told = gather(&two, &[], None, "s3cret\n".as_bytes()).unwrap_err();
        assert!(told.to_string().contains("only one"), "{told}");
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_by_its_key() {
        for (given, told) in [
            ("K_TOKEN=env:FERROCTI_TEST_NOT_SET", "is not set"),
            ("K_TOKEN=file:/nonexistent/x", "cannot be read"),
            ("K_TOKEN=-", "empty"),
        ] {
            let error = gather(&args(&[], &[given]), &[], None, "\n".as_bytes()).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains("K_TOKEN") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn one_key_has_one_value() {
        for (set, secrets, unset) in [
            (vec![("A", "1"), ("A", "2")], vec![], vec![]),
            (vec![("A_B", "1")], vec!["A_B=-"], vec![]),
            (vec![("A", "1")], vec![], vec!["A".to_owned()]),
        ] {
            let told = gather(&args(&set, &secrets), &unset, None, "x".as_bytes()).unwrap_err();
            assert!(told.to_string().contains("twice"), "{told}");
        }
    }

    #[test]
    fn a_value_that_is_no_secret_in_the_contract_is_told() {
        let given = args(&[], &["SAMPLE_OBJECTS=-"]);
        let gathered = gather(&given, &[], Some(&sample()), "5\n".as_bytes()).unwrap();
        assert_eq!(gathered.notes.len(), 1);
    }

    #[test]
    fn limits_that_are_not_given_stay() {
        let present = json!({ "memory": 1024, "networks": ["a"], "environment": { "TZ": "UTC" } });
        let args = RuntimeArgs {
            cpus: Some(500),
            networks: vec!["b".to_owned()],
            ..no_runtime()
        };
        assert_eq!(
            runtime(&args, &present, false).unwrap().unwrap(),
            json!({ "memory": 1024, "cpu_millis": 500, "networks": ["a", "b"], "environment": { "TZ": "UTC" } })
        );
        assert_eq!(
            runtime(&args, &present, true).unwrap().unwrap(),
            json!({ "cpu_millis": 500, "networks": ["b"] })
        );
    }

    #[test]
    fn no_limits_given_change_none() {
        let present = json!({ "environment": { "API_TOKEN": MASK } });
        assert_eq!(runtime(&no_runtime(), &present, false).unwrap(), None);
        assert_eq!(runtime(&no_runtime(), &Value::Null, false).unwrap(), None);
        // forgetting all is a change
        assert_eq!(
            runtime(&no_runtime(), &present, true).unwrap(),
            Some(json!({}))
        );
    }

    #[test]
    fn what_is_masked_never_becomes_a_value() {
        let present = json!({ "environment": { "API_TOKEN": MASK } });
        let args = RuntimeArgs {
            memory: Some(1),
            ..no_runtime()
        };
        let told = runtime(&args, &present, false).unwrap_err().to_string();
        assert!(told.contains("--reset-runtime"), "{told}");
    }

    #[test]
    fn a_secret_is_no_variable() {
        let args = RuntimeArgs {
            environment: vec![("FEED_PASSWORD".to_owned(), "hunter2".to_owned())],
            ..no_runtime()
        };
        let told = runtime(&args, &Value::Null, false).unwrap_err().to_string();
        assert!(
            told.contains("--secret") && !told.contains("hunter2"),
            "{told}"
        );
    }
}
