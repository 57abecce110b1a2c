-- Who runs managed connectors, what they were told to run, and what they say of it. What a connector shall be is in connector.manager.
CREATE TABLE composer (
  id         TEXT PRIMARY KEY,         -- as it names itself
  name       TEXT NOT NULL,
  public_key TEXT NOT NULL,            -- PEM, as given
  key_id     TEXT NOT NULL,            -- of that key: what was sealed for another one cannot be opened
  user       INTEGER NOT NULL UNIQUE,  -- a user is one composer
  own        INTEGER NOT NULL,         -- whether it speaks our protocol
  about      TEXT,                     -- JSON: version, orchestrators
  blocked    TEXT,                     -- why it does nothing at all
  created_at INTEGER NOT NULL,
  last_seen  INTEGER NOT NULL
) STRICT;

-- Every definition that a managed connector had lately, the present one among them: what it is rolled back to.
CREATE TABLE definition (
  connector TEXT NOT NULL,
  number    INTEGER NOT NULL,          -- growing, never reused while the connector lives
  at        INTEGER NOT NULL,
  actor     INTEGER,
  reason    TEXT NOT NULL,
  document  TEXT NOT NULL,             -- JSON; its secrets are sealed
  PRIMARY KEY (connector, number)
) STRICT;

CREATE TABLE connector_report (
  connector TEXT PRIMARY KEY,
  at        INTEGER NOT NULL,
  document  TEXT NOT NULL              -- JSON: what its composer said last
) STRICT, WITHOUT ROWID;

CREATE TABLE connector_log (
  connector TEXT NOT NULL,
  seq       INTEGER NOT NULL,
  at        INTEGER NOT NULL,          -- when it was reported
  line      TEXT NOT NULL,
  PRIMARY KEY (connector, seq)
) STRICT, WITHOUT ROWID;

-- Connectors that a composer has to remove. Nothing else makes it remove one.
CREATE TABLE tombstone (
  composer  TEXT NOT NULL,
  connector TEXT NOT NULL,
  at        INTEGER NOT NULL,
  approved  INTEGER NOT NULL,          -- an operator has confirmed the removal of many at once
  PRIMARY KEY (composer, connector)
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstone_connector ON tombstone(connector);
