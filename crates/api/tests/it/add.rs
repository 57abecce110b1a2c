//! Adding and reading back, for every type of the registry.

use ferrocti_model::registry::{Attribute, Category, Kind};
use ferrocti_model::{EntityType, Registry};
use serde_json::{Map, Value, json};

use crate::Fixture;

/// A value that an attribute of a type takes.
fn sample(kind: &EntityType, attribute: &Attribute) -> Value {
    let one = match (kind.name.as_str(), attribute.name.as_str()) {
        ("IPv4-Addr", "value") => json!("198.51.100.7"),
        // Labels are stored in lower case.
        ("Label", "value") => json!("a label"),
        ("IPv6-Addr", "value") => json!("2001:db8::7"),
        ("Mac-Addr", "value") => json!("00:53:00:aa:bb:cc"),
        ("Email-Addr", "value") => json!("someone@example.org"),
        ("Domain-Name" | "Hostname", "value") => json!("www.example.org"),
        ("Url", "value") => json!("https://example.org/path"),
        ("Cryptocurrency-Wallet", "value") => json!("1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
        ("IMEI", "value") => json!("490154203237518"),
        ("ICCID", "value") => json!("89014103211118510720"),
        ("IMSI", "value") => json!("310150123456789"),
        (_, "pattern") => json!("[ipv4-addr:value = '198.51.100.7']"),
        (_, "pattern_type") => json!("stix"),
        (_, "x_opencti_main_observable_type") => json!("IPv4-Addr"),
        (_, "color" | "x_opencti_color") => json!("#ff8800"),
        ("Vocabulary", "category") => json!("malware_type_ov"),
        (_, "hashes") => {
            return json!([{ "algorithm": "SHA-256", "hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" }]);
        }
        (_, "coverage_information") => {
            return json!([{ "coverage_name": "prevention", "coverage_score": 40 }]);
        }
        (_, "height" | "weight") => {
            return json!([{ "measure": 180.0, "date_seen": "2026-01-01T00:00:00.000Z" }]);
        }
        (_, "startup_info") => return json!([{ "key": "a", "value": "b" }]),
        (_, "url") => json!("https://example.org/a"),
        (_, "iban") => json!("DE89370400440532013000"),
        (
            _,
            "last_seen"
            | "stop_time"
            | "valid_until"
            | "last_observed"
            | "end"
            | "analysis_ended"
            | "validity_not_after"
            | "private_key_usage_period_not_after",
        ) => {
            json!("2027-01-01T00:00:00.000Z")
        }
        _ => match attribute.kind {
            Kind::Vocabulary => {
                let category = attribute.vocabulary.as_deref().unwrap();
                json!(Registry::get().vocabulary(category).unwrap().entries[0].name)
            }
            Kind::Enum => json!(attribute.values[0]),
            Kind::Int | Kind::Long => json!(7),
            Kind::Float => json!(1.5),
            Kind::Bool => json!(true),
            Kind::Date => json!("2026-01-01T00:00:00.000Z"),
            _ => json!(format!("{} of {}", attribute.name, kind.name)),
        },
    };
    if attribute.multiple {
        json!([one])
    } else {
        one
    }
}

/// Attributes that the platform decides about, or that other attributes decide.
const DECIDED: [&str; 7] = [
    "confidence",
    "modified",
    "created",
    "x_opencti_stix_ids",
    "x_opencti_workflow_id",
    "x_opencti_modified_at",
    "revoked",
];

fn given(attribute: &Attribute) -> bool {
    attribute
        .input
        .as_ref()
        .is_some_and(|input| !input.is_empty())
        && !attribute.internal
}

/// The input of a type: what must be there and what makes its id; or everything that can be given.
pub(crate) fn input(kind: &EntityType, full: bool) -> Map<String, Value> {
    let identifying: Vec<&str> = kind
        .id_rule
        .ways
        .first()
        .into_iter()
        .flatten()
        .map(|contribution| contribution.property.as_str())
        .collect();
    kind.attributes
        .iter()
        .filter(|attribute| given(attribute) && !DECIDED.contains(&attribute.name.as_str()))
        .filter(|attribute| {
            let mandatory = attribute.mandatory
                || attribute
                    .input
                    .as_ref()
                    .is_some_and(|input| input.ends_with('!'));
            full || mandatory || identifying.contains(&attribute.name.as_str())
        })
        .map(|attribute| (attribute.name.clone(), sample(kind, attribute)))
        .collect()
}

/// Adds an object of a type; its internal id.
pub(crate) fn add(fixture: &Fixture, kind: &EntityType, input: &Map<String, Value>) -> String {
    const SELECTION: &str = "{ id standard_id entity_type parent_types }";
    let (query, variables, field) = if kind.category == Category::Observable {
        let graphql = &kind.graphql;
        let of = kind.root.add_input.as_ref().unwrap();
        let mut own = input.clone();
        let description = own.shift_remove("x_opencti_description");
        let score = own.shift_remove("x_opencti_score");
        let query = format!(
            "mutation A($own: {of}, $score: Int, $description: String) {{ stixCyberObservableAdd(type: \"{}\", {graphql}: $own, \
             x_opencti_score: $score, x_opencti_description: $description) {SELECTION} }}",
            kind.name
        );
        (
            query,
            json!({ "own": own, "score": score, "description": description }),
            "stixCyberObservableAdd",
        )
    } else {
        let (field, of) = (
            kind.root.add.as_ref().unwrap(),
            kind.root.add_input.as_ref().unwrap(),
        );
        let mut input = input.clone();
        for reference in kind.refs.iter().filter(|reference| {
            reference.mandatory || reference.input.as_ref().is_some_and(|of| of.ends_with('!'))
        }) {
            let target = Registry::get().descendants(&reference.targets[0])[0];
            let of_type = if reference
                .targets
                .iter()
                .any(|name| name == "Stix-Core-Object")
            {
                Registry::get().by_name("Malware").unwrap()
            } else {
                target
            };
            let mut target = self::input(of_type, false);
            target.insert("name".to_owned(), json!(format!("target of {}", kind.name)));
            let id = add(fixture, of_type, &target);
            input.insert(
                reference.name.clone(),
                if reference.multiple {
                    json!([id])
                } else {
                    json!(id)
                },
            );
        }
        (
            format!("mutation A($input: {of}!) {{ {field}(input: $input) {SELECTION} }}"),
            json!({ "input": input }),
            field.as_str(),
        )
    };
    let added = fixture.run(&query, variables)[field].clone();
    assert_eq!(added["entity_type"], kind.name.as_str());
    assert_eq!(added["parent_types"], json!(kind.parents));
    assert!(
        added["standard_id"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{}--", kind.stix_type)),
        "{added}"
    );
    added["id"].as_str().unwrap().to_owned()
}

/// The types that can be added by a mutation of their own.
fn addable() -> impl Iterator<Item = &'static EntityType> {
    Registry::get()
        .types()
        .iter()
        .filter(|kind| match kind.category {
            Category::Observable => kind.root.add_input.is_some(),
            Category::Domain | Category::Meta => kind.root.add.is_some(),
            Category::Relationship | Category::Sighting => false,
        })
}

/// Reads an object with the given selection of its own type.
fn read(fixture: &Fixture, kind: &EntityType, id: &str, selection: &str) -> Value {
    let (field, selection) = match &kind.root.one {
        Some(one) => (one.as_str(), selection.to_owned()),
        None => (
            "stixCyberObservable",
            format!("... on {} {{ {selection} }}", kind.graphql),
        ),
    };
    fixture.run(
        &format!("query Q($id: String!) {{ {field}(id: $id) {{ {selection} }} }}"),
        json!({ "id": id }),
    )[field]
        .clone()
}

/// What a given value reads as.
fn selection(attribute: &Attribute) -> String {
    let fields = match attribute.name.as_str() {
        "hashes" => " { algorithm hash }",
        "coverage_information" => " { coverage_name coverage_score }",
        "height" | "weight" => " { measure date_seen }",
        "startup_info" => " { key value }",
        "category" => " { key }",
        _ => "",
    };
    format!("{}{fields}", attribute.field)
}

fn round_trip(full: bool) {
    let fixture = Fixture::new();
    let mut types = 0;
    let mut values = 0;
    let mut wrong = Vec::new();
    for kind in addable() {
        types += 1;
        let input = input(kind, full);
        let id = add(&fixture, kind, &input);
        let shown: Vec<&Attribute> = kind
            .attributes
            .iter()
            .filter(|attribute| attribute.output.is_some() && input.contains_key(&attribute.name))
            .collect();
        let selected: Vec<String> = shown.iter().map(|attribute| selection(attribute)).collect();
        let found = read(&fixture, kind, &id, &format!("id {}", selected.join(" ")));
        assert_eq!(found["id"], id.as_str(), "{}", kind.name);
        for attribute in shown {
            values += 1;
            let mut expected = input[&attribute.name].clone();
            if attribute.name == "category" {
                expected = json!({ "key": expected });
            }
            if found[&attribute.field] != expected {
                wrong.push(format!(
                    "{}.{}: gave {expected}, read {}",
                    kind.name, attribute.name, found[&attribute.field]
                ));
            }
        }
    }
    assert!(types >= 83, "{types} types");
    assert!(values > if full { 400 } else { 90 }, "{values} values");
    assert!(
        wrong.is_empty(),
        "{} of {values} values differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_must_be_given_is_read_back_for_every_type() {
    round_trip(false);
}

#[test]
fn what_can_be_given_is_read_back_for_every_type() {
    round_trip(true);
}

#[test]
fn every_field_of_every_type_answers() {
    let fixture = Fixture::new();
    let introspect = "query I($name: String!) { __type(name: $name) { fields { name type { kind ofType { kind ofType { kind ofType { kind } } } } } } }";
    let mut answered = 0;
    for kind in addable() {
        let id = add(&fixture, kind, &input(kind, true));
        let fields =
            fixture.run(introspect, json!({ "name": kind.graphql }))["__type"]["fields"].clone();
        let selected: Vec<String> = fields
            .as_array()
            .unwrap()
            .iter()
            .map(|field| {
                let mut of = &field["type"];
                while !of["ofType"].is_null() {
                    of = &of["ofType"];
                }
                let name = field["name"].as_str().unwrap();
                if matches!(of["kind"].as_str(), Some("SCALAR" | "ENUM")) {
                    name.to_owned()
                } else {
                    format!("{name} {{ __typename }}")
                }
            })
            .collect();
        answered += selected.len();
        let found = read(&fixture, kind, &id, &selected.join(" "));
        assert_eq!(found["entity_type"], kind.name.as_str());
        assert!(found["representative"].is_object());
    }
    assert!(answered > 3700, "{answered}");
}

#[test]
fn an_object_that_is_added_again_is_merged() {
    let fixture = Fixture::new();
    let add = |input: Value| {
        fixture.run("mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id aliases description } }", json!({ "input": input }))["malwareAdd"].clone()
    };
    let first = add(json!({ "name": "Emotet", "aliases": ["Geodo"], "update": true }));
    let second =
        add(json!({ "name": "emotet ", "aliases": ["Heodo"], "description": "A loader." }));
    assert_eq!(second["id"], first["id"]);
    assert_eq!(second["description"], "A loader.");
    let aliases = second["aliases"].as_array().unwrap();
    assert!(
        aliases.contains(&json!("Geodo")) && aliases.contains(&json!("Heodo")),
        "{aliases:?}"
    );
}

#[test]
fn references_are_shown_in_the_shapes_that_clients_expect() {
    let fixture = Fixture::new();
    let label = fixture.run("mutation { labelAdd(input: {value: \"loader\", color: \"#112233\"}) { id standard_id value } }", json!({}))["labelAdd"].clone();
    let reference = fixture.run("mutation { externalReferenceAdd(input: {source_name: \"report\", url: \"https://example.org\"}) { id } }", json!({}))["externalReferenceAdd"].clone();
    let phase = fixture.run("mutation { killChainPhaseAdd(input: {kill_chain_name: \"mitre-attack\", phase_name: \"execution\", x_opencti_order: 3}) { id entity_type } }", json!({}))["killChainPhaseAdd"].clone();
    let author = fixture.run(
        "mutation { organizationAdd(input: {name: \"ACME\"}) { id standard_id } }",
        json!({}),
    )["organizationAdd"]
        .clone();
    let input = json!({
        "name": "Emotet", "objectLabel": [label["id"]], "externalReferences": [reference["id"]], "killChainPhases": [phase["id"]], "createdBy": author["standard_id"],
    });
    let query = "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id createdBy { __typename id standard_id name ... on Organization { x_opencti_organization_type } } \
                 objectLabel { id value color } externalReferences { edges { node { id source_name url importFiles { edges { node { id } } } } } } \
                 killChainPhases { id kill_chain_name phase_name x_opencti_order } objectMarking { id } creators { id name } importFiles { edges { node { id } } } status { id } } }";
    let added = fixture.run(query, json!({ "input": input }))["malwareAdd"].clone();
    assert_eq!(added["createdBy"]["__typename"], "Organization");
    assert_eq!(added["createdBy"]["name"], "ACME");
    assert_eq!(
        added["objectLabel"],
        json!([{ "id": label["id"], "value": "loader", "color": "#112233" }])
    );
    assert_eq!(
        added["externalReferences"]["edges"][0]["node"]["url"],
        "https://example.org"
    );
    assert_eq!(added["killChainPhases"][0]["phase_name"], "execution");
    assert_eq!(added["creators"][0]["name"], "admin");
    assert_eq!(added["importFiles"]["edges"], json!([]));
    assert_eq!(added["status"], Value::Null);
}

#[test]
fn identities_and_locations_are_added_by_type() {
    let fixture = Fixture::new();
    let identity = "mutation I($input: IdentityAddInput!) { identityAdd(input: $input) { entity_type identity_class name } }";
    for (of, class) in [
        ("Sector", "class"),
        ("Organization", "organization"),
        ("Individual", "individual"),
        ("System", "system"),
    ] {
        let added =
            fixture.run(identity, json!({ "input": { "type": of, "name": of } }))["identityAdd"]
                .clone();
        assert_eq!(
            added,
            json!({ "entity_type": of, "identity_class": class, "name": of })
        );
    }
    let location =
        "mutation L($input: LocationAddInput!) { locationAdd(input: $input) { entity_type name } }";
    for of in [
        "Country",
        "Region",
        "City",
        "Position",
        "Administrative-Area",
    ] {
        let added =
            fixture.run(location, json!({ "input": { "type": of, "name": of } }))["locationAdd"]
                .clone();
        assert_eq!(added["entity_type"], of);
    }
    assert_eq!(
        fixture.fail(
            location,
            json!({ "input": { "type": "Malware", "name": "x" } })
        )["name"],
        "FUNCTIONAL_ERROR"
    );
}

#[test]
fn properties_outside_of_the_model_come_back_as_custom_fields() {
    let fixture = Fixture::new();
    let input = json!({ "name": "Emotet", "customFieldValues": [
        { "field_name": "x_acme_rank", "value": 7 }, { "field_name": "x_acme_note", "value": "seen" }, { "field_name": "x_opencti_score", "value": 1 },
        { "field_name": "x_opencti_id", "value": "01a20269-235b-75c8-ac7e-5c723481111b" }, { "field_name": "x_opencti_type", "value": "Tool" }, { "field_name": "x_mitre_aliases", "value": ["a"] },
    ]});
    let query = "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { customFieldValues { field_id field_name int_value string_value } } }";
    let added =
        fixture.run(query, json!({ "input": input }))["malwareAdd"]["customFieldValues"].clone();
    let mut fields: Vec<Value> = added.as_array().unwrap().clone();
    fields.sort_by_key(|field| field["field_name"].to_string());
    assert_eq!(
        json!(fields),
        json!([
            { "field_id": "x_acme_note", "field_name": "x_acme_note", "int_value": null, "string_value": "seen" },
            { "field_id": "x_acme_rank", "field_name": "x_acme_rank", "int_value": 7, "string_value": null },
        ])
    );
}

#[test]
fn an_indicator_shows_the_observables_of_its_pattern_and_those_it_is_based_on() {
    let fixture = Fixture::new();
    let address = fixture.run("mutation { stixCyberObservableAdd(type: \"IPv4-Addr\", IPv4Addr: {value: \"198.51.100.7\"}) { id observable_value } }", json!({}))["stixCyberObservableAdd"].clone();
    let input = json!({ "name": "C2", "pattern": "[ipv4-addr:value = '198.51.100.7']", "pattern_type": "stix", "x_opencti_main_observable_type": "IPv4-Addr", "basedOn": [address["id"]] });
    let query = "mutation M($input: IndicatorAddInput!) { indicatorAdd(input: $input) { id x_opencti_observable_values { type value } observables { edges { node { id observable_value } } } } }";
    let added = fixture.run(query, json!({ "input": input }))["indicatorAdd"].clone();
    assert_eq!(
        added["x_opencti_observable_values"],
        json!([{ "type": "IPv4-Addr", "value": "198.51.100.7" }])
    );
    assert_eq!(added["observables"]["edges"][0]["node"], address);
    let back = fixture.run("query Q($id: String!) { stixCyberObservable(id: $id) { indicators { edges { node { name } } } } }", json!({ "id": address["id"] }));
    assert_eq!(
        back["stixCyberObservable"]["indicators"]["edges"][0]["node"]["name"],
        "C2"
    );
}
