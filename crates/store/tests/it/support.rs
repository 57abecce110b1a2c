//! What the tests open and fill stores with.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ferrocti_model::{
    Key, Registry, StixId,
    clock::{Clock, ManualClock, SeededEntropy},
    registry::EntityType,
};
use ferrocti_store::{Durability, Iid, Inputs, NewObject, Options, Store, StoreError, Tx};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Opens a store of an engine in a directory.
pub type Open = fn(&Path, Arc<dyn Clock>) -> Result<Store, StoreError>;

pub fn sqlite(dir: &Path, clock: Arc<dyn Clock>) -> Result<Store, StoreError> {
    // a store that is opened again, in this process or another, does not get the same random values again
    static OPENINGS: AtomicU64 = AtomicU64::new(0);
    let seed = OPENINGS.fetch_add(1, Ordering::Relaxed);
    let mut options = Options::new(
        clock,
        Arc::new(SeededEntropy::new(
            seed ^ (u64::from(std::process::id()) << 32),
        )),
    );
    options.durability = Durability::Off;
    Store::open(dir, options)
}

/// A store with its directory and clock.
pub struct Fixture {
    store: Option<Store>,
    open: Open,
    pub dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
}

impl Fixture {
    pub fn new(open: Open) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let store = Some(open(dir.path(), clock.clone()).unwrap());
        Self {
            store,
            open,
            dir,
            clock,
        }
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Closes the store and opens it again.
    pub fn restart(&mut self) {
        self.store = None;
        self.store = Some((self.open)(self.dir.path(), self.clock.clone()).unwrap());
    }

    pub fn write<T>(&self, body: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> T {
        self.store().write(body).unwrap()
    }

    pub fn read<T>(
        &self,
        body: impl FnOnce(&ferrocti_store::Snapshot<'_>) -> Result<T, StoreError>,
    ) -> T {
        self.store().read(body).unwrap()
    }

    /// Every test ends with a sound database.
    pub fn assert_sound(&self) {
        assert_eq!(self.store().check().unwrap(), vec![]);
    }
}

pub fn kind(name: &str) -> &'static EntityType {
    Registry::get().by_name(name).unwrap()
}

pub fn reference(name: &str) -> u16 {
    Registry::get().reference_type(name).unwrap().code
}

/// A standard id made from a number.
pub fn stix_id(kind: &EntityType, n: u64) -> StixId {
    StixId {
        type_code: kind.stix_code,
        uuid: Uuid::from_u64_pair(0xfeed, n),
    }
}

/// A further key made from a number.
pub fn extra_key(n: u64) -> Key {
    stix_id(kind("Malware"), n + 1_000_000).key()
}

/// An object to be inserted; fill in what matters.
pub struct Sample {
    pub kind: &'static EntityType,
    pub number: u64,
    pub attributes: Map<String, Value>,
    pub keys: Vec<Key>,
    pub edges: Vec<(u16, Iid)>,
    pub ends: Option<(Iid, Iid)>,
    pub confidence: Option<u8>,
    pub text: String,
}

impl Sample {
    pub fn new(kind_name: &str, number: u64, attributes: Value) -> Self {
        let Value::Object(attributes) = attributes else {
            panic!("attributes are an object")
        };
        Self {
            kind: kind(kind_name),
            number,
            attributes,
            keys: Vec::new(),
            edges: Vec::new(),
            ends: None,
            confidence: None,
            text: String::new(),
        }
    }

    pub fn named(kind_name: &str, number: u64, name: &str) -> Self {
        Self::new(kind_name, number, json!({ "name": name }))
    }

    pub fn relationship(kind_name: &str, number: u64, source: Iid, target: Iid) -> Self {
        Self {
            ends: Some((source, target)),
            ..Self::new(kind_name, number, json!({}))
        }
    }

    pub fn marked(mut self, markings: &[Iid]) -> Self {
        self.edges.extend(
            markings
                .iter()
                .map(|marking| (reference("object-marking"), *marking)),
        );
        self
    }

    pub fn referring(mut self, name: &str, target: Iid) -> Self {
        self.edges.push((reference(name), target));
        self
    }

    pub fn with_text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    pub fn with_confidence(mut self, confidence: u8) -> Self {
        self.confidence = Some(confidence);
        self
    }

    pub fn with_keys(mut self, keys: &[Key]) -> Self {
        self.keys.extend_from_slice(keys);
        self
    }

    pub fn insert(&self, tx: &mut Tx<'_>) -> Result<Iid, StoreError> {
        let name = self
            .attributes
            .get("name")
            .or_else(|| self.attributes.get("value"))
            .and_then(Value::as_str)
            .unwrap_or("");
        let inputs = Inputs::one(0, self.number);
        tx.insert(&NewObject {
            kind: self.kind,
            internal: None,
            standard: stix_id(self.kind, self.number),
            keys: &self.keys,
            attributes: &self.attributes,
            confidence: self.confidence,
            ends: self.ends,
            edges: &self.edges,
            name,
            text: &self.text,
            inputs: Some(&inputs),
        })
    }
}
