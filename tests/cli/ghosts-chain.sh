#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Deleted files in images that go on from each other: what has not changed of them is in the older one.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
takes_tracking

MB=1000000
# On 10 a deleted file of 6 MB, on 11 one with holes; 12 a named one.
head -c $((6 * MB)) /dev/urandom >large
{ head -c 500000 /dev/urandom; } >sparse; truncate -s 900M sparse; head -c 500000 /dev/urandom >>sparse
head -c $((3 * MB)) /dev/urandom >data
cp large large.1
# shellcheck disable=SC2016  # it is the inner shell that expands
start bash -c 'exec 10<>large 11<sparse 12<>data; rm large sparse; mkfifo never; while :; do read -r _ <>never; done'
until_true 5 test -e never
until_true 5 asleep "$PID" bash
smaller() { [ "$(pages_size "$1")" -lt "$2" ]; }
sum_of() { head -c "$2" "/proc/$1/fd/$3" | sha256sum; }
# write_to FILE OFFSET TEXT
write_to() { perl -e 'open(F, "+<", $ARGV[0]) or die; seek(F, $ARGV[1], 0); print F $ARGV[2]; close(F) or die' "$@"; }
# holds NAME: what was restored as $ROOT has the files as $PID had them.
holds() {
	check "$1: the file has its content" test "$(cat "/proc/$ROOT/fd/10" | sha256sum)" = "$want"
	check "$1: the sparse one, too" cmp -s "/proc/$ROOT/fd/11" sparse.1
	check "$1: with its holes" test "$(stat -L -c %b "/proc/$ROOT/fd/11")" -lt 4000
}
dumped() { ckpt dump -t "$PID" -D "$1" --track-mem -R "${@:2}"; check "dump $*" test "$status" = 0; }
next() { dumped "$1" --prev-images-dir "../$2" "${@:3}"; check "$1 goes on from $2" test -e "$1/parent"; }

cp --sparse=always "/proc/$PID/fd/11" sparse.1
dumped 1
check 'the first has all of it' test "$(pages_size 1)" -gt $((7 * MB))
next 2 1
check 'unchanged: none of it' smaller 2 $((2 * MB))
write_to "/proc/$PID/fd/10" 3000000 changed
next 3 2
check 'a page of it: that page' smaller 3 $((2 * MB))
head -c $((2 * MB)) /dev/urandom >>"/proc/$PID/fd/10"
next 4 3 -c
check 'grown: what is new' test "$(pages_size 4)" -gt $((2 * MB)) -a "$(pages_size 4)" -lt $((3 * MB))
next 5 4 --carry written
check 'what is carried is there for the first time' test "$(pages_size 5)" -gt $((3 * MB)) -a "$(pages_size 5)" -lt $((4 * MB))
next 6 5 --carry written
check 'then it is not' smaller 6 $MB
want=$(sha256sum <"/proc/$PID/fd/10")
# Its end is cut off, and its content moves: nothing is taken for what it is not.
perl -e 'truncate($ARGV[0], 5000000) or die' "/proc/$PID/fd/10"
write_to "/proc/$PID/fd/10" 0 x
next 7 6 --carry written
check 'cut: still that of before' smaller 7 $MB
cut=$(sha256sum <"/proc/$PID/fd/10")
{ echo; cat "/proc/$PID/fd/10"; } >moved
cat moved >"/proc/$PID/fd/10"
next 8 7 --carry written
check 'moved by a byte: all of it' test "$(pages_size 8)" -gt $((4 * MB))
moved=$(sha256sum <"/proc/$PID/fd/10")

# A page of an older image is damaged: who looks before it refers to it has it anew.
cp -r 8 8.good
at=$(perl -e 'local $/; open(F, "<", $ARGV[0]); open(I, "<", $ARGV[1]); print index(<I>, substr(<F>, 0, 4096))' moved 8/pages)
write_to 8/pages "$at" damaged
next 9 8 --carry written
check 'from a damaged one: it has itself what is bad there' test "$(pages_size 9)" -gt 900000
rm -r 8; mv 8.good 8
kill -KILL "$PID"; until_true 5 gone "$PID"; until_true 5 test ! -e "/proc/$PID"

for i in 6 7 8 9; do expect "$i is whole" 0 '' verify -D $i; done
restored -D 6; holds 6; ended
want=$cut; restored -D 7; holds 7; ended
want=$moved; restored -D 8; holds 8; ended
cp data data.now; echo 'something else' >data
restored -D 8 --files rollback
check 'put back from an image before' cmp -s data data.now
ended
expect 'flattened' 0 '' flatten -D 7 -o flat
check 'once' test "$(pages_size flat)" -gt $((8 * MB)) -a "$(pages_size flat)" -lt $((11 * MB))
mv 2 away
want=$cut; restored -D flat; holds 'alone'; ended
for c in verify plan restore; do
	expect "an older one is missing: $c" 1 '^ckpt: CKPT-E0340: .*goes on from the image in .*/1: |^ckpt: CKPT-E0340: .*/2' $c -D 7
done

# Neighbours that were written at different times are in many images: to look them up is no more reading than all of it four times.
head -c $((64 << 20)) /dev/urandom >much
# shellcheck disable=SC2016  # it is the inner shell that expands
start bash -c 'exec 10<>much; rm much; while :; do read -r _ <>never; done'
until_true 5 test ! -e much
until_true 5 asleep "$PID" bash
n_read() { sed -n 's/^rchar: //p' "/proc/$$/io"; } # by us, and by whom we have waited for
dumped s0
for i in 1 2 3 4 5 6; do
	# One page of 16.
	perl -e 'open(F, "+<", $ARGV[0]) or die;
		for (my $p = $ARGV[1]; $p < 16384; $p += 16) { seek(F, $p << 12, 0); syswrite(F, "x$ARGV[1]", 2); }' "/proc/$PID/fd/10" $i
	before=$(n_read)
	next s$i s$((i - 1))
	check "scattered: round $i reads $((($(n_read) - before) >> 20)) MiB" test $((($(n_read) - before) >> 20)) -lt 256
done
check 'scattered: and one page of 16 each' smaller s6 $((6 << 20))
kill -KILL "$PID"

# Only mapped: an ordinary user reads it where it is mapped.
command -v python3 >/dev/null || finish_as_both
head -c $((4 * MB)) /dev/urandom >mapped
start python3 -c 'import mmap, os, time
f = open("mapped", "rb"); m = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ); f.close(); os.remove("mapped")
os.close(os.open("is-mapped", os.O_CREAT)); time.sleep(1000)'
until_true 5 test -e is-mapped
until_true 5 asleep "$PID" python3
dumped m1
next m2 m1
check 'mapped: there, then not' test $(($(pages_size m1) - $(pages_size m2))) -gt $((3 * MB))
finish_as_both
