//! How connectors are shown: lists, one with everything, its definitions.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{find, watch};
use crate::{
    cli::RemoteArgs,
    client::Client,
    print::{cut, facts, list, number, say, show, size, table, text, yes},
};

const LIST: &str = "query Connectors { connectors {
  id name title connector_type active is_managed manager { name } manager_state manager_state_reason
  health { level reasons last_ping last_data } contract_slug contract_version pinned update_available latest_compatible_version } }";
const DEFINITIONS: &str = "query Definitions($id: String!) { connectorDefinitions(id: $id) { number at actor_name reason image version current launch runtime configuration { key value } } }";

/// The name of a connector as people know it.
pub fn name(connector: &Value) -> String {
    let title = &connector["title"];
    text(if title.is_null() {
        &connector["name"]
    } else {
        title
    })
}

/// State and reason of a managed connector in words.
pub fn state(connector: &Value) -> String {
    let state = text(&connector["manager_state"]);
    match connector["manager_state_reason"].as_str() {
        Some(reason) if !reason.is_empty() => {
            format!("{state}: {}", text(&json!(reason)))
        }
        _ => state,
    }
}

/// What has become of a connector, in a sentence.
pub fn told(connector: &Value) -> String {
    let id = text(&connector["id"]);
    format!("{} (id {id}) is {}", name(connector), state(connector))
}

/// State for a list: what a composer says, or for others what the platform hears.
fn state_word(connector: &Value) -> String {
    if connector["is_managed"] == true {
        text(&connector["manager_state"])
    } else if connector["active"] == true {
        "active".to_owned()
    } else {
        "silent".to_owned()
    }
}

/// `ferrocti connector list`
pub fn list_all(managed: bool, remote: &RemoteArgs) -> Result<()> {
    let mut data = Client::new(remote)?.call(LIST, json!({}))?;
    if let (true, Some(connectors)) = (managed, data["connectors"].as_array_mut()) {
        connectors.retain(|connector| connector["is_managed"] == true);
    }
    show(remote, &data, |data| {
        table(
            "Connectors",
            &[
                "name",
                "state",
                "health",
                "version",
                "composer",
                "last data",
                "id",
            ],
            list(&data["connectors"]).map(row),
        );
        let troubled = list(&data["connectors"]).filter(|connector| {
            ["amber", "red"].contains(&connector["health"]["level"].as_str().unwrap_or_default())
        });
        for connector in troubled {
            say(format_args!(
                "\n{} is {}",
                name(connector),
                state(connector)
            ));
            for reason in list(&connector["health"]["reasons"]) {
                say(format_args!("  {}", text(reason)));
            }
        }
    });
    Ok(())
}

fn row(connector: &Value) -> Vec<String> {
    let mut version = text(&connector["contract_version"]);
    if connector["update_available"] == true {
        version.push_str(&format!(
            " ({} is there)",
            text(&connector["latest_compatible_version"])
        ));
    }
    vec![
        name(connector),
        state_word(connector),
        text(&connector["health"]["level"]),
        version,
        text(&connector["manager"]["name"]),
        text(&connector["health"]["last_data"]),
        text(&connector["id"]),
    ]
}

/// `ferrocti connector show`
pub fn show_one(called: &str, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let id = find(&client, called)?;
    let connector = watch::ask(&client, &id)?;
    let data = json!({ "connector": connector });
    show(remote, &data, |data| describe(&data["connector"]));
    Ok(())
}

fn describe(connector: &Value) {
    let managed = connector["is_managed"] == true;
    let health = &connector["health"];
    let queue = &connector["connector_queue_details"];
    let reasons: Vec<String> = list(&health["reasons"]).map(text).collect();
    let mut about = vec![
        ("id", text(&connector["id"])),
        ("type", text(&connector["connector_type"])),
        ("user", user(connector)),
        (
            "state",
            if managed {
                state(connector)
            } else {
                state_word(connector)
            },
        ),
        (
            "health",
            [vec![text(&health["level"])], reasons].concat().join(": "),
        ),
        ("last ping", text(&health["last_ping"])),
        ("last data", text(&health["last_data"])),
        ("next run", text(&health["expected_next"])),
        (
            "waiting",
            format!(
                "{} ({})",
                number(&queue["messages_number"]),
                size(&queue["messages_size"])
            ),
        ),
    ];
    if managed {
        let manager = &connector["manager"];
        about.extend([
            (
                "composer",
                format!("{} ({})", text(&manager["name"]), text(&manager["id"])),
            ),
            ("contract", contract(connector)),
            ("launched as", launched(&connector["launch"])),
            ("definition", number(&connector["definition_number"])),
            (
                "running for",
                uptime(&connector["manager_connector_uptime"]),
            ),
            ("restarts", number(&health["restarts"])),
            ("from a file", yes(&connector["declared"])),
        ]);
        if let Some(why) = manager["blocked"].as_str().filter(|why| !why.is_empty()) {
            about.push(("composer is blocked", text(&json!(why))));
        }
        let given_up = &connector["rolled_back"];
        if !given_up.is_null() {
            about.push((
                "rolled back",
                format!(
                    "from definition {} at {}: {}",
                    number(&given_up["number"]),
                    text(&given_up["at"]),
                    text(&given_up["reason"])
                ),
            ));
        }
    }
    facts(&name(connector), &about);
    if managed {
        let settings = list(&connector["manager_contract_configuration"])
            .map(|setting| vec![text(&setting["key"]), text(&setting["value"])]);
        let secrets = list(&connector["manager_secret_keys"])
            .map(|key| vec![text(key), "a secret, set".to_owned()]);
        table("Settings", &["key", "value"], settings.chain(secrets));
        let runtime = runtime(&connector["runtime"]);
        if !runtime.is_empty() {
            table("Limits", &["what", "value"], runtime.into_iter());
        }
    }
}

/// The user that it acts as: its name for those who may see it.
fn user(connector: &Value) -> String {
    let id = text(&connector["connector_user_id"]);
    match connector["connector_user"]["name"].as_str() {
        Some(name) => format!("{} ({id})", text(&json!(name))),
        None => id,
    }
}

fn contract(connector: &Value) -> String {
    let mut told = format!(
        "{} {}",
        text(&connector["contract_slug"]),
        text(&connector["contract_version"])
    );
    if connector["pinned"] == true {
        told.push_str(", pinned");
    }
    if connector["update_available"] == true {
        told.push_str(&format!(
            "; {} is there: ferrocti connector upgrade {}",
            text(&connector["latest_compatible_version"]),
            text(&connector["id"])
        ));
    }
    if connector["has_newer_incompatible_version"] == true {
        told.push_str("; a newer one needs another version of the platform");
    }
    told
}

/// How a connector is started: its image, or its program with arguments.
fn launched(launch: &Value) -> String {
    match launch["command"].as_array() {
        Some(words) => words.iter().map(text).collect::<Vec<_>>().join(" "),
        None => text(&launch["image"]),
    }
}

fn uptime(seconds: &Value) -> String {
    let Some(seconds) = seconds.as_u64() else {
        return "-".to_owned();
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// The limits of a connector as rows; nothing for what is not limited.
fn runtime(runtime: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut add = |what: &str, value: String| rows.push(vec![what.to_owned(), value]);
    if let Some(bytes) = runtime["memory"].as_f64() {
        add("memory", format!("{:.0} MiB", bytes / 1_048_576.0));
    }
    if let Some(millis) = runtime["cpu_millis"].as_f64() {
        add("processors", format!("{}", millis / 1000.0));
    }
    if runtime["processes"].is_number() {
        add("processes", number(&runtime["processes"]));
    }
    for mount in list(&runtime["mounts"]) {
        let mode = if mount["read_only"] == true {
            " (read only)"
        } else {
            ""
        };
        add(
            "mount",
            format!(
                "{} at {}{mode}",
                text(&mount["source"]),
                text(&mount["target"])
            ),
        );
    }
    for network in list(&runtime["networks"]) {
        add("network", text(network));
    }
    for (name, value) in runtime["environment"].as_object().into_iter().flatten() {
        add(
            "variable",
            format!("{} = {}", text(&json!(name)), text(value)),
        );
    }
    for (name, value) in runtime["proxy"].as_object().into_iter().flatten() {
        if !value.is_null() {
            add("proxy", format!("{} = {}", text(&json!(name)), text(value)));
        }
    }
    rows
}

/// `ferrocti connector definitions`
pub fn definitions(called: &str, remote: &RemoteArgs) -> Result<()> {
    let client = Client::new(remote)?;
    let id = find(&client, called)?;
    let data = client.call(DEFINITIONS, json!({ "id": id }))?;
    let all: Vec<&Value> = list(&data["connectorDefinitions"]).collect();
    if all.is_empty() && !remote.json {
        bail!("{called} is not run by a composer; it has no definitions");
    }
    show(remote, &data, |_| {
        table(
            "Definitions, newest first",
            &[
                "number",
                "now",
                "from",
                "by",
                "version",
                "why",
                "what differs from the one before",
            ],
            all.iter().enumerate().map(|(place, definition)| {
                vec![
                    number(&definition["number"]),
                    if definition["current"] == true {
                        "*"
                    } else {
                        ""
                    }
                    .to_owned(),
                    text(&definition["at"]),
                    text(&definition["actor_name"]),
                    text(&definition["version"]),
                    cut(&text(&definition["reason"]), 60),
                    all.get(place + 1)
                        .map_or_else(|| "-".to_owned(), |before| differences(before, definition)),
                ]
            }),
        );
    });
    Ok(())
}

/// What differs between two definitions: the names of keys, since values may be long.
fn differences(before: &Value, after: &Value) -> String {
    let value = |definition: &Value, key: &Value| {
        list(&definition["configuration"])
            .find(|setting| setting["key"] == *key)
            .map(|setting| setting["value"].clone())
    };
    let mut what: Vec<String> = Vec::new();
    for (of, other) in [(after, before), (before, after)] {
        for setting in list(&of["configuration"]) {
            let key = text(&setting["key"]);
            if value(other, &setting["key"]).as_ref() != Some(&setting["value"])
                && !what.contains(&key)
            {
                what.push(key);
            }
        }
    }
    for key in ["image", "version", "launch", "runtime"] {
        if before[key] != after[key] {
            what.push(key.to_owned());
        }
    }
    if what.is_empty() {
        "nothing that is shown; a secret may differ".to_owned()
    } else {
        what.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_comes_with_its_reason() {
        let mut connector = json!({ "name": "feed", "title": "Feed", "id": "1", "manager_state": "failed", "manager_state_reason": "no such\u{1b} image" });
        assert_eq!(
            told(&connector),
            "Feed (id 1) is failed: no such\u{fffd} image"
        );
        connector["manager_state_reason"] = json!("");
        connector["title"] = Value::Null;
        assert_eq!(told(&connector), "feed (id 1) is failed");
    }

    #[test]
    fn connectors_without_a_composer_are_active_or_silent() {
        for (connector, word) in [
            (json!({ "is_managed": false, "active": true }), "active"),
            (json!({ "is_managed": false, "active": false }), "silent"),
            (
                json!({ "is_managed": true, "active": true, "manager_state": "degraded" }),
                "degraded",
            ),
        ] {
            assert_eq!(row(&connector)[1], word);
        }
    }

    #[test]
    fn a_newer_version_shows_in_the_list() {
        let connector = json!({ "contract_version": "1.0", "update_available": true, "latest_compatible_version": "1.2" });
        assert_eq!(row(&connector)[3], "1.0 (1.2 is there)");
    }

    #[test]
    fn limits_are_told_in_units_of_people() {
        let shown = runtime(&json!({
            "memory": 536_870_912, "cpu_millis": 500, "networks": ["cti"], "environment": { "TZ": "UTC" },
            "mounts": [{ "source": "/srv", "target": "/data", "read_only": true }]
        }));
        let shown: Vec<String> = shown.iter().map(|row| row.join(" ")).collect();
        assert_eq!(
            shown,
            [
                "memory 512 MiB",
                "processors 0.5",
                "mount /srv at /data (read only)",
                "network cti",
                "variable TZ = UTC"
            ]
        );
        assert!(runtime(&json!({})).is_empty());
    }

    #[test]
    fn definitions_are_told_apart_by_what_differs() {
        let before = json!({ "image": "a", "version": "1", "configuration": [{ "key": "A", "value": "1" }, { "key": "B", "value": "2" }] });
        let after = json!({ "image": "a", "version": "2", "configuration": [{ "key": "A", "value": "1" }, { "key": "C", "value": "3" }] });
        assert_eq!(differences(&before, &after), "C, B, version");
        assert_eq!(
            differences(&before, &before),
            "nothing that is shown; a secret may differ"
        );
    }

    #[test]
    fn a_time_of_running_is_told_in_two_units_at_most() {
        for (seconds, told) in [
            (59, "59 s"),
            (61, "1 min"),
            (3700, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(uptime(&json!(seconds)), told);
        }
        assert_eq!(uptime(&Value::Null), "-");
    }

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[LIST, DEFINITIONS]);
    }
}
