//! `connectors.yaml` and the plans that follow from it.

use ferrocti_catalog::{
    Catalog, Secret,
    declared::{self, FileError, SecretRef, Source},
    launch::{Launch, Mount},
    plan::{Current, Definition, ResolveError, Step, fingerprint, plan, resolve},
};
use proptest::prelude::*;

use crate::catalogs::{PLATFORM, v0};

const FILE: &str = r#"
connectors:
  - name: Shape feed
    contract: every-shape
    user: "[C] Shape feed"
    confidence: 70
    composer: site-a
    settings:
      SHAPE_URL: https://example.org
      SHAPE_FACTOR: 1.50
      SHAPE_ENABLED: false
      CONNECTOR_SCOPE: [report, malware]
      SHAPE_CODE:
    secrets:
      SHAPE_API_KEY: {env: SHAPE_KEY}
    runtime:
      memory: 512m
      cpus: 0.5
      processes: 100
      networks: cti
      mounts:
        - /srv/data:/data:ro
        - {source: cache, target: /cache}
      environment: {TZ: UTC}
      proxy: {https: "http://proxy:3128"}
  - name: Own importer
    command: [python3, main.py]
    working_directory: /srv/own
    requirements: requirements.txt
    type: EXTERNAL_IMPORT
    running: false
    settings: {OWN_URL: https://own.example, TZ: UTC}
    secrets: {OWN_PHRASE: {file: /run/secrets/own}}
"#;

const KEY: [u8; 32] = [7; 32];

fn read_secret(reference: &SecretRef) -> Result<Secret, String> {
    match reference {
        SecretRef::Environment(name) if name == "SHAPE_KEY" => Ok(Secret::from("abcd")),
        SecretRef::File(path) if path == "/run/secrets/own" => Ok(Secret::from("phrase")),
        SecretRef::Environment(name) if name == "EMPTY" => Ok(Secret::from("")),
        _ => Err("it is not there".to_owned()),
    }
}

fn definitions(text: &str) -> Vec<Definition> {
    let catalogs = [v0()];
    declared::read(text)
        .unwrap()
        .connectors
        .iter()
        .map(|declared| {
            resolve(declared, &catalogs, PLATFORM, &KEY, &read_secret)
                .unwrap()
                .definition
        })
        .collect()
}

fn current(definitions: Vec<Definition>) -> Vec<Current> {
    definitions
        .into_iter()
        .enumerate()
        .map(|(index, definition)| Current {
            id: format!("id-{index}"),
            declared: true,
            definition,
        })
        .collect()
}

#[test]
fn a_file_is_read() {
    let file = declared::read(FILE).unwrap();
    let [shape, own] = &file.connectors[..] else {
        panic!("two connectors")
    };
    assert_eq!(shape.line, 3);
    assert_eq!(
        shape.source,
        Source::Contract {
            catalog: None,
            slug: "every-shape".to_owned()
        }
    );
    assert_eq!(shape.settings["SHAPE_FACTOR"], "1.50");
    assert_eq!(shape.settings["CONNECTOR_SCOPE"], "report,malware");
    assert!(!shape.settings.contains_key("SHAPE_CODE"));
    assert!(shape.running && !own.running);
    assert_eq!(shape.runtime.memory, Some(512 << 20));
    assert_eq!(shape.runtime.cpu_millis, Some(500));
    assert_eq!(
        shape.runtime.mounts,
        [
            Mount {
                source: "/srv/data".to_owned(),
                target: "/data".to_owned(),
                read_only: true
            },
            Mount {
                source: "cache".to_owned(),
                target: "/cache".to_owned(),
                read_only: false
            },
        ]
    );
    let Source::Generic(generic) = &own.source else {
        panic!("a command")
    };
    assert!(matches!(&generic.launch, Launch::Command { command, .. } if command.len() == 2));
    assert_eq!(
        own.secrets["OWN_PHRASE"],
        SecretRef::File("/run/secrets/own".to_owned())
    );
}

#[test]
fn every_fault_of_a_file_is_told_with_its_line() {
    let text = "connectors:
  - name: x
    contract: a
    image: b
  - contract: a
    colour: red
    running: yes
    confidence: 101
  - name: twice
    image: b c
    type: EXTERNAL_IMPORT
  - name: twice
    contract: a
    type: STREAM
    settings: {A_API_KEY: abc, B: {c: d}, E: ['f,g']}
    secrets: {H: abc, I: {env: a, file: b}}
  - name: twice
    contract: a
  - name: twice
    contract: a
    runtime: {memory: lots, cpus: none, mounts: ['a']}
  - just a text
";
    let FileError::Faults(faults) = declared::read(text).unwrap_err() else {
        panic!("faults")
    };
    let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for expected in [
        "line 2: connectors[0].name: must have two characters at least",
        "line 2: connectors[0]: write exactly one of `contract` (of a catalog), `image` and `command`",
        "line 6: connectors[1].colour: is not known; the keys here are name, contract",
        "line 5: connectors[1].name: is missing",
        "line 7: connectors[1].running: must be true or false",
        "line 8: connectors[1].confidence: must be a whole number from 0 to 100",
        "line 9: connectors[2].image: `container_image` is `b c`",
        "line 12: connectors[3].type: only goes with `image` and `command`; a contract has its type",
        "line 15: connectors[3].settings.A_API_KEY: is a secret; write it under `secrets`",
        "line 15: connectors[3].settings.B: must be a text or a list",
        "line 15: connectors[3].settings.E: an item has a comma",
        "line 16: connectors[3].secrets.H: must be `{env: NAME}` or `{file: PATH}`",
        "line 16: connectors[3].secrets.I: write exactly one of `env` and `file`",
        "line 21: connectors[5].runtime.memory: is no amount of memory",
        "line 21: connectors[5].runtime.cpus: must be a number of processors",
        "line 21: connectors[5].runtime.mounts[0]: must be `source:/target`",
        "line 22: connectors[6]: must be a map, it is a text",
    ] {
        assert!(
            all.iter().any(|fault| fault.starts_with(expected)),
            "{expected}\nnot in\n{}",
            all.join("\n")
        );
    }
    assert!(!all.join("").contains("abc"), "secrets are not repeated");
    let twice = "connectors:\n  - {name: aa, contract: x}\n  - {name: aa, contract: y}\n";
    let error = declared::read(twice).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 3: connectors[1].name: `aa` is there already, in line 2; every connector has its own name"
    );
}

#[test]
fn a_file_without_connectors_is_not_an_empty_list() {
    for (text, part) in [
        ("", "must be a map, it is nothing"),
        ("connectors:\n", "must be a list, it is nothing"),
        ("{}", "`connectors: []` for none"),
        ("connectors: [", "line"),
    ] {
        let error = declared::read(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
    assert_eq!(declared::read("connectors: []").unwrap().connectors, []);
}

#[test]
fn what_is_not_there_is_made() {
    let desired = definitions(FILE);
    let plan = plan(&desired, &[]).unwrap();
    assert_eq!(
        plan.to_string(),
        "+ Shape feed (every-shape rolling)\n+ Own importer (own-importer 1)\n2 to create, 0 to change, 0 to remove, 0 unchanged"
    );
    assert_eq!(
        desired[0].settings["SHAPE_LIMIT"], "10",
        "defaults are filled in"
    );
    assert_eq!(desired[1].settings["OWN_URL"], "https://own.example");
}

#[test]
fn what_is_as_it_shall_be_is_left_alone() {
    let plan = plan(&definitions(FILE), &current(definitions(FILE))).unwrap();
    assert!(plan.is_done());
    assert_eq!(
        plan.to_string(),
        "0 to create, 0 to change, 0 to remove, 2 unchanged"
    );
}

#[test]
fn changes_are_shown_with_secrets_masked() {
    let mut there = current(definitions(FILE));
    let first = &mut there[0].definition;
    first.version = "7.0.0".to_owned();
    first
        .settings
        .insert("SHAPE_LIMIT".to_owned(), "99".to_owned());
    first
        .settings
        .insert("OLD_API_KEY".to_owned(), "hunter2".to_owned());
    first.secrets.insert(
        "SHAPE_API_KEY".to_owned(),
        fingerprint(&KEY, "Shape feed", "SHAPE_API_KEY", &Secret::from("old")),
    );
    first.secrets.insert("GONE".to_owned(), String::new());
    first.runtime.memory = None;
    first
        .runtime
        .environment
        .insert("X".to_owned(), "hunter2".to_owned());
    there[1].definition.running = true;
    let plan = plan(&definitions(FILE), &there).unwrap();
    assert_eq!(
        plan.to_string(),
        "~ Shape feed
    version: 7.0.0 -> rolling
    settings.OLD_API_KEY: *** -> (not set)
    settings.SHAPE_LIMIT: 99 -> 10
    secrets.GONE: *** -> (not set)
    secrets.SHAPE_API_KEY: *** -> ***
    runtime.environment: *** -> ***
    runtime.memory: (not set) -> 536870912
~ Own importer
    running: true -> false
0 to create, 2 to change, 0 to remove, 0 unchanged"
    );
}

#[test]
fn a_secret_whose_fingerprint_is_not_known_is_set_again() {
    let mut there = current(definitions(FILE));
    for fingerprint in there[0].definition.secrets.values_mut() {
        fingerprint.clear();
    }
    let plan = plan(&definitions(FILE), &there).unwrap();
    assert!(matches!(&plan.steps[0], Step::Change { changes, .. } if changes.len() == 1));
}

#[test]
fn a_plain_setting_with_the_name_of_a_secret_is_compared_by_its_value() {
    let mut there = current(definitions(FILE));
    let mut desired = definitions(FILE);
    there[1]
        .definition
        .settings
        .insert("A_TOKEN".to_owned(), "one".to_owned());
    desired[1]
        .settings
        .insert("A_TOKEN".to_owned(), "two".to_owned());
    let plan = plan(&desired, &there).unwrap().to_string();
    assert!(plan.contains("settings.A_TOKEN: *** -> ***"), "{plan}");
}

#[test]
fn secrets_that_did_not_change_are_not_sealed_again() {
    let file = declared::read(FILE).unwrap();
    let resolved = resolve(&file.connectors[0], &[v0()], PLATFORM, &KEY, &read_secret).unwrap();
    let given = |current: &Definition| -> Vec<(String, bool)> {
        let given = resolved.given_for(current);
        let of_secrets = given
            .iter()
            .filter(|given| !resolved.definition.settings.contains_key(&given.key));
        of_secrets
            .map(|given| (given.key.clone(), given.value.is_some()))
            .collect()
    };
    let mut there = resolved.definition.clone();
    assert_eq!(given(&there), []);
    there
        .secrets
        .insert("SHAPE_OTHER_TOKEN".to_owned(), "0".repeat(32));
    assert_eq!(given(&there), [("SHAPE_OTHER_TOKEN".to_owned(), false)]);
    there.secrets.clear();
    assert_eq!(given(&there), [("SHAPE_API_KEY".to_owned(), true)]);
}

#[test]
fn what_the_file_does_not_say_is_not_compared() {
    let text = "connectors: [{name: Own importer, image: 'own/x:1', type: STREAM}]";
    let mut there = current(definitions(text));
    there[0].definition.user = Some("somebody".to_owned());
    there[0].definition.confidence = Some(10);
    there[0].definition.composer = Some("somewhere".to_owned());
    assert!(plan(&definitions(text), &there).unwrap().is_done());
}

#[test]
fn only_what_came_from_a_file_is_removed() {
    let mut there = current(definitions(FILE));
    there[1].declared = false;
    let plan = plan(&[], &there).unwrap();
    assert_eq!(
        plan.steps,
        [Step::Remove {
            id: "id-0".to_owned(),
            name: "Shape feed".to_owned()
        }]
    );
    assert_eq!(plan.removals(), 1);
}

#[test]
fn a_name_that_two_connectors_have_is_no_name() {
    let mut there = current(definitions(FILE));
    there[1].definition.name = "Shape feed".to_owned();
    let error = plan(&definitions(FILE), &there).unwrap_err();
    assert_eq!(error.ids, ["id-0", "id-1"]);
}

#[test]
fn what_cannot_be_resolved_says_what_to_do() {
    let resolved = |body: &str| {
        let file = declared::read(&format!("connectors: [{{name: aa, {body}}}]")).unwrap();
        let versions = Catalog::read(include_bytes!("../fixtures/manifest_v1.json"), "").unwrap();
        resolve(
            &file.connectors[0],
            &[v0(), versions],
            PLATFORM,
            &KEY,
            &read_secret,
        )
    };
    let error = |body: &str| resolved(body).unwrap_err();
    assert_eq!(
        error("contract: nope"),
        ResolveError::NoContract {
            slug: "nope".to_owned()
        }
    );
    assert_eq!(
        error("contract: every-shape, catalog: versions"),
        ResolveError::NoContract {
            slug: "every-shape".to_owned()
        }
    );
    assert_eq!(
        error("contract: newer-only"),
        ResolveError::Incompatible {
            slug: "newer-only".to_owned()
        }
    );
    assert!(
        matches!(error("contract: versioned, version: '1'"), ResolveError::NoVersion { known, .. } if known.len() == 4)
    );
    assert_eq!(
        error("contract: every-shape, settings: {SHAPE_URL: 'https://a.example'}, secrets: {SHAPE_API_KEY: {env: NOPE}}").to_string(),
        "the secret SHAPE_API_KEY cannot be read from the environment variable NOPE: it is not there"
    );
    assert!(
        error("contract: every-shape, secrets: {SHAPE_API_KEY: {env: EMPTY}}")
            .to_string()
            .ends_with("it is empty")
    );
    assert_eq!(
        error("contract: every-shape, settings: {SHAPE_LIMITS: 3}, secrets: {SHAPE_API_KEY: {env: SHAPE_KEY}}").to_string(),
        "Invalid contract configuration for Every Shape:\nSHAPE_URL: a value is required (Address of the service.)\n\
         SHAPE_LIMITS: the contract has no such key; did you mean SHAPE_LIMIT?"
    );
    // a pinned version is taken even when it does not fit
    let pinned = resolved("contract: ended, version: 7.260601.0, settings: {A_KEY: x}").unwrap();
    assert_eq!(pinned.definition.version, "7.260601.0");
    assert_eq!(
        resolved("contract: versioned, settings: {A_KEY: x}")
            .unwrap()
            .definition
            .version,
        "7.260817.0-lts.1"
    );
}

#[test]
fn fingerprints_tell_secrets_apart_and_connectors_too() {
    let print = |connector: &str, key: &str, secret: &str| {
        fingerprint(&KEY, connector, key, &Secret::from(secret))
    };
    let one = print("a", "B", "c");
    assert_eq!(one.len(), 32);
    assert_eq!(print("a", "B", "c"), one);
    for other in [
        print("a", "B", "d"),
        print("x", "B", "c"),
        print("a", "C", "c"),
        print("aB", "", "c"),
    ] {
        assert_ne!(other, one);
    }
    assert_ne!(fingerprint(&[8; 32], "a", "B", &Secret::from("c")), one);
}

proptest! {
    #[test]
    fn no_file_is_too_strange(lines in prop::collection::vec("(  |    |- )?(name|contract|image|command|settings|secrets|runtime|A)(:|: |: x|: \\[|: \\{a: b\\})?", 0..12)) {
        let _ = declared::read(&format!("connectors:\n- name: x\n{}\n", lines.join("\n")));
    }

    #[test]
    fn a_plan_that_was_carried_out_has_nothing_left(limit in 1..100_u8, running in any::<bool>(), level in prop::sample::select(vec!["debug", "info"])) {
        let text = format!(
            "connectors:\n- name: p1\n  contract: every-shape\n  running: {running}\n  settings: {{SHAPE_URL: 'https://a.example', SHAPE_LIMIT: {limit}, CONNECTOR_LOG_LEVEL: {level}}}\n  secrets: {{SHAPE_API_KEY: {{env: SHAPE_KEY}}}}\n"
        );
        let desired = definitions(&text);
        let there = current(desired.clone());
        prop_assert!(plan(&desired, &there).unwrap().is_done());
    }
}
