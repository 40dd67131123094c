#!/usr/bin/env bash
# Prints and fails on what a run has left on this machine: mounts, cgroups, network namespaces, loop devices and processes
# that carry the product's name. Run it when no server of this machine is meant to be up.
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

# What was just killed goes in its own time; give it a few seconds.
for _ in $(seq 50); do
	found=$(look)
	[ -n "$found" ] || exit 0
	sleep 0.1
done
printf 'left on this machine:\n%s\n' "$found" >&2
exit 1
