#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Stories about memory and files once more, with compressed images.
failed=0 ran=0
for method in zstd:1; do
	for name in memory cow deleted; do
		program=${BUILD:-.}/tests/cases/$name
		[ -x "$program" ] || continue
		ran=$((ran + 1))
		CASE_DUMP_OPTION=--compress=$method "$program" >"${TMPDIR:-/tmp}/ckpt-compressed.$$" 2>&1 || {
			echo "not ok - $name with $method"
			grep -A8 '^not ok' "${TMPDIR:-/tmp}/ckpt-compressed.$$"
			failed=1
		}
	done
done
rm -f "${TMPDIR:-/tmp}/ckpt-compressed.$$"
[ $ran -gt 0 ] || { echo "skipped: no case is built"; exit 77; }
[ $failed = 0 ] && echo "ok - $ran cases with compressed images"
exit $failed
