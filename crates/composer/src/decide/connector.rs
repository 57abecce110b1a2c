//! The next step of one connector that the platform defines.

use ferrocti_model::clock::{Millis, format_date};

use super::{Action, Input, Outcome, Track};
use crate::{Definition, Instance, Phase, Requested, Restart, State};

pub(super) fn wanted(
    input: &Input<'_>,
    definition: &Definition,
    there: &[&Instance],
    track: &mut Track,
    blocked: Option<&str>,
) -> Outcome {
    let asked = (definition.requested, definition.revision.clone());
    if track.asked.as_ref() != Some(&asked) {
        track.forgive();
        if track
            .rejected
            .as_ref()
            .is_some_and(|(revision, _)| *revision != definition.revision)
        {
            track.rejected = None;
        }
        // what ended before this was asked for is no failure of what is asked for now
        track.counted = last_run(there, track.started.as_deref()).filter(|(handle, _)| {
            let of = |i: &&&Instance| i.handle == *handle;
            there.iter().find(of).is_some_and(|i| !i.is_live())
        });
        track.ends = 0;
        track.asked = Some(asked);
    }
    let live: Vec<&Instance> = there.iter().copied().filter(|i| i.is_live()).collect();
    match definition.requested {
        Requested::Stopped => stopped(input, &live, there, track, blocked),
        Requested::Running => Step {
            input,
            definition,
            there,
            track,
            blocked,
        }
        .running(&live),
    }
}

fn stopped(
    input: &Input<'_>,
    live: &[&Instance],
    there: &[&Instance],
    track: &Track,
    blocked: Option<&str>,
) -> Outcome {
    match live.first() {
        Some(instance) => match track.cleanup_due(&input.policy, input.now) {
            Some(at) => Outcome::new(
                State::Stopping,
                format!(
                    "it shall stop; stopping it has failed and is tried again: {}",
                    error(track)
                ),
            )
            .again(at),
            None => Outcome::new(State::Stopping, "it shall stop").act(Action::Stop {
                handle: instance.handle.clone(),
            }),
        },
        None => match blocked {
            Some(why) if there.is_empty() => unreachable(why),
            _ => Outcome::new(State::Stopped, "it does not run, as asked"),
        },
    }
}

/// The run that was begun last: the instance and when it was started. What was begun from here is remembered, because times tell it only
/// as long as no clock is set back.
fn last_run(there: &[&Instance], started: Option<&str>) -> Option<(String, Option<Millis>)> {
    there
        .iter()
        .filter(|i| i.started_at.is_some())
        .max_by_key(|i| (started == Some(i.handle.as_str()), i.started_at))
        .map(|i| (i.handle.clone(), i.started_at))
}

fn unreachable(why: &str) -> Outcome {
    Outcome::new(
        State::Unreachable,
        format!("its instance is not in the listing, which is not complete: {why}"),
    )
}

fn error(track: &Track) -> &str {
    track.error.as_deref().unwrap_or("no reason was given")
}

/// What the platform had seen of the connector when it was asked.
#[derive(Clone, Copy)]
struct Seen {
    at: Millis,
    since: Millis,
    last: Option<Millis>,
}

struct Step<'a> {
    input: &'a Input<'a>,
    definition: &'a Definition,
    there: &'a [&'a Instance],
    track: &'a mut Track,
    /// Why there may be instances that are not in the listing.
    blocked: Option<&'a str>,
}

impl Step<'_> {
    fn running(mut self, live: &[&Instance]) -> Outcome {
        self.count_ends();
        let target = self.target();
        if live.len() > 1 {
            return self.heal(live, &target);
        }
        match live.first() {
            Some(instance) if instance.revision == target => self.target_is_live(instance),
            Some(instance) => self.replace(instance),
            None => self.nothing_is_live(&target),
        }
    }

    /// An instance that ended, whatever its exit code, is a failure that is counted once for each run.
    fn count_ends(&mut self) {
        if self.definition.options.restart == Restart::Never {
            return;
        }
        // only the instance that was started last can have ended since
        let Some(run) = last_run(self.there, self.track.started.as_deref()) else {
            return;
        };
        let Some(last) = self.there.iter().find(|i| i.handle == run.0) else {
            return;
        };
        let Phase::Exited { code, at } = last.phase else {
            return;
        };
        // a run that we stop is counted when the stop is decided
        if self.track.counted.as_ref() == Some(&run) {
            return;
        }
        self.track.counted = Some(run);
        let ran_for = at
            .zip(last.started_at)
            .map_or(0, |(end, start)| end - start);
        if ran_for >= self.input.policy.stable_after {
            self.track.forgive();
        }
        let code = code.map_or_else(String::new, |code| match code {
            ..0 => format!(" (signal {})", -code),
            _ => format!(" (exit code {code})"),
        });
        let said = last.said.as_deref().map_or_else(String::new, |said| {
            format!(", after it had written: {said}")
        });
        let why = format!("it ended by itself{code}{said}");
        self.track.ends = self.track.ends.saturating_add(1);
        self.track.ended.insert(last.revision.clone());
        let there = self.there;
        let is_there = |revision: &String| there.iter().any(|i| i.revision == *revision);
        self.track.ended.retain(is_there);
        self.track.fail(why, &self.input.policy, self.input.now);
    }

    /// The instance that is taken back when the definition's own does not come alive: one that the platform has heard from, or of which at
    /// least no end is remembered. What never worked is no better.
    fn fallback(&self) -> Option<&Instance> {
        let track = &self.track;
        let good = |i: &Instance| match &track.verified {
            Some(revision) => *revision == i.revision,
            None => !track.ended.contains(&i.revision),
        };
        self.there
            .iter()
            .copied()
            .filter(|i| i.revision != self.definition.revision && good(i))
            .filter(|i| i.started_at.is_some() && !matches!(i.phase, Phase::Broken(_)))
            .max_by_key(|i| i.started_at)
    }

    fn verified(&self, revision: &str) -> bool {
        self.track.verified.as_deref() == Some(revision)
    }

    /// The revision that shall run: the definition's, or the one before it when the definition's was given up.
    fn target(&mut self) -> String {
        let wanted = self.definition.revision.clone();
        let rejected = matches!(&self.track.rejected, Some((revision, _)) if *revision == wanted);
        let given_up = !rejected
            && !self.verified(&wanted)
            && self.track.failures >= self.input.policy.tries
            && !self
                .there
                .iter()
                .any(|i| i.is_live() && i.revision != wanted);
        match self.fallback().map(|i| i.revision.clone()) {
            Some(old) if rejected => old,
            Some(old) if given_up => {
                self.reject();
                old
            }
            None if rejected && self.blocked.is_none() => {
                self.track.rejected = None;
                wanted
            }
            _ => wanted,
        }
    }

    fn reject(&mut self) {
        let why = error(self.track).to_owned();
        self.track.forgive();
        self.track.rejected = Some((self.definition.revision.clone(), why));
    }

    /// Two that live are one too many, however that came: the one that is not wanted goes.
    fn heal(&mut self, live: &[&Instance], target: &str) -> Outcome {
        let extra = live
            .iter()
            .max_by_key(|i| (i.revision != target, i.started_at, &i.handle));
        let outcome = Outcome::new(
            State::Degraded,
            format!(
                "{} instances run at once; one is stopped after the other until one is left",
                live.len()
            ),
        );
        match (extra, self.cleanup_due()) {
            (Some(extra), None) => self.stop(outcome, extra),
            (_, Some(at)) => outcome.again(at),
            (None, None) => outcome,
        }
    }

    fn cleanup_due(&self) -> Option<Millis> {
        self.track.cleanup_due(&self.input.policy, self.input.now)
    }

    fn stop(&mut self, outcome: Outcome, instance: &Instance) -> Outcome {
        self.track.counted = Some((instance.handle.clone(), instance.started_at));
        outcome.act(Action::Stop {
            handle: instance.handle.clone(),
        })
    }

    fn target_is_live(&mut self, instance: &Instance) -> Outcome {
        match instance.phase {
            Phase::Restarting => {
                return Outcome::new(
                    State::CrashLooping,
                    format!(
                        "it ended; the engine starts it again ({} times so far)",
                        instance.restarts
                    ),
                );
            }
            Phase::Paused => {
                return Outcome::new(
                    State::Degraded,
                    "it was paused from outside; resume it there, or stop and start it here",
                );
            }
            _ => {}
        }
        let (now, policy) = (self.input.now, self.input.policy);
        let started = instance.started_at.unwrap_or(now).min(now);
        let seen = self.input.sight.map(|sight| Seen {
            at: sight.at.min(now),
            since: sight.since,
            last: sight
                .of
                .get(&self.definition.connector)
                .and_then(|e| e.last_seen),
        });
        if let Some(Seen {
            since,
            last: Some(last),
            ..
        }) = seen
        {
            // after a clock was set back, only what was heard since then is known to be younger than the start
            let known = instance.started_at.filter(|started| *started <= now);
            let begun = known.or(instance.started_at.map(|_| since));
            if begun.is_none_or(|begun| last > begun) {
                self.track.verified = Some(instance.revision.clone());
            }
        }
        if !self.verified(&instance.revision) {
            return self.await_sign(instance, started, seen);
        }
        if now - started >= policy.stable_after {
            self.track.forgive();
        }
        if self.blocked.is_none()
            && self.cleanup_due().is_none()
            && let Some(old) = self.there.iter().find(|i| i.handle != instance.handle)
        {
            return Outcome::new(
                State::Running,
                "it runs and the platform hears from it: what it replaced is removed",
            )
            .act(Action::Remove {
                handle: old.handle.clone(),
            });
        }
        let outcome = self.health(started, seen);
        match self.cleanup_due() {
            Some(at) => outcome.again(at),
            None => outcome,
        }
    }

    /// A verified instance that runs: how well.
    fn health(&self, started: Millis, seen: Option<Seen>) -> Outcome {
        if let Some((_, why)) = &self.track.rejected {
            return Outcome::new(
                State::Degraded,
                format!(
                    "it runs as it was defined before: the new definition was given up ({why}); correct it, or take it back"
                ),
            );
        }
        let Some(Seen { at, since, last }) = seen else {
            return Outcome::new(State::Running, "it runs; the platform cannot be asked");
        };
        let heard = last.unwrap_or(started).max(started).max(since);
        let silent_at = heard + self.input.policy.silence;
        if at < silent_at {
            Outcome::new(State::Running, "it runs and the platform hears from it").again(silent_at)
        } else {
            Outcome::new(
                State::Degraded,
                format!(
                    "it runs, but the platform has not heard from it since {}; look at its log",
                    format_date(last.unwrap_or(started))
                ),
            )
        }
    }

    /// A live instance that the platform has not heard from yet.
    fn await_sign(&mut self, instance: &Instance, started: Millis, seen: Option<Seen>) -> Outcome {
        let Some(Seen { at, since, .. }) = seen else {
            return Outcome::new(
                State::Starting,
                "it runs; whether the platform hears from it is not known, because the platform cannot be asked",
            );
        };
        let deadline = started.max(since) + self.input.policy.verify_within;
        if at < deadline {
            return Outcome::new(
                State::Starting,
                "it runs; the platform has not heard from it yet",
            )
            .again(deadline);
        }
        let seconds = self.input.policy.verify_within / 1000;
        let silent = format!("the platform did not hear from it within {seconds} s");
        let own = instance.revision == self.definition.revision;
        if own && self.fallback().is_some() {
            if let Some(at) = self.cleanup_due() {
                return Outcome::new(State::Degraded, silent).again(at);
            }
            self.track.error = Some(silent.clone());
            self.reject();
            let outcome = Outcome::new(
                State::Failed,
                format!("{silent}: it is stopped and the instance before it is started again"),
            );
            return self.stop(outcome, instance);
        }
        Outcome::new(State::Degraded, format!("{silent}; look at its log"))
    }

    /// An instance of another revision lives.
    fn replace(&mut self, old: &Instance) -> Outcome {
        let given_up = self.track.rejected.is_some();
        if !given_up {
            if let Some(obstacle) = self.definition.obstacle() {
                return Outcome::new(
                    State::Failed,
                    format!("{obstacle}; the instance before it keeps running"),
                );
            }
            if self.track.prepared.as_ref() != Some(&self.definition.revision) {
                return self.pull(Some(old));
            }
        }
        if let Some(why) = self.blocked {
            return Outcome::new(
                State::Degraded,
                format!("it waits to be replaced until the listing is complete again: {why}"),
            );
        }
        if !given_up {
            let own = &self.definition.revision;
            match self.there.iter().find(|i| i.revision == *own) {
                None => return self.create(Some(old)),
                Some(new) if matches!(new.phase, Phase::Broken(_)) => return self.start(new, true),
                Some(_) => {}
            }
        }
        match self.cleanup_due() {
            Some(at) => Outcome::new(
                State::Degraded,
                format!(
                    "the instance to be replaced cannot be stopped: {}",
                    error(self.track)
                ),
            )
            .again(at),
            None => {
                // what failed until now was fetching and making; from here on the new instance's own failures count
                self.track.forgive();
                let outcome = Outcome::new(
                    State::Starting,
                    "its definition changed: the old instance is stopped, and kept until the new one is heard of",
                );
                self.stop(outcome, old)
            }
        }
    }

    fn due(&self) -> Option<Millis> {
        self.track.due(&self.input.policy, self.input.now)
    }

    fn pull(&self, old: Option<&Instance>) -> Outcome {
        let failed = self.track.failures > 0;
        let state = match old {
            None if failed => State::Failed,
            _ => State::Pulling,
        };
        let mut reason = if failed {
            error(self.track).to_owned()
        } else {
            format!("{} is fetched", self.definition.source)
        };
        if old.is_some() {
            reason.push_str("; the old instance keeps running meanwhile");
        }
        let outcome = Outcome::new(state, reason);
        match self.due() {
            Some(at) => outcome.again(at),
            None => outcome.act(Action::Pull {
                revision: self.definition.revision.clone(),
            }),
        }
    }

    fn nothing_is_live(&mut self, target: &str) -> Outcome {
        if let Some(why) = self.blocked {
            return unreachable(why);
        }
        let instance = self.there.iter().copied().find(|i| i.revision == target);
        let own = target == self.definition.revision;
        if own && let Some(obstacle) = self.definition.obstacle() {
            return Outcome::new(State::Failed, obstacle);
        }
        match instance {
            Some(instance) => self.start(instance, own),
            None if self.track.prepared.as_deref() == Some(target) => self.create(None),
            None => self.pull(None),
        }
    }

    fn create(&self, old: Option<&Instance>) -> Outcome {
        match (self.due(), old) {
            (Some(at), None) => Outcome::new(State::Failed, error(self.track)).again(at),
            (Some(at), Some(_)) => {
                let reason = format!("{}; the old instance keeps running", error(self.track));
                Outcome::new(State::Degraded, reason).again(at)
            }
            (None, _) => {
                Outcome::new(State::Starting, "its instance is made").act(Action::Create {
                    revision: self.definition.revision.clone(),
                })
            }
        }
    }

    fn start(&self, instance: &Instance, own: bool) -> Outcome {
        if let Phase::Broken(why) = &instance.phase {
            let outcome = Outcome::new(
                State::Failed,
                format!("its instance is broken ({why}) and is made anew"),
            );
            return match self.cleanup_due() {
                Some(at) => outcome.again(at),
                None => outcome.act(Action::Remove {
                    handle: instance.handle.clone(),
                }),
            };
        }
        let ended = matches!(instance.phase, Phase::Exited { .. });
        if own
            && ended
            && self.definition.options.restart == Restart::Never
            && instance.started_at.is_some()
            && self.track.counted != Some((instance.handle.clone(), instance.started_at))
        {
            return Outcome::new(
                State::Stopped,
                "it ran once, as its definition says; stop and start it to run it again",
            );
        }
        let failures = self.track.failures;
        let state = if failures >= self.input.policy.crash_loop {
            State::CrashLooping
        } else {
            State::Starting
        };
        let reason = match (&self.track.rejected, failures) {
            (Some((_, why)), 0) => format!(
                "the new definition was given up ({why}): the instance before it is started again"
            ),
            (_, 0) => "its instance is started".to_owned(),
            (_, 1) => format!("{}; it is started again", error(self.track)),
            (_, n) => format!(
                "{}, {n} times in a row; it is started again, each time later",
                error(self.track)
            ),
        };
        let outcome = Outcome::new(state, reason);
        match self.due() {
            Some(at) => outcome.again(at),
            None => outcome.act(Action::Start {
                handle: instance.handle.clone(),
            }),
        }
    }
}
