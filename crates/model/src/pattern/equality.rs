//! The equality tests of a STIX pattern: `[file:name = 'a' AND file:size > 5]` has one.

use serde_json::{Number, Value};

use super::{
    LENGTH, PatternError,
    lexer::{Lexer, Token, TokenKind},
};

/// `type:property = value`, wherever it stands in the pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Equality {
    /// STIX type, as written.
    pub object: String,
    /// Names of the path after the colon, without quotes; `[0]` and `[*]` are left out.
    pub path: Vec<String>,
    /// What is compared with: text, number or truth value. A timestamp is a text; binary values are not reported.
    pub value: Value,
}

/// The tests for equality (`=`, `==`) of a pattern, in its order; negated ones are none.
///
/// The pattern must be one that [`super::normalise`] accepts, otherwise what is found says nothing.
pub fn equalities(pattern: &str) -> Result<Vec<Equality>, PatternError> {
    if pattern.len() > LENGTH {
        return Err(PatternError::TooComplex);
    }
    let tokens = Lexer::new(pattern).collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::new();
    let mut rest = tokens.as_slice();
    while let [first, behind @ ..] = rest {
        rest = behind;
        let [colon, path @ ..] = behind else { break };
        if !is(colon, ":") {
            continue;
        }
        let (path, behind) = names(path);
        rest = behind;
        if let [operator, value, ..] = behind
            && matches!(operator.text, "=" | "==")
            && operator.kind == TokenKind::Comparison
            && let Some(value) = literal(value)
        {
            found.push(Equality {
                object: first.text.to_owned(),
                path,
                value,
            });
        }
    }
    Ok(found)
}

/// The names of a path, and what comes behind it.
fn names<'t, 'a>(mut tokens: &'t [Token<'a>]) -> (Vec<String>, &'t [Token<'a>]) {
    let mut names = Vec::new();
    loop {
        match tokens {
            [dot, name, rest @ ..] if is(dot, ".") => {
                names.push(name_of(name));
                tokens = rest;
            }
            [open, _, close, rest @ ..] if is(open, "[") && is(close, "]") => tokens = rest,
            [name, rest @ ..] if names.is_empty() => {
                names.push(name_of(name));
                tokens = rest;
            }
            _ => return (names, tokens),
        }
    }
}

fn is(token: &Token<'_>, text: &str) -> bool {
    token.kind == TokenKind::Punctuation && token.text == text
}

fn name_of(token: &Token<'_>) -> String {
    match token.kind {
        TokenKind::String => unquoted(token.text),
        _ => token.text.to_owned(),
    }
}

fn literal(token: &Token<'_>) -> Option<Value> {
    match token.kind {
        TokenKind::String => Some(Value::String(unquoted(token.text))),
        TokenKind::Timestamp => Some(Value::String(unquoted(token.text.strip_prefix('t')?))),
        TokenKind::Integer => token.text.parse::<i64>().ok().map(Value::from),
        TokenKind::Float => token
            .text
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number),
        TokenKind::Identifier if token.text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        TokenKind::Identifier if token.text.eq_ignore_ascii_case("false") => {
            Some(Value::Bool(false))
        }
        _ => None,
    }
}

/// A text as a literal of a pattern.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('\'');
    for c in text.chars() {
        if matches!(c, '\\' | '\'') {
            result.push('\\');
        }
        result.push(c);
    }
    result.push('\'');
    result
}

/// The text of a literal in quotes: a backslash stands before a quote or a backslash that belong to it.
fn unquoted(literal: &str) -> String {
    let inner = literal
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .unwrap_or(literal);
    let mut result = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => result.extend(chars.next()),
            c => result.push(c),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pattern::normalise;

    fn found(pattern: &str) -> Vec<(String, String, Value)> {
        equalities(&normalise("stix", pattern).unwrap())
            .unwrap()
            .into_iter()
            .map(|test| (test.object, test.path.join("/"), test.value))
            .collect()
    }

    #[test]
    fn every_test_for_equality_is_found() {
        let cases = [
            (
                "[ipv4-addr:value = '192.0.2.1']",
                json!([["ipv4-addr", "value", "192.0.2.1"]]),
            ),
            (
                "[file:hashes.'SHA-256' == 'aa' OR file:hashes.MD5='bb'] FOLLOWEDBY ([file:name = 'it\\'s \\\\ [x:y = 1]'])",
                json!([
                    ["file", "hashes/SHA-256", "aa"],
                    ["file", "hashes/MD5", "bb"],
                    ["file", "name", "it's \\ [x:y = 1]"]
                ]),
            ),
            (
                "[(network-traffic:protocols[0] = 'tcp' AND network-traffic:dst_port = 443) AND a:b = t'2020-01-01T00:00:00Z']",
                json!([
                    ["network-traffic", "protocols", "tcp"],
                    ["network-traffic", "dst_port", 443],
                    ["a", "b", "2020-01-01T00:00:00Z"]
                ]),
            ),
            (
                "[network-traffic:src_ref.value = '192.0.2.1' AND a:b.c[*].d = 1.5 AND a:e = true]",
                json!([
                    ["network-traffic", "src_ref/value", "192.0.2.1"],
                    ["a", "b/c/d", 1.5],
                    ["a", "e", true]
                ]),
            ),
            (
                "[a:b != 'x' AND a:c NOT = 'x' AND a:d LIKE 'x' AND a:e IN ('x','y') AND EXISTS a:f AND a:g = b'aGk=']",
                json!([]),
            ),
        ];
        for (pattern, expected) in cases {
            assert_eq!(json!(found(pattern)), expected, "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_quoted_text_reads_as_itself(text in ".{0,30}") {
            let pattern = format!("[url:value = {}]", quoted(&text));
            proptest::prop_assert_eq!(found(&pattern), vec![("url".to_owned(), "value".to_owned(), Value::String(text))]);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ \\[\\]()a:b.='x*,0-9<>!A-Z\\\\]{0,60}") {
            let _ = equalities(&text);
        }
    }
}
