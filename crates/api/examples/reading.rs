//! How long reading through the interface takes, next to the raw query in the store, in one run.
//!
//! `cargo run --release -p ferrocti-api --example reading -- 1000000` fills a store in a temporary directory with that many objects (default 100 000)
//! and prints medians and 99th percentiles. The goal: at most 1 ms + 10 times the raw query, by the medians; full text of a rare word within 5 ms at p99.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, header};
use ferrocti_accounts::{Accounts, AdminSettings};
use ferrocti_api::{AppState, Options, Services};
use ferrocti_broker::Queues;
use ferrocti_connectors::catalogs::{self, Catalogs};
use ferrocti_connectors::{Connectors, PlatformKey};
use ferrocti_ingest::Ingest;
use ferrocti_model::clock::{Clock, ManualClock, SeededEntropy};
use ferrocti_model::{Key, Registry, StixId, ids};
use ferrocti_store::{
    Durability, Iid, NewObject, ObjectQuery, OrderKey, Store, StoreError, Tx, Visibility,
};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

type Outcome<T> = Result<T, Box<dyn Error>>;

const TOKEN: &str = "d434ce02-e58e-4cac-8b4c-42bf16748e84";
const RUNS: usize = 300;
/// Twenty fields of an indicator, four of them references.
const FIELDS: &str = "id standard_id entity_type parent_types spec_version created_at updated_at created modified revoked confidence lang name description \
    pattern pattern_type createdBy { id name } objectMarking { id definition } objectLabel { id value } externalReferences { edges { node { id url } } }";

fn main() -> Outcome<()> {
    let objects: usize = std::env::args()
        .nth(1)
        .map_or(Ok(100_000), |number| number.parse())?;
    let dir = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_760_000_000_000));
    let entropy = Arc::new(SeededEntropy::new(1));
    let options = ferrocti_store::Options {
        durability: Durability::Off,
        ..ferrocti_store::Options::new(clock.clone(), entropy.clone())
    };
    let store = Store::open(dir.path(), options)?;
    let queues = Queues::open(
        dir.path().join("queue.db"),
        ferrocti_broker::Options::new(Arc::new(|| 0)),
    )?;
    let accounts = Accounts::new(store.clone(), entropy, clock.clone());
    accounts.ensure_admin(&AdminSettings {
        email: "admin@example.org".to_owned(),
        password: Some("a long password".to_owned()),
        token: Some(TOKEN.to_owned()),
    })?;
    ferrocti_ingest::boot::run(&store, &accounts.system()?)?;
    let filling = Instant::now();
    let known = fill(&store, objects)?;
    store.checkpoint()?;
    println!(
        "{objects} objects stored in {:.1} s",
        filling.elapsed().as_secs_f64()
    );

    let connectors = Connectors::new(
        store.clone(),
        queues.clone(),
        PlatformKey::new([9; 32]),
        clock.clone(),
    );
    let ingest = Ingest::new(
        store.clone(),
        queues.clone(),
        clock.clone(),
        ferrocti_ingest::Options::default(),
    );
    let catalogs = Catalogs::open(catalogs::Options {
        dir: dir.path().join("catalogs"),
        sources: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: catalogs::COMPATIBLE_WITH.to_owned(),
        clock: clock.clone(),
        fetch: catalogs::over_http(),
    })?;
    let services = Services {
        store: store.clone(),
        queues,
        ingest,
        connectors,
        catalogs,
        accounts,
        clock,
    };
    let router = ferrocti_api::router(AppState::new(
        services,
        Options::new("127.0.0.1:5672".parse()?),
    )?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let ask = |query: &str, variables: Value| -> Outcome<(Duration, Value)> {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .body(Body::from(body))?;
        let started = Instant::now();
        let bytes = runtime.block_on(async {
            let answer = router.clone().oneshot(request).await?;
            Ok::<_, Box<dyn Error>>(axum::body::to_bytes(answer.into_body(), usize::MAX).await?)
        })?;
        let took = started.elapsed();
        let answer: Value = serde_json::from_slice(&bytes)?;
        if !answer["errors"].is_null() {
            return Err(answer["errors"].to_string().into());
        }
        Ok((took, answer["data"].clone()))
    };

    let indicator = Registry::get()
        .by_name("Indicator")
        .ok_or("no type Indicator")?;
    let step = known.len() / RUNS.min(known.len());
    let ids: Vec<StixId> = known
        .iter()
        .step_by(step.max(1))
        .copied()
        .take(RUNS)
        .collect();

    let raw = measure(ids.len(), |run| {
        let started = Instant::now();
        store.read(|snapshot| {
            let iid = snapshot.resolve_one(&ids[run].key())?.unwrap_or_default();
            snapshot.load_one(iid).map(|_| ())
        })?;
        Ok(started.elapsed())
    })?;
    let api = measure(ids.len(), |run| {
        Ok(ask(
            &format!("query Q($id: String!) {{ indicator(id: $id) {{ {FIELDS} }} }}"),
            json!({ "id": ids[run].to_string() }),
        )?
        .0)
    })?;
    report("get by id, 20 fields", &raw, &api);

    for (name, order, arguments) in [
        (
            "page of 50, 20 fields, newest first",
            OrderKey::Created,
            "orderBy: created_at, orderMode: desc",
        ),
        (
            "page of 50, 20 fields, by name",
            OrderKey::Name,
            "orderBy: name, orderMode: desc",
        ),
    ] {
        let page = ObjectQuery {
            order: vec![(order, true)],
            ..ObjectQuery::new(vec![indicator.code], Visibility::All, 50)
        };
        let raw = measure(RUNS, |_| {
            let started = Instant::now();
            store.read(|snapshot| {
                let page = snapshot.find(&page)?;
                snapshot.load(&page.iids).map(|_| ())
            })?;
            Ok(started.elapsed())
        })?;
        let query = format!(
            "{{ indicators(first: 50, {arguments}) {{ edges {{ node {{ {FIELDS} }} }} pageInfo {{ endCursor hasNextPage }} }} }}"
        );
        let api = measure(RUNS, |_| Ok(ask(&query, json!({}))?.0))?;
        report(name, &raw, &api);
    }

    let rare = ObjectQuery {
        search: Some("needle777".to_owned()),
        ..ObjectQuery::new(Vec::new(), Visibility::All, 50)
    };
    let raw = measure(RUNS, |_| {
        let started = Instant::now();
        store.read(|snapshot| snapshot.find(&rare).map(|_| ()))?;
        Ok(started.elapsed())
    })?;
    let api = measure(RUNS, |_| {
        Ok(ask(
            "{ stixCoreObjects(search: \"needle777\") { edges { node { id } } } }",
            json!({}),
        )?
        .0)
    })?;
    report("full text, rare word", &raw, &api);
    Ok(())
}

/// Sorted times of some runs, after a few that only warm up.
fn measure(
    runs: usize,
    mut once: impl FnMut(usize) -> Outcome<Duration>,
) -> Outcome<Vec<Duration>> {
    for run in 0..runs.min(20) {
        once(run)?;
    }
    let mut times = (0..runs).map(&mut once).collect::<Outcome<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times)
}

fn report(name: &str, raw: &[Duration], api: &[Duration]) {
    let at = |times: &[Duration], share: usize| {
        times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0
    };
    let (raw50, api50) = (at(raw, 50), at(api, 50));
    let goal = 1.0 + 10.0 * raw50;
    println!(
        "{name:<38} raw p50 {raw50:8.3} ms  p99 {:8.3} ms | API p50 {api50:8.3} ms  p99 {:8.3} ms | {:5.1} x raw, {:4.0} % of the goal of {goal:.2} ms",
        at(raw, 99),
        at(api, 99),
        api50 / raw50,
        100.0 * api50 / goal,
    );
}

/// Fills the store with indicators that share authors, markings, labels and references; answers their ids.
fn fill(store: &Store, objects: usize) -> Outcome<Vec<StixId>> {
    let registry = Registry::get();
    let reference = |name: &str| {
        registry
            .reference(name)
            .map_or(0, |reference| reference.code)
    };
    let (author, marking, label, external) = (
        reference("createdBy"),
        reference("objectMarking"),
        reference("objectLabel"),
        reference("externalReferences"),
    );
    let amber = store.read(|snapshot| {
        let query = ObjectQuery::new(
            registry
                .descendants("Marking-Definition")
                .iter()
                .map(|kind| kind.code)
                .collect(),
            Visibility::All,
            1,
        );
        Ok::<_, StoreError>(snapshot.find(&query)?.iids.first().copied())
    })?;
    let shared = store.write(|tx| {
        let labels: Vec<Iid> = (0..50)
            .map(|n| {
                put(
                    tx,
                    "Label",
                    json!({ "value": format!("label {n}"), "color": "#ffffff" }),
                    &[],
                )
            })
            .collect::<Result<_, _>>()?;
        let authors: Vec<Iid> = (0..20)
            .map(|n| {
                put(
                    tx,
                    "Organization",
                    json!({ "name": format!("Author {n}"), "identity_class": "organization" }),
                    &[],
                )
            })
            .collect::<Result<_, _>>()?;
        let pages: Vec<Iid> = (0..500)
            .map(|n| {
                put(
                    tx,
                    "External-Reference",
                    json!({ "source_name": "report", "url": format!("https://example.org/{n}") }),
                    &[],
                )
            })
            .collect::<Result<_, _>>()?;
        Ok::<_, StoreError>((labels, authors, pages))
    })?;
    let mut known = Vec::with_capacity(objects);
    for start in (0..objects).step_by(5000) {
        store.write(|tx| {
            for n in start..(start + 5000).min(objects) {
                let mut edges = vec![
                    (author, shared.1[n % shared.1.len()]),
                    (label, shared.0[n % shared.0.len()]),
                    (label, shared.0[(n / 7) % shared.0.len()]),
                    (external, shared.2[n % shared.2.len()]),
                ];
                edges.extend(amber.map(|amber| (marking, amber)));
                edges.sort_unstable();
                edges.dedup();
                let address = format!("198.{}.{}.{}", (n >> 16) & 255, (n >> 8) & 255, n & 255);
                let word = if n % 50_000 == 7 { " needle777" } else { "" };
                let attributes = json!({
                    "name": format!("Indicator {n:07}"), "description": format!("Traffic to {address} was seen in campaign {}.{word}", n % 97),
                    "pattern": format!("[ipv4-addr:value = '{address}']"), "pattern_type": "stix", "revoked": false, "lang": "en", "confidence": 60,
                    "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "x_opencti_score": n % 100,
                    "valid_from": "2026-01-01T00:00:00.000Z", "x_opencti_main_observable_type": "IPv4-Addr",
                });
                put(tx, "Indicator", attributes.clone(), &edges)?;
                known.extend(standard("Indicator", &attributes));
            }
            Ok::<_, StoreError>(())
        })?;
    }
    Ok(known)
}

fn standard(kind: &str, attributes: &Value) -> Option<StixId> {
    let empty = Map::new();
    let kind = Registry::get().by_name(kind)?;
    ids::standard_id(kind, attributes.as_object().unwrap_or(&empty), &|_| {
        Vec::new()
    })
    .ok()
    .flatten()
}

fn put(
    tx: &mut Tx<'_>,
    name: &str,
    attributes: Value,
    edges: &[(u16, Iid)],
) -> Result<Iid, StoreError> {
    let closed = || StoreError::Closed;
    let kind = Registry::get().by_name(name).ok_or_else(closed)?;
    let standard = standard(name, &attributes).ok_or_else(closed)?;
    if let Some(iid) = tx.resolve_one(&standard.key())? {
        return Ok(iid);
    }
    let Value::Object(attributes) = attributes else {
        return Err(closed());
    };
    let main = ["name", "value", "source_name"]
        .iter()
        .find_map(|field| attributes.get(*field)?.as_str())
        .unwrap_or_default();
    let text = attributes
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let keys: [Key; 0] = [];
    tx.insert(&NewObject {
        kind,
        internal: None,
        standard,
        keys: &keys,
        attributes: &attributes,
        confidence: Some(60),
        ends: None,
        edges,
        name: main,
        text,
        inputs: None,
    })
}
