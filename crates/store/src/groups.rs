//! Groups: through them users get roles, markings and their highest confidence.

use std::collections::BTreeMap;

use ferrocti_model::clock::Millis;
use rusqlite::{Row, ToSql, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    Iid, Snapshot, Tx,
    error::Result,
    users::{from_json, to_json},
};

/// Markings that are put on what a member creates without markings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultMarkings {
    /// For which entity type; `GLOBAL`: all.
    pub entity_type: String,
    /// Internal ids of the markings.
    pub values: Vec<Uuid>,
}

/// How far data with markings of a type may be shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxShareable {
    /// The definition type: `TLP`, `PAP`, …
    pub marking_type: String,
    /// Internal id of the highest marking that may be shared; `None`: none of this type.
    pub value: Option<Uuid>,
}

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Row number; 0 before it is stored.
    pub row: i64,
    /// Public id.
    pub id: Uuid,
    /// Name, unique whatever its case.
    pub name: String,
    /// New users become members.
    pub default_assignation: bool,
    /// New markings are granted to it.
    pub auto_new_marking: bool,
    /// Service accounts that are made for connectors become members.
    pub auto_integration: bool,
    /// What members write names no creator, if all their groups say so.
    pub no_creators: bool,
    /// Members delete only what they created, if all their groups say so.
    pub restrict_delete: bool,
    /// Highest confidence of members, 0 to 100.
    pub max_confidence: Option<u8>,
    /// Highest confidence by entity type.
    pub overrides: BTreeMap<String, u8>,
    /// Markings for what is created without.
    pub default_markings: Vec<DefaultMarkings>,
    /// What may be shared; a type that is absent: everything that members may see.
    pub max_shareable: Vec<MaxShareable>,
    /// What is only shown and decides nothing: `description`, `default_dashboard`, `default_hidden_types`.
    pub profile: Map<String, Value>,
    /// When it was made.
    pub created_at: Millis,
    /// When it was changed last.
    pub updated_at: Millis,
}

impl Group {
    /// A group that grants nothing.
    #[must_use]
    pub fn new(id: Uuid, name: &str, now: Millis) -> Self {
        Self {
            row: 0,
            id,
            name: name.to_owned(),
            default_assignation: false,
            auto_new_marking: false,
            auto_integration: false,
            no_creators: false,
            restrict_delete: false,
            max_confidence: None,
            overrides: BTreeMap::new(),
            default_markings: Vec::new(),
            max_shareable: Vec::new(),
            profile: Map::new(),
            created_at: now,
            updated_at: now,
        }
    }
}

const GROUP: &str = "id, uuid, name, default_assignation, auto_new_marking, auto_integration, no_creators, restrict_delete, max_confidence, overrides, \
     default_markings, max_shareable, profile, created_at, updated_at";

impl Snapshot<'_> {
    /// The group of a row number.
    pub fn group(&self, row: i64) -> Result<Option<Group>> {
        self.one_group("id = ?1", row)
    }

    /// The group of a public id.
    pub fn group_by_id(&self, id: Uuid) -> Result<Option<Group>> {
        self.one_group("uuid = ?1", id.as_bytes().as_slice())
    }

    /// The group of a name, whatever its case.
    pub fn group_by_name(&self, name: &str) -> Result<Option<Group>> {
        self.one_group("name_key = ?1", name_key(name))
    }

    /// All groups, oldest first.
    pub fn groups(&self) -> Result<Vec<Group>> {
        let mut statement = self.sql(&format!("SELECT {GROUP} FROM user_group ORDER BY id"))?;
        let mut rows = statement.query([])?;
        let mut groups = Vec::new();
        while let Some(row) = rows.next()? {
            groups.push(group(row)?);
        }
        Ok(groups)
    }

    /// The groups of a user, by row number, oldest first.
    pub fn groups_of(&self, user: i64) -> Result<Vec<i64>> {
        self.numbers(
            "SELECT grp FROM membership WHERE user = ?1 ORDER BY grp",
            user,
        )
    }

    /// The members of a group, by row number, oldest first.
    pub fn members_of(&self, group: i64) -> Result<Vec<i64>> {
        self.numbers(
            "SELECT user FROM membership WHERE grp = ?1 ORDER BY user",
            group,
        )
    }

    /// The roles of a group, by row number, oldest first.
    pub fn roles_of(&self, group: i64) -> Result<Vec<i64>> {
        self.numbers(
            "SELECT role FROM group_role WHERE grp = ?1 ORDER BY role",
            group,
        )
    }

    /// The groups that have a role, by row number, oldest first.
    pub fn groups_with_role(&self, role: i64) -> Result<Vec<i64>> {
        self.numbers(
            "SELECT grp FROM group_role WHERE role = ?1 ORDER BY grp",
            role,
        )
    }

    /// The markings granted to a group.
    pub fn markings_of_group(&self, group: i64) -> Result<Vec<Iid>> {
        self.numbers(
            "SELECT iid FROM group_marking WHERE grp = ?1 ORDER BY iid",
            group,
        )
    }

    fn one_group(&self, condition: &str, parameter: impl ToSql) -> Result<Option<Group>> {
        let mut statement =
            self.sql(&format!("SELECT {GROUP} FROM user_group WHERE {condition}"))?;
        let mut rows = statement.query(params![parameter])?;
        rows.next()?.map(group).transpose()
    }
}

impl Tx<'_> {
    /// Stores a new group and sets its row number. Fails when the id or the name is taken.
    pub fn insert_group(&mut self, group: &mut Group) -> Result<()> {
        self.write_group(
            "INSERT INTO user_group(id, uuid, name, default_assignation, auto_new_marking, auto_integration, no_creators, restrict_delete, max_confidence,
             overrides, default_markings, max_shareable, profile, created_at, updated_at, name_key)
             VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            group,
        )?;
        group.row = self.conn.last_insert_rowid();
        self.rights_changed()
    }

    /// Writes a group back.
    pub fn update_group(&mut self, group: &Group) -> Result<()> {
        self.write_group(
            "UPDATE user_group SET uuid = ?2, name = ?3, default_assignation = ?4, auto_new_marking = ?5, auto_integration = ?6, no_creators = ?7,
             restrict_delete = ?8, max_confidence = ?9, overrides = ?10, default_markings = ?11, max_shareable = ?12, profile = ?13, created_at = ?14,
             updated_at = ?15, name_key = ?16 WHERE id = ?1",
            group,
        )?;
        self.rights_changed()
    }

    /// Deletes a group with its memberships and grants; whether there was one.
    pub fn delete_group(&mut self, row: i64) -> Result<bool> {
        for table in ["membership", "group_role", "group_marking"] {
            self.sql(&format!("DELETE FROM {table} WHERE grp = ?1"))?
                .execute([row])?;
        }
        let deleted = self
            .sql("DELETE FROM user_group WHERE id = ?1")?
            .execute([row])?
            > 0;
        self.rights_changed()?;
        Ok(deleted)
    }

    /// Makes a user a member of a group; whether it was none before.
    pub fn add_member(&mut self, group: i64, user: i64) -> Result<bool> {
        self.pair(
            "INSERT INTO membership(grp, user) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            group,
            user,
        )
    }

    /// Ends a membership; whether there was one.
    pub fn remove_member(&mut self, group: i64, user: i64) -> Result<bool> {
        self.pair(
            "DELETE FROM membership WHERE grp = ?1 AND user = ?2",
            group,
            user,
        )
    }

    /// Gives a role to a group; whether it had it not before.
    pub fn add_group_role(&mut self, group: i64, role: i64) -> Result<bool> {
        self.pair(
            "INSERT INTO group_role(grp, role) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            group,
            role,
        )
    }

    /// Takes a role from a group; whether it had it.
    pub fn remove_group_role(&mut self, group: i64, role: i64) -> Result<bool> {
        self.pair(
            "DELETE FROM group_role WHERE grp = ?1 AND role = ?2",
            group,
            role,
        )
    }

    /// Grants a marking to a group; whether it had it not before.
    pub fn grant_marking(&mut self, group: i64, marking: Iid) -> Result<bool> {
        self.pair(
            "INSERT INTO group_marking(grp, iid) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            group,
            marking,
        )
    }

    /// Takes a marking from a group; whether it had it.
    pub fn revoke_marking(&mut self, group: i64, marking: Iid) -> Result<bool> {
        self.pair(
            "DELETE FROM group_marking WHERE grp = ?1 AND iid = ?2",
            group,
            marking,
        )
    }

    fn write_group(&self, sql: &str, group: &Group) -> Result<()> {
        self.sql(sql)?.execute(params![
            group.row,
            group.id.as_bytes(),
            group.name,
            group.default_assignation,
            group.auto_new_marking,
            group.auto_integration,
            group.no_creators,
            group.restrict_delete,
            group.max_confidence,
            to_json(&group.overrides)?,
            to_json(&group.default_markings)?,
            to_json(&group.max_shareable)?,
            to_json(&group.profile)?,
            group.created_at,
            group.updated_at,
            name_key(&group.name)
        ])?;
        Ok(())
    }
}

/// The form in which names of groups and roles are compared; standard ids are made of the same.
pub(crate) fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

fn group(row: &Row<'_>) -> Result<Group> {
    Ok(Group {
        row: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        name: row.get(2)?,
        default_assignation: row.get(3)?,
        auto_new_marking: row.get(4)?,
        auto_integration: row.get(5)?,
        no_creators: row.get(6)?,
        restrict_delete: row.get(7)?,
        max_confidence: row.get(8)?,
        overrides: from_json(row, 9)?,
        default_markings: from_json(row, 10)?,
        max_shareable: from_json(row, 11)?,
        profile: from_json(row, 12)?,
        created_at: row.get(13)?,
        updated_at: row.get(14)?,
    })
}
