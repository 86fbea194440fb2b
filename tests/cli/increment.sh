#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images that go on from each other: rounds, what becomes of a chain that is torn, and of the tracking that ends.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
takes_tracking

# Has 8 MiB; each pass looks at what every page had a pass ago and writes a sixteenth of the first half of them.
cat >writer.pl <<'P'
my $n = 2048; my $m = "\0" x ($n * 4096); my @want = (0) x $n; my $pass = 0;
for my $i (0 .. $n - 1) { substr($m, $i * 4096, 4) = pack("V", $want[$i] = $i + 1); }
while (1) {
	$pass++;
	for my $i (0 .. $n - 1) {
		if (unpack("V", substr($m, $i * 4096, 4)) != $want[$i]) {
			open(my $f, ">", "$ARGV[0].bad"); print $f "page $i of pass $pass\n"; exit 1;
		}
		next if $i > $n / 2 || ($i + $pass) % 16;
		substr($m, $i * 4096, 4) = pack("V", $want[$i] = ($i * 31 + $pass) & 0xffffffff);
	}
	symlink($pass, "$ARGV[0].new"); rename("$ARGV[0].new", $ARGV[0]);	# no file is open: an image may be restored twice
	select(undef, undef, undef, 0.02);
}
P
passes() { [ "$(readlink "$1" || echo 0)" -gt "$2" ]; }
goes_on() {
	local now
	now=$(readlink "$1")
	until_true 10 passes "$1" $((now + 2)) && ! [ -e "$1.bad" ]
}
writer() {
	start perl writer.pl "$T/$1"
	until_true 10 passes "$1" 1 || { fail 'no target'; finish; }
}
holder() { pgrep -x ckpt-track -f "^ckpt-track $1\$" 2>/dev/null || pgrep -f "^ckpt-track $1\$"; }
held() { holder "$1" >/dev/null; }
not_held() { ! held "$1"; }
note_is() { grep -Eq "^note: .*$1" "$T/err"; }

# ---- rounds ----
writer w
(ulimit -f 100; exec "$CKPT" dump -R -t "$PID" -D no 2>"$T/err"); status=$?
check 'no room to dump: failed' test $status = 1
check 'no room to dump: said' grep -q '^ckpt: CKPT-E0306: .*: File too large; free space' "$T/err"
check 'no room to dump: nothing is left' test ! -e no
expect 'a pre-dump' 0 '' pre-dump -t "$PID" -D 1
check 'the target goes on' unharmed "$PID"
check 'the tracking is held' held "$PID"
expect 'a second one' 0 '' pre-dump -t "$PID" -D 2 --prev-images-dir ../1
check 'is smaller' test "$(pages_size 2)" -lt "$(pages_size 1)"
check 'names the one before' test "$(readlink 2/parent)" = ../1
expect 'a dump in between' 0 '' dump -t "$PID" -D 3 --prev-images-dir ../2 --track-mem -R
before=3
for i in 4 5 6 7 8; do
	ckpt dump -t "$PID" -D $i --prev-images-dir ../$before --track-mem -R
	[ "$status" = 0 ] && ! [ -s "$T/err" ] || fail "round $i"
	before=$i
done
check 'the target is as it was' goes_on w
expect 'a plain dump meanwhile' 0 '' dump -t "$PID" -D whole -R
expect 'the last one' 0 '' dump -t "$PID" -D 9 --prev-images-dir ../8 --track-mem
until_true 5 gone "$PID" || fail 'the target is there still'
check 'no holder is left' until_true 5 not_held "$PID"
expect 'is whole' 0 '' verify -D 9
expect 'a pre-dump is whole, too' 0 '' verify -D 1
expect 'but cannot be restored' 1 '^ckpt: CKPT-E0342: 1/image: .*; use the dump that was made after it$' restore -D 1
expect 'the chain is shown' 0 '' show -D 9
check 'with every image' test "$(grep -c '^on top of ' "$T/out")" = 8
expect 'it is restored' 0 '' restore -D 9 -d
check 'and has its memory' goes_on w
kill -KILL "$PID"; until_true 5 gone "$PID"
# Asked to stop, or not able to: nothing is left.
"$CKPT" flatten -D 9 -o flat 2>"$T/err" & flattening=$!
until_true 10 eval 'test -e flat/.image* || gone $flattening'
kill -TERM $flattening; wait $flattening; status=$?
if [ -e flat/image ]; then pass 'flattened before it was asked to stop'; rm -r flat; else
	check 'flattening stopped: failed' test $status = 1
	check 'flattening stopped: said' grep -q '^ckpt: flatten: stopped by SIGTERM' "$T/err"
	check 'flattening stopped: nothing is left' test ! -e flat
fi
(ulimit -f 100; exec "$CKPT" flatten -D 9 -o flat 2>"$T/err"); status=$?
check 'no room to flatten: failed' test $status = 1
check 'no room to flatten: said' grep -q '^ckpt: CKPT-E0306: flat/' "$T/err"
check 'no room to flatten: nothing is left' test ! -e flat
expect 'flattened' 0 '' flatten -D 9 -o flat
expect 'nothing is needed any more' 0 '' verify -D flat
check 'it goes on from none' test ! -e flat/parent
mkdir aside; mv 1 2 3 4 5 6 7 8 aside/
expect 'it is restored alone' 0 '' restore -D flat -d
check 'and has its memory' goes_on w
kill -KILL "$PID"; until_true 5 gone "$PID"

# ---- compressed, in part ----
writer z
expect 'a pre-dump' 0 '' pre-dump -t "$PID" -D z1
expect 'a compressed one' 0 '' dump -t "$PID" -D z2 --prev-images-dir ../z1 --track-mem -R -c
expect 'one that is not' 0 '' dump -t "$PID" -D z3 --prev-images-dir ../z2 --track-mem -R
expect 'one that is again' 0 '' dump -t "$PID" -D z4 --prev-images-dir ../z3 -c
until_true 5 gone "$PID"
expect 'are whole together' 0 '' verify -D z4
expect 'and restored' 0 '' restore -D z4 -d
check 'with their memory' goes_on z
kill -KILL "$PID"; until_true 5 gone "$PID"
expect 'and flattened' 0 '' flatten -D z4 -o zflat
expect 'which is restored' 0 '' restore -D zflat -d
check 'with its memory' goes_on z
kill -KILL "$PID"; until_true 5 gone "$PID"

# ---- chains that are torn ----
for c in verify plan restore show flatten; do
	o=; [ $c = flatten ] && o='-o none'
	# shellcheck disable=SC2086  # two words
	expect "a parent is missing: $c" 1 '^ckpt: CKPT-E0340: 9/image: goes on from the image in 9/../8: ' $c -D 9 $o
done
check 'nothing is made of it' test ! -e none
mv aside/* .
mv 8/pages p8
expect 'its pages are missing' 1 '^ckpt: CKPT-E0302: .*8/pages: the file is missing' restore -D 9
mv p8 8/pages
rm 9/parent; ln -s ../8 9/parent
mv 8 old8; cp -r 7 8
expect 'another image is there' 1 '^ckpt: CKPT-E0341: 9/image: goes on from image [0-9a-f]{16}, but .*' restore -D 9
rm 9/parent; ln -s ../old8 9/parent
expect 'the link says where it went' 0 '' verify -D 9
rm -r 8; mv old8 8
perl -e 'open(my $f, "+<", "2/pages"); seek($f, 5000, 0); print $f "x";'
expect 'a damaged one' 1 '^ckpt: CKPT-E0302: 9/.*/2/pages: chunk 0 .*' verify -D 9
expect 'is not restored from' 1 '^ckpt: CKPT-E0302: .*' restore -D 9
check 'nothing runs' gone "$PID"

# ---- tracking that has ended ----
writer x
expect 'a pre-dump' 0 '' pre-dump -t "$PID" -D a1
kill -KILL "$(holder "$PID")"; until_true 5 not_held "$PID"
ckpt pre-dump -t "$PID" -D a2 --prev-images-dir ../a1
check 'the holder was killed: the next is complete' test "$status" = 0 -a ! -e a2/parent
check 'which is said' note_is 'not known any more: this image is complete'
expect 'of another chain' 0 '' pre-dump -t "$PID" -D b1
ckpt pre-dump -t "$PID" -D a3 --prev-images-dir ../a2
check 'one chain at a time' note_is 'not known any more'
expect 'no folder' 1 '^ckpt: CKPT-E0301: .*' dump -t "$PID" -D a4 --prev-images-dir ../nowhere -R
check 'nothing is left' test ! -e a4
expect 'it is tracked still' 0 '' pre-dump -t "$PID" -D a5 --prev-images-dir ../a3
mkdir full; : >full/parent
expect 'a round that fails' 1 '^ckpt: CKPT-E0304: full/parent: .*' dump -t "$PID" -D full --prev-images-dir ../a5 --track-mem -R
ckpt dump -t "$PID" -D a6 --prev-images-dir ../a5 --track-mem -R
check 'the one after it is complete' note_is 'not known any more'
check 'the target goes on' goes_on x
timeout -s KILL 0.05 "$CKPT" pre-dump -t "$PID" -D k --prev-images-dir ../a6 >"$T/out" 2>"$T/err"
check 'a killed pre-dump harms nobody' unharmed "$PID"
rm -rf k
check 'what it leaves ends' until_true 10 eval '! pgrep -f -- "pre-dump -t $PID -D k" >/dev/null'
ckpt dump -t "$PID" -D a7 --prev-images-dir ../a6 --track-mem
check 'after it there is a whole image' test "$status" = 0
until_true 5 gone "$PID"
expect 'which is restored' 0 '' restore -D a7 -d
check 'and has its memory' goes_on x
# In a namespace of its own it has another number here.
[ -z "$BOXED" ] || finish
expect 'a pre-dump that waits a second' 0 '' pre-dump -t "$PID" -D t1 --track-timeout 1
check 'its holder ends' until_true 5 not_held "$PID"

# ---- a process of the same number ----
expect 'a program' 0 '' pre-dump -t "$PID" -D p1
kill -KILL "$PID"; until_true 5 gone "$PID"
check 'its holder ends with it' until_true 5 not_held "$PID"
expect 'its number again' 0 '' restore -D a7 -d
ckpt dump -t "$PID" -D p2 --prev-images-dir ../p1 --track-mem
check 'is another process: complete' test "$status" = 0 -a ! -e p2/parent
finish
