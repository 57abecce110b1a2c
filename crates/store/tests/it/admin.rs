//! Connectors, works, users, settings, and the care of the file.

use ferrocti_store::{
    Connector, NewPush, Note, NoteKind, StoreError, Work, WorkOrder, WorkQuery, WorkStatus,
};
use serde_json::json;

use crate::support::{Fixture, Open, Sample};

pub fn connector(id: &str) -> Connector {
    Connector {
        id: id.to_owned(),
        name: format!("Connector {id}"),
        kind: "EXTERNAL_IMPORT".to_owned(),
        scope: vec!["a".to_owned(), " b".to_owned()],
        auto: false,
        auto_update: true,
        only_contextual: false,
        playbook_compatible: true,
        enrichment_resolution: Some("none".to_owned()),
        listen_callback_uri: None,
        xtm_one_intent: None,
        version: Some("1.0.0".to_owned()),
        slug: None,
        user: Some(4),
        built_in: false,
        title: None,
        trigger_filters: None,
        priority_group: "DEFAULT".to_owned(),
        info: Some(json!({"buffering": false, "queue_threshold": 500.0})),
        state: None,
        state_reset: false,
        state_at: 1,
        created_at: 1,
        updated_at: 2,
        registered_at: Some(2),
        last_ping: None,
        catalog_id: None,
        manager: None,
        registered_token: None,
    }
}

pub fn connectors_and_their_state_versions(open: Open) {
    let mut fixture = Fixture::new(open);
    let mut one = connector("one_with_underscore");
    fixture.write(|tx| {
        tx.put_connector(&connector("two"))?;
        tx.put_connector(&one)
    });
    // verbatim, whatever it looks like
    one.state = Some(r#"{"last_run": 1.0, "last_run": "ü" }"#.to_owned());
    one.last_ping = Some(77);
    fixture.write(|tx| {
        tx.put_connector(&one)?;
        for n in 1..=5 {
            assert_eq!(
                tx.add_state_version(&one.id, Some(&format!("state {n}")), "ping", Some(4), 3)?,
                n
            );
        }
        Ok(())
    });
    fixture.restart();
    assert_eq!(fixture.read(|s| s.connector(&one.id)), Some(one.clone()));
    assert_eq!(fixture.read(|s| s.connectors()).len(), 2);
    let versions = fixture.read(|s| s.state_versions(&one.id));
    assert_eq!(
        versions
            .iter()
            .map(|version| version.version)
            .collect::<Vec<_>>(),
        [5, 4, 3]
    );
    assert_eq!(
        fixture
            .read(|s| s.state_version(&one.id, 4))
            .unwrap()
            .state
            .as_deref(),
        Some("state 4")
    );
    assert_eq!(fixture.read(|s| s.state_version(&one.id, 1)), None);
    assert!(fixture.write(|tx| tx.delete_connector(&one.id)));
    assert!(!fixture.write(|tx| tx.delete_connector(&one.id)));
    assert_eq!(fixture.read(|s| s.state_versions(&one.id)), []);
}

fn work(id: &str, connector: &str, created_at: i64) -> Work {
    Work {
        row: 0,
        id: id.to_owned(),
        connector: connector.to_owned(),
        user: Some(1),
        name: format!("Run of {id}"),
        event_type: "EXTERNAL_IMPORT".to_owned(),
        event_source: Some(connector.to_owned()),
        status: WorkStatus::Progress,
        created_at,
        updated_at: created_at,
        received_at: Some(created_at),
        processed_at: None,
        completed_at: None,
        completed_number: None,
        expected: 0,
        processed: 0,
        last_processed: None,
        multipart: false,
        processed_flag: false,
        draft_context: None,
        messages: 0,
        errors: 0,
        partial: 0,
    }
}

pub fn works_count_and_keep_notes(open: Open) {
    let fixture = Fixture::new(open);
    let mut one = work("work_1", "c", 10);
    fixture.write(|tx| tx.insert_work(&mut one));
    assert!(one.row > 0);
    fixture.write(|tx| {
        one.expected += 7;
        one.processed += 3;
        one.status = WorkStatus::Complete;
        one.completed_number = Some(3);
        tx.update_work(&one)?;
        for n in 1..=5 {
            tx.add_work_note(
                &mut one,
                NoteKind::Error,
                &format!("error {n}"),
                "malware--1",
                3,
            )?;
        }
        for n in 1..=4 {
            tx.add_work_note(&mut one, NoteKind::Partial, &format!("part {n}"), "{}", 3)?;
        }
        tx.add_work_note(&mut one, NoteKind::Message, "hello", "", 3)
    });
    assert_eq!((one.errors, one.messages, one.partial), (5, 1, 4));
    assert_eq!(fixture.read(|s| s.work("work_1")), Some(one.clone()));
    let errors = fixture.read(|s| s.work_notes(one.row, NoteKind::Error));
    assert_eq!(errors.len(), 3);
    let at = fixture.write(|tx| Ok(tx.now()));
    assert_eq!(
        errors[0],
        Note {
            sequence: 1,
            at,
            message: "error 1".to_owned(),
            source: "malware--1".to_owned()
        }
    );
    assert_eq!(
        fixture
            .read(|s| s.work_notes(one.row, NoteKind::Message))
            .len(),
        1
    );
    let partial = fixture.read(|s| s.work_notes(one.row, NoteKind::Partial));
    assert_eq!(
        (partial.len(), &*partial[2].message, &*partial[2].source),
        (3, "part 3", "{}")
    );
    assert!(fixture.read(|s| s.work_exists("work_1")));
    assert!(fixture.write(|tx| tx.delete_work("work_1")));
    assert!(!fixture.read(|s| s.work_exists("work_1")));
    assert_eq!(fixture.read(|s| s.work_notes(one.row, NoteKind::Error)), []);
}

pub fn works_are_listed_by_condition(open: Open) {
    let fixture = Fixture::new(open);
    fixture.write(|tx| {
        for n in 0..6_i64 {
            let mut work = work(
                &format!("w{n}"),
                if n % 2 == 0 { "even" } else { "odd" },
                100 - n,
            );
            work.status = if n < 2 {
                WorkStatus::Complete
            } else {
                WorkStatus::Wait
            };
            tx.insert_work(&mut work)?;
        }
        Ok(())
    });
    let list = |query: WorkQuery| {
        let (works, total) = fixture.read(|s| {
            s.works(&WorkQuery {
                limit: 100,
                ..query
            })
        });
        assert_eq!(works.len() as u64, total);
        works
            .into_iter()
            .map(|work| work.id)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let all = WorkQuery::default();
    assert_eq!(list(all.clone()), "w5 w4 w3 w2 w1 w0");
    assert_eq!(
        list(WorkQuery {
            descending: true,
            ..all.clone()
        }),
        "w0 w1 w2 w3 w4 w5"
    );
    assert_eq!(
        list(WorkQuery {
            connectors: vec!["odd".to_owned()],
            ..all.clone()
        }),
        "w5 w3 w1"
    );
    assert_eq!(
        list(WorkQuery {
            statuses: vec![WorkStatus::Complete],
            connectors: vec!["odd".to_owned()],
            ..all.clone()
        }),
        "w1"
    );
    assert_eq!(
        list(WorkQuery {
            before: Some(97),
            ..all.clone()
        }),
        "w5 w4"
    );
    assert_eq!(
        list(WorkQuery {
            search: Some("OF W3".to_owned()),
            ..all.clone()
        }),
        "w3"
    );
    assert_eq!(
        list(WorkQuery {
            users: vec![2],
            ..all.clone()
        }),
        ""
    );
    assert_eq!(
        list(WorkQuery {
            order: WorkOrder::Name,
            ..all.clone()
        }),
        "w0 w1 w2 w3 w4 w5"
    );
    let (page, total) = fixture.read(|s| {
        s.works(&WorkQuery {
            offset: 2,
            limit: 2,
            ..all
        })
    });
    assert_eq!((page.len(), page[0].id.as_str(), total), (2, "w3", 6));
    assert_eq!(fixture.write(|tx| tx.delete_works_of("even")), 3);
}

pub fn settings_marks_and_pushes(open: Open) {
    let mut fixture = Fixture::new(open);
    fixture.write(|tx| {
        tx.put_setting("a.one", &json!({"x": 1}))?;
        tx.put_setting("a.two", &json!(null))?;
        tx.put_setting("b", &json!("text"))?;
        tx.set_queue_mark("push_c", 7)?;
        tx.set_queue_mark("push_c", 5)
    });
    let push = fixture.write(|tx| {
        tx.insert_push(&NewPush {
            connector: "c",
            work: Some("w"),
            user: 1,
            bundle: b"{}",
        })
    });
    fixture.restart();
    assert_eq!(fixture.read(|s| s.setting("a.one")), Some(json!({"x": 1})));
    assert_eq!(fixture.read(|s| s.settings("a.")).len(), 2);
    assert!(fixture.write(|tx| tx.delete_setting("b")));
    assert_eq!(
        fixture.read(|s| s.queue_mark("push_c")),
        7,
        "a mark never goes back"
    );
    assert_eq!(fixture.read(|s| s.queue_mark("other")), 0);
    assert_eq!(
        fixture.read(|s| s.queue_marks()),
        [("push_c".to_owned(), 7)]
    );
    assert_eq!(fixture.read(|s| s.pushes()), [(push, "c".to_owned())]);
    assert_eq!(fixture.read(|s| s.push(push)).unwrap().bundle, b"{}");
    assert!(fixture.write(|tx| tx.delete_push(push)));
    assert!(!fixture.write(|tx| tx.delete_push(push)));
    let next = fixture.write(|tx| {
        tx.insert_push(&NewPush {
            connector: "c",
            work: None,
            user: 1,
            bundle: b"",
        })
    });
    assert!(next > push, "numbers are not reused");
    assert_eq!(fixture.write(|tx| tx.delete_pushes_of("c")), 1);
}

pub fn second_opening_of_the_directory_is_refused(open: Open) {
    let fixture = Fixture::new(open);
    let error = open(fixture.dir.path(), fixture.clock.clone()).unwrap_err();
    assert!(
        matches!(&error, StoreError::DirectoryInUse { pid, .. } if *pid == std::process::id().to_string()),
        "{error}"
    );
}

pub fn foreign_file_is_refused(open: Open) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ferrocti.db"), vec![b'x'; 10_000]).unwrap();
    let clock = std::sync::Arc::new(ferrocti_model::clock::ManualClock::at(0));
    assert!(matches!(
        open(dir.path(), clock),
        Err(StoreError::ForeignFile(_))
    ));
}

pub fn check_finds_broken_invariants(open: Open) {
    let fixture = Fixture::new(open);
    let iid = fixture.write(|tx| Sample::named("Malware", 1, "x").insert(tx));
    fixture.assert_sound();
    // references to nothing are the caller's mistake; the check must see it
    fixture.write(|tx| tx.link(iid, 3, &[iid + 50]));
    let problems = fixture.store().check().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].invariant, "both ends of every reference exist");
}

pub fn memory_is_given_back_and_the_store_works_on(open: Open) {
    let fixture = Fixture::new(open);
    let iid = fixture.write(|tx| Sample::named("Malware", 1, "x").insert(tx));
    fixture.read(|s| s.load_one(iid)).unwrap();
    fixture.store().relax().unwrap();
    fixture.store().checkpoint().unwrap();
    fixture.write(|tx| Sample::named("Malware", 2, "y").insert(tx));
    assert_eq!(
        fixture
            .read(|s| s.load(&[iid, iid + 1]))
            .iter()
            .flatten()
            .count(),
        2
    );
    fixture.assert_sound();
}
