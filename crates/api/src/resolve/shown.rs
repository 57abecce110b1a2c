//! Managed connectors as they are shown: to people without anything that is secret, to their composer with what is sealed for it.

use std::sync::Arc;

use ferrocti_access::{Action, may, names};
use ferrocti_catalog::Entry;
use ferrocti_catalog::environment::for_people;
use ferrocti_catalog::launch::Runtime;
use ferrocti_catalog::secret::MASK;
use ferrocti_connectors::managed::{CurrentStatus, Health, Listed, View};
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_store::Connector;
use serde_json::{Value, json};

use super::composer::settings;
use super::record::{Record, Shown, value};
use super::users::{date, internal_parents, representative};
use super::{Answer, Node, Resolution};
use crate::fault::Fault;

/// Lines of a log that are shown at a connector.
const LINES: usize = 100;
/// Lines of a log on a page when the client does not say.
const PAGE: usize = 200;

impl Resolution<'_> {
    /// Everything that is known of a managed connector; `None`: it is not managed. Its fields are asked for one by one, so that it is kept.
    fn view_of(&self, connector: &Connector) -> Result<Option<Arc<View>>, Fault> {
        if connector.manager.is_none() {
            return Ok(None);
        }
        if let Some(known) = self.views.borrow().get(&connector.id) {
            return Ok(known.clone());
        }
        let connectors = &self.state.services().connectors;
        let view = self
            .read(|snapshot| Ok(connectors.view(snapshot, connector)?))?
            .map(Arc::new);
        let id = connector.id.clone();
        self.views.borrow_mut().insert(id, view.clone());
        Ok(view)
    }

    /// A field of a connector that is about who runs it and how it is.
    pub(super) fn managed_field<'p>(
        &self,
        call: &FieldCall<'_>,
        connector: &'p Connector,
    ) -> Answer<'p> {
        let services = self.state.services();
        let now = services.clock.now();
        if call.name == "is_managed" {
            return Ok(Resolved::leaf(connector.manager.is_some()));
        }
        let view = self.view_of(connector)?;
        if call.name == "health" {
            let health = match &view {
                Some(view) => view.health(connector, now),
                None => {
                    self.read(|snapshot| Ok(services.connectors.health_of(snapshot, connector)?))?
                }
            };
            return Ok(health_node(&health));
        }
        let Some(view) = view else {
            return Ok(Resolved::Null);
        };
        let managed = &view.managed;
        let definition = &managed.definition;
        Ok(match call.name {
            "manager" => Resolved::node(
                view.composer
                    .clone()
                    .map(|composer| Node::Composer(Arc::new(composer))),
            ),
            "manager_current_status" => match managed.current {
                Some(current) => Resolved::Text(current.name()),
                None => Resolved::Null,
            },
            "manager_requested_status" => Resolved::Text(managed.requested.name()),
            "manager_contract_image" => Resolved::leaf(definition.image.as_str()),
            "manager_contract_hash" => Resolved::leaf(view.hash.as_str()),
            "manager_contract_definition" => match definition.contract() {
                Ok(contract) => Resolved::leaf(contract.asked().to_string()),
                Err(_) => Resolved::leaf(definition.contract.to_string()),
            },
            "manager_contract_excerpt" => excerpt(&definition.contract),
            "manager_contract_configuration" => pairs(&view.environment),
            "manager_secret_keys" => Resolved::leaf(Value::from(definition.sealed_keys())),
            "manager_connector_logs" => self.last_lines(connector)?,
            "manager_health_metrics" => metrics(&view),
            "manager_connector_uptime" => {
                let runs = managed.current != Some(CurrentStatus::Stopped);
                let said = view.reported.as_ref().filter(|_| runs);
                match said.and_then(|said| said.started_at) {
                    Some(since) if since <= now => Resolved::leaf((now - since) / 1000),
                    _ => Resolved::Null,
                }
            }
            "update_available" | "latest_compatible_version" | "has_newer_incompatible_version" => {
                let slug = definition.slug();
                let newer =
                    services
                        .catalogs
                        .newer(Some(&definition.catalog), slug, definition.version());
                match call.name {
                    "update_available" => Resolved::leaf(newer.update_available),
                    "latest_compatible_version" => newer
                        .latest_compatible
                        .map_or(Resolved::Null, Resolved::leaf),
                    _ => Resolved::leaf(newer.newer_incompatible),
                }
            }
            "manager_state" => Resolved::Text(view.state(connector, now).state.name()),
            "manager_state_reason" => {
                let reason = view.state(connector, now).reason;
                if reason.is_empty() {
                    Resolved::Null
                } else {
                    Resolved::leaf(reason)
                }
            }
            "manager_state_at" => date(Some(view.state(connector, now).since)),
            "catalog_id" => Resolved::leaf(definition.catalog.as_str()),
            "contract_slug" => Resolved::leaf(definition.slug()),
            "contract_version" => Resolved::leaf(definition.version()),
            "launch" => {
                Resolved::leaf(serde_json::to_value(&definition.launch).unwrap_or(Value::Null))
            }
            "runtime" => Resolved::leaf(masked(&definition.runtime)),
            "pinned" => Resolved::leaf(definition.pinned),
            "declared" => Resolved::leaf(managed.declared),
            "definition_number" => Resolved::leaf(managed.number),
            "rolled_back" => match &managed.rolled_back {
                None => Resolved::Null,
                Some(back) => Resolved::Node(Node::Data(
                    "ConnectorRollback",
                    json!({ "number": back.number, "reason": back.reason, "at": format_date(back.at) }),
                )),
            },
            _ => Resolved::Null,
        })
    }

    /// Whether the caller may read what a connector writes: a program writes whatever it likes into its log, its passwords among it.
    fn may_read_log(&self, connector: &Connector) -> Result<bool, Fault> {
        let actor = self.actor()?;
        if connector.user == Some(actor.user_row)
            || may(actor, Action::Use(names::MODULES_MANAGE)).is_ok()
        {
            return Ok(true);
        }
        let composer = self
            .view_of(connector)?
            .and_then(|view| view.composer.clone());
        Ok(composer.is_some_and(|composer| composer.user == actor.user_row))
    }

    fn last_lines<'p>(&self, connector: &Connector) -> Answer<'p> {
        if !self.may_read_log(connector)? {
            return Ok(Resolved::Null);
        }
        Ok(Resolved::leaf(self.lines(&connector.id)?))
    }

    fn lines(&self, id: &str) -> Result<Value, Fault> {
        let connectors = &self.state.services().connectors;
        let lines = self.read(|snapshot| Ok(connectors.logs(snapshot, id, None, None, LINES)?))?;
        Ok(lines.into_iter().map(|line| line.line).collect())
    }

    /// `connectorLogs` and `connectorDefinitions`.
    pub(super) fn managed_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let id = call.text("id").unwrap_or_default();
        let connector = self
            .read(|snapshot| Ok(snapshot.connector(id)?))?
            .ok_or_else(|| Fault::functional(format!("There is no connector {id}.")))?;
        if call.name == "connectorDefinitions" {
            return self.definitions(&connector);
        }
        if !self.may_read_log(&connector)? {
            return Err(Fault::forbidden(names::MODULES_MANAGE));
        }
        let first = super::graph::first(call, PAGE)?.max(1);
        let before = match call.argument("before").and_then(Value::as_f64) {
            None => None,
            Some(before) if before >= 1.0 => Some(before as i64),
            Some(_) => return Err(Fault::functional("\"before\" is the number of a line.")),
        };
        let connectors = &self.state.services().connectors;
        let search = call.text("search");
        let lines =
            self.read(|snapshot| Ok(connectors.logs(snapshot, id, search, before, first)?))?;
        let next = lines
            .first()
            .map(|line| line.seq)
            .filter(|_| lines.len() >= first);
        let lines: Vec<Value> = lines
            .into_iter()
            .map(|line| json!({ "seq": line.seq, "at": format_date(line.at), "text": line.line }))
            .collect();
        Ok(Resolved::Node(Node::Data(
            "ConnectorLogPage",
            json!({ "lines": lines, "before": next }),
        )))
    }

    fn definitions(&self, connector: &Connector) -> Answer<'static> {
        let connectors = &self.state.services().connectors;
        let versions =
            self.read(|snapshot| Ok(connectors.definitions(snapshot, &connector.id)?))?;
        let mut out = Vec::with_capacity(versions.len());
        for version in versions {
            let actor = match version.actor {
                Some(row) => self.read(|snapshot| Ok(snapshot.user(row)?))?,
                None => None,
            };
            let definition = &version.definition;
            let configuration: Vec<Value> = definition
                .entries
                .iter()
                .map(|entry| json!({ "key": entry.key, "value": entry.shown() }))
                .collect();
            out.push(Record::node(vec![
                ("number", value(version.number)),
                ("at", value(format_date(version.at))),
                ("actor_name", value(actor.map(|user| user.name))),
                ("reason", value(version.reason)),
                ("image", value(definition.image.as_str())),
                ("version", value(definition.version())),
                ("current", value(version.current)),
                (
                    "launch",
                    Shown::Json(serde_json::to_value(&definition.launch).unwrap_or(Value::Null)),
                ),
                ("runtime", Shown::Json(masked(&definition.runtime))),
                ("configuration", value(configuration)),
            ]));
        }
        Ok(Resolved::nodes(out))
    }

    /// A managed connector as `ManagedConnector`: for its composer with what is sealed, for others without.
    pub(super) fn for_composer(&self, id: &str) -> Answer<'static> {
        let connector = self
            .read(|snapshot| Ok(snapshot.connector(id)?))?
            .ok_or_else(|| Fault::functional(format!("There is no connector {id}.")))?;
        let view = self
            .view_of(&connector)?
            .ok_or_else(|| Fault::functional(format!("The connector {id} is not managed.")))?;
        let actor = self.actor()?;
        let own = view
            .composer
            .as_ref()
            .is_some_and(|composer| composer.user == actor.user_row);
        let listed = Listed {
            image: view.managed.definition.image.clone(),
            requested: view.managed.requested,
            current: view.managed.current,
            hash: view.hash.clone(),
            configuration: if own {
                view.environment.clone()
            } else {
                for_people(&view.environment)
            },
            connector,
        };
        Ok(Resolved::Node(Node::Managed(Arc::new(listed))))
    }

    /// A field of `ManagedConnector`.
    pub(super) fn listed_field<'p>(&self, call: &FieldCall<'_>, listed: &'p Listed) -> Answer<'p> {
        let connector = &listed.connector;
        Ok(match call.name {
            "entity_type" => Resolved::Text("ManagedConnector"),
            "standard_id" => Resolved::leaf(super::standard_id("connector", &connector.id)),
            "parent_types" => internal_parents(),
            "representative" => representative(&connector.name),
            "manager_contract_image" => Resolved::Text(&listed.image),
            "manager_current_status" => match listed.current {
                Some(current) => Resolved::Text(current.name()),
                None => Resolved::Null,
            },
            "manager_requested_status" => Resolved::Text(listed.requested.name()),
            "manager_contract_hash" => Resolved::Text(&listed.hash),
            "manager_contract_configuration" => Resolved::nodes(
                settings(&listed.configuration)
                    .into_iter()
                    .map(|setting| Node::Data("ConnectorContractConfiguration", setting)),
            ),
            "manager_connector_logs" => {
                if self.may_read_log(connector)? {
                    Resolved::leaf(self.lines(&connector.id)?)
                } else {
                    Resolved::leaf(json!([]))
                }
            }
            _ => return self.connector_field(call, connector),
        })
    }
}

fn metrics<'p>(view: &View) -> Resolved<'p, Node> {
    let said = view.reported.as_ref();
    let figures = said.and_then(|said| Some((said, said.started_at?, said.health_at?)));
    match figures {
        None => Resolved::Null,
        Some((said, started_at, health_at)) => Resolved::Node(Node::Data(
            "ConnectorHealthMetrics",
            json!({
                "restart_count": said.restarts.min(i32::MAX.unsigned_abs().into()),
                "started_at": format_date(started_at),
                "last_update": format_date(health_at),
                "is_in_reboot_loop": said.reboot_loop,
            }),
        )),
    }
}

fn health_node<'p>(health: &Health) -> Resolved<'p, Node> {
    Resolved::Node(Node::Data(
        "ConnectorHealth",
        json!({
            "level": health.level.name(),
            "reasons": health.reasons,
            "last_ping": health.last_ping.map(format_date),
            "last_data": health.last_data.map(format_date),
            "expected_next": health.expected_next.map(format_date),
            "errors": health.errors,
            "restarts": health.restarts,
        }),
    ))
}

fn excerpt<'p>(contract: &Value) -> Resolved<'p, Node> {
    let text = |name: &str| contract[name].as_str().unwrap_or_default();
    Resolved::Node(Node::Data(
        "ManagerContractExcerpt",
        json!({ "title": text("title"), "slug": text("slug"), "logo": text("logo") }),
    ))
}

/// Settings for people.
fn pairs<'p>(environment: &[Entry]) -> Resolved<'p, Node> {
    Resolved::nodes(for_people(environment).into_iter().map(|entry| {
        let value = if entry.key.ends_with("_PROXY") {
            without_login(&entry.value)
        } else {
            entry.value
        };
        let data = json!({ "key": entry.key, "value": value });
        Node::Data("ManagerContractConfiguration", data)
    }))
}

/// What a connector may use, without the login of its proxy. No name of a secret is in its environment; that is refused.
fn masked(runtime: &Runtime) -> Value {
    let mut shown = runtime.clone();
    if let Some(proxy) = &mut shown.proxy {
        for address in [&mut proxy.http, &mut proxy.https] {
            *address = address.as_deref().map(without_login);
        }
    }
    serde_json::to_value(&shown).unwrap_or(Value::Null)
}

/// An address without user and password (RFC 3986, section 3.2.1).
fn without_login(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("//") else {
        return address.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        None => address.to_owned(),
        Some(at) => format!("{scheme}//{MASK}@{}", &rest[at + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_their_login() {
        for (address, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            (
                "http://me:secret@proxy:3128/x@y",
                "http://***@proxy:3128/x@y",
            ),
            ("http://me:se@cret@proxy", "http://***@proxy"),
            ("proxy:3128", "proxy:3128"),
            ("http://proxy/?a=b@c", "http://proxy/?a=b@c"),
        ] {
            assert_eq!(without_login(address), shown);
        }
    }
}
