#!/usr/bin/env bash
# leftovers.sh [BEFORE]: prints and fails on what a run has left on this machine: mounts, cgroups, network namespaces, loop
# devices and processes that carry the product's name. Run it when no server of the run is meant to be up. What the file BEFORE
# lists was there before the run, so it is somebody else's. leftovers.sh --now prints what there is, for such a file.
set -euo pipefail

look() {
	grep -i remuda /proc/self/mounts | awk '{print "mount: " $2}' || true
	find /sys/fs/cgroup -mindepth 1 -maxdepth 6 -type d -iname '*remuda*' 2>/dev/null | sed 's/^/cgroup: /' || true
	find /run/netns -mindepth 1 -maxdepth 1 -iname '*remuda*' 2>/dev/null | sed 's/^/network namespace: /' || true
	find /run/remuda -mindepth 1 -maxdepth 1 -name 'net-*' 2>/dev/null | sed 's/^/pinned router: /' || true
	find /sys/class/net -mindepth 1 -maxdepth 1 \( -name 'rmd*' -o -name 'rmc*' \) 2>/dev/null | sed 's/^/link: /' || true
	for loop in /sys/block/loop*/loop/backing_file; do
		if [ -e "$loop" ]; then
			grep -iH remuda "$loop" | sed 's/^/loop device: /' || true
		fi
	done
	for exe in /proc/[0-9]*/exe; do
		target=$(readlink "$exe" 2>/dev/null) || continue
		case ${target##*/} in
		remuda | remuda-init | 'remuda (deleted)' | 'remuda-init (deleted)' | *memfd:remuda*) echo "process: ${exe//[^0-9]/} $target" ;;
		esac
	done
}

if [ "${1:-}" = --now ]; then
	look
	exit 0
fi
before=${1:-/dev/null}

# What was just killed goes in its own time; give it a few seconds.
for _ in $(seq 50); do
	now=$(look) # by itself: that it cannot look is no answer
	found=$(grep -vxFf "$before" <<<"$now" || true)
	[ -n "$found" ] || exit 0
	sleep 0.1
done
printf 'left on this machine:\n%s\n' "$found" >&2
exit 1
