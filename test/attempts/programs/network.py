import socket, struct, subprocess


def tcp(address, port=80, family=None):
    family = family or (socket.AF_INET6 if ":" in address else socket.AF_INET)
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(3)
    try:
        s.connect((address, port))
        return "connected"
    except socket.timeout:
        return "timeout"
    except OSError as e:
        # Whoever refuses has been reached.
        return "reached: refused by the peer" if e.errno == errno.ECONNREFUSED else name(e.errno)


def udp(address, port=53):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((address, port))
    s.send(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\1a\7example\0\0\1\0\1")
    return "sent"


for a in addresses:
    attempt(f"tcp {a}", lambda: tcp(a))
for a in udp_addresses:
    attempt(f"udp {a}", lambda: udp(a))
for a, port in host_services:
    attempt("host " + {"127.0.0.1": "loopback", "::1": "loopback 6"}.get(a, "own address"), lambda: tcp(a, port))
attempt("control plane", lambda: tcp("127.0.0.1", control_port))
attempt("kubelet", lambda: tcp(host_address, 10250))
attempt("decimal", lambda: tcp("2852039166"))
attempt("hex", lambda: tcp("0xA9FEA9FE"))
attempt("octal", lambda: tcp("0251.0376.0251.0376"))
attempt("zero", lambda: tcp("0.0.0.0", control_port))
attempt("v4 in v6", lambda: tcp("::ffff:169.254.169.254"))
attempt("v4 in v6 of loopback", lambda: tcp("::ffff:127.0.0.1", control_port))
attempt("nat64", lambda: tcp("64:ff9b::a9fe:a9fe"))
attempt("6to4", lambda: tcp("2002:a9fe:a9fe::1"))


def unix(path):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(path)
        return "connected"
    except OSError as e:
        return name(e.errno)


attempt("abstract socket", lambda: unix("\0" + abstract) if inside else "connected")
attempt("abstract sockets listed", lambda: "shown" if abstract in open("/proc/net/unix").read() else "not shown")
for p in "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", keeper_socket:
    attempt(f"socket {'of the keeper' if p == keeper_socket else p}", lambda: unix(p))
attempt("interfaces", lambda: " ".join(n for _, n in socket.if_nameindex()) if inside else "outside")
attempt("routes", lambda: "none" if len(open("/proc/net/route").read().strip().split("\n")) <= 1 else "some")


def resolve(host):
    try:
        return socket.getaddrinfo(host, 80)[0][4][0]
    except socket.gaierror as e:
        return "not resolved"


for host in "example.com", "metadata.google.internal", "metadata", "host.docker.internal", "kubernetes.default.svc", "a1b2c3d4e5f6.attacker.example":
    attempt(f"name {host}", lambda: resolve(host))


def address_of_ours(action):
    """gives the loopback interface another address, or brings up a new interface, over netlink"""
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.bind((0, 0))
    if action == "address":
        body = struct.pack("BBBBI", 2, 8, 0, 0, 1) + struct.pack("HH4s", 8, 2, bytes([10, 9, 8, 7])) + struct.pack("HH4s", 8, 1, bytes([10, 9, 8, 7]))
        kind, flags = 20, 0x605
    elif action == "route":
        body = struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("HHI", 8, 4, 1)
        kind, flags = 24, 0x605
    else:
        info = struct.pack("HH", 10, 1) + b"dummy\0\0\0"
        body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + struct.pack("HH", 4 + len(info), 18) + info
        kind, flags = 16, 0x605
    s.send(struct.pack("IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    answer = s.recv(4096)
    error = struct.unpack("i", answer[16:20])[0]
    if error:
        raise OSError(-error, "")


for action in "address", "route", "link":
    attempt(f"netlink {action}", lambda: address_of_ours(action))


def option(level, number, value=b"\1\0\0\0"):
    socket.socket(socket.AF_INET).setsockopt(level, number, value)


attempt("bind to device", lambda: option(socket.SOL_SOCKET, 25, b"lo\0"))
attempt("mark", lambda: option(socket.SOL_SOCKET, 36))
attempt("transparent", lambda: option(socket.SOL_IP, 19))
attempt("spoofed source", lambda: socket.socket().bind(("8.8.8.8", 0)))
attempt("low port", lambda: socket.create_server(("127.0.0.1", 80)).close() or ("own port only" if inside else "done"))
attempt("scan loopback", lambda: f"{sum(tcp('127.0.0.1', p) == 'connected' for p in [22, 80, 443, 2024, 2375, 5432, 6443, 8080, 9090, 10250, control_port])} open")


def own():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    client.send(b"ping")
    return "works" if server.accept()[0].recv(4) == b"ping" else "broken"


attempt("own loopback", own)
