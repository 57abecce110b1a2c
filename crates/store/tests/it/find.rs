//! Lists: conditions, full text, order, paging, visibility, totals.

use ferrocti_model::{
    Ident,
    filter::{AttributeKey, Expression, Operand, Test},
    registry::Kind,
};
use ferrocti_store::{Cursor, Iid, ObjectQuery, OrderKey, StoreError, Visibility};
use serde_json::json;

use crate::support::{Fixture, Open, Sample, kind};

pub fn attribute(name: &str, multiple: bool, kind: Kind) -> AttributeKey {
    AttributeKey {
        name: name.to_owned(),
        inner: None,
        kind,
        multiple,
    }
}

pub fn idents(fixture: &Fixture, iids: &[Iid]) -> Vec<Ident> {
    fixture
        .read(|s| s.load(iids))
        .into_iter()
        .map(|stored| Ident::Internal(stored.unwrap().internal))
        .collect()
}

pub fn all(types: &[&str]) -> ObjectQuery {
    ObjectQuery::new(
        types.iter().map(|name| kind(name).code).collect(),
        Visibility::All,
        1000,
    )
}

pub fn find(fixture: &Fixture, query: &ObjectQuery) -> Vec<Iid> {
    fixture.read(|s| s.find(query)).iids
}

/// Walks through all pages of a size and checks what pages promise.
pub fn walk(fixture: &Fixture, query: &ObjectQuery, size: usize) -> Vec<Iid> {
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = fixture.read(|s| {
            s.find(&ObjectQuery {
                first: size,
                after: after.clone(),
                ..query.clone()
            })
        });
        assert_eq!(page.iids.len(), page.cursors.len());
        assert!(page.iids.len() <= size);
        seen.extend(&page.iids);
        assert!(seen.len() < 10_000, "paging ends");
        if !page.has_next {
            return seen;
        }
        assert_eq!(page.iids.len(), size, "only the last page may be short");
        after = page.cursors.last().cloned();
    }
}

/// 40 malware with holes in their attributes and equal values, 20 reports, some relationships.
pub fn filled(open: Open) -> (Fixture, Vec<Iid>, Vec<Iid>) {
    let fixture = Fixture::new(open);
    let (malware, reports) = fixture.write(|tx| {
        let author = Sample::named("Organization", 200, "Author").insert(tx)?;
        let mut malware = Vec::new();
        for n in 0..40_u64 {
            let mut attributes = json!({"name": format!("Name {:02}", (n * 7) % 40), "aliases": [format!("Alias {}", n % 5), "Común"]});
            let map = attributes.as_object_mut().unwrap();
            if n % 3 != 0 {
                map.insert("score".to_owned(), json!(n % 6));
            }
            if n % 4 != 0 {
                map.insert("first_seen".to_owned(), json!(format!("2024-01-{:02}T00:00:00.000Z", 1 + n % 9)));
            }
            if n == 5 {
                map.remove("aliases");
                map.insert("first_seen".to_owned(), json!("1970-01-01T00:00:00.000Z"));
            }
            map.insert("is_family".to_owned(), json!(n % 2 == 0));
            map.insert("hashes".to_owned(), json!({"SHA-256": format!("AB{n}")}));
            map.insert("parts".to_owned(), json!([{"label": format!("part {}", n % 2)}]));
            let mut sample = Sample::new("Malware", n, attributes).with_text(if n < 10 { "common rareword" } else { "common" });
            if n % 5 != 0 {
                sample = sample.with_confidence(u8::try_from(n % 7 * 10).unwrap());
            }
            if n == 7 {
                sample = sample.referring("created-by", author);
            }
            malware.push(sample.insert(tx)?);
        }
        let mut reports = Vec::new();
        for n in 0..20_u64 {
            let target = malware[usize::try_from(n).unwrap()];
            reports.push(Sample::named("Report", n, &format!("Report {n}")).referring("object", target).insert(tx)?);
        }
        for n in 0..5_u64 {
            let (a, b) = (malware[usize::try_from(n).unwrap()], malware[usize::try_from(n + 10).unwrap()]);
            Sample::relationship("uses", 100 + n, a, b).insert(tx)?;
        }
        Ok((malware, reports))
    });
    (fixture, malware, reports)
}

pub fn pages_follow_each_other_without_gaps(open: Open) {
    let (fixture, malware, reports) = filled(open);
    assert_eq!(walk(&fixture, &all(&["Malware"]), 7), malware);
    assert_eq!(walk(&fixture, &all(&["Malware"]), 40), malware);
    let both: Vec<Iid> = malware.iter().chain(&reports).copied().collect();
    assert_eq!(walk(&fixture, &all(&["Report", "Malware"]), 9), both);
    assert_eq!(walk(&fixture, &all(&[]), 11).len(), 66);
    let backwards = ObjectQuery {
        order: vec![(OrderKey::Created, true)],
        ..all(&["Malware"])
    };
    assert_eq!(
        walk(&fixture, &backwards, 7),
        malware.iter().rev().copied().collect::<Vec<_>>()
    );
    assert!(find(&fixture, &all(&["Tool"])).is_empty());
    let nothing = fixture.read(|s| {
        s.find(&ObjectQuery {
            first: 0,
            ..all(&["Malware"])
        })
    });
    assert_eq!((nothing.iids, nothing.has_next), (vec![], true));
}

pub fn every_order_pages_like_the_sorted_list(open: Open) {
    let (fixture, malware, _) = filled(open);
    fixture.clock.advance(1000);
    fixture.write(|tx| tx.update(malware[3], &ferrocti_store::ObjectChange::default()));
    let orders = [
        OrderKey::Name,
        OrderKey::Updated,
        OrderKey::Confidence,
        OrderKey::Type,
        OrderKey::Attribute(attribute("score", false, Kind::Int)),
        OrderKey::Attribute(attribute("first_seen", false, Kind::Date)),
        OrderKey::Attribute(attribute("aliases", true, Kind::String)),
    ];
    for key in &orders {
        for descending in [false, true] {
            for types in [&["Malware"] as &[&str], &["Malware", "Report"], &[]] {
                for second in [None, Some((OrderKey::Confidence, !descending))] {
                    let order: Vec<_> = std::iter::once((key.clone(), descending))
                        .chain(second)
                        .collect();
                    let query = ObjectQuery {
                        order,
                        ..all(types)
                    };
                    let whole = find(&fixture, &query);
                    assert_eq!(
                        whole.len(),
                        match types.len() {
                            1 => 40,
                            2 => 60,
                            _ => 66,
                        },
                        "{query:?}"
                    );
                    assert_eq!(walk(&fixture, &query, 7), whole, "{query:?}");
                }
            }
        }
    }
    // against the sorted list itself: missing last in both directions, ties by row number in the same direction
    let objects = fixture.read(|s| s.load(&malware));
    for descending in [false, true] {
        let mut expected: Vec<(Option<u8>, Iid)> = objects
            .iter()
            .flatten()
            .map(|stored| (stored.confidence, stored.iid))
            .collect();
        expected.sort_by(|a, b| {
            let by_value = match (a.0, b.0) {
                (Some(a), Some(b)) => {
                    if descending {
                        b.cmp(&a)
                    } else {
                        a.cmp(&b)
                    }
                }
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            by_value.then(if descending {
                b.1.cmp(&a.1)
            } else {
                a.1.cmp(&b.1)
            })
        });
        let query = ObjectQuery {
            order: vec![(OrderKey::Confidence, descending)],
            ..all(&["Malware"])
        };
        assert_eq!(
            find(&fixture, &query),
            expected.into_iter().map(|(_, iid)| iid).collect::<Vec<_>>()
        );
    }
    let mut names: Vec<(String, Iid)> = objects
        .iter()
        .flatten()
        .map(|stored| {
            (
                stored.attributes["name"].as_str().unwrap().to_owned(),
                stored.iid,
            )
        })
        .collect();
    names.sort();
    let query = ObjectQuery {
        order: vec![(OrderKey::Name, false)],
        ..all(&["Malware"])
    };
    assert_eq!(
        find(&fixture, &query),
        names.into_iter().map(|(_, iid)| iid).collect::<Vec<_>>()
    );
}

pub fn visibility_hides_rows_counts_and_pages(open: Open) {
    let fixture = Fixture::new(open);
    let (green, red, open_ones, green_ones, red_ones) = fixture.write(|tx| {
        let green =
            Sample::new("Marking-Definition", 1, json!({"definition": "TLP:GREEN"})).insert(tx)?;
        let red =
            Sample::new("Marking-Definition", 2, json!({"definition": "TLP:RED"})).insert(tx)?;
        let mut lists = [Vec::new(), Vec::new(), Vec::new()];
        for n in 10..40_u64 {
            let list = usize::try_from(n % 3).unwrap();
            let markings = [vec![], vec![green], vec![green, red]][list].clone();
            lists[list].push(
                Sample::named("Malware", n, "same")
                    .marked(&markings)
                    .with_text("word")
                    .insert(tx)?,
            );
        }
        let [a, b, c] = lists;
        Ok((green, red, a, b, c))
    });
    for (markings, expected) in [
        (vec![], open_ones.clone()),
        (vec![red], open_ones.clone()),
        (
            vec![green],
            [open_ones.clone(), green_ones.clone()].concat(),
        ),
        (vec![green, red], [open_ones, green_ones, red_ones].concat()),
    ] {
        let mut expected = expected;
        expected.sort_unstable();
        let visible = fixture.read(|s| s.allowed_sets(&markings));
        for search in [None, Some("word".to_owned())] {
            let query = ObjectQuery {
                visible: visible.clone(),
                search,
                order: vec![(OrderKey::Created, false)],
                with_total: true,
                first: 4,
                ..all(&["Malware"])
            };
            assert_eq!(
                fixture.read(|s| s.find(&query)).total,
                Some(expected.len() as u64)
            );
            assert_eq!(walk(&fixture, &query, 4), expected);
        }
        let counts = fixture.read(|s| s.counts(&visible));
        assert_eq!(counts[&kind("Malware").code], expected.len() as u64);
    }
    let nothing = ObjectQuery {
        visible: Visibility::Sets([].into()),
        with_total: true,
        ..all(&[])
    };
    let page = fixture.read(|s| s.find(&nothing));
    assert_eq!((page.iids.len(), page.total), (0, Some(0)));
}

pub fn search_finds_words_phrases_and_prefixes(open: Open) {
    let fixture = Fixture::new(open);
    let (emotet, url, accent) = fixture.write(|tx| {
        let emotet = Sample::named("Malware", 1, "Emotet")
            .with_text("A banking trojan since 2014")
            .insert(tx)?;
        let url = Sample::new("Url", 2, json!({"value": "http://evil.example/path"}))
            .with_text("seen in trojan campaigns")
            .insert(tx)?;
        let accent = Sample::named("Malware", 3, "Ünïcode Élan").insert(tx)?;
        Ok((emotet, url, accent))
    });
    let standard = fixture
        .read(|s| s.load_one(emotet))
        .unwrap()
        .standard
        .to_string();
    let internal = fixture
        .read(|s| s.load_one(url))
        .unwrap()
        .internal
        .to_string();
    for (search, expected) in [
        ("emotet", vec![emotet]),
        ("EMO", vec![emotet]),
        ("trojan", vec![emotet, url]),
        ("banking trojan", vec![emotet]),
        ("trojan banking", vec![emotet]),
        ("\"banking trojan\"", vec![emotet]),
        ("\"trojan banking\"", vec![]),
        ("\"bank\"", vec![]),
        ("hxxp://evil[.]example", vec![url]),
        ("http%3A%2F%2Fevil.example", vec![url]),
        ("unicode elan", vec![accent]),
        ("nothing", vec![]),
        ("\" ' * ) (", vec![]),
        (standard.as_str(), vec![emotet]),
        (internal.as_str(), vec![url]),
    ] {
        let query = ObjectQuery {
            search: Some(search.to_owned()),
            with_total: true,
            ..all(&[])
        };
        let page = fixture.read(|s| s.find(&query));
        let mut found = page.iids;
        found.sort_unstable();
        assert_eq!(found, expected, "{search}");
        assert_eq!(page.total, Some(expected.len() as u64), "{search}");
    }
    let blank = ObjectQuery {
        search: Some("  ".to_owned()),
        ..all(&[])
    };
    assert_eq!(find(&fixture, &blank).len(), 3, "a blank search is none");
    let in_type = ObjectQuery {
        search: Some("trojan".to_owned()),
        ..all(&["Url"])
    };
    assert_eq!(find(&fixture, &in_type), [url]);
    // text follows the object
    fixture.write(|tx| {
        tx.update(
            emotet,
            &ferrocti_store::ObjectChange {
                text: Some(("Renamed", "")),
                ..Default::default()
            },
        )?;
        tx.delete(url)
    });
    for (search, expected) in [("emotet", 0), ("renamed", 1), ("trojan", 0)] {
        assert_eq!(
            find(
                &fixture,
                &ObjectQuery {
                    search: Some(search.to_owned()),
                    ..all(&[])
                }
            )
            .len(),
            expected,
            "{search}"
        );
    }
    fixture.assert_sound();
}

pub fn ranked_search_pages_without_gaps(open: Open) {
    let (fixture, malware, _) = filled(open);
    let in_name = fixture.write(|tx| Sample::named("Malware", 500, "rareword").insert(tx));
    let query = ObjectQuery {
        search: Some("rareword".to_owned()),
        ..all(&[])
    };
    let whole = find(&fixture, &query);
    assert_eq!(whole.len(), 11);
    assert_eq!(whole[0], in_name, "the name weighs more");
    assert_eq!(walk(&fixture, &query, 3), whole);
    let by_creation = ObjectQuery {
        order: vec![(OrderKey::Created, false)],
        ..query
    };
    assert_eq!(
        walk(&fixture, &by_creation, 3),
        [&malware[..10], &[in_name]].concat()
    );
}

pub fn totals_agree_with_what_is_listed(open: Open) {
    let (fixture, malware, _) = filled(open);
    let conditions = [
        Expression::Always,
        Expression::Ids(idents(&fixture, &malware[..3])),
        Expression::Value(
            attribute("score", false, Kind::Int),
            Test::Equals(Operand::Number(4.0)),
        ),
    ];
    for condition in conditions {
        for types in [&["Malware"] as &[&str], &["Malware", "uses"], &[]] {
            for search in [None, Some("common".to_owned())] {
                let query = ObjectQuery {
                    condition: condition.clone(),
                    search,
                    with_total: true,
                    ..all(types)
                };
                let page = fixture.read(|s| s.find(&query));
                assert_eq!(page.total, Some(page.iids.len() as u64), "{query:?}");
                assert_eq!(
                    fixture.read(|s| s.count_matching(&query)),
                    page.iids.len() as u64
                );
            }
        }
    }
    // totals include what the same transaction has not yet written
    let total = fixture.write(|tx| {
        Sample::named("Malware", 900, "x").insert(tx)?;
        Ok(tx
            .find(&ObjectQuery {
                with_total: true,
                ..all(&["Malware"])
            })?
            .total)
    });
    assert_eq!(total, Some(41));
}

pub fn cursors_of_another_list_are_refused(open: Open) {
    let (fixture, _, _) = filled(open);
    let by_name = ObjectQuery {
        order: vec![(OrderKey::Name, false)],
        first: 2,
        ..all(&["Malware"])
    };
    let cursor = fixture.read(|s| s.find(&by_name)).cursors[0].clone();
    let wrong = ObjectQuery {
        after: Some(cursor),
        ..all(&["Malware"])
    };
    assert!(matches!(
        fixture.store().read(|s| s.find(&wrong)),
        Err(StoreError::BadCursor)
    ));
    let garbage = ObjectQuery {
        after: Some(Cursor::new("garbage")),
        ..all(&["Malware"])
    };
    assert!(matches!(
        fixture.store().read(|s| s.find(&garbage)),
        Err(StoreError::BadCursor)
    ));
}
