//! The audit log: what is recorded, who reads it.

use serde_json::{Value, json};

use super::{MANAGER, READER};
use crate::Fixture;

const LIST: &str = "query Q($first: Int, $after: ID, $orderMode: OrderingMode, $types: [String!], $filters: FilterGroup, $search: String) {
    audits(first: $first, after: $after, types: $types, orderBy: timestamp, orderMode: $orderMode, filters: $filters, search: $search) {
        edges { node { id entity_type event_type event_scope event_access event_status timestamp user_id user { name } applicant_id user_metadata raw_data
                       context_uri context_data { entity_id entity_name entity_type message } } }
        pageInfo { endCursor hasNextPage globalCount } } }";

fn lines(page: &Value) -> Vec<Value> {
    page["audits"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"].clone())
        .collect()
}

fn messages(fixture: &Fixture) -> Vec<String> {
    let page = fixture.run(LIST, json!({ "orderMode": "asc" }));
    lines(&page)
        .iter()
        .map(|line| {
            format!(
                "{}/{} {}: {}",
                line["event_type"].as_str().unwrap(),
                line["event_scope"].as_str().unwrap(),
                line["event_status"].as_str().unwrap(),
                line["context_data"]["message"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn case_149_every_administrative_action_is_recorded_once() {
    let fixture = Fixture::new();
    let before = messages(&fixture).len();
    let (user, token) = fixture.person("ann", READER);
    let tokens = fixture.run(
        "query Q($id: String!) { user(id: $id) { api_tokens { id } } }",
        json!({ "id": user }),
    )["user"]["api_tokens"]
        .clone();
    let login = "mutation L($input: UserLoginInput) { token(input: $input) }";
    for password in ["wrong secret", "long enough for all"] {
        let variables = json!({ "input": { "email": "ann@example.org", "password": password } });
        fixture.post_json(&json!({ "query": login, "variables": variables }), &[]);
    }
    fixture.refused(
        &token,
        "mutation { roleAdd(input: { name: \"mine\" }) { id } }",
        json!({}),
    );
    let patch = "mutation M($id: ID!, $input: [EditInput]!) { userEdit(id: $id) { fieldPatch(input: $input) { id } } }";
    fixture.run(patch, json!({ "id": user, "input": [{ "key": "password", "value": ["a secret that is new"] }, { "key": "firstname", "value": ["Ann"] }] }));
    fixture.run(
        "mutation M($user: ID!, $id: ID!) { userAdminTokenRevoke(userId: $user, id: $id) }",
        json!({ "user": user, "id": tokens[0]["id"] }),
    );
    fixture.run(
        "mutation M($id: ID!) { userSessionsKill(id: $id) }",
        json!({ "id": user }),
    );
    fixture.run(
        "mutation M($id: ID!) { userEdit(id: $id) { delete } }",
        json!({ "id": user }),
    );
    let told = messages(&fixture)[before..].to_vec();
    let expected = [
        "mutation/create success: creates role `ann's role`",
        "mutation/update success: adds Capability `KNOWLEDGE` for role `ann's role`",
        "mutation/update success: adds Capability `APIACCESS_USETOKEN` for role `ann's role`",
        "mutation/create success: creates group `ann's group`",
        "mutation/update success: adds Role `ann's role` for group `ann's group`",
        "mutation/create success: creates user `ann@example.org`",
        "mutation/update success: generated a new API token 'test' for user 'ann@example.org'",
        "authentication/login error: detects `login failure` for `ann@example.org`",
        "authentication/login success: login from provider `local`",
        "mutation/unauthorized error: tries an `unauthorized mutation`",
        "mutation/update success: updates `firstname, password` for user `ann@example.org`",
        "mutation/update success: revoked API token 'test' for user 'ann@example.org'",
        "mutation/update success: kills `all sessions` for user `ann@example.org`",
        "mutation/delete success: deletes user `ann@example.org`",
    ];
    assert_eq!(told, expected);
    let all = fixture.run(LIST, json!({})).to_string();
    for secret in [
        "wrong secret",
        "long enough for all",
        "a secret that is new",
        token.as_str(),
    ] {
        assert!(!all.contains(secret), "{secret}");
    }
    let patched = lines(&fixture.run(LIST, json!({ "search": "updates `firstname" })));
    assert!(
        patched[0]["raw_data"]
            .as_str()
            .unwrap()
            .contains("Redacted")
    );
    assert_eq!(patched[0]["context_data"]["entity_id"], user.as_str());
    assert_eq!(patched[0]["user"]["name"], "admin");
    assert_eq!(patched[0]["event_access"], "administration");
}

#[test]
fn case_151_the_audit_is_for_those_who_may_and_others_tries_are_in_it() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", MANAGER);
    assert_eq!(fixture.refused(&token, LIST, json!({})), "FORBIDDEN_ACCESS");
    let (_, auditor) = fixture.person("bob", &["SETTINGS_SECURITYACTIVITY", "APIACCESS_USETOKEN"]);
    let filters = json!({ "mode": "and", "filters": [{ "key": "event_scope", "values": ["unauthorized"] }], "filterGroups": [] });
    let tries = lines(&fixture.ok_as(&auditor, LIST, json!({ "filters": filters })));
    assert_eq!(tries.len(), 1);
    assert_eq!(tries[0]["user_id"], user.as_str());
    assert_eq!(
        tries[0]["context_data"]["message"],
        "tries an `unauthorized read`"
    );
    assert!(tries[0]["raw_data"].as_str().unwrap().contains("audits"));
    assert_eq!(
        (
            tries[0]["event_type"].as_str(),
            tries[0]["event_status"].as_str()
        ),
        (Some("read"), Some("error"))
    );
}

#[test]
fn the_audit_names_who_spoke_in_whose_name() {
    let fixture = Fixture::new();
    let (user, _) = fixture.person("ann", MANAGER);
    let bearer = format!("Bearer {}", crate::ADMIN);
    let headers = [
        ("authorization", bearer.as_str()),
        ("opencti-applicant-id", user.as_str()),
        ("user-agent", "a test"),
    ];
    fixture.post_json(
        &json!({ "query": "mutation { roleAdd(input: { name: \"hers\" }) { id } }" }),
        &headers,
    );
    let line = lines(&fixture.run(LIST, json!({ "search": "creates role `hers`" })))[0].clone();
    assert_eq!(line["user_id"], user.as_str());
    assert_eq!(line["applicant_id"], fixture.admin.user_id.to_string());
    assert_eq!(line["user_metadata"]["user-agent"], "a test");
}

#[test]
fn the_audit_is_paged_filtered_and_counted() {
    let fixture = Fixture::new();
    for name in ["one", "two", "three"] {
        fixture.role(name, &[]);
        fixture.clock.advance(1000);
    }
    let all = fixture.run(LIST, json!({ "orderMode": "asc" }));
    let total = lines(&all).len();
    assert_eq!(all["audits"]["pageInfo"]["globalCount"], total);
    let first = fixture.run(LIST, json!({ "first": 2, "orderMode": "asc" }));
    let rest = fixture.run(
        LIST,
        json!({ "after": first["audits"]["pageInfo"]["endCursor"], "orderMode": "asc" }),
    );
    assert_eq!([lines(&first), lines(&rest)].concat(), lines(&all));
    let newest = lines(&fixture.run(LIST, json!({ "first": 1 })));
    assert_eq!(newest[0]["context_data"]["message"], "creates role `three`");
    let one = fixture.run(
        "query Q($id: ID!) { audit(id: $id) { context_data { message } user_metadata } }",
        json!({ "id": newest[0]["id"] }),
    );
    assert_eq!(
        one["audit"]["context_data"]["message"],
        "creates role `three`"
    );
    let count = |filters: Value| {
        lines(&fixture.run(
            LIST,
            json!({ "filters": { "mode": "and", "filters": filters, "filterGroups": [] } }),
        ))
        .len()
    };
    let admin = fixture.admin.user_id.to_string();
    for (filters, expected) in [
        (
            json!([{ "key": "event_scope", "values": ["create"] }, { "key": "context_data.entity_type", "values": ["Role"] }]),
            3,
        ),
        (
            json!([{ "key": "user_id", "values": [admin] }, { "key": "context_data.entity_type", "values": ["Role"] }]),
            3,
        ),
        (
            json!([{ "key": "user_id", "values": ["0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d"] }]),
            0,
        ),
        (json!([{ "key": "entity_type", "values": ["History"] }]), 0),
        (
            json!([{ "key": "timestamp", "operator": "gte", "values": [newest[0]["timestamp"]] }]),
            1,
        ),
        (json!([{ "key": "event_status", "values": ["error"] }]), 0),
    ] {
        assert_eq!(count(filters.clone()), expected, "{filters}");
    }
    assert_eq!(
        lines(&fixture.run(LIST, json!({ "types": ["History"] }))).len(),
        0
    );
    let number = fixture.run(
        "query Q($start: DateTime) { auditsNumber(startDate: $start) { total count } }",
        json!({ "start": newest[0]["timestamp"] }),
    );
    assert_eq!(
        number["auditsNumber"],
        json!({ "total": total, "count": 1 })
    );
    let wrong = json!({ "mode": "and", "filters": [{ "key": "message", "values": ["x"] }], "filterGroups": [] });
    assert_eq!(
        fixture.failure(LIST, json!({ "filters": wrong })).0,
        "UNSUPPORTED_ERROR"
    );
}

#[test]
fn case_152_the_history_of_an_object_names_who_changed_it() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", &["KNOWLEDGE_KNUPDATE", "APIACCESS_USETOKEN"]);
    let id = fixture.malware("Emotet");
    let add = "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }";
    let bearer = format!("Bearer {}", crate::ADMIN);
    let headers = [
        ("authorization", bearer.as_str()),
        ("opencti-applicant-id", user.as_str()),
    ];
    let hers = fixture
        .post_json(
            &json!({ "query": add, "variables": { "input": { "name": "Hers" } } }),
            &headers,
        )
        .1["data"]["malwareAdd"]["id"]
        .clone();
    let logs = "query Q($filters: FilterGroup, $first: Int, $after: ID, $orderMode: OrderingMode) { logs(filters: $filters, first: $first, after: $after, orderMode: $orderMode) {
        edges { node { id event_type event_scope user_id context_data { entity_id entity_name entity_type message } raw_data } } pageInfo { endCursor hasNextPage globalCount } } }";
    let of = |key: &str, id: &Value| json!({ "filters": { "mode": "and", "filters": [{ "key": key, "values": [id] }], "filterGroups": [] } });
    let told =
        fixture.ok_as(&token, logs, of("context_data.id", &hers))["logs"]["edges"][0]["node"]
            .clone();
    assert_eq!(
        (told["user_id"].as_str(), told["event_scope"].as_str()),
        (Some(user.as_str()), Some("create"))
    );
    assert_eq!(told["context_data"]["message"], "creates Malware `Hers`");
    let patch = "mutation M($id: ID!, $input: [EditInput]!) { malwareEdit(id: $id) { fieldPatch(input: $input) { id } } }";
    fixture.run(
        patch,
        json!({ "id": id, "input": [{ "key": "description", "value": ["secret plan"] }] }),
    );
    let mut variables = of("context_data.id", &json!(id));
    variables["first"] = json!(1);
    let page = fixture.run(logs, variables.clone())["logs"].clone();
    let message = page["edges"][0]["node"]["context_data"]["message"]
        .as_str()
        .unwrap();
    assert!(
        message.starts_with("updates `")
            && message.contains("description")
            && !message.contains("secret plan"),
        "{message}"
    );
    variables["after"] = page["pageInfo"]["endCursor"].clone();
    let rest = fixture.run(logs, variables)["logs"].clone();
    assert_eq!(rest["edges"][0]["node"]["event_scope"], "create");
    // what one does not see has no history
    let red = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
    let hidden = fixture.run(
        add,
        json!({ "input": { "name": "Hidden", "objectMarking": [red] } }),
    )["malwareAdd"]["id"]
        .clone();
    assert_eq!(
        fixture.ok_as(&token, logs, of("context_data.id", &hidden))["logs"]["edges"],
        json!([])
    );
    assert_eq!(
        fixture.run(logs, of("context_data.id", &hidden))["logs"]["edges"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(fixture.failure(logs, json!({})).0, "UNSUPPORTED_ERROR");
    assert_eq!(
        fixture.failure(logs, of("message", &json!("x"))).0,
        "UNSUPPORTED_ERROR"
    );
}
