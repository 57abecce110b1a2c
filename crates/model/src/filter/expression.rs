//! What a filter group means: plain logic over simple conditions.

use serde_json::{Map, Value};

use super::{
    Context, Filter, FilterError, FilterGroup, Mode, Operator,
    key::{self, Key},
    list,
    value::{self, Form, Round, shown},
};
use crate::{
    clock::Millis,
    id::{Ident, StixId},
    ids,
    registry::{Kind, Registry},
};

/// Logic over conditions on one element.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// Holds for every element.
    Always,
    /// Holds for none.
    Never,
    /// All hold.
    And(Vec<Expression>),
    /// At least one holds.
    Or(Vec<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// The element has one of these identifiers.
    Ids(Vec<Ident>),
    /// It is of one of these types (codes).
    Types(Vec<u16>),
    /// It refers by this reference to one of these elements; `None`: to any.
    Refers {
        /// Code of the reference type.
        reference: u16,
        /// The elements referred to.
        targets: Option<Vec<Ident>>,
    },
    /// One of these elements refers to it by this reference; `None`: any does.
    ReferredBy {
        /// Code of the reference type.
        reference: u16,
        /// The elements that refer.
        sources: Option<Vec<Ident>>,
    },
    /// It is an end of a relationship of one of these types (empty: any) whose other end is one of these elements (`None`: any).
    Related {
        /// Codes of the relationship types.
        types: Vec<u16>,
        /// The elements at the other end.
        others: Option<Vec<Ident>>,
        /// Which end it is itself.
        side: Side,
    },
    /// It is a relationship with one of these elements at the given end.
    Ends(Side, Vec<Ident>),
    /// It is a relationship with an element of one of these types at the given end.
    EndTypes(Side, Vec<u16>),
    /// Its author fulfils the expression.
    Author(Box<Expression>),
    /// A value of it (of a list: one of the values) passes a test.
    Value(AttributeKey, Test),
}

/// An end of a relationship.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where it starts.
    Source,
    /// Where it leads.
    Target,
    /// Either.
    Both,
}

/// An attribute that a filter is about.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeKey {
    /// Name of the attribute.
    pub name: String,
    /// Field or key inside of it, for objects, lists of objects and dictionaries.
    pub inner: Option<String>,
    /// Form of its values.
    pub kind: Kind,
    /// Whether it holds a list in some type.
    pub multiple: bool,
}

/// A test on a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Equal; texts of `Kind::Id` exactly, other texts without case and accents.
    Equals(Operand),
    /// Greater.
    Above(Operand),
    /// Greater or equal.
    AtLeast(Operand),
    /// Smaller.
    Below(Operand),
    /// Smaller or equal.
    AtMost(Operand),
    /// The text is somewhere inside.
    Contains(String),
    /// The text is at the start.
    StartsWith(String),
    /// The text is at the end.
    EndsWith(String),
    /// Every word of the text is somewhere inside.
    Words(String),
    /// The whole value is like this pattern, in which `*` stands for any text.
    Pattern(String),
    /// There is a value: neither empty, nor a date that stands for "none" (up to 1970-01-01T01:00:00Z, from 5138-11-16T09:46:40Z).
    Present,
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// Text, as given.
    Text(String),
    /// Number.
    Number(f64),
    /// Truth value.
    Bool(bool),
    /// Time.
    Date(Millis),
}

impl FilterGroup {
    /// What the group means, with its keys looked up and its values converted.
    pub fn expression(&self, context: &Context) -> Result<Expression, FilterError> {
        let filters = self.filters.iter().map(|filter| filter.expression(context));
        let groups = self.groups.iter().map(|group| group.expression(context));
        let members = filters.chain(groups).collect::<Result<Vec<_>, _>>()?;
        // a group without members asks nothing, whatever its mode
        Ok(if members.is_empty() {
            Expression::Always
        } else {
            joined(self.mode, members)
        })
    }
}

/// Filters of either mode in the least nesting.
fn joined(mode: Mode, mut members: Vec<Expression>) -> Expression {
    match (members.len(), mode) {
        (1, _) => members.swap_remove(0),
        (0, Mode::And) => Expression::Always,
        (0, Mode::Or) => Expression::Never,
        (_, Mode::And) => Expression::And(members),
        (_, Mode::Or) => Expression::Or(members),
    }
}

fn not(expression: Expression) -> Expression {
    match expression {
        Expression::Not(inner) => *inner,
        Expression::Always => Expression::Never,
        Expression::Never => Expression::Always,
        other => Expression::Not(Box::new(other)),
    }
}

impl Operator {
    /// The operator that this one denies, if it is a denial.
    fn denied(self) -> Option<Self> {
        match self {
            Self::NotEq => Some(Self::Eq),
            Self::Nil => Some(Self::NotNil),
            Self::NotWildcard => Some(Self::Wildcard),
            Self::NotContains => Some(Self::Contains),
            Self::NotStartsWith => Some(Self::StartsWith),
            Self::NotEndsWith => Some(Self::EndsWith),
            _ => None,
        }
    }

    fn is_range(self) -> bool {
        matches!(
            self,
            Self::Gt | Self::Gte | Self::Lt | Self::Lte | Self::Within
        )
    }
}

impl Filter {
    /// What the filter means. Any of several keys may match; a denial must hold for all of them.
    fn expression(&self, context: &Context) -> Result<Expression, FilterError> {
        let operator = self.effective_operator()?;
        let single_key =
            operator.is_range() || matches!(operator, Operator::Nil | Operator::NotNil);
        if single_key && self.keys.len() > 1 {
            return Err(self.refuse(
                &self.keys.join(", "),
                operator,
                ": give one key for each filter",
            ));
        }
        let keys = self
            .keys
            .iter()
            .map(|name| {
                Condition {
                    filter: self,
                    name,
                    operator,
                    context,
                }
                .expression(&key::classify(name)?)
            })
            .collect::<Result<_, _>>()?;
        let mode = if operator.denied().is_some() {
            Mode::And
        } else {
            Mode::Or
        };
        Ok(joined(mode, keys))
    }

    /// `eq` and `not_eq` with the value `EXISTS` are other words for `not_nil` and `nil`.
    fn effective_operator(&self) -> Result<Operator, FilterError> {
        let exists = self
            .values
            .iter()
            .filter(|value| value.as_str() == Some("EXISTS"))
            .count();
        match self.operator {
            Operator::Eq | Operator::NotEq if exists > 0 => {
                if exists < self.values.len() {
                    return Err(self.refuse(
                        &self.keys.join(", "),
                        self.operator,
                        ": the value EXISTS must stand alone",
                    ));
                }
                Ok(if self.operator == Operator::Eq {
                    Operator::NotNil
                } else {
                    Operator::Nil
                })
            }
            operator => Ok(operator),
        }
    }

    fn refuse(&self, key: &str, operator: Operator, hint: &'static str) -> FilterError {
        FilterError::Operator {
            key: value::shortened(key),
            operator: operator.name(),
            hint,
        }
    }
}

/// One key of a filter on its way to an expression.
struct Condition<'a> {
    filter: &'a Filter,
    name: &'a str,
    operator: Operator,
    context: &'a Context,
}

impl Condition<'_> {
    fn expression(&self, key: &Key) -> Result<Expression, FilterError> {
        match key {
            Key::Attributes(attributes) => self.attributes(attributes),
            Key::Reliability { own_first } => {
                let own = key::attribute("x_opencti_reliability")?;
                let author = Expression::Author(Box::new(self.attribute(&own)?));
                if !own_first {
                    return Ok(author);
                }
                let present = Expression::Value(own.clone(), Test::Present);
                Ok(Expression::Or(vec![
                    Expression::And(vec![present.clone(), self.attribute(&own)?]),
                    Expression::And(vec![not(present), author]),
                ]))
            }
            Key::Ids => {
                let ids = self.idents()?;
                self.membership(ids, Expression::Ids, None)
            }
            Key::Types => self.membership(self.types(), Expression::Types, None),
            Key::Ends(side) => {
                self.membership(self.idents()?, |ids| Expression::Ends(*side, ids), None)
            }
            Key::EndTypes(side) => self.membership(
                self.types(),
                |types| Expression::EndTypes(*side, types),
                None,
            ),
            Key::Reference(reference) => self.membership(
                self.idents()?,
                |targets| Expression::Refers {
                    reference: *reference,
                    targets: Some(targets),
                },
                Some(Expression::Refers {
                    reference: *reference,
                    targets: None,
                }),
            ),
            Key::Related {
                types,
                references,
                side,
            } => {
                let codes = if *references {
                    every_reference()
                } else {
                    Vec::new()
                };
                let related =
                    |others: Option<&[Ident]>| related(types.as_deref(), &codes, others, *side);
                self.membership(
                    self.idents()?,
                    |ids| related(Some(&ids)),
                    Some(related(None)),
                )
            }
            Key::RegardingOf => self.regarding_of(),
        }
    }

    /// A condition that a set test fulfils: ids and types. Denials mean "none of", whatever the mode.
    fn membership<T: Clone>(
        &self,
        values: Vec<Vec<T>>,
        test: impl Fn(Vec<T>) -> Expression,
        any: Option<Expression>,
    ) -> Result<Expression, FilterError> {
        let one_of = |values: Vec<Vec<T>>| {
            let all: Vec<T> = values.into_iter().flatten().collect();
            if all.is_empty() {
                Expression::Never
            } else {
                test(all)
            }
        };
        match (self.operator, any) {
            (Operator::Eq, _) if self.filter.mode == Mode::And && !values.is_empty() => Ok(joined(
                Mode::And,
                values
                    .into_iter()
                    .map(|value| one_of(vec![value]))
                    .collect(),
            )),
            (Operator::Eq | Operator::Match | Operator::Search, _) => Ok(one_of(values)),
            (Operator::NotEq, _) => Ok(not(one_of(values))),
            (Operator::NotNil, Some(any)) => Ok(any),
            (Operator::Nil, Some(any)) => Ok(not(any)),
            _ => Err(self.refuse(": use eq or not_eq")),
        }
    }

    fn attributes(&self, attributes: &[AttributeKey]) -> Result<Expression, FilterError> {
        let mode = if self.operator.denied().is_some() {
            Mode::And
        } else {
            Mode::Or
        };
        Ok(joined(
            mode,
            attributes
                .iter()
                .map(|attribute| self.attribute(attribute))
                .collect::<Result<_, _>>()?,
        ))
    }

    fn attribute(&self, attribute: &AttributeKey) -> Result<Expression, FilterError> {
        let passes = |test: Test| Expression::Value(attribute.clone(), test);
        let form = Form::of(attribute.kind);
        let values = &self.filter.values;
        let denied = self.operator.denied();
        let operator = denied.unwrap_or(self.operator);
        if operator == Operator::NotNil {
            let present = passes(Test::Present);
            return Ok(if denied.is_some() {
                not(present)
            } else {
                present
            });
        }
        if operator == Operator::Within {
            let [first, last] = values.as_slice() else {
                return Err(self.refuse(": give exactly two values"));
            };
            let from = self.operand(form, first, Round::Down)?;
            let to = self.operand(form, last, Round::Up)?;
            return Ok(Expression::And(vec![
                passes(Test::AtLeast(from)),
                passes(Test::AtMost(to)),
            ]));
        }
        if operator.is_range() && values.len() != 1 {
            return Err(self.refuse(": give exactly one value"));
        }
        let texts_only = !matches!(operator, Operator::Eq) && !operator.is_range();
        if texts_only && form != Form::Text && form != Form::Id {
            return Err(self.refuse(": its values are no texts"));
        }
        let mut tests = Vec::with_capacity(values.len());
        for value in values {
            let round = if matches!(operator, Operator::Gt | Operator::Lte) {
                Round::Up
            } else {
                Round::Down
            };
            let operand = self.operand(form, value, round)?;
            let test = passes(test(operator, operand));
            tests.push(if denied.is_some() { not(test) } else { test });
        }
        Ok(match (tests.is_empty(), denied) {
            // what asks for no value finds nothing, what denies none denies nothing
            (true, None) => Expression::Never,
            (true, Some(_)) => Expression::Always,
            // on identifiers a denial means "none of"
            (false, Some(_)) if form == Form::Id => joined(Mode::And, tests),
            (false, _) => joined(self.filter.mode, tests),
        })
    }

    fn operand(&self, form: Form, value: &Value, round: Round) -> Result<Operand, FilterError> {
        if form == Form::Id && value.as_str() == Some("@me") {
            let me = self
                .context
                .me
                .ok_or_else(|| self.refuse_value(value, "identifiers; nobody is \"@me\" here"))?;
            return Ok(Operand::Text(me.to_string()));
        }
        value::operand(self.name, form, value, self.context.now, round)
    }

    /// Elements related by given relationships to given elements.
    fn regarding_of(&self) -> Result<Expression, FilterError> {
        let mut kinds = None;
        let mut ids: Option<Vec<Ident>> = None;
        let (mut forced, mut reversed, mut inferred) = (false, false, false);
        for part in &self.filter.values {
            let part: &Map<String, Value> = part.as_object().ok_or_else(|| {
                self.refuse_value(
                    part,
                    "objects {key, values} with the keys relationship_type and id",
                )
            })?;
            let values = list(part.get("values"));
            let truth = || {
                values
                    .iter()
                    .any(|value| value.as_bool() == Some(true) || value.as_str() == Some("true"))
            };
            for name in list(part.get("key")) {
                match name.as_str() {
                    Some("relationship_type" | "type") => kinds = Some(self.kinds(values)?),
                    Some("id") => ids = Some(self.parse_idents(values)?.into_iter().flatten().collect()),
                    Some("is_inferred") => inferred = truth(),
                    Some("direction_forced") => forced = truth(),
                    Some("direction_reverse") => reversed = truth(),
                    Some("dynamic") => return Err(FilterError::NotSupported("regardingOf: dynamic".to_owned())),
                    _ => return Err(self.refuse_value(name, "the keys relationship_type, id, is_inferred, direction_forced and direction_reverse")),
                }
            }
        }
        if kinds.is_none() && ids.is_none() {
            return Err(self.refuse(": its values must name a relationship_type or an id"));
        }
        let side = match (forced, reversed) {
            (false, _) => Side::Both,
            (true, false) => Side::Source,
            (true, true) => Side::Target,
        };
        let (types, references) = match kinds {
            Some((types, references)) => (Some(types), references),
            None => (None, every_reference()),
        };
        // no relationship is inferred in this release
        let found = if inferred || ids.as_ref().is_some_and(Vec::is_empty) {
            Expression::Never
        } else {
            related(types.as_deref(), &references, ids.as_deref(), side)
        };
        match self.operator {
            Operator::Eq => Ok(found),
            Operator::NotEq => Ok(not(found)),
            _ => Err(self.refuse(": use eq or not_eq")),
        }
    }

    /// Relationship and reference types behind the names, abstract ones included.
    fn kinds(&self, values: &[Value]) -> Result<(Vec<u16>, Vec<u16>), FilterError> {
        let registry = Registry::get();
        let (mut types, mut references) = (Vec::new(), Vec::new());
        for value in values {
            let name = value
                .as_str()
                .ok_or_else(|| self.refuse_value(value, "names of relationship types"))?;
            let found = registry.descendants(name);
            types.extend(
                found
                    .iter()
                    .filter(|kind| kind.is_relationship())
                    .map(|kind| kind.code),
            );
            if name.eq_ignore_ascii_case("stix-ref-relationship") {
                references.extend(every_reference());
            }
            references.extend(registry.reference_type(name).map(|kind| kind.code));
        }
        Ok((types, references))
    }

    /// For each value the codes of the types under it; a name that is no type stands for none.
    fn types(&self) -> Vec<Vec<u16>> {
        let registry = Registry::get();
        let codes = |value: &Value| match value.as_str() {
            Some(name) => registry
                .descendants(name)
                .iter()
                .map(|kind| kind.code)
                .collect(),
            None => Vec::new(),
        };
        self.filter.values.iter().map(codes).collect()
    }

    fn idents(&self) -> Result<Vec<Vec<Ident>>, FilterError> {
        self.parse_idents(&self.filter.values)
    }

    /// For each value the identifier it stands for. A label may be given by its text; a text that is no identifier stands for none.
    fn parse_idents(&self, values: &[Value]) -> Result<Vec<Vec<Ident>>, FilterError> {
        values
            .iter()
            .map(|value| match value.as_str() {
                Some("@me") => match self.context.me {
                    Some(me) => Ok(vec![me]),
                    None => Err(self.refuse_value(value, "identifiers; nobody is \"@me\" here")),
                },
                Some(text) => match Ident::parse(text) {
                    Ok(ident) => Ok(vec![ident]),
                    Err(_) if matches!(self.name, "objectLabel" | "object-label") => {
                        Ok(label(text).into_iter().collect())
                    }
                    Err(_) => Ok(Vec::new()),
                },
                None => Err(self.refuse_value(value, "identifiers")),
            })
            .collect()
    }

    fn refuse(&self, hint: &'static str) -> FilterError {
        self.filter.refuse(self.name, self.operator, hint)
    }

    fn refuse_value(&self, value: &Value, expected: &'static str) -> FilterError {
        FilterError::Value {
            key: value::shortened(self.name),
            value: shown(value),
            expected,
        }
    }
}

/// The test of an operator that is no denial. Operators on texts only come with texts.
fn test(operator: Operator, operand: Operand) -> Test {
    match (operator, operand) {
        (Operator::Gt, operand) => Test::Above(operand),
        (Operator::Gte, operand) => Test::AtLeast(operand),
        (Operator::Lt, operand) => Test::Below(operand),
        (Operator::Lte, operand) => Test::AtMost(operand),
        (Operator::Contains, Operand::Text(text)) => Test::Contains(text),
        (Operator::StartsWith, Operand::Text(text)) => Test::StartsWith(text),
        (Operator::EndsWith, Operand::Text(text)) => Test::EndsWith(text),
        (Operator::Match | Operator::Search, Operand::Text(text)) => Test::Words(text),
        (Operator::Wildcard, Operand::Text(text)) if text == "*" => Test::Present,
        (Operator::Wildcard, Operand::Text(text)) if text.contains('*') => Test::Pattern(text),
        (Operator::Wildcard, Operand::Text(text)) => Test::Contains(text),
        (_, operand) => Test::Equals(operand),
    }
}

/// Elements that relationships of these types (`None`: any), or references of these types, link with the others.
fn related(
    types: Option<&[u16]>,
    references: &[u16],
    others: Option<&[Ident]>,
    side: Side,
) -> Expression {
    let others = || others.map(<[Ident]>::to_vec);
    let mut ways = Vec::new();
    if types.is_none_or(|types| !types.is_empty()) {
        let types = types.unwrap_or_default().to_vec();
        ways.push(Expression::Related {
            types,
            others: others(),
            side,
        });
    }
    for reference in references {
        if side != Side::Target {
            ways.push(Expression::Refers {
                reference: *reference,
                targets: others(),
            });
        }
        if side != Side::Source {
            ways.push(Expression::ReferredBy {
                reference: *reference,
                sources: others(),
            });
        }
    }
    joined(Mode::Or, ways)
}

fn every_reference() -> Vec<u16> {
    Registry::get()
        .reference_types()
        .iter()
        .map(|kind| kind.code)
        .collect()
}

/// The identifier of the label with this text.
fn label(text: &str) -> Option<Ident> {
    let kind = Registry::get().by_name("Label")?;
    let attributes = Map::from_iter([("value".to_owned(), Value::from(text))]);
    ids::standard_id(kind, &attributes, &|_| Vec::<StixId>::new())
        .ok()
        .flatten()
        .map(Ident::Stix)
}
