#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ckpt-signal: usage, whom it can ask, one sentence where it cannot, images that restore, and requests by a plain kill.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
BUILD=${CKPT%/*} RUN=${CKPT%/*}/ckpt-run
[ -x "$BUILD/ckpt-signal" ] && [ -e "$BUILD/libckpt-inproc.so" ] || skip 'there is no ckpt-signal here'

# ask NAME STATUS REGEX ARGS...: as expect, of ckpt-signal.
ask() { CKPT=$BUILD/ckpt-signal expect "$@"; }

# Counts in steps of 50 ms, one number a line.
mkfifo never
cat >count.sh <<'PROG'
exec 9<>"$1/never" >"$1/counted" 2>&1
for ((i = 1; ; i++)); do
	echo $i
	read -r -t 0.05 _ <&9
done
PROG
whole() { awk '$1 != NR { exit 1 }' counted; }
has_lines() { [ -e counted ] && [ "$(wc -l <counted)" -ge "$1" ]; }
goes_on() { until_true 10 has_lines $(($(wc -l <counted) + 3)) && whole; }
one_sleeps() { [ "$(pgrep -c -s "$1" sleep)" = 1 ]; }
# It sleeps: before, its program is being executed and has no library yet.
has_child() { asleep "$1" sleep && [ -n "$(cat "/proc/$1/task/$1/children")" ]; }
n_images() { find "$1" -name image 2>/dev/null | wc -l; }

# ---- usage ----
ask 'no process' 2 '^ckpt-signal: process: its number is missing \(see `ckpt-signal --help`\)$'
ask 'two processes' 2 '^ckpt-signal: 2: one process at a time' 1 2
ask 'no number' 2 '^ckpt-signal: process: "me" is not a number' me
ask 'unknown option' 2 '^ckpt-signal: --frob: there is no such option' --frob 1
ask 'value missing' 2 '^ckpt-signal: -D: the value is missing' -D
ask 'empty folder' 2 'the value is empty' -D '' 1
ask 'wait is no number' 2 '"long" is not a number of seconds' --wait long 1
ask 'list takes no process' 2 '--list takes no process' --list 1
# Every option of the help is in the manual page, and the other way round.
options_of() { tr -d '\\' <"$1" | grep -oE -- '--[a-z][a-z-]+' | sort -u; }
# shellcheck disable=SC2154  # of cli.sh
ckpt_page=$here/man/ckpt-signal.1
ask 'help' 0 '' --help
check 'help and manual page have the same options' test "$(options_of out)" = "$(options_of "$ckpt_page")"
ask 'version' 0 '' --version
check 'version text' grep -Eq '^ckpt-signal [0-9]+\.[0-9]+$' "$T/out"

# ---- who cannot be asked ----
start sleep 1000
outside='start it with ckpt-run, or dump it from outside: ckpt dump -t PID$'
ask 'without the library' 1 "^ckpt-signal: CKPT-E0109: process $PID: .*; $outside" -D img "$PID"
check 'it is unharmed' unharmed "$PID"
gone_pid=$PID
kill -KILL "$PID"; until_true 5 test ! -e "/proc/$PID"
ask 'no such process' 1 "^ckpt-signal: CKPT-E0101: process $gone_pid" -D img "$gone_pid"
check 'nothing was made' test ! -e img

# ---- who can ----
start "$RUN" -D "$T/own" bash "$T/count.sh" "$T"
until_true 10 has_lines 2
ask 'the list' 0 '' --list
check 'it is on it' grep -Eq "^ *$PID +64 +1 bash $T/count.sh $T" out
check 'with a heading' grep -Eq '^ +PID SIGNAL THREADS COMMAND' out
ask 'a checkpoint' 0 '' -D img "$PID"
check 'a summary' grep -Eq '^dumped 1 process, 1 thread, .* frozen for ' out
check 'it goes on' goes_on
check 'unharmed' unharmed "$PID"
expect 'an image' 0 '' verify -D img
ask 'there is one already' 1 '^ckpt-signal: CKPT-E0304: ' -D img "$PID"
ask 'standing still' 0 '' --stop -D img2 -o log -v3 "$PID"
check 'a log' test -s img2/log
ask 'quietly' 0 '' -v0 -D img3 "$PID"
check 'no summary' test ! -s out
if ! is_root; then
	ask 'folder that cannot be written' 1 '^ckpt-signal: CKPT-E0305: ' -D / "$PID"
fi
kill -STOP "$PID"
ask 'stopped' 1 "^ckpt-signal: CKPT-E0113: process $PID: .*continue it first" -D img4 "$PID"
kill -CONT "$PID"
check 'it goes on' goes_on
if is_root; then
	chmod 777 "$T"
	as_nobody env CKPT="$BUILD/ckpt-signal" "$BUILD/ckpt-signal" -D "$T/img4" "$PID" >out 2>err
	check "another user's: status" test $? = 1
	check "another user's: why" grep -q "^ckpt-signal: CKPT-E0105: process $PID" err
fi
check 'no image of those that failed' test ! -e img4

# Killed at any instant, the requester leaves nothing behind in the program.
for i in 1 2 3 4 5 6 7 8 9 10; do
	"$BUILD/ckpt-signal" -D "killed$i" "$PID" >/dev/null 2>&1 &
	sleep "0.00$((i * 7 % 10))"
	kill -KILL $! 2>/dev/null
	wait $! 2>/dev/null
done
check 'requester killed: it goes on' goes_on
check 'requester killed: unharmed' unharmed "$PID"
ask 'asked again' 0 '' -D img5 "$PID"

# ---- by anybody ----
kill -s RTMAX "$PID"
check 'a plain signal makes a checkpoint' until_true 10 test -e own/ckpt.000001/image
check 'it goes on' goes_on
for _ in 1 2 3; do kill -s RTMAX "$PID"; sleep 0.5; done
check 'the newest two stay' until_true 10 test "$(n_images own)" = 2
check 'no child was seen' test -z "$(cat "/proc/$PID/task/$PID/children")"
counting=$PID

# ---- by another signal ----
start "$RUN" -D "$T/other" --signal USR2 sleep 1000
until_true 5 asleep "$PID" sleep
ask 'the list' 0 '' --list
check 'with its signal' grep -Eq "^ *$PID +12 +1 sleep 1000" out
ask 'it is found out' 0 '' -D usr2 "$PID"
ask 'or told' 0 '' --signal USR2 -D usr2-told "$PID"
kill -s USR2 "$PID"
check 'that signal alone' until_true 10 test -e other/ckpt.000001/image
check 'it goes on' unharmed "$PID"

# ---- with children and without ----
start "$RUN" bash -c 'sleep 1000 & exec sleep 2000'
family=$PID
until_true 5 has_child "$family"
ask 'with its child' 0 '' --tree -D with "$family"
check 'both' grep -q '^dumped 2 processes, ' out
ask 'without' 0 '' --one --kill -D without "$family"
check 'one' grep -q '^dumped 1 process, ' out
check 'it alone is gone' until_true 5 one_sleeps "$family"
start "$RUN" bash -c 'exec 7< <(sleep 1000); exec sleep 2000'
until_true 5 has_child "$PID"
ask 'without its child, to which it has a pipe' 3 "^ckpt-signal: CKPT-E0202: process $PID .*: fd 7: pipe:" --one -D pipe "$PID"
check 'it is unharmed' unharmed "$PID"
if echo 'int pause(void); int main(void) { return pause(); }' >static.c && ${CC:-cc} -static -o static static.c 2>/dev/null; then
	start "$RUN" bash -c './static & exec sleep 2000'
	until_true 5 has_child "$PID"
	ask 'with a child that has no library' 1 \
		"^ckpt-signal: CKPT-E0109: child of process $PID: process [0-9]+: .*; $outside" -D none "$PID"
	check 'it is unharmed' unharmed "$PID"
fi

# ---- with a deadline ----
# Then it cannot fork, and no copy of it is made.
cat >deadline.pl <<'PROG'
my ($share, $nap) = (pack("LLQlLQQQ", 48, 6, 2, 0, 0, 1e7, 9e7, 1e8), pack("qq", 0, 2e7));
syscall(314, 0, $share, 0) == 0 or exit 77; # sched_setattr(2), SCHED_DEADLINE
open(my $f, ">", "naps");
for ($! = 0; !$!; ) {
	syscall(35, $nap, 0);
	syswrite($f, "x") unless $!;
}
PROG
start "$RUN" perl deadline.pl
if until_true 5 test -s naps; then
	ask 'with a deadline' 0 '' -D deadline "$PID"
	naps=$(stat -c %s naps)
	check 'it goes on, with its errno' until_true 10 eval 'test "$(stat -c %s naps)" -gt $((naps + 3))'
	check 'nothing has ended it' unharmed "$PID"
else
	echo '# no SCHED_DEADLINE here'
fi
PID=$counting

# ---- and back ----
ask 'the last one' 0 '' --kill -D last "$PID"
check 'it is gone' until_true 5 gone "$PID"
until_true 5 test ! -e "/proc/$PID"
before=$(wc -l <counted)
expect 'restored' 0 '' restore -d -D last --pidfile root.pid
PID=$(cat last/root.pid 2>/dev/null || echo 0)
STARTED+=("$PID")
check 'it goes on' until_true 10 has_lines $((before + 3))
check 'where it was' whole
ask 'asked again after the restore' 0 '' -D img6 "$PID"
ask 'and ended' 0 '' --kill -D img7 "$PID"
check 'it is gone' until_true 5 gone "$PID"
finish
