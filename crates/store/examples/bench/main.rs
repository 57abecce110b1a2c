//! Benchmarks of the store; see `benches/store/README.md`.
//!
//! `store-bench fill --dir D --objects N [--batch 1000]`      fills a store through its API, prints the rate and the ratio to `raw` of the same rows
//! `store-bench raw --from D/ferrocti.db [--batch 10000]`     the yardstick alone: insert, unchanged re-send, re-send with one in ten changed
//! `store-bench read --dir D`                                 point, page, list and search latencies
//! Options: `--sync full|normal|off`, `--objects N`, `--rounds R`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark prints, stops at the first error, and measures in floating point"
)]

#[path = "../../../ingest/examples/ingest_bench/feed.rs"]
mod feed;
mod items;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ferrocti_model::{
    EntityType, Registry,
    clock::{ManualClock, SeededEntropy},
    representative::{representative, search_text},
};
use ferrocti_store::{
    Durability, Event, Iid, Inputs, NewObject, ObjectQuery, Operation, Options, OrderKey, Store,
    StoreError, Visibility,
    yardstick::{Rows, Run},
};
use serde_json::{Map, Value};

fn argument(name: &str) -> Option<String> {
    let all: Vec<String> = std::env::args().collect();
    all.iter()
        .position(|argument| *argument == format!("--{name}"))
        .and_then(|at| all.get(at + 1).cloned())
}

fn number(name: &str, default: usize) -> usize {
    argument(name).map_or(default, |text| text.parse().unwrap())
}

fn durability() -> Durability {
    match argument("sync").as_deref() {
        Some("off") => Durability::Off,
        Some("normal") => Durability::Normal,
        _ => Durability::Full,
    }
}

fn texts(kind: &EntityType, attributes: &Map<String, Value>) -> (String, String) {
    (
        representative(kind, attributes),
        search_text(kind, attributes).1,
    )
}

fn open(dir: &Path) -> Store {
    let mut options = Options::new(
        Arc::new(ManualClock::at(1_700_000_000_000)),
        Arc::new(SeededEntropy::new(std::process::id().into())),
    );
    options.durability = durability();
    options.writer_cache_mib = u32::try_from(number("cache-mib", 0))
        .ok()
        .filter(|mib| *mib > 0)
        .unwrap_or(options.writer_cache_mib);
    Store::open(dir, options).unwrap()
}

/// User and system CPU seconds of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

fn show(what: &str, run: Run, cpu: f64) {
    println!(
        "{what}: {:.0} objects/s, {:.1} µs CPU an object, {:.2} s",
        run.rate(),
        cpu * 1e6 / run.objects as f64,
        run.took.as_secs_f64()
    );
}

fn measured(what: &str, run: impl FnOnce() -> Run) -> Run {
    let before = cpu();
    let run = run();
    show(what, run, cpu() - before);
    run
}

/// Inserts the feed through the store's API as ingestion does: resolve the references, insert, record the event.
fn fill(store: &Store, items: &[items::Item], batch: usize) -> Run {
    let texts: Vec<(String, String)> = items
        .iter()
        .map(|item| texts(item.kind, &item.attributes))
        .collect();
    let places: Vec<_> = items.iter().map(|item| item.standard.key()).collect();
    let start = Instant::now();
    for (number, chunk) in items.chunks(batch).enumerate() {
        let first = number * batch;
        let origin =
            format!("{{\"connector\":\"bench\",\"work\":\"work_bench\",\"message\":{number}}}");
        store
            .write(|tx| {
                let mut edges: Vec<(u16, Iid)> = Vec::new();
                for (offset, item) in chunk.iter().enumerate() {
                    tx.resolve_one(&places[first + offset])?;
                    edges.clear();
                    for (reference, place) in &item.refs {
                        edges.extend(
                            tx.resolve_one(&places[*place])?
                                .map(|target| (*reference, target)),
                        );
                    }
                    let ends = match item.ends {
                        Some((from, to)) => tx
                            .resolve_one(&places[from])?
                            .zip(tx.resolve_one(&places[to])?),
                        None => None,
                    };
                    let (name, text) = &texts[first + offset];
                    let inputs = Inputs::one(1, (first + offset) as u64);
                    let iid = tx.insert(&NewObject {
                        kind: item.kind,
                        internal: None,
                        standard: item.standard,
                        keys: &item.keys,
                        attributes: &item.attributes,
                        confidence: Some(50),
                        ends,
                        edges: &edges,
                        name,
                        text,
                        inputs: Some(&inputs),
                    })?;
                    tx.history(&Event {
                        operation: Operation::Create,
                        iid,
                        type_code: item.kind.code,
                        actor: Some(1),
                        origin: Some(&origin),
                        data: None,
                    })?;
                }
                Ok::<_, StoreError>(())
            })
            .unwrap();
    }
    store.checkpoint().unwrap();
    Run {
        objects: items.len(),
        took: start.elapsed(),
    }
}

fn percentile(times: &mut [Duration], at: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * at) as usize].as_secs_f64() * 1e3
}

fn latency(what: &str, count: usize, mut one: impl FnMut(usize)) {
    let mut times: Vec<Duration> = (0..count)
        .map(|n| {
            let start = Instant::now();
            one(n);
            start.elapsed()
        })
        .collect();
    println!(
        "{what}: p50 {:.3} ms, p99 {:.3} ms ({count} runs)",
        percentile(&mut times, 0.5),
        percentile(&mut times, 0.99)
    );
}

fn read(store: &Store) {
    let indicator = Registry::get().by_name("Indicator").unwrap().code;
    let mut random = feed::Random::new(5, 0);
    let counts = store.read(|s| s.counts(&Visibility::All)).unwrap();
    let total: u64 = counts.values().sum();
    println!("{total} objects, RSS {} MiB", rss_mib());
    let some: Vec<Iid> = (0..2000).map(|_| 1 + random.below(total) as Iid).collect();
    let stored: Vec<_> = store
        .read(|s| s.load(&some))
        .unwrap()
        .into_iter()
        .flatten()
        .collect();
    latency("object by standard id, resolved and loaded", 2000, |n| {
        let key = stored[n % stored.len()].standard.key();
        store
            .read(|s| s.load(&[s.resolve_one(&key)?.unwrap()]))
            .unwrap();
    });
    // everything but the last two markings
    let markings: Vec<Iid> = store
        .read(|s| {
            s.find(&ObjectQuery::new(
                vec![Registry::get().by_name("Marking-Definition").unwrap().code],
                Visibility::All,
                10,
            ))
        })
        .unwrap()
        .iids;
    let visible = store.read(|s| s.allowed_sets(&markings[..3])).unwrap();
    let page = |query: &ObjectQuery| {
        store
            .read(|s| {
                let page = s.find(query)?;
                s.load(&page.iids)?;
                Ok::<_, StoreError>(page)
            })
            .unwrap()
    };
    let indicators = ObjectQuery {
        with_total: true,
        ..ObjectQuery::new(vec![indicator], visible.clone(), 50)
    };
    for (what, order) in [
        ("oldest", (OrderKey::Created, false)),
        ("newest", (OrderKey::Created, true)),
        ("last changed", (OrderKey::Updated, true)),
        ("name", (OrderKey::Name, false)),
    ] {
        let query = ObjectQuery {
            order: vec![order],
            ..indicators.clone()
        };
        latency(
            &format!("50 indicators by {what}, with marking filter, documents and total"),
            500,
            |_| {
                page(&query);
            },
        );
    }
    let everything = ObjectQuery {
        order: vec![(OrderKey::Updated, true)],
        with_total: true,
        ..ObjectQuery::new(vec![], visible.clone(), 50)
    };
    latency(
        "50 of all types by last change, with marking filter, documents and total",
        200,
        |_| {
            page(&everything);
        },
    );
    let domain: Vec<u16> = Registry::get()
        .descendants("Stix-Domain-Object")
        .iter()
        .map(|kind| kind.code)
        .collect();
    let some_types = ObjectQuery {
        types: domain,
        ..everything
    };
    latency("50 domain objects by last change", 200, |_| {
        page(&some_types);
    });
    let names: Vec<String> = stored
        .iter()
        .filter(|stored| stored.kind.name == "Domain-Name")
        .filter_map(|stored| {
            stored.attributes["value"]
                .as_str()?
                .split('.')
                .next()
                .map(str::to_owned)
        })
        .take(300)
        .collect();
    let search = |words: String| ObjectQuery {
        search: Some(words),
        with_total: true,
        ..ObjectQuery::new(vec![], visible.clone(), 50)
    };
    latency("search: rare word", 600, |n| {
        page(&search(names[n % names.len()].clone()));
    });
    latency("search: one common word", 50, |n| {
        page(&search(feed::WORDS[n % 8].to_owned()));
    });
    latency("search: one common word, without total", 50, |n| {
        page(&ObjectQuery {
            with_total: false,
            ..search(feed::WORDS[n % 8].to_owned())
        });
    });
    latency("search: two common words", 50, |n| {
        page(&search(format!(
            "{} {}",
            feed::WORDS[n % 8],
            feed::WORDS[(n + 1) % 8]
        )));
    });
    println!("RSS {} MiB", rss_mib());
    store.relax().unwrap();
    println!("RSS {} MiB after giving memory back", rss_mib());
}

fn raw(from: &Path) -> Run {
    let rows = Rows::read(from, number("objects", usize::MAX), &texts).unwrap();
    let batch = number("batch", 10_000);
    let scratch = tempfile::tempdir_in(from.parent().unwrap()).unwrap();
    let database = scratch.path().join("raw.db");
    let inserted = measured("raw insert of the same rows", || {
        rows.insert(&database, batch, durability()).unwrap()
    });
    let size = std::fs::metadata(&database).unwrap().len();
    println!(
        "documents {:.1} MB, database {:.1} MB",
        rows.document_bytes() as f64 / 1e6,
        size as f64 / 1e6
    );
    measured("raw read-merge-write, unchanged", || {
        rows.merge(&database, batch, 0, durability()).unwrap()
    });
    measured("raw read-merge-write, one in ten changed", || {
        rows.merge(&database, batch, 10, durability()).unwrap()
    });
    inserted
}

fn main() {
    let dir = argument("dir").map(PathBuf::from);
    match std::env::args().nth(1).as_deref() {
        Some("fill") => {
            let dir = dir.unwrap();
            let items = items::items(7, number("objects", 100_000));
            for round in 0..number("rounds", 1) {
                let dir = dir.join(format!("round{round}"));
                let _ = std::fs::remove_dir_all(&dir);
                let store = open(&dir);
                let filled = measured("through the store", || {
                    fill(&store, &items, number("batch", 1000))
                });
                println!("RSS {} MiB with the feed", rss_mib());
                store.relax().unwrap();
                println!("RSS {} MiB after giving memory back", rss_mib());
                drop(store);
                let raw = raw(&dir.join("ferrocti.db"));
                println!("ratio store / raw: {:.2}", filled.rate() / raw.rate());
            }
        }
        Some("raw") => {
            raw(Path::new(&argument("from").unwrap()));
        }
        Some("read") => read(&open(&dir.unwrap())),
        _ => println!(
            "store-bench fill --dir D --objects N | store-bench raw --from D/ferrocti.db | store-bench read --dir D"
        ),
    }
}
