#!/usr/bin/env bash
# make lint: formatting, syntax of the scripts, and .golangci.yaml, for the code with and without the build tag of test/vm.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0r gofmt -l)
if [ -n "$unformatted" ]; then
	printf 'not formatted (run gofmt -w on them):\n%s\n' "$unformatted" >&2
	exit 1
fi

git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | while IFS= read -r -d '' script; do
	bash -n "$script"
done

# Its own cache beside the tree's other caches, so that a second checkout does not disturb it.
export GOLANGCI_LINT_CACHE=${GOLANGCI_LINT_CACHE:-$PWD/.cache/golangci-lint}
# As the product is built: what that has compiled is not compiled again.
export CGO_ENABLED=0
# One that runs for another checkout is waited for.
.bin/golangci-lint run --allow-serial-runners --build-tags vm ./...
