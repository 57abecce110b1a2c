//! References between objects as relationships of their own: upstream's clients list and read them like these.
//!
//! A reference carries no attributes here. Its id is made of both ends and the type, so that it is stable; its dates are those of the object that refers.

use std::sync::Arc;

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_model::registry::ReferenceType;
use ferrocti_model::representative::representative;
use ferrocti_model::{Key, Registry};
use ferrocti_store::{Iid, Stored};
use serde_json::{Value, json};
use uuid::Uuid;

use super::graph::{behind, cursor, first};
use super::list::texts;
use super::{Answer, Connection, Link, Node, Resolution};
use crate::fault::Fault;

/// References on a page when the client does not say.
const PAGE: usize = 500;
/// What separates the parts of an id.
const PARTS: char = '_';

impl Resolution<'_> {
    pub(super) fn link(&self, call: &FieldCall<'_>) -> Answer<'static> {
        Ok(Resolved::node(
            self.link_of(call.text("id").unwrap_or_default())?
                .map(|link| Node::Reference(Arc::new(link))),
        ))
    }

    /// The reference of an id that this module made.
    pub(super) fn link_of(&self, id: &str) -> Result<Option<Link>, Fault> {
        let mut parts = id.splitn(3, PARTS);
        let (Some(source), Some(target), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let (Ok(source), Ok(target)) = (source.parse::<Uuid>(), target.parse::<Uuid>()) else {
            return Ok(None);
        };
        let Some(reference) = Registry::get().reference_type(name) else {
            return Ok(None);
        };
        let found = self.read(|snapshot| {
            Ok(snapshot.resolve(&[Key::internal(source), Key::internal(target)])?)
        })?;
        let [Some(source), Some(target)] = found[..] else {
            return Ok(None);
        };
        let targets = self.read(|snapshot| Ok(snapshot.targets(&[source], reference.code)?))?;
        if !targets.iter().flatten().any(|iid| *iid == target) {
            return Ok(None);
        }
        let mut ends = self.objects(&[source, target])?;
        let (target, source) = (ends.pop().flatten(), ends.pop().flatten());
        Ok(source.zip(target).map(|(source, target)| Link {
            source,
            reference,
            target,
        }))
    }

    /// A page of the references at an object.
    pub(super) fn links(&self, call: &FieldCall<'_>, nested: bool) -> Answer<'static> {
        let registry = Registry::get();
        let wanted = texts(call, "relationship_type");
        let mut types: Vec<&'static ReferenceType> = Vec::new();
        for reference in registry.reference_types() {
            let known = |name: &str| {
                reference.name == name
                    || reference
                        .definitions
                        .iter()
                        .any(|definition| definition.name == name)
            };
            if wanted.is_empty() {
                // Nested references are those that may carry dates upstream; the others are shown as fields.
                if !nested
                    || reference
                        .definitions
                        .iter()
                        .any(|definition| definition.datable)
                {
                    types.push(reference);
                }
            } else if wanted.iter().any(|name| {
                known(name)
                    || *name == "stix-ref-relationship"
                    || *name == "stix-nested-ref-relationship"
            }) {
                types.push(reference);
            }
        }
        let source = texts(call, "fromId");
        let target = texts(call, "toId");
        let either = texts(call, "fromOrToId");
        let Some(anchor) = source.first().or(target.first()).or(either.first()) else {
            return Err(Fault::unsupported(
                "References are listed at an object: give fromId, toId or fromOrToId.",
            ));
        };
        if call.argument("filters").is_some_and(|filters| {
            filters
                .get("filters")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty())
        }) {
            return Err(Fault::unsupported(
                "References cannot be filtered; use relationship_type, fromTypes and toTypes.",
            ));
        }
        let Some(anchor) = self.find_one(anchor)? else {
            return Ok(Resolved::Node(Node::Connection(Arc::default())));
        };
        let outgoing = !source.is_empty() || !either.is_empty();
        let incoming = source.is_empty();
        let mut pairs: Vec<(Iid, &'static ReferenceType, Iid)> = Vec::new();
        for reference in types {
            if outgoing {
                let targets =
                    self.read(|snapshot| Ok(snapshot.targets(&[anchor.iid], reference.code)?))?;
                pairs.extend(
                    targets
                        .into_iter()
                        .flatten()
                        .map(|target| (anchor.iid, reference, target)),
                );
            }
            if incoming {
                let sources =
                    self.read(|snapshot| Ok(snapshot.sources(&[anchor.iid], reference.code)?))?;
                pairs.extend(
                    sources
                        .into_iter()
                        .flatten()
                        .map(|source| (source, reference, anchor.iid)),
                );
            }
        }
        let mut links = self.load_links(&pairs)?;
        if let (false, Some(target)) = (source.is_empty(), target.first()) {
            let target = self.find_one(target)?.map(|stored| stored.iid);
            links.retain(|link| Some(link.target.iid) == target);
        }
        let of_type = |stored: &Stored, names: &[&str]| {
            names.is_empty() || names.iter().any(|name| stored.kind.is_a(name))
        };
        let (from_types, to_types) = (texts(call, "fromTypes"), texts(call, "toTypes"));
        links.retain(|link| of_type(&link.source, &from_types) && of_type(&link.target, &to_types));
        if call.text("orderMode") == Some("desc") {
            links.reverse();
        }
        page(call, links)
    }

    fn load_links(&self, pairs: &[(Iid, &'static ReferenceType, Iid)]) -> Result<Vec<Link>, Fault> {
        let sources: Vec<Iid> = pairs.iter().map(|pair| pair.0).collect();
        let targets: Vec<Iid> = pairs.iter().map(|pair| pair.2).collect();
        let ends = self
            .objects(&sources)?
            .into_iter()
            .zip(self.objects(&targets)?);
        Ok(pairs
            .iter()
            .zip(ends)
            .filter_map(|((_, reference, _), (source, target))| {
                Some(Link {
                    source: source?,
                    reference,
                    target: target?,
                })
            })
            .collect())
    }

    pub(super) fn link_field<'p>(&'p self, call: &FieldCall<'_>, link: &'p Link) -> Answer<'p> {
        let standard = || {
            let name = format!(
                "{}{}{}",
                link.source.standard, link.reference.name, link.target.standard
            );
            format!(
                "relationship-meta--{}",
                Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
            )
        };
        Ok(match call.name {
            "id" => Resolved::leaf(id(link)),
            "standard_id" => Resolved::leaf(standard()),
            "entity_type" | "relationship_type" => Resolved::Text(&link.reference.name),
            "parent_types" => Resolved::leaf(Value::from(vec![
                "basic-relationship",
                "stix-relationship",
                "stix-ref-relationship",
            ])),
            "from" => Resolved::Node(Node::Object(Arc::clone(&link.source))),
            "to" => Resolved::Node(Node::Object(Arc::clone(&link.target))),
            "fromId" => Resolved::leaf(link.source.internal.to_string()),
            "toId" => Resolved::leaf(link.target.internal.to_string()),
            "fromType" => Resolved::Text(&link.source.kind.name),
            "toType" => Resolved::Text(&link.target.kind.name),
            "fromRole" => Resolved::leaf(format!("{}_from", link.reference.name)),
            "toRole" => Resolved::leaf(format!("{}_to", link.reference.name)),
            "created_at" | "created" => Resolved::leaf(format_date(link.source.created_at)),
            "updated_at" | "modified" | "refreshed_at" => {
                Resolved::leaf(format_date(link.source.updated_at))
            }
            "is_inferred" => Resolved::leaf(false),
            "spec_version" => Resolved::Text("2.1"),
            "representative" => {
                let name = |stored: &Stored| representative(stored.kind, &stored.attributes);
                let main = format!(
                    "{} {} {}",
                    name(&link.source),
                    link.reference.name,
                    name(&link.target)
                );
                Resolved::Node(Node::Data("Representative", json!({ "main": main })))
            }
            _ => Resolved::Null,
        })
    }
}

/// The id under which a reference is read again.
pub(super) fn id(link: &Link) -> String {
    format!(
        "{}{PARTS}{}{PARTS}{}",
        link.source.internal, link.target.internal, link.reference.name
    )
}

fn page<'p>(call: &FieldCall<'_>, links: Vec<Link>) -> Answer<'p> {
    let limit = first(call, PAGE)?;
    let after = behind(call)?;
    let start = after
        .and_then(|after| usize::try_from(after).ok())
        .unwrap_or(0);
    let total = links.len();
    let items: Vec<_> = links
        .into_iter()
        .enumerate()
        .skip(start)
        .take(limit)
        .map(|(index, link)| {
            (
                Node::Reference(Arc::new(link)),
                cursor(i64::try_from(index + 1).unwrap_or(i64::MAX)),
            )
        })
        .collect();
    let connection = Connection {
        has_next: start + items.len() < total,
        has_previous: after.is_some(),
        items,
        total: total as u64,
    };
    Ok(Resolved::Node(Node::Connection(Arc::new(connection))))
}
