//! The values of Compose files with their places, once variables are put in, and how files and services are merged (Compose specification, sections
//! "Merge" and "Extends").

use ferrocti_catalog::yaml;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was asked for.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What is done with the value of an earlier file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// `!reset`: it is taken away.
    Reset,
    /// `!override`: it is replaced as a whole.
    Override,
}

/// A value.
#[derive(Clone)]
pub(super) struct Tree {
    pub(super) at: Place,
    pub(super) data: Data,
    pub(super) tag: Option<Tag>,
}

#[derive(Clone)]
pub(super) enum Data {
    Null,
    /// A text, and whether it stands there without quotes and variables.
    Text(String, bool),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn new(at: Place, data: Data) -> Self {
        Self {
            at,
            data,
            tag: None,
        }
    }

    pub(super) fn text_at(at: &Place, text: impl Into<String>) -> Self {
        Self::new(at.clone(), Data::Text(text.into(), false))
    }

    /// A value as it is in a file; `fill` puts variables into a text.
    pub(super) fn of(
        node: &yaml::Node,
        file: &str,
        fill: &mut dyn FnMut(&str, usize) -> String,
    ) -> Self {
        let data = match &node.data {
            yaml::Data::Null => Data::Null,
            yaml::Data::Text(text) if text.contains('$') => {
                Data::Text(fill(text, node.line), false)
            }
            yaml::Data::Text(text) => Data::Text(text.clone(), node.plain),
            yaml::Data::List(items) => Data::List(
                items
                    .iter()
                    .map(|item| Self::of(item, file, fill))
                    .collect(),
            ),
            yaml::Data::Map(pairs) => Data::Map(
                pairs
                    .iter()
                    .map(|pair| (pair.key.clone(), Self::of(&pair.value, file, fill)))
                    .collect(),
            ),
        };
        Self {
            at: Place {
                file: file.to_owned(),
                line: node.line,
            },
            data,
            tag: match node.tag.as_deref() {
                Some("reset") => Some(Tag::Reset),
                Some("override") => Some(Tag::Override),
                _ => None,
            },
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.pairs()
            .iter()
            .find(|(other, _)| other == key)
            .map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.data {
            Data::Map(pairs) => pairs
                .iter_mut()
                .find(|(other, _)| other == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    pub(super) fn set(&mut self, key: &str, value: Self) {
        if let Data::Map(pairs) = &mut self.data {
            match pairs.iter_mut().find(|(other, _)| other == key) {
                Some((_, old)) => *old = value,
                None => pairs.push((key.to_owned(), value)),
            }
        }
    }

    /// Takes away what `!reset` has left because there was nothing below it.
    pub(super) fn prune(&mut self) {
        match &mut self.data {
            Data::Map(pairs) => {
                pairs.retain(|(_, value)| value.tag != Some(Tag::Reset));
                pairs.iter_mut().for_each(|(_, value)| value.prune());
            }
            Data::List(items) => {
                items.retain(|item| item.tag != Some(Tag::Reset));
                items.iter_mut().for_each(Self::prune);
            }
            Data::Null | Data::Text(..) => {}
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Data::Map(pairs) = &mut self.data {
            pairs.retain(|(other, _)| other != key);
        }
    }

    /// The pairs of a map; of anything else there are none.
    pub(super) fn pairs(&self) -> &[(String, Self)] {
        match &self.data {
            Data::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The items of a list; a single text is a list of one.
    pub(super) fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            Data::Text(..) => std::slice::from_ref(self),
            _ => &[],
        }
    }

    /// A text; of anything else there is none.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text, _) => Some(text),
            _ => None,
        }
    }

    /// The text of a key.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// Whether a boolean is true.
    pub(super) fn is_true(&self) -> bool {
        self.text()
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }
}

/// A file on top of another.
pub(super) fn merge_files(base: &Tree, over: &Tree) -> Tree {
    let mut out = base.clone();
    for (key, value) in over.pairs() {
        let Some(old) = base.get(key) else {
            out.set(key, value.clone());
            continue;
        };
        if key == "services" {
            let mut services = old.clone();
            for (name, service) in value.pairs() {
                match old.get(name) {
                    Some(old) => services.set(name, merge_service(old, service)),
                    None => services.set(name, service.clone()),
                }
            }
            out.set(key, services);
        } else {
            out.set(key, generic(old, value));
        }
    }
    out
}

/// A service on top of another: of a later file, or of one that extends it.
pub(super) fn merge_service(base: &Tree, over: &Tree) -> Tree {
    let mut out = base.clone();
    out.at = over.at.clone();
    for (key, value) in over.pairs() {
        merge_key(&mut out, key, value, |base| match key.as_str() {
            "command" | "entrypoint" => value.clone(),
            "environment" | "labels" | "annotations" | "sysctls" => keyed(base, value),
            "env_file" => once(&listed(base, value)),
            "dns" | "dns_search" | "tmpfs" => listed(base, value),
            "volumes" => by_target(base, value, ""),
            "secrets" => by_target(base, value, "/run/secrets/"),
            "configs" => by_target(base, value, "/"),
            "networks" | "depends_on" => generic(&named(base), &named(value)),
            "logging"
                if matches!(
                    (base.text_of("driver"), value.text_of("driver")),
                    (Some(a), Some(b)) if a != b
                ) =>
            {
                value.clone()
            }
            _ => generic(base, value),
        });
    }
    out
}

/// Everything else: maps key by key, lists one after the other, and of texts the later.
fn generic(base: &Tree, over: &Tree) -> Tree {
    match (&base.data, &over.data) {
        (Data::Map(_), Data::Map(pairs)) => {
            let mut out = base.clone();
            for (key, value) in pairs {
                merge_key(&mut out, key, value, |base| generic(base, value));
            }
            out
        }
        (Data::List(first), Data::List(second)) => Tree::new(
            over.at.clone(),
            Data::List(first.iter().chain(second).cloned().collect()),
        ),
        (_, Data::Null) => base.clone(),
        _ => over.clone(),
    }
}

fn merge_key(out: &mut Tree, key: &str, value: &Tree, merge: impl FnOnce(&Tree) -> Tree) {
    match (value.tag, out.get(key)) {
        (Some(Tag::Reset), _) => out.remove(key),
        (None, Some(base)) if !matches!(base.data, Data::Null) => {
            let merged = merge(base);
            out.set(key, merged);
        }
        _ => {
            let mut value = value.clone();
            value.tag = None;
            out.set(key, value);
        }
    }
}

/// `K=V` in a list or `K: V` in a map: as a map, where a name alone has no value.
fn keyed(base: &Tree, over: &Tree) -> Tree {
    let mut out = Tree::new(over.at.clone(), Data::Map(Vec::new()));
    for tree in [base, over] {
        match &tree.data {
            Data::Map(pairs) => {
                for (key, value) in pairs {
                    merge_key(&mut out, key, value, |_| value.clone());
                }
            }
            _ => {
                for item in tree.items() {
                    if let Some(text) = item.text() {
                        match text.split_once('=') {
                            Some((key, value)) => out.set(key, Tree::text_at(&item.at, value)),
                            None => out.set(text, Tree::new(item.at.clone(), Data::Null)),
                        }
                    }
                }
            }
        }
    }
    out
}

fn listed(base: &Tree, over: &Tree) -> Tree {
    let all = |tree: &Tree| match tree.data {
        Data::Map(_) => vec![tree.clone()],
        _ => tree.items().to_vec(),
    };
    let mut items = all(base);
    items.extend(all(over));
    Tree::new(over.at.clone(), Data::List(items))
}

/// A list of files in which each file stands once, where it stood first.
fn once(list: &Tree) -> Tree {
    let mut out: Vec<Tree> = Vec::new();
    for item in list.items() {
        let path = |item: &Tree| {
            item.text()
                .or_else(|| item.text_of("path"))
                .map(str::to_owned)
        };
        match out.iter_mut().find(|other| path(other) == path(item)) {
            Some(old) => *old = item.clone(),
            None => out.push(item.clone()),
        }
    }
    Tree::new(list.at.clone(), Data::List(out))
}

/// A list of names as a map without values.
fn named(tree: &Tree) -> Tree {
    match &tree.data {
        Data::List(items) => Tree::new(
            tree.at.clone(),
            Data::Map(
                items
                    .iter()
                    .filter_map(|item| {
                        Some((
                            item.text()?.to_owned(),
                            Tree::new(item.at.clone(), Data::Null),
                        ))
                    })
                    .collect(),
            ),
        ),
        _ => tree.clone(),
    }
}

/// Lists whose items are for one path in the container each: the later item counts.
fn by_target(base: &Tree, over: &Tree, directory: &str) -> Tree {
    let mut out: Vec<(String, Tree)> = Vec::new();
    for item in base.items().iter().chain(over.items()) {
        let target = target(item, directory);
        match out.iter_mut().find(|(other, _)| *other == target) {
            Some((_, old)) => *old = item.clone(),
            None => out.push((target, item.clone())),
        }
    }
    Tree::new(
        over.at.clone(),
        Data::List(out.into_iter().map(|(_, item)| item).collect()),
    )
}

/// The path in the container that a volume, secret or config is for.
fn target(item: &Tree, directory: &str) -> String {
    let text = item
        .text_of("target")
        .or_else(|| item.text_of("source"))
        .or_else(|| item.text())
        .unwrap_or_default();
    let text = match (item.text(), directory) {
        (Some(short), "") => split_volume(short).1,
        _ => text,
    };
    if directory.is_empty() || text.starts_with('/') {
        text.to_owned()
    } else {
        format!("{directory}{text}")
    }
}

/// The short form of a volume: what is seen, where, and how (`[SOURCE:]TARGET[:MODE]`).
pub(super) fn split_volume(text: &str) -> (Option<&str>, &str, &str) {
    let mut parts = text.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(source), Some(target), mode) => (Some(source), target, mode.unwrap_or_default()),
        (Some(target), None, _) => (None, target, ""),
        _ => (None, "", ""),
    }
}
