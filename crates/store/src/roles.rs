//! Roles: named sets of capabilities that groups give to their members.

use ferrocti_model::clock::Millis;
use rusqlite::{Row, ToSql, params};
use uuid::Uuid;

use crate::{
    Snapshot, Tx,
    error::Result,
    groups::name_key,
    users::{from_json, to_json},
};

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Row number; 0 before it is stored.
    pub row: i64,
    /// Public id.
    pub id: Uuid,
    /// Name, unique whatever its case.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Names of capabilities.
    pub capabilities: Vec<String>,
    /// Names of capabilities that count only inside drafts.
    pub draft_capabilities: Vec<String>,
    /// May change what is protected.
    pub sensitive: bool,
    /// When it was made.
    pub created_at: Millis,
    /// When it was changed last.
    pub updated_at: Millis,
}

impl Role {
    /// A role that allows nothing.
    #[must_use]
    pub fn new(id: Uuid, name: &str, now: Millis) -> Self {
        Self {
            row: 0,
            id,
            name: name.to_owned(),
            description: None,
            capabilities: Vec::new(),
            draft_capabilities: Vec::new(),
            sensitive: false,
            created_at: now,
            updated_at: now,
        }
    }
}

const ROLE: &str = "id, uuid, name, description, capabilities, draft_capabilities, sensitive, created_at, updated_at";

impl Snapshot<'_> {
    /// The role of a row number.
    pub fn role(&self, row: i64) -> Result<Option<Role>> {
        self.one_role("id = ?1", row)
    }

    /// The role of a public id.
    pub fn role_by_id(&self, id: Uuid) -> Result<Option<Role>> {
        self.one_role("uuid = ?1", id.as_bytes().as_slice())
    }

    /// The role of a name, whatever its case.
    pub fn role_by_name(&self, name: &str) -> Result<Option<Role>> {
        self.one_role("name_key = ?1", name_key(name))
    }

    /// All roles, oldest first.
    pub fn roles(&self) -> Result<Vec<Role>> {
        let mut statement = self.sql(&format!("SELECT {ROLE} FROM role ORDER BY id"))?;
        let mut rows = statement.query([])?;
        let mut roles = Vec::new();
        while let Some(row) = rows.next()? {
            roles.push(role(row)?);
        }
        Ok(roles)
    }

    fn one_role(&self, condition: &str, parameter: impl ToSql) -> Result<Option<Role>> {
        let mut statement = self.sql(&format!("SELECT {ROLE} FROM role WHERE {condition}"))?;
        let mut rows = statement.query(params![parameter])?;
        rows.next()?.map(role).transpose()
    }
}

impl Tx<'_> {
    /// Stores a new role and sets its row number. Fails when the id or the name is taken.
    pub fn insert_role(&mut self, role: &mut Role) -> Result<()> {
        self.write_role(
            "INSERT INTO role(id, uuid, name, description, capabilities, draft_capabilities, sensitive, created_at, updated_at, name_key)
             VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            role,
        )?;
        role.row = self.conn.last_insert_rowid();
        self.rights_changed()
    }

    /// Writes a role back.
    pub fn update_role(&mut self, role: &Role) -> Result<()> {
        self.write_role(
            "UPDATE role SET uuid = ?2, name = ?3, description = ?4, capabilities = ?5, draft_capabilities = ?6, sensitive = ?7, created_at = ?8,
             updated_at = ?9, name_key = ?10 WHERE id = ?1",
            role,
        )?;
        self.rights_changed()
    }

    /// Deletes a role and takes it from all groups; whether there was one.
    pub fn delete_role(&mut self, row: i64) -> Result<bool> {
        self.sql("DELETE FROM group_role WHERE role = ?1")?
            .execute([row])?;
        let deleted = self.sql("DELETE FROM role WHERE id = ?1")?.execute([row])? > 0;
        self.rights_changed()?;
        Ok(deleted)
    }

    fn write_role(&self, sql: &str, role: &Role) -> Result<()> {
        self.sql(sql)?.execute(params![
            role.row,
            role.id.as_bytes(),
            role.name,
            role.description,
            to_json(&role.capabilities)?,
            to_json(&role.draft_capabilities)?,
            role.sensitive,
            role.created_at,
            role.updated_at,
            name_key(&role.name)
        ])?;
        Ok(())
    }
}

fn role(row: &Row<'_>) -> Result<Role> {
    Ok(Role {
        row: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        name: row.get(2)?,
        description: row.get(3)?,
        capabilities: from_json(row, 4)?,
        draft_capabilities: from_json(row, 5)?,
        sensitive: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}
