//! The composers of a running platform: list, admit, agree, forget.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{
    cli::{ComposerCommand, RemoteArgs},
    client::Client,
    lookup::{self, Kind},
    print::{cut, list, number, say, show, table, text, yes},
};

const LIST: &str = "{ connectorManagers { id name active last_sync_execution key_id about blocked connectors_count tombstones { connector_id at approved } } }";
const APPROVE: &str = "mutation Approve($composer: ID!, $connectors: [ID!]!) { composerApproveRemovals(composer: $composer, connectors: $connectors) }";
const REMOVE: &str = "mutation Remove($id: ID!) { composerRemove(id: $id) }";
const USER_ADD: &str =
    "mutation Add($input: UserAddInput!) { userAdd(input: $input) { id name user_email } }";
const TOKEN_ADD: &str = "mutation Token($user: ID!, $input: UserTokenAddInput!) { userAdminTokenAdd(userId: $user, input: $input) { plaintext_token } }";
const USER_DELETE: &str = "mutation Delete($id: ID!) { userEdit(id: $id) { delete } }";
/// The group whose members may be composers, and nothing else.
const GROUP: &str = "Composers";

/// `ferrocti composer list|add|approve|remove`
pub fn run(command: &ComposerCommand) -> Result<()> {
    match command {
        ComposerCommand::List(remote) => list_all(remote),
        ComposerCommand::Add { name, remote } => add(name, remote),
        ComposerCommand::Approve {
            composer,
            connectors,
            remote,
        } => approve(composer, connectors, remote),
        ComposerCommand::Remove { composer, remote } => remove(composer, remote),
    }
}

fn list_all(remote: &RemoteArgs) -> Result<()> {
    let data = Client::new(remote)?.call(LIST, json!({}))?;
    show(remote, &data, |data| {
        table(
            "Composers",
            &[
                "name",
                "id",
                "there",
                "last seen",
                "version",
                "runs on",
                "connectors",
                "to remove",
                "key",
                "blocked",
            ],
            list(&data["connectorManagers"]).map(|composer| {
                let about = &composer["about"];
                let places: Vec<String> = list(&about["orchestrators"]).map(text).collect();
                let places = if places.is_empty() {
                    "-".to_owned()
                } else {
                    places.join(", ")
                };
                vec![
                    text(&composer["name"]),
                    text(&composer["id"]),
                    yes(&composer["active"]),
                    text(&composer["last_sync_execution"]),
                    text(&about["version"]),
                    places,
                    number(&composer["connectors_count"]),
                    waiting(composer),
                    text(&composer["key_id"]),
                    cut(&text(&composer["blocked"]), 40),
                ]
            }),
        );
        for composer in list(&data["connectorManagers"]) {
            if let Some(why) = composer["blocked"].as_str() {
                let why = text(&why.into());
                say(format_args!(
                    "\n{} is blocked: {why}",
                    text(&composer["name"])
                ));
            }
        }
    });
    Ok(())
}

/// How many deleted connectors wait to be removed, and how many of them for an operator's word.
fn waiting(composer: &Value) -> String {
    let all = list(&composer["tombstones"]).count();
    let asking = list(&composer["tombstones"]).filter(|tombstone| tombstone["approved"] != true);
    match (all, asking.count()) {
        (0, _) => "-".to_owned(),
        (all, 0) => all.to_string(),
        (all, asking) => format!("{all} ({asking} not agreed to)"),
    }
}

fn add(name: &str, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let group = lookup::id(&client, Kind::Group, GROUP)?;
    let input = json!({ "name": name, "user_service_account": true, "groups": [group], "prevent_default_groups": true });
    let data = client.call(USER_ADD, json!({ "input": input }))?;
    let user = &data["userAdd"];
    let input = json!({ "name": "default", "duration": "UNLIMITED" });
    let token = client.call(TOKEN_ADD, json!({ "user": user["id"], "input": input }));
    let token = match token {
        Ok(data) => data["userAdminTokenAdd"]["plaintext_token"].clone(),
        Err(error) => {
            // an account without a token is of no use to anybody
            let _ = client.call(USER_DELETE, json!({ "id": user["id"] }));
            return Err(error.into());
        }
    };
    let answer = json!({ "id": user["id"], "name": user["name"], "email": user["user_email"], "token": token });
    show(remote, &answer, |answer| {
        say(format_args!(
            "created {} (id {}), which may run connectors and sees no knowledge\ntoken, shown once: {}\n\nOn the composer's machine, with the token in a file that only its user reads:\n  ferrocti composer --url ADDRESS-OF-THIS-PLATFORM --token-file FILE",
            text(&answer["name"]),
            text(&answer["id"]),
            text(&answer["token"])
        ));
    });
    Ok(())
}

fn approve(called: &str, connectors: &[String], remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let id = lookup::id(&client, Kind::Composer, called)?;
    let mut asked = connectors.to_vec();
    if asked.is_empty() {
        let data = client.call(LIST, json!({}))?;
        let composer =
            list(&data["connectorManagers"]).find(|composer| composer["id"] == id.as_str());
        asked = composer
            .into_iter()
            .flat_map(|composer| list(&composer["tombstones"]))
            .filter(|tombstone| tombstone["approved"] != true)
            .map(|tombstone| text(&tombstone["connector_id"]))
            .collect();
        if asked.is_empty() {
            bail!("no deleted connector of {called} waits for an agreement");
        }
    }
    client.call(APPROVE, json!({ "composer": id, "connectors": asked }))?;
    show(
        remote,
        &json!({ "composer": id, "approved": asked }),
        |_| {
            say(format_args!(
                "{called} may remove what runs of {}",
                asked.join(", ")
            ));
        },
    );
    Ok(())
}

fn remove(called: &str, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let id = lookup::id(&client, Kind::Composer, called)?;
    client.call(REMOVE, json!({ "id": id }))?;
    show(remote, &json!({ "removed": id }), |_| {
        say(format_args!(
            "{called} (id {id}) is forgotten; its account and what it left on its machine are still there"
        ));
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use ferrocti_composer::platform::{Ferrocti, OpenCti};

    use super::*;

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[LIST, APPROVE, REMOVE, USER_ADD, TOKEN_ADD, USER_DELETE]);
    }

    #[test]
    fn the_platform_understands_composers_of_both_kinds() {
        crate::client::served::takes(Ferrocti::OPERATIONS);
        crate::client::served::takes(OpenCti::OPERATIONS);
    }
}
