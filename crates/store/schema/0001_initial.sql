-- Knowledge. Row numbers (iid) are never reused.
CREATE TABLE object (
  iid         INTEGER PRIMARY KEY,
  type        INTEGER NOT NULL,          -- EntityType.code
  internal    BLOB NOT NULL,             -- 16 bytes
  standard    BLOB NOT NULL,             -- 17 bytes, Key of the standard id
  created_at  INTEGER NOT NULL,          -- milliseconds, never smaller than that of an earlier row
  updated_at  INTEGER NOT NULL,
  marking_set INTEGER NOT NULL,          -- markings of the object and, for a relationship, of its ends
  confidence  INTEGER,
  name_key    TEXT,                      -- folded main name
  src         INTEGER,                   -- ends of a relationship
  dst         INTEGER,
  inputs      BLOB,                      -- what was applied last: a delivery, and digests of its inputs, 8 bytes each
  attributes  TEXT NOT NULL              -- JSON object
) STRICT;
CREATE INDEX object_type    ON object(type);
-- what decides whether a match of the full text counts, without reading the rows themselves
CREATE INDEX object_narrow  ON object(iid, type, marking_set);
CREATE INDEX object_updated ON object(type, updated_at);
CREATE INDEX object_modified ON object(type, json_extract(attributes, '$.modified')) WHERE json_extract(attributes, '$.modified') IS NOT NULL;
CREATE INDEX object_name    ON object(type, name_key) WHERE name_key IS NOT NULL;
CREATE INDEX object_src     ON object(src, type) WHERE src IS NOT NULL;
CREATE INDEX object_dst     ON object(dst, type) WHERE dst IS NOT NULL;
-- Whether two objects are related already: neither end alone tells when both have thousands of relationships.
CREATE INDEX object_pair    ON object(src, dst, type) WHERE src IS NOT NULL;

-- Every identifier of every object. `extra` marks those that cannot be read from the object's own row.
CREATE TABLE ident (
  key   BLOB PRIMARY KEY,
  iid   INTEGER NOT NULL,
  extra INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ident_extra ON ident(iid) WHERE extra = 1;

CREATE TABLE edge (
  src INTEGER NOT NULL,
  ref INTEGER NOT NULL,                  -- Reference.code
  dst INTEGER NOT NULL,
  PRIMARY KEY (src, ref, dst)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_inverse ON edge(dst, ref, src);

-- Sets of markings, interned; 0 is the empty set. `members` is a sorted JSON array of iids.
CREATE TABLE marking_set (
  id      INTEGER PRIMARY KEY,
  members TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO marking_set(id, members) VALUES (0, '[]');

CREATE TABLE object_count (
  type        INTEGER NOT NULL,
  marking_set INTEGER NOT NULL,
  n           INTEGER NOT NULL,
  PRIMARY KEY (type, marking_set)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE search USING fts5(
  name, body, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2'
);
INSERT INTO search(search, rank) VALUES ('rank', 'bm25(5.0, 1.0)');

CREATE TABLE origin (
  id    INTEGER PRIMARY KEY,
  value TEXT NOT NULL                    -- JSON: connector, work, message
) STRICT;
CREATE TABLE history (
  seq    INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  op     INTEGER NOT NULL,
  iid    INTEGER NOT NULL,
  type   INTEGER NOT NULL,
  actor  INTEGER,                        -- user.id
  origin INTEGER,
  data   TEXT                            -- JSON: what is needed to go back to the state before the event
) STRICT;
CREATE INDEX history_object ON history(iid);

-- What waits for an identifier.
CREATE TABLE parked (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  iid      INTEGER,                      -- the object whose reference waits; NULL: a whole element
  ref      INTEGER,
  connector TEXT,
  work     TEXT,
  actor    INTEGER,
  document TEXT,                         -- JSON of a whole element
  fingerprint INTEGER NOT NULL           -- of what waits and of the keys, to find the same again
) STRICT;
CREATE INDEX parked_fingerprint ON parked(fingerprint);
CREATE INDEX parked_object ON parked(iid) WHERE iid IS NOT NULL;
CREATE TABLE parked_key (
  key    BLOB NOT NULL,
  parked INTEGER NOT NULL,
  PRIMARY KEY (key, parked)
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_key_of ON parked_key(parked);

-- Numbers that must not go back: the highest iid ever deleted.
CREATE TABLE high_water (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who may speak.
CREATE TABLE user (
  id              INTEGER PRIMARY KEY AUTOINCREMENT, -- history and audit go on naming a deleted user
  uuid            BLOB NOT NULL UNIQUE,
  email           TEXT NOT NULL UNIQUE,  -- folded
  name            TEXT NOT NULL,
  password        TEXT,                  -- hash with its parameters
  service_account INTEGER NOT NULL,
  capabilities    TEXT NOT NULL,         -- JSON array of names
  max_confidence  INTEGER NOT NULL,
  markings        TEXT,                  -- JSON array of internal ids; NULL: all
  status          TEXT NOT NULL,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL
) STRICT;
CREATE TABLE token (
  id         INTEGER PRIMARY KEY,
  uuid       BLOB NOT NULL UNIQUE,
  user       INTEGER NOT NULL,
  name       TEXT NOT NULL,
  hash       BLOB NOT NULL UNIQUE,       -- SHA-256
  masked     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used  INTEGER
) STRICT;
CREATE INDEX token_user ON token(user);

CREATE TABLE connector (
  id                    TEXT PRIMARY KEY,
  name                  TEXT NOT NULL,
  type                  TEXT NOT NULL,
  scope                 TEXT NOT NULL,   -- JSON array
  auto                  INTEGER NOT NULL,
  auto_update           INTEGER NOT NULL,
  only_contextual       INTEGER NOT NULL,
  playbook_compatible   INTEGER NOT NULL,
  enrichment_resolution TEXT,
  listen_callback_uri   TEXT,
  xtm_one_intent        TEXT,
  version               TEXT,
  slug                  TEXT,
  user                  INTEGER,
  built_in              INTEGER NOT NULL,
  title                 TEXT,
  trigger_filters       TEXT,
  priority_group        TEXT NOT NULL,
  info                  TEXT,            -- JSON
  state                 TEXT,            -- verbatim
  state_reset           INTEGER NOT NULL,
  state_at              INTEGER NOT NULL,
  created_at            INTEGER NOT NULL,
  updated_at            INTEGER NOT NULL,
  registered_at         INTEGER,
  last_ping             INTEGER,
  catalog_id            TEXT,
  manager               TEXT             -- JSON: what a connector manager keeps
) STRICT, WITHOUT ROWID;
CREATE TABLE connector_state (
  connector TEXT NOT NULL,
  version   INTEGER NOT NULL,
  at        INTEGER NOT NULL,
  reason    TEXT NOT NULL,
  actor     INTEGER,
  state     TEXT,
  PRIMARY KEY (connector, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE work (
  row              INTEGER PRIMARY KEY,
  id               TEXT NOT NULL UNIQUE,
  connector        TEXT NOT NULL,
  user             INTEGER,
  name             TEXT NOT NULL,
  event_type       TEXT NOT NULL,
  event_source     TEXT,
  status           INTEGER NOT NULL,
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  received_at      INTEGER,
  processed_at     INTEGER,
  completed_at     INTEGER,
  completed_number INTEGER,
  expected         INTEGER NOT NULL,
  processed        INTEGER NOT NULL,
  last_processed   INTEGER,
  multipart        INTEGER NOT NULL,
  processed_flag   INTEGER NOT NULL,
  draft_context    TEXT,
  messages         INTEGER NOT NULL,
  errors           INTEGER NOT NULL
) STRICT;
CREATE INDEX work_connector ON work(connector, created_at);
CREATE INDEX work_created ON work(created_at);
CREATE INDEX work_open ON work(status) WHERE status < 2;
CREATE TABLE work_note (
  work     INTEGER NOT NULL,
  kind     INTEGER NOT NULL,             -- 0 message, 1 error
  sequence INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  message  TEXT NOT NULL,
  source   TEXT NOT NULL,
  PRIMARY KEY (work, kind, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL                    -- JSON
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  actor   INTEGER,
  event   TEXT NOT NULL,
  status  TEXT NOT NULL,
  message TEXT NOT NULL,
  data    TEXT                           -- JSON
) STRICT;
CREATE TABLE queue_mark (
  queue TEXT PRIMARY KEY,
  mark  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE push (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  at        INTEGER NOT NULL,
  connector TEXT NOT NULL,
  work      TEXT,
  user      INTEGER NOT NULL,
  bundle    BLOB NOT NULL
) STRICT;
