//! Groups: lists, single ones, and their fields.

use std::sync::Arc;

use ferrocti_accounts::ids;
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::StixId;
use ferrocti_model::clock::format_date;
use ferrocti_store::Group;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::graph::MAX_PAGE;
use super::roster::{self, Entry};
use super::users::{internal_parents, level};
use super::{Answer, Node, Resolution};
use crate::fault::Fault;

/// Groups on a page when the client does not say.
const PAGE: usize = 500;

impl Resolution<'_> {
    pub(super) fn group_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        if call.name == "group" {
            let id = call.text("id").unwrap_or_default();
            let group = self.read(|snapshot| Ok(ids::find_group(snapshot, id)?))?;
            return Ok(Resolved::node(
                group.map(|group| Node::Group(Arc::new(group))),
            ));
        }
        let groups = self.read(|snapshot| Ok(snapshot.groups()?))?;
        let entries = self.group_entries(groups.into_iter().map(Arc::new).collect())?;
        roster::page(call, entries, &["name", "description"], PAGE)
    }

    /// The groups of a user.
    pub(super) fn groups_of(&self, user: i64) -> Result<Vec<Arc<Group>>, Fault> {
        self.read(|snapshot| {
            let mut groups = Vec::new();
            for row in snapshot.groups_of(user)? {
                groups.extend(snapshot.group(row)?.map(Arc::new));
            }
            Ok(groups)
        })
    }

    pub(super) fn group_entries(&self, groups: Vec<Arc<Group>>) -> Result<Vec<Entry>, Fault> {
        Ok(groups
            .into_iter()
            .map(|group| Entry {
                row: group.row,
                facts: facts(&group),
                node: Node::Group(group),
            })
            .collect())
    }

    /// A field of a group.
    pub(super) fn group_field<'p>(&'p self, call: &FieldCall<'_>, group: &'p Group) -> Answer<'p> {
        Ok(match call.name {
            "id" => Resolved::leaf(group.id.to_string()),
            "standard_id" => Resolved::leaf(ids::named_standard_id("group", &group.name)),
            "entity_type" => Resolved::Text("Group"),
            "parent_types" => internal_parents(),
            "name" => Resolved::Text(&group.name),
            "description" => Resolved::from(
                group
                    .profile
                    .get("description")
                    .filter(|value| !value.is_null()),
            ),
            "default_hidden_types" => {
                let types = group
                    .profile
                    .get(call.name)
                    .filter(|value| value.is_array());
                Resolved::leaf(types.cloned().unwrap_or_else(|| json!([])))
            }
            "default_assignation" => Resolved::leaf(group.default_assignation),
            "auto_new_marking" => Resolved::leaf(group.auto_new_marking),
            "no_creators" => Resolved::leaf(group.no_creators),
            "restrict_delete" => Resolved::leaf(group.restrict_delete),
            "group_confidence_level" => {
                level(group.max_confidence, &group.overrides).map_or(Resolved::Null, Resolved::Node)
            }
            "allowed_marking" => {
                let iids = self.read(|snapshot| Ok(snapshot.markings_of_group(group.row)?))?;
                let markings = self.objects(&iids)?;
                Resolved::nodes(markings.into_iter().flatten().map(Node::Object))
            }
            "default_marking" => {
                let known = self.markings_by_internal_id()?;
                let defaults = group.default_markings.iter().map(|default| {
                    let values = default.values.iter();
                    let values: Vec<_> = values.filter_map(|id| find(&known, *id)).collect();
                    self.default_marking(&default.entity_type, &values)
                });
                Resolved::nodes(defaults.collect::<Result<Vec<_>, Fault>>()?)
            }
            "max_shareable_marking" => {
                let known = self.markings_by_internal_id()?;
                let limits = group.max_shareable.iter().filter_map(|limit| limit.value);
                let ids: Vec<StixId> = limits.filter_map(|id| find(&known, id)).collect();
                Resolved::nodes(self.markings(&ids)?)
            }
            "not_shareable_marking_types" => {
                let limits = group.max_shareable.iter();
                let types: Vec<&str> = limits
                    .filter(|limit| limit.value.is_none())
                    .map(|limit| limit.marking_type.as_str())
                    .collect();
                Resolved::leaf(Value::from(types))
            }
            "roles" => {
                let roles = self.read(|snapshot| {
                    let mut roles = Vec::new();
                    for row in snapshot.roles_of(group.row)? {
                        roles.extend(snapshot.role(row)?);
                    }
                    Ok(roles)
                })?;
                roster::all(call, super::roles::entries(roles))?
            }
            "members" => {
                let members = self.read(|snapshot| {
                    let mut members = Vec::new();
                    for row in snapshot.members_of(group.row)? {
                        members.extend(snapshot.user(row)?);
                    }
                    Ok(members)
                })?;
                let entries = self.user_entries(members)?;
                roster::page(call, entries, &["name", "user_email"], MAX_PAGE)?
            }
            "created_at" => Resolved::leaf(format_date(group.created_at)),
            "updated_at" => Resolved::leaf(format_date(group.updated_at)),
            _ => Resolved::Null,
        })
    }

    fn markings_by_internal_id(&self) -> Result<Vec<(Uuid, StixId)>, Fault> {
        let definitions = self.read(|snapshot| Ok(snapshot.marking_definitions()?))?;
        Ok(definitions
            .into_iter()
            .map(|marking| (marking.internal, marking.standard))
            .collect())
    }
}

fn find(known: &[(Uuid, StixId)], id: Uuid) -> Option<StixId> {
    let (_, standard) = known.iter().find(|(internal, _)| *internal == id)?;
    Some(*standard)
}

fn facts(group: &Group) -> Map<String, Value> {
    let facts = json!({
        "id": group.id,
        "internal_id": group.id,
        "standard_id": ids::named_standard_id("group", &group.name),
        "ids": [group.id.to_string(), ids::named_standard_id("group", &group.name)],
        "entity_type": "Group",
        "name": group.name,
        "description": group.profile.get("description"),
        "default_assignation": group.default_assignation,
        "auto_new_marking": group.auto_new_marking,
        "no_creators": group.no_creators,
        "restrict_delete": group.restrict_delete,
        "group_confidence_level": group.max_confidence,
        "created_at": format_date(group.created_at),
        "updated_at": format_date(group.updated_at),
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}
