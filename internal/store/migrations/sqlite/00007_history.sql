-- +goose Up
-- Old executions are deleted with what refers to them.
CREATE INDEX idempotency_keys_execution ON idempotency_keys (execution);
-- Whether a session lives is asked without its organization.
CREATE UNIQUE INDEX tokens_id ON tokens (id);
-- Runtimes name scripts without their folder.
CREATE INDEX scripts_name ON scripts (organization, name, id);

-- +goose Down
DROP INDEX scripts_name;
DROP INDEX tokens_id;
DROP INDEX idempotency_keys_execution;
