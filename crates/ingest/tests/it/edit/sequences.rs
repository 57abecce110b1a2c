//! Edits in any order.

use proptest::prelude::*;

use super::*;

/// One step of somebody who edits at random.
#[derive(Debug, Clone)]
enum Step {
    Name(usize, usize),
    Aliases(usize, Vec<usize>, bool),
    Hashes(usize, usize),
    Mark(usize, usize),
    Label(usize),
    Contain(usize, bool),
    Merge(usize, usize),
    Delete(usize),
    Import,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = 0..4_usize;
    let step = prop_oneof![
        (index.clone(), 0..6_usize).prop_map(|(object, name)| Step::Name(object, name)),
        (
            index.clone(),
            proptest::collection::vec(0..6_usize, 0..3),
            any::<bool>()
        )
            .prop_map(|(object, names, add)| Step::Aliases(object, names, add)),
        (0..2_usize, 0..3_usize).prop_map(|(file, hash)| Step::Hashes(file, hash)),
        (index.clone(), 0..3_usize).prop_map(|(object, marking)| Step::Mark(object, marking)),
        index.clone().prop_map(Step::Label),
        (index.clone(), any::<bool>()).prop_map(|(object, add)| Step::Contain(object, add)),
        (index.clone(), index.clone()).prop_map(|(one, other)| Step::Merge(one, other)),
        index.prop_map(Step::Delete),
        Just(Step::Import),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Two malware, two files, relationships among them and a report about them, with what they need.
fn scene() -> Vec<Value> {
    let file = |number: u32, md5: &str| json!({"type": "file", "spec_version": "2.1", "id": id("file", number), "name": format!("{number}.exe"), "hashes": {"MD5": md5}});
    let objects = [
        with(malware(1, "a0"), json!({"labels": ["one"]})),
        malware(2, "a1"),
        file(3, "d41d8cd98f00b204e9800998ecf8427e"),
        file(4, "9e107d9d372bb6826bd81d3542a419d6"),
    ];
    let mut all = objects.to_vec();
    for (number, (from, to)) in [(0, 1), (1, 0), (0, 2), (2, 3)].into_iter().enumerate() {
        let number = u32::try_from(number).unwrap() + 10;
        all.push(relationship(
            number,
            "related-to",
            &objects[from],
            &objects[to],
        ));
    }
    all.push(with(
        named("report", 5, "a report"),
        json!({"published": "2020-01-01T00:00:00Z", "object_refs": [id("malware", 1), id("malware", 2), id("file", 3)]}),
    ));
    all
}

const HASHES: [&str; 3] = [
    "d41d8cd98f00b204e9800998ecf8427e",
    "9e107d9d372bb6826bd81d3542a419d6",
    "e4d909c290d0fb1ca068ffaddf22cbd0",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is edited in whatever order: the store stays sound, and refused edits leave nothing behind.
    #[test]
    fn any_sequence_of_edits_leaves_a_sound_store(steps in steps()) {
        let platform = Platform::new();
        let scene = scene();
        platform.import(&scene);
        let labelled = platform.targets(&id("malware", 1), "objectLabel").remove(0);
        let ids = [id("malware", 1), id("malware", 2), id("file", 3), id("file", 4)];
        let admin = Arc::clone(&platform.admin);
        for step in steps {
            let before = platform.history_end();
            let done = match &step {
                Step::Name(object, name) => platform.patch(&admin, &ids[*object], &[edit("name", json!(format!("a{name}")))]),
                Step::Aliases(object, names, added) => {
                    let names: Vec<Value> = names.iter().map(|name| json!(format!("a{name}"))).collect();
                    let change = if *added { add("aliases", json!(names)) } else { edit("aliases", json!(names)) };
                    platform.patch(&admin, &ids[*object % 2], &[change])
                }
                Step::Hashes(file, hash) => platform.patch(&admin, &ids[2 + file], &[edit("hashes", json!([{"algorithm": "MD5", "hash": HASHES[*hash]}]))]),
                Step::Mark(object, marking) => {
                    platform.patch(&admin, &ids[*object], &[edit("objectMarking", Value::from(vec![[TLP_GREEN, TLP_AMBER, TLP_RED][*marking]]))])
                }
                Step::Label(object) => platform.link(&admin, &ids[*object], "object-label", &labelled),
                Step::Contain(object, true) => platform.link(&admin, &id("report", 5), "object", &ids[*object]),
                Step::Contain(object, false) => platform.unlink(&admin, &id("report", 5), "object", &ids[*object]),
                Step::Merge(one, other) => platform.merge(&admin, &ids[*one], &[&ids[*other]]),
                Step::Delete(object) => platform.delete(&admin, &ids[*object]),
                Step::Import => {
                    platform.import(&scene);
                    Ok(())
                }
            };
            if done.is_err() {
                prop_assert_eq!(platform.history_end(), before, "{:?}", step);
            }
            let problems = platform.store.check().unwrap();
            prop_assert!(problems.is_empty(), "{:?}: {:?}", step, problems);
        }
        // what was deleted can come again, and everything that came is there
        platform.import(&scene);
        let row = |end: &Value| platform.get(end.as_str().unwrap()).iid;
        for object in &scene {
            // between what has become one thing there is no relationship
            if object["type"] == "relationship" && row(&object["source_ref"]) == row(&object["target_ref"]) {
                continue;
            }
            prop_assert!(platform.find(id_of(object)).is_some(), "{}", id_of(object));
        }
    }
}
