//! What a container sees of its machine: volumes, files of `secrets` and `configs`, networks.

use ferrocti_catalog::Secret;

use super::{
    Place, PutFile, Source, Unset, Volume,
    path::join,
    service::Reader,
    tree::{Data, Tree, split_volume},
};

impl Reader<'_, '_> {
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

    pub(super) fn volumes(&mut self, tree: &Tree) {
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

    pub(super) fn put_files(&mut self, tree: &Tree, section: &str, directory: &str) {
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

    pub(super) fn networks(&mut self, tree: &Tree) {
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
}
