//! From the merged tree to services: what each container finds.

use ferrocti_catalog::{Secret, launch::parse_memory, secret::is_secret_name};

use super::{
    Input, Limits, NotCarried, Place, Project, PutFile, Service, Source, Told, Unset, Variable,
    Volume, Words,
    dotenv::{self, Around},
    load::{Env, Loader, told},
    path::{join, parent},
    scalar::arriving,
    tree::{Data, Tree, split_volume},
};

/// Names of files that are looked for when none is given, and those put on top of them.
const USUAL: [(&str, &str); 4] = [
    ("compose.yaml", "compose.override.yaml"),
    ("compose.yml", "compose.override.yml"),
    ("docker-compose.yml", "docker-compose.override.yml"),
    ("docker-compose.yaml", "docker-compose.override.yaml"),
];

/// Keys of a service that are read; `build` tells only that there is no image to pull.
const READ: &[&str] = &[
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "volumes",
    "networks",
    "network_mode",
    "restart",
    "user",
    "working_dir",
    "mem_limit",
    "cpus",
    "pids_limit",
    "deploy",
    "scale",
    "container_name",
    "secrets",
    "configs",
    "profiles",
];

/// What else a service may have: whether a connector may need it, and why it is not carried over.
const NOT_CARRIED: &[(&str, bool, &str)] = &[
    (
        "cap_add",
        true,
        "a managed connector gets no capabilities of the system",
    ),
    ("cap_drop", false, "the composer drops what it can itself"),
    (
        "depends_on",
        false,
        "the composer starts a connector when the platform answers",
    ),
    ("devices", true, "a managed connector sees no devices"),
    ("dns", true, "names are resolved as the engine does it"),
    (
        "dns_search",
        true,
        "names are resolved as the engine does it",
    ),
    ("expose", false, "a connector is called by nobody"),
    (
        "external_links",
        true,
        "names come from the network; put the connector into the network of the service",
    ),
    (
        "extra_hosts",
        true,
        "names come from the network; put the address into the configuration",
    ),
    ("gpus", true, "a managed connector sees no devices"),
    (
        "healthcheck",
        false,
        "the health of a connector is seen from its heartbeat",
    ),
    ("hostname", true, "a container is named after its connector"),
    (
        "init",
        false,
        "the composer looks after processes that are left over",
    ),
    (
        "ipc",
        true,
        "a managed connector shares no memory with others",
    ),
    ("labels", false, "the composer sets labels of its own"),
    (
        "links",
        true,
        "names come from the network; put the connector into the network of the service",
    ),
    (
        "logging",
        false,
        "the composer reads the log and keeps it bounded",
    ),
    (
        "ports",
        true,
        "a managed connector opens no ports to the outside",
    ),
    (
        "privileged",
        true,
        "a managed connector gets no privileges of the system",
    ),
    ("pull_policy", false, "the image is pinned by its digest"),
    (
        "read_only",
        false,
        "the file system of a managed connector is writable",
    ),
    (
        "security_opt",
        false,
        "the composer sets what is right for all connectors",
    ),
    (
        "shm_size",
        true,
        "the size of shared memory is that of the engine",
    ),
    (
        "stop_grace_period",
        false,
        "the composer gives time to stop by itself",
    ),
    ("stop_signal", true, "a connector is stopped with SIGTERM"),
    (
        "sysctls",
        true,
        "a managed connector changes nothing of the kernel",
    ),
    (
        "tmpfs",
        false,
        "directories in memory are not made; the files go to the container's own layer",
    ),
    ("tty", false, "a connector has no terminal"),
    (
        "ulimits",
        true,
        "limits other than memory, processors and processes are those of the engine",
    ),
];

/// Reads Compose files.
///
/// # Errors
/// What makes the files as a whole unreadable. What is wrong with one service is in its [`Service::faults`].
pub fn read(input: &Input<'_>) -> Result<Project, Told> {
    let mut loader = Loader::new(input);
    let (paths, directory) = paths(&mut loader, input)?;
    let (env_files, required) = match input.env_files {
        [] => (vec![join(&directory, ".env")], false),
        given => (given.to_vec(), true),
    };
    let env = loader.env(&env_files, required)?;
    let root = loader.project(&paths, &directory, &env, &paths)?;
    let name = input
        .project
        .map(str::to_owned)
        .or_else(|| env.get("COMPOSE_PROJECT_NAME"))
        .or_else(|| root.text_of("name").map(str::to_owned))
        .unwrap_or_else(|| {
            let last = directory.rsplit('/').next().unwrap_or_default();
            last.to_owned()
        });
    let name = project_name(&name);
    let mut profiles = input.profiles.to_vec();
    if profiles.is_empty()
        && let Some(given) = env.get("COMPOSE_PROFILES")
    {
        profiles.extend(given.split(',').map(|name| name.trim().to_owned()));
    }
    let mut services = Vec::new();
    let list = root.get("services").map(Tree::pairs).unwrap_or_default();
    for (service, tree) in list {
        let mut reader = Reader {
            loader: &mut loader,
            env: &env,
            root: &root,
            directory: &directory,
            project: &name,
            out: empty(service, &tree.at),
        };
        reader.service(tree);
        let mut service = reader.out;
        service.active = service.profiles.is_empty()
            || profiles
                .iter()
                .any(|profile| profile == "*" || service.profiles.contains(profile));
        services.push(service);
    }
    let owned = |told: &Told, service: &Service| told.service.as_ref() == Some(&service.name);
    for service in &mut services {
        let mut faults: Vec<Told> = Vec::new();
        for fault in &loader.faults {
            if owned(fault, service) && !faults.contains(fault) {
                faults.push(fault.clone());
            }
        }
        faults.append(&mut service.faults);
        service.faults = faults;
        let mut remarks: Vec<Told> = Vec::new();
        for remark in &loader.remarks {
            if owned(remark, service) && !remarks.contains(remark) {
                remarks.push(remark.clone());
            }
        }
        remarks.append(&mut service.remarks);
        service.remarks = remarks;
    }
    // what is wrong outside of services concerns all of them
    if let Some(fault) = loader.faults.iter().find(|fault| fault.service.is_none()) {
        return Err(fault.clone());
    }
    let mut remarks = loader.remarks;
    remarks.retain(|remark| remark.service.is_none());
    remarks.dedup();
    Ok(Project {
        name,
        files: loader.files,
        services,
        asked: loader.asked,
        remarks,
    })
}

/// The files of the project, and its directory.
fn paths(loader: &mut Loader<'_>, input: &Input<'_>) -> Result<(Vec<String>, String), Told> {
    if let Some(first) = input.files.first() {
        let directory = input.directory.unwrap_or_else(|| parent(first));
        return Ok((input.files.to_vec(), directory.to_owned()));
    }
    let directory = input.directory.unwrap_or_default().to_owned();
    for (file, over) in USUAL {
        let path = join(&directory, file);
        if !matches!(loader.text(&path), Ok(None)) {
            let over = join(&directory, over);
            let mut paths = vec![path];
            if !matches!(loader.text(&over), Ok(None)) {
                paths.push(over);
            }
            return Ok((paths, directory));
        }
    }
    let at = Place {
        file: join(&directory, USUAL[2].0),
        line: 1,
    };
    Err(told(
        &at,
        None,
        "there is no Compose file with a usual name".to_owned(),
        "name the file",
    ))
}

/// A name as Compose makes it from any text: lower-case letters, digits, `-` and `_`.
fn project_name(text: &str) -> String {
    let name: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .collect();
    name.trim_start_matches(['-', '_']).to_owned()
}

fn empty(name: &str, at: &Place) -> Service {
    Service {
        name: name.to_owned(),
        at: at.clone(),
        active: true,
        profiles: Vec::new(),
        image: None,
        built: false,
        container_name: None,
        command: None,
        entrypoint: None,
        working_directory: None,
        user: None,
        restart: None,
        replicas: 1,
        environment: Vec::new(),
        volumes: Vec::new(),
        put: Vec::new(),
        networks: Vec::new(),
        network_mode: None,
        limits: Limits::default(),
        not_carried: Vec::new(),
        faults: Vec::new(),
        remarks: Vec::new(),
    }
}

struct Reader<'r, 'a> {
    loader: &'r mut Loader<'a>,
    env: &'r Env<'a>,
    root: &'r Tree,
    directory: &'r str,
    project: &'r str,
    out: Service,
}

impl Reader<'_, '_> {
    fn fault(&mut self, at: &Place, reason: impl Into<String>, remedy: impl Into<String>) {
        let told = told(at, Some(&self.out.name), reason.into(), remedy);
        self.out.faults.push(told);
    }

    fn remark(&mut self, at: &Place, reason: impl Into<String>, remedy: impl Into<String>) {
        let told = told(at, Some(&self.out.name), reason.into(), remedy);
        self.out.remarks.push(told);
    }

    fn service(&mut self, tree: &Tree) {
        let text = |key: &str| tree.text_of(key).map(str::to_owned);
        self.out.image = text("image").filter(|image| !image.trim().is_empty());
        self.out.built = tree.get("build").is_some();
        self.out.container_name = text("container_name");
        self.out.working_directory = text("working_dir");
        self.out.user = text("user");
        self.out.restart = text("restart");
        self.out.network_mode = text("network_mode");
        self.out.command = tree.get("command").and_then(words);
        self.out.entrypoint = tree.get("entrypoint").and_then(words);
        self.out.profiles = tree
            .get("profiles")
            .map(Tree::items)
            .unwrap_or_default()
            .iter()
            .filter_map(|item| item.text().map(str::to_owned))
            .collect();
        if self.out.image.is_none() && matches!(tree.data, Data::Map(_)) {
            if self.out.built {
                self.remark(
                    &tree.at,
                    "the image is built from a directory",
                    "the image of the running container is taken; give it a name with `image`",
                );
            } else {
                self.fault(
                    &tree.at,
                    "there is neither `image` nor `build`",
                    "write which image it runs",
                );
            }
        }
        self.env_files(tree);
        self.environment(tree);
        self.volumes(tree);
        self.put_files(tree, "secrets", "/run/secrets/");
        self.put_files(tree, "configs", "/");
        self.networks(tree);
        self.limits(tree);
        self.rest(tree);
    }

    fn set(&mut self, key: &str, value: String, at: &Place) {
        let variable = Variable {
            key: key.to_owned(),
            value: Secret::from(value),
            at: at.clone(),
        };
        match self
            .out
            .environment
            .iter_mut()
            .find(|other| other.key == key)
        {
            Some(old) => *old = variable,
            None => self.out.environment.push(variable),
        }
    }

    fn env_files(&mut self, tree: &Tree) {
        let Some(files) = tree.get("env_file") else {
            return;
        };
        let own = |key: &str| -> Option<String> {
            let value = tree.get("environment")?.get(key)?;
            match &value.data {
                Data::Text(text, plain) => Some(if *plain { arriving(text) } else { text.clone() }),
                _ => None,
            }
        };
        for item in files.items() {
            let Some(path) = item.text().or_else(|| item.text_of("path")) else {
                self.fault(&item.at, "`env_file` names no file", "write its path");
                continue;
            };
            let required = item.text_of("required").is_none_or(|text| text != "false");
            let text = match self.loader.text(path) {
                Ok(Some(text)) => text,
                Ok(None) if !required => continue,
                Ok(None) => {
                    self.fault(
                        &item.at,
                        format!("the file `{path}` of `env_file` is not there"),
                        "bring the file, or read the environment of the running container",
                    );
                    continue;
                }
                Err(reason) => {
                    self.fault(
                        &item.at,
                        format!("the file `{path}` of `env_file` cannot be read: {reason}"),
                        "make it readable",
                    );
                    continue;
                }
            };
            let place = |line| Place {
                file: path.to_owned(),
                line,
            };
            let mut blank = Vec::new();
            let lines = if item.text_of("format") == Some("raw") {
                dotenv::read_raw(&text)
            } else {
                let around = Around {
                    before: &|name| self.env.get(name).or_else(|| own(name)),
                    after: &|_| None,
                };
                match dotenv::read(&text, around, &mut blank) {
                    Ok(lines) => lines,
                    Err(error) => {
                        self.fault(&place(error.line), error.reason, "correct the line");
                        continue;
                    }
                }
            };
            let service = self.out.name.clone();
            for (line, name) in blank {
                self.loader
                    .ask(&name, Unset::Blank, Some(&service), place(line));
            }
            for line in lines {
                match line.value {
                    Some(value) => self.set(&line.key, value, &place(line.line)),
                    None => self.passed_through(&line.key, &place(line.line)),
                }
            }
        }
    }

    fn passed_through(&mut self, key: &str, at: &Place) {
        match self.env.get(key) {
            Some(value) => self.set(key, value, at),
            None => {
                let service = self.out.name.clone();
                self.loader
                    .ask(key, Unset::PassedThrough, Some(&service), at.clone());
            }
        }
    }

    fn environment(&mut self, tree: &Tree) {
        let Some(environment) = tree.get("environment") else {
            return;
        };
        for (key, value) in environment.pairs() {
            match &value.data {
                Data::Null => {
                    // what an `env_file` says is not taken away by a name alone when nothing is around
                    self.passed_through(key, &value.at);
                }
                Data::Text(text, false) => self.set(key, text.clone(), &value.at),
                Data::Text(text, true) => {
                    let arrives = arriving(text);
                    if arrives != *text {
                        self.remark(
                            &value.at,
                            format!(
                                "the value of {key} has no quotes, so it arrives as another text{}",
                                if is_secret_name(key) {
                                    String::new()
                                } else {
                                    format!(": `{text}` as `{arrives}`")
                                }
                            ),
                            "put it in quotes if that is not meant",
                        );
                    }
                    self.set(key, arrives, &value.at);
                }
                Data::List(_) | Data::Map(_) => self.fault(
                    &value.at,
                    format!("the value of {key} is no text"),
                    "write lists with commas, and objects as JSON in quotes",
                ),
            }
        }
    }

    /// The name that the engine knows of a volume, network, secret or config.
    fn real_name(&self, section: &str, name: &str) -> String {
        let tree = self.root.get(section).and_then(|list| list.get(name));
        let given = tree.and_then(|tree| {
            let external = tree.get("external");
            tree.text_of("name")
                .or_else(|| external.and_then(|external| external.text_of("name")))
                .or_else(|| external.filter(|external| external.is_true()).map(|_| name))
        });
        match given {
            Some(given) => given.to_owned(),
            None => format!("{}_{name}", self.project),
        }
    }

    fn volumes(&mut self, tree: &Tree) {
        let items = tree.get("volumes").map(Tree::items).unwrap_or_default();
        for item in items {
            let (kind, source, target, read_only) = match item.text() {
                Some(text) => {
                    let (source, target, mode) = split_volume(text);
                    let kind = match source {
                        Some(source) if source.starts_with(['/', '.', '~']) => "bind",
                        _ => "volume",
                    };
                    let read_only = mode.split(',').any(|part| part == "ro");
                    (kind, source, target, read_only)
                }
                None => (
                    item.text_of("type").unwrap_or("volume"),
                    item.text_of("source"),
                    item.text_of("target").unwrap_or_default(),
                    item.get("read_only").is_some_and(Tree::is_true),
                ),
            };
            if target.is_empty() {
                self.fault(
                    &item.at,
                    "a volume has no path in the container",
                    "write `SOURCE:PATH`",
                );
                continue;
            }
            let source = match (kind, source.filter(|source| !source.is_empty())) {
                ("bind", Some(path)) => Source::Bind(path.to_owned()),
                ("volume", Some(name)) => Source::Volume(self.real_name("volumes", name)),
                ("volume", None) => Source::Anonymous,
                ("tmpfs", _) => Source::Temporary,
                (other, _) => Source::Other(other.to_owned()),
            };
            self.out.volumes.push(Volume {
                source,
                target: target.to_owned(),
                read_only,
                at: item.at.clone(),
            });
        }
    }

    fn put_files(&mut self, tree: &Tree, section: &str, directory: &str) {
        let items = tree.get(section).map(Tree::items).unwrap_or_default();
        for item in items {
            let Some(source) = item.text().or_else(|| item.text_of("source")) else {
                self.fault(
                    &item.at,
                    format!("an item of `{section}` has no name"),
                    "write its name",
                );
                continue;
            };
            let target = match item.text_of("target").unwrap_or(source) {
                target if target.starts_with('/') => target.to_owned(),
                target => format!("{directory}{target}"),
            };
            let Some(definition) = self.root.get(section).and_then(|list| list.get(source)) else {
                self.fault(
                    &item.at,
                    format!("there is no `{source}` in `{section}` of the file"),
                    format!("define it below `{section}:`"),
                );
                continue;
            };
            let (path, content) = self.content(definition, source, section, &item.at);
            let named_by = self
                .out
                .environment
                .iter()
                .filter(|variable| variable.value.expose() == target)
                .map(|variable| variable.key.clone())
                .collect();
            self.out.put.push(PutFile {
                target,
                path,
                content,
                named_by,
                at: item.at.clone(),
            });
        }
    }

    /// Where the content of a secret or config is on the machine, and the content.
    fn content(
        &mut self,
        definition: &Tree,
        name: &str,
        section: &str,
        at: &Place,
    ) -> (Option<String>, Option<Secret>) {
        if let Some(file) = definition.text_of("file") {
            let path = join(self.directory, file);
            return match self.loader.text(&path) {
                Ok(Some(text)) => (Some(path), Some(Secret::from(text))),
                Ok(None) => {
                    self.fault(
                        at,
                        format!("the file `{path}` of `{name}` is not there"),
                        "bring the file, or correct its path",
                    );
                    (Some(path), None)
                }
                Err(reason) => {
                    self.remark(
                        at,
                        format!("the content of `{path}` is not looked at: {reason}"),
                        "the file is mounted as it is",
                    );
                    (Some(path), None)
                }
            };
        }
        if let Some(text) = definition.text_of("content") {
            return (None, Some(Secret::from(text)));
        }
        if let Some(variable) = definition.text_of("environment") {
            let service = self.out.name.clone();
            let value = self.env.get(variable);
            if value.is_none() {
                self.loader
                    .ask(variable, Unset::Required, Some(&service), at.clone());
                self.fault(
                    at,
                    format!("the variable {variable}, which `{name}` of `{section}` is made of, is not set"),
                    format!("give {variable} a value"),
                );
            }
            return (None, value.map(Secret::from));
        }
        self.fault(
            at,
            format!("the content of `{name}` of `{section}` is outside of the file"),
            "write it to a file that the composer may mount",
        );
        (None, None)
    }

    fn networks(&mut self, tree: &Tree) {
        if self.out.network_mode.is_some() {
            return;
        }
        let names: Vec<String> = match tree.get("networks") {
            Some(Tree {
                data: Data::Map(pairs),
                ..
            }) => pairs.iter().map(|(name, _)| name.clone()).collect(),
            Some(tree) => tree
                .items()
                .iter()
                .filter_map(|item| item.text().map(str::to_owned))
                .collect(),
            None => vec!["default".to_owned()],
        };
        self.out.networks = names
            .iter()
            .map(|name| self.real_name("networks", name))
            .collect();
    }

    fn limits(&mut self, tree: &Tree) {
        let limits = tree
            .get("deploy")
            .and_then(|deploy| deploy.get("resources"))
            .and_then(|resources| resources.get("limits"));
        let limit = |own: &str, theirs: &str| {
            tree.get(own)
                .or_else(|| limits.and_then(|limits| limits.get(theirs)))
                .cloned()
        };
        if let Some(tree) = limit("mem_limit", "memory") {
            self.out.limits.memory = tree
                .text()
                .and_then(parse_memory)
                .filter(|bytes| *bytes > 0);
            self.limit_read(&tree, self.out.limits.memory.is_some(), "memory", "`512m`");
        }
        if let Some(tree) = limit("cpus", "cpus") {
            let millis = tree
                .text()
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|cpus| (0.0..=100_000.0).contains(cpus))
                .map(|cpus| (cpus * 1000.0).round());
            // a whole number in range by the filter above
            self.out.limits.cpu_millis = millis
                .filter(|millis| *millis >= 1.0)
                .and_then(|millis| format!("{millis:.0}").parse().ok());
            self.limit_read(&tree, millis.is_some(), "processors", "`0.5`");
        }
        if let Some(tree) = limit("pids_limit", "pids") {
            let number = tree.text().and_then(|text| text.parse::<i64>().ok());
            self.out.limits.processes = number
                .filter(|number| *number > 0)
                .and_then(|number| u32::try_from(number).ok());
            self.limit_read(&tree, number.is_some(), "processes", "`200`");
        }
        let replicas = tree
            .get("scale")
            .or_else(|| tree.get("deploy").and_then(|deploy| deploy.get("replicas")))
            .and_then(Tree::text)
            .and_then(|text| text.parse().ok());
        self.out.replicas = replicas.unwrap_or(1);
    }

    fn limit_read(&mut self, tree: &Tree, read: bool, of: &str, example: &str) {
        if !read {
            self.remark(
                &tree.at,
                format!("the limit of {of} cannot be understood and is left out"),
                format!("write e.g. {example}"),
            );
        }
    }

    /// What is in the service and not carried over.
    fn rest(&mut self, tree: &Tree) {
        let mut out: Vec<NotCarried> = Vec::new();
        let mut add = |key: &str, at: &Place, matters, reason| {
            out.push(NotCarried {
                key: key.to_owned(),
                at: at.clone(),
                reason,
                matters,
            });
        };
        for (key, value) in tree.pairs() {
            if matches!(value.data, Data::Null) || key.starts_with("x-") {
                continue;
            }
            let text = value.text().unwrap_or_default();
            match key.as_str() {
                "command" | "entrypoint" => add(
                    key,
                    &value.at,
                    true,
                    "a managed connector runs what its image says; make an image of it, or run it as a command",
                ),
                "working_dir" => add(
                    key,
                    &value.at,
                    true,
                    "a managed connector runs where its image says",
                ),
                "user" => add(
                    key,
                    &value.at,
                    true,
                    "a managed connector runs as the user that its image says",
                ),
                "network_mode" if text != "bridge" && text != "default" => add(
                    key,
                    &value.at,
                    true,
                    "a managed connector is in networks with names; put it into one from which all its addresses can be reached",
                ),
                "build" => add(
                    key,
                    &value.at,
                    false,
                    "images are not built; the one that runs is taken",
                ),
                "restart" => add(
                    key,
                    &value.at,
                    false,
                    "the composer starts a connector again by itself, unless it is one that runs and ends",
                ),
                "container_name" => add(
                    key,
                    &value.at,
                    false,
                    "a container is named after the id of its connector",
                ),
                "deploy" => {
                    for (key, value) in value.pairs() {
                        if !matches!(key.as_str(), "resources" | "replicas" | "restart_policy") {
                            let key = format!("deploy.{key}");
                            add(
                                &key,
                                &value.at,
                                false,
                                "where and how it is deployed is for the composer to say",
                            );
                        }
                    }
                }
                other => {
                    if let Some((_, matters, reason)) =
                        NOT_CARRIED.iter().find(|(name, _, _)| *name == other)
                    {
                        add(other, &value.at, *matters, reason);
                    } else if !READ.contains(&other) {
                        add(
                            other,
                            &value.at,
                            true,
                            "a managed connector has no such setting",
                        );
                    }
                }
            }
        }
        for volume in &self.out.volumes {
            match &volume.source {
                Source::Bind(_) | Source::Volume(_) => {}
                Source::Anonymous => add(
                    "volumes",
                    &volume.at,
                    true,
                    "a volume without a name belongs to its container alone; give it a name and copy what is in it after the stop",
                ),
                Source::Temporary => add(
                    "volumes",
                    &volume.at,
                    false,
                    "directories in memory are not made; the files go to the container's own layer",
                ),
                Source::Other(_) => add(
                    "volumes",
                    &volume.at,
                    true,
                    "only files, directories and named volumes can be mounted",
                ),
            }
        }
        for file in &self.out.put {
            if file.path.is_none() {
                add(
                    "secrets",
                    &file.at,
                    true,
                    "its content is in no file of the machine; write it to one that the composer may mount",
                );
            }
        }
        self.out.not_carried = out;
    }
}

fn words(tree: &Tree) -> Option<Words> {
    match &tree.data {
        Data::Text(text, _) if !text.is_empty() => Some(Words::Text(text.clone())),
        Data::List(items) => Some(Words::List(
            items
                .iter()
                .filter_map(|item| item.text().map(str::to_owned))
                .collect(),
        )),
        _ => None,
    }
}
