//! The states that an operator sees, and the two that upstream knows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a managed connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It shall run; nothing has been done yet.
    Requested,
    /// Its image or Python environment is being fetched; an old instance may still run.
    Pulling,
    /// Its instance is being made, or runs and has not been heard of by the platform yet.
    Starting,
    /// It runs and the platform hears from it.
    Running,
    /// It runs, but not as it should.
    Degraded,
    /// It ends again and again; the next start waits.
    CrashLooping,
    /// It cannot be run as it is defined, or its new definition was given up for the old.
    Failed,
    /// It is about to stop.
    Stopping,
    /// It does not run, as asked.
    Stopped,
    /// The orchestrator cannot be asked.
    Unreachable,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Requested,
        Self::Pulling,
        Self::Starting,
        Self::Running,
        Self::Degraded,
        Self::CrashLooping,
        Self::Failed,
        Self::Stopping,
        Self::Stopped,
        Self::Unreachable,
    ];

    /// The word for it, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Pulling => "pulling",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::CrashLooping => "crash-looping",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Unreachable => "unreachable",
        }
    }

    /// Upstream's value where only the state is known. Where the instances are known, [`crate::Decision::current`] is exact: an old
    /// instance runs while the image of the new one is being pulled.
    #[must_use]
    pub fn upstream(self) -> Option<Current> {
        match self {
            Self::Running | Self::Degraded | Self::Starting | Self::Stopping => {
                Some(Current::Started)
            }
            Self::CrashLooping | Self::Failed | Self::Stopped => Some(Current::Stopped),
            Self::Requested | Self::Pulling | Self::Unreachable => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Upstream's `manager_current_status`: whether an instance runs. Absent until one was deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Current {
    /// `started`
    Started,
    /// `stopped`
    Stopped,
}
