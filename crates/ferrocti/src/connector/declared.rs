//! `ferrocti connector plan` and `apply`: connectors from a file.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use ferrocti_catalog::{
    Secret,
    declared::{self, SecretRef},
};
use serde_json::{Value, json};

use super::settings;
use crate::{
    cli::{ApplyArgs, RemoteArgs, SecretSource},
    client::Client,
    print::{list, number, show, text},
};

const STEPS: &str = "steps { action name connector_id changes { path before after } notices }";

/// A file as the platform takes it: its text, and the secrets that it refers to.
#[derive(Debug)]
struct Given {
    text: String,
    secrets: BTreeMap<String, Secret>,
}

impl Given {
    /// Reads a file, and the secrets where it says that they are: only whoever applies it can read them.
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read as UTF-8 text", path.display()))?;
        let file = declared::read(&text).with_context(|| path.display().to_string())?;
        let mut secrets = BTreeMap::new();
        for connector in &file.connectors {
            for (key, reference) in &connector.secrets {
                let (name, source) = located(reference, path);
                if secrets.contains_key(&name) {
                    continue;
                }
                let secret = settings::read(&source, &mut std::io::empty())
                    .with_context(|| format!("{} of {}", key, connector.name))?;
                secrets.insert(name, secret);
            }
        }
        Ok(Self { text, secrets })
    }

    fn secrets(&self) -> Value {
        self.secrets
            .iter()
            .map(|(reference, value)| json!({ "reference": reference, "value": value.expose() }))
            .collect()
    }
}

/// The name of a reference for the platform, and where it is; files are found from the directory of the file that names them.
fn located(reference: &SecretRef, file: &Path) -> (String, SecretSource) {
    match reference {
        SecretRef::Environment(name) => (
            format!("env:{name}"),
            SecretSource::Environment(name.clone()),
        ),
        SecretRef::File(path) => {
            let beside: PathBuf = file.parent().unwrap_or(Path::new("")).join(path);
            (format!("file:{path}"), SecretSource::File(beside))
        }
    }
}

/// `ferrocti connector plan`
pub fn plan(file: &Path, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let plan = ask(&client, &Given::read(file)?)?;
    show(remote, &json!({ "plan": plan }), |data| {
        print!("{}", render(&data["plan"]));
    });
    Ok(())
}

fn ask(client: &Client, given: &Given) -> Result<Value> {
    let query = format!(
        "query Plan($file: String!, $secrets: [DeclaredSecretInput!]) {{ connectorsPlan(file: $file, secrets: $secrets) {{ {STEPS} hash removals changed }} }}"
    );
    let variables = json!({ "file": given.text, "secrets": given.secrets() });
    Ok(client.call(&query, variables)?["connectorsPlan"].take())
}

/// `ferrocti connector apply`
pub fn apply(args: &ApplyArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let given = Given::read(&args.file)?;
    let plan = ask(&client, &given)?;
    let json = args.remote.json;
    if !json {
        print!("{}", render(&plan));
    }
    if plan["changed"] != true {
        if json {
            println!("{}", json!({ "plan": plan, "result": null }));
        }
        return Ok(());
    }
    let removals = plan["removals"].as_u64().unwrap_or(0);
    if removals > 0 && !args.allow_removals {
        bail!(
            "nothing was done: {removals} connectors that came from a file are in this one no more and would be removed; \
             put them back into it, or allow that with --allow-removals"
        );
    }
    if !args.yes {
        if json || !std::io::stdin().is_terminal() {
            bail!("nothing was done: there is nobody to ask; say --yes");
        }
        let mut answer = String::new();
        print!("\nDo it? [y/N] ");
        std::io::stdout().flush()?;
        std::io::stdin().read_line(&mut answer)?;
        if !is_yes(&answer) {
            bail!("nothing was done");
        }
    }
    let query = format!(
        "mutation Apply($file: String!, $secrets: [DeclaredSecretInput!], $hash: String!, $removals: Boolean) {{ \
         connectorsApply(file: $file, secrets: $secrets, hash: $hash, allow_removals: $removals) {{ {STEPS} failures {{ name error }} }} }}"
    );
    let variables = json!({ "file": given.text, "secrets": given.secrets(), "hash": plan["hash"], "removals": args.allow_removals });
    let result = client.call(&query, variables)?["connectorsApply"].take();
    let failures: Vec<String> = list(&result["failures"])
        .map(|failure| format!("{}: {}", text(&failure["name"]), text(&failure["error"])))
        .collect();
    if json {
        println!("{}", json!({ "plan": plan, "result": result }));
    } else {
        let done = list(&result["steps"]).filter(|step| step["action"] != "keep");
        println!("\n{} done.", done.count());
    }
    if !failures.is_empty() {
        bail!(
            "{} failed, the others were done:\n  {}",
            failures.len(),
            failures.join("\n  ")
        );
    }
    Ok(())
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

/// A plan for people: what is made, changed and removed, each with what differs.
fn render(plan: &Value) -> String {
    let mut out = String::new();
    let mut counts = BTreeMap::new();
    for step in list(&plan["steps"]) {
        let action = step["action"].as_str().unwrap_or_default();
        *counts.entry(action).or_insert(0) += 1;
        let sign = match action {
            "create" => "+",
            "change" => "~",
            "remove" => "-",
            _ => " ",
        };
        out.push_str(&format!("{sign} {action:6}  {}\n", text(&step["name"])));
        for change in list(&step["changes"]) {
            let path = text(&change["path"]);
            let line = match (&change["before"], &change["after"]) {
                (Value::Null, after) => format!("{path}: {}", text(after)),
                (before, Value::Null) => format!("{path}: {} → nothing", text(before)),
                (before, after) => format!("{path}: {} → {}", text(before), text(after)),
            };
            out.push_str(&format!("      {line}\n"));
        }
        for notice in list(&step["notices"]) {
            out.push_str(&format!("      note: {}\n", text(notice)));
        }
    }
    let count = |action: &str| counts.get(action).copied().unwrap_or(0);
    if plan["changed"] == true {
        out.push_str(&format!(
            "\n{} to create, {} to change, {} to remove, {} stay as they are\n",
            count("create"),
            count("change"),
            number(&plan["removals"]),
            count("keep")
        ));
    } else {
        out.push_str("\nEverything is as the file says.\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_shows_what_differs() {
        let plan = json!({
            "changed": true, "removals": 1,
            "steps": [
                { "action": "create", "name": "New", "changes": [{ "path": "contract", "before": null, "after": "mitre" }], "notices": [] },
                { "action": "change", "name": "Feed", "changes": [
                    { "path": "settings.SCOPE", "before": "a", "after": "a,b" }, { "path": "settings.OLD", "before": "1", "after": null }
                ], "notices": ["X is left out"] },
                { "action": "keep", "name": "Same", "changes": [], "notices": [] },
                { "action": "remove", "name": "Gone", "changes": [], "notices": [] }
            ]
        });
        assert_eq!(
            render(&plan),
            "+ create  New\n      contract: mitre\n\
             ~ change  Feed\n      settings.SCOPE: a → a,b\n      settings.OLD: 1 → nothing\n      note: X is left out\n\
             \x20 keep    Same\n\
             - remove  Gone\n\
             \n1 to create, 1 to change, 1 to remove, 1 stay as they are\n"
        );
        let same = json!({ "changed": false, "removals": 0, "steps": [] });
        assert!(render(&same).contains("as the file says"));
    }

    #[test]
    fn secrets_of_a_file_are_read_beside_it_and_sent_by_their_reference() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "s3cret\n").unwrap();
        let file = dir.path().join("connectors.yaml");
        let yaml = "connectors:\n  - name: Sample\n    contract: ferrocti-sample\n    secrets:\n      SAMPLE_API_KEY: {file: key}\n";
        std::fs::write(&file, yaml).unwrap();
        let given = Given::read(&file).unwrap();
        assert_eq!(
            given.secrets(),
            json!([{ "reference": "file:key", "value": "s3cret" }])
        );
        assert!(!format!("{given:?}").contains("s3cret"));
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_before_anybody_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("connectors.yaml");
        for (yaml, told) in [
            ("connectors:\n  - name: x\n", "line 2"),
            (
                "connectors:\n  - {name: Sample, contract: a, secrets: {K_TOKEN: {env: FERROCTI_TEST_NOT_SET}}}\n",
                "K_TOKEN of Sample",
            ),
            (
                "connectors:\n  - {name: Sample, contract: a, secrets: {K_TOKEN: {file: none}}}\n",
                "cannot be read",
            ),
        ] {
            std::fs::write(&file, yaml).unwrap();
            let error = format!("{:#}", Given::read(&file).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in [
            ("y\n", true),
            ("YES\n", true),
            ("\n", false),
            ("yep", false),
        ] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
