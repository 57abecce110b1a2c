-- Who may act as a connector. No row, or no token: whoever may speak for it, as epoch 0.
CREATE TABLE lease (
  connector    TEXT PRIMARY KEY,
  epoch        INTEGER NOT NULL,       -- raised whenever the lease changes hands
  token        BLOB,                   -- token.uuid: only what comes with it acts as the connector
  holder       TEXT NOT NULL,          -- in words, for those that are refused
  since        INTEGER NOT NULL,
  former       BLOB,                   -- token.uuid of the instance that it is given back to
  frozen_state INTEGER,                -- version of the state when it changed hands
  guarded      INTEGER NOT NULL        -- whether the state must not go back
) STRICT, WITHOUT ROWID;
-- Tokens that acted as a connector and do not any more.
CREATE TABLE lease_former (
  connector TEXT NOT NULL,
  token     BLOB NOT NULL,
  epoch     INTEGER NOT NULL,          -- from which on it is refused
  PRIMARY KEY (connector, token)
) STRICT, WITHOUT ROWID;
-- What happened to leases, in order: what the history is checked against.
CREATE TABLE lease_event (
  seq       INTEGER PRIMARY KEY AUTOINCREMENT,
  connector TEXT NOT NULL,
  at        INTEGER NOT NULL,
  kind      TEXT NOT NULL,
  epoch     INTEGER NOT NULL,
  detail    TEXT NOT NULL              -- JSON
) STRICT;
CREATE INDEX lease_event_connector ON lease_event(connector, seq);
-- Instances that go on calling although they do not act as the connector any more.
CREATE TABLE fenced (
  connector TEXT NOT NULL,
  address   TEXT NOT NULL,
  token     TEXT NOT NULL,             -- masked
  agent     TEXT NOT NULL,
  what      TEXT NOT NULL,             -- what was asked for last
  calls     INTEGER NOT NULL,
  first_at  INTEGER NOT NULL,
  last_at   INTEGER NOT NULL,
  PRIMARY KEY (connector, address, token, agent)
) STRICT, WITHOUT ROWID;

ALTER TABLE connector ADD COLUMN registered_token BLOB; -- token.uuid of its last registration
ALTER TABLE connector_state ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE work ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE push ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue_mark ADD COLUMN dealt_with INTEGER NOT NULL DEFAULT 0; -- messages that were applied, dropped or set aside
