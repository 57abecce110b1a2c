//! What senders ask for besides the object itself, and the short form of observables.

use ferrocti_model::{Element, Registry, input};
use serde_json::{Map, Value, json};

use crate::decode::{decode, id, octi};

fn element(stix_type: &str, properties: Value) -> Element {
    decode(stix_type, properties)
        .expect("it decodes")
        .elements
        .remove(0)
}

fn given(kind: &str, input: Value) -> Element {
    let Value::Object(input) = input else {
        panic!("an object is needed")
    };
    input::decode(Registry::get().by_name(kind).expect("a type"), &input).expect("it decodes")
}

#[test]
fn a_bundle_asks_for_what_follows_from_an_object() {
    let indicator = |more: Value| {
        let mut properties = json!({"name": "i", "pattern": "[url:value = 'a']", "pattern_type": "stix",
            "valid_from": "2024-01-01T00:00:00Z"});
        properties
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        element("indicator", properties).derive
    };
    assert!(indicator(json!({"x_opencti_create_observables": true})));
    assert!(indicator(
        json!({"extensions": octi(json!({"create_observables": true}))})
    ));
    assert!(!indicator(json!({"x_opencti_create_observables": false})));
    assert!(!indicator(json!({"x_opencti_create_indicator": true})));
    assert!(!indicator(json!({})));

    let url = |more: Value| {
        let mut properties = json!({"value": "http://a/"});
        properties
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        element("url", properties)
    };
    let asking = url(json!({"x_opencti_create_indicator": true}));
    assert!(asking.derive);
    assert_eq!(
        Value::Object(asking.attributes),
        json!({"value": "http://a/"}),
        "the question is not kept"
    );
    assert!(!url(json!({})).derive);
}

#[test]
fn an_input_asks_for_what_follows_from_an_object() {
    let indicator = json!({"name": "i", "pattern": "[url:value = 'a']", "pattern_type": "stix",
        "createObservables": true, "basedOn": [id("url", 1)]});
    let indicator = given("Indicator", indicator);
    assert!(indicator.derive);
    assert_eq!(indicator.based_on.len(), 1);
    assert_eq!(indicator.based_on[0].to_string(), id("url", 1));

    let arguments = |asks: Value| {
        let arguments = json!({"type": "Url", "createIndicator": asks, "Url": {"value": "a"}});
        input::observable(arguments.as_object().unwrap_or(&Map::new()))
            .expect("it decodes")
            .derive
    };
    assert!(arguments(json!(true)));
    assert!(!arguments(json!(false)));
    assert!(!arguments(json!(null)));
}

#[test]
fn an_observable_in_short_form_is_the_observable() {
    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
    let cases = [
        (
            "IPv4-Addr.value",
            json!("192.0.2.1"),
            "IPv4-Addr",
            json!({"value": "192.0.2.1"}),
        ),
        (
            "ipv4-addr.value",
            json!("192.0.2.1"),
            "IPv4-Addr",
            json!({"value": "192.0.2.1"}),
        ),
        (
            "X-OpenCTI-Hostname.value",
            json!("a"),
            "Hostname",
            json!({"value": "a"}),
        ),
        (
            "Autonomous-System.number",
            json!("64496"),
            "Autonomous-System",
            json!({"number": 64496}),
        ),
        (
            "File.hashes.MD5",
            json!(MD5),
            "StixFile",
            json!({"hashes": {"MD5": MD5}}),
        ),
        (
            "file.hashes.md5",
            json!(MD5),
            "StixFile",
            json!({"hashes": {"MD5": MD5}}),
        ),
        (
            "StixFile.name",
            json!("a.exe"),
            "StixFile",
            json!({"name": "a.exe"}),
        ),
        (
            "Windows-Registry-Key.key",
            json!("HKLM"),
            "Windows-Registry-Key",
            json!({"attribute_key": "HKLM"}),
        ),
    ];
    for (key, value, kind, expected) in cases {
        let made = element("simple-observable", json!({"key": key, "value": value}));
        assert_eq!(made.kind.name, kind, "{key}");
        assert_eq!(Value::Object(made.attributes), expected, "{key}");
        assert_eq!(made.stix_ids[0].to_string(), id("simple-observable", 1));
    }
    let full = element(
        "x-opencti-simple-observable",
        json!({"key": "Url.value", "value": "http://a/", "description": "seen", "labels": ["bad"],
            "x_opencti_score": 80, "x_opencti_create_indicator": true}),
    );
    assert_eq!(
        Value::Object(full.attributes.clone()),
        json!({"value": "http://a/", "x_opencti_score": 80, "x_opencti_description": "seen"})
    );
    assert_eq!(full.refs_of("objectLabel").len(), 1);
    assert!(full.derive);
}

#[test]
fn a_short_form_that_names_no_observable_is_refused() {
    let cases = [
        (
            json!({"value": "a"}),
            "simple-observable needs property \"key\"",
        ),
        (
            json!({"key": "Url.value"}),
            "simple-observable needs property \"value\"",
        ),
        (
            json!({"key": "Url", "value": "a"}),
            "key \"Url\" is not <type>.<property> of an observable",
        ),
        (
            json!({"key": "Malware.name", "value": "a"}),
            "key \"Malware.name\" is not",
        ),
        (
            json!({"key": "Stix-Cyber-Observable.value", "value": "a"}),
            "key \"Stix-Cyber-Observable.value\" is not",
        ),
        (
            json!({"key": "Gift.value", "value": "a"}),
            "key \"Gift.value\" is not",
        ),
        (
            json!({"key": "Email-Message.from_ref.value", "value": "a"}),
            "key \"Email-Message.from_ref.value\" is not",
        ),
        (json!({"key": 5, "value": "a"}), "key \"\" is not"),
        (
            json!({"key": "Url.colour", "value": "a"}),
            "property \"colour\" is not known for Url",
        ),
        (
            json!({"key": "IPv4-Addr.value", "value": "a"}),
            "not a correct value of IPv4-Addr",
        ),
    ];
    for (properties, reason) in cases {
        let refusal = decode("simple-observable", properties)
            .expect_err("it is refused")
            .to_string();
        assert!(refusal.contains(reason), "{refusal}");
    }
    let other = decode(
        "simple-observable",
        json!({"id": id("malware", 1), "key": "Url.value", "value": "a"}),
    );
    assert!(
        other
            .expect_err("it is refused")
            .to_string()
            .contains("of another type")
    );
}
