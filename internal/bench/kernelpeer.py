"""A Jupyter kernel as a peer. "ready" is printed when it answers; after that
each line of standard input is a number of executions of 1+1 to make, and is
answered with one line: the time of each in microseconds, separated by commas.
The first answer begins with the time that the kernel took to start.
"""

import sys
import time

from jupyter_client.manager import start_new_kernel


def main():
    began = time.perf_counter()
    manager, client = start_new_kernel(kernel_name="python3", stderr=sys.stderr)
    times = [time.perf_counter() - began]
    try:
        client.execute("1+1", reply=True, timeout=30)
        print("ready", flush=True)
        for order in sys.stdin:
            for _ in range(int(order)):
                start = time.perf_counter()
                reply = client.execute("1+1", reply=True, timeout=30)
                times.append(time.perf_counter() - start)
                if reply["content"]["status"] != "ok":
                    sys.exit("the kernel answered " + repr(reply["content"]))
            print(",".join(str(int(t * 1e6)) for t in times), flush=True)
            times.clear()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


main()
