//! `ferrocti audit`: who did what, on what, from where and with what outcome.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    cli::AuditArgs,
    client::Client,
    lookup::{self, Kind},
    print::{nodes, show, table, text},
};

/// Entries that are asked for at once.
const PAGE: u32 = 500;

const AUDITS: &str = "query Audits($first: Int, $after: ID, $filters: FilterGroup) {
  audits(first: $first, after: $after, orderBy: timestamp, orderMode: desc, filters: $filters) {
    edges { node { id timestamp event_type event_scope event_access event_status user { id name } applicant_id user_metadata
      context_data { entity_id entity_name entity_type message } } }
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
        let id = lookup::id(&client, Kind::User, user)?;
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
            "{}/{}: {}",
            text(&entry["event_type"]),
            text(&entry["event_scope"]),
            text(&entry["context_data"]["message"])
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn pages_are_asked_for_until_there_are_enough() {
        assert_eq!(missing(100, 0), Some(100));
        assert_eq!(missing(100, 99), Some(1));
        assert_eq!(missing(100, 100), None);
        assert_eq!(missing(100, 101), None);
    }
}
