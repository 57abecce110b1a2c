//! The key pair of a composer: RSA with 4096 bits, in PEM. Only the composer has the private half; the platform seals with the public one.

use std::fmt;

use ferrocti_model::clock::Entropy;
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey, EncodeRsaPublicKey},
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding},
    rand_core::{CryptoRng, RngCore},
    traits::PublicKeyParts,
};
use sha2::{Digest, Sha256};

use crate::Secret;

/// Bits of a key. The envelope has room for exactly 512 bytes of RSA, so no other size can be opened by a composer.
pub const KEY_BITS: usize = 4096;

/// Why a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM of a public key.
    #[error(
        "this is no RSA public key in PEM; expected a block `BEGIN PUBLIC KEY` or `BEGIN RSA PUBLIC KEY`"
    )]
    NotPublic,
    /// No PEM of a private key.
    #[error(
        "this is no RSA private key in PEM; expected a block `BEGIN PRIVATE KEY` or `BEGIN RSA PRIVATE KEY` without a passphrase"
    )]
    NotPrivate,
    /// A key of another size.
    #[error(
        "the RSA key has {bits} bits; secrets can only be sealed for a key of {KEY_BITS} bits, make a new one"
    )]
    Size {
        /// Bits of the key.
        bits: usize,
    },
    /// The key could not be made or written.
    #[error("the RSA key could not be made or written: {0}")]
    Failed(String),
}

/// The public half: seals. Obtained from the composer's registration.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(RsaPublicKey);

/// The private half: opens. It never prints, and is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(RsaPrivateKey);

impl PublicKey {
    /// Reads `BEGIN PUBLIC KEY` (SPKI) or `BEGIN RSA PUBLIC KEY` (PKCS#1, what upstream's composer registers).
    ///
    /// # Errors
    /// Not such a block, or a key that has not 4096 bits.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        let key = RsaPublicKey::from_public_key_pem(pem)
            .or_else(|_| RsaPublicKey::from_pkcs1_pem(pem))
            .map_err(|_| KeyError::NotPublic)?;
        sized(key.n().bits())?;
        Ok(Self(key))
    }

    /// The key as upstream's composer registers it: PKCS#1, `BEGIN RSA PUBLIC KEY`.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0
            .to_pkcs1_pem(LineEnding::LF)
            .map_err(|error| KeyError::Failed(error.to_string()))
    }

    /// What tells this key from others: the first 16 hexadecimal digits of the SHA-256 of its SPKI form. It is kept with what is sealed,
    /// so that a changed key is noticed before anything is started.
    #[must_use]
    pub fn id(&self) -> String {
        let der = self
            .0
            .to_public_key_der()
            .map(|der| der.into_vec())
            .unwrap_or_default();
        crate::hash::hex(&Sha256::digest(der)[..8])
    }

    pub(crate) fn rsa(&self) -> &RsaPublicKey {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

impl PrivateKey {
    /// Makes a key. This takes seconds: the primes are searched for at random.
    ///
    /// # Errors
    /// The search fails, which only a broken source of randomness causes.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, KeyError> {
        RsaPrivateKey::new(&mut Random(entropy), KEY_BITS)
            .map(Self)
            .map_err(|error| KeyError::Failed(error.to_string()))
    }

    /// Reads `BEGIN PRIVATE KEY` (PKCS#8) or `BEGIN RSA PRIVATE KEY` (PKCS#1, as older OpenSSL writes it).
    ///
    /// # Errors
    /// Not such a block, or a key that has not 4096 bits.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        let key = RsaPrivateKey::from_pkcs8_pem(pem)
            .or_else(|_| RsaPrivateKey::from_pkcs1_pem(pem))
            .map_err(|_| KeyError::NotPrivate)?;
        sized(key.n().bits())?;
        Ok(Self(key))
    }

    /// The key as PKCS#8, `BEGIN PRIVATE KEY`, which upstream's composer reads too. Whoever keeps it in a file gives that file mode 0600.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn to_pem(&self) -> Result<Secret, KeyError> {
        self.0
            .to_pkcs8_pem(LineEnding::LF)
            .map(|pem| Secret::from(pem.as_str()))
            .map_err(|error| KeyError::Failed(error.to_string()))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.to_public_key())
    }

    pub(crate) fn rsa(&self) -> &RsaPrivateKey {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public().id())
    }
}

fn sized(bits: usize) -> Result<(), KeyError> {
    if bits == KEY_BITS {
        Ok(())
    } else {
        Err(KeyError::Size { bits })
    }
}

/// The injected source of randomness as the cryptographic library wants it.
pub(crate) struct Random<'a>(pub(crate) &'a dyn Entropy);

impl RngCore for Random<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

// the caller promises it: `Entropy` is the operating system's randomness outside of tests
impl CryptoRng for Random<'_> {}
