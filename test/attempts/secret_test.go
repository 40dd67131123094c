package attempts

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// secretLeft runs with a secret and looks for it where it should not stay.
func secretLeft(c *cell) {
	word := fmt.Sprintf("s3cr3t-%d-%d-", c.house.next(), time.Now().UnixNano())
	secret := word + "given"
	b := c.open("python", roomy)
	o := b.run(harness.JSON{
		"script": "import os\nprint(len(os.environ['SECRET']), len(given))\nheld = [os.environ['SECRET'] + str(i) for i in range(100)]",
		"env":    map[string]string{"SECRET": secret}, "parameters": harness.JSON{"given": secret}, "stdin": secret,
	}).ok().says(fmt.Sprint(len(secret)))
	// What a script says itself is kept in the database, and in no process but the server.
	for range 20 {
		b.run(harness.JSON{
			"script": fmt.Sprintf("said = '%ssaid'\nprint(open('file').read())\nsaid", word),
			"files":  []harness.JSON{{"path": "file", "content": word + "said"}},
		}).ok().says(word + "said")
	}
	eventually(c, "the next instance is warm", func() bool { return c.house.idle(c, c.house.runtimes[b.by.name+"/"+b.runtime]) > 0 })
	if strings.Contains(c.house.server.Log(), secret) {
		c.escape("the server's log has it")
	}
	if got := b.by.ask(c.T, http.MethodGet, "/v1/executions/"+o.ID, nil); strings.Contains(string(got.Body), secret) {
		c.escape("the answer about the execution has it")
	}
	var looked int
	var holders []int
	// What has just ended goes in its own time; what stays must not have it.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		looked, holders = 0, nil
		for _, pid := range descendants(c.house.server.Pid()) {
			found, ok := memoryHas(pid, word)
			if ok {
				looked++
			}
			if found {
				holders = append(holders, pid)
			}
		}
		if len(holders) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, pid := range holders {
		if who := describe(pid); strings.HasPrefix(who, "remuda-init") { // not its stack, nor what the collector has not reached
			c.weak("a keeper that lives on had it 20 s later; no script can read that")
		} else {
			c.escape("the memory of a process has it: %s", who)
		}
	}
	if looked < 2 {
		c.Fatalf("looked into the memory of %d processes only", looked)
	}
	found, files := filesWith(c, c.house.server.Data, secret)
	if len(found) > 0 {
		c.escape("%v have it", found)
	}
	c.Logf("looked into %d processes and %d files", looked, files)
	if found, _ := memoryHas(c.house.server.Pid(), word); found {
		c.Log("the server itself has it in freed memory")
	}
	if !c.isWeak {
		c.holds(true, "absent: log, answer, database, keepers, launchers, waiting interpreters")
	}
}

// describe tells what a process is.
func describe(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return strings.ReplaceAll(string(line), "\x00", " ") + " " + short(strings.ReplaceAll(string(status), "\n", " "))
}

// memoryHas looks for a word in the writable memory of a process.
func memoryHas(pid int, word string) (found, ok bool) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false, false
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false, false
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") || to-from > 256<<20 {
			continue
		}
		piece := make([]byte, to-from)
		n, err := mem.ReadAt(piece, from)
		if err != nil && n == 0 {
			continue
		}
		ok = true
		if strings.Contains(string(piece[:n]), word) {
			return true, true
		}
	}
	return false, ok
}

func passwordLeft(c *cell) {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.house.server.Pid()))
	if err != nil {
		c.Fatal(err)
	}
	_, password, ok := strings.Cut(string(env), "REMUDA_ADMIN_PASSWORD=")
	password, _, _ = strings.Cut(password, "\x00")
	if !ok || password == "" {
		c.Fatal("the server was started without the password in its environment")
	}
	looked := 0
	for _, pid := range descendants(c.house.server.Pid()) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		looked++
		if strings.Contains(string(b), password) {
			c.escape("process %d has it in its environment", pid)
		}
		if found, _ := memoryHas(pid, password); found {
			c.escape("process %d has it in its memory", pid)
		}
	}
	if looked == 0 {
		c.Fatal("the server has no other process")
	}
	c.holds(true, "absent from environment and memory")
}

// filesWith lists the files below a directory that hold a word.
func filesWith(c *cell, dir, word string) (found []string, looked int) {
	c.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what ends while we look has nothing left to find
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		looked++
		if strings.Contains(string(content), word) {
			found = append(found, strings.TrimPrefix(path, dir))
		}
		return nil
	})
	if err != nil {
		c.Error(err)
	}
	return found, looked
}
