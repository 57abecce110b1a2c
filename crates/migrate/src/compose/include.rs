//! `include`: other projects' files with variables and a directory of their own (Compose specification, section "Include").

use super::{
    Told,
    load::{DEEPEST, Env, Loader, told},
    path::{join, parent},
    tree::{Data, Tree},
};

/// The sections whose maps are brought together.
const SECTIONS: [&str; 5] = ["services", "volumes", "networks", "secrets", "configs"];

impl<'a> Loader<'a> {
    /// Brings what is included into the tree of the file that includes it.
    pub(super) fn include(
        &mut self,
        root: &mut Tree,
        include: &Tree,
        directory: &str,
        env: &Env<'a>,
        chain: &[String],
    ) -> Result<(), Told> {
        for entry in include.items() {
            let listed = |key: &str| -> Vec<String> {
                entry
                    .get(key)
                    .map(Tree::items)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(Tree::text)
                    .map(|path| join(directory, path))
                    .collect()
            };
            let paths = match entry.text() {
                Some(path) => vec![join(directory, path)],
                None => listed("path"),
            };
            let Some(first) = paths.first() else {
                return Err(told(
                    &entry.at,
                    None,
                    "`include` names no file".to_owned(),
                    "write `- path: FILE`",
                ));
            };
            if chain.contains(first) || chain.len() >= DEEPEST {
                return Err(told(
                    &entry.at,
                    None,
                    format!("`{first}` includes itself"),
                    "break the circle of `include`",
                ));
            }
            let place = match entry.text_of("project_directory") {
                Some(path) => join(directory, path),
                None => parent(first).to_owned(),
            };
            let env_files = listed("env_file");
            let env = if env_files.is_empty() {
                self.env_below(env, &[join(&place, ".env")], false)?
            } else {
                self.env_below(env, &env_files, true)?
            };
            let mut chain = chain.to_vec();
            chain.push(first.clone());
            let included = self.project(&paths, &place, &env, &chain)?;
            for section in SECTIONS {
                let Some(theirs) = included.get(section) else {
                    continue;
                };
                let mut ours = root
                    .get(section)
                    .cloned()
                    .unwrap_or_else(|| Tree::new(theirs.at.clone(), Data::Map(Vec::new())));
                for (name, value) in theirs.pairs() {
                    if ours.get(name).is_none() {
                        ours.set(name, value.clone());
                    } else if section == "services" {
                        return Err(told(
                            &entry.at,
                            Some(name),
                            "an included file has a service of this name too".to_owned(),
                            "give one of them another name",
                        ));
                    }
                }
                root.set(section, ours);
            }
        }
        Ok(())
    }
}
