//! Files, artifacts and certificates that share a hash and disagree about another.

use std::collections::BTreeMap;

use ferrocti_access::Capabilities;
use ferrocti_model::{Key, Registry};
use ferrocti_store::{Iid, NoteKind, Stored};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::platform::*;

const TYPES: [(&str, &str); 3] = [
    ("file", "StixFile"),
    ("artifact", "Artifact"),
    ("x509-certificate", "X509-Certificate"),
];

fn hash(algorithm: &str, seed: char) -> String {
    let digits = match algorithm {
        "MD5" => 32,
        "SHA-1" => 40,
        _ => 64,
    };
    seed.to_string().repeat(digits)
}

/// An object with these hashes, each named by a digit: `("MD5", 'a')`.
fn hashed(stix_type: &str, number: u32, hashes: &[(&str, char)]) -> Value {
    let hashes: Map<String, Value> = hashes
        .iter()
        .map(|(algorithm, seed)| ((*algorithm).to_owned(), hash(algorithm, *seed).into()))
        .collect();
    json!({"type": stix_type, "spec_version": "2.1", "id": id(stix_type, number), "hashes": hashes})
}

/// What a hash leads to.
fn by_hash(platform: &Platform, kind: &str, algorithm: &str, seed: char) -> Option<Stored> {
    let code = Registry::get().by_name(kind).unwrap().code;
    let key = Key::hash_value(code, algorithm, &hash(algorithm, seed));
    platform
        .store
        .read(|snapshot| match snapshot.resolve_one(&key)? {
            Some(iid) => snapshot.load_one(iid),
            None => Ok(None),
        })
        .unwrap()
}

/// Applies objects as one message of a work, and answers its errors and messages.
fn told(platform: &Platform, objects: &[Value]) -> (Vec<String>, Vec<String>) {
    let work = platform.work(false);
    platform.send_with(CONNECTOR, objects, json!({"work_id": work}));
    platform.work_off();
    (
        platform.errors(&work),
        platform.notes(&work, NoteKind::Message),
    )
}

#[test]
fn objects_that_share_a_weak_hash_and_differ_in_a_strong_one_are_two() {
    for (stix_type, kind) in TYPES {
        let platform = Platform::new();
        let one = hashed(stix_type, 1, &[("MD5", 'a'), ("SHA-256", '1')]);
        let other = hashed(stix_type, 2, &[("MD5", 'a'), ("SHA-256", '2')]);
        platform.import(std::slice::from_ref(&one));
        let (errors, messages) = told(&platform, std::slice::from_ref(&other));
        assert_eq!((platform.count(kind), errors.len()), (2, 0), "{kind}");
        let (first, second) = (platform.get(id_of(&one)), platform.get(id_of(&other)));
        assert_eq!(
            messages,
            [format!(
                "{} is kept apart from {}: SHA-256 is {} of the one and {} of the other; hashes and ids that both have lead to {}",
                second.standard,
                first.standard,
                hash("SHA-256", '2'),
                hash("SHA-256", '1'),
                first.standard
            )]
        );
        assert_eq!(first.attributes["hashes"], one["hashes"]);
        assert_eq!(second.attributes["hashes"], other["hashes"]);
        let leads = |algorithm, seed| by_hash(&platform, kind, algorithm, seed).unwrap().iid;
        assert_eq!(
            [
                leads("MD5", 'a'),
                leads("SHA-256", '1'),
                leads("SHA-256", '2')
            ],
            [first.iid, first.iid, second.iid]
        );
    }
}

#[test]
fn contradicting_files_sent_alternately_change_nothing() {
    let platform = Platform::new();
    let one = hashed("file", 1, &[("MD5", 'a'), ("SHA-256", '1')]);
    let other = hashed("file", 2, &[("MD5", 'a'), ("SHA-256", '2')]);
    platform.import(&[one.clone(), other.clone()]);
    let end = platform.history_end();
    for object in [&one, &other, &one, &other] {
        platform.import(std::slice::from_ref(object));
    }
    assert_eq!(
        (platform.history_end(), platform.count("StixFile")),
        (end, 2)
    );
}

#[test]
fn a_file_sent_under_the_id_of_another_does_not_overwrite_it() {
    let platform = Platform::new();
    let one = hashed("file", 1, &[("SHA-256", '1')]);
    platform.import(std::slice::from_ref(&one));
    platform.import(&[hashed("file", 1, &[("SHA-256", '2')])]);
    assert_eq!(
        platform.get(id_of(&one)).attributes["hashes"],
        one["hashes"]
    );
    let other = by_hash(&platform, "StixFile", "SHA-256", '2').unwrap();
    assert_ne!(other.iid, platform.get(id_of(&one)).iid);
}

#[test]
fn a_weaker_hash_that_contradicts_is_left_out() {
    let platform = Platform::new();
    let one = hashed("file", 1, &[("MD5", 'a'), ("SHA-256", '1')]);
    platform.import(std::slice::from_ref(&one));
    let (errors, messages) = told(
        &platform,
        &[hashed(
            "file",
            2,
            &[("MD5", 'b'), ("SHA-1", 'c'), ("SHA-256", '1')],
        )],
    );
    assert_eq!((platform.count("StixFile"), errors.len()), (1, 0));
    assert!(messages[0].contains("leaves out MD5"), "{messages:?}");
    let stored = platform.get(id_of(&one));
    assert_eq!(
        stored.attributes["hashes"],
        json!({"MD5": hash("MD5", 'a'), "SHA-1": hash("SHA-1", 'c'), "SHA-256": hash("SHA-256", '1')})
    );
    assert_eq!(platform.get(&id("file", 2)).iid, stored.iid);
    assert!(by_hash(&platform, "StixFile", "MD5", 'b').is_none());
}

#[test]
fn a_file_that_names_two_that_disagree_is_the_one_with_the_stronger_hash() {
    let platform = Platform::new();
    let weak = hashed("file", 1, &[("MD5", 'a'), ("SHA-1", 'a')]);
    let strong = hashed("file", 2, &[("SHA-1", 'b'), ("SHA-256", '1')]);
    platform.import(&[weak.clone(), strong.clone()]);
    let (errors, messages) = told(
        &platform,
        &[hashed("file", 3, &[("MD5", 'a'), ("SHA-256", '1')])],
    );
    assert_eq!((platform.count("StixFile"), errors.len()), (2, 0));
    assert!(messages[0].contains("SHA-1"), "{messages:?}");
    assert_eq!(
        platform.get(&id("file", 3)).iid,
        platform.get(id_of(&strong)).iid
    );
    assert_eq!(
        platform.get(id_of(&weak)).attributes["hashes"],
        weak["hashes"]
    );
}

#[test]
fn a_file_whose_own_id_belongs_to_another_is_refused() {
    let platform = Platform::new();
    let elsewhere = Platform::new();
    let other = hashed("file", 2, &[("SHA-256", '2')]);
    elsewhere.import(std::slice::from_ref(&other));
    let standard = elsewhere.get(id_of(&other)).standard.to_string();
    let one = with(
        hashed("file", 1, &[("SHA-256", '1')]),
        json!({"x_opencti_stix_ids": [standard]}),
    );
    platform.import(&[one]);
    let (errors, _) = told(&platform, &[other]);
    assert_eq!((platform.count("StixFile"), errors.len()), (1, 1));
    assert!(
        errors[0].contains("its id belongs to") && errors[0].contains(&hash("SHA-256", '1')),
        "{errors:?}"
    );
}

#[test]
fn a_file_that_the_user_may_not_see_is_not_told_of() {
    let platform = Platform::new();
    platform.import(&[with(
        hashed("file", 1, &[("MD5", 'a'), ("SHA-256", '1')]),
        json!({"object_marking_refs": [TLP_RED]}),
    )]);
    let capabilities = Capabilities::connector();
    let mut limited = user(
        "limited",
        &capabilities.iter().collect::<Vec<_>>(),
        Uuid::from_u128(9),
    );
    limited.markings = Some(vec![platform.get(TLP_GREEN).internal]);
    platform.add_connector("limited", limited);
    let work = platform.work_of("limited", false);
    platform.send_with(
        "limited",
        &[hashed("file", 2, &[("MD5", 'a'), ("SHA-256", '2')])],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(platform.count("StixFile"), 2);
    let told = [
        platform.errors(&work),
        platform.notes(&work, NoteKind::Message),
    ]
    .concat();
    assert_eq!(told, Vec::<String>::new());
}

fn some_hashes() -> impl Strategy<Value = Vec<(&'static str, char)>> {
    let one = |algorithm: &'static str, values: &'static [char]| {
        proptest::option::of(proptest::sample::select(values))
            .prop_map(move |seed| seed.map(|seed| (algorithm, seed)))
    };
    (
        one("MD5", &['a', 'b']),
        one("SHA-1", &['a', 'b']),
        one("SHA-256", &['1', '2', '3']),
    )
        .prop_map(|(md5, sha1, sha256)| md5.into_iter().chain(sha1).chain(sha256).collect())
        .prop_filter("a hash", |hashes: &Vec<_>| !hashes.is_empty())
}

/// Every file that some hash leads to, with its hashes.
fn files(platform: &Platform) -> BTreeMap<Iid, Value> {
    let all = [("MD5", "ab"), ("SHA-1", "ab"), ("SHA-256", "123")];
    all.iter()
        .flat_map(|(algorithm, seeds)| seeds.chars().map(move |seed| (*algorithm, seed)))
        .filter_map(|(algorithm, seed)| by_hash(platform, "StixFile", algorithm, seed))
        .map(|stored| (stored.iid, stored.attributes["hashes"].clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_ever_loses_or_changes_a_hash(sent in proptest::collection::vec(some_hashes(), 1..8)) {
        let platform = Platform::new();
        let objects: Vec<Value> = sent.iter().enumerate().map(|(number, hashes)| hashed("file", number as u32, hashes)).collect();
        let mut known = BTreeMap::new();
        for object in &objects {
            let (errors, _) = told(&platform, std::slice::from_ref(object));
            prop_assert_eq!(errors, Vec::<String>::new());
            let now = files(&platform);
            for (iid, before) in &known {
                let before: &Value = before;
                let Some(after) = now.get(iid) else { continue };
                for (algorithm, value) in before.as_object().unwrap() {
                    prop_assert_eq!(&after[algorithm], value);
                }
            }
            known = now;
            let (algorithm, value) = object["hashes"].as_object().unwrap().iter().next_back().unwrap();
            let owner = known.values().filter(|hashes| hashes[algorithm] == *value).count();
            prop_assert!(owner > 0, "the strongest hash leads to a file that has it");
        }
        for _ in 0..2 {
            platform.import(&objects);
        }
        let end = platform.history_end();
        platform.import(&objects);
        prop_assert_eq!(platform.history_end(), end, "it comes to rest");
    }
}
