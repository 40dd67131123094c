package script

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// kill -9 while one-shot executions run: after the restart they are lost, with a
// reason, and nothing that they had on the machine is left; what had ended is as it
// was. What lives on is test/survive's.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	done, _ := s.Success(harness.JSON{"runtime": "python", "script": "print('kept'); 6 * 7"})
	var running []string
	submit := func(path string, body harness.JSON) {
		var ex harness.Execution
		s.Call(http.MethodPost, path, body, &ex)
		running = append(running, ex.ID)
	}
	submit("/v1/executions", harness.JSON{"runtime": "python", "script": "import time; print('up', flush=True); time.sleep(600)"})
	submit("/v1/executions", harness.JSON{"runtime": "bash", "script": "(setsid sleep 600 &) ; echo up; sleep 600"})
	submit("/v1/executions", harness.JSON{"runtime": "node", "script": "console.log('up'); setInterval(() => {}, 1000)"})
	submit("/v1/executions", harness.JSON{"runtime": "python", "script": "import subprocess; print('up', flush=True); subprocess.run(['sleep', '600'])"})
	for _, id := range running {
		harness.Eventually(t, "all scripts run", func() bool {
			stdout, _ := s.Output(id)
			return stdout == "up\n"
		})
	}
	sandboxes := harness.Processes(t, s.Data)
	if len(sandboxes) < 2*len(running) {
		t.Fatalf("only %d processes are seen in the sandboxes of %d executions", len(sandboxes), len(running))
	}
	s.Kill()
	s.Up()

	for _, id := range running {
		var ex harness.Execution
		s.Call(http.MethodGet, "/v1/executions/"+id, nil, &ex)
		if ex.State != "lost" || ex.Reason == "" {
			t.Errorf("execution %s is %s, want lost with a reason", id, &ex)
		}
		if stdout, _ := s.Output(id); stdout != "up\n" {
			t.Errorf("execution %s had written %q, want what was read before", id, stdout)
		}
	}
	var after harness.Execution
	s.Call(http.MethodGet, "/v1/executions/"+done.ID, nil, &after)
	if after.State != "success" || after.Value == nil || after.Value.Text != "42" {
		t.Errorf("the execution that had ended is %s", &after)
	}
	if stdout, _ := s.Output(done.ID); stdout != "kept\n" {
		t.Errorf("its output is %q", stdout)
	}
	gone(t, sandboxes)
	if _, stdout := s.Success(harness.JSON{"runtime": "python", "script": "print('serves again')"}); stdout != "serves again\n" {
		t.Errorf("got %q", stdout)
	}
	s.Down()
	harness.Untouched(t, s.Data)
}

// kill -9 at a random moment of a busy server: every execution that was
// acknowledged is there after the restart, in an end state, and one whose end
// was acknowledged has that end.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	for round := range 3 {
		acknowledged := busyUntilKilled(t, s, 150*time.Millisecond+rand.N(700*time.Millisecond))
		s.Up()
		for id, state := range acknowledged {
			var ex harness.Execution
			s.Call(http.MethodGet, "/v1/executions/"+id, nil, &ex)
			switch {
			case !ex.Ended():
				t.Errorf("round %d: %s is still %s", round, id, ex.State)
			case state == "success" && ex.State != state:
				t.Errorf("round %d: %s was acknowledged as %s and is %s", round, id, state, &ex)
			case ex.State == "lost" && ex.Reason == "":
				t.Errorf("round %d: %s is lost without a reason", round, id)
			}
		}
		t.Logf("round %d: %d acknowledged", round, len(acknowledged))
	}
	s.Down()
	harness.Untouched(t, s.Data)
}

// busyUntilKilled submits from several clients, kills the server after d, and
// returns the last acknowledged state of every execution.
func busyUntilKilled(t *testing.T, s *harness.Server, d time.Duration) map[string]string {
	t.Helper()
	var mu sync.Mutex
	acknowledged := map[string]string{}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 4 {
		clients.Go(func() {
			wait := ""
			if n%2 == 0 {
				wait = "?wait=10s"
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				var ex harness.Execution
				body := harness.JSON{"runtime": "bash", "script": fmt.Sprintf("echo %d; sleep 0.%d", n, n)}
				if s.Try(http.MethodPost, "/v1/executions"+wait, body, &ex) != nil {
					continue // the server is gone, or refuses for want of slots
				}
				mu.Lock()
				acknowledged[ex.ID] = ex.State
				mu.Unlock()
			}
		})
	}
	time.Sleep(d) // a random moment is what is wanted here
	s.Kill()
	close(stop)
	clients.Wait()
	return maps.Clone(acknowledged)
}

// SIGTERM: no new work, what runs may end, whoever waits gets the end. This server
// closes its runspaces; others are test/survive's.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	space := s.Runspace("bash")
	type outcome struct {
		ex  harness.Execution
		err error
	}
	waiter := make(chan outcome, 1)
	begun := make(chan struct{})
	go func() {
		var o outcome
		close(begun)
		o.err = s.Try(http.MethodPost, "/v1/executions?wait=60s", harness.JSON{"runtime": "python", "script": "import time; time.sleep(2); 'done'"}, &o.ex)
		waiter <- o
	}()
	<-begun
	harness.Eventually(t, "the script runs", func() bool {
		var list struct{ Items []harness.Execution }
		s.Call(http.MethodGet, "/v1/executions?state=running", nil, &list)
		return len(list.Items) == 1
	})
	pid := s.Pid()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "readiness is off", func() bool {
		p, ok := errors.AsType[harness.Problem](s.Try(http.MethodGet, "/readyz", nil, nil))
		return ok && p.Status == http.StatusServiceUnavailable
	})
	p, ok := errors.AsType[harness.Problem](s.Try(http.MethodPost, "/v1/executions", harness.JSON{"runtime": "python", "script": "1"}, nil))
	if !ok || p.Status != http.StatusServiceUnavailable || p.Code != "unavailable" {
		t.Errorf("new work was answered with %v, want 503 unavailable", p)
	}
	o := <-waiter
	if o.err != nil || o.ex.State != "success" {
		t.Errorf("the one who waited got %s, %v", &o.ex, o.err)
	}
	ended(t, pid)
	s.Down()
	harness.Untouched(t, s.Data)
	s.Up()
	var rs struct{ State, Error string }
	s.Call(http.MethodGet, "/v1/runspaces/"+space, nil, &rs)
	if rs.State != "closed" || rs.Error == "" {
		t.Errorf("the runspace is %q (%q), want closed with a reason", rs.State, rs.Error)
	}
}

// The drain has an end, and a second signal makes it come at once.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args    []string
		signals int
	}{
		"time limit":    {[]string{"--drain-timeout", "300ms"}, 1},
		"second signal": {[]string{"--drain-timeout", "10m"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, c.args...)
			var ex harness.Execution
			s.Call(http.MethodPost, "/v1/executions", harness.JSON{"runtime": "python", "script": "while True: pass"}, &ex)
			pid := s.Pid()
			for range c.signals {
				if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				// Two signals of one kind that come together are one.
				harness.Eventually(t, "the drain has begun", func() bool { return strings.Contains(s.Log(), "draining") })
			}
			ended(t, pid)
			s.Down()
			harness.Untouched(t, s.Data)
			s.Up(c.args...)
			s.Call(http.MethodGet, "/v1/executions/"+ex.ID, nil, &ex)
			if ex.State != "canceled" || ex.Reason == "" {
				t.Errorf("the execution is %s, want canceled with a reason", &ex)
			}
		})
	}
}

// A second server on the same data directory refuses and changes nothing.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	r := harness.Command(t.Context(), t, nil, "", "serve", "--data", s.Data, "--listen", "127.0.0.1:0")
	if r.Status != 1 || !strings.Contains(r.Stderr, fmt.Sprintf("the server with process id %d has it open", s.Pid())) || !strings.Contains(r.Stderr, "remedy: stop that server") {
		t.Errorf("the second server ended with %d and said %s", r.Status, r.Stderr)
	}
	s.Success(harness.JSON{"runtime": "bash", "script": "true"})
}

// A `remuda run` without a server that is killed leaves a sandbox; the next run
// clears it away.
func TestKilledLocalRun(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test makes real sandboxes and must be run as root")
	}
	t.Parallel()
	const base = "/run/remuda"
	run := startLocal(t, "-c", "import subprocess; print('up', flush=True); subprocess.run(['sleep', '600'])")
	dir := localDir(t, base, run.Process.Pid)
	sandbox := harness.Processes(t, dir)
	if len(sandbox) < 2 {
		t.Fatalf("only %d processes are seen in the sandbox", len(sandbox))
	}
	cgroups := harness.Cgroups(t, dir)
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait() // it was killed
	r := harness.Command(t.Context(), t, []string{"REMUDA_URL="}, "", "run", "-c", "print('next')")
	if r.Status != 0 || r.Stdout != "next\n" {
		t.Fatalf("the next run ended with %d: %s", r.Status, r.Stderr)
	}
	gone(t, sandbox)
	for _, c := range cgroups {
		if _, err := os.Stat(c); err == nil {
			t.Errorf("%s is left", c)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is left", dir)
	}
}

// Ctrl-C interrupts the script, and leaves nothing.
func TestInterruptedLocalRun(t *testing.T) {
	t.Parallel()
	run := startLocal(t, "-c", "import time; print('up', flush=True); time.sleep(600)")
	dir := localDir(t, "/run/remuda", run.Process.Pid)
	sandbox := harness.Processes(t, dir)
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait() // the status says it
	if status := run.ProcessState.ExitCode(); status != 130 {
		t.Errorf("exit status %d, want 130", status)
	}
	gone(t, sandbox)
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is left", dir)
	}
}

func localDir(t *testing.T, base string, pid int) string {
	t.Helper()
	found, err := filepath.Glob(fmt.Sprintf("%s/local-%d-*", base, pid))
	if err != nil || len(found) != 1 {
		t.Fatalf("directories of process %d: %v, %v", pid, found, err)
	}
	return found[0]
}
