package guestinit

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/channel"
)

// # The machine code of a template's children
//
// child_amd64.s has one function. It is never called in this process: the keeper sends
// a copy of it with the Template frame, and the template's driver puts that in a page
// of its own and calls it, as a C function with one argument, for each child. So it
// must not refer to anything outside itself, must have no stack frame or prologue of
// Go's, and may use the stack and the system calls only.
//
// Its argument is a plan, which the driver writes once (by_code in
// ../drivers/driver_template.py). All its words have eight bytes:
//
//	 0  flags of the first clone, as in the list of that name
//	 8  where the C library keeps the thread's number, for CLONE_CHILD_SETTID
//	16  the top of the stack on which the first process waits
//	24  the list of calls that the first process makes before it clones the interpreter
//	32  the list of the interpreter
//	40  the list of the first process once the interpreter is there
//
// A list is the address of its calls, one after the other, of ten words each:
//
//	 0  the number of the system call; -1 ends the list, and only this word is there
//	 8  its six arguments
//	56  the least result that is no failure: 0, or 1 of a call that has to receive a byte
//	64  what is written to the door (descriptor 0) if it fails, with four places for the
//	    number of the error at its end
//	72  how long that is
//
// One list after the other, in the order of the words, the code is these steps: clone
// the first process, on a copy of the memory, while the template returns with its
// number; make its list; clone the interpreter, which keeps this memory and this stack
// (CLONE_VM) and returns 0 from the function after its own list; in the first process,
// go over to the other stack at once, since the interpreter goes on with this one; make
// the last list; then reap until the interpreter has ended, and tell its status. After
// the second clone the first process writes to the page of its stack and of what its
// lists receive, and to no other: each would have to be copied, and the interpreter
// would see it.
//
// Whoever changes the words of a plan or a call changes them here, in child_amd64.s, in
// by_code and in changes of ../../engine/local/template_hostile_test.go. The driver
// takes this way only where it knows its C library (find_places: glibc); elsewhere it
// makes the calls in its own words. TestForkIsWhole wants that this way is taken, and
// that what comes of it is whole.

// childCodeAddress is where the code is.
func childCodeAddress() uintptr

// childCodeLimit is more than the code has, and less than the driver has room for.
const childCodeLimit = 1 << 10

// childCodeEnd is what the code ends with: eight HLT, which nobody reaches and which
// would end whoever did. The linker does not tell how long a function is.
var childCodeEnd = bytes.Repeat([]byte{0xF4}, 8)

// childCode is the machine code that a template's children begin with.
func childCode() []byte {
	address := childCodeAddress()
	code := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&address))), childCodeLimit)
	code, _, _ = bytes.Cut(code, childCodeEnd)
	return bytes.Clone(code)
}

// rseqSignature is what C libraries register restartable sequences with.
const rseqSignature = 0x53053053

// sharing are four more lists, for children that begin with childCode: what the
// driver asks beforehand, what the first process does at first, what it does before
// the interpreter shares its memory, and what the interpreter does at once when it does.
//
// The first process takes no signal from its begin on, but that which it waits for: a
// handler would run in the interpreter's memory. The kernel keeps for each of them where its restartable
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
		},
		{
			call("leave the restartable sequences", unix.SYS_RSEQ, channel.Place("rseq"), num(rseqSize), num(unregister), num(rseqSignature)),
		},
		{
			call("enter the restartable sequences", unix.SYS_RSEQ, channel.Place("rseq"), num(rseqSize), num(0), num(rseqSignature)),
			call("tell of robust locks", unix.SYS_SET_ROBUST_LIST, channel.Place("locks"), num(24)),
			call("tell of the thread's number", unix.SYS_SET_TID_ADDRESS, channel.Place("tid")), // whoever joins the thread waits there
			call("unblock signals", unix.SYS_RT_SIGPROCMASK, num(unix.SIG_SETMASK), channel.Place("mask"), num(0), num(8)),
		},
	}
}
