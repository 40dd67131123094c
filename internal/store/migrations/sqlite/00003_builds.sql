-- +goose Up
-- The generation that instances are made of; 0 is none.
ALTER TABLE runtimes ADD COLUMN serving BIGINT NOT NULL DEFAULT 0;
UPDATE runtimes SET serving = generation;

-- The making of a generation. packages and lock are JSON. A build goes with its
-- runtime; generations stay.
CREATE TABLE builds (
    organization TEXT   NOT NULL REFERENCES organizations (id),
    runtime      TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    status       TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    version      TEXT   NOT NULL,
    packages     TEXT   NOT NULL,
    lock         TEXT   NOT NULL,
    layer        TEXT   NOT NULL,
    started_at   BIGINT NOT NULL,
    ended_at     BIGINT,
    PRIMARY KEY (organization, runtime, number)
);

CREATE TABLE build_log (
    organization TEXT   NOT NULL,
    runtime      TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    seq          BIGINT NOT NULL,
    stream       TEXT   NOT NULL,
    data         BYTEA  NOT NULL,
    PRIMARY KEY (organization, runtime, number, seq),
    FOREIGN KEY (organization, runtime, number) REFERENCES builds (organization, runtime, number)
);

-- +goose Down
DROP TABLE build_log;
DROP TABLE builds;
ALTER TABLE runtimes DROP COLUMN serving;
