//! Carrying out what was decided: several things at a time, one for each connector.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::{Core, Event};
use crate::{
    Action, ConnectorId, Decision, Definition, Failure, Instance, Listing, Orchestrator, Phase,
    Place,
};

/// How many instances are made or started at a time.
const STARTS: usize = 8;
/// How many images and Python environments are fetched at a time; one that hangs holds up no more than itself.
const PULLS: usize = 16;

/// Actions that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pull,
    Start,
    /// Stops wait for most of their time, and what goes makes room: there may be any number.
    End,
}

impl Kind {
    fn of(action: &Action) -> Self {
        match action {
            Action::Pull { .. } => Self::Pull,
            Action::Create { .. } | Action::Start { .. } => Self::Start,
            Action::Stop { .. } | Action::Remove { .. } => Self::End,
        }
    }

    fn most(self) -> usize {
        match self {
            Self::Pull => PULLS,
            Self::Start => STARTS,
            Self::End => usize::MAX,
        }
    }
}

/// Something that is under way.
pub(super) struct Busy {
    pub kind: Kind,
    action: Action,
    task: AbortHandle,
    /// It is no longer wanted: that it did not come to its end is no failure.
    pub given_up: bool,
}

/// Something that was decided and waits for others to end. No other action of its connector is begun meanwhile, so that it stays as valid as it
/// was until the next decision replaces it.
pub(super) struct Intent {
    connector: ConnectorId,
    kind: Kind,
    action: Action,
    definition: Option<Definition>,
}

/// Whether an instance has ended, so that it has said its last word.
pub(super) fn ended(instance: &Instance) -> bool {
    matches!(instance.phase, Phase::Exited { .. }) && instance.started_at.is_some()
}

/// What is there, as far as it can be seen.
pub(super) async fn list(orchestrator: &dyn Orchestrator) -> Listing {
    orchestrator.list().await.unwrap_or_else(|failure| {
        let why = failure.to_string();
        Listing {
            instances: Vec::new(),
            incomplete: Place::ALL.map(|place| (place, why.clone())).into(),
        }
    })
}

impl Core {
    /// Begins what was decided on the listing of that number, unless the connector's last action may not be in it, or too much is under way.
    pub(super) fn act(
        &mut self,
        decision: &Decision,
        definition: Option<&&Definition>,
        listing: u64,
    ) {
        let Some(action) = &decision.action else {
            return;
        };
        let connector = &decision.connector;
        if let Some(busy) = self.busy.get_mut(connector) {
            // what is fetched for hours must not keep a connector from being stopped or defined anew
            if busy.kind == Kind::Pull && busy.action != *action && !busy.given_up {
                busy.given_up = true;
                busy.task.abort();
            }
            return;
        }
        if self
            .finished
            .get(connector)
            .is_some_and(|at| *at >= listing)
        {
            self.dirty = true;
            return;
        }
        let intent = Intent {
            connector: connector.clone(),
            kind: Kind::of(action),
            action: action.clone(),
            definition: definition.map(|definition| (*definition).clone()),
        };
        if self.is_full(intent.kind) {
            self.waiting.push_back(intent);
        } else {
            self.begin(intent);
        }
    }

    fn is_full(&self, kind: Kind) -> bool {
        self.busy.values().filter(|busy| busy.kind == kind).count() >= kind.most()
    }

    /// An action has ended: what waits for its place begins at once, as it was decided last.
    pub(super) fn fill(&mut self, kind: Kind) {
        if self.is_full(kind) {
            return;
        }
        let next = self.waiting.iter().position(|intent| intent.kind == kind);
        if let Some(intent) = next.and_then(|at| self.waiting.remove(at)) {
            self.begin(intent);
        }
    }

    fn begin(&mut self, intent: Intent) {
        let Intent {
            connector,
            kind,
            action,
            definition,
        } = intent;
        tracing::debug!(connector, ?action, "begun");
        let (orchestrator, grace) = (self.orchestrator.clone(), self.settings.grace);
        let what = action.clone();
        // a task of its own: whatever happens to it, its end is told
        let done = tokio::spawn(async move {
            carry_out(orchestrator, &what, definition.as_ref(), grace).await
        });
        let busy = Busy {
            kind,
            action: action.clone(),
            task: done.abort_handle(),
            given_up: false,
        };
        self.busy.insert(connector.clone(), busy);
        self.spawn(async move {
            let outcome = match done.await {
                Ok(outcome) => outcome.map_err(|failure| failure.to_string()),
                Err(error) => Err(error.to_string()),
            };
            Event::Done {
                connector,
                action,
                outcome,
            }
        });
    }
}

async fn carry_out(
    orchestrator: Arc<dyn Orchestrator>,
    action: &Action,
    definition: Option<&Definition>,
    grace: std::time::Duration,
) -> Result<(), Failure> {
    let definition = || {
        let none = "the definition is not there any more".to_owned();
        definition.ok_or(Failure::Refused(none))
    };
    match action {
        Action::Pull { .. } => orchestrator.prepare(definition()?).await,
        Action::Create { .. } => orchestrator.create(definition()?).await.map(|_| ()),
        Action::Start { handle } => orchestrator.start(handle).await,
        Action::Stop { handle } => orchestrator.stop(handle, grace).await,
        Action::Remove { handle } => orchestrator.remove(handle).await,
    }
}
