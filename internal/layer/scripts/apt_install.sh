# Fetches what locked.txt names and lays it out in tree/usr as a merged /usr.
cd /workspace || exit 96
umask 022
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || exit 97
mkdir -p apt/state/lists/partial apt/cache/archives/partial apt/etc/apt.conf.d apt/etc/preferences.d apt/etc/trusted.gpg.d apt/log debs root tree/usr
apt-get update >/dev/null || exit 1
while read -r name version sum; do
  (cd debs && apt-get download "$name=$version") || exit 1
done < locked.txt
# Each file is one that the lock names, whatever it is called.
for deb in debs/*.deb; do
  sum=$(sha256sum "$deb") || exit 1
  grep -q " ${sum%% *}\$" locked.txt || { echo "E: $deb is not what the lock names"; exit 1; }
done
for deb in debs/*.deb; do
  echo "unpacking ${deb#debs/}"
  dpkg-deb -x "$deb" root || exit 1
done
# Files of a /usr that is not merged.
chmod -R u+rwX root
for dir in bin sbin lib lib32 lib64 libx32; do
  [ -d root/$dir ] && [ ! -L root/$dir ] || continue
  mkdir -p root/usr/$dir
  cp -a root/$dir/. root/usr/$dir/ || exit 1
done
# Of what packages do after they are unpacked, alternatives matter: they are links
# that programs and libraries are found by. All else a script may try is void here.
export REMUDA_ROOT=/workspace/root
chmod 755 apt/shim/update-alternatives
for void in ldconfig py3compile py3clean pycompile dpkg-trigger dpkg-maintscript-helper deb-systemd-helper deb-systemd-invoke systemctl invoke-rc.d update-rc.d adduser addgroup useradd chown update-mime-database fc-cache debconf-apt-progress; do
  printf '#!/bin/sh\nexit 0\n' > apt/shim/$void
  chmod 755 apt/shim/$void
done
for deb in debs/*.deb; do
  rm -rf control
  dpkg-deb -e "$deb" control || exit 1
  [ -f control/postinst ] || continue
  grep -q update-alternatives control/postinst || continue
  DEBIAN_FRONTEND=noninteractive PATH=/workspace/apt/shim:$PATH timeout 30 sh -c '. control/postinst' postinst configure </dev/null ||
    echo "W: the script of ${deb#debs/} has failed; its alternatives may be missing"
done
[ -d root/usr ] && cp -a root/usr/. tree/usr/
# Links in a layer stay inside it.
find tree/usr -type l | while read -r link; do
  target=$(readlink "$link")
  case $target in
  /usr/*) ln -sfnr "tree$target" "$link" ;;
  /bin/* | /sbin/* | /lib*) ln -sfnr "tree/usr$target" "$link" ;;
  /*) rm -f "$link" ;;
  *) case $(realpath -ms "$link/../$target") in /workspace/tree/usr/*) ;; *) rm -f "$link" ;; esac ;;
  esac
done
# Debian compiles modules when it sets a package up.
if [ -d tree/usr/lib/python3/dist-packages ] && [ -x /usr/bin/python3 ]; then
  PYTHONHASHSEED=0 /usr/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash tree/usr/lib/python3/dist-packages >/dev/null 2>&1
fi
# Places that are on nobody's PATH.
for dir in sbin games; do
  for program in tree/usr/$dir/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    mkdir -p tree/bin
    ln -sf "../${program#tree/}" tree/bin/
  done
done
exit 0
