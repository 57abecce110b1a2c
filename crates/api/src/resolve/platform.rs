//! The platform itself: version, the user that speaks, a view of the whole, accounts.

use std::sync::Arc;

use ferrocti_accounts::Acting;
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_model::{Key, Registry};
use ferrocti_store::{User, Visibility, Waiting, WorkQuery, WorkStatus};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Node, Resolution};
use crate::fault::Fault;

/// Confidence of a connector's account when nothing else is asked for.
const ACCOUNT_CONFIDENCE: i64 = 100;
/// Parked things on a list when the client does not say.
const PARKED: usize = 100;

impl Resolution<'_> {
    pub(super) fn platform_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "about" => Ok(Resolved::Node(Node::Data(
                "AppInfo",
                json!({ "version": self.state.options().version }),
            ))),
            "me" => {
                let row = self.actor()?.user_row;
                let user = self
                    .read(|snapshot| Ok(snapshot.user(row)?))?
                    .ok_or_else(Fault::login_required)?;
                Ok(Resolved::Node(Node::Me(Arc::new(user))))
            }
            "parkedReferences" => self.parked(call),
            _ => self.status(),
        }
    }

    pub(super) fn platform_mutation(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let confidence = call
            .argument("max_confidence")
            .and_then(Value::as_i64)
            .unwrap_or(ACCOUNT_CONFIDENCE);
        let confidence = u8::try_from(confidence)
            .ok()
            .filter(|confidence| *confidence <= 100)
            .ok_or_else(|| Fault::functional("max_confidence lies between 0 and 100."))?;
        let name = call.text("name").unwrap_or_default();
        let (user, token) = self.state.services().accounts.add_connector(
            &Acting::of(self.actor()?),
            name,
            Some(confidence),
            None,
        )?;
        Ok(Resolved::Node(Node::Data(
            "ConnectorAccount",
            json!({ "user": user_data(&user), "token": token }),
        )))
    }

    /// A field of a user as others see it.
    pub(super) fn user_field<'p>(&self, call: &FieldCall<'_>, user: &'p User) -> Answer<'p> {
        Ok(match call.name {
            "id" => Resolved::leaf(user.id.to_string()),
            "name" => Resolved::Text(&user.name),
            "entity_type" => Resolved::Text("User"),
            "user_email" => Resolved::Text(&user.email),
            "standard_id" => Resolved::leaf(standard_id("user", user.id)),
            "parent_types" => Resolved::leaf(Value::from(vec!["Basic-Object", "Internal-Object"])),
            "created_at" => Resolved::leaf(format_date(user.created_at)),
            "updated_at" => Resolved::leaf(format_date(user.updated_at)),
            "api_tokens" => Resolved::nodes(self.tokens(user)?),
            _ => Resolved::Null,
        })
    }

    /// A field of the user that speaks.
    pub(super) fn me_field<'p>(&self, call: &FieldCall<'_>, user: &'p User) -> Answer<'p> {
        Ok(match call.name {
            "capabilities" => Resolved::nodes(
                self.actor()?
                    .capabilities
                    .iter()
                    .enumerate()
                    .map(|(order, name)| capability(order, name)),
            ),
            "capabilitiesInDraft" | "administrated_organizations" => Resolved::List(Vec::new()),
            "groups" | "objectOrganization" => Resolved::Node(Node::Connection(Arc::default())),
            "effective_confidence_level" => match &self.actor()?.confidence {
                Some(confidence) => Resolved::Node(Node::Data(
                    "EffectiveConfidenceLevel",
                    json!({ "max_confidence": confidence.max, "overrides": [], "source": { "type": "User" } }),
                )),
                None => Resolved::Null,
            },
            _ => self.user_field(call, user)?,
        })
    }

    fn tokens(&self, user: &User) -> Result<Vec<Node>, Fault> {
        let own = self.actor()?.user_row == user.row;
        if !own
            && !self
                .actor()?
                .capabilities
                .holds(ferrocti_access::names::SET_ACCESSES)
        {
            return Ok(Vec::new());
        }
        let tokens = self.read(|snapshot| Ok(snapshot.tokens_of(user.row)?))?;
        Ok(tokens
            .into_iter()
            .map(|token| {
                let data = json!({
                    "id": token.id,
                    "name": token.name,
                    "masked_token": token.masked,
                    "created_at": format_date(token.created_at),
                    "expires_at": token.expires_at.map(format_date),
                });
                Node::Data("UserApiToken", data)
            })
            .collect())
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

    fn status(&self) -> Answer<'static> {
        let services = self.state.services();
        let registry = Registry::get();
        let counts = self.read(|snapshot| Ok(snapshot.counts(self.visible())?))?;
        let (references, elements) = self.read(|snapshot| Ok(snapshot.parked_counts()?))?;
        let open = WorkQuery {
            statuses: vec![WorkStatus::Wait, WorkStatus::Progress],
            limit: 1,
            ..WorkQuery::default()
        };
        let (_, open_works) = self.read(|snapshot| Ok(snapshot.works(&open)?))?;
        let mut by_type: Vec<(&str, u64)> = counts
            .iter()
            .filter_map(|(code, count)| Some((registry.by_code(*code)?.name.as_str(), *count)))
            .collect();
        by_type.sort_unstable();
        let by_type: Vec<Value> = by_type
            .iter()
            .map(|(name, count)| json!({ "entity_type": name, "count": count }))
            .collect();
        let queues: Vec<Value> = services
            .queues
            .list()
            .iter()
            .map(|queue| json!({ "name": queue.name, "messages": queue.messages, "bytes": queue.bytes }))
            .collect();
        let data = json!({
            "version": self.state.options().version,
            "started_at": format_date(self.state.started_at()),
            "objects": counts.values().sum::<u64>(),
            "objects_by_type": by_type,
            "parked": references + elements,
            "dead_letters": services.queues.stats().dead_letters,
            "queues": queues,
            "open_works": open_works,
        });
        Ok(Resolved::Node(Node::Data("PlatformStatus", data)))
    }

    fn parked(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let limit = super::graph::first(call, PARKED)?;
        // What waits may carry any marking: only those who may see everything get the list.
        if *self.visible() != Visibility::All {
            return Err(Fault::functional(
                "Parked references are shown to users only that may see all markings.",
            ));
        }
        let parked = self.read(|snapshot| Ok(snapshot.parked_list(None, 0, limit)?))?;
        let mut nodes = Vec::with_capacity(parked.len());
        for parked in parked {
            let (source, reference) = match &parked.waiting {
                Waiting::Reference { source, reference } => {
                    let source = self
                        .object(*source)?
                        .map(|stored| stored.standard.to_string());
                    (
                        source,
                        Registry::get()
                            .reference_by_code(*reference)
                            .map(|reference| reference.name.as_str()),
                    )
                }
                Waiting::Element(_) => (None, None),
            };
            let awaited: Vec<String> = parked
                .keys
                .iter()
                .filter_map(Key::ident)
                .map(|ident| ident.to_string())
                .collect();
            nodes.push(Node::Data(
                "ParkedReference",
                json!({ "awaited": awaited.join(", "), "reference": reference, "source": source, "created_at": format_date(parked.at) }),
            ));
        }
        Ok(Resolved::nodes(nodes))
    }
}

fn capability(order: usize, name: &str) -> Node {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    let data = json!({
        "id": id,
        "standard_id": standard_id("capability", id),
        "entity_type": "Capability",
        "parent_types": ["Basic-Object", "Internal-Object"],
        "name": name,
        "attribute_order": order,
    });
    Node::Data("Capability", data)
}

/// A user as plain data.
pub(super) fn user_data(user: &User) -> Value {
    json!({
        "id": user.id,
        "standard_id": standard_id("user", user.id),
        "entity_type": "User",
        "parent_types": ["Basic-Object", "Internal-Object"],
        "name": user.name,
        "user_email": user.email,
        "created_at": format_date(user.created_at),
        "updated_at": format_date(user.updated_at),
    })
}

fn standard_id(kind: &str, id: Uuid) -> String {
    format!("{kind}--{id}")
}
