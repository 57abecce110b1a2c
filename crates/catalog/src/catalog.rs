//! Catalogs: contracts from upstream's manifests, searched and filtered.
//!
//! Three forms are read: the manifest of older platforms (`version`, contracts with `container_…` names), the manifest of newer ones
//! (`manifest_schema_version` 1, contracts with `image_…` names), and files with one contract each. A contract that cannot be used is listed
//! with its fault and hides no other.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::{
    contract::{Compatibility, ConnectorType, Contract, ContractFault},
    read::{FieldFault, Fields, kind},
};

/// Why a manifest as a whole cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON.
    #[error("the manifest is not JSON: {0}")]
    NotJson(String),
    /// Not an object, nor a field as it must be.
    #[error("the manifest must be an object, it is {0}")]
    NotAnObject(&'static str),
    /// A field of the manifest.
    #[error("the manifest cannot be used: {0}")]
    Field(#[from] FieldFault),
    /// A newer format.
    #[error(
        "the manifest has the format `{0}`; only the one without and `1` are known, upgrade Ferrocti"
    )]
    UnknownFormat(String),
}

/// Where a catalog came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One file, contracts with `container_…` names.
    V0,
    /// One file with `manifest_schema_version` 1.
    V1,
    /// Several files.
    Fragments,
}

/// A contract that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its place: the number in the manifest, from 0, or the name of the file.
    pub place: String,
    /// Its slug, or else its title, as far as it can be told.
    pub name: Option<String>,
    /// What is wrong.
    pub fault: ContractFault,
}

/// A catalog.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Its version.
    pub version: String,
    /// Where it came from.
    pub format: Format,
    /// The contracts that can be used, in the order of the manifest.
    pub contracts: Vec<Contract>,
    /// Those that cannot.
    pub broken: Vec<Broken>,
}

/// What a contract is looked for by; what is empty or `None` asks nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One of these types.
    pub types: Vec<ConnectorType>,
    /// One of these use cases, without regard to case.
    pub use_cases: Vec<String>,
    /// Whether a composer can run it.
    pub supported: Option<bool>,
    /// Whether the catalog's makers have tried it.
    pub verified: Option<bool>,
    /// Words that all occur in its names, texts, use cases, categories or image, without regard to case.
    pub text: String,
}

/// What is known of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lookup<'a> {
    /// The newest contract that fits the platform.
    Found(&'a Contract),
    /// There are contracts, but none fits the platform; the newest of them.
    Incompatible(&'a Contract),
    /// There is none.
    Unknown,
}

impl Catalog {
    /// Reads a manifest in one file. A file with a single contract is a catalog of one, which gets `id` as its id.
    ///
    /// # Errors
    /// The manifest as a whole cannot be used; a contract that cannot be used is no error, it is in [`Catalog::broken`].
    pub fn read(bytes: &[u8], id: &str) -> Result<Self, ManifestError> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::NotJson(error.to_string()))?;
        let map = value
            .as_object()
            .ok_or_else(|| ManifestError::NotAnObject(kind(&value)))?;
        let fields = Fields(map);
        if !map.contains_key("contracts") && map.contains_key("slug") {
            return Ok(Self::of_files(id, [(id, bytes)]));
        }
        let format = match fields.get("manifest_schema_version") {
            None => Format::V0,
            Some(version) if version == "1" || *version == 1 => Format::V1,
            Some(other) => {
                let text = other
                    .as_str()
                    .map_or_else(|| other.to_string(), str::to_owned);
                return Err(ManifestError::UnknownFormat(text));
            }
        };
        let version = match format {
            Format::V0 => fields.needed(&["version"])?,
            _ => fields
                .text("manifest_version")?
                .or(fields.text("product_version")?)
                .unwrap_or_default(),
        };
        let mut out = Self {
            id: fields.needed(&["id"])?,
            name: fields.text("name")?.unwrap_or_default(),
            description: fields.text("description")?.unwrap_or_default(),
            version,
            format,
            contracts: Vec::new(),
            broken: Vec::new(),
        };
        let contracts = fields
            .list("contracts")?
            .ok_or(FieldFault::Missing { key: "contracts" })?;
        let mut known = Known::default();
        for (index, value) in contracts.iter().enumerate() {
            out.add(index.to_string(), value, &mut known);
        }
        Ok(out)
    }

    /// Reads files with contracts, or whole manifests, as one catalog: a directory of fragments. Files are pairs of name and content; a file that
    /// cannot be read at all is listed as broken too.
    #[must_use]
    pub fn of_files<'a>(id: &str, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut out = Self {
            id: id.to_owned(),
            name: id.to_owned(),
            description: String::new(),
            version: String::new(),
            format: Format::Fragments,
            contracts: Vec::new(),
            broken: Vec::new(),
        };
        let mut known = Known::default();
        for (name, bytes) in files {
            match serde_json::from_slice::<Value>(bytes) {
                Ok(value) => match value.get("contracts").and_then(Value::as_array) {
                    Some(contracts) => {
                        for (index, value) in contracts.iter().enumerate() {
                            out.add(format!("{name}[{index}]"), value, &mut known);
                        }
                    }
                    None => out.add(name.to_owned(), &value, &mut known),
                },
                Err(error) => out.broken.push(Broken {
                    place: name.to_owned(),
                    name: None,
                    fault: ContractFault::NotJson(error.to_string()),
                }),
            }
        }
        out
    }

    fn add(&mut self, place: String, value: &Value, known: &mut Known) {
        match Contract::read(value).and_then(|contract| known.check(contract)) {
            Ok(contract) => self.contracts.push(contract),
            Err(fault) => {
                let name = ["slug", "title"]
                    .into_iter()
                    .find_map(|key| value.get(key)?.as_str())
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned);
                self.broken.push(Broken { place, name, fault });
            }
        }
    }

    /// What people may choose from: of each connector the newest contract that fits the platform.
    #[must_use]
    pub fn offered(&self, platform: &str) -> Vec<&Contract> {
        let mut place: HashMap<&str, usize> = HashMap::new();
        let mut out: Vec<&Contract> = Vec::new();
        for contract in self.compatible(platform) {
            match place.get(contract.slug.as_str()) {
                Some(&index) if contract.compare_versions(out[index]).is_gt() => {
                    out[index] = contract;
                }
                Some(_) => {}
                None => {
                    place.insert(&contract.slug, out.len());
                    out.push(contract);
                }
            }
        }
        out
    }

    fn compatible<'a>(&'a self, platform: &str) -> impl Iterator<Item = &'a Contract> {
        self.contracts
            .iter()
            .filter(move |contract| contract.compatibility(platform) == Compatibility::Compatible)
    }

    /// The newest contract of a slug that fits the platform.
    #[must_use]
    pub fn latest(&self, slug: &str, platform: &str) -> Lookup<'_> {
        self.lookup(platform, |contract| contract.slug == slug)
    }

    /// The newest contract of an image, named without tag, that fits the platform.
    #[must_use]
    pub fn by_image(&self, image: &str, platform: &str) -> Lookup<'_> {
        self.lookup(platform, |contract| contract.image == image)
    }

    fn lookup(&self, platform: &str, wanted: impl Fn(&Contract) -> bool) -> Lookup<'_> {
        let newest = |fits: bool| {
            self.contracts
                .iter()
                .filter(|contract| {
                    wanted(contract)
                        && (contract.compatibility(platform) == Compatibility::Compatible) == fits
                })
                .max_by(|a, b| a.compare_versions(b))
        };
        newest(true)
            .map(Lookup::Found)
            .or_else(|| newest(false).map(Lookup::Incompatible))
            .unwrap_or(Lookup::Unknown)
    }

    /// One version of a connector.
    #[must_use]
    pub fn version(&self, slug: &str, version: &str) -> Option<&Contract> {
        self.contracts
            .iter()
            .find(|contract| contract.slug == slug && contract.version == version)
    }
}

/// What was seen in a catalog, to tell doubles.
#[derive(Default)]
struct Known {
    versions: HashSet<(String, String)>,
    images: HashMap<String, String>,
}

impl Known {
    fn check(&mut self, contract: Contract) -> Result<Contract, ContractFault> {
        if let Some(owner) = self
            .images
            .get(&contract.image)
            .filter(|owner| **owner != contract.slug)
        {
            return Err(ContractFault::ImageTaken {
                image: contract.image,
                owner: owner.clone(),
            });
        }
        let version = (contract.slug.clone(), contract.version.clone());
        if self.versions.contains(&version) {
            let (slug, version) = version;
            return Err(ContractFault::Duplicate { slug, version });
        }
        self.images
            .insert(contract.image.clone(), contract.slug.clone());
        self.versions.insert(version);
        Ok(contract)
    }
}

/// The contracts that a filter lets through: first those whose name has the words, then by title.
#[must_use]
pub fn search<'a>(
    contracts: impl IntoIterator<Item = &'a Contract>,
    filter: &Filter,
) -> Vec<&'a Contract> {
    let text = filter.text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut found: Vec<(bool, String, &Contract)> = contracts
        .into_iter()
        .filter(|contract| {
            (filter.types.is_empty() || filter.types.contains(&contract.connector_type))
                && filter
                    .supported
                    .is_none_or(|wanted| contract.manager_supported == wanted)
                && filter
                    .verified
                    .is_none_or(|wanted| contract.verified == wanted)
                && (filter.use_cases.is_empty()
                    || contract.use_cases.iter().any(|case| {
                        let case = case.to_lowercase();
                        filter
                            .use_cases
                            .iter()
                            .any(|wanted| wanted.to_lowercase() == case)
                    }))
        })
        .filter_map(|contract| {
            let title = contract.title.to_lowercase();
            let name = format!("{title}\n{}", contract.slug.to_lowercase());
            let has_all = |text: &str| words.iter().all(|word| text.contains(word));
            if has_all(&name) {
                return Some((false, title, contract));
            }
            let all = format!(
                "{name}\n{}\n{}\n{}\n{}\n{}",
                contract.short_description,
                contract.description,
                contract.use_cases.join("\n"),
                contract.solution_categories.join("\n"),
                contract.image
            )
            .to_lowercase();
            has_all(&all).then_some((true, title, contract))
        })
        .collect();
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    found.into_iter().map(|(_, _, contract)| contract).collect()
}
