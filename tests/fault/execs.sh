#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program with several threads that executes itself all the time, dumped live: threads that the exec ends were stopped
# by the dump, and are waited for by it and by nobody else. Each dump ends, and the program goes on. $EXECS: dumps.
set -u
execer=${BUILD:-.}/tests/fault/execer
ckpt=$(realpath "${CKPT:-${BUILD:-.}/ckpt}")
skip() { echo "skip - $*"; exit 77; }
[ -x "$execer" ] && [ -x "$ckpt" ] || skip "ckpt or $execer is not built"
T=$(mktemp -d /tmp/ckpt-execs.XXXXXX)
setsid "$execer" </dev/null &
pid=$!
end() {
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	rm -rf "$T"
}
trap end EXIT
bad() { echo "not ok - $*"; sed 's/^/# /' "$T/out"; exit 1; }
# The number of the exec that it is at.
at() { tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -d' ' -f2; }
goes_on() {
	local i before
	before=$(at)
	for ((i = 0; i < 1000; i++)); do
		now=$(at)
		[ -n "$now" ] && [ "$now" != "$before" ] && return
		sleep 0.01
	done
	return 1
}

n_images=0
for ((i = 0; i < ${EXECS:-60}; i++)); do
	rm -rf "$T/img"
	timeout -k 5 30 "$ckpt" dump -R --live --timeout 5 -t "$pid" -D "$T/img" >"$T/out" 2>&1
	status=$?
	case $status in
	0) n_images=$((n_images + 1)) ;;
	# It may be another program whenever it is looked at.
	1 | 3) [ ! -e "$T/img/image" ] || bad "dump $i fails, but leaves an image" ;;
	*) bad "dump $i: status $status" ;;
	esac
	goes_on || bad "it does not go on after dump $i"
done
[ "$n_images" -gt $((i / 2)) ] || bad "only $n_images of $i dumps succeed"
echo "ok - $i dumps of a program that executes itself, $n_images images"
