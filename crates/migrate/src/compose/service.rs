//! From the merged tree to services: what each container finds.

use ferrocti_catalog::Secret;

use super::{
    Input, Limits, Place, Project, Service, Told, Unset, Variable, Words,
    dotenv::{self, Around},
    load::{Env, Loader, told},
    path::{join, parent},
    scalar::arriving,
    tree::{Data, Tree},
};

/// Names of files that are looked for when none is given, and those put on top of them.
const USUAL: [(&str, &str); 4] = [
    ("compose.yaml", "compose.override.yaml"),
    ("compose.yml", "compose.override.yml"),
    ("docker-compose.yml", "docker-compose.override.yml"),
    ("docker-compose.yaml", "docker-compose.override.yaml"),
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
    let mut root = loader.project(&paths, &directory, &env, &paths)?;
    root.prune();
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

/// Reads one service.
pub(super) struct Reader<'r, 'a> {
    pub(super) loader: &'r mut Loader<'a>,
    pub(super) env: &'r Env<'a>,
    pub(super) root: &'r Tree,
    pub(super) directory: &'r str,
    pub(super) project: &'r str,
    pub(super) out: Service,
}

impl Reader<'_, '_> {
    pub(super) fn fault(
        &mut self,
        at: &Place,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let told = told(at, Some(&self.out.name), reason.into(), remedy);
        self.out.faults.push(told);
    }

    pub(super) fn remark(
        &mut self,
        at: &Place,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
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
                    after: &|name| {
                        let value = self.out.variable(name)?;
                        Some(value.expose().to_owned())
                    },
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
                    // a name alone takes away what an `env_file` says, also when nothing is around
                    self.out.environment.retain(|other| other.key != *key);
                    self.passed_through(key, &value.at);
                }
                Data::Text(text, false) => self.set(key, text.clone(), &value.at),
                Data::Text(text, true) => {
                    let arrives = arriving(text);
                    if arrives != *text {
                        self.remark(
                            &value.at,
                            format!(
                                "the value of {key} is a number or boolean without quotes, and arrives written in another way"
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
