//! From files to one tree: variables put in, `extends` and `include` followed, files merged.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use ferrocti_catalog::{
    Secret,
    yaml::{self, Dialect, Document, Node},
};

use super::{
    Asked, Input, Place, Told, Unread, Unset,
    dotenv::{self, Around},
    interpolate::{Outcome, Uninterpolated, interpolate},
    path::{join, parent},
    tree::{Data, Tree, merge_files, merge_service},
};

/// How many files may be read for one project.
const MOST_FILES: usize = 500;
/// How many times files may be put together: a file that is included twice counts twice.
const MOST_LOADS: usize = 2000;
/// Bytes of all values together that variables are put into.
const MOST_FILLED: usize = 64 << 20;
/// Bytes of one file.
const LARGEST: usize = 8 << 20;
/// How deep `extends` and `include` may be nested.
pub(super) const DEEPEST: usize = 30;

/// Variables that values may use; those from the shell go before those from files.
#[derive(Clone)]
pub(super) struct Env<'a> {
    shell: &'a BTreeMap<String, Secret>,
    files: BTreeMap<String, String>,
}

impl Env<'_> {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        match self.shell.get(name) {
            Some(value) => Some(value.expose().to_owned()),
            None => self.files.get(name).cloned(),
        }
    }
}

/// Reads files, and keeps what is told about them.
pub(super) struct Loader<'a> {
    input: &'a Input<'a>,
    documents: HashMap<String, Rc<Document>>,
    loads: usize,
    filled: usize,
    pub(super) files: Vec<String>,
    pub(super) asked: Vec<Asked>,
    pub(super) remarks: Vec<Told>,
    /// Faults of services.
    pub(super) faults: Vec<Told>,
}

/// A service of a file that is being read.
#[derive(Clone, Copy)]
struct Within<'a> {
    file: &'a str,
    services: &'a [yaml::Pair],
    directory: &'a str,
    env: &'a Env<'a>,
    /// The service that all of this is for.
    owner: &'a str,
}

impl<'a> Loader<'a> {
    pub(super) fn new(input: &'a Input<'a>) -> Self {
        Self {
            input,
            documents: HashMap::new(),
            loads: 0,
            filled: 0,
            files: Vec::new(),
            asked: Vec::new(),
            remarks: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The text of a file; `None`: there is none.
    pub(super) fn text(&mut self, path: &str) -> Result<Option<String>, String> {
        if !self.files.iter().any(|file| file == path) && self.files.len() >= MOST_FILES {
            return Err(format!("there are more than {MOST_FILES} files"));
        }
        let bytes = match (self.input.read)(path) {
            Ok(bytes) => bytes,
            Err(Unread::Missing) => return Ok(None),
            Err(Unread::Failed(reason)) => return Err(reason),
        };
        if bytes.len() > LARGEST {
            return Err(format!("it has more than {} MiB", LARGEST >> 20));
        }
        if !self.files.iter().any(|file| file == path) {
            self.files.push(path.to_owned());
        }
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| "it is no text in UTF-8".to_owned())
    }

    fn document(&mut self, path: &str) -> Result<Rc<Document>, Told> {
        self.loads += 1;
        if self.loads > MOST_LOADS {
            return Err(told(
                &Place {
                    file: path.to_owned(),
                    line: 1,
                },
                None,
                format!("files are included or extended more than {MOST_LOADS} times"),
                "name the files of the connectors themselves",
            ));
        }
        if let Some(document) = self.documents.get(path) {
            return Ok(document.clone());
        }
        let at = |line| Place {
            file: path.to_owned(),
            line,
        };
        let fault = |line, reason: String, remedy: &str| Told {
            at: at(line),
            service: None,
            reason,
            remedy: remedy.to_owned(),
        };
        let text = match self.text(path) {
            Ok(Some(text)) => text,
            Ok(None) => {
                return Err(fault(
                    1,
                    "the file is not there".to_owned(),
                    "correct the path, or bring the file",
                ));
            }
            Err(reason) => {
                return Err(fault(
                    1,
                    format!("the file cannot be read: {reason}"),
                    "make it readable",
                ));
            }
        };
        let document = yaml::read_as(&text, Dialect::Lenient)
            .map_err(|error| fault(error.line, error.reason, "correct the YAML in that line"))?;
        for (line, key) in &document.repeated {
            self.remarks.push(Told {
                at: at(*line),
                service: None,
                reason: format!("`{key}` is there twice, the last one counts"),
                remedy: "take the other one away; Docker Compose 2 refuses such a file".to_owned(),
            });
        }
        let document = Rc::new(document);
        self.documents.insert(path.to_owned(), document.clone());
        Ok(document)
    }

    /// Variables of `.env` files; later ones go before earlier ones.
    pub(super) fn env(&mut self, paths: &[String], required: bool) -> Result<Env<'a>, Told> {
        let env = Env {
            shell: self.input.shell,
            files: BTreeMap::new(),
        };
        self.env_below(&env, paths, required)
    }

    /// Variables of further `.env` files, such as those of an included project: what there is already goes before them.
    pub(super) fn env_below(
        &mut self,
        above: &Env<'a>,
        paths: &[String],
        required: bool,
    ) -> Result<Env<'a>, Told> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for path in paths {
            let fault = |line, reason: String, remedy: &str| Told {
                at: Place {
                    file: path.clone(),
                    line,
                },
                service: None,
                reason,
                remedy: remedy.to_owned(),
            };
            let text = match self.text(path) {
                Ok(Some(text)) => text,
                Ok(None) if !required => continue,
                Ok(None) => {
                    return Err(fault(
                        1,
                        "the file with variables is not there".to_owned(),
                        "correct the path, or leave it out",
                    ));
                }
                Err(reason) => return Err(fault(1, reason, "make it readable")),
            };
            let mut blank = Vec::new();
            let around = Around {
                before: &|name| above.get(name),
                after: &|name| found.get(name).cloned(),
            };
            let lines = dotenv::read(&text, around, &mut blank)
                .map_err(|error| fault(error.line, error.reason, "correct the line"))?;
            for (line, name) in blank {
                self.ask(
                    &name,
                    Unset::Blank,
                    None,
                    Place {
                        file: path.clone(),
                        line,
                    },
                );
            }
            for line in lines {
                if let Some(value) = line.value {
                    found.insert(line.key, value);
                }
            }
        }
        let mut env = above.clone();
        for (key, value) in found {
            env.files.entry(key).or_insert(value);
        }
        Ok(env)
    }

    pub(super) fn ask(&mut self, name: &str, unset: Unset, service: Option<&str>, at: Place) {
        let known = self.asked.iter().any(|asked| {
            asked.name == name && asked.service.as_deref() == service && asked.unset == unset
        });
        if !known {
            self.asked.push(Asked {
                name: name.to_owned(),
                unset,
                service: service.map(str::to_owned),
                at,
            });
        }
    }

    /// A value of a file with variables put in.
    fn tree(&mut self, node: &Node, file: &str, env: &Env<'_>, service: Option<&str>) -> Tree {
        Tree::of(node, file, &mut |text, line| {
            let at = || Place {
                file: file.to_owned(),
                line,
            };
            let mut used = Vec::new();
            let result = interpolate(text, &|name| env.get(name), &mut used);
            for used in used {
                match used.outcome {
                    Outcome::Found => {}
                    Outcome::Blank => self.ask(&used.name, Unset::Blank, service, at()),
                    Outcome::Default => self.ask(&used.name, Unset::Default, service, at()),
                }
            }
            let result = result.and_then(|value| {
                self.filled = self.filled.saturating_add(value.len());
                if self.filled > MOST_FILLED {
                    return Err(Uninterpolated::TooLong);
                }
                Ok(value)
            });
            result.unwrap_or_else(|error| {
                let remedy = match &error {
                    Uninterpolated::Required { name, .. } => {
                        self.ask(name, Unset::Required, service, at());
                        format!("give {name} a value, in the shell or in `.env`")
                    }
                    Uninterpolated::Invalid => "correct it".to_owned(),
                    Uninterpolated::TooLong => "shorten it".to_owned(),
                };
                self.faults.push(Told {
                    at: at(),
                    service: service.map(str::to_owned),
                    reason: error.to_string(),
                    remedy,
                });
                // the name of a variable in a list stays known
                match text.split_once('=') {
                    Some((key, _)) if !key.contains('$') => format!("{key}="),
                    _ => String::new(),
                }
            })
        })
    }

    /// Files on top of each other.
    pub(super) fn project(
        &mut self,
        paths: &[String],
        directory: &str,
        env: &Env<'a>,
        chain: &[String],
    ) -> Result<Tree, Told> {
        let mut out: Option<Tree> = None;
        for path in paths {
            let tree = self.file(path, directory, env, chain)?;
            out = Some(match out {
                Some(base) => merge_files(&base, &tree),
                None => tree,
            });
        }
        Ok(out.unwrap_or_else(|| {
            let at = Place {
                file: String::new(),
                line: 1,
            };
            Tree::new(at, Data::Map(Vec::new()))
        }))
    }

    fn file(
        &mut self,
        path: &str,
        directory: &str,
        env: &Env<'a>,
        chain: &[String],
    ) -> Result<Tree, Told> {
        let document = self.document(path)?;
        let at = Place {
            file: path.to_owned(),
            line: document.root.line,
        };
        let mut root = Tree::new(at, Data::Map(Vec::new()));
        let pairs = match &document.root.data {
            yaml::Data::Map(pairs) => pairs.as_slice(),
            yaml::Data::Null => &[],
            _ => {
                return Err(told(
                    &root.at,
                    None,
                    format!("a Compose file is a map, this is {}", document.root.kind()),
                    "begin it with `services:`",
                ));
            }
        };
        let services = services_of(pairs, path)?;
        for pair in pairs {
            match pair.key.as_str() {
                "services" | "include" => {}
                key if key.starts_with("x-") => {}
                key => {
                    let tree = self.tree(&pair.value, path, env, None);
                    root.set(key, tree);
                }
            }
        }
        let mut list = Tree::new(root.at.clone(), Data::Map(Vec::new()));
        for pair in services {
            let within = Within {
                file: path,
                services,
                directory,
                env,
                owner: &pair.key,
            };
            match self.service(within, &pair.key, &root.at, &mut Vec::new()) {
                Ok(tree) => list.set(&pair.key, tree),
                Err(fault) => {
                    // what is known of it without the fault
                    let tree = self.tree(&pair.value, path, env, Some(&pair.key));
                    self.faults.push(fault);
                    list.set(&pair.key, tree);
                }
            }
        }
        root.set("services", list);
        if let Some(pair) = pairs.iter().find(|pair| pair.key == "include") {
            let include = self.tree(&pair.value, path, env, None);
            self.include(&mut root, &include, directory, env, chain)?;
        }
        Ok(root)
    }

    /// A service with what it extends.
    fn service(
        &mut self,
        within: Within<'_>,
        name: &str,
        wanted_at: &Place,
        seen: &mut Vec<(String, String)>,
    ) -> Result<Tree, Told> {
        let Some(pair) = within.services.iter().find(|pair| pair.key == name) else {
            return Err(told(
                wanted_at,
                Some(within.owner),
                format!(
                    "there is no service `{name}` to extend in `{}`",
                    within.file
                ),
                "correct the name under `extends`",
            ));
        };
        let mut tree = self.tree(&pair.value, within.file, within.env, Some(within.owner));
        if !matches!(tree.data, Data::Map(_)) {
            return Err(told(
                &tree.at,
                Some(within.owner),
                format!("a service is a map, this is {}", pair.value.kind()),
                "write its settings below it, indented",
            ));
        }
        self.settle(&mut tree, within.directory, within.owner);
        let Some(extends) = tree.get("extends").cloned() else {
            return Ok(tree);
        };
        tree.remove("extends");
        let key = (within.file.to_owned(), name.to_owned());
        if seen.contains(&key) || seen.len() >= DEEPEST {
            return Err(told(
                &extends.at,
                Some(within.owner),
                "the service extends itself".to_owned(),
                "break the circle of `extends`",
            ));
        }
        seen.push(key);
        let Some(wanted) = extends.text().or_else(|| extends.text_of("service")) else {
            return Err(told(
                &extends.at,
                Some(within.owner),
                "`extends` names no service".to_owned(),
                "write `extends: {service: NAME}`",
            ));
        };
        let base = match extends.text_of("file") {
            None => self.service(within, wanted, &extends.at, seen)?,
            Some(file) => {
                let path = join(within.directory, file);
                let document = self.document(&path).map_err(|fault| Told {
                    service: Some(within.owner.to_owned()),
                    ..fault
                })?;
                let pairs = match &document.root.data {
                    yaml::Data::Map(pairs) => pairs.as_slice(),
                    _ => &[],
                };
                let directory = parent(&path).to_owned();
                let within = Within {
                    file: &path,
                    services: services_of(pairs, &path)?,
                    directory: &directory,
                    ..within
                };
                self.service(within, wanted, &extends.at, seen)?
            }
        };
        Ok(merge_service(&base, &tree))
    }

    /// Paths as seen from everywhere, and the environment as a map.
    fn settle(&mut self, tree: &mut Tree, directory: &str, owner: &str) {
        if let Some(environment) = tree.get("environment").cloned() {
            let environment = self.environment(&environment, owner);
            tree.set("environment", environment);
        }
        if let Some(files) = tree.get_mut("env_file") {
            *files = Tree::new(
                files.at.clone(),
                Data::List(match files.data {
                    Data::Map(_) => vec![files.clone()],
                    _ => files.items().to_vec(),
                }),
            );
            if let Data::List(items) = &mut files.data {
                for item in items {
                    let target = if item.text().is_some() {
                        Some(item)
                    } else {
                        item.get_mut("path")
                    };
                    set_path(target, directory);
                }
            }
        }
        if let Some(Tree {
            data: Data::List(items),
            ..
        }) = tree.get_mut("volumes")
        {
            for item in items {
                if let Some(text) = item.text() {
                    if text.starts_with(['.', '/', '~'])
                        && let Some((source, rest)) = text.split_once(':')
                    {
                        let text = format!("{}:{rest}", join(directory, source));
                        item.data = Data::Text(text, false);
                    }
                } else if item.text_of("type") == Some("bind") {
                    set_path(item.get_mut("source"), directory);
                }
            }
        }
    }

    /// An environment as a map. A list item that YAML has read as a map gets its text back, and a key that comes twice is told.
    fn environment(&mut self, tree: &Tree, owner: &str) -> Tree {
        let mut out = Tree::new(tree.at.clone(), Data::Map(Vec::new()));
        out.tag = tree.tag;
        let Data::List(items) = &tree.data else {
            return tree.clone();
        };
        for item in items {
            let restored = match item.pairs() {
                [(key, value)] if key.contains('=') => match &value.data {
                    Data::Null => Some(format!("{key}:")),
                    Data::Text(text, _) => Some(format!("{key}: {text}")),
                    _ => None,
                },
                _ => None,
            };
            if restored.is_some() {
                self.remarks.push(told(
                    &item.at,
                    Some(owner),
                    "YAML reads the colon in this item as a map; it is taken as one text"
                        .to_owned(),
                    "put the whole item in quotes",
                ));
            }
            let Some(text) = restored.as_deref().or_else(|| item.text()) else {
                self.faults.push(told(
                    &item.at,
                    Some(owner),
                    "an item of `environment` is no `NAME=value`".to_owned(),
                    "write `- NAME=value`, or make a map of `NAME: value` without dashes",
                ));
                continue;
            };
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Tree::text_at(&item.at, value)),
                None => (text, Tree::new(item.at.clone(), Data::Null)),
            };
            if let Some(first) = out.get(key) {
                self.remarks.push(told(
                    &item.at,
                    Some(owner),
                    format!(
                        "{key} is there already, in line {}; the last one counts",
                        first.at.line
                    ),
                    "take the other one away",
                ));
            }
            out.set(key, value);
        }
        out
    }
}

fn set_path(tree: Option<&mut Tree>, directory: &str) {
    if let Some(tree) = tree
        && let Some(text) = tree.text()
    {
        tree.data = Data::Text(join(directory, text), false);
    }
}

pub(super) fn told(
    at: &Place,
    service: Option<&str>,
    reason: String,
    remedy: impl Into<String>,
) -> Told {
    Told {
        at: at.clone(),
        service: service.map(str::to_owned),
        reason,
        remedy: remedy.into(),
    }
}

/// The services of a file.
fn services_of<'n>(pairs: &'n [yaml::Pair], file: &str) -> Result<&'n [yaml::Pair], Told> {
    let Some(pair) = pairs.iter().find(|pair| pair.key == "services") else {
        let lost = pairs.iter().find(|pair| {
            ["image", "environment", "build"]
                .iter()
                .any(|key| pair.value.get(key).is_some())
        });
        return match lost {
            Some(pair) => Err(told(
                &Place {
                    file: file.to_owned(),
                    line: pair.line,
                },
                Some(&pair.key),
                "the service is not below `services:`".to_owned(),
                "write `services:` above it and indent it by two spaces",
            )),
            None => Ok(&[]),
        };
    };
    match &pair.value.data {
        yaml::Data::Map(services) => Ok(services),
        yaml::Data::Null => {
            // the services stand beside it: they are not indented
            let beside = pairs
                .iter()
                .find(|other| other.value.get("image").is_some());
            match beside {
                Some(other) => Err(told(
                    &Place {
                        file: file.to_owned(),
                        line: other.line,
                    },
                    Some(&other.key),
                    "the service stands beside `services:`, not below it".to_owned(),
                    "indent it by two spaces",
                )),
                None => Ok(&[]),
            }
        }
        _ => Err(told(
            &Place {
                file: file.to_owned(),
                line: pair.line,
            },
            None,
            format!("`services` is a map, this is {}", pair.value.kind()),
            "write `NAME:` and below it the settings of the service",
        )),
    }
}
