#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images that go on from each other, taken from inside: what changed since the one before, without privilege; nothing
# of the tracking is seen by the program, or left in it.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
RUN=${CKPT%/*}/ckpt-run SIGNAL=${CKPT%/*}/ckpt-signal
[ -x "$RUN" ] && [ -e "${CKPT%/*}/libckpt-inproc.so" ] || skip 'the library is not built'
takes_tracking

# Two processes of 8 MiB each that look at what every page had a pass ago and write a sixteenth of them; asked by a
# file one becomes another program.
cat >writer.pl <<'P'
my ($name) = @ARGV;
my $n = 2048; my $m = "\0" x ($n * 4096); my @want = (0) x $n; my $pass = 0;
open(my $w, ">", $name);
if ($name !~ /child/ && !fork()) { exec("perl", $0, "$name-child"); }
for my $i (0 .. $n - 1) { substr($m, $i * 4096, 4) = pack("V", $want[$i] = $i + 1); }
while (1) {
	$pass++;
	for my $i (0 .. $n - 1) {
		if (unpack("V", substr($m, $i * 4096, 4)) != $want[$i]) { open(my $f, ">", "$name.bad"); exit 1; }
		next if ($i + $pass) % 16;
		substr($m, $i * 4096, 4) = pack("V", $want[$i] = ($i * 31 + $pass) & 0xffffffff);
	}
	sysseek($w, 0, 0); syswrite($w, sprintf("%8d", $pass));
	exec("perl", $0, $name) if unlink("$name.become");
	select(undef, undef, undef, 0.2);
}
P
pass_of() { local n; n=$(cat "$1" 2>/dev/null); echo $((n)); }
passes() { [ "$(pass_of "$1")" -gt "$2" ]; }
goes_on() {
	local f now
	for f in w w-child; do
		now=$(pass_of $f)
		until_true 20 passes $f $((now + 2)) && ! [ -e $f.bad ] || return 1
	done
}
fds() { readlink "/proc/$PID"/fd/* | sort; }
held() { pgrep -f "^ckpt-track $PID\$" >/dev/null; }
not_held() { ! held; }
# Like ckpt and expect, for the other program.
expect_signal() {
	local was=$CKPT
	CKPT=$SIGNAL
	expect "$@"
	CKPT=$was
}

start "$RUN" perl writer.pl "$T/w"
until_true 20 passes w-child 2 || { fail 'no target'; finish; }
before=$(fds)
expect_signal 'the first one' 0 '' -D 1 --track-mem "$PID"
check 'the tracking is held' held
expect_signal 'what changed' 0 '' -D 2 --prev-images-dir ../1 --track-mem "$PID"
check 'is less' test "$(pages_size 2)" -lt $(($(pages_size 1) * 3 / 4))
check 'names the one before' test "$(readlink 2/parent)" = ../1
last=2
for i in 3 4 5 6 7; do
	expect_signal "image $i" 0 '' -D $i --prev-images-dir ../$last --track-mem "$PID"
	last=$i
done
check 'the program has the descriptors that it had' test "$(fds)" = "$before"
check 'and its memory' goes_on
expect 'the chain is whole' 0 '' verify -D 7
expect 'what it overrides can be freed' 0 '' dedup -D 7 --give-up-parents
expect 'it is whole still' 0 '' verify -D 7

# ---- from outside and from inside ----
expect 'from outside it goes on from that, too' 0 '' dump -t "$PID" -D 8 --prev-images-dir ../7 --track-mem -R
check 'from outside: less' test -L 8/parent
expect_signal 'from inside on from there' 0 '' -D 9 --prev-images-dir ../8 --track-mem "$PID"
check 'from inside: less' test "$(pages_size 9)" -lt "$(pages_size 1)" -a -L 9/parent

# ---- another program, tracking that is gone, a requester that is killed ----
touch w.become; until_true 10 test ! -e w.become; until_true 20 goes_on
expect_signal 'another program in between' 0 '' -D 10 --prev-images-dir ../9 --track-mem "$PID"
expect 'another program: whole' 0 '' verify -D 10
kill -KILL "$(pgrep -f "^ckpt-track $PID\$")"; until_true 5 not_held
expect_signal 'the holder is gone: complete' 0 '^note: .*this image is complete' -D 11 --prev-images-dir ../10 --track-mem "$PID"
check 'complete' test ! -e 11/parent
for i in 1 2 3 4 5 6 7 8; do
	timeout -s KILL 0.0${i}5 "$SIGNAL" -D k$i --track-mem "$PID" >/dev/null 2>&1
done
check 'requesters that are killed: the program goes on' goes_on
check 'and has no descriptor more' until_true 5 test "$(fds)" = "$before"
expect_signal 'the next one is complete, or goes on' 0 '' -D 12 --track-mem "$PID"
expect_signal 'the last one' 0 '' -D 13 --prev-images-dir ../12 --kill "$PID"
until_true 5 gone "$PID" || fail 'it is there still'
check 'no holder is left' until_true 5 not_held
ckpt restore -D 13 -d --pidfile "$T/back"
check 'it is restored' test "$status" = 0
PID=$(cat back); STARTED+=("$PID")
check 'and goes on' goes_on
kill -KILL "$PID"
finish_as_both
