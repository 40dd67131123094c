package real

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/remuda-run/remuda/test/harness"
)

// TestRealPrograms uses one server for all programs, and a fresh instance and a
// runspace for each.
func TestRealPrograms(t *testing.T) {
	s := harness.Start(t)
	resources := harness.JSON{"cpu": 2, "memory_mb": 1024, "disk_mb": 128, "pids": 128}
	cases := []struct {
		language, file, stdin string
		want                  string
	}{
		{"node", "workers.js", "", nodeWant(t)},
		{"python", "ledger.py", "", `{"blob":true,"check":"ok","doubled":42,"dump":true,"found":["the grey horse","horses and riders"],"mode":"wal","same":true,"spread_positive":true,"total":10000}`},
		{"bash", "pipeline.sh", strings.Repeat("It was the best of times, it was the worst of times.\n", 100),
			"it=200\nof=200\nthe=200\ntotal=1200\ngzip=same\nfirst=it\ncounts.txt,words.txt\n"},
	}
	for _, c := range cases {
		runtime := s.Runtime(harness.JSON{"name": "real-" + c.language, "language": c.language, "resources": resources, "exec_timeout_s": 120})
		script, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		request := harness.JSON{"script": string(script), "stdin": c.stdin}
		t.Run(c.language+" in a runspace", func(t *testing.T) {
			s := s.For(t)
			ex := s.RunIn(s.Runspace(runtime), request)
			stdout, stderr := s.Output(ex.ID)
			if ex.State != "success" {
				t.Fatalf("ended as %s\nstdout: %s\nstderr: %s", ex, stdout, stderr)
			}
			check(t, stdout, c.want)
		})
		t.Run(c.language+" one-shot", func(t *testing.T) {
			request["runtime"] = runtime
			ex, stdout := s.For(t).Success(request)
			check(t, stdout, c.want)
			if !ex.Fresh {
				t.Error("the instance was not fresh")
			}
			if ex.Usage.CPUSeconds <= 0 || ex.Usage.PeakMemoryMB <= 0 {
				t.Errorf("usage figures are missing: %+v", ex.Usage)
			}
		})
	}
}

// check compares JSON by value and other text as it is.
func check(t *testing.T, got, want string) {
	t.Helper()
	var a, b any
	if json.Unmarshal([]byte(got), &a) == nil && json.Unmarshal([]byte(want), &b) == nil {
		if m, ok := a.(map[string]any); ok {
			delete(m, "crc") // only newer versions of Node.js have it
		}
		if d := cmp.Diff(b, a); d != "" {
			t.Errorf("the program printed something else (-want +got):\n%s", d)
		}
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the program printed something else (-want +got):\n%s", d)
	}
}

// nodeWant computes the digest of the text that workers.js makes.
func nodeWant(t *testing.T) string {
	t.Helper()
	var text bytes.Buffer
	for n := range 8 {
		for i := range 4000 {
			fmt.Fprintf(&text, "%d:%d\n", n, i*2654435761%1000003)
		}
	}
	sum := sha256.Sum256(text.Bytes())
	return fmt.Sprintf(`{"same":true,"small":true,"sha":%q}`, hex.EncodeToString(sum[:]))
}
