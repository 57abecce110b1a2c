//! Who may use the broker: registered connectors with the password that their registration gave them.

use std::net::SocketAddr;

use ferrocti_broker::amqp::{Authenticator, Principal};

use crate::Connectors;

/// Lets connectors log in at the broker, each to its own queues.
#[derive(Debug, Clone)]
pub struct BrokerLogin(Connectors);

impl BrokerLogin {
    /// For the connectors of a platform.
    #[must_use]
    pub fn new(connectors: Connectors) -> Self {
        Self(connectors)
    }
}

impl Authenticator for BrokerLogin {
    fn authenticate(&self, user: &str, password: &str, peer: SocketAddr) -> Option<Principal> {
        let epoch = self
            .0
            .broker_login(user, password, peer.ip().to_canonical());
        if epoch.is_none() {
            tracing::warn!(%peer, "a login at the broker was refused: unknown connector or wrong password");
        }
        epoch.map(|epoch| Principal::connector(user).in_epoch(epoch))
    }
}
