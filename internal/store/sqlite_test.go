package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// diskEnv names the directory for a process that has disk trouble in a mount
// namespace of its own, so that nothing stays mounted however it ends.
const diskEnv = "REMUDA_STORE_DISK_CHILD"

func TestDiskTrouble(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), diskEnv+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "disk trouble survived") {
		t.Fatalf("the child did not run to its end:\n%s", out)
	}
}

// diskChild runs in the namespace and exits with 1 on the first surprise.
func diskChild(dir string) int {
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"),
	)
	if err == nil {
		err = fillDisk(dir)
	}
	if err == nil {
		err = smallDisk(dir)
	}
	if err == nil {
		err = readOnlyDisk(dir)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("disk trouble survived")
	return 0
}

// fillDisk writes until the disk is full, and expects a precise error, nothing
// half there, and that writing goes on once there is space.
func fillDisk(dir string) error {
	ctx := context.Background()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Path: filepath.Join(dir, "remuda.db")})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	org := remuda.Organization{ID: remuda.NewOrganizationID(), Name: "full", CreatedAt: time.Now()}
	if err := s.Write(ctx, func(tx *store.Tx) error { return tx.InsertOrganization(ctx, org) }); err != nil {
		return err
	}
	if err := readJournal(ctx, s, org.ID, filepath.Join(dir, "rest")); err != nil {
		return err
	}
	var stored []remuda.ExecutionID
	var failed error
	var ends []*store.End
	for range 1000 {
		// The journal has its space: the last one waits in it for better times.
		ends = append(ends, smallEnd(org.ID))
		if err := s.RecordEnd(ctx, ends[len(ends)-1]); err != nil {
			return fmt.Errorf("an end before the disk is full: %w", err)
		}
		id := remuda.NewExecutionID()
		if failed = writeBig(ctx, s, org.ID, id); failed != nil {
			if err := expectDisk(ctx, s, org.ID, stored, id); err != nil {
				return err
			}
			break
		}
		stored = append(stored, id)
	}
	if remuda.CodeOf(failed) != remuda.CodeUnavailable || !strings.Contains(failed.Error(), "the disk of the database is full") {
		return fmt.Errorf("on a full disk: %w", failed)
	}
	if err := failPing(ctx, s, org.ID); err != nil {
		return err
	}
	refused := smallEnd(org.ID)
	if err := s.RecordEnd(ctx, refused); remuda.CodeOf(err) != remuda.CodeUnavailable || !strings.Contains(err.Error(), "the disk of the database is full") {
		return fmt.Errorf("an end while nothing can be written: %w", err)
	}
	if err := expectDisk(ctx, s, org.ID, stored, refused.Execution.ID); err != nil {
		return fmt.Errorf("reading on a full disk: %w", err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := s.Ping(ctx); err != nil {
		return fmt.Errorf("not ready after space was freed: %w", err)
	}
	if err := expectEnds(ctx, s, ends); err != nil {
		return err
	}
	id := remuda.NewExecutionID()
	if err := writeBig(ctx, s, org.ID, id); err != nil {
		return fmt.Errorf("writing after space was freed: %w", err)
	}
	if err := expectDisk(ctx, s, org.ID, append(stored, id), remuda.NewExecutionID()); err != nil {
		return err
	}
	return errors.Join(s.VerifyAudit(ctx), s.Check(ctx))
}

func smallEnd(org remuda.OrganizationID) *store.End {
	at := time.Now().UTC().Truncate(time.Microsecond)
	return &store.End{
		Execution: remuda.Execution{ID: remuda.NewExecutionID(), Organization: org, State: remuda.ExecutionSuccess, CreatedAt: at, EndedAt: &at},
		Output:    []remuda.OutputRecord{{Seq: 1, Data: make([]byte, 10_000)}},
		Audit:     []remuda.AuditEntry{{Organization: org, Object: "end", At: at}},
	}
}

// readJournal expects that what was acknowledged is read while there is no place for it
// in the tables, which a file takes until the end.
func readJournal(ctx context.Context, s *store.Store, org remuda.OrganizationID, file string) error {
	if err := os.WriteFile(file, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("filling the disk: %w", err)
	}
	e := smallEnd(org)
	if err := s.RecordEnd(ctx, e); err != nil {
		return fmt.Errorf("an end when the disk has just become full: %w", err)
	}
	for range 2 {
		if err := expectEnds(ctx, s, []*store.End{e}); err != nil {
			return fmt.Errorf("while it waits in the journal: %w", err)
		}
		if err := s.Ping(ctx); remuda.CodeOf(err) != remuda.CodeUnavailable {
			return fmt.Errorf("ready while it waits in the journal: %w", err)
		}
	}
	if err := errors.Join(os.Remove(file), s.Ping(ctx)); err != nil {
		return fmt.Errorf("not ready after there is space again: %w", err)
	}
	return expectEnds(ctx, s, []*store.End{e})
}

// expectEnds checks that the ends that were acknowledged are there, with their entries
// in the audit log.
func expectEnds(ctx context.Context, s *store.Store, ends []*store.End) error {
	for _, e := range ends {
		err := s.Read(ctx, func(tx *store.Tx) error {
			got, err := tx.Execution(ctx, e.Execution.Organization, e.Execution.ID)
			if err != nil || got.State != remuda.ExecutionSuccess {
				return fmt.Errorf("an end that was acknowledged on a full disk: %q, %w", got.State, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.VerifyAudit(ctx)
}

// failPing uses up the last pages until the store says that it is not ready.
func failPing(ctx context.Context, s *store.Store, org remuda.OrganizationID) error {
	for range 1000 {
		small := remuda.Execution{ID: remuda.NewExecutionID(), Organization: org, State: remuda.ExecutionQueued, CreatedAt: time.Now()}
		if s.Write(ctx, func(tx *store.Tx) error { return tx.InsertExecution(ctx, small) }) == nil {
			continue
		}
		if err := s.Ping(ctx); err != nil {
			if remuda.CodeOf(err) != remuda.CodeUnavailable {
				return fmt.Errorf("readiness on a full disk: %w", err)
			}
			return nil
		}
	}
	return errors.New("ready on a full disk")
}

// writeBig records an execution with 100 kB of output.
func writeBig(ctx context.Context, s *store.Store, org remuda.OrganizationID, id remuda.ExecutionID) error {
	return s.Write(ctx, func(tx *store.Tx) error {
		if err := tx.InsertExecution(ctx, remuda.Execution{ID: id, Organization: org, State: remuda.ExecutionQueued, CreatedAt: time.Now()}); err != nil {
			return err
		}
		if err := tx.AppendAudit(ctx, remuda.AuditEntry{Organization: org, Object: string(id), At: time.Now()}); err != nil {
			return err
		}
		for seq := range int64(10) {
			if err := tx.AppendOutput(ctx, org, id, []remuda.OutputRecord{{Seq: seq + 1, Data: make([]byte, 10_000)}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// expectDisk checks that stored executions are whole and that absent is absent.
func expectDisk(ctx context.Context, s *store.Store, org remuda.OrganizationID, stored []remuda.ExecutionID, absent remuda.ExecutionID) error {
	return s.Read(ctx, func(tx *store.Tx) error {
		for _, id := range stored {
			if _, err := tx.Execution(ctx, org, id); err != nil {
				return err
			}
			if out, err := tx.Output(ctx, org, id, 0, 0); err != nil || len(out) != 10 {
				return fmt.Errorf("execution %s has %d records of 10: %w", id, len(out), err)
			}
		}
		_, err := tx.Execution(ctx, org, absent)
		out, err2 := tx.Output(ctx, org, absent, 0, 0)
		if remuda.CodeOf(err) != remuda.CodeNotFound || err2 != nil || len(out) != 0 {
			return fmt.Errorf("the refused execution: %w, %w, %d records", err, err2, len(out))
		}
		return nil
	})
}

// smallDisk expects a precise error where there is no space for the journal, and
// that the next start makes up for it.
func smallDisk(dir string) error {
	const space = 1 << 20
	full, err := filepath.Glob(filepath.Join(dir, "remuda.db*"))
	for _, path := range full {
		err = errors.Join(err, os.Remove(path))
	}
	var free syscall.Statfs_t
	if err := errors.Join(err, syscall.Statfs(dir, &free)); err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, int(free.Bavail)*int(free.Bsize)-space), 0o600); err != nil {
		return err
	}
	open := func() error {
		s, err := store.Open(context.Background(), store.Options{Path: filepath.Join(dir, "small.db")})
		if err != nil {
			return err
		}
		return s.Close()
	}
	if err := open(); remuda.CodeOf(err) != remuda.CodeUnavailable || !strings.Contains(err.Error(), "small.db-ends cannot be opened: no space left on device") {
		return fmt.Errorf("without space for the journal: %w", err)
	}
	if err := errors.Join(os.Remove(ballast), open()); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	return nil
}

// readOnlyDisk expects a precise error when the database cannot be written.
func readOnlyDisk(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	_, err := store.Open(context.Background(), store.Options{Path: filepath.Join(dir, "remuda.db")})
	if remuda.CodeOf(err) != remuda.CodeUnavailable || !strings.Contains(err.Error(), "read-only file system") {
		return fmt.Errorf("on a read-only disk: %w", err)
	}
	return nil
}

// A path may hold whatever a URL would give a meaning to.
func TestOddPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?mode=ro&x#%41ä.db")
	s, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("mode %v, %d bytes: the file holds password hashes", info.Mode(), info.Size())
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("this is no database ", 400)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	s, err := store.Open(t.Context(), store.Options{Path: newer})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sqliteBackend.Alter(t.Context(), newer, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, says string
		code       remuda.Code
	}{
		{"", "no database file", remuda.CodeInvalid},
		{filepath.Join(dir, "absent", "x.db"), "no such file or directory", remuda.CodeUnavailable},
		{dir, "is a directory", remuda.CodeUnavailable},
		{garbage, "damaged or is no database", remuda.CodeUnavailable},
		{newer, "made by a newer remuda", remuda.CodeUnavailable},
	} {
		_, err := store.Open(t.Context(), store.Options{Path: c.path})
		if remuda.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got %v, want %s with %q", c.path, err, c.code, c.says)
		}
	}
}

// What the setting says is what each connection does.
func TestDurability(t *testing.T) {
	t.Parallel()
	for durability, want := range map[store.Durability]string{store.DurabilityMachine: "2", store.DurabilityProcess: "1", "": "2"} {
		s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "remuda.db"), Durability: durability})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Write(t.Context(), func(tx *store.Tx) error {
			got, err := tx.Pragma(t.Context(), "synchronous")
			if got != want {
				t.Errorf("durability %q: synchronous is %s, want %s", durability, got, want)
			}
			return err
		})
		if err := errors.Join(err, s.Close()); err != nil {
			t.Error(err)
		}
	}
}

// Durability and references depend on settings that SQLite takes per connection.
func TestSettings(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "remuda.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	check := func(want map[string]string) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			for name, value := range want {
				if got, err := tx.Pragma(t.Context(), name); err != nil || got != value {
					t.Errorf("%s is %q (%v), want %q", name, got, err, value)
				}
			}
			return nil
		}
	}
	both := map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "query_only": "0"}
	if err := s.Write(t.Context(), check(both)); err != nil {
		t.Error(err)
	}
	both["query_only"] = "1"
	if err := s.Read(t.Context(), check(both)); err != nil {
		t.Error(err)
	}
}

// The journal begins anew again and again while writes go on without a pause.
func TestJournalStaysSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200 MB")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "remuda.db")
	s, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	org := remuda.Organization{ID: remuda.NewOrganizationID(), Name: "journal", CreatedAt: time.Now()}
	if err := s.Write(t.Context(), func(tx *store.Tx) error { return tx.InsertOrganization(t.Context(), org) }); err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 600
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := writeBig(t.Context(), s, org.ID, remuda.NewExecutionID()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	main, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("main file %d MB, journal %d MB", main.Size()>>20, journal.Size()>>20)
	// wal_autocheckpoint is the last resort, at 80 MB.
	if journal.Size() > 100<<20 || main.Size() < 200<<20 {
		t.Errorf("the journal has %d MB after %d MB were written", journal.Size()>>20, main.Size()>>20)
	}
}

// The lists must not read whole tables: each uses an index that bounds it.
func TestQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "remuda.db")
	s, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for query, want := range map[string]string{
		"SELECT * FROM executions WHERE organization = $1 AND id < $2 ORDER BY id DESC LIMIT $3":                                                          "sqlite_autoindex_executions_1 (organization=? AND id<?)",
		"SELECT * FROM executions WHERE organization = $1 AND id < $2 AND runtime = $4 ORDER BY id DESC LIMIT $3":                                         "executions_runtime (organization=? AND runtime=? AND id<?)",
		"SELECT * FROM executions WHERE organization = $1 AND id < $2 AND runspace = $4 AND runspace <> '' ORDER BY id DESC LIMIT $3":                     "executions_runspace (organization=? AND runspace=? AND id<?)",
		"SELECT * FROM executions WHERE organization = $1 AND id < $2 AND state = $4 AND state <> 'success' ORDER BY id DESC LIMIT $3":                    "executions_state (state=? AND organization=? AND id<?)",
		"SELECT * FROM executions WHERE state <> 'success' AND state IN ('queued', 'running')":                                                            "executions_state (state=?)",
		"SELECT * FROM runspaces WHERE organization = $1 AND id < $2 AND state = $4 AND state <> 'closed' AND state <> 'error' ORDER BY id DESC LIMIT $3": "runspaces_open (organization=? AND state=? AND id<?)",
		"SELECT * FROM tokens WHERE hash = $1":                                             "sqlite_autoindex_tokens_",
		"SELECT * FROM scripts WHERE organization = $1 AND name = $2 ORDER BY id LIMIT $3": "scripts_name (organization=? AND name=?)",
		"SELECT * FROM tokens WHERE id = $1":                                               "tokens_id (id=?)",
		"SELECT id, output_bytes FROM executions WHERE organization = $1 AND id < $2 AND ended_at < $3 AND state NOT IN ('queued', 'running') ORDER BY id LIMIT $4": "sqlite_autoindex_executions_1 (organization=? AND id<?)",
		"SELECT id, output_bytes FROM executions WHERE organization = $1 AND owner = $2 AND state NOT IN ('queued', 'running') ORDER BY id DESC LIMIT 1 OFFSET $3":  "executions_owner (organization=? AND owner=?)",
		"SELECT id, output_bytes FROM executions WHERE organization = $1 AND owner = $2 AND id <= $3 AND state NOT IN ('queued', 'running') ORDER BY id LIMIT $4":   "executions_owner (organization=? AND owner=? AND id<?)",
		"SELECT owner FROM executions WHERE organization = $1 AND owner > $2 ORDER BY owner LIMIT 1":                                                                "executions_owner (organization=? AND owner>?)",
		"DELETE FROM idempotency_keys WHERE organization = $1 AND execution = $2":                                                                                   "idempotency_keys_execution (execution=? AND organization=?)",
		"SELECT * FROM output_records WHERE organization = $1 AND execution = $2 AND seq < $3 AND stream IN ($4, 'stderr') ORDER BY seq DESC LIMIT 9":               "(organization=? AND execution=? AND seq<?)",
		"SELECT * FROM output_records WHERE organization = $1 AND execution = $2 AND seq > $3 ORDER BY seq LIMIT $4":                                                "(organization=? AND execution=? AND seq>?)",
	} {
		rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, "a", "b", "c", "d")
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(plan, "; ")
		if !strings.Contains(got, want) || strings.Contains(got, "SCAN") || strings.Contains(got, "TEMP B-TREE") {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
}

// A reader's connection that is in an unknown state is given to nobody again.
func TestLostReader(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "r.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for range 20 { // more than there are readers
		if err := s.LoseReader(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Read(t.Context(), func(*store.Tx) error { return nil }); err != nil {
			t.Fatalf("after a lost connection: %v", err)
		}
	}
}
