//! What a composer that speaks our protocol tells, and the way back from a definition that it gave up.

use ferrocti_accounts::{Acting, Scope};
use ferrocti_model::clock::Millis;
use ferrocti_store::{Composer, Connector, Tx};

use crate::{
    ConnectorError, Connectors,
    managed::{
        CurrentStatus, Managed, Reported, RolledBack, State, composers, deploy, request,
        versions::{self, Version},
    },
    registry::audit,
};

/// Longest text of a composer's that is kept, in bytes: a reason, a hash, a place in a log.
const MAX_TEXT: usize = 4 << 10;

/// Everything that a composer tells at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What there is to say of connectors; of those that are not its own nothing is taken.
    pub connectors: Vec<ConnectorReport>,
    /// Deleted connectors of which nothing is left.
    pub removed: Vec<String>,
    /// Why it does nothing at all.
    pub blocked: Option<String>,
}

/// What a composer tells of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorReport {
    /// The connector.
    pub id: String,
    /// The hash of the definition that this was decided on.
    pub hash: String,
    /// Its state.
    pub state: State,
    /// Why, in words.
    pub reason: String,
    /// Whether an instance runs; `None`: none was made, or it is not known.
    pub current: Option<CurrentStatus>,
    /// Figures, when it is time for them.
    pub health: Option<HealthReport>,
    /// New lines of its log, oldest first.
    pub logs: Vec<String>,
    /// Where the next lines begin.
    pub log_cursor: Option<String>,
    /// The hash of a definition that was given up for the one before it.
    pub rejected: Option<String>,
}

/// Figures of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthReport {
    /// Since when it runs.
    pub started_at: Option<Millis>,
    /// How often it was started again.
    pub restarts: u64,
    /// Whether it ends again and again.
    pub reboot_loop: bool,
    /// Memory in bytes.
    pub memory: Option<u64>,
}

impl HealthReport {
    /// Puts the figures in the place of the former ones.
    pub(crate) fn note(self, reported: &mut Reported, now: Millis) {
        reported.started_at = self.started_at;
        reported.restarts = self.restarts;
        reported.reboot_loop = self.reboot_loop;
        reported.memory = self.memory;
        reported.health_at = Some(now);
    }
}

impl Connectors {
    /// Takes what a composer tells, all of it or nothing. A definition that it gave up is given up here too, so that platform and composer want
    /// the same again.
    ///
    /// # Errors
    /// [`ConnectorError::UnknownComposer`]; [`ConnectorError::Denied`] for anybody but its own user and who may manage connectors.
    pub fn report<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        composer: &str,
        report: &Report,
    ) -> Result<(), ConnectorError> {
        let acting = acting.into();
        let news = self.store.write(|tx| {
            let mut composer = composers::speaking_for(tx, &acting, composer)?;
            composer.last_seen = tx.now();
            composer.blocked = report.blocked.as_deref().map(cut);
            tx.put_composer(&composer)?;
            let mut news = false;
            for connector in &report.removed {
                news |= tx.delete_tombstone(&composer.id, connector)?;
            }
            for said in &report.connectors {
                news |= self.take(tx, &acting, &composer, said)?;
            }
            Ok::<_, ConnectorError>(news)
        })?;
        if news {
            self.bump();
        }
        Ok(())
    }

    /// Takes what is said of one connector; whether the composer has to ask again because of it.
    fn take(
        &self,
        tx: &mut Tx<'_>,
        acting: &Acting<'_>,
        composer: &Composer,
        said: &ConnectorReport,
    ) -> Result<bool, ConnectorError> {
        // one that was deleted or moved in the meantime
        let Some(mut connector) = tx.connector(&said.id)? else {
            return Ok(false);
        };
        let Some(mut managed) = Managed::without_definition(&connector)? else {
            return Ok(false);
        };
        if managed.composer != composer.id {
            return Ok(false);
        }
        let former = managed.clone();
        let now = tx.now();
        let before = Reported::of(tx, &said.id)?;
        let mut reported = before.clone().unwrap_or_default();
        let reason = cut(&said.reason);
        if reported.state != Some(said.state) || reported.reason != reason || before.is_none() {
            reported.since = now;
        }
        reported.hash = cut(&said.hash);
        reported.state = Some(said.state);
        reported.reason = reason;
        if let Some(health) = said.health {
            health.note(&mut reported, now);
        }
        if let Some(place) = &said.log_cursor {
            reported.log_cursor = Some(cut(place));
        }
        put(tx, &said.id, &reported)?;
        tx.append_connector_log(&said.id, said.logs.iter().map(String::as_str))?;
        managed.current = said.current;
        let mut news = false;
        let verifies = said.state == State::Running && managed.verified != Some(managed.number);
        // most reports say what is known, and the definition is long; one that cannot be read is told where it is asked for
        if (verifies || said.rejected.is_some())
            && let Ok(Some(whole)) = Managed::of(tx, &connector)
        {
            managed.definition = whole.definition;
            let hash = managed.hash(&connector, &self.proxy);
            if verifies && said.hash == hash {
                managed.verified = Some(managed.number);
            }
            if said.rejected.as_deref() == Some(hash.as_str()) {
                let which = (&mut connector, &mut managed);
                news = self.give_up(tx, acting, composer, which, said)?;
            }
        }
        if managed != former {
            request::save(tx, &mut connector, &managed)?;
        }
        Ok(news)
    }

    /// Goes back from the present definition to the one that ran before it; whether there is one.
    fn give_up(
        &self,
        tx: &mut Tx<'_>,
        acting: &Acting<'_>,
        composer: &Composer,
        (connector, managed): (&mut Connector, &mut Managed),
        said: &ConnectorReport,
    ) -> Result<bool, ConnectorError> {
        // what ran well once is not to blame, and who went back already does not wander further into the past
        if managed.verified == Some(managed.number) || managed.rolled_back.is_some() {
            return Ok(false);
        }
        let rejected = managed.hash(connector, &self.proxy);
        let Some(target) = self.way_back(tx, composer, connector, managed, &rejected)? else {
            return Ok(false);
        };
        let why = if said.reason.is_empty() {
            "it did not become healthy".to_owned()
        } else {
            cut(&said.reason)
        };
        let given_up = managed.number;
        let reason = format!(
            "went back to definition {} by itself, because definition {given_up} was given up: {why}",
            target.number
        );
        let data = versions::go_back(
            tx,
            acting,
            &connector.id,
            managed,
            target.definition,
            &reason,
        )?;
        managed.verified = Some(managed.number).filter(|_| managed.verified == Some(target.number));
        managed.rolled_back = Some(RolledBack {
            number: given_up,
            hash: rejected,
            reason: why,
            at: tx.now(),
        });
        deploy::told_by_definition(connector, &managed.definition);
        request::save(tx, connector, managed)?;
        audit(
            tx,
            acting,
            (Scope::Update, "rolls back connector"),
            connector,
            Some(data),
        )?;
        Ok(true)
    }

    /// The definition to go back to: the one that ran well last, else the one before; never one that is the same under another number, and none
    /// whose secrets the composer cannot open.
    fn way_back(
        &self,
        tx: &Tx<'_>,
        composer: &Composer,
        connector: &Connector,
        managed: &Managed,
        rejected: &str,
    ) -> Result<Option<Version>, ConnectorError> {
        let mut earlier = versions::history(tx, &connector.id, managed.number)?;
        earlier.retain(|version| {
            let then = Managed {
                definition: version.definition.clone(),
                ..managed.clone()
            };
            let readable = then.definition.sealed_for_another(&composer.key_id);
            readable.is_empty() && then.hash(connector, &self.proxy) != rejected
        });
        let ran_well = earlier
            .iter()
            .position(|version| managed.verified == Some(version.number));
        let place = ran_well.unwrap_or(0);
        Ok((place < earlier.len()).then(|| earlier.swap_remove(place)))
    }
}

/// Stores what is said of a connector.
pub(crate) fn put(tx: &mut Tx<'_>, id: &str, reported: &Reported) -> Result<(), ConnectorError> {
    let document = serde_json::to_value(reported)
        .map_err(|error| ConnectorError::Invalid(error.to_string()))?;
    Ok(tx.put_connector_report(id, &document)?)
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}
