//! One entry of a catalog: what a connector is, how it is started, and what it has to be told.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    hash::hex,
    launch::Launch,
    read::{FieldFault, Fields, kind},
    schema::{Schema, SchemaFault},
    version::{compare, in_range},
};

/// What connectors do, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectorType {
    /// Brings knowledge in.
    ExternalImport,
    /// Enriches what is there.
    InternalEnrichment,
    /// Reads files that people upload.
    InternalImportFile,
    /// Writes files for people.
    InternalExportFile,
    /// Looks at texts.
    InternalAnalysis,
    /// Follows the stream of changes.
    Stream,
}

impl ConnectorType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ExternalImport,
        Self::InternalEnrichment,
        Self::InternalImportFile,
        Self::InternalExportFile,
        Self::InternalAnalysis,
        Self::Stream,
    ];

    /// The name that clients know, e.g. `EXTERNAL_IMPORT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ExternalImport => "EXTERNAL_IMPORT",
            Self::InternalEnrichment => "INTERNAL_ENRICHMENT",
            Self::InternalImportFile => "INTERNAL_IMPORT_FILE",
            Self::InternalExportFile => "INTERNAL_EXPORT_FILE",
            Self::InternalAnalysis => "INTERNAL_ANALYSIS",
            Self::Stream => "STREAM",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// Why a contract cannot be used. It is listed with this, and hides no other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractFault {
    /// The entry is no object.
    #[error("a contract must be an object, it is {found}")]
    NotAnObject {
        /// What it is, with its article.
        found: &'static str,
    },
    /// A file that is no JSON.
    #[error("the file is not JSON: {0}")]
    NotJson(String),
    /// A field is missing or of another type.
    #[error(transparent)]
    Field(#[from] FieldFault),
    /// A type of connector that does not exist.
    #[error(
        "`container_type` is `{found}`; it must be one of {}",
        ConnectorType::names()
    )]
    UnknownType {
        /// What it says.
        found: String,
    },
    /// A name of an image that no registry accepts, or one with a tag.
    #[error(
        "`container_image` is `{found}`; it must be the name of an image without tag or digest"
    )]
    Image {
        /// What it says.
        found: String,
    },
    /// The schema of its configuration cannot be used.
    #[error("config_schema: {0}")]
    Schema(#[from] SchemaFault),
    /// How it is started cannot be read.
    #[error("`launch` cannot be read: {0}")]
    Launch(String),
    /// Another contract has the same slug and version; the first one counts.
    #[error("`{slug}` is there in version `{version}` already; the first one is used")]
    Duplicate {
        /// Slug of both.
        slug: String,
        /// Version of both.
        version: String,
    },
    /// Another connector has the same image; the first one counts.
    #[error("the image `{image}` belongs to `{owner}` already; the first one is used")]
    ImageTaken {
        /// The image.
        image: String,
        /// Slug of the connector that has it.
        owner: String,
    },
}

/// Something that is no reason to refuse a contract, but should be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// It says that it can be managed, and has no schema.
    #[error("there is no schema: its settings cannot be checked")]
    NoSchema,
    /// The supported versions cannot be read, so it counts as not compatible.
    #[error("the supported platform versions `{0}` cannot be read; it counts as not compatible")]
    UnreadableRange(String),
    /// A keyword of the schema that is not checked.
    #[error("`{keyword}` of `{key}` is not checked")]
    Unchecked {
        /// The property.
        key: String,
        /// The keyword.
        keyword: String,
    },
}

/// Whether a contract fits a platform version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compatibility {
    /// It fits, or says nothing about it.
    Compatible,
    /// It is for other versions.
    Incompatible,
    /// What it says cannot be read.
    Unreadable,
}

/// One entry of a catalog, whatever format it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// Id in formats that have one, `<slug>-<version>`.
    pub id: String,
    /// Name for people.
    pub title: String,
    /// Name for programs; one connector has one slug in all versions.
    pub slug: String,
    /// What it does.
    pub description: String,
    /// The same in a sentence.
    pub short_description: String,
    /// A picture as data URL, or the path of one.
    pub logo: Option<String>,
    /// What it is good for.
    pub use_cases: Vec<String>,
    /// The kinds of product it belongs to.
    pub solution_categories: Vec<String>,
    /// `Free` or `Commercial`.
    pub license_type: Option<String>,
    /// Who answers questions.
    pub contact: Option<String>,
    /// Whether the catalog's makers have tried it.
    pub verified: bool,
    /// When.
    pub last_verified_date: Option<String>,
    /// Whether playbooks can use it.
    pub playbook_supported: bool,
    /// The confidence proposed for its user, 0 to 100.
    pub max_confidence_level: Option<u8>,
    /// Range of platform versions, e.g. `>=6.5.1`.
    pub support_version: Option<String>,
    /// Least platform version.
    pub min_version: Option<String>,
    /// Greatest platform version.
    pub max_version: Option<String>,
    /// Where one subscribes.
    pub subscription_link: Option<String>,
    /// Where its source is.
    pub source_code: Option<String>,
    /// Whether a composer can run it.
    pub manager_supported: bool,
    /// Its version, which is the tag of its image.
    pub version: String,
    /// Its image without tag.
    pub image: String,
    /// What it does.
    pub connector_type: ConnectorType,
    /// What it has to be told; `None`: unknown, any setting is passed on.
    pub schema: Option<Schema>,
    /// How it is started when not by its image: ours, upstream has no such thing.
    pub launch: Option<Launch>,
}

impl Contract {
    /// Reads one contract with the names of either format.
    ///
    /// # Errors
    /// The first thing that makes it unusable.
    pub fn read(value: &Value) -> Result<Self, ContractFault> {
        let fields = Fields(
            value
                .as_object()
                .ok_or(ContractFault::NotAnObject { found: kind(value) })?,
        );
        let nothing = Map::new();
        let more = Fields(fields.object("additional_properties")?.unwrap_or(&nothing));
        let title = fields.needed(&["title"])?;
        let slug = fields.needed(&["slug"])?;
        let image = fields.needed(&["container_image", "image_name"])?;
        if !is_image(&image) {
            return Err(ContractFault::Image { found: image });
        }
        let type_name = fields.needed(&["container_type", "image_type"])?;
        let connector_type =
            ConnectorType::of(&type_name).ok_or(ContractFault::UnknownType { found: type_name })?;
        let version = fields.needed(&["container_version", "version"])?;
        let launch = fields
            .get("launch")
            .map(|launch| serde_json::from_value(launch.clone()))
            .transpose()
            .map_err(|error: serde_json::Error| ContractFault::Launch(error.to_string()))?;
        let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        Ok(Self {
            id: match fields.text("contract_id")?.or(fields.text("id")?) {
                Some(id) if !id.is_empty() => id,
                _ => format!("{slug}-{version}"),
            },
            description: fields.text("description")?.unwrap_or_default(),
            short_description: fields.text("short_description")?.unwrap_or_default(),
            logo: filled(fields.text("logo")?),
            use_cases: fields.texts("use_cases")?.unwrap_or_default(),
            solution_categories: fields.texts("solution_categories")?.unwrap_or_default(),
            license_type: filled(fields.text("license_type")?),
            contact: filled(fields.text("contact")?),
            verified: fields.flag("verified")?.unwrap_or_default(),
            last_verified_date: filled(fields.text("last_verified_date")?),
            playbook_supported: fields
                .flag("playbook_supported")?
                .or(more.flag("playbook_supported")?)
                .unwrap_or_default(),
            max_confidence_level: fields
                .confidence("max_confidence_level")?
                .or(more.confidence("max_confidence_level")?),
            support_version: filled(fields.text("support_version")?),
            min_version: filled(fields.text("min_version")?),
            max_version: filled(fields.text("max_version")?),
            subscription_link: filled(fields.text("subscription_link")?),
            source_code: filled(fields.text("source_code")?),
            manager_supported: fields.flag("manager_supported")?.unwrap_or_default(),
            schema: fields.get("config_schema").map(Schema::read).transpose()?,
            title,
            slug,
            version,
            image,
            connector_type,
            launch,
        })
    }

    /// The contract with the names that clients and platforms exchange (those of the older format), whole: what a managed connector keeps of
    /// the contract it was made from. [`Contract::read`] reads it again.
    #[must_use]
    pub fn document(&self) -> Value {
        let schema = self
            .schema
            .as_ref()
            .map(|schema| Value::Object(schema.document().clone()));
        self.with_schema(schema)
    }

    /// The same as people are asked with it: without what the platform gives (upstream's `contract` and `catalogs`).
    #[must_use]
    pub fn asked(&self) -> Value {
        self.with_schema(self.schema.as_ref().map(Schema::prepared))
    }

    fn with_schema(&self, schema: Option<Value>) -> Value {
        let mut out = json!({
            "contract_id": self.id,
            "title": self.title,
            "slug": self.slug,
            "description": self.description,
            "short_description": self.short_description,
            "logo": self.logo,
            "use_cases": self.use_cases,
            "solution_categories": self.solution_categories,
            "license_type": self.license_type,
            "contact": self.contact,
            "verified": self.verified,
            "last_verified_date": self.last_verified_date,
            "playbook_supported": self.playbook_supported,
            "max_confidence_level": self.max_confidence_level,
            "support_version": self.support_version,
            "min_version": self.min_version,
            "max_version": self.max_version,
            "subscription_link": self.subscription_link,
            "source_code": self.source_code,
            "manager_supported": self.manager_supported,
            "container_version": self.version,
            "container_image": self.image,
            "container_type": self.connector_type.name(),
        });
        let mut set = |key: &str, value: Option<Value>| {
            if let (Some(value), Some(map)) = (value, out.as_object_mut()) {
                map.insert(key.to_owned(), value);
            }
        };
        set("config_schema", schema);
        set(
            "launch",
            self.launch
                .as_ref()
                .and_then(|launch| serde_json::to_value(launch).ok()),
        );
        out
    }

    /// What tells whether a contract changed under its version: SHA-256 of its document with sorted keys, hexadecimal.
    #[must_use]
    pub fn content_hash(&self) -> String {
        let canonical =
            serde_json_canonicalizer::to_vec(&self.document()).unwrap_or_else(|_| Vec::new());
        hex(&Sha256::digest(canonical))
    }

    /// The image with its tag, or with its digest when its version is one.
    #[must_use]
    pub fn image_reference(&self) -> String {
        // no tag has a colon
        let sign = if self.version.contains(':') { '@' } else { ':' };
        format!("{}{sign}{}", self.image, self.version)
    }

    /// How it is started.
    #[must_use]
    pub fn launch(&self) -> Launch {
        self.launch.clone().unwrap_or_else(|| Launch::Image {
            image: self.image_reference(),
        })
    }

    /// Whether it fits a platform version: the range when there is one, else least and greatest version; nothing said: it fits.
    #[must_use]
    pub fn compatibility(&self, platform: &str) -> Compatibility {
        let fits = match (&self.support_version, &self.min_version, &self.max_version) {
            (Some(range), ..) => in_range(platform, range),
            (None, least, greatest) => {
                let least = least.as_ref().map_or(Some(true), |least| {
                    in_range(platform, &format!(">={least}"))
                });
                let greatest = greatest.as_ref().map_or(Some(true), |greatest| {
                    in_range(platform, &format!("<={greatest}"))
                });
                least.zip(greatest).map(|(a, b)| a && b)
            }
        };
        match fits {
            Some(true) => Compatibility::Compatible,
            Some(false) => Compatibility::Incompatible,
            None => Compatibility::Unreadable,
        }
    }

    /// Which of two contracts is the newer one.
    #[must_use]
    pub fn compare_versions(&self, other: &Self) -> std::cmp::Ordering {
        compare(&self.version, &other.version)
    }

    /// What should be known about it before it is used.
    #[must_use]
    pub fn remarks(&self) -> Vec<Remark> {
        let mut out = Vec::new();
        match &self.schema {
            None if self.manager_supported => out.push(Remark::NoSchema),
            None => {}
            Some(schema) => {
                out.extend(
                    schema
                        .unchecked()
                        .iter()
                        .map(|(key, keyword)| Remark::Unchecked {
                            key: key.clone(),
                            keyword: keyword.clone(),
                        }),
                );
            }
        }
        // any version tells whether the range can be read
        if self.compatibility("1.0.0") == Compatibility::Unreadable {
            let range = [&self.support_version, &self.min_version, &self.max_version]
                .into_iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ");
            out.push(Remark::UnreadableRange(range));
        }
        out
    }
}

/// Whether a text is the name of an image without tag and digest; a registry before the first slash may have a port.
pub(crate) fn is_image(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    let registry_only = |c: char| c == ':';
    name.split('/').enumerate().all(|(index, part)| {
        let first = index == 0 && name.contains('/');
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| {
                c.is_ascii_alphanumeric() || "._-".contains(c) || first && registry_only(c)
            })
    }) && !last.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_have_no_tag() {
        for (name, right) in [
            ("opencti/connector-mitre", true),
            ("mitre", true),
            ("registry.example:5000/team/x", true),
            ("opencti/connector-mitre:latest", false),
            ("x@sha256:00", false),
            ("x:1", false),
            ("a//b", false),
            ("/a", false),
            ("a b", false),
            ("", false),
            ("a/", false),
        ] {
            assert_eq!(is_image(name), right, "{name}");
        }
    }
}
