//! Everything that is known of a managed connector, for whoever shows it.

use ferrocti_catalog::Entry;
use ferrocti_model::clock::Millis;
use ferrocti_store::{Composer, Connector, Snapshot};

use crate::{
    ConnectorError, Connectors,
    managed::{
        Evidence, Health, Managed, Reported, Shown, evidence::evidence, health,
        health::HealthFacts, state, state::Facts, tokens, work,
    },
};

/// A managed connector as it can be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What it shall be.
    pub managed: Managed,
    /// The contract hash.
    pub hash: String,
    /// Its whole environment as its composer is given it; what is sealed stays sealed.
    pub environment: Vec<Entry>,
    /// What its composer said last; `None`: nothing yet.
    pub reported: Option<Reported>,
    /// Its composer; `None`: it was removed.
    pub composer: Option<Composer>,
    /// What the platform itself has seen of it.
    pub evidence: Evidence,
    /// Keys of secrets that its composer cannot open, because it has another key by now.
    pub unreadable: Vec<String>,
    /// Whether its user exists and is let in.
    pub user_let_in: bool,
    /// Composers that have to remove their instance of it first.
    pub leaving: Vec<String>,
}

impl Connectors {
    /// Everything that is known of a managed connector; `None`: it is not managed.
    ///
    /// # Errors
    /// What is stored cannot be read.
    pub fn view(
        &self,
        snapshot: &Snapshot<'_>,
        connector: &Connector,
    ) -> Result<Option<View>, ConnectorError> {
        let Some(managed) = Managed::of(snapshot, connector)? else {
            return Ok(None);
        };
        let composer = snapshot.composer(&managed.composer)?;
        let unreadable = match &composer {
            Some(composer) => managed.definition.sealed_for_another(&composer.key_id),
            None => Vec::new(),
        };
        let environment = managed.environment(connector, &self.proxy);
        Ok(Some(View {
            hash: managed.hash_of(&environment, connector),
            environment,
            reported: Reported::of(snapshot, &connector.id)?,
            evidence: evidence(snapshot, connector)?,
            unreadable: unreadable.into_iter().map(str::to_owned).collect(),
            user_let_in: tokens::user_let_in(snapshot, connector)?.is_some(),
            leaving: work::leaving(snapshot, &connector.id, &managed.composer)?,
            composer,
            managed,
        }))
    }

    /// The health of a connector, managed or not.
    ///
    /// # Errors
    /// What is stored cannot be read.
    pub fn health_of(
        &self,
        snapshot: &Snapshot<'_>,
        connector: &Connector,
    ) -> Result<Health, ConnectorError> {
        let now = self.clock.now();
        if let Some(view) = self.view(snapshot, connector)? {
            return Ok(view.health(connector, now));
        }
        Ok(health(&HealthFacts {
            state: None,
            obstacles: &[],
            last_ping: connector.last_ping,
            info: connector.info.as_ref(),
            cadence: None,
            evidence: &evidence(snapshot, connector)?,
            restarts: 0,
            started_at: None,
            now,
        }))
    }
}

impl View {
    /// Its state.
    #[must_use]
    pub fn state(&self, connector: &Connector, now: Millis) -> Shown {
        state(&Facts {
            managed: &self.managed,
            hash: &self.hash,
            reported: self.reported.as_ref(),
            composer: self.composer.as_ref(),
            last_ping: connector.last_ping,
            unreadable: &self.unreadable,
            user_let_in: self.user_let_in,
            leaving: &self.leaving,
            now,
        })
    }

    /// Its health.
    #[must_use]
    pub fn health(&self, connector: &Connector, now: Millis) -> Health {
        let shown = self.state(connector, now);
        health(&HealthFacts {
            state: Some(&shown),
            obstacles: &self.obstacles(),
            last_ping: connector.last_ping,
            info: connector.info.as_ref(),
            cadence: health::cadence(&self.managed.definition.entries),
            evidence: &self.evidence,
            restarts: self
                .reported
                .as_ref()
                .map_or(0, |reported| reported.restarts),
            started_at: self
                .reported
                .as_ref()
                .and_then(|reported| reported.started_at),
            now,
        })
    }

    /// What keeps it from being started anew although it may run.
    fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        if !self.user_let_in {
            obstacles.push(state::NO_USER.to_owned());
        }
        if !self.unreadable.is_empty() {
            obstacles.push(state::unreadable(&self.unreadable));
        }
        obstacles
    }
}
