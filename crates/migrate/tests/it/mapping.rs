//! Environments against contracts: nothing is lost, nothing is changed silently, and what is made of it can be configured.

use std::collections::BTreeMap;

use ferrocti_catalog::{
    Contract, Entry, Extra, Request, Secret, configure,
    environment::{Identity, Proxy, Surroundings, Variable, for_composer, for_process},
};
use ferrocti_migrate::map::{
    Carried, Change, Choices, Difference, Fate, Found, Kept, Key, Mapping, differences, map,
};
use proptest::{collection::vec, prelude::*};
use serde_json::json;

pub(crate) fn contract() -> Contract {
    Contract::read(&json!({
        "title": "Feed", "slug": "feed", "container_image": "example/connector-feed", "container_version": "1.0",
        "container_type": "EXTERNAL_IMPORT", "manager_supported": true,
        "config_schema": {
            "type": "object",
            "properties": {
                "OPENCTI_URL": {"type": "string", "format": "uri"},
                "OPENCTI_TOKEN": {"type": "string"},
                "CONNECTOR_TYPE": {"const": "EXTERNAL_IMPORT"},
                "CONNECTOR_NAME": {"type": "string", "default": "Feed"},
                "CONNECTOR_SCOPE": {"type": "array", "items": {"type": "string"}, "default": ["feed"]},
                "CONNECTOR_LOG_LEVEL": {"type": "string", "enum": ["debug", "info", "error"], "default": "error"},
                "CONNECTOR_DURATION_PERIOD": {"type": "string", "format": "duration", "default": "PT1H"},
                "FEED_URL": {"type": "string", "format": "uri"},
                "FEED_API_KEY": {"type": "string", "format": "password", "description": "The key"},
                "FEED_SECOND_KEY": {"type": "string", "format": "password"},
                "FEED_VERIFY": {"type": "boolean", "default": true},
                "FEED_LIMIT": {"type": "integer", "default": 100},
                "FEED_TITLE": {"type": "string"},
                "FEED_INTERVAL_SEC": {"type": "integer", "deprecated": true, "description": "Use CONNECTOR_DURATION_PERIOD instead."},
                "FEED_INTERVAL": {"type": "integer", "deprecated": true, "description": "Use CONNECTOR_DURATION_PERIOD instead."},
                "FEED_OLD_TITLE": {"type": "string", "deprecated": true, "description": "Use FEED_TITLE instead."},
            },
            "required": ["OPENCTI_URL", "OPENCTI_TOKEN", "FEED_URL", "FEED_API_KEY"],
        },
    }))
    .unwrap()
}

pub(crate) fn found(pairs: &[(&str, &str)]) -> Vec<Found> {
    pairs
        .iter()
        .map(|(key, value)| Found {
            key: (*key).to_owned(),
            value: Secret::from(*value),
            at: None,
        })
        .collect()
}

pub(crate) const WHOLE: &[(&str, &str)] = &[
    ("OPENCTI_URL", "http://localhost"),
    ("OPENCTI_TOKEN", "t0ken"),
    ("CONNECTOR_ID", "c1"),
    ("CONNECTOR_NAME", "My feed"),
    ("FEED_URL", "https://feed.example"),
    ("FEED_API_KEY", "hunter2"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<(&str, &str)> = WHOLE.to_vec();
    all.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
    all.extend(more);
    all
}

fn mapped(more: &[(&str, &str)], choices: &Choices) -> Mapping {
    map(&found(&with(more)), Some(&contract()), choices)
}

fn key<'m>(mapping: &'m Mapping, name: &str) -> &'m Key {
    mapping.keys.iter().find(|key| key.key == name).unwrap()
}

fn value<'m>(mapping: &'m Mapping, name: &str) -> Option<&'m str> {
    key(mapping, name).value.as_ref().map(Secret::expose)
}

/// The environment that the new instance finds.
fn new_environment(mapping: &Mapping) -> Vec<Variable> {
    let contract = contract();
    let configured = configure(
        &Request {
            title: "Feed",
            schema: contract.schema.as_ref(),
            given: &mapping.given(),
            stored: &[],
            extra: Extra::Keep,
        },
        &|secret| Ok(secret.expose().to_owned()),
    )
    .unwrap();
    let identity = Identity {
        id: "c1",
        name: "My feed",
        connector_type: "EXTERNAL_IMPORT",
    };
    let listed = for_composer(
        &configured.entries,
        identity,
        Some("new"),
        &Proxy::default(),
    );
    let opened = listed
        .into_iter()
        .map(
            |Entry {
                 key,
                 value,
                 encrypted,
             }| Variable {
                key,
                value: Secret::from(value),
                sealed: encrypted,
            },
        )
        .collect();
    for_process(
        opened,
        &Surroundings {
            platform_url: "http://platform",
            hash: "h",
            proxy: mapping.proxy.as_ref(),
            ca_file: None,
            extra: &BTreeMap::new(),
        },
    )
}

#[test]
fn each_key_gets_its_fate() {
    let mapping = mapped(
        &[
            ("CONNECTOR_SCOPE", "a,b"),
            ("CONNECTOR_LOG_LEVEL", ""),
            ("CONNECTOR_QUEUE_THRESHOLD", "500"),
            ("MQ_HOST", "mq"),
            ("TZ", "UTC"),
            ("OWN_SETTING", "x"),
            ("feed_title", "t"),
            ("HTTPS_PROXY", "http://user:pw@proxy"),
            ("OPENCTI_SSL_VERIFY", "true"),
            ("CONNECTOR_RUN_AND_TERMINATE", "true"),
        ],
        &Choices::default(),
    );
    let unknown = |similar: Option<&str>| {
        Fate::Kept(Kept::Unknown {
            similar: similar.map(str::to_owned),
        })
    };
    for (name, fate) in [
        ("OPENCTI_URL", Fate::GivenByPlatform),
        ("OPENCTI_TOKEN", Fate::GivenByPlatform),
        ("CONNECTOR_ID", Fate::GivenByPlatform),
        ("CONNECTOR_NAME", Fate::GivenByPlatform),
        ("CONNECTOR_SCOPE", Fate::Mapped),
        ("FEED_API_KEY", Fate::Mapped),
        ("CONNECTOR_LOG_LEVEL", Fate::Dropped),
        ("FEED_VERIFY", Fate::Default),
        ("CONNECTOR_QUEUE_THRESHOLD", Fate::Kept(Kept::Client)),
        ("MQ_HOST", Fate::Kept(Kept::Client)),
        ("OPENCTI_SSL_VERIFY", Fate::Kept(Kept::Client)),
        ("CONNECTOR_RUN_AND_TERMINATE", Fate::Kept(Kept::Client)),
        ("TZ", Fate::Kept(Kept::Process)),
        ("HTTPS_PROXY", Fate::Kept(Kept::Proxy)),
        ("OWN_SETTING", unknown(None)),
        ("feed_title", unknown(Some("FEED_TITLE"))),
    ] {
        assert_eq!(key(&mapping, name).fate, fate, "{name}");
    }
    assert_eq!(mapping.open().count(), 0);
    assert_eq!(
        mapping.proxy.as_ref().unwrap().https.as_deref(),
        Some("http://user:pw@proxy")
    );
    assert!(!mapping.keys.iter().any(|key| key.key == "FEED_TITLE"));
}

#[test]
fn what_is_missing_or_only_a_placeholder_has_to_be_given() {
    for (given, missing) in [
        (("FEED_API_KEY", "ChangeMe"), "FEED_API_KEY"),
        (("FEED_API_KEY", ""), "FEED_API_KEY"),
        (("FEED_URL", "<url>"), "FEED_URL"),
        (("FEED_SECOND_KEY", "xxx"), "FEED_SECOND_KEY"),
    ] {
        let mapping = mapped(&[given], &Choices::default());
        let open: Vec<&str> = mapping.open().map(|key| key.key.as_str()).collect();
        assert_eq!(open, [missing], "{given:?}");
        assert_eq!(key(&mapping, missing).value, None);
    }
    let given = Choices {
        values: BTreeMap::from([("FEED_API_KEY".to_owned(), Some(Secret::from("k")))]),
        ..Choices::default()
    };
    let mapping = mapped(&[("FEED_API_KEY", "ChangeMe")], &given);
    assert_eq!(mapping.open().count(), 0);
    assert_eq!(value(&mapping, "FEED_API_KEY"), Some("k"));
}

#[test]
fn a_value_is_changed_only_where_both_mean_the_same_or_somebody_accepts_it() {
    let alone = Choices::default();
    let all = Choices {
        accept_all: true,
        ..Choices::default()
    };
    for (name, written, untouched, accepted, open) in [
        ("FEED_VERIFY", "True", "true", "true", false),
        ("FEED_VERIFY", "no", "false", "false", false),
        ("FEED_VERIFY", "on", "on", "true", true),
        ("FEED_VERIFY", "\"true\"", "\"true\"", "true", true),
        (
            "FEED_TITLE",
            "\"My title\"",
            "\"My title\"",
            "My title",
            false,
        ),
        ("FEED_TITLE", " t ", " t ", "t", false),
        ("FEED_LIMIT", "'5'", "'5'", "5", true),
        ("FEED_LIMIT", " 5 ", "5", "5", false),
        ("FEED_LIMIT", "many", "many", "many", true),
    ] {
        let mapping = mapped(&[(name, written)], &alone);
        assert_eq!(value(&mapping, name), Some(untouched), "{name}={written}");
        assert_eq!(key(&mapping, name).is_open(), open, "{name}={written}");
        let mapping = mapped(&[(name, written)], &all);
        assert_eq!(value(&mapping, name), Some(accepted), "{name}={written}");
    }
}

#[test]
fn the_successor_of_a_deprecated_key_gets_its_value_before_a_default_does() {
    for (given, to, carried, expected) in [
        (
            &[("FEED_OLD_TITLE", "t")][..],
            "FEED_TITLE",
            Carried::Copied,
            Some("t"),
        ),
        (
            &[("FEED_OLD_TITLE", "t"), ("FEED_TITLE", "u")],
            "FEED_TITLE",
            Carried::AlreadySet,
            Some("u"),
        ),
        (
            &[("FEED_INTERVAL_SEC", "90")],
            "CONNECTOR_DURATION_PERIOD",
            Carried::Converted,
            Some("PT90S"),
        ),
        (
            &[("FEED_INTERVAL", "2")],
            "CONNECTOR_DURATION_PERIOD",
            Carried::Unfit,
            Some("PT1H"),
        ),
    ] {
        let mapping = mapped(given, &Choices::default());
        let name = given[0].0;
        assert_eq!(
            key(&mapping, name).fate,
            Fate::Renamed {
                to: to.to_owned(),
                carried
            },
            "{given:?}"
        );
        assert_eq!(value(&mapping, name), Some(given[0].1), "it stays");
        assert_eq!(value(&mapping, to), expected, "{given:?}");
        assert_eq!(
            mapping.open().count(),
            usize::from(carried == Carried::Unfit)
        );
    }
}

#[test]
fn the_mapping_can_be_configured_and_every_difference_has_its_reason() {
    let old = with(&[
        ("CONNECTOR_SCOPE", "a,b"),
        ("CONNECTOR_LOG_LEVEL", ""),
        ("FEED_VERIFY", "True"),
        ("FEED_OLD_TITLE", "t"),
        ("TZ", "UTC"),
        ("OWN_TOKEN", "s3cret"),
        ("HTTPS_PROXY", "http://proxy"),
        ("CONNECTOR_RUN_AND_TERMINATE", "true"),
        ("EMPTY_EXTRA", ""),
    ]);
    let mapping = map(&found(&old), Some(&contract()), &Choices::default());
    let new = new_environment(&mapping);
    let differences = differences(&found(&old), &new, &mapping);
    let unexplained: Vec<&Difference> = differences
        .iter()
        .filter(|difference| difference.reason.is_none())
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    let change = |key: &str| {
        differences
            .iter()
            .find(|difference| difference.key == key)
            .map(|difference| difference.change)
    };
    assert_eq!(change("OPENCTI_TOKEN"), Some(Change::Changed));
    assert_eq!(change("FEED_VERIFY"), Some(Change::Changed));
    assert_eq!(change("FEED_LIMIT"), Some(Change::Added));
    assert_eq!(change("FEED_TITLE"), Some(Change::Added));
    assert_eq!(change("EMPTY_EXTRA"), Some(Change::Removed));
    for same in [
        "FEED_API_KEY",
        "FEED_OLD_TITLE",
        "TZ",
        "OWN_TOKEN",
        "HTTPS_PROXY",
        "CONNECTOR_ID",
        "CONNECTOR_SCOPE",
    ] {
        assert_eq!(change(same), None, "{same}");
    }
}

#[test]
fn a_difference_that_nobody_has_planned_is_told() {
    let mapping = mapped(&[("OWN", "x")], &Choices::default());
    let old = found(&with(&[("OWN", "x")]));
    let mut new = new_environment(&mapping);
    for variable in &mut new {
        if variable.key == "FEED_URL" {
            variable.value = Secret::from("https://other.example");
        }
    }
    new.retain(|variable| variable.key != "OWN");
    new.push(Variable {
        key: "SURPRISE".to_owned(),
        value: Secret::from("x"),
        sealed: false,
    });
    let unexplained: Vec<String> = differences(&old, &new, &mapping)
        .into_iter()
        .filter(|difference| difference.reason.is_none())
        .map(|difference| difference.key)
        .collect();
    assert_eq!(unexplained, ["FEED_URL", "OWN", "SURPRISE"]);
}

#[test]
fn without_a_contract_everything_is_kept() {
    let all = with(&[("WAZUH_PASSWORD", "p"), ("X", "y")]);
    let mapping = map(&found(&all), None, &Choices::default());
    let given: Vec<String> = mapping.given().into_iter().map(|given| given.key).collect();
    assert_eq!(given, ["FEED_URL", "FEED_API_KEY", "WAZUH_PASSWORD", "X"]);
    assert!(key(&mapping, "WAZUH_PASSWORD").secret);
    assert_eq!(
        key(&mapping, "WAZUH_PASSWORD").shown().as_deref(),
        Some("***")
    );
    assert_eq!(key(&mapping, "X").shown().as_deref(), Some("***"));
    assert_eq!(key(&mapping, "X").fate, Fate::Kept(Kept::NoSchema));
}

#[test]
fn secrets_are_not_printed() {
    let mapping = mapped(
        &[
            ("FEED_SECOND_KEY", "s3cret"),
            ("OWN_TOKEN", "s3cret"),
            ("HTTP_PROXY", "http://u:s3cret@p"),
        ],
        &Choices::default(),
    );
    let printed = format!("{mapping:?}");
    for secret in ["hunter2", "s3cret", "t0ken"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_and_nothing_differs_without_a_reason(
        pairs in vec((
            prop_oneof![
                "[A-Z_]{1,6}",
                prop::sample::select(vec![
                    "CONNECTOR_SCOPE", "CONNECTOR_LOG_LEVEL", "FEED_VERIFY", "FEED_LIMIT", "FEED_TITLE", "FEED_OLD_TITLE",
                    "FEED_INTERVAL_SEC", "FEED_SECOND_KEY", "TZ", "HTTP_PROXY", "NO_PROXY", "MQ_HOST", "CONNECTOR_NAME",
                ]).prop_map(str::to_owned),
            ],
            prop_oneof!["[a-z0-9 \"']{0,8}", Just("True".to_owned()), Just("12".to_owned()), Just("ChangeMe".to_owned())],
        ), 0..8),
        accept_all: bool,
    ) {
        let mut all = found(WHOLE);
        for (key, value) in &pairs {
            all.push(Found { key: key.clone(), value: Secret::from(value.as_str()), at: None });
        }
        let choices = Choices { accept_all, ..Choices::default() };
        let mapping = map(&all, Some(&contract()), &choices);
        for found in &all {
            prop_assert!(mapping.keys.iter().any(|key| key.key == found.key), "{} is lost", found.key);
        }
        if mapping.open().next().is_none() {
            let new = new_environment(&mapping);
            for difference in differences(&all, &new, &mapping) {
                prop_assert!(difference.reason.is_some(), "{difference:?}");
            }
        }
    }
}
