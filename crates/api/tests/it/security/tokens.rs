//! Who a request comes from: tokens, ids that are none, impersonation.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{MANAGER, READER};
use crate::{ADMIN, Fixture};

const ME: &str = "{ me { id name } }";
const DAY: i64 = 24 * 60 * 60 * 1000;

fn add_for(user: &str, duration: &str) -> (&'static str, Value) {
    let query = "mutation M($id: ID!, $input: UserTokenAddInput!) { userAdminTokenAdd(userId: $id, input: $input) \
                 { token_id plaintext_token masked_token expires_at } }";
    (
        query,
        json!({ "id": user, "input": { "name": "script", "duration": duration } }),
    )
}

#[test]
fn case_1_the_configured_token_is_the_administrators() {
    let fixture = Fixture::new();
    let me = fixture.run(
        "{ me { name user_email capabilities { name } can_manage_sensitive_config
           effective_confidence_level { max_confidence overrides { entity_type } source { type object { __typename } } } } }",
        json!({}),
    )["me"].clone();
    assert_eq!(me["user_email"], "admin@example.org");
    assert!(
        me["capabilities"]
            .as_array()
            .unwrap()
            .contains(&json!({ "name": "BYPASS" }))
    );
    assert_eq!(me["can_manage_sensitive_config"], true);
    let level = json!({ "max_confidence": 100, "overrides": [], "source": { "type": "Bypass", "object": null } });
    assert_eq!(me["effective_confidence_level"], level);
}

#[test]
fn cases_2_3_no_id_is_a_token() {
    let fixture = Fixture::new();
    let (user, _) = fixture.person("ann", READER);
    let told = fixture.run(
        "{ me { id standard_id api_tokens { id masked_token } } users { edges { node { id standard_id } } } groups { edges { node { id standard_id } } }
           roles { edges { node { id standard_id } } } capabilities { edges { node { id standard_id } } } settings { id } }",
        json!({}),
    );
    let mut ids = vec!["88ec0c6a-13ce-5e39-b486-354fe4a7084f".to_owned(), user];
    collect(&told, &mut ids);
    assert!(ids.len() > 60, "{}", ids.len());
    for id in ids {
        let answer = fixture.run_as(&id, ME, json!({}));
        assert_eq!(
            answer["errors"][0]["name"], "AUTH_REQUIRED",
            "{id}: {answer}"
        );
    }
}

fn collect(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::String(text) => ids.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, ids)),
        Value::Object(members) => members.values().for_each(|member| collect(member, ids)),
        _ => {}
    }
}

#[test]
fn case_15_a_token_is_shown_once() {
    let fixture = Fixture::new();
    let (user, _) = fixture.person("ann", READER);
    let (query, variables) = add_for(&user, "DAYS_30");
    let made = fixture.run(query, variables)["userAdminTokenAdd"].clone();
    let secret = made["plaintext_token"].as_str().unwrap();
    assert!(secret.starts_with("flgrn_octi_tkn_"));
    assert_eq!(
        made["masked_token"],
        format!("****{}", &secret[secret.len() - 4..])
    );
    assert_eq!(
        fixture.ok_as(secret, ME, json!({}))["me"]["id"],
        user.as_str()
    );
    let shown = fixture.run(
        "query Q($id: String!) { user(id: $id) { api_token api_tokens { id name masked_token created_at expires_at last_used_at } } }",
        json!({ "id": user }),
    )["user"].clone();
    let tokens = shown["api_tokens"].as_array().unwrap();
    let token = tokens
        .iter()
        .find(|token| token["name"] == "script")
        .unwrap();
    assert_eq!(token["id"], made["token_id"]);
    assert_eq!(token["expires_at"], made["expires_at"]);
    assert!(token["last_used_at"].is_string());
    assert_eq!(shown["api_token"], Value::Null);
    assert!(!shown.to_string().contains(secret));
}

#[test]
fn case_16_a_revoked_token_is_refused_at_once() {
    let fixture = Fixture::new();
    let (user, _) = fixture.person("ann", READER);
    let (query, variables) = add_for(&user, "UNLIMITED");
    let made = fixture.run(query, variables)["userAdminTokenAdd"].clone();
    let secret = made["plaintext_token"].as_str().unwrap();
    fixture.ok_as(secret, ME, json!({}));
    let revoke =
        "mutation M($user: ID!, $id: ID!) { userAdminTokenRevoke(userId: $user, id: $id) }";
    let ids = json!({ "user": user, "id": made["token_id"] });
    assert_eq!(
        fixture.run(revoke, ids.clone())["userAdminTokenRevoke"],
        made["token_id"]
    );
    assert_eq!(fixture.refused(secret, ME, json!({})), "AUTH_REQUIRED");
    let (code, message) = fixture.failure(revoke, ids);
    assert!(
        code == "FUNCTIONAL_ERROR" && message.starts_with("Token not found"),
        "{code} {message}"
    );
}

#[test]
fn case_17_a_token_ends_with_its_day() {
    let fixture = Fixture::new();
    let (user, _) = fixture.person("ann", READER);
    let (query, variables) = add_for(&user, "DAYS_30");
    let made = fixture.run(query, variables)["userAdminTokenAdd"].clone();
    let secret = made["plaintext_token"].as_str().unwrap();
    fixture.clock.advance(30 * DAY - 1);
    fixture.ok_as(secret, ME, json!({}));
    fixture.clock.advance(1);
    assert_eq!(fixture.refused(secret, ME, json!({})), "AUTH_REQUIRED");
}

#[test]
fn case_18_a_token_needs_the_right_to_use_one() {
    let fixture = Fixture::new();
    let (_, token) = fixture.person("ann", &["KNOWLEDGE"]);
    assert_eq!(fixture.refused(&token, ME, json!({})), "AUTH_REQUIRED");
}

#[test]
fn case_19_nobody_makes_a_token_for_somebody_mightier() {
    let fixture = Fixture::new();
    let (_, manager) = fixture.person("ann", MANAGER);
    let admin = fixture.admin.user_id.to_string();
    let (query, variables) = add_for(&admin, "UNLIMITED");
    assert_eq!(
        fixture.refused(&manager, query, variables),
        "FORBIDDEN_ACCESS"
    );
    let revoke =
        "mutation M($user: ID!, $id: ID!) { userAdminTokenRevoke(userId: $user, id: $id) }";
    let own =
        fixture.run("{ me { api_tokens { id } } }", json!({}))["me"]["api_tokens"][0]["id"].clone();
    assert_eq!(
        fixture.refused(&manager, revoke, json!({ "user": admin, "id": own })),
        "FORBIDDEN_ACCESS"
    );
    fixture.ok_as(ADMIN, ME, json!({}));
}

#[test]
fn case_21_the_tokens_of_a_deleted_user_end_with_it() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", READER);
    let delete = "mutation M($id: ID!) { userEdit(id: $id) { delete } }";
    assert_eq!(
        fixture.run(delete, json!({ "id": user }))["userEdit"]["delete"],
        user.as_str()
    );
    assert_eq!(fixture.refused(&token, ME, json!({})), "AUTH_REQUIRED");
}

#[test]
fn ones_own_tokens_need_no_administrator() {
    let fixture = Fixture::new();
    let (_, token) = fixture.person("ann", READER);
    let add = "mutation { userTokenAdd(input: { name: \"mine\", duration: DAYS_90 }) { token_id plaintext_token } }";
    let made = fixture.ok_as(&token, add, json!({}))["userTokenAdd"].clone();
    let mine = made["plaintext_token"].as_str().unwrap();
    let tokens = fixture.ok_as(mine, "{ me { api_tokens { name } } }", json!({}));
    assert_eq!(
        tokens["me"]["api_tokens"],
        json!([{ "name": "test" }, { "name": "mine" }])
    );
    let (other, _) = fixture.person("bob", READER);
    let theirs = fixture.run(
        "query Q($id: String!) { user(id: $id) { api_tokens { id } } }",
        json!({ "id": other }),
    )["user"]["api_tokens"][0]["id"]
        .clone();
    let revoke = "mutation M($id: ID!) { userTokenRevoke(id: $id) }";
    assert_eq!(
        fixture.refused(mine, revoke, json!({ "id": theirs })),
        "FUNCTIONAL_ERROR"
    );
    fixture.ok_as(&token, revoke, json!({ "id": made["token_id"] }));
    assert_eq!(fixture.refused(mine, ME, json!({})), "AUTH_REQUIRED");
}

#[test]
fn a_renewed_token_takes_the_place_of_the_former() {
    let fixture = Fixture::new();
    let (user, _) = fixture.person("ann", READER);
    let renew = "mutation M($id: ID!) { userEdit(id: $id) { tokenRenew { id api_token } } }";
    let first = fixture.id(
        renew,
        json!({ "id": user }),
        "/userEdit/tokenRenew/api_token",
    );
    let mine = "mutation { meTokenRenew { id api_token } }";
    let second = fixture.ok_as(&first, mine, json!({}))["meTokenRenew"]["api_token"].clone();
    assert_eq!(fixture.refused(&first, ME, json!({})), "AUTH_REQUIRED");
    let again = fixture.ok_as(
        second.as_str().unwrap(),
        "{ me { id api_token } }",
        json!({}),
    );
    assert_eq!(again["me"], json!({ "id": user, "api_token": null }));
}

fn as_applicant(fixture: &Fixture, token: &str, applicant: &str) -> Value {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("opencti-applicant-id", applicant),
    ];
    let query = "{ me { id capabilities { name } } }";
    fixture.post_json(&json!({ "query": query }), &headers).1
}

#[test]
fn cases_24_to_27_only_the_almighty_speak_in_the_name_of_others() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", READER);
    let spoken = as_applicant(&fixture, ADMIN, &user);
    let names = json!([{ "name": "APIACCESS_USETOKEN" }, { "name": "KNOWLEDGE" }]);
    assert_eq!(
        spoken["data"]["me"],
        json!({ "id": user, "capabilities": names })
    );
    let admin = fixture.admin.user_id.to_string();
    assert_eq!(
        as_applicant(&fixture, &token, &admin)["data"]["me"]["id"],
        user.as_str()
    );
    for unknown in ["0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d", "nobody"] {
        assert_eq!(
            as_applicant(&fixture, ADMIN, unknown)["errors"][0]["name"],
            "AUTH_REQUIRED",
            "{unknown}"
        );
    }
    let patch = "mutation M($id: ID!, $input: [EditInput]!) { userEdit(id: $id) { fieldPatch(input: $input) { account_status } } }";
    let past = json!([{ "key": "account_lock_after_date", "value": ["2020-01-01T00:00:00Z"] }]);
    let patched = fixture.run(patch, json!({ "id": user, "input": past }));
    assert_eq!(
        patched["userEdit"]["fieldPatch"]["account_status"],
        "Expired"
    );
    assert_eq!(
        as_applicant(&fixture, ADMIN, &user)["errors"][0]["name"],
        "AUTH_REQUIRED"
    );
    assert_eq!(fixture.refused(&token, ME, json!({})), "AUTH_REQUIRED");
}

#[test]
fn a_password_in_every_request_needs_the_right_to_it() {
    let fixture = Fixture::new();
    fixture.person("ann", READER);
    fixture.person("bob", &["KNOWLEDGE", "APIACCESS_USEBASICAUTH"]);
    let me = |email: &str, password: &str, site: &str| {
        let basic = format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{email}:{password}"))
        );
        let headers = [("authorization", basic.as_str()), ("sec-fetch-site", site)];
        fixture
            .post_json(&json!({ "query": "{ me { name } }" }), &headers)
            .1
    };
    let right = "long enough for all";
    assert_eq!(
        me("bob@example.org", right, "none")["data"]["me"]["name"],
        "bob"
    );
    for (email, password, site) in [
        ("ann@example.org", right, "none"),
        ("bob@example.org", "wrong", "none"),
        ("nobody@example.org", right, "none"),
        ("bob@example.org", right, "cross-site"),
    ] {
        assert_eq!(
            me(email, password, site)["errors"][0]["name"],
            "AUTH_REQUIRED",
            "{email} {password} {site}"
        );
    }
    assert_eq!(
        fixture.run("{ sessions { sessions { id } } }", json!({}))["sessions"],
        json!([])
    );
    for _ in 0..10 {
        me("bob@example.org", "wrong", "none");
    }
    assert_eq!(
        me("bob@example.org", right, "none")["errors"][0]["name"],
        "AUTH_REQUIRED"
    );
}
