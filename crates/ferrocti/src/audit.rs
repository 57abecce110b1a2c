//! `ferrocti audit`: who did what, on what, from where and with what outcome.

use anyhow::Result;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cli::AuditArgs,
    client::Client,
    lookup::{self, Kind},
    print::{list, nodes, show, table, text},
};

/// Entries that are asked for at once.
const PAGE: u32 = 500;

const AUDITS: &str = "query Audits($first: Int, $after: ID, $filters: FilterGroup) {
  audits(first: $first, after: $after, orderBy: timestamp, orderMode: desc, filters: $filters) {
    edges { node { id timestamp event_type event_scope event_access event_status user { id name } applicant_id user_metadata
      context_data { entity_id entity_name entity_type message } raw_data } }
    pageInfo { endCursor hasNextPage } } }";

/// `ferrocti audit`
pub fn run(args: &AuditArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let mut filters = Vec::new();
    let mut filter = |key: &str, operator: &str, values: Value| {
        filters.push(json!({ "key": [key], "operator": operator, "mode": "or", "values": values }));
    };
    if let Some(since) = &args.since {
        filter("timestamp", "gte", json!([since]));
    }
    if let Some(until) = &args.until {
        filter("timestamp", "lte", json!([until]));
    }
    if let Some(user) = &args.user {
        // an id may be that of a deleted user, which no list shows
        let id = match user.parse::<Uuid>() {
            Ok(id) => id.to_string(),
            Err(_) => lookup::id(&client, Kind::User, user)?,
        };
        filter("user_id", "eq", json!([id]));
    }
    if !args.types.is_empty() {
        filter("event_type", "eq", json!(args.types));
    }
    if !args.scopes.is_empty() {
        filter("event_scope", "eq", json!(args.scopes));
    }
    if args.errors {
        filter("event_status", "eq", json!(["error"]));
    }
    let filters = json!({ "mode": "and", "filters": filters, "filterGroups": [] });
    let (mut entries, mut after): (Vec<Value>, Value) = (Vec::new(), Value::Null);
    while let Some(missing) = missing(args.limit, entries.len()) {
        let variables = json!({ "first": missing.min(PAGE), "after": after, "filters": filters });
        let data = client.call(AUDITS, variables)?;
        let page = &data["audits"];
        entries.extend(nodes(page).cloned());
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] != true {
            break;
        }
    }
    // read as a log is: the newest last
    entries.reverse();
    show(&args.remote, &json!({ "audits": entries }), |_| {
        table(
            "Audit",
            &["at", "who", "from", "outcome", "what"],
            entries.iter().map(row),
        );
    });
    Ok(())
}

/// How many of so many entries are missing, if any.
fn missing(limit: u32, got: usize) -> Option<u32> {
    limit
        .checked_sub(u32::try_from(got).unwrap_or(u32::MAX))
        .filter(|missing| *missing > 0)
}

fn row(entry: &Value) -> Vec<String> {
    vec![
        text(&entry["timestamp"]),
        text(&entry["user"]["name"]),
        text(&entry["user_metadata"]["ip"]),
        text(&entry["event_status"]),
        format!(
            "{}/{}: {}{}",
            text(&entry["event_type"]),
            text(&entry["event_scope"]),
            text(&entry["context_data"]["message"]),
            refused(&entry["raw_data"])
        ),
    ]
}

/// Which operations were refused, if the entry is about that.
fn refused(raw_data: &Value) -> String {
    let data: Option<Value> = raw_data
        .as_str()
        .and_then(|data| serde_json::from_str(data).ok());
    let operations: Vec<&str> = data
        .iter()
        .flat_map(|data| list(&data["operation"]))
        .filter_map(Value::as_str)
        .collect();
    if operations.is_empty() {
        String::new()
    } else {
        format!(" ({})", operations.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{missing, refused};

    #[test]
    fn pages_are_asked_for_until_there_are_enough() {
        assert_eq!(missing(100, 0), Some(100));
        assert_eq!(missing(100, 99), Some(1));
        assert_eq!(missing(100, 100), None);
        assert_eq!(missing(100, 101), None);
    }

    #[test]
    fn a_refusal_names_what_was_tried() {
        let data = json!(r#"{"operation":["users","User.delete"]}"#);
        assert_eq!(refused(&data), " (users, User.delete)");
        assert_eq!(refused(&json!(r#"{"before":{}}"#)), "");
        assert_eq!(refused(&Value::Null), "");
    }
}
