package attempts

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// secretLeft runs with a secret and looks for it where it should not stay.
func secretLeft(c *cell) {
	word := fmt.Sprintf("s3cr3t-%d-%d-", c.house.next(), time.Now().UnixNano())
	secret := word + "given"
	b := c.open("python", roomy)
	given := fmt.Sprintf("given-%d", c.house.next())
	b.by = b.by.marked(given)
	o := b.run(harness.JSON{
		"script": "import os\nprint(len(os.environ['SECRET']), len(given))\nheld = [os.environ['SECRET'] + str(i) for i in range(100)]",
		"env":    map[string]string{"SECRET": secret}, "parameters": harness.JSON{"given": secret}, "stdin": secret,
	}).ok().says(fmt.Sprint(len(secret)))
	b.by = b.by.marked("")
	// What a script says itself is kept in the database, and in no process but the server.
	for range 20 {
		b.run(harness.JSON{
			"script": fmt.Sprintf("said = '%ssaid'\nprint(open('file').read())\nsaid", word),
			"files":  []harness.JSON{{"path": "file", "content": word + "said"}},
		}).ok().says(word + "said")
	}
	eventually(c, "the next instance is warm", func() bool { return c.house.idle(c, b.runtimeID()) > 0 })
	if strings.Contains(c.log("request_id="+given+" method=POST"), secret) {
		c.escape("the server's log has it")
	}
	if got := b.by.ask(c.T, http.MethodGet, "/v1/executions/"+o.ID, nil); strings.Contains(string(got.Body), secret) {
		c.escape("the answer about the execution has it")
	}
	var looked int
	var holders []int
	others := func() bool { return slices.ContainsFunc(holders, func(pid int) bool { return !isKeeper(pid) }) }
	// What has just ended goes in its own time; what stays must not have it. The known
	// weak spot is given that time in the full form only.
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
		if len(holders) == 0 || !*full && !others() || time.Now().After(deadline) {
			break
		}
	}
	for _, pid := range holders {
		if isKeeper(pid) { // not its stack, nor what the collector has not reached
			c.weak("a keeper that lives on had it %s; no script can read that", map[bool]string{true: "20 s later", false: "afterwards"}[*full])
		} else {
			c.escape("the memory of a process has it: %s", describe(pid))
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

// isKeeper reports whether a process is the first one of a sandbox.
func isKeeper(pid int) bool { return strings.HasPrefix(describe(pid), "remuda-init") }

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
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return false, false
	}
	defer pagemap.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to, offset, inode int64
		var mode, device string
		if _, err := fmt.Sscanf(line, "%x-%x %s %x %s %d", &from, &to, &mode, &offset, &device, &inode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		var pieces [][2]int64
		switch {
		case mode == "rw-p" && inode == 0 && to-from <= 16<<30:
			pieces = touched(pagemap, from, to)
		case to-from <= 256<<20:
			pieces = [][2]int64{{from, to}}
		}
		for _, p := range pieces {
			piece := make([]byte, p[1]-p[0])
			n, err := mem.ReadAt(piece, p[0])
			if err != nil && n == 0 {
				continue
			}
			ok = true
			if bytes.Contains(piece[:n], []byte(word)) {
				return true, true
			}
		}
	}
	return false, ok
}

// touched are the parts of a private anonymous mapping that were ever written to or
// read: the others are zero, and interpreters reserve gigabytes of them. What is not
// known counts as touched.
func touched(pagemap *os.File, from, to int64) (parts [][2]int64) {
	const present, swapped, entry = 1 << 63, 1 << 62, 8
	size := int64(os.Getpagesize())
	entries := make([]byte, (to-from)/size*entry)
	if _, err := pagemap.ReadAt(entries, from/size*entry); err != nil {
		return [][2]int64{{from, to}}
	}
	for at := from; at < to; at += size {
		if binary.NativeEndian.Uint64(entries[(at-from)/size*entry:])&(present|swapped) == 0 {
			continue
		}
		if last := len(parts) - 1; last >= 0 && parts[last][1] == at {
			parts[last][1] += size
			continue
		}
		parts = append(parts, [2]int64{at, at + size})
	}
	return parts
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
