//! Who acts as a connector: the lease, what happened to it, who is refused since.

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_store::Connector;
use serde_json::json;

use super::{Answer, Node, Resolution};
use crate::fault::Fault;

impl Resolution<'_> {
    /// `Connector.lease`.
    pub(super) fn lease<'p>(&self, connector: &Connector) -> Answer<'p> {
        let lease = self.read(|snapshot| Ok(snapshot.lease(&connector.id)?))?;
        let granted = lease.epoch > 0;
        let data = json!({
            "epoch": lease.epoch,
            "bound": lease.token.is_some(),
            "holder": granted.then_some(lease.holder),
            "since": granted.then(|| format_date(lease.since)),
            "frozen_state_version": lease.frozen_state,
            "settled": !lease.guarded,
        });
        Ok(Resolved::Node(Node::Data("ConnectorLease", data)))
    }

    /// `Connector.fenced_calls`.
    pub(super) fn fenced_calls(&self, connector: &Connector) -> Result<i64, Fault> {
        let connectors = &self.state.services().connectors;
        let fenced = self.read(|snapshot| Ok(connectors.fenced(snapshot, &connector.id)?))?;
        Ok(fenced.iter().map(|instance| instance.calls).sum())
    }

    /// `Connector.second_instance`.
    pub(super) fn second_instance<'p>(&self, connector: &Connector) -> Resolved<'p, Node> {
        let connectors = &self.state.services().connectors;
        let Some(second) = connectors.second_instance(&connector.id) else {
            return Resolved::Null;
        };
        let data = json!({
            "since": format_date(second.since),
            "last_at": format_date(second.at),
            "addresses": second.addresses,
            "different_tokens": second.different_tokens,
        });
        Resolved::Node(Node::Data("ConnectorSecondInstance", data))
    }

    /// `connectorFenced`.
    pub(super) fn fenced(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let id = call.text("id").unwrap_or_default();
        let connectors = &self.state.services().connectors;
        let fenced = self.read(|snapshot| Ok(connectors.fenced(snapshot, id)?))?;
        Ok(Resolved::nodes(fenced.into_iter().map(|instance| {
            let shown = |text: String| Some(text).filter(|text| !text.is_empty());
            let data = json!({
                "address": shown(instance.address),
                "token": shown(instance.token),
                "agent": shown(instance.agent),
                "what": instance.what,
                "calls": instance.calls,
                "first_at": format_date(instance.first_at),
                "last_at": format_date(instance.last_at),
            });
            Node::Data("FencedInstance", data)
        })))
    }

    /// `connectorLeaseEvents`.
    pub(super) fn lease_events(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let id = call.text("id").unwrap_or_default();
        let connectors = &self.state.services().connectors;
        let events = self.read(|snapshot| Ok(connectors.lease_events(snapshot, id)?))?;
        Ok(Resolved::nodes(events.into_iter().map(|event| {
            let mut detail = event.detail;
            if let Some(detail) = detail.as_object_mut() {
                // whose it is, not which
                detail.remove("token");
            }
            let data = json!({
                "seq": event.seq.to_string(),
                "at": format_date(event.at),
                "kind": event.kind,
                "epoch": event.epoch,
                "detail": detail.to_string(),
            });
            Node::Data("ConnectorLeaseEvent", data)
        })))
    }
}
