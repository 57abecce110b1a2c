//! Messages and objects that are wrong: each gets its reason, and nothing else suffers.

use base64::{Engine, engine::general_purpose::STANDARD};
use ferrocti_broker::{Publish, queue::push_queue};
use serde_json::{Value, json};

use crate::platform::*;

fn envelope(content: &[u8], work: &str) -> Vec<u8> {
    json!({"content": STANDARD.encode(content), "work_id": work})
        .to_string()
        .into_bytes()
}

#[test]
fn a_message_that_cannot_be_imported_becomes_a_dead_letter_and_its_work_hears_of_it() {
    let cases: &[(&[u8], &str)] = &[
        (
            b"no json",
            "not a STIX bundle: the bundle is not valid JSON",
        ),
        (b"", "has no \"content\""),
        (b"{\"type\":\"bundle\",\"objects\":[]}", "has no objects"),
        (
            b"{\"type\":\"report\",\"objects\":[{}]}",
            "its type is \"report\"",
        ),
        (b"[1,2]", "not a STIX bundle"),
        (
            b"{\"type\":\"bundle\",\"objects\":[{\"a\":",
            "not valid JSON",
        ),
    ];
    for (content, expected) in cases {
        let platform = Platform::new();
        let work = platform.work(false);
        platform.publish(CONNECTOR, envelope(content, &work));
        platform.send_with(CONNECTOR, &[malware(1, "Foo")], json!({}));
        platform.work_off();
        let dead = platform.dead_letters();
        assert!(
            dead.len() == 1 && dead[0].contains(expected),
            "{dead:?} lacks {expected}"
        );
        let errors = platform.errors(&work);
        assert!(
            errors.len() == 1 && errors[0].contains(expected),
            "{errors:?} lacks {expected}"
        );
        assert_eq!(
            (platform.count("Malware"), platform.depth(CONNECTOR)),
            (1, 0),
            "what follows is applied"
        );
    }
}

#[test]
fn envelopes_that_say_nothing_become_dead_letters() {
    let platform = Platform::new();
    for body in [
        &b"\xff\xfe\x00"[..],
        b"null",
        b"{}",
        br#"{"content":"???"}"#,
        br#"{"type":"event","content":"e30="}"#,
        br#"{"type":"pushed"}"#,
    ] {
        platform.publish(CONNECTOR, body.to_vec());
    }
    platform.work_off();
    assert_eq!(
        (platform.dead_letters().len(), platform.depth(CONNECTOR)),
        (6, 0)
    );
}

#[test]
fn deeply_nested_json_is_refused() {
    let platform = Platform::new();
    let work = platform.work(false);
    let deep = format!(
        "{{\"type\":\"bundle\",\"objects\":[{{\"x_a\":{}{}}}]}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    platform.publish(CONNECTOR, envelope(deep.as_bytes(), &work));
    platform.work_off();
    assert!(
        platform.dead_letters()[0].contains("nested deeper"),
        "{:?}",
        platform.dead_letters()
    );
}

#[test]
fn a_pointer_to_what_another_connector_pushed_is_refused() {
    let platform = Platform::new();
    platform.add_connector(
        "other",
        user("other", &["BYPASS"], uuid::Uuid::from_u128(9)),
    );
    let bundle = json!({"type": "bundle", "objects": [malware(1, "Foo")]}).to_string();
    platform
        .ingest
        .push_bundle(&*platform.admin, "other", &bundle, None)
        .unwrap();
    platform.publish(CONNECTOR, br#"{"type":"pushed","push_id":1}"#.to_vec());
    platform.work_off();
    assert_eq!(
        (platform.dead_letters().len(), platform.count("Malware")),
        (1, 1)
    );
}

#[test]
fn each_wrong_object_gets_its_reason_and_the_others_are_kept() {
    let good = malware(1, "Foo");
    let report = |number, extra: Value| {
        with(
            with(
                named("report", number, "R"),
                json!({"published": "2020-01-01T00:00:00Z", "object_refs": [id_of(&good)]}),
            ),
            extra,
        )
    };
    let cases: Vec<(Value, &str)> = vec![
        (json!(7), "not a JSON object"),
        (
            json!({"type": "malware", "name": "x"}),
            "no text property \"id\"",
        ),
        (
            with(malware(2, "x"), json!({"id": "malware--7"})),
            "not usable",
        ),
        (
            with(malware(2, "x"), json!({"id": 7})),
            "no text property \"id\"",
        ),
        (
            json!({"type": "gift", "id": id("gift", 2)}),
            "\"gift\" are not supported",
        ),
        (
            with(malware(2, "x"), json!({"frobnicate": 1})),
            "frobnicate",
        ),
        (report(2, json!({"published": "yesterday"})), "published"),
        (
            json!({"type": "ipv4-addr", "id": id("ipv4-addr", 2), "value": "192.0.2.2", "x_opencti_score": 900}),
            "between 0 and 100",
        ),
        (
            with(
                malware(2, "x"),
                json!({"first_seen": "2021-01-01T00:00:00Z", "last_seen": "2020-01-01T00:00:00Z"}),
            ),
            "lies before",
        ),
        (
            json!({"type": "malware", "id": id("malware", 2), "is_family": true}),
            "name",
        ),
        (
            json!({"type": "ipv4-addr", "id": id("ipv4-addr", 2), "value": "not an address"}),
            "not a correct value",
        ),
        (
            with(
                named("indicator", 2, "x"),
                json!({"pattern": "[ipv4-addr:value =", "pattern_type": "stix", "valid_from": "2020-01-01T00:00:00Z"}),
            ),
            "pattern",
        ),
        (
            with(malware(2, "x"), json!({"opencti_operation": "delete"})),
            "Cant find element to update",
        ),
        (
            relationship(2, "hugs", &good, &good),
            "\"hugs\" are not supported",
        ),
        (
            with(malware(2, "x"), json!({"created_by_ref": "nobody"})),
            "created_by_ref",
        ),
    ];
    let platform = Platform::new();
    for (wrong, expected) in cases {
        let work = platform.work(false);
        platform.send_with(
            CONNECTOR,
            &[wrong.clone(), good.clone()],
            json!({"work_id": work}),
        );
        platform.work_off();
        let errors = platform.errors(&work);
        assert!(
            errors.len() == 1 && errors[0].contains(expected),
            "{wrong}: {errors:?} lacks {expected}"
        );
        let (_, expected, processed, _) = platform.progress(&work);
        assert_eq!((expected, processed), (2, 2), "{wrong}");
        assert_eq!(platform.count("Malware"), 1, "{wrong}");
    }
    assert!(platform.dead_letters().is_empty());
}

#[test]
fn invalid_utf8_refuses_the_object_it_stands_in() {
    let platform = Platform::new();
    let work = platform.work(false);
    let mut bundle = json!({"type": "bundle", "objects": [malware(1, "Foo"), malware(2, "B!r")]})
        .to_string()
        .into_bytes();
    let at = bundle.iter().position(|byte| *byte == b'!').unwrap();
    bundle[at] = 0xff;
    platform.publish(CONNECTOR, envelope(&bundle, &work));
    platform.work_off();
    assert_eq!(platform.count("Malware"), 1);
    let errors = platform.errors(&work);
    assert!(
        errors.len() == 1 && errors[0].contains("UTF-8"),
        "{errors:?}"
    );
}

#[test]
fn duplicate_objects_count_once() {
    let platform = Platform::new();
    let work = platform.work(false);
    platform.send_with(
        CONNECTOR,
        &[
            malware(1, "Foo"),
            with(malware(1, "Foo"), json!({"description": "last"})),
        ],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(
        platform.get(&id("malware", 1)).attributes["description"],
        "last"
    );
    let (_, expected, processed, errors) = platform.progress(&work);
    assert_eq!((expected, processed, errors), (1, 1, 0));
}

#[test]
fn a_restriction_to_types_leaves_out_the_others_without_error() {
    let platform = Platform::new();
    let work = platform.work(false);
    let marking = json!({"type": "marking-definition", "spec_version": "2.1", "id": id("marking-definition", 1), "created": "2020-01-01T00:00:00.000Z",
        "definition_type": "statement", "definition": {"statement": "Copyright Acme"}});
    let address = json!({"type": "ipv4-addr", "id": id("ipv4-addr", 1), "value": "192.0.2.1"});
    let before = platform.count("Marking-Definition");
    platform.send_with(
        CONNECTOR,
        &[malware(1, "Foo"), marking, address, organization(1, "Acme")],
        json!({"work_id": work, "entities_types": ["Observable"]}),
    );
    platform.work_off();
    assert_eq!(platform.progress(&work).3, 0);
    assert_eq!(platform.count("Marking-Definition"), before + 1);
    assert_eq!(
        (
            platform.count("Malware"),
            platform.count("IPv4-Addr"),
            platform.count("Organization")
        ),
        (0, 1, 0)
    );
}

#[test]
fn thousands_of_messages_that_cannot_be_imported_are_set_aside_one_after_the_other() {
    let platform = Platform::new();
    let work = platform.work(false);
    let bad = 3000;
    platform.send_with(CONNECTOR, &[malware(1, "Foo")], json!({}));
    let queue = push_queue(CONNECTOR);
    let tickets: Vec<_> = (0..bad)
        .map(|_| Publish {
            body: envelope(b"no json", &work).into(),
            ..Publish::default()
        })
        .map(|message| platform.queues.publish(&queue, message))
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    platform.send_with(CONNECTOR, &[malware(2, "Bar")], json!({}));
    platform.work_off();
    assert_eq!(
        (
            platform.progress(&work).2,
            platform.count("Malware"),
            platform.depth(CONNECTOR)
        ),
        (bad, 2, 0)
    );
}
