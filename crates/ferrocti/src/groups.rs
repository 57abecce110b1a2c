//! `ferrocti group …`: what the members of a group may see, how much their data counts, which roles they have.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::{
    cli::{GroupCommand, GroupFields, GroupMarkingArgs, GroupRoleArgs, MemberArgs, RemoteArgs},
    client::Client,
    lookup::{self, Kind},
    print::{facts, list, names, nodes, number, show, table, text, yes},
    users::{entry, level},
};

/// What a new group's members may claim unless something else is asked for.
const CONFIDENCE: u8 = 100;

const LIST: &str = "{ groups(first: 5000, orderBy: name, orderMode: asc) { edges { node { id name default_assignation auto_new_marking no_creators restrict_delete
  group_confidence_level { max_confidence } allowed_marking { definition } roles { edges { node { name } } } } } } }";
const SHOW: &str = "query Group($id: String!) { group(id: $id) { id standard_id name description default_assignation auto_new_marking no_creators restrict_delete
  group_confidence_level { max_confidence overrides { entity_type max_confidence } }
  allowed_marking { definition } max_shareable_marking { definition } not_shareable_marking_types
  default_marking { entity_type values { definition } }
  roles { edges { node { id name } } }
  members(first: 5000) { edges { node { id name user_email } } } created_at updated_at } }";
const ADD: &str = "mutation Add($input: GroupAddInput!) { groupAdd(input: $input) { id name } }";
const PATCH: &str = "mutation Patch($id: ID!, $input: [EditInput]!) { groupEdit(id: $id) { fieldPatch(input: $input) { id name } } }";
const DELETE: &str = "mutation Delete($id: ID!) { groupEdit(id: $id) { delete } }";
const RELATE: &str = "mutation Relate($id: ID!, $input: InternalRelationshipAddInput) { groupEdit(id: $id) { relationAdd(input: $input) { id } } }";
const UNRELATE: &str = "mutation Unrelate($id: ID!, $from: StixRef, $to: StixRef, $type: String!) {
  groupEdit(id: $id) { relationDelete(fromId: $from, toId: $to, relationship_type: $type) { id } } }";

/// `ferrocti group …`
pub fn run(command: &GroupCommand) -> Result<()> {
    match command {
        GroupCommand::List(remote) => list_groups(remote),
        GroupCommand::Show { group, remote } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::Group, group)?;
            let data = client.call(SHOW, json!({ "id": id }))?;
            show(remote, &data, |data| print_group(&data["group"]));
            Ok(())
        }
        GroupCommand::Add {
            name,
            roles,
            markings,
            fields,
            remote,
        } => add(name, roles, markings, fields, remote),
        GroupCommand::Edit {
            group,
            name,
            fields,
            remote,
        } => edit(group, name.as_deref(), fields, remote),
        GroupCommand::Delete { group, remote } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::Group, group)?;
            let data = client.call(DELETE, json!({ "id": id }))?;
            show(remote, &data, |_| println!("deleted {group} (id {id})"));
            Ok(())
        }
        GroupCommand::AddMember(args) => member(args, true),
        GroupCommand::RemoveMember(args) => member(args, false),
        GroupCommand::AllowMarking(args) => marking(args, true),
        GroupCommand::ForbidMarking(args) => marking(args, false),
        GroupCommand::AddRole(args) => role(args, true),
        GroupCommand::RemoveRole(args) => role(args, false),
    }
}

fn list_groups(remote: &RemoteArgs) -> Result<()> {
    let data = Client::new(remote)?.call(LIST, json!({}))?;
    show(remote, &data, |data| {
        table(
            "Groups",
            &[
                "name",
                "confidence",
                "new users join",
                "new markings",
                "id",
                "roles",
                "markings",
            ],
            nodes(&data["groups"]).map(|group| {
                vec![
                    text(&group["name"]),
                    number(&group["group_confidence_level"]["max_confidence"]),
                    yes(&group["default_assignation"]),
                    yes(&group["auto_new_marking"]),
                    text(&group["id"]),
                    names(nodes(&group["roles"]), "name"),
                    names(list(&group["allowed_marking"]), "definition"),
                ]
            }),
        );
    });
    Ok(())
}

fn print_group(group: &Value) {
    let mut confidence = number(&group["group_confidence_level"]["max_confidence"]);
    for special in list(&group["group_confidence_level"]["overrides"]) {
        confidence.push_str(&format!(
            "; {} {}",
            text(&special["entity_type"]),
            number(&special["max_confidence"])
        ));
    }
    let defaults: Vec<String> = list(&group["default_marking"])
        .map(|default| {
            format!(
                "{}: {}",
                text(&default["entity_type"]),
                names(list(&default["values"]), "definition")
            )
        })
        .collect();
    facts(
        &text(&group["name"]),
        &[
            ("id", text(&group["id"])),
            ("description", text(&group["description"])),
            ("roles", names(nodes(&group["roles"]), "name")),
            ("confidence", confidence),
            (
                "markings allowed",
                names(list(&group["allowed_marking"]), "definition"),
            ),
            (
                "markings shared up to",
                names(list(&group["max_shareable_marking"]), "definition"),
            ),
            (
                "markings set by default",
                if defaults.is_empty() {
                    "-".to_owned()
                } else {
                    defaults.join("; ")
                },
            ),
            ("new markings allowed", yes(&group["auto_new_marking"])),
            ("new users join", yes(&group["default_assignation"])),
            ("not recorded as creators", yes(&group["no_creators"])),
            ("delete only their own", yes(&group["restrict_delete"])),
            ("created", text(&group["created_at"])),
            ("changed", text(&group["updated_at"])),
        ],
    );
    table(
        "Members",
        &["name", "e-mail", "id"],
        nodes(&group["members"]).map(|user| {
            vec![
                text(&user["name"]),
                text(&user["user_email"]),
                text(&user["id"]),
            ]
        }),
    );
}

/// The given fields as the API names them, without the confidence.
fn given(fields: &GroupFields) -> Map<String, Value> {
    let mut given = Map::new();
    if let Some(description) = &fields.description {
        given.insert("description".to_owned(), json!(description));
    }
    for (key, value) in [
        ("default_assignation", fields.default_membership),
        ("auto_new_marking", fields.auto_new_markings),
        ("no_creators", fields.no_creators),
        ("restrict_delete", fields.restrict_delete),
    ] {
        if let Some(value) = value {
            given.insert(key.to_owned(), json!(value));
        }
    }
    given
}

fn add(
    name: &str,
    roles: &[String],
    markings: &[String],
    fields: &GroupFields,
    remote: &RemoteArgs,
) -> Result<()> {
    let client = Client::new(remote)?;
    // everything is found before anything is made
    let roles = lookup::ids(&client, Kind::Role, roles)?;
    let markings = lookup::ids(&client, Kind::Marking, markings)?;
    let mut input = given(fields);
    input.insert("name".to_owned(), json!(name));
    input.insert(
        "group_confidence_level".to_owned(),
        level(
            fields.max_confidence.unwrap_or(CONFIDENCE),
            &fields.overrides,
        ),
    );
    let data = client.call(ADD, json!({ "input": input }))?;
    let id = text(&data["groupAdd"]["id"]);
    for role in &roles {
        relate(&client, &id, "has-role", Side::To(role), true)?;
    }
    for marking in &markings {
        relate(&client, &id, "accesses-to", Side::To(marking), true)?;
    }
    show(remote, &data, |_| println!("created {name} (id {id})"));
    Ok(())
}

fn edit(group: &str, name: Option<&str>, fields: &GroupFields, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let id = lookup::id(&client, Kind::Group, group)?;
    let mut patch: Vec<Value> = name
        .map(|name| entry("name", json!(name)))
        .into_iter()
        .collect();
    patch.extend(
        given(fields)
            .into_iter()
            .map(|(key, value)| entry(&key, value)),
    );
    if let Some(max) = fields.max_confidence {
        patch.push(entry(
            "group_confidence_level",
            level(max, &fields.overrides),
        ));
    }
    if patch.is_empty() {
        bail!("nothing to change; `ferrocti group edit --help` lists what can be");
    }
    let data = client.call(PATCH, json!({ "id": id, "input": patch }))?;
    show(remote, &data, |_| println!("changed {group} (id {id})"));
    Ok(())
}

/// The other end of a relation of a group.
#[derive(Debug, Clone, Copy)]
enum Side<'a> {
    From(&'a str),
    To(&'a str),
}

/// Makes or ends a relation of a group.
fn relate(client: &Client, group: &str, kind: &str, side: Side<'_>, make: bool) -> Result<Value> {
    let (from, to) = match side {
        Side::From(from) => (Some(from), None),
        Side::To(to) => (None, Some(to)),
    };
    let data = if make {
        let input = json!({ "fromId": from, "toId": to, "relationship_type": kind });
        client.call(RELATE, json!({ "id": group, "input": input }))?
    } else {
        let variables = json!({ "id": group, "from": from, "to": to, "type": kind });
        client.call(UNRELATE, variables)?
    };
    Ok(data)
}

fn member(args: &MemberArgs, join: bool) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let group = lookup::id(&client, Kind::Group, &args.group)?;
    let user = lookup::id(&client, Kind::User, &args.user)?;
    let data = relate(&client, &group, "member-of", Side::From(&user), join)?;
    show(&args.remote, &data, |_| {
        let now = if join { "now" } else { "no longer" };
        println!("{} is {now} a member of {}", args.user, args.group);
    });
    Ok(())
}

fn marking(args: &GroupMarkingArgs, allow: bool) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let group = lookup::id(&client, Kind::Group, &args.group)?;
    let marking = lookup::id(&client, Kind::Marking, &args.marking)?;
    let data = relate(&client, &group, "accesses-to", Side::To(&marking), allow)?;
    show(&args.remote, &data, |_| {
        if allow {
            println!(
                "members of {} may see and use {} and milder markings of its kind",
                args.group, args.marking
            );
        } else {
            println!(
                "{} is not granted to {} any more; a stricter marking of its kind that is granted includes it still",
                args.marking, args.group
            );
        }
    });
    Ok(())
}

fn role(args: &GroupRoleArgs, give: bool) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let group = lookup::id(&client, Kind::Group, &args.group)?;
    let role = lookup::id(&client, Kind::Role, &args.role)?;
    let data = relate(&client, &group, "has-role", Side::To(&role), give)?;
    show(&args.remote, &data, |_| {
        let have = if give { "have" } else { "no longer have" };
        println!("members of {} {have} the role {}", args.group, args.role);
    });
    Ok(())
}
