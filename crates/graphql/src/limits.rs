//! Bounds of documents and answers, and the checks that run before a document reaches the parser and the validator.

use std::collections::HashMap;

use apollo_compiler::ast::{Definition, Document, Selection};

use crate::error::Refusal;

/// Bounds that protect the process from a single request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a document.
    pub max_document_bytes: usize,
    /// Tokens of a document.
    pub max_tokens: usize,
    /// Fields inside one another, fragments followed.
    pub max_depth: usize,
    /// Selected fields of an operation, counted with fragments expanded.
    pub max_fields: usize,
    /// Fields directly below the operation: each is a call of its own.
    pub max_root_fields: usize,
    /// Fields of objects and items of lists in one answer.
    pub max_values: usize,
    /// Bytes of one answer.
    pub max_response_bytes: usize,
    /// Errors listed in one answer; further ones are left out.
    pub max_errors: usize,
    /// Memory for prepared documents, in bytes (estimated).
    pub cached_document_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_document_bytes: 256 * 1024,
            max_tokens: 20_000,
            max_depth: 30,
            max_fields: 20_000,
            max_root_fields: 100,
            max_values: 5_000_000,
            max_response_bytes: 512 * 1024 * 1024,
            max_errors: 100,
            cached_document_bytes: 32 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// Deepest nesting of brackets of any kind. Every field needs one pair of braces; inline fragments, arguments
    /// and list or object values need more. Beyond this the recursive parser is not even started.
    pub(crate) fn max_nesting(&self) -> usize {
        self.max_depth * 3 + 30
    }
}

/// Checks size and nesting on the raw text, in one pass and without recursion.
pub(crate) fn scan(text: &str, limits: &Limits) -> Result<(), Refusal> {
    if text.len() > limits.max_document_bytes {
        return Err(Refusal::validation(format!(
            "The document has {} bytes; at most {} are accepted. Split it into several requests.",
            text.len(),
            limits.max_document_bytes
        )));
    }
    let bytes = text.as_bytes();
    let (mut depth, mut tokens, mut in_name, mut i) = (0_usize, 0_usize, false, 0);
    while i < bytes.len() {
        let byte = bytes[i];
        let name_byte = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.');
        if name_byte {
            tokens += usize::from(!in_name);
            in_name = true;
            i += 1;
            continue;
        }
        in_name = false;
        match byte {
            b'#' => {
                while i < bytes.len() && !matches!(bytes[i], b'\n' | b'\r') {
                    i += 1;
                }
            }
            b'"' => {
                tokens += 1;
                i = end_of_string(bytes, i);
            }
            b'{' | b'[' | b'(' => {
                tokens += 1;
                depth += 1;
                if depth > limits.max_nesting() {
                    return Err(too_deep(limits));
                }
            }
            b'}' | b']' | b')' => {
                tokens += 1;
                depth = depth.saturating_sub(1);
            }
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {}
            _ => tokens += 1,
        }
        if tokens > limits.max_tokens {
            return Err(Refusal::validation(format!(
                "The document has more than {} tokens. Split it into several requests.",
                limits.max_tokens
            )));
        }
        i += 1;
    }
    Ok(())
}

fn too_deep(limits: &Limits) -> Refusal {
    Refusal::validation(format!(
        "The document nests too deeply; at most {} levels of fields are accepted.",
        limits.max_depth
    ))
}

/// Position of the last byte of the string that starts at `start`; the end of the text when it is not closed.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    if rest.starts_with(b"\"\"\"") {
        let mut i = 3;
        while i < rest.len() {
            if rest[i..].starts_with(b"\\\"\"\"") {
                i += 4;
            } else if rest[i..].starts_with(b"\"\"\"") {
                return start + i + 2;
            } else {
                i += 1;
            }
        }
        return bytes.len();
    }
    let mut i = 1;
    while i < rest.len() {
        match rest[i] {
            b'\\' => i += 2,
            b'"' | b'\n' | b'\r' => return start + i,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// Longest chain of fragments that spread one another.
const MAX_FRAGMENT_CHAIN: usize = 50;

/// Checks depth, number of fields and cycles with fragments followed, before the validator walks the document.
pub(crate) fn measure(document: &Document, limits: &Limits) -> Result<(), Refusal> {
    let mut fragments = HashMap::new();
    for definition in &document.definitions {
        if let Definition::FragmentDefinition(fragment) = definition {
            fragments.insert(fragment.name.as_str(), fragment.selection_set.as_slice());
        }
    }
    let mut measure = Measure {
        fragments,
        known: HashMap::new(),
        chain: Vec::new(),
    };
    for definition in &document.definitions {
        let selections = match definition {
            Definition::OperationDefinition(operation) => &operation.selection_set,
            Definition::FragmentDefinition(fragment) => &fragment.selection_set,
            _ => continue,
        };
        let size = measure.selections(selections)?;
        if size.depth > limits.max_depth {
            return Err(Refusal::validation(format!(
                "The document nests {} levels of fields; at most {} are accepted.",
                size.depth, limits.max_depth
            )));
        }
        if size.fields > limits.max_fields {
            return Err(Refusal::validation(format!(
                "The operation selects more than {} fields (fragments expanded). Select fewer or split it.",
                limits.max_fields
            )));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Size {
    depth: usize,
    fields: usize,
}

struct Measure<'d> {
    fragments: HashMap<&'d str, &'d [Selection]>,
    known: HashMap<&'d str, Size>,
    chain: Vec<&'d str>,
}

impl<'d> Measure<'d> {
    /// Recursion is bounded: nesting by [`scan`], chains of fragments by [`MAX_FRAGMENT_CHAIN`].
    fn selections(&mut self, selections: &'d [Selection]) -> Result<Size, Refusal> {
        let mut size = Size::default();
        for selection in selections {
            let inner = match selection {
                Selection::Field(field) => {
                    let below = self.selections(&field.selection_set)?;
                    Size {
                        depth: below.depth + 1,
                        fields: below.fields.saturating_add(1),
                    }
                }
                Selection::InlineFragment(fragment) => self.selections(&fragment.selection_set)?,
                Selection::FragmentSpread(spread) => {
                    self.fragment(spread.fragment_name.as_str())?
                }
            };
            size.depth = size.depth.max(inner.depth);
            size.fields = size.fields.saturating_add(inner.fields);
        }
        Ok(size)
    }

    fn fragment(&mut self, name: &str) -> Result<Size, Refusal> {
        // An unknown fragment is the validator's business.
        let Some((&name, &selections)) = self.fragments.get_key_value(name) else {
            return Ok(Size::default());
        };
        if let Some(size) = self.known.get(name) {
            return Ok(*size);
        }
        if self.chain.contains(&name) {
            return Err(Refusal::validation(format!(
                "Cannot spread fragment \"{name}\" within itself."
            )));
        }
        if self.chain.len() == MAX_FRAGMENT_CHAIN {
            return Err(Refusal::validation(format!(
                "Fragments spread one another over more than {MAX_FRAGMENT_CHAIN} levels."
            )));
        }
        self.chain.push(name);
        let size = self.selections(selections)?;
        self.chain.pop();
        self.known.insert(name, size);
        Ok(size)
    }
}
