//! Relationships, sightings, containers and references.

use serde_json::{Value, json};

use crate::Fixture;

const RELATE: &str = "mutation R($input: StixCoreRelationshipAddInput) { stixCoreRelationshipAdd(input: $input) { id standard_id entity_type parent_types relationship_type } }";

fn relate(fixture: &Fixture, from: &str, of: &str, to: &str) -> String {
    let input = json!({ "fromId": from, "toId": to, "relationship_type": of, "confidence": 60, "start_time": "2026-01-01T00:00:00Z" });
    fixture.run(RELATE, json!({ "input": input }))["stixCoreRelationshipAdd"]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn added(fixture: &Fixture, mutation: &str) -> String {
    let answer = fixture.run(&format!("mutation {{ {mutation} {{ id }} }}"), json!({}));
    answer.as_object().unwrap().values().next().unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_relationship_shows_both_ends() {
    let fixture = Fixture::new();
    let (malware, tool) = (
        fixture.malware("Emotet"),
        added(&fixture, "toolAdd(input: {name: \"PsExec\"})"),
    );
    let id = relate(&fixture, &malware, "uses", &tool);
    let query = "query Q($id: String!) { stixCoreRelationship(id: $id) { entity_type relationship_type confidence start_time stop_time fromRole toRole \
                 fromId fromType toId toType from { ... on BasicObject { id entity_type } ... on Malware { name } } to { ... on Tool { name } ... on StixCoreRelationship { id } } \
                 representative { main } is_inferred objectMarking { id } createdBy { id } customFieldValues { field_name } } }";
    let found = fixture.run(query, json!({ "id": id }))["stixCoreRelationship"].clone();
    assert_eq!(found["entity_type"], "uses");
    assert_eq!(found["relationship_type"], "uses");
    assert_eq!(found["start_time"], "2026-01-01T00:00:00.000Z");
    assert_eq!(
        found["from"],
        json!({ "id": malware, "entity_type": "Malware", "name": "Emotet" })
    );
    assert_eq!(found["to"], json!({ "name": "PsExec" }));
    assert_eq!(
        (&found["fromId"], &found["toType"]),
        (&json!(malware), &json!("Tool"))
    );
    assert_eq!(found["representative"]["main"], "Emotet uses PsExec");
}

#[test]
fn relationships_are_listed_by_ends_types_dates_and_confidence() {
    let fixture = Fixture::new();
    let (malware, tool, country) = (
        fixture.malware("Emotet"),
        added(&fixture, "toolAdd(input: {name: \"PsExec\"})"),
        added(&fixture, "countryAdd(input: {name: \"France\"})"),
    );
    let uses = relate(&fixture, &malware, "uses", &tool);
    let targets = relate(&fixture, &malware, "targets", &country);
    let list = |arguments: &str| -> Vec<String> {
        let found = fixture.run(
            &format!("{{ stixCoreRelationships({arguments}) {{ edges {{ node {{ id }} }} }} }}"),
            json!({}),
        );
        found["stixCoreRelationships"]["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| edge["node"]["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let both = vec![uses.clone(), targets.clone()];
    for (arguments, expected) in [
        (format!("fromId: [{malware:?}]"), both.clone()),
        (format!("fromOrToId: [{tool:?}]"), vec![uses.clone()]),
        (format!("toId: [{country:?}, {tool:?}]"), both.clone()),
        (format!("toId: {country:?}"), vec![targets.clone()]),
        (
            "relationship_type: [\"targets\"]".to_owned(),
            vec![targets.clone()],
        ),
        (
            "relationship_type: \"stix-core-relationship\"".to_owned(),
            both.clone(),
        ),
        ("toTypes: [\"Location\"]".to_owned(), vec![targets.clone()]),
        ("fromTypes: [\"Tool\"]".to_owned(), vec![]),
        (
            format!("fromId: [{malware:?}], toTypes: [\"Tool\"]"),
            vec![uses.clone()],
        ),
        (
            "startTimeStart: \"2025-12-31T00:00:00Z\", startTimeStop: \"2026-01-02T00:00:00Z\""
                .to_owned(),
            both.clone(),
        ),
        (
            "startTimeStart: \"2026-01-02T00:00:00Z\"".to_owned(),
            vec![],
        ),
        ("confidences: [60]".to_owned(), both),
        ("confidences: [61]".to_owned(), vec![]),
        ("fromId: [\"no id\"]".to_owned(), vec![]),
        (
            "orderBy: relationship_type, orderMode: asc".to_owned(),
            vec![targets, uses],
        ),
    ] {
        assert_eq!(list(&arguments), expected, "{arguments}");
    }
}

#[test]
fn neighbours_are_shown_as_fields() {
    let fixture = Fixture::new();
    let technique = added(
        &fixture,
        "attackPatternAdd(input: {name: \"Phishing\", x_mitre_id: \"T1566\"})",
    );
    let sub = added(
        &fixture,
        "attackPatternAdd(input: {name: \"Spearphishing\", x_mitre_id: \"T1566.001\"})",
    );
    let action = added(&fixture, "courseOfActionAdd(input: {name: \"Training\"})");
    relate(&fixture, &sub, "subtechnique-of", &technique);
    relate(&fixture, &action, "mitigates", &technique);
    let query = "query Q($id: String!) { attackPattern(id: $id) { isSubAttackPattern numberOfConnectedElement parentAttackPatterns { edges { node { name } } } \
                 subAttackPatterns { edges { node { name } } pageInfo { globalCount } } coursesOfAction { edges { node { name } } } \
                 stixCoreRelationships(relationship_type: [\"mitigates\"]) { edges { node { relationship_type } } pageInfo { globalCount } } } }";
    let found = fixture.run(query, json!({ "id": technique }))["attackPattern"].clone();
    assert_eq!(found["isSubAttackPattern"], false);
    assert_eq!(found["numberOfConnectedElement"], 2);
    assert_eq!(
        found["subAttackPatterns"],
        json!({ "edges": [{ "node": { "name": "Spearphishing" } }], "pageInfo": { "globalCount": 1 } })
    );
    assert_eq!(
        found["coursesOfAction"]["edges"][0]["node"]["name"],
        "Training"
    );
    assert_eq!(
        found["stixCoreRelationships"]["edges"],
        json!([{ "node": { "relationship_type": "mitigates" } }])
    );
    let found = fixture.run(query, json!({ "id": sub }))["attackPattern"].clone();
    assert_eq!(found["isSubAttackPattern"], true);
    assert_eq!(
        found["parentAttackPatterns"]["edges"][0]["node"]["name"],
        "Phishing"
    );
}

#[test]
fn containers_hold_objects_and_relationships() {
    let fixture = Fixture::new();
    let (malware, tool) = (
        fixture.malware("Emotet"),
        added(&fixture, "toolAdd(input: {name: \"PsExec\"})"),
    );
    let uses = relate(&fixture, &malware, "uses", &tool);
    let input = json!({ "name": "Report", "published": "2026-01-01T00:00:00Z", "objects": [malware, tool, uses] });
    let query = "mutation M($input: ReportAddInput!) { reportAdd(input: $input) { id objects(all: true) { edges { types node { __typename ... on BasicObject { id } ... on StixCoreRelationship { id } } } } } }";
    let report = fixture.run(query, json!({ "input": input }))["reportAdd"].clone();
    let names: Vec<_> = report["objects"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"]["__typename"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Malware", "Tool", "StixCoreRelationship"]);
    let contains = "query C($id: String!, $object: String!) { reportContainsStixObjectOrStixRelationship(id: $id, stixObjectOrStixRelationshipId: $object) }";
    let check = |object: &str| {
        fixture.run(contains, json!({ "id": report["id"], "object": object }))["reportContainsStixObjectOrStixRelationship"].clone()
    };
    assert_eq!((check(&tool), check(&uses)), (json!(true), json!(true)));
    assert_eq!(check(report["id"].as_str().unwrap()), false);
    let back = fixture.run("query Q($id: String!) { malware(id: $id) { reports { edges { node { name } } } containers { pageInfo { globalCount } } notes { edges { cursor } } } }", json!({ "id": malware }));
    assert_eq!(
        back["malware"]["reports"]["edges"][0]["node"]["name"],
        "Report"
    );
    assert_eq!(back["malware"]["containers"]["pageInfo"]["globalCount"], 1);
    assert_eq!(back["malware"]["notes"]["edges"], json!([]));
    let page = "query P($id: String!, $after: ID) { report(id: $id) { objects(first: 2, after: $after) { edges { cursor } pageInfo { endCursor hasNextPage hasPreviousPage globalCount } } } }";
    let first = fixture.run(page, json!({ "id": report["id"] }))["report"]["objects"].clone();
    assert_eq!(
        (
            &first["pageInfo"]["hasNextPage"],
            &first["pageInfo"]["globalCount"]
        ),
        (&json!(true), &json!(3))
    );
    let second = fixture.run(
        page,
        json!({ "id": report["id"], "after": first["pageInfo"]["endCursor"] }),
    )["report"]["objects"]
        .clone();
    assert_eq!(second["edges"].as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &second["pageInfo"]["hasNextPage"],
            &second["pageInfo"]["hasPreviousPage"]
        ),
        (&json!(false), &json!(true))
    );
    let any = fixture.run("query Q($id: String!) { stixObjectOrStixRelationship(id: $id) { __typename ... on StixCoreRelationship { reports { edges { node { name } } } } } }", json!({ "id": uses }));
    assert_eq!(
        any["stixObjectOrStixRelationship"]["reports"]["edges"][0]["node"]["name"],
        "Report"
    );
}

#[test]
fn a_sighting_counts_and_shows_where() {
    let fixture = Fixture::new();
    let (malware, organization) = (
        fixture.malware("Emotet"),
        added(&fixture, "organizationAdd(input: {name: \"ACME\"})"),
    );
    let input = json!({ "fromId": malware, "toId": organization, "attribute_count": 3, "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-02T00:00:00Z" });
    let query = "mutation S($input: StixSightingRelationshipAddInput!) { stixSightingRelationshipAdd(input: $input) { id standard_id entity_type parent_types } }";
    let sighting =
        fixture.run(query, json!({ "input": input }))["stixSightingRelationshipAdd"].clone();
    assert_eq!(sighting["entity_type"], "stix-sighting-relationship");
    let list = "query L($from: StixRef, $to: StixRef) { stixSightingRelationships(fromId: $from, toId: $to, firstSeenStart: \"2025-12-01T00:00:00Z\") { edges { node { id attribute_count x_opencti_negative first_seen to { ... on Organization { name } } } } pageInfo { globalCount } } }";
    let found = fixture.run(list, json!({ "from": malware, "to": organization }))["stixSightingRelationships"].clone();
    assert_eq!(found["edges"][0]["node"]["attribute_count"], 3);
    assert_eq!(found["edges"][0]["node"]["to"]["name"], "ACME");
    assert_eq!(found["edges"][0]["node"]["x_opencti_negative"], false);
}

#[test]
fn references_are_added_listed_and_read_like_relationships() {
    let fixture = Fixture::new();
    let domain = added(
        &fixture,
        "stixCyberObservableAdd(type: \"Domain-Name\", DomainName: {value: \"example.org\"})",
    );
    let address = added(
        &fixture,
        "stixCyberObservableAdd(type: \"IPv4-Addr\", IPv4Addr: {value: \"198.51.100.7\"})",
    );
    let add = "mutation A($input: StixRefRelationshipAddInput!) { stixRefRelationshipAdd(input: $input) { id standard_id entity_type parent_types } }";
    let input =
        json!({ "fromId": domain, "toId": address, "relationship_type": "obs_resolves-to" });
    let link = fixture.run(add, json!({ "input": input }))["stixRefRelationshipAdd"].clone();
    assert_eq!(link["entity_type"], "obs_resolves-to");
    assert_eq!(
        fixture.run(add, json!({ "input": input }))["stixRefRelationshipAdd"]["id"],
        link["id"],
        "a second time changes nothing"
    );
    let list = "query L($from: StixRef) { stixNestedRefRelationships(fromId: $from) { edges { node { id relationship_type spec_version start_time \
                from { ... on StixObject { id standard_id entity_type parent_types } ... on StixCyberObservable { observable_value } } to { ... on StixCyberObservable { observable_value } } } } pageInfo { globalCount } } }";
    let nested = fixture.run(list, json!({ "from": domain }))["stixNestedRefRelationships"].clone();
    assert_eq!(nested["pageInfo"]["globalCount"], 1);
    assert_eq!(
        nested["edges"][0]["node"]["from"]["observable_value"],
        "example.org"
    );
    assert_eq!(
        nested["edges"][0]["node"]["to"]["observable_value"],
        "198.51.100.7"
    );
    let one = fixture.run("query Q($id: String!) { stixRefRelationship(id: $id) { id relationship_type } stixObjectOrStixRelationship(id: $id) { __typename } }", json!({ "id": link["id"] }));
    assert_eq!(
        one["stixRefRelationship"]["relationship_type"],
        "obs_resolves-to"
    );
    assert_eq!(
        one["stixObjectOrStixRelationship"]["__typename"],
        "StixRefRelationship"
    );
    let error = fixture.fail(add, json!({ "input": { "fromId": domain, "toId": "ipv4-addr--0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d", "relationship_type": "obs_resolves-to" } }));
    assert_eq!(error["name"], "FUNCTIONAL_ERROR");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("MISSING_ELEMENTS")
    );
    let error = fixture.fail(
        add,
        json!({ "input": { "fromId": domain, "toId": address, "relationship_type": "src" } }),
    );
    assert_eq!(error["name"], "FUNCTIONAL_ERROR");
}

#[test]
fn objects_are_given_out_as_stix() {
    let fixture = Fixture::new();
    let (malware, tool) = (
        fixture.malware("Emotet"),
        added(&fixture, "toolAdd(input: {name: \"PsExec\"})"),
    );
    let uses = relate(&fixture, &malware, "uses", &tool);
    let stix = |id: &str| -> Value {
        let text = fixture.run("query S($id: String!) { stix(id: $id) stixObjectOrStixRelationship(id: $id) { ... on StixObject { toStix } ... on StixCoreRelationship { toStix } } }", json!({ "id": id }));
        assert_eq!(text["stix"], text["stixObjectOrStixRelationship"]["toStix"]);
        serde_json::from_str(text["stix"].as_str().unwrap()).unwrap()
    };
    let object = stix(&malware);
    assert_eq!(
        (&object["type"], &object["name"], &object["spec_version"]),
        (&json!("malware"), &json!("Emotet"), &json!("2.1"))
    );
    let relationship = stix(&uses);
    assert_eq!(
        (&relationship["type"], &relationship["source_ref"]),
        (&json!("relationship"), &object["id"])
    );
}

#[test]
fn a_mail_is_given_out_with_the_raw_body_of_its_part() {
    let fixture = Fixture::new();
    let observable =
        |arguments: &str| added(&fixture, &format!("stixCyberObservableAdd({arguments})"));
    let mail =
        observable("type: \"Email-Message\", EmailMessage: {subject: \"s\", is_multipart: true}");
    let part = observable(
        "type: \"Email-Mime-Part-Type\", EmailMimePartType: {content_type: \"application/pdf\"}",
    );
    let raw = observable("type: \"Artifact\", Artifact: {url: \"https://example.org/a.pdf\"}");
    for (from, to, reference) in [(&mail, &part, "body-multipart"), (&part, &raw, "body-raw")] {
        fixture.run(
            "mutation A($input: StixRefRelationshipAddInput!) { stixRefRelationshipAdd(input: $input) { id } }",
            json!({ "input": { "fromId": from, "toId": to, "relationship_type": reference } }),
        );
    }
    let ask = "query S($mail: String!, $raw: String!) { stix(id: $mail) artifact: stixCyberObservable(id: $raw) { standard_id } }";
    let answer = fixture.run(ask, json!({ "mail": mail, "raw": raw }));
    let object: Value = serde_json::from_str(answer["stix"].as_str().unwrap()).unwrap();
    assert_eq!(
        object["body_multipart"],
        json!([{ "content_type": "application/pdf", "body_raw_ref": answer["artifact"]["standard_id"] }])
    );
}
