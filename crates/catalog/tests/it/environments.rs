//! What a connector finds in its environment, and the hash over it.

use std::collections::BTreeMap;

use ferrocti_catalog::{
    Entry, Secret, contract_hash,
    environment::{self, Identity, Proxy, Surroundings, Variable},
};

use crate::configuring::texts;

const IDENTITY: Identity<'static> = Identity {
    id: "id-1",
    name: "shape",
    connector_type: "EXTERNAL_IMPORT",
};

#[test]
fn the_platform_adds_who_the_connector_is_its_token_and_the_proxy() {
    let stored = [
        Entry::plain("CONNECTOR_NAME", "Default"),
        Entry::plain("A", "1"),
        Entry::plain("HTTP_PROXY", "http://own"),
        Entry::sealed("A_KEY", "<k>"),
    ];
    let proxy = Proxy {
        https: Some("http://proxy:3128".to_owned()),
        except: Some("localhost".to_owned()),
        ..Proxy::default()
    };
    let entries = environment::for_composer(&stored, IDENTITY, Some("<t>"), &proxy);
    assert_eq!(
        texts(&entries),
        [
            "A=1",
            "A_KEY:<k>",
            "CONNECTOR_ID=id-1",
            "CONNECTOR_NAME=shape",
            "CONNECTOR_TYPE=EXTERNAL_IMPORT",
            "OPENCTI_TOKEN:<t>",
            "HTTPS_PROXY=http://proxy:3128",
            "NO_PROXY=localhost",
            "HTTPS_PROXY_REJECT_UNAUTHORIZED=false",
        ]
    );
    let people = environment::for_people(&entries);
    assert!(people.iter().all(|entry| !entry.encrypted));
    assert_eq!(people.len(), entries.len() - 2);
}

#[test]
fn everything_that_a_connector_is_started_with_changes_the_hash() {
    let entries = environment::for_composer(
        &[Entry::plain("A", "1")],
        IDENTITY,
        Some("<t>"),
        &Proxy::default(),
    );
    let hash = contract_hash("x:1", &entries, None);
    assert_eq!(hash.len(), 8);
    assert_eq!(contract_hash("x:1", &entries, None), hash);
    let other = environment::for_composer(
        &[Entry::plain("A", "1")],
        IDENTITY,
        Some("<u>"),
        &Proxy::default(),
    );
    for changed in [
        contract_hash("x:2", &entries, None),
        contract_hash("x:1", &other, None),
        contract_hash("x:1", &entries, Some("2026-01-01T00:00:00.000Z")),
    ] {
        assert_ne!(changed, hash);
    }
}

#[test]
fn the_composer_adds_its_address_and_what_it_knows_of_the_network() {
    let configuration = vec![
        Variable {
            key: "A".to_owned(),
            value: Secret::from("1"),
            sealed: false,
        },
        Variable {
            key: "HTTP_PROXY".to_owned(),
            value: Secret::from("http://platform"),
            sealed: false,
        },
    ];
    let extra = BTreeMap::from([
        ("TZ".to_owned(), "UTC".to_owned()),
        ("A".to_owned(), "extra".to_owned()),
    ]);
    let proxy = Proxy {
        http: Some("http://composer".to_owned()),
        reject_unauthorized: true,
        ..Proxy::default()
    };
    let around = Surroundings {
        platform_url: "http://ferrocti:8080",
        hash: "0badcafe",
        proxy: Some(&proxy),
        ca_file: Some("/etc/ca.pem"),
        extra: &extra,
    };
    let variables: BTreeMap<String, String> =
        environment::for_process(configuration.clone(), &around)
            .into_iter()
            .map(|variable| (variable.key, variable.value.expose().to_owned()))
            .collect();
    let expected = [
        ("A", "1"),
        ("CURL_CA_BUNDLE", "/etc/ca.pem"),
        ("HTTP_PROXY", "http://composer"),
        ("NODE_EXTRA_CA_CERTS", "/etc/ca.pem"),
        ("OPENCTI_CONFIG_HASH", "0badcafe"),
        ("OPENCTI_URL", "http://ferrocti:8080"),
        ("REQUESTS_CA_BUNDLE", "/etc/ca.pem"),
        ("SSL_CERT_FILE", "/etc/ca.pem"),
        ("TZ", "UTC"),
    ];
    let expected: BTreeMap<String, String> = expected
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
    assert_eq!(variables, expected);
    let alone = Surroundings {
        proxy: None,
        ca_file: None,
        ..around
    };
    assert_eq!(environment::for_process(configuration, &alone).len(), 5);
}
