package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"

	"github.com/remuda-run/remuda/internal/remuda"
)

//go:embed migrations
var migrationFiles embed.FS

// migrate brings the schema to the newest version. A database that is newer
// than this program is refused: older code would misread it.
func migrate(ctx context.Context, b backend, logger *slog.Logger) error {
	files, err := fs.Sub(migrationFiles, "migrations/"+b.name())
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(b.dialect(), b.database(), files, goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the schema: %w", err)
	}
	if current > target {
		return &remuda.Error{
			Code:    remuda.CodeUnavailable,
			Message: fmt.Sprintf("the database %s was made by a newer remuda", b.describe()),
			Cause:   fmt.Sprintf("its schema has version %d and this program knows %d", current, target),
			Remedy:  "start the newer program, or restore a backup that was made before the upgrade",
		}
	}
	results, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("change the schema: %w", err)
	}
	for _, r := range results {
		logger.InfoContext(ctx, "database schema changed", "version", r.Source.Version, "duration", r.Duration)
	}
	return nil
}
