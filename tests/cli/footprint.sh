#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What ckpt itself takes of memory, as wait4(2) tells (ru_maxrss, its children's too): under 64 MiB, however large the
# target is or however many areas and threads it has; from outside and from inside, dumps and restores.
. "$(dirname "$0")/../lib/cli.sh"
BUILD=$(realpath "${BUILD:-.}") # of the run as a user, too
export BUILD
load=$BUILD/tests/bench/load LIMIT_KIB=65536
[ -x "$load" ] || skip "$load is not built"
grep -qa '__asan_init\|__tsan_init' "$CKPT" && skip 'a sanitizer takes memory, too'
[ "$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)" -gt 2500000 ] || skip 'less than 2.5 GB of memory is free'
cd "$T" || exit 1
[ "$(df --output=avail -m . | tail -n 1)" -gt 1200 ] || skip 'less than 1.2 GB are free in the folder'
export LIMIT=120

# target SORT NUMBER COMMAND...: one of tests/bench/load.c, under COMMAND.
target() {
	rm -rf t && mkdir t
	start "${@:3}" "$load" "$1" "$2" "$T/t"
	until_true 60 test -e t/ready || { fail 'no target'; finish; }
	PID=$(cat t/ready)
	STARTED+=("$PID")
}
end() { kill -KILL "$PID" 2>/dev/null; until_true 10 gone "$PID"; }
# small NAME COMMAND...: it succeeds, and takes less than that.
small() {
	local peak
	timeout -k 5 "$LIMIT" "$load" run "${@:2}" >"$T/out" 2>"$T/err" </dev/null
	status=$(sed -n 's/^wall .* status //p' "$T/out") peak=$(sed -n 's/^wall .* peak \([0-9]*\) .*/\1/p' "$T/out")
	check "$1: done" test "$status" = 0
	check "$1: $peak KiB" test "${peak:-$LIMIT_KIB}" -lt "$LIMIT_KIB"
}
# both SORT NUMBER: dumps and restores from outside, each of what came back before.
both() {
	local how
	target "$1" "$2"
	for how in plain --live --compress; do
		# shellcheck disable=SC2046,SC2086  # words
		small "$2 $1, dump $how" "$CKPT" dump -t "$PID" -D img $([ $how != --live ] || echo -R) ${how#plain}
		end
		rm -f "$T/root.pid"
		small "$2 $1, restore $how" "$CKPT" restore -d -D img --pidfile "$T/root.pid"
		PID=$(cat root.pid 2>/dev/null)
		STARTED+=("${PID:=none}")
		check "$2 $1, restore $how: it is there" unharmed "$PID"
		rm -rf img
	done
	end
}
# inside SORT NUMBER
inside() {
	local how
	target "$1" "$2" "${CKPT%/*}/ckpt-run" --
	for how in plain --stop --compress; do
		small "$2 $1, ckpt-signal $how" "${CKPT%/*}/ckpt-signal" -D img ${how#plain} "$PID"
		check "$2 $1, ckpt-signal $how: it goes on" unharmed "$PID"
		rm -rf img
	done
	end
}
while read -r sort size; do
	both "$sort" "$size"
	[ ! -e "${CKPT%/*}/libckpt-inproc.so" ] || inside "$sort" "$size"
done <<'TABLE'
memory 512
areas 10000
threads 200
TABLE
finish_as_both
