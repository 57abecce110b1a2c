//! The report of a migration: what happened when, and the figures that show that nothing was lost.

use std::fmt;

use ferrocti_model::clock::Millis;
use serde::{Deserialize, Serialize};

use super::{Journal, Step};

/// What was measured; everything that could not be is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    /// Hash of the state at the fence.
    pub state_before: Option<String>,
    /// Hash of the state that the new instance got when it registered.
    pub state_after: Option<String>,
    /// Messages to be ingested at the fence.
    pub push_at_fence: Option<u64>,
    /// Messages for the connector at the fence.
    pub listen_at_fence: Option<u64>,
    /// Messages for the connector when the new instance took the first.
    pub listen_at_first: Option<u64>,
    /// Works of the connector at the fence.
    pub works_at_fence: Option<u64>,
    /// Works that the new instance has begun.
    pub works_after: Option<u64>,
    /// The last write of the old instance that was accepted.
    pub last_old_write: Option<Millis>,
    /// The first write of the new instance.
    pub first_new_write: Option<Millis>,
    /// Bundles of the new instance whose objects were all there already.
    pub replayed: Option<u64>,
    /// Calls of the old instance that were refused.
    pub fenced_calls: Option<u64>,
}

/// How long a step took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepTime {
    /// The step.
    pub step: Step,
    /// When it began.
    pub at: Millis,
    /// How long it took; `None`: it is the last.
    pub millis: Option<Millis>,
    /// Why it began.
    pub why: String,
}

/// The report of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The migration.
    pub migration: String,
    /// The connector.
    pub connector: String,
    /// The plan that was agreed to.
    pub plan: String,
    /// Where it is.
    pub step: Step,
    /// Why the way back was taken.
    pub reason: Option<String>,
    /// Whether the old instance was fenced before it had become quiet.
    pub forced: bool,
    /// The epoch before and now.
    pub epochs: (i64, i64),
    /// Its steps.
    pub steps: Vec<StepTime>,
    /// What has to be done by hand.
    pub by_hand: Vec<String>,
    /// Milliseconds between the last write of the old instance and the first of the new one.
    pub gap: Option<Millis>,
    /// Whether the new instance got the state that was frozen.
    pub state_kept: Option<bool>,
    /// The figures.
    pub measures: Measures,
}

/// Makes the report of a migration.
#[must_use]
pub fn report(journal: &Journal, measures: Measures) -> Report {
    let ends = journal.lines.iter().skip(1).map(|line| Some(line.at));
    let steps = journal
        .lines
        .iter()
        .zip(ends.chain([None]))
        .map(|(line, end)| StepTime {
            step: line.step,
            at: line.at,
            millis: end.map(|end| end - line.at),
            why: line.why.clone(),
        })
        .collect();
    let known = |value: &Option<String>| value.clone();
    Report {
        migration: journal.order.id.clone(),
        connector: journal.order.connector.clone(),
        plan: journal.order.plan.clone(),
        step: journal.step,
        reason: journal.reason.clone(),
        forced: journal.forced,
        epochs: (journal.order.epoch, journal.epoch),
        steps,
        by_hand: journal.by_hand.clone(),
        gap: measures
            .last_old_write
            .zip(measures.first_new_write)
            .map(|(old, new)| new - old),
        state_kept: known(&measures.state_before)
            .zip(known(&measures.state_after))
            .map(|(before, after)| before == after),
        measures,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.step {
            Step::Committed => "migrated",
            Step::RolledBack => "rolled back",
            _ => "under way",
        };
        writeln!(
            f,
            "{}: {end} (migration {})",
            self.connector, self.migration
        )?;
        if let Some(reason) = &self.reason {
            writeln!(f, "  because {reason}")?;
        }
        for step in &self.steps {
            let took = match step.millis {
                Some(millis) => format!("{:>9.1} s", seconds(millis)),
                None => " ".repeat(11),
            };
            writeln!(f, "  {took}  {:13}  {}", name(step.step), step.why)?;
        }
        let measures = &self.measures;
        let mut figure = |what: &str, value: Option<String>| match value {
            Some(value) => writeln!(f, "  {what}: {value}"),
            None => Ok(()),
        };
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        figure("state before", measures.state_before.clone())?;
        figure("state after", measures.state_after.clone())?;
        figure(
            "gap between the last and the first write",
            self.gap.map(|gap| format!("{:.1} s", seconds(gap))),
        )?;
        figure(
            "messages to be ingested at the fence",
            number(measures.push_at_fence),
        )?;
        figure(
            "messages for the connector at the fence",
            number(measures.listen_at_fence),
        )?;
        figure(
            "messages for the connector at the first taken",
            number(measures.listen_at_first),
        )?;
        figure("works at the fence", number(measures.works_at_fence))?;
        figure("works begun since", number(measures.works_after))?;
        figure(
            "bundles that brought nothing new",
            number(measures.replayed),
        )?;
        figure(
            "refused calls of the old instance",
            number(measures.fenced_calls),
        )?;
        if self.forced {
            writeln!(f, "  it was forced: the old instance was not quiet")?;
        }
        for what in &self.by_hand {
            writeln!(f, "  by hand: {what}")?;
        }
        write!(
            f,
            "  plan {}, epoch {} -> {}",
            self.plan, self.epochs.0, self.epochs.1
        )
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "for people, to a tenth of a second"
)]
fn seconds(millis: Millis) -> f64 {
    millis as f64 / 1000.0
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Preparing => "preparing",
        Step::Quiescing => "quiescing",
        Step::Undecided => "undecided",
        Step::StoppingOld => "stopping old",
        Step::StartingNew => "starting new",
        Step::Verifying => "verifying",
        Step::Observing => "observing",
        Step::Committed => "committed",
        Step::Discarding => "discarding",
        Step::StoppingNew => "stopping new",
        Step::StartingOld => "starting old",
        Step::VerifyingOld => "verifying old",
        Step::RolledBack => "rolled back",
    }
}
