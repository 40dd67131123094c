# The ten most frequent words of stdin, by the usual tools, through files, a background job and a here document.
set -euo pipefail
tr -cs '[:alpha:]' '\n' | tr '[:upper:]' '[:lower:]' > words.txt
(sort words.txt | uniq -c | sort -k1,1nr -k2,2 > counts.txt) &
wait $!
head -n 3 counts.txt | awk '{printf "%s=%d\n", $2, $1}'
echo "total=$(wc -l < words.txt)"
gzip -kf words.txt
cmp <(gunzip -c words.txt.gz) words.txt && echo "gzip=same"
diff - <(sed -n '1p' words.txt) <<< 'it' && echo "first=it"
find . -name '*.txt' -newer /dev/null -print0 | sort -z | xargs -0 -n1 basename | paste -sd,
