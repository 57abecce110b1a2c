//! Filters: the form in which clients send them, and what they mean.

use ferrocti_model::{
    Ident,
    clock::{format_date, parse_date},
    filter::{
        AttributeKey, Context, Expression, FilterError, FilterGroup, MAX_DEPTH, MAX_FILTERS,
        MAX_VALUES, Operand, Side, Test,
    },
    registry::{Kind, Registry},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

const ME: Uuid = Uuid::from_u128(7);
const LABEL: &str = "label--2fd75c7a-e4a2-5bd1-8d5c-5e5a0a4d8f11";

fn context() -> Context {
    Context {
        now: parse_date("2024-03-31T10:20:30.456Z").unwrap(),
        me: Some(Ident::Internal(ME)),
    }
}

fn meaning(group: Value) -> Result<Expression, FilterError> {
    FilterGroup::parse(&group)?.expression(&context())
}

/// What one filter means.
fn of(filter: Value) -> Expression {
    meaning(json!({"mode": "and", "filters": [filter], "filterGroups": []})).unwrap()
}

fn refusal(filter: Value) -> FilterError {
    meaning(json!({"mode": "and", "filters": [filter], "filterGroups": []})).unwrap_err()
}

fn attribute(name: &str, kind: Kind) -> AttributeKey {
    AttributeKey {
        name: name.to_owned(),
        inner: None,
        kind,
        multiple: false,
    }
}

fn value(name: &str, kind: Kind, test: Test) -> Expression {
    Expression::Value(attribute(name, kind), test)
}

fn text(text: &str) -> Operand {
    Operand::Text(text.to_owned())
}

fn not(expression: Expression) -> Expression {
    Expression::Not(Box::new(expression))
}

fn ident(id: &str) -> Ident {
    Ident::parse(id).unwrap()
}

fn code(name: &str) -> u16 {
    Registry::get().by_name(name).unwrap().code
}

fn reference(name: &str) -> u16 {
    Registry::get().reference_type(name).unwrap().code
}

#[test]
fn keys_and_values_may_be_bare_and_defaults_are_eq_and_or() {
    let expected = value("name", Kind::String, Test::Equals(text("Emotet")));
    assert_eq!(of(json!({"key": "name", "values": "Emotet"})), expected);
    assert_eq!(
        of(json!({"key": ["name"], "values": ["Emotet"], "operator": "eq", "mode": "or"})),
        expected
    );
    assert_eq!(
        of(json!({"key": "name", "values": ["Emotet"], "operator": null, "mode": null})),
        expected
    );
}

#[test]
fn nothing_asked_holds_for_everything() {
    assert_eq!(meaning(Value::Null), Ok(Expression::Always));
    assert_eq!(
        meaning(json!({"mode": "or", "filters": [], "filterGroups": []})),
        Ok(Expression::Always)
    );
    assert_eq!(
        FilterGroup::empty().expression(&context()),
        Ok(Expression::Always)
    );
}

#[test]
fn groups_nest() {
    let filter = |name: &str| json!({"key": "name", "values": name});
    let inner = json!({"mode": "or", "filters": [filter("a"), filter("b")], "filterGroups": []});
    let is = |name: &str| value("name", Kind::String, Test::Equals(text(name)));
    assert_eq!(
        meaning(json!({"mode": "and", "filters": [filter("c")], "filterGroups": [inner]})),
        Ok(Expression::And(vec![
            is("c"),
            Expression::Or(vec![is("a"), is("b")])
        ]))
    );
}

#[test]
fn values_are_converted_to_what_the_key_holds() {
    let number = |n| value("confidence", Kind::Int, Test::AtLeast(Operand::Number(n)));
    assert_eq!(
        of(json!({"key": "confidence", "values": ["70"], "operator": "gte"})),
        number(70.0)
    );
    assert_eq!(
        of(json!({"key": "confidence", "values": [70], "operator": "gte"})),
        number(70.0)
    );
    let revoked = |truth| value("revoked", Kind::Bool, Test::Equals(Operand::Bool(truth)));
    assert_eq!(
        of(json!({"key": "revoked", "values": ["true"]})),
        revoked(true)
    );
    assert_eq!(
        of(json!({"key": "revoked", "values": false})),
        revoked(false)
    );
    let published = parse_date("2024-01-31T00:00:00Z").unwrap();
    assert_eq!(
        of(json!({"key": "published", "values": ["2024-01-31T01:00:00+01:00"], "operator": "lt"})),
        value(
            "published",
            Kind::Date,
            Test::Below(Operand::Date(published))
        )
    );
}

#[test]
fn a_period_includes_both_ends_whole() {
    let Expression::And(ends) =
        of(json!({"key": "created_at", "values": ["now-30d/d", "now/d"], "operator": "within"}))
    else {
        panic!("a period has two ends");
    };
    let at = |test: &Expression| match test {
        Expression::Value(
            _,
            Test::AtLeast(Operand::Date(at)) | Test::AtMost(Operand::Date(at)),
        ) => format_date(*at),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        ends.iter().map(at).collect::<Vec<_>>(),
        ["2024-03-01T00:00:00.000Z", "2024-03-31T23:59:59.999Z"]
    );
}

#[test]
fn a_denial_of_several_values_follows_the_mode() {
    let is = |name: &str| not(value("name", Kind::String, Test::Equals(text(name))));
    let filter = |mode: &str| {
        of(json!({"key": "name", "values": ["a", "b"], "operator": "not_eq", "mode": mode}))
    };
    assert_eq!(filter("and"), Expression::And(vec![is("a"), is("b")]));
    assert_eq!(
        filter("or"),
        Expression::Or(vec![is("a"), is("b")]),
        "nearly everything, as upstream has it"
    );
}

#[test]
fn on_identifiers_a_denial_means_none_of() {
    let marking = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
    for mode in ["and", "or"] {
        assert_eq!(
            of(
                json!({"key": "objectMarking", "values": [marking, ME.to_string()], "operator": "not_eq", "mode": mode})
            ),
            not(Expression::Refers {
                reference: reference("objectMarking"),
                targets: Some(vec![ident(marking), Ident::Internal(ME)]),
            })
        );
    }
}

#[test]
fn all_of_several_references_can_be_asked_for() {
    let refers = |target| Expression::Refers {
        reference: reference("objects"),
        targets: Some(vec![target]),
    };
    let other = Uuid::from_u128(8);
    assert_eq!(
        of(json!({"key": "objects", "values": [ME, other], "mode": "and"})),
        Expression::And(vec![
            refers(Ident::Internal(ME)),
            refers(Ident::Internal(other))
        ])
    );
}

#[test]
fn absence_and_presence_take_no_values() {
    let any = Expression::Refers {
        reference: reference("createdBy"),
        targets: None,
    };
    assert_eq!(
        of(json!({"key": "createdBy", "values": [], "operator": "nil"})),
        not(any.clone())
    );
    assert_eq!(of(json!({"key": "createdBy", "values": ["EXISTS"]})), any);
    assert_eq!(
        of(json!({"key": "description", "values": ["EXISTS"], "operator": "not_eq"})),
        not(value("description", Kind::Text, Test::Present))
    );
    assert_eq!(
        of(json!({"key": "uses", "operator": "not_nil", "values": []})),
        Expression::Related {
            types: vec![code("uses")],
            others: None,
            side: Side::Both
        }
    );
}

#[test]
fn texts_are_matched_in_part() {
    let name = |operator: &str, pattern: &str| {
        of(json!({"key": "name", "values": [pattern], "operator": operator}))
    };
    let is = |test: Test| value("name", Kind::String, test);
    assert_eq!(name("starts_with", "a"), is(Test::StartsWith("a".into())));
    assert_eq!(
        name("not_ends_with", "a"),
        not(is(Test::EndsWith("a".into())))
    );
    assert_eq!(
        name("contains", "50%_*"),
        is(Test::Contains("50%_*".into())),
        "special characters are meant literally"
    );
    assert_eq!(name("wildcard", "*"), is(Test::Present));
    assert_eq!(name("wildcard", "a b"), is(Test::Contains("a b".into())));
    assert_eq!(name("wildcard", "a*b"), is(Test::Pattern("a*b".into())));
    assert_eq!(name("search", "a b"), is(Test::Words("a b".into())));
}

#[test]
fn fields_of_objects_are_keys() {
    let key = AttributeKey {
        name: "hashes".into(),
        inner: Some("SHA-256".into()),
        kind: Kind::String,
        multiple: false,
    };
    assert_eq!(
        of(json!({"key": "hashes.SHA-256", "values": ["aa"]})),
        Expression::Value(key, Test::Equals(text("aa")))
    );
    assert!(
        matches!(refusal(json!({"key": "hashes.CRC32", "values": ["aa"]})), FilterError::UnknownKey(key) if key == "hashes.CRC32")
    );
    assert!(matches!(
        refusal(json!({"key": "hashes", "values": ["aa"]})),
        FilterError::Value { .. }
    ));
}

#[test]
fn any_of_several_keys_may_match_and_a_denial_holds_for_all() {
    let filter = |operator: &str| {
        of(json!({"key": ["name", "value"], "values": ["a"], "operator": operator}))
    };
    let is = |name: &str| value(name, Kind::String, Test::Equals(text("a")));
    assert_eq!(filter("eq"), Expression::Or(vec![is("name"), is("value")]));
    assert_eq!(
        filter("not_eq"),
        Expression::And(vec![not(is("name")), not(is("value"))])
    );
}

#[test]
fn abstract_types_stand_for_all_under_them() {
    let Expression::Types(types) = of(
        json!({"key": "entity_type", "values": ["Stix-Cyber-Observable", "Malware", "Nonsense"]}),
    ) else {
        panic!("types");
    };
    assert_eq!(types.len(), 38);
    assert!(types.contains(&code("Malware")));
    assert_eq!(
        of(json!({"key": "entity_type", "values": ["Nonsense"]})),
        Expression::Never
    );
    assert_eq!(
        of(json!({"key": "entity_type", "values": ["Nonsense"], "operator": "not_eq"})),
        Expression::Always
    );
}

#[test]
fn relationship_ends_are_keys() {
    let ids = vec![Ident::Internal(ME)];
    assert_eq!(
        of(json!({"key": "fromId", "values": [ME]})),
        Expression::Ends(Side::Source, ids.clone())
    );
    assert_eq!(
        of(json!({"key": "fromOrToId", "values": [ME]})),
        Expression::Ends(Side::Both, ids.clone())
    );
    assert_eq!(
        of(json!({"key": "toTypes", "values": ["Malware"]})),
        Expression::EndTypes(Side::Target, vec![code("Malware")])
    );
    assert_eq!(
        of(json!({"key": "uses", "values": [ME]})),
        Expression::Related {
            types: vec![code("uses")],
            others: Some(ids.clone()),
            side: Side::Both
        }
    );
    assert_eq!(
        of(json!({"key": "sightedBy", "values": [ME]})),
        Expression::Related {
            types: vec![code("stix-sighting-relationship")],
            others: Some(ids),
            side: Side::Source
        }
    );
}

#[test]
fn elements_can_be_asked_for_by_what_they_are_related_to() {
    let filter = |values: Value| of(json!({"key": "regardingOf", "values": values}));
    let ids = Some(vec![Ident::Internal(ME)]);
    assert_eq!(
        filter(
            json!([{"key": "relationship_type", "values": ["uses"]}, {"key": "id", "values": [ME]}])
        ),
        Expression::Related {
            types: vec![code("uses")],
            others: ids.clone(),
            side: Side::Both
        }
    );
    assert_eq!(
        filter(
            json!([{"key": "relationship_type", "values": "object"}, {"key": "id", "values": ME},
            {"key": "direction_forced", "values": ["true"]}, {"key": "direction_reverse", "values": [true]}])
        ),
        Expression::ReferredBy {
            reference: reference("objects"),
            sources: ids.clone()
        }
    );
    let Expression::Or(ways) = filter(json!([{"key": "id", "values": [ME]}])) else {
        panic!("any way")
    };
    assert_eq!(
        ways[0],
        Expression::Related {
            types: vec![],
            others: ids,
            side: Side::Both
        }
    );
    assert_eq!(
        ways.len(),
        1 + 2 * Registry::get().reference_types().len(),
        "references in both directions"
    );
    assert_eq!(
        filter(json!([{"key": "id", "values": ["no id"]}])),
        Expression::Never,
        "an unknown element is related to nothing"
    );
    assert!(matches!(
        refusal(json!({"key": "regardingOf", "values": []})),
        FilterError::Operator { .. }
    ));
    assert!(matches!(
        refusal(json!({"key": "regardingOf", "values": ["x"]})),
        FilterError::Value { .. }
    ));
}

#[test]
fn labels_may_be_given_by_their_text_and_me_stands_for_the_caller() {
    let refers = |name: &str, target| Expression::Refers {
        reference: reference(name),
        targets: Some(vec![target]),
    };
    let label = of(json!({"key": "objectLabel", "values": [" Phishing"]}));
    assert_eq!(
        label,
        of(json!({"key": "objectLabel", "values": ["phishing"]}))
    );
    assert!(matches!(label, Expression::Refers { targets: Some(ids), .. } if ids.len() == 1));
    assert_eq!(
        of(json!({"key": "objectLabel", "values": [LABEL]})),
        refers("objectLabel", ident(LABEL))
    );
    assert_eq!(
        of(json!({"key": "objectAssignee", "values": ["@me"]})),
        refers("objectAssignee", Ident::Internal(ME))
    );
    let Expression::Value(key, Test::Equals(id)) =
        of(json!({"key": "creator_id", "values": ["@me"]}))
    else {
        panic!()
    };
    assert_eq!((key.kind, id), (Kind::Id, text(&ME.to_string())));
}

#[test]
fn reliability_is_the_authors_or_the_elements_own() {
    let reliability = || {
        value(
            "x_opencti_reliability",
            Kind::Vocabulary,
            Test::Equals(text("A")),
        )
    };
    let author = of(json!({"key": "source_reliability", "values": ["A"]}));
    assert_eq!(author, Expression::Author(Box::new(reliability())));
    let Expression::Or(ways) = of(json!({"key": "computed_reliability", "values": ["A"]})) else {
        panic!()
    };
    assert_eq!(ways.len(), 2);
}

#[test]
fn keys_that_are_unknown_or_come_later_are_named() {
    let error = refusal(json!({"key": "nam", "values": ["x"]}));
    assert_eq!(error, FilterError::UnknownKey("nam".into()));
    assert!(error.to_string().contains("\"nam\""));
    for key in [
        "pir_score",
        "dynamicRegardingOf",
        "contextEntityId",
        "members_user",
    ] {
        assert_eq!(
            refusal(json!({"key": key, "values": ["x"]})),
            FilterError::NotSupported(key.into())
        );
    }
    let long = "é".repeat(10_000);
    assert!(
        refusal(json!({"key": long, "values": ["x"]}))
            .to_string()
            .len()
            < 500,
        "messages stay short"
    );
}

#[test]
fn operators_that_do_not_fit_are_refused_with_a_hint() {
    for filter in [
        json!({"key": ["created", "modified"], "values": ["now"], "operator": "gt"}),
        json!({"key": ["name", "value"], "values": [], "operator": "nil"}),
        json!({"key": "created", "values": ["now"], "operator": "within"}),
        json!({"key": "created", "values": ["now", "now"], "operator": "lt"}),
        json!({"key": "confidence", "values": ["7"], "operator": "contains"}),
        json!({"key": "entity_type", "values": ["x"], "operator": "starts_with"}),
        json!({"key": "ids", "values": [], "operator": "nil"}),
        json!({"key": "name", "values": ["EXISTS", "x"]}),
    ] {
        assert!(
            matches!(refusal(filter.clone()), FilterError::Operator { .. }),
            "{filter}"
        );
    }
    for filter in [
        json!({"key": "confidence", "values": ["high"]}),
        json!({"key": "confidence", "values": ["NaN"]}),
        json!({"key": "created", "values": ["tomorrow"]}),
        json!({"key": "revoked", "values": [1]}),
        json!({"key": "name", "values": [{"a": 1}]}),
        json!({"key": "ids", "values": [7]}),
    ] {
        assert!(
            matches!(refusal(filter.clone()), FilterError::Value { .. }),
            "{filter}"
        );
    }
}

#[test]
fn what_is_not_a_filter_group_is_refused() {
    for json in [
        json!("x"),
        json!([]),
        json!({}),
        json!({"mode": "and", "filters": []}),
        json!({"mode": "and", "filterGroups": []}),
        json!({"mode": "xor", "filters": [], "filterGroups": []}),
        json!({"mode": "and", "filters": [{}], "filterGroups": []}),
        json!({"mode": "and", "filters": [{"key": [7], "values": []}], "filterGroups": []}),
        json!({"mode": "and", "filters": [{"key": "name", "values": [], "operator": "is"}], "filterGroups": []}),
        json!({"mode": "and", "filters": [{"key": "name", "values": [], "id": 7}], "filterGroups": []}),
        json!({"mode": "and", "filters": [], "filterGroups": ["x"]}),
    ] {
        assert!(
            matches!(FilterGroup::parse(&json), Err(FilterError::Form(_))),
            "{json}"
        );
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |depth| {
        let leaf = json!({"mode": "and", "filters": [], "filterGroups": []});
        (1..depth).fold(
            leaf,
            |group, _| json!({"mode": "and", "filters": [], "filterGroups": [group]}),
        )
    };
    assert!(FilterGroup::parse(&nested(MAX_DEPTH)).is_ok());
    assert!(matches!(
        FilterGroup::parse(&nested(MAX_DEPTH + 1)),
        Err(FilterError::TooLarge { .. })
    ));
    let filters = |count| json!({"mode": "or", "filters": vec![json!({"key": "name", "values": "x"}); count], "filterGroups": []});
    assert!(FilterGroup::parse(&filters(MAX_FILTERS)).is_ok());
    assert!(matches!(
        FilterGroup::parse(&filters(MAX_FILTERS + 1)),
        Err(FilterError::TooLarge { .. })
    ));
    let values = |count| json!({"mode": "or", "filters": [{"key": "ids", "values": vec!["x"; count]}], "filterGroups": []});
    assert!(FilterGroup::parse(&values(MAX_VALUES)).is_ok());
    assert!(matches!(
        FilterGroup::parse(&values(MAX_VALUES + 1)),
        Err(FilterError::TooLarge { .. })
    ));
}

fn any_filter() -> impl Strategy<Value = Value> {
    let operators = [
        "eq",
        "not_eq",
        "gt",
        "gte",
        "lt",
        "lte",
        "within",
        "nil",
        "not_nil",
        "match",
        "wildcard",
        "not_wildcard",
        "contains",
        "not_contains",
        "starts_with",
        "not_starts_with",
        "ends_with",
        "not_ends_with",
        "search",
    ];
    let keys = [
        "name",
        "confidence",
        "created",
        "objectLabel",
        "uses",
        "ids",
        "entity_type",
        "regardingOf",
        "hashes.MD5",
        "x",
    ];
    let key = prop_oneof![
        proptest::sample::select(keys.to_vec()).prop_map(str::to_owned),
        any::<String>()
    ];
    let scalar = prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!("now-1d/d"))
    ];
    (
        proptest::collection::vec(key, 1..3),
        proptest::collection::vec(scalar, 0..4),
        proptest::sample::select(operators.to_vec()),
        proptest::sample::select(&["and", "or"][..]),
    )
        .prop_map(|(key, values, operator, mode)| json!({"key": key, "values": values, "operator": operator, "mode": mode}))
}

fn any_group() -> impl Strategy<Value = Value> {
    let group = |groups: Vec<Value>| {
        (proptest::collection::vec(any_filter(), 0..3), proptest::sample::select(&["and", "or"][..]))
            .prop_map(move |(filters, mode)| json!({"mode": mode, "filters": filters, "filterGroups": groups}))
    };
    group(Vec::new()).prop_recursive(4, 16, 3, move |inner| {
        proptest::collection::vec(inner, 0..3).prop_flat_map(group)
    })
}

proptest! {
    #[test]
    fn what_is_parsed_can_be_written_again(json in any_group()) {
        let group = FilterGroup::parse(&json).unwrap();
        let written = group.to_json();
        prop_assert_eq!(&written, &json);
        prop_assert_eq!(&FilterGroup::parse(&written).unwrap(), &group);
    }

    #[test]
    fn no_filter_makes_the_meaning_panic(json in any_group()) {
        let _ = meaning(json);
    }
}
