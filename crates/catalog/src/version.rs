//! Versions of contracts, and the ranges of platform versions that they support.
//!
//! A version is `rolling`, or numbers with points (semantic, or by date such as `7.260817.0`), perhaps with a suffix such as `-lts.1`.

use std::cmp::Ordering;

/// The version that is always the newest.
pub const ROLLING: &str = "rolling";

/// The leading numbers of a version, three of them; what follows is not looked at. `None`: it does not begin with a number.
fn numbers(text: &str) -> Option<[u64; 3]> {
    let text = text.trim().trim_start_matches(['v', 'V', '=']);
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let mut out = [0; 3];
    for (slot, part) in out.iter_mut().zip(text[..end].split('.')) {
        if !part.is_empty() {
            *slot = part.parse().ok()?;
        }
    }
    text.starts_with(|c: char| c.is_ascii_digit())
        .then_some(out)
}

/// Which of two versions is the newer: `rolling` first, then by number, then what has no number; equal numbers by their suffixes, in which
/// numbers count as numbers.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let rank = |text: &str| (text == ROLLING, numbers(text));
    rank(a).cmp(&rank(b)).then_with(|| natural(a, b))
}

/// Compares texts with runs of digits as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (a.chars().next(), b.chars().next()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (left, rest_a) = digits(a);
                let (right, rest_b) = digits(b);
                let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (rest_a, rest_b);
            }
            (Some(x), Some(y)) if x == y => {
                (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
            }
            (Some(x), Some(y)) => return x.cmp(&y),
        }
    }
}

/// The digits at the beginning without leading zeros, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

/// Whether a version lies in a range such as `>=6.5.1`, `>= 6.5 <8`, `^6.4.0 || 7.x`. `None`: the range or the version cannot be read.
#[must_use]
pub fn in_range(version: &str, range: &str) -> Option<bool> {
    let version = numbers(version)?;
    let mut any = false;
    for part in range.split("||") {
        any |= all_of(version, part)?;
    }
    Some(any)
}

fn all_of(version: [u64; 3], part: &str) -> Option<bool> {
    if let Some((from, to)) = part.split_once(" - ") {
        return Some(numbers(from)? <= version && version <= numbers(to)?);
    }
    let mut rest = part.trim();
    let mut all = true;
    while !rest.is_empty() {
        let operator = rest
            .find(|c: char| !"<>=^~".contains(c))
            .unwrap_or(rest.len());
        let (operator, after) = rest.split_at(operator);
        let after = after.trim_start();
        let end = after
            .find(|c: char| c.is_whitespace() || c == ',' || "<>=^~".contains(c))
            .unwrap_or(after.len());
        let (bound, after) = after.split_at(end);
        rest = after.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        all &= obeys(version, operator, bound)?;
    }
    Some(all)
}

fn obeys(version: [u64; 3], operator: &str, bound: &str) -> Option<bool> {
    let wild = |part: &str| matches!(part, "x" | "X" | "*");
    if operator.is_empty() || operator == "=" {
        // `6`, `6.4` and `6.x` are all versions that begin so
        let core = bound.trim_start_matches(['v', 'V']);
        let core = core.split(['-', '+']).next().unwrap_or_default();
        let mut given = [None; 3];
        for (slot, part) in given.iter_mut().zip(core.split('.')) {
            if wild(part) {
                break;
            }
            *slot = Some(part.parse::<u64>().ok()?);
        }
        return Some(
            given
                .iter()
                .zip(version)
                .all(|(given, number)| given.is_none_or(|given| given == number)),
        );
    }
    let bound = numbers(bound)?;
    let [major, minor, patch] = bound;
    Some(match operator {
        ">=" => version >= bound,
        ">" => version > bound,
        "<=" => version <= bound,
        "<" => version < bound,
        "~" => version >= bound && version < [major, minor.saturating_add(1), 0],
        "^" => {
            let end = match (major, minor) {
                (0, 0) => [0, 0, patch.saturating_add(1)],
                (0, _) => [0, minor.saturating_add(1), 0],
                _ => [major.saturating_add(1), 0, 0],
            };
            version >= bound && version < end
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn newer_versions_come_last() {
        let mut versions = vec![
            "rolling",
            "latest",
            "7.260817.0",
            "6.9.17",
            "7.260817.0-lts.10",
            "7.260817.0-lts.9",
            "10.0.0",
            "6.10.0",
            "v6.9.18",
            "edge",
        ];
        versions.sort_by(|a, b| compare(a, b));
        assert_eq!(
            versions,
            [
                "edge",
                "latest",
                "6.9.17",
                "v6.9.18",
                "6.10.0",
                "7.260817.0",
                "7.260817.0-lts.9",
                "7.260817.0-lts.10",
                "10.0.0",
                "rolling"
            ]
        );
    }

    #[test]
    fn ranges_are_read_as_catalogs_write_them() {
        for (version, range, expected) in [
            ("7.260817.0", ">=6.5.1", Some(true)),
            ("7.260817.0", ">= 6.5.1", Some(true)),
            ("7.260811.0", ">7.260811.0", Some(false)),
            ("7.260812.0", ">7.260811.0", Some(true)),
            ("6.4.9", ">=6.5.1", Some(false)),
            ("6.9.0", ">=6.5 <7", Some(true)),
            ("7.0.0", ">=6.5, <7", Some(false)),
            ("6.9.0", "^6.4.0", Some(true)),
            ("7.0.0", "^6.4.0", Some(false)),
            ("6.4.9", "~6.4.1", Some(true)),
            ("6.5.0", "~6.4.1", Some(false)),
            ("6.5.0", "5.x || 6.x", Some(true)),
            ("7.5.0", "5.x || 6.x", Some(false)),
            ("6.4.0", "6.4.0", Some(true)),
            ("6.4.1", "=6.4.0", Some(false)),
            ("6.4.1", "6.2.0 - 6.5.0", Some(true)),
            ("6.4.1", "*", Some(true)),
            ("6.4.1", "", Some(true)),
            ("7.260817.0-lts.1", ">=7.260817.0", Some(true)),
            ("6.4.1", "six", None),
            ("6.4.1", ">>6", None),
            ("rolling", ">=6", None),
        ] {
            assert_eq!(in_range(version, range), expected, "{version} in {range}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(a in "\\PC*", b in "[0-9.x<>=^~| -]*", c in "\\PC*") {
            let _ = in_range(&a, &b);
            let _ = in_range(&b, &a);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b) == Ordering::Less && compare(&b, &c) == Ordering::Less {
                prop_assert_eq!(compare(&a, &c), Ordering::Less);
            }
        }
    }
}
