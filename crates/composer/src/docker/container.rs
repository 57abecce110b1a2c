//! Containers: made from definitions, found by labels, and looked at.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ferrocti_model::clock::{Millis, parse_date};
use hyper::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::{
    COMPOSER, CONNECTOR, Docker, REVISION,
    client::{self, Client},
};
use crate::{
    Definition, Instance, Listing, Mount, Phase, Place, Restart, Secret, Source,
    orchestrator::{Failure, Foreign, Stats},
};

/// The name by which containers reach the machine that they run on.
const HOST: &str = "host.docker.internal";

/// How many containers are asked about at a time.
const AT_ONCE: usize = 25;

/// The image and the command of a definition.
pub fn image(definition: &Definition) -> Result<(&str, Option<&[String]>), Failure> {
    match &definition.source {
        Source::Image { reference, command } => Ok((reference, command.as_deref())),
        Source::Command { .. } => Err(Failure::Unsupported(
            "a command of the host cannot run as a container; give an image, or assign the connector to a composer that starts processes".to_owned(),
        )),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A time; the engine writes the year 1 for "never".
fn time(value: &Value, pointer: &str) -> Option<Millis> {
    parse_date(text(value, pointer)).filter(|millis| *millis > 0)
}

fn label<'a>(container: &'a Value, name: &str) -> &'a str {
    container
        .pointer("/Config/Labels")
        .and_then(|labels| labels.get(name)?.as_str())
        .unwrap_or_default()
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn instance(container: &Value) -> Instance {
    let code = container
        .pointer("/State/ExitCode")
        .and_then(Value::as_i64)
        .and_then(|code| i32::try_from(code).ok());
    let phase = match text(container, "/State/Status") {
        "created" => Phase::Created,
        "running" => Phase::Running,
        "paused" => Phase::Paused,
        "restarting" => Phase::Restarting,
        "exited" => Phase::Exited {
            code,
            at: time(container, "/State/FinishedAt"),
        },
        other => Phase::Broken(format!("the engine says that it is {other}")),
    };
    Instance {
        handle: text(container, "/Name").trim_start_matches('/').to_owned(),
        place: Place::Containers,
        connector: label(container, CONNECTOR).to_owned(),
        revision: label(container, REVISION).to_owned(),
        phase,
        started_at: time(container, "/State/StartedAt"),
        restarts: container["RestartCount"]
            .as_u64()
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or_default(),
        said: None,
    }
}

impl Docker {
    /// A container that carries this composer's label under exactly this name.
    pub async fn own(&self, handle: &str) -> Result<Value, Failure> {
        let missing = || Failure::NotFound(handle.to_owned());
        let acceptable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if handle.is_empty() || handle.starts_with('.') || !handle.chars().all(acceptable) {
            return Err(missing());
        }
        let container = inspect(&self.client, handle).await?.ok_or_else(missing)?;
        let named = text(&container, "/Name").trim_start_matches('/') == handle;
        if named && label(&container, COMPOSER) == self.settings.composer {
            Ok(container)
        } else {
            Err(missing())
        }
    }

    /// The engine's short answer on the containers with these labels.
    async fn listed(&self, labels: &[String]) -> Result<Vec<Value>, Failure> {
        let filters = client::encode(&json!({"label": labels}).to_string());
        let path = format!("/containers/json?all=1&filters={filters}");
        let reply = self.client.ask(Method::GET, &path, None, client::SOON);
        let listed = reply.await?.json()?;
        Ok(list_of(&listed).to_vec())
    }

    pub async fn list(&self) -> Result<Listing, Failure> {
        let label = format!("{COMPOSER}={}", self.settings.composer);
        let listed = self.listed(&[label]).await?;
        let ids: Vec<&str> = listed.iter().map(|entry| text(entry, "/Id")).collect();
        self.seen.keep(&ids);
        Ok(self.looked_at(&listed).await)
    }

    /// Looks at the containers that something has happened to since they were looked at last, several at a time, because many may end at once.
    /// The engine has no answer for one that is just being removed, which makes the listing incomplete.
    async fn looked_at(&self, listed: &[Value]) -> Listing {
        let mut listing = Listing::default();
        let mut changed = Vec::new();
        for entry in listed {
            let (id, state) = (text(entry, "/Id"), text(entry, "/State"));
            match self.seen.get(id, state) {
                Some(known) => listing.instances.push(known),
                None => changed.push(id),
            }
        }
        for ids in changed.chunks(AT_ONCE) {
            let begun = self.seen.now();
            let mut asked = JoinSet::new();
            for id in ids {
                let (client, id) = (self.client.clone(), (*id).to_owned());
                asked.spawn(async move { (inspect(&client, &id).await, id) });
            }
            while let Some(answer) = asked.join_next().await {
                let why = match answer {
                    Ok((Ok(Some(container)), id)) => {
                        let found = instance(&container);
                        let state = text(&container, "/State/Status");
                        self.seen.note(&id, begun, state, &found);
                        listing.instances.push(found);
                        continue;
                    }
                    // one that has gone meanwhile is no fault
                    Ok((Ok(None), _)) => continue,
                    Ok((Err(failure), _)) => failure.to_string(),
                    Err(broken) => broken.to_string(),
                };
                listing.incomplete.insert(Place::Containers, why);
            }
        }
        listing.instances.sort_by(|a, b| a.handle.cmp(&b.handle));
        listing
    }

    pub async fn adoptable(&self) -> Result<Vec<Foreign>, Failure> {
        let mut foreign = Vec::new();
        for entry in self.listed(&[]).await? {
            // what cannot be looked at cannot be adopted
            if let Ok(Some(container)) = inspect(&self.client, text(&entry, "/Id")).await
                && label(&container, COMPOSER).is_empty()
                && let Some(found) = self.foreign(&container).await?
            {
                foreign.push(found);
            }
        }
        Ok(foreign)
    }

    async fn foreign(&self, container: &Value) -> Result<Option<Foreign>, Failure> {
        let environment: Vec<(String, Secret)> = list_of(&container["Config"]["Env"])
            .iter()
            .filter_map(|entry| {
                let entry = entry.as_str()?;
                let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
                Some((key.to_owned(), Secret::new(value)))
            })
            .collect();
        let id = environment.iter().find(|(key, _)| key == "CONNECTOR_ID");
        let Some((_, id)) = id else { return Ok(None) };
        let image = text(container, "/Image");
        let path = format!("/images/{}/json", client::encode(image));
        let reply = self.client.ask(Method::GET, &path, None, client::SOON);
        // the image of a running container may have been deleted
        let digest = match reply.await?.json() {
            Ok(known) => text(&known, "/RepoDigests/0").to_owned(),
            Err(Failure::Refused(_)) => String::new(),
            Err(failure) => return Err(failure),
        };
        let words = |value: &Value| -> Vec<String> {
            let words = list_of(value).iter();
            words
                .filter_map(|w| w.as_str().map(str::to_owned))
                .collect()
        };
        let mounts = list_of(&container["Mounts"]).iter().map(|mount| Mount {
            source: match text(mount, "/Type") {
                "volume" => text(mount, "/Name").to_owned(),
                _ => text(mount, "/Source").to_owned(),
            },
            target: text(mount, "/Destination").to_owned(),
            read_only: mount["RW"] == json!(false),
        });
        let networks = container.pointer("/NetworkSettings/Networks");
        let networks = networks.and_then(Value::as_object);
        let restart = text(container, "/HostConfig/RestartPolicy/Name");
        Ok(Some(Foreign {
            handle: text(container, "/Id").to_owned(),
            name: text(container, "/Name").trim_start_matches('/').to_owned(),
            connector: id.expose().to_owned(),
            running: container.pointer("/State/Running") == Some(&json!(true)),
            source: Source::Image {
                reference: text(container, "/Config/Image").to_owned(),
                command: Some(words(&container["Config"]["Cmd"])).filter(|c| !c.is_empty()),
            },
            digest: Some(if digest.is_empty() {
                image.to_owned()
            } else {
                digest
            }),
            environment,
            mounts: mounts.collect(),
            networks: networks.map_or_else(Vec::new, |all| all.keys().cloned().collect()),
            restart: Some(restart.to_owned()).filter(|word| !word.is_empty()),
            started_at: time(container, "/State/StartedAt"),
        }))
    }

    pub async fn create(&self, definition: &Definition) -> Result<String, Failure> {
        if let Some(obstacle) = definition.obstacle() {
            return Err(Failure::Refused(obstacle));
        }
        let (reference, command) = image(definition)?;
        // two composers on one engine may have the same connector
        let digest = Sha256::digest(&self.settings.composer);
        let mut name = definition.instance_name();
        name.push('-');
        for byte in &digest[..4] {
            name.push_str(&format!("{byte:02x}"));
        }
        match self.own(&name).await {
            Ok(_) => return Ok(name),
            Err(Failure::NotFound(_)) => {}
            Err(failure) => return Err(failure),
        }
        let mut body = self.body(definition, reference);
        if let Some(command) = command {
            body["Cmd"] = json!(command);
        }
        if let Some((user, group)) = definition.options.user {
            body["User"] = json!(format!("{user}:{group}"));
        }
        let path = format!("/containers/create?name={name}");
        let reply = self
            .client
            .ask(Method::POST, &path, Some(&body), client::SOON)
            .await?;
        if reply.status.as_u16() == 409 && self.own(&name).await.is_ok() {
            return Ok(name);
        }
        reply.done()?;
        for network in definition.options.networks.iter().skip(1) {
            let path = format!("/networks/{}/connect", client::encode(network));
            let body = json!({"Container": name});
            let reply = self
                .client
                .ask(Method::POST, &path, Some(&body), client::SOON)
                .await
                .and_then(client::Reply::done);
            if let Err(failure) = reply {
                // it would run without a network that it was given
                let path = format!("/containers/{name}?v=1");
                let reply = self.client.ask(Method::DELETE, &path, None, client::SOON);
                reply.await?.done()?;
                return Err(failure);
            }
        }
        Ok(name)
    }

    fn body(&self, definition: &Definition, reference: &str) -> Value {
        let options = &definition.options;
        let environment: Vec<String> = definition
            .environment
            .iter()
            .filter_map(|v| Some(format!("{}={}", v.key, v.value.expose()?)))
            .collect();
        let mounts: Vec<Value> = options
            .mounts
            .iter()
            .map(|mount| {
                let bind = mount.source.starts_with('/');
                json!({
                    "Type": if bind { "bind" } else { "volume" },
                    "Source": mount.source,
                    "Target": mount.target,
                    "ReadOnly": mount.read_only,
                })
            })
            .collect();
        let restart = match options.restart {
            Restart::Engine => "unless-stopped",
            Restart::Composer | Restart::Never => "no",
        };
        let mut host = json!({
            "Mounts": mounts,
            "RestartPolicy": {"Name": restart},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            // a first process that passes SIGTERM on: connectors do not handle it, and as first process they would ignore it
            "Init": true,
        });
        if let Some(network) = options.networks.first() {
            host["NetworkMode"] = json!(network);
        }
        let apart = options
            .networks
            .first()
            .is_none_or(|n| n != "host" && n != "none");
        if apart && environment.iter().any(|e| e.contains(HOST)) {
            // the engine knows this name by itself on desktops only
            host["ExtraHosts"] = json!([format!("{HOST}:host-gateway")]);
        }
        if let Some(memory) = options.limits.memory {
            host["Memory"] = json!(memory);
        }
        if let Some(millis) = options.limits.cpu_millis {
            host["NanoCpus"] = json!(millis.saturating_mul(1_000_000));
        }
        if let Some(processes) = options.limits.processes {
            host["PidsLimit"] = json!(processes);
        }
        if let Some(files) = options.limits.files {
            host["Ulimits"] = json!([{"Name": "nofile", "Soft": files, "Hard": files}]);
        }
        json!({
            "Image": reference,
            "Env": environment,
            "Labels": {
                COMPOSER: self.settings.composer,
                CONNECTOR: definition.connector,
                REVISION: definition.revision,
            },
            "HostConfig": host,
        })
    }

    pub async fn start(&self, handle: &str) -> Result<(), Failure> {
        let own = instance(&self.own(handle).await?);
        if own.is_live() {
            return Ok(());
        }
        let labels = [
            format!("{COMPOSER}={}", self.settings.composer),
            format!("{CONNECTOR}={}", own.connector),
        ];
        let listed = self.listed(&labels).await?;
        let listing = self.looked_at(&listed).await;
        if let Some(why) = listing.incomplete.get(&Place::Containers) {
            return Err(Failure::Unavailable(format!(
                "whether another instance is alive cannot be seen: {why}"
            )));
        }
        for other in listing.instances {
            if other.connector == own.connector && other.is_live() {
                return Err(Failure::Refused(format!(
                    "the instance {} of this connector is alive; stop it first",
                    other.handle
                )));
            }
        }
        let path = format!("/containers/{handle}/start");
        let reply = self.client.ask(Method::POST, &path, None, client::SOON);
        reply.await?.done().map(|_| ())
    }

    pub async fn stop(&self, handle: &str, grace: Duration) -> Result<(), Failure> {
        self.own(handle).await?;
        // whole seconds only, and 0 would kill at once
        let seconds = grace.as_millis().div_ceil(1000).max(1);
        let path = format!("/containers/{handle}/stop?t={seconds}");
        let patience = grace + client::SOON;
        let reply = self.client.ask(Method::POST, &path, None, patience);
        reply.await?.done().map(|_| ())
    }

    pub async fn remove(&self, handle: &str) -> Result<(), Failure> {
        let container = match self.own(handle).await {
            Ok(container) => container,
            Err(Failure::NotFound(_)) => return Ok(()),
            Err(failure) => return Err(failure),
        };
        if instance(&container).is_live() {
            return Err(Failure::Refused(format!(
                "the instance {handle} is alive; stop it first"
            )));
        }
        let path = format!("/containers/{handle}?v=1");
        let reply = self
            .client
            .ask(Method::DELETE, &path, None, client::SOON)
            .await?;
        match reply.status.as_u16() {
            404 => Ok(()),
            _ => reply.done().map(|_| ()),
        }
    }

    /// The engine takes figures once a second and lets a question wait for that: several are asked at a time.
    pub async fn stats(
        self: &Arc<Self>,
        handles: &[String],
    ) -> Result<BTreeMap<String, Stats>, Failure> {
        let mut figures = BTreeMap::new();
        for handles in handles.chunks(AT_ONCE) {
            let mut asked = JoinSet::new();
            for handle in handles {
                let (docker, handle) = (self.clone(), handle.clone());
                asked.spawn(async move { (docker.figures(&handle).await, handle) });
            }
            while let Some(answer) = asked.join_next().await {
                match answer {
                    Ok((Ok(stats), handle)) => drop(figures.insert(handle, stats)),
                    Ok((Err(Failure::Unavailable(why)), _)) => {
                        return Err(Failure::Unavailable(why));
                    }
                    // it has gone meanwhile
                    Ok((Err(_), _)) | Err(_) => {}
                }
            }
        }
        Ok(figures)
    }

    async fn figures(&self, handle: &str) -> Result<Stats, Failure> {
        self.own(handle).await?;
        let path = format!("/containers/{handle}/stats?stream=false&one-shot=1");
        let reply = self.client.ask(Method::GET, &path, None, client::SOON);
        let stats = reply.await?.json()?;
        let number = |pointer| {
            let value = stats.pointer(pointer);
            value.and_then(Value::as_u64).unwrap_or_default()
        };
        Ok(Stats {
            memory: number("/memory_stats/usage"),
            cpu_millis: number("/cpu_stats/cpu_usage/total_usage") / 1_000_000,
            processes: number("/pids_stats/current"),
        })
    }
}

/// What the engine knows of a container; `None`: there is no such container.
async fn inspect(client: &Client, handle: &str) -> Result<Option<Value>, Failure> {
    let path = format!("/containers/{handle}/json");
    let reply = client.ask(Method::GET, &path, None, client::SOON).await?;
    match reply.status.as_u16() {
        404 => Ok(None),
        _ => reply.json().map(Some),
    }
}
