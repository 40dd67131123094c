"""The floor under a fresh execution: a started Python that forks itself with one
clone into seven namespaces, where the child compiles and runs one line.

usage: python3 -I -S bareloop.py LINE [MODULE...]

The modules are imported first, then "ready" is printed. After that each line
of standard input is an order, "seconds N" or "count N", and is answered with
one line: forks done, seconds taken, the forks' median and 99th percentile in
microseconds from the clone to the first byte of what the line printed.
"""

import ctypes
import os
import platform
import sys
import time

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
SIGCHLD = 17
FLAGS = NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | NEWCGROUP | SIGCHLD
CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]


def main():
    line, modules = sys.argv[1], sys.argv[2:]
    for name in modules:
        __import__(name)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(writer)
    # PyDLL keeps the interpreter's lock over the call, so that the child has it.
    syscall = ctypes.PyDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    arguments = [ctypes.c_long(n) for n in (CLONE, FLAGS, 0, 0, 0, 0)]

    def fork():
        start = time.perf_counter()
        pid = syscall(*arguments)
        if pid == 0:
            exec(compile(line, "<line>", "exec"), {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)
        if pid < 0:
            sys.exit("clone: " + os.strerror(ctypes.get_errno()))
        said = os.read(reader, 64)
        took = time.perf_counter() - start
        _, status = os.waitpid(pid, 0)
        if status != 0 or said != b"1\n":
            sys.exit(f"the child printed {said!r} and ended with status {status}")
        return took

    print("ready", file=answers)
    for order in sys.stdin:
        kind, amount = order.split()
        began, took = time.perf_counter(), []
        while (time.perf_counter() - began < float(amount)) if kind == "seconds" else (len(took) < int(amount)):
            took.append(fork())
        elapsed = time.perf_counter() - began
        took.sort()
        middle, late = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
        print(len(took), f"{elapsed:.6f}", int(middle * 1e6), int(late * 1e6), file=answers)


main()
