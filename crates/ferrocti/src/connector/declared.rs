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
    print::{list, number, say, show, text},
};

const PLAN: &str = "query Plan($file: String!, $secrets: [DeclaredSecretInput!]) { connectorsPlan(file: $file, secrets: $secrets) {
  steps { action name connector_id changes { path before after } notices problem } hash removals changed } }";
const APPLY: &str = "mutation Apply($file: String!, $secrets: [DeclaredSecretInput!], $hash: String!, $removals: Boolean) {
  connectorsApply(file: $file, secrets: $secrets, hash: $hash, allow_removals: $removals) {
  steps { action name connector_id changes { path before after } notices problem } failures { name error } } }";

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
        say(render(&data["plan"]));
    });
    let problems = list(&plan["steps"]).filter(|step| step["action"] == "problem");
    match problems.count() {
        0 => Ok(()),
        count => bail!("{count} of the connectors cannot be what the file says"),
    }
}

fn ask(client: &Client, given: &Given) -> Result<Value> {
    let variables = json!({ "file": given.text, "secrets": given.secrets() });
    Ok(client.call(PLAN, variables)?["connectorsPlan"].take())
}

/// `ferrocti connector apply`
pub fn apply(args: &ApplyArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let given = Given::read(&args.file)?;
    let plan = ask(&client, &given)?;
    let json = args.remote.json;
    if !json {
        say(render(&plan));
    }
    if plan["changed"] != true {
        if json {
            // the same form as when something is done
            say(json!({ "applied": { "steps": plan["steps"], "failures": [] } }));
        }
        return Ok(());
    }
    let removals = plan["removals"].as_u64().unwrap_or(0);
    if removals > 0 && !args.allow_removals {
        bail!(
            "nothing was done: connectors that came from a file and are in this one no more would be removed ({removals}); \
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
    let variables = json!({ "file": given.text, "secrets": given.secrets(), "hash": plan["hash"], "removals": args.allow_removals });
    let result = client.call(APPLY, variables)?["connectorsApply"].take();
    let failures: Vec<String> = list(&result["failures"])
        .map(|failure| {
            format!(
                "{}: {}",
                text(&failure["name"]),
                indented(&failure["error"])
            )
        })
        .collect();
    if json {
        say(json!({ "applied": result }));
    } else {
        say(format_args!("{} done", done(&result)));
    }
    if !failures.is_empty() {
        bail!(
            "not everything is as the file says:\n  {}",
            failures.join("\n  ")
        );
    }
    Ok(())
}

/// How many steps changed something.
fn done(result: &Value) -> usize {
    let failed: Vec<&Value> = list(&result["failures"])
        .map(|failure| &failure["name"])
        .collect();
    list(&result["steps"])
        .filter(|step| {
            let action = step["action"].as_str().unwrap_or_default();
            ["create", "change", "remove"].contains(&action) && !failed.contains(&&step["name"])
        })
        .count()
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

/// A plan for people: what is made, changed and removed, each with what differs, and what cannot be as the file says.
fn render(plan: &Value) -> String {
    let mut out = String::new();
    let mut counts = BTreeMap::new();
    for step in list(&plan["steps"]) {
        let action = step["action"].as_str().unwrap_or_default();
        *counts.entry(action).or_insert(0) += 1;
        let name = text(&step["name"]);
        match action {
            "create" => out.push_str(&format!("+ {name}\n")),
            "change" => out.push_str(&format!("~ {name}\n")),
            "remove" => out.push_str(&format!("- {name}\n")),
            "problem" => out.push_str(&format!("! {name}: {}\n", indented(&step["problem"]))),
            _ if list(&step["notices"]).next().is_none() => {}
            _ => out.push_str(&format!("  {name}\n")),
        }
        for change in list(&step["changes"]) {
            let path = text(&change["path"]);
            let line = match (&change["before"], &change["after"]) {
                (Value::Null, after) => format!("{path}: {}", text(after)),
                (before, Value::Null) => format!("{path}: {} -> nothing", text(before)),
                (before, after) => format!("{path}: {} -> {}", text(before), text(after)),
            };
            out.push_str(&format!("    {line}\n"));
        }
        for notice in list(&step["notices"]) {
            out.push_str(&format!("    note: {}\n", text(notice)));
        }
    }
    let count = |action: &str| counts.get(action).copied().unwrap_or(0);
    if plan["changed"] == true {
        out.push_str(&format!(
            "{} to create, {} to change, {} to remove, {} unchanged",
            count("create"),
            count("change"),
            number(&plan["removals"]),
            count("keep")
        ));
        if count("problem") > 0 {
            out.push_str(&format!(", {} with a problem", count("problem")));
        }
        out.push('\n');
    } else {
        out.push_str("everything is as the file says\n");
    }
    out.truncate(out.trim_end().len());
    out
}

/// A text of several lines, with all but the first indented.
fn indented(value: &Value) -> String {
    let lines = value.as_str().unwrap_or_default().lines();
    let lines: Vec<String> = lines.map(|line| text(&json!(line))).collect();
    lines.join("\n    ")
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
                { "action": "problem", "name": "Odd", "changes": [], "notices": [], "problem": "wrong:\nA: a value is required\u{1b}" },
                { "action": "remove", "name": "Gone", "changes": [], "notices": [] }
            ]
        });
        assert_eq!(
            render(&plan),
            "+ New\n    contract: mitre\n\
             ~ Feed\n    settings.SCOPE: a -> a,b\n    settings.OLD: 1 -> nothing\n    note: X is left out\n\
             ! Odd: wrong:\n    A: a value is required\u{fffd}\n\
             - Gone\n\
             1 to create, 1 to change, 1 to remove, 1 unchanged, 1 with a problem"
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
    fn only_what_changed_something_counts_as_done() {
        let result = json!({
            "steps": [
                { "action": "create", "name": "A" }, { "action": "change", "name": "B" }, { "action": "keep", "name": "C" },
                { "action": "problem", "name": "D" }
            ],
            "failures": [{ "name": "B", "error": "x" }, { "name": "D", "error": "y" }]
        });
        assert_eq!(done(&result), 1);
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

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[PLAN, APPLY]);
    }
}
