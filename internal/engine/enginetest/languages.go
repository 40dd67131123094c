package enginetest

import (
	"encoding/json"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// languages runs each language's ordinary things. A language that the machine
// does not have is an error of the machine's setup, not a reason to pass.
func languages(t *testing.T, e engine.Engine) {
	tests := []struct {
		language                  remuda.Language
		script, out, error, value string
	}{
		{language: remuda.LanguagePython, script: "import sys\nprint(sys.argv[1:], n)\nn + 1", out: "['a', 'b'] 41\n", value: "42"},
		{language: remuda.LanguagePython, script: "1/0", error: "ZeroDivisionError"},
		{language: remuda.LanguageNode, script: "console.log(process.argv.slice(2), n); n + 1", out: "[ 'a', 'b' ] 41\n", value: "42"},
		{language: remuda.LanguageNode, script: "null.x", error: "TypeError"},
		{language: remuda.LanguageBash, script: "echo \"$@\" $n; seq 3 | wc -l", out: "a b 41\n3\n"},
	}
	for _, tt := range tests {
		t.Run(string(tt.language), func(t *testing.T) {
			t.Parallel()
			b := create(t, e, tt.language, remuda.Resources{CPU: 2, MemoryMB: 512, DiskMB: 64, Pids: 64})
			got := b.do(engine.Request{Script: tt.script, Args: []string{"a", "b"}, Parameters: map[string]json.RawMessage{"n": json.RawMessage("41")}, Timeout: patience})
			if tt.error != "" {
				got.wants(remuda.ExecutionError, remuda.KilledByNothing)
				if got.Error == nil || got.Error.Type != tt.error || got.Error.Traceback == "" {
					t.Errorf("error is %+v", got.Error)
				}
				return
			}
			got.ok()
			if got.out != tt.out {
				t.Errorf("stdout is %q, want %q", got.out, tt.out)
			}
			if tt.value != "" && (got.Value == nil || string(got.Value.JSON) != tt.value) {
				t.Errorf("value is %+v, want %s", got.Value, tt.value)
			}
		})
	}
}
