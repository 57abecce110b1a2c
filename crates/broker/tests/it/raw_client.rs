//! An AMQP client that sends exactly the frames it is told to, right or wrong.

use amq_protocol::frame::{AMQPFrame, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, queue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, short};

pub const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// A socket and what was received on it.
pub struct RawClient {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawClient {
    /// Only connects.
    pub async fn connect(address: &str) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            received: Vec::new(),
        }
    }

    /// Connects and opens a connection as `guest`, with that frame size (0: the broker's) and heartbeat.
    pub async fn open(address: &str, frame_max: u32, heartbeat: u16) -> Self {
        let mut client = Self::connect(address).await;
        client.log_in("guest", "guest").await;
        let tuned = client.tuned().await;
        let frame_max = if frame_max == 0 {
            tuned.frame_max
        } else {
            frame_max
        };
        client
            .tune_ok(tuned.channel_max, frame_max, heartbeat)
            .await;
        client.open_vhost("/").await;
        let opened = client.method().await;
        assert!(
            matches!(
                opened,
                AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
            ),
            "{opened:?}"
        );
        client
    }

    /// Sends the protocol header and a login.
    pub async fn log_in(&mut self, user: &str, password: &str) {
        self.send(HEADER).await;
        let start = self.method().await;
        assert!(
            matches!(
                start,
                AMQPClass::Connection(connection::AMQPMethod::Start(_))
            ),
            "{start:?}"
        );
        let start_ok = connection::StartOk {
            mechanism: short("PLAIN"),
            response: format!("\0{user}\0{password}").into_bytes().into(),
            locale: short("en_US"),
            ..connection::StartOk::default()
        };
        self.say(
            0,
            AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)),
        )
        .await;
    }

    /// What the broker proposes.
    pub async fn tuned(&mut self) -> connection::Tune {
        match self.method().await {
            AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) => tune,
            other => panic!("expected connection.tune, got {other:?}"),
        }
    }

    pub async fn tune_ok(&mut self, channel_max: u16, frame_max: u32, heartbeat: u16) {
        let tune_ok = connection::TuneOk {
            channel_max,
            frame_max,
            heartbeat,
        };
        self.say(
            0,
            AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)),
        )
        .await;
    }

    pub async fn open_vhost(&mut self, vhost: &str) {
        let open = connection::Open {
            virtual_host: short(vhost),
        };
        self.say(0, AMQPClass::Connection(connection::AMQPMethod::Open(open)))
            .await;
    }

    /// Opens a channel and waits for the answer.
    pub async fn open_channel(&mut self, number: u16) {
        self.say(
            number,
            AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
        )
        .await;
        let opened = self.method().await;
        assert!(
            matches!(opened, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_))),
            "{opened:?}"
        );
    }

    /// Closes a channel and waits for the answer.
    pub async fn close_channel(&mut self, number: u16) {
        let close = channel::Close {
            reply_code: 200,
            ..channel::Close::default()
        };
        self.say(
            number,
            AMQPClass::Channel(channel::AMQPMethod::Close(close)),
        )
        .await;
        let closed = self.method().await;
        assert!(
            matches!(closed, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))),
            "{closed:?}"
        );
    }

    pub async fn publish(&mut self, number: u16, exchange: &str, key: &str) {
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(key),
            mandatory: false,
            immediate: false,
        };
        self.say(
            number,
            AMQPClass::Basic(basic::AMQPMethod::Publish(publish)),
        )
        .await;
    }

    /// Looks for a queue on a channel of its own. Answers the number of ready messages, or the code with which the channel was closed.
    pub async fn look_for(&mut self, number: u16, name: &str) -> Result<u32, u16> {
        self.open_channel(number).await;
        let declare = queue::Declare {
            queue: short(name),
            passive: true,
            ..queue::Declare::default()
        };
        self.say(
            number,
            AMQPClass::Queue(queue::AMQPMethod::Declare(declare)),
        )
        .await;
        match self.method().await {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(found)) => Ok(found.message_count),
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                let close_ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                self.say(number, AMQPClass::Channel(close_ok)).await;
                Err(close.reply_code)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until there is no queue of that name; the client has no channels before.
    pub async fn until_gone(&mut self, name: &str) {
        for _ in 0..2000 {
            match self.look_for(1, name).await {
                Err(404) => return,
                Err(_) => {}
                Ok(_) => self.close_channel(1).await,
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("{name} is still there");
    }

    /// Asks for publisher confirms.
    pub async fn select_confirms(&mut self, number: u16) {
        let select = confirm::Select { nowait: false };
        self.say(
            number,
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)),
        )
        .await;
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // the broker may have closed already; what it said is still read
        drop(self.stream.write_all(bytes).await);
    }

    pub async fn say(&mut self, number: u16, class: AMQPClass) {
        let frame = AMQPFrame::Method(number, class);
        let bytes = gen_frame(&frame)(Vec::new().into()).unwrap().into_inner().0;
        self.send(&bytes).await;
    }

    pub async fn frame(&mut self, kind: u8, number: u16, payload: &[u8]) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes.push(0xCE);
        self.send(&bytes).await;
    }

    /// A content header for a body of that size without properties.
    pub async fn header(&mut self, number: u16, class: u16, body_size: u64) {
        let mut payload = class.to_be_bytes().to_vec();
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(&body_size.to_be_bytes());
        payload.extend_from_slice(&[0, 0]);
        self.frame(2, number, &payload).await;
    }

    /// The next frame; `None` when the broker has closed the socket.
    pub async fn next(&mut self) -> Option<AMQPFrame> {
        let read = async {
            loop {
                if let Ok((rest, frame)) = parse_frame(&self.received[..]) {
                    let used = self.received.len() - rest.len();
                    self.received.drain(..used);
                    return Some(frame);
                }
                match self.stream.read_buf(&mut self.received).await {
                    Ok(count) if count > 0 => {}
                    _ => return None,
                }
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the broker answers or closes in time")
    }

    /// Everything that comes until the broker closes the socket.
    pub async fn rest(&mut self) -> Vec<u8> {
        let read = async {
            while matches!(self.stream.read_buf(&mut self.received).await, Ok(count) if count > 0) {
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the broker closes in time");
        std::mem::take(&mut self.received)
    }

    /// The next method, past heartbeats.
    pub async fn method(&mut self) -> AMQPClass {
        loop {
            match self.next().await.expect("the broker does not close") {
                AMQPFrame::Heartbeat => {}
                AMQPFrame::Method(_, class) => return class,
                other => panic!("expected a method, got {other:?}"),
            }
        }
    }

    /// Code and text with which the broker closes the connection, past everything else.
    pub async fn closed_with(&mut self) -> (u16, String) {
        self.closed()
            .await
            .expect("the broker does not close the socket without a word")
    }

    /// The same; `None` when the broker closes the socket without a word.
    pub async fn closed(&mut self) -> Option<(u16, String)> {
        while let Some(frame) = self.next().await {
            if let AMQPFrame::Method(
                0,
                AMQPClass::Connection(connection::AMQPMethod::Close(close)),
            ) = frame
            {
                return Some((close.reply_code, close.reply_text.to_string()));
            }
        }
        None
    }

    /// Code and text with which the broker closes a channel, past everything else.
    pub async fn channel_closed_with(&mut self) -> (u16, String) {
        while let Some(frame) = self.next().await {
            if let AMQPFrame::Method(_, AMQPClass::Channel(channel::AMQPMethod::Close(close))) =
                frame
            {
                return (close.reply_code, close.reply_text.to_string());
            }
        }
        panic!("the broker closed the socket without a word");
    }
}
