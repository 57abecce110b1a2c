//! Who may do what, as far as the interface shows it.

use ferrocti_graphql::{OperationKind, Schema};
use serde_json::{Value, json};

use crate::{ADMIN, Fixture, data};

/// Every root field, with null for nothing: arguments that must be there are filled in by their type.
fn root_documents() -> Vec<(String, String)> {
    let schema = Schema::parse(&ferrocti_api::sdl::build()).unwrap();
    let sdl = ferrocti_api::sdl::build();
    let mut documents = Vec::new();
    for (kind, keyword) in [
        (OperationKind::Query, "query"),
        (OperationKind::Mutation, "mutation"),
    ] {
        let root = schema.root_type(kind).unwrap();
        let sections: Vec<&str> = [
            format!("\ntype {root} {{\n"),
            format!("\nextend type {root} {{\n"),
        ]
        .iter()
        .flat_map(|head| sdl.split(head.as_str()).skip(1))
        .filter_map(|section| section.split("\n}").next())
        .collect();
        for field in schema.field_names(root) {
            let line = sections
                .iter()
                .flat_map(|section| section.lines())
                .find(|line| {
                    line.starts_with(&format!("  {field}("))
                        || line.starts_with(&format!("  {field}:"))
                })
                .unwrap();
            let mandatory: Vec<String> = line
                .split_once('(')
                .map(|(_, rest)| {
                    rest.rsplit_once(')')
                        .map_or(rest, |(arguments, _)| arguments)
                })
                .unwrap_or_default()
                .split(", ")
                .filter(|argument| argument.ends_with('!'))
                .map(|argument| {
                    let (name, of) = argument.split_once(": ").unwrap();
                    let value = match of.trim_end_matches('!') {
                        "Int" => "1",
                        "String" | "ID" | "[ID]" | "[ID!]" => "\"x\"",
                        "StixRef" => "\"88ec0c6a-13ce-5e39-b486-354fe4a7084f\"",
                        _ => return format!("{name}: $input"),
                    };
                    format!("{name}: {value}")
                })
                .collect();
            let of = line
                .rsplit_once("): ")
                .or_else(|| line.rsplit_once(": "))
                .unwrap()
                .1
                .trim_matches(['[', ']', '!']);
            let leaf = !schema.is_abstract(of) && schema.field_names(of).is_empty();
            let selection = if leaf { "" } else { " { __typename }" };
            let (declaration, arguments) = match mandatory
                .iter()
                .find(|argument| argument.contains("$input"))
            {
                Some(_) => {
                    let input = line
                        .split("input: ")
                        .nth(1)
                        .unwrap()
                        .split([')', ','])
                        .next()
                        .unwrap();
                    (format!("($input: {input})"), mandatory.join(", "))
                }
                None => (String::new(), mandatory.join(", ")),
            };
            let arguments = if arguments.is_empty() {
                String::new()
            } else {
                format!("({arguments})")
            };
            documents.push((
                field.to_owned(),
                format!("{keyword} Q{declaration} {{ {field}{arguments}{selection} }}"),
            ));
        }
    }
    documents
}

#[test]
fn without_a_valid_token_every_root_field_asks_to_log_in() {
    let fixture = Fixture::new();
    let documents = root_documents();
    assert!(documents.len() > 200, "{}", documents.len());
    for (field, document) in documents {
        // how somebody logs in
        if field == "token" {
            continue;
        }
        if document.contains("$input") {
            // Variables are checked before fields; the mutations are covered below.
            continue;
        }
        for headers in [&[][..], &[("authorization", "Bearer not-a-token")]] {
            let (status, answer) =
                fixture.post_json(&json!({ "query": document, "variables": {} }), headers);
            assert_eq!(status, 200, "{document}: {answer}");
            let error = &answer["errors"][0];
            assert_eq!(error["name"], "AUTH_REQUIRED", "{field}: {answer}");
            assert_eq!(
                error["message"], "You must be logged in to do this.",
                "{field}"
            );
            assert_eq!(error["extensions"]["code"], "AUTH_REQUIRED", "{field}");
            assert_eq!(error["data"]["http_status"], 401, "{field}");
        }
    }
}

#[test]
fn nothing_can_be_added_without_a_token() {
    let fixture = Fixture::new();
    let query = "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }";
    let (_, answer) = fixture.post_json(
        &json!({ "query": query, "variables": { "input": { "name": "Emotet" } } }),
        &[],
    );
    assert_eq!(answer["errors"][0]["name"], "AUTH_REQUIRED");
    assert_eq!(
        fixture.run("{ malwares { pageInfo { globalCount } } }", json!({}))["malwares"]["pageInfo"]
            ["globalCount"],
        0
    );
}

#[test]
fn a_connector_may_deliver_but_not_manage() {
    let fixture = Fixture::new();
    let token = fixture.service("Feed");
    let added = fixture.run_as(
        &token,
        "mutation { labelAdd(input: {value: \"x\", color: \"#ff0000\"}) { id } }",
        json!({}),
    );
    assert!(added.get("errors").is_none(), "{added}");
    for refused in [
        "mutation { deadLetterDiscard(id: \"1\") }",
        "mutation { connectorAccountAdd(name: \"Other\") { token } }",
        "{ deadLetters { edges { cursor } } }",
    ] {
        let answer = fixture.run_as(&token, refused, json!({}));
        assert_eq!(
            answer["errors"][0]["name"], "FORBIDDEN_ACCESS",
            "{refused}: {answer}"
        );
        assert_eq!(answer["errors"][0]["data"]["http_status"], 403, "{refused}");
    }
}

#[test]
fn me_tells_who_speaks_and_never_a_token() {
    let fixture = Fixture::new();
    let token = fixture.service("Feed");
    let query = "{ me { id name user_email entity_type parent_types standard_id api_token api_tokens { id name masked_token } capabilities { name } \
                 capabilitiesInDraft { name } groups { edges { node { id } } } objectOrganization { edges { node { id name } } } \
                 administrated_organizations { id } effective_confidence_level { max_confidence overrides { entity_type } source { type object { ... on Group { id } } } } } }";
    let me = data(fixture.run_as(&token, query, json!({})), query)["me"].clone();
    assert_eq!(me["name"], "[C] Feed");
    assert_eq!(me["effective_confidence_level"]["max_confidence"], 60);
    assert!(
        me["capabilities"]
            .as_array()
            .unwrap()
            .iter()
            .any(|held| held["name"] == "CONNECTORAPI")
    );
    assert_eq!(me["api_token"], Value::Null);
    assert!(!me.to_string().contains(&token));
}

#[test]
fn only_a_privileged_caller_speaks_in_the_name_of_another() {
    let fixture = Fixture::new();
    let token = fixture.service("Feed");
    let own = fixture.run_as(&token, "{ me { id } }", json!({}))["data"]["me"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let me = |token: &str, applicant: &str| {
        let bearer = format!("Bearer {token}");
        fixture
            .post_json(
                &json!({ "query": "{ me { id } }" }),
                &[
                    ("authorization", &bearer),
                    ("opencti-applicant-id", applicant),
                ],
            )
            .1
    };
    assert_eq!(me(ADMIN, &own)["data"]["me"]["id"], own.as_str());
    let admin = fixture.admin.user_id.to_string();
    assert_eq!(me(&token, &admin)["data"]["me"]["id"], own.as_str());
    let unknown = "0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d";
    assert_eq!(me(ADMIN, unknown)["errors"][0]["name"], "AUTH_REQUIRED");
}

#[test]
fn objects_with_markings_that_a_user_lacks_do_not_exist_for_him() {
    let fixture = Fixture::new();
    let marking = |name: &str| {
        let query = "query M($filters: FilterGroup) { markingDefinitions(filters: $filters) { edges { node { id standard_id } } } }";
        let filters = json!({ "mode": "and", "filters": [{ "key": "definition", "values": [name] }], "filterGroups": [] });
        let node = &fixture.run(query, json!({ "filters": filters }))["markingDefinitions"]["edges"]
            [0]["node"];
        (
            node["id"].as_str().unwrap().to_owned(),
            node["standard_id"].as_str().unwrap().to_owned(),
        )
    };
    let (green, red) = (marking("TLP:GREEN"), marking("TLP:RED"));
    let token = fixture.service("Feed");
    fixture
        .store
        .write(|tx| {
            let (_, user) = tx
                .token_by_hash(&ferrocti_access::token::hash(&token))?
                .unwrap();
            let connectors = tx.groups_of(user.row)?[0];
            for definition in tx.marking_definitions()? {
                if definition.internal != green.0.parse::<uuid::Uuid>().unwrap() {
                    tx.revoke_marking(connectors, definition.iid)?;
                }
            }
            Ok::<_, ferrocti_store::StoreError>(())
        })
        .unwrap();
    let add = "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }";
    let mut ids = Vec::new();
    for (name, marking) in [
        ("open", None),
        ("green", Some(&green.1)),
        ("red", Some(&red.1)),
    ] {
        let input = json!({ "name": name, "objectMarking": marking.map(|id| vec![id]) });
        ids.push(
            fixture.run(add, json!({ "input": input }))["malwareAdd"]["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let link = "mutation M($input: StixCoreRelationshipAddInput) { stixCoreRelationshipAdd(input: $input) { id } }";
    let input = json!({ "fromId": ids[0], "toId": ids[2], "relationship_type": "related-to" });
    let relationship =
        fixture.run(link, json!({ "input": input }))["stixCoreRelationshipAdd"]["id"].clone();

    let seen = fixture.run_as(
        &token,
        "{ malwares(orderBy: name) { edges { node { name } } pageInfo { globalCount } } }",
        json!({}),
    );
    let names: Vec<_> = seen["data"]["malwares"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"]["name"].clone())
        .collect();
    assert_eq!(names, ["green", "open"]);
    assert_eq!(seen["data"]["malwares"]["pageInfo"]["globalCount"], 2);
    let one = |field: &str, id: &Value| {
        fixture.run_as(
            &token,
            &format!("query Q($id: String!) {{ {field}(id: $id) {{ id }} }}"),
            json!({ "id": id }),
        )
    };
    assert_eq!(
        one("malware", &json!(ids[2]))["data"]["malware"],
        Value::Null
    );
    assert_eq!(
        one("stixCoreRelationship", &relationship)["data"]["stixCoreRelationship"],
        Value::Null
    );
    assert_eq!(
        fixture.run_as(&token, &format!("{{ stix(id: {:?}) }}", ids[2]), json!({}))["data"]["stix"],
        Value::Null
    );
    // Nor can he use the marking or hang something on what he does not see.
    let refused = fixture.run_as(
        &token,
        add,
        json!({ "input": { "name": "mine", "objectMarking": [red.1] } }),
    );
    assert_eq!(
        refused["errors"][0]["name"], "FUNCTIONAL_ERROR",
        "{refused}"
    );
    let refused = fixture.run_as(
        &token,
        link,
        json!({ "input": { "fromId": ids[1], "toId": ids[2], "relationship_type": "related-to" } }),
    );
    assert_eq!(
        refused["errors"][0]["name"], "MISSING_REFERENCE_ERROR",
        "{refused}"
    );
}
