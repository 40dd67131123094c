package guestinit_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// What the interpreter sees of itself and of the machine.
func TestFence(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	ask := func(expression string) string {
		t.Helper()
		r := s.exec(script("import os, socket, ctypes, resource, errno\ndef attempt(f, *a):\n  try: return str(f(*a))\n  except OSError as e: return errno.errorcode[e.errno]\n" + expression))
		if r.State != "success" {
			t.Fatalf("%s: %s %s", expression, r.ErrType, r.ErrText)
		}
		return r.ValueText
	}
	for expression, want := range map[string]string{
		"os.getresuid(), os.getresgid(), os.getgroups()":                      "((1000, 1000, 1000), (1000, 1000, 1000), [])",
		"os.getsid(0) == os.getpgid(0) == os.getpid()":                        "True",
		"socket.gethostname()":                                                "remuda",
		"oct(os.umask(0o22))":                                                 "0o22",
		"[l.split()[1] for l in open('/proc/self/status') if l[:3] == 'Cap']": "['0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000']",
		"[l.split()[1] for l in open('/proc/self/status') if l[:10] in ('NoNewPrivs', 'Seccomp:\\t2')]": "['1', '2']",
		"{l.split(':')[2].strip() for l in open('/proc/self/cgroup')}":                                  "{'/'}",
		"open('/proc/self/oom_score_adj').read()":                                                       "500\n",
		"resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)":          "((1024, 1024), (0, 0))",
		"sorted(os.listdir('/'))":                                               "['bin', 'dev', 'etc', 'home', 'layer', 'lib', 'lib64', 'node_modules', 'proc', 'root', 'run', 'sbin', 'sys', 'tmp', 'usr', 'var', 'workspace']",
		"sorted(os.listdir('/dev'))":                                            "['fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero']",
		"os.listdir('/workspace'), os.listdir('/tmp')":                          "([], [])",
		"[p for p in os.listdir('/proc') if p.isdigit()] == [str(os.getpid())]": "True",
		"attempt(open, '/proc/1/environ')":                                      "ENOENT",
		"attempt(os.kill, 1, 0)":                                                "EPERM",
		"attempt(open, '/etc/x', 'w')":                                          "EROFS",
		"attempt(open, '/usr/x', 'w')":                                          "EROFS",
		"attempt(open, '/run/remuda/driver.py', 'a')":                           "EACCES",
		"attempt(open, '/proc/sys/vm/swappiness', 'w')":                         "EROFS",
		"attempt(open, '/proc/sysrq-trigger', 'w')[:1] in '<E'":                 "True",
		"open('/proc/keys').read()":                                             "",
		"os.listdir('/proc/acpi') if os.path.exists('/proc/acpi') else []":      "[]",
		"attempt(os.mknod, '/workspace/n', 0o20666, os.makedev(1, 3))":          "EPERM",
		"libc = ctypes.CDLL(None, use_errno=True)\nlibc.mount(b'x', b'/tmp', b'tmpfs', 0, None), errno.errorcode[ctypes.get_errno()]": "(-1, 'EPERM')",
		"a = socket.create_server(('127.0.0.1', 0)); b = socket.create_connection(a.getsockname()); b.send(b'x')":                     "1",
		"attempt(socket.create_connection, ('192.0.2.1', 80), 1)":                                                                     "ENETUNREACH",
		"m, t = os.openpty(); os.ttyname(t)[:9]":                                                                                      "/dev/pts/",
		"{l.split()[5].find('nosuid') >= 0 and l.split()[5].find('nodev') >= 0 for l in open('/proc/self/mountinfo') if l.split()[4] in ('/workspace', '/tmp', '/var/tmp', '/dev/shm', '/usr', '/')}": "{True}",
		"len({os.stat(p).st_dev for p in ('/workspace', '/tmp', '/var/tmp', '/dev/shm')})":                                                                                                            "1",
	} {
		if got := ask(expression); got != want {
			t.Errorf("%s\n is %s\nwant %s", expression, got, want)
		}
	}
	if mounts := ask("open('/proc/self/mountinfo').read()"); strings.Contains(mounts, s.socket) || strings.Contains(mounts, filepath.Dir(program)) {
		t.Errorf("a path of the host shows: %s", mounts)
	}
}

// What the keeper itself keeps, seen from the host.
func TestKeeperPrivileges(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	tasks, err := filepath.Glob("/proc/" + itoa(s.cmd.Process.Pid) + "/task/*/status")
	if err != nil || len(tasks) < 6 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"CapEff:\t0000000000000023", "CapPrm:\t0000000000000023", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(status), line) {
				t.Errorf("%s has not %q:\n%s", task, line, status)
			}
		}
	}
}

func TestInheritedDescriptorsStayOutside(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguageNode)
	r := s.exec(script("require('fs').readdirSync('/proc/self/fd').map(f => { try { return require('fs').readlinkSync('/proc/self/fd/' + f) } catch (e) { return '' } })"))
	var links []string
	if err := json.Unmarshal(r.ValueJSON, &links); err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasPrefix(l, "/") && !strings.HasPrefix(l, "/memfd:") && !strings.HasPrefix(l, "/proc/") && !strings.HasPrefix(l, "/dev/") {
			t.Errorf("the interpreter holds %s", l)
		}
	}
}

func TestSetupOverAFileOfTheHostDisk(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguageBash, func(set *protocol.Setup) {
		set.Binds = append(set.Binds, protocol.Bind{Source: "/etc/hostname", Target: "/etc/hostname"})
	})
	if r := s.exec(script("cat /etc/hostname >/dev/null && ! echo x >/etc/hostname")); r.State != "success" {
		t.Errorf("%+v %s", r.End, r.stderr)
	}
}
