//! Catalogs from files, directories and addresses, and what happens when those fail.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ferrocti_catalog::{ConnectorType, Filter, catalog::Format, local};
use ferrocti_connectors::catalogs::{
    Catalogs, Fetch, FetchError, Fetched, Hit, LookupError, Newer, Options, Search, over_http,
};
use ferrocti_model::clock::{Clock, ManualClock};
use parking_lot::Mutex;
use serde_json::{Value, json};

const PLATFORM: &str = "7.261026.0";

/// A contract in upstream's older format.
pub fn contract(slug: &str, version: &str) -> Value {
    json!({
        "title": format!("Title of {slug}"),
        "slug": slug,
        "description": format!("What {slug} does."),
        "short_description": "Short.",
        "logo": "data:image/png;base64,AAAA",
        "use_cases": ["Open Source Threat Intel"],
        "verified": true,
        "manager_supported": true,
        "max_confidence_level": 60,
        "support_version": ">=6.5.1",
        "container_version": version,
        "container_image": format!("opencti/connector-{slug}"),
        "container_type": "EXTERNAL_IMPORT",
        "config_schema": {
            "type": "object",
            "properties": {
                "OPENCTI_URL": {"type": "string", "format": "uri"},
                "OPENCTI_TOKEN": {"type": "string"},
                "CONNECTOR_NAME": {"type": "string", "default": slug},
                "FEED_URL": {"type": "string", "format": "uri"},
                "FEED_API_KEY": {"type": "string", "format": "password"},
            },
            "required": ["OPENCTI_URL", "OPENCTI_TOKEN", "FEED_URL"],
            "additionalProperties": true,
        },
    })
}

/// A manifest in upstream's older format.
pub fn manifest(id: &str, contracts: &[Value]) -> String {
    json!({"id": id, "name": "Contracts", "description": "", "version": "rolling", "contracts": contracts}).to_string()
}

/// Nothing is asked over the network.
pub fn no_network() -> Fetch {
    Box::new(|url, _| panic!("{url} is asked"))
}

pub fn open(dir: &Path, sources: &[&str], fetch: Fetch) -> Catalogs {
    Catalogs::open(Options {
        dir: dir.join("catalogs"),
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        version: "0.1.0".to_owned(),
        platform: PLATFORM.to_owned(),
        clock: Arc::new(ManualClock::at(1_760_000_000_000)),
        fetch,
    })
    .unwrap()
}

fn slugs(hits: &[Hit]) -> Vec<String> {
    hits.iter()
        .map(|hit| match hit {
            Hit::Contract { catalog, index, .. } => catalog.contracts[*index].about.slug.clone(),
            Hit::Broken { catalog, index } => {
                format!("!{}", catalog.broken[*index].name.as_deref().unwrap_or("?"))
            }
        })
        .collect()
}

#[test]
fn what_comes_with_the_binary_is_there_without_any_source() {
    let dir = tempfile::tempdir().unwrap();
    let catalogs = open(dir.path(), &[], no_network());
    let found = catalogs.find(None, local::SAMPLE, None).unwrap();
    assert_eq!(found.catalog, local::CATALOG);
    assert_eq!(found.contract.version, "0.1.0");
    assert!(found.contract.schema.is_some());
    assert_eq!(catalogs.all()[0].source, "built in");
}

#[test]
fn a_file_a_directory_and_an_address_are_catalogs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("manifest.json");
    fs::write(
        &file,
        manifest("from-file", &[contract("alpha", "rolling")]),
    )
    .unwrap();
    let fragments = dir.path().join("fragments");
    fs::create_dir(&fragments).unwrap();
    fs::write(
        fragments.join("b.json"),
        contract("beta", "7.1.0").to_string(),
    )
    .unwrap();
    fs::write(fragments.join("c.json"), "{ no json").unwrap();
    fs::write(
        fragments.join("d.json"),
        manifest("inner", &[contract("delta", "1")]),
    )
    .unwrap();
    fs::write(fragments.join("readme.txt"), "is no contract").unwrap();
    let fetch: Fetch = Box::new(|url, tag| {
        assert_eq!((url, tag), ("https://example.org/m?key=secret", None));
        let v1 = json!({
            "id": "from-address", "name": "New", "description": "", "manifest_schema_version": "1",
            "manifest_version": "3", "product_version": PLATFORM,
            "contracts": [{
                "id": "gamma-7.2.0", "title": "Gamma", "slug": "gamma", "version": "7.2.0",
                "image_name": "x/gamma", "image_type": "STREAM", "manager_supported": true,
                "min_version": "7.0.0",
            }],
        });
        Ok(Fetched::Body {
            bytes: v1.to_string().into_bytes(),
            tag: None,
        })
    });
    let url = format!("file://{}", file.display());
    let catalogs = open(
        dir.path(),
        &[
            &url,
            fragments.to_str().unwrap(),
            "https://example.org/m?key=secret",
        ],
        fetch,
    );
    assert_eq!(
        catalogs.find(None, "gamma", None),
        Err(LookupError::Unknown {
            what: "gamma".to_owned()
        }),
        "addresses are not asked while opening"
    );
    let all = catalogs.refresh();
    let seen: Vec<_> = all
        .iter()
        .skip(1)
        .map(|one| {
            (
                one.content.id.as_str(),
                one.content.format,
                one.content.contracts.len(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("from-file", Some(Format::V0), 1),
            ("fragments", Some(Format::Fragments), 2),
            ("from-address", Some(Format::V1), 1)
        ]
    );
    assert_eq!(all[2].content.broken[0].place, "c.json");
    assert_eq!(all[3].source, "https://example.org/m");
    for (slug, version) in [
        ("alpha", "rolling"),
        ("beta", "7.1.0"),
        ("delta", "1"),
        ("gamma", "7.2.0"),
    ] {
        let found = catalogs.find(None, slug, None).unwrap();
        assert_eq!(
            (
                found.contract.slug.as_str(),
                found.contract.version.as_str()
            ),
            (slug, version)
        );
    }
    let whole = catalogs
        .find(Some("fragments"), "delta", Some("1"))
        .unwrap()
        .contract;
    assert_eq!(
        whole,
        ferrocti_catalog::Contract::read(&contract("delta", "1")).unwrap()
    );
    assert!(catalogs.all()[1].content.contracts[0].about.logo.is_none());
}

#[test]
fn a_source_that_fails_keeps_what_it_gave_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let url = "https://me:password@example.org/manifest";
    let asked = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::new(Mutex::new(Ok(Fetched::Body {
        bytes: manifest("far", &[contract("alpha", "1")]).into_bytes(),
        tag: Some("\"one\"".to_owned()),
    })));
    let fetch = || -> Fetch {
        let (asked, next) = (asked.clone(), next.clone());
        Box::new(move |_, tag| {
            asked.lock().push(tag.map(str::to_owned));
            next.lock().clone()
        })
    };
    let catalogs = open(dir.path(), &[url], fetch());
    assert_eq!(catalogs.all()[1].content.format, None, "nothing came yet");
    assert!(catalogs.refresh()[1].error.is_none());
    for (answer, reason) in [
        (Err(FetchError::Status(404)), "404"),
        (
            Err(FetchError::Unreachable("no route".to_owned())),
            "no route",
        ),
        (
            Ok(Fetched::Body {
                bytes: b"<html>".to_vec(),
                tag: None,
            }),
            "not JSON",
        ),
        (
            Ok(Fetched::Body {
                bytes: b"{\"id\": \"far\"}".to_vec(),
                tag: Some("\"two\"".to_owned()),
            }),
            "`version` is missing",
        ),
    ] {
        *next.lock() = answer;
        let all = catalogs.refresh();
        let error = all[1].error.clone().unwrap();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("password"), "{error}");
        assert!(catalogs.find(Some("far"), "alpha", None).is_ok());
    }
    drop(catalogs);
    let again = open(dir.path(), &[url], fetch());
    assert!(
        again
            .find(None, "alpha", None)
            .unwrap()
            .contract
            .schema
            .is_some(),
        "it is there before the address is asked"
    );
    *next.lock() = Ok(Fetched::Unchanged);
    let all = again.refresh();
    assert_eq!(
        (all[1].error.as_deref(), all[1].source.as_str()),
        (None, "https://example.org/manifest")
    );
    assert!(all[1].checked_at.is_some() && all[1].content.fetched_at.is_some());
    let asked = asked.lock();
    assert_eq!(asked[0], None);
    let one = Some("\"one\"".to_owned());
    assert!(
        asked[1..].iter().all(|tag| *tag == one),
        "only what was kept counts: {asked:?}"
    );
}

#[test]
fn a_source_that_takes_long_or_fails_keeps_no_other_from_its_refresh() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.json");
    fs::write(&file, manifest("near", &[contract("alpha", "1")])).unwrap();
    let fetch: Fetch = Box::new(|_, _| Err(FetchError::Status(500)));
    let catalogs = open(
        dir.path(),
        &["http://example.org/", file.to_str().unwrap()],
        fetch,
    );
    fs::write(&file, manifest("near", &[contract("alpha", "2")])).unwrap();
    let all = catalogs.refresh();
    assert!(all[1].error.is_some());
    assert_eq!(all[2].content.contracts[0].about.version, "2");
    fs::remove_file(&file).unwrap();
    let all = catalogs.refresh();
    assert!(all[2].error.as_ref().unwrap().contains("cannot be read"));
    assert!(
        catalogs.find(None, "alpha", Some("2")).is_ok(),
        "a file that is gone is kept too"
    );
}

#[test]
fn a_damaged_copy_is_as_if_there_were_none() {
    let dir = tempfile::tempdir().unwrap();
    let url = "http://example.org/manifest";
    let tags = Arc::new(Mutex::new(Vec::new()));
    let fetch = || -> Fetch {
        let tags = tags.clone();
        Box::new(move |_, tag| {
            tags.lock().push(tag.map(str::to_owned));
            Ok(Fetched::Body {
                bytes: manifest("far", &[contract("alpha", "1")]).into_bytes(),
                tag: Some("t".to_owned()),
            })
        })
    };
    open(dir.path(), &[url], fetch()).refresh();
    let copy = fs::read_dir(dir.path().join("catalogs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let good = fs::read(&copy).unwrap();
    let half = good.len() / 2;
    for bad in [&b""[..], b"\n", b"not json\n{}", &good[..half], &good[1..]] {
        fs::write(&copy, bad).unwrap();
        let catalogs = open(dir.path(), &[url], fetch());
        assert!(catalogs.find(None, "alpha", None).is_err());
        catalogs.refresh();
        assert!(catalogs.find(None, "alpha", None).is_ok());
        assert_eq!(tags.lock().last().unwrap(), &None, "no ETag without a copy");
    }
}

#[test]
fn a_contract_that_is_looked_at_stays_readable_while_its_catalog_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let fetch: Fetch = Box::new(move |_, _| {
        let version = calls.fetch_add(1, Ordering::SeqCst).to_string();
        Ok(Fetched::Body {
            bytes: manifest("far", &[contract(&"x".repeat(9), &version)]).into_bytes(),
            tag: None,
        })
    });
    let catalogs = open(dir.path(), &["http://example.org"], fetch);
    let before = catalogs.refresh().remove(1);
    catalogs.refresh();
    let whole = before.content.whole(&before.content.contracts[0]).unwrap();
    assert_eq!(whole.version, "0");
    assert!(catalogs.find(None, "xxxxxxxxx", Some("1")).is_ok());
}

#[test]
fn a_broken_contract_hides_no_other_and_is_found_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.json");
    let mut bad = contract("bad", "1");
    bad["config_schema"]["properties"]["FEED_URL"]["pattern"] = json!("(?=x)");
    let mut alien = contract("alien", "1");
    alien["container_type"] = json!("TELEPORTER");
    let twice = contract("alpha", "1");
    let mut taken = contract("thief", "1");
    taken["container_image"] = json!("opencti/connector-alpha");
    let contracts = [
        contract("alpha", "1"),
        bad,
        alien,
        json!(7),
        twice,
        taken,
        contract("omega", "1"),
    ];
    fs::write(&file, manifest("mixed", &contracts)).unwrap();
    let catalogs = open(dir.path(), &[file.to_str().unwrap()], no_network());
    // the same as if the manifest were read whole
    let reference = ferrocti_catalog::Catalog::read(&fs::read(&file).unwrap(), "x").unwrap();
    assert_eq!(catalogs.all()[1].content.broken, reference.broken);
    assert_eq!(reference.broken.len(), 5);
    assert!(catalogs.find(None, "omega", None).is_ok());
    let error = catalogs.find(None, "bad", None).unwrap_err();
    assert!(
        matches!(&error, LookupError::Broken { fault, .. } if fault.contains("pattern")),
        "{error}"
    );
    let hits = |text: &str, types: &[ConnectorType]| {
        let filter = Filter {
            text: text.to_owned(),
            types: types.to_vec(),
            ..Filter::default()
        };
        slugs(
            &catalogs
                .search(&Search {
                    catalog: Some("mixed".to_owned()),
                    filter,
                })
                .unwrap(),
        )
    };
    assert_eq!(
        hits("", &[]),
        ["alpha", "omega", "!bad", "!alien", "!?", "!alpha", "!thief"]
    );
    assert_eq!(hits("alien", &[]), ["!alien"]);
    assert_eq!(
        hits("", &[ConnectorType::ExternalImport]),
        ["alpha", "omega"]
    );
}

#[test]
fn the_newest_version_that_fits_is_deployed_and_the_others_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.json");
    let of = |version: &str, asks: &str| {
        let mut one = contract("alpha", version);
        one["support_version"] = json!(asks);
        one
    };
    let mut future = contract("future", "9.0.0");
    future["support_version"] = json!(">=9.0.0");
    let contracts = [
        of("7.2.0", ">=7.0.0"),
        of("7.10.0", ">=7.0.0"),
        of("8.0.0", ">=8.0.0"),
        of("7.1.0", ">=6.0.0"),
        future,
    ];
    fs::write(&file, manifest("m", &contracts)).unwrap();
    let catalogs = open(dir.path(), &[file.to_str().unwrap()], no_network());
    let version = |version| {
        catalogs
            .find(None, "alpha", version)
            .map(|found| found.contract.version)
    };
    assert_eq!(version(None).as_deref(), Ok("7.10.0"));
    assert_eq!(version(Some("8.0.0")).as_deref(), Ok("8.0.0"));
    let Err(LookupError::NoVersion { known, .. }) = version(Some("1")) else {
        panic!("there is no such version");
    };
    assert_eq!(known, ["8.0.0", "7.10.0", "7.2.0", "7.1.0"]);
    let by_image = |image| {
        catalogs
            .by_image(None, image)
            .map(|found| found.contract.version)
    };
    assert_eq!(by_image("opencti/connector-alpha").as_deref(), Ok("7.10.0"));
    let error = by_image("opencti/connector-future").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the contract `opencti/connector-future` is not compatible with the platform version {PLATFORM}: its newest version 9.0.0 asks for >=9.0.0; name a version to use it all the same"
        )
    );
    for (from, expected) in [
        ("7.2.0", (true, true)),
        ("7.10.0", (false, true)),
        ("8.0.0", (false, true)),
        ("9", (false, true)),
    ] {
        let newer = catalogs.newer(None, "alpha", from);
        assert_eq!(newer.latest_compatible.as_deref(), Some("7.10.0"));
        assert_eq!(
            (newer.update_available, newer.newer_incompatible),
            expected,
            "{from}"
        );
    }
    assert_eq!(catalogs.newer(None, "nothing", "1"), Newer::default());
    let hits = catalogs
        .search(&Search {
            catalog: Some("m".to_owned()),
            ..Search::default()
        })
        .unwrap();
    let Hit::Contract {
        compatible: false,
        versions,
        ..
    } = &hits[1]
    else {
        panic!("what does not fit is shown as such: {hits:?}");
    };
    assert_eq!(versions, &["9.0.0"]);
    let content = catalogs.all()[1].content.clone();
    let offered = catalogs.offered(&content).unwrap();
    assert_eq!(offered.len(), 1);
    assert_eq!(offered[0]["container_version"], "7.10.0");
    assert_eq!(offered[0]["logo"], "data:image/png;base64,AAAA");
    assert!(offered[0]["config_schema"]["properties"]["OPENCTI_TOKEN"].is_null());
    assert!(!offered[0]["config_schema"]["properties"]["FEED_URL"].is_null());
}

#[test]
fn an_unknown_catalog_is_told_with_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let catalogs = open(dir.path(), &["http://example.org/never"], no_network());
    let error = catalogs.find(Some("nope"), "alpha", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no catalog `nope`; the catalogs are ferrocti-local"
    );
}

#[test]
fn a_file_that_did_not_change_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.json");
    fs::write(&file, manifest("m", &[contract("alpha", "1")])).unwrap();
    let clock = Arc::new(ManualClock::at(1_760_000_000_000));
    let options = Options {
        dir: dir.path().join("catalogs"),
        sources: vec![file.display().to_string()],
        version: "0.1.0".to_owned(),
        platform: PLATFORM.to_owned(),
        clock: clock.clone(),
        fetch: no_network(),
    };
    let catalogs = Catalogs::open(options).unwrap();
    let first = clock.now();
    clock.advance(5_000);
    let after = catalogs.refresh().remove(1);
    assert_eq!(
        (after.content.fetched_at, after.checked_at),
        (Some(first), Some(first + 5_000))
    );
}

#[test]
fn a_catalog_over_the_network_is_there_when_the_network_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/manifest.json", listener.local_addr().unwrap());
    let body = manifest("far", &[contract("alpha", "1")]);
    let answers = [
        format!(
            "HTTP/1.1 200 OK\r\netag: \"one\"\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
        "HTTP/1.1 304 Not Modified\r\netag: \"one\"\r\nconnection: close\r\n\r\n".to_owned(),
    ];
    let server = std::thread::spawn(move || {
        answers.map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head).unwrap() > 0 {}
            stream.write_all(answer.as_bytes()).unwrap();
            head.to_ascii_lowercase()
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), &[&url], over_http());
    assert_eq!(first.refresh()[1].error, None);
    let second = open(dir.path(), &[&url], over_http());
    assert_eq!(second.refresh()[1].error, None);
    let [fresh, same] = server.join().unwrap();
    assert!(!fresh.contains("if-none-match"));
    assert!(same.contains("if-none-match: \"one\""), "{same}");
    // the server is gone
    let third = open(dir.path(), &[&url], over_http());
    let error = third.refresh()[1].error.clone().unwrap();
    assert!(error.contains("does not answer"), "{error}");
    assert!(third.find(Some("far"), "alpha", None).is_ok());
}
