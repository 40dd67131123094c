#!/usr/bin/env bash
# run.sh [demo|test|...]: makes a fresh minimal Debian 12 with nothing but make, puts a clean clone of HEAD and this machine's Go
# into it, and runs `make TARGET` there as root. It proves that scripts/install.sh is complete. KEEP=1 leaves the root for a look.
#
# The fresh root is the root of a mount namespace of its own (pivot_root, not chroot, because sandboxes pivot again), so every
# mount goes away with the last process. The kernel, its cgroups and the network are this machine's.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:-demo}

[ "$(id -u)" = 0 ] || { echo "test-fresh makes a root file system and must be run as root" >&2; exit 1; }
go=$(go env GOROOT)
# On a machine behind a proxy with a certificate of its own, the fresh root must trust what this machine trusts.
trust=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/fresh.XXXXXX")
[ -n "${KEEP:-}" ] || trap 'rm -rf --one-file-system "$dir"' EXIT

scripts/leftovers.sh --now >"$dir/before"
echo "== a fresh root in $dir"
TMPDIR=$dir mmdebstrap --quiet --mode=root --variant=minbase --include=make bookworm "$dir/root"
mkdir -p "$dir/root/usr/local/go" "$dir/root/src"
cp /etc/resolv.conf "$dir/root/etc/resolv.conf"
[ ! -r "$trust" ] || cp "$trust" "$dir/root/usr/local/trust.pem"
git clone --quiet --no-hardlinks . "$dir/root/src/remuda"

cat >"$dir/enter" <<'ENTER'
set -euo pipefail
root=$1 go=$2 target=$3
mount --make-rprivate /
mount --bind "$root" "$root"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind "$go" "$root/usr/local/go"
mount -o remount,bind,ro "$root/usr/local/go"
cd "$root"
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
exec env -i HOME=/root TERM=dumb CI=true PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	${TRUST:+SSL_CERT_FILE=/usr/local/trust.pem} ${GOPROXY:+GOPROXY="$GOPROXY"} \
	make -C /src/remuda "$target"
ENTER

echo "== make $target in it"
start=$SECONDS
status=0
TRUST=$(test -r "$trust" && echo yes) unshare --mount bash "$dir/enter" "$dir/root" "$go" "$target" </dev/null || status=$?
echo "== make $target ended with status $status after $((SECONDS - start)) s"

# Whoever still sees that root, from whatever mount namespace, was left behind.
left=0
for process in $(grep -ls -- "$dir/root" /proc/[0-9]*/mountinfo || true); do
	process=${process%/mountinfo}
	echo "left behind: process ${process#/proc/}: $(tr '\0' ' ' <"$process/cmdline")" >&2
	left=1
done
scripts/leftovers.sh "$dir/before" || left=1
[ "$status" = 0 ] && [ "$left" = 0 ]
