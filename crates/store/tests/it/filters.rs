//! Filters: what every kind of condition matches.

use ferrocti_model::{
    Ident,
    filter::{AttributeKey, Expression, Operand, Test},
    registry::Kind,
};
use ferrocti_store::{Iid, ObjectQuery, OrderKey, Side, StoreError};
use serde_json::json;

use crate::{
    find::{all, attribute, filled, find, idents, walk},
    support::{Fixture, Open, Sample, kind, reference},
};

pub fn filters_match_what_they_say(open: Open) {
    let (fixture, malware, reports) = filled(open);
    let name = || attribute("name", false, Kind::String);
    let aliases = || attribute("aliases", true, Kind::String);
    let score = || attribute("score", false, Kind::Int);
    let first_seen = || attribute("first_seen", false, Kind::Date);
    let text = |text: &str| Operand::Text(text.to_owned());
    let numbers = |test: &dyn Fn(u64) -> bool| (0..40).filter(|n| test(*n)).collect::<Vec<u64>>();
    let scored = |test: &dyn Fn(u64) -> bool| {
        (0..40)
            .filter(|n| n % 3 != 0 && test(n % 6))
            .collect::<Vec<u64>>()
    };
    let day = |n: u64| {
        if n.is_multiple_of(4) || n == 5 {
            0
        } else {
            1 + n % 9
        }
    };
    let date = |n: u64| {
        let text = format!("2024-01-0{n}T00:00:00Z");
        Operand::Date(ferrocti_model::clock::parse_date(&text).unwrap())
    };
    let ids = |iids: &[Iid]| idents(&fixture, iids);
    let hash = AttributeKey {
        name: "hashes".into(),
        inner: Some("SHA-256".into()),
        multiple: false,
        kind: Kind::String,
    };
    let part = AttributeKey {
        name: "parts".into(),
        inner: Some("label".into()),
        multiple: true,
        kind: Kind::String,
    };
    let others = |n: std::ops::Range<usize>| Some(ids(&malware[n]));
    let uses = kind("uses").code;
    let related = |types: &[u16], others, side| Expression::Related {
        types: types.to_vec(),
        others,
        side,
    };
    let table: Vec<(Expression, Vec<u64>)> = vec![
        (
            Expression::Value(name(), Test::Equals(text("nAme 07"))),
            numbers(&|n| n * 7 % 40 == 7),
        ),
        (
            Expression::Value(name(), Test::Contains("E 0".into())),
            numbers(&|n| n * 7 % 40 < 10),
        ),
        (
            Expression::Value(name(), Test::StartsWith("name 1".into())),
            numbers(&|n| (n * 7 % 40) / 10 == 1),
        ),
        (
            Expression::Value(name(), Test::EndsWith("3".into())),
            numbers(&|n| n * 7 % 10 == 3),
        ),
        (
            Expression::Value(name(), Test::Words("name 12".into())),
            numbers(&|n| n * 7 % 40 == 12),
        ),
        (
            Expression::Value(name(), Test::Pattern("NAME 0*".into())),
            numbers(&|n| n * 7 % 40 < 10),
        ),
        (
            Expression::Value(name(), Test::Pattern("name [0-9]?".into())),
            vec![],
        ),
        (
            Expression::Value(name(), Test::Contains("%".into())),
            vec![],
        ),
        (
            Expression::Value(aliases(), Test::Equals(text("COMUN"))),
            numbers(&|n| n != 5),
        ),
        (
            Expression::Value(aliases(), Test::Equals(text("alias 3"))),
            numbers(&|n| n % 5 == 3),
        ),
        (
            Expression::Value(aliases(), Test::Present),
            numbers(&|n| n != 5),
        ),
        (
            Expression::Value(score(), Test::Equals(Operand::Number(4.0))),
            scored(&|n| n == 4),
        ),
        (
            Expression::Value(score(), Test::Above(Operand::Number(3.0))),
            scored(&|n| n > 3),
        ),
        (
            Expression::Value(score(), Test::AtLeast(Operand::Number(3.5))),
            scored(&|n| n > 3),
        ),
        (
            Expression::Value(score(), Test::Below(Operand::Number(2.0))),
            scored(&|n| n < 2),
        ),
        (
            Expression::Value(score(), Test::AtMost(Operand::Number(1.0))),
            scored(&|n| n <= 1),
        ),
        (Expression::Value(score(), Test::Present), scored(&|_| true)),
        (
            Expression::Value(first_seen(), Test::Above(date(6))),
            numbers(&|n| day(n) > 6),
        ),
        (
            Expression::Value(first_seen(), Test::Equals(date(2))),
            numbers(&|n| day(n) == 2),
        ),
        (
            Expression::Value(first_seen(), Test::Present),
            numbers(&|n| day(n) > 0),
        ),
        (
            Expression::Value(
                attribute("is_family", false, Kind::Int),
                Test::Equals(Operand::Number(1.0)),
            ),
            numbers(&|n| n % 2 == 0),
        ),
        (
            Expression::Value(hash, Test::Equals(text("ab17"))),
            vec![17],
        ),
        (
            Expression::Value(part, Test::Equals(text("Part 1"))),
            numbers(&|n| n % 2 == 1),
        ),
        (
            Expression::Value(
                attribute("confidence", false, Kind::Int),
                Test::AtLeast(Operand::Number(60.0)),
            ),
            numbers(&|n| n % 5 != 0 && n % 7 == 6),
        ),
        (
            Expression::Value(
                attribute("created_at", false, Kind::Date),
                Test::Above(Operand::Date(0)),
            ),
            numbers(&|_| true),
        ),
        (
            Expression::Value(
                attribute("updated_at", false, Kind::Date),
                Test::Below(Operand::Date(0)),
            ),
            vec![],
        ),
        (Expression::Ids(ids(&malware[3..5])), vec![3, 4]),
        (
            Expression::Types(vec![kind("Malware").code]),
            numbers(&|_| true),
        ),
        (
            Expression::Or(vec![
                Expression::Value(name(), Test::Equals(text("NAME 07"))),
                Expression::Value(name(), Test::Equals(text("name 00"))),
            ]),
            numbers(&|n| matches!(n * 7 % 40, 0 | 7)),
        ),
        (
            Expression::ReferredBy {
                reference: reference("object"),
                sources: Some(ids(&reports[2..4])),
            },
            vec![2, 3],
        ),
        (
            Expression::ReferredBy {
                reference: reference("object"),
                sources: None,
            },
            numbers(&|n| n < 20),
        ),
        (related(&[uses], others(10..12), Side::Source), vec![0, 1]),
        (related(&[uses], others(0..2), Side::Target), vec![10, 11]),
        (related(&[], others(0..2), Side::Both), vec![10, 11]),
        (
            related(&[uses], None, Side::Both),
            numbers(&|n| n < 5 || (10..15).contains(&n)),
        ),
        (related(&[kind("targets").code], None, Side::Both), vec![]),
        (
            Expression::Ids(vec![Ident::Internal(uuid::Uuid::nil())]),
            vec![],
        ),
        (
            Expression::Refers {
                reference: reference("object-label"),
                targets: Some(vec![Ident::Internal(uuid::Uuid::nil())]),
            },
            vec![],
        ),
        (
            Expression::ReferredBy {
                reference: reference("object"),
                sources: Some(vec![]),
            },
            vec![],
        ),
        (related(&[], Some(vec![]), Side::Both), vec![]),
        (Expression::Ends(Side::Both, vec![]), vec![]),
        (Expression::Types(vec![]), vec![]),
        (Expression::Never, vec![]),
        (
            Expression::Author(Box::new(Expression::Value(
                name(),
                Test::Equals(text("author")),
            ))),
            vec![7],
        ),
        (
            Expression::Not(Box::new(Expression::Author(Box::new(Expression::Always)))),
            numbers(&|n| n != 7),
        ),
        (Expression::And(vec![]), numbers(&|_| true)),
        (Expression::Or(vec![]), vec![]),
        (
            Expression::Or(vec![
                Expression::Ids(ids(&malware[1..2])),
                Expression::Value(score(), Test::Equals(Operand::Number(4.0))),
            ]),
            numbers(&|n| n == 1 || (n % 3 != 0 && n % 6 == 4)),
        ),
        (
            Expression::And(vec![
                Expression::ReferredBy {
                    reference: reference("object"),
                    sources: None,
                },
                Expression::Value(score(), Test::Equals(Operand::Number(4.0))),
            ]),
            numbers(&|n| n < 20 && n % 6 == 4),
        ),
    ];
    for (condition, expected) in table {
        let expected: Vec<Iid> = expected
            .into_iter()
            .map(|n| malware[usize::try_from(n).unwrap()])
            .collect();
        for order in [vec![], vec![(OrderKey::Name, false)]] {
            let query = ObjectQuery {
                condition: condition.clone(),
                order,
                with_total: true,
                ..all(&["Malware"])
            };
            let page = fixture.read(|s| s.find(&query));
            let mut found = page.iids.clone();
            found.sort_unstable();
            assert_eq!(found, expected, "{condition:?}");
            assert_eq!(page.total, Some(expected.len() as u64), "{condition:?}");
            assert_eq!(walk(&fixture, &query, 3), page.iids, "{condition:?}");
        }
    }
}

pub fn negation_includes_objects_without_the_value(open: Open) {
    let (fixture, _, _) = filled(open);
    let is_four = Expression::Value(
        attribute("score", false, Kind::Int),
        Test::Equals(Operand::Number(4.0)),
    );
    let count = |condition| {
        find(
            &fixture,
            &ObjectQuery {
                condition,
                ..all(&["Malware"])
            },
        )
        .len()
    };
    let fours = count(is_four.clone());
    assert_eq!(
        count(Expression::Not(Box::new(is_four.clone()))),
        40 - fours
    );
    assert_eq!(
        count(Expression::Not(Box::new(Expression::Not(Box::new(
            is_four
        ))))),
        fours
    );
    let no_alias = Expression::Not(Box::new(Expression::Value(
        attribute("aliases", true, Kind::String),
        Test::Present,
    )));
    assert_eq!(count(no_alias), 1);
}

pub fn relationships_are_filtered_by_their_ends(open: Open) {
    let (fixture, malware, reports) = filled(open);
    let ids = |iids: &[Iid]| idents(&fixture, iids);
    let relationships = |condition| {
        find(
            &fixture,
            &ObjectQuery {
                condition,
                ..all(&["uses"])
            },
        )
        .len()
    };
    assert_eq!(
        relationships(Expression::Ends(Side::Source, ids(&malware[0..3]))),
        3
    );
    assert_eq!(
        relationships(Expression::Ends(Side::Target, ids(&malware[0..3]))),
        0
    );
    assert_eq!(
        relationships(Expression::Ends(
            Side::Both,
            ids(&[malware[0], malware[12]])
        )),
        2
    );
    assert_eq!(
        relationships(Expression::EndTypes(Side::Both, vec![kind("Malware").code])),
        5
    );
    assert_eq!(
        relationships(Expression::EndTypes(
            Side::Target,
            vec![kind("Report").code]
        )),
        0
    );
    let by_target = Expression::Refers {
        reference: reference("object"),
        targets: Some(ids(&malware[4..5])),
    };
    assert_eq!(
        find(
            &fixture,
            &ObjectQuery {
                condition: by_target,
                ..all(&["Report"])
            }
        ),
        [reports[4]]
    );
    let quoted = Expression::Value(attribute("a\"b", false, Kind::String), Test::Present);
    assert!(matches!(
        fixture.store().read(|s| s.find(&ObjectQuery {
            condition: quoted,
            ..all(&[])
        })),
        Err(StoreError::BadFilter(_))
    ));
}

pub fn nothing_is_found_by_what_is_hidden(open: Open) {
    let fixture = Fixture::new(open);
    let (red, reports, malware, secret) = fixture.write(|tx| {
        let red =
            Sample::new("Marking-Definition", 1, json!({"definition": "TLP:RED"})).insert(tx)?;
        let secret = Sample::named("Malware", 2, "Secret")
            .marked(&[red])
            .insert(tx)?;
        let author = Sample::named("Organization", 3, "Author")
            .marked(&[red])
            .insert(tx)?;
        let malware = [4, 5].map(|n| Sample::named("Malware", n, "Known").insert(tx).unwrap());
        Sample::relationship("uses", 6, malware[0], malware[1])
            .marked(&[red])
            .insert(tx)?;
        let report = Sample::named("Report", 7, "Report")
            .referring("object", secret)
            .referring("created-by", author)
            .insert(tx)?;
        Ok((red, [report], malware, [secret, author]))
    });
    let named = Expression::Value(
        attribute("name", false, Kind::String),
        Test::Equals(Operand::Text("Author".to_owned())),
    );
    let refers = |name: &str, target: Option<Iid>| Expression::Refers {
        reference: reference(name),
        targets: target.map(|target| idents(&fixture, &[target])),
    };
    let related = |other: Option<Iid>| Expression::Related {
        types: vec![kind("uses").code],
        others: other.map(|other| idents(&fixture, &[other])),
        side: Side::Both,
    };
    for (types, condition, found) in [
        ("Report", refers("object", Some(secret[0])), &reports[..]),
        ("Report", refers("object", None), &reports),
        ("Report", refers("created-by", Some(secret[1])), &reports),
        ("Report", Expression::Author(Box::new(named)), &reports),
        ("Malware", related(Some(malware[0])), &malware[1..]),
        ("Malware", related(None), &malware),
        (
            "Malware",
            Expression::ReferredBy {
                reference: reference("object"),
                sources: Some(idents(&fixture, &reports)),
            },
            &secret[..1],
        ),
    ] {
        for (markings, expected) in [(vec![red], found), (vec![], &[])] {
            let query = ObjectQuery {
                visible: fixture.read(|s| s.allowed_sets(&markings)),
                condition: condition.clone(),
                with_total: true,
                ..all(&[types])
            };
            assert_eq!(find(&fixture, &query), expected, "{condition:?}");
            let total = fixture.read(|s| s.find(&query)).total;
            assert_eq!(total, Some(expected.len() as u64), "{condition:?}");
        }
    }
}

pub fn large_lists_of_candidates_give_the_same_result(open: Open) {
    let fixture = Fixture::new(open);
    // more than the store walks one by one, so that it takes the other way
    let (common, rare) = fixture.write(|tx| {
        let common = Sample::new("Label", 1, json!({"value": "common"})).insert(tx)?;
        let rare = Sample::new("Label", 2, json!({"value": "rare"})).insert(tx)?;
        for n in 0..6000_u64 {
            let mut sample = Sample::named("Malware", n, &format!("{:04}", 5999 - n))
                .with_text("word")
                .referring("object-label", common);
            if n % 1000 == 0 {
                sample = sample.referring("object-label", rare);
            }
            sample.insert(tx)?;
        }
        Ok((common, rare))
    });
    let labelled = |label| Expression::Refers {
        reference: reference("object-label"),
        targets: Some(idents(&fixture, &[label])),
    };
    for order in [
        vec![],
        vec![(OrderKey::Name, false)],
        vec![(OrderKey::Created, true)],
    ] {
        for search in [None, Some("word".to_owned())] {
            let query = |condition| ObjectQuery {
                condition,
                search: search.clone(),
                order: order.clone(),
                with_total: true,
                first: 10,
                ..all(&["Malware"])
            };
            let page = fixture.read(|s| s.find(&query(labelled(common))));
            assert_eq!(
                (page.iids.len(), page.total, page.has_next),
                (10, Some(6000), true)
            );
            let next = fixture.read(|s| {
                s.find(&ObjectQuery {
                    after: page.cursors.last().cloned(),
                    ..query(labelled(common))
                })
            });
            assert!(next.iids.iter().all(|iid| !page.iids.contains(iid)));
            let page = fixture.read(|s| s.find(&query(labelled(rare))));
            assert_eq!(
                (page.iids.len(), page.total, page.has_next),
                (6, Some(6), false)
            );
        }
    }
}

pub fn long_lists_of_values_are_answered(open: Open) {
    let (fixture, ..) = filled(open);
    let name = || attribute("name", false, Kind::String);
    let any = |test: &dyn Fn(String) -> Test, many: u64| {
        let tests = (0..many).map(|n| Expression::Value(name(), test(format!("Name {n:02}"))));
        Expression::Or(tests.collect())
    };
    let equals = |text: String| Test::Equals(Operand::Text(text));
    for (condition, found) in [
        (any(&equals, 3_000), 40),
        (any(&Test::EndsWith, 3_000), 40),
        (Expression::Not(Box::new(any(&equals, 3_000))), 0),
    ] {
        let query = ObjectQuery {
            condition,
            ..all(&["Malware"])
        };
        assert_eq!(find(&fixture, &query).len(), found);
    }
    let query = ObjectQuery {
        condition: any(&Test::EndsWith, 40_000),
        ..all(&["Malware"])
    };
    let refused = fixture.store().read(|snapshot| snapshot.find(&query));
    assert!(matches!(refused, Err(StoreError::BadFilter(_))));
}

/// As many values as a filter may have, on attributes of every form: one list each, within a time that a comparison for each value would exceed many times.
pub fn the_longest_lists_of_values_are_quick(open: Open) {
    let (fixture, ..) = filled(open);
    let expressions =
        |key: &AttributeKey, value: &dyn Fn(u64) -> Operand, many: u64, deny: bool| {
            let one = |n| {
                let equal = Expression::Value(key.clone(), Test::Equals(value(n)));
                if deny {
                    Expression::Not(Box::new(equal))
                } else {
                    equal
                }
            };
            (0..many).map(one).collect::<Vec<_>>()
        };
    let names = |n: u64| Operand::Text(format!("nAme {n:02}"));
    let aliases = |n: u64| Operand::Text(format!("ALIAS {n}"));
    let scores = |n: u64| Operand::Number(n as f64);
    type Values<'a> = &'a dyn Fn(u64) -> Operand;
    let forms: [(AttributeKey, Values<'_>); 3] = [
        (attribute("name", false, Kind::String), &names),
        (attribute("aliases", true, Kind::String), &aliases),
        (attribute("score", false, Kind::Int), &scores),
    ];
    let found = |condition: Expression| {
        let query = ObjectQuery {
            condition,
            ..all(&["Malware"])
        };
        let mut found = find(&fixture, &query);
        found.sort_unstable();
        found
    };
    let began = std::time::Instant::now();
    for (key, value) in forms {
        // what a few values mean, joined so that nothing is gathered
        let alone = |members: Vec<Expression>| -> Vec<Vec<Iid>> {
            members.into_iter().map(&found).collect()
        };
        let all_of_them = found(Expression::Always);
        let have = alone(expressions(&key, value, 40, false));
        let union: Vec<Iid> = all_of_them
            .iter()
            .copied()
            .filter(|iid| have.iter().any(|some| some.contains(iid)))
            .collect();
        let none: Vec<Iid> = all_of_them
            .iter()
            .copied()
            .filter(|iid| !union.contains(iid))
            .collect();
        assert!(!union.is_empty(), "{}", key.name);
        let many = 30_000;
        let any = expressions(&key, value, many, false);
        assert_eq!(found(Expression::Or(any.clone())), union, "{}", key.name);
        assert!(found(Expression::And(any)).is_empty(), "{}", key.name);
        let denied = expressions(&key, value, many, true);
        assert_eq!(found(Expression::And(denied.clone())), none, "{}", key.name);
        assert_eq!(found(Expression::Or(denied)), all_of_them, "{}", key.name);
        // two values, all of which must be there
        let both = |n: usize, m: usize| -> Vec<Iid> {
            let two = [have[n].clone(), have[m].clone()];
            two[0]
                .iter()
                .copied()
                .filter(|iid| two[1].contains(iid))
                .collect()
        };
        for (n, m) in [(0_usize, 1_usize), (1, 1), (2, 5)] {
            let two = [n, m].map(|n| Expression::Value(key.clone(), Test::Equals(value(n as u64))));
            assert_eq!(
                found(Expression::And(two.to_vec())),
                both(n, m),
                "{} {n} {m}",
                key.name
            );
        }
    }
    let all_of = |texts: &[&str]| {
        let equal = |text: &&str| {
            let with = Operand::Text((*text).to_owned());
            Expression::Value(attribute("aliases", true, Kind::String), Test::Equals(with))
        };
        found(Expression::And(texts.iter().map(equal).collect())).len()
    };
    assert_eq!(all_of(&["alias 1", "COMUN", "Común"]), 8);
    assert_eq!(all_of(&["alias 1", "comun", "alias 2"]), 0);
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}
