//! The platform's own values by name, as JSON.

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use crate::{
    Snapshot, Tx,
    error::{Result, corrupt},
};

impl Snapshot<'_> {
    /// A setting.
    pub fn setting(&self, key: &str) -> Result<Option<Value>> {
        let text: Option<String> = self
            .sql("SELECT value FROM setting WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| corrupt("setting", error))
    }

    /// All settings whose names start with `prefix`, by name.
    pub fn settings(&self, prefix: &str) -> Result<Vec<(String, Value)>> {
        let mut statement = self.sql(
            "SELECT key, value FROM setting WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
        )?;
        let mut rows = statement.query([prefix])?;
        let mut settings = Vec::new();
        while let Some(row) = rows.next()? {
            let text: String = row.get(1)?;
            settings.push((
                row.get(0)?,
                serde_json::from_str(&text).map_err(|error| corrupt("setting", error))?,
            ));
        }
        Ok(settings)
    }
}

impl Tx<'_> {
    /// Sets a setting.
    pub fn put_setting(&mut self, key: &str, value: &Value) -> Result<()> {
        self.sql("INSERT INTO setting(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value")?
            .execute(params![key, value.to_string()])?;
        Ok(())
    }

    /// Removes a setting; whether there was one.
    pub fn delete_setting(&mut self, key: &str) -> Result<bool> {
        Ok(self
            .sql("DELETE FROM setting WHERE key = ?1")?
            .execute([key])?
            > 0)
    }
}
