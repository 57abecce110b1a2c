//! What an element must fulfil whatever it came from, and values that follow from others.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{RefusalReason, date, format, missing, plan, shorten, special, value::is_empty};
use crate::{
    Element, EntityType, Registry, pattern,
    registry::{Attribute, Category, Normalise},
};

/// Completes the attributes of an element (class, aliases, normalised pattern) and checks ranges, order of dates and forms.
///
/// Both decoders (STIX and GraphQL inputs) end here.
pub fn finish(
    kind: &'static EntityType,
    attributes: &mut Map<String, Value>,
) -> Result<(), RefusalReason> {
    if let Some(class) = special::identity_class(kind) {
        attributes.insert("identity_class".to_owned(), Value::String(class.to_owned()));
    }
    if kind.stix_type == "location" {
        attributes.insert(
            "x_opencti_location_type".to_owned(),
            Value::String(kind.name.clone()),
        );
    }
    match kind.name.as_str() {
        "Indicator" => indicator(attributes)?,
        "Label" | "Domain-Name" | "Email-Addr" => {
            change_text(attributes, "value", |text| text.trim().to_lowercase());
        }
        "Malware-Analysis" if !attributes.contains_key("result_name") => {
            if let Some(product) = attributes.get("product").cloned() {
                attributes.insert("result_name".to_owned(), product);
            }
        }
        _ => {}
    }
    if names_without_blanks(kind) {
        change_text(attributes, "name", |name| name.trim().to_owned());
    }
    if let Some(name) = &kind.alias_attribute {
        aliases(attributes, name);
    }
    ranges(attributes)?;
    dates(attributes)?;
    if kind.category == Category::Observable
        && let Some((value, expected)) = format::fault(kind, attributes)
    {
        return Err(RefusalReason::ObservableFormat {
            kind: kind.name.clone(),
            value: shorten(value),
            expected,
        });
    }
    Ok(())
}

/// Whether blanks around a name mean nothing: where they do not count for the identity. Those of a file or a mutex do.
fn names_without_blanks(kind: &EntityType) -> bool {
    kind.id_rule.ways.iter().flatten().any(|contribution| {
        contribution.property == "name" && contribution.normalise == Normalise::LowerTrim
    })
}

/// Checks that an element has what its type demands; after [`finish`], which fills in what follows from the rest.
pub fn required(element: &Element) -> Result<(), RefusalReason> {
    let plan = plan::of(element.kind);
    for attribute in &plan.required {
        if element.attributes.get(&attribute.name).is_none_or(is_empty) {
            return Err(missing(stix_name(attribute), element.kind));
        }
    }
    for reference in &plan.required_refs {
        if element.refs_of(&reference.name).is_empty() {
            return Err(missing(&reference.stix, element.kind));
        }
    }
    Ok(())
}

/// The name under which STIX senders know an attribute, for messages.
pub fn stix_name(attribute: &Attribute) -> &str {
    match attribute.stix.first() {
        Some(path) if !path.contains('.') && !path.contains('[') => path,
        _ => &attribute.name,
    }
}

fn change_text(attributes: &mut Map<String, Value>, name: &str, change: impl Fn(&str) -> String) {
    if let Some(Value::String(text)) = attributes.get_mut(name) {
        let changed = change(text);
        if changed != *text {
            *text = changed;
        }
    }
}

/// Aliases are trimmed, each is there once (letter case apart), and none repeats the name.
fn aliases(attributes: &mut Map<String, Value>, name: &str) {
    let own = attributes.get("name").and_then(Value::as_str).map(fold);
    let Some(Value::Array(items)) = attributes.get_mut(name) else {
        return;
    };
    let mut seen: HashSet<String> = own.into_iter().collect();
    items.retain_mut(|item| {
        let Value::String(text) = item else {
            return false;
        };
        let folded = fold(text);
        if folded.is_empty() || !seen.insert(folded) {
            return false;
        }
        let trimmed = text.trim();
        if trimmed.len() != text.len() {
            *text = trimmed.to_owned();
        }
        true
    });
    if items.is_empty() {
        attributes.shift_remove(name);
    }
}

/// How names are compared.
pub fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

fn indicator(attributes: &mut Map<String, Value>) -> Result<(), RefusalReason> {
    let pattern_type = match attributes
        .get("pattern_type")
        .and_then(Value::as_str)
        .map(str::trim)
    {
        Some(given) if !given.is_empty() => given.to_owned(),
        _ => {
            attributes.insert("pattern_type".to_owned(), Value::String("stix".to_owned()));
            "stix".to_owned()
        }
    };
    if let Some(Value::String(text)) = attributes.get("pattern") {
        let given = text.clone();
        let normal =
            pattern::normalise(&pattern_type, &given).map_err(RefusalReason::IndicatorFormat)?;
        if attributes
            .get("name")
            .and_then(Value::as_str)
            .is_none_or(|name| name.trim().is_empty())
        {
            attributes.insert("name".to_owned(), Value::String(given));
        }
        attributes.insert("pattern".to_owned(), Value::String(normal));
    }
    const MAIN: &str = "x_opencti_main_observable_type";
    if let Some(Value::String(given)) = attributes.get(MAIN) {
        let known = match given.trim() {
            "" => None,
            "File" => Some("StixFile"),
            "Unknown" => Some("Unknown"),
            name => match Registry::get().by_name(name) {
                Some(kind) if kind.category == Category::Observable => Some(kind.name.as_str()),
                _ => return Err(RefusalReason::MainObservableType(shorten(name))),
            },
        };
        match known {
            Some(known) => attributes.insert(MAIN.to_owned(), Value::String(known.to_owned())),
            None => attributes.shift_remove(MAIN),
        };
    }
    Ok(())
}

/// A confidence is brought into its range, since who sends it cannot know whose rights will limit it further; a score outside of its own is a mistake.
fn ranges(attributes: &mut Map<String, Value>) -> Result<(), RefusalReason> {
    if let Some(confidence) = attributes.get_mut("confidence")
        && let Some(given) = confidence.as_i64()
    {
        *confidence = given.clamp(0, 100).into();
    }
    if let Some(score) = attributes.get("x_opencti_score").and_then(Value::as_i64)
        && !(0..=100).contains(&score)
    {
        return Err(RefusalReason::OutOfRange {
            property: "x_opencti_score".to_owned(),
            low: 0,
            high: 100,
        });
    }
    Ok(())
}

/// Pairs of dates of which the second must not lie before the first.
pub const DATE_PAIRS: [(&str, &str); 5] = [
    ("start_time", "stop_time"),
    ("first_seen", "last_seen"),
    ("first_observed", "last_observed"),
    ("valid_from", "valid_until"),
    ("coverage_valid_from", "coverage_valid_to"),
];

fn dates(attributes: &Map<String, Value>) -> Result<(), RefusalReason> {
    let millis = |name: &str| {
        attributes
            .get(name)
            .and_then(Value::as_str)
            .and_then(date::parse)
    };
    for (start, end) in DATE_PAIRS {
        if let (Some(from), Some(until)) = (millis(start), millis(end))
            && until < from
            && !date::is_unknown(from)
            && !date::is_unknown(until)
        {
            return Err(RefusalReason::EndBeforeStart {
                start: start.to_owned(),
                end: end.to_owned(),
            });
        }
    }
    Ok(())
}
