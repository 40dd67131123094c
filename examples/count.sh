#!/bin/bash
# printf 'b\na\nb\n' | remuda run examples/count.sh
# Counts the words of standard input with a pipeline.
set -euo pipefail
tr -cs '[:alnum:]' '\n' | sort | uniq -c | sort -rn | head -n "${1:-10}"
