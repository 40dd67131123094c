# Finds out what apt would install for asked.txt over what the environment has, and
# writes found.txt: a name, a version and a SHA-256 on each line.
cd /workspace || exit 96
umask 022
command -v apt-get >/dev/null && command -v apt-cache >/dev/null || exit 97
mkdir -p apt/state/lists/partial apt/cache/archives/partial apt/etc/apt.conf.d apt/etc/preferences.d apt/etc/trusted.gpg.d apt/log
apt-get update || exit 1
mapfile -t asked < asked.txt
apt-get install -y --reinstall --allow-downgrades --print-uris "${asked[@]}" > uris.txt || { cat uris.txt; exit 1; }
: > found.txt
while read -r uri file _; do
  [[ $uri == \'http* ]] || continue
  IFS=_ read -r name version arch <<< "${file%.deb}"
  version=${version//%3a/:}
  sum=$(apt-cache show --no-all-versions "$name:$arch=$version" 2>/dev/null || apt-cache show --no-all-versions "$name=$version")
  sum=$(sed -n 's/^SHA256: //p' <<< "$sum" | head -n 1)
  echo "$name $version $sum" >> found.txt
  echo "$name $version"
done < uris.txt
exit 0
