//! Groups: what is there from the beginning, changing, members, roles, markings.

use serde_json::{Value, json};

use super::READER;
use crate::Fixture;

const ME: &str = "{ me { capabilities { name } allowed_marking { definition } effective_confidence_level { max_confidence } } }";

/// The markings of a user, in words.
fn allowed(fixture: &Fixture, token: &str) -> Vec<String> {
    let me = fixture.ok_as(token, ME, json!({}));
    let mut names: Vec<String> = me["me"]["allowed_marking"]
        .as_array()
        .unwrap()
        .iter()
        .map(|marking| marking["definition"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn marking(fixture: &Fixture, name: &str) -> String {
    let filters = json!({ "mode": "and", "filters": [{ "key": "definition", "values": [name] }], "filterGroups": [] });
    let query = "query Q($filters: FilterGroup) { markingDefinitions(filters: $filters) { edges { node { id } } } }";
    fixture.id(
        query,
        json!({ "filters": filters }),
        "/markingDefinitions/edges/0/node/id",
    )
}

#[test]
fn case_28_every_platform_has_three_groups() {
    let fixture = Fixture::new();
    let told = fixture.run(
        "{ groups(orderBy: name) { edges { node { name standard_id description default_assignation auto_new_marking no_creators restrict_delete
           allowed_marking { definition } group_confidence_level { max_confidence overrides { entity_type } } roles { edges { node { name } } } } } } }",
        json!({}),
    );
    let groups: Vec<Value> = told["groups"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"].clone())
        .collect();
    let names: Vec<&str> = groups
        .iter()
        .map(|group| group["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Administrators", "Connectors", "Default"]);
    let roles: Vec<_> = groups
        .iter()
        .map(|group| group["roles"]["edges"][0]["node"]["name"].clone())
        .collect();
    assert_eq!(roles, ["Administrator", "Connector", "Default"]);
    let markings: Vec<usize> = groups
        .iter()
        .map(|group| group["allowed_marking"].as_array().unwrap().len())
        .collect();
    assert_eq!(markings, [9, 9, 0]);
    for (group, default) in groups.iter().zip([false, false, true]) {
        assert_eq!(group["default_assignation"], default);
        assert_eq!(group["auto_new_marking"], !default);
        assert_eq!(
            group["group_confidence_level"],
            json!({ "max_confidence": 100, "overrides": [] })
        );
    }
    assert_eq!(
        groups[1]["standard_id"],
        "group--599fc7ab-02f4-50c1-94f9-4b68da122010"
    );
}

#[test]
fn case_37_what_a_group_gave_is_gone_with_the_membership() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", READER);
    let role = fixture.role("Writer", &["KNOWLEDGE_KNUPDATE"]);
    let group = fixture.group("Writers", 90);
    fixture.give_group(&group, "has-role", &role);
    fixture.give_group(&group, "accesses-to", &marking(&fixture, "TLP:AMBER"));
    let rights = || {
        let me = fixture.ok_as(&token, ME, json!({}))["me"].clone();
        (
            me["capabilities"].as_array().unwrap().len(),
            allowed(&fixture, &token).len(),
            me["effective_confidence_level"]["max_confidence"].clone(),
        )
    };
    assert_eq!(rights(), (2, 0, json!(50)));
    let join = "mutation M($group: ID!, $user: ID!) { groupEdit(id: $group) { relationAdd(input: { fromId: $user, relationship_type: \"member-of\" }) {
        id standard_id entity_type created_at updated_at from { id entity_type } to { id entity_type } } } }";
    let joined =
        fixture.run(join, json!({ "group": group, "user": user }))["groupEdit"]["relationAdd"]
            .clone();
    assert_eq!(joined["from"], json!({ "id": user, "entity_type": "User" }));
    assert_eq!(joined["to"], json!({ "id": group, "entity_type": "Group" }));
    assert_eq!(rights(), (3, 3, json!(90)));
    let leave = "mutation M($group: ID!, $user: StixRef!) { groupEdit(id: $group) { relationDelete(fromId: $user, relationship_type: \"member-of\") {
        members { edges { node { id } } } } } }";
    let left = fixture.run(leave, json!({ "group": group, "user": user }));
    assert_eq!(
        left["groupEdit"]["relationDelete"]["members"]["edges"],
        json!([])
    );
    assert_eq!(rights(), (2, 0, json!(50)));
}

#[test]
fn membership_is_changed_from_the_users_side_as_well() {
    let fixture = Fixture::new();
    let user = fixture.user("ann", &[]);
    let group = fixture.group("Writers", 90);
    let join = "mutation M($id: ID!, $group: ID!) { userEdit(id: $id) { relationAdd(input: { relationship_type: \"member-of\", toId: $group }) {
        id from { ... on User { id name user_email } } to { ... on Group { id name description } } } } }";
    let joined =
        fixture.run(join, json!({ "id": user, "group": group }))["userEdit"]["relationAdd"].clone();
    assert_eq!(
        (
            joined["from"]["name"].as_str(),
            joined["to"]["name"].as_str()
        ),
        (Some("ann"), Some("Writers"))
    );
    let leave = "mutation M($id: ID!, $group: StixRef!) { userEdit(id: $id) { relationDelete(toId: $group, relationship_type: \"member-of\") { groups { edges { cursor } } } } }";
    let left = fixture.run(leave, json!({ "id": user, "group": group }));
    assert_eq!(
        left["userEdit"]["relationDelete"]["groups"]["edges"],
        json!([])
    );
    let wrong = "mutation M($id: ID!, $to: ID!) { userEdit(id: $id) { relationAdd(input: { relationship_type: \"uses\", toId: $to }) { id } } }";
    let (code, message) = fixture.failure(wrong, json!({ "id": user, "to": group }));
    assert!(
        code == "FUNCTIONAL_ERROR"
            && message.starts_with("Only internal-relationship can be added through this method"),
        "{code} {message}"
    );
}

#[test]
fn a_group_is_changed_field_by_field() {
    let fixture = Fixture::new();
    let group = fixture.group("Writers", 40);
    let patch = "mutation M($id: ID!, $input: [EditInput]!) { groupEdit(id: $id) { fieldPatch(input: $input) { name description default_assignation
        auto_new_marking no_creators restrict_delete group_confidence_level { max_confidence overrides { entity_type max_confidence } } } } }";
    let input = json!([
        { "key": "name", "value": ["Authors"] }, { "key": "description", "value": ["they write"] }, { "key": "default_assignation", "value": [true] },
        { "key": "auto_new_marking", "value": ["true"] }, { "key": "no_creators", "value": [true] }, { "key": "restrict_delete", "value": [true] },
        { "key": "group_confidence_level", "object_path": "/group_confidence_level/overrides", "value": [{ "entity_type": "Report", "max_confidence": 5 }] },
    ]);
    let shown =
        fixture.run(patch, json!({ "id": group, "input": input }))["groupEdit"]["fieldPatch"]
            .clone();
    let level = json!({ "max_confidence": 40, "overrides": [{ "entity_type": "Report", "max_confidence": 5 }] });
    let expected = json!({ "name": "Authors", "description": "they write", "default_assignation": true, "auto_new_marking": true, "no_creators": true,
                           "restrict_delete": true, "group_confidence_level": level });
    assert_eq!(shown, expected);
    for (key, value) in [
        ("name", json!("default")),
        ("name", json!("")),
        ("members", json!("x")),
        (
            "group_confidence_level",
            json!({ "max_confidence": -1, "overrides": [] }),
        ),
    ] {
        let input = json!([{ "key": key, "value": [value] }]);
        fixture.fail(patch, json!({ "id": group, "input": input }));
    }
    let (code, _) = fixture.failure("mutation M($input: GroupAddInput!) { groupAdd(input: $input) { id } }",
        json!({ "input": { "name": "AUTHORS", "group_confidence_level": { "max_confidence": 1, "overrides": [] } } }));
    assert_eq!(code, "FUNCTIONAL_ERROR");
}

#[test]
fn default_and_shareable_markings_are_set_and_emptied() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", READER);
    let group = fixture.run(
        "query Q($id: String!) { user(id: $id) { groups { edges { node { id } } } } }",
        json!({ "id": user }),
    )["user"]["groups"]["edges"][0]["node"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (green, amber) = (
        marking(&fixture, "TLP:GREEN"),
        marking(&fixture, "TLP:AMBER"),
    );
    fixture.give_group(&group, "accesses-to", &amber);
    let edit = "mutation M($id: ID!, $values: [String!]) { groupEdit(id: $id) { editDefaultMarking(input: { entity_type: \"GLOBAL\", values: $values }) {
        default_marking { entity_type values { definition } } } } }";
    let set = |values: Value| {
        fixture.run(edit, json!({ "id": group, "values": values }))["groupEdit"]["editDefaultMarking"]["default_marking"].clone()
    };
    // of each kind the strictest
    assert_eq!(
        set(json!([green, amber])),
        json!([{ "entity_type": "GLOBAL", "values": [{ "definition": "TLP:AMBER" }] }])
    );
    let me = fixture.ok_as(&token, "{ me { default_marking { entity_type values { definition } } max_shareable_marking { definition } } }", json!({}))["me"].clone();
    assert_eq!(
        me["default_marking"][0]["values"][0]["definition"],
        "TLP:AMBER"
    );
    assert_eq!(me["max_shareable_marking"].as_array().unwrap().len(), 3);
    assert_eq!(
        set(json!([])),
        json!([{ "entity_type": "GLOBAL", "values": [] }])
    );
    let patch = "mutation M($id: ID!, $input: [EditInput]!) { groupEdit(id: $id) { fieldPatch(input: $input) { not_shareable_marking_types max_shareable_marking { definition } } } }";
    let limits = json!([{ "key": "max_shareable_markings", "value": [{ "type": "TLP", "value": green }, { "type": "PAP", "value": "none" }] }]);
    let shown =
        fixture.run(patch, json!({ "id": group, "input": limits }))["groupEdit"]["fieldPatch"]
            .clone();
    assert_eq!(
        shown,
        json!({ "not_shareable_marking_types": ["PAP"], "max_shareable_marking": [{ "definition": "TLP:GREEN" }] })
    );
    let me = fixture.ok_as(
        &token,
        "{ me { max_shareable_marking { definition } } }",
        json!({}),
    )["me"]
        .clone();
    assert_eq!(me["max_shareable_marking"].as_array().unwrap().len(), 2);
}

#[test]
fn a_deleted_group_takes_what_it_gave() {
    let fixture = Fixture::new();
    let (_, token) = fixture.person("ann", READER);
    let group = fixture.run(
        "{ groups(search: \"ann's\") { edges { node { id } } } }",
        json!({}),
    )["groups"]["edges"][0]["node"]["id"]
        .clone();
    let delete = "mutation M($id: ID!) { groupEdit(id: $id) { delete } }";
    assert_eq!(
        fixture.run(delete, json!({ "id": group }))["groupEdit"]["delete"],
        group
    );
    // without a role that lets it use tokens, the user is nobody
    assert_eq!(fixture.refused(&token, ME, json!({})), "AUTH_REQUIRED");
    fixture.fail(delete, json!({ "id": group }));
}

#[test]
fn markings_are_granted_and_taken() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", READER);
    let group = fixture.run(
        "query Q($id: String!) { user(id: $id) { groups { edges { node { id } } } } }",
        json!({ "id": user }),
    )["user"]["groups"]["edges"][0]["node"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let amber = marking(&fixture, "TLP:AMBER");
    let add = "mutation M($id: ID!, $input: InternalRelationshipAddInput!) { groupEdit(id: $id) { relationAdd(input: $input) { id
        from { __typename id ... on Group { allowed_marking { definition } } } to { id entity_type } } } }";
    let added = fixture.run(
        add,
        json!({ "id": group, "input": { "relationship_type": "accesses-to", "toId": amber } }),
    )["groupEdit"]["relationAdd"]
        .clone();
    assert_eq!(
        added["from"]["allowed_marking"],
        json!([{ "definition": "TLP:AMBER" }])
    );
    assert_eq!(
        added["to"],
        json!({ "id": amber, "entity_type": "Marking-Definition" })
    );
    assert_eq!(
        allowed(&fixture, &token),
        ["TLP:AMBER", "TLP:CLEAR", "TLP:GREEN"]
    );
    let remove = "mutation M($id: ID!, $to: StixRef!) { groupEdit(id: $id) { relationDelete(toId: $to, relationship_type: \"accesses-to\") { allowed_marking { id } } } }";
    let standard = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82";
    let removed = fixture.run(remove, json!({ "id": group, "to": standard }));
    assert_eq!(
        removed["groupEdit"]["relationDelete"]["allowed_marking"],
        json!([])
    );
    assert!(allowed(&fixture, &token).is_empty());
}
