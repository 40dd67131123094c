#!/usr/bin/env bash
# tool.sh NAME VERSION MODULE-PATH [LDFLAGS]: builds a development tool into .bin/NAME-VERSION and links .bin/NAME to it. A tool of that
# version that is already at .bin/NAME is taken as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1 version=$2 path=$3 ldflags=${4:-}

mkdir -p .bin
if [ -f ".bin/$name" ] && [ ! -L ".bin/$name" ] && go version -m ".bin/$name" 2>/dev/null | grep -qE "^\s+mod\s+\S+\s+$version\b"; then
	cp ".bin/$name" ".bin/$name-$version"
else
	echo "building $name $version (once; a few minutes)"
	dir=$(mktemp -d .bin/build.XXXXXX)
	trap 'rm -rf "$dir"' EXIT
	GOBIN=$PWD/$dir CGO_ENABLED=0 go install -ldflags "-s -w $ldflags" "$path@$version"
	mv "$dir/$name" ".bin/$name-$version"
fi
ln -sfn "$name-$version" ".bin/$name"
