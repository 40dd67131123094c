# targets is a list of [key, "tcp" or "udp", address, port].
import socket

for key, kind, address, port in targets:
    def reach():
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.settimeout(2)
        try:
            s.connect((address, port))
            s.send(b"ping")
            if port != 7777:
                return "connected"
            return "answered" if s.recv(4) == b"ping" else "another answer"
        except socket.timeout:
            return "no answer"
    attempt(key, reach, 5)
