package guestinit

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// whole is the status file of an instance's interpreter.
const whole = `Name:	python3
Umask:	0022
State:	S (sleeping)
Uid:	2001	2001	2001	2001
Gid:	2001	2001	2001	2001
Threads:	1
CapInh:	0000000000000000
CapPrm:	0000000000000000
CapEff:	0000000000000000
CapBnd:	0000000000000000
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	2
`

func TestInspectStatus(t *testing.T) {
	t.Parallel()
	of := inspection{uid: 2001}
	for _, status := range []string{whole, strings.Replace(whole, "Seccomp_filters:	2\n", "", 1)} {
		if err := inspectStatus(status, of); err != nil {
			t.Errorf("%v of %s", err, status)
		}
	}
	for old, other := range map[string]string{
		"Uid:	2001	2001	2001	2001": "Uid:	2001	0	2001	2001",
		"Gid:	2001	2001	2001	2001": "Gid:	2001	2001	2001	2005",
		"Threads:	1":               "Threads:	2",
		"CapInh:	0000000000000000": "CapInh:	0000000000000001",
		"CapPrm:	0000000000000000": "CapPrm:	0000000000200000",
		"CapEff:	0000000000000000": "CapEff:	000001ffffffffff",
		"CapBnd:	0000000000000000": "CapBnd:	0000000000000400",
		"CapAmb:	0000000000000000": "CapAmb:	8000000000000000",
		"NoNewPrivs:	1":            "NoNewPrivs:	0",
		"Seccomp:	2":               "Seccomp:	0",
		"Seccomp_filters:	2":       "Seccomp_filters:	1",
		"Name:	python3":            "Name:	x\nThreads:	2",
	} {
		changed := strings.Replace(whole, old, other, 1)
		if changed == whole {
			t.Fatalf("%q is not there", old)
		}
		if err := inspectStatus(changed, of); err == nil {
			t.Errorf("%q is not seen", other)
		}
		name, _, _ := strings.Cut(old, ":")
		if name == "Name" || name == "Seccomp_filters" {
			continue
		}
		if err := inspectStatus(strings.Replace(whole, old+"\n", "", 1), of); err == nil {
			t.Errorf("that %s is not told is not seen", name)
		}
	}
	if err := inspectStatus("", of); err == nil {
		t.Error("an empty file will do")
	}
}

func TestInspectLimit(t *testing.T) {
	t.Parallel()
	const file = `Limit                     Soft Limit           Hard Limit           Units     
Max locked memory         1048576              1048576              bytes     
Max pending signals       1024                 1024                 signals   
Max msgqueue size         819200               819200               bytes     
`
	want := protocol.Rlimit{Resource: unix.RLIMIT_SIGPENDING, Value: 1024}
	if err := inspectLimit(file, want); err != nil {
		t.Error(err)
	}
	const line = "1024                 1024 "
	for _, other := range []string{"1023                 1024 ", "1024                 1025 ", "1024                 unlimited ", "1024 "} {
		if inspectLimit(strings.Replace(file, line, other, 1), want) == nil {
			t.Errorf("%q is not seen", other)
		}
	}
	if inspectLimit("", want) == nil || inspectLimit(file, protocol.Rlimit{Resource: unix.RLIMIT_NOFILE, Value: 1024}) == nil {
		t.Error("what is not told will do")
	}
}

func FuzzInspectStatus(f *testing.F) {
	f.Add(whole, 2001)
	f.Add("", 0)
	f.Add("Threads:", -1)
	f.Fuzz(func(t *testing.T, status string, uid int) {
		if inspectStatus(status, inspection{uid: uid}) == nil && !strings.Contains(status, "NoNewPrivs:") {
			t.Error("it is not told")
		}
	})
}

// TestUsersOfTheDead are given out again after all others.
func TestUsersOfTheDead(t *testing.T) {
	t.Parallel()
	k := &keeper{template: newTemplate(&protocol.Template{})}
	users := k.template.users
	first := users[0]
	k.template.users = users[1:]
	k.template.known[7] = &keeper{epoll: -1, child: &forked{first: 7, user: first, pidfd: -1, door: -1, disk: -1}}
	k.childReaped(7, unix.WaitStatus(0))
	again := k.template.users
	if len(again) != maxChildren || again[len(again)-1] != first || again[0] == first || k.template.known[7] != nil {
		t.Errorf("of %d users %d is next, and the freed one, %d, is not last", len(again), again[0], first)
	}
	seen := map[int]bool{}
	for _, u := range again {
		if u < firstChildUser || u+childUserStep > 1<<16 || u%childUserStep != firstChildUser%childUserStep || seen[u] {
			t.Fatalf("user %d", u)
		}
		seen[u] = true
	}
}
