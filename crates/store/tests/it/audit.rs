//! The audit log.

use ferrocti_store::{AuditQuery, Event, NewAudit, Operation};
use serde_json::json;

use crate::support::{Fixture, Open, Sample, kind};

fn entry<'a>(actor: i64, scope: &'a str, name: &'a str, message: &'a str) -> NewAudit<'a> {
    NewAudit {
        actor: Some(actor),
        applicant: Some(7),
        event_type: "mutation",
        event_scope: scope,
        event_access: "administration",
        status: "success",
        entity: Some(("User", name, name)),
        address: Some("192.0.2.1"),
        agent: Some("curl"),
        message,
        data: None,
    }
}

pub fn audit_is_searched_paged_and_pruned(open: Open) {
    let mut fixture = Fixture::new(open);
    let start = fixture.write(|tx| Ok(tx.now()));
    for (actor, scope, name) in [
        (1, "create", "a"),
        (1, "update", "a"),
        (2, "update", "B"),
        (1, "delete", "100%"),
    ] {
        fixture.write(|tx| {
            tx.audit(&entry(
                actor,
                scope,
                name,
                &format!("{scope}s user `{name}`"),
            ))
        });
        fixture.clock.advance(1000);
    }
    let data = json!({"x": 1});
    fixture.write(|tx| {
        tx.audit(&NewAudit {
            actor: None,
            event_type: "authentication",
            entity: None,
            status: "error",
            data: Some(&data),
            ..entry(0, "login", "", "detects `login failure`")
        })
    });
    fixture.restart();
    let list = |query: AuditQuery| {
        let limit = if query.limit == 0 { 100 } else { query.limit };
        fixture
            .read(|s| {
                s.audits(&AuditQuery {
                    limit,
                    ..query.clone()
                })
            })
            .into_iter()
            .map(|entry| entry.event_scope)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let all = AuditQuery::default();
    let text = |values: &[&str]| {
        values
            .iter()
            .map(|&value| value.to_owned())
            .collect::<Vec<_>>()
    };
    let cases = [
        (
            AuditQuery {
                ascending: true,
                ..all.clone()
            },
            "create update update delete login",
        ),
        (
            AuditQuery {
                actors: vec![1],
                ..all.clone()
            },
            "delete update create",
        ),
        (
            AuditQuery {
                types: text(&["authentication"]),
                ..all.clone()
            },
            "login",
        ),
        (
            AuditQuery {
                scopes: text(&["create", "delete"]),
                ..all.clone()
            },
            "delete create",
        ),
        (
            AuditQuery {
                statuses: text(&["error"]),
                ..all.clone()
            },
            "login",
        ),
        (
            AuditQuery {
                entity_types: text(&["User"]),
                actors: vec![2],
                ..all.clone()
            },
            "update",
        ),
        (
            AuditQuery {
                entities: text(&["a"]),
                ..all.clone()
            },
            "update create",
        ),
        (
            AuditQuery {
                search: Some("USER `b".to_owned()),
                ..all.clone()
            },
            "update",
        ),
        (
            AuditQuery {
                search: Some("0%".to_owned()),
                ..all.clone()
            },
            "delete",
        ),
        (
            AuditQuery {
                search: Some("_".to_owned()),
                ..all.clone()
            },
            "",
        ),
        (
            AuditQuery {
                at: Some(start + 1000..=start + 2000),
                ..all.clone()
            },
            "update update",
        ),
        (
            AuditQuery {
                limit: 2,
                ..all.clone()
            },
            "login delete",
        ),
    ];
    for (query, expected) in cases {
        let count = fixture.read(|s| s.audit_count(&query));
        assert_eq!(list(query.clone()), expected, "{query:?}");
        if query.limit == 0 {
            assert_eq!(
                count,
                expected.split_whitespace().count() as u64,
                "{query:?}"
            );
        }
    }
    let newest = fixture
        .read(|s| {
            s.audits(&AuditQuery {
                limit: 1,
                ..all.clone()
            })
        })
        .remove(0);
    assert_eq!(newest.data, Some(data));
    assert_eq!((newest.actor, newest.applicant), (None, Some(7)));
    assert_eq!(
        fixture.read(|s| s.audit_entry(newest.id)),
        Some(newest.clone())
    );
    assert_eq!(
        list(AuditQuery {
            after: Some(newest.seq),
            limit: 2,
            ..all.clone()
        }),
        "delete update"
    );
    assert_eq!(
        list(AuditQuery {
            after: Some(newest.seq),
            ascending: true,
            ..all.clone()
        }),
        ""
    );
    assert_eq!(fixture.write(|tx| tx.prune_audit(start + 2000, 1)), 1);
    assert_eq!(fixture.write(|tx| tx.prune_audit(start + 2000, 10)), 1);
    assert_eq!(
        list(AuditQuery {
            ascending: true,
            ..all
        }),
        "update delete login"
    );
}

pub fn history_of_a_marking_is_audited(open: Open) {
    let fixture = Fixture::new(open);
    let sample = Sample::new(
        "Marking-Definition",
        1,
        json!({"definition_type": "TLP", "definition": "TLP:RED", "x_opencti_order": 1}),
    );
    let other = fixture.write(|tx| Sample::named("Malware", 2, "x").insert(tx));
    let iid = fixture.write(|tx| sample.insert(tx));
    let deleted =
        json!({"id": "b7", "attributes": {"definition": "TLP:RED", "x_opencti_order": 5}});
    let order = json!({"attributes": {"x_opencti_order": 1}});
    fixture.write(|tx| {
        for (operation, iid, type_code, data) in [
            (Operation::Create, iid, sample.kind.code, None),
            (Operation::Create, other, kind("Malware").code, None),
            (Operation::Update, iid, sample.kind.code, Some(&order)),
        ] {
            tx.history(&Event {
                operation,
                iid,
                type_code,
                actor: Some(7),
                origin: None,
                data,
            })?;
        }
        tx.delete(iid)?;
        tx.history(&Event {
            operation: Operation::Delete,
            iid,
            type_code: sample.kind.code,
            actor: Some(7),
            origin: None,
            data: Some(&deleted),
        })
    });
    let lines = fixture.read(|s| {
        s.audits(&AuditQuery {
            ascending: true,
            limit: 10,
            ..AuditQuery::default()
        })
    });
    let messages: Vec<&str> = lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "creates Marking-Definition `TLP:RED`",
            "updates `x_opencti_order` for Marking-Definition `TLP:RED`",
            "deletes Marking-Definition `TLP:RED`",
        ]
    );
    assert!(lines.iter().all(|line| line.actor == Some(7)));
    assert_eq!(lines[2].entity_id.as_deref(), Some("b7"));
}
