//! How an element is shown in one line, and what full-text search finds it by.

use serde_json::{Map, Value};

use crate::{
    EntityType,
    registry::{Category, Kind},
};

/// The text that stands for an element in lists, titles and at the ends of relationships. Never empty.
#[must_use]
pub fn representative(kind: &EntityType, attributes: &Map<String, Value>) -> String {
    const LONGEST: usize = 250;
    let text = |name: &str| text_of(attributes, name);
    let found = match kind.name.as_str() {
        "Attack-Pattern" => match (text("x_mitre_id"), text("name")) {
            (Some(id), Some(name)) => Some(format!("[{id}] {name}")),
            (_, name) => name,
        },
        "Note" => text("attribute_abstract").or_else(|| text("content")),
        "Opinion" => text("opinion"),
        "Malware-Analysis" => text("result_name").or_else(|| text("product")),
        "Label" => text("value"),
        "External-Reference" => text("source_name").map(|source| match text("external_id") {
            Some(id) => format!("{source} ({id})"),
            None => source,
        }),
        "Kill-Chain-Phase" => match (text("kill_chain_name"), text("phase_name")) {
            (Some(chain), Some(phase)) => Some(format!("[{chain}] {phase}")),
            (chain, phase) => phase.or(chain),
        },
        "Marking-Definition" => text("definition"),
        _ if kind.category == Category::Observable => observable_value(kind, attributes),
        _ => text("name"),
    };
    let found = found.unwrap_or_else(|| kind.name.clone());
    match found.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &found[..at]),
        None => found,
    }
}

/// The value by which an observable is known; `None` when it has none, or for other types.
#[must_use]
pub fn observable_value(kind: &EntityType, attributes: &Map<String, Value>) -> Option<String> {
    if kind.category != Category::Observable {
        return None;
    }
    let first = |names: &[&str]| names.iter().find_map(|name| text_of(attributes, name));
    match kind.name.as_str() {
        "Autonomous-System" => first(&["name", "number"]),
        "Directory" => first(&["path"]),
        "Email-Message" => first(&["subject", "body", "message_id"]),
        "Email-Mime-Part-Type" => first(&["body", "content_type"]),
        "StixFile" => hash(attributes).or_else(|| first(&["name"])),
        "Artifact" => hash(attributes).or_else(|| first(&["url", "mime_type"])),
        "X509-Certificate" => {
            hash(attributes).or_else(|| first(&["subject", "serial_number", "issuer"]))
        }
        "Network-Traffic" => first(&["dst_port", "src_port"]).or_else(|| {
            attributes
                .get("protocols")
                .and_then(Value::as_array)
                .and_then(|protocols| protocols.first())
                .and_then(Value::as_str)
                .map(str::to_owned)
        }),
        "Process" => first(&["pid", "command_line"]),
        "Software" => match (
            first(&["name", "cpe", "swid"]),
            text_of(attributes, "version"),
        ) {
            (Some(name), Some(version)) => Some(format!("{name} ({version})")),
            (name, _) => name,
        },
        "User-Account" => first(&["account_login", "user_id", "display_name"]),
        "Windows-Registry-Key" => first(&["attribute_key"]),
        "Windows-Registry-Value-Type" => first(&["name", "data"]),
        "Mutex" => first(&["name"]),
        "Bank-Account" => first(&["iban", "account_number"]),
        "Payment-Card" => first(&["card_number", "holder_name"]),
        "Media-Content" => first(&["title", "content", "url"]),
        "Persona" => first(&["persona_name"]),
        "SSH-Key" => first(&["fingerprint_sha256", "fingerprint_md5"]),
        _ => first(&["value", "name"]),
    }
}

fn hash(attributes: &Map<String, Value>) -> Option<String> {
    let hashes = attributes.get("hashes")?.as_object()?;
    ["SHA-256", "SHA-512", "SHA-1", "MD5"]
        .iter()
        .find_map(|algorithm| hashes.get(*algorithm))
        .or_else(|| hashes.values().next())
        .and_then(Value::as_str)
        .map(str::to_owned)
}

fn text_of(attributes: &Map<String, Value>, name: &str) -> Option<String> {
    match attributes.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What full-text search sees of an element: name-like text (names, aliases, values, hashes, ids), and all other text.
#[must_use]
pub fn search_text(kind: &EntityType, attributes: &Map<String, Value>) -> (String, String) {
    const NAMES: &[&str] = &[
        "name",
        "value",
        "aliases",
        "x_opencti_aliases",
        "x_mitre_id",
        "hashes",
        "definition",
        "source_name",
        "external_id",
        "url",
        "phase_name",
        "kill_chain_name",
        "attribute_abstract",
        "x_opencti_additional_names",
        "account_login",
        "user_id",
        "display_name",
        "iban",
        "card_number",
        "persona_name",
        "attribute_key",
        "path",
        "subject",
        "product",
        "result_name",
        "fingerprint_sha256",
        "fingerprint_md5",
        "number",
        "pid",
        "cpe",
        "serial_number",
        "x_opencti_firstname",
        "x_opencti_lastname",
        "message_id",
        "opinion",
        "dst_port",
        "src_port",
    ];
    // what is long and not language
    const SKIPPED: &[&str] = &[
        "payload_bin",
        "x_opencti_graph_data",
        "content_mapping",
        "color",
        "x_opencti_color",
        "x_opencti_workflow_id",
        "lang",
    ];
    let (mut names, mut other) = (String::new(), String::new());
    for (name, value) in attributes {
        if NAMES.contains(&name.as_str()) {
            collect(value, &mut names);
            continue;
        }
        let readable = match kind.attribute(name) {
            Some(attribute) => {
                !attribute.internal
                    && matches!(attribute.kind, Kind::String | Kind::Text | Kind::Vocabulary)
            }
            None => {
                name.starts_with("x_")
                    && !name.ends_with("_ref")
                    && !name.ends_with("_refs")
                    && name != "x_extensions"
            }
        };
        if readable && !SKIPPED.contains(&name.as_str()) {
            collect(value, &mut other);
        }
    }
    (names, other)
}

/// Appends the texts and numbers of a value, each on a line, up to a bound.
fn collect(value: &Value, into: &mut String) {
    const LONGEST: usize = 1_000_000;
    let room = LONGEST.saturating_sub(into.len());
    match value {
        Value::String(text) if !text.is_empty() => {
            if !into.is_empty() {
                into.push('\n');
            }
            let end = if text.len() <= room {
                text.len()
            } else {
                (0..=room)
                    .rev()
                    .find(|at| text.is_char_boundary(*at))
                    .unwrap_or(0)
            };
            into.push_str(&text[..end]);
        }
        Value::Number(number) => {
            if !into.is_empty() {
                into.push('\n');
            }
            into.push_str(&number.to_string());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(members) => members.values().for_each(|member| collect(member, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Registry;

    fn shown(kind: &str, attributes: &Value) -> String {
        representative(
            Registry::get().by_name(kind).unwrap(),
            attributes.as_object().unwrap(),
        )
    }

    #[test]
    fn each_type_is_shown_by_what_it_is_known_by() {
        let cases = [
            ("Malware", json!({"name": "Emotet"}), "Emotet"),
            ("Malware", json!({}), "Malware"),
            (
                "Attack-Pattern",
                json!({"name": "Phishing", "x_mitre_id": "T1566"}),
                "[T1566] Phishing",
            ),
            ("Attack-Pattern", json!({"name": "Phishing"}), "Phishing"),
            (
                "Note",
                json!({"content": "c", "attribute_abstract": "a"}),
                "a",
            ),
            ("Opinion", json!({"opinion": "agree"}), "agree"),
            (
                "External-Reference",
                json!({"source_name": "cve", "external_id": "CVE-1"}),
                "cve (CVE-1)",
            ),
            (
                "Kill-Chain-Phase",
                json!({"kill_chain_name": "k", "phase_name": "p"}),
                "[k] p",
            ),
            (
                "Marking-Definition",
                json!({"definition": "TLP:RED"}),
                "TLP:RED",
            ),
            ("IPv4-Addr", json!({"value": "192.0.2.1"}), "192.0.2.1"),
            ("Autonomous-System", json!({"number": 64496}), "64496"),
            (
                "StixFile",
                json!({"name": "a.exe", "hashes": {"MD5": "m", "SHA-256": "s"}}),
                "s",
            ),
            ("StixFile", json!({"name": "a.exe"}), "a.exe"),
            ("Process", json!({"pid": 4, "command_line": "x"}), "4"),
            (
                "Software",
                json!({"name": "Word", "version": "16"}),
                "Word (16)",
            ),
            ("Network-Traffic", json!({"protocols": ["tcp"]}), "tcp"),
            (
                "Windows-Registry-Key",
                json!({"attribute_key": "HKLM\\x"}),
                "HKLM\\x",
            ),
            ("uses", json!({}), "uses"),
        ];
        for (kind, attributes, expected) in cases {
            assert_eq!(shown(kind, &attributes), expected, "{kind} {attributes}");
        }
        assert_eq!(
            shown("Malware", &json!({"name": "é".repeat(1000)}))
                .chars()
                .count(),
            251
        );
    }

    #[test]
    fn search_sees_names_apart_from_other_text() {
        let kind = Registry::get().by_name("Malware").unwrap();
        let attributes = json!({
            "name": "Emotet", "aliases": ["Geodo", "Heodo"], "description": "a loader", "confidence": 50, "created": "2024-01-01T00:00:00.000Z",
            "x_custom": "kept", "x_some_ref": "malware--1", "is_family": true
        });
        let (names, other) = search_text(kind, attributes.as_object().unwrap());
        assert_eq!(names, "Emotet\nGeodo\nHeodo");
        assert_eq!(other, "a loader\nkept");
    }
}
