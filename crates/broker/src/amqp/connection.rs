//! The part of a connection that others than its session use: who it is, what is sent to it, what it waits for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::channel::{ChannelPort, Consumer};
use super::error::Fault;
use super::outbox::Outbox;

/// A client that has this many published messages, or body bytes, waiting for the disk is not read from until some are written.
const MAX_WAITING: u64 = 4096;
const MAX_WAITING_BYTES: u64 = 16 << 20;

/// Something that others ask of a session.
pub(crate) enum Command {
    /// Close the channel, if it still is that one: a message published without confirm could not be kept.
    CloseChannel {
        port: Arc<ChannelPort>,
        fault: Fault,
    },
    /// The queue of this consumer is gone.
    CancelConsumer(Arc<Consumer>),
    /// Close the connection.
    Close(Fault),
}

/// A connection.
pub(crate) struct Connection {
    pub id: u64,
    pub peer: SocketAddr,
    pub outbox: Arc<Outbox>,
    pub commands: UnboundedSender<Command>,
    /// The login, once there is one.
    user: Mutex<String>,
    frame_max: AtomicUsize,
    /// Its credentials count no more: nothing that it says is heard.
    revoked: AtomicBool,
    waiting: AtomicU64,
    waiting_bytes: AtomicU64,
    /// Told when a published message has been written or refused.
    settled: Notify,
    /// Told when the handshake must end.
    given_up: Notify,
    /// All consumers of all channels, to be woken when there is room in the outbox.
    consumers: Mutex<Vec<Arc<Consumer>>>,
}

impl Connection {
    pub fn new(
        id: u64,
        peer: SocketAddr,
        outbox: Arc<Outbox>,
        commands: UnboundedSender<Command>,
        frame_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            peer,
            outbox,
            commands,
            user: Mutex::default(),
            frame_max: AtomicUsize::new(frame_max),
            revoked: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            settled: Notify::new(),
            given_up: Notify::new(),
            consumers: Mutex::default(),
        })
    }

    pub fn user(&self) -> String {
        self.user.lock().clone()
    }

    pub fn set_user(&self, user: &str) {
        user.clone_into(&mut self.user.lock());
    }

    /// Largest frame in octets that both sides agreed on.
    pub fn frame_max(&self) -> usize {
        self.frame_max.load(Ordering::Relaxed)
    }

    pub fn set_frame_max(&self, octets: usize) {
        self.frame_max.store(octets, Ordering::Relaxed);
    }

    /// Asks the session for something; it may be gone.
    pub fn command(&self, command: Command) {
        drop(self.commands.send(command));
    }

    /// Ends it because its credentials count no more; what it has sent and nobody has read is not heard.
    pub fn revoke(&self, fault: Fault) {
        self.revoked.store(true, Ordering::Release);
        self.command(Command::Close(fault));
    }

    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Asks the session to end, with the reason if the client is beyond its handshake.
    pub fn close(&self, fault: Fault) {
        self.command(Command::Close(fault));
        self.give_up();
    }

    /// Ends the connection if it is in its handshake.
    pub fn give_up(&self) {
        self.given_up.notify_one();
    }

    /// Waits for [`Connection::give_up`].
    pub async fn is_given_up(&self) {
        self.given_up.notified().await;
    }

    /// A published message goes to the disk.
    pub fn publish_started(&self, bytes: u64) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A published message is on the disk, or was refused.
    pub fn publish_ended(&self, bytes: u64) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Release);
        self.settled.notify_waiters();
    }

    /// Whether more may be read from the client.
    pub fn may_publish_more(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < MAX_WAITING
            && self.waiting_bytes.load(Ordering::Relaxed) < MAX_WAITING_BYTES
    }

    /// Waits until [`Connection::may_publish_more`].
    pub async fn room_to_publish(&self) {
        self.until(|| self.may_publish_more()).await;
    }

    /// Waits until everything published has been written or refused, at most that long.
    pub async fn all_settled(&self, patience: Duration) {
        let settled = self.until(|| self.waiting.load(Ordering::Acquire) == 0);
        drop(tokio::time::timeout(patience, settled).await);
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if condition() {
                return;
            }
            settled.await;
        }
    }

    pub fn add_consumer(&self, consumer: Arc<Consumer>) {
        self.consumers.lock().push(consumer);
    }

    pub fn remove_consumer(&self, consumer: &Arc<Consumer>) {
        self.consumers
            .lock()
            .retain(|known| !Arc::ptr_eq(known, consumer));
    }

    /// Tells the dispatchers of its consumers that there is room in the outbox.
    pub fn wake_consumers(&self) {
        for consumer in self.consumers.lock().iter() {
            consumer.signal.notify_one();
        }
    }
}
