#!/usr/bin/env bash
# flame.sh [PART...]: where the time of the bench's parts goes (warm without arguments; see `remuda bench --help`). Records the
# whole machine with perf while they run and writes folded stacks and a flame graph to .cache/flame/. Needs root and perf.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "flame.sh records the whole machine and starts a server of its own: run it as root" >&2
	exit 1
fi
if ! command -v perf >/dev/null; then
	echo "flame.sh needs perf; on Debian: apt-get install --no-install-recommends linux-perf" >&2
	exit 1
fi

parts=$(IFS=, && echo "${*:-warm}")
out=.cache/flame
mkdir -p "$out"
make init
# With symbols, unlike bin/remuda: perf reads them from the file.
CGO_ENABLED=0 go build -o "$out/remuda" ./cmd/remuda

# The clock of the processor, because virtual machines seldom have counters; frame pointers, which Go and the kernel have.
perf record -q -e cpu-clock -F 499 -a -g -o "$out/perf.data" -- "$out/remuda" bench --only "$parts" >"$out/bench.txt"
perf script -i "$out/perf.data" -F comm,ip,sym,dso 2>/dev/null | python3 scripts/flame.py "$out/$parts.folded" "$out/$parts.svg"
rm -f "$out/perf.data" "$out/remuda"
cat "$out/bench.txt"
printf '\nfolded stacks: %s\nflame graph:   %s\n' "$out/$parts.folded" "$out/$parts.svg"
