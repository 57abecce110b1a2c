-- Who a deleted user was: the audit log goes on naming it, so that nobody leaves its traces nameless by deleting an account.
CREATE TABLE former_user (
  id    INTEGER PRIMARY KEY,  -- user.id, which is never reused
  uuid  BLOB NOT NULL,        -- the first administrator has the same each time that it is made
  email TEXT NOT NULL,
  name  TEXT NOT NULL
) STRICT;
CREATE INDEX former_user_uuid ON former_user(uuid);
