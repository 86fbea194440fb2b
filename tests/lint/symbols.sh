#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The engine keeps no mutable variable of file scope, and every name that the libraries offer starts with ckpt_.
# Run in the build folder.
[ -f libengine.a ] && [ -f libinjector.a ] || { echo "skipped: there is no libengine.a here: build it first"; exit 77; }
if nm libengine.a 2>/dev/null | grep -qE '__(asan|gcov|llvm)_'; then
	echo "skipped: a sanitizer or coverage build has variables of its own"
	exit 77
fi
failed=0

# .data.rel.ro is read-only: constants with addresses in them.
mutable=$(objdump -t libengine.a 2>/dev/null |
	awk '/:  *file format/ { file = $1 }
	     / O (\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ && !/\.data\.rel\.ro/ { print file, $NF }')
[ -z "$mutable" ] || { echo "not ok - mutable variables in the engine:"; printf '# %s\n' "$mutable"; failed=1; }

foreign=$(nm -g --defined-only libengine.a libinjector.a 2>/dev/null |
	awk '/:$/ { file = $1 } NF == 3 && $3 !~ /^_?ckpt_/ { print file, $3 }')
[ -z "$foreign" ] || { echo "not ok - names that do not start with ckpt_:"; printf '# %s\n' "$foreign"; failed=1; }

[ "$failed" = 0 ] && echo "ok - no mutable variables, only names of our own"
exit "$failed"
