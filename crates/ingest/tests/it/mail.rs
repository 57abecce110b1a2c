//! Parts of mails: what makes them the same, and what they wait for.

use serde_json::{Value, json};

use crate::platform::*;

fn artifact(number: u32) -> Value {
    json!({"type": "artifact", "spec_version": "2.1", "id": id("artifact", number), "url": format!("https://acme.example/{number}"), "hashes": {"MD5": format!("{number:032x}")}})
}

/// A mail whose attachment has no body but a raw one.
fn mail(number: u32, raw: &Value) -> Value {
    json!({"type": "email-message", "spec_version": "2.1", "id": id("email-message", number), "is_multipart": true, "subject": format!("mail {number}"),
        "body_multipart": [{"content_type": "application/pdf", "body_raw_ref": raw["id"]}]})
}

#[test]
fn attachments_of_different_mails_are_different_parts() {
    let platform = Platform::new();
    let (one, other) = (artifact(1), artifact(2));
    platform.import(&[
        one.clone(),
        other.clone(),
        mail(1, &one),
        mail(2, &other),
        mail(3, &one),
    ]);
    let part = |number| platform.targets(&id("email-message", number), "bodyMultipart");
    assert_eq!(platform.count("Email-Mime-Part-Type"), 2);
    assert_eq!(part(1), part(3));
    assert_ne!(part(1), part(2));
    for (number, raw) in [(1, &one), (2, &other)] {
        assert_eq!(
            platform.targets(&part(number)[0], "bodyRaw"),
            [platform.get(id_of(raw)).standard.to_string()]
        );
    }
}

#[test]
fn a_part_is_the_same_under_each_id_of_its_raw_body() {
    let platform = Platform::new();
    let raw = artifact(1);
    platform.import(std::slice::from_ref(&raw));
    let standard = platform.get(id_of(&raw)).standard.to_string();
    assert_ne!(standard, id_of(&raw));
    platform.import(&[mail(1, &raw), mail(2, &json!({"id": standard}))]);
    assert_eq!(platform.count("Email-Mime-Part-Type"), 1);
}

#[test]
fn a_mail_is_there_before_the_raw_body_of_its_part() {
    let platform = Platform::new();
    let raw = artifact(1);
    let work = platform.work(false);
    platform.send_with(CONNECTOR, &[mail(1, &raw)], json!({"work_id": work}));
    platform.work_off();
    assert_eq!(
        (
            platform.count("Email-Message"),
            platform.count("Email-Mime-Part-Type")
        ),
        (1, 0)
    );
    assert_eq!(platform.errors(&work), Vec::<String>::new());
    platform.import(std::slice::from_ref(&raw));
    let part = platform.targets(&id("email-message", 1), "bodyMultipart");
    assert_eq!(part.len(), 1);
    assert_eq!(
        platform.targets(&part[0], "bodyRaw"),
        [platform.get(id_of(&raw)).standard.to_string()]
    );
    assert_eq!(platform.parked(), (0, 0));
}

#[test]
fn a_raw_body_behind_its_mail_in_one_bundle_leaves_nothing_waiting() {
    let platform = Platform::new();
    let raw = artifact(1);
    platform.import(&[mail(1, &raw), raw.clone()]);
    assert_eq!(
        platform
            .targets(&id("email-message", 1), "bodyMultipart")
            .len(),
        1
    );
    assert_eq!(platform.parked(), (0, 0));
}
