//! Editing and deleting knowledge, for every type of the registry and through every family of fields.

use ferrocti_model::registry::{Category, Kind};
use ferrocti_model::{EntityType, Registry};
use serde_json::{Value, json};

use crate::{Fixture, add, data};

const GREEN: &str = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da";
const RED: &str = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";

/// The types that have edit fields of their own: domain and meta objects.
fn types() -> impl Iterator<Item = &'static EntityType> {
    let types = Registry::get().types().iter();
    types.filter(|kind| {
        matches!(kind.category, Category::Domain | Category::Meta) && kind.root.one.is_some()
    })
}

/// An attribute of a type that can be edited without another identity.
fn editable(kind: &EntityType) -> Option<(&str, Value, Value)> {
    let identifying: Vec<&str> = kind
        .id_rule
        .ways
        .iter()
        .flatten()
        .map(|contribution| contribution.property.as_str())
        .collect();
    kind.attributes
        .iter()
        .filter(|attribute| attribute.editable && attribute.output.is_some() && !attribute.multiple)
        .filter(|attribute| !identifying.contains(&attribute.name.as_str()))
        .find_map(
            |attribute| match (attribute.name.as_str(), attribute.kind) {
                ("description" | "explanation" | "content" | "result_name", _) => Some((
                    attribute.name.as_str(),
                    json!("an edited text"),
                    json!("an edited text"),
                )),
                ("color" | "x_opencti_color", _) => {
                    Some((attribute.name.as_str(), json!("#123456"), json!("#123456")))
                }
                // clients send numbers as texts too
                ("x_opencti_order", Kind::Int) => {
                    Some((attribute.name.as_str(), json!("42"), json!(42)))
                }
                _ => None,
            },
        )
}

impl Fixture {
    fn exists(&self, id: &str) -> bool {
        let query = "query Q($id: String!) { stixObjectOrStixRelationship(id: $id) { ... on BasicObject { id } ... on BasicRelationship { id } } }";
        !self.run(query, json!({ "id": id }))["stixObjectOrStixRelationship"].is_null()
    }

    fn malware_of(&self, name: &str, more: Value) -> String {
        let mut input = json!({ "name": name });
        input
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let added = self.run(
            "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }",
            json!({ "input": input }),
        );
        added["malwareAdd"]["id"].as_str().unwrap().to_owned()
    }

    fn label(&self, value: &str) -> String {
        let added = self.run(
            "mutation M($value: String) { labelAdd(input: {value: $value, color: \"#ffffff\"}) { id } }",
            json!({ "value": value }),
        );
        added["labelAdd"]["id"].as_str().unwrap().to_owned()
    }

    fn report(&self, objects: &[&str]) -> String {
        let added = self.run(
            "mutation M($objects: [String]) { reportAdd(input: {name: \"report\", published: \"2024-01-01T00:00:00Z\", confidence: 80, objects: $objects}) { id } }",
            json!({ "objects": objects }),
        );
        added["reportAdd"]["id"].as_str().unwrap().to_owned()
    }

    fn related(&self, from: &str, to: &str) -> String {
        let added = self.run(
            "mutation M($from: StixRef!, $to: StixRef!) { stixCoreRelationshipAdd(input: {fromId: $from, toId: $to, relationship_type: \"related-to\"}) { id } }",
            json!({ "from": from, "to": to }),
        );
        added["stixCoreRelationshipAdd"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

/// Fields of the edits of a type: how one is called, by `…Edit(id)` or as a field of its own.
fn call(kind: &EntityType, verb: &str, arguments: &str, selection: &str) -> String {
    let list = |inner: &str| {
        if inner.is_empty() {
            String::new()
        } else {
            format!("({inner})")
        }
    };
    match &kind.root.edit {
        Some(edit) => format!(
            "{edit}(id: $id) {{ {verb}{} {selection} }}",
            list(arguments)
        ),
        None => {
            let (first, rest) = verb.split_at(1);
            let one = kind.root.one.as_deref().unwrap();
            let comma = if arguments.is_empty() { "" } else { ", " };
            format!(
                "{one}{}{rest}(id: $id{comma}{arguments}) {selection}",
                first.to_uppercase()
            )
        }
    }
}

fn answer(data: &Value, kind: &EntityType, verb: &str) -> Value {
    let root = data.as_object().unwrap().values().next().unwrap();
    if kind.root.edit.is_some() {
        root[verb].clone()
    } else {
        root.clone()
    }
}

#[test]
fn every_type_is_edited_and_deleted_through_its_own_fields() {
    let fixture = Fixture::new();
    let (mut seen, mut patched) = (0, 0);
    for kind in types() {
        let id = add::add(&fixture, kind, &add::input(kind, false));
        if let Some((key, value, expected)) = editable(kind) {
            let query = format!(
                "mutation M($id: ID!, $input: [EditInput!]!) {{ {} }}",
                call(
                    kind,
                    "fieldPatch",
                    "input: $input",
                    &format!("{{ id {key} }}")
                )
            );
            // a single value without a list around it, as clients send it
            let edited = fixture.run(
                &query,
                json!({ "id": id, "input": [{ "key": key, "value": value }] }),
            );
            let edited = answer(&edited, kind, "fieldPatch");
            assert_eq!(edited, json!({ "id": id, key: expected }), "{}", kind.name);
            patched += 1;
        }
        let context = format!(
            "mutation M($id: ID!) {{ {} }}",
            call(kind, "contextPatch", "input: {focusOn: \"name\"}", "{ id }")
        );
        assert_eq!(
            answer(
                &fixture.run(&context, json!({ "id": id })),
                kind,
                "contextPatch"
            )["id"],
            json!(id)
        );
        let one = kind.root.one.as_deref().unwrap();
        let query = format!("mutation M($id: ID!) {{ {one}Delete(id: $id) }}");
        if kind.name == "Vocabulary" {
            // made of an entry that the platform has; it may go like any other
            assert!(fixture.exists(&id));
        }
        assert_eq!(
            fixture.run(&query, json!({ "id": id }))[format!("{one}Delete")],
            json!(id),
            "{}",
            kind.name
        );
        assert!(!fixture.exists(&id), "{}", kind.name);
        assert_eq!(
            fixture.run(
                &format!("query Q($id: String!) {{ {one}(id: $id) {{ id }} }}"),
                json!({ "id": id })
            )[one],
            Value::Null
        );
        seen += 1;
    }
    assert!(seen > 40 && patched > 35, "{seen} {patched}");
}

#[test]
fn case_47_a_typed_edit_does_not_touch_an_object_of_another_type() {
    let fixture = Fixture::new();
    let report = fixture.report(&[]);
    for kind in types().filter(|kind| kind.name != "Report") {
        let one = kind.root.one.as_deref().unwrap();
        let query = format!("mutation M($id: ID!) {{ {one}Delete(id: $id) }}");
        let error = fixture.fail(&query, json!({ "id": report }));
        assert_eq!(error["name"], "ALREADY_DELETED_ERROR", "{}", kind.name);
        let query = format!(
            "mutation M($id: ID!) {{ {} }}",
            call(
                kind,
                "fieldPatch",
                "input: [{key: \"name\", value: [\"stolen\"]}]",
                "{ id }"
            )
        );
        let error = fixture.fail(&query, json!({ "id": report }));
        assert_eq!(error["name"], "FUNCTIONAL_ERROR", "{}", kind.name);
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .starts_with("Cant find element to update")
        );
    }
    for family in [
        "stixCyberObservableEdit",
        "stixCoreRelationshipEdit",
        "stixSightingRelationshipEdit",
        "identityEdit",
        "locationEdit",
    ] {
        let query = format!("mutation M($id: ID!) {{ {family}(id: $id) {{ delete }} }}");
        assert_eq!(
            fixture.fail(&query, json!({ "id": report }))["name"],
            "ALREADY_DELETED_ERROR"
        );
    }
    let found = fixture.run(
        "query Q($id: String!) { report(id: $id) { name } }",
        json!({ "id": report }),
    );
    assert_eq!(found["report"]["name"], "report");
}

#[test]
fn cases_90_and_98_what_outweighs_the_user_is_refused_with_the_known_words() {
    let fixture = Fixture::new();
    let token = fixture.service("Feed");
    let id = fixture.malware_of("Emotet", json!({ "confidence": 80 }));
    let other = fixture.malware_of("Trickbot", json!({ "confidence": 10 }));
    let marking = fixture.malware_of(
        "Marked",
        json!({ "confidence": 80, "objectMarking": [GREEN] }),
    );
    for edit in [
        format!(
            "malwareEdit(id: \"{id}\") {{ fieldPatch(input: {{key: \"description\", value: \"x\"}}) {{ id }} }}"
        ),
        format!(
            "stixDomainObjectEdit(id: \"{id}\") {{ relationAdd(input: {{toId: \"{GREEN}\", relationship_type: \"object-marking\"}}) {{ id }} }}"
        ),
        format!(
            "stixDomainObjectEdit(id: \"{marking}\") {{ relationDelete(toId: \"{GREEN}\", relationship_type: \"object-marking\") {{ id }} }}"
        ),
        format!("stixCoreObjectEdit(id: \"{id}\") {{ delete }}"),
    ] {
        let answer = fixture.run_as(&token, &format!("mutation {{ {edit} }}"), json!({}));
        let error = &answer["errors"][0];
        assert_eq!(error["name"], "FUNCTIONAL_ERROR", "{edit}: {answer}");
        assert!(
            error["message"].as_str().unwrap().starts_with(
                "User effective max confidence level is insufficient to update this element"
            ),
            "{edit}: {answer}"
        );
        for data in [&error["data"], &error["extensions"]["data"]] {
            assert_eq!(data["doc_code"], "INSUFFICIENT_CONFIDENCE_LEVEL", "{edit}");
            assert_eq!(data["http_status"], 400, "{edit}");
        }
    }
    // labels and external references are exempt, lighter objects are the user's to change
    let label = fixture.label("seen");
    for edit in [
        format!(
            "stixDomainObjectEdit(id: \"{id}\") {{ relationAdd(input: {{toId: \"{label}\", relationship_type: \"object-label\"}}) {{ id }} }}"
        ),
        format!(
            "stixDomainObjectEdit(id: \"{id}\") {{ relationDelete(toId: \"{label}\", relationship_type: \"object-label\") {{ id }} }}"
        ),
        format!(
            "malwareEdit(id: \"{other}\") {{ fieldPatch(input: {{key: \"description\", value: \"x\"}}) {{ id }} }}"
        ),
        format!("stixCoreObjectEdit(id: \"{other}\") {{ delete }}"),
    ] {
        let query = format!("mutation {{ {edit} }}");
        data(fixture.run_as(&token, &query, json!({})), &query);
    }
    let merge = format!(
        "mutation {{ stixEdit(id: \"{id}\") {{ merge(stixObjectsIds: [\"{marking}\"]) {{ id }} }} }}"
    );
    let answer = fixture.run_as(&token, &merge, json!({}));
    assert_eq!(
        answer["errors"][0]["name"], "FORBIDDEN_ACCESS",
        "a connector does not merge: {answer}"
    );
}

#[test]
fn cases_93_94_and_62_confidence_and_markings_are_set_by_field_patch() {
    let fixture = Fixture::new();
    let id = fixture.malware_of(
        "Emotet",
        json!({ "confidence": 50, "objectMarking": [RED] }),
    );
    let token = fixture.service("Feed");
    let patch = |token: &str, key: &str, value: Value| {
        let query = "mutation M($id: ID!, $input: [EditInput]!) { malwareEdit(id: $id) { fieldPatch(input: $input) { confidence objectMarking { standard_id } } } }";
        let answer = fixture.run_as(
            token,
            query,
            json!({ "id": id, "input": [{ "key": key, "value": value }] }),
        );
        data(answer, query)["malwareEdit"]["fieldPatch"].clone()
    };
    assert_eq!(patch(&token, "confidence", json!(90))["confidence"], 60);
    assert_eq!(patch(&token, "confidence", json!("10"))["confidence"], 10);
    let marked = patch(crate::ADMIN, "objectMarking", json!([GREEN]));
    assert_eq!(marked["objectMarking"], json!([{ "standard_id": GREEN }]));
}

#[test]
fn references_are_added_listed_and_removed() {
    let fixture = Fixture::new();
    let (malware, other) = (fixture.malware("Emotet"), fixture.malware("Trickbot"));
    let report = fixture.report(&[&malware]);
    let add = "mutation M($id: ID!, $input: StixRefRelationshipAddInput!) { reportEdit(id: $id) { relationAdd(input: $input) { id relationship_type from { ... on Report { id } } to { ... on Malware { id } } } } }";
    let added = fixture.run(
        add,
        json!({ "id": report, "input": { "toId": other, "relationship_type": "object" } }),
    );
    let link = &added["reportEdit"]["relationAdd"];
    assert_eq!(link["relationship_type"], "object");
    assert_eq!(
        (&link["from"]["id"], &link["to"]["id"]),
        (&json!(report), &json!(other))
    );
    let objects = |fixture: &Fixture| {
        let query =
            "query Q($id: String!) { report(id: $id) { objects { pageInfo { globalCount } } } }";
        fixture.run(query, json!({ "id": report }))["report"]["objects"]["pageInfo"]["globalCount"]
            .clone()
    };
    assert_eq!(objects(&fixture), 2);
    let remove = "mutation M($id: ID!, $to: StixRef!) { reportEdit(id: $id) { relationDelete(toId: $to, relationship_type: \"object\") { id } } }";
    let removed = fixture.run(remove, json!({ "id": report, "to": other }));
    assert_eq!(removed["reportEdit"]["relationDelete"]["id"], json!(report));
    assert_eq!(objects(&fixture), 1);

    // several at once, and by the object that is referred to
    let several = "mutation M($id: ID!, $to: [StixRef]) { stixDomainObjectEdit(id: $id) { relationsAdd(input: {toIds: $to, relationship_type: \"object\"}) { id } } }";
    fixture.run(several, json!({ "id": report, "to": [malware, other] }));
    assert_eq!(objects(&fixture), 2);
    let label = fixture.label("seen");
    let reverse = "mutation M($id: ID!, $from: StixRef!) { labelEdit(id: $id) { relationAdd(input: {fromId: $from, relationship_type: \"object-label\"}) { id } } }";
    fixture.run(reverse, json!({ "id": label, "from": malware }));
    let labelled = fixture.run(
        "query Q($id: String!) { malware(id: $id) { objectLabel { id } } }",
        json!({ "id": malware }),
    );
    assert_eq!(labelled["malware"]["objectLabel"], json!([{ "id": label }]));

    // a reference as something of its own
    let id = link["id"].clone();
    let gone = fixture.run(
        "mutation M($id: ID!) { stixRefRelationshipEdit(id: $id) { delete } }",
        json!({ "id": id }),
    );
    assert_eq!(gone["stixRefRelationshipEdit"]["delete"], id);
    assert_eq!(objects(&fixture), 1);
    let error = fixture.fail(
        "mutation M($id: ID!) { stixRefRelationshipEdit(id: $id) { fieldPatch(input: []) { id } } }",
        json!({ "id": id }),
    );
    assert_eq!(error["name"], "FUNCTIONAL_ERROR", "it is gone");

    let error = fixture.fail(add, json!({ "id": report, "input": { "toId": "malware--00000000-0000-4000-8000-000000000001", "relationship_type": "object" } }));
    assert_eq!(error["name"], "MISSING_REFERENCE_ERROR");
    let error = fixture.fail(
        add,
        json!({ "id": report, "input": { "toId": malware, "relationship_type": "nonsense" } }),
    );
    assert_eq!(error["name"], "FUNCTIONAL_ERROR");
}

#[test]
fn relationships_sightings_and_observables_are_edited() {
    let fixture = Fixture::new();
    let (malware, other) = (fixture.malware("Emotet"), fixture.malware("Trickbot"));
    let related = fixture.related(&malware, &other);
    let edit = "mutation M($id: ID!, $input: [EditInput]!) { stixCoreRelationshipEdit(id: $id) { fieldPatch(input: $input) { description start_time } } }";
    let input = json!([{ "key": "description", "value": "why" }, { "key": "start_time", "value": "2024-01-01T00:00:00Z" }]);
    let edited = fixture.run(edit, json!({ "id": related, "input": input }));
    assert_eq!(
        edited["stixCoreRelationshipEdit"]["fieldPatch"],
        json!({ "description": "why", "start_time": "2024-01-01T00:00:00.000Z" })
    );
    let marking = format!(
        "mutation M($id: ID!) {{ stixCoreRelationshipEdit(id: $id) {{ relationAdd(input: {{toId: \"{GREEN}\", relationship_type: \"object-marking\"}}) {{ id }} }} }}"
    );
    fixture.run(&marking, json!({ "id": related }));

    let organization = fixture.run(
        "mutation { organizationAdd(input: {name: \"Acme\"}) { id } }",
        json!({}),
    );
    let organization = organization["organizationAdd"]["id"].clone();
    let seen = fixture.run(
        "mutation M($from: StixRef!, $to: StixRef!) { stixSightingRelationshipAdd(input: {fromId: $from, toId: $to, attribute_count: 1}) { id } }",
        json!({ "from": malware, "to": organization }),
    );
    let seen = seen["stixSightingRelationshipAdd"]["id"].clone();
    let edited = fixture.run(
        "mutation M($id: ID!) { stixSightingRelationshipEdit(id: $id) { fieldPatch(input: {key: \"attribute_count\", value: 7}) { attribute_count } } }",
        json!({ "id": seen }),
    );
    assert_eq!(
        edited["stixSightingRelationshipEdit"]["fieldPatch"]["attribute_count"],
        7
    );
    let linked = format!(
        "mutation M($id: ID!) {{ stixSightingRelationshipEdit(id: $id) {{ relationAdd(input: {{toId: \"{GREEN}\", relationship_type: \"object-marking\"}}) {{ id attribute_count }} }} }}"
    );
    assert_eq!(
        fixture.run(&linked, json!({ "id": seen }))["stixSightingRelationshipEdit"]["relationAdd"]
            ["attribute_count"],
        7
    );
    fixture.run(
        "mutation M($id: ID!) { stixSightingRelationshipEdit(id: $id) { delete } }",
        json!({ "id": seen }),
    );
    assert!(!fixture.exists(seen.as_str().unwrap()));

    let deleted = fixture.run(
        "mutation M($from: StixRef!, $to: StixRef!) { stixCoreRelationshipDelete(fromId: $from, toId: $to, relationship_type: \"related-to\") }",
        json!({ "from": malware, "to": other }),
    );
    assert_eq!(deleted["stixCoreRelationshipDelete"], true);
    assert!(!fixture.exists(&related));

    let address = fixture.run(
        "mutation { stixCyberObservableAdd(type: \"IPv4-Addr\", IPv4Addr: {value: \"192.0.2.1\"}) { id } }",
        json!({}),
    )["stixCyberObservableAdd"]["id"]
        .clone();
    let edited = fixture.run(
        "mutation M($id: ID!) { stixCyberObservableEdit(id: $id) { fieldPatch(input: [{key: \"x_opencti_score\", value: \"80\"}, {key: \"value\", value: \"192.0.2.2\"}]) { x_opencti_score observable_value } } }",
        json!({ "id": address }),
    );
    assert_eq!(
        edited["stixCyberObservableEdit"]["fieldPatch"],
        json!({ "x_opencti_score": 80, "observable_value": "192.0.2.2" })
    );
    let promoted = fixture.run(
        "mutation M($id: ID!) { stixCyberObservableEdit(id: $id) { promoteToIndicator { entity_type pattern } } }",
        json!({ "id": address }),
    );
    assert_eq!(
        promoted["stixCyberObservableEdit"]["promoteToIndicator"],
        json!({ "entity_type": "Indicator", "pattern": "[ipv4-addr:value = '192.0.2.2']" })
    );
    fixture.run(
        "mutation M($id: ID!) { stixCyberObservableEdit(id: $id) { delete } }",
        json!({ "id": address }),
    );
    assert!(!fixture.exists(address.as_str().unwrap()));
}

#[test]
fn objects_are_merged_and_deleted_together() {
    let fixture = Fixture::new();
    let (one, two, three) = (
        fixture.malware("one"),
        fixture.malware("two"),
        fixture.malware("three"),
    );
    let merged = fixture.run(
        "mutation M($id: ID!, $others: [String]!) { stixEdit(id: $id) { merge(stixObjectsIds: $others) { id entity_type } } }",
        json!({ "id": one, "others": [two] }),
    );
    assert_eq!(
        merged["stixEdit"]["merge"],
        json!({ "id": one, "entity_type": "Malware" })
    );
    let merged = fixture.run(
        "mutation M($id: ID!, $others: [String]!) { stixCoreObjectEdit(id: $id) { merge(stixCoreObjectsIds: $others) { ... on Malware { aliases } } } }",
        json!({ "id": one, "others": [three] }),
    );
    assert_eq!(
        merged["stixCoreObjectEdit"]["merge"]["aliases"],
        json!(["two", "three"])
    );
    let other = fixture.malware("other");
    let error = fixture.fail(
        "mutation M($id: [ID]!) { stixDomainObjectsDelete(id: $id) }",
        json!({ "id": [other, "malware--00000000-0000-4000-8000-000000000001"] }),
    );
    assert_eq!(error["name"], "ALREADY_DELETED_ERROR");
    assert!(fixture.exists(&other), "all or none");
    fixture.run(
        "mutation M($id: [ID]!) { stixDomainObjectsDelete(id: $id) }",
        json!({ "id": [other, one] }),
    );
    assert!(!fixture.exists(&other) && !fixture.exists(&one));
}

#[test]
fn what_is_not_served_says_so() {
    let fixture = Fixture::new();
    let id = fixture.malware("Emotet");
    for edit in [
        "clearAccessRestriction { id }",
        "removeFromDraft",
        "askEnrichment(connectorId: \"x\") { id }",
    ] {
        let query = format!("mutation M($id: ID!) {{ stixCoreObjectEdit(id: $id) {{ {edit} }} }}");
        let error = fixture.fail(&query, json!({ "id": id }));
        assert_eq!(error["name"], "UNSUPPORTED_ERROR", "{edit}");
        assert!(
            error["message"].as_str().unwrap().contains("not served"),
            "{edit}"
        );
    }
}

#[test]
fn an_edit_asks_for_the_capability_of_what_it_does() {
    let fixture = Fixture::new();
    let token = fixture.service("Feed");
    let id = fixture.malware_of("Emotet", json!({ "confidence": 10 }));
    let organization = fixture.run(
        "mutation { organizationAdd(input: {name: \"Acme\"}) { id } }",
        json!({}),
    );
    let organization = organization["organizationAdd"]["id"].as_str().unwrap();
    for edit in [
        format!(
            "stixCoreObjectEdit(id: \"{id}\") {{ restrictionOrganizationAdd(organizationId: \"{organization}\") {{ id }} }}"
        ),
        format!(
            "malwareEdit(id: \"{id}\") {{ relationAdd(input: {{toId: \"{organization}\", relationship_type: \"granted\"}}) {{ id }} }}"
        ),
        format!(
            "malwareEdit(id: \"{id}\") {{ fieldPatch(input: {{key: \"objectOrganization\", value: \"{organization}\"}}) {{ id }} }}"
        ),
    ] {
        let answer = fixture.run_as(&token, &format!("mutation {{ {edit} }}"), json!({}));
        assert_eq!(
            answer["errors"][0]["name"], "FORBIDDEN_ACCESS",
            "{edit}: {answer}"
        );
    }
    let shared = format!(
        "mutation {{ stixCoreObjectEdit(id: \"{id}\") {{ restrictionOrganizationAdd(organizationId: \"{organization}\") {{ id }} }} }}"
    );
    fixture.run(&shared, json!({}));
    let read = fixture.run(
        "query Q($id: String!) { malware(id: $id) { objectOrganization { name } } }",
        json!({ "id": id }),
    );
    assert_eq!(
        read["malware"]["objectOrganization"],
        json!([{ "name": "Acme" }])
    );
}
