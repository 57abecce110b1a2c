//! The envelope of secrets against vectors of an independent implementation (`tests/vectors/make.py`), and the keys.

use std::sync::{LazyLock, Mutex};

use ferrocti_catalog::{
    Entry, Envelope, KeyError, PrivateKey, PublicKey, SealError, Secret, environment,
    seal::is_sealed,
};
use ferrocti_model::clock::{Entropy, SeededEntropy};
use proptest::prelude::*;
use serde::Deserialize;

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from_pem(include_str!("../vectors/test-key.pem")).unwrap());

#[derive(Deserialize)]
struct Vector {
    version: u8,
    start: u8,
    value: String,
    sealed: String,
}

impl Vector {
    fn envelope(&self) -> Envelope {
        match self.version {
            1 => Envelope::V1,
            _ => Envelope::V2,
        }
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/sealed.json")).unwrap()
}

/// The randomness of the vectors: a counter that leaves zero out.
struct Counter(Mutex<u8>);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        let mut next = self.0.lock().unwrap();
        for byte in bytes {
            *byte = *next;
            *next = *next % 255 + 1;
        }
    }
}

#[test]
fn values_are_sealed_byte_by_byte_as_the_envelope_says() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let entropy = Counter(Mutex::new(vector.start));
        let sealed = KEY
            .public()
            .seal(
                &Secret::from(vector.value.as_str()),
                vector.envelope(),
                &entropy,
            )
            .unwrap();
        assert!(
            sealed == vector.sealed,
            "version {} of {:?}",
            vector.version,
            vector.value
        );
        assert!(is_sealed(&sealed));
    }
}

#[test]
fn values_sealed_by_others_are_opened() {
    for vector in vectors() {
        let opened = KEY.open(&vector.sealed, &SeededEntropy::new(1)).unwrap();
        assert_eq!(opened.expose(), vector.value);
    }
}

#[test]
fn what_cannot_be_opened_is_an_error_and_never_an_empty_text() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let sealed = &vectors()[6].sealed;
    let bytes = BASE64_STANDARD.decode(sealed).unwrap();
    let altered = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        KEY.open(&BASE64_STANDARD.encode(bytes), &SeededEntropy::new(1))
            .unwrap_err()
    };
    let wrong_key = SealError::WrongKey {
        key: KEY.public().id(),
    };
    assert_eq!(altered(&|bytes| bytes[0] = 3), SealError::UnknownVersion(3));
    assert_eq!(
        altered(&|bytes| bytes.truncate(528)),
        SealError::TooShort { bytes: 528 }
    );
    assert_eq!(altered(&|bytes| bytes[100] ^= 1), wrong_key);
    assert_eq!(altered(&|bytes| bytes[0] = 1), wrong_key);
    assert_eq!(
        altered(&|bytes| *bytes.last_mut().unwrap() ^= 1),
        SealError::Altered
    );
    assert_eq!(altered(&|bytes| bytes[513] ^= 1), SealError::Altered);
    assert_eq!(
        altered(&|bytes| bytes.clear()),
        SealError::TooShort { bytes: 0 }
    );
    assert_eq!(
        KEY.open("not base64!", &SeededEntropy::new(1)),
        Err(SealError::NotBase64)
    );
    assert_eq!(
        KEY.open("", &SeededEntropy::new(1)),
        Err(SealError::TooShort { bytes: 0 })
    );
}

#[test]
fn a_connector_with_a_secret_that_cannot_be_opened_gets_no_environment() {
    let entries = [
        Entry::plain("CONNECTOR_SCOPE", "a"),
        Entry::sealed("GOOD", vectors()[6].sealed.as_str()),
        Entry::sealed("BAD", "AgAB"),
        Entry::sealed("WORSE", "?"),
    ];
    let unopened = environment::open(&entries, &KEY, &SeededEntropy::new(1)).unwrap_err();
    assert_eq!(
        unopened.0,
        [
            ("BAD".to_owned(), SealError::TooShort { bytes: 3 }),
            ("WORSE".to_owned(), SealError::NotBase64)
        ]
    );
    assert!(
        unopened
            .to_string()
            .contains("BAD: the sealed value has 3 bytes")
    );
    let opened = environment::open(&entries[..2], &KEY, &SeededEntropy::new(1)).unwrap();
    assert_eq!(opened[1].value.expose(), "s3cr3t");
}

#[test]
fn keys_are_read_in_every_form_that_composers_write() {
    let spki = PublicKey::from_pem(include_str!("../vectors/test-public-spki.pem")).unwrap();
    let pkcs1 = PublicKey::from_pem(include_str!("../vectors/test-public-pkcs1.pem")).unwrap();
    let older = PrivateKey::from_pem(include_str!("../vectors/test-key-pkcs1.pem")).unwrap();
    assert_eq!(spki, pkcs1);
    assert_eq!(spki, KEY.public());
    assert_eq!(older.public().id(), KEY.public().id());
    assert_eq!(
        KEY.public().to_pem().unwrap(),
        include_str!("../vectors/test-public-pkcs1.pem")
    );
    let again = PrivateKey::from_pem(KEY.to_pem().unwrap().expose()).unwrap();
    assert_eq!(again.public(), KEY.public());
}

#[test]
fn keys_of_another_size_or_kind_are_refused() {
    let small = include_str!("../vectors/test-public-2048.pem");
    assert_eq!(
        PublicKey::from_pem(small),
        Err(KeyError::Size { bits: 2048 })
    );
    for text in [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        small,
    ] {
        assert_eq!(
            PrivateKey::from_pem(text).unwrap_err(),
            KeyError::NotPrivate
        );
    }
    let private = include_str!("../vectors/test-key.pem");
    assert_eq!(PublicKey::from_pem(private), Err(KeyError::NotPublic));
}

#[test]
fn nothing_of_a_key_or_a_secret_is_printed() {
    let printed = format!("{:?} {:?}", *KEY, KEY.to_pem().unwrap());
    let id = KEY.public().id();
    assert_eq!(printed, format!("PrivateKey({id}) Secret(***)"));
    assert_eq!(id.len(), 16);
}

#[test]
fn a_new_key_opens_what_its_public_half_seals() {
    let entropy = SeededEntropy::new(11);
    let key = PrivateKey::generate(&entropy).unwrap();
    let pem = key.to_pem().unwrap();
    assert!(pem.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let public = PublicKey::from_pem(&key.public().to_pem().unwrap()).unwrap();
    let sealed = public
        .seal(&Secret::from("x"), Envelope::V2, &entropy)
        .unwrap();
    assert_eq!(key.open(&sealed, &entropy).unwrap().expose(), "x");
    assert!(matches!(
        KEY.open(&sealed, &entropy),
        Err(SealError::WrongKey { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn whatever_is_sealed_is_opened(text in "(?s).{0,200}", seed in any::<u64>(), newer in any::<bool>()) {
        let entropy = SeededEntropy::new(seed);
        let envelope = if newer { Envelope::V2 } else { Envelope::V1 };
        let sealed = KEY.public().seal(&Secret::from(text.as_str()), envelope, &entropy).unwrap();
        let opened = KEY.open(&sealed, &entropy).unwrap();
        prop_assert_eq!(opened.expose(), text.as_str());
        // key and nonce are new every time
        prop_assert_ne!(KEY.public().seal(&opened, envelope, &entropy).unwrap(), sealed);
    }

    #[test]
    fn no_text_is_too_strange_to_be_opened(text in "[A-Za-z0-9+/=]{0,900}") {
        prop_assert!(KEY.open(&text, &SeededEntropy::new(1)).is_err());
    }
}
