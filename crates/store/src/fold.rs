//! Folded text: the form in which text is compared and sorted, without case and accents.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Longest sort name in bytes; longer names are cut, ties are broken by the row number.
pub const NAME_KEY_LIMIT: usize = 256;

/// Lower case without accents: `"Élan Vital"` becomes `"elan vital"`.
#[must_use]
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        }
    } else {
        Cow::Owned(
            text.nfkd()
                .filter(|c| !is_combining_mark(*c))
                .flat_map(char::to_lowercase)
                .collect(),
        )
    }
}

/// The sort name: folded, trimmed, cut at [`NAME_KEY_LIMIT`] bytes; `None` when nothing is left.
#[must_use]
pub fn name_key(name: &str) -> Option<Cow<'_, str>> {
    let folded = match fold(name) {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    if folded.is_empty() {
        return None;
    }
    if folded.len() <= NAME_KEY_LIMIT {
        return Some(folded);
    }
    let mut end = NAME_KEY_LIMIT;
    while !folded.is_char_boundary(end) {
        end -= 1;
    }
    Some(Cow::Owned(folded[..end].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_are_folded() {
        for (text, folded) in [
            ("ABC", "abc"),
            ("abc", "abc"),
            ("Élan VITAL", "elan vital"),
            ("Ⅷ", "viii"),
            ("日本", "日本"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn long_names_are_cut_on_a_character_boundary() {
        let name = "日".repeat(200);
        let key = name_key(&name).unwrap();
        assert!(key.len() <= NAME_KEY_LIMIT);
        assert!(name.starts_with(key.as_ref()));
    }

    #[test]
    fn blank_names_have_no_key() {
        assert_eq!(name_key("  "), None);
    }
}
