package attempts

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/test/harness"
)

// fileRows are rows F: from inside, and by the files API.
func fileRows() []row {
	return slices.Concat(fileProbes(), []row{
		{id: "F02", attempt: "API: read, write and delete through links that lead outside", expected: "refused, the machine's file untouched", places: each(runspace), try: throughLinks},
		{id: "F03", attempt: "API: write while a directory and a link change places", expected: "never outside", places: each(runspace), try: swapping},
		{id: "F05", attempt: "API: read and write a FIFO, a socket, a directory, a device", expected: "4xx at once", places: each(runspace), try: oddFiles},
		{id: "F06", attempt: "API: download /dev/urandom by a link, and a sparse terabyte", expected: "refused or capped", places: each(runspace), try: endless},
		{id: "F07", attempt: "API: names such as ../x, absolute, NUL, newline, encoded dots", expected: "400", places: each(runspace), try: oddNames},
		{id: "F16", attempt: "API: names of 5,000 bytes, of bad UTF-8, of odd characters", expected: "400, or an ordinary file", places: each(runspace), try: longNames},
		{id: "F07", attempt: "execution with a file named ../x, /etc/x, .., a\\0b", expected: "400", places: each(cold), try: oddUploads},
		{id: "F11", attempt: "leave files in /tmp, /var/tmp, /dev/shm, the workspace and HOME", expected: "absent in the next instance", places: everywhere(), try: leftFiles},
	})
}

func fileProbes() []row {
	ro := oneOf("EROFS", "EACCES", "EPERM", "ENOENT")
	var list []probe
	add := func(id, key, attempt string, w want, alike string) {
		list = append(list, probe{id: id, key: key, attempt: attempt, want: w, alike: alike})
	}
	for p := range strings.FieldsSeq("/x /usr/x /usr/bin/x /usr/lib/x /usr/local/bin/x /etc/x /run/x /var/x /home/x /root/x /sys/x /proc/x /dev/x /opt/x") {
		alike := ""
		if p == "/sys/x" || p == "/proc/x" {
			alike = "nobody may"
		}
		add("F01", "create "+p, "make "+p, ro, alike)
	}
	for _, p := range []string{"/etc/passwd", "/usr/bin/env", "/etc/ld.so.cache", "os.py", "the interpreter"} {
		alike := ""
		if p == "the interpreter" {
			alike = "outside, it is busy as well"
		}
		add("F01", "change "+p, "open "+p+" for writing", oneOf("EROFS", "EACCES", "EPERM", "ETXTBSY"), alike)
	}
	add("F15", "change json", "open a module of the standard library for writing", ro, "")
	add("F15", "package", "put a module beside the machine's packages", ro, "")
	add("F15", "pyc cache", "tamper with the cache of compiled modules", ro, "")
	for _, what := range []string{"remove", "rename", "chmod", "chown", "utime", "truncate"} {
		add("F08", what, what+" /usr/bin/env", ro, "")
	}
	add("F08", "hard link", "hard link /etc/passwd into the workspace", oneOf("EXDEV", "EPERM", "EROFS"), "")
	add("F08", "self exe", "open /proc/self/exe for writing", oneOf("EROFS", "EACCES", "EPERM", "ETXTBSY"), "outside, it is busy")
	add("F08", "exe by descriptor", "reopen a program for writing by its descriptor", oneOf("EROFS", "EACCES", "EPERM"), "")
	add("F08", "CVE-2019-5736", "reopen for writing what has just run (CVE-2019-5736)", oneOf("EROFS", "EACCES", "EPERM"), "")
	add("F08", "remount", "remount / for writing", oneOf("EPERM", "ENOSYS"), "")
	add("F08", "mmap shared", "map a program for writing", oneOf("EROFS", "EACCES", "EPERM"), "")
	add("F08", "fallocate", "allocate in a program's file", oneOf("EROFS", "EACCES", "EPERM"), "")
	add("F10", "xattr trusted", "set trusted.overlay.opaque", oneOf("EPERM", "EOPNOTSUPP", "ENOTSUP"), "")
	add("F10", "xattr security", "set security.selinux", like("refused, or on the own disk only", "^(E[A-Z]+|done)$"), "it goes away with the disk")
	add("F10", "xattr capability", "set security.capability", oneOf("EPERM", "EOPNOTSUPP", "ENOTSUP"), "")
	add("F09", "setuid in workspace", "run a set-uid copy of id from the workspace", like("uid 1000", `^(uid 1000|uid 65534|failed.*)$`), "")
	for _, p := range []string{"/", "/workspace", "/tmp", "/var/tmp", "/dev/shm"} {
		list = append(list, probe{id: "F09", key: "flags " + p, attempt: "mount flags of " + p, want: oneOf("nodev nosuid"), alike: "a question",
			gvisor: &want{"nodev nosuid, or the sandbox's own kernel's", anything}})
	}
	add("F11", "places", "look for files of others in every writable place", oneOf("empty"), "a question")
	add("F11", "run lock", "make /run/lock/x", ro, "")
	add("F12", "cwd", "remove the working directory", oneOf("works again"), "no fence is meant")
	add("F12", "workspace rename", "rename the workspace", oneOf("EROFS", "EBUSY", "EACCES", "EPERM", "EXDEV"), "")
	add("F12", "workspace remove", "remove the workspace", oneOf("EROFS", "EBUSY", "EACCES", "EPERM", "ENOTEMPTY"), "outside it is not empty")
	add("F12", "workspace replace", "put a link beside the workspace", ro, "")
	add("F16", "long path", "a path of 5,000 bytes", oneOf("ENAMETOOLONG", "ENOENT"), "the kernel's own limit")
	add("F16", "long name", "a name of 300 bytes", oneOf("ENAMETOOLONG"), "the kernel's own limit")
	add("F16", "depth", "3,000 directories in each other", like("made, or refused by the quota", "^(done|ENOSPC|ENAMETOOLONG)$"), "harmless: they count against the own quota")
	add("F17", "exec memory", "map memory that can be written and run", like("as the runtime's setting: allowed", "^allowed"), "documented")
	add("K21", "devices by link", "open a disk of the machine by a link", no, "outside, /dev/sda may not be there")
	add("K02", "procfs mount", "mount a second /proc", oneOf("EPERM", "ENOSYS"), "")
	add("F01", "fifo", "make a FIFO in /usr", oneOf("EROFS", "EACCES", "EPERM"), "")
	add("F08", "immutable", "make the workspace immutable", no, "not every file system knows it")
	return probes("files.py", list)
}

// throughLinks has links lead to a file of the machine's.
func throughLinks(c *cell) {
	secret := filepath.Join(c.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the machine"), 0o666); err != nil {
		c.Fatal(err)
	}
	b := c.open("python", roomy)
	b.script(fmt.Sprintf(`
import os
os.symlink(%q, "file")
os.symlink("/etc", "dir")
os.symlink("/proc/self/root", "root")
os.symlink("/proc/1/root", "first")
os.symlink("../etc/passwd", "up")
os.symlink("loop", "loop")
print("linked")
`, secret)).ok().says("linked")
	files := "/v1/runspaces/" + b.runspace + "/files/"
	seen := map[string]bool{}
	for _, name := range []string{"file", "dir/passwd", "dir/shadow", "dir/new", "root/etc/passwd", "first/etc/passwd", "up", "loop"} {
		if got := b.by.ask(b.T, http.MethodGet, files+name, nil); got.Status < 400 || got.Status >= 500 {
			c.escape("reading %s answered %d: %.60q", name, got.Status, got.Body)
		} else {
			seen[got.String()] = true
		}
		if !strings.Contains(name, "/") {
			continue // a link itself may be replaced
		}
		for _, method := range []string{http.MethodPut, http.MethodDelete} {
			if got := b.by.ask(b.T, method, files+name, strings.NewReader("taken")); got.Status < 400 || got.Status >= 500 {
				c.escape("%s of %s answered %d", method, name, got.Status)
			}
		}
	}
	b.by.ask(b.T, http.MethodPut, files+"file", strings.NewReader("taken"))
	content, err := os.ReadFile(secret)
	c.holds(err == nil && string(content) == "of the machine", "%s; the machine's file is untouched", keys(seen))
}

func keys(set map[string]bool) string {
	var list []string
	for k := range set {
		list = append(list, k)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// swapping writes while the script exchanges a directory and a link.
func swapping(c *cell) {
	b := c.open("python", roomy)
	var ex execution
	b.by.must(b.T, http.MethodPost, "/v1/runspaces/"+b.runspace+"/executions", harness.JSON{"script": `
import os, time
os.mkdir("real")
os.symlink("/tmp", "link")
open("ready", "w").close()
end = time.monotonic() + 100
swaps = 0
while time.monotonic() < end and not os.path.exists("stop"):
    try:
        os.rename("real", "spare"); os.rename("link", "real")
        os.rename("real", "link"); os.rename("spare", "real")
        swaps += 1
    except OSError: pass
print("escaped" if os.path.exists("/tmp/raced") else "never", swaps)
`}, &ex)
	files := "/v1/runspaces/" + b.runspace + "/files/"
	eventually(b.T, "the script is ready", func() bool { return b.by.ask(b.T, http.MethodGet, files+"ready", nil).Status == http.StatusOK })
	wrote := 0
	tries := count(10000, 300)
	for range tries {
		got := b.by.ask(b.T, http.MethodPut, files+"real/raced", strings.NewReader("x"))
		if got.Status == http.StatusOK {
			wrote++
		} else if got.Status >= 500 {
			c.Fatalf("write answered %d: %s", got.Status, got.Body)
		}
	}
	b.by.must(b.T, http.MethodPut, files+"stop", strings.NewReader(""), nil)
	var done execution
	b.by.must(b.T, http.MethodGet, "/v1/executions/"+ex.ID+"?wait=60s", nil, &done)
	o := &outcome{t: b.T, execution: done}
	if err := o.read(b.by); err != nil {
		c.Fatal(err)
	}
	c.Logf("%d of %d writes arrived; %s", wrote, tries, o.stdout)
	if wrote == 0 || wrote == tries {
		c.Logf("the race was not close: %d of %d writes", wrote, tries)
	}
	c.holds(strings.HasPrefix(o.ok().stdout, "never"), "never outside in %d writes", tries)
}

func oddFiles(c *cell) {
	b := c.open("python", roomy)
	b.script("import os, socket\nos.mkfifo('fifo')\nos.mkdir('dir')\ns = socket.socket(socket.AF_UNIX); s.bind('socket')\nos.symlink('/dev/zero', 'zero')\nprint('made')").ok().says("made")
	seen := map[string]bool{}
	for _, name := range []string{"fifo", "socket", "dir", "zero"} {
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			if method == http.MethodPut && name == "zero" {
				continue // a link itself may be replaced
			}
			got := b.by.ask(b.T, method, "/v1/runspaces/"+b.runspace+"/files/"+name, strings.NewReader("x"))
			seen[fmt.Sprint(got.Status)] = true
			if got.Status < 400 || got.Status >= 500 {
				c.escape("%s of %s answered %d: %.60q", method, name, got.Status, got.Body)
			}
		}
	}
	b.script("print('alive')").ok().says("alive")
	c.holds(true, "%s", keys(seen))
}

func endless(c *cell) {
	b := c.open("python", roomy)
	b.script("import os\nos.symlink('/dev/urandom', 'random')\nf = os.open('sparse', os.O_CREAT | os.O_WRONLY)\ntry: os.ftruncate(f, 1 << 40)\nexcept OSError as e: print('terabyte', e.errno)\nos.ftruncate(f, 100 << 20)\nprint('made')").ok().says("made")
	seen := map[string]bool{}
	for _, name := range []string{"random", "sparse"} {
		got := b.by.ask(b.T, http.MethodGet, "/v1/runspaces/"+b.runspace+"/files/"+name, nil)
		seen[name+" "+got.String()] = true
		if got.Status < 400 || got.Status >= 500 {
			c.escape("%s answered %d with %d bytes", name, got.Status, len(got.Body))
		}
	}
	c.holds(true, "%s", keys(seen))
}

// oddNames are sent as they are, past what a client would clean.
func oddNames(c *cell) {
	b := c.open("python", roomy)
	seen := map[string]bool{}
	for _, name := range []string{
		"../x", "a/../../x", "%2e%2e/x", "..%2fx/../../y", "%2fetc%2fpasswd", "/etc/passwd", "a%00b", "a%0ab", "a%0d%0ab", ".", "..", "./x", "a//b", "%ff", "a%1b[2J",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			got := b.by.ask(b.T, method, "/v1/runspaces/"+b.runspace+"/files/x", strings.NewReader("taken"), rawPath("/v1/runspaces/"+b.runspace+"/files/"+name))
			seen[fmt.Sprint(got.Status)] = true
			if got.Status < 300 || got.Status >= 500 {
				c.escape("%s of %q answered %d: %.80q", method, name, got.Status, got.Body)
			}
		}
	}
	o := b.script("import os\nprint(sorted(os.listdir('/workspace')), os.path.exists('/x'))").ok()
	c.holds(strings.HasPrefix(o.stdout, "[] False"), "%s; nothing was written", keys(seen))
}

// rawPath sends a path byte by byte.
func rawPath(p string) func(*http.Request) {
	return func(r *http.Request) { r.URL.Opaque = p }
}

func longNames(c *cell) {
	b := c.open("python", roomy)
	seen := map[string]bool{}
	for name, ok := range map[string]bool{
		strings.Repeat("x", 300): false, strings.Repeat("x/", 2500) + "x": false, "%ff%fe": false, "%E2%80%AEtxt.exe": true, "caf%C3%A9": true, "cafe%CC%81": true, "-rf": true, "~": true, "CON": true,
	} {
		got := b.by.ask(b.T, http.MethodPut, "/v1/runspaces/"+b.runspace+"/files/"+name, strings.NewReader("x"))
		seen[fmt.Sprint(got.Status)] = true
		if got.Status >= 500 || (got.Status < 300) != ok {
			c.escape("write of %.40q answered %d: %.100s", name, got.Status, got.Body)
		}
	}
	c.holds(true, "%s", keys(seen))
}

func oddUploads(c *cell) {
	b := c.open("python", roomy)
	seen := map[string]bool{}
	for _, name := range []string{"../x", "/etc/x", "..", ".", "a/../../x", "a\x00b", "a\nb", strings.Repeat("x/", 3000)} {
		got := b.by.ask(b.T, http.MethodPost, "/v1/executions?wait=60s", harness.JSON{"runtime": b.runtime, "script": "1", "files": []harness.JSON{{"path": name, "content": "x"}}})
		seen[got.String()] = true
		if got.Status < 400 || got.Status >= 500 {
			c.escape("a file named %.40q answered %d", name, got.Status)
		}
	}
	c.holds(true, "%s", keys(seen))
}

const leaveFiles = `
import os, pathlib
for p in "/tmp", "/var/tmp", "/dev/shm", "/workspace", os.environ["HOME"], os.environ.get("TMPDIR", "/tmp"):
    pathlib.Path(p, "%[1]s").write_text("canary")
print("left")
`

const findFiles = `
import os
found = [os.path.join(d, f) for top in ("/tmp", "/var/tmp", "/dev/shm", "/workspace", "/run", "/home", "/root") for d, _, fs in os.walk(top) for f in fs if "%[1]s" in f]
print("found", found)
`

// leftFiles looks for what the instance before has left.
func leftFiles(c *cell) {
	word := c.token()
	b := c.open("python", roomy)
	b.script(fmt.Sprintf(leaveFiles, word)).ok().says("left")
	if b.runspace != "" {
		b.script(fmt.Sprintf(findFiles, word)).ok().says(word) // a runspace keeps its own
		b = c.open("python", roomy)
	}
	for range count(20, 3) {
		if o := b.script(fmt.Sprintf(findFiles, word)).ok(); !strings.Contains(o.stdout, "found []") {
			c.escape("%s", o.stdout)
			return
		}
		if b.runspace != "" {
			b = c.open("python", roomy)
		}
	}
	c.holds(true, "absent")
}
