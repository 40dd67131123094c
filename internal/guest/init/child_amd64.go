package guestinit

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/channel"
)

// childCodeAddress is where childCode is.
func childCodeAddress() uintptr

// childCodeLimit is more than the code has.
const childCodeLimit = 1 << 10

// childCode is the machine code that a template's children begin with.
func childCode() []byte {
	address := childCodeAddress()
	code := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&address))), childCodeLimit)
	code, _, _ = bytes.Cut(code, bytes.Repeat([]byte{0xF4}, 8))
	return bytes.Clone(code)
}

// rseqSignature is what C libraries register restartable sequences with.
const rseqSignature = 0x53053053

// sharing are three more lists, for children that begin with childCode: what the
// driver asks beforehand, what the first process does before the interpreter shares
// its memory, and what the interpreter does at once when it does.
//
// The first process takes no signal from here on: a handler would run in the
// interpreter's memory. The kernel keeps for each of them where its restartable
// sequences and its robust locks are, which is the interpreter's business only.
func sharing() [][]channel.Call {
	all := bytes.Repeat([]byte{0xff}, 8)
	const rseqSize, unregister = 32, 1
	return [][]channel.Call{
		{
			call("ask for robust locks", unix.SYS_GET_ROBUST_LIST, num(0), channel.Place("robust"), channel.Place("size")),
			call("leave the restartable sequences", unix.SYS_RSEQ, channel.Place("rseq"), num(rseqSize), num(unregister), num(rseqSignature)),
			call("enter the restartable sequences", unix.SYS_RSEQ, channel.Place("rseq"), num(rseqSize), num(0), num(rseqSignature)),
		},
		{
			call("block signals", unix.SYS_RT_SIGPROCMASK, num(unix.SIG_BLOCK), channel.Bytes(all), channel.Place("mask"), num(8)),
			call("leave the restartable sequences", unix.SYS_RSEQ, channel.Place("rseq"), num(rseqSize), num(unregister), num(rseqSignature)),
		},
		{
			call("enter the restartable sequences", unix.SYS_RSEQ, channel.Place("rseq"), num(rseqSize), num(0), num(rseqSignature)),
			call("tell of robust locks", unix.SYS_SET_ROBUST_LIST, channel.Place("locks"), num(24)),
			call("unblock signals", unix.SYS_RT_SIGPROCMASK, num(unix.SIG_SETMASK), channel.Place("mask"), num(0), num(8)),
		},
	}
}
