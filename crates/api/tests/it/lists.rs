//! Lists: paging, order, search, filters, types.

use serde_json::{Value, json};

use crate::Fixture;

fn names(fixture: &Fixture, arguments: &str, variables: Value) -> Vec<String> {
    let query = format!(
        "query Q($filters: FilterGroup, $after: ID) {{ _unused: about {{ version }} malwares({arguments}) {{ edges {{ node {{ name }} }} }} }}"
    );
    let query = if arguments.contains("$after") {
        query
    } else {
        query.replace(", $after: ID", "")
    };
    let query = if arguments.contains("$filters") {
        query
    } else {
        query
            .replace("$filters: FilterGroup, ", "")
            .replace("($filters: FilterGroup)", "")
    };
    let found = fixture.run(&query, variables);
    found["malwares"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn three() -> Fixture {
    let fixture = Fixture::new();
    let add = "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }";
    for (name, family, seen, confidence) in [
        ("Zeus", true, "2020-01-01T00:00:00Z", 50),
        ("Ärger", false, "2022-01-01T00:00:00Z", 7),
        ("Emotet", true, "2021-01-01T00:00:00Z", 90),
    ] {
        fixture.run(add, json!({ "input": { "name": name, "is_family": family, "first_seen": seen, "description": format!("{name} does harm"), "confidence": confidence } }));
        fixture.clock.advance(1000);
    }
    fixture
}

#[test]
fn lists_are_in_order_of_creation_unless_asked_otherwise() {
    let fixture = three();
    for (arguments, expected) in [
        ("first: 10", ["Zeus", "Ärger", "Emotet"]),
        ("orderBy: name, orderMode: asc", ["Ärger", "Emotet", "Zeus"]),
        (
            "orderBy: name, orderMode: desc",
            ["Zeus", "Emotet", "Ärger"],
        ),
        ("orderBy: first_seen", ["Zeus", "Emotet", "Ärger"]),
        (
            "orderBy: created_at, orderMode: desc",
            ["Emotet", "Ärger", "Zeus"],
        ),
        (
            "orderBy: confidence, orderMode: desc",
            ["Emotet", "Zeus", "Ärger"],
        ),
    ] {
        assert_eq!(
            names(&fixture, arguments, json!({})),
            expected,
            "{arguments}"
        );
    }
}

#[test]
fn pages_follow_one_another_without_gaps() {
    let fixture = Fixture::new();
    for index in 0..7 {
        fixture.malware(&format!("m{index}"));
    }
    for order in [
        "",
        ", orderBy: name, orderMode: desc",
        ", orderBy: created_at, orderMode: asc",
        ", search: \"m\"",
    ] {
        let query = format!(
            "query P($after: ID) {{ malwares(first: 3, after: $after{order}) {{ edges {{ cursor node {{ name }} }} pageInfo {{ startCursor endCursor hasNextPage hasPreviousPage globalCount }} }} }}"
        );
        let mut seen: Vec<String> = Vec::new();
        let mut after = Value::Null;
        loop {
            let page = fixture.run(&query, json!({ "after": after }))["malwares"].clone();
            let edges = page["edges"].as_array().unwrap();
            let info = &page["pageInfo"];
            assert_eq!(info["globalCount"], 7);
            assert_eq!(info["hasPreviousPage"], !after.is_null());
            assert_eq!(info["startCursor"], edges[0]["cursor"]);
            seen.extend(
                edges
                    .iter()
                    .map(|edge| edge["node"]["name"].as_str().unwrap().to_owned()),
            );
            after = info["endCursor"].clone();
            if info["hasNextPage"] == false {
                break;
            }
        }
        assert_eq!(seen.len(), 7, "{order}: {seen:?}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7, "{order}: {seen:?}");
    }
    let empty = fixture.run("{ tools { edges { cursor } pageInfo { startCursor endCursor hasNextPage hasPreviousPage globalCount } } }", json!({}))["tools"].clone();
    assert_eq!(
        empty,
        json!({ "edges": [], "pageInfo": { "startCursor": "", "endCursor": "", "hasNextPage": false, "hasPreviousPage": false, "globalCount": 0 } })
    );
}

#[test]
fn a_page_has_at_most_5000_objects_and_not_less_than_none() {
    let fixture = three();
    assert_eq!(names(&fixture, "first: 1000000", json!({})).len(), 3);
    assert_eq!(names(&fixture, "first: 0", json!({})).len(), 0);
    assert_eq!(
        fixture.fail("{ malwares(first: -1) { edges { cursor } } }", json!({}))["name"],
        "FUNCTIONAL_ERROR"
    );
}

#[test]
fn text_is_found_by_word_starts_without_case_and_accents() {
    let fixture = three();
    for (search, expected) in [
        ("emo", vec!["Emotet"]),
        ("ARGER", vec!["Ärger"]),
        ("harm zeus", vec!["Zeus"]),
        ("\"does harm\" emotet", vec!["Emotet"]),
        ("nothing", vec![]),
    ] {
        assert_eq!(
            names(&fixture, &format!("search: {search:?}"), json!({})),
            expected,
            "{search}"
        );
    }
}

#[test]
fn filters_select_and_nest() {
    let fixture = three();
    let group = |filters: Value, groups: Value| json!({ "filters": { "mode": "and", "filters": filters, "filterGroups": groups } });
    let filter = |key: &str, values: Value, operator: &str| json!([{ "key": key, "values": values, "operator": operator, "mode": "or" }]);
    for (filters, groups, expected) in [
        // Key and values may come bare.
        (
            filter("name", json!("Emotet"), "eq"),
            json!([]),
            vec!["Emotet"],
        ),
        (
            filter("name", json!(["zeus", "arger"]), "eq"),
            json!([]),
            vec!["Zeus", "Ärger"],
        ),
        (
            filter("name", json!(["Zeus"]), "not_eq"),
            json!([]),
            vec!["Ärger", "Emotet"],
        ),
        (
            filter("name", json!(["mote"]), "contains"),
            json!([]),
            vec!["Emotet"],
        ),
        (
            filter("name", json!(["Z"]), "starts_with"),
            json!([]),
            vec!["Zeus"],
        ),
        (
            filter("is_family", json!(["true"]), "eq"),
            json!([]),
            vec!["Zeus", "Emotet"],
        ),
        (
            filter("first_seen", json!(["2020-06-01T00:00:00Z"]), "gt"),
            json!([]),
            vec!["Ärger", "Emotet"],
        ),
        (
            filter("aliases", json!([]), "nil"),
            json!([]),
            vec!["Zeus", "Ärger", "Emotet"],
        ),
        (
            filter("description", json!([]), "not_nil"),
            json!([]),
            vec!["Zeus", "Ärger", "Emotet"],
        ),
        (
            filter("entity_type", json!(["Tool"]), "eq"),
            json!([]),
            vec![],
        ),
        (
            filter("entity_type", json!(["Stix-Domain-Object"]), "eq"),
            json!([]),
            vec!["Zeus", "Ärger", "Emotet"],
        ),
        (
            filter("is_family", json!(["true"]), "eq"),
            json!([{ "mode": "or", "filters": filter("name", json!(["Emotet", "Ärger"]), "eq"), "filterGroups": [] }]),
            vec!["Emotet"],
        ),
    ] {
        assert_eq!(
            names(
                &fixture,
                "filters: $filters",
                group(filters.clone(), groups)
            ),
            expected,
            "{filters}"
        );
    }
}

#[test]
fn filters_find_by_id_and_by_reference() {
    let fixture = three();
    let label = fixture.run(
        "mutation { labelAdd(input: {value: \"loader\", color: \"#112233\"}) { id } }",
        json!({}),
    )["labelAdd"]["id"]
        .clone();
    let add =
        "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id standard_id } }";
    let tagged = fixture.run(
        add,
        json!({ "input": { "name": "Emotet", "objectLabel": [label] } }),
    )["malwareAdd"]
        .clone();
    for (key, value) in [
        ("objectLabel", &label),
        ("objectLabel", &json!("loader")),
        ("ids", &tagged["id"]),
        ("ids", &tagged["standard_id"]),
        ("id", &tagged["id"]),
        ("standard_id", &tagged["standard_id"]),
    ] {
        let filters = json!({ "filters": { "mode": "and", "filters": [{ "key": [key], "values": [value] }], "filterGroups": [] } });
        assert_eq!(
            names(&fixture, "filters: $filters", filters),
            ["Emotet"],
            "{key} {value}"
        );
    }
}

#[test]
fn lists_over_abstract_types_take_types() {
    let fixture = three();
    fixture.run("mutation { toolAdd(input: {name: \"PsExec\"}) { id } countryAdd(input: {name: \"France\"}) { id } }", json!({}));
    let list = |field: &str, types: &str| -> Vec<String> {
        let found = fixture.run(&format!("{{ {field}(types: {types}) {{ edges {{ node {{ ... on BasicObject {{ entity_type }} }} }} }} }}"), json!({}));
        found[field]["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| edge["node"]["entity_type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        list("stixDomainObjects", "[\"Tool\", \"Location\"]"),
        ["Tool", "Country"]
    );
    assert_eq!(list("stixCoreObjects", "[\"Stix-Domain-Object\"]").len(), 5);
    assert_eq!(
        list("stixObjectOrStixRelationships", "[\"Tool\"]"),
        ["Tool"]
    );
    assert_eq!(list("identities", "[\"Tool\"]"), [""; 0]);
    assert_eq!(
        fixture.fail(
            "{ stixCoreObjects(types: [\"Nonsense\"]) { edges { cursor } } }",
            json!({})
        )["name"],
        "FUNCTIONAL_ERROR"
    );
}

#[test]
fn vocabularies_and_standard_markings_are_there_from_the_start() {
    let fixture = Fixture::new();
    let categories = fixture.run(
        "{ vocabularyCategories { key entity_types fields { key required multiple } } }",
        json!({}),
    )["vocabularyCategories"]
        .clone();
    assert_eq!(categories.as_array().unwrap().len(), 48);
    let filters = json!({ "filters": { "mode": "and", "filters": [{ "key": "name", "values": ["ransomware"] }], "filterGroups": [] } });
    let query = "query V($filters: FilterGroup) { vocabularies(filters: $filters) { edges { node { id name category { key fields { key } } } } } }";
    let found = fixture.run(query, filters)["vocabularies"]["edges"].clone();
    let categories: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"]["category"]["key"].as_str().unwrap())
        .collect();
    assert!(categories.contains(&"malware_type_ov"), "{categories:?}");
    let markings = fixture.run("{ markingDefinitions(orderBy: x_opencti_order) { edges { node { definition_type definition x_opencti_order x_opencti_color } } } }", json!({}));
    let definitions: Vec<_> = markings["markingDefinitions"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"]["definition"].as_str().unwrap())
        .collect();
    for expected in [
        "TLP:CLEAR",
        "TLP:GREEN",
        "TLP:AMBER",
        "TLP:AMBER+STRICT",
        "TLP:RED",
    ] {
        assert!(definitions.contains(&expected), "{definitions:?}");
    }
}

#[test]
fn a_filter_for_something_unknown_finds_nothing() {
    let fixture = three();
    for (key, value) in [
        ("ids", "malware--0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d"),
        ("createdBy", "0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d"),
        ("objectLabel", "nothing"),
    ] {
        let filters = json!({ "filters": { "mode": "and", "filters": [{ "key": [key], "values": [value] }], "filterGroups": [] } });
        assert_eq!(
            names(&fixture, "filters: $filters", filters),
            [""; 0],
            "{key}"
        );
    }
}
