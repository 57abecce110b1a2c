//! The history of objects: who changed what and when, as far as the reader sees the object.

use std::collections::HashMap;
use std::sync::Arc;

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_model::filter::{FilterGroup, Mode, Operator};
use ferrocti_model::representative::representative;
use ferrocti_store::{HistoryEntry, Operation, Stored, User};
use serde_json::{Value, json};

use super::graph::{behind, cursor, first};
use super::record::{Record, Shown, value};
use super::{Answer, Connection, Node, Resolution};
use crate::fault::Fault;

/// Entries on a page when the client does not say.
const PAGE: usize = 500;
/// Most objects whose history is read at a time.
const MAX_OBJECTS: usize = 100;

/// What a list of entries is narrowed to; an empty list allows everything.
#[derive(Default)]
struct Wanted {
    objects: Vec<String>,
    scopes: Vec<String>,
    users: Vec<String>,
}

impl Resolution<'_> {
    pub(super) fn history(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let first = first(call, PAGE)?;
        let after = behind(call)?;
        let ascending = call.text("orderMode") == Some("asc");
        let wanted = wanted(call)?;
        let mut entries: Vec<(HistoryEntry, Arc<Stored>)> = Vec::new();
        for id in &wanted.objects {
            // what the reader does not see has no history
            let Some(stored) = self.find_one(id)? else {
                continue;
            };
            let events = self.read(|snapshot| Ok(snapshot.history_of(stored.iid)?))?;
            entries.extend(events.into_iter().map(|event| (event, Arc::clone(&stored))));
        }
        let mut users: HashMap<i64, Option<Arc<User>>> = HashMap::new();
        for row in entries.iter().filter_map(|(entry, _)| entry.actor) {
            if let std::collections::hash_map::Entry::Vacant(place) = users.entry(row) {
                let user = self.read(|snapshot| Ok(snapshot.user(row)?))?;
                place.insert(user.map(Arc::new));
            }
        }
        let user = |entry: &HistoryEntry| {
            let row = entry.actor?;
            users.get(&row).cloned().flatten()
        };
        entries.retain(|(entry, _)| {
            let by = user(entry).map(|user| user.id.to_string());
            let is_wanted = |list: &[String], value: Option<&str>| {
                list.is_empty() || value.is_some_and(|value| list.iter().any(|one| one == value))
            };
            is_wanted(&wanted.scopes, Some(scope(entry.operation)))
                && is_wanted(&wanted.users, by.as_deref())
        });
        entries.sort_by_key(|(entry, _)| if ascending { entry.seq } else { -entry.seq });
        entries.dedup_by_key(|(entry, _)| entry.seq);
        let total = entries.len() as u64;
        entries.retain(|(entry, _)| match after {
            None => true,
            Some(after) if ascending => entry.seq > after,
            Some(after) => entry.seq < after,
        });
        let has_next = entries.len() > first;
        entries.truncate(first);
        let items = entries
            .iter()
            .map(|(entry, stored)| (log(entry, stored, user(entry)), cursor(entry.seq)))
            .collect();
        Ok(Resolved::Node(Node::Connection(Arc::new(Connection {
            items,
            has_next,
            has_previous: after.is_some(),
            total,
        }))))
    }
}

/// The objects and what else the filters ask for.
fn wanted(call: &FieldCall<'_>) -> Result<Wanted, Fault> {
    let mut wanted = Wanted::default();
    if let Some(filters) = call.argument("filters") {
        let group = FilterGroup::parse(filters).map_err(|error| crate::filter::refused(&error))?;
        if !group.groups.is_empty() || (group.filters.len() > 1 && group.mode == Mode::Or) {
            return Err(Fault::unsupported(
                "The history is filtered by conditions that all must hold, without nested groups.",
            ));
        }
        for filter in &group.filters {
            let texts = filter.values.iter().filter_map(Value::as_str);
            let list = match filter.keys.as_slice() {
                [key] if filter.operator == Operator::Eq => match key.as_str() {
                    "context_data.id" | "context_data.entity_id" => Some(&mut wanted.objects),
                    "event_scope" => Some(&mut wanted.scopes),
                    "user_id" | "members_user" => Some(&mut wanted.users),
                    _ => None,
                },
                _ => None,
            };
            let list = list.ok_or_else(|| {
                Fault::unsupported(
                    "The history is filtered by context_data.id, event_scope and user_id, with the operator \"eq\".",
                )
            })?;
            list.extend(texts.map(str::to_owned));
        }
    }
    if wanted.objects.is_empty() || wanted.objects.len() > MAX_OBJECTS {
        return Err(Fault::unsupported(format!(
            "The history is told of single objects: filter by context_data.id with at most {MAX_OBJECTS} ids."
        )));
    }
    Ok(wanted)
}

fn scope(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Merge => "merge",
        Operation::Restore => "restore",
    }
}

fn log(entry: &HistoryEntry, stored: &Stored, user: Option<Arc<User>>) -> Node {
    let name = representative(stored.kind, &stored.attributes);
    let kind = &stored.kind.name;
    // names of what changed; the values before may be nobody's business any more
    let keys = match &entry.data {
        Some(Value::Object(members)) if entry.operation == Operation::Update => {
            let inner = ["attributes", "references"]
                .iter()
                .filter_map(|part| members.get(*part)?.as_object())
                .flatten();
            let keys: Vec<&str> = inner.map(|(key, _)| key.as_str()).collect();
            if keys.is_empty() {
                String::new()
            } else {
                format!("`{}` in ", keys.join(", "))
            }
        }
        _ => String::new(),
    };
    let verb = match entry.operation {
        Operation::Create => "creates",
        Operation::Update => "updates",
        Operation::Delete => "deletes",
        Operation::Merge => "merges another one into",
        Operation::Restore => "restores",
    };
    let at = format_date(entry.at);
    let context = json!({
        "entity_id": stored.internal,
        "entity_name": name,
        "entity_type": kind,
        "message": format!("{verb} {keys}{kind} `{name}`"),
    });
    Record::node(vec![
        ("id", value(format!("history-{}", entry.seq))),
        ("entity_type", value("History")),
        ("event_type", value("mutation")),
        ("event_scope", value(scope(entry.operation))),
        ("event_status", value("success")),
        ("timestamp", value(at.clone())),
        ("created_at", value(at)),
        (
            "user_id",
            value(user.as_ref().map(|user| user.id.to_string())),
        ),
        ("user", Shown::Node(user.map(Node::User))),
        (
            "context_data",
            Shown::Node(Some(Node::Data("ContextData", context))),
        ),
    ])
}
