#!/usr/bin/env bash
# make test: install what is missing, build, lint, run every test. The tests run under the race detector where there is a C
# compiler. They need root for real sandboxes; without it they say so and fail, because a green run must mean something.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

if [ "$(id -u)" != 0 ]; then
	echo "make test makes real sandboxes (namespaces, cgroups, mounts) and must be run as root" >&2
	exit 1
fi

section "install what is missing"
scripts/install.sh run test

section "build"
make build
bin/remuda version

section "runsc, for the isolation class gvisor"
not_run=
if ! timeout 900 make runsc; then
	not_run="NOT RUN: the tests of the isolation class gvisor, because runsc could not be built here (its own words are above)"
	echo "$not_run"
fi

section "lint"
make lint

race=()
if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" >/dev/null; then
	race=(-race)
fi
section "tests: unit, integration with real sandboxes, end to end, attempts${race:+ (race detector on)}"
PROGRAM_UNDER_TEST=$PWD/bin/remuda go test "${race[@]}" -count=1 -timeout 25m ./...
section_end

scripts/leftovers.sh
[ -z "$not_run" ] || printf '\n%s\n' "$not_run"
printf '\nmake test: all passed in %d s\n' "$SECONDS"
