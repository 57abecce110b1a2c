//! No way of asking shows an object that the decision hides: worlds of random markings, asked in every way by users of random rights.

mod world;

use std::cell::Cell;
use std::collections::BTreeSet;

use ferrocti_access::{Action, may};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::Fixture;
use world::{Thing, build, reader, shape};

/// Worlds that are tried.
const WORLDS: u32 = 64;

/// Everything that an object tells of itself and of what it is tied to.
const TELL_OBJECT: &str = "... on BasicObject { id standard_id } \
    ... on StixObject { representative { main secondary } x_opencti_stix_ids toStix creators { id name } } \
    ... on StixCoreObject { createdBy { id name } numberOfConnectedElement \
        containers(first: 100) { pageInfo { globalCount } edges { node { id representative { main } } } } \
        reports(first: 100) { pageInfo { globalCount } edges { node { id name } } } notes(first: 100) { edges { node { id } } } \
        stixCoreRelationships(first: 100) { pageInfo { globalCount } edges { node { id toStix representative { main } \
            from { ... on BasicObject { id } } to { ... on BasicObject { id } } } } } }";
/// The same of a container.
const TELL_MEMBERS: &str = "... on Container { objects(first: 100) { pageInfo { globalCount } edges { node { \
    ... on BasicObject { id } ... on BasicRelationship { id } \
    ... on StixObject { representative { main } } ... on StixRelationship { representative { main } } } } } }";
/// The same of a relationship.
const TELL_RELATIONSHIP: &str = "... on BasicRelationship { id standard_id } \
    ... on StixRelationship { representative { main } toStix x_opencti_stix_ids \
        from { ... on BasicObject { id } ... on StixObject { representative { main } } } \
        to { ... on BasicObject { id } ... on StixObject { representative { main } } } createdBy { id name } }";
/// And what is known of one kind of relationship alone.
const TELL_CORE: &str = "... on StixCoreRelationship { fromId toId containers(first: 100) { edges { node { id } } } \
    reports(first: 100) { edges { node { id } } } }";

/// What is asked of a list's objects.
fn tell(root: &str) -> String {
    match root {
        "stixCoreRelationships" => [TELL_RELATIONSHIP, TELL_CORE].join(" "),
        "stixSightingRelationships" => TELL_RELATIONSHIP.to_owned(),
        "stixCoreObjects" | "stixDomainObjects" | "containers" => {
            [TELL_OBJECT, TELL_MEMBERS].join(" ")
        }
        _ => TELL_OBJECT.to_owned(),
    }
}

/// The question for anything by its id.
fn anything() -> String {
    let tell = [TELL_OBJECT, TELL_MEMBERS, TELL_RELATIONSHIP, TELL_CORE].join(" ");
    format!("query Q($id: String!) {{ stixObjectOrStixRelationship(id: $id) {{ {tell} }} }}")
}

/// One reader in one world.
struct Ask<'a> {
    fixture: &'a Fixture,
    token: &'a str,
    shown: Vec<&'a Thing>,
    hidden: Vec<&'a Thing>,
}

impl Ask<'_> {
    /// The answer to a question; whatever it says, it names nothing hidden but what the question named.
    fn ask(&self, query: &str, variables: &Value) -> Result<Value, TestCaseError> {
        let answer = self.fixture.run_as(self.token, query, variables.clone());
        let mut text = answer.to_string();
        for word in words(variables) {
            text = text.replace(word, "");
        }
        for hidden in &self.hidden {
            for name in hidden.names() {
                prop_assert!(
                    !text.contains(name),
                    "{name} of {hidden:?} in the answer to {query} {variables}: {answer}"
                );
            }
        }
        Ok(answer)
    }

    /// That a question about something hidden is answered word for word like one about something unknown.
    fn as_unknown(
        &self,
        query: &str,
        variable: &str,
        others: &Value,
        hidden: &str,
    ) -> Result<(), TestCaseError> {
        let unknown = match hidden.split_once("--") {
            Some((of, _)) => format!("{of}--00000000-0000-4000-8000-00000000abcd"),
            None => "00000000-0000-4000-8000-00000000abcd".to_owned(),
        };
        let mut answers = Vec::new();
        for id in [hidden, &unknown] {
            let mut variables = others.clone();
            variables[variable] = json!(id);
            let answer = self.ask(query, &variables)?;
            let error = &answer["errors"][0];
            prop_assert!(
                error["name"] != "GRAPHQL_VALIDATION_FAILED"
                    && error["name"] != "FORBIDDEN_ACCESS"
                    && !error["message"].to_string().contains("not served"),
                "{query} is not answered at all: {answer}"
            );
            answers.push(answer.to_string().replace(id, "ID"));
        }
        prop_assert_eq!(&answers[0], &answers[1], "{}", query);
        Ok(())
    }

    fn by_id(&self) -> Result<(), TestCaseError> {
        let any = anything();
        let stix = "query Q($id: String!) { stix(id: $id) }";
        for (things, shown) in [(&self.shown, true), (&self.hidden, false)] {
            for thing in things {
                let own = format!(
                    "query Q($id: String!) {{ {}(id: $id) {{ id representative {{ main }} }} }}",
                    thing.root
                );
                for id in [&thing.id, &thing.standard_id, &thing.given_id] {
                    for (query, field) in [
                        (any.as_str(), "stixObjectOrStixRelationship"),
                        (stix, "stix"),
                        (own.as_str(), thing.root),
                    ] {
                        let answer = self.ask(query, &json!({ "id": id }))?;
                        prop_assert!(answer.get("errors").is_none(), "{}", answer);
                        prop_assert_eq!(
                            !answer["data"][field].is_null(),
                            shown,
                            "{} {} {:?}",
                            field,
                            id,
                            thing
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn lists(&self, all: &[Thing], word: &str) -> Result<(), TestCaseError> {
        let ids: Vec<&str> = all.iter().map(|thing| thing.id.as_str()).collect();
        let of_world = json!({ "mode": "and", "filterGroups": [], "filters": [{ "key": ["id"], "values": ids }] });
        for (root, belongs) in [
            (
                "stixCoreObjects",
                (&|thing: &Thing| !thing.is_relationship()) as &dyn Fn(&Thing) -> bool,
            ),
            ("stixDomainObjects", &|thing: &Thing| {
                !thing.is_relationship() && thing.root != "stixCyberObservable"
            }),
            ("stixCyberObservables", &|thing: &Thing| {
                thing.root == "stixCyberObservable"
            }),
            ("malwares", &|thing: &Thing| thing.root == "malware"),
            ("containers", &|thing: &Thing| thing.root == "report"),
            ("identities", &|thing: &Thing| thing.root == "organization"),
            ("stixCoreRelationships", &|thing: &Thing| {
                thing.root == "stixCoreRelationship"
            }),
            ("stixSightingRelationships", &|thing: &Thing| {
                thing.root == "stixSightingRelationship"
            }),
        ] {
            let tell = tell(root);
            let query = format!(
                "query Q($filters: FilterGroup, $first: Int, $after: ID, $search: String) {{ {root}(filters: $filters, first: $first, after: $after, search: $search) \
                 {{ pageInfo {{ globalCount hasNextPage endCursor }} edges {{ node {{ {tell} }} }} }} }}"
            );
            let expected: BTreeSet<&str> = self
                .shown
                .iter()
                .filter(|thing| belongs(thing))
                .map(|thing| thing.id.as_str())
                .collect();
            for variables in [
                json!({ "filters": of_world, "first": 100 }),
                json!({ "search": word, "first": 100 }),
            ] {
                let found = self.page(&query, root, &variables)?;
                prop_assert_eq!(&found.0, &ids_of(&expected), "{} {}", root, variables);
                prop_assert_eq!(
                    found.1,
                    expected.len() as u64,
                    "count of {} {}",
                    root,
                    variables
                );
            }
            // page by page: nothing is skipped and nothing is counted that is not shown
            let (mut after, mut seen) = (Value::Null, BTreeSet::new());
            for _ in 0..=expected.len() {
                let variables = json!({ "filters": of_world, "first": 1, "after": after });
                let (found, count, end) = self.page(&query, root, &variables)?;
                prop_assert_eq!(count, expected.len() as u64, "{}", root);
                let stop = found.is_empty();
                seen.extend(found);
                after = end;
                if stop || after.is_null() {
                    break;
                }
            }
            prop_assert_eq!(&seen, &ids_of(&expected), "{} by pages", root);
        }
        Ok(())
    }

    /// Ids, the count and the last cursor of a page.
    fn page(
        &self,
        query: &str,
        root: &str,
        variables: &Value,
    ) -> Result<(BTreeSet<String>, u64, Value), TestCaseError> {
        let answer = self.ask(query, variables)?;
        prop_assert!(answer.get("errors").is_none(), "{}", answer);
        let found = &answer["data"][root];
        let edges = found["edges"].as_array().unwrap();
        let ids = edges
            .iter()
            .map(|edge| edge["node"]["id"].as_str().unwrap().to_owned());
        Ok((
            ids.collect(),
            found["pageInfo"]["globalCount"].as_u64().unwrap(),
            found["pageInfo"]["endCursor"].clone(),
        ))
    }

    /// What is found by naming a secret: an id, a name, an author, an end, a member.
    fn naming(&self) -> Result<(), TestCaseError> {
        let objects = "query Q($filters: FilterGroup, $search: String) { stixCoreObjects(filters: $filters, search: $search) \
                       { pageInfo { globalCount } edges { node { id } } } }";
        let ties = "query Q($end: [String]) { stixCoreRelationships(fromOrToId: $end) { pageInfo { globalCount } edges { node { id } } } }";
        let sightings = "query Q($end: String) { stixSightingRelationships(fromOrToId: $end) { pageInfo { globalCount } edges { node { id } } } }";
        let filter = |key: &str, value: &str| json!({ "mode": "and", "filterGroups": [], "filters": [{ "key": [key], "values": [value] }] });
        for hidden in &self.hidden {
            let name = format!("{} name", hidden.secret);
            for variables in [
                json!({ "search": hidden.secret }),
                json!({ "search": name }),
                json!({ "filters": filter("name", &name) }),
                json!({ "filters": filter("id", &hidden.standard_id) }),
                json!({ "filters": filter("createdBy", &hidden.id) }),
                json!({ "filters": filter("objects", &hidden.id) }),
            ] {
                let answer = self.ask(objects, &variables)?;
                let list = &answer["data"]["stixCoreObjects"];
                if answer.get("errors").is_none() {
                    prop_assert_eq!(&list["pageInfo"]["globalCount"], 0, "{}", variables);
                    prop_assert_eq!(&list["edges"], &json!([]), "{}", variables);
                }
            }
            for (query, root) in [
                (ties, "stixCoreRelationships"),
                (sightings, "stixSightingRelationships"),
            ] {
                let answer = self.ask(query, &json!({ "end": hidden.id }))?;
                prop_assert_eq!(
                    &answer["data"][root]["pageInfo"]["globalCount"],
                    0,
                    "{} {:?}",
                    answer,
                    hidden
                );
            }
            let contains = "query Q($report: String!, $id: String!) { reportContainsStixObjectOrStixRelationship(id: $report, stixObjectOrStixRelationshipId: $id) }";
            for report in self.shown.iter().filter(|thing| thing.root == "report") {
                self.as_unknown(contains, "id", &json!({ "report": report.id }), &hidden.id)?;
            }
        }
        Ok(())
    }

    /// The references from and to everything: those of what is hidden are as many as those of what is unknown, and none names anything hidden.
    fn references(&self) -> Result<(), TestCaseError> {
        for root in ["stixRefRelationships", "stixNestedRefRelationships"] {
            let query = format!(
                "query Q($id: String) {{ {root}(fromOrToId: $id, first: 500) {{ pageInfo {{ globalCount }} edges {{ node {{ relationship_type \
                 from {{ ... on BasicObject {{ id }} ... on BasicRelationship {{ id }} }} \
                 to {{ ... on BasicObject {{ id }} ... on BasicRelationship {{ id }} }} }} }} }} }}"
            );
            for shown in &self.shown {
                let answer = self.ask(&query, &json!({ "id": shown.id }))?;
                prop_assert!(answer.get("errors").is_none(), "{}", answer);
                let list = &answer["data"][root];
                let edges = list["edges"].as_array().unwrap();
                prop_assert_eq!(&list["pageInfo"]["globalCount"], edges.len());
                prop_assert!(
                    edges.iter().all(|edge| !edge["node"]["to"].is_null()),
                    "{}",
                    answer
                );
            }
            for hidden in &self.hidden {
                for id in [&hidden.id, &hidden.standard_id] {
                    self.as_unknown(&query, "id", &json!({}), id)?;
                }
            }
        }
        Ok(())
    }

    /// The history of everything: of what is hidden it is that of what is unknown, and the newest entries of all name nothing hidden.
    fn history(&self) -> Result<(), TestCaseError> {
        let query = "query Q($filters: FilterGroup) { logs(first: 100, orderBy: timestamp, orderMode: desc, filters: $filters) { pageInfo { globalCount } edges { node { \
                     id event_scope raw_data context_uri context_data { entity_id entity_name entity_type from_id to_id message } } } } }";
        let about = |id: &str| json!({ "filters": { "mode": "and", "filterGroups": [], "filters": [{ "key": ["context_data.id"], "values": [id] }] } });
        self.ask(query, &json!({}))?;
        for shown in &self.shown {
            let answer = self.ask(query, &about(&shown.id))?;
            prop_assert!(answer.get("errors").is_none(), "{}", answer);
            prop_assert!(
                !answer["data"]["logs"]["edges"]
                    .as_array()
                    .unwrap()
                    .is_empty(),
                "{:?} has no history",
                shown
            );
        }
        for hidden in &self.hidden {
            for id in [&hidden.id, &hidden.standard_id, &hidden.given_id] {
                let answer = self.ask(query, &about(id))?;
                let unknown = "00000000-0000-4000-8000-00000000abcd";
                let nothing = self.ask(query, &about(unknown))?;
                prop_assert_eq!(
                    answer.to_string().replace(id.as_str(), "ID"),
                    nothing.to_string().replace(unknown, "ID")
                );
            }
        }
        Ok(())
    }

    /// What a hidden object adds to the numbers of what is shown.
    fn numbers(&self, all: &[Thing]) -> Result<(), TestCaseError> {
        let visible: BTreeSet<&str> = self.shown.iter().map(|thing| thing.id.as_str()).collect();
        for thing in self.shown.iter().filter(|thing| !thing.is_relationship()) {
            let answer = self.ask(&anything(), &json!({ "id": thing.id }))?;
            let found = &answer["data"]["stixObjectOrStixRelationship"];
            let tied = |root: &str| {
                all.iter()
                    .filter(|other| other.root == root && visible.contains(other.id.as_str()))
                    .filter(|other| other.ties.iter().any(|end| all[*end].id == thing.id))
                    .count()
            };
            let links = tied("stixCoreRelationship");
            let reports = tied("report");
            let connected = links + reports + tied("stixSightingRelationship");
            prop_assert_eq!(
                &found["stixCoreRelationships"]["pageInfo"]["globalCount"],
                links,
                "{}",
                found
            );
            prop_assert_eq!(
                &found["reports"]["pageInfo"]["globalCount"],
                reports,
                "{}",
                found
            );
            prop_assert_eq!(
                &found["containers"]["pageInfo"]["globalCount"],
                reports,
                "{}",
                found
            );
            prop_assert_eq!(
                &found["numberOfConnectedElement"],
                connected,
                "{} {:?}",
                found,
                thing
            );
            let author = thing
                .author
                .filter(|author| visible.contains(all[*author].id.as_str()));
            prop_assert_eq!(
                found["createdBy"]["id"].as_str(),
                author.map(|author| all[author].id.as_str())
            );
            if thing.root == "report" {
                let members = thing
                    .ties
                    .iter()
                    .filter(|member| visible.contains(all[**member].id.as_str()))
                    .count();
                prop_assert_eq!(
                    &found["objects"]["pageInfo"]["globalCount"],
                    members,
                    "{}",
                    found
                );
                prop_assert_eq!(found["objects"]["edges"].as_array().unwrap().len(), members);
            }
        }
        Ok(())
    }

    /// Changing what is hidden is refused like changing what is unknown.
    fn changes(&self) -> Result<(), TestCaseError> {
        let Some(own) = self.shown.iter().find(|thing| thing.root == "malware") else {
            return Ok(());
        };
        let relate = "mutation M($own: ID!, $id: StixRef!) { stixDomainObjectEdit(id: $own) { relationAdd(input: { relationship_type: \"created-by\", toId: $id }) { id } } }";
        let link = "mutation M($own: StixRef!, $id: StixRef!) { stixCoreRelationshipAdd(input: { relationship_type: \"related-to\", fromId: $own, toId: $id }) { id } }";
        let patch = "mutation M($id: ID!) { stixDomainObjectEdit(id: $id) { fieldPatch(input: [{ key: \"description\", value: [\"x\"] }]) { id } } }";
        let delete = "mutation M($id: ID!) { stixEdit(id: $id) { delete } }";
        let merge = "mutation M($own: ID!, $id: String!) { stixEdit(id: $own) { merge(stixObjectsIds: [$id]) { id } } }";
        let unlink = "mutation M($id: ID!) { stixCoreRelationshipEdit(id: $id) { delete } }";
        for hidden in &self.hidden {
            for id in [&hidden.id, &hidden.standard_id, &hidden.given_id] {
                for (query, others) in [
                    (relate, json!({ "own": own.id })),
                    (link, json!({ "own": own.id })),
                    (merge, json!({ "own": own.id })),
                    (patch, json!({})),
                    (delete, json!({})),
                    (unlink, json!({})),
                ] {
                    self.as_unknown(query, "id", &others, id)?;
                }
            }
        }
        Ok(())
    }
}

fn ids_of(expected: &BTreeSet<&str>) -> BTreeSet<String> {
    expected.iter().map(|id| (*id).to_owned()).collect()
}

/// All texts in the variables of a question: what the reader knew before.
fn words(variables: &Value) -> Vec<&str> {
    match variables {
        Value::String(text) if text.len() > 3 => vec![text],
        Value::Array(items) => items.iter().flat_map(words).collect(),
        Value::Object(fields) => fields.values().flat_map(words).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn no_way_of_asking_shows_what_the_decision_hides() {
    let fixture = Fixture::new();
    let (number, allowed, refused) = (Cell::new(0_u32), Cell::new(0_usize), Cell::new(0_usize));
    let config = Config {
        cases: WORLDS,
        failure_persistence: None,
        max_shrink_iters: 64,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let tried = TestRunner::new_with_rng(config, random).run(&shape(), |shape| {
        number.set(number.get() + 1);
        let all = build(&fixture, number.get(), &shape);
        for (index, marks) in shape.readers.iter().enumerate() {
            let (token, actor) = reader(&fixture, number.get(), index, *marks);
            let (shown, hidden): (Vec<&Thing>, Vec<&Thing>) = all.iter().partition(|thing| {
                may(
                    &actor,
                    Action::See {
                        markings: &thing.needs,
                    },
                )
                .is_ok()
            });
            allowed.set(allowed.get() + shown.len());
            refused.set(refused.get() + hidden.len());
            let ask = Ask {
                fixture: &fixture,
                token: &token,
                shown,
                hidden,
            };
            ask.by_id()?;
            ask.lists(&all, &format!("q{:03}", number.get()))?;
            ask.naming()?;
            ask.references()?;
            ask.history()?;
            ask.numbers(&all)?;
            ask.changes()?;
        }
        Ok(())
    });
    tried.unwrap();
    assert!(
        allowed.get() > 200 && refused.get() > 200,
        "{} shown, {} hidden",
        allowed.get(),
        refused.get()
    );
}
