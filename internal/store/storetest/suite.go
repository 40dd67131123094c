package storetest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Backend is a kind of database to test.
type Backend struct {
	// New makes room for an empty database and says where; it is removed when
	// the test ends.
	New func(t testing.TB) (location string)
	// Open opens the database at a location, in this process or another.
	Open func(ctx context.Context, location string) (*store.Store, error)
	// Alter changes the database behind the store's back.
	Alter func(ctx context.Context, location, query string, args ...any) error
}

// childEnv names the location for a process that is there to be killed.
const childEnv = "REMUDA_STORETEST_CHILD"

// Main runs the tests, or in a child process of the crash test, the child.
func Main(m *testing.M, b Backend) int {
	if location := os.Getenv(childEnv); location != "" {
		return crashChild(location, b)
	}
	return m.Run()
}

// Run runs the whole suite.
func Run(t *testing.T, b Backend) {
	t.Helper()
	for name, test := range map[string]func(subject){
		"Accounts":          testAccounts,
		"Tokens":            testTokens,
		"Runtimes":          testRuntimes,
		"Builds":            testBuilds,
		"Runspaces":         testRunspaces,
		"Executions":        testExecutions,
		"IdempotencyKeys":   testIdempotencyKeys,
		"Output":            testOutput,
		"StreamOutput":      testStreamOutput,
		"FinalStates":       testFinalStates,
		"Ends":              testEnds,
		"EndBetweenWrites":  testEndBetweenWrites,
		"EndsOfOthers":      testEndsOfOthers,
		"EndsMove":          testEndsMove,
		"ManyEnds":          testManyEnds,
		"EndForm":           testEndForm,
		"Scripts":           testScripts,
		"ScriptRuns":        testScriptRuns,
		"Sessions":          testSessions,
		"Limits":            testLimits,
		"History":           testHistory,
		"TokenByID":         testTokenByID,
		"Isolation":         testIsolation,
		"Paging":            testPaging,
		"PagingWhileAdding": testPagingWhileAdding,
		"GroupOfWrites":     testGroup,
		"IgnoredError":      testIgnoredError,
		"Order":             testOrder,
		"Patient":           testPatient,
		"OrderOfOne":        testOrderOfOne,
		"Canceled":          testCanceled,
		"Snapshot":          testSnapshot,
		"Close":             testClose,
		"Reopen":            testReopen,
		"OldRows":           testOldRows,
		"Audit":             testAudit,
		"AuditTogether":     testAuditTogether,
		"AuditAltered":      testAuditAltered,
		"AuditAfterUndo":    testAuditAfterUndo,
		"Crash":             testCrash,
		"Ping":              testPing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(subject{t, b})
		})
	}
}

// subject is what a test of the suite runs on.
type subject struct {
	t *testing.T
	b Backend
}

// deadline is generous: the machine may be busy.
const deadline = 2 * time.Minute

// fixture is an open store with one organization.
type fixture struct {
	*store.Store
	t        testing.TB
	location string
	org      remuda.OrganizationID
}

func newFixture(t *testing.T, b Backend) *fixture {
	t.Helper()
	location := b.New(t)
	f := &fixture{Store: mustOpen(t, b, location), t: t, location: location}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	f.org = f.newOrganization()
	return f
}

func mustOpen(t testing.TB, b Backend, location string) *store.Store {
	t.Helper()
	s, err := b.Open(t.Context(), location)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

// write fails the test if fn fails.
func (f *fixture) write(fn func(context.Context, *store.Tx) error) {
	f.t.Helper()
	if err := f.tryWrite(fn); err != nil {
		f.t.Fatalf("write: %v", err)
	}
}

func (f *fixture) tryWrite(fn func(context.Context, *store.Tx) error) error {
	return f.Write(f.t.Context(), func(tx *store.Tx) error { return fn(f.t.Context(), tx) })
}

func (f *fixture) read(fn func(context.Context, *store.Tx) error) {
	f.t.Helper()
	if err := f.tryRead(fn); err != nil {
		f.t.Fatalf("read: %v", err)
	}
}

func (f *fixture) tryRead(fn func(context.Context, *store.Tx) error) error {
	return f.Read(f.t.Context(), func(tx *store.Tx) error { return fn(f.t.Context(), tx) })
}

var names atomic.Int64

func newName(kind string) string { return fmt.Sprintf("%s-%d", kind, names.Add(1)) }

func (f *fixture) newOrganization() remuda.OrganizationID {
	f.t.Helper()
	o := remuda.Organization{ID: remuda.NewOrganizationID(), Name: newName("org"), CreatedAt: now()}
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertOrganization(ctx, o) })
	return o.ID
}

// now is a time as the store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func newUser() remuda.User {
	return remuda.User{ID: remuda.NewUserID(), Name: newName("user"), PasswordHash: "$argon2id$...", CreatedAt: now()}
}

func newRuntime(org remuda.OrganizationID) remuda.Runtime {
	return remuda.Runtime{
		ID: remuda.NewRuntimeID(), Organization: org, Generation: 1, CreatedAt: now(), UpdatedAt: now(),
		Definition: remuda.Definition{
			Name: newName("runtime"), Description: "d\n\"'`%", Language: remuda.LanguagePython, Version: "3.11", Environment: remuda.EnvironmentHost,
			Resources: remuda.Resources{CPU: 0.25, MemoryMB: 64, DiskMB: 32, Pids: 16}, ExecTimeout: 90 * time.Second,
			Pool: remuda.PoolBounds{MinCached: 1, MaxCached: 3}, Env: map[string]string{"A": "1", "Ä": "\u2028"},
			Preload: []string{"json", "xml.dom"}, Isolation: remuda.IsolationGVisor, VersionPolicy: remuda.VersionCompatible, Others: "kept\n{",
			Packages: []remuda.Package{{Name: "numpy", Version: "latest", Description: "d"}, {Name: "jq", Manager: remuda.ManagerApt}},
			Egress: remuda.Egress{
				CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}, Names: []string{"a.example"},
			},
			ConnectionScript: "connect", DisconnectScript: "scr_1",
		},
	}
}

func newRunspace(org remuda.OrganizationID) remuda.Runspace {
	return remuda.Runspace{
		ID: remuda.NewRunspaceID(), Organization: org, Name: newName("runspace"), Owner: "usr_1", Runtime: "rt_1", RuntimeName: "python",
		Generation: 2, State: remuda.RunspaceCreating, IdleTimeout: 5 * time.Minute, Env: map[string]string{"K": "v"}, InitScript: "x = 1",
		LastUsedAt: now(), CreatedAt: now(),
		ErrorCode: remuda.CodeDeadline, ActiveTimeout: 90 * time.Minute, OwnIdleTimeout: true, OwnActiveTimeout: true, MemoryMB: 64, Session: "tok_1",
		RunConnection: true, ConnectionExecution: "ex_1", ConnectionScript: "c", DisconnectScript: "d", HadCredentials: true, ConnectionName: "cn", DisconnectName: "dn", Resets: 2,
	}
}

func newExecution(org remuda.OrganizationID) remuda.Execution {
	return remuda.Execution{
		ID: remuda.NewExecutionID(), Organization: org, Owner: "usr_1", Runtime: "rt_1", RuntimeName: "python",
		State: remuda.ExecutionQueued, CreatedAt: now(), Name: "n\n'é", System: true,
	}
}

// ended returns e as it looks when it has succeeded.
func ended(e remuda.Execution) remuda.Execution {
	at, code := now(), 0
	e.State, e.StartedAt, e.EndedAt, e.ExitCode = remuda.ExecutionSuccess, &at, &at, &code
	e.Instance, e.Generation, e.Fresh, e.OutputBytes, e.OutputCut = "ins_1", 3, true, 4, 1
	e.Value = &remuda.Value{JSON: []byte(`{"a":[1,2]}`), Text: "{'a': [1, 2]}", Rich: map[string]string{"image/png": "aGk="}}
	e.Usage = remuda.Usage{CPU: 1500 * time.Microsecond, Wall: 2 * time.Millisecond, PeakMemory: 1 << 20}
	e.Objects = true
	e.Timings = remuda.Timings{"queue": 5 * time.Microsecond, "total": 3 * time.Millisecond}
	return e
}

// wantCode fails the test unless err has the code, and for codes that a user can
// act on, says what to do.
func wantCode(t testing.TB, err error, code remuda.Code) {
	t.Helper()
	if got := remuda.CodeOf(err); got != code {
		t.Fatalf("got code %q (%v), want %q", got, err, code)
	}
	if code != "" && code != remuda.CodeInternal && !strings.Contains(fmt.Sprintf("%+v", remedyOf(err)), " ") {
		t.Errorf("no remedy in %v", err)
	}
}
