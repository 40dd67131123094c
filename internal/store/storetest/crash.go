package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

const (
	crashOrganization = remuda.OrganizationID("org_crash")
	crashRounds       = 4
	crashWriters      = 8
)

// crashChild writes until it is killed. Each line of its output acknowledges an
// execution.
func crashChild(location string, b Backend) int {
	ctx := context.Background()
	s, err := b.Open(ctx, location)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for n := range crashWriters {
		wg.Go(func() {
			for {
				e := newExecution(crashOrganization)
				if err := crashWrite(ctx, s, n, e); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(e.ID)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return 0
}

// crashWrite makes changes that must be there together or not at all: every second
// writer in a transaction, the others by the journal.
func crashWrite(ctx context.Context, s *store.Store, writer int, e remuda.Execution) error {
	end := &store.End{
		Execution: ended(e), Output: []remuda.OutputRecord{{Seq: 1, Data: []byte("one")}, {Seq: 2, Data: []byte("two")}},
		Audit: []remuda.AuditEntry{{Organization: e.Organization, Object: string(e.ID), At: now()}},
	}
	if writer%2 == 0 {
		return s.RecordEnd(ctx, end)
	}
	return s.Write(ctx, func(tx *store.Tx) error {
		end.Born = true
		return firstError(tx.InsertExecution(ctx, e), tx.RecordEnd(ctx, end))
	})
}

// A process that is killed at any moment has lost nothing that it acknowledged
// and left nothing half there.
func testCrash(in subject) {
	t, b := in.t, in.b
	location := b.New(t)
	s := mustOpen(t, b, location)
	err := s.Write(t.Context(), func(tx *store.Tx) error {
		return tx.InsertOrganization(t.Context(), remuda.Organization{ID: crashOrganization, Name: "crash", CreatedAt: now()})
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	acknowledged := make(map[remuda.ExecutionID]bool)
	for range crashRounds {
		lines := runAndKill(t, location, 1+rand.IntN(400))
		for _, line := range lines {
			acknowledged[remuda.ExecutionID(line)] = true
		}
		s := mustOpen(t, b, location)
		checkAfterCrash(t, s, acknowledged)
		if err := errors.Join(s.Check(t.Context()), s.VerifyAudit(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged executions survived %d kills", len(acknowledged), crashRounds)
}

// runAndKill starts the child, kills it with SIGKILL after it has acknowledged n
// writes, and returns all that it acknowledged.
func runAndKill(t *testing.T, location string, n int) (lines []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+location)
	var stderr strings.Builder
	child.Stderr = &stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(stdout)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break // a line without its end was not acknowledged
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
		if len(lines) == n {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	err = child.Wait()
	if err == nil || len(lines) < n {
		t.Fatalf("the child ended by itself after %d writes: %v\n%s", len(lines), err, stderr.String())
	}
	return lines
}

func checkAfterCrash(t *testing.T, s *store.Store, acknowledged map[remuda.ExecutionID]bool) {
	t.Helper()
	f := &fixture{Store: s, t: t, org: crashOrganization}
	stored := f.pages(200)
	found := 0
	f.read(func(ctx context.Context, tx *store.Tx) error {
		for _, id := range stored {
			if acknowledged[id] {
				found++
			}
			e, err := tx.Execution(ctx, crashOrganization, id)
			output, err2 := tx.Output(ctx, crashOrganization, id, 0, 0)
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			if e.State != remuda.ExecutionSuccess || len(output) != 2 {
				t.Errorf("execution %s is half there: %s with %d records", id, e.State, len(output))
			}
		}
		last, _, err := tx.Audit(ctx, crashOrganization, remuda.Page{Limit: 1})
		if err == nil && (len(last) != 1 || last[0].Seq != int64(len(stored))) {
			t.Errorf("%d executions, but the audit log ends with %+v", len(stored), last)
		}
		return err
	})
	if found != len(acknowledged) {
		t.Errorf("%d of %d acknowledged executions are there", found, len(acknowledged))
	}
}
