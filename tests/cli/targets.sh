#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What cannot be dumped: one sentence with its code, no folder left, the process unharmed.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

# refused NAME PID STATUS REGEX: a dump and a check of it say the same.
refused() {
	expect "$1" "$3" "$4" dump -t "$2" -D "$T/img"
	check "$1: no folder is left" test ! -e "$T/img"
	expect "$1: check says so too" "$3" "$4" check -t "$2"
}
# The same, of a process that has to go on as it was.
refused_alive() {
	refused "$@"
	check "$1: the process is unharmed" unharmed "$2"
}

start sleep 1000
gone_pid=$PID
kill -KILL "$PID"
until_true 5 test ! -e "/proc/$PID" || skip 'a process that was ended does not go away here'
refused 'a process that has ended' "$gone_pid" 1 "^ckpt: CKPT-E0101: .*$gone_pid.*; check the number with ps\$"
refused 'a number that no process can have' 2147483647 1 '^ckpt: CKPT-E0101: '

if [ "$(comm 2)" = kthreadd ]; then
	expect 'a kernel thread' 1 '^ckpt: CKPT-E0102: .*2.*; only user processes can be dumped$' dump -t 2 -D "$T/img"
	check 'a kernel thread: no folder is left' test ! -e "$T/img"
else
	echo '# no kernel thread can be seen here'
fi

refused_alive 'the caller' $$ 1 "^ckpt: CKPT-E0103: "
# shellcheck disable=SC2016  # the inner shell becomes ckpt
timeout 20 bash -c 'exec "$1" dump -t $$ -D "$2"' self "$CKPT" "$T/img" >"$T/out" 2>"$T/err"
check 'ckpt itself: status' test $? = 1
check 'ckpt itself: sentence' grep -q '^ckpt: CKPT-E0103: ' "$T/err"
check 'ckpt itself: no folder is left' test ! -e "$T/img"

start sleep 1000
if command -v perl >/dev/null; then
	# PTRACE_SEIZE; the tracer ends with its standard input.
	mkfifo go
	perl -e 'syscall(101, 0x4206, $ARGV[0] + 0, 0, 0) == 0 or exit 1;
		open(my $f, ">", "traced"); close($f); open(my $go, "<", "go"); <$go>;' "$PID" &
	tracer=$!
	STARTED+=("$tracer")
	until_true 5 test -e traced || skip 'this machine lets nobody trace'
	refused 'a traced process' "$PID" 1 "^ckpt: CKPT-E0104: .*$PID.*; end the debugger or tracer first\$"
	check 'a traced process: its tracer has it still' grep -q "^TracerPid:[[:space:]]*$tracer\$" "/proc/$PID/status"
	echo >go
	wait "$tracer"
	# One of us that was killed, for instance.
	rm -f traced
	# shellcheck disable=SC2016
	perl -e '$0 = shift; syscall(101, 0x4206, $ARGV[0] + 0, 0, 0) == 0 or exit 1;
		open(my $f, ">", "traced"); close($f); select undef, undef, undef, 0.5' "$(basename "$(readlink -f "$CKPT")")" "$PID" &
	tracer=$!
	STARTED+=("$tracer")
	until_true 5 test -e traced || fail 'nobody traces'
	expect 'another ckpt that lets go soon' 0 '' dump -R -t "$PID" -D img
	wait "$tracer"
	rm -rf img
fi
check 'a traced process: it goes on without its tracer' unharmed "$PID"

if is_root && command -v setpriv >/dev/null && as_nobody "$CKPT" --version >/dev/null 2>&1; then
	as_nobody "$CKPT" dump -t "$PID" -D "$T/img" >"$T/out" 2>"$T/err"
	check "another user's process: status" test $? = 1
	check "another user's process: no folder is left" test ! -e "$T/img"
	chmod 755 "$T"
	mkdir -m 777 open
	as_nobody "$CKPT" dump -t "$PID" -D open/img >"$T/out" 2>"$T/err"
	check "another user's process: status, folder writable" test $? = 1
	check "another user's process: sentence" grep -Eq '^ckpt: CKPT-E0105: .*; run ckpt as the owner' "$T/err"
	check "another user's process: one line" test "$(wc -l <"$T/err")" = 1
	check "another user's process: no folder is left" test ! -e open/img
	check "another user's process: unharmed" unharmed "$PID"
fi

# Processes of the same user that may not be traced: not what their owner is told to be.
# forbidden NAME REGEX COMMAND...: which makes "ready".
forbidden() {
	rm -f ready
	start setpriv --reuid 65534 --regid 65534 --clear-groups "${@:3}"
	until_true 5 test -e ready
	as_nobody "$CKPT" dump -t "$PID" -D open/img >"$T/out" 2>"$T/err"
	check "$1: status" test $? = 1
	check "$1: why" grep -Eq "^ckpt: CKPT-E0490: process $PID: .*$2.*; run ckpt as root" "$T/err"
	check "$1: unharmed" unharmed "$PID"
}
if [ -d open ] && command -v perl >/dev/null; then
	chmod 777 "$T"
	sleeps='open(my $f, ">", "ready"); close($f); sleep(1000);'
	forbidden 'one that is not dumpable' PR_SET_DUMPABLE \
		perl -e "syscall(157, 4, 0, 0, 0, 0) == 0 or die; $sleeps"
	forbidden 'one with a capability' 'capabilities that ckpt has not' \
		--inh-caps +net_raw --ambient-caps +net_raw perl -e "$sleeps"
	# What stands in for Yama here is Landlock, which is not asked for, and a file that says that it is Yama.
	# shellcheck disable=SC2016
	confine='my $a = pack("Q", 1 << 12); my $fd = syscall(444, $a, 8, 0); $fd < 0 and exit 77;
		syscall(157, 38, 1, 0, 0, 0); syscall(446, $fd, 0) == 0 or exit 77; exec(@ARGV) or die;'
	if perl -e "$confine" true && unshare -m true 2>/dev/null; then
		rm -f ready
		start setpriv --reuid 65534 --regid 65534 --clear-groups perl -e "$sleeps"
		until_true 5 test -e ready
		unshare -m sh -c 'mount -t tmpfs none /proc/sys/kernel && mkdir /proc/sys/kernel/yama &&
			echo 1 >/proc/sys/kernel/yama/ptrace_scope && exec "$@"' sh \
			setpriv --reuid 65534 --regid 65534 --clear-groups perl -e "$confine" \
			"$CKPT" dump -t "$PID" -D open/img >"$T/out" 2>"$T/err"
		check 'Yama is named' grep -Eq '^ckpt: CKPT-E0490: .*kernel.yama.ptrace_scope' "$T/err"
	fi
fi

# A job of a shell, without -j.
bash -c 'sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >job.new; mv job.new job; wait' 2>/dev/null &
until_true 5 test -s job
job=$(cat job)
STARTED+=("$job")
until_true 5 asleep "$job" sleep
refused_alive 'a shell job without -j' "$job" 1 "^ckpt: CKPT-E0204: .*$job.*; add --shell-job \\(-j\\)\$"
expect 'a shell job with -j' 0 '' check -t "$job" -j
check 'a shell job is unharmed' unharmed "$job"

expect 'a process that can be dumped' 0 '' check -t "$PID"
check 'it is said' grep -q "^process $PID can be dumped" "$T/out"
check 'it is unharmed' unharmed "$PID"
finish
