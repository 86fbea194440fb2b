#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kernel style: tabs, 100 columns, no blanks at line ends; and as .clang-format has it, where its version 14 is there
# (others format differently). `tests/lint/format.sh --fix` formats.
cd "$(dirname "$0")/../.." || exit 1
failed=0
sources=$(find engine injector tools libinproc tests -name '*.[ch]' 2>/dev/null | LC_ALL=C sort)
texts="$sources $(find proto tests tools -name '*.proto' -o -name '*.sh' | LC_ALL=C sort)"
formatter=$(clang-format --version 2>/dev/null | grep -o 'version 14\.')

if [ "${1-}" = --fix ]; then
	[ -n "$formatter" ] || { echo "clang-format 14 is missing"; exit 1; }
	# shellcheck disable=SC2086  # names without blanks
	exec clang-format -i $sources
fi

# shellcheck disable=SC2086
awk '
	function bad(what) { print "not ok - " FILENAME ":" FNR ": " what; n++ }
	/[ \t\r]$/ { bad("blanks at the end") }
	/^        / && FILENAME !~ /\.sh$/ { bad("blanks instead of tabs") }
	/clang-format off/ { table = FILENAME }
	/clang-format on/ { table = "" }
	table == FILENAME { next }
	{
		line = $0
		while ((i = index(line, "\t")))
			line = substr(line, 1, i - 1) substr("        ", 1, 8 - (i - 1) % 8) substr(line, i + 1)
		# Texts are not broken: they are to be found by searching for them. Nor are scripts.
		if (length(line) > (FILENAME ~ /\.[ch]$/ && line !~ /"/ ? 100 : 140))
			bad("too long: " length(line))
	}
	END { exit n > 0 }
' $texts || failed=1

if [ -n "$formatter" ]; then
	# shellcheck disable=SC2086
	unlike=$(clang-format --dry-run -Werror $sources 2>&1 | sed -n 's/^\([^:]*\):[0-9].*error: .*/\1/p' | uniq)
	for f in $unlike; do
		echo "not ok - $f: not as clang-format has it"
		failed=1
	done
else
	echo "# clang-format 14 is missing: only lengths and blanks are checked"
fi
[ "$failed" = 0 ] && echo "ok - formatted"
exit "$failed"
