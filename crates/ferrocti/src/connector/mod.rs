//! `ferrocti connector …`: deploying connectors and looking after them, through a running platform.

mod catalog;
mod declared;
mod deploy;
mod logs;
mod settings;
mod view;
mod watch;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    cli::{ConnectorCommand, OneArgs, RemoteArgs, StateCommand},
    client::Client,
    lookup::{self, Kind},
    print::{list, number, say, show, table, text},
    sample,
};
use watch::Goal;

const HISTORY: &str = "query History($id: ID!) { connectorStateHistory(id: $id) { version created_at origin state } }";
const RESTORE: &str = "mutation Restore($id: ID!, $version: Int!) { connectorStateRestore(id: $id, version: $version) { id connector_state } }";
const RESET: &str =
    "mutation Reset($id: ID!) { resetStateConnector(id: $id) { id connector_state } }";
const DELETE: &str = "mutation Delete($id: ID!) { deleteConnector(id: $id) }";
const REQUEST: &str = "mutation Request($input: RequestConnectorStatusInput!) { updateConnectorRequestedStatus(input: $input) { id } }";
const RESTART: &str = "mutation Restart($id: ID!) { managedConnectorRestart(id: $id) { notices connector { id definition_number } } }";
const UPGRADE: &str = "mutation Upgrade($id: ID!, $version: String) { managedConnectorUpgrade(id: $id, version: $version) { notices connector { id definition_number } } }";
const ROLLBACK: &str = "mutation Rollback($id: ID!, $number: Int) { managedConnectorRollback(id: $id, number: $number) { notices connector { id definition_number } } }";

/// `ferrocti connector …`
pub fn run(command: &ConnectorCommand) -> Result<()> {
    match command {
        ConnectorCommand::List { managed, remote } => view::list_all(*managed, remote),
        ConnectorCommand::Show { connector, remote } => view::show_one(connector, remote),
        ConnectorCommand::Definitions { connector, remote } => view::definitions(connector, remote),
        ConnectorCommand::Catalog(args) => catalog::run(args),
        ConnectorCommand::Contract {
            slug,
            version,
            catalog,
            remote,
        } => catalog::contract(slug, version.as_deref(), catalog.as_deref(), remote),
        ConnectorCommand::Deploy(args) => deploy::deploy(args),
        ConnectorCommand::Configure(args) => deploy::configure(args),
        ConnectorCommand::Start(one) => request(one, "starting", Goal::Running),
        ConnectorCommand::Stop(one) => request(one, "stopping", Goal::Stopped),
        ConnectorCommand::Restart(one) => change(
            one,
            "managedConnectorRestart",
            |id| (RESTART, json!({ "id": id })),
            "restarts",
        ),
        ConnectorCommand::Upgrade { version, one } => change(
            one,
            "managedConnectorUpgrade",
            |id| (UPGRADE, json!({ "id": id, "version": version })),
            "is upgraded",
        ),
        ConnectorCommand::Rollback { number, one } => change(
            one,
            "managedConnectorRollback",
            |id| (ROLLBACK, json!({ "id": id, "number": number })),
            "goes back",
        ),
        ConnectorCommand::Logs(args) => logs::run(args),
        ConnectorCommand::Plan { file, remote } => declared::plan(file, remote),
        ConnectorCommand::Apply(args) => declared::apply(args),
        ConnectorCommand::State(command) => state(command),
        ConnectorCommand::Delete(one) => delete(one),
        ConnectorCommand::Sample => sample::run(),
    }
}

/// The id of the connector that is called so.
fn find(client: &Client, called: &str) -> Result<String> {
    lookup::id(client, Kind::Connector, called)
}

/// Asks for a connector to run or to stop.
fn request(one: &OneArgs, status: &str, goal: Goal) -> Result<()> {
    let client = Client::new(&one.remote)?;
    let id = find(&client, &one.connector)?;
    let input = json!({ "id": id, "status": status });
    client.call(REQUEST, json!({ "input": input }))?;
    let connector = watch::outcome(&client, &id, goal, None, &one.wait, one.remote.json)?;
    tell(&one.remote, &connector, &Value::Null, |_| {
        if one.wait.wait {
            view::told(&connector)
        } else {
            format!("{} is {status}", view::name(&connector))
        }
    });
    Ok(())
}

/// Changes the definition of a connector, and what then runs.
fn change(
    one: &OneArgs,
    field: &str,
    operation: impl FnOnce(&str) -> (&'static str, Value),
    does: &str,
) -> Result<()> {
    let client = Client::new(&one.remote)?;
    let id = find(&client, &one.connector)?;
    let before = watch::ask(&client, &id)?;
    let (query, variables) = operation(&id);
    let data = client.call(query, variables)?;
    let outcome = &data[field];
    let definition = &outcome["connector"]["definition_number"];
    // an upgrade to the version that it has changes nothing; a restart changes no definition
    let same = *definition == before["definition_number"] && query == UPGRADE;
    let goal = watch::goal_of(&watch::ask(&client, &id)?);
    let connector = watch::outcome(
        &client,
        &id,
        goal,
        definition.as_i64(),
        &one.wait,
        one.remote.json,
    )?;
    tell(&one.remote, &connector, &outcome["notices"], |_| {
        let name = view::name(&connector);
        match (same, one.wait.wait) {
            (true, _) => format!(
                "{name} is at version {} already",
                text(&connector["contract_version"])
            ),
            (false, true) => view::told(&connector),
            (false, false) => format!("{name} {does}"),
        }
    });
    Ok(())
}

/// Prints what became of a connector: for programs the connector and the notices, for people a sentence and the notices.
fn tell(
    remote: &RemoteArgs,
    connector: &Value,
    notices: &Value,
    sentence: impl FnOnce(&Value) -> String,
) {
    let notices: Vec<&Value> = list(notices).collect();
    let data = json!({ "connector": connector, "notices": notices });
    show(remote, &data, |data| {
        say(sentence(&data["connector"]));
        for notice in list(&data["notices"]) {
            say(format_args!("  note: {}", text(notice)));
        }
    });
}

fn delete(one: &OneArgs) -> Result<()> {
    let client = Client::new(&one.remote)?;
    let id = find(&client, &one.connector)?;
    let connector = watch::ask(&client, &id)?;
    let managed = connector["is_managed"] == true;
    let data = client.call(DELETE, json!({ "id": id }))?;
    if managed && one.wait.wait {
        watch::until_gone(&client, &id, &view::name(&connector), one.wait.timeout)?;
    }
    show(&one.remote, &data, |_| {
        let name = view::name(&connector);
        say(format_args!(
            "removed {name} with its queues, works and state{}",
            match (managed, one.wait.wait) {
                (true, true) => "; nothing of it runs any more",
                (true, false) => "; its composer removes what runs of it",
                (false, _) => "",
            }
        ));
    });
    Ok(())
}

/// `ferrocti connector state …`
fn state(command: &StateCommand) -> Result<()> {
    match command {
        StateCommand::History { connector, remote } => {
            let client = Client::new(remote)?;
            let id = find(&client, connector)?;
            let data = client.call(HISTORY, json!({ "id": id }))?;
            show(remote, &data, |data| {
                table(
                    "State, newest first",
                    &["version", "from", "by", "state"],
                    list(&data["connectorStateHistory"]).map(|version| {
                        vec![
                            number(&version["version"]),
                            text(&version["created_at"]),
                            text(&version["origin"]),
                            text(&version["state"]),
                        ]
                    }),
                );
            });
        }
        StateCommand::Restore {
            connector,
            version,
            remote,
        } => {
            let client = Client::new(remote)?;
            let id = find(&client, connector)?;
            let data = client.call(RESTORE, json!({ "id": id, "version": version }))?;
            show(remote, &data, |data| {
                say(format_args!(
                    "state is now {}; the connector gets it when it starts next",
                    text(&data["connectorStateRestore"]["connector_state"])
                ));
            });
        }
        StateCommand::Reset { connector, remote } => {
            let client = Client::new(remote)?;
            let id = find(&client, connector)?;
            let data = client.call(RESET, json!({ "id": id }))?;
            show(remote, &data, |_| {
                say("the connector starts from the beginning; its former state is in the history");
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[
            HISTORY, RESTORE, RESET, DELETE, REQUEST, RESTART, UPGRADE, ROLLBACK,
        ]);
    }
}
