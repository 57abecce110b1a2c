//! API tokens: random, shown once, stored only as a hash.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ferrocti_model::clock::Entropy;
use sha2::{Digest, Sha256};

/// What every generated token starts with, as upstream's do since version 7.
pub const PREFIX: &str = "flgrn_octi_tkn_";

/// SHA-256 of a token; tokens carry at least 122 random bits, so a slow hash would protect nothing more.
pub type TokenHash = [u8; 32];

/// Why a token that an operator gives cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too short or a placeholder.
    #[error(
        "the token is too weak: give a UUID or at least 32 characters, or leave it out to have one generated"
    )]
    Weak,
    /// Characters that cannot travel in an HTTP header.
    #[error("the token holds blanks or control characters; use letters, digits, '-' and '_'")]
    Characters,
}

/// A new random token: the prefix and 48 random bytes in URL-safe base64 (64 characters).
pub fn generate(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 48];
    entropy.fill(&mut bytes);
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The form in which a token is stored and looked up.
#[must_use]
pub fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// What may be shown of a token later: its last four characters.
#[must_use]
pub fn masked(token: &str) -> String {
    let tail: String = token
        .chars()
        .rev()
        .take(4)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    format!("****{tail}")
}

/// Checks a token that an operator chose: a UUID or 32 characters and more, printable, no blanks.
pub fn check(token: &str) -> Result<(), TokenError> {
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(TokenError::Characters);
    }
    if token.len() < 32 {
        return Err(TokenError::Weak);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrocti_model::clock::SeededEntropy;

    #[test]
    fn a_token_has_the_shape_that_clients_expect() {
        let token = generate(&SeededEntropy::new(1));
        let random = token.strip_prefix(PREFIX).unwrap();
        assert_eq!(random.len(), 64);
        assert!(
            random
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        );
        assert!(check(&token).is_ok());
    }

    #[test]
    fn only_the_end_of_a_token_is_ever_shown() {
        assert_eq!(masked("d434ce02-e58e-4cac-8b4c-42bf16748e84"), "****8e84");
    }

    #[test]
    fn weak_tokens_are_refused() {
        assert_eq!(check("ChangeMe"), Err(TokenError::Weak));
        assert_eq!(check("a b"), Err(TokenError::Characters));
        assert!(check("d434ce02-e58e-4cac-8b4c-42bf16748e84").is_ok());
    }
}
