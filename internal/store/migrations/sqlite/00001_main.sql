-- +goose Up
-- Times are microseconds of UTC. Every table of a tenant begins its primary key
-- with the organization. The text would do for PostgreSQL too, but for WITHOUT
-- ROWID, which saves a page per write where rows are small.

CREATE TABLE organizations (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

-- Owner of what everybody may use and nobody but a site administrator change.
INSERT INTO organizations (id, name, created_at) VALUES ('org_global', 'global', 0);

CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    site_admin    BOOLEAN NOT NULL,
    password_hash TEXT    NOT NULL,
    disabled      BOOLEAN NOT NULL,
    created_at    BIGINT  NOT NULL
);

CREATE TABLE memberships (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    user_id      TEXT   NOT NULL REFERENCES users (id),
    role         TEXT   NOT NULL,
    PRIMARY KEY (organization, user_id)
) WITHOUT ROWID;

CREATE INDEX memberships_user ON memberships (user_id, organization);

CREATE TABLE tokens (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    id           TEXT   NOT NULL,
    user_id      TEXT   NOT NULL REFERENCES users (id),
    name         TEXT   NOT NULL,
    scope        TEXT   NOT NULL,
    hash         TEXT   NOT NULL UNIQUE,
    expires_at   BIGINT,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (organization, id)
);

CREATE INDEX tokens_user ON tokens (organization, user_id, id);

-- definition is JSON; name and language are copied out of it to be found by.
CREATE TABLE runtimes (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    id           TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    language     TEXT   NOT NULL,
    definition   TEXT   NOT NULL,
    generation   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (organization, id),
    UNIQUE (organization, name)
);

-- Generations are never changed and stay when their runtime is deleted:
-- executions name them.
CREATE TABLE generations (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    runtime      TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    definition   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (organization, runtime, number)
);

CREATE TABLE runspaces (
    organization    TEXT   NOT NULL REFERENCES organizations (id),
    id              TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    owner           TEXT   NOT NULL,
    runtime         TEXT   NOT NULL,
    runtime_name    TEXT   NOT NULL,
    generation      BIGINT NOT NULL,
    instance        TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    error           TEXT   NOT NULL,
    idle_timeout_us BIGINT NOT NULL,
    env             TEXT   NOT NULL,
    init_script     TEXT   NOT NULL,
    last_used_at    BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    ended_at        BIGINT,
    PRIMARY KEY (organization, id)
);

CREATE UNIQUE INDEX runspaces_open_name ON runspaces (organization, name)
    WHERE name <> '' AND state <> 'closed' AND state <> 'error';
CREATE INDEX runspaces_open ON runspaces (organization, state, id)
    WHERE state <> 'closed' AND state <> 'error';
CREATE INDEX runspaces_runtime ON runspaces (organization, runtime, id);
CREATE INDEX runspaces_owner ON runspaces (organization, owner, id);

-- result is JSON with what is only read together with its execution: value,
-- error, usage, timings. runspace is '' for a one-shot run. runtime is no
-- reference: it may be another organization's and may be deleted.
CREATE TABLE executions (
    organization TEXT    NOT NULL REFERENCES organizations (id),
    id           TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    runtime      TEXT    NOT NULL,
    runtime_name TEXT    NOT NULL,
    runspace     TEXT    NOT NULL,
    instance     TEXT    NOT NULL,
    generation   BIGINT  NOT NULL,
    fresh        BOOLEAN NOT NULL,
    state        TEXT    NOT NULL,
    exit_code    BIGINT,
    killed_by    TEXT    NOT NULL,
    output_bytes BIGINT  NOT NULL,
    output_cut   BIGINT  NOT NULL,
    result       TEXT    NOT NULL,
    created_at   BIGINT  NOT NULL,
    started_at   BIGINT,
    ended_at     BIGINT,
    PRIMARY KEY (organization, id)
);

CREATE INDEX executions_runspace ON executions (organization, runspace, id) WHERE runspace <> '';
CREATE INDEX executions_runtime ON executions (organization, runtime, id);
-- Most executions succeed; the index holds the few others, unfinished ones first
-- of all.
CREATE INDEX executions_state ON executions (state, organization, id) WHERE state <> 'success';

CREATE TABLE output_records (
    organization TEXT   NOT NULL,
    execution    TEXT   NOT NULL,
    seq          BIGINT NOT NULL,
    stream       TEXT   NOT NULL,
    data         BYTEA  NOT NULL,
    PRIMARY KEY (organization, execution, seq),
    FOREIGN KEY (organization, execution) REFERENCES executions (organization, id)
);

-- One chain of hashes per organization; see audit.go for what is hashed.
CREATE TABLE audit_entries (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    seq          BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    user_id      TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    object       TEXT   NOT NULL,
    outcome      TEXT   NOT NULL,
    request_id   TEXT   NOT NULL,
    details      TEXT   NOT NULL,
    hash         TEXT   NOT NULL,
    PRIMARY KEY (organization, seq)
) WITHOUT ROWID;

CREATE TABLE audit_heads (
    organization TEXT   NOT NULL PRIMARY KEY REFERENCES organizations (id),
    seq          BIGINT NOT NULL,
    hash         TEXT   NOT NULL
) WITHOUT ROWID;

-- One row, written to find out whether the disk takes writes again.
CREATE TABLE health (
    id         BIGINT NOT NULL PRIMARY KEY,
    checked_at BIGINT NOT NULL
);

INSERT INTO health (id, checked_at) VALUES (1, 0);

-- +goose Down
DROP TABLE health;
DROP TABLE audit_heads;
DROP TABLE audit_entries;
DROP TABLE output_records;
DROP TABLE executions;
DROP TABLE runspaces;
DROP TABLE generations;
DROP TABLE runtimes;
DROP TABLE tokens;
DROP TABLE memberships;
DROP TABLE users;
DROP TABLE organizations;
