//! Connectors: registration, ping, state and its history, queues, dead letters.

use std::sync::Arc;

use ferrocti_accounts::{Acting, Scope, Subject, record};
use ferrocti_broker::queue::DeadLetterQuery;
use ferrocti_connectors::{Registration, is_active};
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_store::{Connector, WorkQuery, WorkStatus};
use serde_json::{Map, Value, json};

use super::users::{date, internal_parents, representative};
use super::{Answer, Connection, Node, Resolution};
use crate::fault::Fault;

/// Versions of a state on a list when the client does not say.
const VERSIONS: usize = 50;
/// Dead letters on a page when the client does not say.
const LETTERS: usize = 50;
/// Bytes of a dead letter that are shown.
const EXCERPT: usize = 1024;
/// Works of a connector that are shown below it.
const WORKS: usize = 100;

impl Resolution<'_> {
    pub(super) fn connector_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "connector" => {
                let id = call.text("id").unwrap_or_default();
                let connector = self.read(|snapshot| Ok(snapshot.connector(id)?))?;
                Ok(Resolved::node(
                    connector.map(|connector| Node::Connector(Arc::new(connector))),
                ))
            }
            "connectors" | "connectorsForWorker" => {
                let connectors = self.read(|snapshot| Ok(snapshot.connectors()?))?;
                Ok(Resolved::nodes(
                    connectors
                        .into_iter()
                        .map(|connector| Node::Connector(Arc::new(connector))),
                ))
            }
            "connectorStateHistory" => self.state_history(call),
            "connectorFenced" => self.fenced(call),
            "connectorLeaseEvents" => self.lease_events(call),
            "deadLetters" => self.dead_letters(call),
            other => Err(Fault::unsupported(format!("{other} is not served."))),
        }
    }

    pub(super) fn connector_mutation(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let services = self.state.services();
        let connectors = &services.connectors;
        let acting = self.caller.acting()?;
        let id = call.text("id").unwrap_or_default();
        let connector = match call.name {
            "registerConnector" => connectors.register(acting, registration(call)?)?,
            "pingConnector" => connectors.ping(
                acting,
                id,
                call.text("state"),
                call.argument("connectorInfo").cloned(),
            )?,
            "resetStateConnector" => connectors.reset_state(acting, id)?,
            "connectorStateRestore" => {
                let version = call
                    .argument("version")
                    .and_then(Value::as_i64)
                    .unwrap_or_default();
                connectors.restore_state(acting, id, version)?
            }
            "deleteConnector" => {
                connectors.delete(acting, id)?;
                return Ok(Resolved::leaf(id));
            }
            "connectorJWT" => {
                return Ok(Resolved::leaf(
                    connectors.connector_jwt(services.clock.now()),
                ));
            }
            "deadLetterReplay" => {
                let letter = letter(id)?;
                self.record_letter(&acting, Scope::Update, "replay", id)?;
                services
                    .queues
                    .replay(letter)
                    .wait()
                    .map_err(|error| Fault::functional(error.to_string()))?;
                return Ok(Resolved::leaf(id));
            }
            "deadLetterDiscard" => {
                let letter = letter(id)?;
                self.record_letter(&acting, Scope::Delete, "discard", id)?;
                services
                    .queues
                    .discard(letter)
                    .wait()
                    .map_err(|error| Fault::functional(error.to_string()))?;
                return Ok(Resolved::leaf(id));
            }
            other => return Err(Fault::unsupported(format!("{other} is not served."))),
        };
        Ok(Resolved::Node(Node::Connector(Arc::new(connector))))
    }

    /// Records what somebody asks of a dead letter. The queues have a file of their own, so that the line stands before the deed: it may tell of
    /// one that failed, but never misses one.
    fn record_letter(
        &self,
        acting: &Acting<'_>,
        scope: Scope,
        deed: &str,
        id: &str,
    ) -> Result<(), Fault> {
        let subject = Subject {
            kind: "Dead-Letter",
            id,
            name: id,
        };
        let message = format!("asks to {deed} the dead letter `{id}`");
        self.state
            .services()
            .store
            .write(|tx| Ok::<_, Fault>(record(tx, acting, scope, Some(subject), &message, None)?))
    }

    /// A field of a connector.
    pub(super) fn connector_field<'p>(
        &self,
        call: &FieldCall<'_>,
        connector: &'p Connector,
    ) -> Answer<'p> {
        let services = self.state.services();
        let text = |value: &'p Option<String>| Resolved::from(value.as_deref());
        Ok(match call.name {
            "id" => Resolved::Text(&connector.id),
            "standard_id" => Resolved::leaf(super::standard_id("connector", &connector.id)),
            "entity_type" => Resolved::Text("Connector"),
            "parent_types" => internal_parents(),
            "representative" => {
                representative(connector.title.as_deref().unwrap_or(&connector.name))
            }
            "name" => Resolved::Text(&connector.name),
            "title" => Resolved::Text(connector.title.as_deref().unwrap_or(&connector.name)),
            "active" => Resolved::leaf(is_active(connector, services.clock.now())),
            "last_seen_at" => date(connector.last_ping),
            "connector_state_timestamp" => Resolved::leaf(format_date(connector.state_at)),
            "connector_trigger_filters" => text(&connector.trigger_filters),
            "auto" => Resolved::leaf(connector.auto),
            "auto_update" => Resolved::leaf(connector.auto_update),
            "only_contextual" => Resolved::leaf(connector.only_contextual),
            "playbook_compatible" => Resolved::leaf(connector.playbook_compatible),
            "enrichment_resolution" => text(&connector.enrichment_resolution),
            "connector_type" => Resolved::Text(&connector.kind),
            "connector_scope" => Resolved::leaf(Value::from(connector.scope.clone())),
            "connector_state" => text(&connector.state),
            "connector_state_reset" => Resolved::leaf(connector.state_reset),
            "connector_info" => super::data(connector.info.as_ref()),
            "connector_queue_details" => {
                let depth = services.connectors.depth(&connector.id);
                Resolved::Node(Node::Data(
                    "",
                    json!({ "messages_number": depth.messages, "messages_size": depth.bytes }),
                ))
            }
            "connector_priority_group" => Resolved::Text(&connector.priority_group),
            "connector_user_id" => self
                .owner(connector)?
                .map_or(Resolved::Null, |user| Resolved::leaf(user.id.to_string())),
            "connector_user" => Resolved::node(
                self.owner(connector)?
                    .map(|user| Node::User(Arc::new(user))),
            ),
            "listen_callback_uri" => text(&connector.listen_callback_uri),
            "xtm_one_intent" => text(&connector.xtm_one_intent),
            "version" => text(&connector.version),
            "slug" => text(&connector.slug),
            "built_in" => Resolved::leaf(connector.built_in),
            "jwks" => Resolved::leaf(services.connectors.jwks()),
            "config" => Resolved::Node(Node::Data("ConnectorConfig", self.config(connector)?)),
            "lease" => self.lease(connector)?,
            "fenced_calls" => Resolved::leaf(self.fenced_calls(connector)?),
            "second_instance" => self.second_instance(connector),
            "created_at" => Resolved::leaf(format_date(connector.created_at)),
            "updated_at" => Resolved::leaf(format_date(connector.updated_at)),
            "works" => self.works_of(call, connector)?,
            _ => return self.managed_field(call, connector),
        })
    }

    fn owner(&self, connector: &Connector) -> Result<Option<ferrocti_store::User>, Fault> {
        match connector.user {
            Some(row) => self.read(|snapshot| Ok(snapshot.user(row)?)),
            None => Ok(None),
        }
    }

    /// Queue names, and for the connector's own user how to reach the broker.
    fn config(&self, connector: &Connector) -> Result<Value, Fault> {
        let id = &connector.id;
        let broker = &self.state.options().broker;
        let own = self
            .caller
            .actor
            .as_ref()
            .is_some_and(|actor| connector.user == Some(actor.user_row));
        // Whoever may see the connector but is not it learns everything but the password.
        let mut password = String::new();
        if own {
            let lease = self.read(|snapshot| Ok(snapshot.lease(id)?))?;
            if lease.admits(self.caller.token) {
                let connectors = &self.state.services().connectors;
                password = connectors.broker_password(connector, &lease);
            }
        }
        let host = broker.host.as_ref().or(self.caller.host.as_ref());
        Ok(json!({
            "connection": {
                "host": host.unwrap_or(&broker.listens), "port": broker.port, "vhost": broker.vhost, "use_ssl": broker.use_ssl, "user": id, "pass": password,
            },
            "s3": {
                "endpoint": "", "port": 0, "use_ssl": false, "bucket_name": "", "bucket_region": "", "access_key": "", "secret_key": "",
            },
            "listen": format!("listen_{id}"),
            "listen_routing": format!("listen_routing_{id}"),
            "listen_exchange": "amqp.connector.exchange",
            "listen_callback_uri": connector.listen_callback_uri,
            "push": format!("push_{id}"),
            "push_routing": format!("push_routing_{id}"),
            "push_exchange": "amqp.worker.exchange",
            "dead_letter_routing": "listen_routing_too-large-bundle",
        }))
    }

    fn works_of<'p>(&self, call: &FieldCall<'_>, connector: &Connector) -> Answer<'p> {
        let statuses = match call.text("status") {
            None => Vec::new(),
            Some("wait") => vec![WorkStatus::Wait],
            Some("progress") => vec![WorkStatus::Progress],
            Some("complete") => vec![WorkStatus::Complete],
            Some(other) => {
                return Err(Fault::functional(format!(
                    "\"{other}\" is no status of a work; there are wait, progress and complete."
                )));
            }
        };
        let query = WorkQuery {
            connectors: vec![connector.id.clone()],
            statuses,
            descending: true,
            limit: WORKS,
            ..WorkQuery::default()
        };
        let (works, _) = self.read(|snapshot| Ok(snapshot.works(&query)?))?;
        Ok(Resolved::nodes(
            works.into_iter().map(|work| Node::Work(Arc::new(work))),
        ))
    }

    fn state_history(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let id = call.text("id").unwrap_or_default();
        let first = super::graph::first(call, VERSIONS)?;
        let actor = self.actor()?;
        let connectors = &self.state.services().connectors;
        let versions = self.read(|snapshot| Ok(connectors.state_history(snapshot, actor, id)?))?;
        Ok(Resolved::nodes(versions.into_iter().take(first).map(|version| {
            let data = json!({
                "version": version.version, "state": version.state, "created_at": format_date(version.at), "origin": version.reason,
            });
            Node::Data("ConnectorStateVersion", data)
        })))
    }

    fn dead_letters(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let first = super::graph::first(call, LETTERS)?;
        let before = super::graph::behind(call)?;
        let queues = &self.state.services().queues;
        let failed = |error: ferrocti_broker::QueueError| Fault::from_connectors(&error.into());
        let limit = u32::try_from(first.saturating_add(1)).unwrap_or(u32::MAX);
        let mut letters = queues
            .dead_letters(&DeadLetterQuery {
                queue: None,
                before,
                limit,
            })
            .map_err(failed)?;
        let has_next = letters.len() > first;
        letters.truncate(first);
        // the body holds what was delivered, whatever its markings
        let actor = self.actor()?;
        let readable = self.read(|snapshot| super::works::sees_every_marking(snapshot, actor))?;
        let mut items = Vec::with_capacity(letters.len());
        for letter in letters {
            let mut excerpt = String::new();
            if readable {
                let body = queues.dead_letter_body_of(letter.id).map_err(failed)?;
                excerpt = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]).into_owned();
            }
            let data = json!({
                "id": letter.id.to_string(),
                "connector_id": letter.queue.strip_prefix("push_").or_else(|| letter.queue.strip_prefix("listen_")).unwrap_or(&letter.queue),
                "queue": letter.queue,
                "reason": letter.reason,
                "size": letter.body_bytes,
                "created_at": format_date(letter.dead_at),
                "excerpt": excerpt,
            });
            items.push((
                Node::Data("DeadLetter", data),
                super::graph::cursor(letter.id),
            ));
        }
        let connection = Connection {
            items,
            has_next,
            has_previous: before.is_some(),
            total: queues.stats().dead_letters,
        };
        Ok(Resolved::Node(Node::Connection(Arc::new(connection))))
    }
}

fn letter(id: &str) -> Result<i64, Fault> {
    id.parse()
        .map_err(|_| Fault::functional(format!("\"{id}\" is not the id of a dead letter.")))
}

fn registration(call: &FieldCall<'_>) -> Result<Registration, Fault> {
    let empty = Map::new();
    let input = call
        .argument("input")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
    let required = |name: &str| {
        text(name).ok_or_else(|| Fault::functional(format!("registerConnector needs {name}.")))
    };
    let truth = |name: &str| input.get(name).and_then(Value::as_bool).unwrap_or(false);
    let scope = input
        .get("scope")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    Ok(Registration {
        id: required("id")?,
        name: required("name")?,
        connector_type: required("type")?,
        scope,
        auto: truth("auto"),
        auto_update: truth("auto_update"),
        only_contextual: truth("only_contextual"),
        playbook_compatible: truth("playbook_compatible"),
        enrichment_resolution: text("enrichment_resolution"),
        listen_callback_uri: text("listen_callback_uri"),
        xtm_one_intent: text("xtm_one_intent"),
        version: text("version"),
        slug: text("slug"),
    })
}
