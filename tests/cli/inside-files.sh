#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Deleted, moved and changed files of a program with the library: the options of ckpt dump mean the same to ckpt-signal.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
BUILD=${CKPT%/*} RUN=${CKPT%/*}/ckpt-run
[ -x "$BUILD/ckpt-signal" ] && [ -e "$BUILD/libckpt-inproc.so" ] || skip 'there is no ckpt-signal here'
ask() { CKPT=$BUILD/ckpt-signal expect "$@"; }
# back DIR ARGS...: restores it; the process is $ROOT.
back() {
	local dir=$1
	shift
	ckpt restore -d -j -D "$dir" --pidfile "$T/$dir.pid" "$@"
	check "$dir: restored" test "$status" = 0
	ROOT=$(cat "$T/$dir.pid" 2>/dev/null || echo 0)
	STARTED+=("$ROOT")
}
end() { kill -KILL "$1"; until_true 5 gone "$1"; until_true 5 test ! -e "/proc/$1"; }

mkfifo never
head -c 3000000 /dev/urandom >large
cp large twin
echo 'two names' >a; ln a b
mkdir away; echo far >c; ln c away/d
echo line >log; echo written >rw
sum=$(sha256sum <large)
# shellcheck disable=SC2016  # it is the inner shell that expands
start "$RUN" -D "$T/own" bash -c 'cd "$1"; exec 9<>never 10<>large 11<>twin 12<>a 13<>c 14>>log 15<>rw >/dev/null 2>&1
	rm large twin a c; touch ready; while :; do read -r _ <&9; done' deleted "$T"
until_true 5 test -e ready
until_true 5 asleep "$PID" bash

ask 'a bad value' 2 '^ckpt-signal: --carry=much: "much" is not one of none' --carry much "$PID"
ask 'a bad size' 2 '"3X" is not a size' --ghost-limit 3X "$PID"
ask 'a limit' 1 "^ckpt-signal: CKPT-E0261: .*fd 10: deleted file $T/large: it has 3000000 bytes" \
	-D no --no-link-remap --ghost-limit 1m --rule fd:11=drop --rule fd:13=drop "$PID"
ask 'no new name' 3 "^ckpt-signal: CKPT-E0203: .*fd 13: file $T/c: .*--no-link-remap forbids" -D no --no-link-remap "$PID"
check 'no image of those' test ! -e no
check 'no name either' test "$(ls -A away)" = d -a -z "$(ls -A | grep ckpt-link)"
ask 'a dump' 0 "^note: file $T/c: was given the name $T/.ckpt-link-" -D img --carry written "$PID"
check 'the same content is stored once' test "$(stat -c %s img/pages)" -lt 5900000
ask 'compressed' 0 '' -D packed --compress=zstd --display-stats --kill "$PID"
check 'with numbers' grep -q '^dump frozen time: ' out
until_true 5 test ! -e "/proc/$PID"

back packed
check 'deleted files have their content' test "$(sha256sum <"/proc/$ROOT/fd/10")" = "$sum" -a "$(sha256sum <"/proc/$ROOT/fd/11")" = "$sum"
check 'and no name' test ! -e large -a ! -e twin
echo more >>"/proc/$ROOT/fd/12"; echo further >>"/proc/$ROOT/fd/13"
check 'the one with another name is that file' grep -q more b
check 'the one with a name elsewhere, too' grep -q further away/d
end "$ROOT"
rm a 2>/dev/null
echo 'two names' >b; echo far >away/d

echo more >>log
ckpt plan -D packed
check 'a log has grown' grep -q "^ckpt: CKPT-E0426: .*file $T/log: had 5 bytes, has 10 now" "$T/err"
echo 'something else' >rw
back img --files rollback
check 'rollback of a log and a file' test "$(cat log rw)" = $'line\nwritten'
finish_as_both
