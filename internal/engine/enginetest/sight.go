package enginetest

import (
	"os"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
)

// sight looks for the host: in /proc, in files, in the environment.
func sight(t *testing.T, e engine.Engine) {
	tests := []struct {
		name string
		test func(box)
	}{
		{"proc", procLeaks}, {"writes", hostWrites}, {"files of the host", hostFiles}, {"environment", environmentLeaks},
		{"devices", deviceNodes}, {"private places", privatePlaces},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			both(t, e, resources, tt.test)
		})
	}
}

// procLeaks reads what would tell about the machine (P09, P10, K22, K27).
func procLeaks(b box) {
	got := b.run(`
import os
for p in """kcore kallsyms keys key-users timer_list sched_debug kmsg config.gz modules slabinfo vmallocinfo iomem ioports
    interrupts cmdline sysrq-trigger acpi scsi driver bus irq fs partitions diskstats locks""".split():
    p = "/proc/" + p
    try:
        x = os.listdir(p) if os.path.isdir(p) else open(p, "rb").read(100)
        print("SHOWS" if x else "empty", p, x)
    except OSError as e: print("refused", p, e.errno)
for p in "/sys/kernel", "/sys/fs/cgroup", "/sys/kernel/debug", "/sys/kernel/security", "/sys/fs/bpf", "/proc/1/root/etc":
    try: print("SHOWS", p, os.listdir(p))
    except OSError as e: print("refused", p, e.errno)
print("cgroup", [l.split(":", 2)[2] for l in open("/proc/self/cgroup").read().split()])
print("exe", os.readlink("/proc/self/exe"))
print("tried")
`).ok().says("tried").says("exe /usr/")
	if strings.Contains(got.out, "SHOWS") || strings.Contains(got.out, "remuda-") || strings.Contains(got.out, "..") {
		b.t.Errorf("the host shows:\n%s", got.out)
	}
}

// hostWrites attempts to change what is not the sandbox's (P08, F01, F08).
func hostWrites(b box) {
	got := b.run(`
import os, stat
for p in """/x /usr/x /usr/bin/x /usr/lib/x /etc/passwd /etc/x /proc/sys/kernel/core_pattern /proc/sys/vm/overcommit_memory
    /proc/sysrq-trigger /proc/sys/kernel/hostname /dev/x /run/x /home/x /root/x /var/x /sys/x /usr/bin/python3 /proc/1/oom_score_adj
    /run/remuda/x /usr/share/x""".split():
    try:
        fd = os.open(p, os.O_WRONLY | os.O_CREAT)
        st = os.fstat(fd)
        os.close(fd)
        print("NULL" if stat.S_ISCHR(st.st_mode) and st.st_rdev == os.makedev(1, 3) else "OPENED", p)
    except OSError as e: print("refused", p, e.errno)
try: os.open("/proc/self/oom_score_adj", os.O_WRONLY); os.write(3, b"-1000")
except OSError as e: print("refused score", e.errno)
print("tried")
`).ok().says("tried")
	for line := range strings.SplitSeq(got.out, "\n") {
		// The null device may cover what is masked, nothing else.
		if strings.HasPrefix(line, "OPENED") || strings.HasPrefix(line, "NULL") && line != "NULL /proc/sysrq-trigger" {
			b.t.Errorf("%s", line)
		}
	}
}

// hostFiles looks for what must not be there at all.
func hostFiles(b box) {
	host, err := os.Hostname()
	if err != nil {
		b.t.Fatal(err)
	}
	got := b.run(`
import os, socket
for p in """/etc/shadow /etc/machine-id /etc/ssh /etc/hostname /var/lib /var/log /root/.bashrc /root/.ssh /home /work /usr/src
    /usr/local/go /run/docker.sock /var/run /boot /mnt /media /opt /srv /usr/sbin /sys/class /tmp""".split():
    try: print("SEES" if (os.listdir(p) if os.path.isdir(p) else open(p).read()) else "empty", p)
    except OSError as e: print("absent", p, e.errno)
print("host", socket.gethostname(), open("/etc/hostname").read())
print("tried")
`).ok().says("tried").says("host remuda remuda")
	for line := range strings.SplitSeq(got.out, "\n") {
		if strings.HasPrefix(line, "SEES") && line != "SEES /etc/hostname" {
			b.t.Errorf("%s", line)
		}
	}
	if host != "remuda" && strings.Contains(got.out, host) {
		b.t.Errorf("the host's name is known: %s", got.out)
	}
}

func environmentLeaks(b box) {
	var got map[string]string
	b.run("import os, json\nprint(json.dumps(dict(os.environ)))").ok().json(&got)
	for name, value := range got {
		switch name {
		case "HOME", "LANG", "PATH", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "PWD", "SHLVL", "_", "LC_CTYPE":
		default:
			b.t.Errorf("the environment has %s=%s", name, value)
		}
	}
	if got["HOME"] != "/workspace" {
		b.t.Errorf("HOME is %q", got["HOME"])
	}
}

func deviceNodes(b box) {
	var got []string
	b.run("import os, json\nprint(json.dumps(sorted(os.listdir('/dev'))))").ok().json(&got)
	const want = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
	if strings.Join(got, " ") != want {
		b.t.Errorf("/dev has %v", got)
	}
	b.run("import os\nm, s = os.openpty()\nos.write(m, b'x\\n')\nprint(os.read(s, 2), os.ttyname(s))").ok().says("b'x\\n' /dev/pts/0")
	b.run("import os\nassert len(os.urandom(8)) == 8\nopen('/dev/null', 'w').write('x')\nprint(open('/dev/zero', 'rb').read(2))").ok().says(`b'\x00\x00'`)
}

// privatePlaces are writable, empty, and nobody else's (F09, F11).
func privatePlaces(b box) {
	parts := `"/workspace", "/tmp", "/var/tmp", "/dev/shm", "/usr/bin", "/"`
	if b.d.UnmarkedRoot {
		parts = `"/workspace", "/tmp", "/var/tmp", "/dev/shm"`
	}
	b.run(`
import os, subprocess
for p in "/workspace", "/tmp", "/var/tmp", "/dev/shm":
    assert not [f for f in os.listdir(p)], os.listdir(p)
    open(p + "/left", "w").write("x")
    os.chmod(p + "/left", 0o6755)
print("wrote", os.getcwd(), os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize >> 20)
flags = {l.split()[4]: l.split()[5] for l in open("/proc/self/mountinfo")}
for p in ` + parts + `:
    assert "nosuid" in flags[p] and "nodev" in flags[p], (p, flags[p])
print("checked")
`).ok().says("wrote /workspace 64").says("checked")
}
