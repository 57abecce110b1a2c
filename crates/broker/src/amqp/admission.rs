//! Which connections there are: those that have not logged in apart from those that have, each kind bounded.
//!
//! Whoever has not logged in may not keep others out. So a new connection is always taken, and when too many have not logged in the
//! oldest of the network that has most of them is given up: a flood crowds out itself, and a client that logs in at once gets in
//! even beside a flood from its own address.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

use super::connection::Connection;

/// All connections of a listener.
#[derive(Default)]
pub(crate) struct Connections {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Not logged in, by number and so by age.
    pending: BTreeMap<u64, Arc<Connection>>,
    admitted: HashMap<u64, Arc<Connection>>,
}

/// What became of a connection that has logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// There are as many as there may be; it may ask again.
    Full,
    /// It was given up in the meantime.
    GivenUp,
}

impl Connections {
    /// Takes a connection that begins its handshake. Answers the one that was given up for it.
    pub fn begin(
        &self,
        connection: &Arc<Connection>,
        max_pending: usize,
    ) -> Option<Arc<Connection>> {
        let mut inner = self.inner.lock();
        inner.pending.insert(connection.id, Arc::clone(connection));
        if inner.pending.len() <= max_pending.max(1) {
            return None;
        }
        let peers = inner
            .pending
            .values()
            .map(|connection| (connection.id, connection.peer.ip()));
        let least = least_deserving(peers)?;
        let given_up = inner.pending.remove(&least)?;
        drop(inner);
        given_up.give_up();
        Some(given_up)
    }

    /// Admits a connection that has logged in, unless it is admitted already.
    pub fn admit(&self, connection: &Connection, limit: usize) -> Admission {
        let mut inner = self.inner.lock();
        if inner.admitted.contains_key(&connection.id) {
            return Admission::Admitted;
        }
        if !inner.pending.contains_key(&connection.id) {
            return Admission::GivenUp;
        }
        if inner.admitted.len() >= limit {
            return Admission::Full;
        }
        if let Some(connection) = inner.pending.remove(&connection.id) {
            inner.admitted.insert(connection.id, connection);
        }
        Admission::Admitted
    }

    /// A connection has ended.
    pub fn remove(&self, connection: &Connection) {
        let mut inner = self.inner.lock();
        inner.pending.remove(&connection.id);
        inner.admitted.remove(&connection.id);
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        let inner = self.inner.lock();
        let mut all: Vec<_> = inner
            .pending
            .values()
            .chain(inner.admitted.values())
            .cloned()
            .collect();
        drop(inner);
        all.sort_unstable_by_key(|connection| connection.id);
        all
    }
}

/// The oldest connection of the network that has most of them, of connections given oldest first.
fn least_deserving(peers: impl Iterator<Item = (u64, IpAddr)>) -> Option<u64> {
    let mut networks: HashMap<IpAddr, (usize, u64)> = HashMap::new();
    for (id, address) in peers {
        networks.entry(network(address)).or_insert((0, id)).0 += 1;
    }
    networks
        .into_values()
        .max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)))
        .map(|(_, oldest)| oldest)
}

/// What one client commonly has at its disposal: an address, with IPv6 the 64-bit prefix.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections numbered from 1, oldest first.
    fn given_up(addresses: &[&str]) -> Option<u64> {
        let addresses = addresses
            .iter()
            .map(|address| address.parse::<IpAddr>().unwrap());
        least_deserving((1..).zip(addresses))
    }

    #[test]
    fn the_oldest_of_the_busiest_network_is_given_up() {
        assert_eq!(given_up(&["10.0.0.1", "10.0.0.1"]), Some(1));
        assert_eq!(
            given_up(&["10.0.0.9", "10.0.0.1", "10.0.0.1", "10.0.0.8"]),
            Some(2),
            "older ones of others stay"
        );
        assert_eq!(
            given_up(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
            Some(1),
            "among equals the oldest"
        );
        assert_eq!(given_up(&[]), None);
    }

    #[test]
    fn addresses_that_one_client_can_choose_from_are_one_network() {
        let prefix = ["2001:db8::9", "2001:db8:0:1::1", "2001:db8:0:1:ff::2"];
        assert_eq!(given_up(&prefix), Some(2));
        let mapped = ["10.0.0.9", "10.0.0.1", "::ffff:10.0.0.1"];
        assert_eq!(given_up(&mapped), Some(2));
    }
}
