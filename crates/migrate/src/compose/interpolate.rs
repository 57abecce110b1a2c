//! Variables within values of Compose files, as the Compose specification has them (section "Interpolation"): `$VAR`, `${VAR}`, `${VAR:-default}`,
//! `${VAR-default}`, `${VAR:?message}`, `${VAR?message}`, `${VAR:+other}`, `${VAR+other}`, nested in each other, and `$$` for a dollar sign.
//!
//! A dollar sign that begins none of these stays as it is, as Docker Compose does it: `$(id)`, `$1`, `5$`.

/// How deep values may be nested in each other.
const DEEPEST: usize = 16;
/// The most bytes of a value: no system hands a longer variable to a program (Linux: `MAX_ARG_STRLEN`).
pub const LONGEST: usize = 128 << 10;

/// What became of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is set, and its value counts.
    Found,
    /// It is not set, and the default that the file gives counts.
    Default,
    /// It is not set, and there is nothing in its place.
    Blank,
}

/// A variable that a value has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Why variables could not be put in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uninterpolated {
    /// A variable that must be set is not.
    #[error("the variable {name} must be set{}", if .message.is_empty() { String::new() } else { format!(": {message}") })]
    Required {
        /// Its name.
        name: String,
        /// What the file says about it.
        message: String,
    },
    /// `${` begins something that is no variable.
    #[error("`${{` begins nothing that can be understood; write `$$` for a dollar sign")]
    Invalid,
    /// The value has become longer than any variable can be.
    #[error("the value has more than {} KiB, which no variable can have", LONGEST >> 10)]
    TooLong,
}

/// Puts variables in. `lookup` gives the value of one that is set; each variable met is told in `used`.
///
/// # Errors
/// A required variable that is not set, a `${` that begins no variable, or a value that becomes too long.
pub fn interpolate(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    used: &mut Vec<Used>,
) -> Result<String, Uninterpolated> {
    fill(text, lookup, used, 0)
}

fn fill(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    used: &mut Vec<Used>,
    depth: usize,
) -> Result<String, Uninterpolated> {
    if depth > DEEPEST {
        return Err(Uninterpolated::Invalid);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('$') {
        out.push_str(&rest[..place]);
        if out.len() > LONGEST {
            return Err(Uninterpolated::TooLong);
        }
        rest = &rest[place + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let end = closing(inside).ok_or(Uninterpolated::Invalid)?;
            out.push_str(&braced(&inside[..end], lookup, used, depth)?);
            rest = &inside[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                out.push('$');
                continue;
            }
            let (name, after) = rest.split_at(length);
            out.push_str(&plain(name, lookup, used));
            rest = after;
        }
    }
    out.push_str(rest);
    if out.len() > LONGEST {
        return Err(Uninterpolated::TooLong);
    }
    Ok(out)
}

/// How many bytes of a text are the name of a variable.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// Where the brace closes that is open before a text.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 1;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                open += 1;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn plain(name: &str, lookup: &dyn Fn(&str) -> Option<String>, used: &mut Vec<Used>) -> String {
    let value = lookup(name);
    tell(
        used,
        name,
        if value.is_some() {
            Outcome::Found
        } else {
            Outcome::Blank
        },
    );
    value.unwrap_or_default()
}

fn tell(used: &mut Vec<Used>, name: &str, outcome: Outcome) {
    used.push(Used {
        name: name.to_owned(),
        outcome,
    });
}

fn braced(
    inside: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    used: &mut Vec<Used>,
    depth: usize,
) -> Result<String, Uninterpolated> {
    let (name, rest) = inside.split_at(name_length(inside));
    if name.is_empty() {
        return Err(Uninterpolated::Invalid);
    }
    if rest.is_empty() {
        return Ok(plain(name, lookup, used));
    }
    let (filled, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let value = lookup(name).filter(|value| !filled || !value.is_empty());
    let mut operator = rest.chars();
    let kind = operator.next();
    let argument = operator.as_str();
    match (kind, value) {
        (Some('-' | '?'), Some(value)) => {
            tell(used, name, Outcome::Found);
            Ok(value)
        }
        (Some('-'), None) => {
            tell(used, name, Outcome::Default);
            fill(argument, lookup, used, depth + 1)
        }
        (Some('?'), None) => Err(Uninterpolated::Required {
            name: name.to_owned(),
            // as it is written: what is put in may be a secret
            message: argument.to_owned(),
        }),
        (Some('+'), Some(_)) => {
            tell(used, name, Outcome::Found);
            fill(argument, lookup, used, depth + 1)
        }
        (Some('+'), None) => {
            tell(used, name, Outcome::Default);
            Ok(String::new())
        }
        _ => Err(Uninterpolated::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_put_in_as_compose_does_it() {
        for (text, expected) in [
            ("$SET-x", "value-x"),
            ("${SET}s", "values"),
            ("$SETs|", "|"),
            ("${SET:-d}${EMPTY:-d}${NO:-d}", "valuedd"),
            ("${SET-d}${EMPTY-d}${NO-d}", "valued"),
            ("${SET:+a}${EMPTY:+a}${NO:+a}.", "a."),
            ("${SET+a}${EMPTY+a}${NO+a}.", "aa."),
            ("${SET:?m}${EMPTY?m}", "value"),
            ("${NO:-${ALSO:-n}}", "n"),
            ("${NO:-x${SET}y}z", "xvalueyz"),
            ("${NO:-a:b-c?d+e}", "a:b-c?d+e"),
            ("${NO-$$x}", "$x"),
            ("$$SET $${SET}", "$SET ${SET}"),
            ("$(id) $ {SET} $1x 5$", "$(id) $ {SET} $1x 5$"),
            ("${SET}}", "value}"),
            ("d ${NO:-n} }", "d n }"),
        ] {
            assert_eq!(
                interpolate(text, &lookup, &mut Vec::new()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_must_be_set_is_told_with_the_words_of_the_file() {
        for (text, expected) in [
            ("${NO:?say $SET}", "the variable NO must be set: say $SET"),
            ("${EMPTY:?}", "the variable EMPTY must be set"),
            ("${NO?}", "the variable NO must be set"),
        ] {
            let error = interpolate(text, &lookup, &mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        for text in [
            "${",
            "${}",
            "${1a}",
            "${SET",
            "${SET/x/y}",
            "${SET:x}",
            "${ SET}",
        ] {
            assert_eq!(
                interpolate(text, &lookup, &mut Vec::new()),
                Err(Uninterpolated::Invalid),
                "{text}"
            );
        }
    }

    #[test]
    fn what_became_of_each_variable_is_told() {
        let mut used = Vec::new();
        interpolate("$SET ${NO:-$EMPTY} $ALSO", &lookup, &mut used).unwrap();
        let used: Vec<(&str, Outcome)> = used
            .iter()
            .map(|used| (used.name.as_str(), used.outcome))
            .collect();
        assert_eq!(
            used,
            [
                ("SET", Outcome::Found),
                ("NO", Outcome::Default),
                ("EMPTY", Outcome::Found),
                ("ALSO", Outcome::Blank),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[${}:?+A-C\\-ü ]{0,60}") {
            let _ = interpolate(&text, &lookup, &mut Vec::new());
        }

        #[test]
        fn a_text_without_dollar_signs_stays(text in "[^$]{0,40}") {
            prop_assert_eq!(interpolate(&text, &lookup, &mut Vec::new()), Ok(text));
        }
    }
}
