//! Users: who may log in, with the part of their rights that is their own. What groups add is in [`crate::Group`].

use std::collections::BTreeMap;

use ferrocti_model::clock::Millis;
use rusqlite::{Row, ToSql, params};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    Iid, Snapshot, Tx,
    error::{Result, corrupt},
    fold::fold,
};

/// Whether an account is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserStatus {
    /// It is.
    #[default]
    Active,
    /// An administrator switched it off.
    Inactive,
    /// Locked, by an administrator.
    Locked,
    /// Its time is over.
    Expired,
}

impl UserStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Inactive, Self::Locked, Self::Expired];

    /// The name that clients use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
            Self::Locked => "Locked",
            Self::Expired => "Expired",
        }
    }

    /// The status of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Row number, by which everything refers to the user; 0 before it is stored.
    pub row: i64,
    /// Public id.
    pub id: Uuid,
    /// E-mail address, unique whatever its case.
    pub email: String,
    /// Readable name.
    pub name: String,
    /// Password hash with its parameters; `None`: no login by password.
    pub password: Option<String>,
    /// A connector's or another program's account.
    pub service_account: bool,
    /// Kept by the configuration or by a directory: name, address and password are not changed by hand.
    pub external: bool,
    /// Whether it is let in.
    pub status: UserStatus,
    /// From when on it is refused; `None`: never.
    pub expires_at: Option<Millis>,
    /// Own highest confidence, 0 to 100; `None`: that of the groups counts.
    pub max_confidence: Option<u8>,
    /// Own highest confidence by entity type.
    pub overrides: BTreeMap<String, u8>,
    /// What is only shown and decides nothing: `firstname`, `lastname`, `description`, `language`, `theme`, …
    pub profile: Map<String, Value>,
    /// When it was made.
    pub created_at: Millis,
    /// When it was changed last.
    pub updated_at: Millis,
}

impl User {
    /// An active person without password and own confidence.
    #[must_use]
    pub fn new(id: Uuid, email: &str, name: &str, now: Millis) -> Self {
        Self {
            row: 0,
            id,
            email: email.to_owned(),
            name: name.to_owned(),
            password: None,
            service_account: false,
            external: false,
            status: UserStatus::Active,
            expires_at: None,
            max_confidence: None,
            overrides: BTreeMap::new(),
            profile: Map::new(),
            created_at: now,
            updated_at: now,
        }
    }
}

const USER: &str = "id, uuid, email, name, password, service_account, external, status, expires_at, max_confidence, overrides, profile, created_at, updated_at";

impl Snapshot<'_> {
    /// The user of a row number.
    pub fn user(&self, row: i64) -> Result<Option<User>> {
        self.one_user("id = ?1", row)
    }

    /// Who the user of a row number was that is deleted: its public id, address and name, and nothing else.
    pub fn former_user(&self, row: i64) -> Result<Option<User>> {
        Ok(self.former("id = ?1", row)?.pop())
    }

    /// The deleted users of a public id, as [`Snapshot::former_user`] tells them: several when one was made again with a fixed id.
    pub fn former_users(&self, id: Uuid) -> Result<Vec<User>> {
        self.former("uuid = ?1", id.as_bytes().as_slice())
    }

    fn former(&self, condition: &str, parameter: impl ToSql) -> Result<Vec<User>> {
        let sql = format!("SELECT id, uuid, email, name FROM former_user WHERE {condition}");
        let mut statement = self.sql(&sql)?;
        let mut rows = statement.query(params![parameter])?;
        let mut users = Vec::new();
        while let Some(row) = rows.next()? {
            let (email, name): (String, String) = (row.get(2)?, row.get(3)?);
            users.push(User {
                row: row.get(0)?,
                status: UserStatus::Inactive,
                ..User::new(Uuid::from_bytes(row.get(1)?), &email, &name, 0)
            });
        }
        Ok(users)
    }

    /// The user of a public id.
    pub fn user_by_id(&self, id: Uuid) -> Result<Option<User>> {
        self.one_user("uuid = ?1", id.as_bytes().as_slice())
    }

    /// The user of an e-mail address, whatever its case.
    pub fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        self.one_user("email = ?1", fold(email.trim()))
    }

    /// All users, oldest first.
    pub fn users(&self) -> Result<Vec<User>> {
        let mut statement = self.sql(&format!("SELECT {USER} FROM user ORDER BY id"))?;
        let mut rows = statement.query([])?;
        let mut users = Vec::new();
        while let Some(row) = rows.next()? {
            users.push(user(row)?);
        }
        Ok(users)
    }

    /// The organisations that a user belongs to.
    pub fn organizations_of(&self, user: i64) -> Result<Vec<Iid>> {
        self.numbers(
            "SELECT iid FROM user_organization WHERE user = ?1 ORDER BY iid",
            user,
        )
    }

    /// The users that belong to an organisation.
    pub fn organization_members(&self, organization: Iid) -> Result<Vec<i64>> {
        self.numbers(
            "SELECT user FROM user_organization WHERE iid = ?1 ORDER BY user",
            organization,
        )
    }

    fn one_user(&self, condition: &str, parameter: impl ToSql) -> Result<Option<User>> {
        let mut statement = self.sql(&format!("SELECT {USER} FROM user WHERE {condition}"))?;
        let mut rows = statement.query(params![parameter])?;
        rows.next()?.map(user).transpose()
    }

    /// The first column of all rows that a query with one number finds.
    pub(crate) fn numbers(&self, sql: &str, of: i64) -> Result<Vec<i64>> {
        let mut statement = self.sql(sql)?;
        let rows = statement.query_map([of], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Tx<'_> {
    /// Stores a new user and sets its row number and the stored form of its address. Fails when the id or the address is taken.
    pub fn insert_user(&mut self, user: &mut User) -> Result<()> {
        self.write_user(
            "INSERT INTO user(id, uuid, email, name, password, service_account, external, status, expires_at, max_confidence, overrides, profile, created_at, updated_at)
             VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            user,
        )?;
        user.row = self.conn.last_insert_rowid();
        user.email = fold(user.email.trim()).into_owned();
        self.rights_changed()
    }

    /// Writes a user back.
    pub fn update_user(&mut self, user: &User) -> Result<()> {
        self.write_user(
            "UPDATE user SET uuid = ?2, email = ?3, name = ?4, password = ?5, service_account = ?6, external = ?7, status = ?8, expires_at = ?9,
             max_confidence = ?10, overrides = ?11, profile = ?12, created_at = ?13, updated_at = ?14 WHERE id = ?1",
            user,
        )?;
        self.rights_changed()
    }

    /// Deletes a user with its tokens, sessions and memberships; whether there was one.
    pub fn delete_user(&mut self, row: i64) -> Result<bool> {
        self.sql("INSERT OR REPLACE INTO former_user(id, uuid, email, name) SELECT id, uuid, email, name FROM user WHERE id = ?1")?
            .execute([row])?;
        for table in ["token", "session", "membership", "user_organization"] {
            self.sql(&format!("DELETE FROM {table} WHERE user = ?1"))?
                .execute([row])?;
        }
        let deleted = self.sql("DELETE FROM user WHERE id = ?1")?.execute([row])? > 0;
        self.rights_changed()?;
        Ok(deleted)
    }

    /// Makes a user a member of an organisation; whether it was none before.
    pub fn add_organization(&mut self, user: i64, organization: Iid) -> Result<bool> {
        self.pair(
            "INSERT INTO user_organization(user, iid) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            user,
            organization,
        )
    }

    /// Ends a membership in an organisation; whether there was one.
    pub fn remove_organization(&mut self, user: i64, organization: Iid) -> Result<bool> {
        self.pair(
            "DELETE FROM user_organization WHERE user = ?1 AND iid = ?2",
            user,
            organization,
        )
    }

    /// Runs a statement that adds or removes one pair of numbers that decide rights; whether it changed something.
    pub(crate) fn pair(&mut self, sql: &str, left: i64, right: i64) -> Result<bool> {
        let changed = self.sql(sql)?.execute([left, right])? > 0;
        if changed {
            self.rights_changed()?;
        }
        Ok(changed)
    }

    fn write_user(&self, sql: &str, user: &User) -> Result<()> {
        self.sql(sql)?.execute(params![
            user.row,
            user.id.as_bytes(),
            fold(user.email.trim()),
            user.name,
            user.password,
            user.service_account,
            user.external,
            user.status.name(),
            user.expires_at,
            user.max_confidence,
            to_json(&user.overrides)?,
            to_json(&user.profile)?,
            user.created_at,
            user.updated_at
        ])?;
        Ok(())
    }
}

/// A value as the text of a JSON column.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| corrupt("account", error))
}

/// The value of a JSON column.
pub(crate) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T> {
    let text = row
        .get_ref(column)?
        .as_bytes()
        .map_err(|error| corrupt("account", error))?;
    serde_json::from_slice(text).map_err(|error| corrupt("account", error))
}

fn user(row: &Row<'_>) -> Result<User> {
    let status: String = row.get(7)?;
    Ok(User {
        row: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        email: row.get(2)?,
        name: row.get(3)?,
        password: row.get(4)?,
        service_account: row.get(5)?,
        external: row.get(6)?,
        status: UserStatus::of(&status).ok_or_else(|| corrupt("user", "unknown status"))?,
        expires_at: row.get(8)?,
        max_confidence: row.get(9)?,
        overrides: from_json(row, 10)?,
        profile: from_json(row, 11)?,
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
    })
}
