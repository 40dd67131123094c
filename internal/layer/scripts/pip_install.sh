# Installs what locked.txt names into tree/python, its programs into tree/bin.
cd /workspace || exit 96
umask 022
if "$REMUDA_PYTHON" -c 'import pip' 2>/dev/null; then
  pip=("$REMUDA_PYTHON" -m pip)
elif /usr/bin/python3 -c 'import pip' 2>/dev/null; then
  pip=(/usr/bin/python3 -m pip --python "$REMUDA_PYTHON")
else
  exit 97
fi
mkdir -p tree/python
"${pip[@]}" install --no-deps --require-hashes --no-compile --no-warn-script-location --ignore-installed \
  --index-url "$REMUDA_INDEX" --target tree/python -r locked.txt || exit 1
if [ -d tree/python/bin ]; then
  mv tree/python/bin tree/bin || exit 1
fi
# Compiled ahead: an instance could not keep what it compiles. Files that are no
# Python of this version stay as they are.
"$REMUDA_PYTHON" -m compileall -q --invalidation-mode unchecked-hash tree/python >/dev/null 2>&1
exit 0
