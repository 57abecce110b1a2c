//! Limits of a container, and what a managed connector has no place for.

use ferrocti_catalog::launch::parse_memory;

use super::{
    NotCarried, Place, Source,
    service::Reader,
    tree::{Data, Tree},
};

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

impl Reader<'_, '_> {
    pub(super) fn limits(&mut self, tree: &Tree) {
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
    pub(super) fn rest(&mut self, tree: &Tree) {
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
