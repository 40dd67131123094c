#!/usr/bin/env bash
# make fuzz: runs every fuzz target of the tree for FUZZTIME (10s).
set -euo pipefail
cd "$(dirname "$0")/.."
time=${FUZZTIME:-10s}

found=0
while IFS=: read -r file target; do
	found=$((found + 1))
	package=./$(dirname "$file")
	echo "== $package $target for $time"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
done < <(git grep --untracked -oE 'func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/:func /:/')
[ "$found" -gt 0 ] || { echo "no fuzz target found" >&2; exit 1; }
echo "$found fuzz targets, $time each"
