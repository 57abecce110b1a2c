//! What asking for rights costs: the same lists and the same imports for a user with limited markings and a level for some types, and for one who
//! may do everything, taking turns in one run. Compared is the processor's time, so that what else runs on the machine counts little.
//!
//! `cargo run --release -p ferrocti-api --example checking -- [OBJECTS] [ROUNDS]` (default 20 000 and 5). The limited user may see all that there is, so that
//! both get the same answers. The goal: at most 1.05 times as long, by the medians.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use ferrocti_accounts::{Accounts, AdminSettings};
use ferrocti_api::{AppState, Options, Services};
use ferrocti_broker::{Publish, Queues, queue::push_queue};
use ferrocti_connectors::catalogs::{self, Catalogs};
use ferrocti_connectors::{Connectors, PlatformKey};
use ferrocti_ingest::Ingest;
use ferrocti_model::clock::{Clock, SeededEntropy};
use ferrocti_store::{Durability, Store};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

const ADMIN: &str = "d434ce02-e58e-4cac-8b4c-42bf16748e84";
/// What the data is marked with; the limited user is granted the last, which opens the others, and two of another kind.
const MARKINGS: [&str; 3] = [
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
];
const PAP_AMBER: &str = "marking-definition--a6f20d4d-0360-59b6-ba22-3b48707828b1";
/// Questions of each kind and user.
const QUESTIONS: usize = 200;
const PER_MESSAGE: usize = 500;
const FIELDS: &str = "id standard_id entity_type created_at modified confidence name description pattern createdBy { id name } \
    objectMarking { id definition } objectLabel { id value }";

struct Wall;

impl Clock for Wall {
    fn now(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Time that all threads of this process have run on a processor, as Linux tells it.
fn cpu() -> Outcome<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let running = stat.split(' ').next().ok_or("schedstat is empty")?;
        nanoseconds += running.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Tokens of the two users that take turns, in this order.
type Users = [String; 2];

struct Platform {
    queues: Queues,
    ingest: Ingest,
    router: axum::Router,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Platform {
    fn open() -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let clock: Arc<dyn Clock> = Arc::new(Wall);
        let entropy = Arc::new(SeededEntropy::new(1));
        let options = ferrocti_store::Options {
            durability: Durability::Off,
            ..ferrocti_store::Options::new(Arc::clone(&clock), entropy.clone())
        };
        let store = Store::open(dir.path(), options)?;
        let now = Arc::clone(&clock);
        let queues = Queues::open(
            dir.path().join("queue.db"),
            ferrocti_broker::Options::new(Arc::new(move || now.now())),
        )?;
        let accounts = Accounts::new(store.clone(), entropy, Arc::clone(&clock));
        accounts.ensure_admin(&AdminSettings {
            email: "admin@example.org".to_owned(),
            password: Some("a long password".to_owned()),
            token: Some(ADMIN.to_owned()),
        })?;
        ferrocti_ingest::boot::run(&store, &accounts.system()?)?;
        let connectors = Connectors::new(
            store.clone(),
            queues.clone(),
            PlatformKey::new([9; 32]),
            Arc::clone(&clock),
        );
        let ingest = Ingest::new(
            store.clone(),
            queues.clone(),
            Arc::clone(&clock),
            ferrocti_ingest::Options::default(),
        );
        let catalogs = Catalogs::open(catalogs::Options {
            dir: dir.path().join("catalogs"),
            sources: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: catalogs::COMPATIBLE_WITH.to_owned(),
            clock: Arc::clone(&clock),
            fetch: catalogs::over_http(),
        })?;
        let services = Services {
            store,
            queues: queues.clone(),
            ingest: ingest.clone(),
            connectors,
            catalogs,
            accounts,
            clock,
        };
        let state = AppState::new(services, Options::new("127.0.0.1:5672".parse()?))?;
        Ok(Self {
            queues,
            ingest,
            router: ferrocti_api::router(state),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            _dir: dir,
        })
    }

    fn ask(&self, token: &str, query: &str, variables: Value) -> Outcome<(Duration, Value)> {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::from(body))?;
        let started = cpu()?;
        let bytes = self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await?;
            Ok::<_, Box<dyn Error>>(axum::body::to_bytes(answer.into_body(), usize::MAX).await?)
        })?;
        let took = cpu()?.saturating_sub(started);
        let answer: Value = serde_json::from_slice(&bytes)?;
        if !answer["errors"].is_null() {
            return Err(answer["errors"].to_string().into());
        }
        Ok((took, answer["data"].clone()))
    }

    fn run(&self, query: &str, variables: Value) -> Outcome<Value> {
        Ok(self.ask(ADMIN, query, variables)?.1)
    }

    /// A user of a group of its own with a role; its token.
    fn user(
        &self,
        name: &str,
        role: &str,
        markings: &[&str],
        overrides: &[(&str, u8)],
    ) -> Outcome<String> {
        let roles = self.run(
            "{ roles(first: 100) { edges { node { id name } } } }",
            json!({}),
        )?;
        let roles = roles["roles"]["edges"].as_array().ok_or("no roles")?;
        let role = roles
            .iter()
            .find(|edge| edge["node"]["name"] == role)
            .ok_or("no such role")?;
        let overrides: Vec<Value> = overrides
            .iter()
            .map(|(kind, level)| json!({ "entity_type": kind, "max_confidence": level }))
            .collect();
        let level = json!({ "max_confidence": 80, "overrides": overrides });
        let group = self.run(
            "mutation G($input: GroupAddInput!) { groupAdd(input: $input) { id } }",
            json!({ "input": { "name": name, "group_confidence_level": level } }),
        )?["groupAdd"]["id"]
            .clone();
        let relations = markings
            .iter()
            .map(|marking| ("accesses-to", json!(marking)));
        for (kind, to) in relations.chain([("has-role", role["node"]["id"].clone())]) {
            let query = "mutation E($id: ID!, $input: InternalRelationshipAddInput!) { groupEdit(id: $id) { relationAdd(input: $input) { id } } }";
            self.run(
                query,
                json!({ "id": group, "input": { "relationship_type": kind, "toId": to } }),
            )?;
        }
        let input = json!({ "name": name, "user_service_account": true, "prevent_default_groups": true, "groups": [group] });
        let user = self.run(
            "mutation U($input: UserAddInput!) { userAdd(input: $input) { id } }",
            json!({ "input": input }),
        )?["userAdd"]["id"]
            .clone();
        let query = "mutation T($id: ID!) { userAdminTokenAdd(userId: $id, input: { name: \"t\", duration: UNLIMITED }) { plaintext_token } }";
        let made = self.run(query, json!({ "id": user }))?;
        Ok(made["userAdminTokenAdd"]["plaintext_token"]
            .as_str()
            .ok_or("no token")?
            .to_owned())
    }

    /// One who may do everything, and one with limits.
    fn users(&self) -> Outcome<Users> {
        let overrides = [
            ("Indicator", 60),
            ("Malware", 70),
            ("Report", 20),
            ("uses", 50),
            ("related-to", 40),
        ];
        Ok([
            self.user("everything", "Administrator", &[], &[])?,
            self.user(
                "limited",
                "Connector",
                &[MARKINGS[2], PAP_AMBER],
                &overrides,
            )?,
        ])
    }

    /// Publishes bundles for a connector of this user; the time that the ingestion takes on this thread.
    fn import(&self, token: &str, bundles: &[String]) -> Outcome<Duration> {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, token.as_bytes()).to_string();
        let input =
            json!({ "id": id, "name": "bench", "type": "EXTERNAL_IMPORT", "scope": ["stix2"] });
        self.ask(
            token,
            "mutation R($input: RegisterConnectorInput) { registerConnector(input: $input) { id } }",
            json!({ "input": input }),
        )?;
        let mut tickets = Vec::new();
        for bundle in bundles {
            let body = json!({ "type": "bundle", "content": STANDARD.encode(bundle) }).to_string();
            let message = Publish {
                body: body.into(),
                ..Publish::default()
            };
            tickets.push(self.queues.publish(&push_queue(&id), message));
        }
        for ticket in tickets {
            ticket.wait()?;
        }
        let before = self.ingest.metrics().objects;
        let started = cpu()?;
        self.ingest.work_off()?;
        let took = cpu()?.saturating_sub(started);
        let after = self.ingest.metrics().objects;
        if (after.refused, after.parked) != (before.refused, before.parked) {
            return Err(format!("not everything was stored: {after:?}").into());
        }
        Ok(took)
    }
}

/// Bundles of indicators, each with a malware that it indicates every tenth; `revision` changes the texts.
fn bundles(objects: usize, revision: usize) -> Vec<String> {
    let id = |kind: &str, number: usize| {
        format!(
            "{kind}--{}",
            Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind} {number}").as_bytes())
        )
    };
    let common = |kind: &str, number: usize, more: Value| {
        let mut object = json!({
            "type": kind, "spec_version": "2.1", "id": id(kind, number), "created": "2026-01-01T00:00:00.000Z",
            "modified": "2026-01-01T00:00:00.000Z", "confidence": 50, "object_marking_refs": [MARKINGS[number % 3]],
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            object[name] = value.clone();
        }
        object
    };
    let mut all = Vec::with_capacity(objects);
    for number in 0..objects * 10 / 12 {
        let value = format!("host-{number}.example.org");
        let needle = if number % 5000 == 7 { " needle777" } else { "" };
        all.push(common("indicator", number, json!({
            "name": format!("Indicator {number}"), "description": format!("Seen in revision {revision} at {value}.{needle}"),
            "pattern": format!("[domain-name:value = '{value}']"), "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00.000Z",
            "labels": [format!("label {}", number % 20)],
        })));
        if number % 10 == 0 {
            let about = format!("Malware {number} in revision {revision}");
            all.push(common(
                "malware",
                number,
                json!({ "name": format!("Malware {number}"), "description": about, "is_family": true }),
            ));
            let ends = json!({ "relationship_type": "indicates", "source_ref": id("indicator", number), "target_ref": id("malware", number) });
            all.push(common("relationship", number, ends));
        }
    }
    let bundle = |part: &[Value]| {
        json!({ "type": "bundle", "id": id("bundle", 0), "objects": part }).to_string()
    };
    all.chunks(PER_MESSAGE).map(bundle).collect()
}

/// Times of the user who may do everything, and of the limited one.
#[derive(Default)]
struct Times([Vec<Duration>; 2]);

impl Times {
    /// Prints medians and their ratio.
    fn report(&mut self, name: &str) {
        let [everything, limited] = [0, 1].map(|user| {
            let times = &mut self.0[user];
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1000.0
        });
        println!(
            "{name:<44} may do everything {everything:9.3} ms | limited {limited:9.3} ms | {:.3} times (goal 1.05)",
            limited / everything
        );
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let objects: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let sent = [0, 1].map(|revision| bundles(objects, revision));

    let [mut first, mut again, mut changed] = [(); 3].map(|()| Times::default());
    for round in 0..rounds * 2 {
        // each user goes first in every second round
        for turn in 0..2 {
            let user = (round + turn) % 2;
            let platform = Platform::open()?;
            let users = platform.users()?;
            first.0[user].push(platform.import(&users[user], &sent[0])?);
            again.0[user].push(platform.import(&users[user], &sent[0])?);
            changed.0[user].push(platform.import(&users[user], &sent[1])?);
        }
    }
    first.report("import");
    again.report("import again, unchanged");
    changed.report("import again, all changed");

    let platform = Platform::open()?;
    let users = platform.users()?;
    platform.import(&users[0], &sent[0])?;
    for (name, query) in [
        ("50 indicators, newest first", format!("{{ indicators(first: 50, orderBy: created_at, orderMode: desc) {{ edges {{ node {{ {FIELDS} }} }} }} }}")),
        ("50 indicators by name, with the count", format!("{{ indicators(first: 50, orderBy: name) {{ edges {{ node {{ {FIELDS} }} }} pageInfo {{ globalCount }} }} }}")),
        ("50 relationships with their ends", "{ stixCoreRelationships(first: 50) { edges { node { id from { ... on Indicator { name } } to { ... on Malware { name } } } } } }".to_owned()),
        ("full text, rare word", "{ stixCoreObjects(search: \"needle777\") { edges { node { id } } } }".to_owned()),
    ] {
        let mut times = Times::default();
        let expected = platform.run(&query, json!({}))?;
        for number in 0..QUESTIONS + 20 {
            for turn in 0..2 {
                let user = (number + turn) % 2;
                let (took, answer) = platform.ask(&users[user], &query, json!({}))?;
                if answer != expected {
                    return Err(format!("{name}: the users get other answers").into());
                }
                if number >= 20 {
                    times.0[user].push(took);
                }
            }
        }
        times.report(name);
    }
    Ok(())
}
