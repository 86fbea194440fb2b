#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whoever reads images reads those that go on from others, packed or not, as it reads one that has all of it.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
takes_tracking

# Memory of 8 MiB and a memfd; a little of both changes all the time, most of it stays that of the first image.
cat >writer.pl <<'P'
my $name = "kept"; my $fd = syscall(319, $name, 0); open(my $k, "+<&=", $fd) or die; syswrite($k, "in memfd " x 2000);
my $n = 2048; my $m = "\0" x ($n * 4096); my $p = 0;
for my $i (0 .. $n - 1) { substr($m, $i * 4096, 4096) = pack("A4096", "page $i " x 300); }
while (1) {
	$p++;
	substr($m, $p % $n * 4096, 16) = sprintf("NEEDLE%010d", $p);
	sysseek($k, $p * 8 % 16000, 0); syswrite($k, sprintf("%08d", $p));
	symlink($p, "$ARGV[0].new"); rename("$ARGV[0].new", "$ARGV[0]"); # no file that may be open in an image
	select(undef, undef, undef, 0.02);
}
P
passes() { [ "$(readlink p || echo 0)" -gt "$1" ]; }
more() { until_true 10 passes 0 && until_true 10 passes $(($(readlink p) + 2)); }

start perl writer.pl "$T/p"
until_true 10 passes 2 || { fail 'no target'; finish; }
pid=$PID

# c: chains of three: plain, the last packed, the last two packed, a plain one on top of packed ones.
chain() {
	local c=$1 before= i=0 o
	shift
	for o; do
		i=$((i + 1))
		more
		# shellcheck disable=SC2086  # words
		ckpt dump -t "$pid" -D "$c$i" ${before:+--prev-images-dir ../$before} --track-mem -R ${o/plain/}
		[ "$status" = 0 ] && ! [ -s "$T/err" ] || fail "chain $c: image $i"
		before=$c$i
	done
	check "chain $c: goes on" test -L "$c$i/parent"
	expect "chain $c: flattened" 0 '' flatten -D "$c$i" -o "$c"
}
chain plain plain plain plain
chain last plain plain -c
chain two plain --compress=zstd -c
chain top -c -c plain

what=(stacks files memory search regex heap fd env args core json)
# read_all IMAGE PREFIX: what every reader says of it.
read_all() {
	local at
	at=$(awk '/\[heap\]/ { split($1, a, "-"); print "0x" a[1]; exit }' "/proc/$pid/maps")
	{
		"$CKPT" show -D "$1" --stacks >"$2.stacks" && "$CKPT" show -D "$1" --files >"$2.files" &&
		"$CKPT" show -D "$1" --memory >"$2.memory" && "$CKPT" show -D "$1" --json >"$2.json" &&
		"$CKPT" mem -D "$1" --search NEEDLE >"$2.search" && "$CKPT" mem -D "$1" --regex 'page 20[0-9]+' >"$2.regex" &&
		"$CKPT" mem -D "$1" -p "$pid" "$at" 64K >"$2.heap" && "$CKPT" x "$1" "fd:$pid:3" >"$2.fd" &&
		"$CKPT" mem -D "$1" --env >"$2.env" && "$CKPT" mem -D "$1" --args >"$2.args" &&
		"$CKPT" core -D "$1" -o "$2.core" && "$CKPT" report -D "$1" -o "$2.report" &&
		"$CKPT" verify -D "$1" && "$CKPT" show -D "$1"
	} >"$T/out" 2>"$T/err"
}
for c in plain last two top; do
	check "$c: the chain is read" read_all "$c"3 "in.$c"
	check "$c: with what is written by then" test "$(grep -c NEEDLE "in.$c.search")" -gt 4
	check "$c: and what was written first" test "$(grep -c 'page 20' "in.$c.regex")" -gt 40
	check "$c: with every image" test "$(grep -c '^on top of ' "$T/out")" = 2
	check "$c: its flat copy, too" read_all "$c" "of.$c"
	for w in "${what[@]}"; do
		check "$c: $w: the same" cmp "in.$c.$w" "of.$c.$w"
		check "$c: $w: something" test -s "in.$c.$w"
	done
	check "$c: a report" grep -q '</html>' "in.$c.report"
	expect "$c: nothing has changed" 0 '' diff "$c"3 "$c"
	check "$c: nothing" test ! -s "$T/out"
	expect "$c: but since the one before" 0 '' diff "$c"2 "$c"3
	check "$c: memory" grep -q '^changed memory' "$T/out"
done

# ---- an image that is gone ----
mv plain1 away
for c in show show\ --stacks mem\ --args core\ -o\ no report\ -o\ no verify plan; do
	# shellcheck disable=SC2086  # words
	expect "without the first image: $c" 1 '^ckpt: CKPT-E0340: ' $c -D plain3
done
expect 'without the first image: x' 1 '^ckpt: CKPT-E0340: ' x plain3 "fd:$pid:3"
expect 'without the first image: diff' 1 '^ckpt: CKPT-E0340: ' diff plain3 plain
check 'and nothing is made' test ! -e no
mv away plain1

# ---- those that run it again ----
kill -KILL "$pid"; until_true 5 gone "$pid"
again() {
	local c=$1 said=$2
	shift 2
	rm -f p
	expect "$c: planned" 0 '' plan -D "$c"3
	expect "$c: restored $*" 0 "$said" restore -D "$c"3 -d "$@"
	check "$c: goes on" more
	ckpt dump -t "$pid" -D "again.$c"
	expect "$c: all memory is there" 0 '' mem -D "again.$c" --search 'page 2047 page'
	check "$c: and no other" test "$("$CKPT" mem -D "again.$c" --regex 'page 20[0-9]+' | wc -l)" -ge 40
	until_true 5 gone "$pid"
	rm -r "again.$c"
}
[ -z "$BOXED" ] || finish
for c in plain last two top; do
	again $c '^note: memory is mapped from the image' --lazy=map
	! is_root || again $c '' --lazy
done

# ---- what has no chain ----
start perl writer.pl "$T/p"
until_true 10 passes 2
for o in "pre-dump" "dump --track-mem -R" "dump --prev-images-dir plain3 -R"; do
	# shellcheck disable=SC2086  # words
	timeout 20 "$CKPT" $o -t "$PID" -D - >stream 2>"$T/err"
	check "a stream: $o: refused" test $? = 2
	check "a stream: $o: said" grep -q '^ckpt: CKPT-E0345: standard output: .*; choose a folder' "$T/err"
	check "a stream: $o: nothing comes" test ! -s stream
	check "a stream: $o: the target goes on" unharmed "$PID"
done
ckpt pre-dump -t "$PID" -D pre
for c in show mem\ --args core\ -o\ no plan restore flatten\ -o\ no; do
	# shellcheck disable=SC2086  # words
	expect "of a pre-dump: $c" 1 '^ckpt: CKPT-E0342: pre/image: ' $c -D pre
done
expect 'of a pre-dump: x' 1 '^ckpt: CKPT-E0342: pre/image: ' x pre "fd:$PID:3"
expect 'of a pre-dump: diff' 1 '^ckpt: CKPT-E0342: pre/image: ' diff plain3 pre
check 'nothing is made' test ! -e no
finish
