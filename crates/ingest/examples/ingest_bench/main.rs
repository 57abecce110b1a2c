//! Benchmark of ingestion, end to end: from messages in a queue to committed knowledge, next to the raw yardstick of the same rows, in one run.
//! See `benches/ingest/README.md`.
//!
//! `ingest_bench [--objects 100000] [--per-message 500] [--rounds 3] [--sync full|normal|off] [--dir D] [--grown 1000000] [--waiting 20000]`
//!
//! `--per-message 1` sends one object a message, as connectors that split their bundles do. `--grown N` adds a run with N objects and compares its rate.
//! `--waiting N` measures nothing but what waits: N notes of one object that comes last, and a report of N notes that come after it; then four times as many, each
//! of which should cost the same.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a benchmark prints, stops at the first error, and measures in floating point"
)]

mod feed;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ferrocti_access::{Actor, Capabilities};
use ferrocti_broker::{Publish, Queues, Ticket, queue::push_queue};
use ferrocti_ingest::{Ingest, Options, boot};
use ferrocti_model::{
    EntityType,
    clock::{Clock, SeededEntropy},
    representative::{representative, search_text},
};
use ferrocti_store::{
    Connector, Durability, Group, Role, Store, StoreError, Tx, User,
    yardstick::{Rows, Run},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const CONNECTOR: &str = "bench";

struct Wall;

impl Clock for Wall {
    fn now(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis() as i64
    }
}

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

fn measured(what: &str, run: impl FnOnce() -> Run) -> Run {
    let before = cpu();
    let run = run();
    println!(
        "  {what}: {:.0} objects/s, {:.1} µs CPU an object, {:.2} s",
        run.rate(),
        (cpu() - before) * 1e6 / run.objects as f64,
        run.took.as_secs_f64()
    );
    run
}

/// A platform with one connector in a directory.
struct Platform {
    store: Store,
    queues: Queues,
    ingest: Ingest,
}

impl Platform {
    fn open(dir: &Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(Wall);
        let mut options = ferrocti_store::Options::new(
            Arc::clone(&clock),
            Arc::new(SeededEntropy::new(clock.now() as u64)),
        );
        options.durability = durability();
        let store = Store::open(dir, options).unwrap();
        let now = Arc::clone(&clock);
        let mut limits = ferrocti_broker::Options::new(Arc::new(move || now.now()));
        limits.max_queue_bytes = 16 << 30;
        limits.max_total_bytes = 16 << 30;
        let queues = Queues::open(dir.join("queues.db"), limits).unwrap();
        let system = Arc::new(Actor::system(1));
        boot::run(&store, &system).unwrap();
        store
            .write(|tx| {
                let user = add_user(tx)?;
                tx.put_connector(&connector(user))
            })
            .unwrap();
        queues
            .declare(
                &push_queue(CONNECTOR),
                ferrocti_broker::queue::QueueSettings::default(),
            )
            .wait()
            .unwrap();
        let ingest = Ingest::new(store.clone(), queues.clone(), clock, Options::default());
        Self {
            store,
            queues,
            ingest,
        }
    }

    /// Publishes everything, then measures from the start of ingestion to the last commit and checkpoint.
    fn import(&self, messages: &[(Vec<u8>, usize)]) -> Run {
        let mut tickets = Vec::new();
        for (bundle, _) in messages {
            let body =
                json!({"type": "bundle", "content": STANDARD.encode(bundle), "update": false})
                    .to_string();
            tickets.push(self.queues.publish(
                &push_queue(CONNECTOR),
                Publish {
                    body: body.into(),
                    ..Publish::default()
                },
            ));
            if tickets.len() >= 1000 {
                settle(&mut tickets);
            }
        }
        settle(&mut tickets);
        let objects: usize = messages.iter().map(|(_, objects)| objects).sum();
        let before = self.ingest.metrics().objects;
        let start = Instant::now();
        let ingest = Ingest::new(
            self.store.clone(),
            self.queues.clone(),
            Arc::new(Wall),
            Options::default(),
        );
        let running = ingest.start().unwrap();
        while (ingest.metrics().objects.total() as usize) < objects {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.store.checkpoint().unwrap();
        let took = start.elapsed();
        running.stop();
        let metrics = ingest.metrics();
        let tally = metrics.objects;
        assert_eq!(
            (tally.refused, tally.parked),
            (before.refused, before.parked),
            "{tally:?} {:?}",
            self.problems()
        );
        println!(
            "    created {}, updated {}, unchanged {}; {} batches, RSS {} MiB",
            tally.created,
            tally.updated,
            tally.unchanged,
            metrics.batches,
            rss_mib()
        );
        Run { objects, took }
    }

    /// Publishes messages, and answers the seconds that it takes to apply them on this thread.
    fn apply(&self, messages: &[Vec<u8>]) -> f64 {
        let mut tickets = Vec::new();
        for bundle in messages {
            let body = json!({"type": "bundle", "content": STANDARD.encode(bundle)}).to_string();
            tickets.push(self.queues.publish(
                &push_queue(CONNECTOR),
                Publish {
                    body: body.into(),
                    ..Publish::default()
                },
            ));
        }
        settle(&mut tickets);
        let start = Instant::now();
        self.ingest.work_off().unwrap();
        start.elapsed().as_secs_f64()
    }

    fn problems(&self) -> Vec<String> {
        let parked = self
            .store
            .read(|snapshot| snapshot.parked_list(None, 0, 3))
            .unwrap();
        parked
            .into_iter()
            .map(|parked| format!("{parked:?}"))
            .collect()
    }
}

fn settle(tickets: &mut Vec<Ticket<u64>>) {
    for ticket in tickets.drain(..) {
        ticket.wait().unwrap();
    }
}

/// Makes the user of the connector, with a group and a role as connectors have.
fn add_user(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let mut user = User::new(
        Uuid::from_u128(2),
        "bench@ferrocti.example",
        "bench",
        tx.now(),
    );
    user.service_account = true;
    tx.insert_user(&mut user)?;
    let mut role = Role::new(tx.new_uuid(), "bench", tx.now());
    role.capabilities = Capabilities::connector()
        .iter()
        .map(str::to_owned)
        .collect();
    tx.insert_role(&mut role)?;
    let mut group = Group::new(tx.new_uuid(), "bench", tx.now());
    group.max_confidence = Some(100);
    tx.insert_group(&mut group)?;
    for marking in tx.marking_definitions()? {
        tx.grant_marking(group.row, marking.iid)?;
    }
    tx.add_group_role(group.row, role.row)?;
    tx.add_member(group.row, user.row)?;
    Ok(user.row)
}

fn connector(user: i64) -> Connector {
    Connector {
        id: CONNECTOR.to_owned(),
        name: "Bench".to_owned(),
        kind: "EXTERNAL_IMPORT".to_owned(),
        scope: vec![],
        auto: false,
        auto_update: false,
        only_contextual: false,
        playbook_compatible: false,
        enrichment_resolution: None,
        listen_callback_uri: None,
        xtm_one_intent: None,
        version: None,
        slug: None,
        user: Some(user),
        built_in: false,
        title: None,
        trigger_filters: None,
        priority_group: "DEFAULT".to_owned(),
        info: None,
        state: None,
        state_reset: false,
        state_at: 0,
        created_at: 0,
        updated_at: 0,
        registered_at: None,
        last_ping: None,
        catalog_id: None,
        manager: None,
        registered_token: None,
    }
}

fn texts(kind: &EntityType, attributes: &Map<String, Value>) -> (String, String) {
    let (names, other) = search_text(kind, attributes);
    if names.is_empty() {
        (representative(kind, attributes), other)
    } else {
        (names, other)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

struct Round {
    first: f64,
    first_rate: f64,
    again: f64,
    changed: f64,
}

/// First import, re-send, re-send with one in ten changed; each next to the yardstick of the same rows.
fn round(root: &Path, objects: usize, per_message: usize) -> Round {
    let dir = root.join("platform");
    let _ = std::fs::remove_dir_all(&dir);
    let platform = Platform::open(&dir);
    let sent = feed::Feed::new(7, objects, 0).bundles(per_message);
    let first = measured("first import", || platform.import(&sent));
    let json: usize = sent.iter().map(|(bundle, _)| bundle.len()).sum();

    let scratch = tempfile::tempdir_in(root).unwrap();
    let database = scratch.path().join("raw.db");
    let rows = Rows::read(&dir.join("ferrocti.db"), usize::MAX, &texts).unwrap();
    let raw = measured("raw insert of the same rows", || {
        rows.insert(&database, 10_000, durability()).unwrap()
    });
    let again = measured("re-sent, unchanged", || platform.import(&sent));
    let raw_again = measured("raw read-merge-write, unchanged", || {
        rows.merge(&database, 10_000, 0, durability()).unwrap()
    });
    let revised = feed::Feed::new(7, objects, 1).bundles(per_message);
    let changed = measured("re-sent, one in ten changed", || platform.import(&revised));
    let raw_changed = measured("raw read-merge-write, one in ten changed", || {
        rows.merge(&database, 10_000, 10, durability()).unwrap()
    });
    let size = std::fs::metadata(dir.join("ferrocti.db")).unwrap().len();
    println!(
        "  JSON {:.1} MB, database with history {:.1} MB",
        json as f64 / 1e6,
        size as f64 / 1e6
    );
    Round {
        first: raw.took.as_secs_f64() / first.took.as_secs_f64(),
        first_rate: first.rate(),
        again: again.rate() / raw_again.rate(),
        changed: changed.rate() / raw_changed.rate(),
    }
}

/// Seconds for: notes that all refer to one object that is not there yet; the object; and a report of as many notes before those.
fn waiting(root: &Path, notes: usize) -> [f64; 3] {
    let dir = root.join("waiting");
    let _ = std::fs::remove_dir_all(&dir);
    let platform = Platform::open(&dir);
    let object = |stix_type: &str, number: usize, more: Value| {
        let mut object = json!({"type": stix_type, "spec_version": "2.1", "id": format!("{stix_type}--00000000-0000-4000-8000-{number:012}"),
            "created": "2020-01-01T00:00:00.000Z", "modified": "2020-01-01T00:00:00.000Z"});
        for (name, value) in more.as_object().unwrap() {
            object[name] = value.clone();
        }
        object
    };
    let malware = object("malware", 1, json!({"name": "Foo", "is_family": true}));
    let note = |number: usize| {
        let content = format!("note {number}");
        object(
            "note",
            number,
            json!({"content": content, "object_refs": [malware["id"]]}),
        )
    };
    let bundles = |from: usize| -> Vec<Vec<u8>> {
        let numbers: Vec<usize> = (from..from + notes).collect();
        let messages = numbers
            .chunks(500)
            .map(|part| bundle(part.iter().copied().map(note).collect()));
        messages.collect()
    };
    let waits = |expected: usize| {
        let counts = platform.store.read(|snapshot| snapshot.parked_counts());
        assert_eq!(counts.unwrap(), (expected as u64, 0), "what waits");
    };

    let parked = platform.apply(&bundles(0));
    waits(notes);
    let linked = platform.apply(&[bundle(vec![malware.clone()])]);
    waits(0);
    let refs: Vec<Value> = (notes..2 * notes)
        .map(|number| note(number)["id"].take())
        .collect();
    let report = json!({"name": "R", "published": "2020-01-01T00:00:00Z", "object_refs": refs});
    platform.apply(&[bundle(vec![object("report", 1, report)])]);
    waits(notes);
    let filled = platform.apply(&bundles(notes));
    waits(0);
    let times = [parked, linked, filled];
    let each = times.map(|seconds| seconds * 1e6 / notes as f64);
    println!(
        "{notes} notes: {:.1} µs each to store before the object that they refer to, {:.1} µs each to link when it comes, {:.1} µs each to store after the report that refers to them",
        each[0], each[1], each[2]
    );
    times
}

fn bundle(objects: Vec<Value>) -> Vec<u8> {
    json!({"type": "bundle", "id": format!("bundle--{}", Uuid::nil()), "objects": objects})
        .to_string()
        .into_bytes()
}

fn main() {
    if argument("waiting").is_some() {
        let (notes, root) = (number("waiting", 20_000), tempfile::TempDir::new().unwrap());
        let (few, many) = (waiting(root.path(), notes), waiting(root.path(), 4 * notes));
        let [one, two, three] = [0, 1, 2].map(|part| many[part] / few[part]);
        println!("four times as many take {one:.1}, {two:.1} and {three:.1} times as long");
        return;
    }
    let (objects, per_message) = (number("objects", 100_000), number("per-message", 500));
    let kept = argument("dir").map(PathBuf::from);
    let temporary = tempfile::TempDir::new().unwrap();
    let root = kept.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(root).unwrap();
    let mut rounds = Vec::new();
    for number in 1..=number("rounds", 3) {
        println!("round {number}: {objects} objects, {per_message} a message");
        rounds.push(round(root, objects, per_message));
    }
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    println!(
        "first import / raw insert of the same rows: {:.2} (goal 0.40)",
        of(|round| round.first)
    );
    println!(
        "re-sent unchanged / raw read-merge-write: {:.2} (goal 0.40)",
        of(|round| round.again)
    );
    println!(
        "re-sent one in ten changed / raw read-merge-write: {:.2}",
        of(|round| round.changed)
    );
    if let Some(grown) = argument("grown").map(|text| text.parse::<usize>().unwrap()) {
        let dir = root.join("grown");
        let _ = std::fs::remove_dir_all(&dir);
        let platform = Platform::open(&dir);
        let sent = feed::Feed::new(7, grown, 0).bundles(per_message);
        let run = measured(&format!("first import of {grown}"), || {
            platform.import(&sent)
        });
        println!(
            "rate at {grown} / rate at {objects}: {:.2} (goal 0.70)",
            run.rate() / of(|round| round.first_rate)
        );
    }
}
