//! What a filter key names.

use std::{collections::HashMap, sync::LazyLock};

use super::{AttributeKey, FilterError, Side};
use crate::registry::{Attribute, Kind, Registry};

/// What a key is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Key {
    /// The value of any of these attributes.
    Attributes(Vec<AttributeKey>),
    /// The elements that a reference points to.
    Reference(u16),
    /// The element itself, by any of its ids.
    Ids,
    /// The type, or an abstract type above it.
    Types,
    /// The element at an end of a relationship.
    Ends(Side),
    /// The type of the element at an end of a relationship.
    EndTypes(Side),
    /// Elements at the other end of relationships of these types (`None`: any type), also of references when `references`.
    Related {
        types: Option<Vec<u16>>,
        references: bool,
        side: Side,
    },
    /// Elements related as the values describe.
    RegardingOf,
    /// The reliability of the author; `own_first`: the element's own, if it has one.
    Reliability { own_first: bool },
}

/// Attributes among which `bulkSearchKeywords` looks: those that hold names and values that people paste in bulk.
const KEYWORD_ATTRIBUTES: [&str; 19] = [
    "name",
    "aliases",
    "x_opencti_aliases",
    "x_opencti_additional_names",
    "x_mitre_id",
    "attribute_abstract",
    "value",
    "subject",
    "path",
    "attribute_key",
    "serial_number",
    "account_login",
    "user_id",
    "iban",
    "card_number",
    "persona_name",
    "hashes.MD5",
    "hashes.SHA-1",
    "hashes.SHA-256",
];

/// Keys that upstream knows and that wait for what they are about: drafts, rules, organisation access, priority requirements.
const LATER: [&str; 20] = [
    "dynamicRegardingOf",
    "dynamicFrom",
    "dynamicTo",
    "fromRole",
    "toRole",
    "toSightingId",
    "connections",
    "is_inferred",
    "rule",
    "opinionsMetricsMean",
    "opinionsMetricsMax",
    "opinionsMetricsMin",
    "opinionsMetricsTotal",
    "pir_score",
    "last_pir_score_date",
    "pir_ids",
    "restricted_members.id",
    "authorized_members.id",
    "user_service_account",
    "draft_change.draft_operation",
];

pub(super) fn classify(name: &str) -> Result<Key, FilterError> {
    let registry = Registry::get();
    let attributes = |names: &[&str]| {
        names
            .iter()
            .map(|name| attribute(name))
            .collect::<Result<_, _>>()
            .map(Key::Attributes)
    };
    let sighting = || {
        registry
            .by_name("stix-sighting-relationship")
            .map(|kind| vec![kind.code])
    };
    match name {
        "ids" | "id" | "internal_id" | "standard_id" | "x_opencti_stix_ids" | "i_aliases_ids" => {
            Ok(Key::Ids)
        }
        "entity_type" | "relationship_type" | "parent_types" => Ok(Key::Types),
        "regardingOf" => Ok(Key::RegardingOf),
        "fromId" => Ok(Key::Ends(Side::Source)),
        "toId" => Ok(Key::Ends(Side::Target)),
        "fromOrToId" => Ok(Key::Ends(Side::Both)),
        "fromTypes" => Ok(Key::EndTypes(Side::Source)),
        "toTypes" => Ok(Key::EndTypes(Side::Target)),
        "elementWithTargetTypes" => Ok(Key::EndTypes(Side::Both)),
        "alias" => attributes(&["aliases", "x_opencti_aliases"]),
        "workflow_id" => attributes(&["x_opencti_workflow_id"]),
        "bulkSearchKeywords" => attributes(&KEYWORD_ATTRIBUTES),
        "source_reliability" => Ok(Key::Reliability { own_first: false }),
        "computed_reliability" => Ok(Key::Reliability { own_first: true }),
        "sightedBy" => Ok(Key::Related {
            types: sighting(),
            references: false,
            side: Side::Source,
        }),
        "connectedToId" => Ok(Key::Related {
            types: None,
            references: true,
            side: Side::Both,
        }),
        _ => {
            if let Some(reference) = registry.reference_type(name) {
                return Ok(Key::Reference(reference.code));
            }
            if let Some(kind) = registry.by_name(name).filter(|kind| kind.is_relationship()) {
                return Ok(Key::Related {
                    types: Some(vec![kind.code]),
                    references: false,
                    side: Side::Both,
                });
            }
            match attribute(name) {
                Err(_) if comes_later(name) => {
                    Err(FilterError::NotSupported(super::value::shortened(name)))
                }
                attribute => attribute.map(|attribute| Key::Attributes(vec![attribute])),
            }
        }
    }
}

fn comes_later(name: &str) -> bool {
    LATER.contains(&name) || name.starts_with("context") || name.starts_with("members_")
}

/// The attribute of a name, or `attribute.field` of an object.
pub(super) fn attribute(name: &str) -> Result<AttributeKey, FilterError> {
    let unknown = || FilterError::UnknownKey(super::value::shortened(name));
    if let Some(known) = ATTRIBUTES.get(name) {
        return Ok(known.key.clone());
    }
    let (outer, inner) = name.split_once('.').ok_or_else(unknown)?;
    let known = ATTRIBUTES.get(outer).ok_or_else(unknown)?;
    let (kind, multiple) = match known.key.kind {
        Kind::Dict => (Kind::String, false),
        _ => *known.fields.get(inner).ok_or_else(unknown)?,
    };
    Ok(AttributeKey {
        name: outer.to_owned(),
        inner: Some(inner.to_owned()),
        kind,
        multiple: multiple || known.key.multiple,
    })
}

struct Known {
    key: AttributeKey,
    fields: HashMap<String, (Kind, bool)>,
}

/// Every attribute of every type by name. Types that share a name compare its values alike, which a test guards.
static ATTRIBUTES: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(|| {
    let mut known: HashMap<&'static str, Known> = HashMap::new();
    for attribute in Registry::get()
        .types()
        .iter()
        .flat_map(|kind| &kind.attributes)
    {
        let entry = known
            .entry(attribute.name.as_str())
            .or_insert_with(|| Known {
                key: AttributeKey {
                    name: attribute.name.clone(),
                    inner: None,
                    kind: attribute.kind,
                    multiple: attribute.multiple,
                },
                fields: HashMap::new(),
            });
        entry.key.multiple |= attribute.multiple;
        entry.fields.extend(
            attribute
                .fields
                .iter()
                .map(|field: &Attribute| (field.name.clone(), (field.kind, field.multiple))),
        );
    }
    known
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::value::Form;

    #[test]
    fn types_that_share_an_attribute_name_compare_its_values_alike() {
        for attribute in Registry::get()
            .types()
            .iter()
            .flat_map(|kind| &kind.attributes)
        {
            let known = &ATTRIBUTES[attribute.name.as_str()].key;
            assert_eq!(
                Form::of(known.kind),
                Form::of(attribute.kind),
                "{}",
                attribute.name
            );
        }
    }

    #[test]
    fn no_attribute_is_hidden_by_a_reference_or_relationship_of_its_name() {
        for name in ATTRIBUTES.keys() {
            let registry = Registry::get();
            let relationship = registry
                .by_name(name)
                .is_some_and(|kind| kind.is_relationship());
            assert!(
                registry.reference_type(name).is_none() && !relationship,
                "{name}"
            );
        }
    }

    #[test]
    fn every_attribute_and_reference_and_relationship_is_a_key() {
        for kind in Registry::get().types() {
            for name in kind
                .attributes
                .iter()
                .map(|a| &a.name)
                .chain(kind.refs.iter().flat_map(|r| [&r.name, &r.relationship]))
            {
                assert!(classify(name).is_ok(), "{name}");
            }
            assert!(
                !kind.is_relationship() || classify(&kind.name).is_ok(),
                "{}",
                kind.name
            );
        }
    }
}
