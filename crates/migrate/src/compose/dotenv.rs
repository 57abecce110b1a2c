//! `.env` files and files of `env_file`, by the rules of Docker Compose ("Syntax for environment files"): comments, `export`, quotes, escapes in double
//! quotes, variables in values that are not in single quotes, values over several lines, names without a value that are taken from around.

use super::interpolate::{Outcome, Used, interpolate};

/// The most bytes of all values of a file together, once variables are put in.
const MOST: usize = 16 << 20;

/// One line of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line, from 1.
    pub line: usize,
    /// The name.
    pub key: String,
    /// The value; `None`: the name alone stands there, so that the value comes from around.
    pub value: Option<String>,
}

/// Why a file cannot be read. The text holds no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DotenvError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Where variables come from that values use.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Those that go before the file's own.
    pub before: &'a dyn Fn(&str) -> Option<String>,
    /// Those that are taken when the file itself has none.
    pub after: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads a file; variables that are nowhere are told in `blank`.
///
/// # Errors
/// The first line that cannot be understood.
pub fn read(
    text: &str,
    around: Around<'_>,
    blank: &mut Vec<(usize, String)>,
) -> Result<Vec<Line>, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n");
    let mut reader = Reader {
        text: &text,
        at: 0,
        line: 1,
        left: MOST,
        around,
        blank,
        out: Vec::new(),
    };
    while reader.statement()? {}
    Ok(reader.out)
}

/// Reads a file of `env_file` with `format: raw`: a name, `=`, and everything after it as it stands.
#[must_use]
pub fn read_raw(text: &str) -> Vec<Line> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_start()))
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
        .map(|(line, text)| match text.split_once('=') {
            Some((key, value)) => Line {
                line,
                key: key.to_owned(),
                value: Some(value.to_owned()),
            },
            None => Line {
                line,
                key: text.trim_end().to_owned(),
                value: None,
            },
        })
        .collect()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    left: usize,
    around: Around<'a>,
    blank: &'a mut Vec<(usize, String)>,
    out: Vec<Line>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn forward(&mut self, bytes: usize) {
        let passed = &self.text[self.at..self.at + bytes];
        self.line += passed.matches('\n').count();
        self.at += bytes;
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        let bytes = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.forward(bytes);
    }

    fn fault<T>(&self, reason: impl Into<String>) -> Result<T, DotenvError> {
        Err(DotenvError {
            line: self.line,
            reason: reason.into(),
        })
    }

    /// Reads one variable; false at the end.
    fn statement(&mut self) -> Result<bool, DotenvError> {
        loop {
            self.skip(char::is_whitespace);
            if !self.rest().starts_with('#') {
                break;
            }
            self.skip(|c| c != '\n');
        }
        if self.rest().is_empty() {
            return Ok(false);
        }
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.forward("export".len());
            self.skip(is_blank);
        }
        let line = self.line;
        let rest = self.rest();
        let end = rest.find(['=', ':', '\n']).unwrap_or(rest.len());
        let bare = !rest[end..].starts_with(['=', ':']);
        // after a bare name nothing but a comment may follow
        let name = rest[..end].trim_matches(is_blank);
        let name = match name.split_once(" #") {
            Some((name, _)) if bare => name.trim_end(),
            _ => name,
        };
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']'))
        {
            return self.fault("there is no name of a variable; write `NAME=value`");
        }
        self.forward(end);
        let value = if bare {
            None
        } else {
            self.forward(1);
            self.skip(is_blank);
            Some(self.value(line)?)
        };
        self.out.push(Line {
            line,
            key: name.to_owned(),
            value,
        });
        Ok(true)
    }

    fn value(&mut self, line: usize) -> Result<String, DotenvError> {
        let rest = self.rest();
        match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let Some(end) = closing(rest, quote) else {
                    return self.fault("the quote at the beginning of the value is never closed");
                };
                let inside = &rest[1..end];
                self.forward(end + 1);
                if quote == '\'' {
                    return Ok(inside.replace("\\'", "'"));
                }
                self.filled(line, &unescape(inside))
            }
            _ => {
                let end = rest.find('\n').unwrap_or(rest.len());
                let value = &rest[..end];
                let value = value.split_once(" #").map_or(value, |(value, _)| value);
                self.forward(end);
                self.filled(line, value.trim_end())
            }
        }
    }

    /// Puts variables into a value.
    fn filled(&mut self, line: usize, text: &str) -> Result<String, DotenvError> {
        let mut used = Vec::new();
        let known = &self.out;
        let lookup = |name: &str| {
            (self.around.before)(name)
                .or_else(|| {
                    let mut lines = known.iter().rev();
                    lines.find(|line| line.key == name)?.value.clone()
                })
                .or_else(|| (self.around.after)(name))
        };
        let value = interpolate(text, &lookup, &mut used).map_err(|error| DotenvError {
            line,
            reason: error.to_string(),
        })?;
        let Some(left) = self.left.checked_sub(value.len()) else {
            return self.fault(format!(
                "the values have more than {} MiB together",
                MOST >> 20
            ));
        };
        self.left = left;
        let blank = used
            .into_iter()
            .filter(|used| used.outcome == Outcome::Blank)
            .map(|Used { name, .. }| (line, name));
        self.blank.extend(blank);
        Ok(value)
    }
}

/// White space within a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// Where the quote closes with which a text begins.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(at, c)| {
        if c == quote && !escaped {
            return Some(at);
        }
        escaped = c == '\\' && !escaped;
        None
    })
}

/// What stands for what in double quotes. An escaped dollar sign begins no variable.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('v') => out.push('\u{b}'),
            Some('"') => out.push('"'),
            Some('\\') => out.push('\\'),
            Some('$') => out.push_str("$$"),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AROUND: Around<'_> = Around {
        before: &|name| (name == "HOME").then(|| "/h".to_owned()),
        after: &|name| (name == "EARLIER" || name == "A").then(|| "e".to_owned()),
    };

    #[test]
    fn lines_are_read_as_docker_compose_reads_them() {
        for (text, value) in [
            ("A=1 # inline", "1"),
            ("A=1# not", "1# not"),
            (
                r#"A="d $HOME ${NO:-x} \n \t \" \$Z # h" # c"#,
                "d /h x \n \t \" $Z # h",
            ),
            (r"A='s $HOME \' \n'", r"s $HOME ' \n"),
            ("export A = spaced", "spaced"),
            ("A: colon", "colon"),
            ("A=", ""),
            ("A=\"multi\nline\"", "multi\nline"),
            (r"A=a\nb", r"a\nb"),
            ("A=$$x", "$x"),
            (r#"A=a=b"c""#, r#"a=b"c""#),
            ("A=`id`", "`id`"),
            ("A=$(id)", "$(id)"),
            (r#"A="é\u0041""#, r"é\u0041"),
            (r#"A="a\\nb""#, r"a\nb"),
            ("A= lead", "lead"),
            ("A=\"trail \"", "trail "),
            ("A=#c", "#c"),
            ("A=a #", "a"),
            ("A=a\t#tab", "a\t#tab"),
            (r"A=\$HOME", r"\/h"),
            (r#"A="x \$HOME $$HOME""#, "x $HOME $HOME"),
            ("A='a'  # c", "a"),
            ("A=x\r\n", "x"),
            ("\u{feff}A=x", "x"),
            ("# c\n\n  A=x", "x"),
        ] {
            let lines = read(text, AROUND, &mut Vec::new()).unwrap();
            assert_eq!(lines.len(), 1, "{text}");
            assert_eq!(lines[0].key, "A", "{text}");
            assert_eq!(lines[0].value.as_deref(), Some(value), "{text}");
        }
    }

    #[test]
    fn values_use_what_is_around_first_and_then_what_the_file_has() {
        let mut blank = Vec::new();
        let lines = read(
            "HOME=mine\nA=1\nA=2\nB=$A-$HOME-$NO-$EARLIER\nC\n",
            AROUND,
            &mut blank,
        )
        .unwrap();
        let value = |key| {
            lines
                .iter()
                .rfind(|line| line.key == key)
                .unwrap()
                .value
                .as_deref()
        };
        assert_eq!(value("HOME"), Some("mine"));
        assert_eq!(value("B"), Some("2-/h--e"));
        assert_eq!(value("C"), None);
        assert_eq!(blank, [(4, "NO".to_owned())]);
        assert_eq!(lines.last().unwrap().line, 5);
    }

    #[test]
    fn a_line_that_cannot_be_understood_is_named_without_its_value() {
        for (text, line) in [
            ("A=1\nB=\"x\n\n", 2),
            ("A=1\nsome words=hunter2\n", 2),
            ("A=1\n\nO=\"x\"'hunter2'\n", 3),
            ("=hunter2", 1),
            ("A=${NO:?m}", 1),
        ] {
            let error = read(text, AROUND, &mut Vec::new()).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn values_that_multiply_are_bounded() {
        let double: String = ('A'..='Z')
            .zip('B'..='Z')
            .map(|(from, to)| format!("{to}=${from}${from}${from}${from}\n"))
            .collect();
        let error = read(&format!("A=0123456789\n{double}"), AROUND, &mut Vec::new()).unwrap_err();
        assert!(error.reason.contains("128 KiB"), "{error}");

        let long = "x".repeat(100_000);
        let many: String = (0..1000).map(|n| format!("B{n}=$LONG\n")).collect();
        let error = read(&format!("LONG={long}\n{many}"), AROUND, &mut Vec::new()).unwrap_err();
        assert!(error.reason.contains("16 MiB"), "{error}");
    }

    #[test]
    fn a_raw_file_is_taken_as_it_stands() {
        let lines = read_raw("# c\nA=\"x\" # y\nB\nC= $D\n");
        let shown: Vec<(&str, Option<&str>)> = lines
            .iter()
            .map(|line| (line.key.as_str(), line.value.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [("A", Some("\"x\" # y")), ("B", None), ("C", Some(" $D"))]
        );
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(text in "(?s)[A-C=:'\"\\\\${}# \\nü\\r-]{0,60}") {
            let _ = read(&text, AROUND, &mut Vec::new());
        }
    }
}
