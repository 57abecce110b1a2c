//! `ferrocti connector deploy` and `configure`.

use anyhow::{Result, bail};
use ferrocti_catalog::generic;
use serde_json::{Map, Value, json};

use super::{
    find,
    settings::{self, Gathered},
    tell, view,
    watch::{self, Goal},
};
use crate::{
    cli::{ConfigureArgs, DeployArgs},
    client::Client,
    lookup::{self, Kind},
};

const CONTRACT: &str = "query Contract($slug: String!, $version: String, $catalog: ID) { contract(slug: $slug, version: $version, catalog: $catalog) { contract } }";
const DEPLOY: &str = "mutation Deploy($input: ManagedConnectorDeployInput!) { managedConnectorDeploy(input: $input) { notices connector { id definition_number } } }";
const CONFIGURE: &str = "mutation Configure($input: ManagedConnectorConfigureInput!) { managedConnectorConfigure(input: $input) { notices connector { id definition_number } } }";

/// `ferrocti connector deploy`
pub fn deploy(args: &DeployArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let contract = match &args.contract {
        Some(slug) => {
            let variables =
                json!({ "slug": slug, "version": args.version, "catalog": args.catalog });
            let data = client.call(CONTRACT, variables)?;
            let found = settings::contract(&data["contract"]["contract"]);
            if found.is_none() {
                bail!(
                    "there is no contract {slug:?}{}; `ferrocti connector catalog` shows all",
                    match (&args.version, &args.catalog) {
                        (None, None) => "",
                        _ => " of that version in that catalog",
                    }
                );
            }
            found
        }
        None => None,
    };
    let input = std::io::stdin();
    let given = settings::gather(&args.settings, &[], contract.as_ref(), input)?;
    let runtime = settings::runtime(&args.runtime, &Value::Null, false)?;
    let user = args.user.as_ref();
    let user = user.map(|called| lookup::id(&client, Kind::User, called));
    let composer = args.composer.as_ref();
    let composer = composer.map(|called| lookup::id(&client, Kind::Composer, called));
    let title = contract.as_ref().map(|contract| contract.title.as_str());
    let input = deploy_input(
        args,
        title,
        &given,
        runtime,
        user.transpose()?,
        composer.transpose()?,
    )?;
    let data = client.call(DEPLOY, json!({ "input": input }))?;
    let outcome = &data["managedConnectorDeploy"];
    let goal = if args.no_start {
        Goal::Stopped
    } else {
        Goal::Running
    };
    after(
        &client,
        outcome,
        &given,
        goal,
        &args.wait,
        &args.remote,
        "is deployed",
    )
}

/// `ferrocti connector configure`
pub fn configure(args: &ConfigureArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let id = find(&client, &args.connector)?;
    let present = watch::ask(&client, &id)?;
    if present["is_managed"] != true {
        bail!(
            "{} is not run by a composer: it has its settings from wherever it runs",
            view::name(&present)
        );
    }
    let contract = settings::contract(&present["manager_contract_definition"]);
    let given = settings::gather(
        &args.settings,
        &args.unset,
        contract.as_ref(),
        std::io::stdin(),
    )?;
    let runtime = settings::runtime(&args.runtime, &present["runtime"], args.reset_runtime)?;
    let mut input = Map::new();
    let mut put = |key: &str, value: Value| input.insert(key.to_owned(), value);
    if !given.is_empty() {
        put("configuration", given.input());
        // nothing says which settings a connector has that is in no catalog
        let free = present["catalog_id"] == generic::CATALOG;
        put("unknown_keys", unknown(args.settings.allow_unknown || free));
    }
    if let Some(runtime) = runtime {
        put("runtime", runtime);
    }
    if let Some(name) = &args.name {
        put("name", json!(name));
    }
    if let Some(user) = &args.user {
        put("user_id", json!(lookup::id(&client, Kind::User, user)?));
    }
    if let Some(composer) = &args.composer {
        put(
            "composer",
            json!(lookup::id(&client, Kind::Composer, composer)?),
        );
    }
    if args.pin || args.unpin {
        put("pinned", json!(args.pin));
    }
    if input.is_empty() {
        bail!("nothing to change; `ferrocti connector configure --help` lists what can be");
    }
    input.insert("id".to_owned(), json!(id));
    let data = client.call(CONFIGURE, json!({ "input": input }))?;
    let goal = watch::goal_of(&present);
    after(
        &client,
        &data["managedConnectorConfigure"],
        &given,
        goal,
        &args.wait,
        &args.remote,
        "is configured",
    )
}

/// Waits where that was asked for, and tells what became of it.
fn after(
    client: &Client,
    outcome: &Value,
    given: &Gathered,
    goal: Goal,
    wait: &crate::cli::WaitArgs,
    remote: &crate::cli::RemoteArgs,
    done: &str,
) -> Result<()> {
    let id = outcome["connector"]["id"].as_str().unwrap_or_default();
    let definition = outcome["connector"]["definition_number"].as_i64();
    let mut notices: Vec<Value> = given.notes.iter().map(|note| json!(note)).collect();
    notices.extend(outcome["notices"].as_array().cloned().unwrap_or_default());
    if wait.wait && !remote.json {
        for notice in &notices {
            eprintln!("note: {}", crate::print::text(notice));
        }
    }
    let connector = watch::outcome(client, id, goal, definition, wait, remote.json)?;
    let shown = if wait.wait && !remote.json {
        Value::Null
    } else {
        json!(notices)
    };
    tell(remote, &connector, &shown, |_| {
        if wait.wait {
            view::told(&connector)
        } else {
            format!(
                "{} {done} (id {id}); watch it with: ferrocti connector show {id}",
                view::name(&connector)
            )
        }
    });
    Ok(())
}

/// Settings that the contract does not name are most often misspelt.
fn unknown(allowed: bool) -> Value {
    json!(if allowed { "KEEP" } else { "REFUSE" })
}

/// What the platform is asked for. `title` is that of the contract, where there is one.
fn deploy_input(
    args: &DeployArgs,
    title: Option<&str>,
    given: &Gathered,
    runtime: Option<Value>,
    user: Option<String>,
    composer: Option<String>,
) -> Result<Value> {
    let Some(name) = args.name.as_deref().or(title) else {
        bail!("give the connector a name with --name");
    };
    let mut input = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            input.insert(key.to_owned(), value);
        }
    };
    put("name", json!(name));
    put("id", json!(args.id));
    match &args.contract {
        Some(slug) => {
            put("contract", json!(slug));
            put("catalog", json!(args.catalog));
            put("version", json!(args.version));
            put("unknown_keys", unknown(args.settings.allow_unknown));
        }
        None => {
            let launch = match &args.image {
                Some(image) => json!({ "image": image }),
                None => {
                    let mut launch = Map::new();
                    launch.insert("command".to_owned(), json!(args.command));
                    if let Some(dir) = &args.working_directory {
                        launch.insert("working_directory".to_owned(), json!(dir));
                    }
                    if let Some(file) = &args.requirements {
                        launch.insert("requirements".to_owned(), json!(file));
                    }
                    Value::Object(launch)
                }
            };
            put(
                "generic",
                json!({ "title": name, "type": args.connector_type, "launch": launch, "secrets": given.secrets }),
            );
            // nothing says which settings such a connector has
            put("unknown_keys", unknown(true));
        }
    }
    if !given.is_empty() {
        put("configuration", given.input());
    }
    put("user_id", json!(user));
    put("user_name", json!(args.new_user));
    put("confidence_level", json!(args.confidence));
    put("composer", json!(composer));
    put("runtime", json!(runtime));
    put("start", json!(!args.no_start));
    Ok(Value::Object(input))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, ConnectorCommand};

    fn input(words: &[&str], secret: &str) -> Value {
        let cli = Cli::parse_from([&["ferrocti", "connector", "deploy"], words].concat());
        let Command::Connector(ConnectorCommand::Deploy(args)) = cli.command else {
            panic!("deploy")
        };
        let given = settings::gather(&args.settings, &[], None, secret.as_bytes()).unwrap();
        let runtime = settings::runtime(&args.runtime, &Value::Null, false).unwrap();
        deploy_input(&args, Some("Title"), &given, runtime, None, None).unwrap()
    }

    #[test]
    fn a_contract_is_deployed_under_its_title_and_misspelt_settings_are_refused() {
        assert_eq!(
            input(
                &[
                    "mitre",
                    "--set",
                    "A=1",
                    "--memory",
                    "1k",
                    "--confidence",
                    "7"
                ],
                ""
            ),
            json!({
                "name": "Title", "contract": "mitre", "unknown_keys": "REFUSE", "configuration": [{ "key": "A", "value": "1" }],
                "confidence_level": 7, "runtime": { "memory": 1024 }, "start": true
            })
        );
    }

    #[test]
    fn a_command_is_deployed_with_its_secrets_by_name() {
        let input = input(
            &[
                "--name",
                "My feed",
                "--no-start",
                "--requirements",
                "/srv/r.txt",
                "--secret",
                "FEED_KEY=-",
                "--command",
                "python",
                "main.py",
            ],
            "s3cret\n",
        );
        assert_eq!(
            input,
            json!({
                "name": "My feed",
                "generic": {
                    "title": "My feed", "type": "EXTERNAL_IMPORT", "launch": { "command": ["python", "main.py"], "requirements": "/srv/r.txt" },
                    "secrets": ["FEED_KEY"]
                },
                "unknown_keys": "KEEP", "configuration": [{ "key": "FEED_KEY", "value": "s3cret" }], "start": false
            })
        );
    }

    #[test]
    fn what_is_sent_for_no_contract_is_one_of_the_catalogs_own_form() {
        let input = input(&["--name", "My feed", "--image", "x/y:1"], "");
        let generic: generic::Generic = serde_json::from_value(input["generic"].clone()).unwrap();
        assert_eq!(generic.contract().unwrap().version, "1");
    }

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[CONTRACT, DEPLOY, CONFIGURE]);
    }
}
