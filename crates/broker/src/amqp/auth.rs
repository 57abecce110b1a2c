//! Who may connect, and what they may do. How credentials are checked is injected.

use std::net::SocketAddr;

use crate::queue::{WORKER_EXCHANGE, listen_queue, push_queue, push_routing};

/// Checks logins. Called on a thread that may block; must take the same time for an unknown user as for a wrong password.
pub trait Authenticator: Send + Sync + 'static {
    /// Who that is, or `None` when the password is wrong or the user is unknown.
    fn authenticate(&self, user: &str, password: &str, peer: SocketAddr) -> Option<Principal>;
}

/// What a connection may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    grant: Grant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Grant {
    Platform,
    Connector {
        id: String,
        epoch: i64,
        push_routing: String,
        push_queue: String,
        listen_queue: String,
    },
}

impl Principal {
    /// A connector: publishes to its push queue through the worker exchange, consumes its listen queue, nothing else.
    pub fn connector(connector_id: &str) -> Self {
        let grant = Grant::Connector {
            id: connector_id.to_owned(),
            epoch: 0,
            push_routing: push_routing(connector_id),
            push_queue: push_queue(connector_id),
            listen_queue: listen_queue(connector_id),
        };
        Self { grant }
    }

    /// The same in an epoch of the connector: when a later one begins, it may do nothing any more.
    #[must_use]
    pub fn in_epoch(mut self, of: i64) -> Self {
        if let Grant::Connector { epoch, .. } = &mut self.grant {
            *epoch = of;
        }
        self
    }

    /// The connector that it is, and in which epoch.
    pub fn author(&self) -> Option<(&str, i64)> {
        match &self.grant {
            Grant::Platform => None,
            Grant::Connector { id, epoch, .. } => Some((id, *epoch)),
        }
    }

    /// The platform itself and its administrators: everything.
    pub fn platform() -> Self {
        Self {
            grant: Grant::Platform,
        }
    }

    /// Whether it may publish with that routing key to that exchange.
    pub fn may_publish(&self, exchange: &str, routing_key: &str) -> bool {
        match &self.grant {
            Grant::Platform => true,
            Grant::Connector { push_routing, .. } => {
                exchange == WORKER_EXCHANGE && routing_key == push_routing
            }
        }
    }

    /// Whether it may take messages from that queue.
    pub fn may_consume(&self, queue: &str) -> bool {
        match &self.grant {
            Grant::Platform => true,
            Grant::Connector { listen_queue, .. } => queue == listen_queue,
        }
    }

    /// Whether it may ask for the number of messages in that queue (a passive declaration).
    pub fn may_inspect(&self, queue: &str) -> bool {
        match &self.grant {
            Grant::Platform => true,
            Grant::Connector {
                push_queue,
                listen_queue,
                ..
            } => queue == listen_queue || queue == push_queue,
        }
    }

    /// Whether it may make, bind, purge and delete queues and exchanges.
    pub fn may_configure(&self) -> bool {
        self.grant == Grant::Platform
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_is_confined_to_its_own_queues() {
        let connector = Principal::connector("a");
        assert!(connector.may_publish(WORKER_EXCHANGE, "push_routing_a"));
        assert!(connector.may_consume("listen_a"));
        assert!(connector.may_inspect("push_a"));
        for refused in [
            connector.may_publish(WORKER_EXCHANGE, "push_routing_b"),
            connector.may_publish("", "push_a"),
            connector.may_publish("amqp.connector.exchange", "push_routing_a"),
            connector.may_consume("push_a"),
            connector.may_consume("listen_b"),
            connector.may_inspect("listen_b"),
            connector.may_configure(),
        ] {
            assert!(!refused);
        }
    }
}
