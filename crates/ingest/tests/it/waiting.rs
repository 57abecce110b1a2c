//! References that wait for what they point to.

use serde_json::{Value, json};

use crate::platform::*;

const MANY: u32 = 300;

fn report(number: u32, more: Value) -> Value {
    with(
        named("report", number, &format!("Report {number}")),
        with(json!({"published": "2020-01-01T00:00:00Z"}), more),
    )
}

#[test]
fn many_objects_that_wait_for_one_get_it_when_it_comes() {
    let platform = Platform::new();
    let target = malware(1, "Foo");
    let waiting: Vec<Value> = (1..=MANY)
        .map(|number| report(number, json!({"object_refs": [target["id"]]})))
        .collect();
    platform.import(&waiting);
    assert_eq!(platform.parked(), (u64::from(MANY), 0));
    platform.import(std::slice::from_ref(&target));
    assert_eq!(platform.parked(), (0, 0));
    let standard = platform.get(id_of(&target)).standard.to_string();
    for object in &waiting {
        assert_eq!(
            platform.targets(id_of(object), "objects"),
            [standard.as_str()]
        );
    }
}

#[test]
fn a_container_gets_its_objects_in_whatever_messages_they_come() {
    let platform = Platform::new();
    let contained: Vec<Value> = (1..=MANY)
        .map(|number| malware(number, &format!("Foo {number}")))
        .collect();
    let ids: Vec<&str> = contained.iter().map(id_of).collect();
    platform.import(&[report(1, json!({"object_refs": ids}))]);
    for part in contained.chunks(7) {
        platform.import(part);
    }
    assert_eq!(platform.parked(), (0, 0));
    assert_eq!(
        platform.targets(&id("report", 1), "objects").len(),
        MANY as usize
    );
    let end = platform.history_end();
    platform.import(&contained);
    assert_eq!(platform.history_end(), end, "nothing is linked twice");
}

#[test]
fn a_late_target_does_not_replace_what_was_set_meanwhile() {
    let platform = Platform::new();
    let (late, early) = (organization(1, "Late"), organization(2, "Early"));
    platform.import(&[report(1, json!({"created_by_ref": late["id"]}))]);
    platform.import(&[
        early.clone(),
        report(1, json!({"created_by_ref": early["id"]})),
    ]);
    platform.import(&[late]);
    assert_eq!(
        platform.targets(&id("report", 1), "createdBy"),
        [platform.get(id_of(&early)).standard.to_string()]
    );
    assert_eq!(platform.parked(), (0, 0));
}
