//! Input coercion: variables and arguments become JSON values of the declared types, defaults applied.
//!
//! The rules are the specification's, and as lenient as the reference implementation: one value where a list is
//! expected, whole numbers for ids, floats without a fraction for integers, unknown variables ignored.

use std::collections::HashMap;

use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, InputValueDefinition, Type, Value as Literal};
use apollo_compiler::executable::Operation;
use apollo_compiler::parser::SourceMap;
use apollo_compiler::schema::{ExtendedType, InputObjectType};
use serde_json::{Map, Number, Value};

use crate::constraint;
use crate::error::{Error, FieldError, code};
use crate::schema::Schema;

/// Name of the scalar that stands for an uploaded file.
pub(crate) const UPLOAD: &str = "Upload";

/// Checks, and may rewrite, a non-null value of a custom scalar.
pub(crate) type ScalarFn = Box<dyn Fn(Value) -> Result<Value, String> + Send + Sync>;

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Where in the variables an upload was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) steps: Vec<Step>,
}

/// Values of the variables during one execution. A value that only one argument of a root field uses is moved
/// into that argument, so that a bundle of many megabytes is not copied.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables<'p> {
    pub(crate) values: Map<String, Value>,
    pub(crate) used_once: &'p [String],
}

impl Variables<'_> {
    fn get(&mut self, name: &str) -> Option<Value> {
        if self.used_once.iter().any(|once| once == name) {
            self.values.get_mut(name).map(Value::take)
        } else {
            self.values.get(name).cloned()
        }
    }
}

/// Where a value is, for messages; a list on the call stack.
#[derive(Clone, Copy)]
struct Path<'a> {
    up: Option<&'a Path<'a>>,
    at: At<'a>,
}

#[derive(Clone, Copy)]
enum At<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    fn root(name: &'a str) -> Self {
        Self {
            up: None,
            at: At::Key(name),
        }
    }

    fn key(&'a self, name: &'a str) -> Self {
        Self {
            up: Some(self),
            at: At::Key(name),
        }
    }

    fn index(&'a self, index: usize) -> Self {
        Self {
            up: Some(self),
            at: At::Index(index),
        }
    }

    fn text(&self) -> String {
        let above = self.up.map(Self::text);
        match (above, self.at) {
            (None, At::Key(name)) => name.to_owned(),
            (None, At::Index(index)) => format!("[{index}]"),
            (Some(above), At::Key(name)) => format!("{above}.{name}"),
            (Some(above), At::Index(index)) => format!("{above}[{index}]"),
        }
    }

    fn is(&self, place: &Place) -> bool {
        let mut here = Some(self);
        for step in place.steps.iter().rev() {
            let Some(path) = here else { return false };
            let same = match (step, path.at) {
                (Step::Key(a), At::Key(b)) => a == b,
                (Step::Index(a), At::Index(b)) => *a == b,
                _ => false,
            };
            if !same {
                return false;
            }
            here = path.up;
        }
        here.is_none()
    }
}

/// A value that does not fit.
struct Problem {
    place: String,
    message: String,
}

impl Problem {
    fn new(path: &Path<'_>, message: impl Into<String>) -> Self {
        Self {
            place: path.text(),
            message: message.into(),
        }
    }
}

/// The rules, with what they depend on.
#[derive(Clone, Copy)]
pub(crate) struct Coercion<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) scalars: &'a HashMap<String, ScalarFn>,
    pub(crate) uploads: &'a [Place],
}

impl Coercion<'_> {
    /// Values for an operation's variables. Reports every variable that is wrong.
    pub(crate) fn variables(
        &self,
        operation: &Operation,
        mut given: Map<String, Value>,
        sources: &SourceMap,
    ) -> Result<Map<String, Value>, Vec<Error>> {
        let mut values = Map::with_capacity(operation.variables.len());
        let mut errors = Vec::new();
        for definition in &operation.variables {
            let name = definition.name.as_str();
            let path = Path::root(name);
            let value = match (given.swap_remove(name), &definition.default_value) {
                (Some(value), _) => self.value(&definition.ty, value, &path),
                (None, Some(default)) => {
                    self.literal(&definition.ty, default, &mut Variables::default(), &path)
                }
                (None, None) if definition.ty.is_non_null() => Err(Problem::new(
                    &path,
                    format!("a value of type \"{}\" is required", definition.ty),
                )),
                (None, None) => continue,
            };
            match value {
                Ok(value) => {
                    values.insert(name.to_owned(), value);
                }
                Err(problem) => {
                    let message = format!(
                        "Variable \"${name}\" got an invalid value at \"{}\": {}.",
                        problem.place, problem.message
                    );
                    errors.push(
                        Error::from(input_error(message, problem.place))
                            .at(definition.location(), sources),
                    );
                }
            }
        }
        if errors.is_empty() {
            Ok(values)
        } else {
            Err(errors)
        }
    }

    /// Values for a field's arguments.
    pub(crate) fn arguments(
        &self,
        definitions: &[Node<InputValueDefinition>],
        given: &[Node<Argument>],
        variables: &mut Variables<'_>,
    ) -> Result<Map<String, Value>, FieldError> {
        let mut values = Map::with_capacity(given.len());
        for definition in definitions {
            let path = Path::root(&definition.name);
            let given = given
                .iter()
                .find(|argument| argument.name == definition.name)
                .map(|argument| &argument.value);
            let value = self
                .input(definition, given, variables, &path)
                .map_err(|problem| {
                    let message = format!(
                        "Argument \"{}\" got an invalid value: {}.",
                        problem.place, problem.message
                    );
                    input_error(message, problem.place)
                })?;
            if let Some(value) = value {
                values.insert(definition.name.to_string(), value);
            }
        }
        Ok(values)
    }

    /// One argument, or one field of an input object given as literal; `None` when absent.
    fn input(
        &self,
        definition: &InputValueDefinition,
        given: Option<&Node<Literal>>,
        variables: &mut Variables<'_>,
        path: &Path<'_>,
    ) -> Result<Option<Value>, Problem> {
        let value = match given.map(|literal| (literal, literal.as_variable())) {
            Some((_, Some(name))) => variables.get(name),
            Some((literal, None)) => {
                Some(self.literal(&definition.ty, literal, variables, path)?)
            }
            None => None,
        };
        let value = match (value, &definition.default_value) {
            (Some(Value::Null), _) if definition.ty.is_non_null() => {
                return Err(not_null(&definition.ty, path));
            }
            (Some(value), _) => value,
            (None, Some(default)) => {
                self.literal(&definition.ty, default, &mut Variables::default(), path)?
            }
            (None, None) if definition.ty.is_non_null() => {
                return Err(missing(&definition.ty, path));
            }
            (None, None) => return Ok(None),
        };
        constraint::check(&definition.directives, &value)
            .map_err(|message| Problem::new(path, message))?;
        Ok(Some(value))
    }

    /// A JSON value from a variable.
    fn value(&self, ty: &Type, value: Value, path: &Path<'_>) -> Result<Value, Problem> {
        if value.is_null() {
            return if ty.is_non_null() {
                Err(not_null(ty, path))
            } else {
                Ok(value)
            };
        }
        match ty {
            Type::List(inner) | Type::NonNullList(inner) => match value {
                Value::Array(items) => items
                    .into_iter()
                    .enumerate()
                    .map(|(i, item)| self.value(inner, item, &path.index(i)))
                    .collect(),
                single => Ok(Value::Array(vec![self.value(inner, single, path)?])),
            },
            Type::Named(name) | Type::NonNullNamed(name) => {
                match self.schema.definitions().types.get(name) {
                    Some(ExtendedType::InputObject(definition)) => {
                        self.object(definition, value, path)
                    }
                    Some(definition) => self.leaf(definition, value, path),
                    None => Err(Problem::new(
                        path,
                        format!("the type \"{name}\" is not defined"),
                    )),
                }
            }
        }
    }

    fn object(
        &self,
        ty: &InputObjectType,
        value: Value,
        path: &Path<'_>,
    ) -> Result<Value, Problem> {
        let Value::Object(mut given) = value else {
            return Err(Problem::new(
                path,
                format!("Expected type \"{}\" to be an object", ty.name),
            ));
        };
        let mut values = Map::with_capacity(given.len());
        for (name, definition) in &ty.fields {
            let path = path.key(name);
            let value = match (given.swap_remove(name.as_str()), &definition.default_value) {
                (Some(value), _) => self.value(&definition.ty, value, &path)?,
                (None, Some(default)) => {
                    self.literal(&definition.ty, default, &mut Variables::default(), &path)?
                }
                (None, None) if definition.ty.is_non_null() => {
                    return Err(missing(&definition.ty, &path));
                }
                (None, None) => continue,
            };
            constraint::check(&definition.directives, &value)
                .map_err(|message| Problem::new(&path, message))?;
            values.insert(name.to_string(), value);
        }
        match given.keys().next() {
            Some(unknown) => Err(Problem::new(
                path,
                format!(
                    "Field \"{}\" is not defined by type \"{}\"",
                    short(unknown),
                    ty.name
                ),
            )),
            None => Ok(Value::Object(values)),
        }
    }

    /// A value from the text of a document. Variables inside it are coerced already.
    fn literal(
        &self,
        ty: &Type,
        literal: &Node<Literal>,
        variables: &mut Variables<'_>,
        path: &Path<'_>,
    ) -> Result<Value, Problem> {
        if let Some(name) = literal.as_variable() {
            return match variables.get(name).unwrap_or(Value::Null) {
                Value::Null if ty.is_non_null() => Err(not_null(ty, path)),
                value => Ok(value),
            };
        }
        if literal.is_null() {
            return if ty.is_non_null() {
                Err(not_null(ty, path))
            } else {
                Ok(Value::Null)
            };
        }
        let name = match ty {
            Type::List(inner) | Type::NonNullList(inner) => {
                let items = match literal.as_list() {
                    Some(items) => items
                        .iter()
                        .enumerate()
                        .map(|(i, item)| self.literal(inner, item, variables, &path.index(i)))
                        .collect::<Result<_, _>>()?,
                    None => vec![self.literal(inner, literal, variables, path)?],
                };
                return Ok(Value::Array(items));
            }
            Type::Named(name) | Type::NonNullNamed(name) => name,
        };
        match (self.schema.definitions().types.get(name), literal.as_ref()) {
            (Some(ExtendedType::InputObject(definition)), Literal::Object(given)) => {
                let mut values = Map::with_capacity(given.len());
                for (name, definition) in &definition.fields {
                    let path = path.key(name);
                    let given = given
                        .iter()
                        .find(|(key, _)| key == name)
                        .map(|(_, value)| value);
                    if let Some(value) = self.input(definition, given, variables, &path)? {
                        values.insert(name.to_string(), value);
                    }
                }
                Ok(Value::Object(values))
            }
            (Some(ExtendedType::InputObject(definition)), _) => Err(Problem::new(
                path,
                format!("Expected type \"{}\" to be an object", definition.name),
            )),
            (Some(definition), _) => self.leaf(definition, json(literal, variables), path),
            (None, _) => Err(Problem::new(
                path,
                format!("the type \"{name}\" is not defined"),
            )),
        }
    }

    fn leaf(&self, ty: &ExtendedType, value: Value, path: &Path<'_>) -> Result<Value, Problem> {
        let fails = |what: &str| {
            Err(Problem::new(
                path,
                format!("{} cannot represent {what}: {}", ty.name(), shown(&value)),
            ))
        };
        if let ExtendedType::Enum(definition) = ty {
            return match value.as_str() {
                Some(text) if definition.values.contains_key(text) => Ok(value),
                _ => Err(Problem::new(
                    path,
                    format!(
                        "Value {} does not exist in \"{}\" enum",
                        shown(&value),
                        definition.name
                    ),
                )),
            };
        }
        match ty.name().as_str() {
            "String" if value.is_string() => Ok(value),
            "String" => fails("a non string value"),
            "Boolean" if value.is_boolean() => Ok(value),
            "Boolean" => fails("a non boolean value"),
            "ID" => match value {
                Value::String(_) => Ok(value),
                Value::Number(ref number) if number.is_u64() => {
                    Ok(Value::String(number.to_string()))
                }
                Value::Number(ref number) => match whole(number) {
                    Some(number) => Ok(Value::String(number.to_string())),
                    None => fails("value"),
                },
                _ => fails("value"),
            },
            "Int" => match &value {
                Value::Number(number) => match whole(number).map(i32::try_from) {
                    Some(Ok(number)) => Ok(Value::from(number)),
                    Some(Err(_)) => fails("non 32-bit signed integer value"),
                    None => fails("non-integer value"),
                },
                _ => fails("non-integer value"),
            },
            "Float" if value.is_number() => Ok(value),
            "Float" => fails("non numeric value"),
            UPLOAD => {
                if self.uploads.iter().any(|place| path.is(place)) {
                    Ok(value)
                } else {
                    Err(Problem::new(
                        path,
                        "a file must be sent as a part of a multipart request and named in its map",
                    ))
                }
            }
            name => match self.scalars.get(name) {
                Some(check) => check(value).map_err(|message| Problem::new(path, message)),
                None => Ok(value),
            },
        }
    }
}

/// The number as an integer when it has no fraction.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // 2^53: beyond it a float no longer tells neighbouring integers apart.
        (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(float as i64)
    })
}

/// A literal as JSON, whatever its type.
fn json(literal: &Node<Literal>, variables: &mut Variables<'_>) -> Value {
    match literal.as_ref() {
        Literal::Null => Value::Null,
        Literal::Enum(name) => Value::String(name.to_string()),
        Literal::Variable(name) => variables.get(name).unwrap_or(Value::Null),
        Literal::String(text) => Value::String(text.clone()),
        Literal::Boolean(value) => Value::Bool(*value),
        Literal::Int(number) => number.as_str().parse().map_or(Value::Null, Value::Number),
        Literal::Float(number) => number.as_str().parse().map_or(Value::Null, Value::Number),
        Literal::List(items) => items.iter().map(|item| json(item, variables)).collect(),
        Literal::Object(members) => members
            .iter()
            .map(|(name, value)| (name.to_string(), json(value, variables)))
            .collect(),
    }
}

fn not_null(ty: &Type, path: &Path<'_>) -> Problem {
    Problem::new(
        path,
        format!("Expected non-nullable type \"{ty}\" not to be null"),
    )
}

fn missing(ty: &Type, path: &Path<'_>) -> Problem {
    Problem::new(path, format!("a value of type \"{ty}\" is required"))
}

fn input_error(message: String, place: String) -> FieldError {
    FieldError::new(code::BAD_INPUT, message)
        .with("http_status", 400)
        .with("argument", place)
}

/// A value for a message: short scalars as they are, anything else by its kind. Long or nested values stay out
/// of messages, because clients search the text of an error for code words.
fn shown(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("\"{}\"", short(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
