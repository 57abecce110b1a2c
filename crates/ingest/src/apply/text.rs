//! What an object is found by.

use ferrocti_model::registry::{EntityType, Kind};
use serde_json::{Map, Value};

/// Main name.
pub fn name_of(_kind: &EntityType, attributes: &Map<String, Value>) -> String {
    ["name", "definition", "value", "attribute_abstract", "opinion", "result_name", "path", "subject", "source_name"]
        .iter()
        .find_map(|name| attributes.get(*name).and_then(Value::as_str))
        .unwrap_or_default()
        .to_owned()
}

/// Other text.
pub fn search_text(kind: &EntityType, attributes: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (name, value) in attributes {
        if kind.attribute(name).is_some_and(|attribute| matches!(attribute.kind, Kind::String | Kind::Text) && attribute.name != "x_opencti_stix_ids") {
            for item in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
                if let Some(item) = item.as_str() {
                    text.push_str(item);
                    text.push(' ');
                }
            }
        }
    }
    text
}
