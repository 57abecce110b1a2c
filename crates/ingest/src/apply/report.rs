//! What the works hear of a batch, collected and written once at its end.

use std::{collections::BTreeMap, sync::Arc};

use ferrocti_store::{StoreError, Tx};
use serde::Deserialize;

use super::{
    object::{Applied, Outcome},
    withheld::Told,
};
use crate::{
    metrics::Tally,
    partial::Partial,
    works::{self, Failure, Progress},
};

/// Notes of one work that are collected; the store counts further ones, and does not need their text.
const NOTES: usize = works::KEPT_NOTES as usize;

#[derive(Debug, Default)]
struct Collected {
    expected: i64,
    processed: i64,
    failures: Vec<Failure>,
    messages: Vec<String>,
    partial: Vec<Partial>,
    /// How many more there were than `partial` tells.
    untold: i64,
}

/// What is to be written to works, and the figures of the batch.
#[derive(Debug, Default)]
pub struct Reports {
    by_work: BTreeMap<Arc<str>, Collected>,
    /// Objects by what became of them.
    pub tally: Tally,
}

impl Reports {
    /// Objects announced and dealt with.
    pub fn count(&mut self, work: Option<&Arc<str>>, expected: i64, processed: i64) {
        if let Some(work) = work {
            let collected = self.by_work.entry(Arc::clone(work)).or_default();
            collected.expected += expected;
            collected.processed += processed;
        }
    }

    /// One failure.
    pub fn failure(&mut self, work: Option<&str>, failure: Failure) {
        self.tally.refused += 1;
        self.note_failure(work, failure);
    }

    /// One message.
    pub fn note(&mut self, work: Option<&str>, message: String) {
        let Some(collected) = self.collected(work) else {
            return;
        };
        if collected.messages.len() < NOTES {
            collected.messages.push(message);
        }
    }

    /// An object of which a part was not applied. It is put into words only when those are kept.
    pub fn partial(&mut self, work: Option<&str>, told: &Told) {
        self.tally.partial += 1;
        let Some(collected) = self.collected(work) else {
            return;
        };
        if collected.partial.len() < NOTES {
            collected.partial.push(told.partial());
        } else {
            collected.untold += 1;
        }
    }

    /// What became of one object. Objects that wait are counted at the end of the batch.
    pub fn outcome(&mut self, work: Option<&str>, outcome: &Outcome, json: &str) {
        for refused in outcome
            .refused
            .iter()
            .filter(|refused| !refused.reason.is_skip())
        {
            let own = Named::of(json);
            let id = refused.id.as_deref().or(own.id.as_deref());
            let name = refused.name.as_deref().or(own.name());
            self.note_failure(
                work,
                Failure::of_object(id, name, &refused.to_string(), json),
            );
        }
        for note in &outcome.remarks.notes {
            self.note(work, note.clone());
        }
        for told in &outcome.remarks.partial {
            self.partial(work, told);
        }
        if !outcome.waits.is_empty() {
            return;
        }
        let any = |wanted: fn(&Applied) -> bool| outcome.applied.iter().any(wanted);
        let tally = &mut self.tally;
        let slot = if any(|applied| matches!(applied, Applied::Created(_))) {
            &mut tally.created
        } else if any(|applied| matches!(applied, Applied::Updated(_))) {
            &mut tally.updated
        } else if !outcome.applied.is_empty() {
            &mut tally.unchanged
        } else if outcome
            .refused
            .iter()
            .all(|refused| refused.reason.is_skip())
        {
            &mut tally.skipped
        } else {
            &mut tally.refused
        };
        *slot += 1;
    }

    fn note_failure(&mut self, work: Option<&str>, failure: Failure) {
        let Some(collected) = self.collected(work) else {
            return;
        };
        if collected.failures.len() < NOTES {
            collected.failures.push(failure);
        } else {
            collected.failures.push(Failure {
                error: String::new(),
                source: String::new(),
            });
        }
    }

    fn collected(&mut self, work: Option<&str>) -> Option<&mut Collected> {
        let work = work?;
        if !self.by_work.contains_key(work) {
            self.by_work.insert(work.into(), Collected::default());
        }
        self.by_work.get_mut(work)
    }

    /// Writes everything to the works. Those that were deleted meanwhile hear nothing.
    pub fn write(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for (work, collected) in &self.by_work {
            works::record(
                tx,
                work,
                &Progress {
                    expected: collected.expected,
                    processed: collected.processed,
                    failures: &collected.failures,
                    messages: &collected.messages,
                    partial: &collected.partial,
                    untold: collected.untold,
                },
            )?;
        }
        Ok(())
    }
}

/// What names an object in messages.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    id: Option<String>,
    name: Option<String>,
    value: Option<String>,
    relationship_type: Option<String>,
}

impl Named {
    /// From the JSON of an object that was decoded before.
    fn of(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    fn name(&self) -> Option<&str> {
        let name = self
            .name
            .as_deref()
            .or(self.value.as_deref())
            .or(self.relationship_type.as_deref())?;
        Some(
            name.char_indices()
                .nth(200)
                .map_or(name, |(at, _)| &name[..at]),
        )
    }
}
