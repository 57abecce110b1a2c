//! The audit log: who administered what, who logged in, what was refused.

use std::collections::HashMap;
use std::sync::Arc;

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::{Millis, format_date, parse_date};
use ferrocti_model::filter::{Filter, FilterGroup, Mode, Operator};
use ferrocti_store::{AuditEntry, AuditQuery, User};
use serde_json::{Value, json};
use uuid::Uuid;

use super::graph::{behind, cursor, first};
use super::record::{Record, Shown, value};
use super::{Answer, Connection, Node, Resolution};
use crate::fault::Fault;

/// Entries on a page when the client does not say.
const PAGE: usize = 500;
/// What clients call an entry.
const ENTITY_TYPE: &str = "Activity";
/// What can have happened.
const EVENT_TYPES: [&str; 5] = ["authentication", "read", "mutation", "file", "command"];

impl Resolution<'_> {
    pub(super) fn audit_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "audit" => {
                let id = call.text("id").unwrap_or_default().parse::<Uuid>();
                let Ok(id) = id else {
                    return Ok(Resolved::Null);
                };
                let entry = self.read(|snapshot| Ok(snapshot.audit_entry(id)?))?;
                let mut nodes = self.logs(entry.into_iter().collect())?;
                Ok(Resolved::node(nodes.pop().map(|(node, _)| node)))
            }
            "audits" => self.audits(call),
            _ => self.audits_number(call),
        }
    }

    fn audits(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let first = first(call, PAGE)?;
        let Some(mut query) = self.asked_for(call)? else {
            return Ok(Resolved::Node(Node::Connection(Arc::default())));
        };
        query.after = behind(call)?;
        query.ascending = call.text("orderMode") == Some("asc");
        query.limit = first.saturating_add(1);
        let mut entries = self.read(|snapshot| Ok(snapshot.audits(&query)?))?;
        let total = if call.selection.selects(&["pageInfo", "globalCount"]) {
            self.read(|snapshot| Ok(snapshot.audit_count(&query)?))?
        } else {
            0
        };
        let has_next = entries.len() > first;
        entries.truncate(first);
        Ok(Resolved::Node(Node::Connection(Arc::new(Connection {
            items: self.logs(entries)?,
            has_next,
            has_previous: query.after.is_some(),
            total,
        }))))
    }

    /// How many entries there are, and how many of them between two dates.
    fn audits_number(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let Some(mut query) = self.asked_for(call)? else {
            return Ok(Resolved::Node(Node::Data(
                "Number",
                json!({ "total": 0, "count": 0 }),
            )));
        };
        let total = self.read(|snapshot| Ok(snapshot.audit_count(&query)?))?;
        let millis = |name: &str| call.text(name).and_then(parse_date);
        narrow_time(
            &mut query,
            millis("startDate").unwrap_or(Millis::MIN),
            millis("endDate").unwrap_or(Millis::MAX),
        );
        let count = self.read(|snapshot| Ok(snapshot.audit_count(&query)?))?;
        Ok(Resolved::Node(Node::Data(
            "Number",
            json!({ "total": total, "count": count }),
        )))
    }

    /// The query behind `types`, `filters` and `search`; nothing where these can find nothing.
    fn asked_for(&self, call: &FieldCall<'_>) -> Result<Option<AuditQuery>, Fault> {
        // older clients name the type of the entries, ours what happened
        let types = super::list::texts(call, "types");
        let kinds = types.iter().filter(|name| EVENT_TYPES.contains(name));
        let kinds: Vec<String> = kinds.map(|name| (*name).to_owned()).collect();
        if !types.is_empty() && kinds.is_empty() && !types.contains(&ENTITY_TYPE) {
            return Ok(None);
        }
        let mut query = AuditQuery {
            types: kinds,
            search: call
                .text("search")
                .map(str::trim)
                .filter(|search| !search.is_empty())
                .map(str::to_owned),
            ..AuditQuery::default()
        };
        let Some(filters) = call.argument("filters") else {
            return Ok(Some(query));
        };
        let group = FilterGroup::parse(filters).map_err(|error| crate::filter::refused(&error))?;
        let several = group.filters.len() > 1;
        if !group.groups.is_empty() || (several && group.mode == Mode::Or) {
            return Err(Fault::unsupported(
                "The audit log is filtered by conditions that all must hold, without nested groups.",
            ));
        }
        for filter in &group.filters {
            if !self.narrow_log(&mut query, filter)? {
                return Ok(None);
            }
        }
        Ok(Some(query))
    }

    /// Adds one condition; false where it can find nothing.
    fn narrow_log(&self, query: &mut AuditQuery, filter: &Filter) -> Result<bool, Fault> {
        let [key] = filter.keys.as_slice() else {
            return Err(Fault::unsupported(
                "A condition on the audit log has one key.",
            ));
        };
        let texts: Vec<String> = filter
            .values
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if texts.is_empty() {
            return Ok(true);
        }
        if matches!(key.as_str(), "timestamp" | "created_at") {
            return narrow_date(query, filter, &texts);
        }
        if filter.operator != Operator::Eq {
            return Err(Fault::unsupported(format!(
                "The audit log is filtered by \"{key}\" with the operator \"eq\" only."
            )));
        }
        match key.as_str() {
            "entity_type" => return Ok(texts.iter().any(|text| text == ENTITY_TYPE)),
            "event_type" => query.types = texts,
            "event_scope" => query.scopes = texts,
            "event_status" | "status" => query.statuses = texts,
            "context_data.id" | "context_data.entity_id" => query.entities = texts,
            "context_data.entity_type" => query.entity_types = texts,
            "user_id" | "members_user" => {
                let ids: Vec<Uuid> = texts.iter().filter_map(|id| id.parse().ok()).collect();
                query.actors = self.users(&ids)?.iter().map(|user| user.row).collect();
                for id in ids {
                    let former = self.read(|snapshot| Ok(snapshot.former_users(id)?))?;
                    query.actors.extend(former.iter().map(|user| user.row));
                }
                return Ok(!query.actors.is_empty());
            }
            other => {
                return Err(Fault::unsupported(format!(
                    "The audit log cannot be filtered by \"{other}\"; there are event_type, event_scope, event_status, user_id, \
                     context_data.id, context_data.entity_type and timestamp."
                )));
            }
        }
        Ok(true)
    }

    /// Entries as nodes, with their cursors.
    fn logs(&self, entries: Vec<AuditEntry>) -> Result<Vec<(Node, String)>, Fault> {
        let mut users: HashMap<i64, Option<Arc<User>>> = HashMap::new();
        for row in entries
            .iter()
            .flat_map(|entry| [entry.actor, entry.applicant])
            .flatten()
        {
            if let std::collections::hash_map::Entry::Vacant(place) = users.entry(row) {
                let user = self.read(|snapshot| match snapshot.user(row)? {
                    None => Ok(snapshot.former_user(row)?),
                    known => Ok(known),
                })?;
                place.insert(user.map(Arc::new));
            }
        }
        let known = |row: Option<i64>| row.and_then(|row| users.get(&row).cloned().flatten());
        Ok(entries
            .into_iter()
            .map(|entry| {
                let place = cursor(entry.seq);
                (
                    log(entry.clone(), known(entry.actor), known(entry.applicant)),
                    place,
                )
            })
            .collect())
    }
}

fn log(entry: AuditEntry, user: Option<Arc<User>>, applicant: Option<Arc<User>>) -> Node {
    let id = |user: &Option<Arc<User>>| user.as_ref().map(|user| user.id.to_string());
    let at = format_date(entry.at);
    let member = |name: &str| entry.data.as_ref().and_then(|data| data.get(name)).cloned();
    let context = json!({
        "entity_id": entry.entity_id,
        "entity_name": entry.entity_name,
        "entity_type": entry.entity_type,
        "from_id": member("from"),
        "to_id": member("to"),
        "message": entry.message,
    });
    Record::node(vec![
        ("id", value(entry.id.to_string())),
        ("entity_type", value(ENTITY_TYPE)),
        ("event_type", value(entry.event_type)),
        ("event_scope", value(entry.event_scope)),
        ("event_access", value(entry.event_access)),
        ("event_status", value(entry.status)),
        ("timestamp", value(at.clone())),
        ("created_at", value(at)),
        ("user_id", value(id(&user))),
        ("user", Shown::Node(user.map(Node::User))),
        ("applicant_id", value(id(&applicant))),
        (
            "user_metadata",
            Shown::Json(json!({ "ip": entry.address, "user-agent": entry.agent })),
        ),
        ("raw_data", value(entry.data.as_ref().map(Value::to_string))),
        (
            "context_data",
            Shown::Node(Some(Node::Data("ContextData", context))),
        ),
    ])
}

fn narrow_date(query: &mut AuditQuery, filter: &Filter, texts: &[String]) -> Result<bool, Fault> {
    let dates = texts
        .iter()
        .map(|text| {
            parse_date(text).ok_or_else(|| Fault::functional(format!("\"{text}\" is not a date.")))
        })
        .collect::<Result<Vec<Millis>, Fault>>()?;
    let (start, end) = match (filter.operator, dates.as_slice()) {
        (Operator::Gt, [date]) => (date.saturating_add(1), Millis::MAX),
        (Operator::Gte, [date]) => (*date, Millis::MAX),
        (Operator::Lt, [date]) => (Millis::MIN, date.saturating_sub(1)),
        (Operator::Lte, [date]) => (Millis::MIN, *date),
        (Operator::Eq, [date]) => (*date, *date),
        (Operator::Within, [start, end]) => (*start, *end),
        _ => {
            return Err(Fault::unsupported(
                "The time of audit entries is compared by gt, gte, lt, lte or eq with one date, or by within with two.",
            ));
        }
    };
    narrow_time(query, start, end);
    Ok(true)
}

fn narrow_time(query: &mut AuditQuery, start: Millis, end: Millis) {
    let (known_start, known_end) = query
        .at
        .take()
        .map_or((Millis::MIN, Millis::MAX), |range| range.into_inner());
    query.at = Some(start.max(known_start)..=end.min(known_end));
}
