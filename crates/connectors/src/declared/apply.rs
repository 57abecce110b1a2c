//! Carrying a plan out.

use ferrocti_access::{Action as Right, Level, may, names};
use ferrocti_accounts::{Acting, UserPatch};
use ferrocti_catalog::Notice;
use parking_lot::Mutex;

use super::{Action, Files, FilesError, Sent, Step, Work, current::There, wanted::Wanted};
use crate::{
    ConnectorError,
    managed::{self, Configuration, Deploy, RequestedStatus},
};

/// One file at a time: two that are applied at once would be mixed.
static APPLYING: Mutex<()> = Mutex::new(());

/// What became of a file.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The steps that were planned, with the ids of what was made and what was done to what the file says.
    pub steps: Vec<Step>,
    /// Those that could not be done; the others were. Applied again, the file does what is left.
    pub failures: Vec<Failure>,
}

/// A step that could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The connector's name.
    pub name: String,
    /// Why.
    pub error: String,
}

impl Files {
    /// Does what a file asks for, if it is still what the plan with this hash said. A step that fails stops no other. What was done stays done:
    /// applied again, the file does the rest, and a file that was applied well changes nothing.
    ///
    /// # Errors
    /// [`FilesError::Stale`], [`FilesError::Removals`] without `allow_removals`, and those of [`Files::plan`]; nothing was done then.
    pub fn apply<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        sent: Sent<'_>,
        hash: &str,
        allow_removals: bool,
    ) -> Result<Applied, FilesError> {
        let acting = acting.into();
        let one_at_a_time = APPLYING.lock();
        let plan = self.plan(acting, sent)?;
        if plan.hash != hash {
            return Err(FilesError::Stale);
        }
        if plan.removals() > 0 && !allow_removals {
            let names = plan.steps.iter();
            return Err(FilesError::Removals(
                names
                    .filter(|step| step.action == Action::Remove)
                    .map(|step| format!("`{}`", step.name))
                    .collect(),
            ));
        }
        let mut steps = plan.steps;
        let mut failures = Vec::new();
        for step in &mut steps {
            let error = match &step.problem {
                Some(problem) => Some(problem.clone()),
                None => self
                    .carry_out(&acting, step)
                    .err()
                    .map(|error| error.to_string()),
            };
            if let Some(error) = error {
                failures.push(Failure {
                    name: step.name.clone(),
                    error,
                });
            }
        }
        drop(one_at_a_time);
        Ok(Applied { steps, failures })
    }

    fn carry_out(&self, acting: &Acting<'_>, step: &mut Step) -> Result<(), ConnectorError> {
        match std::mem::replace(&mut step.work, Work::Nothing) {
            Work::Nothing => {}
            Work::Deploy(wanted) => {
                let confidence = wanted.resolved.definition.confidence;
                let outcome = self.connectors.deploy(*acting, deployment(*wanted))?;
                step.id = Some(outcome.connector.id);
                tell(step, &outcome.notices);
                // an account that was there already has its own
                self.set_confidence(acting, outcome.connector.user, confidence)?;
            }
            Work::Change(work) => {
                let (wanted, there) = *work;
                let notices = self.change(acting, &wanted, &there)?;
                tell(step, &notices);
            }
            Work::Delete => {
                if let Some(id) = &step.id {
                    self.remove(acting, id)?;
                }
            }
        }
        Ok(())
    }

    fn change(
        &self,
        acting: &Acting<'_>,
        wanted: &Wanted,
        there: &There,
    ) -> Result<Vec<Notice>, ConnectorError> {
        let (is, shall) = (&there.current.definition, &wanted.resolved.definition);
        let id = &there.connector.id;
        let requested = |requested| self.connectors.request(*acting, id, requested);
        // one that shall not run is not started anew with other settings first
        if is.running && !shall.running {
            requested(RequestedStatus::Stopping)?;
        }
        let moved = shall.composer.is_some() && shall.composer != is.composer;
        let mut given = wanted.resolved.given_for(is);
        if moved {
            // what is sealed for one composer is of no use to another
            let known: Vec<String> = given.iter().map(|given| given.key.clone()).collect();
            let again = wanted.resolved.given.iter();
            given.extend(again.filter(|given| !known.contains(&given.key)).cloned());
        }
        let contract = &wanted.resolved.contract;
        let stored = there.managed.definition.contract().ok();
        let same = stored.is_some_and(|stored| stored.content_hash() == contract.content_hash())
            && there.managed.definition.catalog == shall.catalog;
        let change = managed::Change {
            contract: (!same).then(|| (shall.catalog.clone(), contract.clone())),
            user: (shall.user.is_some() && shall.user != is.user).then(|| wanted.user.clone()),
            composer: shall.composer.clone().filter(|_| moved),
            configuration: Some(Configuration {
                given,
                replace: true,
                extra: wanted.extra,
            }),
            runtime: Some(shall.runtime.clone()),
            pinned: Some(wanted.pinned),
            declared: Some(true),
            ..managed::Change::default()
        };
        let outcome = self.connectors.configure(*acting, id, change)?;
        self.set_confidence(acting, outcome.connector.user, shall.confidence)?;
        if shall.running && !is.running {
            requested(RequestedStatus::Starting)?;
        }
        Ok(outcome.notices)
    }

    /// Removes a connector for good. A connector that runs is only signed off when its own user asks, so that one is stopped first.
    fn remove(&self, acting: &Acting<'_>, id: &str) -> Result<(), ConnectorError> {
        let connector = self.connectors.store.read(|snapshot| {
            snapshot
                .connector(id)?
                .ok_or_else(|| ConnectorError::NotFound(id.to_owned()))
        })?;
        if connector.user == Some(acting.actor.user_row) {
            self.connectors
                .request(*acting, id, RequestedStatus::Stopping)?;
        }
        self.connectors.delete(*acting, id)
    }

    /// Gives the connector's service account a confidence, when the file says one.
    fn set_confidence(
        &self,
        acting: &Acting<'_>,
        row: Option<i64>,
        confidence: Option<u8>,
    ) -> Result<(), ConnectorError> {
        let (Some(row), Some(confidence)) = (row, confidence) else {
            return Ok(());
        };
        let user = self
            .connectors
            .store
            .read(|snapshot| Ok::<_, ConnectorError>(snapshot.user(row)?))?;
        let Some(user) = user.filter(|user| user.max_confidence != Some(confidence)) else {
            return Ok(());
        };
        may(acting.actor, Right::Use(names::SET_ACCESSES))?;
        let level = Level {
            max: Some(confidence),
            overrides: user.overrides.clone(),
        };
        let patch = UserPatch {
            level: Some(level),
            ..UserPatch::default()
        };
        self.accounts
            .edit_user(acting, &user.id.to_string(), patch)?;
        Ok(())
    }
}

fn deployment(wanted: Wanted) -> Deploy {
    let resolved = wanted.resolved;
    let definition = resolved.definition;
    Deploy {
        id: None,
        name: definition.name,
        catalog: definition.catalog,
        contract: resolved.contract,
        given: resolved.given,
        extra: wanted.extra,
        user: wanted.user,
        composer: definition.composer,
        runtime: definition.runtime,
        start: definition.running,
        pinned: wanted.pinned,
        declared: true,
    }
}

/// Adds what was done when the step was carried out, if the plan did not say it.
fn tell(step: &mut Step, notices: &[Notice]) {
    for notice in notices {
        let notice = notice.to_string();
        if !step.notices.contains(&notice) {
            step.notices.push(notice);
        }
    }
}
