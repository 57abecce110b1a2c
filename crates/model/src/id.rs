//! Identifiers: STIX ids, internal ids, and the compact key under which the store finds both.

use std::fmt;

use uuid::Uuid;

use crate::registry::Registry;

/// A STIX identifier `<type>--<uuid>` of a type that the registry knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StixId {
    /// Number of the STIX type in the registry (1..=250).
    pub type_code: u8,
    /// The UUID part, any version.
    pub uuid: Uuid,
}

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No `--`, or the part behind it is not a UUID.
    #[error("\"{0}\" is not a STIX id; it must read <type>--<uuid>")]
    Malformed(String),
    /// The type in front of `--` is not in the registry.
    #[error(
        "\"{0}\" has an unknown STIX type; supported are the types of STIX 2.1 and OpenCTI's extensions"
    )]
    UnknownType(String),
}

impl StixId {
    /// Parses `<type>--<uuid>`; a prefix `x-mitre-` or `x-opencti-` of the type is ignored, as clients add it on export.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (stix_type, uuid) = text
            .rsplit_once("--")
            .ok_or_else(|| IdError::Malformed(shorten(text)))?;
        let uuid = Uuid::try_parse(uuid)
            .ok()
            .filter(|_| uuid.len() == 36)
            .ok_or_else(|| IdError::Malformed(shorten(text)))?;
        let type_code = Registry::get()
            .stix_type_code(stix_type)
            .ok_or_else(|| IdError::UnknownType(shorten(text)))?;
        Ok(Self { type_code, uuid })
    }

    /// The STIX type as it is written in front of `--`.
    #[must_use]
    pub fn stix_type(&self) -> &'static str {
        Registry::get().stix_type_name(self.type_code)
    }

    /// The key under which the store indexes this id.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.type_code, self.uuid.into_bytes())
    }
}

impl fmt::Display for StixId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--{}", self.stix_type(), self.uuid)
    }
}

impl fmt::Debug for StixId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.type_code, self.uuid)
    }
}

/// An identifier as clients give it where an element is meant: a STIX id or an internal id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ident {
    /// A STIX id: the standard one, another one, or one derived from an alias.
    Stix(StixId),
    /// The platform's own id (GraphQL `id`).
    Internal(Uuid),
}

impl Ident {
    /// Parses a STIX id or a bare UUID.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.contains("--") {
            StixId::parse(text).map(Self::Stix)
        } else {
            Uuid::try_parse(text)
                .ok()
                .filter(|_| text.len() == 36)
                .map(Self::Internal)
                .ok_or_else(|| IdError::Malformed(shorten(text)))
        }
    }

    /// The key under which the store indexes this identifier.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Stix(id) => id.key(),
            Self::Internal(uuid) => Key::internal(*uuid),
        }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stix(id) => id.fmt(f),
            Self::Internal(uuid) => uuid.fmt(f),
        }
    }
}

impl From<StixId> for Ident {
    fn from(id: StixId) -> Self {
        Self::Stix(id)
    }
}

/// 17 bytes: what kind of identifier (0 internal, 1..=250 STIX type, 255 hash value), then 16 bytes of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 17]);

impl Key {
    const HASH: u8 = 255;

    fn new(kind: u8, value: [u8; 16]) -> Self {
        let mut bytes = [0; 17];
        bytes[0] = kind;
        bytes[1..].copy_from_slice(&value);
        Self(bytes)
    }

    /// Key of an internal id.
    #[must_use]
    pub fn internal(uuid: Uuid) -> Self {
        Self::new(0, uuid.into_bytes())
    }

    /// Key of one hash value of a hashed observable: two objects of one type that share it are the same object.
    #[must_use]
    pub fn hash_value(entity_code: u16, algorithm: &str, value: &str) -> Self {
        let text = format!("{entity_code}\n{algorithm}\n{}", value.to_lowercase());
        Self::new(
            Self::HASH,
            xxhash_rust::xxh3::xxh3_128(text.as_bytes()).to_be_bytes(),
        )
    }

    /// The identifier this key stands for; `None` for hash values.
    #[must_use]
    pub fn ident(&self) -> Option<Ident> {
        let mut value = [0; 16];
        value.copy_from_slice(&self.0[1..]);
        match self.0[0] {
            0 => Some(Ident::Internal(Uuid::from_bytes(value))),
            Self::HASH => None,
            type_code => Some(Ident::Stix(StixId {
                type_code,
                uuid: Uuid::from_bytes(value),
            })),
        }
    }

    /// The key as stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Long identifiers are cut in messages, since anybody can send them.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 120;
    if text.chars().count() <= LIMIT {
        text.to_owned()
    } else {
        text.chars().take(LIMIT).chain("…".chars()).collect()
    }
}
