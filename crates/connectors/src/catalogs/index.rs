//! What of a manifest stays in memory: contracts without schema and picture, and where in the kept copy the whole of each is.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    os::unix::fs::FileExt,
};

use ferrocti_catalog::{Broken, Catalog, Contract, ContractFault, ManifestError, catalog::Format};
use serde_json::{Value, value::RawValue};

use super::{Content, Listed, LookupError, fits};

/// Where the whole contract is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// From the beginning of the documents.
    offset: u64,
    length: usize,
}

/// The whole contracts.
#[derive(Debug)]
pub(super) enum Documents {
    /// There are none.
    None,
    /// In memory, by their offset: the few that come with the binary.
    Here(Vec<Contract>),
    /// In the kept copy, from this offset. The file stays open, so that a copy that is replaced meanwhile changes nothing.
    Kept { file: File, from: u64 },
}

/// The versions of one connector in a catalog.
#[derive(Debug)]
pub(super) struct Group {
    /// The contract that is deployed when no version is named.
    pub index: usize,
    /// Whether it fits the platform.
    pub compatible: bool,
    /// All versions, newest first.
    pub versions: Vec<String>,
}

/// A part of what a source gave: a manifest, or one file of a directory.
pub(super) struct Part<'a> {
    /// The name of the file; of a manifest nothing.
    pub name: &'a str,
    /// Where it begins in the documents.
    pub offset: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Content {
    /// A source that gave nothing yet.
    pub(super) fn nothing(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            description: String::new(),
            version: String::new(),
            format: None,
            fetched_at: None,
            contracts: Vec::new(),
            broken: Vec::new(),
            documents: Documents::None,
        }
    }

    /// The catalog of the binary.
    pub(super) fn built_in(catalog: Catalog) -> Self {
        let contracts = catalog
            .contracts
            .iter()
            .zip(0..)
            .map(|(contract, offset)| listed(contract.clone(), Place { offset, length: 0 }))
            .collect();
        Self {
            contracts,
            documents: Documents::Here(catalog.contracts),
            ..Self::of_head(Catalog {
                contracts: Vec::new(),
                ..catalog
            })
        }
    }

    fn of_head(head: Catalog) -> Self {
        Self {
            id: head.id,
            name: head.name,
            description: head.description,
            version: head.version,
            format: Some(head.format),
            fetched_at: None,
            contracts: Vec::new(),
            broken: head.broken,
            documents: Documents::None,
        }
    }

    /// Reads a manifest in one file. One contract is in memory as a whole at a time.
    ///
    /// # Errors
    /// The manifest as a whole cannot be used.
    pub(super) fn of_manifest(bytes: &[u8], id: &str) -> Result<Self, ManifestError> {
        let Some((head, contracts)) = split(bytes) else {
            // whatever is wrong is told by who reads it whole
            let catalog = Catalog::read(bytes, id)?;
            if catalog.format == Format::Fragments {
                let part = Part {
                    name: id,
                    offset: 0,
                    bytes,
                };
                return Ok(Self::of_files(id, &[part]));
            }
            return Ok(Self::of_head(Catalog {
                contracts: Vec::new(),
                ..catalog
            }));
        };
        let mut out = Self::of_head(Catalog::read(&head, id)?);
        let mut known = Known::default();
        for (index, contract) in contracts.iter().enumerate() {
            out.add(
                index.to_string(),
                contract.get(),
                within(bytes, contract),
                &mut known,
            );
        }
        out.contracts.shrink_to_fit();
        Ok(out)
    }

    /// Reads files with contracts, or manifests, as one catalog.
    pub(super) fn of_files(id: &str, files: &[Part<'_>]) -> Self {
        let mut out = Self::of_head(Catalog::of_files(id, []));
        let mut known = Known::default();
        for part in files {
            match split(part.bytes) {
                Some((_, contracts)) => {
                    for (index, contract) in contracts.iter().enumerate() {
                        let place = format!("{}[{index}]", part.name);
                        let offset = part.offset + within(part.bytes, contract);
                        out.add(place, contract.get(), offset, &mut known);
                    }
                }
                None => match std::str::from_utf8(part.bytes) {
                    Ok(text) => out.add(part.name.to_owned(), text, part.offset, &mut known),
                    Err(error) => out.broken.push(Broken {
                        place: part.name.to_owned(),
                        name: None,
                        fault: ContractFault::NotJson(error.to_string()),
                    }),
                },
            }
        }
        out.contracts.shrink_to_fit();
        out
    }

    fn add(&mut self, place: String, text: &str, offset: usize, known: &mut Known) {
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                self.broken.push(Broken {
                    place,
                    name: None,
                    fault: ContractFault::NotJson(error.to_string()),
                });
                return;
            }
        };
        match Contract::read(&value).and_then(|contract| known.check(contract)) {
            Ok(contract) => self.contracts.push(listed(
                contract,
                Place {
                    offset: offset as u64,
                    length: text.len(),
                },
            )),
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

    /// The same with the documents where they are kept.
    pub(super) fn kept_in(mut self, file: File, from: u64) -> Self {
        self.documents = Documents::Kept { file, from };
        self
    }

    /// The contract with its schema and picture.
    ///
    /// # Errors
    /// The kept copy cannot be read.
    pub fn whole(&self, listed: &Listed) -> Result<Contract, LookupError> {
        let failed = |reason: String| LookupError::Copy {
            catalog: self.id.clone(),
            reason,
        };
        match &self.documents {
            Documents::None => Err(failed("it is empty".to_owned())),
            Documents::Here(contracts) => usize::try_from(listed.place.offset)
                .ok()
                .and_then(|index| contracts.get(index))
                .cloned()
                .ok_or_else(|| failed("it is empty".to_owned())),
            Documents::Kept { file, from } => {
                let mut bytes = vec![0; listed.place.length];
                file.read_exact_at(&mut bytes, from + listed.place.offset)
                    .map_err(|error| failed(error.to_string()))?;
                let value: Value =
                    serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
                let contract = Contract::read(&value).map_err(|error| failed(error.to_string()))?;
                // somebody who writes into the kept copy must not swap contracts
                if contract.slug != listed.about.slug || contract.version != listed.about.version {
                    return Err(failed("another contract is in its place".to_owned()));
                }
                Ok(contract)
            }
        }
    }

    /// The versions of a connector, newest first.
    pub(super) fn of(&self, slug: &str) -> Vec<&Contract> {
        let mut out: Vec<&Contract> = self
            .contracts
            .iter()
            .map(|listed| &listed.about)
            .filter(|about| about.slug == slug)
            .collect();
        out.sort_by(|a, b| b.compare_versions(a));
        out
    }

    /// The connectors, each with its versions, in the order in which they are first named.
    pub(super) fn connectors(&self, platform: &str) -> Vec<Group> {
        let mut place: HashMap<&str, usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (index, listed) in self.contracts.iter().enumerate() {
            let at = *place.entry(&listed.about.slug).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[at].push(index);
        }
        groups
            .into_iter()
            .map(|mut indexes| {
                let about = |index: usize| &self.contracts[index].about;
                indexes.sort_by(|&a, &b| about(b).compare_versions(about(a)));
                let fitting = indexes
                    .iter()
                    .copied()
                    .find(|&index| fits(about(index), platform));
                Group {
                    index: fitting.unwrap_or(indexes[0]),
                    compatible: fitting.is_some(),
                    versions: indexes
                        .iter()
                        .map(|&index| about(index).version.clone())
                        .collect(),
                }
            })
            .collect()
    }
}

/// A contract without what only its deployment needs.
fn listed(mut contract: Contract, place: Place) -> Listed {
    let remarks = contract.remarks().iter().map(ToString::to_string).collect();
    let has_schema = contract.schema.take().is_some();
    contract.logo = None;
    Listed {
        about: contract,
        has_schema,
        remarks,
        place,
    }
}

/// A manifest without its contracts, and its contracts as they are written; `None`: it is no object with a list of contracts.
fn split(bytes: &[u8]) -> Option<(Vec<u8>, Vec<&RawValue>)> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_slice(bytes).ok()?;
    let contracts = serde_json::from_str(fields.remove("contracts")?.get()).ok()?;
    let mut head: BTreeMap<String, Value> = fields
        .into_iter()
        .map(|(key, value)| Some((key, serde_json::from_str(value.get()).ok()?)))
        .collect::<Option<_>>()?;
    head.insert("contracts".to_owned(), Value::Array(Vec::new()));
    Some((serde_json::to_vec(&head).ok()?, contracts))
}

/// Where a value begins in the bytes that it was read from.
fn within(bytes: &[u8], value: &RawValue) -> usize {
    value.get().as_ptr().addr() - bytes.as_ptr().addr()
}

/// What was seen in a catalog, to tell doubles.
#[derive(Default)]
struct Known {
    versions: HashSet<(String, String)>,
    images: HashMap<String, String>,
}

impl Known {
    fn check(&mut self, contract: Contract) -> Result<Contract, ContractFault> {
        let owner = self
            .images
            .entry(contract.image.clone())
            .or_insert_with(|| contract.slug.clone());
        if *owner != contract.slug {
            return Err(ContractFault::ImageTaken {
                image: contract.image,
                owner: owner.clone(),
            });
        }
        let version = (contract.slug.clone(), contract.version.clone());
        if !self.versions.insert(version) {
            return Err(ContractFault::Duplicate {
                slug: contract.slug,
                version: contract.version,
            });
        }
        Ok(contract)
    }
}

#[cfg(test)]
mod tests {
    use ferrocti_model::clock::{Entropy, SeededEntropy};

    use super::*;

    /// What both ways of reading say about bytes.
    fn same(bytes: &[u8]) {
        let shown = String::from_utf8_lossy(bytes);
        match (Content::of_manifest(bytes, "x"), Catalog::read(bytes, "x")) {
            (Ok(content), Ok(catalog)) => {
                assert_eq!(content.id, catalog.id, "{shown}");
                assert_eq!(content.format, Some(catalog.format), "{shown}");
                assert_eq!(content.broken, catalog.broken, "{shown}");
                let slim: Vec<&Contract> = content.contracts.iter().map(|one| &one.about).collect();
                assert_eq!(slim.len(), catalog.contracts.len(), "{shown}");
                for (listed, whole) in content.contracts.iter().zip(&catalog.contracts) {
                    let start = usize::try_from(listed.place.offset).unwrap();
                    let text = &bytes[start..start + listed.place.length];
                    let again = Contract::read(&serde_json::from_slice(text).unwrap()).unwrap();
                    assert_eq!(again, *whole, "{shown}");
                }
            }
            (Err(one), Err(other)) => {
                // where in the text it is no JSON may be told in another way
                if !matches!(one, ManifestError::NotJson(_)) {
                    assert_eq!(one, other, "{shown}");
                }
            }
            (one, other) => panic!("{one:?} and {other:?} of {shown}"),
        }
    }

    #[test]
    fn a_manifest_is_read_piece_by_piece_as_it_is_read_whole() {
        let v0 = include_bytes!("../../../catalog/tests/fixtures/manifest_v0.json");
        let v1 = include_bytes!("../../../catalog/tests/fixtures/manifest_v1.json");
        let entropy = SeededEntropy::new(7);
        let mut random = [0; 4];
        for manifest in [&v0[..], &v1[..]] {
            same(manifest);
            for length in (0..manifest.len()).step_by(97) {
                same(&manifest[..length]);
            }
            for _ in 0..2_000 {
                let mut bytes = manifest.to_vec();
                entropy.fill(&mut random);
                let at = u32::from_le_bytes(random) as usize % bytes.len();
                entropy.fill(&mut random);
                bytes[at] = b"{}[]\",:0ae\\ \n\xff"[random[0] as usize % 14];
                same(&bytes);
            }
        }
        for odd in [
            "",
            "{}",
            "[]",
            "null",
            "7",
            r#"{"contracts": 1}"#,
            r#"{"id": "a", "version": "1", "contracts": [[], {}]}"#,
        ] {
            same(odd.as_bytes());
        }
    }
}
