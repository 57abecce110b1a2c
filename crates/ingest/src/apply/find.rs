//! Finding what an element is already: under its ids, its aliases' ids and its hashes; a relationship also by kind, ends and dates.

use ferrocti_access::Actor;
use ferrocti_model::{
    StixId,
    clock::{Millis, parse_date},
    ids,
    registry::Category,
    stix::date,
};
use ferrocti_store::Iid;
use serde_json::{Map, Value};

use super::{
    engine::{Engine, Links, Stop},
    hashes::Other,
    input::Input,
    refused::RefusedReason,
};

/// Dates of the same relationship lie less than this apart.
const WINDOW: Millis = 30 * 24 * 3600 * 1000;

/// What is stored under the identifiers of an element.
#[derive(Debug, Default)]
pub struct Matches {
    /// The objects that it is, in the order in which its identifiers name them. The first is the one with its standard id, if there is one.
    pub same: Vec<Iid>,
    /// Objects that share an id or hash with it and are something else.
    pub others: Vec<Other>,
}

impl Engine<'_, '_> {
    /// The standard id of an element whose links are resolved. Types with random ids take the id they were given under, if it is free.
    pub fn standard(&mut self, input: &Input, links: &Links) -> Result<StixId, Stop> {
        let rule = match &input.standard {
            Some(rule) => rule.clone(),
            None => {
                let targets = self.standards_of(input.kind(), links)?;
                let of = |name: &str| {
                    targets
                        .iter()
                        .find(|(property, _)| *property == name)
                        .map_or_else(Vec::new, |(_, ids)| ids.clone())
                };
                let fresh = input.fresh.as_ref();
                let attributes = fresh.map_or(&input.element.attributes, |fresh| &fresh.identity);
                ids::standard_id(input.kind(), attributes, &of)
            }
        };
        match rule {
            Ok(Some(standard)) => Ok(standard),
            Ok(None) => match input.element.stix_ids.first() {
                Some(given) if given.type_code == input.kind().stix_code => Ok(*given),
                _ => Ok(StixId {
                    type_code: input.kind().stix_code,
                    uuid: self.tx.new_uuid(),
                }),
            },
            Err(error) => Err(Stop::Refused(error.into())),
        }
    }

    /// The objects that an element is, as far as the actor may see them.
    pub fn matches(
        &mut self,
        input: &Input,
        standard: StixId,
        links: &Links,
        actor: &Actor,
    ) -> Result<Matches, Stop> {
        let mut matches = Matches::default();
        let Matches {
            same: found,
            others,
        } = &mut matches;
        let mut hidden = false;
        for key in std::iter::once(standard.key()).chain(input.keys.iter().copied()) {
            let Some(iid) = self.resolve(key)? else {
                continue;
            };
            let seen = found.contains(&iid) || others.iter().any(|other| other.iid == iid);
            if seen || self.head(iid)?.kind != input.kind() {
                continue;
            }
            if let Some(other) = self.other(iid, input)? {
                others.push(other);
                continue;
            }
            if self.visible(iid, actor)? {
                found.push(iid);
            } else {
                hidden = true;
            }
        }
        if let (true, Some((source, target))) = (found.is_empty(), links.ends) {
            for iid in self.tx.between(source, target, input.kind().code)? {
                if self.same_dates(input, iid)? {
                    if self.visible(iid, actor)? {
                        found.push(iid);
                        break;
                    }
                    hidden = true;
                }
            }
        }
        if found.is_empty() && hidden {
            let relation = links.ends.is_some();
            return Err(Stop::Refused(RefusedReason::Restricted { relation }));
        }
        self.agreeing(input, &mut matches)?;
        Ok(matches)
    }

    /// Whether the dates that a relationship gives are near those of a stored one; those that it does not give are.
    fn same_dates(&mut self, input: &Input, iid: Iid) -> Result<bool, Stop> {
        let names = match input.kind().category {
            Category::Sighting => ["first_seen", "last_seen"],
            _ => ["start_time", "stop_time"],
        };
        let given: Vec<(&str, Millis)> = names
            .into_iter()
            .filter_map(|name| Some((name, known_date(&input.element.attributes, name)?)))
            .collect();
        if given.is_empty() {
            return Ok(true);
        }
        let Some(stored) = self.tx.load_one(iid)? else {
            return Ok(false);
        };
        Ok(given.iter().all(|(name, date)| {
            let stored = stored
                .attributes
                .get(*name)
                .and_then(Value::as_str)
                .and_then(parse_date);
            stored.is_some_and(|stored| (stored - date).abs() < WINDOW)
        }))
    }
}

/// A date that is given and says something.
fn known_date(attributes: &Map<String, Value>, name: &str) -> Option<Millis> {
    parse_date(attributes.get(name)?.as_str()?).filter(|millis| !date::is_unknown(*millis))
}
