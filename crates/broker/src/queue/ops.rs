//! What can be asked of the writing thread, and the inbox in which it waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::state::State;
use super::types::{Publish, QueueError};
use super::writer::Tx;

/// How long acknowledgements wait for company.
const LAZY_DELAY: Duration = Duration::from_millis(10);

/// Receives the message's number after the commit, or the reason why it was not kept. Runs on the writing thread: must be quick.
pub(crate) type Done = Box<dyn FnOnce(Result<u64, QueueError>) + Send>;

/// A message that is to be written to its queues.
pub(crate) struct PublishOp {
    pub targets: Vec<(Arc<str>, i64)>,
    pub exchange: String,
    pub routing_key: String,
    pub publish: Publish,
    pub size: u64,
    pub published_at: i64,
    pub done: Done,
}

/// Something to write.
pub(crate) enum Op {
    Publish(Box<PublishOp>),
    Ack {
        name: Arc<str>,
        id: i64,
        seqs: Vec<u64>,
    },
    AckUpTo {
        name: Arc<str>,
        id: i64,
        seq: u64,
    },
    Call(Box<dyn AnyCall>),
}

impl Op {
    /// Whether somebody waits for it.
    fn is_urgent(&self) -> bool {
        matches!(self, Self::Publish(_) | Self::Call(_))
    }

    pub fn body_bytes(&self) -> u64 {
        match self {
            Self::Publish(op) => op.publish.body.len() as u64,
            _ => 0,
        }
    }
}

/// Operations on their way to the writing thread.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    ops: Vec<Op>,
    urgent: bool,
    closed: bool,
}

impl Inbox {
    /// Hands an operation over; gives it back when the file is closed.
    pub fn push(&self, op: Op) -> Result<(), Op> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(op);
        }
        let wake = if op.is_urgent() {
            !std::mem::replace(&mut waiting.urgent, true)
        } else {
            waiting.ops.is_empty()
        };
        waiting.ops.push(op);
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_one();
    }

    /// Moves what waits into `backlog`. Blocks while there is nothing, at most until `deadline`. Answers whether the inbox is closed.
    pub fn take(&self, backlog: &mut VecDeque<Op>, deadline: Instant) -> bool {
        let mut waiting = self.waiting.lock();
        if backlog.is_empty() {
            while waiting.ops.is_empty() && !waiting.closed {
                if self.wake.wait_until(&mut waiting, deadline).timed_out() {
                    break;
                }
            }
            if !waiting.ops.is_empty() && !waiting.urgent && !waiting.closed {
                let lazy_deadline = Instant::now() + LAZY_DELAY;
                while !waiting.urgent && !waiting.closed {
                    if self
                        .wake
                        .wait_until(&mut waiting, lazy_deadline)
                        .timed_out()
                    {
                        break;
                    }
                }
            }
        }
        waiting.urgent = false;
        backlog.extend(waiting.ops.drain(..));
        waiting.closed
    }
}

/// A call into the transaction whose types are hidden.
pub(crate) trait AnyCall: Send {
    /// Does its work. False when it failed and its changes must be undone.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Told after the commit, or why there was none.
    fn finish(self: Box<Self>, committed: Result<&mut State, &QueueError>);
}

struct Call<T, F, E> {
    work: Option<F>,
    outcome: Option<Result<(T, E), QueueError>>,
    answer: oneshot::Sender<Result<T, QueueError>>,
}

impl<T, F, E> AnyCall for Call<T, F, E>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> Result<(T, E), QueueError> + Send,
    E: FnOnce(&mut State) + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let outcome = work(tx);
        let good = outcome.is_ok();
        self.outcome = Some(outcome);
        good
    }

    fn finish(self: Box<Self>, committed: Result<&mut State, &QueueError>) {
        let answer = match (self.outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok((value, effect))), Ok(state)) => {
                effect(state);
                Ok(value)
            }
            (_, Err(error)) => Err(error.clone()),
            (None, Ok(_)) => Err(QueueError::Closed),
        };
        // the one who asked may have gone away
        drop(self.answer.send(answer));
    }
}

/// Makes an operation of work inside the transaction and its effect on the state in memory, which runs after the commit.
pub(crate) fn call<T, F, E>(work: F) -> (Op, oneshot::Receiver<Result<T, QueueError>>)
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_>) -> Result<(T, E), QueueError> + Send + 'static,
    E: FnOnce(&mut State) + Send + 'static,
{
    let (answer, receiver) = oneshot::channel();
    (
        Op::Call(Box::new(Call {
            work: Some(work),
            outcome: None,
            answer,
        })),
        receiver,
    )
}
