//! Passwords of people: argon2id, in the PHC string format.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ferrocti_model::clock::Entropy;

/// Hashing failed: only for passwords beyond argon2's limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be used: {0}")]
pub struct PasswordError(String);

/// Hashes a password with a fresh salt.
pub fn hash(password: &str, entropy: &dyn Entropy) -> Result<String, PasswordError> {
    let mut salt = [0; 16];
    entropy.fill(&mut salt);
    let salt = SaltString::encode_b64(&salt).map_err(|error| PasswordError(error.to_string()))?;
    argon2id()
        .hash_password(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| PasswordError(error.to_string()))
}

/// Whether the password belongs to the hash; false for a hash that is not one.
#[must_use]
pub fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        argon2id()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// A random password of 24 characters for an account that is created by the platform.
pub fn generate(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 18];
    entropy.fill(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// 19 MiB, 2 passes, 1 lane: the first recommendation of OWASP's password storage page.
fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrocti_model::clock::SeededEntropy;

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let entropy = SeededEntropy::new(3);
        let first = hash("correct horse", &entropy).unwrap();
        assert!(first.starts_with("$argon2id$"));
        assert!(verify("correct horse", &first));
        assert!(!verify("wrong horse", &first));
        assert!(!verify("correct horse", "not a hash"));
        assert_ne!(
            first,
            hash("correct horse", &entropy).unwrap(),
            "every hash has its own salt"
        );
    }
}
