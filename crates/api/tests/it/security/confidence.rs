//! The effective maximum confidence of a user, and where it comes from.

use serde_json::{Value, json};

use crate::Fixture;

const LEVEL: &str = "query Q($id: String!) { user(id: $id) { effective_confidence_level { max_confidence
    source { type object { ... on Group { name } ... on User { name } } }
    overrides { entity_type max_confidence source { type object { ... on Group { name } ... on User { name } } } } } } }";

/// `max source, type max source, …`; `None` without a level.
fn told(fixture: &Fixture, user: &str) -> Option<String> {
    let level =
        fixture.run(LEVEL, json!({ "id": user }))["user"]["effective_confidence_level"].clone();
    let source = |of: &Value| match of["source"]["type"].as_str().unwrap() {
        "Bypass" => "bypass".to_owned(),
        kind => format!(
            "{kind} {}",
            of["source"]["object"]["name"].as_str().unwrap()
        ),
    };
    level["max_confidence"].as_u64()?;
    let mut text = format!("{} {}", level["max_confidence"], source(&level));
    for one in level["overrides"].as_array().unwrap() {
        text += &format!(
            ", {} {} {}",
            one["entity_type"].as_str().unwrap(),
            one["max_confidence"],
            source(one)
        );
    }
    Some(text)
}

fn level(max: Option<u8>, overrides: &[(&str, u8)]) -> Value {
    let overrides: Vec<Value> = overrides
        .iter()
        .map(|(name, max)| json!({ "entity_type": name, "max_confidence": max }))
        .collect();
    json!({ "max_confidence": max, "overrides": overrides })
}

type Set<'a> = (Option<u8>, &'a [(&'a str, u8)]);
/// Number, levels of the groups, level of the user, what follows.
type Case<'a> = (&'a str, &'a [Set<'a>], Option<Set<'a>>, Option<&'a str>);

#[test]
fn cases_73_to_81_the_level_follows_from_user_and_groups() {
    let fixture = Fixture::new();
    let cases: [Case<'_>; 8] = [
        (
            "73",
            &[(Some(70), &[]), (Some(80), &[])],
            None,
            Some("80 Group 73-1"),
        ),
        (
            "74",
            &[(Some(70), &[]), (Some(80), &[])],
            Some((Some(30), &[])),
            Some("30 User u74"),
        ),
        (
            "75",
            &[(Some(40), &[("Report", 90)])],
            Some((Some(30), &[])),
            Some("30 User u75"),
        ),
        (
            "76",
            &[(Some(40), &[("Report", 90)])],
            None,
            Some("40 Group 76-0, Report 90 Group 76-0"),
        ),
        (
            "77",
            &[
                (Some(70), &[]),
                (Some(40), &[("Report", 90), ("Case-Rfi", 20)]),
            ],
            Some((None, &[("Report", 50), ("Malware", 35)])),
            Some("70 Group 77-0, Case-Rfi 20 Group 77-1, Malware 35 User u77, Report 50 User u77"),
        ),
        (
            "78",
            &[(Some(50), &[("Report", 10)]), (Some(20), &[("Report", 60)])],
            None,
            Some("50 Group 78-0, Report 60 Group 78-1"),
        ),
        ("79", &[], Some((None, &[("Report", 50)])), None),
        (
            "81",
            &[(Some(50), &[])],
            Some((Some(0), &[])),
            Some("0 User u81"),
        ),
    ];
    for (case, groups, own, expected) in cases {
        let groups: Vec<String> = groups
            .iter()
            .enumerate()
            .map(|(index, (max, overrides))| {
                fixture.group_with(json!({ "name": format!("{case}-{index}"), "group_confidence_level": level(*max, overrides) }))
            })
            .collect();
        let user = fixture.user_with(json!({
            "name": format!("u{case}"), "user_email": format!("u{case}@example.org"), "password": "long enough for all", "groups": groups,
            "prevent_default_groups": true, "user_confidence_level": own.map(|(max, overrides)| level(max, overrides)),
        }));
        assert_eq!(told(&fixture, &user).as_deref(), expected, "case {case}");
    }
}

#[test]
fn case_80_nothing_limits_the_almighty() {
    let fixture = Fixture::new();
    let administrators = fixture.known_group("Administrators");
    let user = fixture.user_with(json!({
        "name": "ann", "user_email": "ann@example.org", "password": "long enough for all", "groups": [administrators],
        "user_confidence_level": level(Some(30), &[]),
    }));
    assert_eq!(told(&fixture, &user).as_deref(), Some("100 bypass"));
}

#[test]
fn case_82_a_groups_level_counts_for_its_members_at_once() {
    let fixture = Fixture::new();
    let group = fixture.group("some", 40);
    let user = fixture.user("ann", &[&group]);
    assert_eq!(told(&fixture, &user).as_deref(), Some("40 Group some"));
    let patch = "mutation M($id: ID!, $input: [EditInput]!) { groupEdit(id: $id) { fieldPatch(input: $input) { id } } }";
    let input =
        json!([{ "key": "group_confidence_level", "value": [level(Some(60), &[("Report", 1)])] }]);
    fixture.run(patch, json!({ "id": group, "input": input }));
    assert_eq!(
        told(&fixture, &user).as_deref(),
        Some("60 Group some, Report 1 Group some")
    );
}

#[test]
fn case_83_a_level_beyond_the_scale_is_never_stored() {
    let fixture = Fixture::new();
    for max in [101, -1] {
        let input = json!({ "name": "ann", "user_email": "ann@example.org", "password": "long enough for all",
                            "user_confidence_level": { "max_confidence": max, "overrides": [] } });
        let query = "mutation M($input: UserAddInput!) { userAdd(input: $input) { id } }";
        assert_eq!(
            fixture.failure(query, json!({ "input": input })).0,
            "VALIDATION_ERROR",
            "{max}"
        );
    }
    let users = fixture.run("{ users { pageInfo { globalCount } } }", json!({}));
    assert_eq!(users["users"]["pageInfo"]["globalCount"], 1);
}
