-- +goose Up
-- Old executions are deleted with what refers to them.
CREATE INDEX idempotency_keys_execution ON idempotency_keys (execution);
-- Whether a session lives is asked without its organization.
CREATE UNIQUE INDEX tokens_id ON tokens (id);

-- +goose Down
DROP INDEX tokens_id;
DROP INDEX idempotency_keys_execution;
