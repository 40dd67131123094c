-- +goose Up
-- Which execution a user's request with a key has started, and the hash of what it
-- asked for. Rows are forgotten after a day.
CREATE TABLE idempotency_keys (
    organization TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    execution    TEXT   NOT NULL,
    fingerprint  TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (organization, user_id, key),
    FOREIGN KEY (organization, execution) REFERENCES executions (organization, id)
) WITHOUT ROWID;

CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- +goose Down
DROP TABLE idempotency_keys;
