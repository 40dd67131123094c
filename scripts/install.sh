#!/usr/bin/env bash
# Installs, by apt and by name, what is missing for the groups given as arguments:
#   run     what Remuda itself needs: the interpreters and mke2fs; pip, and what pip builds packages with
#   npm     npm, for runtimes with packages of Node.js (Debian's is large)
#   demo    what scripts/demo.sh needs
#   test    what the tests need: a C compiler for the race detector, CPython's own tests, what a peer speaks HTTP with,
#           a browser for the terminal's page
#   vm      what boots the machine of `make test-vm`
#   bench   the peers that `make bench` measures
#   fresh   what makes the fresh root of `make test-fresh`
#   gvisor  runsc, for the isolation class gvisor: not by apt but from source, by `make runsc`
# A thing counts as there when its file is there, whoever installed it (a machine's node is often not Debian's). Without
# anything missing this takes a few milliseconds and does not touch apt.
set -euo pipefail

missing=()

# need PACKAGE FILE...: the package is missing when none of the files exists.
need() {
	local package=$1 file
	shift
	for file in "$@"; do
		[ -e "$file" ] && return
	done
	missing+=("$package")
}

# The version of Debian's python3 decides which test suite fits it.
python_version() {
	local link
	link=$(readlink -f /usr/bin/python3 2>/dev/null) || true
	case $link in
	*/python3.*) echo "${link##*/python}" ;;
	*) echo 3.11 ;;
	esac
}

for group in "$@"; do
	case $group in
	run)
		need python3 /usr/bin/python3
		need nodejs /usr/bin/node /usr/local/bin/node
		need python3-pip /usr/lib/python3/dist-packages/pip/__init__.py
		need python3-setuptools /usr/lib/python3/dist-packages/setuptools/__init__.py
		need python3-wheel /usr/lib/python3/dist-packages/wheel/__init__.py
		need e2fsprogs /usr/sbin/mke2fs /sbin/mke2fs
		need ca-certificates /etc/ssl/certs/ca-certificates.crt # the Go module proxy speaks TLS
		;;
	npm)
		need npm /usr/bin/npm /usr/local/bin/npm
		;;
	demo)
		need curl /usr/bin/curl
		need "libpython$(python_version)-testsuite" "/usr/lib/python$(python_version)/test/test_json/__init__.py"
		;;
	test)
		need npm /usr/bin/npm /usr/local/bin/npm
		need git /usr/bin/git
		need gcc /usr/bin/gcc
		need libc6-dev /usr/include/stdlib.h
		need curl /usr/bin/curl
		need jq /usr/bin/jq # in the commands of docs/*.md that tests run
		need procps /usr/bin/ps
		need mount /usr/bin/mount
		need "libpython$(python_version)-testsuite" "/usr/lib/python$(python_version)/test/test_json/__init__.py"
		need python3-numpy /usr/lib/python3/dist-packages/numpy/__init__.py # its generator must differ between forks
		need python3-setuptools-whl /usr/share/python-wheels/setuptools-*.whl # a backend that pip installs from an index of the test
		need python3-requests /usr/lib/python3/dist-packages/requests/__init__.py
		need chromium /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome
		;;
	vm)
		need qemu-system-x86 /usr/bin/qemu-system-x86_64
		need mmdebstrap /usr/bin/mmdebstrap
		;;
	bench)
		need bubblewrap /usr/bin/bwrap
		need crun /usr/bin/crun
		need runc /usr/sbin/runc /usr/bin/runc
		need podman /usr/bin/podman
		need python3-ipykernel /usr/lib/python3/dist-packages/ipykernel/__init__.py
		;;
	fresh)
		need mmdebstrap /usr/bin/mmdebstrap
		need git /usr/bin/git
		;;
	gvisor)
		make -C "$(dirname "$0")/.." runsc
		;;
	*)
		echo "install.sh: no such group: $group (see the head of the script)" >&2
		exit 2
		;;
	esac
done

[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]}; this is no Debian machine, so install the like of them by hand" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "missing: ${missing[*]}; run as root: apt-get install --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
	apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1 </dev/null
}
# A list that cannot be had (a third party's, say) does not matter as long as the packages can.
apt update || echo "apt-get update complained; going on with the lists there are" >>"$log"
if ! apt install --no-install-recommends -y "${missing[@]}"; then
	cat "$log" >&2
	echo "could not install ${missing[*]}; apt's own words are above" >&2
	exit 1
fi
