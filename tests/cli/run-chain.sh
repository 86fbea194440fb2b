#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ckpt-run --interval --track-mem: checkpoints that go on from each other. What the newest go on from is kept, and no
# more; killed at any moment, the program goes on from the newest.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
RUN=${CKPT%/*}/ckpt-run
[ -x "$RUN" ] && [ -e "${CKPT%/*}/libckpt-inproc.so" ] || skip 'the library is not built'
takes_tracking

# 8 MiB, of which each pass looks at all and writes 1/32; passes are counted, one a line.
cat >writer.pl <<'P'
$| = 1;
my $n = 2048; my $m = "\0" x ($n * 4096); my @want = (0) x $n;
for my $i (0 .. $n - 1) { substr($m, $i * 4096, 4) = pack("V", $want[$i] = $i + 1); }
for my $pass (1 .. 1e9) {
	for my $i (0 .. $n - 1) {
		if (unpack("V", substr($m, $i * 4096, 4)) != $want[$i]) { open(my $f, ">", "bad"); exit 1; }
		next if ($i + $pass) % 32;
		substr($m, $i * 4096, 4) = pack("V", $want[$i] = ($i * 31 + $pass) & 0xffffffff);
	}
	print "$pass\n";
	exit 0 if -e "stop";
	select(undef, undef, undef, 0.1);
}
P
every=0.3
# Supervised, in a session of its own.
job() {
	setsid "$RUN" -D job --interval "$every" --keep 2 --track-mem --resume --checkpoint-on TERM \
		perl "$T/writer.pl" </dev/null >>counted 2>>notes &
	PID=$!
	STARTED+=("$PID")
}
ends() { wait "$PID" 2>/dev/null; status=$?; }
newest() { find job -name image 2>/dev/null | sort | tail -n 1 | sed 's,/image$,,'; }
number() { local d; d=$(newest); d=${d##*.}; echo $((10#0$d)); }
reaches() { [ "$(number)" -ge "$1" ]; }
program() { sed -n 's/^\([0-9]*\).*/\1/p' job/program; }
whole() { awk '$1 != NR { exit 1 }' counted && ! [ -e bad ]; }
grown() { [ "$(wc -l <counted)" -ge "$1" ]; }
# None of a chain is missing, and there is none that no newer one needs but the newest two.
chain_right() {
	local d needed all
	for d in job/ckpt.*; do
		[ ! -L "$d/parent" ] || [ -e "$d/parent/image" ] || { echo "# $d lacks what it goes on from"; return 1; }
	done
	all=$(find job -name image | sort | sed 's,/image$,,')
	needed=$(for d in $(echo "$all" | tail -n 2); do
		while :; do echo "$d"; [ -L "$d/parent" ] || break; d=job/$(basename "$(readlink "$d/parent")"); done
	done | sort -u)
	[ "$all" = "$needed" ] || { echo "# there:" "$all" "needed:" "$needed" "folders:" job/*; return 1; }
}
not_held() { ! pgrep -f "^ckpt-track $1\$" >/dev/null; }
# Nothing goes on from NAME.
not_from() { find job -name parent -lname "*/$1" >err; [ ! -s err ] || { ls -l job job/*/parent; cat notes; } >>err; ! [ -s err ]; }
settled() { [ -z "$(find job -name '.*.tmp')" ]; }
stopped_right() {
	# The supervisor and whoever takes a checkpoint: they cannot be between two steps then.
	kill -STOP "$PID"
	until_true 10 settled && until_true 5 chain_right
	local r=$?
	kill -CONT "$PID"
	return $r
}

CKPT=$RUN expect 'tracking without an interval' 2 '^ckpt-run: --track-mem: it needs --interval S' -D job --track-mem true
job
check 'checkpoints are taken' until_true 20 reaches 4
check 'the first is complete' test ! -L job/ckpt.000001/parent
check 'the second goes on from it' test "$(readlink job/ckpt.000002/parent)" = ../ckpt.000001
check 'and is less' test "$(pages_size job/ckpt.000002)" -lt $(($(pages_size job/ckpt.000001) * 3 / 4))
check 'those that it needs are kept' stopped_right
# A complete one comes again, and what it does not need goes.
check 'the first chain goes' until_true 40 test ! -e job/ckpt.000001
check 'no more than is needed' stopped_right
# Who takes one is killed: the next are taken nevertheless.
for i in 1 2 3 4 5 6; do
	for p in $(cat "/proc/$PID/task/$PID/children"); do
		[ "$p" = "$(program)" ] || grep -qz '^ckpt-track' "/proc/$p/cmdline" || kill -KILL "$p" 2>/dev/null
	done
	sleep "0.1$i"
done
was=$(number)
check 'killed, they are taken nevertheless' until_true 20 reaches $((was + 3))
check 'and the program is well' whole

# ---- killed, and on from the newest ----
for i in 1 2; do
	kill -KILL "$(program)"; ends
	check "kill $i: it is told" test "$status" = 137
	expect "kill $i: the newest is whole" 0 '' verify -D "$(newest)"
	was=$(number) lines=$(wc -l <counted)
	job
	check "kill $i: it goes on" until_true 20 grown $((lines + 3))
	check "kill $i: and is checkpointed" until_true 20 reaches $((was + 3))
	check "kill $i: a chain of its own" not_from "$(printf 'ckpt.%06u' "$was")"
	check "kill $i: nothing is lost" whole
done
# ---- a damaged one: the one before, of which it is not a part ----
kill -KILL "$(program)"; ends
newest=$(newest)
printf X | dd of="$newest/image" bs=1 seek=100 conv=notrunc 2>/dev/null
lines=$(wc -l <counted) every=1
job
check 'a damaged one: it goes on' until_true 20 grown $((lines + 1))
cp notes err
check 'a damaged one: named' grep -q "^note: $T/$newest is not used: CKPT-E0302: " notes
# ---- the last one goes on, too ----
was=$(number)
until_true 20 reaches $((was + 1))
kill -TERM "$PID"; ends
check 'a last one' test "$status" = 85
check 'it goes on from the one before' test -L "$(newest)/parent"
check 'the chain is right' chain_right
touch stop
last=$(program)
job
ends
check 'it ends well' test "$status" = 0
check 'in order' whole
check 'nothing is left' test -z "$(find job -name 'ckpt.*')"
check 'no holder is left' until_true 5 not_held "$last"
finish_as_both
