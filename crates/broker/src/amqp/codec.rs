//! Frames on the wire: cutting them out of received bytes, decoding methods, writing frames.
//!
//! Frame sizes, permitted methods and the nesting of tables are checked here before the bytes reach the codec crate, which
//! limits none of them. Content headers and bodies are not decoded by the codec at all: properties stay as they came.

use amq_protocol::frame::{AMQPFrame, gen_frame};
use amq_protocol::protocol::{AMQPClass, parse_class};
use amq_protocol::types::ShortString;
use bytes::{Buf, Bytes, BytesMut};

use super::error::{Fault, reply};
use crate::properties::{Cursor, MalformedProperties};

/// What a client sends first, and what it is answered when it sends something else.
pub(crate) const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// Bytes of a frame besides its payload.
pub(crate) const FRAME_OVERHEAD: usize = 8;
/// Smallest frame size that both sides must be able to use.
pub(crate) const FRAME_MIN_SIZE: u32 = 4096;
/// Class of everything that concerns messages.
pub(crate) const BASIC: u16 = 60;

const FRAME_END: u8 = 0xCE;

/// Kinds of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Method,
    Header,
    Body,
    Heartbeat,
}

impl FrameKind {
    fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// A frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: FrameKind,
    pub channel: u16,
    pub payload: Bytes,
}

/// Cuts the first frame out of what has been received; `None` when it is not complete yet. `frame_max` counts the whole frame.
pub(crate) fn next_frame(
    received: &mut BytesMut,
    frame_max: usize,
) -> Result<Option<Frame>, Fault> {
    let Some(head) = received.first_chunk::<7>() else {
        return Ok(None);
    };
    let [kind, channel_high, channel_low, size @ ..] = *head;
    let kind = FrameKind::from_octet(kind).ok_or_else(|| {
        Fault::connection(reply::FRAME_ERROR, format!("frame type {kind} is unknown"))
    })?;
    let channel = u16::from_be_bytes([channel_high, channel_low]);
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if size > frame_max - FRAME_OVERHEAD {
        let text = format!(
            "frame of {size} payload octets is larger than the negotiated maximum {}",
            frame_max - FRAME_OVERHEAD
        );
        return Err(Fault::connection(reply::FRAME_ERROR, text));
    }
    let Some(end) = received.get(7 + size) else {
        return Ok(None);
    };
    if *end != FRAME_END {
        return Err(Fault::connection(
            reply::FRAME_ERROR,
            format!("frame ends with octet {end} instead of {FRAME_END}"),
        ));
    }
    received.advance(7);
    let payload = received.split_to(size).freeze();
    received.advance(1);
    Ok(Some(Frame {
        kind,
        channel,
        payload,
    }))
}

/// A decoded method with its argument table as it came, without the table's length; empty when it has none.
#[derive(Debug)]
pub(crate) struct Method {
    pub class: AMQPClass,
    pub arguments: Bytes,
}

/// Class and method number of a method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MethodId(pub u16, pub u16);

/// Where a method has its argument table.
#[derive(Clone, Copy)]
enum Table {
    None,
    /// Behind so many octets, so many short strings, and so many octets of flags.
    Behind(usize, u8, usize),
}

/// The methods that a client may send.
const FROM_CLIENT: [(u16, u16, Table); 40] = [
    (10, 11, Table::Behind(0, 0, 0)),
    (10, 21, Table::None),
    (10, 31, Table::None),
    (10, 40, Table::None),
    (10, 50, Table::None),
    (10, 51, Table::None),
    (10, 70, Table::None),
    (20, 10, Table::None),
    (20, 20, Table::None),
    (20, 21, Table::None),
    (20, 40, Table::None),
    (20, 41, Table::None),
    (30, 10, Table::None),
    (40, 10, Table::Behind(2, 2, 1)),
    (40, 20, Table::None),
    (40, 30, Table::Behind(2, 3, 1)),
    (40, 40, Table::Behind(2, 3, 1)),
    (50, 10, Table::Behind(2, 1, 1)),
    (50, 20, Table::Behind(2, 3, 1)),
    (50, 30, Table::None),
    (50, 40, Table::None),
    (50, 50, Table::Behind(2, 3, 0)),
    (60, 10, Table::None),
    (60, 20, Table::Behind(2, 2, 1)),
    (60, 30, Table::None),
    (60, 31, Table::None),
    (60, 40, Table::None),
    (60, 70, Table::None),
    (60, 80, Table::None),
    (60, 90, Table::None),
    (60, 100, Table::None),
    (60, 110, Table::None),
    (60, 120, Table::None),
    (85, 10, Table::None),
    (90, 10, Table::None),
    (90, 20, Table::None),
    (90, 30, Table::None),
    // sent by clients of other brokers only; known so that they are refused by name
    (10, 60, Table::None),
    (10, 61, Table::None),
    (10, 71, Table::None),
];

/// Class and method number of a method frame; zeroes when it is too short to have them.
pub(crate) fn method_id(payload: &[u8]) -> MethodId {
    let mut cursor = Cursor(payload);
    MethodId(
        cursor.u16().unwrap_or_default(),
        cursor.u16().unwrap_or_default(),
    )
}

/// Decodes a method frame.
pub(crate) fn decode_method(payload: &Bytes) -> Result<Method, Fault> {
    let id = method_id(payload);
    let table = FROM_CLIENT
        .iter()
        .find(|(class, method, _)| (*class, *method) == (id.0, id.1))
        .map(|(_, _, table)| *table)
        .ok_or_else(|| {
            Fault::connection(
                reply::COMMAND_INVALID,
                format!("class {} method {} is not for clients to send", id.0, id.1),
            )
            .at(id)
        })?;
    let syntax = |text: String| Fault::connection(reply::SYNTAX_ERROR, text).at(id);
    let arguments = match table {
        Table::None => Bytes::new(),
        Table::Behind(octets, strings, flags) => {
            let arguments = find_table(payload, octets, strings, flags)
                .map_err(|error| syntax(format!("argument table: {error}")))?;
            payload.slice_ref(arguments)
        }
    };
    match parse_class(&payload[..]) {
        Ok(([], class)) => Ok(Method { class, arguments }),
        Ok((rest, _)) => Err(syntax(format!("{} octets are left over", rest.len()))),
        Err(_) => Err(syntax("the arguments are malformed".to_owned())),
    }
}

fn find_table(
    payload: &[u8],
    octets: usize,
    strings: u8,
    flags: usize,
) -> Result<&[u8], MalformedProperties> {
    let mut cursor = Cursor(payload);
    cursor.take(4 + octets)?;
    for _ in 0..strings {
        cursor.short_string()?;
    }
    cursor.take(flags)?;
    cursor.table()
}

/// A content header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentHeader {
    pub class: u16,
    pub body_size: u64,
    /// Property flags and values.
    pub properties: Bytes,
}

/// Decodes a header frame; the properties are not looked at.
pub(crate) fn decode_header(payload: &Bytes) -> Result<ContentHeader, MalformedProperties> {
    let mut cursor = Cursor(payload);
    let class = cursor.u16()?;
    let _weight = cursor.u16()?;
    let body_size = cursor.u64()?;
    Ok(ContentHeader {
        class,
        body_size,
        properties: payload.slice_ref(cursor.0),
    })
}

/// A short string of at most 255 bytes, cut at a character boundary.
pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_new(&text[..text.floor_char_boundary(255)]).unwrap_or_default()
}

/// Appends a method frame.
pub(crate) fn put_method(out: &mut Vec<u8>, channel: u16, class: AMQPClass) {
    let frame = AMQPFrame::Method(channel, class);
    match gen_frame(&frame)(Vec::with_capacity(64).into()) {
        Ok(context) => out.extend_from_slice(&context.into_inner().0),
        // writing to memory does not fail, and everything put into methods is cut to its size before
        Err(error) => tracing::error!(?error, "a method could not be encoded"),
    }
}

/// Appends a heartbeat.
pub(crate) fn put_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, FRAME_END]);
}

/// Appends basic.ack, or basic.nack without requeue, of one published message. These and deliveries are the methods that are
/// sent by the thousand, so they are written directly.
pub(crate) fn put_confirm(out: &mut Vec<u8>, channel: u16, tag: u64, ack: bool) {
    frame(out, 1, channel, |out| {
        out.extend_from_slice(&BASIC.to_be_bytes());
        out.extend_from_slice(&(if ack { 80_u16 } else { 120 }).to_be_bytes());
        out.extend_from_slice(&tag.to_be_bytes());
        out.push(0);
    });
}

/// Appends basic.deliver.
pub(crate) fn put_deliver(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &str,
    tag: u64,
    redelivered: bool,
    exchange: &str,
    routing_key: &str,
) {
    frame(out, 1, channel, |out| {
        out.extend_from_slice(&BASIC.to_be_bytes());
        out.extend_from_slice(&60_u16.to_be_bytes());
        put_short_string(out, consumer_tag);
        out.extend_from_slice(&tag.to_be_bytes());
        out.push(u8::from(redelivered));
        put_short_string(out, exchange);
        put_short_string(out, routing_key);
    });
}

/// Appends a content header.
pub(crate) fn put_header(out: &mut Vec<u8>, channel: u16, body_size: u64, properties: &[u8]) {
    frame(out, 2, channel, |out| {
        out.extend_from_slice(&BASIC.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&body_size.to_be_bytes());
        out.extend_from_slice(properties);
    });
}

/// The first seven octets of a body frame; the payload and [`put_frame_end`] follow.
pub(crate) fn put_body_head(out: &mut Vec<u8>, channel: u16, size: usize) {
    out.push(3);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
}

/// The last octet of a frame.
pub(crate) fn put_frame_end(out: &mut Vec<u8>) {
    out.push(FRAME_END);
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    payload(out);
    let size = u32::try_from(out.len() - size_at - 4).unwrap_or(u32::MAX);
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out.push(FRAME_END);
}

fn put_short_string(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.floor_char_boundary(255)];
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use amq_protocol::protocol::basic;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn directly_written_methods_equal_those_of_the_codec() {
        let mut ours = Vec::new();
        put_confirm(&mut ours, 3, 77, true);
        put_confirm(&mut ours, 3, 78, false);
        put_deliver(&mut ours, 3, "tag", 9, true, "exchange", "key");
        let mut theirs = Vec::new();
        put_method(
            &mut theirs,
            3,
            AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack {
                delivery_tag: 77,
                multiple: false,
            })),
        );
        put_method(
            &mut theirs,
            3,
            AMQPClass::Basic(basic::AMQPMethod::Nack(basic::Nack {
                delivery_tag: 78,
                multiple: false,
                requeue: false,
            })),
        );
        let deliver = basic::Deliver {
            consumer_tag: short("tag"),
            delivery_tag: 9,
            redelivered: true,
            exchange: short("exchange"),
            routing_key: short("key"),
        };
        put_method(
            &mut theirs,
            3,
            AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)),
        );
        assert_eq!(ours, theirs);
    }

    #[test]
    fn a_frame_is_cut_out_only_when_it_is_complete() {
        let mut wire = Vec::new();
        put_header(&mut wire, 1, 5, &[0, 0]);
        for cut in 0..wire.len() {
            let mut received = BytesMut::from(&wire[..cut]);
            assert_eq!(
                next_frame(&mut received, 4096).unwrap(),
                None,
                "{cut} octets"
            );
        }
        let mut received = BytesMut::from(&wire[..]);
        let frame = next_frame(&mut received, 4096).unwrap().unwrap();
        assert!(received.is_empty());
        let header = decode_header(&frame.payload).unwrap();
        assert_eq!(
            (frame.channel, header.class, header.body_size),
            (1, BASIC, 5)
        );
    }

    #[test]
    fn a_frame_over_the_maximum_is_refused_from_its_first_octets() {
        let mut received = BytesMut::from(&b"\x03\x00\x01\xff\xff\xff\xff"[..]);
        assert!(next_frame(&mut received, 4096).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut received = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = next_frame(&mut received, 4096) {}
            let payload = Bytes::from(bytes);
            let _ = decode_method(&payload);
            let _ = decode_header(&payload);
        }

        #[test]
        fn arbitrary_arguments_of_known_methods_never_panic(
            index in 0..FROM_CLIENT.len(),
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (class, method, _) = FROM_CLIENT[index];
            let mut payload = class.to_be_bytes().to_vec();
            payload.extend_from_slice(&method.to_be_bytes());
            payload.extend_from_slice(&bytes);
            let _ = decode_method(&Bytes::from(payload));
        }
    }
}
