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

-- Who may speak, and what follows from it. Everything here but tokens and sessions decides rights: whoever writes raises the rights version.
CREATE TABLE user (
  id              INTEGER PRIMARY KEY AUTOINCREMENT, -- history and audit go on naming a deleted user
  uuid            BLOB NOT NULL UNIQUE,
  email           TEXT NOT NULL UNIQUE,  -- folded
  name            TEXT NOT NULL,
  password        TEXT,                  -- hash with its parameters
  service_account INTEGER NOT NULL,
  external        INTEGER NOT NULL,      -- kept by the configuration or by a directory, not by hand
  status          TEXT NOT NULL,
  expires_at      INTEGER,               -- from when on the account is refused
  max_confidence  INTEGER,               -- NULL: that of the groups
  overrides       TEXT NOT NULL,         -- JSON: entity type -> confidence
  profile         TEXT NOT NULL,         -- JSON: what only is shown
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL
) STRICT;
CREATE TABLE user_group (
  id                  INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid                BLOB NOT NULL UNIQUE,
  name                TEXT NOT NULL,
  name_key            TEXT NOT NULL UNIQUE, -- lower case
  default_assignation INTEGER NOT NULL,
  auto_new_marking    INTEGER NOT NULL,
  auto_integration    INTEGER NOT NULL,
  no_creators         INTEGER NOT NULL,
  restrict_delete     INTEGER NOT NULL,
  max_confidence      INTEGER,
  overrides           TEXT NOT NULL,     -- JSON: entity type -> confidence
  default_markings    TEXT NOT NULL,     -- JSON: [{entity_type, values}]
  max_shareable       TEXT NOT NULL,     -- JSON: [{marking_type, value}]
  profile             TEXT NOT NULL,     -- JSON: what only is shown
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL
) STRICT;
CREATE TABLE role (
  id                 INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid               BLOB NOT NULL UNIQUE,
  name               TEXT NOT NULL,
  name_key           TEXT NOT NULL UNIQUE, -- lower case
  description        TEXT,
  capabilities       TEXT NOT NULL,      -- JSON array of names
  draft_capabilities TEXT NOT NULL,      -- JSON array of names
  sensitive          INTEGER NOT NULL,   -- may change what is protected
  created_at         INTEGER NOT NULL,
  updated_at         INTEGER NOT NULL
) STRICT;
CREATE TABLE membership (
  user INTEGER NOT NULL,
  grp  INTEGER NOT NULL,
  PRIMARY KEY (user, grp)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_group ON membership(grp);
CREATE TABLE group_role (
  grp  INTEGER NOT NULL,
  role INTEGER NOT NULL,
  PRIMARY KEY (grp, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_role_role ON group_role(role);
-- Granted markings; a row goes with its marking.
CREATE TABLE group_marking (
  grp INTEGER NOT NULL,
  iid INTEGER NOT NULL,
  PRIMARY KEY (grp, iid)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_marking_marking ON group_marking(iid);
-- Membership in organisations; a row goes with its organisation.
CREATE TABLE user_organization (
  user INTEGER NOT NULL,
  iid  INTEGER NOT NULL,
  PRIMARY KEY (user, iid)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_organization_organization ON user_organization(iid);
CREATE TABLE token (
  id         INTEGER PRIMARY KEY,
  uuid       BLOB NOT NULL UNIQUE,
  user       INTEGER NOT NULL,
  name       TEXT NOT NULL,
  hash       BLOB NOT NULL UNIQUE,       -- SHA-256
  masked     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  created_by INTEGER,                    -- user.id
  expires_at INTEGER,
  last_used  INTEGER,
  UNIQUE (user, name)
) STRICT;
CREATE TABLE session (
  hash       BLOB PRIMARY KEY,           -- SHA-256 of the secret in the cookie
  uuid       BLOB NOT NULL UNIQUE,
  user       INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  used_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  address    TEXT,
  agent      TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX session_user ON session(user);
CREATE INDEX session_expiry ON session(expires_at);
-- Failed logins by account and by address.
CREATE TABLE login_failure (
  key          TEXT PRIMARY KEY,
  failures     INTEGER NOT NULL,
  last_at      INTEGER NOT NULL,
  locked_until INTEGER
) STRICT, WITHOUT ROWID;

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
  errors           INTEGER NOT NULL,
  partial          INTEGER NOT NULL
) STRICT;
CREATE INDEX work_connector ON work(connector, created_at);
CREATE INDEX work_created ON work(created_at);
CREATE INDEX work_open ON work(status) WHERE status < 2;
CREATE TABLE work_note (
  work     INTEGER NOT NULL,
  kind     INTEGER NOT NULL,             -- 0 message, 1 error, 2 partly applied object
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
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid         BLOB NOT NULL UNIQUE,
  at           INTEGER NOT NULL,
  actor        INTEGER,                  -- user.id
  applicant    INTEGER,                  -- user.id: who spoke in the name of the actor
  event_type   TEXT NOT NULL,
  event_scope  TEXT NOT NULL,
  event_access TEXT NOT NULL,
  status       TEXT NOT NULL,
  entity_type  TEXT,
  entity_id    TEXT,
  entity_name  TEXT,
  address      TEXT,
  agent        TEXT,
  message      TEXT NOT NULL,
  data         TEXT                      -- JSON
) STRICT;
CREATE INDEX audit_at ON audit(at);
CREATE INDEX audit_actor ON audit(actor);
CREATE INDEX audit_entity ON audit(entity_id) WHERE entity_id IS NOT NULL;
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
