//! Filters as clients write them (`FilterGroup`), and what they mean ([`Expression`]).
//!
//! [`FilterGroup::parse`] reads the JSON of the GraphQL input and checks its form; [`FilterGroup::expression`] looks its keys up in
//! the registry, turns its values into what they are compared as, and resolves operators and modes into plain logic. Whoever
//! evaluates an expression (the store, a stream) needs to know nothing of filters.

mod expression;
mod key;
mod value;

use serde_json::{Map, Value};

pub use expression::{AttributeKey, Expression, Operand, Side, Test};

use crate::{clock::Millis, id::Ident};

/// Deepest nesting of groups.
pub const MAX_DEPTH: usize = 32;
/// Most filters in all groups together.
pub const MAX_FILTERS: usize = 1_000;
/// Most values in all filters together.
pub const MAX_VALUES: usize = 100_000;

/// What a filter is understood with.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The current time, for relative dates.
    pub now: Millis,
    /// Who asks, for the value `@me`.
    pub me: Option<Ident>,
}

/// How several conditions are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All must hold.
    And,
    /// One must hold.
    Or,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    NotEq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Smaller.
    Lt,
    /// Smaller or equal.
    Lte,
    /// Between two values, both included.
    Within,
    /// Absent or empty.
    Nil,
    /// Present.
    NotNil,
    /// Has the words.
    Match,
    /// Has the phrase; `*` stands for anything.
    Wildcard,
    /// Has not the phrase.
    NotWildcard,
    /// Has the text inside.
    Contains,
    /// Has not the text inside.
    NotContains,
    /// Starts with the text.
    StartsWith,
    /// Does not start with the text.
    NotStartsWith,
    /// Ends with the text.
    EndsWith,
    /// Does not end with the text.
    NotEndsWith,
    /// Found by full text within the keys.
    Search,
}

const OPERATORS: [(&str, Operator); 19] = [
    ("eq", Operator::Eq),
    ("not_eq", Operator::NotEq),
    ("gt", Operator::Gt),
    ("gte", Operator::Gte),
    ("lt", Operator::Lt),
    ("lte", Operator::Lte),
    ("within", Operator::Within),
    ("nil", Operator::Nil),
    ("not_nil", Operator::NotNil),
    ("match", Operator::Match),
    ("wildcard", Operator::Wildcard),
    ("not_wildcard", Operator::NotWildcard),
    ("contains", Operator::Contains),
    ("not_contains", Operator::NotContains),
    ("starts_with", Operator::StartsWith),
    ("not_starts_with", Operator::NotStartsWith),
    ("ends_with", Operator::EndsWith),
    ("not_ends_with", Operator::NotEndsWith),
    ("search", Operator::Search),
];

impl Operator {
    /// The operator's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        OPERATORS
            .iter()
            .find(|(_, operator)| *operator == self)
            .map_or("", |(name, _)| name)
    }

    fn named(name: &str) -> Option<Self> {
        OPERATORS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, operator)| *operator)
    }
}

/// Conditions on several keys.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterGroup {
    /// How its members are combined.
    pub mode: Mode,
    /// Conditions.
    pub filters: Vec<Filter>,
    /// Groups of conditions.
    pub groups: Vec<FilterGroup>,
}

/// A condition on one key, or on any of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Attribute names, reference names, relationship types or special keys.
    pub keys: Vec<String>,
    /// What to compare with.
    pub values: Vec<Value>,
    /// How to compare.
    pub operator: Operator,
    /// How the results for several values are combined.
    pub mode: Mode,
}

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The JSON has not the form of a filter group.
    #[error("filters: {0}")]
    Form(String),
    /// Too deep, too many filters or values.
    #[error("filters: at most {limit} {what} are allowed; split the request")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// No type of the schema has such a key.
    #[error(
        "incorrect filter key \"{0}\": no attribute, reference or relationship of the schema has this name"
    )]
    UnknownKey(String),
    /// The key exists upstream but not yet here.
    #[error("the filter key \"{0}\" is not supported in this release")]
    NotSupported(String),
    /// Key and operator do not go together.
    #[error("the filter operator \"{operator}\" cannot be used with the key \"{key}\"{hint}")]
    Operator {
        /// The key.
        key: String,
        /// The operator's name.
        operator: &'static str,
        /// What to do instead, starting with a separator; may be empty.
        hint: &'static str,
    },
    /// A value is not of the form that the key needs.
    #[error("the filter key \"{key}\" takes {expected}, not {value}")]
    Value {
        /// The key.
        key: String,
        /// The value, shortened.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
}

impl FilterGroup {
    /// A group without conditions, which everything fulfils.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            mode: Mode::And,
            filters: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Reads the JSON of the GraphQL input `FilterGroup`; `null` is a group without conditions. Keys and values may be given bare
    /// where the schema has lists, as clients do.
    pub fn parse(json: &Value) -> Result<Self, FilterError> {
        let mut budget = Budget {
            filters: MAX_FILTERS,
            values: MAX_VALUES,
        };
        if json.is_null() {
            return Ok(Self::empty());
        }
        Self::parse_at(json, 1, &mut budget)
    }

    fn parse_at(json: &Value, depth: usize, budget: &mut Budget) -> Result<Self, FilterError> {
        if depth > MAX_DEPTH {
            return Err(FilterError::TooLarge {
                what: "levels of groups",
                limit: MAX_DEPTH,
            });
        }
        let object = object(json, "a group")?;
        known_members(object, &["mode", "filters", "filterGroups"], "a group")?;
        let mode = match object.get("mode") {
            None | Some(Value::Null) => {
                return Err(form("a group needs a mode, \"and\" or \"or\""));
            }
            Some(mode) => self::mode(mode)?,
        };
        let members = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Err(form(&format!(
                "a group needs the list \"{name}\", which may be empty"
            ))),
            Some(Value::Array(list)) => Ok(list.as_slice()),
            Some(one) => Ok(std::slice::from_ref(one)),
        };
        let filters = members("filters")?
            .iter()
            .map(|filter| Filter::parse(filter, budget))
            .collect::<Result<_, _>>()?;
        let groups = members("filterGroups")?
            .iter()
            .map(|group| Self::parse_at(group, depth + 1, budget))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            mode,
            filters,
            groups,
        })
    }

    /// The JSON that [`Self::parse`] reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let filter = |filter: &Filter| {
            serde_json::json!({
                "key": filter.keys,
                "values": filter.values,
                "operator": filter.operator.name(),
                "mode": mode_name(filter.mode),
            })
        };
        serde_json::json!({
            "mode": mode_name(self.mode),
            "filters": self.filters.iter().map(filter).collect::<Vec<_>>(),
            "filterGroups": self.groups.iter().map(Self::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Filter {
    fn parse(json: &Value, budget: &mut Budget) -> Result<Self, FilterError> {
        let object = object(json, "a filter")?;
        known_members(object, &["key", "values", "operator", "mode"], "a filter")?;
        budget.take_filter()?;
        let keys = list(object.get("key"))
            .iter()
            .map(|key| {
                key.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| form("the keys of a filter are texts"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(form("a filter needs a key"));
        }
        let values = list(object.get("values"));
        budget.take_values(values.len())?;
        let operator = match object.get("operator") {
            None | Some(Value::Null) => Operator::Eq,
            Some(Value::String(name)) if name == "script" => {
                return Err(FilterError::NotSupported("script".to_owned()));
            }
            Some(name) => name.as_str().and_then(Operator::named).ok_or_else(|| {
                let known: Vec<_> = OPERATORS.iter().map(|(name, _)| *name).collect();
                form(&format!(
                    "{} is no operator; there are {}",
                    value::shown(name),
                    known.join(", ")
                ))
            })?,
        };
        let mode = match object.get("mode") {
            None | Some(Value::Null) => Mode::Or,
            Some(mode) => self::mode(mode)?,
        };
        Ok(Self {
            keys,
            values: values.to_vec(),
            operator,
            mode,
        })
    }
}

/// What may still come.
struct Budget {
    filters: usize,
    values: usize,
}

impl Budget {
    fn take_filter(&mut self) -> Result<(), FilterError> {
        self.filters = self.filters.checked_sub(1).ok_or(FilterError::TooLarge {
            what: "filters",
            limit: MAX_FILTERS,
        })?;
        Ok(())
    }

    fn take_values(&mut self, count: usize) -> Result<(), FilterError> {
        self.values = self
            .values
            .checked_sub(count)
            .ok_or(FilterError::TooLarge {
                what: "values",
                limit: MAX_VALUES,
            })?;
        Ok(())
    }
}

fn form(text: &str) -> FilterError {
    FilterError::Form(text.to_owned())
}

fn object<'a>(json: &'a Value, what: &str) -> Result<&'a Map<String, Value>, FilterError> {
    json.as_object()
        .ok_or_else(|| form(&format!("{what} is an object, not {}", value::shown(json))))
}

fn known_members(
    object: &Map<String, Value>,
    known: &[&str],
    what: &str,
) -> Result<(), FilterError> {
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(form(&format!(
            "{what} has no member {}; it has {}",
            value::shown(&name.as_str().into()),
            known.join(", ")
        ))),
        None => Ok(()),
    }
}

/// A list as clients give it: a list, a bare value, or nothing.
fn list(value: Option<&Value>) -> &[Value] {
    match value {
        None | Some(Value::Null) => &[],
        Some(Value::Array(list)) => list,
        Some(one) => std::slice::from_ref(one),
    }
}

fn mode(json: &Value) -> Result<Mode, FilterError> {
    match json.as_str() {
        Some("and") => Ok(Mode::And),
        Some("or") => Ok(Mode::Or),
        _ => Err(form(&format!(
            "the mode is \"and\" or \"or\", not {}",
            value::shown(json)
        ))),
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::And => "and",
        Mode::Or => "or",
    }
}
