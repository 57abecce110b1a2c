//! Lists of the platform's own things (users, groups, roles): filtered, sorted and paged in memory, since there are few of them.

use std::cmp::Ordering;
use std::sync::Arc;

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::filter::{Filter, FilterGroup, Mode, Operator};
use serde_json::{Map, Value};

use super::graph::{MAX_PAGE, behind, cursor, first};
use super::{Answer, Connection, Node};
use crate::fault::Fault;

/// One thing on a list.
pub(super) struct Entry {
    /// Row number, which makes the cursor.
    pub(super) row: i64,
    /// The thing itself.
    pub(super) node: Node,
    /// What it can be filtered, searched and sorted by.
    pub(super) facts: Map<String, Value>,
}

/// The page that a call asks for by `filters`, `search`, `orderBy`, `orderMode`, `first` and `after`, as far as its field has these arguments.
/// `searched` names the facts in which a search looks; `page` is the number of things on a page when the client does not say.
pub(super) fn page<'p>(
    call: &FieldCall<'_>,
    mut entries: Vec<Entry>,
    searched: &[&str],
    page: usize,
) -> Answer<'p> {
    if let Some(filters) = call.argument("filters") {
        let group = FilterGroup::parse(filters).map_err(|error| crate::filter::refused(&error))?;
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            if fits(&group, &entry.facts)? {
                kept.push(entry);
            }
        }
        entries = kept;
    }
    if let Some(text) = call.text("search").map(str::trim) {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        entries.retain(|entry| {
            let text: Vec<String> = searched
                .iter()
                .filter_map(|key| entry.facts.get(*key)?.as_str())
                .map(str::to_lowercase)
                .collect();
            words
                .iter()
                .all(|word| text.iter().any(|text| text.contains(word.as_str())))
        });
    }
    if let Some(key) = call.text("orderBy") {
        let descending = call.text("orderMode") == Some("desc");
        entries.sort_by(|a, b| {
            let order = compare(a.facts.get(key), b.facts.get(key));
            if descending { order.reverse() } else { order }
        });
    }
    let first = first(call, page)?;
    let total = entries.len() as u64;
    let after = behind(call)?;
    let start = match after {
        None => 0,
        Some(row) => {
            1 + entries
                .iter()
                .position(|entry| entry.row == row)
                .ok_or_else(|| {
                    Fault::functional(
                        "The entry behind which this page starts is gone; start again without \"after\".",
                    )
                })?
        }
    };
    let has_next = entries.len() > start.saturating_add(first);
    let items = entries
        .into_iter()
        .skip(start)
        .take(first)
        .map(|entry| (entry.node, cursor(entry.row)))
        .collect();
    Ok(Resolved::Node(Node::Connection(Arc::new(Connection {
        items,
        has_next,
        has_previous: start > 0,
        total,
    }))))
}

/// Everything on one page, in the order that the call asks for.
pub(super) fn all<'p>(call: &FieldCall<'_>, entries: Vec<Entry>) -> Answer<'p> {
    page(call, entries, &[], MAX_PAGE)
}

fn fits(group: &FilterGroup, facts: &Map<String, Value>) -> Result<bool, Fault> {
    let filters = group.filters.iter().map(|filter| holds(filter, facts));
    let groups = group.groups.iter().map(|group| fits(group, facts));
    combined(group.mode, filters.chain(groups))
}

/// Whether all of or any of several conditions hold; without conditions everything fits.
fn combined(
    mode: Mode,
    conditions: impl Iterator<Item = Result<bool, Fault>>,
) -> Result<bool, Fault> {
    let answers = conditions.collect::<Result<Vec<bool>, Fault>>()?;
    Ok(match mode {
        Mode::And => answers.iter().all(|answer| *answer),
        Mode::Or => answers.is_empty() || answers.contains(&true),
    })
}

fn holds(filter: &Filter, facts: &Map<String, Value>) -> Result<bool, Fault> {
    let mut any = false;
    for key in &filter.keys {
        let Some(fact) = facts.get(key) else {
            let known: Vec<&str> = facts.keys().map(String::as_str).collect();
            return Err(Fault::unsupported(format!(
                "This list cannot be filtered by \"{key}\"; there are {}.",
                known.join(", ")
            )));
        };
        any |= one(filter, fact)?;
    }
    Ok(any)
}

fn one(filter: &Filter, fact: &Value) -> Result<bool, Fault> {
    let held: Vec<&Value> = match fact {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().collect(),
        single => vec![single],
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.to_lowercase(),
        other => other.to_string().to_lowercase(),
    };
    let any = |wanted: &Value, test: fn(&str, &str) -> bool| {
        let wanted = text(wanted);
        held.iter().any(|held| test(&text(held), &wanted))
    };
    let ordered = |wanted: &Value, accepted: &[Ordering]| {
        held.iter()
            .any(|held| accepted.contains(&compare(Some(held), Some(wanted))))
    };
    let test = |wanted: &Value| match filter.operator {
        Operator::Eq => Some(any(wanted, |held, wanted| held == wanted)),
        Operator::NotEq => Some(!any(wanted, |held, wanted| held == wanted)),
        Operator::Contains | Operator::Wildcard | Operator::Match | Operator::Search => {
            Some(any(wanted, |held, wanted| {
                held.contains(wanted.trim_matches('*'))
            }))
        }
        Operator::NotContains | Operator::NotWildcard => Some(!any(wanted, |held, wanted| {
            held.contains(wanted.trim_matches('*'))
        })),
        Operator::StartsWith => Some(any(wanted, |held, wanted| held.starts_with(wanted))),
        Operator::NotStartsWith => Some(!any(wanted, |held, wanted| held.starts_with(wanted))),
        Operator::EndsWith => Some(any(wanted, |held, wanted| held.ends_with(wanted))),
        Operator::NotEndsWith => Some(!any(wanted, |held, wanted| held.ends_with(wanted))),
        Operator::Gt => Some(ordered(wanted, &[Ordering::Greater])),
        Operator::Gte => Some(ordered(wanted, &[Ordering::Greater, Ordering::Equal])),
        Operator::Lt => Some(ordered(wanted, &[Ordering::Less])),
        Operator::Lte => Some(ordered(wanted, &[Ordering::Less, Ordering::Equal])),
        Operator::Within | Operator::Nil | Operator::NotNil => None,
    };
    match filter.operator {
        Operator::Nil => return Ok(held.is_empty()),
        Operator::NotNil => return Ok(!held.is_empty()),
        _ => {}
    }
    combined(
        filter.mode,
        filter.values.iter().map(|wanted| {
            test(wanted).ok_or_else(|| {
                Fault::unsupported(format!(
                    "The operator \"{}\" is not served for this list.",
                    filter.operator.name()
                ))
            })
        }),
    )
}

/// Order of two facts: numbers and dates by value, text whatever its case, what is missing last.
fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    match (one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null)) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Number(one), Value::Number(other)) => one
            .as_f64()
            .partial_cmp(&other.as_f64())
            .unwrap_or(Ordering::Equal),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::String(one), Value::String(other)) => one.to_lowercase().cmp(&other.to_lowercase()),
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(filters: Value) -> Result<bool, Fault> {
        let facts = json!({ "name": "Ann", "user_email": "ann@example.org", "external": false, "firstname": null,
                            "groups": ["g1", "g2"], "created_at": "2026-01-02T00:00:00.000Z" });
        fits(
            &FilterGroup::parse(&filters).unwrap(),
            facts.as_object().unwrap(),
        )
    }

    #[test]
    fn filters_compare_what_is_known() {
        for (key, operator, values, expected) in [
            ("user_email", "eq", json!(["ANN@example.org"]), true),
            ("user_email", "eq", json!(["bob@example.org"]), false),
            ("user_email", "eq", json!([]), true),
            ("user_email", "not_eq", json!(["bob@example.org"]), true),
            ("name", "starts_with", json!(["a"]), true),
            ("name", "contains", json!(["nn"]), true),
            ("name", "wildcard", json!(["*nn*"]), true),
            ("external", "eq", json!(["false"]), true),
            ("firstname", "nil", json!([]), true),
            ("firstname", "not_nil", json!([]), false),
            ("groups", "eq", json!(["g2"]), true),
            (
                "created_at",
                "gt",
                json!(["2026-01-01T00:00:00.000Z"]),
                true,
            ),
        ] {
            let filters = json!({ "mode": "and", "filters": [{ "key": key, "operator": operator, "values": values }], "filterGroups": [] });
            assert_eq!(
                kept(filters).unwrap(),
                expected,
                "{key} {operator} {values}"
            );
        }
    }

    #[test]
    fn groups_combine_their_members() {
        let filter = |value: &str| json!({ "key": "name", "values": [value] });
        let group = |mode: &str| json!({ "mode": mode, "filters": [filter("Ann"), filter("Bob")], "filterGroups": [] });
        assert!(kept(group("or")).unwrap());
        assert!(!kept(group("and")).unwrap());
    }

    #[test]
    fn a_key_that_the_list_does_not_have_is_refused_by_name() {
        let filters = json!({ "mode": "and", "filters": [{ "key": "password", "values": ["x"] }], "filterGroups": [] });
        let error = kept(filters).unwrap_err();
        assert!(format!("{error:?}").contains("password"));
    }
}
