//! Objects: resolving identifiers, loading, inserting, changing and deleting rows.

use std::borrow::Cow;

use ferrocti_model::{
    clock::Millis,
    id::{Key, StixId},
    registry::{EntityType, Registry},
};
use rusqlite::{OptionalExtension, Row, params};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    Iid, Inputs, Snapshot, StoreError, Tx,
    error::{Result, corrupt},
    fold::name_key,
};

/// An object as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Row number.
    pub iid: Iid,
    /// The platform's own id.
    pub internal: Uuid,
    /// The standard id.
    pub standard: StixId,
    /// What it is.
    pub kind: &'static EntityType,
    /// All attributes in stored form.
    pub attributes: Map<String, Value>,
    /// When it was stored; ordering by it is ordering by row number.
    pub created_at: Millis,
    /// When it was changed last.
    pub updated_at: Millis,
    /// Interned set of the markings that a reader must be allowed to see: its own and, for a relationship, those of its ends.
    pub marking_set: i64,
    /// Confidence, 0 to 100.
    pub confidence: Option<u8>,
    /// The inputs that were applied last.
    pub inputs: Option<Inputs>,
    /// Source and target of a relationship or sighting.
    pub ends: Option<(Iid, Iid)>,
}

/// An object to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewObject<'a> {
    /// What it is.
    pub kind: &'static EntityType,
    /// Internal id, where it is fixed; otherwise the store makes a time-ordered one.
    pub internal: Option<Uuid>,
    /// The standard id.
    pub standard: StixId,
    /// Further identifiers: other STIX ids, alias ids, hash keys. None of them may belong to another object.
    pub keys: &'a [Key],
    /// Attributes in stored form.
    pub attributes: &'a Map<String, Value>,
    /// Confidence, 0 to 100.
    pub confidence: Option<u8>,
    /// Source and target of a relationship or sighting.
    pub ends: Option<(Iid, Iid)>,
    /// References: reference code and target. The markings among them decide who sees the object.
    pub edges: &'a [(u16, Iid)],
    /// Main representative: the heavier part of the full text, and the sort name of objects that have neither a `name` nor a `value`.
    pub name: &'a str,
    /// Other text to be found by.
    pub text: &'a str,
    /// The input.
    pub inputs: Option<&'a Inputs>,
}

/// What to change of an object; `None` leaves a part as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct ObjectChange<'a> {
    /// New standard id; the old one is no longer an identifier of the object unless it is added as a further key.
    pub standard: Option<StixId>,
    /// All attributes, replacing the stored ones.
    pub attributes: Option<&'a Map<String, Value>>,
    /// New confidence.
    pub confidence: Option<Option<u8>>,
    /// New main representative and other text.
    pub text: Option<(&'a str, &'a str)>,
    /// The inputs that are remembered from now on; a change without them forgets the former ones.
    pub inputs: Option<&'a Inputs>,
}

/// The columns that [`stored`] reads, in its order.
const LOAD: &str = "SELECT iid, type, internal, standard, created_at, updated_at, marking_set, confidence, inputs, src, dst, attributes
     FROM object WHERE iid = ?1";

impl Snapshot<'_> {
    /// The object of each key, in order.
    pub fn resolve(&self, keys: &[Key]) -> Result<Vec<Option<Iid>>> {
        keys.iter().map(|key| self.resolve_one(key)).collect()
    }

    /// The object of a key.
    pub fn resolve_one(&self, key: &Key) -> Result<Option<Iid>> {
        Ok(self
            .sql("SELECT iid FROM ident WHERE key = ?1")?
            .query_row([key.as_bytes()], |row| row.get(0))
            .optional()?)
    }

    /// The objects of these row numbers, in order; `None` where there is none.
    pub fn load(&self, iids: &[Iid]) -> Result<Vec<Option<Stored>>> {
        iids.iter().map(|iid| self.load_one(*iid)).collect()
    }

    /// The object of a row number.
    pub fn load_one(&self, iid: Iid) -> Result<Option<Stored>> {
        let mut statement = self.sql(LOAD)?;
        let mut rows = statement.query([iid])?;
        rows.next()?.map(stored).transpose()
    }

    /// The inputs that were applied last to each object, in order; `None` where there is no object or none are remembered.
    pub fn inputs(&self, iids: &[Iid]) -> Result<Vec<Option<Inputs>>> {
        let mut statement = self.sql("SELECT inputs FROM object WHERE iid = ?1")?;
        iids.iter()
            .map(|iid| {
                let mut rows = statement.query([iid])?;
                match rows.next()? {
                    Some(row) => remembered(row, 0),
                    None => Ok(None),
                }
            })
            .collect()
    }

    /// Every identifier of an object: internal, standard, then the others.
    pub fn keys_of(&self, iid: Iid) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        let own = self
            .sql("SELECT internal, standard FROM object WHERE iid = ?1")?
            .query_row([iid], |row| {
                Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 17]>(1)?))
            })
            .optional()?;
        if let Some((internal, standard)) = own {
            keys.push(Key::internal(Uuid::from_bytes(internal)));
            keys.push(Key(standard));
        }
        let mut statement = self.sql("SELECT key FROM ident WHERE iid = ?1 AND extra = 1")?;
        for key in statement.query_map([iid], |row| row.get(0).map(Key))? {
            keys.push(key?);
        }
        Ok(keys)
    }

    /// Kind and standard id of an object without reading its document.
    pub fn head(&self, iid: Iid) -> Result<Option<(&'static EntityType, StixId)>> {
        let row = self
            .sql("SELECT type, standard FROM object WHERE iid = ?1")?
            .query_row([iid], |row| {
                Ok((row.get::<_, u16>(0)?, row.get::<_, [u8; 17]>(1)?))
            })
            .optional()?;
        row.map(|(code, standard)| Ok((kind(code)?, standard_id(standard)?)))
            .transpose()
    }
}

/// Reads a row of [`LOAD`].
fn remembered(row: &Row<'_>, column: usize) -> Result<Option<Inputs>> {
    let bytes = row
        .get_ref(column)?
        .as_blob_or_null()
        .map_err(|error| corrupt("inputs", error))?;
    bytes.map(Inputs::from_bytes).transpose()
}

pub(crate) fn stored(row: &Row<'_>) -> Result<Stored> {
    let document = row
        .get_ref(11)?
        .as_bytes()
        .map_err(|error| corrupt("attributes", error))?;
    Ok(Stored {
        iid: row.get(0)?,
        kind: kind(row.get(1)?)?,
        internal: Uuid::from_bytes(row.get(2)?),
        standard: standard_id(row.get(3)?)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
        marking_set: row.get(6)?,
        confidence: row.get(7)?,
        inputs: remembered(row, 8)?,
        ends: row.get::<_, Option<Iid>>(9)?.zip(row.get(10)?),
        attributes: serde_json::from_slice(document)
            .map_err(|error| corrupt("attributes", error))?,
    })
}

fn kind(code: u16) -> Result<&'static EntityType> {
    Registry::get()
        .by_code(code)
        .ok_or_else(|| StoreError::Corrupt(format!("unknown type code {code}")))
}

fn standard_id(bytes: [u8; 17]) -> Result<StixId> {
    match Key(bytes).ident() {
        Some(ferrocti_model::Ident::Stix(id)) => Ok(id),
        _ => Err(StoreError::Corrupt(
            "a standard id that is not a STIX id".to_owned(),
        )),
    }
}

impl Tx<'_> {
    /// The object of each key, in order. Remembers what it found.
    pub fn resolve(&mut self, keys: &[Key]) -> Result<Vec<Option<Iid>>> {
        keys.iter().map(|key| self.resolve_one(key)).collect()
    }

    /// The object of a key. Remembers what it found.
    pub fn resolve_one(&mut self, key: &Key) -> Result<Option<Iid>> {
        if let Some(iid) = self.caches.keys.get(key) {
            return Ok(Some(iid));
        }
        let found = self.snapshot.resolve_one(key)?;
        if let Some(iid) = found {
            self.caches.keys.put(*key, iid);
        }
        Ok(found)
    }

    /// Stores an object with its identifiers, references and text. Fails without a trace when one of the identifiers is taken.
    pub fn insert(&mut self, object: &NewObject<'_>) -> Result<Iid> {
        let iid = self.caches.take_iid();
        let internal = object.internal.unwrap_or_else(|| self.new_uuid());
        let standard = object.standard.key();
        self.claim(iid, &[Key::internal(internal), standard], object.keys)?;

        let markings = object
            .edges
            .iter()
            .filter(|(code, _)| *code == self.shared.marking_ref)
            .map(|(_, target)| *target)
            .collect();
        let marking_set = self.set_for(markings, object.ends)?;
        let now = self.now();
        let name = sort_name(object.attributes, object.name);
        let mut document = std::mem::take(&mut self.caches.scratch);
        document.clear();
        serde_json::to_writer(&mut document, object.attributes)
            .map_err(|error| corrupt("attributes", error))?;
        let text = std::str::from_utf8(&document).map_err(|error| corrupt("attributes", error))?;
        self.sql(
            "INSERT INTO object(iid, type, internal, standard, created_at, updated_at, marking_set, confidence, name_key, src, dst, inputs, attributes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            iid,
            object.kind.code,
            internal.as_bytes(),
            standard.as_bytes(),
            now,
            marking_set,
            object.confidence,
            name,
            object.ends.map(|ends| ends.0),
            object.ends.map(|ends| ends.1),
            object.inputs.map(Inputs::to_bytes),
            text
        ])?;
        self.caches.scratch = document;
        self.count(object.kind.code, marking_set, 1);
        self.insert_edges(iid, object.edges)?;
        self.index_text(iid, object.name, object.text);
        self.caches.keys.put(standard, iid);
        self.object_made(object.kind.code, iid)?;
        Ok(iid)
    }

    /// Changes an object and its time of update.
    pub fn update(&mut self, iid: Iid, change: &ObjectChange<'_>) -> Result<()> {
        let now = self.now();
        let inputs = change.inputs.map(Inputs::to_bytes);
        let changed = if let Some(attributes) = change.attributes {
            let mut document = std::mem::take(&mut self.caches.scratch);
            document.clear();
            serde_json::to_writer(&mut document, attributes)
                .map_err(|error| corrupt("attributes", error))?;
            let text =
                std::str::from_utf8(&document).map_err(|error| corrupt("attributes", error))?;
            let changed = self
                .sql("UPDATE object SET attributes = ?2, updated_at = ?3, inputs = ?4 WHERE iid = ?1 RETURNING type")?
                .query_row(params![iid, text, now, inputs], |row| row.get(0))
                .optional()?;
            self.caches.scratch = document;
            changed
        } else {
            self.sql(
                "UPDATE object SET updated_at = ?2, inputs = ?3 WHERE iid = ?1 RETURNING type",
            )?
            .query_row(params![iid, now, inputs], |row| row.get(0))
            .optional()?
        };
        let code: u16 = changed.ok_or(StoreError::NoObject(iid))?;
        if code == self.shared.marking_kind {
            // its type or its order decides who may see what
            self.rights_changed()?;
        }
        if let Some(confidence) = change.confidence {
            self.sql("UPDATE object SET confidence = ?2 WHERE iid = ?1")?
                .execute(params![iid, confidence])?;
        }
        let representative = change.text.map_or("", |(name, _)| name);
        let name = change
            .attributes
            .and_then(|attributes| sort_name(attributes, representative));
        if let Some(name) = name {
            self.sql("UPDATE object SET name_key = ?2 WHERE iid = ?1 AND name_key IS NOT ?2")?
                .execute(params![iid, name])?;
        }
        if let Some((name, text)) = change.text {
            self.reindex_text(iid, name, text);
        }
        if let Some(standard) = change.standard {
            self.rename(iid, standard)?;
        }
        Ok(())
    }

    /// Sets the inputs that are remembered without touching the time of update.
    pub fn set_inputs(&mut self, iid: Iid, inputs: Option<&Inputs>) -> Result<()> {
        self.sql("UPDATE object SET inputs = ?2 WHERE iid = ?1")?
            .execute(params![iid, inputs.map(Inputs::to_bytes)])?;
        Ok(())
    }

    /// Adds further identifiers to an object; those that it has already are ignored. Fails without a trace when one belongs to another object.
    pub fn add_keys(&mut self, iid: Iid, keys: &[Key]) -> Result<()> {
        self.claim(iid, &[], keys)
    }

    /// Removes further identifiers of an object. Its internal and its standard id stay.
    pub fn remove_keys(&mut self, iid: Iid, keys: &[Key]) -> Result<()> {
        let mut statement =
            self.sql("DELETE FROM ident WHERE key = ?1 AND iid = ?2 AND extra = 1")?;
        for key in keys {
            if statement.execute(params![key.as_bytes(), iid])? > 0 {
                self.caches.keys.remove(key);
            }
        }
        Ok(())
    }

    /// Moves all further identifiers and the standard id of one object to another, for which they become further identifiers.
    /// Only to be used before `from` is deleted.
    pub fn move_keys(&mut self, from: Iid, to: Iid) -> Result<()> {
        let keys: Vec<Key> = self.keys_of(from)?.into_iter().skip(1).collect();
        let mut statement = self.sql("UPDATE ident SET iid = ?2, extra = 1 WHERE key = ?1")?;
        for key in &keys {
            statement.execute(params![key.as_bytes(), to])?;
            self.caches.keys.remove(key);
        }
        Ok(())
    }

    /// Deletes an object with its identifiers, its references in both directions, its text and what is parked for it.
    /// Fails while relationships end at it.
    pub fn delete(&mut self, iid: Iid) -> Result<()> {
        let code: Option<u16> = self
            .sql("SELECT type FROM object WHERE iid = ?1")?
            .query_row([iid], |row| row.get(0))
            .optional()?;
        let Some(code) = code else {
            return Err(StoreError::NoObject(iid));
        };
        let is_end: bool = self
            .sql("SELECT EXISTS (SELECT 1 FROM object WHERE src = ?1) OR EXISTS (SELECT 1 FROM object WHERE dst = ?1)")?
            .query_row([iid], |row| row.get(0))?;
        if is_end {
            return Err(StoreError::StillReferenced(iid));
        }
        self.object_leaves(code, iid)?;
        // an object may be marked by itself
        self.forget_marking(iid)?;
        let marking_set: i64 = self
            .sql("SELECT marking_set FROM object WHERE iid = ?1")?
            .query_row([iid], |row| row.get(0))?;
        for key in self.keys_of(iid)? {
            self.sql("DELETE FROM ident WHERE key = ?1 AND iid = ?2")?
                .execute(params![key.as_bytes(), iid])?;
            self.caches.keys.remove(&key);
        }
        self.delete_edges(iid)?;
        self.unpark_object(iid)?;
        self.remove_text(iid);
        self.sql("DELETE FROM object WHERE iid = ?1")?
            .execute([iid])?;
        self.count(code, marking_set, -1);
        self.sql("INSERT INTO high_water(name, value) VALUES ('iid', ?1) ON CONFLICT(name) DO UPDATE SET value = max(value, excluded.value)")?
            .execute([iid])?;
        Ok(())
    }

    fn rename(&mut self, iid: Iid, standard: StixId) -> Result<()> {
        let old = self
            .sql("SELECT standard FROM object WHERE iid = ?1")?
            .query_row([iid], |row| row.get(0).map(Key))?;
        let new = standard.key();
        if old == new {
            return Ok(());
        }
        match self.snapshot.resolve_one(&new)? {
            Some(owner) if owner != iid => return Err(taken(&new, owner)),
            _ => {}
        }
        self.sql("DELETE FROM ident WHERE key = ?1")?
            .execute([old.as_bytes()])?;
        self.sql("INSERT INTO ident(key, iid, extra) VALUES (?1, ?2, 0) ON CONFLICT(key) DO UPDATE SET extra = 0")?
            .execute(params![new.as_bytes(), iid])?;
        self.sql("UPDATE object SET standard = ?2 WHERE iid = ?1")?
            .execute(params![iid, new.as_bytes()])?;
        self.caches.keys.remove(&old);
        self.caches.keys.put(new, iid);
        Ok(())
    }

    /// Enters identifiers of an object; on a conflict those already entered are taken back.
    fn claim(&mut self, iid: Iid, own: &[Key], further: &[Key]) -> Result<()> {
        let mut statement = self
            .sql("INSERT INTO ident(key, iid, extra) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
        let all = own
            .iter()
            .map(|key| (key, 0))
            .chain(further.iter().map(|key| (key, 1)));
        let mut entered: Vec<Key> = Vec::new();
        for (key, extra) in all {
            if statement.execute(params![key.as_bytes(), iid, extra])? > 0 {
                entered.push(*key);
                continue;
            }
            match self.snapshot.resolve_one(key)? {
                Some(owner) if owner != iid => {
                    for key in &entered {
                        self.sql("DELETE FROM ident WHERE key = ?1")?
                            .execute([key.as_bytes()])?;
                    }
                    return Err(taken(key, owner));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The name that objects are sorted and found by: the attribute `name`, else `value`, else the main representative.
fn sort_name<'a>(
    attributes: &'a Map<String, Value>,
    representative: &'a str,
) -> Option<Cow<'a, str>> {
    own_name(attributes).or_else(|| name_key(representative))
}

fn own_name(attributes: &Map<String, Value>) -> Option<Cow<'_, str>> {
    let own = |attribute: &str| attributes.get(attribute).and_then(Value::as_str);
    name_key(own("name").or_else(|| own("value"))?)
}

fn taken(key: &Key, owner: Iid) -> StoreError {
    let key = key
        .ident()
        .map_or_else(|| "of a hash".to_owned(), |ident| ident.to_string());
    StoreError::KeyTaken { key, owner }
}
