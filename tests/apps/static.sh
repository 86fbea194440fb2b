#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program linked statically: no loader, no shared libraries, another place for everything.
. "$(dirname "$0")/lib.bash"
need "${CC:-cc}"
lib=$SOURCES/tests/lib
for how in -static -static-pie; do
	"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O2 $how -I"$SOURCES" -o "$T/static" "$SOURCES/tests/fault/victim.c" "$lib/victim.c" \
		"$lib/proc.c" "$lib/files.c" -lpthread 2>"$T/out" || skip "cannot link with $how: $(head -n 1 "$T/out")"
	coproc V { exec "$T/static" many "$T"; }
	parent=$V_PID
	read -r -t 20 pid <&"${V[0]}" || bad "the program does not start"
	inner=$pid
	for _ in 1 2 3; do
		dump || bad "$how: the dump fails"
		until_true gone "$pid" || bad "$how: still there after the dump"
		restore || bad "$how: the restore fails"
		"$T/victim" well "$T" >"$T/out" || bad "$how: not well after a restore: $(cat "$T/out")"
	done
	kill_all
	until_true gone "$pid" || bad "something is left of it"
	wait "$parent" 2>/dev/null
	rm -f heart
done
good "static programs go on after three restores"
