//! AMQP basic properties and field tables: read, checked and written without recursion.
//!
//! Messages keep their properties in the encoded form in which the publisher sent them, so that a consumer receives
//! exactly the same bytes. [`Properties`] is the readable form. Layout: AMQP 0-9-1 specification, sections 4.2.5 and 4.2.6.

use bytes::{BufMut, Bytes};

/// Deepest nesting of tables and arrays that is accepted.
pub const MAX_TABLE_DEPTH: usize = 32;

/// Properties in their encoded form: property flags followed by the values. Empty means no property at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedProperties(Bytes);

/// Why encoded properties or a table are malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedProperties {
    /// The bytes end in the middle of a value.
    #[error("the value ends too early")]
    Truncated,
    /// Bytes are left over behind the last value.
    #[error("bytes are left over behind the last value")]
    Trailing,
    /// A text that must be UTF-8 is not.
    #[error("a name or a text is not valid UTF-8")]
    NotUtf8,
    /// A field has a type that AMQP does not know.
    #[error("unknown field type 0x{0:02x}")]
    UnknownType(u8),
    /// Tables are nested too deep.
    #[error("tables are nested deeper than {MAX_TABLE_DEPTH}")]
    TooDeep,
    /// A flag is set for which there is no property.
    #[error("a property flag is set that has no meaning")]
    UnknownFlag,
}

/// AMQP basic properties in readable form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// MIME encoding of the body.
    pub content_encoding: Option<String>,
    /// Header table, encoded, without its length.
    pub headers: Option<Bytes>,
    /// 1 for transient, 2 for persistent; messages are kept on disk either way.
    pub delivery_mode: Option<u8>,
    /// Priority 0 to 9; carried, not obeyed.
    pub priority: Option<u8>,
    /// Correlation id.
    pub correlation_id: Option<String>,
    /// Address to reply to.
    pub reply_to: Option<String>,
    /// Expiration; carried, not obeyed.
    pub expiration: Option<String>,
    /// Application's message id.
    pub message_id: Option<String>,
    /// Application's timestamp in seconds.
    pub timestamp: Option<u64>,
    /// Type name of the message.
    pub kind: Option<String>,
    /// Name of the publishing user; checked against the login.
    pub user_id: Option<String>,
    /// Name of the publishing application.
    pub app_id: Option<String>,
    /// Reserved by the protocol.
    pub cluster_id: Option<String>,
}

impl EncodedProperties {
    /// Takes properties as they came over the wire, after checking that they are well-formed.
    pub fn from_wire(bytes: Bytes) -> Result<(Self, Properties), MalformedProperties> {
        let properties = Properties::parse(&bytes)?;
        Ok((Self(bytes), properties))
    }

    /// Takes back bytes that came from [`EncodedProperties::as_bytes`].
    pub(crate) fn from_stored(bytes: Vec<u8>) -> Self {
        Self(Bytes::from(bytes))
    }

    /// The encoded form, for storage.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The form that goes over the wire; never empty.
    pub(crate) fn wire(&self) -> &[u8] {
        if self.0.is_empty() { &[0, 0] } else { &self.0 }
    }

    /// The readable form.
    pub fn decode(&self) -> Result<Properties, MalformedProperties> {
        Properties::parse(self.wire())
    }
}

impl From<Properties> for EncodedProperties {
    fn from(properties: Properties) -> Self {
        properties.encode()
    }
}

impl Properties {
    /// Properties of a persistent JSON message, as the platform sends them.
    pub fn persistent_json() -> Self {
        Self {
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            delivery_mode: Some(2),
            ..Self::default()
        }
    }

    /// Reads the encoded form.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedProperties> {
        let mut cursor = Cursor(bytes);
        let flags = cursor.u16()?;
        // bit 0 would announce further flag words and bit 1 is unassigned
        if flags & 0b11 != 0 {
            return Err(MalformedProperties::UnknownFlag);
        }
        let has = |index: u32| flags & (0x8000 >> index) != 0;
        let text =
            |index: u32, cursor: &mut Cursor<'_>| -> Result<Option<String>, MalformedProperties> {
                if has(index) {
                    cursor.short_string().map(|text| Some(text.to_owned()))
                } else {
                    Ok(None)
                }
            };
        let content_type = text(0, &mut cursor)?;
        let content_encoding = text(1, &mut cursor)?;
        let headers = if has(2) {
            Some(Bytes::copy_from_slice(cursor.table()?))
        } else {
            None
        };
        let delivery_mode = if has(3) { Some(cursor.u8()?) } else { None };
        let priority = if has(4) { Some(cursor.u8()?) } else { None };
        let correlation_id = text(5, &mut cursor)?;
        let reply_to = text(6, &mut cursor)?;
        let expiration = text(7, &mut cursor)?;
        let message_id = text(8, &mut cursor)?;
        let timestamp = if has(9) { Some(cursor.u64()?) } else { None };
        let properties = Self {
            content_type,
            content_encoding,
            headers,
            delivery_mode,
            priority,
            correlation_id,
            reply_to,
            expiration,
            message_id,
            timestamp,
            kind: text(10, &mut cursor)?,
            user_id: text(11, &mut cursor)?,
            app_id: text(12, &mut cursor)?,
            cluster_id: text(13, &mut cursor)?,
        };
        if cursor.0.is_empty() {
            Ok(properties)
        } else {
            Err(MalformedProperties::Trailing)
        }
    }

    /// Writes the encoded form. Texts longer than the 255 bytes that AMQP allows are cut at a character boundary.
    pub fn encode(&self) -> EncodedProperties {
        let mut flags = 0_u16;
        let mut values = Vec::new();
        let texts_before = [(0, &self.content_type), (1, &self.content_encoding)];
        let texts_between = [
            (5, &self.correlation_id),
            (6, &self.reply_to),
            (7, &self.expiration),
            (8, &self.message_id),
        ];
        let texts_after = [
            (10, &self.kind),
            (11, &self.user_id),
            (12, &self.app_id),
            (13, &self.cluster_id),
        ];
        let put_texts = |list: &[(u32, &Option<String>)], flags: &mut u16, values: &mut Vec<u8>| {
            for (index, text) in list {
                if let Some(text) = text {
                    *flags |= 0x8000 >> index;
                    put_short_string(values, text);
                }
            }
        };
        put_texts(&texts_before, &mut flags, &mut values);
        if let Some(headers) = &self.headers {
            flags |= 0x8000 >> 2;
            values.put_u32(u32::try_from(headers.len()).unwrap_or(u32::MAX));
            values.extend_from_slice(headers);
        }
        for (index, octet) in [(3, self.delivery_mode), (4, self.priority)] {
            if let Some(octet) = octet {
                flags |= 0x8000 >> index;
                values.push(octet);
            }
        }
        put_texts(&texts_between, &mut flags, &mut values);
        if let Some(timestamp) = self.timestamp {
            flags |= 0x8000 >> 9;
            values.put_u64(timestamp);
        }
        put_texts(&texts_after, &mut flags, &mut values);
        let mut encoded = Vec::with_capacity(values.len() + 2);
        encoded.put_u16(flags);
        encoded.extend_from_slice(&values);
        EncodedProperties(Bytes::from(encoded))
    }
}

fn put_short_string(out: &mut Vec<u8>, text: &str) {
    let cut = text.floor_char_boundary(255);
    let bytes = &text.as_bytes()[..cut];
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

/// Checks that `table` (without its length) is a well-formed field table that is not nested too deep.
///
/// Works with an explicit stack: a client may send tens of thousands of nested levels in one frame.
pub fn check_table(table: &[u8]) -> Result<(), MalformedProperties> {
    // each level: the bytes that are left of it, and whether its entries have names (table) or not (array)
    let mut levels = vec![(Cursor(table), true)];
    while let Some((cursor, named)) = levels.last_mut() {
        if cursor.0.is_empty() {
            levels.pop();
            continue;
        }
        if *named {
            cursor.short_string()?;
        }
        let kind = cursor.u8()?;
        match kind {
            b'V' => {}
            b't' | b'b' | b'B' => drop(cursor.take(1)?),
            b's' | b'U' | b'u' => drop(cursor.take(2)?),
            b'I' | b'i' | b'f' => drop(cursor.take(4)?),
            b'D' => drop(cursor.take(5)?),
            b'l' | b'L' | b'T' | b'd' => drop(cursor.take(8)?),
            b'S' | b'x' => drop(cursor.long()?),
            b'F' | b'A' => {
                let inner = Cursor(cursor.long()?);
                if levels.len() >= MAX_TABLE_DEPTH {
                    return Err(MalformedProperties::TooDeep);
                }
                levels.push((inner, kind == b'F'));
            }
            other => return Err(MalformedProperties::UnknownType(other)),
        }
    }
    Ok(())
}

/// Reads AMQP's primitive values from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], MalformedProperties> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or(MalformedProperties::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedProperties> {
        let (head, tail) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(MalformedProperties::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, MalformedProperties> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub fn u16(&mut self) -> Result<u16, MalformedProperties> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, MalformedProperties> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, MalformedProperties> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn short_string(&mut self) -> Result<&'a str, MalformedProperties> {
        let length = self.u8()?;
        std::str::from_utf8(self.take(usize::from(length))?)
            .map_err(|_| MalformedProperties::NotUtf8)
    }

    /// A value with a length of four bytes in front.
    pub fn long(&mut self) -> Result<&'a [u8], MalformedProperties> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| MalformedProperties::Truncated)?)
    }

    /// A checked table, without its length.
    pub fn table(&mut self) -> Result<&'a [u8], MalformedProperties> {
        let table = self.long()?;
        check_table(table)?;
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[a-z0-9 äé]{0,40}")
    }

    proptest! {
        #[test]
        fn properties_survive_encoding(
            texts in proptest::collection::vec(text(), 10),
            delivery_mode in proptest::option::of(any::<u8>()),
            priority in proptest::option::of(any::<u8>()),
            timestamp in proptest::option::of(any::<u64>()),
            with_headers in any::<bool>(),
        ) {
            let properties = Properties {
                content_type: texts[0].clone(),
                content_encoding: texts[1].clone(),
                headers: with_headers.then(|| Bytes::from_static(b"\x01at\x01\x01bS\x00\x00\x00\x02xy")),
                delivery_mode,
                priority,
                correlation_id: texts[2].clone(),
                reply_to: texts[3].clone(),
                expiration: texts[4].clone(),
                message_id: texts[5].clone(),
                timestamp,
                kind: texts[6].clone(),
                user_id: texts[7].clone(),
                app_id: texts[8].clone(),
                cluster_id: texts[9].clone(),
            };
            prop_assert_eq!(properties.encode().decode(), Ok(properties));
        }

        #[test]
        fn arbitrary_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Properties::parse(&bytes);
            let _ = check_table(&bytes);
        }
    }

    #[test]
    fn a_table_nested_twenty_thousand_times_is_refused() {
        let mut table = Vec::new();
        for _ in 0..20_000 {
            let mut outer = vec![0, b'F'];
            outer.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
            outer.append(&mut table);
            table = outer;
        }
        assert_eq!(check_table(&table), Err(MalformedProperties::TooDeep));
    }

    #[test]
    fn every_field_type_is_accepted() {
        let mut table = Vec::new();
        let values: [(&[u8], &[u8]); 17] = [
            (b"t", &[1]),
            (b"b", &[1]),
            (b"B", &[1]),
            (b"s", &[0, 1]),
            (b"U", &[0, 1]),
            (b"u", &[0, 1]),
            (b"I", &[0; 4]),
            (b"i", &[0; 4]),
            (b"f", &[0; 4]),
            (b"D", &[0; 5]),
            (b"l", &[0; 8]),
            (b"L", &[0; 8]),
            (b"T", &[0; 8]),
            (b"d", &[0; 8]),
            (b"V", &[]),
            (b"S", &[0, 0, 0, 1, b'x']),
            (b"A", &[0, 0, 0, 2, b't', 0]),
        ];
        for (kind, value) in values {
            table.extend_from_slice(b"\x01k");
            table.extend_from_slice(kind);
            table.extend_from_slice(value);
        }
        assert_eq!(check_table(&table), Ok(()));
    }

    #[test]
    fn malformed_tables_are_named() {
        let cases: [(&[u8], MalformedProperties); 4] = [
            (b"\x01", MalformedProperties::Truncated),
            (b"\x01k?", MalformedProperties::UnknownType(b'?')),
            (b"\x01\xfft\x01", MalformedProperties::NotUtf8),
            (b"\x01kS\xff\xff\xff\xffx", MalformedProperties::Truncated),
        ];
        for (table, error) in cases {
            assert_eq!(check_table(table), Err(error));
        }
    }

    #[test]
    fn leftover_bytes_and_unknown_flags_are_refused() {
        assert_eq!(
            Properties::parse(&[0, 0, 1]),
            Err(MalformedProperties::Trailing)
        );
        assert_eq!(
            Properties::parse(&[0, 1]),
            Err(MalformedProperties::UnknownFlag)
        );
    }
}
