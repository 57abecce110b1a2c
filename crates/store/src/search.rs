//! Full text: one FTS5 row per object with text, and the translation of what users type into its query language.

use rusqlite::params;

use crate::{Iid, Tx, error::Result};

/// What is to become of the text of an object at the end of the transaction.
///
/// FTS5 collects what is written in ascending order of row numbers and makes a segment of what it has whenever an earlier row follows, which
/// costs more than the row. Hence changes are held back and written in order.
#[derive(Default)]
pub(crate) struct HeldText {
    /// Whether the index has an earlier text.
    stored: bool,
    /// The new name and text.
    text: Option<(String, String)>,
}

impl Tx<'_> {
    /// Indexes the text of a new object. Searches find it after the transaction.
    pub(crate) fn index_text(&mut self, iid: Iid, name: &str, text: &str) {
        if !name.is_empty() || !text.is_empty() {
            let held = self.texts.entry(iid).or_default();
            held.text = Some((name.to_owned(), text.to_owned()));
        }
    }

    /// Replaces the text of an object.
    pub(crate) fn reindex_text(&mut self, iid: Iid, name: &str, text: &str) {
        self.remove_text(iid);
        self.index_text(iid, name, text);
    }

    /// Takes an object out of the index.
    pub(crate) fn remove_text(&mut self, iid: Iid) {
        let held = self.texts.entry(iid).or_insert(HeldText {
            stored: true,
            text: None,
        });
        held.text = None;
    }

    /// Writes the changes that were held back.
    pub(crate) fn flush_texts(&mut self) -> Result<()> {
        for (iid, held) in std::mem::take(&mut self.texts) {
            if held.stored {
                self.sql("DELETE FROM search WHERE rowid = ?1")?
                    .execute([iid])?;
            }
            if let Some((name, text)) = held.text {
                self.sql("INSERT INTO search(rowid, name, body) VALUES (?1, ?2, ?3)")?
                    .execute(params![iid, name, text])?;
            }
        }
        Ok(())
    }
}

/// Translates a search into FTS5's language: parts in double quotes are exact phrases, other words match by prefix, all must occur.
///
/// Defanged addresses (`hxxp`, `[.]`) are refanged and percent-encoding is decoded first. `None`: nothing in it can be searched for.
pub(crate) fn compile(search: &str) -> Option<String> {
    let text = percent_decode(&refang(search));
    let mut parts = Vec::new();
    for (index, piece) in text.split('"').enumerate() {
        // pieces at odd places are inside quotes; an unclosed quote quotes to the end
        if index % 2 == 1 {
            push_part(&mut parts, piece, "");
        } else {
            for word in piece.split_whitespace() {
                push_part(&mut parts, word, "*");
            }
        }
    }
    if parts.is_empty() {
        None
    } else {
        Some(parts.join(" AND "))
    }
}

/// Most parts of a search; what follows is ignored, since each costs a look-up.
const PARTS: usize = 32;

fn push_part(parts: &mut Vec<String>, text: &str, suffix: &str) {
    if parts.len() < PARTS && text.chars().any(char::is_alphanumeric) {
        parts.push(format!("\"{}\"{suffix}", text.trim().replace('\0', " ")));
    }
}

fn refang(text: &str) -> String {
    let mut out = text.to_owned();
    for (from, to) in [
        ("hxxp", "http"),
        ("hXXp", "http"),
        ("HXXP", "http"),
        ("[.]", "."),
        ("(.)", "."),
        ("[:]", ":"),
        ("[://]", "://"),
        ("[@]", "@"),
    ] {
        if out.contains(from) {
            out = out.replace(from, to);
        }
    }
    out
}

fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    // what does not decode to text was not encoded text
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_become_prefix_words_and_exact_phrases() {
        for (search, query) in [
            ("emotet", Some("\"emotet\"*")),
            ("  two words ", Some("\"two\"* AND \"words\"*")),
            (
                "\"exact phrase\" loose",
                Some("\"exact phrase\" AND \"loose\"*"),
            ),
            ("\"unclosed phrase", Some("\"unclosed phrase\"")),
            ("hxxp://evil[.]example", Some("\"http://evil.example\"*")),
            ("a%20b", Some("\"a\"* AND \"b\"*")),
            ("100%", Some("\"100%\"*")),
            ("- * ()", None),
            ("", None),
            ("NOT x", Some("\"NOT\"* AND \"x\"*")),
        ] {
            assert_eq!(compile(search).as_deref(), query, "{search}");
        }
    }
}
