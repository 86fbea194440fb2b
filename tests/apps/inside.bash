# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For inside-*.sh: programs that were started by ckpt-run and are asked by ckpt-signal, as an ordinary user. Sourcing it
# runs the script again, in a folder that this user can reach, below a reaper. The functions are for the inner run.
set -u
BUILD=$(realpath "${BUILD:-.}")
VARIANT=@inproc-user

skip() { echo "skip - $*"; exit 77; }

if [ -z "${INSIDE-}" ]; then
	CKPT=$(realpath "${CKPT:-$BUILD/ckpt}")
	from=$(dirname "$CKPT")
	for f in "$CKPT" "$from/ckpt-run" "$from/ckpt-signal" "$from/libckpt-inproc.so" "$BUILD/tests/fault/reaper"; do
		[ -e "$f" ] || skip "$f is not built"
	done
	as=() T=$(mktemp -d /tmp/ckpt-app.XXXXXX)
	[ "$(id -u)" != 0 ] || as=(-u)
	cp "$CKPT" "$from/ckpt-run" "$from/ckpt-signal" "$from/libckpt-inproc.so" "$BUILD/tests/fault/reaper" "$T"
	[ ! -e "$BUILD/libinproc/examples/primes" ] || cp "$BUILD/libinproc/examples/primes" "$T"
	cp "$0" "$(dirname "$0")"/*.bash "$T"
	chmod -R a+rX "$T"
	chmod a+rwx "$T"
	INSIDE=1 T=$T HOME=$T "$T/reaper" ${as[@]+"${as[@]}"} bash "$T/$(basename "$0")" </dev/null
	status=$?
	if [ -n "${CKPT_CASE_KEEP-}" ]; then echo "# kept: $T"; else rm -rf "$T"; fi
	exit "$status"
fi

. "$T/common.bash"
export CKPT_LIBRARY=$T/libckpt-inproc.so CKPT_ENGINE=$T/ckpt-signal
rounds=${INSIDE_ROUNDS:-20} # checkpoints in a row

# goes_on FILE: the number in it grows.
goes_on() { until_true greater "$1" $(($(number "$1") + 1)); }

preload= # another library that the program has
# start COMMAND...: in a session of its own; sets pid and inner (its own view of it).
start() {
	setsid env LD_PRELOAD="$preload" "$T/ckpt-run" -D "$T/own" "$@" </dev/null >>"$T/out" 2>&1 &
	pid=$! inner=$!
	disown
}
# ask ARGS...: for a checkpoint. One that comes when the program holds a file lock, a connection is about to be made, or what
# is shown on a terminal is about to be read, is refused by name: asked again, some times.
ask() {
	local tries
	n_images=$((n_images + 1))
	for ((tries = 0; tries < 20; tries++)); do
		timeout 60 "$T/ckpt-signal" -D "$T/img$n_images" "$@" "$pid" >"$T/ckpt.out" 2>&1 && return 0
		grep -qE 'CKPT-E0209|CKPT-E0201.* file /proc/[0-9]*/maps:|accepted yet|read yet' "$T/ckpt.out" || return 1
		sleep 0.0$((RANDOM % 90 + 10))
	done
	return 1
}
# many ARGS...: checkpoints in a row while it works; every other one with a copy.
many() {
	local i how
	for ((i = 1; i <= rounds; i++)); do
		how=--snapshot
		((i % 2)) || how=--stop
		ask --leave-running $how "$@" || bad "checkpoint $i ($how) fails"
		rm -rf "$T/img$n_images"
	done
	[ -n "$(state)" ] || bad "the program has died"
}
state() { ps -o state= -p "$pid"; }
# take ARGS...: a checkpoint that ends it, and a restore.
take() {
	local old=$pid
	ask --kill "$@" || bad "the checkpoint that ends it fails"
	until_true gone "$old" || bad "process $old is still there after the checkpoint"
	restore "$@" || bad "the restore fails"
}
# load COMMAND...: over and over from now on, by others; the last of them ends with load_off.
load() {
	rm -f quiet
	while [ ! -e quiet ]; do
		"$@" && echo >>loaded || echo "$*" >>failed
	done &
	loader=$!
}
load_off() {
	touch quiet
	wait "$loader"
	[ -s loaded ] || bad "no load"
	[ ! -e failed ] || bad "a client is not served: $(head -n 3 failed)"
	rm -f loaded
}
# Without ckpt: is the script itself right?
if [ -n "${CKPT_CASE_DRY-}" ]; then
	take() { :; }
	many() { :; }
	start() {
		setsid env LD_PRELOAD="$preload" "$@" </dev/null >>"$T/out" 2>&1 &
		pid=$! inner=$!
		disown
	}
fi
well() { [ ! -e failed ] || bad "$1: $(head -n 3 failed)"; }
# through NAME [N]: checkpoints in a row and two restores of a program that writes growing numbers to "n" and what went
# wrong to "failed"; it has begun when there are more than N (1).
through() {
	local round
	until_true greater n "${2:-1}" || bad "$1 does not start"
	many
	goes_on n || bad "$1 does not go on after the checkpoints"
	well "$1"
	for round in 1 2; do
		take
		goes_on n || bad "$1 does not go on after restore $round"
		well "$1, after restore $round"
	done
}
# comes_to_end NAME: told to "stop", it writes "ended".
comes_to_end() {
	touch stop
	until_true test -e ended || bad "$1 does not come to its end"
	well "$1"
}
