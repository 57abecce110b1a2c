//! Stored elements to STIX 2.1 objects, as clients of upstream expect them: what STIX has stands at the top level, the rest in the
//! OpenCTI and MITRE extensions. Decoding the result gives the same element again.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{date, fill::EXTENSIONS, plan, special, value::is_empty};
use crate::{
    EntityType, StixId,
    registry::{Attribute, Category, Kind, Reference},
    representative::representative,
};

/// A stored element with everything its STIX object says.
#[derive(Debug, Clone)]
pub struct StixView<'a> {
    /// Its type.
    pub kind: &'static EntityType,
    /// Its standard id.
    pub standard: StixId,
    /// Its internal id.
    pub internal: Uuid,
    /// When the platform got it (stored form).
    pub created_at: &'a str,
    /// When the platform changed it last (stored form).
    pub updated_at: &'a str,
    /// Its attributes.
    pub attributes: &'a Map<String, Value>,
    /// Other STIX ids under which it is known.
    pub stix_ids: &'a [StixId],
    /// What it refers to.
    pub refs: Vec<(&'a Reference, Vec<RefTarget<'a>>)>,
    /// Source and target of a relationship or sighting.
    pub ends: Option<(RefTarget<'a>, RefTarget<'a>)>,
}

/// What a reference or an end points to.
#[derive(Debug, Clone)]
pub struct RefTarget<'a> {
    /// Its type; `None` for users.
    pub kind: Option<&'static EntityType>,
    /// Its standard id; `None` for users.
    pub standard: Option<StixId>,
    /// Its internal id.
    pub internal: Uuid,
    /// Its attributes, from which labels, external references and kill chain phases are written out.
    pub attributes: &'a Map<String, Value>,
    /// What it refers to itself; asked for only where it is [written within](is_written_within) its owner.
    pub refs: Vec<(&'a Reference, StixId)>,
}

/// Whether the targets of a reference are written within the object instead of being named by their ids, so that what they refer to must
/// be written there as well.
#[must_use]
pub fn is_written_within(reference: &Reference) -> bool {
    matches!(reference.name.as_str(), "winRegValues" | "bodyMultipart")
}

/// Types that STIX 2.1 itself defines.
const NATIVE: &[&str] = &[
    "attack-pattern",
    "campaign",
    "course-of-action",
    "grouping",
    "identity",
    "incident",
    "indicator",
    "infrastructure",
    "intrusion-set",
    "location",
    "malware",
    "malware-analysis",
    "note",
    "observed-data",
    "opinion",
    "report",
    "threat-actor",
    "tool",
    "vulnerability",
    "relationship",
    "sighting",
    "marking-definition",
    "artifact",
    "autonomous-system",
    "directory",
    "domain-name",
    "email-addr",
    "email-message",
    "file",
    "ipv4-addr",
    "ipv6-addr",
    "mac-addr",
    "mutex",
    "network-traffic",
    "process",
    "software",
    "url",
    "user-account",
    "windows-registry-key",
    "x509-certificate",
];

/// An object under construction: the top level and its extensions.
#[derive(Default)]
struct Writer {
    top: Map<String, Value>,
    extensions: Map<String, Value>,
}

impl Writer {
    fn extension(&mut self, id: &str) -> &mut Map<String, Value> {
        let slot = self
            .extensions
            .entry(id)
            .or_insert_with(|| Value::Object(Map::new()));
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        match slot {
            Value::Object(members) => members,
            _ => unreachable!("the slot was made an object"),
        }
    }

    /// Puts a value under a path such as `name`, `goals[]`, `ext.octi.score`, `x509_v3_extensions.key_usage`.
    fn put(&mut self, path: &str, value: Value) {
        let (place, key) = match path.strip_prefix("ext.") {
            Some(rest) => rest.split_once('.').unwrap_or((rest, "")),
            None => ("", path),
        };
        let head = key.find(['[', '.']).map_or(key, |at| &key[..at]);
        let group = key
            .get(head.len()..)
            .and_then(|rest| rest.strip_prefix('.'))
            .map(|member| member.trim_end_matches("[]"));
        match (place, group) {
            ("octi", _) => self
                .extension(plan::EXTENSION_OCTI)
                .insert(head.to_owned(), value),
            ("octi_sco", _) => self
                .extension(plan::EXTENSION_SCO)
                .insert(head.to_owned(), value),
            ("mitre", _) => self
                .extension(plan::EXTENSION_MITRE)
                .insert(head.to_owned(), value),
            (_, Some(member)) if head.starts_with("windows-") => {
                self.extension(head).insert(member.to_owned(), value)
            }
            (_, Some(member)) => {
                if let Value::Object(members) = self
                    .top
                    .entry(head)
                    .or_insert_with(|| Value::Object(Map::new()))
                {
                    members.insert(member.to_owned(), value);
                }
                None
            }
            _ => self.top.insert(head.to_owned(), value),
        };
    }
}

/// The STIX 2.1 object of an element.
#[must_use]
pub fn encode(view: &StixView<'_>) -> Value {
    let mut writer = Writer::default();
    let kind = view.kind;
    let native = NATIVE.contains(&kind.stix_type.as_str());
    writer.top.insert("type".to_owned(), json!(kind.stix_type));
    writer.top.insert("spec_version".to_owned(), json!("2.1"));
    writer
        .top
        .insert("id".to_owned(), json!(view.standard.to_string()));
    header(view, native, &mut writer);
    if let Some((source, target)) = &view.ends {
        ends(kind, source, target, &mut writer);
    }
    if let Some(class) = special::identity_class(kind) {
        writer.top.insert(
            "identity_class".to_owned(),
            json!(if class == "securityplatform" {
                "securityplatform"
            } else {
                class
            }),
        );
    }
    if kind.name == "Marking-Definition" {
        marking(view, &mut writer);
    }
    for (name, value) in view.attributes {
        attribute(kind, name, value, &mut writer);
    }
    for (reference, targets) in &view.refs {
        references(kind, reference, targets, &mut writer);
    }
    separate_ends(&mut writer.top);
    if !writer.extensions.is_empty() {
        writer
            .top
            .insert("extensions".to_owned(), Value::Object(writer.extensions));
    }
    Value::Object(writer.top)
}

fn header(view: &StixView<'_>, native: bool, writer: &mut Writer) {
    let form = match (native, view.kind.category) {
        (true, _) => "property-extension",
        (false, Category::Observable) => "new-sco",
        (false, Category::Relationship | Category::Sighting) => "new-sro",
        (false, Category::Domain | Category::Meta) => "new-sdo",
    };
    let octi = writer.extension(plan::EXTENSION_OCTI);
    octi.insert("extension_type".to_owned(), json!(form));
    octi.insert("id".to_owned(), json!(view.internal));
    octi.insert("type".to_owned(), json!(view.kind.name));
    octi.insert("created_at".to_owned(), json!(view.created_at));
    octi.insert("updated_at".to_owned(), json!(view.updated_at));
    octi.insert("is_inferred".to_owned(), json!(false));
    if let Some(creators) = view
        .attributes
        .get("creator_id")
        .filter(|creators| !is_empty(creators))
    {
        octi.insert("creator_ids".to_owned(), creators.clone());
    }
    if !view.stix_ids.is_empty() {
        // ids of version 1 are transient and are not handed on
        let ids: Vec<String> = view
            .stix_ids
            .iter()
            .filter(|id| id.uuid.get_version_num() != 1)
            .map(ToString::to_string)
            .collect();
        octi.insert("stix_ids".to_owned(), json!(ids));
    }
    if view.kind.category == Category::Observable && native {
        writer
            .extension(plan::EXTENSION_SCO)
            .insert("extension_type".to_owned(), json!("property-extension"));
    }
}

fn ends(kind: &EntityType, source: &RefTarget<'_>, target: &RefTarget<'_>, writer: &mut Writer) {
    let id = |end: &RefTarget<'_>| {
        end.standard
            .map_or_else(|| end.internal.to_string(), |id| id.to_string())
    };
    let name = |end: &RefTarget<'_>| {
        end.kind
            .map(|kind| representative(kind, end.attributes))
            .unwrap_or_default()
    };
    let type_name = |end: &RefTarget<'_>| end.kind.map_or("User", |kind| kind.name.as_str());
    if kind.category == Category::Sighting {
        writer
            .top
            .insert("sighting_of_ref".to_owned(), json!(id(source)));
        writer
            .top
            .insert("where_sighted_refs".to_owned(), json!([id(target)]));
        let octi = writer.extension(plan::EXTENSION_OCTI);
        octi.insert("sighting_of_value".to_owned(), json!(name(source)));
        octi.insert("sighting_of_ref".to_owned(), json!(source.internal));
        octi.insert("sighting_of_type".to_owned(), json!(type_name(source)));
        octi.insert("where_sighted_values".to_owned(), json!([name(target)]));
        octi.insert("where_sighted_refs".to_owned(), json!([target.internal]));
        octi.insert("where_sighted_types".to_owned(), json!([type_name(target)]));
        return;
    }
    writer
        .top
        .insert("relationship_type".to_owned(), json!(kind.name));
    writer
        .top
        .insert("source_ref".to_owned(), json!(id(source)));
    writer
        .top
        .insert("target_ref".to_owned(), json!(id(target)));
    let octi = writer.extension(plan::EXTENSION_OCTI);
    octi.insert("source_value".to_owned(), json!(name(source)));
    octi.insert("source_ref".to_owned(), json!(source.internal));
    octi.insert("source_type".to_owned(), json!(type_name(source)));
    octi.insert("target_value".to_owned(), json!(name(target)));
    octi.insert("target_ref".to_owned(), json!(target.internal));
    octi.insert("target_type".to_owned(), json!(type_name(target)));
}

fn attribute(kind: &'static EntityType, name: &str, value: &Value, writer: &mut Writer) {
    if is_empty(value) {
        return;
    }
    let Some(attribute) = kind.attribute(name) else {
        if name == EXTENSIONS {
            if let Value::Object(extensions) = value {
                for (id, extension) in extensions {
                    writer.extensions.insert(id.clone(), extension.clone());
                }
            }
        } else {
            writer.top.insert(name.to_owned(), value.clone());
        }
        return;
    };
    if !plan::is_input(attribute)
        || is_written_elsewhere(kind, name)
        || is_unknown_date(attribute, value)
    {
        return;
    }
    if name == "coverage_information" {
        writer.put("coverage", coverage(value));
        return;
    }
    if name == "environment_variables" {
        writer.put(name, environment(value));
        return;
    }
    if name == "hashes" {
        writer.put("hashes", value.clone());
        return;
    }
    let extended = attribute.stix.iter().any(|path| path.starts_with("ext."));
    let mut written = false;
    for path in &attribute.stix {
        let foreign = path != name && kind.attribute(path).is_some();
        if !foreign && (!extended || path.starts_with("ext.")) {
            writer.put(path, value.clone());
            written = true;
        }
    }
    if !written {
        unlisted(kind, name, value, writer);
    }
}

/// Attributes that upstream exports nowhere: aliases and the common properties of STIX under their own name, others in the extension.
fn unlisted(kind: &EntityType, name: &str, value: &Value, writer: &mut Writer) {
    let common = matches!(
        name,
        "aliases" | "created" | "modified" | "lang" | "confidence" | "revoked"
    );
    if common || kind.category == Category::Meta {
        writer.top.insert(name.to_owned(), value.clone());
    } else {
        let key = name.strip_prefix("x_opencti_").unwrap_or(name);
        writer
            .extension(plan::EXTENSION_OCTI)
            .insert(key.to_owned(), value.clone());
    }
}

/// Attributes that are written by the code of their type, or follow from the type.
fn is_written_elsewhere(kind: &EntityType, name: &str) -> bool {
    matches!(
        name,
        "identity_class" | "x_opencti_location_type" | "x_opencti_stix_ids" | "x_opencti_files"
    ) || (kind.name == "Marking-Definition" && matches!(name, "definition" | "definition_type"))
        || (kind.name == "Marking-Definition" && name == "created")
}

fn is_unknown_date(attribute: &Attribute, value: &Value) -> bool {
    attribute.kind == Kind::Date
        && value
            .as_str()
            .and_then(date::parse)
            .is_some_and(date::is_unknown)
}

fn environment(value: &Value) -> Value {
    let Value::Array(items) = value else {
        return value.clone();
    };
    let members = items.iter().filter_map(Value::as_str).map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), json!(value))
    });
    Value::Object(members.collect())
}

/// STIX wants the end of a period after its start.
fn separate_ends(top: &mut Map<String, Value>) {
    for (start, end) in [("start_time", "stop_time"), ("valid_from", "valid_until")] {
        let millis = |name: &str| top.get(name).and_then(Value::as_str).and_then(date::parse);
        if let (Some(from), Some(until)) = (millis(start), millis(end))
            && from == until
            && let Some(later) = date::format(until + 1000)
        {
            top.insert(end.to_owned(), Value::String(later));
        }
    }
}

fn coverage(value: &Value) -> Value {
    let Value::Array(items) = value else {
        return value.clone();
    };
    items
        .iter()
        .map(|item| json!({"name": item.get("coverage_name").unwrap_or(&Value::Null), "score": item.get("coverage_score").unwrap_or(&Value::Null)}))
        .collect()
}

/// The four levels of TLP 1 have objects that STIX 2.1 (section 7.2.1.4) fixes to the letter; TLP:CLEAR is the later name of white.
fn marking(view: &StixView<'_>, writer: &mut Writer) {
    const FIXED: &[&str] = &[
        "TLP:CLEAR",
        "TLP:WHITE",
        "TLP:GREEN",
        "TLP:AMBER",
        "TLP:RED",
    ];
    let text = |name: &str| {
        view.attributes
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (definition_type, definition) = (text("definition_type"), text("definition"));
    writer.top.insert("name".to_owned(), json!(definition));
    if definition_type.eq_ignore_ascii_case("tlp") && FIXED.contains(&definition) {
        let level = definition.trim_start_matches("TLP:").to_lowercase();
        let level = if level == "clear" { "white" } else { &level };
        writer
            .top
            .insert("created".to_owned(), json!("2017-01-20T00:00:00.000Z"));
        writer
            .top
            .insert("definition_type".to_owned(), json!("tlp"));
        writer
            .top
            .insert("definition".to_owned(), json!({"tlp": level}));
        return;
    }
    if let Some(created) = view.attributes.get("created") {
        writer.top.insert("created".to_owned(), created.clone());
    }
    if definition_type == "statement" {
        writer
            .top
            .insert("definition_type".to_owned(), json!("statement"));
        writer
            .top
            .insert("definition".to_owned(), json!({"statement": definition}));
    } else {
        writer.top.insert(
            "x_opencti_definition_type".to_owned(),
            json!(definition_type),
        );
        writer
            .top
            .insert("x_opencti_definition".to_owned(), json!(definition));
    }
}

fn references(
    kind: &EntityType,
    reference: &Reference,
    targets: &[RefTarget<'_>],
    writer: &mut Writer,
) {
    if targets.is_empty() {
        return;
    }
    let is_id_path = |path: &str| {
        path.starts_with("ext.octi.") && (path.ends_with("_id") || path.ends_with("_ids[]"))
    };
    let internal: Vec<Value> = targets
        .iter()
        .map(|target| json!(target.internal))
        .collect();
    let mut written = false;
    let mut done: Vec<&str> = Vec::new();
    for path in &reference.paths {
        let base = path.split("[]").next().unwrap_or(path);
        if done.contains(&base) {
            continue;
        }
        done.push(base);
        if is_id_path(path) {
            let value = if reference.multiple {
                Value::Array(internal.clone())
            } else {
                internal[0].clone()
            };
            writer.put(path, value);
            // users have no other id
            written |= targets.iter().all(|target| target.standard.is_none());
        } else {
            let single_only = !base.starts_with("ext.") && base.ends_with("_ref");
            if single_only && targets.len() > 1 {
                // STIX has room for one; the list goes beside it
                writer.put(base, written_out(reference, targets, true));
                let value = written_out(reference, targets, false);
                writer
                    .extension(plan::EXTENSION_SCO)
                    .insert(reference.stix.clone(), value);
            } else {
                writer.put(
                    path,
                    written_out(reference, targets, single_only || !reference.multiple),
                );
            }
            written = true;
        }
    }
    if !written {
        let value = written_out(reference, targets, !reference.multiple);
        let native_observable =
            kind.category == Category::Observable && NATIVE.contains(&kind.stix_type.as_str());
        if native_observable {
            writer
                .extension(plan::EXTENSION_SCO)
                .insert(reference.stix.clone(), value);
        } else {
            writer.top.insert(reference.stix.clone(), value);
        }
    }
}

fn written_out(reference: &Reference, targets: &[RefTarget<'_>], single: bool) -> Value {
    let each =
        |write: fn(&RefTarget<'_>) -> Value| Value::Array(targets.iter().map(write).collect());
    match reference.name.as_str() {
        "objectLabel" => each(|target| target.attributes.get("value").cloned().unwrap_or_default()),
        "externalReferences" => each(|target| {
            chosen(
                target,
                &["source_name", "description", "url", "external_id"],
            )
        }),
        "killChainPhases" => each(|target| {
            let mut phase = chosen(target, &["kill_chain_name", "phase_name"]);
            if let Some(order) = target
                .attributes
                .get("x_opencti_order")
                .filter(|order| order.as_i64() != Some(0))
            {
                phase["x_opencti_order"] = order.clone();
            }
            phase
        }),
        "winRegValues" => each(|target| chosen(target, &["name", "data", "data_type"])),
        "bodyMultipart" => each(|target| {
            let mut part = chosen(target, &["body", "content_type", "content_disposition"]);
            let raw = target.refs.iter().find(|(own, _)| own.name == "bodyRaw");
            if let Some((own, id)) = raw {
                part[own.stix.as_str()] = json!(id.to_string());
            }
            part
        }),
        _ => {
            let id = |target: &RefTarget<'_>| {
                json!(
                    target
                        .standard
                        .map_or_else(|| target.internal.to_string(), |id| id.to_string())
                )
            };
            if single {
                id(&targets[0])
            } else {
                targets.iter().map(id).collect()
            }
        }
    }
}

fn chosen(target: &RefTarget<'_>, names: &[&str]) -> Value {
    let members = names.iter().filter_map(|name| {
        let value = target
            .attributes
            .get(*name)
            .filter(|value| !is_empty(value))?;
        Some(((*name).to_owned(), value.clone()))
    });
    Value::Object(members.collect())
}
