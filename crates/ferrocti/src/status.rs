//! `ferrocti status` and the small commands that look after the queues of a running platform.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    cli::{QueueCommand, RemoteArgs},
    client::Client,
    print::{list, number, show, size, table, text},
};

const STATUS: &str = "query Status {
  platformStatus { version started_at objects objects_by_type { entity_type count } parked dead_letters open_works queues { name messages bytes } }
  connectors { id name active connector_type connector_user { name } connector_queue_details { messages_number messages_size } connector_info { buffering last_run_datetime next_run_datetime } updated_at }
  works(first: 10, orderBy: timestamp, orderMode: desc) { edges { node { id name status connector { name } tracking { import_expected_number import_processed_number import_partial_number } errors { message } partially_applied { message } } } }
}";
const DEAD_LETTERS: &str = "query DeadLetters { deadLetters(first: 500) { edges { node { id connector_id queue reason size created_at excerpt } } } }";
const REPLAY: &str = "mutation Replay($id: ID!) { deadLetterReplay(id: $id) }";
const DISCARD: &str = "mutation Discard($id: ID!) { deadLetterDiscard(id: $id) }";
const PARKED: &str =
    "query Parked { parkedReferences(first: 500) { awaited reference source created_at } }";

/// How many errors, and how many objects applied in part, are shown of a work; `--json` has what the platform keeps.
const TOLD: usize = 3;

/// `ferrocti status`
pub fn status(remote: &RemoteArgs) -> Result<()> {
    let data = Client::new(remote)?.call(STATUS, json!({}))?;
    if remote.json {
        println!("{data}");
        return Ok(());
    }
    let platform = &data["platformStatus"];
    println!(
        "Ferrocti {}, running since {}\n{} objects, {} references wait, {} dead letters, {} works open",
        text(&platform["version"]),
        text(&platform["started_at"]),
        number(&platform["objects"]),
        number(&platform["parked"]),
        number(&platform["dead_letters"]),
        number(&platform["open_works"]),
    );
    table(
        "Connectors",
        &[
            "name",
            "type",
            "active",
            "user",
            "waiting",
            "last seen",
            "id",
        ],
        list(&data["connectors"]).map(|connector| {
            let queue = &connector["connector_queue_details"];
            let buffering = connector["connector_info"]["buffering"] == true;
            vec![
                text(&connector["name"]),
                text(&connector["connector_type"]),
                match (connector["active"] == true, buffering) {
                    (true, true) => "buffering".to_owned(),
                    (true, false) => "yes".to_owned(),
                    (false, _) => "no".to_owned(),
                },
                text(&connector["connector_user"]["name"]),
                format!(
                    "{} ({})",
                    number(&queue["messages_number"]),
                    size(&queue["messages_size"])
                ),
                text(&connector["updated_at"]),
                text(&connector["id"]),
            ]
        }),
    );
    table(
        "Queues",
        &["queue", "messages", "size"],
        list(&platform["queues"]).map(|queue| {
            vec![
                text(&queue["name"]),
                number(&queue["messages"]),
                size(&queue["bytes"]),
            ]
        }),
    );
    table(
        "Last works",
        &[
            "work",
            "connector",
            "status",
            "processed",
            "expected",
            "in part",
            "errors",
        ],
        list(&data["works"]["edges"]).map(|edge| {
            let work = &edge["node"];
            vec![
                text(&work["name"]),
                text(&work["connector"]["name"]),
                text(&work["status"]),
                number(&work["tracking"]["import_processed_number"]),
                number(&work["tracking"]["import_expected_number"]),
                number(&work["tracking"]["import_partial_number"]),
                list(&work["errors"]).count().to_string(),
            ]
        }),
    );
    let told = list(&data["works"]["edges"]).flat_map(|edge| told(&edge["node"]));
    let told: Vec<Vec<String>> = told.collect();
    if !told.is_empty() {
        table(
            "What the last works did not apply",
            &["work", "how", "what and why"],
            told.into_iter(),
        );
    }
    Ok(())
}

/// What a work says about objects that were refused or applied in part: the first of each.
fn told(work: &Value) -> Vec<Vec<String>> {
    let says = |key: &str, how: &'static str| -> Vec<Vec<String>> {
        list(&work[key])
            .take(TOLD)
            .map(|entry| vec![text(&work["name"]), how.to_owned(), text(&entry["message"])])
            .collect()
    };
    let mut told = says("errors", "error");
    told.extend(says("partially_applied", "in part"));
    told
}

/// `ferrocti queue …`
pub fn queue(command: &QueueCommand) -> Result<()> {
    match command {
        QueueCommand::DeadLetters(remote) => {
            let data = Client::new(remote)?.call(DEAD_LETTERS, json!({}))?;
            show(remote, &data, |data| {
                table(
                    "Dead letters",
                    &["id", "queue", "at", "size", "reason"],
                    list(&data["deadLetters"]["edges"]).map(|edge| {
                        let letter = &edge["node"];
                        vec![
                            text(&letter["id"]),
                            text(&letter["queue"]),
                            text(&letter["created_at"]),
                            size(&letter["size"]),
                            text(&letter["reason"]),
                        ]
                    }),
                );
            });
        }
        QueueCommand::Replay { id, remote } => {
            let data = Client::new(remote)?.call(REPLAY, json!({ "id": id }))?;
            show(remote, &data, |_| {
                println!("dead letter {id} is back in its queue");
            });
        }
        QueueCommand::Discard { id, remote } => {
            let data = Client::new(remote)?.call(DISCARD, json!({ "id": id }))?;
            show(remote, &data, |_| println!("dead letter {id} is gone"));
        }
    }
    Ok(())
}

/// `ferrocti parked`
pub fn parked(remote: &RemoteArgs) -> Result<()> {
    let data = Client::new(remote)?.call(PARKED, json!({}))?;
    show(remote, &data, |data| {
        table(
            "Waiting",
            &["for", "as", "of", "since"],
            list(&data["parkedReferences"]).map(|parked| {
                let reference = match &parked["reference"] {
                    Value::Null => "whole object".to_owned(),
                    name => text(name),
                };
                vec![
                    text(&parked["awaited"]),
                    reference,
                    text(&parked["source"]),
                    text(&parked["created_at"]),
                ]
            }),
        );
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[STATUS, DEAD_LETTERS, REPLAY, DISCARD, PARKED]);
    }
}
