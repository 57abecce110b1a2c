//! No way of asking shows an object that the decision hides: worlds of random markings, asked in every way by users of random rights.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use ferrocti_access::{Action, Actor, may};
use ferrocti_accounts::{Acting, Lifetime};
use ferrocti_model::StixId;
use ferrocti_store::{Group, Role, StoreError, User};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Fixture;

const TLP: [&str; 5] = [
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    "marking-definition--826578e1-40ad-459f-bc73-ede076f81f37",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
];
const PAP: [&str; 4] = [
    "marking-definition--4cdff7eb-acb8-543f-8573-829eb9fe8b34",
    "marking-definition--89484dde-e3d2-547f-a6c6-d14824429eb1",
    "marking-definition--a6f20d4d-0360-59b6-ba22-3b48707828b1",
    "marking-definition--4e4e3b84-de45-53df-9d9b-b21207699fd8",
];
/// Worlds that are tried.
const WORLDS: u32 = 64;

/// At most one marking of each kind, as what is stored has.
#[derive(Debug, Clone, Copy)]
struct Marks {
    tlp: Option<usize>,
    pap: Option<usize>,
}

impl Marks {
    fn ids(self) -> Vec<&'static str> {
        let tlp = self.tlp.map(|index| TLP[index]);
        tlp.into_iter()
            .chain(self.pap.map(|index| PAP[index]))
            .collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Malware,
    IntrusionSet,
    Indicator,
    Domain,
}

#[derive(Debug, Clone)]
struct Shape {
    author: Marks,
    /// What the readers may use; each of both kinds opens the lower ones too.
    readers: Vec<Marks>,
    objects: Vec<(Kind, Marks, bool)>,
    /// From, to (indexes, modulo the number of objects), markings.
    links: Vec<(usize, usize, Marks)>,
    sightings: Vec<(usize, Marks)>,
    /// Members (indexes over objects and links), markings, whether the author signed it.
    reports: Vec<(Vec<usize>, Marks, bool)>,
}

fn marks() -> impl Strategy<Value = Marks> {
    let tlp = prop_oneof![2 => Just(None), 5 => (0..TLP.len()).prop_map(Some)];
    let pap = prop_oneof![4 => Just(None), 2 => (0..PAP.len()).prop_map(Some)];
    (tlp, pap).prop_map(|(tlp, pap)| Marks { tlp, pap })
}

fn shape() -> impl Strategy<Value = Shape> {
    let kind = prop_oneof![
        Just(Kind::Malware),
        Just(Kind::IntrusionSet),
        Just(Kind::Indicator),
        Just(Kind::Domain)
    ];
    (
        marks(),
        vec(marks(), 1..3),
        vec((kind, marks(), any::<bool>()), 3..7),
        vec((0..7_usize, 0..7_usize, marks()), 0..5),
        vec((0..7_usize, marks()), 0..2),
        vec((vec(0..10_usize, 0..5), marks(), any::<bool>()), 1..3),
    )
        .prop_map(
            |(author, readers, objects, links, sightings, reports)| Shape {
                author,
                readers,
                objects,
                links,
                sightings,
                reports,
            },
        )
}

/// Something stored, and what a reader must be allowed in order to see it.
#[derive(Debug, Clone)]
struct Thing {
    /// Field of the interface that reads one of its kind.
    root: &'static str,
    id: String,
    standard_id: String,
    /// The id by which it was delivered.
    given_id: String,
    /// A word that stands in its texts and nowhere else.
    secret: String,
    needs: Vec<StixId>,
    /// Indexes of what it ties together: ends, or members.
    ties: Vec<usize>,
    author: Option<usize>,
}

impl Thing {
    fn names(&self) -> [&str; 4] {
        [&self.id, &self.standard_id, &self.given_id, &self.secret]
    }

    fn is_relationship(&self) -> bool {
        self.root.ends_with("Relationship")
    }
}

fn parsed(marks: Marks) -> Vec<StixId> {
    let ids = marks.ids();
    ids.iter().map(|id| StixId::parse(id).unwrap()).collect()
}

/// Makes a world as the administrator.
struct Maker<'a> {
    fixture: &'a Fixture,
    /// A word that all texts of the world share.
    word: String,
    things: Vec<Thing>,
}

impl Maker<'_> {
    fn add(
        &mut self,
        root: &'static str,
        stix_type: &str,
        marks: Marks,
        needs: Vec<StixId>,
        mut input: Value,
    ) -> usize {
        let number = self.things.len();
        let secret = format!("{}n{number:02}x", self.word);
        let seed = format!("{stix_type} {secret}");
        let given_id = format!(
            "{stix_type}--{}",
            Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes())
        );
        let text = format!("{} world {secret} text", self.word);
        let answer = if root == "stixCyberObservable" {
            let query = "mutation A($stix_id: StixId, $marking: [String], $text: String, $value: String!) { stixCyberObservableAdd(type: \"Domain-Name\", \
                         stix_id: $stix_id, objectMarking: $marking, x_opencti_description: $text, DomainName: { value: $value }) { id standard_id } }";
            let value = format!("{secret}.example.org");
            self.fixture.run(
                query,
                json!({ "stix_id": given_id, "marking": marks.ids(), "text": text, "value": value }),
            )["stixCyberObservableAdd"]
                .clone()
        } else {
            let fields = input.as_object_mut().unwrap();
            fields.insert("stix_id".to_owned(), json!(given_id));
            fields.insert("objectMarking".to_owned(), json!(marks.ids()));
            fields.insert("description".to_owned(), json!(text));
            if !root.ends_with("Relationship") {
                fields.insert("name".to_owned(), json!(format!("{secret} name")));
            }
            let mut of = root.to_owned();
            of[..1].make_ascii_uppercase();
            let query = format!(
                "mutation A($input: {of}AddInput!) {{ {root}Add(input: $input) {{ id standard_id }} }}"
            );
            self.fixture.run(&query, json!({ "input": input }))[format!("{root}Add")].clone()
        };
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        self.things.push(Thing {
            root,
            id: text("id"),
            standard_id: text("standard_id"),
            given_id,
            secret,
            needs: parsed(marks).into_iter().chain(needs).collect(),
            ties: Vec::new(),
            author: None,
        });
        number
    }

    /// A relationship between two things; both ends are needed to see it.
    fn tie(&mut self, root: &'static str, from: usize, to: usize, marks: Marks, mut input: Value) {
        let needs = [from, to].map(|end| self.things[end].needs.clone());
        for (key, end) in [("fromId", from), ("toId", to)] {
            input[key] = json!(self.things[end].id);
        }
        let stix_type = if root == "stixCoreRelationship" {
            "relationship"
        } else {
            "sighting"
        };
        let made = self.add(root, stix_type, marks, needs.concat(), input);
        self.things[made].ties = vec![from, to];
    }
}

/// The things of a shape: the author, objects, links, sightings, reports, in this order.
fn build(fixture: &Fixture, number: u32, shape: &Shape) -> Vec<Thing> {
    let mut maker = Maker {
        fixture,
        word: format!("q{number:03}"),
        things: Vec::new(),
    };
    maker.add(
        "organization",
        "identity",
        shape.author,
        Vec::new(),
        json!({}),
    );
    let author = maker.things[0].id.clone();
    for (kind, marks, signed) in &shape.objects {
        let mut input = if *signed {
            json!({ "createdBy": author })
        } else {
            json!({})
        };
        let made = match kind {
            Kind::Malware => maker.add("malware", "malware", *marks, Vec::new(), input),
            Kind::IntrusionSet => {
                maker.add("intrusionSet", "intrusion-set", *marks, Vec::new(), input)
            }
            Kind::Indicator => {
                input["pattern"] = json!(format!(
                    "[domain-name:value = '{}i{}.example.org']",
                    maker.word,
                    maker.things.len()
                ));
                input["pattern_type"] = json!("stix");
                maker.add("indicator", "indicator", *marks, Vec::new(), input)
            }
            Kind::Domain => maker.add(
                "stixCyberObservable",
                "domain-name",
                *marks,
                Vec::new(),
                input,
            ),
        };
        maker.things[made].author = (*signed && *kind != Kind::Domain).then_some(0);
    }
    let objects = shape.objects.len();
    let mut seen = BTreeSet::new();
    for (from, to, marks) in &shape.links {
        let (from, to) = (from % objects + 1, to % objects + 1);
        if from != to && seen.insert((from, to)) {
            maker.tie(
                "stixCoreRelationship",
                from,
                to,
                *marks,
                json!({ "relationship_type": "related-to" }),
            );
        }
    }
    let mut sighted = BTreeSet::new();
    for (from, marks) in &shape.sightings {
        let from = from % objects + 1;
        if sighted.insert(from) {
            maker.tie(
                "stixSightingRelationship",
                from,
                0,
                *marks,
                json!({ "attribute_count": 1 }),
            );
        }
    }
    let available = maker.things.len();
    for (members, marks, signed) in &shape.reports {
        let members: BTreeSet<usize> = members.iter().map(|member| member % available).collect();
        let ids: Vec<&str> = members
            .iter()
            .map(|member| maker.things[*member].id.as_str())
            .collect();
        let mut input =
            json!({ "published": "2026-01-01T00:00:00Z", "objects": ids, "report_types": [] });
        if *signed {
            input["createdBy"] = json!(author);
        }
        let made = maker.add("report", "report", *marks, Vec::new(), input);
        maker.things[made].ties = members.into_iter().collect();
        maker.things[made].author = signed.then_some(0);
    }
    maker.things
}

/// A user that reads and writes what these markings let it; its token and what the decision knows of it.
fn reader(fixture: &Fixture, number: u32, index: usize, marks: Marks) -> (String, Arc<Actor>) {
    let name = format!("reader {number} {index}");
    let user = fixture
        .store
        .write(|tx| {
            let mut role = Role::new(tx.new_uuid(), &name, tx.now());
            let capabilities = [
                "KNOWLEDGE_KNUPDATE_KNDELETE",
                "KNOWLEDGE_KNUPDATE_KNMERGE",
                "APIACCESS_USETOKEN",
            ];
            role.capabilities = capabilities.map(str::to_owned).to_vec();
            tx.insert_role(&mut role)?;
            let mut group = Group::new(tx.new_uuid(), &name, tx.now());
            group.max_confidence = Some(100);
            tx.insert_group(&mut group)?;
            for marking in parsed(marks) {
                let iid = tx.resolve_one(&marking.key())?.unwrap();
                tx.grant_marking(group.row, iid)?;
            }
            tx.add_group_role(group.row, role.row)?;
            let email = format!("{name}@example.org").replace(' ', ".");
            let mut user = User::new(tx.new_uuid(), &email, &name, tx.now());
            user.service_account = true;
            tx.insert_user(&mut user)?;
            tx.add_member(group.row, user.row)?;
            Ok::<_, StoreError>(user.id.to_string())
        })
        .unwrap();
    let acting = Acting::of(&fixture.admin);
    let (_, token) = fixture
        .accounts
        .add_token(&acting, &user, "test", Lifetime::Unlimited)
        .unwrap();
    let rights = fixture.accounts.authenticate(&token).unwrap().unwrap();
    (token, Arc::clone(rights.actor()))
}

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
