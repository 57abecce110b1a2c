//! Tokens of users. Only their hashes are stored.

use ferrocti_model::clock::Millis;
use rusqlite::{Row, params};
use uuid::Uuid;

use crate::{Snapshot, Tx, User, error::Result};

/// A token of a user; the secret itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Public id.
    pub id: Uuid,
    /// The user (`User.row`).
    pub user: i64,
    /// Readable name, unique among the user's tokens.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What may be shown of it.
    pub masked: String,
    /// When it was made.
    pub created_at: Millis,
    /// Who made it (`User.row`); `None`: the configuration.
    pub created_by: Option<i64>,
    /// From when on it is refused.
    pub expires_at: Option<Millis>,
    /// When it was used last, roughly.
    pub last_used: Option<Millis>,
}

const TOKEN: &str = "uuid, user, name, hash, masked, created_at, created_by, expires_at, last_used";

impl Snapshot<'_> {
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

    /// The token of a public id.
    pub fn token(&self, id: Uuid) -> Result<Option<Token>> {
        let mut statement = self.sql(&format!("SELECT {TOKEN} FROM token WHERE uuid = ?1"))?;
        let mut rows = statement.query_map([id.as_bytes()], token)?;
        Ok(rows.next().transpose()?)
    }

    /// The tokens of a user, oldest first.
    pub fn tokens_of(&self, user: i64) -> Result<Vec<Token>> {
        let mut statement = self.sql(&format!(
            "SELECT {TOKEN} FROM token WHERE user = ?1 ORDER BY id"
        ))?;
        let rows = statement.query_map([user], token)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Tx<'_> {
    /// Stores a token. Fails when its id or hash is taken, or when the user has one of that name.
    pub fn insert_token(&mut self, token: &Token) -> Result<()> {
        self.sql(&format!(
            "INSERT INTO token({TOKEN}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        ))?
        .execute(params![
            token.id.as_bytes(),
            token.user,
            token.name,
            token.hash.as_slice(),
            token.masked,
            token.created_at,
            token.created_by,
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
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: Uuid::from_bytes(row.get(0)?),
        user: row.get(1)?,
        name: row.get(2)?,
        hash: row.get(3)?,
        masked: row.get(4)?,
        created_at: row.get(5)?,
        created_by: row.get(6)?,
        expires_at: row.get(7)?,
        last_used: row.get(8)?,
    })
}
