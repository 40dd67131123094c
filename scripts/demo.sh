#!/usr/bin/env bash
# Shows the main job on this machine: starts bin/remuda on loopback with a temporary data directory, defines runtimes, runs
# real scripts through the real API (with curl) and through the CLI, tries to break out and to break things, prints what
# happened and where the time went, stops the server and proves that nothing of it is left. Anything unexpected fails it.
# `make demo` installs what is missing and builds first.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$PWD/bin/remuda
work=$(mktemp -d /tmp/remuda-demo-XXXXXX)
data=$work/data
server=
failures=0
seen_pids=$work/pids
seen_spaces=$work/spaces
touch "$seen_pids" "$seen_spaces"

say() { printf '\n== %s\n' "$*"; }
line() { printf '   %s\n' "$*"; }
bad() {
	printf '   UNEXPECTED: %s\n' "$*"
	failures=$((failures + 1))
}

# expect WHAT GOT WANTED: one line, and a failure when they differ.
expect() {
	if [ "$2" = "$3" ]; then line "$1: $2"; else bad "$1: got '$2', wanted '$3'"; fi
}

stop_server() {
	[ -n "$server" ] || return 0
	kill -TERM "$server" 2>/dev/null || true
	local status=0
	wait "$server" || status=$?
	server=
	return "$status"
}
cleanup() {
	stop_server || true
	rm -rf "$work"
}
trap cleanup EXIT

# api METHOD PATH [curl arguments]: one exchange; the body goes to standard output.
api() {
	local method=$1 path=$2
	shift 2
	curl --silent --show-error --fail-with-body --request "$method" --header "Authorization: Bearer $REMUDA_TOKEN" \
		"$@" "$REMUDA_URL$path" || { bad "$method $path failed" >&2; return 1; }
}
# post PATH JSON
post() { api POST "$1" --header 'Content-Type: application/json' --data-binary "$2"; }
# field NAME: a field of the JSON on standard input, like error.type; nothing for null.
field() {
	python3 -c '
import json, sys
v = json.load(sys.stdin)
for k in sys.argv[1].split("."):
    v = v[int(k)] if isinstance(v, list) else v.get(k) if isinstance(v, dict) else None
print("" if v is None else v if isinstance(v, str) else json.dumps(v))' "$1"
}
# text FILE: the file as a JSON string.
text() { python3 -c 'import json, sys; print(json.dumps(open(sys.argv[1]).read()))' "$1"; }
# stages: where the time of the execution on standard input went.
stages() {
	python3 -c '
import json, sys
t = json.load(sys.stdin)["timings_us"]
order = ["queue", "lease", "create", "fence", "interpreter", "send", "run", "record", "total"]
print("   stages: " + "  ".join("%s %.2f ms" % (k, t[k] / 1000) for k in order if k in t))'
}
# look: remembers the processes and network namespaces of the server's sandboxes, to ask for them at the end.
look() {
	local herd pid
	herd=$(cat "$data/herd")
	for pid in $(find /sys/fs/cgroup -maxdepth 8 -path "*remuda-$herd*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un); do
		echo "$pid $(awk '{print $22}' "/proc/$pid/stat" 2>/dev/null)" >>"$seen_pids"
		readlink "/proc/$pid/ns/net" >>"$seen_spaces" 2>/dev/null || true
	done
}

say "start the server on loopback, with a temporary data directory"
[ "$(id -u)" = 0 ] || { echo "the demo makes real sandboxes (namespaces, cgroups, mounts): run it as root" >&2; exit 1; }
unset "${!REMUDA_@}"
"$bin" doctor -o json >"$work/doctor.json" || { "$bin" doctor || true; exit 1; }
line "$(python3 -c 'import json, sys; f = json.load(open(sys.argv[1])); print(len(f), "checks of this machine, each by trying: all fine")' "$work/doctor.json")"
cp /proc/self/mountinfo "$work/mounts.before"
# A wheel of our own, so that no index is needed.
mkdir "$work/wheels"
python3 - "$work/wheels" <<'PY'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/remuda_demo_saddle-1.2-py3-none-any.whl", "w") as z:
    z.writestr("saddle.py", "def fit(n):\n    return 2 * n\n")
    info = "remuda_demo_saddle-1.2.dist-info/"
    z.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: remuda-demo-saddle\nVersion: 1.2\n")
    z.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr(info + "RECORD", "saddle.py,,\n" + "".join(info + name + ",,\n" for name in ("METADATA", "WHEEL", "RECORD")))
PY
# At the end nothing is to be left: this server closes its runspaces when it is stopped. The default keeps them.
start_server() {
	: >"$work/events"
	"$bin" serve --data "$data" --packages-wheel-dir "$work/wheels" --runspace-on-stop close --listen 127.0.0.1:0 --log-format json >"$work/events" 2>>"$work/log" &
	server=$!
	for _ in $(seq 300); do
		grep -q '"listening"' "$work/events" && break
		kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
		sleep 0.1
	done
	REMUDA_URL=$(grep '"listening"' "$work/events" | field url)
	export REMUDA_URL
}
start_server
password=$(grep '"admin_created"' "$work/events" | field password)
line "$REMUDA_URL, first start, random password printed once"

say "log in with curl and the password; from then on with a token"
REMUDA_TOKEN=$(curl --silent --show-error --fail-with-body --user "admin:$password" --header 'Content-Type: application/json' \
	--data '{"name": "demo", "scope": "write"}' "$REMUDA_URL/v1/tokens" | field token)
export REMUDA_TOKEN
expect "without a token" "$(curl --silent --output /dev/null --write-out '%{http_code}' "$REMUDA_URL/v1/runtimes")" 401

say "define runtimes: python with warm instances, node, bash"
limits='"resources": {"cpu": 1, "memory_mb": 128, "disk_mb": 32, "pids": 32}, "exec_timeout_s": 30'
post /v1/runtimes '{"name": "demo-py", "language": "python", '"$limits"', "pool": {"min_cached": 2, "max_cached": 4}}' >/dev/null
post /v1/runtimes '{"name": "demo-cold", "language": "python", '"$limits"', "pool": {"min_cached": 0, "max_cached": 0}}' >/dev/null
"$bin" runtime create demo-sh -l bash --memory-mb 128 --disk-mb 32 --pids 32 --exec-timeout 30s >/dev/null
"$bin" runtime create demo-js -l node --memory-mb 512 --disk-mb 32 --pids 64 --exec-timeout 30s >/dev/null
"$bin" runtime list | cut -c1-100 | sed 's/^/   /'

say "one script, cold and warm: value, arguments, parameters, standard input, output"
cat >"$work/job.py" <<'PY'
import sys
print("arguments", sys.argv[1:], "read", repr(sys.stdin.read()))
{"double": n * 2, "who": who}
PY
for runtime in demo-cold demo-py; do
	for _ in $(seq 100); do # the pool fills in the background
		[ $runtime = demo-cold ] && break
		api GET /metrics | grep -q 'remuda_instances{.*state="ready".*} 2' && break
		sleep 0.05
	done
	post '/v1/executions?wait=30s' '{"runtime": "'$runtime'", "script": '"$(text "$work/job.py")"', "args": ["a", "b"],
		"parameters": {"n": 21, "who": "Ada"}, "stdin": "hello"}' >"$work/ex.json"
	look
	expect "$runtime" "$(field state <"$work/ex.json") $(field value.json <"$work/ex.json") fresh=$(field fresh <"$work/ex.json")" \
		'success {"double": 42, "who": "Ada"} fresh=true'
	line "output: $("$bin" exec output "$(field id <"$work/ex.json")")"
	stages <"$work/ex.json"
done

say "an error has the script's own line numbers; rich output comes as it is"
post '/v1/executions?wait=30s' '{"runtime": "demo-py", "script": "def f(x):\n    return 1 / x\n\nf(0)\n"}' >"$work/ex.json"
expect "error" "$(field state <"$work/ex.json") $(field error.type <"$work/ex.json")" "error ZeroDivisionError"
field error.traceback <"$work/ex.json" | sed 's/^/   | /'
cat >"$work/png.py" <<'PY'
import struct, zlib
class Picture:
    def _repr_png_(self):
        chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(b"\0" + b"\xff\0\0" * 2 + b"\0" + b"\0\0\xff" * 2)) + chunk(b"IEND", b""))
Picture()
PY
post '/v1/executions?wait=30s' '{"runtime": "demo-py", "script": '"$(text "$work/png.py")"'}' >"$work/ex.json"
expect "rich value" "$(python3 -c '
import base64, json, sys
print(base64.b64decode(json.load(open(sys.argv[1]))["value"]["rich"]["image/png"])[1:4].decode(), "picture")' "$work/ex.json")" "PNG picture"

say "node with worker threads and zlib, bash with a pipeline, through the CLI"
"$bin" run -r demo-js examples/workers.js </dev/null | sed 's/^/   /'
printf 'oats hay oats\nhay oats\n' | "$bin" run -r demo-sh examples/count.sh | sed 's/^/   /'
status=0
"$bin" run -r demo-sh -c 'exit 7' </dev/null || status=$?
expect "exit status of the script" "$status" 7

say "packages: pip installs a wheel in a sandbox of its own, and the runtime has it, read-only"
"$bin" apply -f - <<'YAML' | sed 's/^/   /'
runtimes:
  - name: demo-packages
    language: python
    packages: [{name: remuda-demo-saddle, version: "1.2"}]
YAML
"$bin" wait demo-packages --for ready --timeout 2m >/dev/null || bad "the build: $("$bin" describe demo-packages)"
post '/v1/executions?wait=30s' '{"runtime": "demo-packages", "script": "import saddle\nsaddle.fit(42)"}' >"$work/ex.json"
look
expect "the package says" "$(field state <"$work/ex.json") $(field value.json <"$work/ex.json")" "success 84"

say "the same runtimes, as a client of MicroStrategy or Strategy sees them"
door=$REMUDA_URL/MicroStrategyLibrary/api
session=$(curl --silent --show-error --dump-header - --output /dev/null --data "username=admin&password=$password&loginMode=1" "$door/auth/login" |
	tr -d '\r' | sed -n 's/^[Xx]-[Mm][Ss][Tt][Rr]-[Aa]uth[Tt]oken: //p')
strategy() {
	local method=$1 path=$2
	shift 2
	curl --silent --show-error --request "$method" --header "X-MSTR-AuthToken: $session" --header 'Content-Type: application/json' "$@" "$door$path"
}
expect "it lists demo-packages as" "$(strategy GET /runtimes | python3 -c '
import json, sys
print(*[r["status"] for r in json.load(sys.stdin)["runtimes"] if r["name"] == "demo-packages"])')" ready
id=$(strategy POST /scripts/evaluation --data '{"scriptContent": "'"$(printf 'print("hoof"); return 6 * 7' | base64)"'"}' | field id)
for _ in $(seq 300); do
	strategy GET "/scripts/evaluation/$id" >"$work/ex.json"
	[ "$(field status <"$work/ex.json")" -ge 3 ] && break
	sleep 0.05
done
expect "a script that returns" "status $(field status <"$work/ex.json"), output $(field results.output <"$work/ex.json")" "status 3, output 42"

say "a runspace keeps its state; files go in and out"
"$bin" runspace create demo-py --name ranch >/dev/null
look
"$bin" exec ranch -c 'herd = ["Bay", "Dun"]' </dev/null
expect "state" "$("$bin" exec ranch -c 'print(len(herd), sorted(herd)[0])' </dev/null)" "2 Bay"
"$bin" runspace files put ranch examples/in.csv data/in.csv >/dev/null
"$bin" exec ranch -c 'open("data/out.txt", "w").write(open("data/in.csv").read().upper()); None' </dev/null
expect "file from the workspace" "$("$bin" runspace files get ranch data/out.txt - | head -1)" "TASK,MINUTES"
"$bin" exec ranch -c 'import os; os.symlink("/etc/shadow", "shadow")' </dev/null
expect "a link that leads outside" "$(curl --silent --output /dev/null --write-out '%{http_code}' --header "Authorization: Bearer $REMUDA_TOKEN" \
	"$REMUDA_URL/v1/runspaces/$("$bin" runspace get ranch -o json | field id)/files/shadow" | sed 's/^4..$/refused/')" "refused"

say "kill -9: the next server finds the runspace with its variables, and its script going on"
ranch=$("$bin" runspace get ranch -o json | field id)
id=$(post "/v1/runspaces/$ranch/executions" '{"script": "import os, time\nline = 0\nwhile not os.path.exists(\"stop\"):\n    print(line)\n    line += 1\n    time.sleep(0.002)\n"}' | field id)
sleep 0.3
kill -KILL "$server"
wait "$server" 2>/dev/null || true
sleep 0.3
begin=$(date +%s%N)
start_server
line "ready again after $((($(date +%s%N) - begin) / 1000000)) ms: $(grep 'took over' "$work/log" | tail -1 | python3 -c '
import json, sys
v = json.loads(sys.stdin.read())
print("%d runspace and %d running script taken over in %.0f ms" % (v["runspaces"], v["executions_resumed"], v["took"] / 1e6))')"
expect "the script is" "$(api GET "/v1/executions/$id" | field state)" running
sleep 0.3
echo now | "$bin" runspace files put ranch - stop >/dev/null
expect "it ends in" "$(api GET "/v1/executions/$id?wait=30s" | field state)" success
"$bin" exec output "$id" >"$work/lines"
expect "of its lines each is there once" "$(seq 0 $(($(wc -l <"$work/lines") - 1)) | cmp - "$work/lines" && echo yes)" yes
line "$(wc -l <"$work/lines") lines, from before, during and after"
expect "state" "$("$bin" exec ranch -c 'print(len(herd), sorted(herd)[0])' </dev/null)" "2 Bay"

say "output is streamed as it comes (server-sent events)"
id=$(post /v1/executions '{"runtime": "demo-py", "script": "import time\nfor i in range(3):\n    print(\"tick\", i, flush=True)\n    time.sleep(0.3)\n"}' | field id)
begin=$(date +%s%N)
api GET "/v1/executions/$id/output" --no-buffer --header 'Accept: text/event-stream' |
	while IFS= read -r event; do
		case $event in data:*tick*) printf '   after %4d ms: %s\n' $((($(date +%s%N) - begin) / 1000000)) "$event" ;; esac
	done

say "what a hostile script tries: each is stopped, and says by what"
# attempt WHAT RUNTIME KILLED_BY SCRIPT [TIMEOUT]
attempt() {
	local limit=${5:-20}
	post '/v1/executions?wait=60s' '{"runtime": "'"$2"'", "timeout_s": '"$limit"', "script": '"$(printf '%s' "$4" | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read()))')"'}' >"$work/ex.json"
	look
	local killed why
	killed=$(field killed_by <"$work/ex.json")
	why=$(field reason <"$work/ex.json")
	if [ "$killed" = "$3" ]; then
		line "$1: $(field state <"$work/ex.json"), killed_by ${killed:-nothing}: ${why:-$(field error.message <"$work/ex.json")}"
	else
		bad "$1: killed_by '$killed' instead of '$3': $(cat "$work/ex.json")"
	fi
}
attempt "fork bomb" demo-py pids $'import os\nwhile True:\n    if os.fork() == 0:\n        import time; time.sleep(60)'
attempt "memory bomb" demo-py memory $'hoard = []\nwhile True:\n    hoard.append(bytearray(1 << 20))'
attempt "disk fill" demo-py disk $'with open("big", "wb") as f:\n    while True:\n        f.write(bytes(1 << 20))'
attempt "endless loop" demo-py time $'while True:\n    pass' 1
attempt "network" demo-py "" $'import socket\nsocket.create_connection(("192.0.2.1", 80), timeout=5)'
expect "network is" "$(field error.type <"$work/ex.json")" OSError
attempt "the host's files" demo-py "" $'open("/root/.bashrc")'
expect "/root is" "$(field state <"$work/ex.json")" error

say "cancel"
id=$(post /v1/executions '{"runtime": "demo-py", "script": "import time\ntime.sleep(600)"}' | field id)
"$bin" exec cancel "$id"
api GET "/v1/executions/$id?wait=30s" >"$work/ex.json"
expect "a canceled script" "$(field state <"$work/ex.json") $(field killed_by <"$work/ex.json")" "canceled cancel"
status=0
"$bin" run -r demo-sh --timeout 1s -c 'sleep 30' </dev/null 2>"$work/err" || status=$?
expect "exit status at the time limit" "$status" 124
line "$(cat "$work/err")"

if [ -f test/cpython/suite.py ] && python3 -I -c 'import test.test_json' 2>/dev/null; then
	say "CPython's own regression tests, in a runspace"
	"$bin" runtime create demo-cpython -l python --cpu 2 --memory-mb 1024 --disk-mb 256 --pids 256 --exec-timeout 10m >/dev/null
	"$bin" runspace create demo-cpython --name cpython >/dev/null
	"$bin" runspace files put cpython test/cpython/suite.py >/dev/null
	for module in test_json test_zlib test_tempfile test_decimal; do
		"$bin" exec cpython --code-file suite.py "$module" </dev/null >"$work/suite.json"
		python3 -c '
import json, sys
for module, r in json.load(open(sys.argv[1])).items():
    print("   %s: %d run, %d failed, %d skipped" % (module, r["run"], len(r["failed"]), len(r["skipped"])))
    sys.exit(bool(r["failed"]) or not r["run"])' "$work/suite.json" || bad "$module: $(head -c 600 "$work/suite.json")"
	done
fi

say "what the server counted"
look
api GET /metrics | grep -E '^remuda_(pool_leases_total|executions_total)' | grep -v ' 0$' | sed 's/^/   /'

say "SIGTERM: the server drains and ends"
herd=$(cat "$data/herd")
server_pid=$server
begin=$(date +%s%N)
status=0
stop_server || status=$?
expect "exit status" "$status" 0
line "after $((($(date +%s%N) - begin) / 1000000)) ms"

say "nothing is left"
# left WHAT LIST: fails when there is something in the list.
left() { if [ -z "$2" ]; then line "$1: none"; else bad "$1: $2"; fi; }
alive=
while read -r pid start; do
	# A zombie is gone: those of the server that was killed are init's to reap, in its own time.
	[ "$(awk '$3 != "Z" {print $22}' "/proc/$pid/stat" 2>/dev/null)" = "$start" ] && [ -n "$start" ] && alive+=" $pid"
done < <(sort -u "$seen_pids")
[ -e "/proc/$server_pid" ] && alive+=" $server_pid"
left "processes (of $(sort -u "$seen_pids" | wc -l) seen in sandboxes)" "$alive"
spaces=
while read -r space; do
	find /proc/[0-9]*/ns/net -maxdepth 0 -lname "$space" 2>/dev/null | grep -q . && spaces+=" $space"
done < <(sort -u "$seen_spaces")
left "network namespaces (of $(sort -u "$seen_spaces" | wc -l) seen)" "$spaces"
left "cgroups" "$(find /sys/fs/cgroup -maxdepth 8 -type d -name "*remuda-$herd*")"
left "mounts" "$(diff <(cut -d' ' -f5 "$work/mounts.before" | sort) <(cut -d' ' -f5 /proc/self/mountinfo | sort) | grep '^>' || true)"
left "loop devices" "$(grep -lF "$data" /sys/block/loop*/loop/backing_file 2>/dev/null || true)"
left "sockets and files of instances" "$(find "$data/run" "$data/disk" -mindepth 1 2>/dev/null || true)"
rm -rf "$work"
left "files after removing the data directory" "$(find /tmp -maxdepth 1 -path "$work*")"

if [ "$failures" -gt 0 ]; then
	printf '\ndemo: %d unexpected things\n' "$failures" >&2
	exit 1
fi
printf '\ndemo: everything as expected, in %d s\n' "$SECONDS"
