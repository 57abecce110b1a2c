//! What follows from an element and is asked for with it: an indicator's observables, an observable's indicator, and the relationships between them.
//!
//! It is applied on behalf of who asked, and is not counted as an object of the work. What cannot be derived never fails the element it was asked with.

use ferrocti_model::{Element, Ident, StixId, derive, ids};
use ferrocti_store::Iid;

use super::{
    engine::{Engine, Source, Stop},
    input::Input,
    object::Remarks,
};

/// What is asked for with an element.
#[derive(Debug)]
pub struct Derived {
    asked_by: Element,
}

impl Derived {
    /// What is asked for with `element`; `None` with most.
    #[must_use]
    pub fn of(element: &Element) -> Option<Self> {
        (element.derive || !element.based_on.is_empty()).then(|| Self {
            asked_by: element.clone(),
        })
    }
}

impl Engine<'_, '_> {
    /// Applies what was asked for with an element that has become `owner`.
    ///
    /// # Errors
    /// When an indicator that is added directly cannot be based on what its sender names, or the store fails.
    pub fn derive(
        &mut self,
        owner: Iid,
        derived: &Derived,
        source: &Source,
        remarks: &mut Remarks,
    ) -> Result<(), Stop> {
        let asked_by = &derived.asked_by;
        let owner = self.head(owner)?.standard;
        for observable in &asked_by.based_on {
            if let Some(tie) = derive::based_on(Ident::Stix(owner), *observable, asked_by) {
                match self.element(Input::new(tie), source, None, remarks) {
                    // the indicator of a bundle is stored by now; who adds one directly gets all or nothing
                    Err(Stop::Refused(reason)) if source.connector.is_some() => remarks
                        .notes
                        .push(format!("{owner} is not based on {observable}: {reason}")),
                    other => drop(other?),
                }
            }
        }
        if !asked_by.derive {
            return Ok(());
        }
        if asked_by.kind.name == "Indicator" {
            let observables = derive::observables(asked_by);
            if observables.len() == derive::MOST {
                remarks.notes.push(format!(
                    "of the observables in the pattern of {owner} no more than {} are made",
                    derive::MOST
                ));
            }
            for observable in observables {
                self.derive_one(observable, asked_by, owner, source, remarks)?;
            }
        } else if let Some(indicator) = derive::indicator(asked_by) {
            self.derive_one(indicator, asked_by, owner, source, remarks)?;
        }
        Ok(())
    }

    /// Applies one derived object and its relationship. Refusals are noted.
    fn derive_one(
        &mut self,
        mut element: Element,
        asked_by: &Element,
        owner: StixId,
        source: &Source,
        remarks: &mut Remarks,
    ) -> Result<(), Stop> {
        let kind = element.kind;
        if self.is_known(&element)? {
            // what somebody has written about it says more than the text made here
            let made_here: &[&str] = if kind.name == "Indicator" {
                &["name", "description"]
            } else {
                &["x_opencti_description"]
            };
            for text in made_here {
                element.attributes.shift_remove(*text);
            }
        }
        let mut apply = |element: Element| -> Result<Option<StixId>, Stop> {
            match self.element(Input::new(element), source, None, remarks) {
                Ok(applied) => Ok(Some(self.head(applied.iid())?.standard)),
                Err(Stop::Refused(reason)) => {
                    remarks
                        .notes
                        .push(format!("no {} is made for {owner}: {reason}", kind.name));
                    Ok(None)
                }
                Err(Stop::Waits(missing)) => {
                    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                    let missing = missing.join(", ");
                    remarks.notes.push(format!(
                        "no {} is made for {owner}: {missing} does not exist",
                        kind.name
                    ));
                    Ok(None)
                }
                Err(store) => Err(store),
            }
        };
        let Some(made) = apply(element)? else {
            return Ok(());
        };
        let (indicator, observable) = if kind.name == "Indicator" {
            (made, owner)
        } else {
            (owner, made)
        };
        if let Some(tie) = derive::based_on(indicator.into(), observable.into(), asked_by) {
            apply(tie)?;
        }
        Ok(())
    }

    /// Whether an element is stored already, by its ids and hashes.
    fn is_known(&mut self, element: &Element) -> Result<bool, Stop> {
        let standard = ids::standard_id(element.kind, &element.attributes, &|_| Vec::new());
        let hashes = ids::hash_keys(element.kind, &element.attributes);
        let standard = standard.ok().flatten().map(|id| id.key());
        for key in standard.into_iter().chain(hashes) {
            if self.resolve(key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
