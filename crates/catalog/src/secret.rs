//! Texts that must not be seen: they print as `***`, and are wiped from memory when they are dropped.

use std::{collections::BTreeMap, fmt};

use zeroize::Zeroizing;

/// What stands in the place of a secret wherever something is shown.
pub const MASK: &str = "***";

/// A text that no formatter prints; [`Secret::expose`] is the only way to read it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into custody.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Variables as they may be printed: their names, and the values of those that cannot be secrets.
pub(crate) struct Shown<'a> {
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// Whether no value is printed, whatever its name.
    pub(crate) none: bool,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mask = |key: &str| self.none || is_secret_name(key);
        f.debug_map()
            .entries(
                self.variables
                    .iter()
                    .map(|(key, value)| (key, if mask(key) { MASK } else { value.as_str() })),
            )
            .finish()
    }
}

/// Last words of a key's name that tell that its value is a secret, whatever the schema says: catalogs forget `format: password` now and then.
const SECRET_ENDINGS: &[&str] = &[
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "CREDENTIALS",
    "PASSPHRASE",
    "PASSWORD",
    "PRIVATE_KEY",
    "SECRET",
    "SECRET_KEY",
    "TOKEN",
];

/// Whether the name of a key tells that its value is a secret: its last words, e.g. `DOPPEL_API_KEY`.
#[must_use]
pub fn is_secret_name(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    SECRET_ENDINGS.iter().any(|ending| {
        key.strip_suffix(ending)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['_', '-', '.']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn names_of_secrets_are_told_by_their_last_words() {
        for (name, secret) in [
            ("DOPPEL_API_KEY", true),
            ("CROWDSTRIKE_RECON_CLIENT_SECRET", true),
            ("REVERSINGLABS_TOKEN", true),
            ("TOKEN", true),
            ("GOOGLE_PRIVATE_KEY", true),
            ("mail_password", true),
            ("CONNECTOR_SCOPE", false),
            ("TOKEN_URL", false),
            ("MISP_KEY_NAME", false),
            ("MONKEY", false),
            ("EXTOKEN", false),
            ("", false),
        ] {
            assert_eq!(is_secret_name(name), secret, "{name}");
        }
    }
}
