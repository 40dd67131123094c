-- +goose Up
-- JSON of what the site lets an organization do; {} adds nothing to the site's own
-- settings.
ALTER TABLE organizations ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE organizations DROP COLUMN policy;
