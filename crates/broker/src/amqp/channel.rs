//! A channel: what was delivered on it and not settled, what is being published on it, and its consumers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::budget::Share;
use super::codec;
use super::connection::Connection;
use crate::properties::EncodedProperties;
use crate::queue::Message;

/// The part of a channel that dispatchers and the writing thread of the queue file use as well.
pub(crate) struct ChannelPort {
    pub id: u16,
    pub connection: Arc<Connection>,
    state: Mutex<PortState>,
    /// Unsettled deliveries that all consumers of the channel together may have; 0 for no limit.
    prefetch: AtomicU32,
}

struct PortState {
    open: bool,
    last_tag: u64,
    unacked: BTreeMap<u64, Unacked>,
}

/// A delivery that is not settled.
#[derive(Clone)]
pub(crate) struct Unacked {
    pub queue: Arc<str>,
    pub seq: u64,
    /// Who received it; nobody when it was fetched with basic.get.
    pub consumer: Option<Arc<Consumer>>,
}

/// What a consumer without a prefetch count may have unsettled, so that a client that never acknowledges does not fill the memory.
const NO_PREFETCH: u32 = 65_535;

/// A consumer of one queue on one channel.
pub(crate) struct Consumer {
    pub tag: String,
    pub queue: Arc<str>,
    pub no_ack: bool,
    pub exclusive: bool,
    pub port: Arc<ChannelPort>,
    /// Tells the queue's dispatcher that this consumer has room again.
    pub signal: Arc<Notify>,
    /// Unsettled deliveries that it may have.
    prefetch: u32,
    in_flight: AtomicU32,
    cancelled: AtomicBool,
}

impl ChannelPort {
    pub fn new(id: u16, connection: Arc<Connection>) -> Arc<Self> {
        let state = PortState {
            open: true,
            last_tag: 0,
            unacked: BTreeMap::new(),
        };
        Arc::new(Self {
            id,
            connection,
            state: Mutex::new(state),
            prefetch: AtomicU32::new(0),
        })
    }

    /// Limits the unsettled deliveries of all consumers together.
    pub fn set_prefetch(&self, count: u32) {
        self.prefetch.store(count, Ordering::Relaxed);
    }

    /// Appends frames unless the channel is closed, so that nothing follows a channel.close.
    pub fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let state = self.state.lock();
        if state.open {
            self.connection.outbox.push(write);
        }
    }

    /// Closes the port with a last message. Answers the unsettled deliveries, in order.
    pub fn close(&self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<Unacked> {
        let mut state = self.state.lock();
        if state.open {
            self.connection.outbox.push(write);
        }
        state.open = false;
        std::mem::take(&mut state.unacked).into_values().collect()
    }

    /// Sends a message to a consumer, or to the one who asked for it with basic.get. False when the channel is closed.
    fn send(&self, message: &Message, queue: &Arc<str>, to: Recipient<'_>) -> bool {
        let mut state = self.state.lock();
        if !state.open {
            return false;
        }
        let (consumer, no_ack) = match &to {
            Recipient::Consumer(consumer) if consumer.cancelled.load(Ordering::Relaxed) => {
                return false;
            }
            Recipient::Consumer(consumer) => (Some(Arc::clone(consumer)), consumer.no_ack),
            Recipient::Get { no_ack, .. } => (None, *no_ack),
        };
        state.last_tag += 1;
        let tag = state.last_tag;
        if !no_ack {
            if let Some(consumer) = &consumer {
                consumer.in_flight.fetch_add(1, Ordering::Relaxed);
            }
            state.unacked.insert(
                tag,
                Unacked {
                    queue: Arc::clone(queue),
                    seq: message.seq,
                    consumer,
                },
            );
        }
        let outbox = &self.connection.outbox;
        let frame_max = self.connection.frame_max();
        let Message {
            exchange,
            routing_key,
            redelivered,
            ..
        } = message;
        outbox.push_content(
            self.id,
            frame_max,
            message.properties.wire(),
            &message.body,
            |out| match to {
                Recipient::Consumer(consumer) => {
                    codec::put_deliver(
                        out,
                        self.id,
                        &consumer.tag,
                        tag,
                        *redelivered,
                        exchange,
                        routing_key,
                    );
                }
                Recipient::Get { write, .. } => write(out, tag),
            },
        );
        true
    }

    /// Answers basic.get; `write` makes the method for a delivery tag. False when the channel is closed.
    pub fn send_got(
        &self,
        message: &Message,
        queue: &Arc<str>,
        no_ack: bool,
        write: impl FnOnce(&mut Vec<u8>, u64),
    ) -> bool {
        self.send(
            message,
            queue,
            Recipient::Get {
                no_ack,
                write: Box::new(write),
            },
        )
    }

    /// Takes settled deliveries out: one tag, or everything up to it; tag 0 with `multiple` is everything. `None` for an unknown tag.
    pub fn settle(&self, tag: u64, multiple: bool) -> Option<Vec<Unacked>> {
        let mut state = self.state.lock();
        if !multiple {
            return state.unacked.remove(&tag).map(|unacked| vec![unacked]);
        }
        if tag == 0 {
            return Some(std::mem::take(&mut state.unacked).into_values().collect());
        }
        // a tag that was settled before is unknown, as is one that was never given
        if !state.unacked.contains_key(&tag) {
            return None;
        }
        let later = state.unacked.split_off(&(tag + 1));
        Some(
            std::mem::replace(&mut state.unacked, later)
                .into_values()
                .collect(),
        )
    }

    /// Whether its consumers share one limit of unacknowledged messages.
    pub fn shares_prefetch(&self) -> bool {
        self.prefetch.load(Ordering::Relaxed) != 0
    }

    fn has_room(&self) -> bool {
        let prefetch = self.prefetch.load(Ordering::Relaxed);
        let state = self.state.lock();
        state.open && (prefetch == 0 || state.unacked.len() < prefetch as usize)
    }
}

/// Makes basic.get-ok for a delivery tag.
type WriteGetOk<'a> = Box<dyn FnOnce(&mut Vec<u8>, u64) + 'a>;

enum Recipient<'a> {
    Consumer(&'a Arc<Consumer>),
    Get { no_ack: bool, write: WriteGetOk<'a> },
}

impl Consumer {
    pub fn new(
        tag: String,
        queue: &str,
        no_ack: bool,
        exclusive: bool,
        prefetch: u32,
        port: Arc<ChannelPort>,
        signal: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tag,
            queue: queue.into(),
            no_ack,
            exclusive,
            port,
            signal,
            prefetch: if prefetch == 0 { NO_PREFETCH } else { prefetch },
            in_flight: AtomicU32::new(0),
            cancelled: AtomicBool::new(false),
        })
    }

    /// How many messages it may be sent now.
    pub fn room(&self) -> usize {
        if self.cancelled.load(Ordering::Relaxed)
            || !self.port.connection.outbox.has_room()
            || !self.port.has_room()
        {
            return 0;
        }
        if self.no_ack {
            return usize::MAX;
        }
        self.prefetch
            .saturating_sub(self.in_flight.load(Ordering::Relaxed)) as usize
    }

    /// Sends it a message. False when it is gone.
    pub fn send(self: &Arc<Self>, message: &Message) -> bool {
        self.port
            .send(message, &self.queue, Recipient::Consumer(self))
    }

    /// One of its deliveries is settled.
    pub fn settled(&self) {
        // deliveries and settlements of one consumer are counted on both sides of a lock, so this never goes below zero
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.signal.notify_one();
    }

    /// It receives nothing any more. Answers whether it did until now.
    pub fn cancel(&self) -> bool {
        !self.cancelled.swap(true, Ordering::Relaxed)
    }
}

/// A channel as its session knows it.
pub(crate) struct Channel {
    pub port: Arc<ChannelPort>,
    /// The number of the next published message, when the client has asked for confirms.
    pub confirm: Option<u64>,
    pub publishing: Option<Publishing>,
    /// The limit for consumers that start from now on.
    pub prefetch: u32,
    pub consumers: HashMap<String, Arc<Consumer>>,
    /// What an empty queue name means.
    pub last_queue: Option<String>,
    /// The server has closed it and waits for the client's answer.
    pub closing: bool,
}

impl Channel {
    pub fn new(port: Arc<ChannelPort>) -> Self {
        Self {
            port,
            confirm: None,
            publishing: None,
            prefetch: 0,
            consumers: HashMap::new(),
            last_queue: None,
            closing: false,
        }
    }
}

/// A message that the client is sending.
pub(crate) struct Publishing {
    pub exchange: String,
    pub routing_key: String,
    pub mandatory: bool,
    /// There once the header has come.
    pub content: Option<Content>,
}

/// Header and the part of the body that has come.
pub(crate) struct Content {
    pub properties: EncodedProperties,
    pub body_size: usize,
    pub body: Body,
    pub share: Share,
}

/// A body that is being put together.
pub(crate) enum Body {
    /// At most one part has come; it is kept as it is.
    Whole(Bytes),
    Parts(BytesMut),
}

/// A part at most this large is copied out of the buffer in which it was received, which is much larger.
const COPY_UP_TO: usize = 16 << 10;

impl Body {
    pub fn new() -> Self {
        Self::Whole(Bytes::new())
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Parts(bytes) => bytes.len(),
        }
    }

    /// Appends a part of a body that will have `total` bytes, for which memory has been set aside.
    pub fn append(&mut self, part: Bytes, total: usize) {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => {
                *bytes = if part.len() <= COPY_UP_TO {
                    Bytes::copy_from_slice(&part)
                } else {
                    part
                };
            }
            Self::Whole(bytes) => {
                let mut parts = BytesMut::with_capacity(total);
                parts.extend_from_slice(bytes);
                parts.extend_from_slice(&part);
                *self = Self::Parts(parts);
            }
            Self::Parts(bytes) => bytes.extend_from_slice(&part),
        }
    }

    pub fn finish(self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Parts(bytes) => bytes.freeze(),
        }
    }
}
