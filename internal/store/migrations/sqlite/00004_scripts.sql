-- +goose Up
-- What a token is for: '' is a bearer token, 'session' one that is prolonged by
-- idle_us whenever it is used, 'identity' one that only opens sessions. A token
-- ends with its parent.
ALTER TABLE tokens ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN idle_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN parent TEXT NOT NULL DEFAULT '';

-- definition is JSON; name and folder are copied out of it to be unique. short is
-- the short form of id, by which some clients know it.
CREATE TABLE scripts (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    id           TEXT   NOT NULL,
    short        TEXT   NOT NULL,
    owner        TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    folder       TEXT   NOT NULL,
    definition   TEXT   NOT NULL,
    revision     BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (organization, id),
    UNIQUE (organization, folder, name)
);

CREATE UNIQUE INDEX scripts_short ON scripts (organization, short);

-- Values that users keep for themselves.
CREATE TABLE script_answers (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    script       TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    answers      TEXT   NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (organization, script, user_id),
    FOREIGN KEY (organization, script) REFERENCES scripts (organization, id)
);

-- Which executions were runs of scripts. short is the short form of the
-- execution's id; script is '' for a content that came with the request. A run
-- outlives its script.
CREATE TABLE script_runs (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    short        TEXT   NOT NULL,
    execution    TEXT   NOT NULL,
    script       TEXT   NOT NULL,
    prefix       TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (organization, short)
) WITHOUT ROWID;

CREATE INDEX script_runs_script ON script_runs (organization, script, execution) WHERE script <> '';

-- +goose Down
DROP TABLE script_runs;
DROP TABLE script_answers;
DROP TABLE scripts;
ALTER TABLE tokens DROP COLUMN parent;
ALTER TABLE tokens DROP COLUMN idle_us;
ALTER TABLE tokens DROP COLUMN purpose;
