//! Fills one element from the properties of a STIX object, as its type's plan says.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    Decoded, Dropped, RefusalReason, check, implied,
    plan::{self, Plan, RANK_OCTI, RANK_OTHER, RANK_SCO, Target},
    shorten,
    value::{self, ValueError},
};
use crate::{
    Element, EntityType, Ident, StixId,
    id::IdError,
    list,
    registry::{Attribute, Kind, Reference},
};

/// Custom extensions are kept in this attribute, by extension id.
pub const EXTENSIONS: &str = "x_extensions";

/// An element under construction.
pub struct Filled {
    pub element: Element,
    pub implied: Vec<Element>,
    pub dropped: Vec<Dropped>,
    implied_ids: HashSet<StixId>,
}

/// Distributes the properties of `object` over attributes and references. Ends and the object's own id are the caller's.
pub fn fill(
    kind: &'static EntityType,
    object: Map<String, Value>,
) -> Result<Filled, RefusalReason> {
    let plan = plan::of(kind);
    let mut filled = Filled {
        element: Element::new(kind),
        implied: Vec::new(),
        dropped: Vec::new(),
        implied_ids: HashSet::new(),
    };
    let mut later: Vec<(u8, Target, String, Value)> = Vec::new();
    let mut extensions = Map::new();
    let mut unknown = None;
    for (property, value) in object {
        if property == "extensions" {
            if let Value::Object(members) = value {
                extensions = members;
            }
            continue;
        }
        match plan.top.get(property.as_str()) {
            Some((Target::Ignore, _)) => {}
            Some((Target::Group, _)) => filled.group(plan, &property, value, &mut later),
            Some((target, 0)) => filled.set(*target, &property, value)?,
            Some((target, rank)) => later.push((*rank, *target, property, value)),
            None if property.starts_with("x_") => filled.set(Target::Verbatim, &property, value)?,
            None => {
                unknown.get_or_insert((property, value));
            }
        }
    }
    let open = filled.extensions(plan, extensions, &mut later);
    if let Some((property, value)) = unknown {
        if !open {
            return Err(RefusalReason::UnknownProperty {
                property: shorten(&property),
                kind: kind.name.clone(),
            });
        }
        filled.set(Target::Verbatim, &property, value)?;
    }
    later.sort_by_key(|(rank, ..)| *rank);
    for (_, target, property, value) in later {
        filled.set(target, &property, value)?;
    }
    Ok(filled)
}

impl Filled {
    /// Completes and checks what was filled.
    pub fn finish(mut self) -> Result<Decoded, RefusalReason> {
        check::finish(self.element.kind, &mut self.element.attributes)?;
        check::required(&self.element)?;
        Ok(Decoded {
            elements: vec![self.element],
            implied: self.implied,
            dropped: self.dropped,
        })
    }

    /// Queues what the extensions say. True when one of them declares properties at the top level.
    fn extensions(
        &mut self,
        plan: &Plan,
        extensions: Map<String, Value>,
        later: &mut Vec<(u8, Target, String, Value)>,
    ) -> bool {
        let mut open = false;
        let mut kept = Map::new();
        for (id, value) in extensions {
            let known = match id.as_str() {
                plan::EXTENSION_OCTI => Some((&plan.octi, RANK_OCTI)),
                plan::EXTENSION_SCO => Some((&plan.sco, RANK_SCO)),
                plan::EXTENSION_MITRE => Some((&plan.mitre, RANK_OTHER)),
                group => plan.groups.get(group).map(|table| (table, RANK_OTHER)),
            };
            match (known, value) {
                (Some((table, rank)), Value::Object(members)) => {
                    for (key, value) in members {
                        if let Some(target) = table.get(key.as_str()) {
                            later.push((rank, *target, key, value));
                        }
                    }
                }
                (Some(_), _) => {}
                (None, value) => {
                    open |= value.get("extension_type").and_then(Value::as_str)
                        == Some("toplevel-property-extension");
                    kept.insert(id, value);
                }
            }
        }
        if !kept.is_empty() {
            self.element
                .attributes
                .insert(EXTENSIONS.to_owned(), Value::Object(kept));
        }
        open
    }

    fn group(
        &mut self,
        plan: &Plan,
        property: &str,
        value: Value,
        later: &mut Vec<(u8, Target, String, Value)>,
    ) {
        let (Some(table), Value::Object(members)) = (plan.groups.get(property), value) else {
            return;
        };
        for (key, value) in members {
            if let Some(target) = table.get(key.as_str()) {
                later.push((RANK_OTHER, *target, key, value));
            }
        }
    }

    /// Sets what `target` names unless something of a lower rank has set it.
    fn set(&mut self, target: Target, property: &str, value: Value) -> Result<(), RefusalReason> {
        if value.is_null() {
            return Ok(());
        }
        match target {
            Target::Attribute(attribute) => self.attribute(attribute, property, value),
            Target::Reference(reference) => self.reference(reference, property, value),
            Target::Labels(reference) => {
                self.implied_refs(reference, property, value, |item| match item {
                    Value::String(text) => implied::label(&text, None),
                    Value::Object(tag) => implied::label(
                        tag.get("value")?.as_str()?,
                        tag.get("color").and_then(Value::as_str),
                    ),
                    _ => None,
                })
            }
            Target::ExternalReferences(reference) => {
                self.implied_refs(reference, property, value, |item| match item {
                    Value::Object(given) => implied::external_reference(given),
                    _ => None,
                })
            }
            Target::KillChainPhases(reference) => {
                self.implied_refs(reference, property, value, |item| match item {
                    Value::Object(mut given) => {
                        let id = given.shift_remove("id");
                        let mut phase = implied::kill_chain_phase(given)?;
                        if let Some(id) = id
                            .as_ref()
                            .and_then(Value::as_str)
                            .and_then(|id| StixId::parse(id).ok())
                            && !phase.stix_ids.contains(&id)
                        {
                            phase.stix_ids.push(id);
                        }
                        Some(phase)
                    }
                    _ => None,
                })
            }
            Target::Embedded(reference, part) => self.embedded(reference, part, property, value),
            Target::StixIds => {
                self.stix_ids(value);
                Ok(())
            }
            Target::Files => {
                self.files(&value);
                Ok(())
            }
            Target::Derive => {
                self.element.derive |= value == Value::Bool(true);
                Ok(())
            }
            Target::Verbatim => {
                self.element.attributes.entry(property).or_insert(value);
                Ok(())
            }
            Target::Group | Target::Ignore => Ok(()),
        }
    }

    fn attribute(
        &mut self,
        attribute: &'static Attribute,
        property: &str,
        value: Value,
    ) -> Result<(), RefusalReason> {
        if self.element.attributes.contains_key(&attribute.name) {
            return Ok(());
        }
        let bad = |error: ValueError| RefusalReason::BadValue {
            property: shorten(property),
            error,
        };
        let Some(converted) = convert(attribute, value).map_err(bad)? else {
            return Ok(());
        };
        if let (Kind::Vocabulary, Some(category)) =
            (attribute.kind, attribute.vocabulary.as_deref())
        {
            self.vocabulary(category, &converted);
        }
        self.element
            .attributes
            .insert(attribute.name.clone(), converted);
        Ok(())
    }

    fn vocabulary(&mut self, category: &str, value: &Value) {
        let names: &[Value] = match value {
            Value::Array(items) => items,
            single => std::slice::from_ref(single),
        };
        for name in names.iter().filter_map(Value::as_str) {
            if let Some(entry) = implied::vocabulary(category, name) {
                self.imply(entry);
            }
        }
    }

    /// Lists that several properties feed are joined; of single references the first counts.
    fn reference(
        &mut self,
        reference: &'static Reference,
        property: &str,
        value: Value,
    ) -> Result<(), RefusalReason> {
        let place = self
            .element
            .refs
            .iter()
            .position(|(known, _)| known.name == reference.name);
        if place.is_some() && !reference.multiple {
            return Ok(());
        }
        let items = match value {
            Value::Array(items) => items,
            single => vec![single],
        };
        let mut targets = place.map_or_else(Vec::new, |at| self.element.refs.remove(at).1);
        let mut seen: HashSet<Ident> = targets.iter().copied().collect();
        for item in items {
            let text = match item {
                Value::String(text) if text.trim().is_empty() => continue,
                Value::String(text) => text,
                Value::Null => continue,
                _ => {
                    return Err(RefusalReason::BadValue {
                        property: shorten(property),
                        error: ValueError::Text,
                    });
                }
            };
            match Ident::parse(text.trim()) {
                Ok(ident) => {
                    if seen.insert(ident) {
                        targets.push(ident);
                    }
                }
                Err(IdError::UnknownType(id)) => {
                    self.dropped.push(Dropped::UnsupportedReference {
                        property: shorten(property),
                        id,
                    });
                }
                Err(error) => {
                    return Err(RefusalReason::BadReference {
                        property: shorten(property),
                        error,
                    });
                }
            }
        }
        if !reference.multiple {
            targets.truncate(1);
        }
        if !targets.is_empty() {
            self.element.refs.push((reference, targets));
        }
        Ok(())
    }

    /// A reference whose targets come along: each item of the list becomes an element.
    fn implied_refs(
        &mut self,
        reference: &'static Reference,
        property: &str,
        value: Value,
        make: impl Fn(Value) -> Option<Element>,
    ) -> Result<(), RefusalReason> {
        if self
            .element
            .refs
            .iter()
            .any(|(known, _)| known.name == reference.name)
        {
            return Ok(());
        }
        let items = match value {
            Value::Array(items) => items,
            Value::String(text) => vec![Value::String(text)],
            _ => {
                return Err(RefusalReason::BadValue {
                    property: shorten(property),
                    error: ValueError::Object,
                });
            }
        };
        let mut targets = Vec::with_capacity(items.len());
        for item in items {
            if let Some(element) = make(item) {
                targets.push(Ident::Stix(element.stix_ids[0]));
                self.imply(element);
            }
        }
        if !targets.is_empty() {
            self.element.refs.push((reference, list::unique(&targets)));
        }
        Ok(())
    }

    fn embedded(
        &mut self,
        reference: &'static Reference,
        part: &'static EntityType,
        property: &str,
        value: Value,
    ) -> Result<(), RefusalReason> {
        let Value::Array(items) = value else {
            return Err(RefusalReason::BadValue {
                property: shorten(property),
                error: ValueError::Object,
            });
        };
        let mut targets = Vec::with_capacity(items.len());
        for item in items {
            let Value::Object(item) = item else {
                return Err(RefusalReason::BadValue {
                    property: shorten(property),
                    error: ValueError::Object,
                });
            };
            let inner = fill(part, item)?.finish()?;
            for mut element in inner.elements {
                let Some(id) = implied::embedded_id(&element) else {
                    continue;
                };
                element.stix_ids.insert(0, id);
                targets.push(Ident::Stix(id));
                for element in inner.implied.iter().cloned().chain([element]) {
                    self.imply(element);
                }
            }
        }
        let targets = list::unique(&targets);
        if !targets.is_empty() {
            match self
                .element
                .refs
                .iter_mut()
                .find(|(known, _)| known.name == reference.name)
            {
                Some((_, known)) => known.extend(targets),
                None => self.element.refs.push((reference, targets)),
            }
        }
        Ok(())
    }

    /// Takes out references of an object to itself, which would wait for it for ever.
    pub fn leave_out(&mut self, own: StixId) {
        for (reference, targets) in &mut self.element.refs {
            if targets.contains(&Ident::Stix(own)) {
                targets.retain(|target| *target != Ident::Stix(own));
                self.dropped
                    .push(Dropped::SelfReference(reference.stix.clone()));
            }
        }
        self.element.refs.retain(|(_, targets)| !targets.is_empty());
    }

    fn imply(&mut self, element: Element) {
        let id = element.stix_ids.first().copied();
        if id.is_none_or(|id| self.implied_ids.insert(id)) {
            self.implied.push(element);
        }
    }

    /// Further ids that cannot be ids of the data model are no use to anybody and are left out.
    fn stix_ids(&mut self, value: Value) {
        let Value::Array(items) = value else { return };
        let given: Vec<StixId> = items
            .iter()
            .filter_map(Value::as_str)
            .filter_map(|id| StixId::parse(id.trim()).ok())
            .collect();
        let new = list::fresh(&self.element.stix_ids, &given);
        self.element.stix_ids.extend(new);
    }

    fn files(&mut self, value: &Value) {
        let Value::Array(files) = value else { return };
        for file in files
            .iter()
            .filter(|file| file.get("data").is_some_and(|data| !data.is_null()))
        {
            let name = file.get("name").and_then(Value::as_str).unwrap_or("?");
            self.dropped.push(Dropped::File(shorten(name)));
        }
    }
}

/// The stored form of an attribute's value, with what is special to some attributes.
pub fn convert(attribute: &Attribute, value: Value) -> Result<Option<Value>, ValueError> {
    if attribute.name == "hashes" {
        let hashes = value::hashes(value)?;
        return Ok((!hashes.is_empty()).then_some(Value::Object(hashes)));
    }
    let value = match value {
        Value::Object(variables) if attribute.name == "environment_variables" => {
            environment(variables)
        }
        value => value,
    };
    let converted = value::convert(attribute, value)?;
    Ok(match (attribute.kind, converted) {
        (Kind::Vocabulary, Some(value)) => vocabulary_value(value),
        (_, Some(Value::String(text))) if is_markdown(&attribute.name) => {
            Some(Value::String(markdown(text)))
        }
        (_, converted) => converted,
    })
}

/// STIX keeps environment variables as a dictionary, the data model as a list of `NAME=value`.
fn environment(variables: Map<String, Value>) -> Value {
    variables
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) if text.is_empty() => name,
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect()
}

/// Values of vocabularies are trimmed; blank ones say nothing.
fn vocabulary_value(value: Value) -> Option<Value> {
    let trim = |text: String| {
        let trimmed = text.trim();
        let same = trimmed.len() == text.len();
        (!trimmed.is_empty()).then(|| {
            Value::String(if same {
                text.clone()
            } else {
                trimmed.to_owned()
            })
        })
    };
    match value {
        Value::String(text) => trim(text),
        Value::Array(items) => {
            let mut seen = HashSet::new();
            let mut kept: Vec<Value> = items
                .into_iter()
                .filter_map(|item| match item {
                    Value::String(text) => trim(text),
                    _ => None,
                })
                .collect();
            kept.retain(|item| {
                item.as_str()
                    .is_some_and(|text| seen.insert(text.to_owned()))
            });
            Some(Value::Array(kept))
        }
        other => Some(other),
    }
}

fn is_markdown(attribute: &str) -> bool {
    matches!(
        attribute,
        "description"
            | "content"
            | "explanation"
            | "attribute_abstract"
            | "contact_information"
            | "x_opencti_description"
    )
}

/// Texts are Markdown: `<code>` becomes a code span, as clients write it.
pub fn markdown(text: String) -> String {
    if !text.contains("<code>") {
        return text;
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find("<code>") {
        let inner = &rest[start + 6..];
        let Some(end) = inner.find("</code>") else {
            break;
        };
        result.push_str(&rest[..start]);
        result.push('`');
        result.push_str(&inner[..end]);
        result.push('`');
        rest = &inner[end + 7..];
    }
    result.push_str(rest);
    result
}
