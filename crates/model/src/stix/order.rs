//! Objects of a bundle that order something (`opencti_operation`) instead of describing something.

use serde_json::{Map, Value};

use super::{RefusalReason, shorten, special, value::ValueError};
use crate::Ident;

/// What an object of a bundle orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Delete this object.
    Delete(Ident),
    /// Merge objects into one of them.
    Merge {
        /// The one that stays.
        target: Ident,
        /// Those that become part of it.
        sources: Vec<Ident>,
    },
    /// Anything else, by its name.
    Other(String),
}

impl Order {
    /// What an object orders; `None`: it describes something. The order stands at the top level or in the extension of OpenCTI.
    ///
    /// # Errors
    /// When it does not say properly on which objects it is to be carried out.
    pub fn of(object: &Map<String, Value>) -> Result<Option<Self>, RefusalReason> {
        let name = match special::octi(object, "opencti_operation") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(name)) => name.as_str(),
            Some(_) => "?",
        };
        match name {
            "" | "create" | "upsert" => Ok(None),
            "delete" | "delete_force" => {
                let id = object.get("id").ok_or(RefusalReason::MissingId)?;
                Ok(Some(Self::Delete(ident("id", id)?)))
            }
            "merge" => {
                let named = |property: &str| {
                    special::octi(object, property)
                        .filter(|value| !value.is_null())
                        .ok_or_else(|| RefusalReason::MissingProperty {
                            property: property.to_owned(),
                            kind: "the operation \"merge\"".to_owned(),
                        })
                };
                let target = ident("merge_target_id", named("merge_target_id")?)?;
                let sources = match named("merge_source_ids")? {
                    Value::Array(ids) => ids.as_slice(),
                    single => std::slice::from_ref(single),
                };
                let sources = sources.iter().map(|id| ident("merge_source_ids", id));
                Ok(Some(Self::Merge {
                    target,
                    sources: sources.collect::<Result<_, _>>()?,
                }))
            }
            other => Ok(Some(Self::Other(shorten(other)))),
        }
    }
}

fn ident(property: &str, value: &Value) -> Result<Ident, RefusalReason> {
    let text = value.as_str().ok_or_else(|| RefusalReason::BadValue {
        property: property.to_owned(),
        error: ValueError::Text,
    })?;
    Ident::parse(text.trim()).map_err(|error| RefusalReason::BadReference {
        property: property.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MALWARE: &str = "malware--b6006dd5-31bf-52c0-8d0f-2d1f5c3d5e0d";
    const OTHER: &str = "malware--0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d";

    fn order(object: Value) -> Result<Option<Order>, String> {
        let Value::Object(object) = object else {
            panic!("an object is needed")
        };
        Order::of(&object).map_err(|reason| reason.to_string())
    }

    fn id(text: &str) -> Ident {
        Ident::parse(text).unwrap()
    }

    #[test]
    fn orders_stand_at_the_top_or_in_the_extension() {
        let extension = super::super::EXTENSION_OCTI;
        for object in [
            json!({"id": MALWARE, "opencti_operation": "delete"}),
            json!({"id": MALWARE, "opencti_operation": "delete_force"}),
            json!({"id": MALWARE, "extensions": {extension: {"opencti_operation": "delete"}}}),
        ] {
            assert_eq!(order(object), Ok(Some(Order::Delete(id(MALWARE)))));
        }
        let merge = json!({"id": MALWARE, "opencti_operation": "merge", "merge_target_id": MALWARE, "merge_source_ids": [OTHER]});
        let expected = Order::Merge {
            target: id(MALWARE),
            sources: vec![id(OTHER)],
        };
        assert_eq!(order(merge), Ok(Some(expected)));
    }

    #[test]
    fn what_describes_something_orders_nothing() {
        for object in [
            json!({"id": MALWARE}),
            json!({"id": MALWARE, "opencti_operation": null}),
            json!({"id": MALWARE, "opencti_operation": "upsert"}),
        ] {
            assert_eq!(order(object), Ok(None));
        }
    }

    #[test]
    fn faults_are_named() {
        let fault = |object| order(object).unwrap_err();
        assert!(
            fault(json!({"id": "user", "opencti_operation": "delete"})).contains("not a STIX id")
        );
        assert_eq!(
            fault(json!({"id": MALWARE, "opencti_operation": "merge"})),
            "the operation \"merge\" needs property \"merge_target_id\""
        );
        let other = order(json!({"id": MALWARE, "opencti_operation": "send_email"}));
        assert_eq!(other, Ok(Some(Order::Other("send_email".to_owned()))));
    }
}
