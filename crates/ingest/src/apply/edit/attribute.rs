//! The value of an attribute after an edit.

use ferrocti_model::{
    StixId,
    clock::{Millis, parse_date},
    merge::Change,
    registry::{Attribute, Kind},
    stix::{
        self, RefusalReason,
        value::{is_empty, same},
    },
};
use serde_json::{Map, Value};

use super::{EditError, EditOperation, FieldEdit, set};
use crate::apply::update::STIX_IDS;

/// Dates that stand for "unknown" at the beginning and at the end of a period.
const UNKNOWN: [(&str, &[&str]); 2] = [
    (
        "1970-01-01T00:00:00.000Z",
        &["first_seen", "start_time", "valid_from", "first_observed"],
    ),
    (
        "5138-11-16T09:46:40.000Z",
        &["last_seen", "stop_time", "valid_until", "last_observed"],
    ),
];

/// Edits one attribute.
pub fn edit(
    attributes: &mut Map<String, Value>,
    attribute: &'static Attribute,
    edit: &FieldEdit,
) -> Result<(), EditError> {
    let name = attribute.name.as_str();
    if let Some(path) = &edit.path {
        let inner = at_path(attributes.get(name), attribute, path, edit)?;
        set(attributes, name, convert(attribute, inner)?);
        return Ok(());
    }
    let given: Vec<Value> = edit
        .values
        .iter()
        .filter(|value| !value.is_null())
        .cloned()
        .collect();
    // hashes come as a list of pairs, and are kept as a dictionary
    let value = if attribute.multiple || name == "hashes" {
        convert(attribute, Value::Array(given))?
    } else {
        match given.into_iter().next() {
            Some(first) => convert(attribute, trimmed(first))?,
            None => None,
        }
    };
    let stored = attributes.get(name);
    let after = match (edit.operation, stored) {
        (EditOperation::Replace, _) | (EditOperation::Add, None) => value,
        (EditOperation::Add, Some(stored)) => united(stored, value),
        (EditOperation::Remove, stored) => stored.and_then(|stored| without(stored, value)),
    };
    if name == STIX_IDS {
        check_ids(after.as_ref())?;
    }
    set(attributes, name, after);
    if attribute.kind == Kind::Date && !attributes.contains_key(name) {
        let unknown = UNKNOWN.iter().find(|(_, names)| names.contains(&name));
        set(
            attributes,
            name,
            unknown.map(|(date, _)| Value::from(*date)),
        );
    }
    Ok(())
}

/// Edits a property outside of the data model: it is kept as given.
pub fn custom(attributes: &mut Map<String, Value>, edit: &FieldEdit) {
    let value = match edit.values.as_slice() {
        _ if edit.operation == EditOperation::Remove => None,
        [] => None,
        [single] => Some(single.clone()),
        several => Some(Value::Array(several.to_vec())),
    };
    set(attributes, &edit.key, value);
}

/// The confidence that is claimed, brought into the range from 0 to 100; `None`: none.
pub fn confidence(
    attribute: &'static Attribute,
    edit: &FieldEdit,
) -> Result<Option<u8>, EditError> {
    let given = edit.values.first().filter(|value| !is_empty(value));
    let Some(given) = given.filter(|_| edit.operation != EditOperation::Remove) else {
        return Ok(None);
    };
    let number = convert(attribute, given.clone())?.and_then(|value| value.as_i64());
    Ok(number.map(|number| u8::try_from(number.clamp(0, 100)).unwrap_or(100)))
}

/// An indicator that is not valid any more is revoked, and nothing is detected with it.
pub fn settle_indicator(attributes: &mut Map<String, Value>, changed: &[Change], now: Millis) {
    let has_changed = |name: &str| changed.iter().any(|change| change.name == name);
    let until = attributes
        .get("valid_until")
        .and_then(Value::as_str)
        .and_then(parse_date);
    if has_changed("valid_until") && until.is_some_and(|until| until <= now) {
        attributes.insert("revoked".to_owned(), Value::Bool(true));
    }
    if attributes.get("revoked") == Some(&Value::Bool(true)) && !has_changed("x_opencti_detection")
    {
        attributes.insert("x_opencti_detection".to_owned(), Value::Bool(false));
    }
}

fn convert(attribute: &'static Attribute, value: Value) -> Result<Option<Value>, EditError> {
    stix::convert(attribute, value).map_err(|error| {
        RefusalReason::BadValue {
            property: attribute.name.clone(),
            error,
        }
        .into()
    })
}

/// Blanks around a text mean nothing.
fn trimmed(value: Value) -> Value {
    match value {
        Value::String(text) if text.trim().len() != text.len() => Value::from(text.trim()),
        other => other,
    }
}

/// A list with the items of another, a dictionary with the members of another; anything else gives way.
fn united(stored: &Value, added: Option<Value>) -> Option<Value> {
    match (stored, added) {
        (stored, None) => Some(stored.clone()),
        (Value::Array(stored), Some(Value::Array(added))) => {
            let mut all = stored.clone();
            for item in added {
                if !all.iter().any(|known| same(known, &item)) {
                    all.push(item);
                }
            }
            Some(Value::Array(all))
        }
        (Value::Object(stored), Some(Value::Object(added))) => {
            let mut all = stored.clone();
            all.extend(added);
            Some(Value::Object(all))
        }
        (_, Some(added)) => Some(added),
    }
}

/// A list without the items of another, a dictionary without the members of another; anything else is cleared.
fn without(stored: &Value, removed: Option<Value>) -> Option<Value> {
    match (stored, removed) {
        (Value::Array(stored), Some(Value::Array(removed))) => {
            let kept = stored
                .iter()
                .filter(|item| !removed.iter().any(|gone| same(gone, item)));
            Some(Value::Array(kept.cloned().collect()))
        }
        (Value::Object(stored), Some(Value::Object(removed))) => {
            let kept = stored.iter().filter(|(key, _)| !removed.contains_key(*key));
            Some(Value::Object(
                kept.map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            ))
        }
        _ => None,
    }
}

fn check_ids(ids: Option<&Value>) -> Result<(), EditError> {
    for id in ids.and_then(Value::as_array).into_iter().flatten() {
        if let Err(error) = StixId::parse(id.as_str().unwrap_or_default()) {
            return Err(RefusalReason::BadReference {
                property: STIX_IDS.to_owned(),
                error,
            }
            .into());
        }
    }
    Ok(())
}

/// The whole value of an attribute after an edit of what a path leads to inside of it.
fn at_path(
    stored: Option<&Value>,
    attribute: &Attribute,
    path: &str,
    edit: &FieldEdit,
) -> Result<Value, EditError> {
    let missing = || EditError::NoSuchPath {
        key: attribute.name.clone(),
        path: path.to_owned(),
    };
    let unescaped = path.trim_start_matches('/').split('/');
    let mut steps: Vec<String> = unescaped
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .filter(|step| !step.is_empty())
        .collect();
    if steps.first() == Some(&attribute.name) {
        steps.remove(0);
    }
    let new = edit.values.first().cloned().unwrap_or(Value::Null);
    let Some((last, before)) = steps.split_last() else {
        return Ok(if edit.operation == EditOperation::Remove {
            Value::Null
        } else {
            new
        });
    };
    let mut whole = match stored {
        Some(stored) => stored.clone(),
        None if attribute.multiple && attribute.name != "hashes" => Value::Array(Vec::new()),
        None => Value::Object(Map::new()),
    };
    let mut place = &mut whole;
    for step in before {
        place = match place {
            Value::Array(items) => {
                let index: usize = step.parse().map_err(|_| missing())?;
                items.get_mut(index).ok_or_else(missing)?
            }
            Value::Object(members) => members.get_mut(step).ok_or_else(missing)?,
            _ => return Err(missing()),
        };
    }
    match (place, edit.operation) {
        (Value::Object(members), EditOperation::Remove) => {
            members.shift_remove(last).ok_or_else(missing)?;
        }
        (Value::Object(members), _) => {
            members.insert(last.clone(), new);
        }
        (Value::Array(items), EditOperation::Add) if last == "-" => items.push(new),
        (Value::Array(items), operation) => {
            let index: usize = last.parse().map_err(|_| missing())?;
            match operation {
                EditOperation::Add if index <= items.len() => items.insert(index, new),
                EditOperation::Replace if index < items.len() => items[index] = new,
                EditOperation::Remove if index < items.len() => drop(items.remove(index)),
                _ => return Err(missing()),
            }
        }
        _ => return Err(missing()),
    }
    Ok(whole)
}
