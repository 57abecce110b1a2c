//! Random worlds: what is in them, and users of random rights who look at them.

use std::collections::BTreeSet;
use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_accounts::{Acting, Lifetime};
use ferrocti_model::StixId;
use ferrocti_store::{Group, Role, StoreError, User};
use proptest::collection::vec;
use proptest::prelude::*;
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
/// At most one marking of each kind, as what is stored has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
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
pub(super) enum Kind {
    Malware,
    IntrusionSet,
    Indicator,
    Domain,
}

#[derive(Debug, Clone)]
pub(super) struct Shape {
    author: Marks,
    /// What the readers may use; each of both kinds opens the lower ones too.
    pub(super) readers: Vec<Marks>,
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

pub(super) fn shape() -> impl Strategy<Value = Shape> {
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
pub(super) struct Thing {
    /// Field of the interface that reads one of its kind.
    pub(super) root: &'static str,
    pub(super) id: String,
    pub(super) standard_id: String,
    /// The id by which it was delivered.
    pub(super) given_id: String,
    /// A word that stands in its texts and nowhere else.
    pub(super) secret: String,
    pub(super) needs: Vec<StixId>,
    /// Indexes of what it ties together: ends, or members.
    pub(super) ties: Vec<usize>,
    pub(super) author: Option<usize>,
}

impl Thing {
    pub(super) fn names(&self) -> [&str; 4] {
        [&self.id, &self.standard_id, &self.given_id, &self.secret]
    }

    pub(super) fn is_relationship(&self) -> bool {
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
pub(super) fn build(fixture: &Fixture, number: u32, shape: &Shape) -> Vec<Thing> {
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
pub(super) fn reader(
    fixture: &Fixture,
    number: u32,
    index: usize,
    marks: Marks,
) -> (String, Arc<Actor>) {
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
