//! Passwords of people: argon2id, in the PHC string format, and the policy they must satisfy.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ferrocti_model::clock::Entropy;
use serde::{Deserialize, Serialize};

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

/// What a password must satisfy. 0 switches a rule off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Characters at least.
    pub min_length: u32,
    /// Characters at most.
    pub max_length: u32,
    /// Characters that are neither letters nor digits of ASCII, at least.
    pub min_symbols: u32,
    /// Digits at least.
    pub min_numbers: u32,
    /// Words at least, separated by blanks, `|`, `,`, `_` or `-`.
    pub min_words: u32,
    /// Lower-case letters at least.
    pub min_lowercase: u32,
    /// Upper-case letters at least.
    pub min_uppercase: u32,
}

impl Policy {
    /// What is wrong with a password, one text for each rule that it breaks.
    #[must_use]
    pub fn check(&self, password: &str) -> Vec<String> {
        if password.is_empty() {
            return vec!["required".to_owned()];
        }
        let count = |rule: fn(char) -> bool| {
            u32::try_from(password.chars().filter(|c| rule(*c)).count()).unwrap_or(u32::MAX)
        };
        let length = count(|_| true);
        let words = password
            .split(['|', ',', ' ', '_', '-'])
            .filter(|word| !word.is_empty())
            .count();
        let words = u32::try_from(words).unwrap_or(u32::MAX);
        let mut faults = Vec::new();
        if self.max_length > 0 && length > self.max_length {
            faults.push(format!("size must be <= {}", self.max_length));
        }
        for (what, found, least) in [
            ("size", length, self.min_length),
            (
                "number of symbols",
                count(|c| !c.is_ascii_alphanumeric()),
                self.min_symbols,
            ),
            (
                "number of digits",
                count(|c| c.is_ascii_digit()),
                self.min_numbers,
            ),
            ("number of words", words, self.min_words),
            (
                "number of lower chars",
                count(char::is_lowercase),
                self.min_lowercase,
            ),
            (
                "number of upper chars",
                count(char::is_uppercase),
                self.min_uppercase,
            ),
        ] {
            if found < least {
                faults.push(format!("{what} must be >= {least}"));
            }
        }
        faults
    }
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

    #[test]
    fn a_policy_names_every_rule_that_is_broken() {
        let policy = Policy {
            min_length: 10,
            min_symbols: 2,
            min_numbers: 3,
            min_words: 3,
            min_lowercase: 2,
            min_uppercase: 2,
            ..Policy::default()
        };
        assert_eq!(
            policy.check("aXa77&&2aXa"),
            ["number of words must be >= 3"]
        );
        assert_eq!(policy.check("ab-CD-&^123"), [""; 0]);
        assert_eq!(policy.check(""), ["required"]);
        assert_eq!(policy.check("short").len(), 5);
        let symbols = Policy {
            min_symbols: 1,
            ..Policy::default()
        };
        assert_eq!(symbols.check("123é"), [""; 0]);
        let words = Policy {
            min_words: 2,
            max_length: 11,
            ..Policy::default()
        };
        for password in ["hello_world", "hello|world", "hello world", "hello-world"] {
            assert_eq!(words.check(password), [""; 0], "{password}");
        }
        assert_eq!(words.check("hello-world!"), ["size must be <= 11"]);
        assert_eq!(Policy::default().check("x"), [""; 0]);
    }
}
