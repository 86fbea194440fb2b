#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Chains of images that cannot be: a circle, too many, no room, somebody else's; programs that end, become others or have
# a userfaultfd of their own between two rounds.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
takes_tracking

# What is of the program it says in "who"; asked by a file it becomes another program, with other memory.
cat >prog.pl <<'P'
my ($who, $dir) = @ARGV;
my $m = "memory of $who " x 200000;
while (1) {
	open(my $f, ">", "$dir/who.new"); print $f "$who\n"; close($f); rename("$dir/who.new", "$dir/who");
	substr($m, 0, 12) = "now $who nows";
	if (-e "$dir/become") { my $next = `cat $dir/become`; unlink("$dir/become"); exec("perl", "$dir/prog.pl", $next, $dir); }
	select(undef, undef, undef, 0.02);
}
P
is() { [ "$(cat who 2>/dev/null)" = "$1" ]; }
prog() {
	rm -f who become
	start perl prog.pl "$1" "$T"
	until_true 10 is "$1" || { fail 'no target'; finish; }
}
round() { ckpt "$1" -t "$PID" -D "$2" --prev-images-dir "../$3" "${@:4}"; }
goes_on() { rm -f who; until_true 10 is "$1"; }
become() { printf %s "$1" >become.new; mv become.new become; }
still() { check "$1: the target goes on" unharmed "$PID"; }

# ---- another program between two rounds ----
prog one
expect 'a pre-dump' 0 '' pre-dump -t "$PID" -D e1
become two
check 'becomes another program' until_true 10 is two
round pre-dump e2 e1
check 'a round of it' test "$status" = 0
become three
until_true 10 is three
round dump e3 e2
check 'a dump of the next one' test "$status" = 0
until_true 5 gone "$PID"
expect 'is whole' 0 '' verify -D e3
ckpt mem -D e3 --search 'memory of three memory'
check 'has its memory' test "$status" = 0
ckpt mem -D e3 --search 'memory of one memory'
check 'and none of those before' test "$status" = 1
expect 'is restored' 0 '' restore -D e3 -d
check 'and goes on' goes_on three
[ -z "$BOXED" ] || finish
ckpt pre-dump -t "$PID" -D g1
kill -KILL "$PID"; until_true 5 gone "$PID"
expect 'a round of one that has ended' 1 '^ckpt: CKPT-E0101: ' pre-dump -t "$PID" -D g2 --prev-images-dir ../g1
check 'leaves nothing' test ! -e g2

# ---- circles, and more than there may be ----
prog deep
expect 'a first one' 0 '' pre-dump -t "$PID" -D d1
for i in 2 3; do round pre-dump d$i d$((i - 1)); done
round dump d4 d3 -R
expect 'four' 0 '' verify -D d4
cp -r d4 copy
mv d1 gone1; ln -s d4 d1
expect 'a circle' 1 '^ckpt: CKPT-E034[01]: ' verify -D d4
rm d1; mv gone1 d1
mv d3 gone3; ln -s d4 d3
expect 'itself' 1 '^ckpt: CKPT-E034[01]: ' restore -D d4
rm d3; mv gone3 d3
expect 'as it was' 0 '' verify -D d4
expect 'again from the start' 0 '' pre-dump -t "$PID" -D n1
i=1
while [ $i -lt 101 ]; do
	i=$((i + 1))
	round pre-dump n$i n$((i - 1))
	[ "$status" = 0 ] || { fail "round $i"; break; }
	! [ -e n$i/parent ] && break
done
check 'a hundred images: the next is complete' test $i = 101
check 'a hundred images: which is said' grep -q '^note: 100 images go on from each other' "$T/err"
expect 'the hundredth is whole' 0 '' verify -D n100
rm -rf n?* d? copy gone*

# ---- no room in the middle of a round ----
expect 'a first one' 0 '' pre-dump -t "$PID" -D r1
if is_root && mkdir small && mount -t tmpfs -o size=32m small small 2>/dev/null; then
	head -c 33000000 /dev/zero >small/full 2>/dev/null
	ckpt pre-dump -t "$PID" -D small/r2 --prev-images-dir "$T/r1"
	check 'no room' test "$status" = 1
	check 'no room: said' grep -q '^ckpt: CKPT-E0306: ' "$T/err"
	check 'no room: nothing left' test ! -e small/r2/image -a ! -e small/r2/pages
	still 'no room'
	rm small/full
	ckpt dump -t "$PID" -D small/r3 --prev-images-dir "$T/r1" -R
	check 'room again: a whole dump' test "$status" = 0
	expect 'room again: it is' 0 '' verify -D small/r3
	expect 'room again: with what was written meanwhile' 0 '' mem -D small/r3 --search 'now deep nows'
	still 'room again'
	umount small
fi
ckpt dump -t "$PID" -D r4 --prev-images-dir ../r1 -R
check 'the next dump is there' test "$status" = 0
expect 'and whole' 0 '' verify -D r4
kill -KILL "$PID"; until_true 5 gone "$PID"

# ---- memory that the program tracks by itself ----
cat >own.pl <<'P'
my $fd = syscall(323, 0x80801) ; my $m = "own " x 500000;
open(my $f, ">", "$ARGV[0]"); print $f "$fd\n"; close($f);
while (1) { select(undef, undef, undef, 0.02); }
P
start perl own.pl "$T/own"
until_true 10 test -s own
if [ "$(cat own)" != -1 ]; then
	ckpt pre-dump -t "$PID" -D o1
	check 'a userfaultfd of its own: a pre-dump' test "$status" = 0
	ckpt dump -t "$PID" -D o2 --prev-images-dir ../o1 -R
	check 'a dump refuses it by name' grep -Eq '^ckpt: CKPT-E0201: .*userfaultfd' "$T/err"
	still 'its own userfaultfd'
fi
kill -KILL "$PID"; until_true 5 gone "$PID"

# ---- somebody else's ----
if is_root && as_nobody "$CKPT" --version >/dev/null 2>&1; then
	prog roots
	chmod 1777 "$T"
	expect "a pre-dump of root's" 0 '' pre-dump -t "$PID" -D q1
	as_nobody "$CKPT" pre-dump -t "$PID" -D q2 --prev-images-dir ../q1 >"$T/out" 2>"$T/err"
	check 'not permitted' grep -Eq '^ckpt: CKPT-E0(105|301): ' "$T/err"
	as_nobody "$CKPT" pre-dump -t "$PID" -D q3 >"$T/out" 2>"$T/err"
	check 'not permitted, without the image' grep -q '^ckpt: CKPT-E0105: ' "$T/err"
	still 'not permitted'
	round pre-dump q4 q1
	check 'its chain goes on' test -L q4/parent
fi

# ---- two users ----
if is_root && as_nobody "$CKPT" --version >/dev/null 2>&1; then
	chmod 777 .; rm -f who become
	start setpriv --reuid 65534 --regid 65534 --clear-groups perl prog.pl ours "$T"
	until_true 10 is ours || fail 'no target'
	as_nobody "$CKPT" pre-dump -t "$PID" -D theirs >/dev/null 2>"$T/err"
	check 'another user tracks it' test $? = 0
	expect 'a pre-dump meanwhile' 3 '^ckpt: CKPT-E0344: process [0-9]*: another user tracks its memory' pre-dump -t "$PID" -D u1
	check 'a pre-dump meanwhile: no image' test ! -e u1
	expect 'a dump meanwhile' 0 '^note: .*no image can go on from this one: another user tracks' dump -R --track-mem -t "$PID" -D u2
	as_nobody "$CKPT" dump -t "$PID" -D next --prev-images-dir ../theirs >/dev/null 2>"$T/err"
	check 'that one goes on' test $? = 0 -a -L next/parent
fi
finish
