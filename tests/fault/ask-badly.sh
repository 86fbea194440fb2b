#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Requests that cannot be met: one sentence with its code for who asks, no folder left, nothing at all for the program.
if [ "$(id -u)" = 0 ] && [ "${1-}" != inside ] && unshare -m true 2>/dev/null; then
	exec unshare -m --propagation private "$0" inside # for a small file system
fi
. "$(dirname "$0")/../lib/cli.sh"
ckpt_signal=$(dirname "$CKPT")/ckpt-signal ckpt_run=$(dirname "$CKPT")/ckpt-run
library=$(dirname "$CKPT")/libckpt-inproc.so
[ -x "$ckpt_signal" ] && [ -x "$ckpt_run" ] && [ -r "$library" ] || skip "ckpt-signal, ckpt-run or the library are not built"
stubborn=$(realpath "${BUILD:-.}")/tests/fault/stubborn
[ -x "$stubborn" ] || skip "$stubborn is not built"
chmod 755 "$T"
mkdir "$T/w" && cd "$T/w" || exit 1
export CKPT_LIBRARY=$library CKPT_ENGINE=$ckpt_signal

# ask PID ARGS...
ask() {
	local pid=$1
	shift
	timeout -k 5 60 "$ckpt_signal" -D "$T/img" "$@" "$pid" >"$T/out" 2>"$T/err" </dev/null
	status=$?
}
# As start(), for what may never sleep.
run_stubborn() {
	rm -f ready beats enough end pid
	# shellcheck disable=SC2016  # it is the inner shell that expands
	bash -c 'setsid "$@" </dev/null >/dev/null 2>&1 & echo $! >pid.new; mv pid.new pid; wait' start \
		"$ckpt_run" "$stubborn" "$@" 2>/dev/null &
	{ until_true 5 test -s ready && until_true 5 test -s pid; } || { echo "not ok - $* does not start"; exit 1; }
	PID=$(cat pid)
	STARTED+=("$PID")
}
beats() { cat beats 2>/dev/null || echo 0; }
more_beats() { [ "$(beats)" -gt "$1" ]; }
goes_on() { until_true 5 more_beats $(($(beats) + 2)); }
sentence() { [ "$(grep -vc '^note: ' "$T/err")" = 1 ] && grep -Eq -- "$1" "$T/err"; }
# count REGEX: what the last request of many said; one that failed has to have said REGEX.
count() {
	case $status in
	0) taken=$((taken + 1)) ;;
	1) sentence "$1" || { bad=$((bad + 1)); cp "$T/err" "$T/err.bad"; } ;;
	*) bad=$((bad + 1)); cp "$T/err" "$T/err.bad" ;;
	esac
}
# counted NAME N: all of these N.
counted() {
	[ "$bad" = 0 ] || cp "$T/err.bad" "$T/err"
	check "$1: $taken of $2 met, a sentence for the others" test "$bad" = 0
}
# refused NAME STATUS REGEX: what the last request said.
refused() {
	if [ "$status" != "$2" ]; then fail "$1: exit status $status instead of $2"
	elif ! sentence "$3"; then fail "$1: not the one sentence /$3/"
	elif [ -e "$T/img" ]; then fail "$1: a folder is left"; rm -rf "$T/img"
	else pass "$1"; fi
}
is_whole() { "$CKPT" verify -D "$1" >/dev/null 2>&1; }
granted() {
	if [ "$status" = 0 ] && is_whole "$T/img"; then pass "$1"; else fail "$1"; fi
	rm -rf "$T/img"
}
unharmed_still() { check "$1: it goes on" goes_on; }
end_it() { kill -KILL "$PID" 2>/dev/null; until_true 5 gone "$PID"; }

start sleep 1000
ask "$PID"
refused "without the library" 1 "^ckpt-signal: CKPT-E0109: .*$PID.*; start it with ckpt-run, or dump it from outside"
check "without the library: unharmed" unharmed "$PID"
end_it
ask "$PID"
refused "a process that is not there" 1 "^ckpt-signal: CKPT-E0101: .*$PID"

run_stubborn plain
ask "$PID"
granted "a plain program"
if is_root && command -v setpriv >/dev/null; then
	cp "$ckpt_signal" "$T/ckpt-signal" && chmod 755 "$T/ckpt-signal" && mkdir -m 777 "$T/open"
	as_nobody timeout 30 "$T/ckpt-signal" -D "$T/open/img" "$PID" >"$T/out" 2>"$T/err"
	status=$?
	refused "another user's" 1 "^ckpt-signal: CKPT-E0105: .*$PID"
	check "another user's: no folder" test ! -e "$T/open/img"
	unharmed_still "another user's"
fi
# Anybody may connect to who asks: only the program is listened to.
mkdir -m 777 "$T/other" && cp "$stubborn" "$T/other" && chmod 755 "$T/other/stubborn"
(cd "$T/other" && as_nobody ./stubborn impostor) &
impostor=$!
until_true 5 test -s "$T/other/ready"
for how in --snapshot --stop --snapshot --stop --snapshot --stop --snapshot --stop; do
	ask "$PID" $how
	granted "somebody else answers: $how"
done
check "somebody else answers: he did" test -s "$T/other/tricked"
touch "$T/other/enough"
wait "$impostor"
kill -STOP "$PID"
until_true 5 test "$(state "$PID")" = T
ask "$PID" --wait 2
refused "a stopped one" 1 "^ckpt-signal: CKPT-E0113: .*$PID.*; continue it first: kill -CONT"
check "a stopped one is still stopped" test "$(state "$PID")" = T
kill -CONT "$PID"
unharmed_still "a stopped one"
ask "$PID"
granted "a stopped one that goes on"
# By ptrace it stands for a moment, as where somebody else dumps it or looks at it.
"$stubborn" hold "$PID" 400 &
until_true 5 eval 'test "$(state "$PID")" = t'
ask "$PID"
granted "one that is traced for a moment"
wait $!
"$stubborn" hold "$PID" 8000 &
until_true 5 eval 'test "$(state "$PID")" = t'
ask "$PID" --wait 2
refused "one that is traced" 1 "^ckpt-signal: CKPT-E0113: .*$PID"
wait $!
unharmed_still "one that is traced"

# Two at once, and then five: all are met, one after the other.
for many in 2 5; do
	pids=()
	for ((i = 0; i < many; i++)); do
		timeout 60 "$ckpt_signal" -D "$T/two.$i" "$PID" >"$T/two.$i.out" 2>&1 </dev/null &
		pids+=($!)
	done
	whole=0
	for ((i = 0; i < many; i++)); do
		wait "${pids[i]}"
		is_whole "$T/two.$i" && whole=$((whole + 1))
	done
	cat "$T"/two.*.out >"$T/err"
	check "$many requests at once: $whole images" test "$whole" = "$many"
	rm -rf "$T"/two.*
	unharmed_still "$many requests at once"
done

# The folder goes away all the time.
(while [ ! -e "$T/w/stop" ]; do rm -rf "$T/img"; done) 2>/dev/null &
remover=$!
bad=0
for ((i = 0; i < 20; i++)); do
	ask "$PID"
	case $status in 0) continue ;; 1) ! sentence '^ckpt-signal: ' || continue ;; esac
	bad=$((bad + 1))
	cp "$T/err" "$T/err.bad"
done
touch stop
wait "$remover"
[ "$bad" = 0 ] || cp "$T/err.bad" "$T/err"
rm -rf "$T/img"
check "a folder that vanishes: a sentence each time" test "$bad" = 0
unharmed_still "a folder that vanishes"
ask "$PID" -D "$T/img/no/way/there"
check "a folder that cannot be made" test "$status" = 1
check "a folder that cannot be made: code" sentence '^ckpt-signal: CKPT-E0305: '
rm -rf "$T/img"
if [ "${1-}" = inside ] && mkdir "$T/small" && mount -t tmpfs -o size=16k small "$T/small"; then
	ask "$PID" -D "$T/small/img"
	refused "no space" 1 '^ckpt-signal: CKPT-E0306: '
	check "no space: nothing is left" test -z "$(find "$T/small" -type f)"
	umount "$T/small"
	unharmed_still "no space"
fi
# A job that takes checkpoints all the time.
newer() { [ -e "$T/small/job/ckpt.00000$1/image" ]; }
more_of_them() { [ -n "$(find "$T/small/job" -name image -newer "$T/err")" ]; }
if [ "${1-}" = inside ] && mount -t tmpfs -o size=2m small "$T/small"; then
	setsid "$ckpt_run" -D "$T/small/job" --interval 0.2 sleep 1000 </dev/null >/dev/null 2>"$T/err" &
	job=$!
	STARTED+=("$job")
	until_true 10 newer 2
	cat /dev/zero >"$T/small/fill" 2>/dev/null
	check "no space for a job: it is said" until_true 10 sentence 'no checkpoint: CKPT-E0306: '
	# It tries again all the time: a folder that has no image yet is that of a try.
	for image in "$T"/small/job/ckpt.*/image; do
		check "no space for a job: ${image#"$T"/small/job/} stays" is_whole "${image%/image}"
	done
	rm "$T/small/fill"
	check "space again: it goes on" until_true 10 more_of_them
	kill -TERM "$job"
	wait "$job"
	check "a job that ended leaves no folder without an image" \
		test -z "$(for d in "$T"/small/job/ckpt.*; do [ -e "$d/image" ] || echo "$d"; done)"
	umount "$T/small"
fi
end_it

# He may send signals to it, but not read what the program may.
if is_root && [ -d "$T/open" ]; then
	run_stubborn two-ids
	as_nobody timeout 30 "$T/ckpt-signal" --wait 2 -D "$T/open/img" "$PID" >"$T/out" 2>"$T/err"
	status=$?
	refused "one that acts as another user" 1 "^ckpt-signal: CKPT-E01(05|10): .*$PID"
	unharmed_still "one that acts as another user"
	end_it
fi

run_stubborn blocked
ask "$PID" --wait 2
refused "one that blocks the signal" 1 "^ckpt-signal: CKPT-E0112: .*$PID"
unharmed_still "one that blocks the signal"
end_it
run_stubborn blocked-thread
ask "$PID" --wait 2
refused "a thread that blocks the signal" 1 "^ckpt-signal: CKPT-E0112: .*$(cat ready)"
unharmed_still "a thread that blocks the signal"
end_it
run_stubborn often-blocked
ask "$PID" --wait 20
check "a thread that blocks the signal for a while, and runs" test "$status" = 0
unharmed_still "a thread that blocks the signal for a while, and runs"
rm -rf "$T/img"
end_it
run_stubborn ignored
ask "$PID" --wait 2
refused "one that ignores the signal" 3 "^ckpt-signal: CKPT-E0115: .*$PID: it ignores signal 64"
unharmed_still "one that ignores the signal"
end_it
run_stubborn hook-no
ask "$PID"
refused "a hook that says no" 1 "^ckpt-signal: CKPT-E0114: .*23"
unharmed_still "a hook that says no"
end_it
run_stubborn disabled
ask "$PID" --wait 1
refused "in a critical section" 1 "^ckpt-signal: CKPT-E0111: .*$PID.*ckpt_enable"
unharmed_still "in a critical section"
end_it
run_stubborn hook-hangs
ask "$PID" --wait 1
refused "a hook that hangs" 1 "^ckpt-signal: CKPT-E0110: .*$PID.*; raise --wait"
touch enough
unharmed_still "a hook that hangs"
ask "$PID"
granted "a hook that hung once"
end_it
# All of its descriptors are in use: those of the files are the last.
if command -v perl >/dev/null; then
	cat >full.pl <<'P'
open(my $b, "+>", "beats") or die; { open(my $r, ">", "ready"); print $r 1; }
my @all; while (open(my $f, "<", "/dev/null")) { push @all, $f; }
for (my $n = 1;; $n++) { sysseek($b, 0, 0); syswrite($b, "$n\n"); select(undef, undef, undef, 0.01); }
P
	was=$stubborn most=$(ulimit -Sn) stubborn=perl
	ulimit -Sn 64
	run_stubborn full.pl
	ulimit -Sn "$most"
	stubborn=$was
	ask "$PID" --wait 2
	refused "without a free descriptor" 1 "^ckpt-signal: CKPT-E0110: process $PID: it has no descriptor left .*dump it from outside"
	unharmed_still "without a free descriptor"
	end_it
fi
# What has left the tree meanwhile is not saved, and not held up.
run_stubborn loses-grandchild
(sleep 0.4; touch enough) &
ask "$PID"
wait $!
check "a grandchild that leaves: it is not among them" grep -q "^dumped 2 processes," "$T/out"
granted "a grandchild that leaves"
unharmed_still "a grandchild that leaves"
orphan=$(cat orphan)
more_of_it() { [ "$(cat orphan 2>/dev/null || echo 0)" -gt "$orphan" ]; }
check "a grandchild that leaves: so does that" until_true 5 more_of_it
touch end
end_it
for how in vfork vfork-child; do
	run_stubborn $how
	ask "$PID" --wait 1
	refused "a parent in $how" 1 "^ckpt-signal: CKPT-E01(10|12): "
	touch enough
	unharmed_still "a parent in $how"
	ask "$PID"
	granted "a parent that was in $how"
	end_it
done

# In the middle of exec, and near their end: a checkpoint or a sentence.
run_stubborn exec
bad=0 taken=0
for ((i = 0; i < 30; i++)); do
	ask "$PID" --wait 3
	count '^ckpt-signal: CKPT-E0'
	[ "$status" = 0 ] || [ ! -e "$T/img/image" ] || { bad=$((bad + 1)); echo "an image is left" >"$T/err.bad"; }
	rm -rf "$T/img"
done
counted "a program that executes itself all the time" 30
unharmed_still "a program that executes itself all the time"
end_it
run_stubborn plain
bad=0 taken=0
for ((i = 0; i < 30; i++)); do
	(sleep 0.00$((i % 9 + 1)); kill -STOP "$PID") &
	ask "$PID" --wait 3 --stop
	wait $!
	kill -CONT "$PID"
	count '^ckpt-signal: CKPT-E01(10|13)'
	rm -rf "$T/img"
done
counted "a program that is stopped meanwhile" 30
unharmed_still "a program that is stopped meanwhile"
end_it
bad=0 taken=0
for ((i = 0; i < 40; i++)); do
	"$ckpt_run" "$stubborn" short $((i * 1000)) </dev/null >/dev/null 2>&1 &
	sleep 0.00$((i % 10))
	ask $! --wait 2
	count '^ckpt-signal: CKPT-E01(01|07|09)'
	wait $! || { bad=$((bad + 1)); echo "the program ends with $?" >"$T/err.bad"; }
	rm -rf "$T/img"
done
counted "programs that end meanwhile" 40
finish
