//! Roles and capabilities.

use serde_json::{Value, json};

use super::READER;
use crate::Fixture;

const REPORT: &str =
    "mutation { reportAdd(input: { name: \"r\", published: \"2026-01-01T00:00:00Z\" }) { id } }";

#[test]
fn case_28_every_platform_has_three_roles_and_all_capabilities() {
    let fixture = Fixture::new();
    let told = fixture.run(
        "{ roles(orderBy: name) { edges { node { name standard_id description can_manage_sensitive_config capabilities { name } } } }
           capabilities(first: 1000) { edges { node { id standard_id name description attribute_order entity_type parent_types } } } }",
        json!({}),
    );
    let nodes = |of: &str| -> Vec<Value> {
        told[of]["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| edge["node"].clone())
            .collect()
    };
    let names = |role: &Value| -> Vec<String> {
        role["capabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|held| held["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let roles = nodes("roles");
    let known: Vec<_> = roles
        .iter()
        .map(|role| role["name"].as_str().unwrap())
        .collect();
    assert_eq!(known, ["Administrator", "Connector", "Default"]);
    assert_eq!(
        roles[0]["standard_id"],
        "role--22abb1ff-6ea9-5833-8bf1-aea5c4c971ce"
    );
    assert_eq!(names(&roles[0]), ["BYPASS"]);
    assert_eq!(names(&roles[2]), ["KNOWLEDGE", "APIACCESS_USETOKEN"]);
    assert_eq!(
        [&roles[0], &roles[1]].map(|role| role["can_manage_sensitive_config"] == true),
        [true, false]
    );
    let capabilities = nodes("capabilities");
    assert_eq!(capabilities.len(), ferrocti_access::CAPABILITIES.len());
    let orders: Vec<i64> = capabilities
        .iter()
        .map(|held| held["attribute_order"].as_i64().unwrap())
        .collect();
    assert!(orders.is_sorted());
    let labels = capabilities
        .iter()
        .find(|held| held["name"] == "SETTINGS_SETLABELS")
        .unwrap();
    assert_eq!(
        labels["standard_id"],
        "capability--0f78ff7d-7197-568f-ac8c-5d7842c07f0f"
    );
}

#[test]
fn cases_29_to_34_a_capability_includes_its_parents_and_nothing_else() {
    let fixture = Fixture::new();
    let (_, deleter) = fixture.person(
        "deleter",
        &["KNOWLEDGE_KNUPDATE_KNDELETE", "APIACCESS_USETOKEN"],
    );
    let (_, reader) = fixture.person("reader", READER);
    let (_, trap) = fixture.person(
        "trap",
        &["KNOWLEDGE_KNUPDATE_KNBYPASSREFERENCE", "APIACCESS_USETOKEN"],
    );
    let (_, manager) = fixture.person("manager", &["MODULES_MODMANAGE", "APIACCESS_USETOKEN"]);
    let (_, watcher) = fixture.person("watcher", &["MODULES", "APIACCESS_USETOKEN"]);
    let (_, feed) = fixture.person("feed", &["CONNECTORAPI", "APIACCESS_USETOKEN"]);
    let register = "mutation { registerConnector(input: { id: \"6b5bbd1c-7a42-4f0e-9b5e-08d8a6c1f001\", name: \"Feed\", type: EXTERNAL_IMPORT, scope: [] }) { id } }";
    fixture.ok_as(&deleter, REPORT, json!({}));
    fixture.ok_as(&manager, "{ connectors { id } }", json!({}));
    fixture.ok_as(&feed, register, json!({}));
    for (token, query) in [
        (&reader, REPORT),
        (
            &trap,
            "mutation { roleAdd(input: { name: \"mine\" }) { id } }",
        ),
        (
            &trap,
            "mutation { settingsEdit(id: \"x\") { fieldPatch(input: []) { id } } }",
        ),
        (
            &watcher,
            "mutation { resetStateConnector(id: \"6b5bbd1c-7a42-4f0e-9b5e-08d8a6c1f001\") { id } }",
        ),
        (
            &feed,
            "mutation { labelAdd(input: { value: \"x\" }) { id } }",
        ),
        (&feed, "{ reports { edges { node { id } } } }"),
    ] {
        let answer = fixture.run_as(token, query, json!({}));
        assert_eq!(
            answer["errors"][0]["name"], "FORBIDDEN_ACCESS",
            "{query}: {answer}"
        );
        assert_eq!(answer["errors"][0]["data"]["http_status"], 403, "{query}");
    }
    let held = fixture.ok_as(
        &trap,
        "{ me { capabilities { name } effective_confidence_level { max_confidence } } }",
        json!({}),
    )["me"]
        .clone();
    assert!(!held.to_string().contains("\"BYPASS\""));
    assert_eq!(held["effective_confidence_level"]["max_confidence"], 50);
}

#[test]
fn cases_35_36_a_change_of_a_role_counts_for_the_next_request() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", READER);
    let role = fixture.run(
        "query Q($id: String!) { user(id: $id) { roles { id } } }",
        json!({ "id": user }),
    )["user"]["roles"][0]["id"]
        .clone();
    let role = role.as_str().unwrap();
    assert_eq!(
        fixture.refused(&token, REPORT, json!({})),
        "FORBIDDEN_ACCESS"
    );
    let capability = fixture.capability("KNOWLEDGE_KNUPDATE");
    let add = "mutation M($id: ID!, $input: InternalRelationshipAddInput!) { roleEdit(id: $id) { relationAdd(input: $input) { id entity_type parent_types created_at updated_at
        from { ... on Role { name capabilities { name } } } to { ... on Capability { id name description } } } } }";
    let added = fixture.run(add, json!({ "id": role, "input": { "relationship_type": "has-capability", "toId": capability } }))["roleEdit"]["relationAdd"].clone();
    assert_eq!(added["entity_type"], "has-capability");
    assert_eq!(added["to"]["name"], "KNOWLEDGE_KNUPDATE");
    assert_eq!(added["from"]["capabilities"].as_array().unwrap().len(), 3);
    fixture.ok_as(&token, REPORT, json!({}));
    let remove = "mutation M($id: ID!, $to: StixRef!) { roleEdit(id: $id) { relationDelete(toId: $to, relationship_type: \"has-capability\") { capabilities { name } } } }";
    let left =
        fixture.run(remove, json!({ "id": role, "to": capability }))["roleEdit"]["relationDelete"]
            .clone();
    assert_eq!(left["capabilities"].as_array().unwrap().len(), 2);
    assert_eq!(
        fixture.refused(&token, REPORT, json!({})),
        "FORBIDDEN_ACCESS"
    );
}

#[test]
fn a_role_is_changed_and_deleted() {
    let fixture = Fixture::new();
    let role = fixture.role("Writer", &["KNOWLEDGE_KNUPDATE"]);
    let patch = "mutation M($id: ID!, $input: [EditInput]!) { roleEdit(id: $id) { fieldPatch(input: $input) { name description can_manage_sensitive_config } } }";
    let input = json!([{ "key": "name", "value": ["Author"] }, { "key": "description", "value": ["writes"] }, { "key": "can_manage_sensitive_config", "value": [false] }]);
    let shown =
        fixture.run(patch, json!({ "id": role, "input": input }))["roleEdit"]["fieldPatch"].clone();
    assert_eq!(
        shown,
        json!({ "name": "Author", "description": "writes", "can_manage_sensitive_config": false })
    );
    for (key, value) in [
        ("name", "default"),
        ("name", ""),
        ("capabilities", "BYPASS"),
    ] {
        fixture.fail(
            patch,
            json!({ "id": role, "input": [{ "key": key, "value": [value] }] }),
        );
    }
    let wrong = "mutation M($id: ID!, $input: InternalRelationshipAddInput!) { roleEdit(id: $id) { relationAdd(input: $input) { id } } }";
    for input in [
        json!({ "relationship_type": "has-capability", "toId": role }),
        json!({ "relationship_type": "uses", "toId": fixture.capability("KNOWLEDGE") }),
        json!({ "relationship_type": "has-capability-in-draft", "toId": fixture.capability("BYPASS") }),
    ] {
        assert_eq!(
            fixture
                .failure(wrong, json!({ "id": role, "input": input }))
                .0,
            "FUNCTIONAL_ERROR",
            "{input}"
        );
    }
    let delete = "mutation M($id: ID!) { roleEdit(id: $id) { delete } }";
    assert_eq!(
        fixture.run(delete, json!({ "id": role }))["roleEdit"]["delete"],
        role.as_str()
    );
    assert_eq!(
        fixture.run(
            "query Q($id: String!) { role(id: $id) { id } }",
            json!({ "id": role })
        )["role"],
        Value::Null
    );
}

#[test]
fn the_first_administrator_needs_no_role() {
    let fixture = Fixture::new();
    let administrator = fixture.run(
        "{ roles(search: \"Administrator\") { edges { node { id } } } }",
        json!({}),
    )["roles"]["edges"][0]["node"]["id"]
        .clone();
    fixture.run(
        "mutation M($id: ID!) { roleEdit(id: $id) { delete } }",
        json!({ "id": administrator }),
    );
    let me = fixture.run("{ me { capabilities { name } } }", json!({}));
    assert!(
        me["me"]["capabilities"]
            .as_array()
            .unwrap()
            .contains(&json!({ "name": "BYPASS" }))
    );
}
