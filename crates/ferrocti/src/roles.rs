//! `ferrocti role …`: which capabilities the members of a group get.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{
    cli::{RemoteArgs, RoleCommand},
    client::Client,
    lookup::{self, Kind},
    print::{facts, list, names, nodes, show, table, text},
    users::entry,
};

const LIST: &str = "{ roles(first: 5000, orderBy: name, orderMode: asc) { edges { node { id name description capabilities { name } } } } }";
const SHOW: &str = "query Role($id: String!) { role(id: $id) { id standard_id name description created_at updated_at capabilities { name description attribute_order } } }";
const CAPABILITIES: &str =
    "{ capabilities(first: 1000) { edges { node { id name description attribute_order } } } }";
const ADD: &str = "mutation Add($input: RoleAddInput!) { roleAdd(input: $input) { id name } }";
const PATCH: &str = "mutation Patch($id: ID!, $input: [EditInput]!) { roleEdit(id: $id) { fieldPatch(input: $input) { id name } } }";
const DELETE: &str = "mutation Delete($id: ID!) { roleEdit(id: $id) { delete } }";
const GIVE: &str = "mutation Give($id: ID!, $capability: ID!) {
  roleEdit(id: $id) { relationAdd(input: { toId: $capability, relationship_type: \"has-capability\" }) { id } } }";
const TAKE: &str = "mutation Take($id: ID!, $capability: StixRef!) {
  roleEdit(id: $id) { relationDelete(toId: $capability, relationship_type: \"has-capability\") { id } } }";

/// `ferrocti role …`
pub fn run(command: &RoleCommand) -> Result<()> {
    match command {
        RoleCommand::List(remote) => {
            let data = Client::new(remote)?.call(LIST, json!({}))?;
            show(remote, &data, |data| {
                table(
                    "Roles",
                    &["name", "id", "capabilities"],
                    nodes(&data["roles"]).map(|role| {
                        vec![
                            text(&role["name"]),
                            text(&role["id"]),
                            names(list(&role["capabilities"]), "name"),
                        ]
                    }),
                );
            });
        }
        RoleCommand::Show { role, remote } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::Role, role)?;
            let data = client.call(SHOW, json!({ "id": id }))?;
            show(remote, &data, |data| print_role(&data["role"]));
        }
        RoleCommand::Add {
            name,
            description,
            capabilities,
            remote,
        } => add(name, description.as_deref(), capabilities, remote)?,
        RoleCommand::Edit {
            role,
            name,
            description,
            add_capability,
            remove_capability,
            remote,
        } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::Role, role)?;
            let given = lookup::ids(&client, Kind::Capability, add_capability)?;
            let taken = lookup::ids(&client, Kind::Capability, remove_capability)?;
            let patch: Vec<Value> = [("name", name), ("description", description)]
                .into_iter()
                .filter_map(|(key, value)| Some(entry(key, json!(value.as_ref()?))))
                .collect();
            if patch.is_empty() && given.is_empty() && taken.is_empty() {
                bail!("nothing to change; `ferrocti role edit --help` lists what can be");
            }
            if !patch.is_empty() {
                client.call(PATCH, json!({ "id": id, "input": patch }))?;
            }
            for capability in &given {
                client.call(GIVE, json!({ "id": id, "capability": capability }))?;
            }
            for capability in &taken {
                client.call(TAKE, json!({ "id": id, "capability": capability }))?;
            }
            show(remote, &json!({ "id": id }), |_| {
                println!("changed {role} (id {id})");
            });
        }
        RoleCommand::Delete { role, remote } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::Role, role)?;
            let data = client.call(DELETE, json!({ "id": id }))?;
            show(remote, &data, |_| println!("deleted {role} (id {id})"));
        }
        RoleCommand::Capabilities(remote) => {
            let data = Client::new(remote)?.call(CAPABILITIES, json!({}))?;
            show(remote, &data, |data| {
                print_capabilities(nodes(&data["capabilities"]));
            });
        }
    }
    Ok(())
}

fn add(
    name: &str,
    description: Option<&str>,
    capabilities: &[String],
    remote: &RemoteArgs,
) -> Result<()> {
    let client = Client::new(remote)?;
    // everything is found before anything is made
    let capabilities = lookup::ids(&client, Kind::Capability, capabilities)?;
    let input = json!({ "name": name, "description": description });
    let data = client.call(ADD, json!({ "input": input }))?;
    let id = text(&data["roleAdd"]["id"]);
    for capability in &capabilities {
        client.call(GIVE, json!({ "id": id, "capability": capability }))?;
    }
    show(remote, &data, |_| println!("created {name} (id {id})"));
    Ok(())
}

fn print_role(role: &Value) {
    facts(
        &text(&role["name"]),
        &[
            ("id", text(&role["id"])),
            ("description", text(&role["description"])),
            ("created", text(&role["created_at"])),
            ("changed", text(&role["updated_at"])),
        ],
    );
    print_capabilities(list(&role["capabilities"]));
}

fn print_capabilities<'v>(capabilities: impl Iterator<Item = &'v Value>) {
    table(
        "Capabilities; each includes those in front of its last _",
        &["name", "what it allows"],
        capabilities
            .map(|capability| vec![text(&capability["name"]), text(&capability["description"])]),
    );
}
