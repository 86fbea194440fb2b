#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ckpt-signal where a child is stopped: it cannot answer, and is held from outside; it stays stopped whatever happens.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
RUN=${CKPT%/*}/ckpt-run SIGNAL=${CKPT%/*}/ckpt-signal
[ -x "$RUN" ] && [ -e "${CKPT%/*}/libckpt-inproc.so" ] || skip 'the library is not built'

# Three generations that count, each into a file of its own; told so, the one in the middle cannot be traced.
cat >count.pl <<'P'
my $name = "a";
for my $next ("b", "c") {
	my $pid = fork();
	last if $pid;
	$name = $next;
}
syscall(157, 4, 0) if $name eq "b" && $ARGV[0]; # prctl(PR_SET_DUMPABLE)
open(my $w, ">", $name);
open(my $p, ">", "$name.pid");
syswrite($p, "$$");
for my $i (1 .. 1e9) { sysseek($w, 0, 0); syswrite($w, sprintf("%8d", $i)); select(undef, undef, undef, 0.02); }
P
count_of() { local is; is=$(cat "$1" 2>/dev/null); echo $((is)); }
counts() { [ "$(count_of "$1")" -gt "$2" ]; }
go_on() { local f; for f in "$@"; do until_true 10 counts $f "$(count_of $f)" || return 1; done; }
state() { ps -o state= -p "$1"; }
is_in() { [ "$(state "$1")" = "$2" ]; }
begin() {
	rm -f a b c ./*.pid
	start "$RUN" perl count.pl "$@"
	until_true 10 test -s c.pid && until_true 10 counts c 3 && until_true 10 counts b 3 || { fail 'no target'; finish; }
	B=$(cat b.pid)
	kill -STOP "$B"
	until_true 5 is_in "$B" T
}
signal() { CKPT=$SIGNAL expect "$@"; }
still() { is_in "$B" T && [ "$(count_of b)" = "$at" ] && go_on a c; }

begin
at=$(count_of b)
for how in --stop --snapshot; do
	signal "a child is stopped, $how" 0 '' -D "img$how" $how "$PID"
	check "$how: it is still" still
	expect "$how: whole" 0 '' verify -D "img$how"
	check "$how: with the one below it" grep -q ': 3 processes,' out
done
signal 'memory is tracked, too' 0 '' -D t1 --track-mem "$PID"
signal 'what changed' 0 '' -D t2 --prev-images-dir ../t1 "$PID"
check 'still stopped' still
for i in 1 2 3 4 5 6 7 8 9; do
	timeout -s KILL 0.0${i} "$SIGNAL" -D "k$i" "$PID" >/dev/null 2>&1
	until_true 5 is_in "$B" T || fail "requester $i is killed: state $(state "$B")"
done
check 'requesters that are killed: still stopped' still
kill -CONT "$B"
check 'continued, it goes on' go_on a b c
kill -STOP "$B"; until_true 5 is_in "$B" T
signal 'the last one' 0 '' -D end --kill "$PID"
check 'all have ended' until_true 5 gone "$PID"
at=$(count_of b)
ckpt restore -D end -d --pidfile "$T/back"
check 'they are back' test "$status" = 0
PID=$(cat back); STARTED+=("$PID")
B=$(cat "/proc/$PID/task/$PID/children"); B=${B%% *}
check 'and stopped is who was' still
signal 'once more' 0 '' -D again "$PID"
check 'still' still
kill -CONT "$B"
check 'all go on' go_on a b c
kill -KILL "$PID" "$B"

if ! is_root; then
	begin hidden
	signal 'who may not be traced is named' 1 "^ckpt-signal: CKPT-E0490: child of process $PID, which is stopped: .*process $B" \
		-D no "$PID"
	check 'and all go on' go_on a c
	kill -KILL "$PID" "$B"
fi
finish_as_both
