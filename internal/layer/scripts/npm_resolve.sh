# Finds out what npm would install for package.json, and writes package-lock.json.
cd /workspace || exit 96
umask 022
npm=$(readlink -f "$(command -v npm)") || exit 97
[ -f "$npm" ] || exit 97
echo "npm $("$REMUDA_NODE" "$npm" --version)"
"$REMUDA_NODE" "$npm" install --package-lock-only --ignore-scripts
