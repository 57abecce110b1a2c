//! Random operations against a simple model in memory, with restarts in between.

use std::collections::{BTreeMap, BTreeSet};

use ferrocti_store::{Iid, NewParked, ObjectChange, StoreError, Visibility, Waiting};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;

use crate::support::{Fixture, Open, Sample, extra_key, kind, reference, stix_id};

#[derive(Debug, Clone)]
enum Operation {
    Insert {
        number: u64,
        key: u64,
        target: usize,
    },
    Relate {
        number: u64,
        source: usize,
        target: usize,
    },
    Update {
        object: usize,
        name: u64,
    },
    Link {
        object: usize,
        target: usize,
    },
    Unlink {
        object: usize,
        target: usize,
    },
    Delete {
        object: usize,
    },
    Park {
        object: usize,
        key: u64,
    },
    Unpark {
        key: u64,
    },
    /// All operations since the last commit fail together.
    Fail,
    Commit,
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    let object = 0_usize..12;
    prop_oneof![
        4 => (0_u64..30, 0_u64..20, object.clone()).prop_map(|(number, key, target)| Operation::Insert { number, key, target }),
        3 => (100_u64..120, object.clone(), object.clone()).prop_map(|(number, source, target)| Operation::Relate { number, source, target }),
        2 => (object.clone(), 0_u64..5).prop_map(|(object, name)| Operation::Update { object, name }),
        3 => (object.clone(), object.clone()).prop_map(|(object, target)| Operation::Link { object, target }),
        2 => (object.clone(), object.clone()).prop_map(|(object, target)| Operation::Unlink { object, target }),
        2 => object.clone().prop_map(|object| Operation::Delete { object }),
        1 => (object, 0_u64..5).prop_map(|(object, key)| Operation::Park { object, key }),
        1 => (0_u64..5).prop_map(|key| Operation::Unpark { key }),
        1 => Just(Operation::Fail),
        2 => Just(Operation::Commit),
        1 => Just(Operation::Restart),
    ]
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Object {
    number: u64,
    key: Option<u64>,
    name: String,
    targets: BTreeSet<Iid>,
    ends: Option<(Iid, Iid)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    objects: BTreeMap<Iid, Object>,
    parked: BTreeSet<(u64, Iid)>,
}

impl Model {
    fn pick(&self, n: usize) -> Option<Iid> {
        self.objects
            .keys()
            .nth(n % self.objects.len().max(1))
            .copied()
    }
}

/// Applies one operation to both; the model decides what must happen.
fn apply(
    tx: &mut ferrocti_store::Tx<'_>,
    model: &mut Model,
    operation: &Operation,
) -> Result<(), StoreError> {
    let marking = reference("object-marking");
    match *operation {
        Operation::Insert {
            number,
            key,
            target,
        } => {
            let target = model.pick(target);
            let taken = model.objects.values().any(|object| {
                object.ends.is_none() && (object.number == number || object.key == Some(key))
            });
            let mut sample = Sample::named("Malware", number, &format!("n{number}"))
                .with_keys(&[extra_key(key)]);
            sample = sample.marked(target.as_slice());
            match sample.insert(tx) {
                Ok(iid) => {
                    assert!(!taken, "an identifier was given twice");
                    assert!(model.objects.keys().all(|known| *known < iid));
                    let object = Object {
                        number,
                        key: Some(key),
                        name: format!("n{number}"),
                        targets: target.into_iter().collect(),
                        ends: None,
                    };
                    model.objects.insert(iid, object);
                }
                Err(StoreError::KeyTaken { .. }) => assert!(taken, "a free identifier was refused"),
                Err(error) => return Err(error),
            }
        }
        Operation::Relate {
            number,
            source,
            target,
        } => {
            let (Some(source), Some(target)) = (model.pick(source), model.pick(target)) else {
                return Ok(());
            };
            let taken = model
                .objects
                .values()
                .any(|object| object.ends.is_some() && object.number == number);
            match Sample::relationship("uses", number, source, target).insert(tx) {
                Ok(iid) => {
                    assert!(!taken);
                    model.objects.insert(
                        iid,
                        Object {
                            number,
                            ends: Some((source, target)),
                            ..Object::default()
                        },
                    );
                }
                Err(StoreError::KeyTaken { .. }) => assert!(taken),
                Err(error) => return Err(error),
            }
        }
        Operation::Update { object, name } => {
            let Some(iid) = model.pick(object) else {
                return Ok(());
            };
            let name = format!("updated {name}");
            let attributes = json!({ "name": name }).as_object().unwrap().clone();
            tx.update(
                iid,
                &ObjectChange {
                    attributes: Some(&attributes),
                    text: Some((&name, "")),
                    ..ObjectChange::default()
                },
            )?;
            model.objects.get_mut(&iid).unwrap().name = name;
        }
        Operation::Link { object, target } => {
            let (Some(iid), Some(target)) = (model.pick(object), model.pick(target)) else {
                return Ok(());
            };
            let new = tx.link(iid, marking, &[target])?;
            assert_eq!(
                model.objects.get_mut(&iid).unwrap().targets.insert(target),
                new == [target]
            );
        }
        Operation::Unlink { object, target } => {
            let (Some(iid), Some(target)) = (model.pick(object), model.pick(target)) else {
                return Ok(());
            };
            let gone = tx.unlink(iid, marking, &[target])?;
            assert_eq!(
                model.objects.get_mut(&iid).unwrap().targets.remove(&target),
                gone == [target]
            );
        }
        Operation::Delete { object } => {
            let Some(iid) = model.pick(object) else {
                return Ok(());
            };
            let is_end = model
                .objects
                .values()
                .any(|other| other.ends.is_some_and(|(a, b)| a == iid || b == iid));
            match tx.delete(iid) {
                Ok(()) => {
                    assert!(!is_end);
                    model.objects.remove(&iid);
                    for other in model.objects.values_mut() {
                        other.targets.remove(&iid);
                    }
                    model.parked.retain(|(_, source)| *source != iid);
                }
                Err(StoreError::StillReferenced(_)) => assert!(is_end),
                Err(error) => return Err(error),
            }
        }
        Operation::Park { object, key } => {
            let Some(source) = model.pick(object) else {
                return Ok(());
            };
            let waiting = Waiting::Reference {
                source,
                reference: marking,
            };
            tx.park(&NewParked {
                waiting: &waiting,
                keys: &[extra_key(100 + key)],
                connector: None,
                work: None,
                actor: None,
            })?;
            model.parked.insert((key, source));
        }
        Operation::Unpark { key } => {
            let out = tx.unpark(&[extra_key(100 + key)])?.len();
            let before = model.parked.len();
            model.parked.retain(|(waiting, _)| *waiting != key);
            assert_eq!(before - model.parked.len(), out);
        }
        Operation::Fail | Operation::Commit | Operation::Restart => {}
    }
    Ok(())
}

fn compare(fixture: &Fixture, model: &Model) {
    fixture.read(|s| {
        let iids: Vec<Iid> = model.objects.keys().copied().collect();
        for stored in s.load(&iids)? {
            let stored = stored.expect("an object of the model is stored");
            let object = &model.objects[&stored.iid];
            let kind = kind(if object.ends.is_some() {
                "uses"
            } else {
                "Malware"
            });
            assert_eq!((stored.kind, stored.ends), (kind, object.ends));
            assert_eq!(
                stored
                    .attributes
                    .get("name")
                    .and_then(|name| name.as_str())
                    .unwrap_or(""),
                object.name
            );
            let mut keys = vec![stix_id(kind, object.number).key()];
            keys.extend(object.key.map(extra_key));
            assert_eq!(s.resolve(&keys)?, vec![Some(stored.iid); keys.len()]);
            let targets: Vec<Iid> = object.targets.iter().copied().collect();
            assert_eq!(
                s.targets(&[stored.iid], reference("object-marking"))?,
                [targets]
            );
        }
        let counts = s.counts(&Visibility::All)?;
        assert_eq!(counts.values().sum::<u64>(), model.objects.len() as u64);
        assert_eq!(s.parked_counts()?.0, model.parked.len() as u64);
        Ok(())
    });
}

pub fn random_operations_agree_with_a_simple_model(open: Open) {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&prop::collection::vec(operation(), 1..80), |operations| {
            let mut fixture = Fixture::new(open);
            let mut committed = Model::default();
            for group in operations.split_inclusive(|operation| {
                matches!(
                    operation,
                    Operation::Fail | Operation::Commit | Operation::Restart
                )
            }) {
                let mut next = committed.clone();
                let fails = matches!(group.last(), Some(Operation::Fail));
                let outcome = fixture.store().write(|tx| {
                    for operation in group {
                        apply(tx, &mut next, operation)?;
                    }
                    if fails {
                        Err(StoreError::BadFilter("on purpose".to_owned()))
                    } else {
                        Ok(())
                    }
                });
                assert_eq!(outcome.is_err(), fails, "{outcome:?}");
                if !fails {
                    committed = next;
                }
                if matches!(group.last(), Some(Operation::Restart)) {
                    fixture.restart();
                }
                compare(&fixture, &committed);
            }
            fixture.assert_sound();
            Ok(())
        })
        .unwrap();
}
