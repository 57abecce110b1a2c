//! The settings.

use serde_json::{Value, json};

use super::{MANAGER, READER};
use crate::Fixture;

const PATCH: &str = "mutation M($id: ID!, $input: [EditInput]!) { settingsEdit(id: $id) { fieldPatch(input: $input) {
    platform_title platform_whitemark password_policy_min_length password_policy_min_symbols updated_at } } }";

fn patch(key: &str, value: Value) -> Value {
    json!({ "id": "any", "input": [{ "key": key, "value": [value] }] })
}

#[test]
fn settings_are_read_by_everybody_who_is_logged_in() {
    let fixture = Fixture::new();
    let (_, token) = fixture.person("ann", READER);
    let query = "{ settings { id standard_id entity_type platform_title platform_cluster { instances_number } platform_providers { name type strategy provider }
        platform_user_statuses { status message } platform_session_timeout platform_ai_enabled platform_critical_alerts { message type details { groups { name } } }
        platform_protected_sensitive_config { enabled markings { enabled protected_ids } } platform_enterprise_edition { license_enterprise license_start_date }
        otp_mandatory password_policy_min_length platform_messages { message } messages_administration { message } created_at updated_at } }";
    let told = fixture.ok_as(&token, query, json!({}))["settings"].clone();
    assert_eq!(told["password_policy_min_length"], 8);
    assert_eq!(told["platform_user_statuses"].as_array().unwrap().len(), 4);
    assert_eq!(told["messages_administration"], Value::Null);
    assert_eq!(told["platform_critical_alerts"], json!([]));
}

#[test]
fn settings_are_changed_by_those_who_may() {
    let fixture = Fixture::new();
    let changed =
        fixture.run(PATCH, patch("platform_title", json!("Ours")))["settingsEdit"]["fieldPatch"]
            .clone();
    assert_eq!(changed["platform_title"], "Ours");
    let (_, manager) = fixture.person("ann", MANAGER);
    let (_, keeper) = fixture.person("bob", &["SETTINGS_SETPARAMETERS", "APIACCESS_USETOKEN"]);
    assert_eq!(
        fixture.refused(&manager, PATCH, patch("platform_title", json!("Mine"))),
        "FORBIDDEN_ACCESS"
    );
    assert_eq!(
        fixture.refused(
            &keeper,
            PATCH,
            patch("password_policy_min_length", json!("1"))
        ),
        "FORBIDDEN_ACCESS"
    );
    fixture.ok_as(
        &manager,
        PATCH,
        patch("password_policy_min_symbols", json!("2")),
    );
    let after = fixture.ok_as(&keeper, PATCH, patch("platform_whitemark", json!("true")))["settingsEdit"]["fieldPatch"].clone();
    assert_eq!(
        (
            after["platform_title"].clone(),
            after["platform_whitemark"].clone()
        ),
        (json!("Ours"), json!(true))
    );
    assert_eq!(
        (
            after["password_policy_min_length"].clone(),
            after["password_policy_min_symbols"].clone()
        ),
        (json!(8), json!(2))
    );
    for (key, value) in [
        ("platform_organization", json!("x")),
        ("id", json!("x")),
        ("password_policy_min_length", json!("-1")),
        ("otp_mandatory", json!("true")),
    ] {
        fixture.fail(PATCH, patch(key, value));
    }
}

#[test]
fn messages_reach_those_they_are_for() {
    let fixture = Fixture::new();
    let (ann, token) = fixture.person("ann", READER);
    let (_, other) = fixture.person("bob", READER);
    let edit = "mutation M($id: ID!, $input: SettingsMessageInput!) { settingsEdit(id: $id) { editMessage(input: $input) { id messages_administration { id message recipients { id name entity_type } } } } }";
    let input = |extra: Value| {
        let mut input = json!({ "message": "Maintenance", "activated": true, "dismissible": true });
        input
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        json!({ "id": "any", "input": input })
    };
    let shown = fixture.run(edit, input(json!({ "recipients": [ann] })))["settingsEdit"]["editMessage"]["messages_administration"][0].clone();
    assert_eq!(
        shown["recipients"],
        json!([{ "id": ann, "name": "ann", "entity_type": "User" }])
    );
    let seen = |token: &str| {
        fixture.ok_as(
            token,
            "{ settings { platform_messages { message } } }",
            json!({}),
        )["settings"]["platform_messages"]
            .clone()
    };
    assert_eq!(seen(&token), json!([{ "message": "Maintenance" }]));
    assert_eq!(seen(&other), json!([]));
    fixture.run(
        edit,
        input(json!({ "id": shown["id"], "message": "Later" })),
    );
    assert_eq!(seen(&other), json!([{ "message": "Later" }]));
    let delete = "mutation M($id: ID!, $input: String!) { settingsEdit(id: $id) { deleteMessage(input: $input) { messages_administration { id } } } }";
    let left = fixture.run(delete, json!({ "id": "any", "input": shown["id"] }));
    assert_eq!(
        left["settingsEdit"]["deleteMessage"]["messages_administration"],
        json!([])
    );
    fixture.fail(delete, json!({ "id": "any", "input": shown["id"] }));
}
