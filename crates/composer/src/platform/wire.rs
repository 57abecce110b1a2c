//! What both protocols put on the wire in the same way.

use ferrocti_catalog::Entry;
use ferrocti_model::clock::Millis;
use serde::Deserialize;

/// One setting of a connector, as GraphQL answers it.
#[derive(Deserialize)]
pub(super) struct Setting {
    key: String,
    value: Option<String>,
    encrypted: Option<bool>,
}

impl From<Setting> for Entry {
    fn from(setting: Setting) -> Self {
        Self {
            key: setting.key,
            value: setting.value.unwrap_or_default(),
            encrypted: setting.encrypted.unwrap_or_default(),
        }
    }
}

/// A time as GraphQL takes it; `None`: it lies beyond what a date can say.
pub(super) fn time(at: Millis) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at).ok()?;
    Some(at.to_string())
}

/// The name of this machine, where it can be told.
pub(super) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
