//! The plain comparisons in STIX patterns: `[ipv4-addr:value = '1.2.3.4']` says type, property and value.

/// Every `path = 'value'` of a pattern, in order: the object path and the value without quotes and escapes.
pub(crate) fn equalities(pattern: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        loop {
            let (before, after) = rest.split_once('=')?;
            // `!=`, `<=` and `>=` are no equalities.
            let denied = before.ends_with(['!', '<', '>']);
            let (value, behind) = match after.trim_start().strip_prefix('\'') {
                Some(quoted) => {
                    let (value, length) = unquote(quoted);
                    (Some(value), &quoted[length..])
                }
                None => (None, after),
            };
            rest = behind;
            let path = path_at_end(before.trim_end());
            if let (Some(value), false, true) = (value, denied, path.contains(':')) {
                return Some((path, value));
            }
        }
    })
}

/// The object path that a text ends with; it may hold a quoted key such as `file:hashes.'SHA-256'`.
fn path_at_end(text: &str) -> &str {
    let mut quoted = false;
    let start = text.char_indices().rev().find(|(_, c)| {
        if *c == '\'' {
            quoted = !quoted;
        }
        !quoted && (c.is_whitespace() || matches!(c, '[' | '(' | ')'))
    });
    start.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

/// A text up to its closing quote, and how many bytes it took with that quote.
fn unquote(text: &str) -> (String, usize) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return (value, at + 1),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, text.len())
}

#[cfg(test)]
mod tests {
    use super::equalities;

    #[test]
    fn equalities_are_found_with_quoted_keys_and_escapes() {
        let pattern = r"[file:hashes.'SHA-256' = 'ab' OR (file:name = 'it\'s' AND file:size != '3')] AND [url:value='http://a/?b=c']";
        let found: Vec<_> = equalities(pattern).collect();
        assert_eq!(
            found,
            [
                ("file:hashes.'SHA-256'", "ab".to_owned()),
                ("file:name", "it's".to_owned()),
                ("url:value", "http://a/?b=c".to_owned())
            ]
        );
    }

    #[test]
    fn broken_patterns_give_what_can_be_read() {
        assert_eq!(
            equalities("[a:b = 'unclosed").collect::<Vec<_>>(),
            [("a:b", "unclosed".to_owned())]
        );
        assert_eq!(equalities("===").count(), 0);
    }
}
