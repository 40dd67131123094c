package app

import (
	"context"
	"path/filepath"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/store"
)

// VerifyAudit recomputes the audit logs in the data directory. The server that
// has it open may be running.
func VerifyAudit(ctx context.Context, c config.Config) ([]store.AuditEnd, error) {
	return store.VerifyFile(ctx, filepath.Join(c.Data, databaseFile))
}
