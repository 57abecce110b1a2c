//! The invented objects that the sample connector sends: numbered, each with the same content whenever it is sent.

use ferrocti_model::clock::{Millis, format_date};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

/// How many objects there are; after the last comes the first again, which is then unchanged. A forgotten sample connector fills no platform.
const OBJECTS: u64 = 3000;
/// The name space of the objects' ids.
const NAMESPACE: Uuid = uuid!("0d3a52d1-6f2a-5f5c-9d0e-3b1a4d7c2e90");
/// Author of the objects.
const AUTHOR: &str = "Ferrocti sample";
/// The marking of the objects: TLP:CLEAR, by its id of the STIX specification.
const CLEAR: &str = "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487";
/// When the first object was made: 2026-01-01; each next one a minute later.
const BEGINNING: Millis = 1_767_225_600_000;

/// A bundle with `count` objects from position `position` on, and the position after it.
#[must_use]
pub fn bundle(position: u64, count: u64) -> (Value, u64) {
    let numbers = (0..count).map(|step| position.wrapping_add(step) % OBJECTS);
    let objects: Vec<Value> = [clear(), author()]
        .into_iter()
        .chain(numbers.map(object))
        .collect();
    let next = (position % OBJECTS + count) % OBJECTS;
    let bundle = json!({ "type": "bundle", "id": format!("bundle--{}", id("bundle", position)), "objects": objects });
    (bundle, next)
}

fn id(kind: &str, number: u64) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{kind} {number}").as_bytes())
}

fn stix(kind: &str, number: u64) -> String {
    format!("{kind}--{}", id(kind, number))
}

fn clear() -> Value {
    json!({
        "type": "marking-definition", "spec_version": "2.1", "id": CLEAR, "created": "2022-10-01T00:00:00.000Z", "name": "TLP:CLEAR",
        "extensions": { "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": { "extension_type": "property-extension", "tlp_2_0": "clear" } }
    })
}

fn author() -> Value {
    let made = format_date(BEGINNING);
    json!({
        "type": "identity", "spec_version": "2.1", "id": stix("identity", 0), "created": made, "modified": made,
        "name": AUTHOR, "identity_class": "organization", "description": "Invents what the sample connector sends.", "object_marking_refs": [CLEAR]
    })
}

/// The object of a number: an intrusion set, then an indicator, then a report about the two.
fn object(number: u64) -> Value {
    let minutes = Millis::try_from(number).unwrap_or(Millis::MAX / 120_000);
    let made = format_date(BEGINNING + minutes * 60_000);
    let story = number / 3 + 1;
    let kind = ["intrusion-set", "indicator", "report"][usize::try_from(number % 3).unwrap_or(0)];
    let mut object = json!({
        "type": kind, "spec_version": "2.1", "id": stix(kind, story), "created": made, "modified": made,
        "created_by_ref": stix("identity", 0), "object_marking_refs": [CLEAR], "labels": ["sample"]
    });
    let own = match kind {
        "intrusion-set" => json!({
            "name": format!("Sample Heron {story}"),
            "description": "An invented group. Nobody is behind it."
        }),
        "indicator" => json!({
            "name": format!("sample-{story}.example"),
            "description": "An invented host of an invented group.",
            "pattern": format!("[domain-name:value = 'sample-{story}.example']"),
            "pattern_type": "stix",
            "valid_from": made
        }),
        _ => json!({
            "name": format!("Sample report {story}"),
            "description": "An invented report about an invented group.",
            "report_types": ["threat-report"],
            "published": made,
            "object_refs": [stix("intrusion-set", story), stix("indicator", story)]
        }),
    };
    if let (Value::Object(object), Value::Object(own)) = (&mut object, own) {
        object.extend(own);
    }
    object
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sent(position: u64, count: u64) -> Vec<Value> {
        let (bundle, _) = bundle(position, count);
        let objects = bundle["objects"].as_array().unwrap();
        // the marking and the author come first and are no objects of the feed
        objects[2..].to_vec()
    }

    #[test]
    fn a_run_goes_on_where_the_last_one_ended() {
        let (_, next) = bundle(0, 10);
        assert_eq!(next, 10);
        let whole: Vec<Value> = sent(0, 10).into_iter().chain(sent(next, 7)).collect();
        assert_eq!(whole, sent(0, 17));
        let ids: BTreeSet<&str> = whole
            .iter()
            .map(|object| object["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), 17);
    }

    #[test]
    fn after_the_last_object_comes_the_first_again() {
        let (_, next) = bundle(OBJECTS - 2, 5);
        assert_eq!(next, 3);
        assert_eq!(sent(OBJECTS - 2, 5)[2..], sent(0, 3)[..]);
        // a position from a damaged state is one too
        assert_eq!(
            bundle(u64::MAX, 1000).1,
            (u64::MAX % OBJECTS + 1000) % OBJECTS
        );
    }

    #[test]
    fn a_report_is_about_what_was_sent_before_it() {
        let objects = sent(0, 300);
        for (place, report) in objects.iter().enumerate() {
            for reference in report["object_refs"].as_array().into_iter().flatten() {
                let before = &objects[..place];
                assert!(before.iter().any(|object| object["id"] == *reference));
            }
        }
    }
}
