//! Resolving what an element points to, and checking that it may.

use ferrocti_access::{Action, Actor, may};
use ferrocti_model::{
    Element, Ident, Registry, StixId, list,
    registry::{EntityType, Reference},
};
use ferrocti_store::Iid;

use super::{
    engine::{Engine, Links, Stop},
    facts,
    object::Remarks,
    refused::RefusedReason,
    withheld::{Reason, Withheld},
};

impl Engine<'_, '_> {
    /// Resolves references and ends of an element. What makes up its identity and its rights must exist, or it waits;
    /// what else is missing is listed. What must not be pointed to is left out, with a note; what the actor may not see is withheld.
    pub fn links(
        &mut self,
        element: &Element,
        actor: &Actor,
        remarks: &mut Remarks,
        withheld: &mut Withheld,
    ) -> Result<Links, Stop> {
        let facts = facts::of(element.kind);
        let marking = facts::marking_code();
        let mut links = Links::default();
        let mut waits = Vec::new();
        for (reference, idents) in &element.refs {
            let required =
                reference.code == marking || facts.identifying.contains(&reference.name.as_str());
            let mut targets = Vec::with_capacity(idents.len());
            for ident in idents {
                match self.resolve(ident.key())? {
                    Some(target) => {
                        if !self.may_point(reference, ident, target)? {
                            let found = self.head(target)?.kind.name.clone();
                            // an object never shows with fewer markings than it was given
                            if reference.mandatory || reference.code == marking {
                                return Err(Stop::Refused(RefusedReason::WrongTarget {
                                    reference: reference.name.clone(),
                                    found,
                                }));
                            }
                            remarks.notes.push(format!("\"{}\" leaves out {ident}: it must not point to an object of type {found}", reference.stix));
                        } else if self.visible(target, actor)? {
                            targets.push(target);
                        } else if facts.identifying.contains(&reference.name.as_str()) {
                            // without it the element would be taken for another
                            return Err(Stop::Refused(RefusedReason::HiddenReference(
                                ident.to_string(),
                            )));
                        } else {
                            withheld.reference(&reference.name, Reason::Hidden(*ident));
                        }
                    }
                    None if is_user(reference) => {
                        remarks.notes.push(format!(
                            "\"{}\" leaves out {ident}: users cannot be assigned in this release",
                            reference.name
                        ));
                    }
                    None if required => waits.push(*ident),
                    None if let Some(reason) = remarks.left_out(&ident.key()) => {
                        withheld.reference(&reference.name, reason.clone());
                    }
                    None => links.missing.push((*reference, *ident)),
                }
            }
            targets = list::unique(&targets);
            if reference.code == marking {
                targets = self.own_markings(&targets, actor)?;
            }
            if !reference.multiple {
                targets.truncate(1);
            }
            links.refs.push((*reference, targets));
        }
        if let Some((source, target)) = element.ends {
            match (self.end(source, actor)?, self.end(target, actor)?) {
                (Some(from), Some(to)) => {
                    self.check_relationship(element.kind, from, to)?;
                    links.ends = Some((from, to));
                }
                (from, to) => {
                    waits.extend(from.is_none().then_some(source));
                    waits.extend(to.is_none().then_some(target));
                }
            }
        }
        if waits.is_empty() {
            Ok(links)
        } else {
            Err(Stop::Waits(waits))
        }
    }

    /// An end, if it exists. What the actor may not see is refused: waiting for it would never end.
    fn end(&mut self, ident: Ident, actor: &Actor) -> Result<Option<Iid>, Stop> {
        match self.resolve(ident.key())? {
            Some(iid) if self.visible(iid, actor)? => Ok(Some(iid)),
            Some(_) => Err(Stop::Refused(RefusedReason::HiddenReference(
                ident.to_string(),
            ))),
            None => Ok(None),
        }
    }

    /// The strictest of these markings, all of which the actor must be allowed to use.
    fn own_markings(&mut self, targets: &[Iid], actor: &Actor) -> Result<Vec<Iid>, Stop> {
        let mut markings = Vec::with_capacity(targets.len());
        for target in targets {
            markings.push(self.marking(*target)?.standard);
        }
        let markings = &markings;
        may(actor, Action::Mark { markings }).map_err(RefusedReason::from)?;
        Ok(self.combine_markings(&[], targets)?.add)
    }

    /// Whether a reference may point to a row. The STIX type within the identifier mostly tells, without looking at the row.
    pub fn may_point(
        &mut self,
        reference: &'static Reference,
        ident: &Ident,
        target: Iid,
    ) -> Result<bool, Stop> {
        if let Ident::Stix(id) = ident
            && let Some(known) = self.accepted(reference, id.type_code)
        {
            return Ok(known);
        }
        Ok(accepts(reference, self.head(target)?.kind))
    }

    fn check_relationship(
        &mut self,
        kind: &EntityType,
        source: Iid,
        target: Iid,
    ) -> Result<(), Stop> {
        let (from, to) = (self.head(source)?, self.head(target)?);
        if source == target {
            return Err(Stop::Refused(RefusedReason::SelfReference(
                from.standard.to_string(),
            )));
        }
        if Registry::get().relationship_allowed(kind, from.kind, to.kind) {
            return Ok(());
        }
        Err(Stop::Refused(RefusedReason::RelationshipNotAllowed {
            relationship: kind.name.clone(),
            source_type: from.kind.name.clone(),
            target_type: to.kind.name.clone(),
        }))
    }

    /// The standard ids of what goes into the id of an element: identifying references and ends, by property.
    pub fn standards_of(
        &mut self,
        kind: &EntityType,
        links: &Links,
    ) -> Result<Vec<(&'static str, Vec<StixId>)>, Stop> {
        let mut found = Vec::new();
        for (reference, targets) in &links.refs {
            if !facts::of(kind)
                .identifying
                .contains(&reference.name.as_str())
            {
                continue;
            }
            let mut ids = Vec::with_capacity(targets.len());
            for target in targets {
                ids.push(self.head(*target)?.standard);
            }
            found.push((reference.name.as_str(), ids));
        }
        if let Some((source, target)) = links.ends {
            found.push(("from", vec![self.head(source)?.standard]));
            found.push(("to", vec![self.head(target)?.standard]));
        }
        Ok(found)
    }
}

/// Whether a reference may point to objects of a type.
#[must_use]
pub fn accepts(reference: &Reference, kind: &EntityType) -> bool {
    reference.targets.is_empty() || reference.targets.iter().any(|target| kind.is_a(target))
}

/// Whether a reference points to users of the platform, which are not objects.
fn is_user(reference: &Reference) -> bool {
    !reference.targets.is_empty() && reference.targets.iter().all(|target| target == "User")
}
