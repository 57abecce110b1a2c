//! Roles and capabilities: lists, single ones, and their fields.

use std::sync::Arc;

use ferrocti_access::{CAPABILITIES, CapabilityInfo, capability as known};
use ferrocti_accounts::ids;
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_store::Role;
use serde_json::{Map, Value, json};

use super::graph::MAX_PAGE;
use super::roster::{self, Entry};
use super::users::internal_parents;
use super::{Answer, Node, Resolution};
use crate::fault::Fault;

/// Roles on a page when the client does not say.
const PAGE: usize = 500;

impl Resolution<'_> {
    pub(super) fn role_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "role" => {
                let id = call.text("id").unwrap_or_default();
                let role = self.read(|snapshot| Ok(ids::find_role(snapshot, id)?))?;
                Ok(Resolved::node(role.map(|role| Node::Role(Arc::new(role)))))
            }
            "roles" => {
                let roles = self.read(|snapshot| Ok(snapshot.roles()?))?;
                roster::page(call, entries(roles), &["name", "description"], PAGE)
            }
            _ => {
                let capabilities = (1..).zip(CAPABILITIES).map(|(row, info)| Entry {
                    row,
                    node: node(info),
                    facts: Map::new(),
                });
                roster::page(call, capabilities.collect(), &[], MAX_PAGE)
            }
        }
    }

    /// The roles that a user has through its groups, each once.
    pub(super) fn roles_of_user<'p>(&self, call: &FieldCall<'_>, user: i64) -> Answer<'p> {
        let Resolved::Node(Node::Connection(page)) =
            roster::all(call, entries(self.held_roles(user)?))?
        else {
            return Ok(Resolved::Null);
        };
        Ok(Resolved::nodes(
            page.items.iter().map(|(node, _)| node.clone()),
        ))
    }

    /// Whether a user may change what is protected: one of its roles says so, or it is the first administrator.
    pub(super) fn is_sensitive(&self, user: i64) -> Result<bool, Fault> {
        let first = self.read(|snapshot| Ok(snapshot.user(user)?))?;
        Ok(
            first.is_some_and(|user| user.id == ferrocti_access::Actor::ADMIN_ID)
                || self.held_roles(user)?.iter().any(|role| role.sensitive),
        )
    }

    fn held_roles(&self, user: i64) -> Result<Vec<Role>, Fault> {
        self.read(|snapshot| {
            let mut rows = Vec::new();
            for group in snapshot.groups_of(user)? {
                rows.extend(snapshot.roles_of(group)?);
            }
            rows.sort_unstable();
            rows.dedup();
            let mut roles = Vec::with_capacity(rows.len());
            for row in rows {
                roles.extend(snapshot.role(row)?);
            }
            Ok(roles)
        })
    }

    /// A field of a role.
    pub(super) fn role_field<'p>(&'p self, call: &FieldCall<'_>, role: &'p Role) -> Answer<'p> {
        let capabilities = |names: &[String]| {
            let mut infos: Vec<_> = names
                .iter()
                .filter_map(|name| known::capability(name))
                .collect();
            infos.sort_by_key(|info| info.order);
            Resolved::nodes(infos.into_iter().map(node))
        };
        Ok(match call.name {
            "id" => Resolved::leaf(role.id.to_string()),
            "standard_id" => Resolved::leaf(ids::named_standard_id("role", &role.name)),
            "entity_type" => Resolved::Text("Role"),
            "parent_types" => internal_parents(),
            "name" => Resolved::Text(&role.name),
            "description" => Resolved::from(role.description.as_deref()),
            "capabilities" => capabilities(&role.capabilities),
            "capabilitiesInDraft" => capabilities(&role.draft_capabilities),
            "can_manage_sensitive_config" => Resolved::leaf(role.sensitive),
            "created_at" => Resolved::leaf(format_date(role.created_at)),
            "updated_at" => Resolved::leaf(format_date(role.updated_at)),
            _ => Resolved::Null,
        })
    }
}

/// Roles as entries of a list.
pub(super) fn entries(roles: Vec<Role>) -> Vec<Entry> {
    roles
        .into_iter()
        .map(|role| Entry {
            row: role.row,
            facts: facts(&role),
            node: Node::Role(Arc::new(role)),
        })
        .collect()
}

/// The capability of a name.
pub(super) fn capability(name: &str) -> Option<Node> {
    known::capability(name).map(node)
}

/// A capability as it is shown.
pub(super) fn node(info: &CapabilityInfo) -> Node {
    let standard = ids::named_standard_id("capability", info.name);
    let id = standard.trim_start_matches("capability--").to_owned();
    let data = json!({
        "id": id,
        "standard_id": standard,
        "entity_type": "Capability",
        "parent_types": ["Basic-Object", "Internal-Object"],
        "name": info.name,
        "description": info.description,
        "attribute_order": info.order,
    });
    Node::Data("Capability", data)
}

fn facts(role: &Role) -> Map<String, Value> {
    let facts = json!({
        "id": role.id,
        "standard_id": ids::named_standard_id("role", &role.name),
        "entity_type": "Role",
        "name": role.name,
        "description": role.description,
        "created_at": format_date(role.created_at),
        "updated_at": format_date(role.updated_at),
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}
