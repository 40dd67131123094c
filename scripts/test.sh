#!/usr/bin/env bash
# make test: install what is missing, build, run every test, and lint meanwhile. The tests run under the race detector where
# there is a C compiler. They need root for real sandboxes; without it they say so and fail, because a green run must mean
# something.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

if [ "$(id -u)" != 0 ]; then
	echo "make test makes real sandboxes (namespaces, cgroups, mounts) and must be run as root" >&2
	exit 1
fi

before=$(mktemp)
trap 'rm -f "$before"' EXIT
what_was_here "$before"

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

# Most of their time tests wait: for limits to be met, for answers that must not come, for servers that start again. What is
# left of the processors is enough to build the linter and to lint, at the lowest priority; its words and its verdict come last.
lint_log=$(mktemp)
setsid nice -n 19 make lint >"$lint_log" 2>&1 &
lint=$!
trap '[ -z "$lint" ] || kill -- "-$lint" 2>/dev/null || true; rm -f "$lint_log" "$before"' EXIT
trap 'exit 130' INT # go test ends by itself, and as if tests had failed
trap 'exit 143' TERM

race=()
if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" >/dev/null; then
	race=(-race)
fi
section "tests: unit, integration with real sandboxes, end to end, attempts${race:+ (race detector on)}"
# Three packages at once on two cores, because their tests wait. The longest first, so that none of them is the
# last one alone. What go vet says is lint's matter.
packages=(./internal/engine/local ./test/attempts ./internal/layer ./test/survive ./test/cpython ./internal/engine/oci
	./internal/engine/local/netslot ./internal/runtimes ./test/runtimes ./internal/executions ./test/script ./internal/compat/...)
long=$(go list "${packages[@]}") # not in the middle of a pipe, where nobody sees that it fails
all=$(go list ./...)
mapfile -t others < <(grep -vxF "$long" <<<"$all")
tests=0
PROGRAM_UNDER_TEST=$PWD/bin/remuda go test "${race[@]}" -vet=off -count=1 -timeout 25m -p $(($(nproc) * 3 / 2)) "${packages[@]}" "${others[@]}" || tests=$?
section_end

section "lint (while the tests ran)"
linted=0
wait "$lint" || linted=$?
lint=
cat "$lint_log"
section_end
if [ "$tests" != 0 ] || [ "$linted" != 0 ]; then
	[ "$tests" = 0 ] || echo "make test: tests failed (look for \"FAIL\" above lint)" >&2
	[ "$linted" = 0 ] || echo "make test: lint failed" >&2
	exit 1
fi

scripts/leftovers.sh "$before"
[ -z "$not_run" ] || printf '\n%s\n' "$not_run"
printf '\nmake test: all passed in %d s\n' "$SECONDS"
