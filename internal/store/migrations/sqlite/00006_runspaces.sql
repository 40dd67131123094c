-- +goose Up
-- What a runspace is besides, as JSON: times, its session, connection script.
ALTER TABLE runspaces ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
-- Limits that an organization's administrators have set, as JSON.
ALTER TABLE organizations ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
ALTER TABLE executions ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE executions ADD COLUMN system BOOLEAN NOT NULL DEFAULT FALSE;
-- When the server got a record, in microseconds; 0 where that was not noted.
ALTER TABLE output_records ADD COLUMN at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX executions_owner ON executions (organization, owner, id);

-- +goose Down
DROP INDEX executions_owner;
ALTER TABLE output_records DROP COLUMN at;
ALTER TABLE executions DROP COLUMN system;
ALTER TABLE executions DROP COLUMN name;
ALTER TABLE organizations DROP COLUMN limits;
ALTER TABLE runspaces DROP COLUMN settings;
