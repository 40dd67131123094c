package seccomp

import (
	"encoding/binary"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data. All machines here are little-endian.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// x32Bit marks calls of amd64's x32 interface, which have numbers of their own.
const x32Bit = 0x40000000

// machine is what differs between processors.
type machine struct {
	arch    uint32 // AUDIT_ARCH_*
	numbers []call
}

func machineOf(goarch string) (machine, error) {
	switch goarch {
	case "amd64":
		return machine{arch: unix.AUDIT_ARCH_X86_64, numbers: numbersAMD64}, nil
	case "arm64":
		return machine{arch: unix.AUDIT_ARCH_AARCH64, numbers: numbersARM64}, nil
	default:
		return machine{}, fmt.Errorf("there is no system call table for %s", goarch)
	}
}

// Program returns the filter of this machine in the form that the kernel takes:
// eight bytes an instruction, native byte order.
func Program() ([]byte, error) {
	return assemble(func(m machine) []bpf.Instruction { return m.compile(m.answers(rules()), notThere) })
}

// Template returns the filter of a template, which differs from Program's in
// that its children can be made and can finish their own fence: one clone with
// exactly the given flags, mounts, one set of further namespaces, one more filter.
func Template(cloneFlags, ownFlags uint32) ([]byte, error) {
	return assemble(func(m machine) []bpf.Instruction {
		return m.compile(m.answers(templateRules(cloneFlags, ownFlags)), notThere)
	})
}

// Child returns the filter that a template's child adds. It takes away what
// Template allows, so that both together answer as Program does.
func Child() ([]byte, error) {
	return assemble(func(m machine) []bpf.Instruction { return m.compile(m.only(childRules()), Allow) })
}

func assemble(compile func(machine) []bpf.Instruction) ([]byte, error) {
	m, err := machineOf(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(compile(m))
	if err != nil {
		return nil, fmt.Errorf("assemble the system call filter: %w", err)
	}
	b := make([]byte, 0, 8*len(raw))
	for _, in := range raw {
		b = binary.NativeEndian.AppendUint16(b, in.Op)
		b = append(b, in.Jt, in.Jf)
		b = binary.NativeEndian.AppendUint32(b, in.K)
	}
	return b, nil
}

// Number returns the number of a system call of this machine.
func Number(name string) (int, bool) {
	m, err := machineOf(runtime.GOARCH)
	if err != nil {
		return 0, false
	}
	for _, c := range m.numbers {
		if c.name == name {
			return int(c.number), true
		}
	}
	return 0, false
}

// span is a range of numbers, up to the next span, with one answer.
type span struct {
	from uint32
	rule rule
}

// compile makes the whole program; otherwise is for numbers without an answer.
func (m machine) compile(answers map[uint32]rule, otherwise Action) []bpf.Instruction {
	tree := search(spans(answers, otherwise))
	head := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: m.arch, SkipTrue: 1},
		bpf.RetConstant{Val: uint32(notThere)}, // another machine's calls
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	return append(head, tree...)
}

// spans covers every 32-bit number. x32 calls come after all the others and so
// belong to the last span, which in a whole filter refuses.
func spans(answers map[uint32]rule, otherwise Action) []span {
	numbers := make([]uint32, 0, len(answers))
	for n := range answers {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	spans := []span{{rule: rule{otherwise: otherwise}}}
	add := func(from uint32, r rule) {
		last := &spans[len(spans)-1]
		if len(r.clauses) == 0 && len(last.rule.clauses) == 0 && r.otherwise == last.rule.otherwise {
			return
		}
		if last.from == from {
			last.rule = r
			return
		}
		spans = append(spans, span{from: from, rule: r})
	}
	for _, n := range numbers {
		add(n, answers[n])
		add(n+1, rule{otherwise: otherwise})
	}
	return merge(spans)
}

// merge joins neighbors with the same answer, which add's replacing can make.
func merge(spans []span) []span {
	merged := spans[:1]
	for _, s := range spans[1:] {
		last := merged[len(merged)-1].rule
		if len(s.rule.clauses) == 0 && len(last.clauses) == 0 && s.rule.otherwise == last.otherwise {
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// answers are the rules of every number that is not simply unknown. special are
// those by name that differ from the lists.
func (m machine) answers(special map[string]rule) map[uint32]rule {
	byName := make(map[string]rule, len(allowed)+len(dangerous))
	for _, name := range allowed {
		byName[name] = rule{otherwise: Allow}
	}
	for _, name := range dangerous {
		byName[name] = rule{otherwise: refused}
	}
	maps.Copy(byName, special)
	return m.only(byName)
}

// only gives rules their numbers. A name that the machine does not have is left
// out.
func (m machine) only(byName map[string]rule) map[uint32]rule {
	answers := map[uint32]rule{}
	for _, c := range m.numbers {
		if r, ok := byName[c.name]; ok && c.number < x32Bit {
			answers[c.number] = r
		}
	}
	return answers
}

// search emits a binary search with the number in A.
func search(spans []span) []bpf.Instruction {
	if len(spans) == 1 {
		return spans[0].rule.emit()
	}
	middle := len(spans) / 2
	low, high := search(spans[:middle]), search(spans[middle:])
	var prog []bpf.Instruction
	if len(low) <= 255 { // the reach of a conditional jump
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[middle].from, SkipTrue: uint8(len(low))})
	} else {
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[middle].from, SkipFalse: 1},
			bpf.Jump{Skip: uint32(len(low))})
	}
	return append(append(prog, low...), high...)
}

// emit looks at the arguments and answers.
func (r rule) emit() []bpf.Instruction {
	var prog []bpf.Instruction
	for _, c := range r.clauses {
		prog = append(prog, c.emit()...)
	}
	return append(prog, bpf.RetConstant{Val: uint32(r.otherwise)})
}

// emit answers if all conditions hold and falls through if not.
func (c clause) emit() []bpf.Instruction {
	prog := []bpf.Instruction{bpf.RetConstant{Val: uint32(c.do)}}
	for _, w := range slices.Backward(c.when) {
		test := []bpf.Instruction{bpf.LoadAbsolute{Off: uint32(offArgs + 8*w.arg), Size: 4}}
		if w.mask != 0 {
			test = append(test, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: w.mask})
		}
		jump := bpf.JumpIf{Cond: bpf.JumpEqual, Val: w.value, SkipFalse: uint8(len(prog))}
		if w.not {
			jump.Cond = bpf.JumpNotEqual
		}
		prog = append(append(test, jump), prog...)
	}
	return prog
}
