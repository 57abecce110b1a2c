//! Composers: registration, what they have to do, what they tell, in upstream's protocol and in ours.

use std::sync::Arc;

use ferrocti_catalog::Entry;
use ferrocti_connectors::ConnectorError;
use ferrocti_connectors::managed::{
    ConnectorReport, CurrentStatus, HealthReport, NewComposer, Report, State, composer_is_active,
};
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::{Millis, parse_date};
use ferrocti_store::Composer;
use serde_json::{Value, json};

use super::managed::Input;
use super::users::{date, internal_parents, representative};
use super::{Answer, Node, Resolution};
use crate::fault::{Fault, code};
use crate::http::changes::version;

/// What somebody is told who asks for connectors before it is a composer.
const NO_COMPOSER: &str = "This user is no composer: it has to register with registerConnectorsManager first. Nothing is listed, so that nobody takes it for a list without connectors.";

impl Resolution<'_> {
    pub(super) fn composer_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let connectors = &self.state.services().connectors;
        match call.name {
            "connectorManager" => {
                let id = call.text("managerId").unwrap_or_default();
                let found = self.read(|snapshot| Ok(snapshot.composer(id)?))?;
                found.map(shown).ok_or_else(|| {
                    Fault::functional(format!(
                        "There is no composer {id}; connectorManagers lists them."
                    ))
                })
            }
            "connectorManagers" => {
                let all = self.read(|snapshot| Ok(connectors.composers(snapshot)?))?;
                Ok(Resolved::nodes(
                    all.into_iter()
                        .map(|composer| Node::Composer(Arc::new(composer))),
                ))
            }
            "connectorsForManagers" => {
                let listed = connectors.listing_for(self.caller.acting()?);
                let listed = listed.map_err(|error| match error {
                    // upstream's composer registers and asks at the same time, so that its operator reads this
                    ConnectorError::Denied(_) => Fault::functional(NO_COMPOSER),
                    other => other.into(),
                })?;
                Ok(Resolved::nodes(
                    listed
                        .into_iter()
                        .map(|listed| Node::Managed(Arc::new(listed))),
                ))
            }
            _ => {
                let composer = call.text("composer").unwrap_or_default();
                self.work_for(composer)
            }
        }
    }

    fn work_for(&self, composer: &str) -> Answer<'static> {
        let connectors = &self.state.services().connectors;
        let work = connectors.work_for(self.caller.acting()?, composer)?;
        let assigned: Vec<Value> = work
            .connectors
            .iter()
            .map(|one| {
                json!({
                    "id": one.id,
                    "name": one.name,
                    "requested": one.requested.name(),
                    "hash": one.hash,
                    "launch": text(&one.launch),
                    "runtime": text(&one.runtime),
                    "configuration": settings(&one.configuration),
                    "last_seen_ms": one.last_seen,
                    "log_cursor": one.log_cursor,
                    "retired_hash": one.retired_hash,
                    "obstacle": one.obstacle,
                })
            })
            .collect();
        Ok(Resolved::Node(Node::Data(
            "ComposerWork",
            json!({
                "version": version(self.state, work.version),
                "connectors": assigned,
                "tombstones": work.tombstones,
                "approved": work.approved,
            }),
        )))
    }

    pub(super) fn composer_mutation(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let connectors = &self.state.services().connectors;
        let acting = self.caller.acting()?;
        let input = Input::of(call);
        let id = || input.needed("id");
        match call.name {
            "registerConnectorsManager" | "composerRegister" => {
                let own = call.name == "composerRegister";
                let about = own.then(|| {
                    json!({
                        "version": input.text("version"), "orchestrators": input.texts("orchestrators"), "host": input.text("host"), "place": input.text("place"),
                    })
                });
                let new = NewComposer {
                    id: id()?.to_owned(),
                    name: input.needed("name")?.to_owned(),
                    public_key: input.needed("public_key")?.to_owned(),
                    about,
                    own,
                };
                Ok(shown(connectors.register_composer(acting, new)?))
            }
            "updateConnectorManagerStatus" => Ok(shown(connectors.composer_alive(acting, id()?)?)),
            "updateConnectorCurrentStatus" => {
                let current = current(&input, "status").unwrap_or(CurrentStatus::Stopped);
                connectors.set_current(acting, id()?, current)?;
                self.for_composer(id()?)
            }
            "updateConnectorLogs" => {
                connectors.set_logs(acting, id()?, &input.texts("logs"))?;
                Ok(Resolved::leaf(id()?))
            }
            "updateConnectorHealth" => {
                let figures = figures(&input).unwrap_or_default();
                connectors.set_health(acting, id()?, figures)?;
                Ok(Resolved::leaf(id()?))
            }
            "composerReport" => {
                let said = input.list("connectors").iter().map(said);
                let report = Report {
                    connectors: said.collect::<Result<_, _>>()?,
                    removed: input.texts("removed"),
                    blocked: input
                        .text("blocked")
                        .filter(|blocked| !blocked.trim().is_empty())
                        .map(str::to_owned),
                };
                connectors.report(acting, input.needed("composer")?, &report)?;
                Ok(Resolved::leaf(true))
            }
            "composerApproveRemovals" => {
                let composer = call.text("composer").unwrap_or_default();
                let list = call.argument("connectors").and_then(Value::as_array);
                let ids: Vec<String> = list
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                connectors.approve_removals(acting, composer, &ids)?;
                Ok(Resolved::leaf(true))
            }
            _ => {
                let id = call.text("id").unwrap_or_default();
                connectors.remove_composer(acting, id)?;
                Ok(Resolved::leaf(id))
            }
        }
    }

    /// A field of a composer.
    pub(super) fn composer_field<'p>(
        &self,
        call: &FieldCall<'_>,
        composer: &'p Composer,
    ) -> Answer<'p> {
        let now = self.state.services().clock.now();
        Ok(match call.name {
            "id" => Resolved::Text(&composer.id),
            "standard_id" => Resolved::leaf(super::standard_id("connector-manager", &composer.id)),
            "entity_type" => Resolved::Text("ConnectorManager"),
            "parent_types" => internal_parents(),
            "representative" => representative(&composer.name),
            "name" => Resolved::Text(&composer.name),
            "public_key" => Resolved::Text(&composer.public_key),
            "key_id" => Resolved::Text(&composer.key_id),
            "last_sync_execution" => date(Some(composer.last_seen)),
            "about_version" => Resolved::leaf(self.state.options().version.as_str()),
            "active" => Resolved::leaf(composer_is_active(composer, now)),
            "about" => composer
                .about
                .as_ref()
                .map_or(Resolved::Null, Resolved::Ref),
            "blocked" => Resolved::from(composer.blocked.as_deref()),
            "created_at" => date(Some(composer.created_at)),
            "connectors_count" => {
                let assigned = self.read(|snapshot| Ok(snapshot.managed_connectors()?))?;
                let of = |manager: &Value| manager["composer"] == *composer.id;
                let count = assigned
                    .iter()
                    .filter(|connector| connector.manager.as_ref().is_some_and(of))
                    .count();
                Resolved::leaf(count)
            }
            "tombstones" => {
                let stones = self.read(|snapshot| Ok(snapshot.tombstones(&composer.id)?))?;
                Resolved::nodes(stones.into_iter().map(|stone| {
                    let at = ferrocti_model::clock::format_date(stone.at);
                    let data = json!({ "connector_id": stone.connector, "at": at, "approved": stone.approved });
                    Node::Data("ComposerTombstone", data)
                }))
            }
            _ => Resolved::Null,
        })
    }
}

fn shown(composer: Composer) -> Resolved<'static, Node> {
    Resolved::Node(Node::Composer(Arc::new(composer)))
}

/// JSON as text.
fn text(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).map_or(Value::Null, |value| Value::from(value.to_string()))
}

/// Settings for a composer: what is encrypted stays so.
pub(super) fn settings(entries: &[Entry]) -> Vec<Value> {
    entries
        .iter()
        .map(
            |entry| json!({ "key": entry.key, "value": entry.value, "encrypted": entry.encrypted }),
        )
        .collect()
}

fn current(input: &Input<'_>, name: &str) -> Option<CurrentStatus> {
    CurrentStatus::of(input.text(name)?)
}

fn time(input: &Input<'_>, name: &str) -> Option<Millis> {
    parse_date(input.text(name)?)
}

/// The figures of an instance, if there are any.
fn figures(input: &Input<'_>) -> Option<HealthReport> {
    let restarts = input.get("restart_count")?.as_i64().unwrap_or_default();
    Some(HealthReport {
        started_at: time(input, "started_at"),
        restarts: restarts.max(0).unsigned_abs(),
        reboot_loop: input.truth("is_in_reboot_loop").unwrap_or(false),
        memory: input
            .get("memory")
            .and_then(Value::as_f64)
            .filter(|bytes| *bytes >= 0.0)
            .map(|bytes| bytes as u64),
    })
}

/// What is told of one connector.
fn said(value: &Value) -> Result<ConnectorReport, Fault> {
    let input = Input::of_value(value);
    let word = input.needed("state")?;
    let state = State::of(word).ok_or_else(|| {
        let known = State::ALL.map(State::name).join(", ");
        Fault::new(
            code::FUNCTIONAL,
            format!("\"{word}\" is no state of a connector; the states are {known}."),
        )
    })?;
    Ok(ConnectorReport {
        id: input.needed("id")?.to_owned(),
        hash: input.needed("hash")?.to_owned(),
        state,
        reason: input.needed("reason")?.to_owned(),
        current: current(&input, "current"),
        health: figures(&input),
        logs: input.texts("logs"),
        log_cursor: input.text("log_cursor").map(str::to_owned),
        rejected: input.text("rejected").map(str::to_owned),
    })
}
