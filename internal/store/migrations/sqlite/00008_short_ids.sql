-- +goose Up
-- Edges whose ids are UUIDs find runspaces, and what ran in them, by the end of our
-- ids (remuda.ShortTail): all behind the prefix of three characters and ten of time.
CREATE INDEX runspaces_short ON runspaces (organization, substr(id, 14));
CREATE INDEX executions_short ON executions (organization, substr(id, 14)) WHERE runspace <> '';

-- +goose Down
DROP INDEX executions_short;
DROP INDEX runspaces_short;
