#include "textflag.h"

// The machine code that a template's child runs. It is not called here: the
// template's driver has a copy of it and calls that as a C function, with the address
// of a plan in DI. It returns the clone's number, or an error, in the template, and 0
// in the interpreter. child_amd64.go has the words of a plan and of a call, the steps,
// and what else has to change with them.
//
// It keeps to registers that system calls leave alone (they change AX, CX and R11): BX
// the plan, R12 the call that it makes, R13 the interpreter's number, R15 which list
// it is (0 the first process's, 1 the interpreter's, 2 the first process's last). N(SP)
// is the real stack pointer's: there is no frame.
TEXT ·childMachine(SB), NOSPLIT|NOFRAME, $0-0
	PUSHQ	BX
	PUSHQ	BP
	PUSHQ	R12
	PUSHQ	R13
	PUSHQ	R14
	PUSHQ	R15
	MOVQ	DI, BX

	MOVL	$56, AX // clone, on a copy of this stack
	MOVQ	0(BX), DI
	XORL	SI, SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	SYSCALL
	TESTQ	AX, AX
	JNZ	back // in the template

	MOVQ	24(BX), R12
	XORL	R15, R15
	JMP	run

// second is where the first list ends.
second:
	MOVL	$56, AX // clone: the interpreter goes on with this memory and on this stack
	MOVL	$0x01000111, DI // CLONE_VM, CLONE_CHILD_SETTID, SIGCHLD
	XORL	SI, SI
	XORL	DX, DX
	MOVQ	8(BX), R10
	XORL	R8, R8
	SYSCALL
	TESTQ	AX, AX
	JZ	interpreter
	MOVQ	16(BX), SP // the first process never touches that stack again
	JS	leave // of the test: MOVQ leaves the flags alone
	MOVQ	AX, R13
	MOVQ	40(BX), R12
	MOVL	$2, R15
	JMP	run

interpreter:
	MOVQ	32(BX), R12
	MOVL	$1, R15
	JMP	run

// wait reaps whatever ends, orphans too. The status is below the stack pointer: no
// signal comes that would write there.
wait:
	MOVL	$61, AX // wait4
	MOVQ	$-1, DI
	LEAQ	-32(SP), SI
	XORL	DX, DX
	XORL	R10, R10
	SYSCALL
	CMPQ	AX, R13
	JEQ	ended
	TESTQ	AX, AX
	JNS	wait
	CMPQ	AX, $-4 // EINTR
	JEQ	wait
	JMP	leave

ended:
	MOVB	$0x73, -33(SP) // s, and the status after it
	MOVL	$1, AX // write
	XORL	DI, DI // the door
	LEAQ	-33(SP), SI
	MOVL	$5, DX
	SYSCALL
	MOVL	$231, AX // exit_group
	XORL	DI, DI
	SYSCALL

// back returns to the driver, in the template and in the interpreter.
back:
	POPQ	R15
	POPQ	R14
	POPQ	R13
	POPQ	R12
	POPQ	BP
	POPQ	BX
	RET

// run makes the calls of a list, whose end has the number -1.
run:
	MOVQ	0(R12), AX
	CMPQ	AX, $-1
	JEQ	done
	MOVQ	8(R12), DI
	MOVQ	16(R12), SI
	MOVQ	24(R12), DX
	MOVQ	32(R12), R10
	MOVQ	40(R12), R8
	MOVQ	48(R12), R9
	SYSCALL
	CMPQ	AX, 56(R12)
	JLT	failed
	ADDQ	$80, R12
	JMP	run

done:
	CMPL	R15, $1
	JLT	second
	JGT	wait
	XORL	AX, AX
	JMP	back

// failed writes the words of the call, with the number of the error in their last
// four places.
failed:
	NEGQ	AX
	MOVQ	64(R12), SI
	MOVQ	72(R12), R14
	LEAQ	(SI)(R14*1), R8
	LEAQ	-4(R8), R10
	MOVL	$10, R9

digit:
	DECQ	R8
	XORL	DX, DX
	DIVQ	R9
	ADDB	$0x30, DX
	MOVB	DX, (R8)
	CMPQ	R8, R10
	JHI	digit
	MOVL	$1, AX // write
	XORL	DI, DI // the door
	MOVQ	R14, DX
	SYSCALL

leave:
	MOVL	$231, AX // exit_group
	MOVL	$1, DI
	SYSCALL

	// childCodeEnd.
	BYTE	$0xF4
	BYTE	$0xF4
	BYTE	$0xF4
	BYTE	$0xF4
	BYTE	$0xF4
	BYTE	$0xF4
	BYTE	$0xF4
	BYTE	$0xF4
	RET

// func childCodeAddress() uintptr
TEXT ·childCodeAddress(SB), NOSPLIT, $0-8
	LEAQ	·childMachine(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
