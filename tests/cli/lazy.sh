#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory that comes later: the processes that bring it are killed, the image is damaged while it is used. The program has
# what it had or is ended with a reason, it never finds other bytes.
. "$(dirname "$0")/../lib/cli.sh"
BUILD=$(realpath "${BUILD:-.}") # of the run as a user, too
export BUILD
scanner=$BUILD/tests/fault/scanner
[ -x "$scanner" ] || skip "$scanner is not built"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'there is no perl'
MB=128

# Asked by a line on a FIFO, it looks at all of its memory and says how it is.
cat >prog.pl <<'PROG'
my ($mb, $dir) = @ARGV;
my $text = join("", map { pack("Q", $_ * 2654435761) x 512 } 1 .. $mb * 256);
open(my $f, "+<", "$dir/ask") or die;
open(my $r, ">", "$dir/ready"); print $r "1\n"; close $r;
while (my $line = <$f>) {
	my $bad = 0;
	for my $i (1 .. $mb * 256) { $bad++ if substr($text, ($i - 1) * 4096, 8) ne pack("Q", $i * 2654435761); }
	open(my $o, ">", "$dir/answer.new"); print $o "bad $bad\n"; close $o;
	rename("$dir/answer.new", "$dir/answer");
}
PROG
mkfifo ask
start perl prog.pl "$MB" "$T"
until_true 30 test -e ready || { fail 'the program does not start'; finish; }
expect 'a dump' 0 '' dump -t "$PID" -D img
[ "$status" = 0 ] || finish
until_true 10 test ! -e "/proc/$PID"

# Below the reaper of this script, which takes what a restore leaves behind; another test may have its own.
server() {
	ps -eo pid=,ppid=,comm= | awk -v reaper=$PPID '{ parent[$1] = $2; if ($3 == "ckpt-lazy") lazy[$1] }
		END { for (i in lazy) { p = i; while (p + 0 && p != reaper) p = parent[p]; if (p == reaper) print i, parent[i] } }'
}
# Those of this restore: the one whose parent is another of them is the server.
serving() { server | awk '{ p[$1] = $2 } END { for (i in p) if (p[i] in p) print i }' | sort -n | tail -n 1; }
keeping() { local s; s=$(serving); [ -n "$s" ] && awk "/^PPid/ { print \$2 }" "/proc/$s/status" 2>/dev/null; }
answer() { rm -f answer; echo x >ask & until_true 60 test -e answer; cat answer 2>/dev/null; }
unserved() { [ -z "$(serving)" ]; }
ended() { until_true 20 test ! -e "/proc/$PID"; }
end() { kill -KILL "$PID" 2>/dev/null; ended; until_true 20 unserved; }

if ! is_root; then
	# Faults in system calls are told to root only, whatever the sysctl and /dev/userfaultfd allow.
	expect 'a user cannot serve' 1 '^ckpt: CKPT-E0440: .*; restore as root, or with --lazy=map, ' restore -d -D img --lazy
	check 'a user cannot serve: nothing is left' unserved
	ckpt restore -d -D img --lazy=map
	check 'a user maps it' test "$status" = 0
	check 'a user maps it: all memory is there' test "$(answer)" = 'bad 0'
	finish
fi
for who in none serving keeping; do
	ckpt restore -d -D img --lazy -o "$T/log"
	check "$who: restored" test "$status" = 0
	check "$who: is served" test -n "$(serving)"
	pid=$([ "$who" = none ] || "$who")
	[ -z "$pid" ] || kill -KILL "$pid"
	check "$who: all memory is there" test "$(answer)" = 'bad 0'
	check "$who: the server ends" until_true 20 unserved
	end
done

# Killed while its lists are between two states, it has nobody who could go on: here as it lets go of an address space.
# 101 ptrace: 0x4206 SEIZE, 0x4207 INTERRUPT, 24 SYSCALL, 3 PEEKUSER, there 120: the number; 3 close; 0x40000000 __WALL.
cat >at-close.pl <<'KILLER'
my $pid = $ARGV[0] + 0;
syscall(101, 0x4206, $pid, 0, 1) == 0 && syscall(101, 0x4207, $pid, 0, 0) == 0 or exit 77;
my $number = pack("Q", 0);
# It can be asked while it stands.
while (waitpid($pid, 0x40000000) == $pid && syscall(101, 3, $pid, 120, $number) == 0) {
	if (unpack("Q", $number) == 3) { kill("KILL", $pid); waitpid($pid, 0x40000000); exit 0; }
	syscall(101, 24, $pid, 0, 0);
}
exit 1;
KILLER
ckpt restore -d -D img --lazy -o "$T/changes.log"
held=$(serving)
[ -z "$held" ] || kill -STOP "$held"
perl at-close.pl "$held"
status=$?
if [ "$status" = 77 ]; then
	[ -z "$held" ] || kill -CONT "$held" # it was done, or may not be traced
else
	check 'killed in the middle of a change' test "$status" = 0
	check 'killed in the middle of a change: the tree is ended' ended
	check 'killed in the middle of a change: why, and what to do' until_true 10 grep -q \
		'was ended: CKPT-E0441: .* in the middle of a change; restore again from a good image$' changes.log
	check 'killed in the middle of a change: nothing serves nobody' until_true 10 unserved
fi
end

# It is waited for, to a certain degree.
ckpt restore -d -D img --lazy
ckpt dump -R -t "$PID" -D early
check 'a dump while memory comes' eval '[ "$status" = 0 ] || grep -q "^ckpt: CKPT-E0495: " "$T/err"'
end

# A byte of memory, far from the end, which comes first.
cp -r img flipped
printf '\x55' | dd of=flipped/pages bs=1 seek=$((MB * 262144 + 77)) conv=notrunc 2>/dev/null
for how in serve map; do
	ckpt restore -d -D flipped --lazy=$how
	check "flipped byte, $how: the tree is ended" ended
	check "flipped byte, $how: why is said" until_true 10 grep -q 'CKPT-E0302\|checksum' flipped/lazy.log
	rm -f flipped/lazy.log
	end
done

# What happens to the image while it is served, which is held up for that.
for what in removed truncated overwritten; do
	rm -rf other && cp -r img other
	ckpt restore -d -D other --lazy
	held=$(serving)
	[ -n "$held" ] && kill -STOP "$held"
	case $what in
	removed) rm -rf other ;;
	truncated) truncate -s 8192 other/pages ;;
	overwritten) dd if=/dev/zero of=other/pages bs=1M count=$MB conv=notrunc 2>/dev/null ;;
	esac
	[ -n "$held" ] && kill -CONT "$held"
	if [ $what = removed ] || [ -z "$held" ]; then
		check "$what while it is served: all memory is there" test "$(answer)" = 'bad 0'
	else
		check "$what while it is served: the tree is ended" ended
		check "$what while it is served: why is said" \
			until_true 10 grep -q 'was ended: .*: chunk ' other/lazy.log
	fi
	end
done

# right_or_ended DIR: it has what it had, or is ended with a reason.
right_or_ended() { [ "$(answer)" = 'bad 0' ] || { ended && grep -q 'was ended:' "$1/lazy.log"; }; }
# One of the two is killed, and then one of those that are there then, and so on.
for ((i = 0; i < ${LAZY_KILLS:-4}; i++)); do
	rm -f img/lazy.log
	ckpt restore -d -D img --lazy
	for who in serving keeping serving; do
		sleep "0.00$((i * 7 % 10))"
		[ $((i % 2)) = 0 ] || who=keeping
		pid=$($who)
		[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
		until_true 2 eval '[ -z "$(server)" ] || [ -n "$(serving)" ]'
	done
	check "killed again and again, $i: it has its memory, or is ended with a reason" right_or_ended img
	end
done

# The restore itself is killed: all runs, with its memory, or nothing is left.
for ((i = 0; i < ${LAZY_KILLS:-4}; i++)); do
	"$CKPT" restore -d -D img --lazy >out 2>&1 & r=$!
	sleep "0.0$(printf %02d $((i * 3 % 25)))"
	kill -KILL $r 2>/dev/null
	wait $r 2>/dev/null
	if until_true 1 test ! -e "/proc/$PID"; then
		check "the restore is killed, $i: nothing serves nobody" until_true 10 unserved
	else
		check "the restore is killed, $i: the program has its memory" test "$(answer)" = 'bad 0'
	fi
	end
done
# Both at once: it never finds other bytes, which is to say zeroes.
start "$scanner" $((3 * MB)) "$T/count"
count() { od -A n -t u8 -j $(($1 * 8)) -N 8 "$T/count" | tr -d ' '; }
until_true 30 eval '[ -s count ] && [ "$(count 1)" -gt 0 ]'
expect 'a dump of a scanner' 0 '' dump -t "$PID" -D scanned
until_true 10 test ! -e "/proc/$PID"
# find_both: to pids, those that serve, without starting anything, for they are fast; both SIGNAL: to the two, at once.
find_both() {
	local f c fd
	pids=()
	for f in /proc/[0-9]*/comm; do
		{ read -r c <"$f"; } 2>/dev/null && [ "$c" = ckpt-lazy ] || continue
		for fd in "${f%comm}"fd/*; do [ "$fd" -ef scanned/pages ] && pids+=("${f//[!0-9]/}") && break; done
	done
}
both() {
	find_both
	[ ${#pids[@]} = 2 ] && kill "-$1" "${pids[@]}" 2>/dev/null
}
# Each process that would end with them has a pipe there; n_wills: how many there are, of all pipes.
n_wills() {
	local fd n=0
	for fd in "/proc/${pids[0]}/fd/"*; do [ -p "$fd" ] && n=$((n + 1)); done
	echo "$n"
}
# Does the child have one, or do they serve no more?
is_known() { [ "$(n_wills)" -gt "$wills" ] || [ "$(n_wills)" = 0 ]; }
child() { local c; read -r c <"/proc/$PID/task/$PID/children"; [ -n "$c" ] && echo "$c"; } 2>/dev/null
n_both=0 n_children=0
for ((i = 0; i < ${LAZY_KILLS:-4} * 2; i++)); do
	ckpt restore -d -D scanned --lazy
	forked=
	[ $((i % 4)) != 1 ] || {
		find_both
		wills=$(n_wills)
		kill -USR1 "$PID"
		until_true 5 child >/dev/null
		until_true 5 is_known
		forked=$(child)
	}
	[ $((i % 2)) = 0 ] || { both STOP; sleep 0.1; } # it waits for them
	if both KILL; then
		until_true 20 gone "$PID" && n_both=$((n_both + 1))
		[ -z "$forked" ] || { until_true 20 gone "$forked" && n_children=$((n_children + 1)); }
	fi
	[ -z "$forked" ] || ! kill -KILL "$forked" 2>/dev/null || until_true 20 gone "$forked"
	check "both are killed, $i: nothing else is found" test "$(count 0)" = 0
	end
done
check "both are killed: the kernel has ended it $n_both times, $n_children with its child" test "$n_both" -gt 0
finish_as_both
