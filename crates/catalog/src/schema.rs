//! The JSON schema of a configuration, read into what an environment variable can be asked for.
//!
//! Configurations are flat: one property is one environment variable, and its value is a text. So of JSON Schema (draft 2020-12) exactly what
//! says something about such a value is understood: `type`, `enum`, `const`, `format`, `pattern`, lengths, ranges, `items` of lists, `default`,
//! `required`, `writeOnly`, `deprecated`, `contentMediaType`; an `anyOf` or `oneOf` of one type and null is that type. Other keywords are not
//! silently taken as checked: they are listed by [`Schema::unchecked`].

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::{read::kind, secret::is_secret_name};

/// Properties that the platform or the composer gives; they are taken out of a schema before anybody is asked for values.
pub const GIVEN_BY_PLATFORM: [&str; 4] = [
    "OPENCTI_TOKEN",
    "OPENCTI_URL",
    "CONNECTOR_TYPE",
    "CONNECTOR_RUN_AND_TERMINATE",
];

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaFault {
    /// A part has the wrong type.
    #[error("`{part}` must be {expected}, it is {found}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What it must be, with its article.
        expected: &'static str,
        /// What it is, with its article.
        found: &'static str,
    },
    /// A property that cannot be an environment variable.
    #[error("the property `{key}` cannot be the name of an environment variable")]
    Name {
        /// The property.
        key: String,
    },
    /// A keyword of a property that cannot be understood.
    #[error("`{keyword}` of property `{key}` {reason}")]
    Keyword {
        /// The property.
        key: String,
        /// The keyword.
        keyword: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a value is, once it is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A list, written with commas.
    List,
    /// A JSON object, written as JSON.
    Object,
    /// The schema says nothing that is understood.
    Any,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::Text,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "array" => Self::List,
            "object" => Self::Object,
            _ => return None,
        })
    }
}

/// The formats that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A secret; nothing about its text is checked.
    Password,
    /// A URI with a scheme.
    Uri,
    /// An ISO 8601 duration.
    Duration,
    /// A date.
    Date,
    /// A date with time, or a duration before now.
    DateTime,
    /// A mail address.
    Email,
}

impl Format {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "password" => Self::Password,
            "uri" => Self::Uri,
            "duration" => Self::Duration,
            "date" => Self::Date,
            "date-time" => Self::DateTime,
            "email" => Self::Email,
            _ => return None,
        })
    }
}

/// What the text of one value must obey.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The texts allowed; empty: any.
    pub allowed: Vec<String>,
    /// The format.
    pub format: Option<Format>,
    /// The pattern that must match somewhere.
    pub pattern: Option<Regex>,
    /// Least number of characters.
    pub min_length: Option<u64>,
    /// Greatest number of characters.
    pub max_length: Option<u64>,
    /// Least number.
    pub minimum: Option<f64>,
    /// Greatest number.
    pub maximum: Option<f64>,
    /// The number must be greater than this.
    pub above: Option<f64>,
    /// The number must be less than this.
    pub below: Option<f64>,
}

/// One property, which is one environment variable.
#[derive(Debug, Clone)]
pub struct Property {
    /// Its name.
    pub key: String,
    /// What it is.
    pub kind: Kind,
    /// What the items of a list are.
    pub item_kind: Kind,
    /// What its text must obey; for a list what each item must.
    pub rules: Rules,
    /// Least number of items of a list.
    pub min_items: Option<u64>,
    /// Greatest number of items of a list.
    pub max_items: Option<u64>,
    /// Its text must be JSON.
    pub json: bool,
    /// Whether a value must be there.
    pub required: bool,
    /// The value when none is given, as text; `None` also when the schema says null.
    pub default: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// It still works, and should no longer be used.
    pub deprecated: bool,
    /// A secret, by `format: password`, by `writeOnly`, or by its name; its value is sealed and never shown.
    pub secret: bool,
}

/// A schema of a configuration.
#[derive(Debug, Clone)]
pub struct Schema {
    document: Map<String, Value>,
    properties: Vec<Property>,
    unchecked: Vec<(String, String)>,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

/// Keywords that say nothing about which values are right.
const ANNOTATIONS: &[&str] = &[
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "writeOnly",
    "readOnly",
    "contentSchema",
    "$comment",
];

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// A part that cannot be understood, with the property and keyword it is about.
    pub fn read(document: &Value) -> Result<Self, SchemaFault> {
        let part = |part, expected, value: &Value| SchemaFault::Part {
            part,
            expected,
            found: kind(value),
        };
        let document = document
            .as_object()
            .ok_or_else(|| part("config_schema", "an object", document))?;
        if let Some(found) = document.get("type")
            && found != "object"
        {
            return Err(part("config_schema.type", "\"object\"", found));
        }
        let required = match document.get("required") {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => list
                .as_array()
                .and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>())
                .ok_or_else(|| part("config_schema.required", "a list of texts", list))?,
        };
        let nothing = Map::new();
        let listed = match document.get("properties") {
            None | Some(Value::Null) => &nothing,
            Some(map) => map
                .as_object()
                .ok_or_else(|| part("config_schema.properties", "an object", map))?,
        };
        let mut unchecked = Vec::new();
        let mut properties = Vec::with_capacity(listed.len());
        for (key, rules) in listed {
            let mut property = property(key, rules, &mut unchecked)?;
            property.required = required.contains(&key.as_str());
            properties.push(property);
        }
        // a key that is required and not described is a text
        for key in required {
            if !listed.contains_key(key) {
                let mut property = property(key, &json!({"type": "string"}), &mut unchecked)?;
                property.required = true;
                properties.push(property);
            }
        }
        properties.retain(|property: &Property| {
            !GIVEN_BY_PLATFORM.contains(&property.key.as_str()) && property.key != "CONNECTOR_ID"
        });
        Ok(Self {
            document: document.clone(),
            properties,
            unchecked,
        })
    }

    /// The properties that somebody has to give values for, in the order of the schema.
    #[must_use]
    pub fn properties(&self) -> &[Property] {
        &self.properties
    }

    /// The property of that name; names are compared exactly.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.key == key)
    }

    /// Pairs of property and keyword that say something about values and are not checked here.
    #[must_use]
    pub fn unchecked(&self) -> &[(String, String)] {
        &self.unchecked
    }

    /// The schema as it was read.
    #[must_use]
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }

    /// The schema as people are asked with it: without what the platform gives, and with `$schema`, `type` and `additionalProperties` there.
    #[must_use]
    pub fn prepared(&self) -> Value {
        let mut out = self.document.clone();
        let taken = |key: &str| GIVEN_BY_PLATFORM.contains(&key);
        let defaults = [
            (
                "$schema",
                json!("https://json-schema.org/draft/2020-12/schema"),
            ),
            ("type", json!("object")),
            ("properties", json!({})),
            ("required", json!([])),
            ("additionalProperties", json!(true)),
        ];
        for (key, value) in defaults {
            let slot = out.entry(key).or_insert(Value::Null);
            if slot.is_null() {
                *slot = value;
            }
        }
        if let Some(Value::Object(properties)) = out.get_mut("properties") {
            properties.retain(|key, _| !taken(key));
        }
        if let Some(Value::Array(required)) = out.get_mut("required") {
            required.retain(|key| !key.as_str().is_some_and(taken));
        }
        Value::Object(out)
    }
}

/// A value of a schema as the text of an environment variable: lists with commas, whole numbers without a point. `None`: null.
pub(crate) fn as_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Array(items) => items
            .iter()
            .map(|item| as_text(item).unwrap_or_default())
            .collect::<Vec<_>>()
            .join(","),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        },
        Value::Bool(_) | Value::Object(_) => value.to_string(),
    })
}

fn property(
    key: &str,
    value: &Value,
    unchecked: &mut Vec<(String, String)>,
) -> Result<Property, SchemaFault> {
    if key.is_empty() || key.contains(['=', '\0']) || key.chars().any(char::is_whitespace) {
        return Err(SchemaFault::Name {
            key: key.to_owned(),
        });
    }
    let reader = Reader { key };
    let outer = match value {
        // `true` is the schema that everything obeys
        Value::Bool(true) => &Map::new(),
        other => other.as_object().ok_or_else(|| {
            reader.fault(
                "schema",
                format!("must be an object, it is {}", kind(other)),
            )
        })?,
    };
    let map = reader.without_null(outer)?;
    let kind = reader.kind(&map)?;
    let mut rules = reader.rules(&map)?;
    let mut seen: Vec<&str> = RULES.to_vec();
    seen.extend(["type", "minItems", "maxItems", "items", "contentMediaType"]);
    let mut left = |map: &Map<String, Value>, seen: &[&str]| {
        for keyword in map.keys() {
            if !seen.contains(&keyword.as_str()) && !ANNOTATIONS.contains(&keyword.as_str()) {
                unchecked.push((key.to_owned(), keyword.clone()));
            }
        }
    };
    left(&map, &seen);
    if let Some(format) = map.get("format").and_then(Value::as_str)
        && rules.format.is_none()
    {
        left(
            &Map::from_iter([(format!("format: {format}"), Value::Null)]),
            &[],
        );
    }
    let mut item_kind = Kind::Any;
    if kind == Kind::List {
        rules = match map.get("items") {
            None | Some(Value::Null | Value::Bool(_)) => Rules::default(),
            Some(Value::Object(items)) => {
                let mut seen = RULES.to_vec();
                seen.push("type");
                left(items, &seen);
                item_kind = reader.kind(items)?;
                reader.rules(items)?
            }
            Some(other) => {
                return Err(reader.fault(
                    "items",
                    format!("must be an object, it is {}", crate::read::kind(other)),
                ));
            }
        };
    }
    let flag = |keyword: &str| map.get(keyword).and_then(Value::as_bool).unwrap_or(false);
    let textual = matches!(kind, Kind::Text | Kind::Any);
    Ok(Property {
        key: key.to_owned(),
        kind,
        item_kind,
        min_items: reader.count(&map, "minItems")?,
        max_items: reader.count(&map, "maxItems")?,
        json: map
            .get("contentMediaType")
            .is_some_and(|media| media == "application/json"),
        required: false,
        default: map.get("default").and_then(as_text),
        description: map
            .get("description")
            .and_then(Value::as_str)
            .map(str::to_owned),
        deprecated: flag("deprecated"),
        secret: rules.format == Some(Format::Password)
            || flag("writeOnly")
            || textual && rules.allowed.is_empty() && is_secret_name(key),
        rules,
    })
}

/// Keywords about the text of one value.
const RULES: &[&str] = &[
    "enum",
    "const",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];

/// Reads the keywords of one property.
struct Reader<'a> {
    key: &'a str,
}

impl Reader<'_> {
    fn fault(&self, keyword: &'static str, reason: impl Into<String>) -> SchemaFault {
        SchemaFault::Keyword {
            key: self.key.to_owned(),
            keyword,
            reason: reason.into(),
        }
    }

    /// An `anyOf` or `oneOf` of one schema and null is that schema.
    fn without_null(&self, map: &Map<String, Value>) -> Result<Map<String, Value>, SchemaFault> {
        let mut out = map.clone();
        for keyword in ["anyOf", "oneOf"] {
            let Some(Value::Array(parts)) = map.get(keyword) else {
                continue;
            };
            let parts: Vec<_> = parts
                .iter()
                .filter(|part| part.get("type").is_none_or(|kind| kind != "null"))
                .collect();
            if let [Value::Object(only)] = parts[..] {
                out.remove(keyword);
                for (key, value) in only {
                    out.entry(key).or_insert_with(|| value.clone());
                }
            }
        }
        Ok(out)
    }

    fn kind(&self, map: &Map<String, Value>) -> Result<Kind, SchemaFault> {
        let names: Vec<&Value> = match map.get("type") {
            None | Some(Value::Null) => return Ok(Kind::Any),
            Some(Value::Array(names)) => names.iter().filter(|name| *name != "null").collect(),
            Some(name) => vec![name],
        };
        match names[..] {
            [name] => name.as_str().and_then(Kind::of).ok_or_else(|| {
                self.fault(
                    "type",
                    format!("is {name}, which is no type of JSON Schema"),
                )
            }),
            _ => Ok(Kind::Any),
        }
    }

    fn rules(&self, map: &Map<String, Value>) -> Result<Rules, SchemaFault> {
        let mut allowed = match map.get("enum") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) if !values.is_empty() => {
                values.iter().filter_map(as_text).collect()
            }
            Some(_) => return Err(self.fault("enum", "must be a list with at least one value")),
        };
        if let Some(text) = map.get("const").and_then(as_text) {
            allowed = vec![text];
        }
        let pattern = match map.get("pattern") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let text = value
                    .as_str()
                    .ok_or_else(|| self.fault("pattern", "must be a text"))?;
                Some(Regex::new(text).map_err(|_| {
                    self.fault(
                        "pattern",
                        "is no regular expression that can be checked here",
                    )
                })?)
            }
        };
        let rules = Rules {
            allowed,
            format: map
                .get("format")
                .and_then(Value::as_str)
                .and_then(Format::of),
            pattern,
            min_length: self.count(map, "minLength")?,
            max_length: self.count(map, "maxLength")?,
            minimum: self.number(map, "minimum")?,
            maximum: self.number(map, "maximum")?,
            above: self.number(map, "exclusiveMinimum")?,
            below: self.number(map, "exclusiveMaximum")?,
        };
        Ok(rules)
    }

    fn count(
        &self,
        map: &Map<String, Value>,
        keyword: &'static str,
    ) -> Result<Option<u64>, SchemaFault> {
        match map.get(keyword) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| self.fault(keyword, "must be a whole number, zero or greater")),
        }
    }

    fn number(
        &self,
        map: &Map<String, Value>,
        keyword: &'static str,
    ) -> Result<Option<f64>, SchemaFault> {
        match map.get(keyword) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or_else(|| self.fault(keyword, "must be a number")),
        }
    }
}
