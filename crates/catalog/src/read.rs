//! Reading typed fields of a JSON object that others wrote.

use serde_json::{Map, Value};

/// A field that is not what it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// A field that must be there is not, or is empty.
    #[error("`{key}` is missing")]
    Missing {
        /// The field.
        key: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}, it is {found}")]
    Type {
        /// The field.
        key: &'static str,
        /// What it must be, with its article.
        expected: &'static str,
        /// What it is, with its article.
        found: &'static str,
    },
}

/// What a JSON value is, with its article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Typed access to the fields of an object; null counts as absent.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(crate) fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn typed<T>(
        self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FieldFault> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or(FieldFault::Type {
            key,
            expected,
            found: kind(value),
        })
    }

    pub(crate) fn text(self, key: &'static str) -> Result<Option<String>, FieldFault> {
        self.typed(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A text of the first of several names that is there; the first name is the one that is missed.
    pub(crate) fn needed(self, names: &[&'static str]) -> Result<String, FieldFault> {
        for name in names {
            if let Some(text) = self.text(name)?
                && !text.trim().is_empty()
            {
                return Ok(text);
            }
        }
        Err(FieldFault::Missing {
            key: names.first().copied().unwrap_or_default(),
        })
    }

    pub(crate) fn flag(self, key: &'static str) -> Result<Option<bool>, FieldFault> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn texts(self, key: &'static str) -> Result<Option<Vec<String>>, FieldFault> {
        self.typed(key, "a list of texts", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        })
    }

    /// A confidence: a whole number from 0 to 100.
    pub(crate) fn confidence(self, key: &'static str) -> Result<Option<u8>, FieldFault> {
        self.typed(key, "a whole number from 0 to 100", |value| {
            let number = value.as_u64()?;
            u8::try_from(number).ok().filter(|number| *number <= 100)
        })
    }

    pub(crate) fn object(
        self,
        key: &'static str,
    ) -> Result<Option<&'a Map<String, Value>>, FieldFault> {
        self.typed(key, "an object", Value::as_object)
    }

    pub(crate) fn list(self, key: &'static str) -> Result<Option<&'a Vec<Value>>, FieldFault> {
        self.typed(key, "a list", Value::as_array)
    }
}
