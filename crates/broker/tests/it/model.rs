//! The queue file against a simple model in memory: random operations, restarts included, must leave both equal.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ferrocti_broker::queue::{DeleteConditions, QueueSettings};
use ferrocti_broker::{DeadLetterQuery, Depth, Publish, QueueError, Queues};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::harness::queue_options;

/// Names of the queues that the operations choose from.
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Op {
    Declare(usize),
    Delete(usize),
    Purge(usize),
    Publish {
        queue: usize,
        bytes: usize,
        hint: Option<u64>,
    },
    /// Acknowledges the message at that place of the queue.
    Ack {
        queue: usize,
        place: usize,
    },
    AckUpTo {
        queue: usize,
        place: usize,
    },
    DeadLetter {
        queue: usize,
        place: usize,
    },
    Replay(usize),
    Discard(usize),
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let queue = 0..NAMES.len();
    prop_oneof![
        3 => queue.clone().prop_map(Op::Declare),
        1 => queue.clone().prop_map(Op::Delete),
        1 => queue.clone().prop_map(Op::Purge),
        12 => (queue.clone(), 0_usize..3000, proptest::option::of(0_u64..10_000))
            .prop_map(|(queue, bytes, hint)| Op::Publish { queue, bytes, hint }),
        5 => (queue.clone(), 0_usize..6).prop_map(|(queue, place)| Op::Ack { queue, place }),
        1 => (queue.clone(), 0_usize..4).prop_map(|(queue, place)| Op::AckUpTo { queue, place }),
        3 => (queue, 0_usize..6).prop_map(|(queue, place)| Op::DeadLetter { queue, place }),
        2 => (0_usize..4).prop_map(Op::Replay),
        1 => (0_usize..4).prop_map(Op::Discard),
        1 => Just(Op::Restart),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct ModelMessage {
    seq: u64,
    body: Vec<u8>,
    size: u64,
}

#[derive(Default)]
struct Model {
    queues: BTreeMap<&'static str, VecDeque<ModelMessage>>,
    dead: BTreeMap<i64, (&'static str, ModelMessage)>,
    last_seq: u64,
    published: u8,
}

impl Model {
    fn message(&self, queue: usize, place: usize) -> Option<ModelMessage> {
        self.queues
            .get(NAMES[queue])
            .and_then(|queue| queue.get(place))
            .cloned()
    }

    fn dead_id(&self, place: usize) -> Option<i64> {
        self.dead.keys().nth(place).copied()
    }

    fn take(&mut self, queue: usize, seq: u64) {
        if let Some(queue) = self.queues.get_mut(NAMES[queue]) {
            queue.retain(|message| message.seq != seq);
        }
    }
}

/// Applies one operation to both and compares their answers.
fn apply(op: &Op, model: &mut Model, queues: &mut Queues, dir: &TempDir) {
    match *op {
        Op::Declare(queue) => {
            let created = queues
                .declare(NAMES[queue], QueueSettings::default())
                .wait()
                .unwrap();
            assert_eq!(created, !model.queues.contains_key(NAMES[queue]));
            model.queues.entry(NAMES[queue]).or_default();
        }
        Op::Delete(queue) => {
            let deleted = queues
                .delete(NAMES[queue], DeleteConditions::default())
                .wait()
                .ok();
            assert_eq!(
                deleted,
                model
                    .queues
                    .remove(NAMES[queue])
                    .map(|queue| queue.len() as u64)
            );
        }
        Op::Purge(queue) => {
            let purged = queues.purge(NAMES[queue]).wait().ok();
            let expected = model
                .queues
                .get_mut(NAMES[queue])
                .map(|queue| queue.drain(..).count() as u64);
            assert_eq!(purged, expected);
        }
        Op::Publish { queue, bytes, hint } => {
            model.published = model.published.wrapping_add(1);
            let body = vec![model.published; bytes];
            let publish = Publish {
                body: Bytes::from(body.clone()),
                size_hint: hint,
                ..Publish::default()
            };
            let published = queues.publish(NAMES[queue], publish).wait();
            match model.queues.get_mut(NAMES[queue]) {
                None => assert_eq!(
                    published,
                    Err(QueueError::UnknownQueue(NAMES[queue].to_owned()))
                ),
                Some(expected) => {
                    let seq = published.unwrap();
                    assert!(seq > model.last_seq);
                    model.last_seq = seq;
                    expected.push_back(ModelMessage {
                        seq,
                        body,
                        size: hint.unwrap_or(0).max(bytes as u64),
                    });
                }
            }
        }
        Op::Ack { queue, place } => {
            if let Some(message) = model.message(queue, place) {
                queues
                    .ack(NAMES[queue], &[message.seq, u64::MAX >> 1])
                    .unwrap();
                model.take(queue, message.seq);
            }
        }
        Op::AckUpTo { queue, place } => {
            if let Some(message) = model.message(queue, place) {
                queues.ack_up_to(NAMES[queue], message.seq).unwrap();
                if let Some(queue) = model.queues.get_mut(NAMES[queue]) {
                    queue.retain(|other| other.seq > message.seq);
                }
            }
        }
        Op::DeadLetter { queue, place } => {
            if let Some(message) = model.message(queue, place) {
                let id = queues
                    .dead_letter(NAMES[queue], message.seq, "reason")
                    .wait()
                    .unwrap();
                model.take(queue, message.seq);
                model.dead.insert(id, (NAMES[queue], message));
            }
        }
        Op::Replay(place) => {
            let Some(id) = model.dead_id(place) else {
                return;
            };
            let replayed = queues.replay(id).wait();
            let (name, message) = model.dead[&id].clone();
            match model.queues.get_mut(name) {
                None => assert_eq!(replayed, Err(QueueError::UnknownQueue(name.to_owned()))),
                Some(expected) => {
                    let seq = replayed.unwrap().seq;
                    assert!(seq > model.last_seq);
                    model.last_seq = seq;
                    expected.push_back(ModelMessage { seq, ..message });
                    model.dead.remove(&id);
                }
            }
        }
        Op::Discard(place) => {
            if let Some(id) = model.dead_id(place) {
                queues.discard(id).wait().unwrap();
                model.dead.remove(&id);
            }
        }
        Op::Restart => {
            queues.close();
            *queues = Queues::open(dir.path().join("queue.db"), queue_options()).unwrap();
        }
    }
}

fn compare(model: &Model, queues: &Queues) {
    queues.flush().wait().unwrap();
    let names: Vec<String> = queues.list().into_iter().map(|info| info.name).collect();
    assert_eq!(names, model.queues.keys().copied().collect::<Vec<_>>());
    let mut total = 0;
    for (name, expected) in &model.queues {
        let found: Vec<ModelMessage> = queues
            .fetch(name, 0, usize::MAX, u64::MAX)
            .unwrap()
            .into_iter()
            .map(|message| ModelMessage {
                seq: message.seq,
                body: message.body.to_vec(),
                size: message.size,
            })
            .collect();
        assert_eq!(&found, &Vec::from(expected.clone()), "{name}");
        let bytes: u64 = expected.iter().map(|message| message.size).sum();
        assert_eq!(
            queues.depth(name),
            Some(Depth {
                messages: expected.len() as u64,
                bytes
            })
        );
        total += bytes;
    }
    let letters = queues.dead_letters(&DeadLetterQuery::default()).unwrap();
    assert_eq!(
        letters.iter().map(|letter| letter.id).collect::<Vec<_>>(),
        model.dead.keys().rev().copied().collect::<Vec<_>>()
    );
    for letter in &letters {
        let (name, message) = &model.dead[&letter.id];
        assert_eq!(
            (letter.queue.as_str(), letter.body_bytes),
            (*name, message.body.len() as u64)
        );
        assert_eq!(queues.dead_letter_body_of(letter.id).unwrap(), message.body);
        total += message.size;
    }
    let stats = queues.stats();
    assert_eq!(
        (stats.dead_letters, stats.bytes),
        (model.dead.len() as u64, total)
    );
    assert_eq!(queues.check().unwrap(), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_file_equals_the_model_after_any_operations(ops in proptest::collection::vec(op(), 1..60)) {
        let dir = TempDir::new().unwrap();
        let mut queues = Queues::open(dir.path().join("queue.db"), queue_options()).unwrap();
        let mut model = Model::default();
        for op in &ops {
            apply(op, &mut model, &mut queues, &dir);
        }
        compare(&model, &queues);
        apply(&Op::Restart, &mut model, &mut queues, &dir);
        compare(&model, &queues);
    }
}
