//! The fields that edit knowledge: `…Edit(id)` with a type of edits, or the edits as fields of their own.

use std::fmt::Write;

use crate::edits::{Edit, Edits};

/// Appends the fields of the mutation type and the types of edits.
pub(super) fn write(out: &mut String) {
    let edits = Edits::get();
    out.push_str("extend type Mutation {\n");
    for (field, edit) in &edits.roots {
        match edit {
            Edit::Fields(family) => {
                let _ = writeln!(out, "  {field}(id: ID!): {}", family.fields);
            }
            Edit::Verb(family, verb) => {
                for signature in family
                    .signatures()
                    .filter(|signature| signature.name == *verb)
                {
                    let comma = if signature.arguments.is_empty() {
                        ""
                    } else {
                        ", "
                    };
                    let (arguments, output) = (signature.arguments, signature.output);
                    let _ = writeln!(out, "  {field}(id: ID!{comma}{arguments}): {output}");
                }
            }
        }
    }
    out.push_str("}\n\n");
    for family in edits.families() {
        let _ = writeln!(out, "type {} {{", family.fields);
        for signature in family.signatures() {
            let arguments = if signature.arguments.is_empty() {
                String::new()
            } else {
                format!("({})", signature.arguments)
            };
            let _ = writeln!(out, "  {}{arguments}: {}", signature.name, signature.output);
        }
        out.push_str("}\n\n");
    }
}
