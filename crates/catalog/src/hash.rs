//! The contract hash: what a composer compares to know that a connector must be deployed again.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::configure::Entry;

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// The hash as upstream computes it: the first 8 hexadecimal digits of the SHA-256 of a JSON text with the image with tag, `key|value` of every
/// entry in order (sealed values as they are), and the time of the last reset of the connector's state when there is one.
#[must_use]
pub fn contract_hash(image: &str, entries: &[Entry], state_timestamp: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Hashed<'a> {
        image: &'a str,
        #[serde(rename = "subHash")]
        entries: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<&'a str>,
    }
    let hashed = Hashed {
        image,
        entries: entries
            .iter()
            .map(|entry| format!("{}|{}", entry.key, entry.value))
            .collect(),
        state: state_timestamp,
    };
    // texts and lists of texts can always be written
    let text = serde_json::to_vec(&hashed).unwrap_or_default();
    hex(&Sha256::digest(text)[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Node.js: `crypto.createHash('sha256').update(JSON.stringify({image, subHash, state})).digest('hex').slice(0, 8)`.
    #[test]
    fn the_hash_is_that_of_the_json_text_javascript_writes() {
        let entries = [
            Entry::plain("CONNECTOR_NAME", "MITRE ATT&CK – \"quoted\"\n/\u{7f}\u{1}"),
            Entry::plain("CONNECTOR_SCOPE", "tool,report"),
            Entry::sealed("OPENCTI_TOKEN", "AgAB"),
        ];
        assert_eq!(
            contract_hash(
                "opencti/connector-mitre:7.1.0",
                &entries,
                Some("2026-01-02T03:04:05.000Z")
            ),
            "13d2414d"
        );
        assert_eq!(
            contract_hash("opencti/connector-mitre:7.1.0", &entries, None),
            "0f93d99a"
        );
    }
}
