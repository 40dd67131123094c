package seccomp

import (
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const someFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_PARENT | uint32(unix.SIGCHLD)

const ownFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP

// stricter is what the kernel answers when two filters do: the lower action, and
// of two errors the one of the filter that was installed last.
func stricter(first, last Action) Action {
	if last == Allow {
		return first
	}
	return last
}

// TestTemplateAndChildAreTheWhole compares, for every number and telling
// arguments, the two filters of a forked instance with the one of any other.
func TestTemplateAndChildAreTheWhole(t *testing.T) {
	t.Parallel()
	values := []uint64{
		0, 1, 2, 3, 9, 24, uint64(someFlags), unix.CLONE_NEWCGROUP, unix.CLONE_NEWUSER, unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP,
		unix.PR_CAPBSET_DROP, unix.PR_SET_SECCOMP, unix.AF_PACKET, unix.S_IFCHR, 0xffffffff,
	}
	for _, goarch := range machines {
		whole := newFilter(t, goarch)
		template := compiled(t, goarch, func(m machine) []bpf.Instruction {
			return m.compile(m.answers(templateRules(someFlags, ownFlags)), notThere)
		})
		child := compiled(t, goarch, func(m machine) []bpf.Instruction { return m.compile(m.only(childRules()), Allow) })
		more := 0
		for n := range uint32(1024) {
			for _, a := range values {
				for _, b := range values {
					want := whole.run(t, whole.arch, n, a, b)
					first := template.run(t, whole.arch, n, a, b)
					if first != want {
						more++
					}
					if got := stricter(first, child.run(t, whole.arch, n, a, b)); got != want {
						t.Fatalf("%s: call %d(%#x, %#x) is answered %#x by both filters, %#x by the whole", goarch, n, a, b, got, want)
					}
				}
			}
		}
		if more == 0 {
			t.Errorf("%s: the template's filter allows nothing more, so nothing was compared", goarch)
		}
	}
}

// TestTemplateClonesOneWay checks that no other set of namespaces can be made.
func TestTemplateClonesOneWay(t *testing.T) {
	t.Parallel()
	f := compiled(t, "amd64", func(m machine) []bpf.Instruction {
		return m.compile(m.answers(templateRules(someFlags, ownFlags)), notThere)
	})
	clone := f.number(t, "clone")
	for flags, want := range map[uint32]Action{
		someFlags:                      Allow,
		uint32(unix.SIGCHLD):           Allow,
		someFlags &^ unix.CLONE_NEWNS:  refused,
		someFlags | unix.CLONE_NEWPID:  refused,
		unix.CLONE_NEWUSER:             refused,
		someFlags &^ unix.CLONE_PARENT: refused,
	} {
		if got := f.run(t, f.arch, clone, uint64(flags)); got != want {
			t.Errorf("clone with %#x got %#x, want %#x", flags, got, want)
		}
	}
	if got := f.run(t, f.arch, f.number(t, "clone3")); got != notThere {
		t.Errorf("clone3 got %#x", got)
	}
}
