#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every line of the table in ckpt-restore(1), FILES THAT CHANGED, is a test: the comment before it says which.
cd "$(dirname "$0")/../.." || exit 1
table=$(awk '/^\.SH "FILES THAT CHANGED"/ { on = 1 } on && /^\.TE/ { exit } on' man/ckpt-restore.1 | sed '1,/^lx lx\./d')
tests=$(printf '%s\n' "$table" | sed -n 's/^\.\\" //p')
rows=$(printf '%s\n' "$table" | grep -c '|')
n=0 failed=0
while IFS= read -r line; do
	n=$((n + 1))
	file=${line%%: *} words=${line#*: }
	[ -e "tests/$file" ] || file=$file.c
	if grep -qF -e "$words" "tests/$file"; then
		echo "ok $n - $words"
	else
		echo "not ok $n - tests/$file has no \"$words\""
		failed=1
	fi
done <<EOF
$tests
EOF
if [ "$rows" -ge 30 ] && [ "$n" = "$rows" ]; then
	echo "ok $((n + 1)) - each of $rows lines has one"
else
	echo "not ok $((n + 1)) - $rows lines, $n tests"
	failed=1
fi
echo "1..$((n + 1))"
exit $failed
