//! Making several objects one.

use ferrocti_model::{
    Ident, ids,
    registry::{Category, EntityType},
};
use ferrocti_store::Iid;
use serde_json::{Map, Value};

use super::{EditError, Editor, Need, Subject};
use crate::apply::facts;

impl Editor<'_, '_, '_> {
    /// Merges objects into one of the same type: it gets their relationships, references, identifiers and names, and what it does not say
    /// itself. They are gone then.
    ///
    /// # Errors
    /// [`EditError`] when a rule or a right is against it for any of them.
    pub fn merge(&mut self, subject: &Subject<'_>, sources: &[Ident]) -> Result<Iid, EditError> {
        let target = self.subject(subject)?;
        let kind = target.kind;
        if !matches!(kind.category, Category::Domain | Category::Observable) {
            return Err(EditError::Merge(
                "only domain objects and observables can be merged",
            ));
        }
        self.may_update(&target, Need::Merge, false)?;
        let mut others = Vec::with_capacity(sources.len());
        for source in sources {
            let other = self.subject(&Subject::any(*source))?;
            if other.kind != kind {
                return Err(EditError::Merge("they are of different types"));
            }
            if other.iid == target.iid {
                return Err(EditError::Merge("an element cannot be merged into itself"));
            }
            self.may_update(&other, Need::Merge, false)?;
            // it is gone afterwards
            self.may_vanish(&other)?;
            others.push(other);
        }
        others.sort_by_key(|other| other.iid);
        others.dedup_by_key(|other| other.iid);
        if others.is_empty() {
            return Err(EditError::Merge("there is nothing to merge"));
        }
        if facts::of(kind).hashed {
            let mut known = vec![&target.attributes];
            for other in &others {
                if contradicts(kind, &known, &other.attributes) {
                    return Err(EditError::Merge("their hashes contradict each other"));
                }
                known.push(&other.attributes);
            }
        }
        for other in &others {
            self.engine.absorb(target.iid, other.iid, self.source)?;
        }
        self.touched.insert(target.iid);
        Ok(target.iid)
    }
}

/// Whether an observable has another value than one of these for a hash that both have.
fn contradicts(
    kind: &EntityType,
    known: &[&Map<String, Value>],
    attributes: &Map<String, Value>,
) -> bool {
    known.iter().any(|known| {
        let common = ids::common_hashes(kind, known, attributes);
        common.iter().any(|hash| !hash.agrees())
    })
}
