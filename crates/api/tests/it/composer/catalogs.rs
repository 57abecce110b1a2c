//! What can be deployed, and the search in it.

use std::path::Path;

use serde_json::{Value, json};

use crate::Fixture;

const SUMMARIES: &str = "query C($search: String, $types: [ConnectorType!], $supported: Boolean, $verified: Boolean, $use_cases: [String!], $catalog: ID, $first: Int, $after: Int) { contracts(search: $search, types: $types, supported: $supported, verified: $verified, use_cases: $use_cases, catalog: $catalog, first: $first, after: $after) { total next nodes { catalog_id slug title version type image supported verified compatible license confidence versions remarks fault use_cases solution_categories short_description } } }";

/// A manifest with contracts of every shape, one of which is broken.
fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    path.join("../catalog/tests/fixtures/manifest_v0.json")
        .to_str()
        .unwrap()
        .to_owned()
}

fn fixture() -> Fixture {
    Fixture::with_catalogs(&[example()])
}

fn slugs(answer: &Value) -> Vec<String> {
    let nodes = answer["contracts"]["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|node| node["slug"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn catalogs_are_told_with_what_is_wrong_in_them() {
    let fixture = fixture();
    let answer = fixture.run(
        "{ catalogs { id name description version source fetched_at checked_at error entity_type parent_types standard_id contracts broken { place name fault } } }",
        json!({}),
    );
    let catalogs = answer["catalogs"].as_array().unwrap();
    let ids: Vec<&Value> = catalogs.iter().map(|catalog| &catalog["id"]).collect();
    assert_eq!(ids, ["ferrocti-local", "example-catalog"]);
    assert_eq!(catalogs[0]["source"], "built in");
    assert_eq!(catalogs[1]["error"], Value::Null);
    assert!(catalogs[1]["fetched_at"].is_string());
    let broken = catalogs[1]["broken"].as_array().unwrap();
    assert!(!broken.is_empty());
    assert!(broken.iter().all(|one| one["fault"].is_string()));
    assert_eq!(catalogs[0]["broken"], json!([]));
    // as upstream gives them: what fits the platform, without what the platform itself gives
    let contracts = catalogs[1]["contracts"].as_array().unwrap();
    let contracts: Vec<Value> = contracts
        .iter()
        .map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap())
        .collect();
    assert!(contracts.iter().all(|one| one["slug"] != "newer-only"));
    let every = contracts
        .iter()
        .find(|one| one["slug"] == "every-shape")
        .unwrap();
    let properties = every["config_schema"]["properties"].as_object().unwrap();
    assert!(properties.contains_key("SHAPE_API_KEY"));
    for given in ["OPENCTI_URL", "OPENCTI_TOKEN", "CONNECTOR_TYPE"] {
        assert!(!properties.contains_key(given), "{given}");
    }
    let one = fixture.run(
        "{ catalog(id: \"example-catalog\") { name } none: catalog(id: \"none\") { name } }",
        json!({}),
    );
    assert_eq!(one["catalog"]["name"], catalogs[1]["name"]);
    assert_eq!(one["none"], Value::Null);
}

#[test]
fn a_source_that_cannot_be_read_is_told_and_hides_no_other() {
    let fixture = Fixture::with_catalogs(&["/nowhere/manifest.json".to_owned(), example()]);
    let refreshed = fixture.run(
        "mutation { catalogsRefresh { id source error contracts } }",
        json!({}),
    );
    let catalogs = refreshed["catalogsRefresh"].as_array().unwrap();
    assert_eq!(catalogs.len(), 3);
    assert_eq!(catalogs[1]["contracts"], json!([]));
    assert!(catalogs[1]["error"].is_string());
    assert_eq!(catalogs[2]["error"], Value::Null);
}

#[test]
fn contracts_are_searched_and_filtered_and_broken_ones_have_their_fault() {
    let fixture = fixture();
    let run = |variables| fixture.run(SUMMARIES, variables);
    let all = run(json!({}));
    let total = all["contracts"]["total"].as_u64().unwrap();
    let nodes = all["contracts"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len() as u64, total);
    assert!(nodes.iter().any(|node| node["fault"].is_string()));
    assert!(slugs(&all).contains(&"ferrocti-sample".to_owned()));
    for (variables, expected) in [
        (json!({ "search": "ferrocti" }), &["ferrocti-sample"][..]),
        (json!({ "types": ["STREAM"] }), &["no-schema"]),
        (
            json!({ "types": ["STREAM", "INTERNAL_ENRICHMENT"], "supported": true }),
            &["supported-without-schema"],
        ),
        (
            json!({ "verified": true, "supported": true, "catalog": "example-catalog" }),
            &["every-shape"],
        ),
        (json!({ "search": "no such words" }), &[]),
    ] {
        assert_eq!(slugs(&run(variables.clone())), expected, "{variables}");
    }
    let newer = run(json!({ "search": "newer-only" }));
    assert_eq!(newer["contracts"]["nodes"][0]["compatible"], false);
    // pages follow each other without gap
    let mut seen = Vec::new();
    let mut after = Value::Null;
    loop {
        let page = run(json!({ "first": 2, "after": after }));
        seen.extend(slugs(&page));
        assert_eq!(page["contracts"]["total"], total);
        after = page["contracts"]["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(seen, slugs(&all));
}

#[test]
fn one_contract_is_told_whole() {
    let fixture = fixture();
    let query = "query C($slug: String!, $version: String, $catalog: ID) { contract(slug: $slug, version: $version, catalog: $catalog) { catalog_id contract version versions compatible remarks } }";
    let found = fixture.run(query, json!({ "slug": "every-shape" }));
    let found = &found["contract"];
    assert_eq!(found["catalog_id"], "example-catalog");
    assert_eq!(found["versions"], json!(["rolling"]));
    assert_eq!(found["compatible"], true);
    let contract: Value = serde_json::from_str(found["contract"].as_str().unwrap()).unwrap();
    assert_eq!(contract["container_image"], "example/connector-every-shape");
    let none = fixture.run(query, json!({ "slug": "none" }));
    assert_eq!(none["contract"], Value::Null);
    for (variables, message) in [
        (
            json!({ "slug": "newer-only" }),
            "not compatible with the platform version",
        ),
        (
            json!({ "slug": "every-shape", "version": "9" }),
            "has no version `9`",
        ),
        (
            json!({ "slug": "every-shape", "catalog": "none" }),
            "there is no catalog `none`",
        ),
    ] {
        let error = fixture.fail(query, variables);
        assert_eq!(error["extensions"]["code"], "FUNCTIONAL_ERROR");
        assert!(
            error["message"].as_str().unwrap().contains(message),
            "{error}"
        );
    }
}
