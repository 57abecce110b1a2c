//! Inputs of GraphQL add mutations to elements. Attribute and reference names are the registry's own, so there is little to translate.

use serde_json::{Map, Value};

use crate::{
    Element, EntityType, Ident, Registry, StixId,
    id::IdError,
    list::{fresh, unique},
    registry::{Category, Reference},
    stix::{self, RefusalReason, value::ValueError},
};

/// Why an input is not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InputError {
    /// What it says is not acceptable.
    #[error(transparent)]
    Refused(#[from] RefusalReason),
    /// An argument that must be there.
    #[error("argument \"{0}\" is missing")]
    MissingArgument(String),
    /// The name of no observable.
    #[error("\"{0}\" is not a type of observable")]
    UnknownObservable(String),
    /// A field that the type does not have.
    #[error("{kind} has no field \"{field}\"")]
    UnknownField {
        /// Name of the type.
        kind: String,
        /// Name of the field.
        field: String,
    },
}

impl InputError {
    /// The code by which clients recognise expected failures.
    #[must_use]
    pub fn doc_code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(reason) => reason.doc_code(),
            _ => None,
        }
    }
}

/// Fields that steer the mutation instead of describing the element.
const STEERING: &[&str] = &[
    "clientMutationId",
    "update",
    "customFieldValues",
    "fileMarkings",
    "filesMarkings",
    "noTriggerImport",
    "embedded",
    "caseTemplates",
    "authorized_members",
    "internal_id",
    "relationship_type",
    "type",
    "x_opencti_modified_at",
    "dataComponents",
];

/// Decodes the input of an add mutation of `kind` (for a relationship: the kind of that relationship type).
pub fn decode(
    kind: &'static EntityType,
    input: &Map<String, Value>,
) -> Result<Element, InputError> {
    let mut element = Element::new(kind);
    let (mut from, mut to) = (None, None);
    for (field, value) in input {
        if value.is_null() {
            continue;
        }
        match field.as_str() {
            "fromId" => from = Some(end(field, value)?),
            "toId" => to = Some(end(field, value)?),
            "stix_id" => element.stix_ids.insert(0, stix_id(field, value)?),
            "createObservables" | "createIndicator" => {
                element.derive = value.as_bool() == Some(true);
            }
            "basedOn" => {
                let observables = list(value).iter().map(|id| end(field, id));
                element.based_on = observables.collect::<Result<_, _>>()?;
            }
            "x_opencti_stix_ids" => {
                let given = list(value)
                    .iter()
                    .map(|id| stix_id(field, id))
                    .collect::<Result<Vec<_>, _>>()?;
                let new = fresh(&element.stix_ids, &given);
                element.stix_ids.extend(new);
            }
            "file" | "files" if !stix::value::is_empty(value) => {
                return Err(RefusalReason::File(field.clone()).into());
            }
            "upsertOperations" if !stix::value::is_empty(value) => {
                return Err(RefusalReason::Operation(field.clone()).into());
            }
            "file" | "files" | "upsertOperations" => {}
            _ => self::field(&mut element, field, value)?,
        }
    }
    if kind.is_relationship() {
        let from = from.ok_or_else(|| InputError::MissingArgument("fromId".to_owned()))?;
        let to = to.ok_or_else(|| InputError::MissingArgument("toId".to_owned()))?;
        if from == to {
            return Err(RefusalReason::SelfRelation(from.to_string()).into());
        }
        element.ends = Some((from, to));
    }
    let first = element.stix_ids.first().copied();
    element.stix_ids.retain({
        let mut seen = false;
        move |id| Some(*id) != first || !std::mem::replace(&mut seen, true)
    });
    stix::finish(kind, &mut element.attributes)?;
    stix::required(&element)?;
    Ok(element)
}

/// Decodes the arguments of `stixCyberObservableAdd`: `type`, common arguments, and one argument named after the GraphQL type.
pub fn observable(arguments: &Map<String, Value>) -> Result<Element, InputError> {
    let name = arguments
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| InputError::MissingArgument("type".to_owned()))?;
    let registry = Registry::get();
    let kind = registry
        .by_name(name)
        .or_else(|| registry.by_stix(&name.to_lowercase()).first().copied())
        .filter(|kind| kind.category == Category::Observable)
        .ok_or_else(|| InputError::UnknownObservable(name.to_owned()))?;
    let Some(Value::Object(own)) = arguments.get(&kind.graphql) else {
        return Err(InputError::MissingArgument(kind.graphql.clone()));
    };
    let mut input = Map::with_capacity(arguments.len() + own.len());
    for (field, value) in arguments {
        // arguments of the other types, which a client may send as null
        if field != "type" && registry.by_graphql(field).is_none() {
            input.insert(field.clone(), value.clone());
        }
    }
    for (field, value) in own {
        if !value.is_null() {
            input.insert(field.clone(), value.clone());
        }
    }
    decode(kind, &input)
}

fn field(element: &mut Element, field: &str, value: &Value) -> Result<(), InputError> {
    let kind = element.kind;
    if let Some(reference) = kind.reference(field) {
        let targets = references(reference, value)?;
        if !targets.is_empty() {
            element.refs.push((reference, targets));
        }
        return Ok(());
    }
    if let Some(attribute) = kind
        .attribute(field)
        .filter(|attribute| stix::is_input(attribute))
    {
        let bad = |error| RefusalReason::BadValue {
            property: field.to_owned(),
            error,
        };
        if let Some(converted) = stix::convert(attribute, value.clone()).map_err(bad)? {
            element.attributes.insert(field.to_owned(), converted);
        }
        return Ok(());
    }
    if STEERING.contains(&field) || kind.extra_input.iter().any(|(name, _)| name == field) {
        return Ok(());
    }
    Err(InputError::UnknownField {
        kind: kind.name.clone(),
        field: field.to_owned(),
    })
}

fn references(reference: &Reference, value: &Value) -> Result<Vec<Ident>, InputError> {
    let mut targets: Vec<Ident> = Vec::new();
    for item in list(value) {
        let text = match item {
            Value::Null => continue,
            Value::String(text) if text.trim().is_empty() => continue,
            Value::String(text) => text.trim(),
            _ => {
                return Err(RefusalReason::BadValue {
                    property: reference.name.clone(),
                    error: ValueError::Text,
                }
                .into());
            }
        };
        let target = match Ident::parse(text) {
            Ok(target) => target,
            Err(error) => label(reference, text).ok_or(RefusalReason::BadReference {
                property: reference.name.clone(),
                error,
            })?,
        };
        targets.push(target);
    }
    if !reference.multiple {
        targets.truncate(1);
    }
    Ok(unique(&targets))
}

/// Labels may be named by their text.
fn label(reference: &Reference, text: &str) -> Option<Ident> {
    if reference.name != "objectLabel" {
        return None;
    }
    stix::label(text, None)?
        .stix_ids
        .first()
        .copied()
        .map(Ident::Stix)
}

fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        single => std::slice::from_ref(single),
    }
}

fn end(field: &str, value: &Value) -> Result<Ident, InputError> {
    let text = value.as_str().ok_or_else(|| RefusalReason::BadValue {
        property: field.to_owned(),
        error: ValueError::Text,
    })?;
    Ident::parse(text.trim()).map_err(|error| bad_reference(field, error))
}

fn stix_id(field: &str, value: &Value) -> Result<StixId, InputError> {
    let text = value.as_str().ok_or_else(|| RefusalReason::BadValue {
        property: field.to_owned(),
        error: ValueError::Text,
    })?;
    StixId::parse(text.trim()).map_err(|error| bad_reference(field, error))
}

fn bad_reference(field: &str, error: IdError) -> InputError {
    RefusalReason::BadReference {
        property: field.to_owned(),
        error,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MARKING: &str = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9";
    const MALWARE: &str = "malware--b6006dd5-31bf-52c0-8d0f-2d1f5c3d5e0d";
    const INTERNAL: &str = "0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d";

    fn kind(name: &str) -> &'static EntityType {
        Registry::get().by_name(name).unwrap()
    }

    fn decoded(name: &str, input: Value) -> Result<Element, InputError> {
        let Value::Object(input) = input else {
            panic!("an object is needed")
        };
        decode(kind(name), &input)
    }

    #[test]
    fn attributes_references_and_ids_find_their_places() {
        let element = decoded(
            "Malware",
            json!({
                "name": "a", "stix_id": MALWARE, "x_opencti_stix_ids": [MALWARE], "aliases": [" b ", "A"], "createdBy": null,
                "objectMarking": [MARKING, MARKING], "objectLabel": ["Phishing", INTERNAL], "update": true, "confidence": 50,
                "customFieldValues": [{"field_name": "x", "value": 1}], "files": [], "created": "2024-01-01T00:00:00Z"
            }),
        )
        .unwrap();
        assert_eq!(
            Value::Object(element.attributes.clone()),
            json!({"name": "a", "aliases": ["b"], "confidence": 50, "created": "2024-01-01T00:00:00.000Z"})
        );
        assert_eq!(
            element.refs_of("objectMarking"),
            [Ident::parse(MARKING).unwrap()]
        );
        let phishing = stix::label("phishing", None).unwrap().stix_ids[0];
        assert_eq!(
            element.refs_of("objectLabel"),
            [Ident::Stix(phishing), Ident::parse(INTERNAL).unwrap()]
        );
        assert_eq!(element.stix_ids, [StixId::parse(MALWARE).unwrap()]);
    }

    #[test]
    fn ends_are_needed_and_differ() {
        let both = decoded(
            "uses",
            json!({"fromId": INTERNAL, "toId": MALWARE, "relationship_type": "uses"}),
        )
        .unwrap();
        assert_eq!(
            both.ends,
            Some((
                Ident::parse(INTERNAL).unwrap(),
                Ident::parse(MALWARE).unwrap()
            ))
        );
        assert_eq!(
            decoded("uses", json!({"fromId": INTERNAL})),
            Err(InputError::MissingArgument("toId".to_owned()))
        );
        let error = decoded("uses", json!({"fromId": INTERNAL, "toId": INTERNAL})).unwrap_err();
        assert_eq!(error.doc_code(), Some("SELF_REFERENCING_RELATION"));
    }

    #[test]
    fn observables_come_in_the_argument_of_their_type() {
        let arguments = json!({
            "type": "StixFile", "x_opencti_score": 70, "objectMarking": [MARKING], "createIndicator": false, "IPv4Addr": null,
            "StixFile": {"name": "a", "hashes": [{"algorithm": "md5", "hash": "D41D8CD98F00B204E9800998ECF8427E"}], "files": null}
        });
        let element = observable(arguments.as_object().unwrap()).unwrap();
        assert_eq!(element.kind.name, "StixFile");
        let expected = json!({"x_opencti_score": 70, "name": "a", "hashes": {"MD5": "d41d8cd98f00b204e9800998ecf8427e"}});
        assert_eq!(Value::Object(element.attributes), expected);
    }

    #[test]
    fn faults_are_named() {
        let arguments = |value: Value| {
            observable(value.as_object().unwrap())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            arguments(json!({"type": "IPv4-Addr"})),
            "argument \"IPv4Addr\" is missing"
        );
        assert_eq!(
            arguments(json!({"type": "Malware"})),
            "\"Malware\" is not a type of observable"
        );
        assert!(
            arguments(json!({"type": "IPv4-Addr", "IPv4Addr": {"value": "300.1.1.1"}}))
                .contains("not a correct value of IPv4-Addr")
        );
        let fault = |name, input| decoded(name, input).unwrap_err().to_string();
        assert_eq!(
            fault("Malware", json!({"description": "x"})),
            "Malware needs property \"name\""
        );
        assert_eq!(
            fault("Malware", json!({"name": "a", "nam": 1})),
            "Malware has no field \"nam\""
        );
        assert!(
            fault("Malware", json!({"name": "a", "file": {"name": "x"}}))
                .contains("files cannot be uploaded")
        );
        assert!(
            fault("Malware", json!({"name": "a", "createdBy": "nobody"}))
                .contains("is not a STIX id")
        );
        assert!(
            fault(
                "Indicator",
                json!({"name": "a", "pattern": "[x", "pattern_type": "stix"})
            )
            .contains("pattern is not correct")
        );
    }
}
