//! What rights depend on beside users, groups and roles: the marking definitions, and the version of it all.
//!
//! The rights version is a new number after every change that may give or take a right, in the transaction of the change; who computes rights
//! may keep them for as long as the number that he read with them stays. A number is never used twice while the store is open, not even by
//! a transaction that is undone, so that what was computed within such a transaction is never taken for something else.

use ferrocti_model::{StixId, id::Key};
use rusqlite::OptionalExtension;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    Event, Iid, NewAudit, Operation, Snapshot, StoreError, Tx,
    error::{Result, corrupt},
};

/// Name of the type of marking definitions.
pub(crate) const MARKING_DEFINITION: &str = "Marking-Definition";
/// Name of the type that users are members of.
pub(crate) const ORGANIZATION: &str = "Organization";

/// A marking definition, as far as rights depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkingDefinition {
    /// Row number.
    pub iid: Iid,
    /// The platform's own id.
    pub internal: Uuid,
    /// The standard id.
    pub standard: StixId,
    /// `TLP`, `PAP`, `statement`, …
    pub definition_type: String,
    /// `TLP:AMBER`, …
    pub definition: String,
    /// Its place among those of its type; 0 where none is given.
    pub order: i64,
}

impl Snapshot<'_> {
    /// The number that changes whenever rights may have changed.
    pub fn rights_version(&self) -> Result<i64> {
        Ok(self
            .sql("SELECT value FROM high_water WHERE name = 'rights'")?
            .query_row([], |row| row.get(0))
            .optional()?
            .unwrap_or(0))
    }

    /// All marking definitions, oldest first.
    pub fn marking_definitions(&self) -> Result<Vec<MarkingDefinition>> {
        let mut statement = self.sql(
            "SELECT iid, internal, standard, attributes FROM object WHERE type = ?1 ORDER BY iid",
        )?;
        let mut rows = statement.query([self.shared.marking_kind])?;
        let mut definitions = Vec::new();
        while let Some(row) = rows.next()? {
            let document = row
                .get_ref(3)?
                .as_bytes()
                .map_err(|error| corrupt("attributes", error))?;
            let attributes: Map<String, Value> =
                serde_json::from_slice(document).map_err(|error| corrupt("attributes", error))?;
            let text = |name: &str| {
                attributes
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            definitions.push(MarkingDefinition {
                iid: row.get(0)?,
                internal: Uuid::from_bytes(row.get(1)?),
                standard: match Key(row.get(2)?).ident() {
                    Some(ferrocti_model::Ident::Stix(id)) => id,
                    _ => return Err(corrupt("marking definition", "no STIX id")),
                },
                definition_type: text("definition_type"),
                definition: text("definition"),
                order: attributes
                    .get("x_opencti_order")
                    .and_then(Value::as_i64)
                    .unwrap_or(0),
            });
        }
        Ok(definitions)
    }

    /// The highest number of a set of markings: while it and the rights version stay, so does what somebody may see.
    pub fn newest_marking_set(&self) -> Result<i64> {
        Ok(self
            .sql("SELECT max(id) FROM marking_set")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?
            .unwrap_or(0))
    }
}

impl Tx<'_> {
    /// Notes that rights may have changed.
    pub(crate) fn rights_changed(&mut self) -> Result<()> {
        let version = self.caches.take_rights_version();
        self.sql("INSERT INTO high_water(name, value) VALUES ('rights', ?1) ON CONFLICT(name) DO UPDATE SET value = excluded.value")?
            .execute([version])?;
        Ok(())
    }

    /// After an object was stored: a new marking is granted to the groups that get every new one.
    pub(crate) fn object_made(&mut self, code: u16, iid: Iid) -> Result<()> {
        if code != self.shared.marking_kind {
            return Ok(());
        }
        self.sql("INSERT INTO group_marking(grp, iid) SELECT id, ?1 FROM user_group WHERE auto_new_marking")?
            .execute([iid])?;
        self.rights_changed()
    }

    /// A change of a marking decides who sees what, so that it is a line of the audit too, whichever way it was made.
    pub(crate) fn audit_marking(&mut self, event: &Event<'_>) -> Result<()> {
        let stored = self.load_one(event.iid)?;
        let told = event.data.unwrap_or(&Value::Null);
        let definition = stored
            .as_ref()
            .and_then(|stored| stored.attributes.get("definition"))
            .or_else(|| told.pointer("/attributes/definition"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let id = match &stored {
            Some(stored) => stored.internal.to_string(),
            None => told["id"].as_str().unwrap_or_default().to_owned(),
        };
        let keys: Vec<&str> = told["attributes"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        let (event_scope, what) = match event.operation {
            Operation::Create | Operation::Restore => ("create", "creates".to_owned()),
            Operation::Delete => ("delete", "deletes".to_owned()),
            Operation::Update | Operation::Merge if keys.is_empty() => {
                ("update", "updates".to_owned())
            }
            Operation::Update | Operation::Merge => {
                ("update", format!("updates `{}` for", keys.join(", ")))
            }
        };
        let after: Map<String, Value> = keys
            .iter()
            .filter_map(|key| {
                let value = stored.as_ref()?.attributes.get(*key)?;
                Some(((*key).to_owned(), value.clone()))
            })
            .collect();
        let data = json!({ "before": told["attributes"], "after": after });
        self.audit(&NewAudit {
            actor: event.actor,
            applicant: None,
            event_type: "mutation",
            event_scope,
            event_access: "administration",
            status: "success",
            entity: Some((MARKING_DEFINITION, &id, &definition)),
            address: None,
            agent: None,
            message: &format!("{what} {MARKING_DEFINITION} `{definition}`"),
            data: event.data.map(|_| &data),
        })
    }

    /// Before an object is deleted: grants of a marking, and memberships in an organisation, go with it.
    pub(crate) fn object_leaves(&mut self, code: u16, iid: Iid) -> Result<()> {
        if code == self.shared.organization_kind {
            self.sql("DELETE FROM user_organization WHERE iid = ?1")?
                .execute([iid])?;
            return self.rights_changed();
        }
        if code != self.shared.marking_kind {
            return Ok(());
        }
        self.sql("DELETE FROM group_marking WHERE iid = ?1")?
            .execute([iid])?;
        let internal = self
            .sql("SELECT internal FROM object WHERE iid = ?1")?
            .query_row([iid], |row| row.get(0).map(Uuid::from_bytes))
            .optional()?
            .ok_or(StoreError::NoObject(iid))?;
        for mut group in self.groups()? {
            let before = group.clone();
            for default in &mut group.default_markings {
                default.values.retain(|value| *value != internal);
            }
            // what could be shared up to a marking that is gone is not shared at all: the safe reading
            for limit in &mut group.max_shareable {
                limit.value = limit.value.filter(|value| *value != internal);
            }
            if group != before {
                self.update_group(&group)?;
            }
        }
        self.rights_changed()
    }
}
