# A host of the test, in a network namespace of its own: it answers on every address by TCP and UDP.
import os, socket, sys, threading


def tcp():
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", 7777))
    s.listen(128)
    print("listens", flush=True)
    while True:
        c = s.accept()[0]
        threading.Thread(target=echo, args=(c,), daemon=True).start()


def echo(c):
    while True:
        data = c.recv(100)
        if not data:
            return
        c.sendall(data)


def udp(address):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND: the address comes later
    s.bind((address, 7777))
    while True:
        data, who = s.recvfrom(100)
        s.sendto(data, who)


# A socket for each address, so that answers come from the one that was asked.
for address in sys.argv[1:]:
    threading.Thread(target=udp, args=(address,), daemon=True).start()
threading.Thread(target=tcp, daemon=True).start()
sys.stdin.read()  # until the test ends
