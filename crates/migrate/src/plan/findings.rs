//! What is found in the facts.

use super::{Facts, Finding, Level, Material, RunsAs, quiesce};
use crate::{
    map::{Carried, Fate, Kept},
    plan::WaitFor,
};

/// Everything that was found, in the order in which a reader would ask.
pub(super) fn find(facts: &Facts, material: &Material<'_>) -> Vec<Finding> {
    let mut list = List(Vec::new());
    connector(facts, &mut list);
    contract(facts, &mut list);
    user(facts, &mut list);
    source(facts, &mut list);
    mounts(facts, &mut list);
    target(facts, &mut list);
    definition(material, &mut list);
    environment(material, &mut list);
    moment(facts, &mut list);
    list.0
}

struct List(Vec<Finding>);

impl List {
    fn add(
        &mut self,
        level: Level,
        code: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> &mut Finding {
        self.0.push(Finding {
            level,
            code,
            about: None,
            text: text.into(),
            remedy: remedy.into(),
            waivable: false,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn blocker(
        &mut self,
        code: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> &mut Finding {
        self.add(Level::Blocker, code, text, remedy)
    }

    fn warning(
        &mut self,
        code: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> &mut Finding {
        self.add(Level::Warning, code, text, remedy)
    }

    fn note(
        &mut self,
        code: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> &mut Finding {
        self.add(Level::Note, code, text, remedy)
    }
}

impl Finding {
    fn about(&mut self, about: impl Into<String>) -> &mut Self {
        self.about = Some(about.into());
        self
    }

    fn waivable(&mut self) -> &mut Self {
        self.waivable = true;
        self
    }
}

fn connector(facts: &Facts, list: &mut List) {
    if facts.connector.managed {
        list.blocker(
            "already-managed",
            "a composer runs this connector already",
            "there is nothing to migrate; change it with `ferrocti connector configure`",
        );
    }
    if let Some(other) = &facts.passing.locked_by {
        list.blocker(
            "locked",
            format!("the migration {other} of this connector is going on"),
            "wait for its end, or roll it back",
        );
    }
    if facts.connector.kind().is_none() {
        list.blocker(
            "type-unknown",
            format!("the type `{}` is not known", facts.connector.connector_type),
            "register the connector with a type of connectors",
        );
    }
    match &facts.running.says_id {
        Some(id) if *id != facts.connector.id => {
            list.blocker(
                "other-id",
                format!(
                    "its environment says the id `{id}`, and the connector's is `{}`",
                    facts.connector.id
                ),
                "choose the container or service of this connector",
            );
        }
        None if facts.running.runs_as != RunsAs::Unknown => {
            list.note(
                "id-not-said",
                "its environment does not say its id; it is in the image or in a file",
                "the new instance is told the registered id",
            );
        }
        _ => {}
    }
}

fn contract(facts: &Facts, list: &mut List) {
    let Some(contract) = &facts.contract else {
        list.note(
            "no-contract",
            "no catalog has this connector",
            "its environment is taken over word by word, and its settings are not checked",
        );
        return;
    };
    if contract.connector_type != facts.connector.connector_type {
        list.blocker(
            "type-differs",
            format!(
                "the contract `{}` is of type {}, the connector of {}",
                contract.slug, contract.connector_type, facts.connector.connector_type
            ),
            "choose the right contract, or none",
        );
    }
    if !contract.supported {
        list.warning(
            "not-supported",
            format!(
                "the contract `{}` says that it cannot be managed",
                contract.slug
            ),
            "upstream refuses such a connector; try it with one that can be done without",
        );
    }
    if !contract.compatible {
        list.warning(
            "not-compatible",
            format!(
                "the contract `{}` {} is for other versions of the platform",
                contract.slug, contract.version
            ),
            "what runs now goes on running; mind it at the next upgrade",
        );
    }
    if let Some(version) = &facts.connector.version
        && *version != contract.version
    {
        list.note(
            "other-version",
            format!(
                "the connector has version {version}, the contract {}",
                contract.version
            ),
            "the same version is started first; upgrade later as a step of its own",
        );
    }
}

fn user(facts: &Facts, list: &mut List) {
    const OFFER: &str = "nothing is changed about it; a dedicated account with fewer rights can be given as a step of its own";
    let user = &facts.user;
    if !user.let_in {
        list.blocker(
            "user-not-let-in",
            format!("the user `{}` of the connector is not let in", user.name),
            "enable the account, or register the connector with another one",
        );
        return;
    }
    if user.bootstrap {
        list.warning(
            "user-bootstrap",
            format!(
                "the connector works as `{}`, the platform's own administrator",
                user.name
            ),
            OFFER,
        );
    } else if !user.privileges.is_empty() {
        list.warning(
            "user-privileged",
            format!(
                "its user `{}` has rights that no connector needs: {}",
                user.name,
                user.privileges.join(", ")
            ),
            OFFER,
        );
    }
    if user.human {
        list.warning(
            "user-human",
            format!("people log in as `{}`", user.name),
            "it is not made a service account, since nobody could log in any more; a dedicated account can be given as a step of its own",
        );
    }
    if !user.shared_by.is_empty() {
        list.warning(
            "user-shared",
            format!(
                "`{}` is used by others too: {}",
                user.name,
                user.shared_by.join(", ")
            ),
            OFFER,
        );
    }
    if !user.token_shared_by.is_empty() {
        list.warning(
            "token-shared",
            format!("its token is used by others too: {}", user.token_shared_by.join(", ")),
            "the new instance gets a token of its own, and the old one stays valid; the old instance is fenced by connector and token",
        );
    }
}

fn source(facts: &Facts, list: &mut List) {
    let running = &facts.running;
    if running.image.is_none() && !running.command {
        list.blocker(
            "nothing-to-start",
            "neither an image nor a command of the connector is known",
            "name the compose file or the container, or give the image",
        );
    }
    if let Some(image) = &running.image
        && running.digest.is_none()
        && !image.contains("@sha256:")
    {
        list.warning(
            "digest-unknown",
            format!("which build of `{image}` runs now is not known"),
            "the tag is pulled as it is today, which may be another version; let a composer look at the running container",
        );
    }
    if running.reached_by.is_none() && facts.passing.live {
        let named = running
            .named
            .as_deref()
            .unwrap_or("its container or process");
        let place = running.host.as_deref().unwrap_or("its machine");
        list.warning(
            "out-of-reach",
            "no composer can stop the old instance; it is fenced, and goes on knocking",
            format!("stop and remove {named} on {place} after the migration"),
        );
    }
    if running.reached_by.is_none()
        && running
            .restart
            .as_deref()
            .is_some_and(|restart| restart != "no")
    {
        list.note(
            "restarts",
            "the old instance is started again when its machine restarts",
            "it is refused then and shown with its address",
        );
    }
    if running.replicas > 1 {
        list.warning(
            "replicas",
            format!(
                "the definition starts {} instances of one id",
                running.replicas
            ),
            "one instance is started; several of them disturb each other",
        );
    }
    if running.other_broker {
        list.blocker(
            "other-broker",
            "its environment names a broker of its own (MQ_…), where the old instance cannot be fenced",
            "stop the old instance first and waive this, or take the MQ_… variables away",
        )
        .waivable();
    }
    if let Some(mode) = &running.network_mode {
        list.warning(
            "network-mode",
            format!("it uses the network of `{mode}`"),
            "look whether the new instance reaches all its addresses",
        );
    }
}

fn mounts(facts: &Facts, list: &mut List) {
    let elsewhere = match (&facts.running.host, &facts.target.host) {
        (Some(from), Some(to)) => from != to,
        _ => false,
    };
    for mount in &facts.running.mounts {
        let target = mount.target.as_str();
        match &mount.source {
            None => {
                list.blocker(
                    "volume-without-name",
                    format!("what is at `{target}` is in a volume without a name, which only the old container has"),
                    "give it a name and copy it, or waive this if nothing in it is needed",
                )
                .about(target)
                .waivable();
            }
            Some(source) if elsewhere => {
                list.blocker(
                    "mount-elsewhere",
                    format!(
                        "`{source}`, seen at `{target}`, is on another machine than the composer"
                    ),
                    "choose the composer of that machine, or copy it after the stop and waive this",
                )
                .about(target)
                .waivable();
            }
            Some(source) if !mount.allowed => {
                list.blocker(
                    "mount-not-allowed",
                    format!("the composer may not mount `{source}`, seen at `{target}`"),
                    "add it to `composer.mounts` in the composer's settings",
                )
                .about(target);
            }
            Some(source) => {
                list.note(
                    "mount",
                    format!("`{source}` is seen at `{target}` by the new instance too"),
                    "",
                )
                .about(target);
            }
        }
    }
}

fn target(facts: &Facts, list: &mut List) {
    let target = &facts.target;
    let Some(composer) = &target.composer else {
        list.blocker(
            "no-composer",
            "there is no composer",
            "start one: `ferrocti composer`, or `composer.enabled` of the platform",
        );
        return;
    };
    if !facts.passing.composer_alive {
        list.blocker(
            "composer-away",
            format!("the composer `{composer}` is not heard of"),
            "look why, and plan again",
        );
    }
    if !target.has_key {
        list.blocker(
            "no-key",
            format!("the composer `{composer}` has no key that secrets can be sealed for"),
            "let it register again",
        );
    }
    let needed = if facts.running.image.is_some() {
        "docker"
    } else {
        "process"
    };
    if !target.orchestrators.iter().any(|name| name == needed) {
        list.blocker(
            "cannot-run",
            format!(
                "the composer `{composer}` runs no {}",
                if needed == "docker" {
                    "containers"
                } else {
                    "processes"
                }
            ),
            "choose another composer, or set it up for that",
        );
    }
    if let Some(refused) = &target.refused {
        list.blocker(
            "refused-by-composer",
            refused.clone(),
            "change the composer's settings",
        );
    }
    for network in &target.missing_networks {
        list.blocker(
            "network-missing",
            format!("the composer's engine has no network `{network}`"),
            "make it, or waive this if its addresses are reached without",
        )
        .about(network)
        .waivable();
    }
}

fn definition(material: &Material<'_>, list: &mut List) {
    for fault in material.faults {
        list.blocker(
            "file",
            format!("{}: {}", fault.at, fault.reason),
            fault.remedy.clone(),
        )
        .about(fault.at.to_string());
    }
    for remark in material.remarks {
        list.note(
            "file-remark",
            format!("{}: {}", remark.at, remark.reason),
            remark.remedy.clone(),
        )
        .about(remark.at.to_string());
    }
    for not_carried in material.not_carried {
        let level = if not_carried.matters {
            Level::Warning
        } else {
            Level::Note
        };
        list.add(
            level,
            "not-carried-over",
            format!(
                "`{}` is not carried over: {}",
                not_carried.key, not_carried.reason
            ),
            "",
        )
        .about(&not_carried.key);
    }
}

fn environment(material: &Material<'_>, list: &mut List) {
    for key in &material.mapping.keys {
        let name = key.key.as_str();
        match &key.fate {
            Fate::Missing { .. } => {
                list.blocker(
                    "value-missing",
                    format!("{name} has no value, or only a placeholder"),
                    format!("give one for {name}"),
                )
                .about(name);
            }
            Fate::Invalid { problems } => {
                let remedy = match &key.suggestion {
                    Some(_) => "accept the suggestion, or give another value",
                    None => "give another value",
                };
                list.blocker(
                    "value-invalid",
                    format!("{name}: {}", problems.join("; ")),
                    remedy,
                )
                .about(name);
            }
            Fate::Renamed {
                to,
                carried: Carried::Unfit,
            } => {
                list.blocker(
                    "renamed",
                    format!("{name} is deprecated, and its value does not fit its successor {to}"),
                    format!("give a value for {to}"),
                )
                .about(name);
            }
            Fate::Renamed { to, .. } => {
                list.note(
                    "renamed",
                    format!("{name} is deprecated; {to} is set too"),
                    "",
                )
                .about(name);
            }
            Fate::Kept(Kept::Unknown { similar }) => {
                let remedy = match similar {
                    Some(other) => {
                        format!("it is kept; the contract knows {other}, which may be meant")
                    }
                    None => "it is kept".to_owned(),
                };
                list.note(
                    "key-unknown",
                    format!("the contract does not know {name}"),
                    remedy,
                )
                .about(name);
            }
            _ => {}
        }
        if let Some(suggestion) = &key.suggestion
            && !matches!(key.fate, Fate::Invalid { .. })
        {
            let remedy = if suggestion.taken {
                "the value is corrected"
            } else {
                "it stays as it is unless the suggestion is accepted"
            };
            let level = if suggestion.taken {
                Level::Note
            } else {
                Level::Warning
            };
            list.add(
                level,
                "value-suggested",
                format!("{name}: {}", suggestion.why),
                remedy,
            )
            .about(name);
        }
    }
    for difference in material
        .differences
        .iter()
        .filter(|difference| difference.reason.is_none())
    {
        list.blocker(
            "environment-differs",
            format!(
                "{} would differ from what the connector finds today",
                difference.key
            ),
            "plan again; if it stays, report it as a defect",
        )
        .about(&difference.key);
    }
}

fn moment(facts: &Facts, list: &mut List) {
    let passing = &facts.passing;
    if !passing.live {
        list.warning(
            "not-running",
            "the connector sends no heartbeats",
            "it is migrated as it is; look whether it should run at all",
        );
    }
    if passing.instances.len() > 1 {
        list.warning(
            "several-instances",
            format!(
                "{} instances use its id: {}",
                passing.instances.len(),
                passing.instances.join(", ")
            ),
            "all of them are fenced",
        );
    }
    if passing.state_hash.is_none() {
        list.note(
            "no-state",
            "it has no state",
            "if it usually keeps one, it begins from the start",
        );
    }
    if passing.push_queue > 0 || passing.listen_queue > 0 {
        list.note(
            "queues",
            format!(
                "{} messages wait to be ingested and {} wait for it",
                passing.push_queue, passing.listen_queue
            ),
            "they stay where they are",
        );
    }
    if passing.running_works > 0 {
        list.note(
            "works",
            format!("{} works are not complete", passing.running_works),
            "they go on",
        );
    }
    if passing.buffering {
        list.warning(
            "buffering",
            "it waits because its queue is full",
            "wait until the platform has caught up",
        );
    }
    if passing.live && quiesce(facts).wait_for == WaitFor::FixedTime {
        list.warning(
            "no-schedule",
            "nobody can tell when it does nothing",
            "it is waited for a fixed time; if it does not become quiet, choose to wait or to force it",
        );
    }
}
