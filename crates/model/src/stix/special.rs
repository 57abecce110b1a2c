//! Types that content tells apart, and properties whose meaning depends on others: rewritten here into the registry's own names,
//! so that everything behind is table-driven.

use serde_json::{Map, Value};

use super::{RefusalReason, plan, shorten, text};
use crate::{
    EntityType, Registry, StixId,
    registry::{Category, EntityType as Type},
};

/// A key of the OpenCTI extensions, or the top-level property of that name, as clients look things up.
pub fn octi<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    if let Some(Value::Object(extensions)) = object.get("extensions") {
        for extension in [plan::EXTENSION_OCTI, plan::EXTENSION_SCO] {
            if let Some(value) = extensions
                .get(extension)
                .and_then(|extension| extension.get(key))
            {
                return Some(value);
            }
        }
    }
    if key == "type" { None } else { object.get(key) }
}

fn mitre<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object
        .get("extensions")?
        .get(plan::EXTENSION_MITRE)?
        .get(key)
}

/// The type without the prefix that clients put before what STIX does not have.
fn bare(stix_type: &str) -> &str {
    stix_type
        .strip_prefix("x-opencti-")
        .or_else(|| stix_type.strip_prefix("x-mitre-"))
        .unwrap_or(stix_type)
}

/// Whether objects of this STIX type are knowledge the data model has.
pub fn is_supported(stix_type: &str) -> bool {
    bare(stix_type) == SIMPLE_OBSERVABLE || !Registry::get().by_stix(stix_type).is_empty()
}

/// Whether an object of this STIX type may have an id of that one.
pub fn is_own_id(stix_type: &str, kind: &Type, id: StixId) -> bool {
    id.type_code == kind.stix_code
        || (bare(stix_type) == SIMPLE_OBSERVABLE && id.stix_type() == SIMPLE_OBSERVABLE)
}

/// Clients' short form of an observable: `{"type": "simple-observable", "key": "IPv4-Addr.value", "value": "192.0.2.1"}`.
const SIMPLE_OBSERVABLE: &str = "simple-observable";

/// The type of an observable in short form, whose property takes the place of `key` and `value`.
fn simple_observable(object: &mut Map<String, Value>) -> Result<&'static Type, RefusalReason> {
    let mut take = |property: &str| {
        object
            .shift_remove(property)
            .filter(|value| !value.is_null())
            .ok_or_else(|| RefusalReason::MissingProperty {
                property: property.to_owned(),
                kind: SIMPLE_OBSERVABLE.to_owned(),
            })
    };
    let (key, value) = (take("key")?, take("value")?);
    let key = key.as_str().unwrap_or_default();
    let unknown = || RefusalReason::SimpleObservableKey(shorten(key));
    let (name, path) = key.split_once('.').ok_or_else(unknown)?;
    let registry = Registry::get();
    let by_name = || registry.descendants(name).iter();
    let kind = registry
        .by_stix(&name.to_lowercase())
        .first()
        .or_else(|| by_name().find(|kind| kind.name.eq_ignore_ascii_case(name)))
        .copied()
        .filter(|kind| kind.category == Category::Observable)
        .ok_or_else(unknown)?;
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value);
        }
        Some(("hashes", algorithm)) => {
            let algorithm = algorithm.trim_matches('\'').to_owned();
            object.insert(
                "hashes".to_owned(),
                Map::from_iter([(algorithm, value)]).into(),
            );
        }
        Some(_) => return Err(unknown()),
    }
    Ok(kind)
}

/// The entity type of an object. Properties that only serve to tell it are taken out of the object.
pub fn dispatch(
    stix_type: &str,
    object: &mut Map<String, Value>,
) -> Result<&'static EntityType, RefusalReason> {
    let registry = Registry::get();
    let bare = bare(stix_type);
    let kind = match bare {
        "identity" => registry.by_name(identity(object)),
        "location" => registry.by_name(&location(object)),
        "threat-actor" => registry.by_name(threat_actor(object)),
        "relationship" => {
            let Some(Value::String(name)) = object.shift_remove("relationship_type") else {
                return Err(RefusalReason::MissingProperty {
                    property: "relationship_type".to_owned(),
                    kind: "relationship".to_owned(),
                });
            };
            let kind = registry
                .by_name(name.trim())
                .filter(|kind| kind.category == Category::Relationship);
            return match kind {
                Some(kind) => {
                    coverage(object);
                    Ok(kind)
                }
                None => Err(RefusalReason::UnsupportedRelationship(shorten(&name))),
            };
        }
        SIMPLE_OBSERVABLE => Some(simple_observable(object)?),
        _ => registry.by_stix(bare).first().copied(),
    };
    let kind = kind.ok_or_else(|| RefusalReason::UnsupportedType(shorten(stix_type)))?;
    rewrite(kind, object)?;
    Ok(kind)
}

fn rewrite(kind: &'static Type, object: &mut Map<String, Value>) -> Result<(), RefusalReason> {
    match kind.name.as_str() {
        "Attack-Pattern" => mitre_id(object, |source| source.starts_with("mitre-")),
        "Course-Of-Action" => {
            mitre_id(object, |source| {
                matches!(
                    source,
                    "mitre-attack" | "mitre-pre-attack" | "mitre-mobile-attack" | "amitt-attack"
                )
            });
        }
        "Marking-Definition" => marking(object)?,
        "Kill-Chain-Phase" => rename(object, "order", "x_opencti_order"),
        "Observed-Data" if object.contains_key("objects") => {
            return Err(RefusalReason::EmbeddedObjects);
        }
        "Security-Coverage" | "Security-Coverage-Result" => {
            rename(object, "last_result", "coverage_last_result");
            rename(object, "valid_from", "coverage_valid_from");
            rename(object, "valid_to", "coverage_valid_to");
            coverage(object);
        }
        _ => {}
    }
    Ok(())
}

fn rename(object: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = object.shift_remove(from) {
        object.entry(to).or_insert(value);
    }
}

fn identity(object: &mut Map<String, Value>) -> &'static str {
    match object.shift_remove("identity_class") {
        Some(Value::String(class)) => match class.trim().to_lowercase().as_str() {
            "individual" => "Individual",
            "class" => "Sector",
            "system" => "System",
            "securityplatform" => "SecurityPlatform",
            _ => "Organization",
        },
        _ => "Organization",
    }
}

/// The class that is stored with an identity, and hashed into its id.
pub fn identity_class(kind: &Type) -> Option<&'static str> {
    Some(match kind.name.as_str() {
        "Individual" => "individual",
        "Sector" => "class",
        "System" => "system",
        "SecurityPlatform" => "securityplatform",
        "Organization" => "organization",
        _ => return None,
    })
}

/// A location is what it says it is, else what its most precise property says; its name may be that property.
fn location(object: &mut Map<String, Value>) -> String {
    let declared = object
        .get("x_opencti_location_type")
        .or_else(|| octi(object, "type"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    let kind = declared.unwrap_or_else(|| {
        let precise = [
            ("city", "City"),
            ("country", "Country"),
            ("region", "Region"),
        ];
        precise
            .iter()
            .find(|(property, _)| object.contains_key(*property))
            .map_or("Position", |(_, kind)| kind)
            .to_owned()
    });
    if text(object, "name").is_none()
        && let Some(name) = ["city", "country", "region"]
            .iter()
            .find_map(|property| text(object, property))
            .map(str::to_owned)
    {
        object.insert("name".to_owned(), Value::String(name));
    }
    for property in ["city", "country", "region", "administrative_area"] {
        object.shift_remove(property);
    }
    // Position is what a location of an unknown kind can still be
    match Registry::get().by_name(&kind) {
        Some(known) if known.stix_type == "location" => kind,
        _ => "Position".to_owned(),
    }
}

fn threat_actor(object: &Map<String, Value>) -> &'static str {
    let declared =
        text(object, "x_opencti_type").or_else(|| octi(object, "type").and_then(Value::as_str));
    let individual = match declared {
        Some(declared) => declared.eq_ignore_ascii_case("threat-actor-individual"),
        None => text(object, "resource_level")
            .is_some_and(|level| level.eq_ignore_ascii_case("individual")),
    };
    if individual {
        "Threat-Actor-Individual"
    } else {
        "Threat-Actor-Group"
    }
}

/// The ATT&CK id: its own property, the MITRE extension, else the external reference to ATT&CK (the last one, as clients do).
fn mitre_id(object: &mut Map<String, Value>, is_mitre: impl Fn(&str) -> bool) {
    if object.contains_key("x_mitre_id") || mitre(object, "id").is_some_and(|id| !id.is_null()) {
        return;
    }
    let Some(Value::Array(references)) = object.get("external_references") else {
        return;
    };
    let found = references
        .iter()
        .rfind(|reference| {
            reference
                .get("source_name")
                .and_then(Value::as_str)
                .is_some_and(&is_mitre)
        })
        .and_then(|reference| reference.get("external_id").and_then(Value::as_str))
        .map(str::to_owned);
    if let Some(id) = found {
        object.insert("x_mitre_id".to_owned(), Value::String(id));
    }
}

/// Results of a coverage: STIX writes `{name, score}`, the data model `{coverage_name, coverage_score}`.
fn coverage(object: &mut Map<String, Value>) {
    let Some(Value::Array(items)) = object.shift_remove("coverage") else {
        return;
    };
    let items = items
        .into_iter()
        .filter_map(|item| match item {
            Value::Object(mut item) => {
                let name = item.remove("name")?;
                let score = item.remove("score")?;
                Some(Value::Object(Map::from_iter([
                    ("coverage_name".to_owned(), name),
                    ("coverage_score".to_owned(), score),
                ])))
            }
            _ => None,
        })
        .collect();
    object
        .entry("coverage_information")
        .or_insert(Value::Array(items));
}

const EXTENSION_TLP_2: &str = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d";

/// Markings come as STIX 2.1 objects (`definition: {tlp: "red"}`), as texts, by their name, or as the TLP 2.0 extension.
fn marking(object: &mut Map<String, Value>) -> Result<(), RefusalReason> {
    let name = object.shift_remove("name").and_then(into_text);
    let given_type = object
        .shift_remove("x_opencti_definition_type")
        .and_then(into_text);
    let given = object
        .shift_remove("x_opencti_definition")
        .and_then(into_text);
    let stix_type = object.shift_remove("definition_type").and_then(into_text);
    let definition = object.shift_remove("definition");
    let tlp_2 = object
        .get("extensions")
        .and_then(|extensions| extensions.get(EXTENSION_TLP_2)?.get("tlp_2_0")?.as_str())
        .map(|level| format!("TLP:{}", level.to_uppercase()));
    let (definition_type, definition) = match (given_type, given, stix_type) {
        (Some(definition_type), Some(definition), _) => (definition_type, Some(definition)),
        (_, _, Some(definition_type)) => {
            let stated = match definition {
                Some(Value::String(text)) => Some(text),
                Some(Value::Object(mut members)) => {
                    members.remove(&definition_type).and_then(into_text)
                }
                _ => None,
            };
            if definition_type.eq_ignore_ascii_case("tlp") {
                let stated = stated.map(|level| {
                    let level = level.to_uppercase();
                    if level.starts_with("TLP:") {
                        level
                    } else {
                        format!("TLP:{level}")
                    }
                });
                ("TLP".to_owned(), stated.or(name))
            } else {
                (definition_type, stated.or(name))
            }
        }
        _ => match name.or(tlp_2) {
            Some(name) => {
                let definition_type = name
                    .split_once(':')
                    .map_or("statement", |(before, _)| before)
                    .to_owned();
                (definition_type, Some(name))
            }
            None => return Err(RefusalReason::NoMarking),
        },
    };
    let definition = definition
        .filter(|text| !text.trim().is_empty())
        .ok_or(RefusalReason::NoMarking)?;
    let definition = if definition == "TLP:WHITE" {
        "TLP:CLEAR".to_owned()
    } else {
        definition
    };
    object.insert("definition_type".to_owned(), Value::String(definition_type));
    object.insert("definition".to_owned(), Value::String(definition));
    Ok(())
}

fn into_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
