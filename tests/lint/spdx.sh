#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every source and script says its licence in the first line, or in the second behind #!.
cd "$(dirname "$0")/../.." || exit 1
failed=0

for f in $(find engine injector tools libinproc tests .ci -type f \( -name '*.[ch]' -o -name '*.sh' \
		-o -path '.ci/*' \) 2>/dev/null | LC_ALL=C sort) autogen.sh configure.ac Makefile.am tools/check; do
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || { echo "not ok - $f: no SPDX line"; failed=1; }
done
[ "$failed" = 0 ] && echo "ok - every file has its SPDX line"
exit "$failed"
