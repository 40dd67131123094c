# Finds out what pip would install for requirements.txt, and writes report.json.
cd /workspace || exit 96
umask 022
if "$REMUDA_PYTHON" -c 'import pip' 2>/dev/null; then
  pip=("$REMUDA_PYTHON" -m pip)
elif /usr/bin/python3 -c 'import pip' 2>/dev/null; then
  pip=(/usr/bin/python3 -m pip --python "$REMUDA_PYTHON")
else
  exit 97
fi
"${pip[@]}" --version
"${pip[@]}" install --dry-run --ignore-installed --report /workspace/report.json --index-url "$REMUDA_INDEX" -r requirements.txt
