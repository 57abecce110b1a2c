//! What an object of a bundle orders: the same as the direct call, with the rights of who sends it.

use ferrocti_model::stix::Order;
use serde_json::{Map, Value};

use super::{EditError, Editor, Subject};
use crate::apply::{
    audit::From,
    engine::{Engine, Source},
};

impl Engine<'_, '_> {
    /// Carries out what an object orders that the decoder has refused as no description of anything.
    ///
    /// # Errors
    /// [`EditError`] when a rule or a right is against it, or the order is none that bundles may give.
    pub fn obey(&mut self, json: &str, source: &Source) -> Result<(), EditError> {
        let object: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
        let order = Order::of(&object)?;
        let mut editor = Editor::new(self, source, From::default());
        let done = match order {
            Some(Order::Delete(id)) => editor.delete(&Subject::any(id)),
            Some(Order::Merge { target, sources }) => {
                editor.merge(&Subject::any(target), &sources).map(drop)
            }
            Some(Order::Other(name)) => Err(EditError::Operation(name)),
            None => Err(EditError::Operation("opencti_upsert_operations".to_owned())),
        };
        editor.finish();
        done
    }
}
