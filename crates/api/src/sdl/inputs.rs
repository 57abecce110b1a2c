//! Input types of the add mutations, and the enum of vocabularies.

use std::fmt::Write;

use ferrocti_model::registry::Category;
use ferrocti_model::{EntityType, Registry};

/// What `stixCyberObservableAdd` takes besides one argument per observable type.
const OBSERVABLE: &str = "type: String!, stix_id: StixId, x_opencti_stix_ids: [StixId], x_opencti_score: Int, \
    x_opencti_description: String, createIndicator: Boolean, createdBy: String, objectMarking: [String], \
    objectLabel: [String], objectOrganization: [String], externalReferences: [String], clientMutationId: String, \
    update: Boolean, upsertOperations: [EditInput!]";

/// Files that come with an object; present in every add input that takes files.
const FILES: [(&str, &str); 6] = [
    ("file", "Upload"),
    ("fileMarkings", "[String]"),
    ("files", "[Upload]"),
    ("filesMarkings", "[[String]]"),
    ("noTriggerImport", "[Boolean]"),
    ("embedded", "[Boolean]"),
];

/// Fields of the add input of a type, each name once: attributes, references, further ones.
pub(crate) fn fields(kind: &EntityType) -> Vec<(String, String)> {
    let attributes = kind
        .attributes
        .iter()
        .map(|attribute| (&attribute.name, attribute.input.as_ref()));
    let references = kind
        .refs
        .iter()
        .map(|reference| (&reference.name, reference.input.as_ref()));
    let further = kind
        .extra_input
        .iter()
        .map(|(name, input)| (name, Some(input)));
    let mut fields: Vec<(String, String)> = Vec::new();
    for (name, input) in attributes.chain(references).chain(further) {
        if let Some(input) = input.filter(|input| !input.is_empty())
            && !fields.iter().any(|(known, _)| known == name)
        {
            fields.push((name.clone(), input.clone()));
        }
    }
    fields
}

/// The arguments of `stixCyberObservableAdd`.
pub(super) fn observable_arguments() -> String {
    let mut arguments = OBSERVABLE.to_owned();
    for kind in Registry::get()
        .types()
        .iter()
        .filter(|kind| kind.category == Category::Observable)
    {
        if let Some(input) = &kind.root.add_input {
            let _ = write!(arguments, ", {}: {input}", kind.graphql);
        }
    }
    arguments
}

/// Appends the input types of all types that can be added, and the enum of vocabularies.
pub(super) fn write(
    out: &mut String,
    registry: &'static Registry,
    types: &[Vec<&'static EntityType>],
) {
    let hand_written = ["IdentityAddInput", "LocationAddInput"];
    for kinds in types {
        let kind = kinds[0];
        let Some(input) = kind
            .root
            .add_input
            .as_deref()
            .filter(|input| !hand_written.contains(input))
        else {
            continue;
        };
        let mut fields = fields(kind);
        if kind.category == Category::Observable {
            // Common attributes are arguments of the mutation itself.
            let common = |name: &str| {
                OBSERVABLE
                    .split(", ")
                    .any(|argument| argument.split(':').next().map(str::trim) == Some(name))
            };
            // The input of processes repeats the description; clients may use either.
            fields.retain(|(name, _)| {
                !common(name) || (kind.name == "Process" && name == "x_opencti_description")
            });
            for (name, input) in FILES.iter().chain(&[("upsertOperations", "[EditInput!]")]) {
                if !fields.iter().any(|(known, _)| known == name) {
                    fields.push(((*name).to_owned(), (*input).to_owned()));
                }
            }
        }
        let _ = writeln!(out, "input {input} {{");
        for (name, input) in fields {
            let _ = writeln!(out, "  {name}: {input}");
        }
        out.push_str("}\n\n");
    }
    let categories: Vec<&str> = registry
        .vocabularies()
        .iter()
        .map(|vocabulary| vocabulary.category.as_str())
        .collect();
    let _ = writeln!(
        out,
        "enum VocabularyCategory {{\n  {}\n}}\n",
        categories.join("\n  ")
    );
}
