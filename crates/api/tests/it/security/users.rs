//! Users: adding, changing, deleting, and what they may change of themselves.

use serde_json::{Value, json};

use super::{MANAGER, READER};
use crate::{ADMIN, Fixture};

const GROUPS: &str =
    "query Q($id: String!) { user(id: $id) { groups(orderBy: name) { edges { node { name } } } } }";
const ADD: &str = "mutation M($input: UserAddInput!) { userAdd(input: $input) { id user_email user_service_account } }";
const PATCH: &str = "mutation M($id: ID!, $input: [EditInput]!) { userEdit(id: $id) { fieldPatch(input: $input) {
    id name user_email firstname description language account_status account_lock_after_date user_service_account external
    user_confidence_level { max_confidence overrides { entity_type max_confidence } } } } }";
const ME_EDIT: &str = "mutation M($input: [EditInput]!, $password: String) { meEdit(input: $input, password: $password) { id firstname language } }";
const LOGIN: &str = "mutation L($input: UserLoginInput) { token(input: $input) }";

fn login(fixture: &Fixture, email: &str, password: &str) -> Value {
    let variables = json!({ "input": { "email": email, "password": password } });
    fixture
        .post_json(&json!({ "query": LOGIN, "variables": variables }), &[])
        .1
}

fn patch(fixture: &Fixture, id: &str, key: &str, value: Value) -> Value {
    let input = json!([{ "key": key, "value": [value] }]);
    fixture.run(PATCH, json!({ "id": id, "input": input }))["userEdit"]["fieldPatch"].clone()
}

#[test]
fn cases_10_11_new_users_join_the_default_groups_unless_told_otherwise() {
    let fixture = Fixture::new();
    let names =
        |id: &str| fixture.run(GROUPS, json!({ "id": id }))["user"]["groups"]["edges"].clone();
    let input = |extra: Value| {
        let mut input = json!({ "name": "Ann", "password": "long enough for all" });
        input
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        input
    };
    let plain = fixture.user_with(input(json!({ "user_email": "a@example.org" })));
    assert_eq!(names(&plain), json!([{ "node": { "name": "Default" } }]));
    let connectors = fixture.known_group("Connectors");
    let both = fixture.user_with(input(
        json!({ "user_email": "b@example.org", "groups": [connectors] }),
    ));
    assert_eq!(
        names(&both),
        json!([{ "node": { "name": "Connectors" } }, { "node": { "name": "Default" } }])
    );
    let alone = fixture.user_with(input(json!({ "user_email": "c@example.org", "groups": [connectors], "prevent_default_groups": true })));
    assert_eq!(names(&alone), json!([{ "node": { "name": "Connectors" } }]));
}

#[test]
fn case_12_an_address_belongs_to_one_user_whatever_its_case() {
    let fixture = Fixture::new();
    fixture.user("ann", &[]);
    let input = json!({ "name": "Ann again", "user_email": "ANN@Example.org", "password": "long enough for all" });
    assert_eq!(
        fixture.failure(ADD, json!({ "input": input })).0,
        "FUNCTIONAL_ERROR"
    );
    let bob = fixture.user("bob", &[]);
    let input = json!([{ "key": "user_email", "value": ["ANN@example.org"] }]);
    assert_eq!(
        fixture
            .failure(PATCH, json!({ "id": bob, "input": input }))
            .0,
        "FUNCTIONAL_ERROR"
    );
}

#[test]
fn case_13_a_service_account_has_no_password() {
    let fixture = Fixture::new();
    let connectors = fixture.known_group("Connectors");
    let input = json!({ "name": "[C] Feed", "user_service_account": true, "password": "given all the same", "groups": [connectors] });
    let made = fixture.run(ADD, json!({ "input": input }))["userAdd"].clone();
    assert_eq!(made["user_service_account"], true);
    let email = made["user_email"].as_str().unwrap();
    assert!(
        email.starts_with("automatic+") && email.ends_with(".invalid"),
        "{email}"
    );
    let refused = login(&fixture, email, "given all the same");
    assert_eq!(refused["errors"][0]["name"], "AUTH_FAILURE");
    let token = fixture.token_of(made["id"].as_str().unwrap());
    fixture.ok_as(&token, "{ me { id } }", json!({}));
    let input = json!([{ "key": "password", "value": ["another one that is long"] }]);
    assert_eq!(
        fixture
            .failure(PATCH, json!({ "id": made["id"], "input": input }))
            .0,
        "FUNCTIONAL_ERROR"
    );
}

#[test]
fn case_14_passwords_satisfy_the_policy() {
    let fixture = Fixture::new();
    let settings = fixture.id("{ settings { id } }", json!({}), "/settings/id");
    let edit = "mutation M($id: ID!, $input: [EditInput]!) { settingsEdit(id: $id) { fieldPatch(input: $input) { password_policy_min_length } } }";
    let input = json!([{ "key": "password_policy_min_length", "value": ["10"] }]);
    fixture.run(edit, json!({ "id": settings, "input": input }));
    let input = json!({ "name": "Ann", "user_email": "ann@example.org", "password": "abcdefgh" });
    let (code, message) = fixture.failure(ADD, json!({ "input": input }));
    assert_eq!(code, "FUNCTIONAL_ERROR");
    assert!(message.contains("size must be >= 10"), "{message}");
}

#[test]
fn cases_5_to_9_logging_in_needs_the_password_and_an_account_that_is_let_in() {
    let fixture = Fixture::new();
    let ann = fixture.user("ann", &[]);
    let bad = |answer: &Value| {
        assert_eq!(answer["errors"][0]["name"], "AUTH_FAILURE", "{answer}");
        assert_eq!(answer["errors"][0]["data"]["http_status"], 401);
        answer["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        bad(&login(&fixture, "ann@example.org", "wrong")),
        "Bad login or password"
    );
    assert_eq!(
        bad(&login(&fixture, "nobody@example.org", "wrong")),
        "Bad login or password"
    );
    let session =
        login(&fixture, "ann@example.org", "long enough for all")["data"]["token"].clone();
    assert!(session.is_string());
    assert_eq!(
        fixture.refused(session.as_str().unwrap(), "{ me { id } }", json!({})),
        "AUTH_REQUIRED"
    );
    let told = fixture.run(
        "{ sessions { user { user_email } sessions { id ttl originalMaxAge created } } }",
        json!({}),
    );
    assert_eq!(told["sessions"][0]["user"]["user_email"], "ann@example.org");
    assert_eq!(told["sessions"][0]["sessions"][0]["id"], session);
    patch(&fixture, &ann, "account_status", json!("Inactive"));
    assert_eq!(
        fixture.run("{ sessions { sessions { id } } }", json!({}))["sessions"],
        json!([])
    );
    assert!(bad(&login(&fixture, "ann@example.org", "long enough for all")).contains("inactive"));
    patch(&fixture, &ann, "account_status", json!("Active"));
    patch(
        &fixture,
        &ann,
        "account_lock_after_date",
        json!("2020-01-01T00:00:00.000Z"),
    );
    assert!(bad(&login(&fixture, "ann@example.org", "long enough for all")).contains("expired"));
    let again = patch(&fixture, &ann, "account_status", json!("Active"));
    assert_eq!(again["account_lock_after_date"], Value::Null);
    assert!(login(&fixture, "ann@example.org", "long enough for all")["data"]["token"].is_string());
}

#[test]
fn one_request_tries_one_password() {
    let fixture = Fixture::new();
    fixture.user("ann", &[]);
    let query = "mutation { a: token(input: { email: \"ann@example.org\", password: \"wrong\" })
                            b: token(input: { email: \"ann@example.org\", password: \"long enough for all\" }) }";
    let answer = fixture.post_json(&json!({ "query": query }), &[]).1;
    assert_eq!(answer["data"], json!({ "a": null, "b": null }));
    assert_eq!(answer["errors"].as_array().unwrap().len(), 2);
    assert_eq!(
        fixture.run("{ sessions { sessions { id } } }", json!({}))["sessions"],
        json!([])
    );
}

#[test]
fn case_20_nobody_gives_rights_to_himself() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", READER);
    for (key, value) in [
        ("api_token", json!("d434ce02-e58e-4cac-8b4c-42bf16748e99")),
        ("external", json!("true")),
        ("user_service_account", json!("true")),
        ("groups", json!(fixture.known_group("Administrators"))),
        ("otp_secret", json!("x")),
        (
            "user_confidence_level",
            json!({ "max_confidence": 100, "overrides": [] }),
        ),
        ("account_status", json!("Active")),
    ] {
        let input =
            json!([{ "key": "firstname", "value": ["Eve"] }, { "key": key, "value": [value] }]);
        let refused = fixture.refused(&token, ME_EDIT, json!({ "input": input }));
        assert_eq!(refused, "FORBIDDEN_ACCESS", "{key}");
    }
    let shown = fixture.run(
        "query Q($id: String!) { user(id: $id) { firstname external user_service_account user_confidence_level { max_confidence } groups { edges { node { name } } } } }",
        json!({ "id": user }),
    );
    let expected = json!({ "firstname": null, "external": false, "user_service_account": false, "user_confidence_level": null,
                           "groups": { "edges": [{ "node": { "name": "ann's group" } }] } });
    assert_eq!(shown["user"], expected);
}

#[test]
fn everybody_changes_his_own_profile_and_with_the_old_password_his_password() {
    let fixture = Fixture::new();
    let (_, token) = fixture.person("ann", READER);
    let input = json!([{ "key": "firstname", "value": ["Ann"] }, { "key": "language", "value": ["fr-fr"] }]);
    let me = fixture.ok_as(&token, ME_EDIT, json!({ "input": input }))["meEdit"].clone();
    assert_eq!(
        (me["firstname"].as_str(), me["language"].as_str()),
        (Some("Ann"), Some("fr-fr"))
    );
    let wrong = json!([{ "key": "language", "value": ["klingon"] }]);
    assert_eq!(
        fixture.refused(&token, ME_EDIT, json!({ "input": wrong })),
        "FUNCTIONAL_ERROR"
    );
    let input = json!([{ "key": "password", "value": ["a new and longer one"] }]);
    for given in [Value::Null, json!("not the old one")] {
        let refused = fixture.refused(
            &token,
            ME_EDIT,
            json!({ "input": input, "password": given }),
        );
        assert_eq!(refused, "FUNCTIONAL_ERROR", "{given}");
    }
    fixture.ok_as(
        &token,
        ME_EDIT,
        json!({ "input": input, "password": "long enough for all" }),
    );
    assert!(
        login(&fixture, "ann@example.org", "a new and longer one")["data"]["token"].is_string()
    );
    assert_eq!(
        login(&fixture, "ann@example.org", "long enough for all")["errors"][0]["name"],
        "AUTH_FAILURE"
    );
}

#[test]
fn administrators_change_what_a_user_is() {
    let fixture = Fixture::new();
    let ann = fixture.user("ann", &[]);
    for (key, value, field, expected) in [
        ("name", json!("Anna"), "/name", json!("Anna")),
        (
            "user_email",
            json!("Anna@Example.org"),
            "/user_email",
            json!("anna@example.org"),
        ),
        ("firstname", json!("A."), "/firstname", json!("A.")),
        ("description", json!("who"), "/description", json!("who")),
        (
            "user_confidence_level",
            json!({ "max_confidence": 30, "overrides": [{ "entity_type": "Report", "max_confidence": 10 }] }),
            "/user_confidence_level",
            json!({ "max_confidence": 30, "overrides": [{ "entity_type": "Report", "max_confidence": 10 }] }),
        ),
        (
            "user_confidence_level",
            Value::Null,
            "/user_confidence_level",
            Value::Null,
        ),
        (
            "user_service_account",
            json!(true),
            "/user_service_account",
            json!(true),
        ),
    ] {
        let shown = patch(&fixture, &ann, key, value.clone());
        assert_eq!(shown.pointer(field), Some(&expected), "{key} {value}");
    }
    for (key, value) in [
        ("id", json!("x")),
        ("api_token", json!("x")),
        ("external", json!("true")),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("account_status", json!("Happy")),
        ("language", json!("klingon")),
        ("unit_system", json!("Cubits")),
        ("name", json!("")),
        ("user_email", json!("no address")),
        (
            "user_confidence_level",
            json!({ "max_confidence": 101, "overrides": [] }),
        ),
    ] {
        let input = json!([{ "key": key, "value": [value] }]);
        fixture.fail(PATCH, json!({ "id": ann, "input": input }));
    }
    let (code, message) = fixture.failure(
        PATCH,
        json!({ "id": "0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d", "input": [] }),
    );
    assert!(
        code == "FUNCTIONAL_ERROR" && message.contains("User not found"),
        "{code} {message}"
    );
}

#[test]
fn the_first_administrator_stays() {
    let fixture = Fixture::new();
    let admin = fixture.admin.user_id.to_string();
    for (key, value) in [
        ("account_status", "Inactive"),
        ("account_lock_after_date", "2020-01-01T00:00:00Z"),
    ] {
        let input = json!([{ "key": key, "value": [value] }]);
        fixture.fail(PATCH, json!({ "id": admin, "input": input }));
    }
    fixture.fail(
        "mutation M($id: ID!) { userEdit(id: $id) { delete } }",
        json!({ "id": admin }),
    );
    fixture.run("{ me { id } }", json!({}));
}

#[test]
fn a_manager_administers_nobody_who_is_mightier() {
    let fixture = Fixture::new();
    let (manager, token) = fixture.person("ann", MANAGER);
    let admin = fixture.admin.user_id.to_string();
    let administrators = fixture.known_group("Administrators");
    let role = fixture.run(
        "{ roles(search: \"Administrator\") { edges { node { id } } } }",
        json!({}),
    )["roles"]["edges"][0]["node"]["id"]
        .clone();
    let bypass = fixture.capability("BYPASS");
    let own_role = fixture.run(
        "query Q($id: String!) { user(id: $id) { roles { id } } }",
        json!({ "id": manager }),
    )["user"]["roles"][0]["id"]
        .clone();
    let own_group = fixture.run(
        "query Q($id: String!) { user(id: $id) { groups { edges { node { id } } } } }",
        json!({ "id": manager }),
    )["user"]["groups"]["edges"][0]["node"]["id"]
        .clone();
    let add = |of: &str, id: &Value, kind: &str, to: &Value| {
        let query = format!(
            "mutation M($id: ID!, $input: InternalRelationshipAddInput!) {{ {of}Edit(id: $id) {{ relationAdd(input: $input) {{ id }} }} }}"
        );
        fixture.refused(
            &token,
            &query,
            json!({ "id": id, "input": { "relationship_type": kind, "toId": to } }),
        )
    };
    assert_eq!(
        add("user", &json!(manager), "member-of", &json!(administrators)),
        "FORBIDDEN_ACCESS"
    );
    assert_eq!(
        add("group", &own_group, "has-role", &role),
        "FORBIDDEN_ACCESS"
    );
    assert_eq!(
        add("role", &own_role, "has-capability", &json!(bypass)),
        "FORBIDDEN_ACCESS"
    );
    let input = json!([{ "key": "password", "value": ["mine from now on"] }]);
    assert_eq!(
        fixture.refused(&token, PATCH, json!({ "id": admin, "input": input })),
        "FORBIDDEN_ACCESS"
    );
    let input = json!({ "name": "Eve", "user_email": "eve@example.org", "password": "long enough for all", "groups": [administrators] });
    assert_eq!(
        fixture.refused(&token, ADD, json!({ "input": input })),
        "FORBIDDEN_ACCESS"
    );
    let caps = fixture.ok_as(&token, "{ me { capabilities { name } } }", json!({}));
    assert_eq!(
        caps["me"]["capabilities"].as_array().unwrap().len(),
        MANAGER.len()
    );
}

#[test]
fn users_are_found_filtered_sorted_and_paged() {
    let fixture = Fixture::new();
    for name in ["ann", "bob", "cid"] {
        fixture.user(name, &[]);
    }
    let list = "query Q($first: Int, $after: ID, $orderBy: UsersOrdering, $orderMode: OrderingMode, $filters: FilterGroup, $search: String) {
        users(first: $first, after: $after, orderBy: $orderBy, orderMode: $orderMode, filters: $filters, search: $search) {
            edges { node { name } } pageInfo { endCursor hasNextPage hasPreviousPage globalCount } } }";
    let names = |page: &Value| -> Vec<String> {
        let edges = page["users"]["edges"].as_array().unwrap();
        edges
            .iter()
            .map(|edge| edge["node"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = fixture.run(
        list,
        json!({ "first": 2, "orderBy": "name", "orderMode": "desc" }),
    );
    assert_eq!(names(&page), ["cid", "bob"]);
    assert_eq!(page["users"]["pageInfo"]["globalCount"], 4);
    let after = page["users"]["pageInfo"]["endCursor"].clone();
    let page = fixture.run(
        list,
        json!({ "first": 2, "after": after, "orderBy": "name", "orderMode": "desc" }),
    );
    assert_eq!(names(&page), ["ann", "admin"]);
    assert_eq!(page["users"]["pageInfo"]["hasNextPage"], false);
    let filters = json!({ "mode": "and", "filters": [{ "key": ["user_email"], "values": ["bob@example.org"] }], "filterGroups": [] });
    assert_eq!(
        names(&fixture.run(list, json!({ "filters": filters }))),
        ["bob"]
    );
    assert_eq!(
        names(&fixture.run(list, json!({ "search": "CID" }))),
        ["cid"]
    );
    let filters = json!({ "mode": "and", "filters": [{ "key": ["password"], "values": ["x"] }], "filterGroups": [] });
    assert_eq!(
        fixture.failure(list, json!({ "filters": filters })).0,
        "UNSUPPORTED_ERROR"
    );
}

#[test]
fn whoever_reads_knowledge_learns_names_only() {
    let fixture = Fixture::new();
    let (_, token) = fixture.person("ann", READER);
    let told = fixture.ok_as(&token, "{ members(entityTypes: [User]) { edges { node { name entity_type } } } creators { edges { node { name } } } }", json!({}));
    let names = |of: &str| -> Vec<String> {
        let edges = told[of]["edges"].as_array().unwrap();
        edges
            .iter()
            .map(|edge| edge["node"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("members"), ["admin", "ann"]);
    assert_eq!(names("creators"), ["admin", "ann"]);
    let (connector, feed) =
        fixture.person("feed", &["CONNECTORAPI", "MODULES", "APIACCESS_USETOKEN"]);
    let register = "mutation { registerConnector(input: { id: \"6b5bbd1c-7a42-4f0e-9b5e-08d8a6c1f001\", name: \"Feed\", type: EXTERNAL_IMPORT, scope: [] }) { id } }";
    fixture.ok_as(&feed, register, json!({}));
    let (_, watcher) = fixture.person("watcher", &["MODULES", "APIACCESS_USETOKEN"]);
    let seen = fixture.ok_as(
        &watcher,
        "{ connectors { connector_user { id name api_tokens { id } } } }",
        json!({}),
    );
    assert_eq!(
        seen["connectors"][0]["connector_user"],
        json!({ "id": connector, "name": "feed", "api_tokens": null })
    );
    for field in [
        "groups { edges { node { id } } }",
        "roles { id }",
        "sessions { id }",
        "account_status",
        "capabilities { name }",
    ] {
        let query = format!("{{ connectors {{ connector_user {{ {field} }} }} }}");
        assert_eq!(
            fixture.refused(&watcher, &query, json!({})),
            "FORBIDDEN_ACCESS",
            "{field}"
        );
    }
    let own = fixture.ok_as(
        &feed,
        "{ connectors { connector_user { account_status api_tokens { name } } } }",
        json!({}),
    );
    assert_eq!(
        own["connectors"][0]["connector_user"]["api_tokens"],
        json!([{ "name": "test" }])
    );
    fixture.run_as(
        ADMIN,
        "{ connectors { connector_user { groups { edges { node { id } } } } } }",
        json!({}),
    );
}

#[test]
fn organizations_are_joined_and_left() {
    let fixture = Fixture::new();
    let ann = fixture.user("ann", &[]);
    let organization = fixture.id(
        "mutation { organizationAdd(input: { name: \"ACME\" }) { id } }",
        json!({}),
        "/organizationAdd/id",
    );
    let add = "mutation M($id: ID!, $to: ID!) { userEdit(id: $id) { organizationAdd(organizationId: $to) { objectOrganization { edges { node { id name is_inferred } } } } } }";
    let ids = json!({ "id": ann, "to": organization });
    let joined = fixture.run(add, ids.clone())["userEdit"]["organizationAdd"]["objectOrganization"]
        ["edges"]
        .clone();
    assert_eq!(
        joined,
        json!([{ "node": { "id": organization, "name": "ACME", "is_inferred": false } }])
    );
    let delete = "mutation M($id: ID!, $to: ID!) { userEdit(id: $id) { organizationDelete(organizationId: $to) { objectOrganization { edges { cursor } } } } }";
    let left = fixture.run(delete, ids);
    assert_eq!(
        left["userEdit"]["organizationDelete"]["objectOrganization"]["edges"],
        json!([])
    );
    let group = fixture.group("some", 10);
    fixture.fail(add, json!({ "id": ann, "to": group }));
}
