#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A restore that cannot be: pid taken, files missing or changed, pidfile there. All reasons at once, nothing left. Then
# one that can: exit status, pidfile, detached.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

# A program that ends with the status it finds in its own variable.
cat >prog.sh <<'PROG'
exec 3<"$1/data" 4<"$1/data2"
status=7
trap 'exit $status' USR1
trap 'read -r line <&3; echo "$line" >"$1/line"' USR2
while :; do read -r -t 1000 _ <>"$1/never"; done
PROG
mkfifo never
echo 'first line' >data
echo second >data2
start bash "$T/prog.sh" "$T"
until_true 5 asleep "$PID" bash
expect 'a dump that leaves it' 0 '' dump -t "$PID" -D img -R
[ "$status" = 0 ] || finish
sum=$(cat img/* | sha256sum)

if [ -z "$BOXED" ]; then
	expect 'pid taken' 1 "^ckpt: CKPT-E0401: .*$PID.*; end the process that has it" restore -D img
	expect 'pid taken: the plan says so too' 1 "^ckpt: CKPT-E0401: .*$PID" plan -D img
	check 'the process that has it is unharmed' unharmed "$PID"
fi
kill -KILL "$PID"
until_true 5 test ! -e "/proc/$PID" || { fail 'the target does not go away'; finish; }

# Its number is free when its parent has taken note of its end, a moment after the dump.
if [ -z "$BOXED" ] && command -v perl >/dev/null; then
	perl -e 'use POSIX; my $p = fork; if (!$p) { setsid; exec "sleep", "1000" }
		open(my $f, ">", "late"); print $f $p; close $f; my $s = "";
		while ($s !~ /\) Z/) { select(undef, undef, undef, 0.01); open($f, "<", "/proc/$p/stat"); $s = <$f>; close $f; }
		select(undef, undef, undef, 0.2); waitpid($p, 0);' </dev/null >/dev/null 2>&1 &
	STARTED+=("$!")
	until_true 5 test -s late; late=$(cat late)
	until_true 5 asleep "$late" sleep
	expect 'a dump of who is not waited for at once' 0 '' dump -t "$late" -D late.img
	expect 'is restored when it was' 0 '' restore -d -D late.img
	check 'with its number' unharmed "$late"
	kill -KILL "$late"
fi

expect 'a plan' 0 '' plan -D img
check 'it has steps' test -s "$T/out"
expect 'a plan with programs' 0 '' plan -D img -v
mv data data.away
expect 'file missing' 1 "^ckpt: CKPT-E0402: .*$T/data.*; put the file back\$" restore -D img
expect 'file missing: the plan says so too' 1 '^ckpt: CKPT-E0402: ' plan -D img
mv data2 data2.away
ckpt restore -D img
check 'two files missing: status' test "$status" = 1
check 'two files missing: both are named' test "$(grep -c '^ckpt: CKPT-E0402: ' "$T/err")" = 2
mv data.away data; mv data2.away data2
echo 'one more line' >>data
expect 'file of another size' 1 "^ckpt: CKPT-E0403: .*$T/data.*; put back the file as it was at the dump\$" restore -D img
printf 'first line\n' >data
check 'nothing runs' test ! -e "/proc/$PID"
: >img/taken.pid
expect 'pidfile there' 1 '^ckpt: CKPT-E0408: .*taken.pid.*; remove it, or choose another file$' \
	restore -D img --pidfile taken.pid -d
check 'nothing runs' test ! -e "/proc/$PID"
rm img/taken.pid
check 'the image is as it was' test "$(cat img/* | sha256sum)" = "$sum"

# run_restore ARGS...: in the background; $status and $T/err when the program has ended. $ROOT is its pid from here.
run_restore() {
	rm -f "$T/root.pid"
	"$CKPT" restore -D img --pidfile "$T/root.pid" "$@" >"$T/out" 2>"$T/err" </dev/null &
	RESTORE=$!
	until_true 10 test -s "$T/root.pid" || { fail 'no restore'; finish; }
	ROOT=$(cat "$T/root.pid")
	STARTED+=("$ROOT")
	until_true 10 grep -q '^restored ' "$T/out"
}
run_restore
check 'a summary' grep -Eq '^restored 1 process, 1 thread, ' "$T/out"
kill -USR2 "$ROOT"
until_true 5 test -s line
check 'it reads on where it was' grep -qx 'first line' line
kill -USR1 "$ROOT"
wait "$RESTORE"
check "ckpt ends with the program's status" test $? = 7
run_restore
kill -TERM "$ROOT"
wait "$RESTORE"
check 'and with 128 + N for a signal' test $? = 143

run_restore -d
wait "$RESTORE"
check 'detached: status' test $? = 0
check 'detached: it runs' unharmed "$ROOT"
check 'detached: its table of descriptors is small' test "$(sed -n 's/^FDSize:[[:blank:]]*//p' "/proc/$ROOT/status")" -le 4096
kill -KILL "$ROOT"
check 'detached: it ends' until_true 5 gone "$ROOT"
rm -f root.pid
until_true 5 test ! -e "/proc/$ROOT"
ckpt restore -D img -d -S --pidfile "$T/root.pid"
check 'sibling: status' test "$status" = 0
ROOT=$(cat root.pid 2>/dev/null || echo 0)
STARTED+=("$ROOT")
check 'sibling: it runs' unharmed "$ROOT"
# The caller of ckpt is timeout(1) here, which has ended.
kill -KILL "$ROOT"
check 'the image is as it was' test "$(cat img/* | sha256sum)" = "$sum"
finish
