package store_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// before are rows as version 5 of the schema wrote them.
var before = []string{
	`INSERT INTO organizations (id, name, created_at, policy) VALUES ('org_1', 'old', 1, '{"max_instances":7}')`,
	`INSERT INTO users (id, name, site_admin, password_hash, disabled, created_at) VALUES ('usr_1', 'u', FALSE, '', FALSE, 1)`,
	`INSERT INTO tokens (organization, id, user_id, name, scope, hash, created_at, purpose, idle_us) VALUES ('org_1', 'tok_1', 'usr_1', 't', 'write', 'h', 1, 'session', 5)`,
	`INSERT INTO runspaces (organization, id, name, owner, runtime, runtime_name, generation, instance, state, error, idle_timeout_us, env, init_script, last_used_at, created_at)
		VALUES ('org_1', 'rs_1', 'n', 'usr_1', 'rt_1', 'python', 1, 'ins_1', 'ready', '', 60000000, '{}', '', 1, 1)`,
	`INSERT INTO executions (organization, id, owner, runtime, runtime_name, runspace, instance, generation, fresh, state, killed_by, output_bytes, output_cut, result, created_at, ended_at)
		VALUES ('org_1', 'ex_1', 'usr_1', 'rt_1', 'python', 'rs_1', 'ins_1', 1, FALSE, 'success', '', 1, 0, '{}', 1, 2)`,
	`INSERT INTO output_records (organization, execution, seq, stream, data) VALUES ('org_1', 'ex_1', 1, 'stdout', 'x')`,
	`INSERT INTO idempotency_keys (organization, user_id, key, execution, fingerprint, created_at) VALUES ('org_1', 'usr_1', 'k', 'ex_1', 'f', 1)`,
}

// TestOldDatabase: what version 5 holds is read with the meaning that it had, and can
// be worked with.
func TestOldDatabase(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "remuda.db")
	makeOld(t, path, 5, before)
	s, err := store.Open(ctx, store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	err = s.Write(ctx, func(tx *store.Tx) error {
		org, err := tx.Organization(ctx, "org_1")
		if err != nil || org.Policy.MaxInstances != 7 || org.Limits != (remuda.Limits{}) {
			t.Errorf("organization %+v, %v", org, err)
		}
		rs, err := tx.Runspace(ctx, "org_1", "rs_1")
		if err != nil || rs.IdleTimeout != time.Minute || rs.ActiveTimeout != 0 || rs.RunConnection || rs.Session != "" || rs.OwnIdleTimeout {
			t.Errorf("runspace %+v, %v", rs, err)
		}
		ex, err := tx.Execution(ctx, "org_1", "ex_1")
		if err != nil || ex.System || ex.Objects || ex.Name != "" {
			t.Errorf("execution %+v, %v", ex, err)
		}
		out, err := tx.Output(ctx, "org_1", "ex_1", 0, 0)
		if err != nil || len(out) != 1 || string(out[0].Data) != "x" || !out[0].At.IsZero() {
			t.Errorf("output %+v, %v", out, err)
		}
		tok, err := tx.TokenByID(ctx, "tok_1")
		if err != nil || tok.Purpose != remuda.TokenSession {
			t.Errorf("token %+v, %v", tok, err)
		}
		org.Limits = remuda.Limits{KeepExecutions: 1}
		rs.State, rs.ErrorCode = remuda.RunspaceError, remuda.CodeUnavailable
		done, err := tx.DeleteExecution(ctx, "org_1", "ex_1")
		if !done {
			t.Error("the execution could not be deleted")
		}
		return errors.Join(err, tx.UpdateOrganization(ctx, org), tx.UpdateRunspace(ctx, rs))
	})
	if err := errors.Join(err, s.Check(ctx)); err != nil {
		t.Error(err)
	}
}

// TestMigrationsGoBack takes every step back that there is, over rows of the newest
// schema.
func TestMigrationsGoBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "remuda.db")
	db := makeOld(t, path, 0, before)
	if _, err := provider(t, db).DownTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// makeOld makes a database of a version of the schema (0 is the newest) with rows.
func makeOld(t *testing.T, path string, version int64, rows []string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p := provider(t, db)
	if version == 0 {
		_, version, err = p.GetVersions(t.Context())
	}
	if err == nil {
		_, err = p.UpTo(t.Context(), version)
	}
	for _, row := range rows {
		if err == nil {
			_, err = db.ExecContext(t.Context(), row)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func provider(t *testing.T, db *sql.DB) *goose.Provider {
	t.Helper()
	files, err := store.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
