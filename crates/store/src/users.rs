//! Users and their tokens. Only hashes of tokens and passwords are stored.

use ferrocti_model::clock::Millis;
use rusqlite::{Row, params};
use uuid::Uuid;

use crate::{
    Snapshot, Tx,
    error::{Result, corrupt},
    fold::fold,
};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Names of capabilities.
    pub capabilities: Vec<String>,
    /// Highest confidence that the user's input may carry.
    pub max_confidence: u8,
    /// Internal ids of the allowed markings; `None`: all.
    pub markings: Option<Vec<Uuid>>,
    /// `Active`, `Inactive`, …
    pub status: String,
    /// When it was made.
    pub created_at: Millis,
    /// When it was changed last.
    pub updated_at: Millis,
}

/// A token of a user; the secret itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Public id.
    pub id: Uuid,
    /// The user (`User.row`).
    pub user: i64,
    /// Readable name.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What may be shown of it.
    pub masked: String,
    /// When it was made.
    pub created_at: Millis,
    /// From when on it is refused.
    pub expires_at: Option<Millis>,
    /// When it was used last, roughly.
    pub last_used: Option<Millis>,
}

const USER: &str = "id, uuid, email, name, password, service_account, capabilities, max_confidence, markings, status, created_at, updated_at";
const TOKEN: &str = "uuid, user, name, hash, masked, created_at, expires_at, last_used";

impl Snapshot<'_> {
    /// The user of a row number.
    pub fn user(&self, row: i64) -> Result<Option<User>> {
        self.one_user("id = ?1", row)
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

    /// The token of a hash, with its user.
    pub fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<(Token, User)>> {
        let mut statement = self.sql(&format!("SELECT {TOKEN} FROM token WHERE hash = ?1"))?;
        let mut rows = statement.query([hash.as_slice()])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let token = token(row)?;
        Ok(self.user(token.user)?.map(|user| (token, user)))
    }

    /// The tokens of a user, oldest first.
    pub fn tokens_of(&self, user: i64) -> Result<Vec<Token>> {
        let mut statement = self.sql(&format!(
            "SELECT {TOKEN} FROM token WHERE user = ?1 ORDER BY id"
        ))?;
        let rows = statement.query_map([user], token)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn one_user(&self, condition: &str, parameter: impl rusqlite::ToSql) -> Result<Option<User>> {
        let mut statement = self.sql(&format!("SELECT {USER} FROM user WHERE {condition}"))?;
        let mut rows = statement.query(params![parameter])?;
        rows.next()?.map(user).transpose()
    }
}

impl Tx<'_> {
    /// Stores a new user and sets its row number. Fails when the id or the address is taken.
    pub fn insert_user(&mut self, user: &mut User) -> Result<()> {
        self.write_user(
            "INSERT INTO user(id, uuid, email, name, password, service_account, capabilities, max_confidence, markings, status, created_at, updated_at)
             VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            user,
        )?;
        user.row = self.conn.last_insert_rowid();
        Ok(())
    }

    /// Writes a user back.
    pub fn update_user(&mut self, user: &User) -> Result<()> {
        self.write_user(
            "UPDATE user SET uuid = ?2, email = ?3, name = ?4, password = ?5, service_account = ?6, capabilities = ?7, max_confidence = ?8,
             markings = ?9, status = ?10, created_at = ?11, updated_at = ?12 WHERE id = ?1",
            user,
        )
    }

    /// Deletes a user and its tokens; whether there was one.
    pub fn delete_user(&mut self, row: i64) -> Result<bool> {
        self.sql("DELETE FROM token WHERE user = ?1")?
            .execute([row])?;
        Ok(self.sql("DELETE FROM user WHERE id = ?1")?.execute([row])? > 0)
    }

    /// Stores a token. Fails when its id or hash is taken.
    pub fn insert_token(&mut self, token: &Token) -> Result<()> {
        self.sql(&format!(
            "INSERT INTO token({TOKEN}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        ))?
        .execute(params![
            token.id.as_bytes(),
            token.user,
            token.name,
            token.hash.as_slice(),
            token.masked,
            token.created_at,
            token.expires_at,
            token.last_used
        ])?;
        Ok(())
    }

    /// Deletes a token; whether there was one.
    pub fn delete_token(&mut self, id: Uuid) -> Result<bool> {
        Ok(self
            .sql("DELETE FROM token WHERE uuid = ?1")?
            .execute([id.as_bytes()])?
            > 0)
    }

    /// Notes that a token was used now.
    pub fn touch_token(&mut self, id: Uuid) -> Result<()> {
        let now = self.now();
        self.sql("UPDATE token SET last_used = ?2 WHERE uuid = ?1")?
            .execute(params![id.as_bytes(), now])?;
        Ok(())
    }

    fn write_user(&self, sql: &str, user: &User) -> Result<()> {
        let json = |error: serde_json::Error| corrupt("user", error);
        let capabilities = serde_json::to_string(&user.capabilities).map_err(json)?;
        let markings = user
            .markings
            .as_ref()
            .map(serde_json::to_string)
            .transpose()
            .map_err(json)?;
        self.sql(sql)?.execute(params![
            user.row,
            user.id.as_bytes(),
            fold(user.email.trim()),
            user.name,
            user.password,
            user.service_account,
            capabilities,
            user.max_confidence,
            markings,
            user.status,
            user.created_at,
            user.updated_at
        ])?;
        Ok(())
    }
}

fn user(row: &Row<'_>) -> Result<User> {
    let json = |error: serde_json::Error| corrupt("user", error);
    let capabilities: String = row.get(6)?;
    let markings: Option<String> = row.get(8)?;
    Ok(User {
        row: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        email: row.get(2)?,
        name: row.get(3)?,
        password: row.get(4)?,
        service_account: row.get(5)?,
        capabilities: serde_json::from_str(&capabilities).map_err(json)?,
        max_confidence: row.get(7)?,
        markings: markings
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(json)?,
        status: row.get(9)?,
        created_at: row.get(10)?,
        updated_at: row.get(11)?,
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: Uuid::from_bytes(row.get(0)?),
        user: row.get(1)?,
        name: row.get(2)?,
        hash: row.get(3)?,
        masked: row.get(4)?,
        created_at: row.get(5)?,
        expires_at: row.get(6)?,
        last_used: row.get(7)?,
    })
}
