//! A plan for people.

use std::fmt;

use super::{Level, Plan};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", plain(&self.name), plain(&self.connector))?;
        for finding in &self.findings {
            let level = match finding.level {
                Level::Blocker => "BLOCKER",
                Level::Warning => "warning",
                Level::Note => "note   ",
            };
            write!(f, "  {level}  {}", plain(&finding.text))?;
            if finding.remedy.is_empty() {
                writeln!(f)?;
            } else {
                writeln!(f, "; {}", plain(&finding.remedy))?;
            }
        }
        let width = self.keys.iter().map(|key| key.key.len()).max().unwrap_or(0);
        for key in &self.keys {
            write!(f, "  {:width$}  {:17}", key.key, key.fate)?;
            if let Some(value) = &key.value {
                write!(f, "  {}", one_line(value))?;
            }
            if let Some(detail) = &key.detail {
                write!(f, "  ({})", one_line(detail))?;
            }
            if let Some(suggestion) = &key.suggestion {
                let word = if suggestion.taken { "was" } else { "take" };
                let value = one_line(&suggestion.value);
                write!(f, "  [{}: {word} `{value}`]", suggestion.why)?;
            }
            writeln!(f)?;
        }
        writeln!(f, "  wait: {}", self.quiesce.text)?;
        writeln!(
            f,
            "  twice: {}; if it is forced: {}",
            self.replay.quiet, self.replay.forced
        )?;
        write!(
            f,
            "  plan {}: {}",
            self.hash,
            if self.applicable {
                "can be applied"
            } else {
                "cannot be applied as it stands"
            }
        )
    }
}

/// A text without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A value on one line, and not for ever.
fn one_line(text: &str) -> String {
    const MOST: usize = 80;
    let mut out = plain(&text.chars().take(MOST).collect::<String>());
    if text.chars().count() > MOST {
        out.push('…');
    }
    out
}
