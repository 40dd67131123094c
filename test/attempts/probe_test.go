package attempts

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// A probe is one of many attempts that one program makes. The program prints a
// line of JSON for each: its key, and what came of it. It runs once in every
// place, and once outside.

//go:embed programs
var programs embed.FS

// want is what must come of a probe.
type want struct {
	text string
	re   *regexp.Regexp
}

// oneOf wants one of some words, such as names of errors.
func oneOf(words ...string) want {
	return want{strings.Join(words, " or "), regexp.MustCompile("^(" + strings.Join(words, "|") + ")$")}
}

// like wants what matches a pattern.
func like(text, pattern string) want { return want{text, regexp.MustCompile("(?s)" + pattern)} }

// refused is what the system call filter answers.
var refused = oneOf("EPERM", "ENOSYS")

// probe is one row of a program.
type probe struct {
	id, key, attempt string
	want             want
	// gvisor is what is wanted there instead: its kernel is the sandbox's own,
	// and what it grants, it grants in there only.
	gvisor *want
	// alike says why the outside may see the same as the inside; "" if it must
	// see something else.
	alike string
}

// probes makes rows of the probes of one program.
func probes(program string, list []probe) []row {
	rows := make([]row, 0, len(list))
	for _, p := range list {
		expected := p.want.text
		if p.gvisor != nil && p.gvisor.text != expected {
			expected += "; gvisor: " + p.gvisor.text
		}
		rows = append(rows, row{id: p.id, attempt: p.attempt, expected: expected, places: probed(), try: func(c *cell) { c.probe(program, p) }})
	}
	return rows
}

func (c *cell) probe(program string, p probe) {
	c.Helper()
	inside, err := c.house.inside(c, program)
	if err != nil {
		c.Fatal(err)
	}
	outside, err := c.house.outside(program)
	if err != nil {
		c.Fatal(err)
	}
	got, made := inside[p.key]
	if !made {
		c.Fatalf("the program %s did not come to %q", program, p.key)
	}
	w := p.want
	if c.place.class == gvisor && p.gvisor != nil {
		w = *p.gvisor
	}
	control := outside[p.key]
	if !w.re.MatchString(got) {
		c.escape("%s; outside: %s", short(got), short(control))
		return
	}
	switch {
	case p.alike != "":
		c.saw("%s (%s)", short(got), p.alike)
	case control == "":
		c.Fatalf("outside, the program %s did not come to %q", program, p.key)
	case control == got:
		c.saw("%s; outside the same: this machine refuses it to everybody", short(got))
	default:
		c.saw("%s; outside: %s", short(got), short(control))
	}
}

// language is what a program is written in.
func language(program string) string {
	switch path.Ext(program) {
	case ".sh":
		return "bash"
	case ".js":
		return "node"
	}
	return "python"
}

// source is a program with what all of its language share.
func source(program string) (string, error) {
	text, err := programs.ReadFile("programs/" + program)
	if err != nil {
		return "", err
	}
	lib, err := programs.ReadFile("programs/lib" + path.Ext(program))
	return string(lib) + "\n" + string(text), err
}

// inside runs a program once in a cell's place and returns what it saw.
func (h *house) inside(c *cell, program string) (map[string]string, error) {
	return shared(h, program+" in "+c.place.String(), func() (map[string]string, error) {
		text, err := source(program)
		if err != nil {
			return nil, err
		}
		o := c.open(language(program), roomy).run(harness.JSON{"script": text, "parameters": h.facts.parameters(program, true), "timeout_s": 240})
		seen := parse(o.stdout)
		if o.State != "success" || len(seen) == 0 {
			return nil, fmt.Errorf("program %s ended as %s", program, o)
		}
		return seen, nil
	})
}

// outside runs a program once in a throw-away copy of the machine.
func (h *house) outside(program string) (map[string]string, error) {
	return shared(h, program+" outside", func() (map[string]string, error) {
		text, err := source(program)
		if err != nil {
			return nil, err
		}
		return runOutside(program, text, h.facts.parameters(program, false))
	})
}

// throwAway makes a root that is this machine's, with all changes in memory, in
// namespaces that end with the program. Every address leads back to itself.
const throwAway = `set -e
mount --make-rprivate /
mount -t tmpfs attempts /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay attempts -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mount -t proc proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
mount --rbind /sys /mnt/root/sys
mkdir -p /mnt/root/workspace
if command -v ip >/dev/null; then
	ip link set lo up
	ip route add local default dev lo
	ip -6 route add local default dev lo || true
fi
cd /mnt/root/workspace
exec env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/workspace LANG=C.UTF-8 chroot /mnt/root "$@"
`

// runOutside runs the program as root outside of every sandbox.
func runOutside(program, text string, parameters harness.JSON) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	interpreter, prefix := []string{"python3", "-"}, "import json\nglobals().update(json.loads(%s))\n"
	switch language(program) {
	case "bash":
		interpreter, prefix = []string{"bash", "-s"}, ""
	case "node":
		interpreter, prefix = []string{"node", "--input-type=commonjs", "-"}, "Object.assign(globalThis, JSON.parse(%s));\n"
	}
	given, err := json.Marshal(parameters)
	if err != nil {
		return nil, err
	}
	quoted, err := json.Marshal(string(given)) // a literal of Python and of JavaScript
	if err != nil {
		return nil, err
	}
	switch language(program) {
	case "bash":
		for _, name := range slices.Sorted(maps.Keys(parameters)) {
			prefix += fmt.Sprintf("%s='%v'\n", name, parameters[name])
		}
	case "node":
		text = fmt.Sprintf(prefix, quoted) + "(async () => {" + text + "\n})();"
		prefix = ""
	default:
		prefix = fmt.Sprintf(prefix, quoted)
	}
	args := append([]string{"--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts", "setsid", "--wait", "bash", "-c", throwAway, "outside"}, interpreter...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdin = strings.NewReader(prefix + text)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	seen := parse(stdout.String())
	if len(seen) == 0 {
		return nil, fmt.Errorf("program %s outside: %w\n%s\n%s", program, err, stdout.String(), stderr.String())
	}
	return seen, nil // programs that end themselves on the way have said what they came to
}

// parse reads the lines of JSON.
func parse(stdout string) map[string]string {
	seen := map[string]string{}
	for line := range strings.Lines(stdout) {
		var said struct{ Key, Seen string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Key != "" {
			seen[said.Key] = said.Seen
		}
	}
	return seen
}

// anything is for what is told, not judged.
var anything = regexp.MustCompile("")
