//! Values given for a contract become what is stored.

use ferrocti_catalog::{
    Catalog, Configured, Contract, Entry, Extra, Given, Invalid, Notice, Request, Schema, Secret,
    configure,
    generic::Generic,
    launch::{Launch, Runtime},
    recheck,
};
use proptest::prelude::*;
use serde_json::json;

use crate::catalogs::v0;

/// A seal that shows what was sealed.
fn sealer(secret: &Secret) -> Result<String, ferrocti_catalog::SealError> {
    Ok(format!("<{}>", secret.expose()))
}

fn given(pairs: &[(&str, &str)]) -> Vec<Given> {
    pairs
        .iter()
        .map(|(key, value)| Given::new(*key, *value))
        .collect()
}

fn with(
    contract: &Contract,
    given: &[Given],
    stored: &[Entry],
    extra: Extra,
) -> Result<Configured, Invalid> {
    let request = Request {
        title: &contract.title,
        schema: contract.schema.as_ref(),
        given,
        stored,
        extra,
    };
    configure(&request, &sealer)
}

/// What is needed, and some more.
fn needed(more: &[(&str, &str)]) -> Vec<Given> {
    let mut all = vec![
        ("SHAPE_URL", "https://example.org"),
        ("SHAPE_API_KEY", "abcd"),
    ];
    all.extend(more);
    given(&all)
}

pub fn texts(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| {
            format!(
                "{}{}{}",
                entry.key,
                if entry.encrypted { ":" } else { "=" },
                entry.value
            )
        })
        .collect()
}

fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    let catalog = v0();
    let invalid = with(&catalog.contracts[0], &needed(pairs), &[], Extra::Refuse).unwrap_err();
    invalid.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_filled_in_and_secrets_sealed_in_the_order_of_the_schema() {
    let catalog = v0();
    let configured = with(
        &catalog.contracts[0],
        &needed(&[("SHAPE_LIMIT", "20")]),
        &[],
        Extra::Ignore,
    )
    .unwrap();
    assert_eq!(
        texts(&configured.entries),
        [
            "CONNECTOR_NAME=Every shape",
            "CONNECTOR_SCOPE=report,tool",
            "CONNECTOR_LOG_LEVEL=error",
            "CONNECTOR_DURATION_PERIOD=PT1H",
            "SHAPE_URL=https://example.org",
            "SHAPE_API_KEY:<abcd>",
            "SHAPE_SINCE=P30D",
            "SHAPE_ENABLED=true",
            "SHAPE_LIMIT=20",
            "SHAPE_FACTOR=2",
            "SHAPE_KINDS=",
            "SHAPE_LEVEL=1",
        ]
    );
    assert_eq!(configured.notices, []);
}

#[test]
fn problems_name_the_key_and_say_what_is_expected() {
    for (key, value, expected) in [
        (
            "SHAPE_ENABLED",
            "True",
            "SHAPE_ENABLED: `True` is no boolean; write `true` or `false`",
        ),
        (
            "SHAPE_ENABLED",
            "no",
            "SHAPE_ENABLED: `no` is no boolean; write `false` or `true`",
        ),
        (
            "SHAPE_LIMIT",
            "many",
            "SHAPE_LIMIT: `many` is no whole number",
        ),
        (
            "SHAPE_LIMIT",
            "0",
            "SHAPE_LIMIT: `0` is out of range; the number must be at least 1 and at most 100",
        ),
        (
            "SHAPE_LIMIT",
            "101",
            "SHAPE_LIMIT: `101` is out of range; the number must be at least 1 and at most 100",
        ),
        (
            "SHAPE_ABOVE",
            "0",
            "SHAPE_ABOVE: `0` is out of range; the number must be greater than 0",
        ),
        ("SHAPE_FACTOR", "x", "SHAPE_FACTOR: `x` is no number"),
        ("SHAPE_FACTOR", "NaN", "SHAPE_FACTOR: `NaN` is no number"),
        (
            "SHAPE_FACTOR",
            "0.01",
            "SHAPE_FACTOR: `0.01` is out of range; the number must be at least 0.1 and at most 30",
        ),
        (
            "CONNECTOR_LOG_LEVEL",
            "loud",
            "CONNECTOR_LOG_LEVEL: `loud` is not allowed; write one of `debug`, `info`, `warn`, `warning`, `error`",
        ),
        (
            "SHAPE_KINDS",
            "private, secret",
            "SHAPE_KINDS: `secret` is not allowed; write one of `private`, `public`",
        ),
        (
            "CONNECTOR_SCOPE",
            " , ",
            "CONNECTOR_SCOPE: the list has 0 items, at least 1 are needed; separate them with commas",
        ),
        (
            "SHAPE_CODE",
            "deu",
            "SHAPE_CODE: `deu` does not match the pattern `^[A-Z]{2}$`",
        ),
        (
            "SHAPE_LEVEL",
            "4",
            "SHAPE_LEVEL: `4` is not allowed; write one of `1`, `2`, `3`",
        ),
        (
            "CONNECTOR_DURATION_PERIOD",
            "1h",
            "CONNECTOR_DURATION_PERIOD: `1h` is no ISO 8601 duration; write e.g. `PT1H` for an hour, `P1D` for a day, `PT30M` for half an hour",
        ),
        (
            "SHAPE_SINCE",
            "soon",
            "SHAPE_SINCE: `soon` is no time; write e.g. `2026-01-31T00:00:00Z`, or a duration before now such as `P30D`",
        ),
        (
            "SHAPE_DAY",
            "31.1.2026",
            "SHAPE_DAY: `31.1.2026` is no date; write e.g. `2026-01-31`",
        ),
        (
            "SHAPE_MAIL",
            "me",
            "SHAPE_MAIL: `me` is no mail address; write e.g. `name@example.org`",
        ),
        (
            "SHAPE_URL",
            "example.org",
            "SHAPE_URL: `example.org` is no URI; write it with its scheme, e.g. `https://example.org`",
        ),
        (
            "SHAPE_API_KEY",
            "abc",
            "SHAPE_API_KEY: the value has 3 characters, at least 4 are needed",
        ),
        (
            "SHAPE_MAPPING",
            "{'a': 1}",
            "SHAPE_MAPPING: the value must be JSON; it cannot be read at line 1 column 2",
        ),
        (
            "SHAPE_NULLABLE",
            "4",
            "SHAPE_NULLABLE: `4` is out of range; the number must be at least 5",
        ),
        (
            "SHAPE_LIMITS",
            "4",
            "SHAPE_LIMITS: the contract has no such key; did you mean SHAPE_LIMIT?",
        ),
        (
            "shape_limit",
            "4",
            "shape_limit: the contract has no such key; did you mean SHAPE_LIMIT?",
        ),
        ("ELSE", "4", "ELSE: the contract has no such key"),
        (
            "OPENCTI_TOKEN",
            "x",
            "OPENCTI_TOKEN: the platform gives this key itself; leave it out",
        ),
    ] {
        assert_eq!(problems(&[(key, value)]), [expected], "{key}={value}");
    }
}

#[test]
fn what_no_program_can_be_given_is_refused_whether_the_contract_names_it_or_not() {
    let long = "x".repeat(128 << 10);
    let catalog = v0();
    for (key, value, expected) in [
        ("A=B", "1", "cannot be the name of an environment variable"),
        ("", "1", "cannot be the name of an environment variable"),
        ("ELSE", "a\0b", "NUL"),
        ("ELSE", &long, "131077 bytes"),
        ("SHAPE_MIXED", &long, "131084 bytes"),
    ] {
        let refused = with(
            &catalog.contracts[0],
            &needed(&[(key, value)]),
            &[],
            Extra::Keep,
        );
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(expected) && text.len() < 400, "{key}: {text}");
    }
    let fits = "x".repeat((128 << 10) - "ELSE=".len() - 1);
    let taken = with(
        &catalog.contracts[0],
        &needed(&[("ELSE", &fits)]),
        &[],
        Extra::Keep,
    );
    assert!(taken.unwrap().entries.contains(&Entry::plain("ELSE", fits)));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let catalog = v0();
    let invalid = with(
        &catalog.contracts[0],
        &given(&[("SHAPE_LIMIT", "x"), ("SHAPE_ENABLED", "y")]),
        &[],
        Extra::Ignore,
    )
    .unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "Invalid contract configuration for Every Shape:\n\
         SHAPE_URL: a value is required (Address of the service.)\n\
         SHAPE_API_KEY: a value is required (Key of the service.)\n\
         SHAPE_ENABLED: `y` is no boolean; write `true` or `false`\n\
         SHAPE_LIMIT: `x` is no whole number"
    );
}

#[test]
fn right_values_are_taken_as_they_are() {
    let pairs = [
        ("SHAPE_SINCE", "2026-01-31T00:00:00+01:00"),
        ("SHAPE_DAY", "2026-01-31"),
        ("SHAPE_MAIL", "a@example.org"),
        ("SHAPE_FACTOR", "0.5"),
        ("SHAPE_KINDS", "private, public"),
        ("SHAPE_CODE", "DE"),
        ("SHAPE_LEVEL", "3"),
        ("SHAPE_MAPPING", "{\"a\": 1}"),
        ("SHAPE_NULLABLE", "5"),
        ("SHAPE_MIXED", "anything"),
        ("SHAPE_ENABLED", "false"),
    ];
    let catalog = v0();
    let configured = with(&catalog.contracts[0], &needed(&pairs), &[], Extra::Refuse).unwrap();
    for (key, value) in pairs {
        assert!(
            configured.entries.contains(&Entry::plain(key, value)),
            "{key}"
        );
    }
}

#[test]
fn a_secret_is_in_no_message() {
    let schema = Schema::read(&json!({"properties": {
        "A_PASSWORD": {"type": "string", "format": "password", "pattern": "^x", "enum": ["xyz"], "maxLength": 3},
        "B_API_KEY": {"type": "string", "contentMediaType": "application/json"},
    }}))
    .unwrap();
    let given = given(&[("A_PASSWORD", "hunter2"), ("B_API_KEY", "hunter2")]);
    let request = Request {
        title: "x",
        schema: Some(&schema),
        given: &given,
        stored: &[],
        extra: Extra::Refuse,
    };
    let invalid = configure(&request, &sealer).unwrap_err();
    assert_eq!(invalid.problems.len(), 4);
    let printed = format!("{invalid} {invalid:?} {request:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn whole_numbers_are_read_as_upstream_reads_them_and_it_is_told() {
    let catalog = v0();
    let configured = with(
        &catalog.contracts[0],
        &needed(&[("SHAPE_LIMIT", "12abc")]),
        &[],
        Extra::Refuse,
    )
    .unwrap();
    assert!(
        configured
            .entries
            .contains(&Entry::plain("SHAPE_LIMIT", "12"))
    );
    assert_eq!(configured.notices.len(), 1);
    assert_eq!(
        configured.notices[0].to_string(),
        "SHAPE_LIMIT: `12abc` was read as `12`"
    );
}

#[test]
fn deprecated_keys_work_and_are_told() {
    let catalog = v0();
    let configured = with(
        &catalog.contracts[0],
        &needed(&[("SHAPE_OLD_LIMIT", "3")]),
        &[],
        Extra::Refuse,
    )
    .unwrap();
    assert_eq!(
        configured.notices,
        [Notice::Deprecated {
            key: "SHAPE_OLD_LIMIT".to_owned(),
            about: Some("Use SHAPE_LIMIT instead.".to_owned())
        }]
    );
}

#[test]
fn an_edit_replaces_values_and_keeps_secrets() {
    let catalog = v0();
    let contract = &catalog.contracts[0];
    let first = needed(&[
        ("SHAPE_LIMIT", "20"),
        ("SHAPE_OTHER_TOKEN", "t"),
        ("SHAPE_CODE", "DE"),
    ]);
    let stored = with(contract, &first, &[], Extra::Ignore).unwrap().entries;
    assert!(stored.contains(&Entry::sealed("SHAPE_OTHER_TOKEN", "<t>")));
    let edit = |pairs: &[(&str, &str)]| {
        with(contract, &given(pairs), &stored, Extra::Ignore)
            .unwrap()
            .entries
    };
    // what is left out falls back to its default; secrets stay; an empty text is nothing
    let entries = edit(&[("SHAPE_URL", "https://b.example"), ("SHAPE_API_KEY", "")]);
    assert!(entries.contains(&Entry::plain("SHAPE_LIMIT", "10")));
    assert!(!entries.iter().any(|entry| entry.key == "SHAPE_CODE"));
    assert!(entries.contains(&Entry::sealed("SHAPE_API_KEY", "<abcd>")));
    assert!(entries.contains(&Entry::sealed("SHAPE_OTHER_TOKEN", "<t>")));
    // the envelope itself is not sealed again, a new value is
    let entries = edit(&[
        ("SHAPE_URL", "https://b.example"),
        ("SHAPE_API_KEY", "<abcd>"),
        ("SHAPE_OTHER_TOKEN", "u"),
    ]);
    assert!(entries.contains(&Entry::sealed("SHAPE_API_KEY", "<abcd>")));
    assert!(entries.contains(&Entry::sealed("SHAPE_OTHER_TOKEN", "<u>")));
    // a secret can be forgotten, unless it is required
    let mut forget = given(&[("SHAPE_URL", "https://b.example")]);
    forget.push(Given {
        key: "SHAPE_OTHER_TOKEN".to_owned(),
        value: None,
    });
    let entries = with(contract, &forget, &stored, Extra::Ignore)
        .unwrap()
        .entries;
    assert!(!entries.iter().any(|entry| entry.key == "SHAPE_OTHER_TOKEN"));
    forget.push(Given {
        key: "SHAPE_API_KEY".to_owned(),
        value: None,
    });
    assert!(with(contract, &forget, &stored, Extra::Ignore).is_err());
}

#[test]
fn a_key_given_twice_counts_with_its_last_value() {
    let catalog = v0();
    let twice = needed(&[("SHAPE_LIMIT", "1"), ("SHAPE_LIMIT", "2")]);
    let configured = with(&catalog.contracts[0], &twice, &[], Extra::Ignore).unwrap();
    assert!(
        configured
            .entries
            .contains(&Entry::plain("SHAPE_LIMIT", "2"))
    );
}

#[test]
fn unknown_keys_are_left_out_kept_or_refused() {
    let catalog = v0();
    let contract = &catalog.contracts[0];
    let more = needed(&[
        ("TZ", "UTC"),
        ("MQ_PASSWORD", "p"),
        ("CONNECTOR_ID", "x"),
        ("CONNECTOR_RUN_AND_TERMINATE", "true"),
    ]);
    let ignored = with(contract, &more, &[], Extra::Ignore).unwrap();
    assert!(
        !texts(&ignored.entries)
            .iter()
            .any(|text| text.starts_with("TZ"))
    );
    assert_eq!(ignored.notices.len(), 4);
    assert!(ignored.notices.contains(&Notice::Ignored {
        key: "CONNECTOR_ID".to_owned(),
        given_by_platform: true
    }));
    let kept = with(contract, &more, &[], Extra::Keep).unwrap();
    let tail = texts(&kept.entries[kept.entries.len() - 3..]);
    assert_eq!(
        tail,
        [
            "TZ=UTC",
            "MQ_PASSWORD:<p>",
            "CONNECTOR_RUN_AND_TERMINATE=true"
        ]
    );
    assert_eq!(kept.notices.len(), 1);
    // an edit without them drops the plain one and keeps the secret one
    let edited = with(contract, &needed(&[]), &kept.entries, Extra::Keep).unwrap();
    assert_eq!(texts(&edited.entries).last().unwrap(), "MQ_PASSWORD:<p>");
    assert!(!edited.entries.iter().any(|entry| entry.key == "TZ"));
}

#[test]
fn without_a_schema_every_key_is_kept() {
    let catalog = v0();
    let contract = catalog.version("no-schema", "rolling").unwrap();
    let configured = with(
        contract,
        &given(&[("A", "1"), ("A_TOKEN", "2")]),
        &[],
        Extra::Refuse,
    )
    .unwrap();
    assert_eq!(texts(&configured.entries), ["A=1", "A_TOKEN:<2>"]);
}

#[test]
fn a_new_version_is_held_against_what_is_stored() {
    let stored = [
        Entry::plain("A_LIMIT", "200"),
        Entry::sealed("A_KEY", "<x>"),
        Entry::plain("A_GONE", "1"),
    ];
    let schema = |document| Schema::read(&document).unwrap();
    let fits = schema(
        json!({"properties": {"A_LIMIT": {"type": "integer"}, "A_KEY": {"type": "string", "format": "password"}},
        "required": ["A_LIMIT", "A_KEY"]}),
    );
    assert_eq!(recheck(&fits, &stored), []);
    let stricter = schema(
        json!({"properties": {"A_LIMIT": {"type": "integer", "maximum": 100}, "A_NEW": {"type": "string"}},
        "required": ["A_NEW"]}),
    );
    let problems: Vec<String> = recheck(&stricter, &stored)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        problems,
        [
            "A_LIMIT: `200` is out of range; the number must be at most 100",
            "A_NEW: a value is required"
        ]
    );
}

#[test]
fn an_image_or_a_command_has_a_contract_too() {
    let generic: Generic = serde_json::from_value(json!({
        "title": "Our own thing",
        "type": "EXTERNAL_IMPORT",
        "launch": {"image": "registry.example:5000/own/thing:1.2"},
        "environment": {"OWN_URL": "https://example.org"},
        "secrets": ["OWN_PHRASE"],
    }))
    .unwrap();
    let contract = generic.contract().unwrap();
    assert_eq!(
        contract.image_reference(),
        "registry.example:5000/own/thing:1.2"
    );
    assert_eq!(contract.slug, "our-own-thing");
    let configured = with(
        &contract,
        &given(&[("OWN_PHRASE", "p"), ("TZ", "UTC")]),
        &[],
        Extra::Keep,
    )
    .unwrap();
    assert_eq!(
        texts(&configured.entries),
        ["OWN_URL=https://example.org", "OWN_PHRASE:<p>", "TZ=UTC"]
    );
    assert!(
        with(&contract, &[], &[], Extra::Keep).is_err(),
        "a secret is missing"
    );
    let again = Contract::read(&contract.document()).unwrap();
    assert_eq!(again, contract);

    let digest = Generic {
        launch: Launch::Image {
            image: "x/y@sha256:ab".to_owned(),
        },
        ..generic.clone()
    };
    let contract = digest.contract().unwrap();
    assert_eq!(contract.launch(), digest.launch);
    assert_eq!(contract.image_reference(), "x/y@sha256:ab");
    let command = Generic {
        launch: Launch::Command {
            command: vec!["python3".to_owned(), "main.py".to_owned()],
            working_directory: Some("/srv/own".to_owned()),
            requirements: Some("requirements.txt".to_owned()),
        },
        ..generic.clone()
    };
    let contract = command.contract().unwrap();
    assert_eq!(
        Contract::read(&contract.document()).unwrap().launch(),
        command.launch
    );
    for wrong in [
        Generic {
            launch: Launch::Image {
                image: "a b".to_owned(),
            },
            ..generic.clone()
        },
        Generic {
            connector_type: "THING".to_owned(),
            ..generic.clone()
        },
        Generic {
            title: String::new(),
            ..generic
        },
    ] {
        assert!(wrong.contract().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_stored_configuration_reads_as_upstream_writes_it() {
    let text = r#"[{"key":"A","value":"1"},{"key":"B","value":"AgAB","encrypted":true}]"#;
    let entries: Vec<Entry> = serde_json::from_str(text).unwrap();
    assert_eq!(
        entries,
        [Entry::plain("A", "1"), Entry::sealed("B", "AgAB")]
    );
    assert_eq!(serde_json::to_string(&entries).unwrap(), text);
}

#[test]
fn the_sample_connector_can_be_configured_with_nothing() {
    let catalog: Catalog = ferrocti_catalog::local::catalog("0.1.0").unwrap();
    let configured = with(&catalog.contracts[0], &[], &[], Extra::Refuse).unwrap();
    assert!(
        configured
            .entries
            .contains(&Entry::plain("SAMPLE_OBJECTS", "10"))
    );
    assert!(!configured.entries.iter().any(|entry| entry.encrypted));
}

#[test]
fn items_of_a_list_have_a_type_too() {
    let schema = Schema::read(&json!({"properties": {
        "A_PORTS": {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3},
    }}))
    .unwrap();
    let asked = |value: &str| {
        let given = given(&[("A_PORTS", value)]);
        let request = Request {
            title: "x",
            schema: Some(&schema),
            given: &given,
            stored: &[],
            extra: Extra::Refuse,
        };
        configure(&request, &sealer)
            .map(|configured| texts(&configured.entries))
            .map_err(|invalid| {
                invalid
                    .problems
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            })
    };
    assert_eq!(asked("80, 443"), Ok(vec!["A_PORTS=80, 443".to_owned()]));
    assert_eq!(
        asked("0,x,1,2"),
        Err(vec![
            "A_PORTS: the list has 4 items, at most 3 are allowed".to_owned(),
            "A_PORTS: `0` is out of range; the number must be at least 1".to_owned(),
            "A_PORTS: `x` is no whole number".to_owned(),
        ])
    );
}

#[test]
fn variables_that_may_hold_secrets_are_not_printed() {
    let runtime: Runtime = serde_json::from_value(
        json!({"environment": {"ANY": "hunter2"}, "proxy": {"http": "http://me:hunter2@proxy"}}),
    )
    .unwrap();
    let generic: Generic = serde_json::from_value(json!({
        "title": "Own", "type": "STREAM", "launch": {"image": "own"}, "environment": {"ANY": "hunter2"},
    }))
    .unwrap();
    let printed = format!("{runtime:?} {generic:?} {:?}", given(&[("ANY", "hunter2")]));
    assert!(
        !printed.contains("hunter2") && printed.contains("ANY"),
        "{printed}"
    );
}

proptest! {
    #[test]
    fn what_was_stored_and_is_given_again_is_the_same(
        limit in 1..=100_u8, factor in 1..30_u8, kinds in prop::sample::subsequence(vec!["private", "public"], 0..=2),
        secret in "[a-z]{4,9}", token in proptest::option::of("[a-z]{1,5}"), enabled in any::<bool>(),
    ) {
        let catalog = v0();
        let contract = &catalog.contracts[0];
        let (limit, factor, enabled, kinds) = (limit.to_string(), factor.to_string(), enabled.to_string(), kinds.join(","));
        let mut first = given(&[
            ("SHAPE_URL", "https://example.org"), ("SHAPE_API_KEY", &secret), ("SHAPE_LIMIT", &limit),
            ("SHAPE_FACTOR", &factor), ("SHAPE_KINDS", &kinds), ("SHAPE_ENABLED", &enabled),
        ]);
        first.extend(token.map(|token| Given::new("SHAPE_OTHER_TOKEN", token)));
        let stored = with(contract, &first, &[], Extra::Refuse).unwrap().entries;
        let again: Vec<Given> = stored.iter().map(|entry| Given::new(&entry.key, entry.value.as_str())).collect();
        prop_assert_eq!(&with(contract, &again, &stored, Extra::Refuse).unwrap().entries, &stored);
        // and a client that does not send the secrets back changes nothing either
        let plain: Vec<Given> = stored.iter().filter(|entry| !entry.encrypted)
            .map(|entry| Given::new(&entry.key, entry.value.as_str())).collect();
        prop_assert_eq!(&with(contract, &plain, &stored, Extra::Refuse).unwrap().entries, &stored);
        prop_assert_eq!(recheck(contract.schema.as_ref().unwrap(), &stored), vec![]);
    }
}
