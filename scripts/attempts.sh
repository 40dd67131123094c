#!/usr/bin/env bash
# make attempts: install what is missing, build, try every row of test/attempts in full on a server of its own, print the
# table and write it into docs/security.md. The short form of the same is part of make test.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

if [ "$(id -u)" != 0 ]; then
	echo "make attempts makes real sandboxes (namespaces, cgroups, mounts) and must be run as root" >&2
	exit 1
fi

before=$(mktemp)
trap 'rm -f "$before"' EXIT
what_was_here "$before"

section "install what is missing"
scripts/install.sh run test

section "build"
make build
make runsc || echo "no runsc: the rows of the isolation class gvisor will be told as not run" >&2

section "attempts"
# In its own directory, and with no package named, the test says at once what it has to say.
export PROGRAM_UNDER_TEST=$PWD/bin/remuda
(cd test/attempts && go test -count=1 -timeout 120m -run '^TestAttempts$' -args -full -update "$@")
go test -count=1 -run '^TestDocument$' ./test/attempts
section_end

scripts/leftovers.sh "$before"
printf '\nmake attempts: nothing escaped, %d s\n' "$SECONDS"
