//! Confidence in ingestion: what an input may set, what it must leave, and what the work tells of it.

use ferrocti_ingest::partial::Partial;
use ferrocti_store::WorkStatus;
use serde_json::{Value, json};

use crate::platform::*;

fn at(max: u8) -> impl FnOnce(&mut Account) {
    move |account| account.max_confidence = Some(max)
}

fn report(more: Value) -> Value {
    with(
        named("report", 1, "Report"),
        with(json!({"published": "2020-01-01T00:00:00Z"}), more),
    )
}

/// Names of what was not applied, sorted.
fn withheld(partial: &[Partial]) -> Vec<String> {
    let mut names: Vec<String> = partial
        .iter()
        .flat_map(|partial| &partial.parts)
        .flat_map(|part| part.attributes.iter().chain(&part.references))
        .cloned()
        .collect();
    names.sort();
    names
}

#[test]
fn cases_84_to_88_what_is_created_is_limited_by_the_level_for_its_type() {
    for (name, max, overridden, given, expected) in [
        ("84", 30, None, json!({"confidence": 80}), 30),
        ("85", 30, None, json!({}), 30),
        ("86", 80, None, json!({"confidence": 20}), 20),
        ("87", 80, Some(10), json!({"confidence": 50}), 10),
        ("88", 30, Some(90), json!({"confidence": 100}), 90),
        ("above the range", 80, None, json!({"confidence": 900}), 80),
        ("below the range", 80, None, json!({"confidence": -5}), 0),
        ("no claim at all", 0, None, json!({"confidence": 50}), 0),
    ] {
        let platform = Platform::new();
        platform.add_limited("limited", |account| {
            account.max_confidence = Some(max);
            account.overrides = overridden
                .map(|level| ("Report".to_owned(), level))
                .into_iter()
                .collect();
        });
        let work = platform.import_as("limited", &[report(given.clone())]);
        assert_eq!(
            platform.get(&id("report", 1)).confidence,
            Some(expected),
            "{name}"
        );
        let limited = given["confidence"]
            .as_i64()
            .is_some_and(|given| given > expected.into());
        assert_eq!(
            withheld(&platform.partial(&work)),
            if limited { vec!["confidence"] } else { vec![] },
            "{name}"
        );
        assert_eq!(platform.errors(&work), [] as [&str; 0], "{name}");
    }
}

#[test]
fn the_override_of_one_type_does_not_count_for_another() {
    let platform = Platform::new();
    platform.add_limited("limited", |account| {
        account.max_confidence = Some(80);
        account.overrides = [("Report".to_owned(), 10)].into();
    });
    platform.import_as(
        "limited",
        &[with(malware(1, "Foo"), json!({"confidence": 50}))],
    );
    assert_eq!(platform.get(&id("malware", 1)).confidence, Some(50));
}

#[test]
fn cases_89_and_123_without_a_level_every_object_is_refused_at_once() {
    let platform = Platform::new();
    platform.import(&[malware(9, "Known")]);
    platform.add_limited("limited", |account| account.max_confidence = None);
    let address = json!({"type": "ipv4-addr", "spec_version": "2.1", "id": id("ipv4-addr", 1), "value": "192.0.2.1"});
    let label =
        json!({"type": "label", "spec_version": "2.1", "id": id("label", 1), "value": "new"});
    let objects = [
        report(json!({"labels": ["brought along"], "object_refs": [id("malware", 77)]})),
        address,
        label,
        malware(9, "Known"),
        relationship(1, "uses", &malware(5, "x"), &malware(6, "y")),
    ];
    let before = platform.history_end();
    let work = platform.import_as("limited", &objects);
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 5, 5, 5));
    let verb = |error: &String| {
        let start = "User has no effective max confidence level and cannot ";
        let at = error.find(start).unwrap_or_else(|| panic!("{error}")) + start.len();
        error[at..].split(' ').next().unwrap().to_owned()
    };
    let mut verbs: Vec<String> = platform.errors(&work).iter().map(verb).collect();
    verbs.sort();
    assert_eq!(verbs, ["create", "create", "create", "create", "upsert"]);
    assert_eq!(platform.history_end(), before, "nothing is left behind");
    assert_eq!((platform.parked(), platform.depth("limited")), ((0, 0), 0));
}

#[test]
fn cases_101_to_105_an_upsert_is_weighed() {
    for (name, level, given, stored, description, expected) in [
        ("101", 50, Some(30), 10, "a", ("b", 30)),
        ("same", 50, Some(30), 30, "a", ("b", 30)),
        ("102", 50, Some(10), 30, "a", ("a", 30)),
        ("103", 50, Some(10), 30, "", ("b", 30)),
        ("capped, higher", 30, Some(50), 10, "a", ("b", 30)),
        ("capped, lower", 10, Some(50), 30, "a", ("a", 30)),
        ("104", 30, None, 50, "a", ("a", 50)),
        ("absent", 50, None, 30, "a", ("b", 50)),
        ("zero", 0, Some(90), 1, "a", ("a", 1)),
        ("zero over zero", 0, Some(90), 0, "a", ("b", 0)),
        ("113", 100, Some(20), 80, "a", ("a", 80)),
        ("114", 100, None, 80, "a", ("b", 100)),
    ] {
        let platform = Platform::new();
        platform.import(&[report(
            json!({"confidence": stored, "description": description}),
        )]);
        platform.add_limited("limited", at(level));
        let end = platform.history_end();
        let given = given.map_or_else(|| json!({}), |given| json!({"confidence": given}));
        let work = platform.import_as(
            "limited",
            &[report(with(given, json!({"description": "b"})))],
        );
        let found = platform.get(&id("report", 1));
        assert_eq!(
            (found.attributes["description"].as_str(), found.confidence),
            (Some(expected.0), Some(expected.1)),
            "{name}"
        );
        let kept = expected.0 == "a";
        assert_eq!(
            withheld(&platform.partial(&work)),
            if kept { vec!["description"] } else { vec![] },
            "{name}"
        );
        assert_eq!(
            platform.progress(&work),
            (WorkStatus::Complete, 0, 1, 0),
            "{name}"
        );
        // a creator is noted in any case, and is all that may have changed
        let changes = platform
            .store
            .read(|snapshot| snapshot.history_since(end, 10))
            .unwrap();
        for change in changes.iter().filter(|_| kept) {
            let data = change.data.clone().unwrap_or_default();
            assert_eq!(
                data["attributes"]
                    .as_object()
                    .map(|names| names.keys().cloned().collect::<Vec<_>>()),
                Some(vec!["creator_id".to_owned()]),
                "{name}"
            );
        }
    }
}

#[test]
fn the_work_says_why_with_the_numbers() {
    let platform = Platform::new();
    platform.import(&[report(json!({"confidence": 80, "description": "a"}))]);
    platform.add_limited("limited", at(50));
    let work = platform.import_as(
        "limited",
        &[report(json!({"confidence": 90, "description": "b"}))],
    );
    let partial = platform.partial(&work);
    assert_eq!(partial.len(), 1);
    assert_eq!(
        partial[0].message(),
        format!(
            "Report \"Report\" ({}): not applied: description (the input counts with 50, the most that limited may claim for Report; the stored confidence is 80)",
            platform.get(&id("report", 1)).standard
        )
    );
}

#[test]
fn cases_106_107_and_110_labels_and_external_references_are_added_and_other_lists_are_not() {
    let platform = Platform::new();
    let [one, two] = [malware(1, "One"), malware(2, "Two")];
    platform.import(&[
        one.clone(),
        two.clone(),
        report(json!({"confidence": 30, "description": "a", "object_refs": [id_of(&one)], "report_types": ["old"]})),
    ]);
    platform.add_limited("limited", at(10));
    let work = platform.import_as(
        "limited",
        &[report(json!({
            "description": "b", "object_refs": [id_of(&one), id_of(&two)], "report_types": ["new"], "labels": ["new"],
            "external_references": [{"source_name": "acme", "url": "https://acme.example/1"}]}))],
    );
    let found = platform.get(&id("report", 1));
    assert_eq!(found.attributes["description"], "a");
    assert_eq!(found.attributes["report_types"], json!(["old"]));
    assert_eq!(platform.targets(&id("report", 1), "objects").len(), 1);
    assert_eq!(platform.targets(&id("report", 1), "objectLabel").len(), 1);
    assert_eq!(
        platform
            .targets(&id("report", 1), "externalReferences")
            .len(),
        1
    );
    assert_eq!(
        withheld(&platform.partial(&work)),
        ["description", "objects", "report_types"]
    );
}

#[test]
fn case_107_a_report_without_objects_is_given_some() {
    let platform = Platform::new();
    let one = malware(1, "One");
    platform.import(&[one.clone(), report(json!({"confidence": 30}))]);
    platform.add_limited("limited", at(10));
    let work = platform.import_as(
        "limited",
        &[report(
            json!({"object_refs": [id_of(&one)], "report_types": ["new"]}),
        )],
    );
    assert_eq!(platform.targets(&id("report", 1), "objects").len(), 1);
    assert_eq!(
        platform.get(&id("report", 1)).attributes["report_types"],
        json!(["new"])
    );
    assert_eq!(platform.partial(&work), []);
}

#[test]
fn an_object_that_arrives_late_is_not_added_where_it_would_not_have_been_before() {
    let platform = Platform::new();
    let [one, late] = [malware(1, "One"), malware(2, "Late")];
    platform.import(&[
        one.clone(),
        report(json!({"confidence": 30, "object_refs": [id_of(&one)]})),
    ]);
    platform.add_limited("limited", at(10));
    let work = platform.import_as("limited", &[report(json!({"object_refs": [id_of(&late)]}))]);
    assert_eq!(
        (platform.parked(), withheld(&platform.partial(&work))),
        ((0, 0), vec!["objects".to_owned()])
    );
    platform.import(&[late]);
    assert_eq!(platform.targets(&id("report", 1), "objects").len(), 1);
}

#[test]
fn an_object_that_is_waited_for_is_not_added_when_the_confidence_was_raised_meanwhile() {
    let platform = Platform::new();
    let [one, late] = [malware(1, "One"), malware(2, "Late")];
    platform.add_limited("limited", at(40));
    let work = platform.import_as(
        "limited",
        &[
            one.clone(),
            report(json!({"object_refs": [id_of(&one), id_of(&late)]})),
        ],
    );
    assert_eq!(platform.parked(), (1, 0));
    platform.import(&[report(json!({"confidence": 90}))]);
    platform.import(&[late]);
    assert_eq!(platform.targets(&id("report", 1), "objects").len(), 1);
    assert_eq!(withheld(&platform.partial(&work)), ["objects"]);
}

#[test]
fn cases_108_and_109_an_author_gives_way_only_to_a_higher_confidence() {
    for (given, replaced) in [(29, false), (30, false), (31, true)] {
        let platform = Platform::new();
        let [x, y] = [organization(1, "X"), organization(2, "Y")];
        platform.import(&[
            x.clone(),
            y.clone(),
            report(json!({"confidence": 30, "created_by_ref": id_of(&x)})),
        ]);
        let work = platform.work(false);
        platform.send_with(
            CONNECTOR,
            &[report(
                json!({"confidence": given, "created_by_ref": id_of(&y)}),
            )],
            json!({"work_id": work}),
        );
        platform.work_off();
        let author = if replaced { &y } else { &x };
        assert_eq!(
            platform.targets(&id("report", 1), "createdBy"),
            [platform.get(id_of(author)).standard.to_string()],
            "{given}"
        );
        assert_eq!(
            withheld(&platform.partial(&work)),
            if replaced { vec![] } else { vec!["createdBy"] },
            "{given}"
        );
    }
}

#[test]
fn cases_110_and_111_aliases_are_added_by_equals() {
    for (given, before, after) in [
        (10, json!(["old"]), json!(["old"])),
        (10, json!([]), json!(["new"])),
        (30, json!(["old"]), json!(["old", "new"])),
    ] {
        let platform = Platform::new();
        platform.import(&[with(
            malware(1, "Foo"),
            json!({"confidence": 30, "aliases": before}),
        )]);
        platform.import(&[with(
            malware(1, "Foo"),
            json!({"confidence": given, "aliases": ["new"]}),
        )]);
        assert_eq!(platform.get(&id("malware", 1)).attributes["aliases"], after);
    }
}

#[test]
fn what_is_equal_or_known_under_another_name_is_not_withheld() {
    let platform = Platform::new();
    let full = json!({"description": "a", "aliases": ["Bar"], "malware_types": ["worm", "bot"], "labels": ["one"]});
    platform.import(&[with(
        malware(1, "Foo"),
        with(
            full.clone(),
            json!({"confidence": 80, "object_marking_refs": [TLP_GREEN]}),
        ),
    )]);
    platform.add_limited("limited", at(50));
    let work = platform.import_as(
        "limited",
        &[with(malware(1, " foo "), with(full, json!({"aliases": ["bar"], "malware_types": ["bot"], "object_marking_refs": [TLP_GREEN]})))],
    );
    assert_eq!(platform.partial(&work), []);
}

#[test]
fn an_input_that_was_applied_in_part_is_recognised_and_says_so_again() {
    let platform = Platform::new();
    platform.import(&[report(json!({"confidence": 80, "description": "a"}))]);
    platform.add_limited("limited", at(50));
    let send = || platform.import_as("limited", &[report(json!({"description": "b"}))]);
    let first = send();
    let end = platform.history_end();
    let unchanged = platform.ingest.metrics().objects.unchanged;
    let second = send();
    assert_eq!(platform.history_end(), end);
    assert_eq!(platform.ingest.metrics().objects.unchanged, unchanged + 1);
    let [first, second] = [platform.partial(&first), platform.partial(&second)];
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first[0].object_id, second[0].object_id);
    assert!(
        second[0].message().contains("applied in part before"),
        "{}",
        second[0].message()
    );

    // somebody lowers what is stored: the same input counts now
    let object = platform.get(&id("report", 1));
    let edit = ferrocti_ingest::FieldEdit {
        key: "confidence".to_owned(),
        path: None,
        operation: ferrocti_ingest::EditOperation::Replace,
        values: vec![json!(40)],
    };
    let subject = ferrocti_ingest::Subject::any(ferrocti_model::Ident::Stix(object.standard));
    platform
        .ingest
        .patch(
            &platform.admin,
            &subject,
            &[edit],
            &ferrocti_ingest::Comment::default(),
        )
        .unwrap();
    let third = send();
    assert_eq!(
        platform.get(&id("report", 1)).attributes["description"],
        "b"
    );
    assert_eq!(platform.partial(&third), []);
}

#[test]
fn a_raised_level_counts_for_the_same_input() {
    let platform = Platform::new();
    platform.import(&[report(json!({"confidence": 80, "description": "a"}))]);
    let actor = platform.add_limited("limited", at(50));
    let send = || {
        platform.import_as(
            "limited",
            &[report(json!({"confidence": 90, "description": "b"}))],
        )
    };
    send();
    platform
        .store
        .write(|tx| {
            let mut user = tx.user(actor.user_row)?.unwrap();
            user.max_confidence = Some(85);
            tx.update_user(&user)
        })
        .unwrap();
    send();
    let found = platform.get(&id("report", 1));
    assert_eq!(
        (found.attributes["description"].as_str(), found.confidence),
        (Some("b"), Some(85))
    );
}

#[test]
fn texts_of_partly_applied_objects_are_bounded_and_all_are_counted() {
    let platform = Platform::new();
    platform.add_limited("limited", at(50));
    let objects: Vec<Value> = (0..250)
        .map(|n| with(malware(n, &format!("m{n}")), json!({"confidence": 90})))
        .collect();
    for _ in 0..2 {
        let work = platform.import_as("limited", &objects);
        assert_eq!(platform.partial(&work).len(), 100);
        let stored = platform
            .store
            .read(|snapshot| snapshot.work(&work))
            .unwrap()
            .unwrap();
        assert_eq!((stored.partial, stored.errors), (250, 0));
    }
}

#[test]
fn case_119_a_relationship_is_widened_whatever_the_confidence() {
    let platform = Platform::new();
    let [one, two] = [malware(1, "One"), malware(2, "Two")];
    let uses = |more: Value| {
        with(
            relationship(1, "uses", &one, &two),
            with(
                json!({"start_time": "2020-01-01T00:00:00Z", "stop_time": "2020-01-10T00:00:00.000Z"}),
                more,
            ),
        )
    };
    platform.import(&[
        one.clone(),
        two.clone(),
        uses(json!({"confidence": 80, "description": "a"})),
    ]);
    platform.add_limited("limited", at(50));
    let work = platform.import_as(
        "limited",
        &[uses(
            json!({"description": "b", "stop_time": "2020-01-20T00:00:00.000Z"}),
        )],
    );
    let found = platform.get(&id("relationship", 1));
    assert_eq!(found.attributes["stop_time"], "2020-01-20T00:00:00.000Z");
    assert_eq!(
        (found.attributes["description"].as_str(), found.confidence),
        (Some("a"), Some(80))
    );
    assert_eq!(withheld(&platform.partial(&work)), ["description"]);
    assert_eq!(platform.partial(&work)[0].entity_type, "uses");
}

#[test]
fn case_99_the_ends_of_a_relationship_are_not_weighed() {
    let platform = Platform::new();
    let strong = |number, name| with(malware(number, name), json!({"confidence": 90}));
    let [one, two] = [strong(1, "One"), strong(2, "Two")];
    platform.import(&[one.clone(), two.clone()]);
    platform.add_limited("limited", at(30));
    platform.import_as(
        "limited",
        &[with(
            relationship(1, "uses", &one, &two),
            json!({"confidence": 60}),
        )],
    );
    assert_eq!(platform.get(&id("relationship", 1)).confidence, Some(30));
}

#[test]
fn case_120_a_score_and_its_validity_stay_with_the_higher_confidence() {
    let platform = Platform::new();
    let indicator = |more: Value| {
        with(
            named("indicator", 1, "Indicator"),
            with(
                json!({"pattern": "[ipv4-addr:value = '192.0.2.1']", "pattern_type": "stix", "valid_from": "2023-11-01T00:00:00.000Z"}),
                more,
            ),
        )
    };
    platform.import(&[indicator(json!({"confidence": 80, "x_opencti_score": 20}))]);
    let before = platform.get(&id("indicator", 1));
    platform.add_limited("limited", at(30));
    let work = platform.import_as(
        "limited",
        &[indicator(
            json!({"x_opencti_score": 90, "valid_until": "2024-11-01T00:00:00.000Z"}),
        )],
    );
    let after = platform.get(&id("indicator", 1));
    assert_eq!(after.attributes["x_opencti_score"], 20);
    assert_eq!(
        after.attributes["valid_until"],
        before.attributes["valid_until"]
    );
    assert_eq!(
        withheld(&platform.partial(&work)),
        ["valid_until", "x_opencti_score"]
    );
}

#[test]
fn case_122_what_an_analyst_knows_better_is_kept_and_named() {
    let platform = Platform::new();
    platform.import(&[with(
        malware(1, "Known"),
        json!({"confidence": 90, "description": "the analyst's"}),
    )]);
    platform.add_limited("limited", at(50));
    let feed = |number, name| {
        with(
            malware(number, name),
            json!({"description": "the feed's", "labels": ["feed"]}),
        )
    };
    let work = platform.import_as(
        "limited",
        &[feed(1, "Known"), feed(2, "Two"), feed(3, "Three")],
    );
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 3, 3, 0));
    let known = platform.get(&id("malware", 1));
    assert_eq!(known.attributes["description"], "the analyst's");
    assert_eq!(platform.targets(&id("malware", 1), "objectLabel").len(), 1);
    let partial = platform.partial(&work);
    assert_eq!(partial.len(), 1);
    assert_eq!(
        (
            partial[0].object_id.clone(),
            partial[0].object_name.as_deref()
        ),
        (known.standard.to_string(), Some("Known"))
    );
}

#[test]
fn case_136_a_level_counts_where_nothing_is_given() {
    let platform = Platform::new();
    platform.add_limited("limited", at(80));
    platform.import_as("limited", &[malware(1, "Foo")]);
    assert_eq!(platform.get(&id("malware", 1)).confidence, Some(80));
}

#[test]
fn case_137_in_any_order_the_higher_level_has_its_way() {
    for order in [["eighty", "forty"], ["forty", "eighty"]] {
        let platform = Platform::new();
        platform.add_limited("eighty", at(80));
        platform.add_limited("forty", at(40));
        for name in order {
            platform.import_as(
                name,
                &[with(malware(1, "Foo"), json!({"description": name}))],
            );
        }
        assert_eq!(
            platform.get(&id("malware", 1)).attributes["description"],
            "eighty",
            "{order:?}"
        );
    }
}

#[test]
fn case_138_the_last_word_on_an_observable_counts() {
    let platform = Platform::new();
    platform.add_limited("eighty", at(80));
    platform.add_limited("forty", at(40));
    let [x, y] = [organization(1, "X"), organization(2, "Y")];
    platform.import(&[x.clone(), y.clone()]);
    for (name, author) in [("eighty", &x), ("forty", &y)] {
        let address = json!({"type": "ipv4-addr", "spec_version": "2.1", "id": id("ipv4-addr", 1), "value": "192.0.2.1",
            "x_opencti_description": name, "created_by_ref": id_of(author)});
        let work = platform.import_as(name, &[address]);
        assert_eq!(platform.partial(&work), []);
    }
    assert_eq!(
        platform.get(&id("ipv4-addr", 1)).attributes["x_opencti_description"],
        "forty"
    );
    assert_eq!(
        platform.targets(&id("ipv4-addr", 1), "createdBy"),
        [platform.get(id_of(&y)).standard.to_string()]
    );
}

#[test]
fn who_is_not_to_be_a_creator_is_none() {
    let platform = Platform::new();
    platform.add_limited("silent", |account| account.no_creators = true);
    platform.import_as("silent", &[malware(1, "Foo")]);
    assert_eq!(
        platform.get(&id("malware", 1)).attributes.get("creator_id"),
        None
    );
    platform.import(&[malware(2, "Bar")]);
    let before = platform.get(&id("malware", 2)).attributes["creator_id"].clone();
    platform.import_as(
        "silent",
        &[with(malware(2, "Bar"), json!({"description": "more"}))],
    );
    let found = platform.get(&id("malware", 2));
    assert_eq!(
        (
            &found.attributes["creator_id"],
            found.attributes["description"].as_str()
        ),
        (&before, Some("more"))
    );
}
