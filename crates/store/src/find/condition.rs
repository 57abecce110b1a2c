//! Conditions on objects, and their translation to SQL.

use std::fmt::Write as _;

use rusqlite::types::Value as Sql;

use super::sql_list;
use crate::{Iid, Side, StoreError, error::Result, fold::fold};

/// A condition on an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Holds for every object.
    Always,
    /// Holds for none.
    Never,
    /// All hold.
    And(Vec<Condition>),
    /// At least one holds.
    Or(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// It is one of these objects.
    Ids(Vec<Iid>),
    /// It is of one of these types.
    Types(Vec<u16>),
    /// It refers by this reference to one of these objects; `None`: to any.
    Refers {
        /// Reference code.
        reference: u16,
        /// The objects referred to.
        targets: Option<Vec<Iid>>,
    },
    /// One of these objects refers to it by this reference; `None`: any does.
    ReferredBy {
        /// Reference code.
        reference: u16,
        /// The objects that refer.
        sources: Option<Vec<Iid>>,
    },
    /// It is an end of a relationship of one of these types (empty: any) whose other end is one of these objects (`None`: any).
    Related {
        /// Type codes of the relationship.
        types: Vec<u16>,
        /// The objects at the other end.
        others: Option<Vec<Iid>>,
        /// Which end it is itself.
        side: Side,
    },
    /// It is a relationship with one of these objects at the given end.
    Ends(Side, Vec<Iid>),
    /// It is a relationship with an object of one of these types at the given end.
    EndTypes(Side, Vec<u16>),
    /// Its folded main representative is one of these.
    Names(Vec<String>),
    /// A value fulfils a test.
    Value(Field, Test),
}

impl Condition {
    /// `self` and `other`, without needless nesting.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, other) => other,
            (this, Self::Always) => this,
            (Self::And(mut all), Self::And(more)) => {
                all.extend(more);
                Self::And(all)
            }
            (Self::And(mut all), other) => {
                all.push(other);
                Self::And(all)
            }
            (this, other) => Self::And(vec![this, other]),
        }
    }
}

/// A value of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// Milliseconds of creation in the platform.
    CreatedAt,
    /// Milliseconds of the last change in the platform.
    UpdatedAt,
    /// Confidence.
    Confidence,
    /// An attribute of the document.
    Attribute {
        /// Its name.
        name: String,
        /// Field or key inside of it, for objects and dictionaries.
        inner: Option<String>,
        /// Whether it holds a list.
        multiple: bool,
        /// How its values are compared.
        form: Form,
    },
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text, without case and accents.
    Text,
    /// Text, exactly: identifiers.
    Exact,
    /// Dates as stored text.
    Date,
    /// Numbers and truth values.
    Number,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, or a date as stored.
    Text(String),
    /// Whole number, milliseconds, or a truth value as 0 and 1.
    Integer(i64),
    /// Number.
    Real(f64),
}

/// A test on a value; of a list it holds when it holds for one of its values.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Equal.
    Equals(Value),
    /// Greater.
    Above(Value),
    /// Greater or equal.
    AtLeast(Value),
    /// Smaller.
    Below(Value),
    /// Smaller or equal.
    AtMost(Value),
    /// Text inside.
    Contains(String),
    /// Text at the start.
    StartsWith(String),
    /// Text at the end.
    EndsWith(String),
    /// Every word of the text inside.
    Words(String),
    /// Whole value like a pattern with `*` and `?`.
    Pattern(String),
    /// There, and neither empty nor a date that stands for "none".
    Present,
}

/// SQL text with its parameters.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub parameters: Vec<Sql>,
}

impl Sink {
    /// Binds a value; returns its place in the statement.
    pub fn bind(&mut self, value: impl Into<Sql>) -> String {
        let value = value.into();
        let at = self
            .parameters
            .iter()
            .position(|known| *known == value)
            .unwrap_or_else(|| {
                self.parameters.push(value);
                self.parameters.len() - 1
            });
        format!("?{}", at + 1)
    }

    /// `column IN (…)`; long lists travel as one JSON parameter.
    pub fn among<N: std::fmt::Display + Into<i64> + Copy>(
        &mut self,
        column: &str,
        numbers: &[N],
    ) -> String {
        match numbers {
            [] => "0".to_owned(),
            [one] => format!("{column} = {one}"),
            few if few.len() <= 32 => format!("{column} IN ({})", sql_list(few)),
            many => {
                let list = self.bind(format!("[{}]", sql_list(many)));
                format!("{column} IN (SELECT value FROM json_each({list}))")
            }
        }
    }

    /// The SQL of a condition on the object row `o`.
    pub fn condition(&mut self, condition: &Condition) -> Result<String> {
        Ok(match condition {
            Condition::Always => "1".to_owned(),
            Condition::Never => "0".to_owned(),
            Condition::And(all) => self.joined(all, " AND ", "1")?,
            Condition::Or(any) => self.joined(any, " OR ", "0")?,
            // a missing value makes SQL's NULL: not true, so its negation holds
            Condition::Not(inner) => format!("({}) IS NOT TRUE", self.condition(inner)?),
            Condition::Ids(iids) => self.among("o.iid", iids),
            Condition::Types(types) => self.among("+o.type", types),
            Condition::Refers { reference, targets } => match targets {
                None => format!(
                    "EXISTS (SELECT 1 FROM edge e WHERE e.src = o.iid AND e.ref = {reference})"
                ),
                Some(targets) => {
                    let among = self.among("e.dst", targets);
                    format!(
                        "EXISTS (SELECT 1 FROM edge e WHERE e.src = o.iid AND e.ref = {reference} AND {among})"
                    )
                }
            },
            Condition::ReferredBy { reference, sources } => match sources {
                None => format!(
                    "EXISTS (SELECT 1 FROM edge e WHERE e.dst = o.iid AND e.ref = {reference})"
                ),
                Some(sources) => {
                    let among = self.among("e.src", sources);
                    format!(
                        "EXISTS (SELECT 1 FROM edge e WHERE e.dst = o.iid AND e.ref = {reference} AND {among})"
                    )
                }
            },
            Condition::Related {
                types,
                others,
                side,
            } => self.related(types, others.as_deref(), *side),
            Condition::Ends(side, iids) => match side {
                Side::Source => self.among("o.src", iids),
                Side::Target => self.among("o.dst", iids),
                Side::Both => format!(
                    "({} OR {})",
                    self.among("o.src", iids),
                    self.among("o.dst", iids)
                ),
            },
            Condition::EndTypes(side, types) => {
                let mut end = |column: &str| {
                    let among = self.among("x.type", types);
                    format!("EXISTS (SELECT 1 FROM object x WHERE x.iid = o.{column} AND {among})")
                };
                match side {
                    Side::Source => end("src"),
                    Side::Target => end("dst"),
                    Side::Both => format!("({} OR {})", end("src"), end("dst")),
                }
            }
            Condition::Names(names) => {
                let places: Vec<String> =
                    names.iter().map(|name| self.bind(name.clone())).collect();
                format!("o.name_key IN ({})", places.join(","))
            }
            Condition::Value(field, test) => self.value(field, test)?,
        })
    }

    fn joined(&mut self, conditions: &[Condition], with: &str, none: &str) -> Result<String> {
        if conditions.is_empty() {
            return Ok(none.to_owned());
        }
        let parts = conditions
            .iter()
            .map(|condition| Ok(format!("({})", self.condition(condition)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(parts.join(with))
    }

    fn related(&mut self, types: &[u16], others: Option<&[Iid]>, side: Side) -> String {
        let mut branch = |own: &str, other: &str| {
            let mut sql = format!("EXISTS (SELECT 1 FROM object x WHERE x.{own} = o.iid");
            if !types.is_empty() {
                let _ = write!(sql, " AND {}", self.among("x.type", types));
            }
            if let Some(others) = others {
                let _ = write!(sql, " AND {}", self.among(&format!("x.{other}"), others));
            }
            sql.push(')');
            sql
        };
        match side {
            Side::Source => branch("src", "dst"),
            Side::Target => branch("dst", "src"),
            Side::Both => format!("({} OR {})", branch("src", "dst"), branch("dst", "src")),
        }
    }

    fn value(&mut self, field: &Field, test: &Test) -> Result<String> {
        match field {
            Field::CreatedAt => self.test("o.created_at", Form::Number, test),
            Field::UpdatedAt => self.test("o.updated_at", Form::Number, test),
            Field::Confidence => self.test("o.confidence", Form::Number, test),
            Field::Attribute {
                name,
                inner,
                multiple: false,
                form,
            } => {
                let path = self.bind(json_path(name, inner.as_deref())?);
                self.test(&format!("json_extract(o.attributes, {path})"), *form, test)
            }
            Field::Attribute {
                name,
                inner,
                multiple: true,
                form,
            } => {
                let path = self.bind(json_path(name, None)?);
                let value = match inner {
                    None => "v.value".to_owned(),
                    Some(inner) => {
                        let inner = self.bind(json_path(inner, None)?);
                        format!("json_extract(v.value, {inner})")
                    }
                };
                let test = self.test(&value, *form, test)?;
                Ok(format!(
                    "EXISTS (SELECT 1 FROM json_each(o.attributes, {path}) v WHERE {test})"
                ))
            }
        }
    }

    fn test(&mut self, value: &str, form: Form, test: &Test) -> Result<String> {
        let folded = |text: &str| {
            if form == Form::Text {
                fold(text).into_owned()
            } else {
                text.to_owned()
            }
        };
        let subject = if form == Form::Text {
            format!("fold({value})")
        } else {
            value.to_owned()
        };
        let text_subject = if form == Form::Text {
            subject.clone()
        } else {
            format!("fold({value})")
        };
        let mut compare = |operator: &str, with: &Value| {
            let place = match with {
                Value::Text(text) => self.bind(folded(text)),
                Value::Integer(number) => self.bind(*number),
                Value::Real(number) => self.bind(*number),
            };
            format!("{subject} {operator} {place}")
        };
        Ok(match test {
            Test::Equals(with) => compare("=", with),
            Test::Above(with) => compare(">", with),
            Test::AtLeast(with) => compare(">=", with),
            Test::Below(with) => compare("<", with),
            Test::AtMost(with) => compare("<=", with),
            Test::Contains(text) => {
                let text = self.bind(fold(text).into_owned());
                format!("instr({text_subject}, {text}) > 0")
            }
            Test::StartsWith(text) => {
                let text = self.bind(fold(text).into_owned());
                format!("substr({text_subject}, 1, length({text})) = {text}")
            }
            Test::EndsWith(text) => {
                if text.is_empty() {
                    return Ok(format!("{value} IS NOT NULL"));
                }
                let text = self.bind(fold(text).into_owned());
                format!("substr({text_subject}, -length({text})) = {text}")
            }
            Test::Words(text) => {
                let words: Vec<String> = fold(text)
                    .split(|c: char| !c.is_alphanumeric())
                    .filter(|word| !word.is_empty())
                    .map(|word| {
                        format!("instr({text_subject}, {}) > 0", self.bind(word.to_owned()))
                    })
                    .collect();
                if words.is_empty() {
                    "0".to_owned()
                } else {
                    words.join(" AND ")
                }
            }
            Test::Pattern(pattern) => {
                // GLOB knows character classes, which are literal text here
                let glob = fold(pattern).replace('[', "[[]");
                let glob = self.bind(glob);
                format!("{text_subject} GLOB {glob}")
            }
            Test::Present => match form {
                Form::Number => format!("{value} IS NOT NULL"),
                Form::Text | Form::Exact => format!("{value} <> ''"),
                Form::Date => {
                    format!("{value} > '{NO_DATE_BELOW}' AND {value} < '{NO_DATE_ABOVE}'")
                }
            },
        })
    }
}

/// Dates up to this one and from [`NO_DATE_ABOVE`] on stand for "none".
const NO_DATE_BELOW: &str = "1970-01-01T01:00:00.000Z";
const NO_DATE_ABOVE: &str = "5138-11-16T09:46:40.000Z";

/// A JSON path to an attribute and a field inside of it.
pub(super) fn json_path(name: &str, inner: Option<&str>) -> Result<String> {
    if name.contains('"') || inner.is_some_and(|inner| inner.contains('"')) {
        return Err(StoreError::BadFilter(
            "attribute names must not contain quotes".to_owned(),
        ));
    }
    Ok(match inner {
        None => format!("$.\"{name}\""),
        Some(inner) => format!("$.\"{name}\".\"{inner}\""),
    })
}
