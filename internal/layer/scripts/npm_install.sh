# Installs what package.json names into tree/node; the registry holds what the lock
# names and nothing else. Programs become links in tree/bin.
cd /workspace/tree/node || exit 96
umask 022
npm=$(readlink -f "$(command -v npm)") || exit 97
[ -f "$npm" ] || exit 97
"$REMUDA_NODE" "$npm" install --ignore-scripts=false || exit 1
rm -f package.json package-lock.json node_modules/.package-lock.json
for program in node_modules/.bin/*; do
  [ -e "$program" ] || continue
  mkdir -p ../bin
  ln -s "../node/$program" ../bin/
done
exit 0
