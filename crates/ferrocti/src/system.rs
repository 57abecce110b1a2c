//! The real clock, the real randomness, and the platform key in its file.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use ferrocti_connectors::PlatformKey;
use ferrocti_model::clock::{Clock, Entropy, Millis};

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }
}

/// The system's random numbers.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(
            clippy::expect_used,
            reason = "without randomness no token or id may be made; there is nothing to continue with"
        )]
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

const KEY_FILE: &str = "platform.key";

/// Reads the platform key, or makes one at the first start. Only its owner may read the file.
pub fn platform_key(dir: &Path) -> Result<PlatformKey> {
    let path = dir.join(KEY_FILE);
    if !path.exists() {
        let mut key = [0; 32];
        SystemEntropy.fill(&mut key);
        // written whole under another name, so that a crash leaves no half key
        let fresh = dir.join(format!("{KEY_FILE}.new"));
        let _ = fs::remove_file(&fresh);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .with_context(|| format!("cannot create {}", fresh.display()))?;
        file.write_all(&key)
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) else {
        bail!(
            "{} is damaged: it has {} bytes instead of 32. Put the file back from a backup; or remove it, then every connector has to be restarted once",
            path.display(),
            bytes.len()
        );
    };
    Ok(PlatformKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = platform_key(dir.path()).unwrap().jwks();
        assert_eq!(platform_key(dir.path()).unwrap().jwks(), first);
        let mode = fs::metadata(dir.path().join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_not_replaced_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEY_FILE), b"short").unwrap();
        assert!(
            platform_key(dir.path())
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
    }
}
