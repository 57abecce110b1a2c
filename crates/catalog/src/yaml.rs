//! YAML as a tree with the line of each value, and with scalars as they are written: `1.10` stays `1.10`, and `no` stays `no`.
//!
//! Anchors and aliases are followed, within bounds. What else is understood depends on the [`Dialect`]: in files of our own tags and merge keys are
//! refused, as are two equal keys; files that people wrote for other programs are read with what those programs accept.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

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

/// What is understood beyond maps, lists, texts and aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Nothing: for files of our own, where a mistake is better refused.
    #[default]
    Strict,
    /// Merge keys (`<<`), tags, and keys that come twice, of which the last counts: for files that were written for other programs.
    Lenient,
}

/// A value and its line, from 1.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub line: usize,
    /// What it is.
    pub data: Data,
    /// Whether it is a text without quotes, so that `yes` or `1.10` may be meant as something else than a text.
    pub plain: bool,
    /// Its tag without `!`, e.g. `reset`; those of YAML's own types with `!!` are not kept.
    pub tag: Option<String>,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Data {
    /// Nothing, or `null` or `~` without quotes.
    Null,
    /// A scalar as it is written.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Pair>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Where the key is.
    pub line: usize,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Node,
}

/// A document, and what its reader should be told.
#[derive(Debug, Clone)]
pub struct Document {
    /// The value; an empty text is nothing.
    pub root: Node,
    /// Keys that came again in the same map, with the line of the one that counts; in [`Dialect::Strict`] there are none.
    pub repeated: Vec<(usize, String)>,
}

impl Node {
    fn new(line: usize, data: Data) -> Self {
        Self {
            line,
            data,
            plain: false,
            tag: None,
        }
    }

    /// The value of a key, when this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.data {
            Data::Map(pairs) => pairs
                .iter()
                .find(|pair| pair.key == key)
                .map(|pair| &pair.value),
            _ => None,
        }
    }

    /// What it is, with its article.
    #[must_use]
    pub fn kind(&self) -> &'static str {
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
    tag: Option<String>,
    data: Data,
    /// The key whose value comes next.
    key: Option<(usize, String)>,
}

/// Reads one document of our own. An empty text is nothing.
pub(crate) fn read(text: &str) -> Result<Node, YamlError> {
    read_as(text, Dialect::Strict).map(|document| document.root)
}

/// Reads one document.
///
/// # Errors
/// What makes it no YAML that can be used, with its line.
pub fn read_as(text: &str, dialect: Dialect) -> Result<Document, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        dialect,
        repeated: Vec::new(),
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
    Ok(Document {
        root: reader.root.unwrap_or_else(|| Node::new(1, Data::Null)),
        repeated: reader.repeated,
    })
}

fn scan_error(error: &ScanError) -> YamlError {
    YamlError {
        line: error.marker().line(),
        reason: error.info().to_owned(),
    }
}

struct Reader {
    dialect: Dialect,
    repeated: Vec<(usize, String)>,
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
                let is_text = tag
                    .as_ref()
                    .is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let tag = self.tag(tag.as_deref(), line)?;
                let plain = style == ScalarStyle::Plain && !is_text;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let data = if null {
                    Data::Null
                } else {
                    Data::Text(text.into_owned())
                };
                let node = Node {
                    line,
                    data,
                    plain,
                    tag,
                };
                self.done(node, anchor)
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
                let tag = self.tag(tag.as_deref(), line)?;
                self.start(Data::List(Vec::new()), anchor, tag, line)
            }
            Event::MappingStart(anchor, tag) => {
                let tag = self.tag(tag.as_deref(), line)?;
                self.start(Data::Map(Vec::new()), anchor, tag, line)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let data = match open.data {
                        Data::Map(pairs) if self.dialect == Dialect::Lenient => {
                            Data::Map(self.merged(pairs)?)
                        }
                        data => data,
                    };
                    let node = Node {
                        line: open.line,
                        data,
                        plain: false,
                        tag: open.tag,
                    };
                    self.done(node, open.anchor)
                }
                None => Err(fault("there is an end without a beginning")),
            },
        }
    }

    /// The tag that is kept.
    fn tag(&self, tag: Option<&Tag>, line: usize) -> Result<Option<String>, YamlError> {
        match (tag, self.dialect) {
            (None, _) => Ok(None),
            (Some(_), Dialect::Strict) => Err(YamlError {
                line,
                reason: "tags are not understood; leave it out".to_owned(),
            }),
            (Some(tag), Dialect::Lenient) => {
                Ok((!tag.is_yaml_core_schema()).then(|| tag.suffix.clone()))
            }
        }
    }

    /// The pairs of a map with those that its merge keys bring: what is written out goes first, then what is merged earlier.
    fn merged(&mut self, pairs: Vec<Pair>) -> Result<Vec<Pair>, YamlError> {
        let (merges, mut out): (Vec<Pair>, Vec<Pair>) =
            pairs.into_iter().partition(|pair| pair.key == "<<");
        for merge in merges {
            let line = merge.line;
            let sources = match merge.value.data {
                Data::List(items) => items,
                _ => vec![merge.value],
            };
            for source in sources {
                let Data::Map(pairs) = source.data else {
                    return Err(YamlError {
                        line,
                        reason: "`<<` stands for a map or a list of maps, such as `<<: *name`"
                            .to_owned(),
                    });
                };
                for pair in pairs {
                    if !out.iter().any(|other| other.key == pair.key) {
                        out.push(pair);
                    }
                }
            }
        }
        Ok(out)
    }

    fn start(
        &mut self,
        data: Data,
        anchor: usize,
        tag: Option<String>,
        line: usize,
    ) -> Result<(), YamlError> {
        let refused = if self.open.len() >= DEEPEST {
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
                tag,
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
                let first = pairs.iter().position(|pair| pair.key == key);
                match (self.dialect, first) {
                    (Dialect::Strict, _) if key == "<<" => {
                        return fault(
                            "merge keys (`<<`) are not understood; write the values out".to_owned(),
                        );
                    }
                    (Dialect::Strict, Some(first)) => {
                        let first = pairs[first].line;
                        return fault(format!("`{key}` is there already, in line {first}"));
                    }
                    (Dialect::Lenient, Some(first)) if key != "<<" => {
                        pairs.remove(first);
                        self.repeated.push((line, key.clone()));
                    }
                    _ => {}
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
    fn a_lenient_reader_merges_and_lets_the_last_of_equal_keys_count() {
        let read = |text| read_as(text, Dialect::Lenient);
        let document = read(
            "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: !!str 4}\nz: {b: 9, <<: [*x, *y]}\nw: {<<: *y}\nw: {<<: *x, b: 5}\n",
        )
        .unwrap();
        assert_eq!(
            show(document.root.get("z").unwrap()),
            r#"{b="9" a="1" c="4"}"#
        );
        assert_eq!(show(document.root.get("w").unwrap()), r#"{b="5" a="1"}"#);
        assert_eq!(document.repeated, [(5, "w".to_owned())]);

        let document = read("a: !reset null\nb: !override [1]\nc: '1'\nd: !!str\n").unwrap();
        let tag = |key| document.root.get(key).unwrap().tag.clone();
        assert_eq!(tag("a").as_deref(), Some("reset"));
        assert_eq!(tag("b").as_deref(), Some("override"));
        assert!(!document.root.get("c").unwrap().plain);
        assert_eq!(show(document.root.get("d").unwrap()), r#""""#);
        assert!(read("a: {<<: 5}\n").unwrap_err().reason.contains("map"));
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
            let _ = read_as(&text, Dialect::Lenient);
        }
    }
}
