//! The next step.

use ferrocti_model::clock::Millis;

use super::{
    Command, Decision, Event, Holder, Journal, Line, Order, Sighting, Step, Verdict, What, judge,
};

impl Journal {
    /// Begins a migration: its first journal, and what is to be done.
    #[must_use]
    pub fn begin(order: Order, now: Millis) -> (Self, Vec<Command>) {
        let journal = Self {
            step: Step::Preparing,
            since: now,
            deadline: None,
            ticket: 0,
            sent: now,
            now,
            epoch: order.epoch,
            holder: Holder::Old,
            forced: false,
            old_stopped: false,
            new_stopped: false,
            reason: None,
            by_hand: Vec::new(),
            lines: Vec::new(),
            order,
        };
        let mut work = Work {
            journal,
            commands: vec![Command::Snapshot],
        };
        work.enter(Step::Preparing, "the plan was agreed to");
        (work.journal, work.commands)
    }

    /// Whether the way back is open.
    #[must_use]
    pub fn can_go_back(&self) -> bool {
        !self.step.is_end() && !self.step.is_back()
    }
}

/// Decides what follows from an event. An event that does not matter any more changes nothing.
#[must_use]
pub fn step(journal: &Journal, event: &Event) -> (Journal, Vec<Command>) {
    let mut work = Work {
        journal: journal.clone(),
        commands: Vec::new(),
    };
    // clocks may go back; a migration does not
    work.journal.now = journal.now.max(event.now);
    if !journal.step.is_end() {
        work.event(&event.what);
    }
    (work.journal, work.commands)
}

struct Work {
    journal: Journal,
    commands: Vec<Command>,
}

impl Work {
    fn event(&mut self, what: &What) {
        match what {
            What::Tick => self.tick(),
            What::Resumed => self.send(),
            What::Answer { ticket, failure } if *ticket == self.journal.ticket => {
                self.answer(failure.as_deref());
            }
            What::Answer { .. } => {}
            What::Quiet { ticket } => {
                if self.journal.step == Step::Quiescing && *ticket == self.journal.ticket {
                    self.fence("it is quiet, and its position is stored");
                }
            }
            What::Seen(sighting) => self.seen(sighting),
            What::NewFailed { reason } => {
                if matches!(
                    self.journal.step,
                    Step::StartingNew | Step::Verifying | Step::Observing
                ) {
                    self.back(&format!("the new instance failed: {reason}"));
                }
            }
            What::TransactionFailed { reason } => self.back(reason),
            What::Decided(decision) => self.decided(*decision),
        }
    }

    /// Begins a step: its commands, its time, its line in the journal.
    fn enter(&mut self, step: Step, why: &str) {
        let now = self.journal.now;
        let times = self.journal.order.timeouts;
        let time = match step {
            Step::Preparing => Some(times.prepare),
            Step::Quiescing => Some(times.quiesce),
            Step::Undecided => Some(times.decide),
            Step::StoppingOld => Some(times.stop_old),
            Step::StartingNew => Some(times.start_new),
            Step::Verifying => Some(times.verify),
            Step::Observing => times.observe,
            Step::Discarding | Step::StoppingNew => Some(times.stop_new),
            Step::StartingOld => Some(times.start_old),
            Step::VerifyingOld => Some(times.verify_old),
            Step::Committed | Step::RolledBack => None,
        };
        self.journal.step = step;
        self.journal.since = now;
        self.journal.deadline = time.map(|time| now.saturating_add(time));
        self.journal.ticket += 1;
        self.journal.lines.push(Line {
            at: now,
            step,
            why: why.to_owned(),
        });
        self.send();
    }

    /// Gives the commands of this step; carried out twice they do the same.
    fn send(&mut self) {
        self.journal.sent = self.journal.now;
        let ticket = self.journal.ticket;
        let command = match self.journal.step {
            Step::Preparing => Command::Prepare { ticket },
            Step::Quiescing => Command::HoldDelivery,
            Step::StoppingOld if self.journal.order.old_in_reach => Command::StopOld { ticket },
            Step::StartingNew => Command::StartNew {
                ticket,
                epoch: self.journal.epoch,
            },
            Step::Discarding => Command::Discard { ticket },
            Step::StoppingNew => Command::StopNew { ticket },
            Step::StartingOld => Command::StartOld { ticket },
            Step::StoppingOld
            | Step::Undecided
            | Step::Verifying
            | Step::Observing
            | Step::VerifyingOld
            | Step::Committed
            | Step::RolledBack => return,
        };
        self.commands.push(command);
    }

    fn tick(&mut self) {
        let journal = &self.journal;
        if journal
            .deadline
            .is_some_and(|deadline| journal.now >= deadline)
        {
            self.too_late();
        } else if journal.now >= journal.sent.saturating_add(journal.order.timeouts.repeat) {
            self.send();
        }
    }

    /// The time of this step is over.
    fn too_late(&mut self) {
        match self.journal.step {
            Step::Preparing => self.back("the new instance was not made ready in time"),
            Step::Quiescing => {
                self.commands.push(Command::Alarm {
                    text: "the connector did not become quiet; wait on, force it, or roll back"
                        .to_owned(),
                });
                self.commands.push(Command::ReleaseDelivery);
                self.enter(Step::Undecided, "it did not become quiet in time");
            }
            Step::Undecided => {
                self.back("nobody decided what to do with a connector that is not quiet");
            }
            Step::StoppingOld => self.old_not_stopped("nobody answered in time"),
            Step::StartingNew => self.back("the new instance was not started in time"),
            Step::Verifying => self.back("the new instance did not show in time that all is well"),
            Step::Observing => self.commit("it was watched long enough"),
            Step::Discarding => {
                self.rolled_back("what was made ready could not be taken away in time");
            }
            Step::StoppingNew => {
                self.by_hand("look whether the new instance is gone; it is fenced");
                self.hand_back("the new instance could not be stopped in time; it is fenced");
            }
            Step::StartingOld => {
                self.by_hand("start the old instance; it has the lease");
                self.rolled_back("the old instance could not be started in time");
            }
            Step::VerifyingOld => {
                self.by_hand("look at the old instance; it has the lease and is not heard of");
                self.rolled_back("the old instance was not heard of in time");
            }
            Step::Committed | Step::RolledBack => {}
        }
    }

    fn answer(&mut self, failure: Option<&str>) {
        match (self.journal.step, failure) {
            (Step::Preparing, None) => {
                if self.journal.order.old_silent {
                    self.fence("it does not run");
                } else {
                    self.enter(Step::Quiescing, "the new instance is ready");
                }
            }
            (Step::Preparing, Some(reason)) => {
                self.back(&format!(
                    "the new instance could not be made ready: {reason}"
                ));
            }
            (Step::StoppingOld, None) => {
                self.journal.old_stopped = true;
                self.start_new("the old instance is stopped");
            }
            (Step::StoppingOld, Some(reason)) => self.old_not_stopped(reason),
            (Step::StartingNew, None) => self.enter(Step::Verifying, "the new instance is started"),
            (Step::StartingNew, Some(reason)) => {
                self.back(&format!("the new instance could not be started: {reason}"));
            }
            (Step::Discarding, None) => self.rolled_back("what was made ready is taken away"),
            (Step::StoppingNew, None) => {
                self.journal.new_stopped = true;
                self.hand_back("the new instance is stopped");
            }
            (Step::StartingOld, None) => {
                self.enter(Step::VerifyingOld, "the old instance is started");
            }
            // these are tried again until their time is over
            (Step::Discarding | Step::StoppingNew | Step::StartingOld, Some(_)) => {}
            _ => {}
        }
    }

    /// The connector changes hands.
    fn fence(&mut self, why: &str) {
        let order = &self.journal.order;
        let (in_reach, silent) = (order.old_in_reach, order.old_silent);
        if order.must_stop && !in_reach && !silent {
            self.back("the old instance must be stopped first, and is out of reach");
            return;
        }
        self.lease(Holder::New);
        if in_reach {
            self.enter(Step::StoppingOld, why);
        } else {
            self.by_hand("stop and remove the old instance; it is fenced");
            self.start_new(why);
        }
    }

    fn lease(&mut self, holder: Holder) {
        let from = self.journal.epoch;
        self.journal.epoch = from + 1;
        self.journal.holder = holder;
        self.commands.push(Command::Fence {
            from,
            to: from + 1,
            holder,
        });
    }

    fn old_not_stopped(&mut self, reason: &str) {
        if self.journal.order.must_stop {
            self.back(&format!(
                "the old instance must be stopped first, and is not: {reason}"
            ));
        } else {
            self.by_hand("stop and remove the old instance; it is fenced");
            self.start_new("the old instance could not be stopped; it is fenced");
        }
    }

    fn start_new(&mut self, why: &str) {
        self.commands.push(Command::ReleaseDelivery);
        self.enter(Step::StartingNew, why);
    }

    fn seen(&mut self, sighting: &Sighting) {
        let verdict = judge(&self.journal.order.expected, self.journal.epoch, sighting);
        match (self.journal.step, verdict) {
            // it may be seen before the answer to its start has come
            (Step::StartingNew | Step::Verifying | Step::Observing, Verdict::Bad(reason)) => {
                self.back(&reason);
            }
            (Step::StartingNew | Step::Verifying, Verdict::Good) => {
                self.enter(Step::Observing, "it goes on where the old instance was");
            }
            (Step::StartingOld | Step::VerifyingOld, _)
                if sighting.epoch == Some(self.journal.epoch) =>
            {
                self.rolled_back("the old instance goes on");
            }
            _ => {}
        }
    }

    fn decided(&mut self, decision: Decision) {
        match (decision, self.journal.step) {
            (Decision::Wait, Step::Undecided) => {
                self.enter(Step::Quiescing, "it was decided to wait on");
            }
            (Decision::Force, Step::Quiescing | Step::Undecided) => {
                self.journal.forced = true;
                self.fence("it was decided not to wait");
            }
            (Decision::Commit, Step::Observing) => self.commit("it was decided"),
            (Decision::RollBack, step) if !step.is_back() && !step.is_end() => {
                self.back("it was decided");
            }
            _ => {}
        }
    }

    fn commit(&mut self, why: &str) {
        self.commands.push(Command::Finalize);
        self.enter(Step::Committed, why);
    }

    /// Takes the way back from wherever the migration is.
    fn back(&mut self, why: &str) {
        if self.journal.step.is_back() || self.journal.step.is_end() {
            return;
        }
        self.journal.reason = Some(why.to_owned());
        // work that cannot be done twice was not done: the transaction with a fence is not there when it failed
        if self.journal.holder == Holder::New {
            self.enter(Step::StoppingNew, why);
        } else {
            self.commands.push(Command::ReleaseDelivery);
            self.enter(Step::Discarding, why);
        }
    }

    /// The lease goes back to the old instance.
    fn hand_back(&mut self, why: &str) {
        self.lease(Holder::Old);
        self.commands.push(Command::Restore);
        self.commands.push(Command::ReleaseDelivery);
        if self.journal.order.old_silent {
            self.rolled_back("the old instance did not run before");
        } else if self.journal.order.old_in_reach {
            self.enter(Step::StartingOld, why);
        } else {
            self.enter(Step::VerifyingOld, why);
        }
    }

    fn rolled_back(&mut self, why: &str) {
        self.commands.push(Command::Alarm {
            text: match &self.journal.reason {
                Some(reason) => format!("the migration was rolled back: {reason}"),
                None => "the migration was rolled back".to_owned(),
            },
        });
        self.enter(Step::RolledBack, why);
    }

    fn by_hand(&mut self, what: &str) {
        self.journal.by_hand.push(what.to_owned());
    }
}
