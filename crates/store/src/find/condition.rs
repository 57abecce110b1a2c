//! Conditions on object rows, with identifiers resolved, and their SQL.

use std::{fmt::Write as _, sync::Arc};

use ferrocti_model::filter::Side;
use rusqlite::types::Value as Sql;

use super::sql_list;
use crate::{Iid, StoreError, error::Result, fold::fold};

/// A condition on an object row; the same logic as [`ferrocti_model::filter::Expression`], in terms of rows and columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Always,
    Never,
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Ids(Vec<Iid>),
    Types(Vec<u16>),
    /// It refers by a reference to one of these; `None`: to any.
    Refers(u16, Option<Vec<Iid>>),
    /// One of these refers to it by a reference; `None`: any does.
    ReferredBy(u16, Option<Vec<Iid>>),
    /// It is an end of a relationship of one of these types (empty: any) with one of these at the other end.
    Related(Vec<u16>, Option<Vec<Iid>>, Side),
    Ends(Side, Vec<Iid>),
    EndTypes(Side, Vec<u16>),
    /// Its author, found by this reference, fulfils a condition.
    Author(u16, Box<Condition>),
    /// Its sort name is one of these.
    Names(Vec<String>),
    Value(Field, Test),
    /// A list has all of these values, which are different from each other.
    HasAll(Field, Vec<Sql>),
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field {
    CreatedAt,
    UpdatedAt,
    Confidence,
    Attribute {
        name: String,
        inner: Option<String>,
        multiple: bool,
        form: Form,
    },
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Without case and accents.
    Text,
    /// As they are: identifiers.
    Exact,
    /// As stored text, which sorts like time.
    Date,
    /// Numbers and truth values, and anything that is only asked for its presence.
    Number,
}

/// A test on a value; of a list it holds when it holds for one of its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// An SQL comparison operator and what to compare with.
    Compares(&'static str, Sql),
    /// Equal to one of these.
    Among(Vec<Sql>),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    Words(String),
    Pattern(String),
    Present,
}

/// SQL under construction: the parameters, and the name of the object row that conditions are about.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    pub parameters: Vec<Sql>,
    row: &'static str,
    /// The sets of markings that the reader may see, where there is something that it may not.
    sets: Option<Arc<[i64]>>,
}

impl Sink {
    pub fn new(parameters: Vec<Sql>) -> Self {
        Self {
            parameters,
            row: "o",
            sets: None,
        }
    }

    /// Hides objects with other sets of markings from every condition.
    pub fn hide(&mut self, sets: Arc<[i64]>) {
        self.sets = Some(sets);
    }

    /// That an object row may be seen; `None`: all may be.
    pub fn visible(&mut self, row: &str) -> Option<String> {
        let sets = self.sets.clone()?;
        Some(self.among(&format!("{row}.marking_set"), &sets))
    }

    /// The same as a further condition.
    pub fn seen(&mut self, row: &str) -> String {
        self.visible(row)
            .map_or_else(String::new, |condition| format!(" AND {condition}"))
    }

    /// That the object which a column names may be seen; the objects of a list of identifiers may be, by how it was made.
    fn seen_end(&mut self, column: &str, iids: Option<&[Iid]>) -> String {
        match (self.seen("t"), iids) {
            (condition, None) if !condition.is_empty() => {
                format!(" AND EXISTS (SELECT 1 FROM object t WHERE t.iid = {column}{condition})")
            }
            _ => String::new(),
        }
    }

    /// Binds a value; returns its place in the statement.
    pub fn bind(&mut self, value: impl Into<Sql>) -> String {
        let value = value.into();
        // the same values at the same places make the same statement; of long lists nobody remembers the statement
        let at = self
            .parameters
            .iter()
            .take(FEW)
            .position(|known| *known == value)
            .unwrap_or_else(|| {
                self.parameters.push(value);
                self.parameters.len() - 1
            });
        format!("?{}", at + 1)
    }

    /// Whether a statement takes so many values.
    pub fn check(&self) -> Result<()> {
        if self.parameters.len() > MOST {
            return Err(StoreError::BadFilter(format!(
                "there are more than {MOST} values; split the request"
            )));
        }
        Ok(())
    }

    /// `column IN (…)` for codes and sets, of which there are few combinations; long lists travel as one JSON parameter.
    pub fn among<N: std::fmt::Display + Copy>(&mut self, column: &str, numbers: &[N]) -> String {
        match numbers {
            // no code, set or row number is negative
            [] => format!("+{column} < 0"),
            [one] => format!("{column} = {one}"),
            few if few.len() <= 32 => format!("{column} IN ({})", sql_list(few)),
            many => {
                let list = self.bind(format!("[{}]", sql_list(many)));
                format!("{column} IN (SELECT value FROM json_each({list}))")
            }
        }
    }

    /// `column IN (…)` for row numbers. They are parameters, so that the statement stays the same from one object to the next.
    pub fn among_ids(&mut self, column: &str, iids: &[Iid]) -> String {
        match iids {
            [] => format!("+{column} < 0"),
            [one] => format!("{column} = {}", self.bind(*one)),
            many => {
                let list = self.bind(format!("[{}]", sql_list(many)));
                format!("{column} IN (SELECT value FROM json_each({list}))")
            }
        }
    }

    /// The SQL of a condition.
    pub fn condition(&mut self, condition: &Condition) -> Result<String> {
        let row = self.row;
        let among_or_any = |sink: &mut Self, column: &str, iids: &Option<Vec<Iid>>| match iids {
            Some(iids) => format!(" AND {}", sink.among_ids(column, iids)),
            None => String::new(),
        };
        Ok(match condition {
            Condition::Always => "1".to_owned(),
            Condition::Never => NEVER.to_owned(),
            Condition::And(all) => self.joined(all, " AND ", "1")?,
            Condition::Or(any) => self.joined(any, " OR ", NEVER)?,
            // a missing value makes SQL's NULL: not true, so its negation holds
            Condition::Not(inner) => format!("({}) IS NOT TRUE", self.condition(inner)?),
            Condition::Ids(iids) => self.among_ids(&format!("{row}.iid"), iids),
            // the plus keeps the planner from the index of types, which it overrates without statistics
            Condition::Types(types) => self.among(&format!("+{row}.type"), types),
            Condition::Refers(reference, targets) => {
                let among = among_or_any(self, "e.dst", targets)
                    + &self.seen_end("e.dst", targets.as_deref());
                format!(
                    "EXISTS (SELECT 1 FROM edge e WHERE e.src = {row}.iid AND e.ref = {reference}{among})"
                )
            }
            Condition::ReferredBy(reference, sources) => {
                let among = among_or_any(self, "e.src", sources)
                    + &self.seen_end("e.src", sources.as_deref());
                format!(
                    "EXISTS (SELECT 1 FROM edge e WHERE e.dst = {row}.iid AND e.ref = {reference}{among})"
                )
            }
            Condition::Related(types, others, side) => self.either(*side, |sink, own, other| {
                let mut sql = format!("EXISTS (SELECT 1 FROM object x WHERE x.{own} = {row}.iid");
                if !types.is_empty() {
                    let _ = write!(sql, " AND {}", sink.among("x.type", types));
                }
                sql + &among_or_any(sink, &format!("x.{other}"), others) + &sink.seen("x") + ")"
            }),
            Condition::Ends(side, iids) => self.either(*side, |sink, end, _| {
                sink.among_ids(&format!("{row}.{end}"), iids)
            }),
            Condition::EndTypes(side, types) => self.either(*side, |sink, end, _| {
                let among = sink.among("x.type", types);
                format!("EXISTS (SELECT 1 FROM object x WHERE x.iid = {row}.{end} AND {among})")
            }),
            Condition::Author(reference, inner) => {
                if row != "o" {
                    return Err(StoreError::BadFilter(
                        "an author's author cannot be filtered by".to_owned(),
                    ));
                }
                self.row = "a";
                let inner = self.condition(inner);
                self.row = row;
                let inner = format!("({}){}", inner?, self.seen("a"));
                format!(
                    "EXISTS (SELECT 1 FROM edge w JOIN object a ON a.iid = w.dst WHERE w.src = {row}.iid AND w.ref = {reference} AND {inner})"
                )
            }
            Condition::Names(names) => self.among_texts(&format!("{row}.name_key"), names),
            Condition::Value(field, test) => self.value(field, test)?,
            Condition::HasAll(field, values) => self.has_all(field, values)?,
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
        Ok(balanced(&parts, with))
    }

    /// `column IN (…)` for texts; a long list travels as one JSON parameter, since a statement takes 32,766 at most.
    pub fn among_texts(&mut self, column: &str, texts: &[String]) -> String {
        let texts = texts.iter().map(|text| Sql::Text(text.clone()));
        self.among_values(column, texts.collect())
    }

    fn among_values(&mut self, column: &str, values: Vec<Sql>) -> String {
        if values.len() > FEW {
            let list: serde_json::Value = values.into_iter().map(json).collect();
            let list = self.bind(list.to_string());
            return format!("{column} IN (SELECT value FROM json_each({list}))");
        }
        let places: Vec<String> = values.into_iter().map(|value| self.bind(value)).collect();
        format!("{column} IN ({})", places.join(","))
    }

    /// Equality with one of several values.
    fn among_forms(&mut self, value: &str, form: Form, with: &[Sql]) -> String {
        let folded = format!("fold({value})");
        let (value, with) = match form {
            Form::Text => (folded.as_str(), with.iter().map(folded_text).collect()),
            Form::Exact | Form::Date | Form::Number => (value, with.to_vec()),
        };
        self.among_values(value, with)
    }

    /// A condition on one end or on either: the columns are the end it is about and the other one.
    fn either(
        &mut self,
        side: Side,
        mut one: impl FnMut(&mut Self, &str, &str) -> String,
    ) -> String {
        match side {
            Side::Source => one(self, "src", "dst"),
            Side::Target => one(self, "dst", "src"),
            Side::Both => format!(
                "({} OR {})",
                one(self, "src", "dst"),
                one(self, "dst", "src")
            ),
        }
    }

    fn value(&mut self, field: &Field, test: &Test) -> Result<String> {
        let row = self.row;
        Ok(match field {
            Field::CreatedAt => self.test(&format!("{row}.created_at"), Form::Number, test),
            Field::UpdatedAt => self.test(&format!("{row}.updated_at"), Form::Number, test),
            Field::Confidence => self.test(&format!("{row}.confidence"), Form::Number, test),
            Field::Attribute {
                name,
                inner,
                multiple: false,
                form,
            } => {
                let path = self.bind(json_path(name, inner.as_deref())?);
                self.test(
                    &format!("json_extract({row}.attributes, {path})"),
                    *form,
                    test,
                )
            }
            Field::Attribute {
                name,
                inner,
                multiple: true,
                form,
            } => {
                let (each, value) = self.each(name, inner.as_deref())?;
                let test = self.test(&value, *form, test);
                format!("EXISTS (SELECT 1 FROM {each} WHERE {test})")
            }
        })
    }

    /// The values of a list: where they come from, and one of them.
    fn each(&mut self, name: &str, inner: Option<&str>) -> Result<(String, String)> {
        let path = self.bind(json_path(name, None)?);
        let value = match inner {
            None => "v.value".to_owned(),
            Some(inner) => {
                let inner = self.bind(json_path(inner, None)?);
                format!("json_extract(v.value, {inner})")
            }
        };
        let each = format!("json_each({}.attributes, {path}) v", self.row);
        Ok((each, value))
    }

    fn has_all(&mut self, field: &Field, values: &[Sql]) -> Result<String> {
        let Field::Attribute {
            name, inner, form, ..
        } = field
        else {
            return Ok(NEVER.to_owned());
        };
        let (each, value) = self.each(name, inner.as_deref())?;
        let among = self.among_forms(&value, *form, values);
        let compared = if *form == Form::Text {
            format!("fold({value})")
        } else {
            value
        };
        Ok(format!(
            "(SELECT count(DISTINCT {compared}) FROM {each} WHERE {among}) = {}",
            values.len()
        ))
    }

    fn test(&mut self, value: &str, form: Form, test: &Test) -> String {
        let folded = format!("fold({value})");
        match test {
            Test::Compares(operator, with) => match with {
                Sql::Text(text) if form == Form::Text => {
                    let text = self.bind(fold(text).into_owned());
                    format!("{folded} {operator} {text}")
                }
                other => format!("{value} {operator} {}", self.bind(other.clone())),
            },
            Test::Among(with) => self.among_forms(value, form, with),
            Test::Contains(text) => {
                let text = self.bind(fold(text).into_owned());
                format!("instr({folded}, {text}) > 0")
            }
            Test::StartsWith(text) => {
                let text = self.bind(fold(text).into_owned());
                format!("substr({folded}, 1, length({text})) = {text}")
            }
            Test::EndsWith(text) if text.is_empty() => format!("{value} IS NOT NULL"),
            Test::EndsWith(text) => {
                let text = self.bind(fold(text).into_owned());
                format!("substr({folded}, -length({text})) = {text}")
            }
            Test::Words(text) => {
                let words: Vec<String> = fold(text)
                    .split(|c: char| !c.is_alphanumeric())
                    .filter(|word| !word.is_empty())
                    .map(|word| format!("instr({folded}, {}) > 0", self.bind(word.to_owned())))
                    .collect();
                if words.is_empty() {
                    NEVER.to_owned()
                } else {
                    format!("({})", balanced(&words, " AND "))
                }
            }
            Test::Pattern(pattern) => {
                // only the star is special: what else GLOB knows is literal here
                let glob = fold(pattern).replace('[', "[[]").replace('?', "[?]");
                let glob = self.bind(glob);
                format!("{folded} GLOB {glob}")
            }
            Test::Present => match form {
                Form::Number => format!("{value} IS NOT NULL"),
                Form::Text | Form::Exact => format!("{value} <> ''"),
                Form::Date => {
                    format!("({value} > '{NO_DATE_BELOW}' AND {value} < '{NO_DATE_ABOVE}')")
                }
            },
        }
    }
}

fn folded_text(value: &Sql) -> Sql {
    match value {
        Sql::Text(text) => Sql::Text(fold(text).into_owned()),
        other => other.clone(),
    }
}

fn json(value: Sql) -> serde_json::Value {
    match value {
        Sql::Text(text) => text.into(),
        Sql::Integer(number) => number.into(),
        Sql::Real(number) => number.into(),
        // what is compared is none of these
        Sql::Null | Sql::Blob(_) => serde_json::Value::Null,
    }
}

/// Most parameters of a statement (SQLite's limit).
const MOST: usize = 32_766;

/// Lists up to this long are written out.
pub(super) const FEW: usize = 32;

/// Conditions joined as a balanced tree: SQLite takes no expression deeper than 1,000 levels, and reads a plain chain as one level each.
pub(super) fn balanced(parts: &[String], with: &str) -> String {
    if parts.len() <= FEW {
        return parts.join(with);
    }
    let (left, right) = parts.split_at(parts.len() / 2);
    format!(
        "({}){with}({})",
        balanced(left, with),
        balanced(right, with)
    )
}

/// Holds for no row. Not a constant: with one SQLite finds no use for the index that a statement names, and refuses it.
const NEVER: &str = "+o.iid < 0";

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
