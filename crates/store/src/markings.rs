//! Interned sets of markings, and who may see which.
//!
//! An object carries the set that a reader must be allowed to see: its own markings and, for a relationship, those of its ends, so that one
//! comparison decides. When the markings of an object change, the sets of the relationships at it follow.

use std::{collections::BTreeSet, sync::Arc};

use ferrocti_model::registry::Registry;
use rusqlite::OptionalExtension;

use crate::{
    Iid, Snapshot, StoreError, Tx,
    error::{Result, corrupt},
};

/// Name of the reference from an object to its markings.
const MARKING_REFERENCE: &str = "object-marking";

/// What a reader may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// Everything.
    All,
    /// Objects with one of these sets of markings, sorted.
    Sets(Arc<[i64]>),
}

impl Visibility {
    /// Whether an object with this set may be seen.
    #[must_use]
    pub fn allows(&self, marking_set: i64) -> bool {
        match self {
            Self::All => true,
            Self::Sets(sets) => sets.binary_search(&marking_set).is_ok(),
        }
    }
}

/// The reference code of markings.
pub fn reference_code() -> u16 {
    Registry::get()
        .reference_type(MARKING_REFERENCE)
        .map_or(0, |reference| reference.code)
}

impl Snapshot<'_> {
    /// What somebody may see who is allowed these markings: objects all of whose markings are among them.
    pub fn allowed_sets(&self, markings: &[Iid]) -> Result<Visibility> {
        let allowed: BTreeSet<Iid> = markings.iter().copied().collect();
        let mut statement = self.sql("SELECT id, members FROM marking_set ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut sets = Vec::new();
        while let Some(row) = rows.next()? {
            let members = parse(
                row.get_ref(1)?
                    .as_bytes()
                    .map_err(|error| corrupt("marking set", error))?,
            )?;
            if members.iter().all(|member| allowed.contains(member)) {
                sets.push(row.get(0)?);
            }
        }
        Ok(Visibility::Sets(sets.into()))
    }

    /// The markings of a set.
    pub fn marking_members(&self, marking_set: i64) -> Result<Vec<Iid>> {
        let mut statement = self.sql("SELECT members FROM marking_set WHERE id = ?1")?;
        let mut rows = statement.query([marking_set])?;
        match rows.next()? {
            Some(row) => parse(
                row.get_ref(0)?
                    .as_bytes()
                    .map_err(|error| corrupt("marking set", error))?,
            ),
            None => Err(StoreError::Corrupt(format!(
                "there is no marking set {marking_set}"
            ))),
        }
    }

    /// The set of markings that decides who sees an object: its own, for a relationship also those of its ends. 0 is the empty set.
    pub fn marking_set_of(&self, iid: Iid) -> Result<i64> {
        self.sql("SELECT marking_set FROM object WHERE iid = ?1")?
            .query_row([iid], |row| row.get(0))
            .optional()?
            .ok_or(StoreError::NoObject(iid))
    }
}

impl Tx<'_> {
    /// The set for an object with these markings and ends.
    pub(crate) fn set_for(&mut self, own: Vec<Iid>, ends: Option<(Iid, Iid)>) -> Result<i64> {
        let own = self.intern(own)?;
        let Some((source, target)) = ends else {
            return Ok(own);
        };
        let (source, target) = (self.marking_set_of(source)?, self.marking_set_of(target)?);
        if (source == own || source == 0) && (target == own || target == 0) {
            return Ok(own);
        }
        let mut union = Vec::new();
        for set in [own, source, target] {
            union.extend_from_slice(&self.members_of(set)?);
        }
        self.intern(union)
    }

    /// Recomputes the set of an object after its markings or ends changed, then those of the relationships at it.
    pub(crate) fn refresh_set(&mut self, iid: Iid) -> Result<()> {
        let mut open = vec![iid];
        while let Some(iid) = open.pop() {
            let row = self
                .sql("SELECT type, marking_set, src, dst FROM object WHERE iid = ?1")?
                .query_row([iid], |row| {
                    Ok((
                        row.get::<_, u16>(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, Option<Iid>>(2)?
                            .zip(row.get::<_, Option<Iid>>(3)?),
                    ))
                })
                .optional()?;
            let Some((code, old, ends)) = row else {
                return Err(StoreError::NoObject(iid));
            };
            let own = self
                .targets(&[iid], self.shared.marking_ref)?
                .into_iter()
                .flatten()
                .collect();
            let new = self.set_for(own, ends)?;
            if new == old {
                continue;
            }
            self.sql("UPDATE object SET marking_set = ?2 WHERE iid = ?1")?
                .execute([iid, new])?;
            self.count(code, old, -1);
            self.count(code, new, 1);
            let mut statement = self.sql(
                "SELECT iid FROM object WHERE src = ?1 UNION SELECT iid FROM object WHERE dst = ?1",
            )?;
            for relationship in statement.query_map([iid], |row| row.get(0))? {
                open.push(relationship?);
            }
        }
        Ok(())
    }

    /// Before a marking is deleted: takes it out of every set that is in use.
    pub(crate) fn forget_marking(&mut self, iid: Iid) -> Result<()> {
        let reference = self.shared.marking_ref;
        loop {
            let marked = self.sources_page(iid, reference, 0, 1000)?;
            if marked.is_empty() {
                return Ok(());
            }
            for object in marked {
                self.unlink(object, reference, &[iid])?;
            }
        }
    }

    fn intern(&mut self, mut members: Vec<Iid>) -> Result<i64> {
        if members.is_empty() {
            return Ok(0);
        }
        members.sort_unstable();
        members.dedup();
        if let Some(id) = self.caches.sets.get(&members) {
            return Ok(*id);
        }
        let text =
            serde_json::to_string(&members).map_err(|error| corrupt("marking set", error))?;
        let found = self
            .sql("SELECT id FROM marking_set WHERE members = ?1")?
            .query_row([&text], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                self.sql("INSERT INTO marking_set(members) VALUES (?1)")?
                    .execute([&text])?;
                self.conn.last_insert_rowid()
            }
        };
        self.caches.members.insert(id, members.as_slice().into());
        self.caches.sets.insert(members, id);
        Ok(id)
    }

    fn members_of(&mut self, set: i64) -> Result<Arc<[Iid]>> {
        if let Some(members) = self.caches.members.get(&set) {
            return Ok(Arc::clone(members));
        }
        let members: Arc<[Iid]> = self.marking_members(set)?.into();
        self.caches.members.insert(set, Arc::clone(&members));
        Ok(members)
    }
}

fn parse(text: &[u8]) -> Result<Vec<Iid>> {
    serde_json::from_slice(text).map_err(|error| corrupt("marking set", error))
}
