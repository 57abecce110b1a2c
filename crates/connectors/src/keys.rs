//! Everything that is derived from the platform key: broker passwords and the key that signs calls to connectors.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use ferrocti_model::clock::Millis;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

/// How long a signed call to a connector is valid.
const JWT_LIFETIME: Millis = 60 * 60 * 1000;

/// 32 secret bytes that the platform is given at start; everything else is derived, so nothing else needs to be stored.
#[derive(Clone)]
pub struct PlatformKey([u8; 32]);

impl std::fmt::Debug for PlatformKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlatformKey(***)")
    }
}

impl PlatformKey {
    /// A key from its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 over length-prefixed parts, so that no two lists of parts collide.
    fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any key length");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The broker password of a connector; it changes with the user (`User.row`) that the connector belongs to, and with the epoch of its lease.
    #[must_use]
    pub fn broker_password(&self, connector_id: &str, user: i64, epoch: i64) -> String {
        let (user, later) = (user.to_be_bytes(), epoch.to_be_bytes());
        let parts: [&[u8]; 3] = [connector_id.as_bytes(), &user, &later];
        // as it was before there were epochs
        let parts = if epoch == 0 { &parts[..2] } else { &parts[..] };
        BASE64_URL_SAFE_NO_PAD.encode(self.derive("broker", parts))
    }

    /// Whether a password is the connector's; compared without telling by time where it differs.
    #[must_use]
    pub fn is_broker_password(
        &self,
        connector_id: &str,
        user: i64,
        epoch: i64,
        password: &str,
    ) -> bool {
        let expected = self.broker_password(connector_id, user, epoch);
        expected.len() == password.len()
            && expected
                .bytes()
                .zip(password.bytes())
                .fold(0, |difference, (a, b)| difference | (a ^ b))
                == 0
    }

    /// The key of the fingerprints by which secrets are compared that nobody here can read.
    #[must_use]
    pub(crate) fn fingerprint_key(&self) -> [u8; 32] {
        self.derive("fingerprint", &[])
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.derive("jwt", &[]))
    }

    fn key_id(key: &SigningKey) -> String {
        key.verifying_key().as_bytes()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The public half of the signing key as a JWK Set (RFC 7517, RFC 8037), as a JSON text: that is what clients expect.
    #[must_use]
    pub fn jwks(&self) -> String {
        let key = self.signing_key();
        let x = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        json!({ "keys": [{ "kid": Self::key_id(&key), "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "kty": "OKP", "x": x }] }).to_string()
    }

    /// A signed token (RFC 7519) by which a connector knows that a call comes from this platform; valid for an hour.
    #[must_use]
    pub fn connector_jwt(&self, now: Millis) -> String {
        let key = self.signing_key();
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "kid": Self::key_id(&key), "alg": "EdDSA", "typ": "JWT" }));
        let claims = part(
            json!({ "iss": "opencti", "sub": "connector", "iat": now / 1000, "exp": (now + JWT_LIFETIME) / 1000 }),
        );
        let signed = format!("{header}.{claims}");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, Verifier, VerifyingKey};

    fn key() -> PlatformKey {
        PlatformKey::new([7; 32])
    }

    #[test]
    fn a_broker_password_belongs_to_one_connector_one_user_and_one_epoch() {
        let key = key();
        let password = key.broker_password("a", 7, 1);
        assert!(key.is_broker_password("a", 7, 1, &password));
        for (connector, user, epoch) in [("a", 7, 0), ("a", 7, 2), ("a", 8, 1), ("b", 7, 1)] {
            assert!(
                !key.is_broker_password(connector, user, epoch, &password),
                "{connector} {user} {epoch}"
            );
        }
        assert!(!key.is_broker_password("a", 7, 1, ""));
        assert!(!PlatformKey::new([8; 32]).is_broker_password("a", 7, 1, &password));
    }

    #[test]
    fn a_jwt_verifies_with_the_published_key() {
        let jwks: serde_json::Value = serde_json::from_str(&key().jwks()).unwrap();
        let jwk = &jwks["keys"][0];
        let x: [u8; 32] = BASE64_URL_SAFE_NO_PAD
            .decode(jwk["x"].as_str().unwrap())
            .unwrap()
            .try_into()
            .unwrap();
        let jwt = key().connector_jwt(1_700_000_000_000);
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let signature =
            Signature::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        VerifyingKey::from_bytes(&x)
            .unwrap()
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        let header = BASE64_URL_SAFE_NO_PAD
            .decode(signed.split_once('.').unwrap().0)
            .unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["kid"], jwk["kid"]);
        assert_eq!(jwk["kid"].as_str().unwrap().len(), 16);
    }

    #[test]
    fn the_key_does_not_show() {
        assert_eq!(format!("{:?}", key()), "PlatformKey(***)");
    }
}
