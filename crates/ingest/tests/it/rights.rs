//! Markings, capabilities and the question on whose behalf a message is applied.

use ferrocti_model::StixId;
use ferrocti_store::{AuditQuery, UserStatus, WorkStatus};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform::*;

/// A connector that may use no more than these markings.
fn limited(platform: &Platform, markings: &[&str]) {
    let granted = markings
        .iter()
        .map(|id| platform.get(id).internal)
        .collect();
    platform.add_limited("limited", |account| account.markings = Some(granted));
}

/// A connector that lacks a capability of the role Connector.
fn without(platform: &Platform, capability: &str) {
    platform.add_limited("limited", |account| {
        let before = account.capabilities.len();
        account.capabilities.retain(|held| held != capability);
        assert_eq!(account.capabilities.len(), before - 1);
    });
}

fn marked(object: Value, markings: Value) -> Value {
    with(object, json!({"object_marking_refs": markings}))
}

fn report(more: Value) -> Value {
    with(
        named("report", 1, "Report"),
        with(json!({"published": "2020-01-01T00:00:00Z"}), more),
    )
}

/// Reference names with the reason of each partial entry.
fn left_out(platform: &Platform, work: &str) -> Vec<(Vec<String>, String)> {
    let partial = platform.partial(work);
    let parts = partial.into_iter().flat_map(|partial| partial.parts);
    parts
        .map(|part| ([part.attributes, part.references].concat(), part.reason))
        .collect()
}

const TLP_CLEAR: &str = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9";
const TLP_STRICT: &str = "marking-definition--826578e1-40ad-459f-bc73-ede076f81f37";
const PAP_AMBER: &str = "marking-definition--a6f20d4d-0360-59b6-ba22-3b48707828b1";
const PAP_RED: &str = "marking-definition--4e4e3b84-de45-53df-9d9b-b21207699fd8";

fn statement(number: u32) -> Value {
    json!({"type": "marking-definition", "spec_version": "2.1", "id": id("marking-definition", number), "created": "2020-01-01T00:00:00.000Z",
        "definition_type": "statement", "definition": {"statement": format!("Copyright {number}")}})
}

#[test]
fn cases_56_and_124_an_object_with_a_marking_out_of_reach_is_refused_and_the_others_are_not() {
    let platform = Platform::new();
    limited(&platform, &[TLP_AMBER]);
    let work = platform.import_as(
        "limited",
        &[
            marked(report(json!({})), json!([TLP_RED])),
            marked(malware(1, "Foo"), json!([TLP_GREEN])),
        ],
    );
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 2, 2, 1));
    let error = &platform.errors(&work)[0];
    assert!(
        error.contains("User trying to create the data has missing markings")
            && error.contains(TLP_RED),
        "{error}"
    );
    assert!(platform.find(&id("report", 1)).is_none());
    assert!(platform.find(&id("malware", 1)).is_some());
    assert_eq!(platform.parked(), (0, 0));
}

#[test]
fn cases_57_to_61_markings_are_combined() {
    let [s1, s2] = [id("marking-definition", 1), id("marking-definition", 2)];
    for (name, before, given, after) in [
        (
            "57",
            json!([TLP_GREEN]),
            json!([TLP_AMBER]),
            vec![TLP_AMBER],
        ),
        (
            "58",
            json!([TLP_AMBER]),
            json!([TLP_GREEN]),
            vec![TLP_AMBER],
        ),
        (
            "59",
            json!([TLP_AMBER]),
            json!([PAP_RED]),
            vec![PAP_RED, TLP_AMBER],
        ),
        ("60", json!([s1]), json!([s2]), vec![&s1, &s2]),
        (
            "61",
            json!([]),
            json!([PAP_AMBER, PAP_RED, TLP_STRICT, TLP_CLEAR, s1]),
            vec![PAP_RED, TLP_STRICT, &s1],
        ),
    ] {
        let platform = Platform::new();
        platform.import(&[
            statement(1),
            statement(2),
            marked(malware(1, "Foo"), before),
        ]);
        let work = platform.import_as(CONNECTOR, &[marked(malware(1, "Foo"), given)]);
        let mut expected: Vec<String> = after
            .iter()
            .map(|id| platform.get(id).standard.to_string())
            .collect();
        expected.sort();
        assert_eq!(
            platform.targets(&id("malware", 1), "objectMarking"),
            expected,
            "{name}"
        );
        assert_eq!(
            (platform.errors(&work).len(), platform.partial(&work).len()),
            (0, 0),
            "{name}"
        );
    }
}

#[test]
fn case_63_what_exists_and_is_hidden_is_refused_and_unchanged() {
    let platform = Platform::new();
    let [one, two] = [malware(1, "One"), malware(2, "Two")];
    let hidden = marked(relationship(1, "uses", &one, &two), json!([TLP_RED]));
    platform.import(&[
        one.clone(),
        two.clone(),
        hidden,
        marked(malware(3, "Three"), json!([TLP_RED])),
    ]);
    limited(&platform, &[TLP_GREEN]);
    let before = platform.history_end();
    let work = platform.import_as(
        "limited",
        &[
            with(malware(3, "Three"), json!({"description": "mine"})),
            with(
                relationship(2, "uses", &one, &two),
                json!({"description": "mine"}),
            ),
        ],
    );
    assert_eq!(platform.history_end(), before);
    let errors = platform.errors(&work).join("\n");
    assert!(
        errors.contains("Restricted entity already exists"),
        "{errors}"
    );
    assert!(
        errors.contains("Restricted relation already exists"),
        "{errors}"
    );
}

#[test]
fn a_marking_may_be_used_by_the_delivery_that_brings_it() {
    let platform = Platform::new();
    let work = platform.import_as(
        CONNECTOR,
        &[
            marked(malware(1, "Foo"), json!([id("marking-definition", 1)])),
            statement(1),
        ],
    );
    assert_eq!(
        (platform.errors(&work), platform.parked()),
        (vec![], (0, 0))
    );
    assert_eq!(
        platform.targets(&id("malware", 1), "objectMarking").len(),
        1
    );
    let end = platform.history_end();
    platform.import_as(
        CONNECTOR,
        &[marked(
            malware(1, "Foo"),
            json!([id("marking-definition", 1)]),
        )],
    );
    assert_eq!(platform.history_end(), end);
}

#[test]
fn case_125_a_hidden_author_is_left_out() {
    let platform = Platform::new();
    let author = marked(organization(1, "Acme"), json!([TLP_RED]));
    platform.import(std::slice::from_ref(&author));
    limited(&platform, &[TLP_GREEN]);
    for _ in 0..2 {
        let work = platform.import_as(
            "limited",
            &[report(json!({"created_by_ref": id_of(&author)}))],
        );
        assert_eq!(
            platform.targets(&id("report", 1), "createdBy"),
            [] as [&str; 0]
        );
        assert_eq!(platform.errors(&work), [] as [&str; 0]);
        assert_eq!(
            left_out(&platform, &work),
            [(
                vec!["createdBy".to_owned()],
                format!("limited may not see {}", id("identity", 1))
            )],
            "also the second time, since somebody may have opened it"
        );
    }
}

#[test]
fn hidden_objects_are_left_out_of_a_container() {
    let platform = Platform::new();
    let [open, hidden] = [
        malware(1, "Open"),
        marked(malware(2, "Hidden"), json!([TLP_RED])),
    ];
    platform.import(&[open.clone(), hidden.clone()]);
    limited(&platform, &[TLP_GREEN]);
    let work = platform.import_as(
        "limited",
        &[report(
            json!({"object_refs": [id_of(&open), id_of(&hidden)]}),
        )],
    );
    assert_eq!(platform.targets(&id("report", 1), "objects").len(), 1);
    assert_eq!(
        left_out(&platform, &work),
        [(
            vec!["objects".to_owned()],
            format!("limited may not see {}", id("malware", 2))
        )]
    );
}

#[test]
fn a_hidden_object_that_arrives_late_is_left_out_too() {
    let platform = Platform::new();
    limited(&platform, &[TLP_GREEN]);
    let work = platform.import_as(
        "limited",
        &[report(json!({"object_refs": [id("malware", 2)]}))],
    );
    assert_eq!(platform.parked(), (1, 0));
    platform.import(&[marked(malware(2, "Hidden"), json!([TLP_RED]))]);
    assert_eq!(
        platform.targets(&id("report", 1), "objects"),
        [] as [&str; 0]
    );
    assert_eq!(left_out(&platform, &work).len(), 1);
    assert_eq!(platform.parked(), (0, 0));
}

#[test]
fn case_126_a_relationship_to_something_hidden_is_refused_and_does_not_wait() {
    let platform = Platform::new();
    let [open, hidden] = [
        malware(1, "Open"),
        marked(malware(2, "Hidden"), json!([TLP_RED])),
    ];
    platform.import(&[open.clone(), hidden.clone()]);
    limited(&platform, &[TLP_GREEN]);
    let work = platform.import_as(
        "limited",
        &[relationship(1, "uses", &open, &hidden), malware(3, "Other")],
    );
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 2, 2, 1));
    assert!(
        platform.errors(&work)[0].contains("Element(s) not found"),
        "{:?}",
        platform.errors(&work)
    );
    assert_eq!(platform.parked(), (0, 0));
    assert!(platform.find(&id("malware", 3)).is_some());
}

#[test]
fn a_relationship_that_waits_for_something_hidden_is_refused_when_it_comes() {
    let platform = Platform::new();
    limited(&platform, &[TLP_GREEN]);
    let [open, hidden] = [
        malware(1, "Open"),
        marked(malware(2, "Hidden"), json!([TLP_RED])),
    ];
    let work = platform.import_as(
        "limited",
        &[open.clone(), relationship(1, "uses", &open, &hidden)],
    );
    assert_eq!(platform.parked(), (0, 1));
    platform.import(&[hidden]);
    assert_eq!(
        (platform.parked(), platform.errors(&work).len()),
        ((0, 0), 1)
    );
}

#[test]
fn case_127_without_the_capability_new_labels_are_left_out_and_known_ones_are_not() {
    let platform = Platform::new();
    platform.import(&[with(malware(9, "Other"), json!({"labels": ["known"]}))]);
    without(&platform, "SETTINGS_SETLABELS");
    let work = platform.import_as(
        "limited",
        &[with(malware(1, "Foo"), json!({"labels": ["known", "new"]}))],
    );
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 0, 1, 0));
    assert_eq!(platform.targets(&id("malware", 1), "objectLabel").len(), 1);
    assert_eq!((platform.count("Label"), platform.parked()), (1, (0, 0)));
    let told = left_out(&platform, &work);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, ["objectLabel"]);
    assert!(
        told[0].1.contains("\"new\"") && told[0].1.contains("SETTINGS_SETLABELS"),
        "{told:?}"
    );

    // somebody makes the label: the same input is not passed over
    platform.import(&[with(malware(9, "Other"), json!({"labels": ["new"]}))]);
    let again = platform.import_as(
        "limited",
        &[with(malware(1, "Foo"), json!({"labels": ["known", "new"]}))],
    );
    assert_eq!(platform.targets(&id("malware", 1), "objectLabel").len(), 2);
    assert_eq!(platform.partial(&again), []);
}

#[test]
fn case_127_without_the_capability_new_entries_of_vocabularies_are_left_out() {
    let platform = Platform::new();
    without(&platform, "SETTINGS_SETVOCABULARIES");
    let work = platform.import_as(
        "limited",
        &[with(
            malware(1, "Foo"),
            json!({"malware_types": ["backdoor", "frobnicator"]}),
        )],
    );
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 0, 1, 0));
    assert_eq!(
        platform.get(&id("malware", 1)).attributes["malware_types"],
        json!(["backdoor"])
    );
    let told = left_out(&platform, &work);
    assert_eq!(told[0].0, ["malware_types"]);
    assert!(
        told[0].1.contains("frobnicator") && told[0].1.contains("SETTINGS_SETVOCABULARIES"),
        "{told:?}"
    );
}

#[test]
fn case_128_without_the_capability_a_new_kill_chain_phase_refuses_its_object() {
    let platform = Platform::new();
    let phased = |number, phase: &str| {
        with(
            named("attack-pattern", number, &format!("T{number}")),
            json!({"labels": ["x"], "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": phase}]}),
        )
    };
    platform.import(&[phased(9, "execution")]);
    without(&platform, "SETTINGS_SETKILLCHAINPHASES");
    let work = platform.import_as("limited", &[phased(1, "execution"), phased(2, "impact")]);
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 2, 2, 1));
    let error = &platform.errors(&work)[0];
    assert!(
        error.contains("SETTINGS_SETKILLCHAINPHASES")
            && error.contains("impact")
            && error.contains(&id("attack-pattern", 2)),
        "{error}"
    );
    assert_eq!(
        platform
            .targets(&id("attack-pattern", 1), "killChainPhases")
            .len(),
        1
    );
    assert!(platform.find(&id("attack-pattern", 2)).is_none());
    assert_eq!(platform.parked(), (0, 0));
}

#[test]
fn a_marking_is_made_only_with_the_capability_and_a_known_one_is_fine() {
    let ranked = |order: i64| {
        with(
            statement(1),
            json!({"x_opencti_order": order, "x_opencti_color": "#123456"}),
        )
    };
    let platform = Platform::new();
    platform.import(&[ranked(1)]);
    without(&platform, "SETTINGS_SETMARKINGS");
    let work = platform.import_as(
        "limited",
        &[
            ranked(5),
            statement(2),
            marked(malware(1, "Foo"), json!([id("marking-definition", 1)])),
        ],
    );
    assert!(platform.find(&id("marking-definition", 2)).is_none());
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 3, 3, 1));
    assert!(platform.errors(&work)[0].contains("SETTINGS_SETMARKINGS"));
    assert_eq!(
        platform.targets(&id("malware", 1), "objectMarking").len(),
        1
    );
    // what decides who sees what is edited, and not delivered
    platform.import(&[ranked(5)]);
    let known = platform.get(&id("marking-definition", 1));
    assert_eq!(known.attributes["x_opencti_order"], 1);
}

#[test]
fn a_known_label_keeps_its_colour_without_the_capability() {
    let coloured = |color: &str| json!({"type": "label", "spec_version": "2.1", "id": id("label", 1), "value": "known", "color": color});
    let platform = Platform::new();
    platform.import(&[coloured("#111111")]);
    without(&platform, "SETTINGS_SETLABELS");
    let new = json!({"type": "label", "spec_version": "2.1", "id": id("label", 2), "value": "new"});
    let work = platform.import_as("limited", &[coloured("#222222"), new]);
    assert_eq!(platform.get(&id("label", 1)).attributes["color"], "#111111");
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 2, 2, 1));
    let told = left_out(&platform, &work);
    assert_eq!(told[0].0, ["color"]);
    assert!(told[0].1.contains("SETTINGS_SETLABELS"), "{told:?}");
}

#[test]
fn case_129_without_an_applicant_a_message_runs_as_the_connectors_user() {
    let platform = Platform::new();
    let own = platform.add_limited("limited", |account| account.max_confidence = Some(50));
    platform.import_as(
        "limited",
        &[with(malware(1, "Foo"), json!({"confidence": 90}))],
    );
    let found = platform.get(&id("malware", 1));
    assert_eq!(found.confidence, Some(50));
    assert_eq!(
        found.attributes["creator_id"],
        json!([own.user_id.to_string()])
    );
}

#[test]
fn case_130_a_connector_does_not_run_as_somebody_else_and_the_audit_tells() {
    let platform = Platform::new();
    let own = platform.add_limited("limited", |account| account.max_confidence = Some(50));
    let audited = || {
        platform
            .store
            .read(|snapshot| {
                snapshot.audits(&AuditQuery {
                    limit: 100,
                    ..AuditQuery::default()
                })
            })
            .unwrap()
            .into_iter()
            .filter(|line| line.message.contains("asked to run as"))
            .count()
    };
    for number in 1..4 {
        let work = platform.work_of("limited", false);
        let envelope = json!({"work_id": work, "applicant_id": platform.admin.user_id});
        platform.send_with(
            "limited",
            &[with(
                malware(number, &format!("m{number}")),
                json!({"confidence": 90}),
            )],
            envelope,
        );
        platform.work_off();
        let found = platform.get(&id("malware", number));
        assert_eq!(
            (found.confidence, &found.attributes["creator_id"]),
            (Some(50), &json!([own.user_id.to_string()]))
        );
        assert_eq!(platform.progress(&work), (WorkStatus::Complete, 0, 1, 0));
        assert!(
            platform.notes(&work, ferrocti_store::NoteKind::Message)[0].contains("asked to run as")
        );
    }
    assert_eq!(audited(), 1, "one line for a connector that keeps asking");
}

#[test]
fn whoever_may_act_for_others_is_limited_by_them() {
    let platform = Platform::new();
    let analyst = platform.add_limited("analyst", |account| account.max_confidence = Some(20));
    let trusted = user("trusted", &["BYPASS"], Uuid::from_u128(77));
    platform.add_connector("trusted", trusted);
    platform.send_with(
        "trusted",
        &[malware(1, "Foo")],
        json!({"applicant_id": analyst.user_id}),
    );
    platform.work_off();
    let found = platform.get(&id("malware", 1));
    assert_eq!(
        (found.confidence, &found.attributes["creator_id"]),
        (Some(20), &json!([analyst.user_id.to_string()]))
    );

    // not as itself, when the one it names is unknown or gone
    for applicant in [
        Uuid::from_u128(4711),
        barred(&platform, analyst.user_row, |user| {
            user.status = UserStatus::Inactive;
        }),
    ] {
        platform.send_with(
            "trusted",
            &[malware(2, "Bar")],
            json!({"applicant_id": applicant}),
        );
        platform.work_off();
    }
    assert!(platform.find(&id("malware", 2)).is_none());
    let mut letters = platform.dead_letters();
    letters.sort();
    assert_eq!(letters.len(), 2);
    assert!(
        letters[0].contains("does not exist") && letters[1].contains("inactive"),
        "{letters:?}"
    );
}

fn barred(platform: &Platform, row: i64, change: impl FnOnce(&mut ferrocti_store::User)) -> Uuid {
    platform
        .store
        .write(|tx| {
            let mut user = tx.user(row)?.unwrap();
            change(&mut user);
            tx.update_user(&user)?;
            Ok::<_, ferrocti_store::StoreError>(user.id)
        })
        .unwrap()
}

#[test]
fn messages_of_an_account_that_is_not_let_in_become_dead_letters() {
    for (change, word) in [
        (
            (|user| user.status = UserStatus::Inactive) as fn(&mut ferrocti_store::User),
            "inactive",
        ),
        (|user| user.expires_at = Some(START), "expired"),
    ] {
        let platform = Platform::new();
        let own = platform.add_limited("limited", |_| {});
        barred(&platform, own.user_row, change);
        let work = platform.work_of("limited", false);
        platform.send_with("limited", &[malware(1, "Foo")], json!({"work_id": work}));
        platform.send_with(CONNECTOR, &[malware(2, "Bar")], json!({}));
        platform.work_off();
        assert!(platform.find(&id("malware", 1)).is_none());
        assert!(platform.find(&id("malware", 2)).is_some());
        let letters = platform.dead_letters();
        assert!(
            letters.len() == 1 && letters[0].contains(word) && letters[0].contains("limited"),
            "{letters:?}"
        );
        assert_eq!(platform.errors(&work).len(), 1);
    }
}

#[test]
fn what_waits_for_a_user_that_is_not_let_in_any_more_is_given_up_in_words() {
    let platform = Platform::new();
    let own = platform.add_limited("limited", |_| {});
    let [one, late] = [malware(1, "One"), malware(2, "Late")];
    let work = platform.import_as(
        "limited",
        &[one.clone(), relationship(1, "uses", &one, &late)],
    );
    assert_eq!(platform.parked(), (0, 1));
    barred(&platform, own.user_row, |user| {
        user.status = UserStatus::Locked;
    });
    platform.import(&[late]);
    assert_eq!(platform.parked(), (0, 0));
    assert!(platform.find(&id("relationship", 1)).is_none());
    assert!(
        platform.errors(&work)[0].contains("not let in"),
        "{:?}",
        platform.errors(&work)
    );
}

#[test]
fn case_132_a_marking_that_is_taken_away_is_refused_from_the_next_batch_on() {
    let platform = Platform::new();
    limited(&platform, &[TLP_AMBER]);
    let amber = |number| marked(malware(number, &format!("m{number}")), json!([TLP_AMBER]));
    let first = platform.import_as("limited", &[amber(1)]);
    platform
        .store
        .write(|tx| {
            let marking = tx
                .resolve_one(&StixId::parse(TLP_AMBER).unwrap().key())?
                .unwrap();
            for group in tx.groups()? {
                tx.revoke_marking(group.row, marking)?;
            }
            Ok::<_, ferrocti_store::StoreError>(())
        })
        .unwrap();
    let second = platform.import_as("limited", &[amber(1), amber(2)]);
    assert_eq!(
        (
            platform.errors(&first).len(),
            platform.errors(&second).len()
        ),
        (0, 2)
    );
}

#[test]
fn organizations_are_shared_with_only_by_who_may() {
    let platform = Platform::new();
    let org = organization(1, "Acme");
    platform.import(&[org.clone(), malware(1, "Foo")]);
    let shared = with(
        malware(1, "Foo"),
        json!({"extensions": {"extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba": {"extension_type": "property-extension", "granted_refs": [id_of(&org)]}}}),
    );
    let work = platform.import_as(CONNECTOR, std::slice::from_ref(&shared));
    assert_eq!(
        platform.targets(&id("malware", 1), "objectOrganization"),
        [] as [&str; 0]
    );
    assert_eq!(left_out(&platform, &work)[0].0, ["objectOrganization"]);
    platform.add_limited("limited", |account| {
        account
            .capabilities
            .push("KNOWLEDGE_KNUPDATE_KNORGARESTRICT".to_owned());
    });
    platform.import_as("limited", &[shared]);
    assert_eq!(
        platform
            .targets(&id("malware", 1), "objectOrganization")
            .len(),
        1
    );
}
