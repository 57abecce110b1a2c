//! The AMQP 0-9-1 listener: accepts connections and serves them on [`Queues`].
//!
//! Behaves like RabbitMQ for unmodified clients; `docs/development/broker.md` lists where it differs on purpose. Each connection
//! has a session task that reads and answers in order, and a task that sends; each queue with consumers has a dispatcher task.

mod admission;
mod auth;
mod basic;
mod budget;
mod channel;
mod codec;
mod connection;
mod dispatch;
mod error;
mod handshake;
mod methods;
mod metrics;
mod outbox;
mod publish;
mod session;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

pub use auth::{Authenticator, Principal};
pub use metrics::Metrics;

use admission::Connections;
use budget::Budget;
use connection::Connection;
use dispatch::Dispatchers;
use error::{Fault, reply};
use metrics::{Counters, count};

use crate::queue::Queues;

/// Passwords that are checked at the same time.
const CONCURRENT_LOGINS: usize = 4;

/// Address and limits of a listener.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Most channels on a connection.
    pub channel_max: u16,
    /// Largest frame in octets, at least 4096.
    pub frame_max: u32,
    /// Interval of heartbeats that is proposed to clients; what the client answers holds.
    pub heartbeat: Duration,
    /// Most connections at a time that have logged in; further ones are told so when they open.
    pub max_connections: usize,
    /// Most connections at a time that have not logged in yet; an older one is closed for each further one.
    pub max_pending: usize,
    /// A client must have opened its connection within this time.
    pub handshake_timeout: Duration,
    /// How long the refusal of a login is held back.
    pub login_delay: Duration,
    /// Memory for all bodies that are being received and written.
    pub body_budget: u64,
    /// How long a message waits for room in that memory before its connection is closed.
    pub body_patience: Duration,
}

impl ListenerOptions {
    /// The defaults with the given address: 128 channels, frames of 128 KiB, heartbeats of 60 s, 1024 connections and 256 that have not
    /// logged in yet, handshakes of at most 5 s, 256 MiB for bodies.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            channel_max: 128,
            frame_max: 131_072,
            heartbeat: Duration::from_secs(60),
            max_connections: 1024,
            max_pending: 256,
            handshake_timeout: Duration::from_secs(5),
            login_delay: Duration::from_millis(500),
            body_budget: 256 << 20,
            body_patience: Duration::from_secs(30),
        }
    }
}

/// Why a listener could not start.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Somebody else listens there.
    #[error("the AMQP port {0} is in use; stop the program that uses it or choose another port")]
    AddressInUse(SocketAddr),
    /// The system does not allow it.
    #[error(
        "no permission to listen on the AMQP port {0}; ports below 1024 need privileges, choose another port"
    )]
    NotPermitted(SocketAddr),
    /// Anything else.
    #[error("cannot listen for AMQP on {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// What all sessions share.
struct Broker {
    queues: Queues,
    authenticator: Arc<dyn Authenticator>,
    options: ListenerOptions,
    counters: Arc<Counters>,
    dispatchers: Arc<Dispatchers>,
    logins: Arc<Semaphore>,
    /// Memory for bodies on their way in.
    bodies: Arc<Budget>,
    /// Bytes that wait to be sent on all connections.
    outbound: Arc<AtomicU64>,
    connections: Connections,
    /// Told when a connection has ended.
    ended: Notify,
    /// Exclusive queues and the connections that own them.
    exclusive: Mutex<HashMap<String, u64>>,
    names: AtomicU64,
    closing: AtomicBool,
}

impl Broker {
    fn register(&self, connection: &Arc<Connection>) {
        count(&self.counters.accepted);
        count(&self.counters.connections);
        let limit = self.options.max_pending;
        if let Some(given_up) = self.connections.begin(connection, limit) {
            count(&self.counters.refused);
            tracing::debug!(peer = %given_up.peer, limit, "too many AMQP connections that have not logged in, this one is closed");
        }
        // a connection accepted while the listener closes must not be forgotten
        if self.closing.load(Ordering::SeqCst) {
            connection.close(shutting_down());
        }
    }

    fn unregister(&self, connection: &Connection) {
        self.connections.remove(connection);
        self.counters.connections.fetch_sub(1, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    fn exclusive_owner(&self, queue: &str) -> Option<u64> {
        self.exclusive.lock().get(queue).copied()
    }

    fn note_exclusive(&self, queue: &str, owner: u64) {
        self.exclusive.lock().insert(queue.to_owned(), owner);
    }

    fn forget_exclusive(&self, queue: &str) {
        self.exclusive.lock().remove(queue);
    }

    /// A name that no other queue has: queues with such names do not outlive the process, and are numbered within it.
    fn new_queue_name(&self) -> String {
        loop {
            let name = format!(
                "amq.gen-{:016x}-{}",
                (self.queues.options().clock)(),
                self.names.fetch_add(1, Ordering::Relaxed)
            );
            if self.queues.settings(&name).is_none() {
                return name;
            }
        }
    }

    fn new_consumer_tag(&self) -> String {
        format!("amq.ctag-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }
}

fn shutting_down() -> Fault {
    Fault::connection(
        reply::CONNECTION_FORCED,
        "broker forced connection closure with reason 'shutdown'",
    )
}

/// One connection in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The login; empty while the handshake lasts.
    pub user: String,
    /// The client's address.
    pub peer: SocketAddr,
}

/// A running listener; clones share it. It runs until [`Listener::shutdown`], whatever happens to the handles.
#[derive(Clone)]
pub struct Listener {
    broker: Arc<Broker>,
    address: SocketAddr,
    accepting: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Starts listening. Must be called within a Tokio runtime.
    pub async fn bind(
        options: ListenerOptions,
        queues: Queues,
        authenticator: Arc<dyn Authenticator>,
    ) -> Result<Self, ListenerError> {
        let address = options.address;
        let socket = TcpListener::bind(address)
            .await
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::AddrInUse => ListenerError::AddressInUse(address),
                std::io::ErrorKind::PermissionDenied => ListenerError::NotPermitted(address),
                _ => ListenerError::Io { address, source },
            })?;
        let address = socket
            .local_addr()
            .map_err(|source| ListenerError::Io { address, source })?;
        let counters = Arc::new(Counters::default());
        let options = ListenerOptions {
            frame_max: options.frame_max.max(codec::FRAME_MIN_SIZE),
            ..options
        };
        let broker = Arc::new(Broker {
            dispatchers: Dispatchers::new(queues.clone(), Arc::clone(&counters)),
            logins: Arc::new(Semaphore::new(CONCURRENT_LOGINS)),
            bodies: Budget::new(options.body_budget),
            queues,
            authenticator,
            options,
            counters,
            outbound: Arc::default(),
            connections: Connections::default(),
            ended: Notify::new(),
            exclusive: Mutex::default(),
            names: AtomicU64::new(1),
            closing: AtomicBool::new(false),
        });
        let accepting = tokio::spawn(accept(Arc::clone(&broker), socket));
        Ok(Self {
            broker,
            address,
            accepting: Arc::new(Mutex::new(Some(accepting))),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections of a user, because the credentials were revoked. Answers how many.
    pub fn disconnect(&self, user: &str) -> usize {
        let fault = Fault::connection(
            reply::CONNECTION_FORCED,
            "the credentials of this connection have been revoked",
        );
        let mut closed = 0;
        for connection in self.broker.connections.all() {
            if connection.user() == user {
                connection.revoke(fault.clone());
                closed += 1;
            }
        }
        closed
    }

    /// The connections, oldest first.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let info = |connection: &Arc<Connection>| ConnectionInfo {
            user: connection.user(),
            peer: connection.peer,
        };
        self.broker.connections.all().iter().map(info).collect()
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        self.broker.counters.snapshot(self.broker.bodies.used())
    }

    /// Stops accepting, tells all clients that the broker closes, waits for them at most `patience`, and makes everything durable.
    pub async fn shutdown(&self, patience: Duration) {
        self.broker.closing.store(true, Ordering::SeqCst);
        let accepting = self.accepting.lock().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // an aborted task answers with an error, which is what is wanted
            drop(accepting.await);
        }
        for connection in self.broker.connections.all() {
            connection.close(shutting_down());
        }
        let all_ended = async {
            loop {
                let ended = self.broker.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if self.broker.counters.connections.load(Ordering::SeqCst) == 0 {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(patience, all_ended).await.is_err() {
            tracing::warn!("some AMQP clients did not answer the closing of their connections");
        }
        if let Err(error) = self.broker.queues.flush().await {
            tracing::warn!(%error, "the last acknowledgements were not written, their messages will be delivered again");
        }
    }
}

async fn accept(broker: Arc<Broker>, socket: TcpListener) {
    let mut next_id = 1;
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(session::serve(Arc::clone(&broker), stream, peer, next_id));
                next_id += 1;
            }
            Err(error) => {
                // usually too many open files: goes on when connections have ended
                tracing::warn!(%error, "an AMQP connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
