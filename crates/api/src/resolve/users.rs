//! Users: lists, single ones, the one that speaks, and what is told of each to whom.

use std::sync::Arc;

use ferrocti_access::{LevelSource, Rights, names};
use ferrocti_accounts::ids;
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::StixId;
use ferrocti_model::clock::{Millis, format_date};
use ferrocti_store::{Stored, Token, User};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::graph::{MAX_PAGE, page};
use super::record::{Record, Shown, value};
use super::roster::{self, Entry};
use super::{Answer, Node, Resolution};
use crate::fault::Fault;

/// Users on a page when the client does not say.
const PAGE: usize = 500;
/// What a search looks at.
const SEARCHED: [&str; 4] = ["name", "user_email", "firstname", "lastname"];
/// What is told of a user only to itself and to those who manage accesses.
const PRIVATE: [&str; 14] = [
    "roles",
    "capabilities",
    "capabilitiesInDraft",
    "groups",
    "objectOrganization",
    "objectAssignedOrganization",
    "sessions",
    "account_status",
    "account_lock_after_date",
    "user_confidence_level",
    "effective_confidence_level",
    "no_creators",
    "restrict_delete",
    "external",
];
/// Members of the profile that are shown as they are.
const PROFILE: [&str; 9] = [
    "firstname",
    "lastname",
    "description",
    "language",
    "theme",
    "unit_system",
    "default_time_field",
    "unsubscribed_news_feed_types",
    "individual_id",
];

impl Resolution<'_> {
    pub(super) fn user_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "me" => {
                let row = self.actor()?.user_row;
                let user = self
                    .read(|snapshot| Ok(snapshot.user(row)?))?
                    .ok_or_else(Fault::login_required)?;
                Ok(Resolved::Node(Node::User(Arc::new(user))))
            }
            "user" => {
                let id = call.text("id").unwrap_or_default();
                let user = self.read(|snapshot| Ok(ids::find_user(snapshot, id)?))?;
                Ok(Resolved::node(
                    user.filter(|user| !is_platform(user))
                        .map(|user| Node::User(Arc::new(user))),
                ))
            }
            "users" => {
                let users = self.read(|snapshot| Ok(snapshot.users()?))?;
                roster::page(call, self.user_entries(users)?, &SEARCHED, PAGE)
            }
            "members" => self.members(call),
            _ => self.all_creators(),
        }
    }

    /// Users as entries of a list; the platform's own user is none.
    pub(super) fn user_entries(&self, users: Vec<User>) -> Result<Vec<Entry>, Fault> {
        users
            .into_iter()
            .filter(|user| !is_platform(user))
            .map(|user| {
                let groups: Vec<Uuid> = self
                    .groups_of(user.row)?
                    .iter()
                    .map(|group| group.id)
                    .collect();
                Ok(Entry {
                    row: user.row,
                    facts: facts(&user, &groups),
                    node: Node::User(Arc::new(user)),
                })
            })
            .collect()
    }

    /// Users by public id, in order; those that are gone are left out.
    pub(super) fn users(&self, ids: &[Uuid]) -> Result<Vec<Arc<User>>, Fault> {
        let mut users = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(user) = self.read(|snapshot| Ok(snapshot.user_by_id(*id)?))? {
                users.push(Arc::new(user));
            }
        }
        Ok(users)
    }

    /// Whether the caller may know what is nobody else's business about a user.
    fn may_know(&self, user: &User) -> Result<bool, Fault> {
        let actor = self.actor()?;
        Ok(actor.user_row == user.row || actor.capabilities.holds(names::SET_ACCESSES))
    }

    /// A field of a user.
    pub(super) fn user_field<'p>(&'p self, call: &FieldCall<'_>, user: &'p User) -> Answer<'p> {
        if PRIVATE.contains(&call.name) && !self.may_know(user)? {
            return Err(Fault::forbidden(names::SET_ACCESSES));
        }
        if PROFILE.contains(&call.name) {
            let set = user.profile.get(call.name).filter(|value| !value.is_null());
            return Ok(match (set, call.name) {
                (Some(set), _) => Resolved::Ref(set),
                (None, "language" | "unit_system") => Resolved::Text("auto"),
                (None, "theme") => Resolved::Text("default"),
                (None, _) => Resolved::Null,
            });
        }
        Ok(match call.name {
            "id" => Resolved::leaf(user.id.to_string()),
            "name" => Resolved::Text(&user.name),
            "entity_type" => Resolved::Text("User"),
            "user_email" => Resolved::Text(&user.email),
            "standard_id" => Resolved::leaf(ids::user_standard_id(&user.email)),
            "parent_types" => internal_parents(),
            "representative" => representative(&user.name),
            "created_at" => Resolved::leaf(format_date(user.created_at)),
            "updated_at" => Resolved::leaf(format_date(user.updated_at)),
            "external" => Resolved::leaf(user.external),
            "user_service_account" => Resolved::leaf(user.service_account),
            "otp_activated" | "otp_mandatory" => Resolved::leaf(false),
            "submenu_show_icons" | "submenu_auto_collapse" | "monochrome_labels" => {
                let set = user.profile.get(call.name).and_then(Value::as_bool);
                Resolved::leaf(set.unwrap_or(false))
            }
            "default_hidden_types" => {
                let types = user.profile.get(call.name).filter(|value| value.is_array());
                Resolved::leaf(types.cloned().unwrap_or_else(|| json!([])))
            }
            "account_status" => Resolved::Text(user.status.name()),
            "account_lock_after_date" => date(user.expires_at),
            "api_tokens" => self.tokens(user)?,
            "sessions" => self.sessions_of(user.row)?,
            "administrated_organizations" | "capabilitiesInDraft" => Resolved::List(Vec::new()),
            "groups" => roster::all(call, self.group_entries(self.groups_of(user.row)?)?)?,
            "roles" => self.roles_of_user(call, user.row)?,
            "objectOrganization" if call.parent_type == "MeUser" => self.own_organizations(user)?,
            "objectOrganization" | "objectAssignedOrganization" => {
                page(call, self.organizations_of(user.row)?)?
            }
            "user_confidence_level" => {
                level(user.max_confidence, &user.overrides).map_or(Resolved::Null, Resolved::Node)
            }
            _ => self.rights_field(call, user)?,
        })
    }

    /// The organizations of the user that speaks, by id and name only.
    fn own_organizations<'p>(&self, user: &User) -> Answer<'p> {
        let organizations = self.organizations_of(user.row)?.into_iter().map(|stored| {
            let name = stored.attributes.get("name").cloned();
            let data = json!({ "id": stored.internal, "name": name });
            let cursor = super::graph::cursor(stored.iid);
            (Node::Data("MeOrganization", data), cursor)
        });
        Ok(one_page(organizations.collect()))
    }

    /// A field that follows from groups and roles.
    fn rights_field<'p>(&self, call: &FieldCall<'_>, user: &User) -> Answer<'p> {
        let rights =
            self.read(|snapshot| Ok(ferrocti_accounts::rights_of_any(snapshot, user.row)?))?;
        let Some(rights) = rights else {
            return Ok(Resolved::Null);
        };
        Ok(match call.name {
            "capabilities" => Resolved::nodes(
                rights
                    .actor
                    .capabilities
                    .iter()
                    .filter_map(super::roles::capability),
            ),
            "no_creators" => Resolved::leaf(rights.actor.no_creators),
            "restrict_delete" => Resolved::leaf(rights.actor.restrict_delete),
            "can_manage_sensitive_config" => Resolved::leaf(self.is_sensitive(user.row)?),
            "effective_confidence_level" => self.effective_level(user, &rights)?,
            "allowed_marking" => {
                let ids: Vec<StixId> = rights.markings.iter().map(|grant| grant.marking).collect();
                Resolved::nodes(self.markings(&ids)?)
            }
            "max_shareable_marking" => Resolved::nodes(self.markings(&rights.shareable)?),
            "default_marking" => {
                let defaults = rights.default_markings.iter();
                let defaults =
                    defaults.map(|(entity_type, values)| self.default_marking(entity_type, values));
                Resolved::nodes(defaults.collect::<Result<Vec<_>, Fault>>()?)
            }
            _ => Resolved::Null,
        })
    }

    /// Markings by standard id, as far as they exist.
    pub(super) fn markings(&self, ids: &[StixId]) -> Result<Vec<Node>, Fault> {
        let keys: Vec<_> = ids.iter().map(StixId::key).collect();
        let iids: Vec<_> = self
            .read(|snapshot| Ok(snapshot.resolve(&keys)?))?
            .into_iter()
            .flatten()
            .collect();
        let markings = self.objects(&iids)?;
        Ok(markings.into_iter().flatten().map(Node::Object).collect())
    }

    /// Default markings for a type.
    pub(super) fn default_marking(
        &self,
        entity_type: &str,
        values: &[StixId],
    ) -> Result<Node, Fault> {
        Ok(Record::node(vec![
            ("entity_type", value(entity_type)),
            ("values", Shown::Nodes(self.markings(values)?)),
        ]))
    }

    fn organizations_of(&self, user: i64) -> Result<Vec<Arc<Stored>>, Fault> {
        let iids = self.read(|snapshot| Ok(snapshot.organizations_of(user)?))?;
        Ok(self.objects(&iids)?.into_iter().flatten().collect())
    }

    fn effective_level<'p>(&self, user: &User, rights: &Rights) -> Answer<'p> {
        let Some(level) = &rights.level else {
            return Ok(Resolved::Null);
        };
        let overrides = level
            .overrides
            .iter()
            .map(|(entity_type, (max, source))| {
                Ok(Record::node(vec![
                    ("entity_type", value(entity_type.as_str())),
                    ("max_confidence", value(*max)),
                    (
                        "source",
                        Shown::Node(Some(self.level_source(user, source)?)),
                    ),
                ]))
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        let source = self.level_source(user, &level.source)?;
        Ok(Resolved::Node(Record::node(vec![
            ("max_confidence", value(level.max)),
            ("overrides", Shown::Nodes(overrides)),
            ("source", Shown::Node(Some(source))),
        ])))
    }

    fn level_source(&self, user: &User, source: &LevelSource) -> Result<Node, Fault> {
        let (kind, object) = match source {
            LevelSource::Bypass => ("Bypass", None),
            LevelSource::User => ("User", Some(Node::User(Arc::new(user.clone())))),
            LevelSource::Group(group) => {
                let group = self.read(|snapshot| Ok(snapshot.group_by_id(group.id)?))?;
                ("Group", group.map(|group| Node::Group(Arc::new(group))))
            }
        };
        Ok(Record::node(vec![
            ("type", value(kind)),
            ("object", Shown::Node(object)),
        ]))
    }

    /// The tokens of a user, without the secrets. Nothing for those who may not know: clients ask for it beside what they may see.
    fn tokens<'p>(&self, user: &User) -> Answer<'p> {
        if !self.may_know(user)? {
            return Ok(Resolved::Null);
        }
        let tokens = self.read(|snapshot| Ok(snapshot.tokens_of(user.row)?))?;
        Ok(Resolved::nodes(
            tokens
                .iter()
                .map(|token| Node::Data("ApiToken", token_data(token))),
        ))
    }

    /// Names of users, groups and organizations.
    fn members(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let wanted = super::list::texts(call, "entityTypes");
        let is_wanted = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
        let member = |kind: &str, id: Uuid, name: &str| {
            let data = json!({ "id": id, "entity_type": kind, "name": name });
            let facts = match &data {
                Value::Object(facts) => facts.clone(),
                _ => Map::new(),
            };
            (Node::Data("Member", data), facts)
        };
        let mut found = Vec::new();
        if is_wanted("User") {
            let users = self.read(|snapshot| Ok(snapshot.users()?))?;
            let users = users.iter().filter(|user| !is_platform(user));
            found.extend(users.map(|user| member("User", user.id, &user.name)));
        }
        if is_wanted("Group") {
            let groups = self.read(|snapshot| Ok(snapshot.groups()?))?;
            found.extend(
                groups
                    .iter()
                    .map(|group| member("Group", group.id, &group.name)),
            );
        }
        if is_wanted("Organization") {
            for stored in self.organizations()? {
                let name = stored.attributes.get("name").and_then(Value::as_str);
                found.push(member(
                    "Organization",
                    stored.internal,
                    name.unwrap_or_default(),
                ));
            }
        }
        let entries = (1..)
            .zip(found)
            .map(|(row, (node, facts))| Entry { row, node, facts })
            .collect();
        roster::page(call, entries, &["name"], MAX_PAGE)
    }

    /// The organizations that the caller may see.
    fn organizations(&self) -> Result<Vec<Arc<Stored>>, Fault> {
        let kind = ferrocti_model::Registry::get()
            .by_name("Organization")
            .map(|kind| kind.code);
        let query = ferrocti_store::ObjectQuery {
            types: kind.into_iter().collect(),
            visible: self.visible(),
            condition: ferrocti_model::filter::Expression::Always,
            search: None,
            order: Vec::new(),
            first: MAX_PAGE,
            after: None,
            with_total: false,
        };
        let page = self.read(|snapshot| Ok(snapshot.find(&query)?))?;
        Ok(self.objects(&page.iids)?.into_iter().flatten().collect())
    }

    /// Every user, by name only.
    fn all_creators(&self) -> Answer<'static> {
        let users = self.read(|snapshot| Ok(snapshot.users()?))?;
        let items: Vec<_> = users
            .into_iter()
            .filter(|user| !is_platform(user))
            .map(|user| {
                let cursor = super::graph::cursor(user.row);
                (Node::User(Arc::new(user)), cursor)
            })
            .collect();
        Ok(one_page(items))
    }
}

/// Everything on one page.
fn one_page<'p>(items: Vec<(Node, String)>) -> Resolved<'p, Node> {
    Resolved::Node(Node::Connection(Arc::new(super::Connection {
        total: items.len() as u64,
        items,
        ..super::Connection::default()
    })))
}

/// Whether a user is the platform itself, which nobody administers.
pub(super) fn is_platform(user: &User) -> bool {
    user.id == ferrocti_access::Actor::SYSTEM_ID
}

/// What a token is shown as; the secret is nowhere.
pub(super) fn token_data(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "masked_token": token.masked,
        "created_at": format_date(token.created_at),
        "expires_at": token.expires_at.map(format_date),
        "last_used_at": token.last_used.map(format_date),
    })
}

/// Ancestors of every type of the platform's own.
pub(super) fn internal_parents<'p>() -> Resolved<'p, Node> {
    Resolved::leaf(Value::from(vec!["Basic-Object", "Internal-Object"]))
}

pub(super) fn representative<'p>(name: &str) -> Resolved<'p, Node> {
    Resolved::Node(Node::Data("Representative", json!({ "main": name })))
}

pub(super) fn date<'p>(at: Option<Millis>) -> Resolved<'p, Node> {
    at.map_or(Resolved::Null, |at| Resolved::leaf(format_date(at)))
}

/// A level as it is set; nothing where neither a maximum nor an override is.
pub(super) fn level(
    max: Option<u8>,
    overrides: &std::collections::BTreeMap<String, u8>,
) -> Option<Node> {
    if max.is_none() && overrides.is_empty() {
        return None;
    }
    let overrides: Vec<Value> = overrides
        .iter()
        .map(|(entity_type, max)| json!({ "entity_type": entity_type, "max_confidence": max }))
        .collect();
    Some(Node::Data(
        "ConfidenceLevel",
        json!({ "max_confidence": max, "overrides": overrides }),
    ))
}

fn facts(user: &User, groups: &[Uuid]) -> Map<String, Value> {
    let profile = |name: &str| user.profile.get(name).cloned().unwrap_or_default();
    let facts = json!({
        "id": user.id,
        "internal_id": user.id,
        "standard_id": ids::user_standard_id(&user.email),
        "ids": [user.id.to_string(), ids::user_standard_id(&user.email)],
        "entity_type": "User",
        "name": user.name,
        "user_email": user.email,
        "firstname": profile("firstname"),
        "lastname": profile("lastname"),
        "description": profile("description"),
        "language": profile("language"),
        "external": user.external,
        "user_service_account": user.service_account,
        "account_status": user.status.name(),
        "account_lock_after_date": user.expires_at.map(format_date),
        "member-of": groups,
        "created_at": format_date(user.created_at),
        "updated_at": format_date(user.updated_at),
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}
