//! Secrets in upstream's envelope, byte by byte:
//!
//! ```text
//! base64( version (1) ‖ RSA of key (32) and nonce (12), 512 bytes ‖ AES-256-GCM ciphertext and tag (n + 16) )
//! ```
//!
//! Version 1 wraps with RSAES-PKCS1-v1_5, version 2 with RSAES-OAEP (SHA-256 for hash and mask, empty label). Key and nonce are new for every
//! value; there is no associated data. A value that cannot be opened is an error, never an empty text.

use aes_gcm::{Aes256Gcm, KeyInit, Nonce, aead::Aead};
use base64::{Engine, prelude::BASE64_STANDARD};
use ferrocti_model::clock::Entropy;
use rsa::{Oaep, Pkcs1v15Encrypt};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    Secret,
    keys::{PrivateKey, PublicKey, Random},
};

/// Bytes of the wrapped key: those of an RSA key of 4096 bits.
const WRAPPED: usize = 512;
const KEY: usize = 32;
const NONCE: usize = 12;
const TAG: usize = 16;

/// How the key of an envelope is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Envelope {
    /// RSAES-PKCS1-v1_5; platforms before 7.
    V1,
    /// RSAES-OAEP with SHA-256; today's.
    #[default]
    V2,
}

impl Envelope {
    fn byte(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// Why a value could not be sealed or opened. No text of it tells anything of the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealing failed.
    #[error("the value could not be sealed: {0}")]
    Seal(String),
    /// Not base64.
    #[error("the sealed value is not base64; it was damaged or never sealed, set it again")]
    NotBase64,
    /// Shorter than an envelope of an empty text.
    #[error(
        "the sealed value has {bytes} bytes, an envelope has at least {}; it was cut or sealed for a key of another size, set it again",
        1 + WRAPPED + TAG
    )]
    TooShort {
        /// Bytes found.
        bytes: usize,
    },
    /// Neither version 1 nor 2.
    #[error(
        "the sealed value has the unknown version {0}; upgrade this composer, or set the value again"
    )]
    UnknownVersion(u8),
    /// The wrapped key does not open.
    #[error(
        "the value was sealed for another key than this composer's {key}; bring the former key back, or set the value again"
    )]
    WrongKey {
        /// Id of the key that was tried.
        key: String,
    },
    /// The value does not open with its key.
    #[error("the sealed value was altered after it was sealed; set it again")]
    Altered,
    /// What came out is not UTF-8.
    #[error("the sealed value is not a text; set it again")]
    NotText,
}

impl PublicKey {
    /// Seals a value for the composer that has the private half.
    ///
    /// # Errors
    /// The cryptographic library refuses.
    pub fn seal(
        &self,
        value: &Secret,
        envelope: Envelope,
        entropy: &dyn Entropy,
    ) -> Result<String, SealError> {
        let mut key = Zeroizing::new([0; KEY + NONCE]);
        entropy.fill(&mut key[..KEY]);
        entropy.fill(&mut key[KEY..]);
        let mut random = Random(entropy);
        let wrapped = match envelope {
            Envelope::V1 => self.rsa().encrypt(&mut random, Pkcs1v15Encrypt, &key[..]),
            Envelope::V2 => self
                .rsa()
                .encrypt(&mut random, Oaep::new::<Sha256>(), &key[..]),
        }
        .map_err(|error| SealError::Seal(error.to_string()))?;
        let sealed = Aes256Gcm::new(key[..KEY].into())
            .encrypt(Nonce::from_slice(&key[KEY..]), value.expose().as_bytes())
            .map_err(|error| SealError::Seal(error.to_string()))?;
        let mut bytes = Vec::with_capacity(1 + wrapped.len() + sealed.len());
        bytes.push(envelope.byte());
        bytes.extend_from_slice(&wrapped);
        bytes.extend_from_slice(&sealed);
        Ok(BASE64_STANDARD.encode(bytes))
    }
}

impl PrivateKey {
    /// Opens a sealed value. Randomness only blinds the computation, so that its duration tells nothing of the key.
    ///
    /// # Errors
    /// See [`SealError`]: what is wrong with the value, or that it was sealed for another key.
    pub fn open(&self, sealed: &str, entropy: &dyn Entropy) -> Result<Secret, SealError> {
        let bytes = BASE64_STANDARD
            .decode(sealed.trim())
            .map_err(|_| SealError::NotBase64)?;
        let Some((&version, rest)) = bytes.split_first() else {
            return Err(SealError::TooShort { bytes: 0 });
        };
        let envelope = match version {
            1 => Envelope::V1,
            2 => Envelope::V2,
            other => return Err(SealError::UnknownVersion(other)),
        };
        if rest.len() < WRAPPED + TAG {
            return Err(SealError::TooShort { bytes: bytes.len() });
        }
        let (wrapped, sealed) = rest.split_at(WRAPPED);
        let mut random = Random(entropy);
        let key = match envelope {
            Envelope::V1 => self
                .rsa()
                .decrypt_blinded(&mut random, Pkcs1v15Encrypt, wrapped),
            Envelope::V2 => self
                .rsa()
                .decrypt_blinded(&mut random, Oaep::new::<Sha256>(), wrapped),
        }
        .ok()
        .filter(|key| key.len() == KEY + NONCE)
        .map(Zeroizing::new)
        .ok_or_else(|| SealError::WrongKey {
            key: self.public().id(),
        })?;
        let plain = Aes256Gcm::new(key[..KEY].into())
            .decrypt(Nonce::from_slice(&key[KEY..]), sealed)
            .map_err(|_| SealError::Altered)?;
        String::from_utf8(plain).map(Secret::new).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            SealError::NotText
        })
    }
}

/// Whether a text has the form of an envelope, without opening it: a check on what is stored.
#[must_use]
pub fn is_sealed(text: &str) -> bool {
    BASE64_STANDARD
        .decode(text.trim())
        .is_ok_and(|bytes| matches!(bytes.first(), Some(1 | 2)) && bytes.len() > WRAPPED + TAG)
}
