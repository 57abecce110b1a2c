//! Markings of users: what comes with new, changed and deleted marking definitions.

use serde_json::{Value, json};

use super::READER;
use crate::Fixture;

const ADD: &str =
    "mutation M($input: MarkingDefinitionAddInput!) { markingDefinitionAdd(input: $input) { id } }";

fn allowed(fixture: &Fixture, token: &str) -> Vec<String> {
    let me = fixture.ok_as(
        token,
        "{ me { allowed_marking { definition } } }",
        json!({}),
    );
    let mut names: Vec<String> = me["me"]["allowed_marking"]
        .as_array()
        .unwrap()
        .iter()
        .map(|marking| marking["definition"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn house(order: i64) -> Value {
    json!({ "input": { "definition_type": "HOUSE", "definition": format!("HOUSE:{order}"), "x_opencti_order": order } })
}

/// A reader whose group gets every new marking, and one whose does not.
fn readers(fixture: &Fixture) -> [String; 2] {
    let role = fixture.role("Reader", READER);
    [true, false].map(|auto| {
        let name = format!("auto-{auto}");
        let group = fixture.group_with(json!({
            "name": name, "auto_new_marking": auto, "group_confidence_level": { "max_confidence": 50, "overrides": [] },
        }));
        fixture.give_group(&group, "has-role", &role);
        fixture.token_of(&fixture.user(&name, &[&group]))
    })
}

#[test]
fn case_48_every_platform_has_nine_markings() {
    let fixture = Fixture::new();
    let told = fixture.run(
        "{ markingDefinitions { edges { node { standard_id definition definition_type x_opencti_order x_opencti_color } } } }",
        json!({}),
    );
    let mut lines: Vec<String> = told["markingDefinitions"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let node = &edge["node"];
            let text = |member: &str| node[member].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {}",
                text("definition"),
                node["x_opencti_order"],
                text("x_opencti_color"),
                text("standard_id")
            )
        })
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "PAP:AMBER 3 #d84315 marking-definition--a6f20d4d-0360-59b6-ba22-3b48707828b1",
            "PAP:CLEAR 1 #ffffff marking-definition--4cdff7eb-acb8-543f-8573-829eb9fe8b34",
            "PAP:GREEN 2 #2e7d32 marking-definition--89484dde-e3d2-547f-a6c6-d14824429eb1",
            "PAP:RED 4 #c62828 marking-definition--4e4e3b84-de45-53df-9d9b-b21207699fd8",
            "TLP:AMBER 3 #d84315 marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
            "TLP:AMBER+STRICT 4 #d84315 marking-definition--826578e1-40ad-459f-bc73-ede076f81f37",
            "TLP:CLEAR 1 #ffffff marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
            "TLP:GREEN 2 #2e7d32 marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
            "TLP:RED 5 #c62828 marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
        ]
    );
}

#[test]
fn cases_64_65_a_new_marking_goes_to_the_groups_that_get_every_new_one() {
    let fixture = Fixture::new();
    let [auto, manual] = readers(&fixture);
    fixture.run(ADD, house(1));
    assert_eq!(allowed(&fixture, &auto), ["HOUSE:1"]);
    assert!(allowed(&fixture, &manual).is_empty());
}

#[test]
fn case_66_a_deleted_marking_takes_its_grants_with_it() {
    let fixture = Fixture::new();
    let [auto, _] = readers(&fixture);
    let id = fixture.run(ADD, house(1))["markingDefinitionAdd"]["id"].clone();
    assert_eq!(allowed(&fixture, &auto), ["HOUSE:1"]);
    fixture.run(
        "mutation M($id: ID!) { markingDefinitionEdit(id: $id) { delete } }",
        json!({ "id": id }),
    );
    assert!(allowed(&fixture, &auto).is_empty());
    let groups = fixture.run(
        "{ groups(search: \"auto-true\") { edges { node { allowed_marking { id } } } } }",
        json!({}),
    );
    assert_eq!(
        groups["groups"]["edges"][0]["node"]["allowed_marking"],
        json!([])
    );
}

#[test]
fn case_67_a_changed_order_changes_who_may_use_a_marking() {
    let fixture = Fixture::new();
    let [_, manual] = readers(&fixture);
    let low = fixture.id(ADD, house(1), "/markingDefinitionAdd/id");
    let high = fixture.id(ADD, house(3), "/markingDefinitionAdd/id");
    let group = fixture.known_group("auto-false");
    fixture.give_group(&group, "accesses-to", &low);
    assert_eq!(allowed(&fixture, &manual), ["HOUSE:1"]);
    let patch = "mutation M($id: ID!, $input: [EditInput]!) { markingDefinitionEdit(id: $id) { fieldPatch(input: $input) { x_opencti_order } } }";
    let input = json!([{ "key": "x_opencti_order", "value": ["1"] }]);
    fixture.run(patch, json!({ "id": high, "input": input }));
    assert_eq!(allowed(&fixture, &manual), ["HOUSE:1", "HOUSE:3"]);
}
