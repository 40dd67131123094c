#!/usr/bin/env bash
# Makes what the virtual machine of `make test-vm` boots, in the directory $1:
#   vmlinuz      Debian's cloud kernel
#   modules/     the few kernel modules that are needed to find the disk, numbered in load order
#   root.ext4    a minimal Debian 12 with python3 and the kernel's modules (sparse; booted with a snapshot, so it stays as it is)
# Needs root, mmdebstrap and e2fsprogs. Nothing is mounted, and on failure nothing is left but the log.
set -euo pipefail

out=$1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/remuda-vm-image.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# Runs inside mmdebstrap, with the new root as $1: fetch the kernel with the root's own apt, unpack it without its
# maintainer scripts (they would build an initrd that is of no use here) and note which modules the disk needs.
cat >"$tmp/kernel-hook" <<'HOOK'
#!/usr/bin/env bash
set -euo pipefail
root=$1
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-[0-9]/ {print $2; exit}')
[ -n "$kernel" ] || { echo "linux-image-cloud-amd64 depends on no kernel image" >&2; exit 1; }
(cd "$KERNEL_DIR" && apt-get -qq -o APT::Sandbox::User=root download "$kernel")
dpkg-deb -x "$KERNEL_DIR"/linux-image-*.deb "$KERNEL_DIR/tree"
version=$(ls "$KERNEL_DIR/tree/lib/modules")
# /lib is a link to /usr/lib in the root
mkdir -p "$root/usr/lib/modules"
cp -a "$KERNEL_DIR/tree/lib/modules/$version" "$root/usr/lib/modules/"
chroot "$root" depmod "$version"
mkdir -p "$OUT_DIR/modules"
number=10
for module in $(for m in virtio_pci virtio_blk; do
		chroot "$root" modprobe --set-version "$version" --show-depends "$m" | awk '$1 == "insmod" {print $2}'
	done | awk '!seen[$0]++'); do
	cp "$root/$module" "$OUT_DIR/modules/$number-$(basename "$module")"
	number=$((number + 1))
done
cp "$KERNEL_DIR/tree/boot/vmlinuz-$version" "$OUT_DIR/vmlinuz"
HOOK
chmod 755 "$tmp/kernel-hook"

mkdir -p "$tmp/out" "$tmp/kernel"
export KERNEL_DIR=$tmp/kernel OUT_DIR=$tmp/out
TMPDIR=$tmp mmdebstrap --quiet --mode=root --variant=apt \
	--include=python3,nodejs,e2fsprogs,kmod,mount,procps \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--customize-hook="$tmp/kernel-hook" \
	bookworm "$tmp/root"
rm -rf "$tmp/root/var/cache/apt/archives"/*.deb "$tmp/root/var/lib/apt/lists"/*

mke2fs -q -t ext4 -L remuda-vm -E lazy_itable_init=1,lazy_journal_init=1 -d "$tmp/root" "$tmp/out/root.ext4" 4G
mkdir -p "$out"
rm -rf "$out/modules"
cp -r --sparse=always "$tmp/out/." "$out/"
