package seccomp

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var machines = []string{"amd64", "arm64"}

// filter runs a compiled program the way the kernel does.
type filter struct {
	machine
	vm *bpf.VM
}

func newFilter(t testing.TB, goarch string) filter {
	t.Helper()
	return compiled(t, goarch, func(m machine) []bpf.Instruction { return m.compile(m.answers(rules()), notThere) })
}

func compiled(t testing.TB, goarch string, compile func(machine) []bpf.Instruction) filter {
	t.Helper()
	m, err := machineOf(goarch)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(compile(m))
	if err != nil {
		t.Fatal(err)
	}
	return filter{machine: m, vm: vm}
}

func (f filter) number(t testing.TB, name string) uint32 {
	t.Helper()
	i := slices.IndexFunc(f.numbers, func(c call) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("no call %q", name)
	}
	return f.numbers[i].number
}

// run answers a call. The VM loads words in network order, so the data is
// written that way.
func (f filter) run(t testing.TB, arch, number uint32, args ...uint64) Action {
	t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	v, err := f.vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return Action(uint32(v))
}

// interpret is the policy without the compiler: what every call must get.
func interpret(answers map[uint32]rule, number uint32, args []uint64) Action {
	r, ok := answers[number]
	if !ok {
		return notThere
	}
	for _, c := range r.clauses {
		if !slices.ContainsFunc(c.when, func(w condition) bool {
			mask := w.mask
			if mask == 0 {
				mask = 0xffffffff
			}
			return (uint32(args[w.arg])&mask == w.value) == w.not
		}) {
			return c.do
		}
	}
	return r.otherwise
}

func TestEveryNumber(t *testing.T) {
	t.Parallel()
	for _, goarch := range machines {
		f := newFilter(t, goarch)
		answers := f.answers(rules())
		args := make([]uint64, 6)
		for n := range uint32(2048) {
			if got, want := f.run(t, f.arch, n, args...), interpret(answers, n, args); got != want {
				t.Errorf("%s: call %d got %#x, want %#x", goarch, n, got, want)
			}
			if got := f.run(t, f.arch, n|x32Bit, args...); got != notThere {
				t.Errorf("%s: x32 call %d got %#x", goarch, n, got)
			}
			for _, arch := range []uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, 0} {
				if got := f.run(t, arch, n, args...); got != notThere {
					t.Errorf("%s: call %d of machine %#x got %#x", goarch, n, arch, got)
				}
			}
		}
	}
}

// TestCompiler compares the program with the policy for any number and any
// arguments, which the compiler's tree and jumps must not change.
func TestCompiler(t *testing.T) {
	t.Parallel()
	for _, goarch := range machines {
		f := newFilter(t, goarch)
		answers := f.answers(rules())
		ruled := []uint32{}
		for n, r := range answers {
			if len(r.clauses) > 0 {
				ruled = append(ruled, n)
			}
		}
		slices.Sort(ruled)
		arg := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 64), rapid.SampledFrom([]uint64{
			unix.CLONE_NEWUSER, unix.CLONE_NEWTIME, unix.SOCK_RAW | unix.SOCK_CLOEXEC, unix.AF_PACKET, unix.TIOCSTI, unix.S_IFCHR, unix.S_IFIFO | 0o644, 0xffffffff,
		}))
		rapid.Check(t, func(r *rapid.T) {
			n := rapid.OneOf(rapid.SampledFrom(ruled), rapid.Uint32Range(0, 500), rapid.Uint32()).Draw(r, "number")
			args := rapid.SliceOfN(arg, 6, 6).Draw(r, "args")
			if got, want := f.run(t, f.arch, n, args...), interpret(answers, n, args); got != want {
				r.Errorf("%s: call %d%v got %#x, want %#x", goarch, n, args, got, want)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		call string
		args []uint64
		want Action
	}{
		{"read", nil, Allow},
		{"execve", nil, Allow},
		{"clone3", nil, notThere},
		{"clone", []uint64{unix.CLONE_VM | unix.CLONE_THREAD | uint64(unix.SIGCHLD)}, Allow},
		{"clone", []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, refused},
		{"clone", []uint64{1<<32 | unix.CLONE_NEWNET}, refused},
		{"unshare", []uint64{unix.CLONE_NEWNS}, refused},
		{"unshare", []uint64{unix.CLONE_NEWTIME}, refused},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0}, Allow},
		{"socket", []uint64{unix.AF_INET6, unix.SOCK_DGRAM, udp}, Allow},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_RAW, udp}, refused},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_DGRAM, icmp4}, refused},
		{"socket", []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, Allow},
		{"socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, Allow},
		{"socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, noFamily},
		{"socket", []uint64{unix.AF_PACKET, unix.SOCK_RAW, 3}, refused},
		{"socket", []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, noFamily},
		{"socket", []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, noFamily},
		{"socket", []uint64{1<<32 | unix.AF_PACKET, unix.SOCK_RAW, 0}, refused},
		{"ioctl", []uint64{0, unix.TIOCSTI}, refused},
		{"ioctl", []uint64{0, 0xf<<32 | unix.TIOCLINUX}, refused},
		{"ioctl", []uint64{0, unix.TIOCGWINSZ}, Allow},
		{"prctl", []uint64{unix.PR_SET_NAME}, Allow},
		{"prctl", []uint64{unix.PR_SET_MM}, invalid},
		{"prctl", []uint64{unix.PR_SET_SECCOMP}, invalid},
		{"personality", []uint64{0xffffffff}, Allow},
		{"personality", []uint64{0x0400000}, refused},
		{"mknodat", []uint64{0, 0, unix.S_IFIFO | 0o600}, Allow},
		{"mknodat", []uint64{0, 0, unix.S_IFCHR | 0o600}, refused},
		{"mknodat", []uint64{0, 0, unix.S_IFBLK | 0o600}, refused},
		{"mount", nil, refused},
		{"bpf", nil, refused},
		{"io_uring_setup", nil, refused},
		{"keyctl", nil, refused},
		{"ptrace", nil, refused},
		{"open_by_handle_at", nil, refused},
		{"seccomp", nil, notThere},
		{"statmount", nil, notThere},
	}
	for _, goarch := range machines {
		f := newFilter(t, goarch)
		for _, tt := range tests {
			args := append(slices.Clone(tt.args), make([]uint64, 6-len(tt.args))...)
			if got := f.run(t, f.arch, f.number(t, tt.call), args...); got != tt.want {
				t.Errorf("%s: %s%#x got %#x, want %#x", goarch, tt.call, tt.args, got, tt.want)
			}
		}
	}
}

// TestLists finds misspelled names and names with two answers.
func TestLists(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, c := range append(slices.Clone(numbersAMD64), numbersARM64...) {
		known[c.name] = true
	}
	seen := map[string]bool{}
	names := append(slices.Clone(allowed), dangerous...)
	for name := range rules() {
		names = append(names, name)
	}
	for _, name := range names {
		if !known[name] {
			t.Errorf("no machine has a call %q", name)
		}
		if seen[name] {
			t.Errorf("%q has two answers", name)
		}
		seen[name] = true
	}
}

// TestProgram checks what the kernel would refuse or make slow.
func TestProgram(t *testing.T) {
	t.Parallel()
	for _, goarch := range machines {
		m, err := machineOf(goarch)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := bpf.Assemble(m.compile(m.answers(rules()), notThere))
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 1024 {
			t.Errorf("%s: %d instructions; the kernel takes 4096, and long is slow", goarch, len(raw))
		}
		if depth := depth(m.compile(m.answers(rules()), notThere), 0); depth > 128 { // prctl, at its last option
			t.Errorf("%s: %d instructions on the longest way", goarch, depth)
		}
	}
	if _, err := machineOf("mips"); err == nil {
		t.Error("an unknown machine has a table")
	}
	if b, err := Program(); err != nil || len(b)%8 != 0 || len(b) == 0 {
		t.Errorf("Program: %d bytes, %v", len(b), err)
	}
}

// depth is the longest way through a program.
func depth(prog []bpf.Instruction, at int) int {
	n := 0
	for {
		n++
		switch in := prog[at].(type) {
		case bpf.RetConstant:
			return n
		case bpf.Jump:
			at += 1 + int(in.Skip)
		case bpf.JumpIf:
			return n + max(depth(prog, at+1+int(in.SkipTrue)), depth(prog, at+1+int(in.SkipFalse)))
		default:
			at++
		}
	}
}
