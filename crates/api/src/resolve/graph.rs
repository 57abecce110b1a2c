//! What lies around an object: ends, neighbours, containers, relationships, references.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::Registry;
use ferrocti_model::registry::Category;
use ferrocti_store::{Iid, RelationshipQuery, Side, Stored};
use serde_json::Value;

use super::{Answer, Connection, Node, Resolution};
use crate::computed::{Neighbours, Via};
use crate::fault::Fault;

/// Objects on a page below an object when the client does not say.
const NESTED_PAGE: usize = 500;
/// Most objects on any page.
pub(super) const MAX_PAGE: usize = 5000;
/// Relationships of one object that are followed to find its neighbours.
const MAX_RELATIONSHIPS: usize = 10_000;

/// Number of objects that a client wants on a page.
pub(super) fn first(call: &FieldCall<'_>, default: usize) -> Result<usize, Fault> {
    match call.argument("first").and_then(Value::as_i64) {
        None => Ok(default),
        Some(first) => usize::try_from(first)
            .map(|first| first.min(MAX_PAGE))
            .map_err(|_| Fault::functional("\"first\" must not be negative.")),
    }
}

/// Behind which row the page of a client begins; `None`: with the first.
pub(super) fn behind(call: &FieldCall<'_>) -> Result<Option<Iid>, Fault> {
    call.text("after")
        .filter(|after| !after.is_empty())
        .map(after_row)
        .transpose()
}

/// One page of objects in order of creation.
pub(super) fn page<'p>(call: &FieldCall<'_>, objects: Vec<Arc<Stored>>) -> Answer<'p> {
    let first = first(call, NESTED_PAGE)?;
    let all = call
        .argument("all")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let after = behind(call)?;
    let types: Vec<&str> = ["types", "entityTypes"]
        .iter()
        .filter_map(|name| call.argument(name)?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let matching: Vec<Arc<Stored>> = objects
        .into_iter()
        .filter(|stored| types.is_empty() || types.iter().any(|name| stored.kind.is_a(name)))
        .collect();
    let total = matching.len() as u64;
    let mut rest = matching
        .into_iter()
        .filter(|stored| after.is_none_or(|after| stored.iid > after));
    let items: Vec<_> = rest
        .by_ref()
        .take(if all { usize::MAX } else { first })
        .map(|stored| (stored.iid, stored))
        .collect();
    let connection = Connection {
        has_next: rest.next().is_some(),
        has_previous: after.is_some(),
        items: items
            .into_iter()
            .map(|(iid, stored)| (Node::Object(stored), cursor(iid)))
            .collect(),
        total,
    };
    Ok(Resolved::Node(Node::Connection(Arc::new(connection))))
}

/// The cursor behind a row.
pub(super) fn cursor(iid: Iid) -> String {
    BASE64_STANDARD.encode(format!("[{iid}]"))
}

/// The row behind which a page starts.
fn after_row(cursor: &str) -> Result<Iid, Fault> {
    let text = BASE64_STANDARD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.trim_matches(['[', ']']).parse().ok())
        .ok_or_else(|| {
            Fault::functional(
                "\"after\" is not a cursor of this list. Take it from pageInfo.endCursor.",
            )
        })
}

impl Resolution<'_> {
    /// Sources (or targets) of relationships, as far as visible.
    pub(super) fn ends(
        &self,
        objects: &[&Arc<Stored>],
        target: bool,
    ) -> Result<Vec<Option<Arc<Stored>>>, Fault> {
        let iids: Vec<Option<Iid>> = objects
            .iter()
            .map(|stored| {
                stored
                    .ends
                    .map(|(source, to)| if target { to } else { source })
            })
            .collect();
        let known: Vec<Iid> = iids.iter().flatten().copied().collect();
        let mut found = self.objects(&known)?.into_iter();
        Ok(iids
            .into_iter()
            .map(|iid| iid.and_then(|_| found.next().flatten()))
            .collect())
    }

    /// Row numbers of the neighbours of each object, each once.
    pub(super) fn neighbours(
        &self,
        objects: &[&Arc<Stored>],
        neighbours: Neighbours,
    ) -> Result<Vec<Vec<Iid>>, Fault> {
        let iids: Vec<Iid> = objects.iter().map(|stored| stored.iid).collect();
        let registry = Registry::get();
        match neighbours.via {
            Via::Referred(name) | Via::Referring(name) => {
                let Some(reference) = registry.reference(name) else {
                    return Ok(vec![Vec::new(); iids.len()]);
                };
                let forward = matches!(neighbours.via, Via::Referred(_));
                self.read(|snapshot| {
                    Ok(if forward {
                        snapshot.targets(&iids, reference.code)?
                    } else {
                        snapshot.sources(&iids, reference.code)?
                    })
                })
            }
            Via::Targets(name) | Via::Sources(name) => {
                let Some(kind) = registry.by_name(name) else {
                    return Ok(vec![Vec::new(); iids.len()]);
                };
                let outgoing = matches!(neighbours.via, Via::Targets(_));
                let side = if outgoing { Side::Source } else { Side::Target };
                iids.iter()
                    .map(|iid| {
                        let relationships =
                            self.at(*iid, side, &[kind.code], 0, MAX_RELATIONSHIPS)?;
                        let relationships: Vec<_> = self
                            .objects(&relationships)?
                            .into_iter()
                            .flatten()
                            .collect();
                        let ends: BTreeSet<Iid> = relationships
                            .iter()
                            .filter_map(|stored| {
                                stored
                                    .ends
                                    .map(|(source, target)| if outgoing { target } else { source })
                            })
                            .collect();
                        Ok(ends.into_iter().collect())
                    })
                    .collect()
            }
        }
    }

    fn at(
        &self,
        iid: Iid,
        side: Side,
        types: &[u16],
        after: Iid,
        limit: usize,
    ) -> Result<Vec<Iid>, Fault> {
        let query = RelationshipQuery {
            iid,
            side,
            types,
            visible: &self.visible(),
            after,
            limit,
        };
        self.read(|snapshot| Ok(snapshot.relationships_of(&query)?))
    }

    /// The core relationships at an object.
    pub(super) fn relationships<'p>(&self, call: &FieldCall<'_>, stored: &Stored) -> Answer<'p> {
        let registry = Registry::get();
        let names: Vec<&str> = call
            .argument("relationship_type")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let wanted = if names.is_empty() {
            vec!["stix-core-relationship"]
        } else {
            names
        };
        let types: Vec<u16> = wanted
            .iter()
            .flat_map(|name| registry.descendants(name))
            .filter(|kind| kind.category == Category::Relationship)
            .map(|kind| kind.code)
            .collect();
        if types.is_empty() {
            return Ok(Resolved::Node(Node::Connection(Arc::default())));
        }
        let first = first(call, NESTED_PAGE)?;
        let after = behind(call)?;
        let mut iids = self.at(
            stored.iid,
            Side::Both,
            &types,
            after.unwrap_or(0),
            first + 1,
        )?;
        let has_next = iids.len() > first;
        iids.truncate(first);
        let total = if call.selection.selects(&["pageInfo", "globalCount"]) {
            self.at(stored.iid, Side::Both, &types, 0, usize::MAX)?
                .len() as u64
        } else {
            0
        };
        let items = self.objects(&iids)?.into_iter().flatten().map(|stored| {
            let cursor = cursor(stored.iid);
            (Node::Object(stored), cursor)
        });
        let connection = Connection {
            items: items.collect(),
            has_next,
            has_previous: after.is_some(),
            total,
        };
        Ok(Resolved::Node(Node::Connection(Arc::new(connection))))
    }

    /// How many relationships, sightings and containers an object is part of.
    pub(super) fn connected(&self, stored: &Stored) -> Result<u64, Fault> {
        let relationships = self.at(stored.iid, Side::Both, &[], 0, usize::MAX)?.len() as u64;
        let containers = match Registry::get().reference("objects") {
            Some(reference) => self
                .read(|snapshot| Ok(snapshot.sources(&[stored.iid], reference.code)?))?
                .pop()
                .unwrap_or_default(),
            None => Vec::new(),
        };
        Ok(relationships + self.objects(&containers)?.into_iter().flatten().count() as u64)
    }

    /// All references of an object that its reader may see, by reference code.
    pub(super) fn references(&self, iid: Iid) -> Result<BTreeMap<u16, Vec<Arc<Stored>>>, Fault> {
        let edges = self.read(|snapshot| Ok(snapshot.refs_of(&[iid])?))?;
        let targets: Vec<Iid> = edges.iter().map(|edge| edge.target).collect();
        let mut references: BTreeMap<u16, Vec<Arc<Stored>>> = BTreeMap::new();
        for (edge, target) in edges.iter().zip(self.objects(&targets)?) {
            if let Some(target) = target {
                references.entry(edge.reference).or_default().push(target);
            }
        }
        Ok(references)
    }
}
