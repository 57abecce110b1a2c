//! YAML as a tree with the line of each value, and with scalars as they are written: `1.10` stays `1.10`, and `no` stays `no`.
//!
//! Anchors and aliases are followed, within bounds; tags and merge keys are not understood and refused, as are two equal keys.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

/// How deep lists and maps may be in each other.
const DEEPEST: usize = 32;
/// How many values a document may have, those of aliases counted.
const MOST: usize = 100_000;

/// Why a text is no YAML that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct YamlError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// A value and its line, from 1.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) data: Data,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Pair>),
}

#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) value: Node,
}

impl Node {
    /// What it is, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Text(_) => "a text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    fn size(&self) -> usize {
        1 + match &self.data {
            Data::Null | Data::Text(_) => 0,
            Data::List(items) => items.iter().map(Self::size).sum(),
            Data::Map(pairs) => pairs.iter().map(|pair| pair.value.size()).sum(),
        }
    }
}

/// A list or map that is not complete.
struct Open {
    line: usize,
    anchor: usize,
    data: Data,
    /// The key whose value comes next.
    key: Option<(usize, String)>,
}

/// Reads one document. An empty text is nothing.
pub(crate) fn read(text: &str) -> Result<Node, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        open: Vec::new(),
        anchors: Vec::new(),
        root: None,
        left: MOST,
        documents: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        reader.event(event, span.start.line())?;
    }
    Ok(reader.root.unwrap_or(Node {
        line: 1,
        data: Data::Null,
    }))
}

fn scan_error(error: &ScanError) -> YamlError {
    YamlError {
        line: error.marker().line(),
        reason: error.info().to_owned(),
    }
}

struct Reader {
    open: Vec<Open>,
    anchors: Vec<(usize, Node)>,
    root: Option<Node>,
    left: usize,
    documents: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        let fault = |reason: &str| YamlError {
            line,
            reason: reason.to_owned(),
        };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(fault(
                        "there is a second document; one file has one document",
                    ));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    return Err(fault("tags are not understood; leave it out"));
                }
                let null = style == ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let data = if null {
                    Data::Null
                } else {
                    Data::Text(text.into_owned())
                };
                self.done(Node { line, data }, anchor)
            }
            Event::Alias(anchor) => {
                let found = self.anchors.iter().rev().find(|(id, _)| *id == anchor);
                let Some((_, node)) = found else {
                    return Err(fault("the alias is used within what it stands for"));
                };
                let node = node.clone();
                // the value itself is counted where it is put
                self.count(node.size() - 1, line)?;
                self.done(node, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Data::List(Vec::new()), anchor, tag.is_some(), line)
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Data::Map(Vec::new()), anchor, tag.is_some(), line)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.done(
                    Node {
                        line: open.line,
                        data: open.data,
                    },
                    open.anchor,
                ),
                None => Err(fault("there is an end without a beginning")),
            },
        }
    }

    fn start(
        &mut self,
        data: Data,
        anchor: usize,
        tagged: bool,
        line: usize,
    ) -> Result<(), YamlError> {
        let refused = if tagged {
            "tags are not understood; leave it out"
        } else if self.open.len() >= DEEPEST {
            "lists and maps are too deep in each other"
        } else if matches!(
            &self.open.last(),
            Some(Open {
                data: Data::Map(_),
                key: None,
                ..
            })
        ) {
            "a key must be a text"
        } else {
            self.open.push(Open {
                line,
                anchor,
                data,
                key: None,
            });
            return Ok(());
        };
        Err(YamlError {
            line,
            reason: refused.to_owned(),
        })
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), YamlError> {
        self.left = self.left.checked_sub(nodes).ok_or_else(|| YamlError {
            line,
            reason: format!("there are more than {MOST} values"),
        })?;
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn done(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.count(1, node.line)?;
        if anchor != 0 {
            // what an anchor stands for is kept once more
            self.count(node.size(), node.line)?;
            self.anchors.push((anchor, node.clone()));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.data, open.key.take()) {
            (Data::List(items), _) => items.push(node),
            (Data::Map(pairs), Some((line, key))) => pairs.push(Pair {
                line,
                key,
                value: node,
            }),
            (Data::Map(pairs), None) => {
                let line = node.line;
                let fault = |reason: String| Err(YamlError { line, reason });
                let Data::Text(key) = node.data else {
                    return fault("a key must be a text".to_owned());
                };
                if key == "<<" {
                    return fault(
                        "merge keys (`<<`) are not understood; write the values out".to_owned(),
                    );
                }
                if let Some(first) = pairs.iter().find(|pair| pair.key == key) {
                    return fault(format!("`{key}` is there already, in line {}", first.line));
                }
                open.key = Some((line, key));
            }
            (Data::Null | Data::Text(_), _) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(node: &Node) -> String {
        match &node.data {
            Data::Null => "-".to_owned(),
            Data::Text(text) => format!("{text:?}"),
            Data::List(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            Data::Map(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|pair| format!("{}={}", pair.key, show(&pair.value)))
                    .collect();
                format!("{{{}}}", pairs.join(" "))
            }
        }
    }

    #[test]
    fn scalars_stay_as_they_are_written() {
        let node =
            read("a: 1.10\nb: no\nc: '007'\nd: 1e3\ne: ~\nf: ''\ng: [x, y]\nh: &k 5\ni: *k\n")
                .unwrap();
        assert_eq!(
            show(&node),
            r#"{a="1.10" b="no" c="007" d="1e3" e=- f="" g=["x" "y"] h="5" i="5"}"#
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line, part) in [
            ("a: 1\na: 2\n", 2, "line 1"),
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("a: !x 1\n", 1, "tags"),
            ("a: 1\n<<: b\n", 2, "merge keys"),
            ("a: &x [*x]\n", 1, "within"),
            ("? [a]\n: b\n", 1, "key must be a text"),
            ("a: [1, 2\n", 2, ""),
            ("x:\n  - a\n b\n", 3, ""),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.reason.contains(part) && error.line.abs_diff(line) <= 1,
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        assert!(read(&"- ".repeat(100_000)).is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
        let bomb: String = (0..30)
            .map(|n| {
                let items = format!("*a{n}, ").repeat(10);
                format!("k{}: &a{} [{items}]\n", n + 1, n + 1)
            })
            .collect();
        let error = read(&format!("k0: &a0 [x]\n{bomb}")).unwrap_err();
        assert!(error.reason.contains("more than"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(?s)[-:\\[\\]{}&*!?|>'\"#%@,a \\n]{0,80}") {
            let _ = read(&text);
        }
    }
}
