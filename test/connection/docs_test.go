package connection

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the commands of the documents show into them")

var block = regexp.MustCompile("(?s)```(sh|text)\n(.*?)```")

// TestDocuments runs the commands of each document in one shell against a fresh server
// and wants what the document shows.
func TestDocuments(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("the commands need jq, which is not installed")
	}
	for _, name := range []string{"../../docs/limits.md", "../../docs/connection-scripts.md", "../../docs/streams.md"} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text := string(raw)
			var script strings.Builder
			const marker = "=== end of block ==="
			var shown []string
			for _, match := range block.FindAllStringSubmatch(text, -1) {
				if match[1] == "sh" {
					script.WriteString(match[2] + "\nprintf '%s\\n' '" + marker + "'\n")
				} else {
					shown = append(shown, match[2])
				}
			}
			w := newWorld(t, nil)
			cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", script.String())
			cmd.Dir = t.TempDir()
			cmd.Env = append(cmd.Environ(), "URL="+w.Base, "TOKEN="+w.Token, "no_proxy=*")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("the commands end with %v:\n%s", err, out)
			}
			got := strings.Split(strings.TrimSuffix(string(out), marker+"\n"), marker+"\n")
			if *update {
				for i, part := range got {
					text = strings.Replace(text, "```text\n"+shown[i]+"```", "```text\n"+part+"```", 1)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(shown) < 3 || !cmp.Equal(shown, got) {
				t.Errorf("what is shown differs from what comes (-document +server):\n%s", cmp.Diff(shown, got))
			}
		})
	}
}
