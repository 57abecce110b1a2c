//! One connection from accept to close: reading frames in order, answering them, and ending cleanly.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::Broker;
use super::auth::Principal;
use super::channel::{Channel, ChannelPort, Consumer, Unacked};
use super::codec::{self, Frame, FrameKind, MethodId, short};
use super::connection::{Command, Connection};
use super::error::{Fault, Scope, reply};
use super::metrics::count;
use super::outbox::{Outbox, SESSION_WATER, send};
use crate::queue::DeleteConditions;

/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;
/// How long the server waits for the client's answer to connection.close, and for writes to finish before it answers the client's.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A connection being served.
pub(crate) struct Session {
    pub broker: Arc<Broker>,
    pub connection: Arc<Connection>,
    pub principal: Principal,
    pub user: String,
    pub channel_max: u16,
    /// What the client can do, from its capabilities.
    pub client: ClientAbilities,
    pub channels: HashMap<u16, Channel>,
    /// Exclusive queues of this connection, deleted with it.
    pub own_queues: Vec<String>,
    pub heartbeat: Duration,
    pub last_received: Instant,
    socket: OwnedReadHalf,
    received: BytesMut,
    commands: UnboundedReceiver<Command>,
    sender: JoinHandle<()>,
}

/// Capabilities that the client announced and that change what it is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClientAbilities {
    pub consumer_cancel_notify: bool,
    pub authentication_failure_close: bool,
}

/// How a session goes on.
pub(crate) enum Flow {
    Continue,
    /// The connection is over; everything that must be sent is in the outbox.
    End,
}

/// What a session waits for.
enum Event {
    Readable(std::io::Result<()>),
    Command(Option<Command>),
    /// The client is silent for too long.
    Silent,
    /// Nothing can be sent any more.
    SenderEnded,
}

/// Serves a connection until its end. It is registered when this returns, not when the future first runs.
pub(crate) fn serve(
    broker: Arc<Broker>,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    id: u64,
) -> impl Future<Output = ()> + Send {
    // confirms are small and must not wait for more
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "the socket refuses TCP_NODELAY");
    }
    let (socket, write_half) = stream.into_split();
    let outbox = Arc::new(Outbox::new(Arc::clone(&broker.outbound)));
    let (sender, commands) = unbounded_channel();
    let frame_max = broker.options.frame_max as usize;
    let connection = Connection::new(id, peer, Arc::clone(&outbox), sender, frame_max);
    broker.register(&connection);
    let waker = Arc::clone(&connection);
    let mut session = Session {
        principal: Principal::connector(""),
        user: String::new(),
        channel_max: broker.options.channel_max,
        client: ClientAbilities::default(),
        channels: HashMap::new(),
        own_queues: Vec::new(),
        heartbeat: Duration::ZERO,
        last_received: Instant::now(),
        socket,
        received: BytesMut::new(),
        commands,
        sender: tokio::spawn(send(outbox, write_half, move || waker.wake_consumers())),
        connection,
        broker,
    };
    async move {
        if session.begin().await {
            session.run().await;
        }
        session.end().await;
    }
}

impl Session {
    /// Goes through the handshake, within its time and as long as the client is not given up. Whether the connection is open.
    async fn begin(&mut self) -> bool {
        let connection = Arc::clone(&self.connection);
        let patience = self.broker.options.handshake_timeout;
        let handshake = async {
            match self.shake_hands().await {
                Ok(Flow::Continue) => true,
                Ok(Flow::End) => false,
                Err(fault) => {
                    self.fail(fault).await;
                    false
                }
            }
        };
        tokio::select! {
            biased;
            () = connection.is_given_up() => {
                // the place is needed now
                connection.outbox.kill();
                false
            }
            finished = timeout(patience, handshake) => finished.unwrap_or_else(|_| {
                tracing::info!(peer = %connection.peer, "AMQP handshake not completed in time, connection closed");
                false
            }),
        }
    }

    async fn run(&mut self) {
        loop {
            let flow = match self.next_event().await {
                Event::Readable(readable) => match readable.and_then(|()| self.fill()) {
                    Ok(true) => self.handle_received().await,
                    Ok(false) => Ok(Flow::End),
                    Err(error) => {
                        tracing::debug!(%error, peer = %self.connection.peer, "AMQP connection lost");
                        Ok(Flow::End)
                    }
                },
                Event::Command(Some(command)) => self.obey(command).await,
                Event::Command(None) | Event::SenderEnded => Ok(Flow::End),
                Event::Silent => {
                    tracing::info!(peer = %self.connection.peer, user = %self.user, "missed heartbeats, AMQP connection closed");
                    self.connection.outbox.kill();
                    Ok(Flow::End)
                }
            };
            match flow {
                Ok(Flow::Continue) => {}
                Ok(Flow::End) => return,
                Err(fault) => return self.fail(fault).await,
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let silence = self.last_received + self.heartbeat * 2;
        tokio::select! {
            // what has arrived counts before the silence that it ends
            biased;
            command = self.commands.recv() => Event::Command(command),
            readable = self.socket.readable() => Event::Readable(readable),
            () = sleep_until(silence), if !self.heartbeat.is_zero() => Event::Silent,
            _ = &mut self.sender => Event::SenderEnded,
        }
    }

    /// Reads what is there. False at the end of the stream.
    fn fill(&mut self) -> std::io::Result<bool> {
        // without a frame in progress no buffer is kept, so that an idle connection costs little
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        self.received.reserve(READ_BYTES);
        match self.socket.try_read_buf(&mut self.received) {
            Ok(0) => Ok(false),
            Ok(_) => {
                self.last_received = Instant::now();
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Waits for the next frame, for the handshake and the end. `None` at the end of the stream.
    pub async fn read_frame(&mut self) -> Result<Option<Frame>, Fault> {
        loop {
            if let Some(frame) = codec::next_frame(&mut self.received, self.connection.frame_max())?
            {
                return Ok(Some(frame));
            }
            let filled = match self.socket.readable().await {
                Ok(()) => self.fill(),
                Err(error) => Err(error),
            };
            if !matches!(filled, Ok(true)) {
                return Ok(None);
            }
        }
    }

    /// Waits for exactly so many bytes. `None` at the end of the stream.
    pub async fn read_exactly(&mut self, count: usize) -> Option<BytesMut> {
        while self.received.len() < count {
            self.socket.readable().await.ok()?;
            if !matches!(self.fill(), Ok(true)) {
                return None;
            }
        }
        Some(self.received.split_to(count))
    }

    async fn handle_received(&mut self) -> Result<Flow, Fault> {
        while let Some(frame) = codec::next_frame(&mut self.received, self.connection.frame_max())?
        {
            if self.connection.is_revoked() {
                // the reason waits among the commands
                return Ok(Flow::Continue);
            }
            let channel = frame.channel;
            match self.handle(frame).await {
                Ok(Flow::Continue) => {}
                Ok(Flow::End) => return Ok(Flow::End),
                Err(fault) if fault.scope == Scope::Channel => self.close_channel(channel, &fault),
                Err(fault) => return Err(fault),
            }
            self.slow_down().await;
        }
        Ok(Flow::Continue)
    }

    /// Waits while the client has too much on its way to the disk, or leaves too many answers unread.
    async fn slow_down(&mut self) {
        if self.connection.may_publish_more() && self.connection.outbox.len() < SESSION_WATER {
            return;
        }
        self.connection.room_to_publish().await;
        let outbox = Arc::clone(&self.connection.outbox);
        loop {
            let drained = outbox.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            // a client that reads nothing at all is given up by the sending task, which empties the outbox
            if outbox.len() < SESSION_WATER {
                break;
            }
            drained.await;
        }
        self.last_received = Instant::now();
    }

    async fn handle(&mut self, frame: Frame) -> Result<Flow, Fault> {
        match frame.kind {
            FrameKind::Heartbeat if frame.channel == 0 => Ok(Flow::Continue),
            FrameKind::Heartbeat => Err(Fault::connection(
                reply::FRAME_ERROR,
                "heartbeat on a channel other than 0",
            )),
            FrameKind::Method => {
                let id = codec::method_id(&frame.payload);
                self.method(frame, id).await.map_err(|fault| fault.at(id))
            }
            FrameKind::Header | FrameKind::Body => {
                self.content(frame).await.map(|()| Flow::Continue)
            }
        }
    }

    async fn method(&mut self, frame: Frame, id: MethodId) -> Result<Flow, Fault> {
        let number = frame.channel;
        if self
            .channels
            .get(&number)
            .is_some_and(|channel| channel.publishing.is_some())
        {
            return Err(Fault::connection(
                reply::UNEXPECTED_FRAME,
                format!("expected content for class 60 on channel {number}, got a method"),
            ));
        }
        let method = codec::decode_method(&frame.payload)?;
        if number == 0 {
            return self.connection_method(method.class).await;
        }
        match method.class {
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                self.open_channel(number).map(|()| Flow::Continue)
            }
            AMQPClass::Connection(_) => Err(Fault::connection(
                reply::COMMAND_INVALID,
                "a connection method on a channel other than 0",
            )),
            class => {
                let channel = self.channels.get_mut(&number);
                let channel = channel.ok_or_else(|| {
                    Fault::connection(reply::CHANNEL_ERROR, "expected 'channel.open'")
                })?;
                if channel.closing {
                    self.closing_channel_method(number, &class);
                    return Ok(Flow::Continue);
                }
                match class {
                    AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                        self.client_closes_channel(number).await;
                    }
                    AMQPClass::Channel(method) => self.channel_method(number, &method)?,
                    class => {
                        self.queue_or_basic_method(number, class, method.arguments, id)
                            .await?;
                    }
                }
                Ok(Flow::Continue)
            }
        }
    }

    async fn connection_method(&mut self, class: AMQPClass) -> Result<Flow, Fault> {
        match class {
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                // what was published before is on the disk when the client hears that the connection is closed
                self.connection.all_settled(CLOSE_PATIENCE).await;
                let close_ok =
                    AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
                self.connection
                    .outbox
                    .push(|out| codec::put_method(out, 0, close_ok));
                Ok(Flow::End)
            }
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => Ok(Flow::End),
            AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(_)) => Err(
                Fault::connection(reply::NOT_IMPLEMENTED, "connection.update-secret"),
            ),
            _ => Err(Fault::connection(
                reply::COMMAND_INVALID,
                "this method is not expected on channel 0 now",
            )),
        }
    }

    fn open_channel(&mut self, number: u16) -> Result<(), Fault> {
        if number > self.channel_max {
            let text = format!(
                "channel {number} is above the negotiated channel_max ({})",
                self.channel_max
            );
            return Err(Fault::connection(reply::NOT_ALLOWED, text));
        }
        if self.channels.contains_key(&number) {
            return Err(Fault::connection(
                reply::CHANNEL_ERROR,
                "second 'channel.open' seen",
            ));
        }
        let port = ChannelPort::new(number, Arc::clone(&self.connection));
        let open_ok = AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}));
        port.push(|out| codec::put_method(out, number, open_ok));
        self.channels.insert(number, Channel::new(port));
        count(&self.broker.counters.channels);
        Ok(())
    }

    fn channel_method(&mut self, number: u16, method: &channel::AMQPMethod) -> Result<(), Fault> {
        match method {
            channel::AMQPMethod::Flow(flow) if flow.active => {
                self.answer(
                    number,
                    AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk {
                        active: true,
                    })),
                );
                Ok(())
            }
            channel::AMQPMethod::Flow(_) => {
                Err(Fault::connection(reply::NOT_IMPLEMENTED, "active=false"))
            }
            channel::AMQPMethod::FlowOk(_) | channel::AMQPMethod::CloseOk(_) => Ok(()),
            _ => Err(Fault::connection(
                reply::COMMAND_INVALID,
                "this channel method is not expected now",
            )),
        }
    }

    /// A channel that the server has closed only waits for the client's close-ok, or for its own close that crossed.
    fn closing_channel_method(&mut self, number: u16, class: &AMQPClass) {
        match class {
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => {
                self.channels.remove(&number);
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                let close_ok =
                    AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}));
                self.connection
                    .outbox
                    .push(|out| codec::put_method(out, number, close_ok));
                self.channels.remove(&number);
            }
            _ => {}
        }
    }

    async fn client_closes_channel(&mut self, number: u16) {
        self.connection.all_settled(CLOSE_PATIENCE).await;
        if let Some(channel) = self.channels.remove(&number) {
            let close_ok = AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}));
            self.shut_channel(channel, |out| codec::put_method(out, number, close_ok));
        }
    }

    /// Closes a channel because of an error and waits for the client's close-ok.
    pub fn close_channel(&mut self, number: u16, fault: &Fault) {
        let Some(channel) = self.channels.remove(&number) else {
            return;
        };
        tracing::info!(peer = %self.connection.peer, user = %self.user, channel = number, fault = %fault.reply_text(), "AMQP channel closed");
        let mut waiting = Channel::new(Arc::clone(&channel.port));
        waiting.closing = true;
        let close = channel::Close {
            reply_code: fault.code.0,
            reply_text: short(&fault.reply_text()),
            class_id: fault.method.0,
            method_id: fault.method.1,
        };
        self.shut_channel(channel, |out| {
            codec::put_method(
                out,
                number,
                AMQPClass::Channel(channel::AMQPMethod::Close(close)),
            );
        });
        self.channels.insert(number, waiting);
    }

    /// Ends a channel with a last message: its consumers go, what it had not settled goes back to the queues.
    fn shut_channel(&mut self, mut channel: Channel, last: impl FnOnce(&mut Vec<u8>)) {
        if !channel.closing {
            self.broker
                .counters
                .channels
                .fetch_sub(1, Ordering::Relaxed);
        }
        for (_, consumer) in channel.consumers.drain() {
            self.remove_consumer(&consumer);
        }
        let unacked = channel.port.close(last);
        self.requeue(unacked);
    }

    /// Gives deliveries back to their queues, in their old order.
    pub fn requeue(&self, unacked: Vec<Unacked>) {
        let mut by_queue: HashMap<Arc<str>, Vec<u64>> = HashMap::new();
        let number = unacked.len() as u64;
        let mut consumers = Vec::new();
        for Unacked {
            queue,
            seq,
            consumer,
        } in unacked
        {
            by_queue.entry(queue).or_default().push(seq);
            consumers.extend(consumer);
        }
        for (queue, seqs) in by_queue {
            self.broker.queues.release(&queue, &seqs, true);
        }
        for consumer in consumers {
            consumer.settled();
        }
        self.broker
            .counters
            .requeued
            .fetch_add(number, Ordering::Relaxed);
    }

    /// Takes a consumer away, and its queue when that was to live only as long.
    pub fn remove_consumer(&self, consumer: &Arc<Consumer>) {
        if self.broker.dispatchers.remove(consumer) {
            let conditions = DeleteConditions {
                if_unused: true,
                if_empty: false,
            };
            drop(self.broker.queues.delete(&consumer.queue, conditions));
        }
    }

    async fn obey(&mut self, command: Command) -> Result<Flow, Fault> {
        match command {
            Command::Close(fault) => Err(fault),
            Command::CloseChannel { port, fault } => {
                let number = port.id;
                if self
                    .channels
                    .get(&number)
                    .is_some_and(|channel| !channel.closing && Arc::ptr_eq(&channel.port, &port))
                {
                    self.close_channel(number, &fault);
                }
                Ok(Flow::Continue)
            }
            Command::CancelConsumer(consumer) => {
                let number = consumer.port.id;
                let known = self
                    .channels
                    .get_mut(&number)
                    .and_then(|channel| channel.consumers.remove(&consumer.tag));
                self.remove_consumer(&consumer);
                if known.is_some() && self.client.consumer_cancel_notify {
                    let cancel = basic::Cancel {
                        consumer_tag: short(&consumer.tag),
                        nowait: true,
                    };
                    self.answer(number, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
                }
                Ok(Flow::Continue)
            }
        }
    }

    /// Sends a method on a channel, unless that is closed.
    pub fn answer(&self, number: u16, class: AMQPClass) {
        if let Some(channel) = self.channels.get(&number) {
            channel
                .port
                .push(|out| codec::put_method(out, number, class));
        }
    }

    /// Closes the connection because of an error, and waits a little for the client to agree.
    async fn fail(&mut self, fault: Fault) {
        tracing::info!(peer = %self.connection.peer, user = %self.user, fault = %fault.reply_text(), "AMQP connection closed");
        let close = connection::Close {
            reply_code: fault.code.0,
            reply_text: short(&fault.reply_text()),
            class_id: fault.method.0,
            method_id: fault.method.1,
        };
        // channels first, so that nothing follows the close
        self.shut_all_channels();
        self.connection.outbox.push(|out| {
            codec::put_method(
                out,
                0,
                AMQPClass::Connection(connection::AMQPMethod::Close(close)),
            );
        });
        let agreed = async {
            while let Ok(Some(frame)) = self.read_frame().await {
                let MethodId(class, method) = codec::method_id(&frame.payload);
                if frame.kind == FrameKind::Method
                    && frame.channel == 0
                    && class == 10
                    && matches!(method, 50 | 51)
                {
                    break;
                }
            }
        };
        drop(timeout(CLOSE_PATIENCE, agreed).await);
    }

    fn shut_all_channels(&mut self) {
        for (_, channel) in std::mem::take(&mut self.channels) {
            self.shut_channel(channel, |_| {});
        }
    }

    /// Gives everything back and sends what is left.
    async fn end(mut self) {
        self.shut_all_channels();
        for queue in std::mem::take(&mut self.own_queues) {
            self.broker.forget_exclusive(&queue);
            drop(
                self.broker
                    .queues
                    .delete(&queue, DeleteConditions::default()),
            );
        }
        self.connection.outbox.finish();
        if !self.sender.is_finished() && timeout(CLOSE_PATIENCE, &mut self.sender).await.is_err() {
            self.sender.abort();
            self.connection.outbox.kill();
        }
        self.broker.unregister(&self.connection);
    }
}
