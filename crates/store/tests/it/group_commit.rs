//! Shared transactions: what one closure does is kept or undone without touching the others.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use ferrocti_store::StoreError;
use serde_json::json;

use crate::support::{Fixture, Open, Sample, kind, stix_id};

pub fn concurrent_writers_all_commit(open: Open) {
    let mut fixture = Fixture::new(open);
    const THREADS: u64 = 8;
    const EACH: u64 = 20;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = fixture.store().clone();
            scope.spawn(move || {
                for n in 0..EACH {
                    store
                        .write(|tx| Sample::named("Malware", thread * EACH + n, "x").insert(tx))
                        .unwrap();
                }
            });
        }
    });
    fixture.restart();
    let counts = fixture.read(|s| s.counts(&ferrocti_store::Visibility::All));
    assert_eq!(counts.get(&kind("Malware").code), Some(&(THREADS * EACH)));
    fixture.assert_sound();
}

type Closure = Box<dyn FnOnce(&mut ferrocti_store::Tx<'_>) -> Result<(), StoreError> + Send>;

/// Runs closures so that all but the first wait while it is inside, and therefore join its transaction.
fn together(fixture: &Fixture, closures: Vec<Closure>) -> Vec<Result<(), StoreError>> {
    let inside = Barrier::new(2);
    let (started, arrivals) = mpsc::channel();
    let others = closures.len();
    std::thread::scope(|scope| {
        let inside = &inside;
        let leader = scope.spawn(move || {
            fixture.store().write(|tx| {
                inside.wait();
                // the others are on their way to the lock
                for _ in 0..others {
                    arrivals.recv().unwrap();
                }
                tx.put_setting("leader", &json!(true))
            })
        });
        inside.wait();
        let threads: Vec<_> = closures
            .into_iter()
            .map(|closure| {
                let (store, started) = (fixture.store().clone(), started.clone());
                scope.spawn(move || {
                    started.send(()).unwrap();
                    store.write(closure)
                })
            })
            .collect();
        leader.join().unwrap().unwrap();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

pub fn failing_closure_undoes_only_itself(open: Open) {
    let mut fixture = Fixture::new(open);
    let outcomes = together(
        &fixture,
        (0..6_u64)
            .map(|n| -> Closure {
                Box::new(move |tx| {
                    Sample::named("Malware", n, "word").insert(tx)?;
                    if n % 2 == 0 {
                        Ok(())
                    } else {
                        Err(StoreError::BadFilter(format!("refused {n}")))
                    }
                })
            })
            .collect(),
    );
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_ok(), n % 2 == 0, "{n}: {outcome:?}");
    }
    // also after the caches were in use: the undone keys are not found, neither when writing nor when reading
    for n in 0..6 {
        let key = stix_id(kind("Malware"), n).key();
        let found = fixture.write(|tx| tx.resolve_one(&key));
        assert_eq!(found.is_some(), n % 2 == 0, "{n}");
    }
    assert_eq!(fixture.read(|s| s.setting("leader")), Some(json!(true)));
    fixture.restart();
    assert_eq!(
        fixture.read(|s| s.counts(&ferrocti_store::Visibility::All))[&kind("Malware").code],
        3
    );
    fixture.assert_sound();
}

pub fn panicking_closure_undoes_only_itself_and_the_store_lives_on(open: Open) {
    let fixture = Fixture::new(open);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        fixture.store().write(|tx| -> Result<(), StoreError> {
            Sample::named("Malware", 1, "x").insert(tx)?;
            panic!("in the closure");
        })
    }));
    assert!(caught.is_err());
    fixture.write(|tx| Sample::named("Malware", 2, "y").insert(tx));
    assert_eq!(
        fixture.read(|s| s.resolve(&[stix_id(kind("Malware"), 1).key()])),
        [None]
    );
    let caught = catch_unwind(AssertUnwindSafe(|| {
        fixture
            .store()
            .read(|_| -> Result<(), StoreError> { panic!("in the reader") })
    }));
    assert!(caught.is_err());
    assert_eq!(
        fixture
            .read(|s| s.resolve(&[stix_id(kind("Malware"), 2).key()]))
            .len(),
        1
    );
    fixture.assert_sound();
}

pub fn waiting_writers_share_a_commit(open: Open) {
    let fixture = Fixture::new(open);
    // members of one transaction see what those before them did, before any commit
    let seen = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for n in 0..4_u64 {
            let (store, seen) = (fixture.store().clone(), &seen);
            scope.spawn(move || {
                store
                    .write(|tx| {
                        Sample::named("Malware", n, "x").insert(tx)?;
                        seen.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, StoreError>(())
                    })
                    .unwrap();
                // durable on return: a new snapshot sees it
                let found = store
                    .read(|s| s.resolve(&[stix_id(kind("Malware"), n).key()]))
                    .unwrap();
                assert!(found[0].is_some());
            });
        }
    });
    assert_eq!(seen.load(Ordering::SeqCst), 4);
    fixture.assert_sound();
}

pub fn reader_sees_one_moment(open: Open) {
    let fixture = Fixture::new(open);
    fixture.write(|tx| tx.put_setting("x", &json!(1)));
    fixture.read(|snapshot| {
        assert_eq!(snapshot.setting("x")?, Some(json!(1)));
        fixture.write(|tx| tx.put_setting("x", &json!(2)));
        assert_eq!(
            snapshot.setting("x")?,
            Some(json!(1)),
            "the snapshot stands still"
        );
        Ok(())
    });
    assert_eq!(fixture.read(|s| s.setting("x")), Some(json!(2)));
}

pub fn what_was_not_committed_is_gone_after_a_restart(open: Open) {
    let fixture = Fixture::new(open);
    fixture.write(|tx| tx.put_setting("kept", &json!(1)));
    let copy = tempfile::tempdir().unwrap();
    // the files as a crash in the middle of a transaction would leave them
    fixture.write(|tx| {
        tx.put_setting("lost", &json!(1))?;
        for entry in std::fs::read_dir(fixture.dir.path()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if !name.to_string_lossy().ends_with("-shm") && name != "ferrocti.lock" {
                std::fs::copy(entry.path(), copy.path().join(name)).unwrap();
            }
        }
        Ok(())
    });
    let store = open(copy.path(), fixture.clock).unwrap();
    let settings = store.read(|s| s.settings("")).unwrap();
    assert_eq!(settings, [("kept".to_owned(), json!(1))]);
    assert_eq!(store.check().unwrap(), vec![]);
}
