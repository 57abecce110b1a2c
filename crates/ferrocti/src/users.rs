//! `ferrocti user …`: people and programs, their tokens and sessions, on a running platform.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ferrocti_model::clock::Entropy;
use serde_json::{Map, Value, json};

use crate::{
    admin,
    cli::{AccountStatus, RemoteArgs, TokenCommand, UserAddArgs, UserCommand, UserEditArgs},
    client::Client,
    lookup::{self, Kind},
    print::{facts, list, names, nodes, number, show, table, text, yes},
    system::SystemEntropy,
};

const LIST: &str = "query Users($search: String) { users(first: 5000, orderBy: name, orderMode: asc, search: $search) { edges { node {
  id name user_email user_service_account account_status account_lock_after_date effective_confidence_level { max_confidence }
  groups { edges { node { id name } } } } } } }";
const SHOW: &str = "query User($id: String!) { user(id: $id) {
  id standard_id name user_email firstname lastname description external user_service_account account_status account_lock_after_date created_at updated_at
  no_creators restrict_delete
  groups { edges { node { id name allowed_marking { definition } } } }
  roles { id name } capabilities { name }
  user_confidence_level { max_confidence overrides { entity_type max_confidence } }
  effective_confidence_level { max_confidence source { type object { ... on Group { name } ... on User { name } } }
    overrides { entity_type max_confidence source { type object { ... on Group { name } ... on User { name } } } } }
  api_tokens { id name masked_token created_at expires_at last_used_at }
  sessions { id created ttl } } }";
const ADD: &str = "mutation Add($input: UserAddInput!) { userAdd(input: $input) { id name user_email user_service_account groups { edges { node { name } } } } }";
const PATCH: &str = "mutation Patch($id: ID!, $input: [EditInput]!) { userEdit(id: $id) { fieldPatch(input: $input) { id name user_email account_status } } }";
const JOIN: &str = "mutation Join($id: ID!, $group: ID!) { userEdit(id: $id) { relationAdd(input: { toId: $group, relationship_type: \"member-of\" }) { id } } }";
const LEAVE: &str = "mutation Leave($id: ID!, $group: StixRef!) { userEdit(id: $id) { relationDelete(toId: $group, relationship_type: \"member-of\") { id } } }";
const DELETE: &str = "mutation Delete($id: ID!) { userEdit(id: $id) { delete } }";
const TOKENS: &str = "query Tokens($id: String!) { user(id: $id) { api_tokens { id name masked_token created_at expires_at last_used_at } } }";
const TOKEN_ADD: &str = "mutation Add($user: ID!, $input: UserTokenAddInput!) { userAdminTokenAdd(userId: $user, input: $input) { token_id plaintext_token masked_token expires_at } }";
const TOKEN_REVOKE: &str =
    "mutation Revoke($user: ID!, $id: ID!) { userAdminTokenRevoke(userId: $user, id: $id) }";
const SESSIONS: &str =
    "{ sessions { user { id name user_email } sessions { id created ttl originalMaxAge } } }";
const KILL: &str = "mutation Kill($id: ID!) { sessionKill(id: $id) }";
const KILL_ALL: &str = "mutation Kill($id: ID!) { userSessionsKill(id: $id) }";

/// `ferrocti user …`
pub fn run(command: &UserCommand) -> Result<()> {
    match command {
        UserCommand::List {
            search,
            group,
            remote,
        } => list_users(search.as_deref(), group.as_deref(), remote),
        UserCommand::Show { user, remote } => show_user(user, remote),
        UserCommand::Add(args) => add(args),
        UserCommand::Edit(args) => edit(args),
        UserCommand::Delete { user, remote } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::User, user)?;
            let data = client.call(DELETE, json!({ "id": id }))?;
            show(remote, &data, |_| println!("deleted {user} (id {id})"));
            Ok(())
        }
        UserCommand::AddConnector(args) => admin::add_connector(args),
        UserCommand::ResetAdmin { data_dir, json } => admin::reset_admin(data_dir.as_ref(), *json),
        UserCommand::Token(command) => token(command),
        UserCommand::Sessions { user, remote } => sessions(user.as_deref(), remote),
        UserCommand::KillSessions {
            user,
            session,
            remote,
        } => kill(user, session.as_deref(), remote),
        UserCommand::Lock { user, remote } => set_status(user, AccountStatus::Locked, remote),
        UserCommand::Unlock { user, remote } => set_status(user, AccountStatus::Active, remote),
    }
}

fn list_users(search: Option<&str>, group: Option<&str>, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let group = group
        .map(|group| lookup::id(&client, Kind::Group, group))
        .transpose()?;
    let data = client.call(LIST, json!({ "search": search }))?;
    let users: Vec<&Value> = nodes(&data["users"])
        .filter(|user| match &group {
            Some(group) => nodes(&user["groups"]).any(|of| of["id"] == group.as_str()),
            None => true,
        })
        .collect();
    show(remote, &json!({ "users": users }), |_| {
        table(
            "Users",
            &[
                "name",
                "e-mail",
                "kind",
                "status",
                "confidence",
                "expires",
                "id",
                "groups",
            ],
            users.iter().map(|user| {
                vec![
                    text(&user["name"]),
                    text(&user["user_email"]),
                    kind(user).to_owned(),
                    text(&user["account_status"]),
                    number(&user["effective_confidence_level"]["max_confidence"]),
                    text(&user["account_lock_after_date"]),
                    text(&user["id"]),
                    names(nodes(&user["groups"]), "name"),
                ]
            }),
        );
    });
    Ok(())
}

fn kind(user: &Value) -> &'static str {
    if user["user_service_account"] == true {
        "service"
    } else {
        "person"
    }
}

fn show_user(user: &str, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let id = lookup::id(&client, Kind::User, user)?;
    let data = client.call(SHOW, json!({ "id": id }))?;
    show(remote, &data, |data| print_user(&data["user"]));
    Ok(())
}

fn print_user(user: &Value) {
    let full_name: Vec<&str> = [&user["firstname"], &user["lastname"]]
        .into_iter()
        .filter_map(Value::as_str)
        .collect();
    let mut markings: Vec<String> = nodes(&user["groups"])
        .flat_map(|group| list(&group["allowed_marking"]))
        .map(|marking| text(&marking["definition"]))
        .collect();
    markings.sort_unstable();
    markings.dedup();
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    facts(
        &format!("{} <{}>", text(&user["name"]), text(&user["user_email"])),
        &[
            ("id", text(&user["id"])),
            ("kind", kind(user).to_owned()),
            ("full name", or_dash(full_name.join(" "))),
            ("description", text(&user["description"])),
            ("status", text(&user["account_status"])),
            ("expires", text(&user["account_lock_after_date"])),
            ("managed elsewhere", yes(&user["external"])),
            ("groups", names(nodes(&user["groups"]), "name")),
            ("roles", names(list(&user["roles"]), "name")),
            ("capabilities", names(list(&user["capabilities"]), "name")),
            ("markings granted", or_dash(markings.join(", "))),
            (
                "confidence",
                confidence(&user["effective_confidence_level"]),
            ),
            ("not recorded as creator", yes(&user["no_creators"])),
            ("deletes only its own", yes(&user["restrict_delete"])),
            ("created", text(&user["created_at"])),
            ("changed", text(&user["updated_at"])),
        ],
    );
    print_tokens(user);
    table(
        "Sessions",
        &["id", "since", "ends in"],
        list(&user["sessions"]).map(session_row),
    );
}

/// The effective confidence and where it comes from.
fn confidence(level: &Value) -> String {
    if level.is_null() {
        return "none: the user can write nothing; set one on the user or on one of its groups"
            .to_owned();
    }
    let from = |source: &Value| match source["type"].as_str() {
        Some("Bypass") => "BYPASS".to_owned(),
        Some("Group") => format!("group {}", text(&source["object"]["name"])),
        _ => "the user's own".to_owned(),
    };
    let mut told = format!(
        "{} ({})",
        number(&level["max_confidence"]),
        from(&level["source"])
    );
    for special in list(&level["overrides"]) {
        told.push_str(&format!(
            "; {} {} ({})",
            text(&special["entity_type"]),
            number(&special["max_confidence"]),
            from(&special["source"])
        ));
    }
    told
}

fn add(args: &UserAddArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let mut input = Map::new();
    let name = args.name.as_ref().or(args.email.as_ref());
    for (key, value) in [
        ("name", name),
        ("user_email", args.email.as_ref()),
        ("firstname", args.firstname.as_ref()),
        ("lastname", args.lastname.as_ref()),
        ("description", args.description.as_ref()),
        ("account_lock_after_date", args.expires.as_ref()),
    ] {
        if let Some(value) = value {
            input.insert(key.to_owned(), json!(value));
        }
    }
    let groups = lookup::ids(&client, Kind::Group, &args.groups)?;
    if !groups.is_empty() {
        input.insert("groups".to_owned(), json!(groups));
    }
    input.insert(
        "prevent_default_groups".to_owned(),
        json!(args.no_default_groups),
    );
    input.insert(
        "user_service_account".to_owned(),
        json!(args.service_account),
    );
    if let Some(max) = args.max_confidence {
        input.insert(
            "user_confidence_level".to_owned(),
            level(max, &args.overrides),
        );
    }
    let mut generated = None;
    if !args.service_account {
        let password = if args.password_stdin {
            password_from(std::io::stdin())?
        } else {
            generated.insert(generate()).clone()
        };
        input.insert("password".to_owned(), json!(password));
    }
    let data = client.call(ADD, json!({ "input": input }))?;
    let added = &data["userAdd"];
    if args.remote.json {
        println!("{}", json!({ "user": added, "password": generated }));
        return Ok(());
    }
    println!(
        "created {} (id {}), in the groups: {}",
        text(&added["user_email"]),
        text(&added["id"]),
        names(nodes(&added["groups"]), "name")
    );
    if let Some(password) = generated {
        println!("password, shown once: {password}");
    }
    if args.service_account {
        println!(
            "give it a token with: ferrocti user token add {} NAME",
            text(&added["id"])
        );
    }
    Ok(())
}

fn edit(args: &UserEditArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let id = lookup::id(&client, Kind::User, &args.user)?;
    let add = lookup::ids(&client, Kind::Group, &args.add_group)?;
    let remove = lookup::ids(&client, Kind::Group, &args.remove_group)?;
    let mut patch = Vec::new();
    for (key, value) in [
        ("name", &args.name),
        ("user_email", &args.email),
        ("firstname", &args.firstname),
        ("lastname", &args.lastname),
        ("description", &args.description),
    ] {
        if let Some(value) = value {
            patch.push(entry(key, json!(value)));
        }
    }
    if let Some(max) = args.max_confidence {
        patch.push(entry("user_confidence_level", level(max, &args.overrides)));
    }
    if args.no_max_confidence {
        patch.push(entry("user_confidence_level", Value::Null));
    }
    match args.expires.as_deref() {
        Some("never") => patch.push(entry("account_lock_after_date", Value::Null)),
        Some(date) => patch.push(entry("account_lock_after_date", json!(date))),
        None => {}
    }
    if let Some(status) = args.status {
        patch.push(entry("account_status", json!(format!("{status:?}"))));
    }
    if let Some(service) = args.service_account {
        patch.push(entry("user_service_account", json!(service)));
    }
    let mut generated = None;
    if args.password_stdin {
        patch.push(entry("password", json!(password_from(std::io::stdin())?)));
    } else if args.new_password {
        patch.push(entry("password", json!(generated.insert(generate()))));
    }
    if patch.is_empty() && add.is_empty() && remove.is_empty() {
        bail!("nothing to change; `ferrocti user edit --help` lists what can be");
    }
    let mut patched = Value::Null;
    if !patch.is_empty() {
        let data = client.call(PATCH, json!({ "id": id, "input": patch }))?;
        patched = data["userEdit"]["fieldPatch"].clone();
    }
    for group in &add {
        client.call(JOIN, json!({ "id": id, "group": group }))?;
    }
    for group in &remove {
        client.call(LEAVE, json!({ "id": id, "group": group }))?;
    }
    if args.remote.json {
        println!(
            "{}",
            json!({ "id": id, "user": patched, "joined": add, "left": remove, "password": generated })
        );
    } else {
        println!("changed {} (id {id})", args.user);
        if let Some(password) = generated {
            println!("password, shown once: {password}");
        }
    }
    Ok(())
}

/// One entry of a `fieldPatch`.
pub fn entry(key: &str, value: Value) -> Value {
    json!({ "key": key, "value": [value] })
}

/// A confidence level as the API wants it.
pub fn level(max: u8, overrides: &[(String, u8)]) -> Value {
    let overrides: Vec<Value> = overrides
        .iter()
        .map(|(entity_type, max)| json!({ "entity_type": entity_type, "max_confidence": max }))
        .collect();
    json!({ "max_confidence": max, "overrides": overrides })
}

fn set_status(user: &str, status: AccountStatus, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let id = lookup::id(&client, Kind::User, user)?;
    let patch = [entry("account_status", json!(format!("{status:?}")))];
    let data = client.call(PATCH, json!({ "id": id, "input": patch }))?;
    show(remote, &data, |_| {
        println!(
            "{user} (id {id}) is {}",
            if status == AccountStatus::Active {
                "let in"
            } else {
                "locked out; its sessions are over"
            }
        );
    });
    Ok(())
}

fn token(command: &TokenCommand) -> Result<()> {
    match command {
        TokenCommand::Add {
            user,
            name,
            days,
            remote,
        } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::User, user)?;
            let input = json!({ "name": name, "duration": days.duration() });
            let data = client.call(TOKEN_ADD, json!({ "user": id, "input": input }))?;
            show(remote, &data, |data| {
                let made = &data["userAdminTokenAdd"];
                println!(
                    "token {name:?} of {user} (id {}), expires: {}\ntoken, shown once: {}",
                    text(&made["token_id"]),
                    match &made["expires_at"] {
                        Value::Null => "never".to_owned(),
                        date => text(date),
                    },
                    text(&made["plaintext_token"])
                );
            });
        }
        TokenCommand::List { user, remote } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::User, user)?;
            let data = client.call(TOKENS, json!({ "id": id }))?;
            show(remote, &data, |data| print_tokens(&data["user"]));
        }
        TokenCommand::Revoke { user, name, remote } => {
            let client = Client::new(remote)?;
            let id = lookup::id(&client, Kind::User, user)?;
            let data = client.call(TOKENS, json!({ "id": id }))?;
            let found = list(&data["user"]["api_tokens"])
                .find(|known| known["id"] == name.as_str())
                .or_else(|| {
                    list(&data["user"]["api_tokens"]).find(|known| known["name"] == name.as_str())
                })
                .with_context(|| {
                    format!("{user} has no token {name:?}; `ferrocti user token list {user}` shows its tokens")
                })?;
            let variables = json!({ "user": id, "id": found["id"] });
            let data = client.call(TOKEN_REVOKE, variables)?;
            show(remote, &data, |_| {
                println!("revoked token {} of {user}", text(&found["name"]));
            });
        }
    }
    Ok(())
}

fn print_tokens(user: &Value) {
    table(
        "Tokens",
        &["name", "token", "created", "expires", "last used", "id"],
        list(&user["api_tokens"]).map(|token| {
            vec![
                text(&token["name"]),
                text(&token["masked_token"]),
                text(&token["created_at"]),
                text(&token["expires_at"]),
                text(&token["last_used_at"]),
                text(&token["id"]),
            ]
        }),
    );
}

fn sessions(user: Option<&str>, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let wanted = user
        .map(|user| lookup::id(&client, Kind::User, user))
        .transpose()?;
    let data = client.call(SESSIONS, json!({}))?;
    let of: Vec<&Value> = list(&data["sessions"])
        .filter(|of| {
            wanted
                .as_ref()
                .is_none_or(|id| of["user"]["id"] == id.as_str())
        })
        .collect();
    show(remote, &json!({ "sessions": of }), |_| {
        table(
            "Sessions",
            &["user", "id", "since", "ends in"],
            of.iter().flat_map(|of| {
                list(&of["sessions"]).map(|session| {
                    let mut row = vec![text(&of["user"]["name"])];
                    row.extend(session_row(session));
                    row
                })
            }),
        );
    });
    Ok(())
}

fn session_row(session: &Value) -> Vec<String> {
    let minutes = session["ttl"].as_i64().map_or_else(
        || "-".to_owned(),
        |seconds| format!("{} min", (seconds + 59) / 60),
    );
    vec![text(&session["id"]), text(&session["created"]), minutes]
}

fn kill(user: &str, session: Option<&str>, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let id = lookup::id(&client, Kind::User, user)?;
    let Some(session) = session else {
        let data = client.call(KILL_ALL, json!({ "id": id }))?;
        show(remote, &data, |data| {
            println!(
                "ended {} sessions of {user}",
                list(&data["userSessionsKill"]).count()
            );
        });
        return Ok(());
    };
    let known = client.call(SESSIONS, json!({}))?;
    let own = list(&known["sessions"])
        .filter(|of| of["user"]["id"] == id.as_str())
        .flat_map(|of| list(&of["sessions"]))
        .any(|known| known["id"] == session);
    if !own {
        bail!(
            "{user} has no session {session:?}; `ferrocti user sessions {user}` shows its sessions"
        );
    }
    let data = client.call(KILL, json!({ "id": session }))?;
    show(remote, &data, |_| {
        println!("ended session {session} of {user}");
    });
    Ok(())
}

/// A random password.
fn generate() -> String {
    let mut bytes = [0; 18];
    SystemEntropy.fill(&mut bytes);
    // the tail satisfies every policy that asks for letters of both cases, a digit and a symbol
    format!("{}-aA0", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The first line of the standard input.
fn password_from(mut input: impl Read + IsTerminal) -> Result<String> {
    if input.is_terminal() {
        eprintln!("password (is shown while it is typed; end with Ctrl-D):");
    }
    let mut text = String::new();
    input
        .by_ref()
        .take(64 << 10)
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    first_line(&text)
}

fn first_line(text: &str) -> Result<String> {
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => bail!("the standard input holds no password"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_first_line_and_not_nothing() {
        assert_eq!(first_line(" pass word \r\nmore").unwrap(), " pass word ");
        assert!(first_line("").is_err());
        assert!(first_line("\nx").is_err());
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, two) = (generate(), generate());
        assert!(one.len() >= 24);
        assert_ne!(one, two);
    }

    #[test]
    fn a_confidence_tells_where_it_comes_from() {
        let level = json!({ "max_confidence": 40, "source": { "type": "Group", "object": { "name": "Analysts" } },
            "overrides": [{ "entity_type": "Report", "max_confidence": 90, "source": { "type": "User", "object": { "name": "Ann" } } }] });
        assert_eq!(
            confidence(&level),
            "40 (group Analysts); Report 90 (the user's own)"
        );
        assert!(confidence(&Value::Null).starts_with("none"));
    }
}
