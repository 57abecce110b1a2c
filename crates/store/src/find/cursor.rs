//! Paging cursors: the sort values of a row, opaque to clients.

use base64::{Engine, engine::general_purpose::STANDARD};
use rusqlite::types::Value as Sql;
use serde_json::Value;

use crate::{StoreError, error::Result};

/// Where a page ends: base64 of the JSON array of sort values and the row number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor as a client gave it; it is checked when it is used.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text for clients.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of(values: &[Sql]) -> Self {
        let json: Vec<Value> = values
            .iter()
            .map(|value| match value {
                Sql::Integer(number) => Value::from(*number),
                Sql::Real(number) => Value::from(*number),
                Sql::Text(text) => Value::from(text.as_str()),
                Sql::Null | Sql::Blob(_) => Value::Null,
            })
            .collect();
        Self(STANDARD.encode(Value::Array(json).to_string()))
    }

    pub(super) fn values(&self) -> Result<Vec<Sql>> {
        let bytes = STANDARD
            .decode(&self.0)
            .map_err(|_| StoreError::BadCursor)?;
        let values: Vec<Value> =
            serde_json::from_slice(&bytes).map_err(|_| StoreError::BadCursor)?;
        let values: Vec<Sql> = values
            .into_iter()
            .map(|value| match value {
                Value::Null => Ok(Sql::Null),
                Value::String(text) => Ok(Sql::Text(text)),
                Value::Number(number) => number
                    .as_i64()
                    .map(Sql::Integer)
                    .or_else(|| number.as_f64().map(Sql::Real))
                    .ok_or(StoreError::BadCursor),
                _ => Err(StoreError::BadCursor),
            })
            .collect::<Result<_>>()?;
        match values.last() {
            Some(Sql::Integer(_)) => Ok(values),
            _ => Err(StoreError::BadCursor),
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_keep_their_values() {
        let values = vec![
            Sql::Text("näme".to_owned()),
            Sql::Null,
            Sql::Real(-1.5),
            Sql::Integer(7),
        ];
        assert_eq!(Cursor::of(&values).values().unwrap(), values);
    }

    #[test]
    fn cursors_that_are_not_ours_are_refused() {
        for text in [
            "",
            "%%%",
            "aGVsbG8=",
            &STANDARD.encode("{}"),
            &STANDARD.encode("[]"),
            &STANDARD.encode("[{}]"),
            &STANDARD.encode("[\"x\"]"),
        ] {
            assert!(
                matches!(Cursor::new(text).values(), Err(StoreError::BadCursor)),
                "{text}"
            );
        }
    }
}
