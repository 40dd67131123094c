-- +goose Up
-- One row: the owner that the journal of ends names, and the number of the last
-- record of it that is in the tables.
CREATE TABLE journal (
    id    BIGINT NOT NULL PRIMARY KEY,
    owner TEXT   NOT NULL,
    last  BIGINT NOT NULL
);

INSERT INTO journal (id, owner, last) VALUES (1, lower(hex(randomblob(16))), 0);

-- +goose Down
DROP TABLE journal;
