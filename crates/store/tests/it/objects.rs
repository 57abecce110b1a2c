//! Objects, references, relationships, markings, history, parked things.

use ferrocti_model::Key;
use ferrocti_store::{
    Event, Inputs, NewParked, ObjectChange, Operation, RelationshipQuery, Side, StoreError,
    Visibility, Waiting,
};
use serde_json::json;

use crate::support::{Fixture, Open, Sample, extra_key, kind, reference, stix_id};

pub fn inserted_object_is_found_by_every_identifier(open: Open) {
    let fixture = Fixture::new(open);
    let sample = Sample::named("Malware", 1, "Emotet")
        .with_keys(&[extra_key(1), extra_key(2)])
        .with_confidence(80);
    let iid = fixture.write(|tx| sample.insert(tx));
    let stored = fixture.read(|s| s.load_one(iid)).unwrap();
    assert_eq!(stored.kind, kind("Malware"));
    assert_eq!(stored.attributes, sample.attributes);
    assert_eq!(
        (stored.confidence, stored.inputs, stored.ends),
        (Some(80), Some(Inputs::one(0, 1)), None)
    );
    let keys = [
        Key::internal(stored.internal),
        stored.standard.key(),
        extra_key(1),
        extra_key(2),
    ];
    assert_eq!(fixture.read(|s| s.resolve(&keys)), vec![Some(iid); 4]);
    let mut known = fixture.read(|s| s.keys_of(iid));
    known.sort_unstable();
    let mut expected = keys.to_vec();
    expected.sort_unstable();
    assert_eq!(known, expected);
    assert_eq!(fixture.read(|s| s.resolve(&[extra_key(3)])), vec![None]);
    fixture.assert_sound();
}

pub fn loading_keeps_the_order_asked_for(open: Open) {
    let fixture = Fixture::new(open);
    let iids: Vec<i64> = (0..3)
        .map(|n| fixture.write(|tx| Sample::named("Malware", n, &format!("m{n}")).insert(tx)))
        .collect();
    let asked = [iids[2], 999, iids[0], iids[2]];
    let found: Vec<Option<i64>> = fixture
        .read(|s| s.load(&asked))
        .into_iter()
        .map(|stored| stored.map(|stored| stored.iid))
        .collect();
    assert_eq!(found, [Some(iids[2]), None, Some(iids[0]), Some(iids[2])]);
    assert_eq!(
        fixture.read(|s| s.inputs(&asked)),
        [2, 999, 0, 2].map(|number| (number != 999).then(|| Inputs::one(0, number)))
    );
}

pub fn taken_identifier_refuses_the_object_without_a_trace(open: Open) {
    let fixture = Fixture::new(open);
    let first = fixture.write(|tx| {
        Sample::named("Malware", 1, "one")
            .with_keys(&[extra_key(9)])
            .insert(tx)
    });
    let error = fixture.write(|tx| {
        let error = Sample::named("Malware", 2, "two")
            .with_keys(&[extra_key(8), extra_key(9)])
            .insert(tx)
            .unwrap_err();
        // the transaction goes on after the refusal
        Sample::named("Malware", 3, "three")
            .with_keys(&[extra_key(8)])
            .insert(tx)?;
        Ok(error)
    });
    assert!(
        matches!(error, StoreError::KeyTaken { owner, .. } if owner == first),
        "{error}"
    );
    assert_eq!(
        fixture.read(|s| s.resolve(&[stix_id(kind("Malware"), 2).key()])),
        [None]
    );
    fixture.assert_sound();
}

pub fn update_changes_what_it_names_and_nothing_else(open: Open) {
    let fixture = Fixture::new(open);
    let iid = fixture.write(|tx| {
        Sample::named("Malware", 1, "old name")
            .with_confidence(10)
            .with_text("ancient words")
            .insert(tx)
    });
    let before = fixture.read(|s| s.load_one(iid)).unwrap();
    fixture.clock.advance(5000);
    let attributes = json!({"name": "new name", "description": "x"})
        .as_object()
        .unwrap()
        .clone();
    fixture.write(|tx| {
        tx.update(
            iid,
            &ObjectChange {
                attributes: Some(&attributes),
                text: Some(("new name", "modern words")),
                inputs: Some(&Inputs::one(0, 5)),
                ..ObjectChange::default()
            },
        )
    });
    let after = fixture.read(|s| s.load_one(iid)).unwrap();
    assert_eq!(after.attributes, attributes);
    assert_eq!(
        (after.confidence, after.inputs),
        (Some(10), Some(Inputs::one(0, 5)))
    );
    assert_eq!(
        (after.standard, after.internal, after.created_at),
        (before.standard, before.internal, before.created_at)
    );
    assert_eq!(after.updated_at, before.updated_at + 5000);
    fixture.write(|tx| {
        tx.update(
            iid,
            &ObjectChange {
                confidence: Some(None),
                ..ObjectChange::default()
            },
        )
    });
    let last = fixture.read(|s| s.load_one(iid)).unwrap();
    assert_eq!(
        (last.confidence, last.inputs, last.attributes),
        (None, None, attributes)
    );
    let missing = fixture
        .store()
        .write(|tx| tx.update(iid + 100, &ObjectChange::default()));
    assert!(matches!(missing, Err(StoreError::NoObject(_))));
    fixture.assert_sound();
}

pub fn new_standard_id_replaces_the_old_one(open: Open) {
    let fixture = Fixture::new(open);
    let malware = kind("Malware");
    let (one, other) = fixture.write(|tx| {
        Ok((
            Sample::named("Malware", 1, "a").insert(tx)?,
            Sample::named("Malware", 2, "b").insert(tx)?,
        ))
    });
    let (old, new) = (stix_id(malware, 1), stix_id(malware, 10));
    fixture.write(|tx| {
        tx.update(
            one,
            &ObjectChange {
                standard: Some(new),
                ..ObjectChange::default()
            },
        )
    });
    assert_eq!(
        fixture.read(|s| s.resolve(&[old.key(), new.key()])),
        [None, Some(one)]
    );
    assert_eq!(fixture.read(|s| s.load_one(one)).unwrap().standard, new);
    let taken = fixture.store().write(|tx| {
        tx.update(
            one,
            &ObjectChange {
                standard: Some(stix_id(malware, 2)),
                ..ObjectChange::default()
            },
        )
    });
    assert!(matches!(taken, Err(StoreError::KeyTaken { owner, .. }) if owner == other));
    // an identifier that it has already as a further one
    fixture.write(|tx| {
        tx.add_keys(one, &[old.key()])?;
        tx.update(
            one,
            &ObjectChange {
                standard: Some(old),
                ..ObjectChange::default()
            },
        )
    });
    assert_eq!(fixture.read(|s| s.keys_of(one)).len(), 2);
    fixture.assert_sound();
}

pub fn references_are_seen_from_both_sides(open: Open) {
    let fixture = Fixture::new(open);
    let label = reference("object-label");
    let (report, labels) = fixture.write(|tx| {
        let labels = (10..13)
            .map(|n| Sample::new("Label", n, json!({"value": n.to_string()})).insert(tx))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((Sample::named("Report", 1, "r").insert(tx)?, labels))
    });
    assert_eq!(
        fixture.write(|tx| tx.link(report, label, &labels[..2])),
        labels[..2]
    );
    assert_eq!(
        fixture.write(|tx| tx.link(report, label, &labels)),
        labels[2..]
    );
    assert_eq!(
        fixture.read(|s| s.targets(&[report, labels[0]], label)),
        [labels.clone(), vec![]]
    );
    assert_eq!(
        fixture.read(|s| s.sources(&[labels[1]], label)),
        [vec![report]]
    );
    assert_eq!(
        fixture.write(|tx| tx.unlink(report, label, &[labels[1], 999])),
        [labels[1]]
    );
    assert_eq!(fixture.read(|s| s.refs_of(&[report])).len(), 2);
    assert_eq!(fixture.read(|s| s.count_sources(labels[0], Some(label))), 1);
    fixture.assert_sound();
}

pub fn relationships_are_listed_by_side_and_type(open: Open) {
    let fixture = Fixture::new(open);
    let (a, b, uses, targets) = fixture.write(|tx| {
        let a = Sample::named("Intrusion-Set", 1, "a").insert(tx)?;
        let b = Sample::named("Malware", 2, "b").insert(tx)?;
        Ok((
            a,
            b,
            Sample::relationship("uses", 3, a, b).insert(tx)?,
            Sample::relationship("targets", 4, b, a).insert(tx)?,
        ))
    });
    let list = |side, types: &[u16], after| {
        fixture.read(|s| {
            s.relationships_of(&RelationshipQuery {
                iid: a,
                side,
                types,
                visible: &Visibility::All,
                after,
                limit: 10,
            })
        })
    };
    assert_eq!(list(Side::Source, &[], 0), [uses]);
    assert_eq!(list(Side::Target, &[], 0), [targets]);
    assert_eq!(list(Side::Both, &[], 0), [uses, targets]);
    assert_eq!(list(Side::Both, &[kind("targets").code], 0), [targets]);
    assert_eq!(list(Side::Both, &[], uses), [targets]);
    assert_eq!(fixture.read(|s| s.between(a, b, kind("uses").code)), [uses]);
    assert_eq!(
        fixture.read(|s| s.between(b, a, kind("uses").code)),
        Vec::<i64>::new()
    );
    assert_eq!(
        fixture.read(|s| s.load_one(uses)).unwrap().ends,
        Some((a, b))
    );
}

pub fn relationship_is_as_visible_as_its_ends(open: Open) {
    let fixture = Fixture::new(open);
    let (green, red, set) = fixture.write(|tx| {
        let green =
            Sample::new("Marking-Definition", 1, json!({"definition": "TLP:GREEN"})).insert(tx)?;
        let red =
            Sample::new("Marking-Definition", 2, json!({"definition": "TLP:RED"})).insert(tx)?;
        let a = Sample::named("Malware", 3, "a")
            .marked(&[green])
            .insert(tx)?;
        let b = Sample::named("Malware", 4, "b").marked(&[red]).insert(tx)?;
        let relationship = Sample::relationship("related-to", 5, a, b).insert(tx)?;
        Ok((green, red, tx.load_one(relationship)?.unwrap().marking_set))
    });
    assert_eq!(fixture.read(|s| s.marking_members(set)), [green, red]);
    let allows = |markings: &[i64]| fixture.read(|s| s.allowed_sets(markings)).allows(set);
    assert!(allows(&[green, red]));
    assert!(!allows(&[green]));
    assert!(!allows(&[]));
    assert!(Visibility::All.allows(set));
    fixture.assert_sound();
}

pub fn changed_markings_move_the_relationships_at_an_object(open: Open) {
    let fixture = Fixture::new(open);
    let marking = reference("object-marking");
    let (red, a, relationship, nested) = fixture.write(|tx| {
        let red =
            Sample::new("Marking-Definition", 2, json!({"definition": "TLP:RED"})).insert(tx)?;
        let a = Sample::named("Malware", 3, "a").insert(tx)?;
        let b = Sample::named("Malware", 4, "b").insert(tx)?;
        let relationship = Sample::relationship("related-to", 5, a, b).insert(tx)?;
        let nested = Sample::relationship("related-to", 6, relationship, b).insert(tx)?;
        Ok((red, a, relationship, nested))
    });
    let sets = |iids: [i64; 3]| {
        fixture
            .read(|s| s.load(&iids))
            .into_iter()
            .map(|stored| stored.unwrap().marking_set)
            .collect::<Vec<_>>()
    };
    assert_eq!(sets([a, relationship, nested]), [0, 0, 0]);
    fixture.write(|tx| tx.link(a, marking, &[red]));
    let marked = sets([a, relationship, nested]);
    assert!(
        marked.iter().all(|set| *set == marked[0] && *set != 0),
        "{marked:?}"
    );
    fixture.assert_sound();
    // a deleted marking is taken from everything that had it
    fixture.write(|tx| tx.delete(red));
    assert_eq!(sets([a, relationship, nested]), [0, 0, 0]);
    fixture.assert_sound();
}

pub fn deleted_object_leaves_nothing_behind(open: Open) {
    let fixture = Fixture::new(open);
    let (report, label) = fixture.write(|tx| {
        let label = Sample::new("Label", 2, json!({"value": "x"})).insert(tx)?;
        let report = Sample::named("Report", 1, "gone")
            .with_keys(&[extra_key(1)])
            .referring("object-label", label)
            .insert(tx)?;
        let waiting = Waiting::Reference {
            source: report,
            reference: reference("object"),
        };
        tx.park(&NewParked {
            waiting: &waiting,
            keys: &[extra_key(5)],
            connector: None,
            work: None,
            actor: None,
        })?;
        Ok((report, label))
    });
    fixture.write(|tx| tx.delete(report));
    assert_eq!(fixture.read(|s| s.load_one(report)), None);
    assert_eq!(
        fixture.read(|s| s.resolve(&[extra_key(1), stix_id(kind("Report"), 1).key()])),
        [None, None]
    );
    assert_eq!(
        fixture.read(|s| s.sources(&[label], reference("object-label"))),
        [Vec::<i64>::new()]
    );
    assert_eq!(fixture.read(|s| s.parked_counts()), (0, 0));
    assert!(matches!(
        fixture.store().write(|tx| tx.delete(report)),
        Err(StoreError::NoObject(_))
    ));
    fixture.assert_sound();
}

pub fn end_of_a_relationship_is_not_deleted(open: Open) {
    let fixture = Fixture::new(open);
    let (a, relationship) = fixture.write(|tx| {
        let a = Sample::named("Malware", 1, "a").insert(tx)?;
        Ok((a, Sample::relationship("related-to", 2, a, a).insert(tx)?))
    });
    assert!(
        matches!(fixture.store().write(|tx| tx.delete(a)), Err(StoreError::StillReferenced(iid)) if iid == a)
    );
    fixture.write(|tx| {
        tx.delete(relationship)?;
        tx.delete(a)
    });
    fixture.assert_sound();
}

pub fn row_numbers_are_not_reused_after_deletion_and_restart(open: Open) {
    let mut fixture = Fixture::new(open);
    let iid = fixture.write(|tx| Sample::named("Malware", 1, "a").insert(tx));
    fixture.write(|tx| tx.delete(iid));
    fixture.restart();
    let next = fixture.write(|tx| Sample::named("Malware", 1, "a").insert(tx));
    assert!(next > iid, "{next} > {iid}");
}

pub fn time_of_creation_never_goes_back(open: Open) {
    let mut fixture = Fixture::new(open);
    let first = fixture.write(|tx| Sample::named("Malware", 1, "a").insert(tx));
    fixture.clock.advance(-60_000);
    let second = fixture.write(|tx| Sample::named("Malware", 2, "b").insert(tx));
    fixture.restart();
    let third = fixture.write(|tx| Sample::named("Malware", 3, "c").insert(tx));
    let times: Vec<i64> = fixture
        .read(|s| s.load(&[first, second, third]))
        .into_iter()
        .map(|stored| stored.unwrap().created_at)
        .collect();
    assert!(times.is_sorted(), "{times:?}");
}

pub fn merging_moves_references_ends_and_identifiers(open: Open) {
    let fixture = Fixture::new(open);
    let (kept, merged, report, relationship, other) = fixture.write(|tx| {
        let red =
            Sample::new("Marking-Definition", 9, json!({"definition": "TLP:RED"})).insert(tx)?;
        let kept = Sample::named("Malware", 1, "kept").insert(tx)?;
        let merged = Sample::named("Malware", 2, "merged")
            .with_keys(&[extra_key(2)])
            .marked(&[red])
            .insert(tx)?;
        let other = Sample::named("Malware", 3, "other").insert(tx)?;
        let report = Sample::named("Report", 4, "r")
            .referring("object", merged)
            .insert(tx)?;
        let relationship = Sample::relationship("related-to", 5, merged, other).insert(tx)?;
        tx.move_edges(merged, kept)?;
        tx.move_ends(merged, kept)?;
        tx.move_keys(merged, kept)?;
        tx.delete(merged)?;
        Ok((kept, merged, report, relationship, other))
    });
    let keys = [
        stix_id(kind("Malware"), 2).key(),
        extra_key(2),
        stix_id(kind("Malware"), 1).key(),
    ];
    assert_eq!(fixture.read(|s| s.resolve(&keys)), [Some(kept); 3]);
    assert_eq!(
        fixture.read(|s| s.targets(&[report], reference("object"))),
        [vec![kept]]
    );
    assert_eq!(
        fixture.read(|s| s.load_one(relationship)).unwrap().ends,
        Some((kept, other))
    );
    assert_eq!(fixture.read(|s| s.load_one(merged)), None);
    fixture.assert_sound();
}

pub fn history_is_ordered_and_tells_origins(open: Open) {
    let mut fixture = Fixture::new(open);
    let malware = kind("Malware").code;
    let origin = r#"{"connector":"c","work":"w"}"#;
    let event = |operation, iid| Event {
        operation,
        iid,
        type_code: malware,
        actor: Some(1),
        origin: Some(origin),
        data: None,
    };
    fixture.write(|tx| {
        tx.history(&event(Operation::Create, 1))?;
        tx.history(&event(Operation::Create, 2))?;
        tx.history(&Event {
            data: Some(&json!({"name": "before"})),
            ..event(Operation::Update, 1)
        })
    });
    fixture.restart();
    fixture.write(|tx| {
        tx.history(&Event {
            origin: None,
            actor: None,
            ..event(Operation::Delete, 2)
        })
    });
    let all = fixture.read(|s| s.history_since(0, 10));
    let seen: Vec<_> = all
        .iter()
        .map(|entry| (entry.operation, entry.iid))
        .collect();
    assert_eq!(
        seen,
        [
            (Operation::Create, 1),
            (Operation::Create, 2),
            (Operation::Update, 1),
            (Operation::Delete, 2)
        ]
    );
    assert_eq!(all[2].data, Some(json!({"name": "before"})));
    assert_eq!(all[0].origin, Some(json!({"connector": "c", "work": "w"})));
    assert_eq!((all[3].origin.clone(), all[3].actor), (None, None));
    assert_eq!(fixture.read(|s| s.history_since(all[1].seq, 1)), all[2..3]);
    assert_eq!(fixture.read(|s| s.history_of(1)).len(), 2);
    assert_eq!(fixture.read(|s| s.history_end()), all[3].seq);
    fixture.assert_sound();
}

pub fn parked_things_come_out_when_their_key_arrives(open: Open) {
    let fixture = Fixture::new(open);
    let source = fixture.write(|tx| Sample::named("Report", 1, "r").insert(tx));
    let single = Waiting::Reference {
        source,
        reference: reference("object"),
    };
    let whole = Waiting::Element(json!({"type": "malware"}));
    let park = |waiting: &Waiting, keys: &[Key]| {
        fixture.write(|tx| {
            tx.park(&NewParked {
                waiting,
                keys,
                connector: Some("c"),
                work: Some("w"),
                actor: Some(3),
            })
        })
    };
    assert_eq!(fixture.write(|tx| tx.unpark(&[extra_key(1)])), []);
    let first = park(&single, &[extra_key(1)]);
    assert_eq!(
        park(&single, &[extra_key(1)]),
        first,
        "the same is parked once"
    );
    park(&whole, &[extra_key(1), extra_key(2)]);
    park(&whole, &[extra_key(3)]);
    assert_eq!(fixture.read(|s| s.parked_counts()), (1, 2));
    assert_eq!(fixture.read(|s| s.parked_list(Some("c"), 0, 10)).len(), 3);
    assert_eq!(fixture.read(|s| s.parked_list(Some("d"), 0, 10)), []);
    let out = fixture.write(|tx| tx.unpark(&[extra_key(1), extra_key(2)]));
    assert_eq!(
        out.iter()
            .map(|parked| parked.waiting.clone())
            .collect::<Vec<_>>(),
        [single, whole]
    );
    assert_eq!(out[1].keys.len(), 2);
    assert_eq!((out[0].work.as_deref(), out[0].actor), (Some("w"), Some(3)));
    assert_eq!(fixture.write(|tx| tx.unpark(&[extra_key(1)])), []);
    assert_eq!(fixture.read(|s| s.parked_counts()), (0, 1));
    fixture.assert_sound();
}

pub fn everything_survives_a_restart(open: Open) {
    let mut fixture = Fixture::new(open);
    let iid = fixture.write(|tx| {
        Sample::named("Malware", 1, "Emotet")
            .with_keys(&[extra_key(1)])
            .insert(tx)
    });
    let before = fixture.read(|s| s.load_one(iid));
    fixture.restart();
    assert_eq!(fixture.read(|s| s.load_one(iid)), before);
    assert_eq!(fixture.read(|s| s.resolve(&[extra_key(1)])), [Some(iid)]);
    fixture.assert_sound();
}
