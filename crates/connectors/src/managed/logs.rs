//! Logs of managed connectors.

use ferrocti_store::{LogLine, Snapshot};

use crate::{ConnectorError, Connectors};

/// Most lines on one page.
pub const MAX_LOG_PAGE: usize = 1000;

impl Connectors {
    /// The newest lines of a connector's log, oldest of them first: at most `first`, only those before the number `before`, only those that hold
    /// `search` whatever the case of ASCII letters.
    ///
    /// # Errors
    /// The store failed.
    pub fn logs(
        &self,
        snapshot: &Snapshot<'_>,
        id: &str,
        search: Option<&str>,
        before: Option<i64>,
        first: usize,
    ) -> Result<Vec<LogLine>, ConnectorError> {
        let search = search.filter(|search| !search.is_empty());
        Ok(snapshot.connector_log(id, before, search, first.min(MAX_LOG_PAGE))?)
    }
}

/// The lines of `given` that come after those that are kept: composers of upstream's give the last lines again and again. The longest end of
/// what is kept that is a beginning of what is given is not new.
pub(crate) fn fresh<'a>(kept: &[LogLine], given: &'a [String]) -> &'a [String] {
    // a kept line may have been cut
    let same = |kept: &LogLine, given: &String| {
        kept.line == *given || kept.line.len() >= 1024 && given.starts_with(&kept.line)
    };
    let known = (0..=kept.len().min(given.len()))
        .rev()
        .find(|&count| {
            kept[kept.len() - count..]
                .iter()
                .zip(given)
                .all(|(kept, given)| same(kept, given))
        })
        .unwrap_or(0);
    &given[known..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_after_the_kept_lines_is_new() {
        for (kept, given, new) in [
            (&[][..], &["a", "b"][..], &["a", "b"][..]),
            (&["a", "b"], &["a", "b"], &[]),
            (&["a", "b", "c"], &["b", "c", "d"], &["d"]),
            (&["a", "b"], &["c", "d"], &["c", "d"]),
            (&["a", "b"], &["b"], &[]),
            (&["a", "a"], &["a", "a", "a"], &["a"]),
            (&["x", "a"], &["x", "b"], &["x", "b"]),
            (&["a"], &[], &[]),
        ] {
            let kept: Vec<LogLine> = kept
                .iter()
                .zip(1..)
                .map(|(line, seq)| LogLine {
                    seq,
                    at: 0,
                    line: (*line).to_owned(),
                })
                .collect();
            let given: Vec<String> = given.iter().map(|&line| line.to_owned()).collect();
            assert_eq!(fresh(&kept, &given), new, "{kept:?} {given:?}");
        }
    }
}
