//! A small platform for tests: a store, queues and ingestion in a temporary directory, with one connector.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use ferrocti_access::{Actor, Capabilities};
use ferrocti_broker::{Publish, Queues, queue::push_queue};
use ferrocti_ingest::{Ingest, Options, actors, boot, partial::Partial, works};
use ferrocti_model::{
    Ident, StixId,
    clock::{Clock, ManualClock, SeededEntropy},
};
use ferrocti_store::{
    Connector, Durability, Group, Iid, NoteKind, Role, Store, StoreError, Stored, Tx, User,
    Visibility, WorkStatus,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use uuid::Uuid;

pub const START: i64 = 1_700_000_000_000;
pub const CONNECTOR: &str = "c1";

pub struct Platform {
    pub clock: Arc<ManualClock>,
    pub store: Store,
    pub queues: Queues,
    pub ingest: Ingest,
    pub admin: Arc<Actor>,
    pub dir: TempDir,
}

impl Platform {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let (store, queues) = open(dir.path(), &clock, 7);
        let admin = store
            .write(|tx| user("admin", &["BYPASS"], Uuid::from_u128(1)).insert(tx))
            .unwrap();
        boot::run(&store, &admin).unwrap();
        let ingest = Ingest::new(
            store.clone(),
            queues.clone(),
            clock.clone(),
            Options::default(),
        );
        let platform = Self {
            clock,
            store,
            queues,
            ingest,
            admin,
            dir,
        };
        let capabilities = Capabilities::connector();
        platform.add_connector(
            CONNECTOR,
            user(
                "connector",
                &capabilities.iter().collect::<Vec<_>>(),
                Uuid::from_u128(2),
            ),
        );
        platform
    }

    /// Registers a connector that runs as a new user, with its push queue.
    pub fn add_connector(&self, id: &str, user: Account) -> Arc<Actor> {
        let actor = self
            .store
            .write(|tx| -> Result<_, StoreError> {
                let actor = user.insert(tx)?;
                tx.put_connector(&connector(id, actor.user_row))?;
                Ok(actor)
            })
            .unwrap();
        self.queues
            .declare(&push_queue(id), Default::default())
            .wait()
            .unwrap();
        actor
    }

    /// Queues a body.
    pub fn publish(&self, connector: &str, body: Vec<u8>) {
        self.queues
            .publish(
                &push_queue(connector),
                Publish {
                    body: body.into(),
                    ..Publish::default()
                },
            )
            .wait()
            .unwrap();
    }

    /// Queues objects as one message.
    pub fn send_with(&self, connector: &str, objects: &[Value], envelope: Value) {
        self.publish(connector, message(objects, envelope));
    }

    /// Queues objects as one message and applies it.
    pub fn import(&self, objects: &[Value]) {
        self.send_with(CONNECTOR, objects, json!({}));
        self.work_off();
    }

    pub fn work_off(&self) {
        self.ingest.work_off().unwrap();
        self.queues.flush().wait().unwrap();
    }

    /// Begins a work of the connector.
    pub fn work(&self, multipart: bool) -> String {
        self.work_of(CONNECTOR, multipart)
    }

    /// Begins a work of any connector.
    pub fn work_of(&self, connector: &str, multipart: bool) -> String {
        self.store
            .write(|tx| {
                works::add(
                    tx,
                    &self.admin,
                    &works::NewWork {
                        connector,
                        connector_type: "EXTERNAL_IMPORT",
                        name: "run",
                        multipart,
                        event_source: None,
                        status: WorkStatus::Progress,
                    },
                )
            })
            .unwrap()
            .id
    }

    /// Status, expected, processed and number of errors of a work.
    pub fn progress(&self, work: &str) -> (WorkStatus, i64, i64, i64) {
        let work = self
            .store
            .read(|snapshot| snapshot.work(work))
            .unwrap()
            .unwrap();
        (work.status, work.expected, work.processed, work.errors)
    }

    pub fn notes(&self, work: &str, kind: NoteKind) -> Vec<String> {
        self.store
            .read(|snapshot| {
                let row = snapshot.work(work)?.map_or(0, |work| work.row);
                snapshot.work_notes(row, kind)
            })
            .unwrap()
            .into_iter()
            .map(|note| note.message)
            .collect()
    }

    /// What the work tells of objects of which a part was not applied.
    pub fn partial(&self, work: &str) -> Vec<Partial> {
        let row = self.store.read(|snapshot| snapshot.work(work)).unwrap();
        let row = row.map_or(0, |work| work.row);
        self.store
            .read(|snapshot| snapshot.work_notes(row, NoteKind::Partial))
            .unwrap()
            .iter()
            .map(|note| Partial::parse(&note.source).unwrap())
            .collect()
    }

    /// Registers a connector with the rights of the role Connector, but for what `change` says.
    pub fn add_limited(&self, name: &str, change: impl FnOnce(&mut Account)) -> Arc<Actor> {
        let capabilities = Capabilities::connector();
        let number = name
            .bytes()
            .fold(0_u128, |all, byte| all << 8 | u128::from(byte));
        let mut account = user(
            name,
            &capabilities.iter().collect::<Vec<_>>(),
            Uuid::from_u128(number),
        );
        change(&mut account);
        self.add_connector(name, account)
    }

    /// Sends objects through a connector in a work of its own, and applies them.
    pub fn import_as(&self, connector: &str, objects: &[Value]) -> String {
        let work = self.work_of(connector, false);
        self.send_with(connector, objects, json!({"work_id": work}));
        self.work_off();
        work
    }

    pub fn errors(&self, work: &str) -> Vec<String> {
        self.notes(work, NoteKind::Error)
    }

    pub fn find(&self, id: &str) -> Option<Stored> {
        let key = Ident::parse(id).unwrap().key();
        self.store
            .read(|snapshot| match snapshot.resolve_one(&key)? {
                Some(iid) => snapshot.load_one(iid),
                None => Ok(None),
            })
            .unwrap()
    }

    pub fn get(&self, id: &str) -> Stored {
        self.find(id)
            .unwrap_or_else(|| panic!("{id} is not stored"))
    }

    /// Standard ids of what an object refers to by one reference, sorted.
    pub fn targets(&self, id: &str, reference: &str) -> Vec<String> {
        let object = self.get(id);
        let code = object.kind.reference(reference).unwrap().code;
        let mut ids: Vec<String> = self
            .store
            .read(|snapshot| -> Result<Vec<String>, StoreError> {
                let targets: Vec<Iid> = snapshot.targets(&[object.iid], code)?.concat();
                targets
                    .into_iter()
                    .map(|iid| Ok(snapshot.head(iid)?.unwrap().1.to_string()))
                    .collect()
            })
            .unwrap();
        ids.sort();
        ids
    }

    /// Number of objects of a type.
    pub fn count(&self, kind: &str) -> u64 {
        let code = ferrocti_model::Registry::get().by_name(kind).unwrap().code;
        self.store
            .read(|snapshot| snapshot.counts(&Visibility::All))
            .unwrap()
            .get(&code)
            .copied()
            .unwrap_or(0)
    }

    pub fn history_end(&self) -> i64 {
        self.store.read(|snapshot| snapshot.history_end()).unwrap()
    }

    pub fn parked(&self) -> (u64, u64) {
        self.store
            .read(|snapshot| snapshot.parked_counts())
            .unwrap()
    }

    pub fn dead_letters(&self) -> Vec<String> {
        self.queues
            .dead_letters(&Default::default())
            .unwrap()
            .into_iter()
            .map(|letter| letter.reason)
            .collect()
    }

    pub fn depth(&self, connector: &str) -> u64 {
        self.queues.depth(&push_queue(connector)).unwrap().messages
    }
}

pub fn open(dir: &Path, clock: &Arc<ManualClock>, seed: u64) -> (Store, Queues) {
    let mut options =
        ferrocti_store::Options::new(clock.clone(), Arc::new(SeededEntropy::new(seed)));
    options.durability = Durability::Off;
    let store = Store::open(dir, options).unwrap();
    let now = clock.clone();
    let queues = Queues::open(
        dir.join("queues.db"),
        ferrocti_broker::Options::new(Arc::new(move || now.now())),
    )
    .unwrap();
    (store, queues)
}

/// The body of a message; `envelope` adds keys to it.
pub fn message(objects: &[Value], envelope: Value) -> Vec<u8> {
    let bundle = json!({"type": "bundle", "id": "bundle--00000000-0000-4000-8000-000000000000", "objects": objects});
    let mut body = Map::from_iter([(
        "content".to_owned(),
        Value::String(STANDARD.encode(bundle.to_string())),
    )]);
    if let Value::Object(more) = envelope {
        body.extend(more);
    }
    Value::Object(body).to_string().into_bytes()
}

/// A user to be made, with what its own group and role will say.
pub struct Account {
    pub name: String,
    pub id: Uuid,
    pub capabilities: Vec<String>,
    /// Internal ids of the granted markings; `None`: all, also later ones.
    pub markings: Option<Vec<Uuid>>,
    /// `None`: neither the user nor its group has a level.
    pub max_confidence: Option<u8>,
    pub overrides: BTreeMap<String, u8>,
    pub no_creators: bool,
}

impl Account {
    /// Makes the user and gives it the rights.
    fn insert(&self, tx: &mut Tx<'_>) -> Result<Arc<Actor>, StoreError> {
        let email = format!("{}@ferrocti.example", self.name);
        let mut user = User::new(self.id, &email, &self.name, START);
        user.service_account = true;
        user.max_confidence = self.max_confidence;
        user.overrides = self.overrides.clone();
        tx.insert_user(&mut user)?;
        let mut role = Role::new(tx.new_uuid(), &self.name, START);
        role.capabilities = self.capabilities.clone();
        tx.insert_role(&mut role)?;
        let mut group = Group::new(tx.new_uuid(), &self.name, START);
        group.no_creators = self.no_creators;
        group.auto_new_marking = self.markings.is_none();
        tx.insert_group(&mut group)?;
        for marking in tx.marking_definitions()? {
            let granted = self.markings.as_ref();
            if granted.is_none_or(|granted| granted.contains(&marking.internal)) {
                tx.grant_marking(group.row, marking.iid)?;
            }
        }
        tx.add_group_role(group.row, role.row)?;
        tx.add_member(group.row, user.row)?;
        Ok(actors::of_row(tx, user.row)?.unwrap())
    }
}

pub fn user(name: &str, capabilities: &[&str], id: Uuid) -> Account {
    Account {
        name: name.to_owned(),
        id,
        capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
        markings: None,
        max_confidence: Some(100),
        overrides: BTreeMap::new(),
        no_creators: false,
    }
}

fn connector(id: &str, user: i64) -> Connector {
    Connector {
        id: id.to_owned(),
        name: format!("Connector {id}"),
        kind: "EXTERNAL_IMPORT".to_owned(),
        scope: vec![],
        auto: false,
        auto_update: false,
        only_contextual: false,
        playbook_compatible: false,
        enrichment_resolution: None,
        listen_callback_uri: None,
        xtm_one_intent: None,
        version: None,
        slug: None,
        user: Some(user),
        built_in: false,
        title: None,
        trigger_filters: None,
        priority_group: "DEFAULT".to_owned(),
        info: None,
        state: None,
        state_reset: false,
        state_at: START,
        created_at: START,
        updated_at: START,
        registered_at: Some(START),
        last_ping: None,
        catalog_id: None,
        manager: None,
        registered_token: None,
    }
}

pub const TLP_GREEN: &str = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da";
pub const TLP_RED: &str = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
pub const TLP_AMBER: &str = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82";

/// An id of a type, the same for the same number.
pub fn id(stix_type: &str, number: u32) -> String {
    format!("{stix_type}--00000000-0000-4000-8000-{number:012}")
}

/// A domain object with a name.
pub fn named(stix_type: &str, number: u32, name: &str) -> Value {
    json!({"type": stix_type, "spec_version": "2.1", "id": id(stix_type, number), "created": "2020-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z", "name": name})
}

pub fn malware(number: u32, name: &str) -> Value {
    with(named("malware", number, name), json!({"is_family": true}))
}

pub fn organization(number: u32, name: &str) -> Value {
    with(
        named("identity", number, name),
        json!({"identity_class": "organization"}),
    )
}

pub fn relationship(number: u32, kind: &str, source: &Value, target: &Value) -> Value {
    json!({"type": "relationship", "spec_version": "2.1", "id": id("relationship", number), "relationship_type": kind,
        "created": "2020-01-01T00:00:00.000Z", "modified": "2020-01-01T00:00:00.000Z", "source_ref": source["id"], "target_ref": target["id"]})
}

/// An object with further properties.
pub fn with(object: Value, more: Value) -> Value {
    match (object, more) {
        (Value::Object(mut object), Value::Object(more)) => {
            object.extend(more);
            Value::Object(object)
        }
        (object, _) => object,
    }
}

pub fn id_of(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

pub fn stix(text: &str) -> StixId {
    StixId::parse(text).unwrap()
}

/// Waits for a condition, at most a minute.
pub fn wait_until(condition: impl Fn() -> bool) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !condition() {
        assert!(
            std::time::Instant::now() < until,
            "the condition does not come true"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
