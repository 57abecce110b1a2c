//! Reading: one object by any of its ids, pages of objects, membership in containers, STIX.

use std::sync::Arc;

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::{format_date, parse_date};
use ferrocti_model::filter::{AttributeKey, Expression, Operand, Side, Test};
use ferrocti_model::registry::{Category, Kind, Reference};
use ferrocti_model::stix::{RefTarget, StixView, encode, is_written_within};
use ferrocti_model::{EntityType, Ident, Registry, StixId};
use ferrocti_store::{Cursor, ObjectQuery, OrderKey, Stored};
use serde_json::Value;

use super::graph::first;
use super::{Answer, Connection, Node, Resolution};
use crate::fault::Fault;
use crate::filter::{and, expression};
use crate::roots::{Ends, Scope};
use crate::sdl::sortable;

/// Objects on a page when the client does not say.
const PAGE: usize = 500;

impl Resolution<'_> {
    /// The object of an identifier, if there is one that the caller may see. Text of another form names nothing.
    pub(super) fn find_one(&self, id: &str) -> Result<Option<Arc<Stored>>, Fault> {
        let Ok(ident) = Ident::parse(id.trim()) else {
            return Ok(None);
        };
        match self.read(|snapshot| Ok(snapshot.resolve_one(&ident.key())?))? {
            Some(iid) => self.object(iid),
            None => Ok(None),
        }
    }

    pub(super) fn one(&self, scope: &Scope, call: &FieldCall<'_>) -> Answer<'static> {
        let Some(id) = call.text("id") else {
            return Err(Fault::functional(format!("{} needs an id.", call.name)));
        };
        let found = self
            .find_one(id)?
            .filter(|stored| scope.types.contains(&stored.kind));
        if found.is_none()
            && scope.output == "StixObjectOrStixRelationship"
            && let Some(link) = self.link_of(id)?
        {
            return Ok(Resolved::Node(Node::Reference(Arc::new(link))));
        }
        Ok(Resolved::node(found.map(Node::Object)))
    }

    pub(super) fn list(&self, scope: &Scope, call: &FieldCall<'_>) -> Answer<'static> {
        let types = narrowed(scope, call)?;
        let limit = first(call, PAGE)?;
        if types.is_empty() {
            return Ok(Resolved::Node(Node::Connection(Arc::default())));
        }
        let search = call
            .text("search")
            .map(str::trim)
            .filter(|search| !search.is_empty())
            .map(str::to_owned);
        let after = call
            .text("after")
            .filter(|after| !after.is_empty())
            .map(Cursor::new);
        let order = order(call, &types);
        let with_total = call.selection.selects(&["pageInfo", "globalCount"]);
        let mut condition = expression(
            call.argument("filters"),
            self.actor()?,
            self.state.services().clock.now(),
        )?;
        if scope.ends != Ends::None {
            condition = and(condition, about_ends(scope.ends, call));
        }
        if condition == Expression::Never {
            return Ok(Resolved::Node(Node::Connection(Arc::default())));
        }
        let query = ObjectQuery {
            types: types.iter().map(|kind| kind.code).collect(),
            visible: self.visible(),
            condition,
            search,
            order,
            first: limit,
            after,
            with_total,
        };
        let page = self.read(|snapshot| Ok(snapshot.find(&query)?))?;
        let objects = self.objects(&page.iids)?;
        let items = objects
            .into_iter()
            .zip(page.cursors)
            .filter_map(|(stored, cursor)| Some((Node::Object(stored?), cursor.to_string())))
            .collect();
        let connection = Connection {
            items,
            has_next: page.has_next,
            has_previous: query.after.is_some(),
            total: page.total.unwrap_or(0),
        };
        Ok(Resolved::Node(Node::Connection(Arc::new(connection))))
    }

    pub(super) fn contains(&self, kind: &EntityType, call: &FieldCall<'_>) -> Answer<'static> {
        let container = self
            .find_one(call.text("id").unwrap_or_default())?
            .filter(|stored| stored.kind == kind);
        let object = self.find_one(
            call.text("stixObjectOrStixRelationshipId")
                .unwrap_or_default(),
        )?;
        let (Some(container), Some(object), Some(objects)) =
            (container, object, Registry::get().reference("objects"))
        else {
            return Ok(Resolved::leaf(false));
        };
        let contained =
            self.read(|snapshot| Ok(snapshot.targets(&[container.iid], objects.code)?))?;
        Ok(Resolved::leaf(
            contained.iter().flatten().any(|iid| *iid == object.iid),
        ))
    }

    pub(super) fn stix(&self, call: &FieldCall<'_>) -> Answer<'static> {
        Ok(match self.find_one(call.text("id").unwrap_or_default())? {
            Some(stored) => Resolved::leaf(self.to_stix(&stored)?),
            None => Resolved::Null,
        })
    }

    /// The object as STIX 2.1 text. What it refers to and the reader may not see is left out.
    pub(super) fn to_stix(&self, stored: &Arc<Stored>) -> Result<String, Fault> {
        let references = self.references(stored.iid)?;
        let ends = match stored.ends {
            Some((source, target)) => {
                let mut ends = self.objects(&[source, target])?.into_iter().flatten();
                ends.next().zip(ends.next())
            }
            None => None,
        };
        let ids = self.read(|snapshot| Ok(snapshot.keys_of(stored.iid)?))?;
        let given = stored
            .attributes
            .get("x_opencti_stix_ids")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let stix_ids: Vec<StixId> = given
            .filter_map(|id| StixId::parse(id.as_str()?).ok())
            .filter(|id| ids.contains(&id.key()))
            .collect();
        let mut refs: Vec<(&Reference, Vec<RefTarget<'_>>)> = Vec::new();
        for reference in &stored.kind.refs {
            let Some(found) = references.get(&reference.code) else {
                continue;
            };
            let mut targets: Vec<RefTarget<'_>> = found.iter().map(target).collect();
            if is_written_within(reference) {
                for (part, written) in found.iter().zip(&mut targets) {
                    written.refs = self.single_refs(part)?;
                }
            }
            refs.push((reference, targets));
        }
        let (created_at, updated_at) = (
            format_date(stored.created_at),
            format_date(stored.updated_at),
        );
        let view = StixView {
            kind: stored.kind,
            standard: stored.standard,
            internal: stored.internal,
            created_at: &created_at,
            updated_at: &updated_at,
            attributes: &stored.attributes,
            stix_ids: &stix_ids,
            refs,
            ends: ends
                .as_ref()
                .map(|(source, to)| (target(source), target(to))),
        };
        Ok(encode(&view).to_string())
    }

    /// What a part of an object refers to itself by references with one target, as far as the reader may see it.
    fn single_refs(&self, part: &Stored) -> Result<Vec<(&'static Reference, StixId)>, Fault> {
        let references = self.references(part.iid)?;
        let single = part
            .kind
            .refs
            .iter()
            .filter(|reference| !reference.multiple);
        Ok(single
            .filter_map(|reference| {
                let found = references.get(&reference.code)?.first()?;
                Some((reference, found.standard))
            })
            .collect())
    }
}

fn target(stored: &Arc<Stored>) -> RefTarget<'_> {
    RefTarget {
        kind: Some(stored.kind),
        standard: Some(stored.standard),
        internal: stored.internal,
        attributes: &stored.attributes,
        refs: Vec::new(),
    }
}

/// The types of a list after `types` or `relationship_type`; an unknown name is refused.
fn narrowed(scope: &Scope, call: &FieldCall<'_>) -> Result<Vec<&'static EntityType>, Fault> {
    let mut types = scope.types.clone();
    for argument in ["types", "relationship_type"] {
        let names = texts(call, argument);
        if names.is_empty() {
            continue;
        }
        let registry = Registry::get();
        let mut wanted = Vec::new();
        for name in names {
            let found = registry.descendants(name);
            if found.is_empty() {
                return Err(Fault::functional(format!("There is no type \"{name}\".")));
            }
            wanted.extend_from_slice(found);
        }
        types.retain(|kind| wanted.contains(kind));
    }
    Ok(types)
}

/// The texts of an argument that is a text or a list of texts; empty ones do not count.
pub(super) fn texts<'a>(call: &FieldCall<'a>, argument: &str) -> Vec<&'a str> {
    match call.argument(argument) {
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
    .into_iter()
    .filter(|text| !text.trim().is_empty())
    .collect()
}

/// The order that a client asks for; a key that is no sortable value of the types leaves the order of creation.
fn order(call: &FieldCall<'_>, types: &[&'static EntityType]) -> Vec<(OrderKey, bool)> {
    let Some(key) = call.text("orderBy") else {
        return Vec::new();
    };
    let descending = call.text("orderMode") == Some("desc");
    let key = match key {
        "created_at" => OrderKey::Created,
        "updated_at" => OrderKey::Updated,
        "confidence" => OrderKey::Confidence,
        "entity_type" | "relationship_type" => OrderKey::Type,
        // Relevance falls by itself.
        "_score" => return vec![(OrderKey::Relevance, false)],
        "observable_value" | "toObservableValue" => OrderKey::Name,
        name => {
            let attribute = types
                .iter()
                .find_map(|kind| kind.attribute(name))
                .filter(|attribute| sortable(attribute.kind));
            let Some(attribute) = attribute else {
                return Vec::new();
            };
            let by_name = name == "name"
                && types
                    .iter()
                    .all(|kind| kind.category == Category::Domain && kind.name != "Attack-Pattern");
            if by_name {
                OrderKey::Name
            } else {
                OrderKey::Attribute(AttributeKey {
                    name: attribute.name.clone(),
                    inner: None,
                    kind: attribute.kind,
                    multiple: attribute.multiple,
                })
            }
        }
    };
    vec![(key, descending)]
}

/// What the arguments about ends, dates and confidences ask of relationships.
fn about_ends(ends: Ends, call: &FieldCall<'_>) -> Expression {
    let mut all = Vec::new();
    for (argument, side) in [
        ("fromId", Side::Source),
        ("toId", Side::Target),
        ("fromOrToId", Side::Both),
    ] {
        let ids = texts(call, argument);
        if !ids.is_empty() {
            let known: Vec<Ident> = ids
                .iter()
                .filter_map(|id| Ident::parse(id.trim()).ok())
                .collect();
            // What is no identifier names nothing, so that nothing is found.
            all.push(if known.is_empty() {
                Expression::Never
            } else {
                Expression::Ends(side, known)
            });
        }
    }
    for (argument, side) in [
        ("fromTypes", Side::Source),
        ("toTypes", Side::Target),
        ("elementWithTargetTypes", Side::Both),
    ] {
        let names = texts(call, argument);
        if !names.is_empty() {
            let codes = names
                .iter()
                .flat_map(|name| Registry::get().descendants(name))
                .map(|kind| kind.code)
                .collect();
            all.push(Expression::EndTypes(side, codes));
        }
    }
    let (first, last) = if ends == Ends::Sighting {
        ("first_seen", "last_seen")
    } else {
        ("start_time", "stop_time")
    };
    for (argument, attribute, from) in [
        ("startTimeStart", first, true),
        ("firstSeenStart", first, true),
        ("startTimeStop", first, false),
        ("firstSeenStop", first, false),
        ("stopTimeStart", last, true),
        ("lastSeenStart", last, true),
        ("stopTimeStop", last, false),
        ("lastSeenStop", last, false),
    ] {
        if let Some(date) = call.text(argument).and_then(parse_date).map(Operand::Date) {
            let test = if from {
                Test::AtLeast(date)
            } else {
                Test::AtMost(date)
            };
            all.push(Expression::Value(
                attribute_key(attribute, Kind::Date),
                test,
            ));
        }
    }
    if let Some(confidences) = call
        .argument("confidences")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
    {
        let any = confidences
            .iter()
            .filter_map(Value::as_f64)
            .map(|confidence| {
                Expression::Value(
                    attribute_key("confidence", Kind::Int),
                    Test::Equals(Operand::Number(confidence)),
                )
            });
        all.push(Expression::Or(any.collect()));
    }
    if all.is_empty() {
        Expression::Always
    } else {
        Expression::And(all)
    }
}

fn attribute_key(name: &str, kind: Kind) -> AttributeKey {
    AttributeKey {
        name: name.to_owned(),
        inner: None,
        kind,
        multiple: false,
    }
}
