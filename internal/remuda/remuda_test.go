package remuda

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/quick"
)

func TestIDsAreUniqueOrderedAndRecognized(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		id := NewID(PrefixExecution)
		if seen[id] {
			t.Fatalf("%s was made twice", id)
		}
		seen[id] = true
		if !IsID(PrefixExecution, id) || IsID(PrefixRunspace, id) {
			t.Fatalf("%s is not recognized for what it is", id)
		}
	}
	first := NewID(PrefixRuntime)
	if second := NewID(PrefixRuntime); second <= first {
		t.Errorf("%s does not sort after %s", second, first)
	}
	for _, bad := range []string{"", "ex", "ex_", "ex_zz", "ex_" + strings.Repeat("u", 36), first + "0"} {
		if IsID(PrefixExecution, bad) {
			t.Errorf("%q passes for an execution id", bad)
		}
	}
}

// Every state that is not final can reach a final one, and a final one moves nowhere.
func TestStateTables(t *testing.T) {
	t.Parallel()
	checkTable(t, executionMoves, ExecutionQueued, ExecutionState.Final, ExecutionState.CanBecome)
	checkTable(t, runspaceMoves, RunspaceCreating, RunspaceState.Final, RunspaceState.CanBecome)
	checkTable(t, instanceMoves, InstanceCreating, InstanceState.Final, InstanceState.CanBecome)
	checkTable(t, buildMoves, RuntimeUnknown, RuntimeStatus.Final, RuntimeStatus.CanBecome)
	checkTable(t, packageMoves, PackageUnknown, PackageState.Final, PackageState.CanBecome)
}

func checkTable[S ~string](t *testing.T, moves map[S][]S, start S, final func(S) bool, can func(S, S) bool) {
	t.Helper()
	reached := map[S]bool{}
	var endless func(s S, path []S) bool
	endless = func(s S, path []S) bool {
		reached[s] = true
		if final(s) || slices.Contains(path, s) {
			return !final(s) && !slices.ContainsFunc(moves[s], final)
		}
		return slices.ContainsFunc(moves[s], func(next S) bool { return endless(next, append(path, s)) })
	}
	if endless(start, nil) {
		t.Errorf("from %s there is a state without a way out", start)
	}
	for s := range moves {
		if !reached[s] {
			t.Errorf("%s cannot be reached", s)
		}
	}
	walk := func(steps []uint8) bool {
		at := start
		for _, n := range steps {
			if final(at) {
				for s := range reached {
					if can(at, s) {
						return false
					}
				}
				return true
			}
			next := moves[at][int(n)%len(moves[at])]
			if !can(at, next) {
				return false
			}
			at = next
		}
		return true
	}
	if err := quick.Check(walk, nil); err != nil {
		t.Error(err)
	}
}

// The page that draws the states must have exactly the moves of the tables.
func TestStatesPageIsTrue(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	arrows := 0
	for _, table := range []map[string][]string{plain(executionMoves), plain(runspaceMoves), plain(instanceMoves), plain(buildMoves), plain(packageMoves)} {
		for from, nexts := range table {
			for _, to := range nexts {
				arrows++
				if !strings.Contains(page, fmt.Sprintf("    %s --> %s", from, to)) {
					t.Errorf("docs/states.md lacks %s --> %s", from, to)
				}
			}
		}
	}
	drawn := 0
	for line := range strings.Lines(page) {
		if strings.Contains(line, " --> ") && !strings.Contains(line, "[*]") {
			drawn++
		}
	}
	if drawn != arrows {
		t.Errorf("docs/states.md draws %d moves, the tables have %d", drawn, arrows)
	}
}

func plain[S ~string](moves map[S][]S) map[string][]string {
	out := map[string][]string{}
	for from, nexts := range moves {
		for _, to := range nexts {
			out[string(from)] = append(out[string(from)], string(to))
		}
	}
	return out
}

func TestErrorKeepsItsPrivateCauseOutOfTheMessage(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk on fire")
	err := fmt.Errorf("save: %w", Internal("saving a runtime", cause))
	if CodeOf(err) != CodeInternal || !errors.Is(err, cause) {
		t.Errorf("%v lost its code or cause", err)
	}
	e, _ := errors.AsType[*Error](err)
	if strings.Contains(e.Message, "fire") {
		t.Errorf("the public message %q shows the private cause", e.Message)
	}
	for _, err := range []error{cause, err} {
		if strings.Contains(Public(err), "fire") {
			t.Errorf("the public part %q shows the private cause", Public(err))
		}
	}
	if got := Public(fmt.Errorf("run: %w", &Error{Message: "it is full", Cause: "all slots are in use", Err: cause})); got != "it is full: all slots are in use" {
		t.Errorf("the public part is %q", got)
	}
	if CodeOf(nil) != "" || CodeOf(cause) != CodeInternal {
		t.Error("CodeOf is wrong for nil or a foreign error")
	}
}
