//! Composers, definitions, reports, logs, tombstones.

use ferrocti_store::{Composer, StoredDefinition, Tx};
use serde_json::json;

use crate::{
    admin::connector,
    support::{Fixture, Open},
};

fn composer(id: &str, user: i64) -> Composer {
    Composer {
        id: id.to_owned(),
        name: format!("Composer {id}"),
        public_key: "pem".to_owned(),
        key_id: "k".to_owned(),
        user,
        own: true,
        about: Some(json!({"version": "1"})),
        blocked: None,
        created_at: user,
        last_seen: 0,
    }
}

fn definition(number: i64) -> StoredDefinition {
    StoredDefinition {
        number,
        at: number * 10,
        actor: Some(4),
        reason: format!("reason {number}"),
        document: json!({"n": number}),
    }
}

pub fn composers_are_one_for_each_user(open: Open) {
    let mut fixture = Fixture::new(open);
    let (one, two) = (composer("one", 1), composer("two", 2));
    fixture.write(|tx| {
        tx.put_composer(&two)?;
        tx.put_composer(&one)
    });
    fixture.restart();
    assert_eq!(fixture.read(|s| s.composers()), [one.clone(), two.clone()]);
    assert_eq!(fixture.read(|s| s.composer_of(2)), Some(two));
    assert_eq!(fixture.read(|s| s.composer_of(3)), None);
    let again = Composer {
        blocked: Some("no disk".to_owned()),
        about: None,
        ..one
    };
    fixture.write(|tx| tx.put_composer(&again));
    assert_eq!(fixture.read(|s| s.composer("one")), Some(again));
    let taken = fixture
        .store()
        .write(|tx: &mut Tx<'_>| tx.put_composer(&composer("three", 2)));
    assert!(taken.is_err());
    assert_eq!(fixture.read(|s| s.composer("three")), None);
    let seen = fixture.write(|tx| {
        tx.touch_composer("one")?;
        Ok(tx.now())
    });
    assert_eq!(fixture.read(|s| s.composer("one")).unwrap().last_seen, seen);
    fixture.write(|tx| tx.put_tombstone("one", "c"));
    assert!(fixture.write(|tx| tx.delete_composer("one")));
    assert!(!fixture.write(|tx| tx.delete_composer("one")));
    assert_eq!(fixture.read(|s| s.tombstones("one")), []);
    fixture.assert_sound();
}

pub fn what_belongs_to_a_managed_connector_goes_with_it(open: Open) {
    let fixture = Fixture::new(open);
    let mut managed = connector("managed");
    managed.manager = Some(json!({"number": 3}));
    fixture.write(|tx| {
        tx.put_connector(&connector("plain"))?;
        tx.put_connector(&managed)?;
        for number in 1..=3 {
            tx.add_definition("managed", &definition(number), 2)?;
        }
        tx.put_connector_report("managed", &json!({"state": "pulling"}))?;
        tx.put_connector_report("managed", &json!({"state": "running"}))?;
        tx.append_connector_log("managed", ["a", "b"])
    });
    let ids: Vec<String> = fixture
        .read(|s| s.managed_connectors())
        .into_iter()
        .map(|connector| connector.id)
        .collect();
    assert_eq!(ids, ["managed"]);
    assert_eq!(
        fixture.read(|s| s.definitions("managed")),
        [definition(3), definition(2)],
        "newest first, the oldest forgotten"
    );
    assert_eq!(
        fixture.read(|s| s.definition("managed", 2)),
        Some(definition(2))
    );
    assert_eq!(fixture.read(|s| s.definition("managed", 1)), None);
    let report = fixture.read(|s| s.connector_report("managed")).unwrap();
    assert_eq!(report.document, json!({"state": "running"}));
    assert_eq!(fixture.read(|s| s.connector_report("plain")), None);
    fixture.assert_sound();
    assert!(fixture.write(|tx| tx.delete_connector("managed")));
    assert_eq!(fixture.read(|s| s.definitions("managed")), []);
    assert_eq!(fixture.read(|s| s.connector_report("managed")), None);
    assert_eq!(
        fixture.read(|s| s.connector_log("managed", None, None, 9)),
        []
    );
    fixture.assert_sound();
    fixture.write(|tx| tx.add_definition("nobody", &definition(1), 2));
    let problems = fixture.store().check().unwrap();
    assert_eq!(
        problems[0].invariant,
        "definitions, reports and logs belong to connectors"
    );
}

pub fn logs_are_bounded_by_lines_and_bytes(open: Open) {
    let fixture = Fixture::new(open);
    fixture.write(|tx| {
        tx.put_connector(&connector("c"))?;
        tx.put_connector(&connector("other"))?;
        tx.append_connector_log("other", ["stays"])?;
        let lines: Vec<String> = (1..=2001).map(|n| format!("line {n}")).collect();
        tx.append_connector_log("c", lines.iter().map(String::as_str))
    });
    let log = |before, search: Option<&str>, limit| {
        let lines = fixture.read(|s| s.connector_log("c", before, search, limit));
        lines
            .into_iter()
            .map(|line| (line.seq, line.line))
            .collect::<Vec<_>>()
    };
    assert_eq!(log(None, None, 9999).len(), 2000);
    assert_eq!(log(None, None, 1), [(2001, "line 2001".to_owned())]);
    assert_eq!(log(Some(3), None, 9), [(2, "line 2".to_owned())]);
    assert_eq!(
        log(None, Some("LINE 199"), 2),
        [
            (1998, "line 1998".to_owned()),
            (1999, "line 1999".to_owned())
        ]
    );
    let long = "ä".repeat(5000);
    fixture.write(|tx| tx.append_connector_log("c", [long.as_str(); 150]));
    let kept = log(None, None, 9999);
    assert_eq!(kept.len(), 128, "1 MiB of lines that are cut at 8 KiB");
    assert!(kept.iter().all(|(_, line)| line.len() == 8192));
    assert_eq!(kept[127].0, 2151, "numbers go on");
    fixture.write(|tx| tx.append_connector_log("c", []));
    assert_eq!(log(None, None, 9999).len(), 128);
    assert_eq!(
        fixture
            .read(|s| s.connector_log("other", None, None, 9))
            .len(),
        1
    );
}

pub fn tombstones_stay_until_they_are_taken_away(open: Open) {
    let mut fixture = Fixture::new(open);
    fixture.write(|tx| {
        tx.put_tombstone("one", "c")?;
        tx.put_tombstone("two", "c")?;
        tx.put_tombstone("one", "d")
    });
    assert!(fixture.write(|tx| tx.approve_tombstone("one", "c")));
    assert!(!fixture.write(|tx| tx.approve_tombstone("one", "e")));
    // said twice, it stays as it is
    fixture.write(|tx| tx.put_tombstone("one", "c"));
    fixture.restart();
    let told: Vec<(String, bool)> = fixture
        .read(|s| s.tombstones("one"))
        .into_iter()
        .map(|tombstone| (tombstone.connector, tombstone.approved))
        .collect();
    assert_eq!(told, [("c".to_owned(), true), ("d".to_owned(), false)]);
    let composers: Vec<String> = fixture
        .read(|s| s.tombstones_of("c"))
        .into_iter()
        .map(|tombstone| tombstone.composer)
        .collect();
    assert_eq!(composers, ["one", "two"]);
    assert!(fixture.write(|tx| tx.delete_tombstone("one", "c")));
    assert!(!fixture.write(|tx| tx.delete_tombstone("one", "c")));
    assert_eq!(fixture.read(|s| s.tombstones("one")).len(), 1);
}
