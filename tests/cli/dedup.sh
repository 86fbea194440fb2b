#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What later images override is freed in those before them, and no image that can be restored becomes one that cannot,
# unless that was asked for.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
takes_tracking

# Has 16 MiB, writes the first 4 of them again and again, and looks at all of it.
cat >writer.pl <<'P'
open(my $w, ">", $ARGV[0]); my $n = 4096; my $m = "\0" x ($n * 4096); my $pass = 0;
for my $i (0 .. $n - 1) { substr($m, $i * 4096, 4) = pack("V", $i); }
while (1) {
	$pass++;
	for my $i (0 .. $n - 1) {
		my $want = $i < 1024 && $pass > 1 ? $i + $pass - 1 : $i;
		if (unpack("V", substr($m, $i * 4096, 4)) != $want) { open(my $f, ">", "$ARGV[0].bad"); exit 1; }
		substr($m, $i * 4096, 4) = pack("V", $i + $pass) if $i < 1024;
	}
	sysseek($w, 0, 0); syswrite($w, sprintf("%8d", $pass));
	select(undef, undef, undef, 0.02);
}
P
passes() { [ "$(cat w 2>/dev/null || echo 0)" -gt "$1" ]; }
goes_on() {
	local now
	now=$(cat w)
	until_true 10 passes $((now + 2)) && ! [ -e w.bad ]
}
writer() {
	rm -f w
	start perl writer.pl "$T/w"
	until_true 10 passes 1 || { fail 'no target'; finish; }
}
on_disk() { stat -c %b "$1/pages"; }    # 512 bytes each
restore() { rm -f pid; ckpt restore -d --pidfile "$T/pid" "$@"; PID=$(cat pid); STARTED+=("$PID"); }
end() { kill -KILL "$PID"; until_true 5 gone "$PID"; }
restored() { # restored NAME DIR
	restore -D "$2"
	check "$1: is restored" test "$status" = 0
	check "$1: has its memory" goes_on
	end
}
# What has been written anew since the image before is not a matter of how fast it is.
round() {
	goes_on || fail 'the target'
	expect "$2 goes on from $3" 0 '' "$1" -t "$PID" -D "$2" --prev-images-dir "../$3" --track-mem "${@:4}"
}

# ---- four images ----
writer
expect 'a pre-dump' 0 '' pre-dump -t "$PID" -D 1
round pre-dump 2 1
round dump 3 2 -R
round dump 4 3
until_true 5 gone "$PID"
cp -a 1 2 3 4 "$(mkdir kept && echo kept)"
before=$(($(on_disk 1) + $(on_disk 2)))
whole=$(on_disk 3)
ckpt flatten -D 4 -o flat
chmod 500 1
is_root || expect 'a folder that cannot be written to' 1 '^ckpt: CKPT-E0305: 4/.*/1/given-up: ' dedup -D 4
chmod 700 1
expect 'what is overridden is freed' 0 '' dedup -D 4
check 'it says how much' grep -Eq '^4/\.\./3/\.\./2/\.\./1: [1-9][0-9.]* [KM]iB freed$' "$T/out"
check 'of a dump it says that it stays' grep -Eq '^4/\.\./3: 0 B freed; it stays whole: --give-up-parents ' "$T/out"
check 'half of the pre-dumps is gone, and more' test $(($(on_disk 1) + $(on_disk 2))) -lt $((before - 8 * 1024 * 2))
check 'the dump on the way is not touched' test "$(on_disk 3)" = "$whole" -a ! -e 3/given-up
check 'the files are as long as they were' test "$(stat -c %s 1/pages)" = "$(stat -c %s kept/1/pages)"
for i in 1 2 3 4; do expect "$i is whole" 0 '' verify -D $i; done
ckpt verify -D 1
check 'which of it is given up is said' grep -q "; .* given up for the image in $T/4$" "$T/out"
ckpt show -D 4
check 'and shown' test "$(grep -c '^on top of .* given up$' "$T/out")" = 2
ckpt flatten -D 4 -o flat2
check 'as one image they are what they were' cmp -s flat/pages flat2/pages
expect 'again' 0 '' dedup -D 4
check 'there is nothing more' test -z "$(grep -v ': 0 B freed' "$T/out")"
expect 'a pre-dump is none to be restored, as before' 1 '^ckpt: CKPT-E0342: ' restore -D 1
expect 'nor can anything be freed for it' 1 '^ckpt: CKPT-E0355: 2/image: ' dedup -D 2
restored 'the last one' 4
restored 'the dump on the way' 3

# ---- others that go on from the same ----
expect 'the dump on the way is named as one to be kept' 0 '' dedup -D 4 --give-up-parents 3
expect 'and is whole' 0 '' verify -D 3
expect 'another one that is missing' 1 '^ckpt: CKPT-E0301: nowhere: ' dedup -D 4 nowhere

# ---- at the cost of the dump on the way ----
cp -a 3 whole3
expect 'with --give-up-parents' 0 '' dedup -D 4 --give-up-parents
check 'the dump is smaller, too' test "$(on_disk 3)" -lt $((whole / 4))
for c in verify restore plan show 'mem --env' 'flatten -o none' dedup; do
	# shellcheck disable=SC2086  # two words
	expect "of that one it is said: $c" 1 "^ckpt: CKPT-E0355: 3/image: .* for image [0-9a-f]{16} in $T/4; use the image that" \
		$c -D 3
done
check 'nothing is made of it' test ! -e none
restored 'the last one' 4
rm 3/given-up
expect 'without the record that is damage' 1 '^ckpt: CKPT-E0302: 4/\.\./3/pages: chunk 0 ' verify -D 4
cp whole3/pages 3/pages

# ---- records that are damaged, or of another image ----
cp 1/given-up record
perl -e 'open(my $f, "+<", "1/given-up"); seek($f, 60, 0); print $f "x";'
expect 'a damaged record' 1 '^ckpt: CKPT-E0302: 4/.*/1/given-up: ' verify -D 4
head -c 40 record >1/given-up
expect 'half of one' 1 '^ckpt: CKPT-E0302: 4/.*/1/given-up: ' restore -D 4
: >1/given-up
expect 'an empty one' 1 '^ckpt: CKPT-E0302: 4/.*/1/given-up: ' verify -D 4
rm 1/given-up; mkfifo 1/given-up
expect 'a pipe' 1 '^ckpt: CKPT-E0308: 4/.*/1/given-up: ' verify -D 4
rm 1/given-up; cp record 1/given-up
cp record kept/2/given-up
expect 'one of another image counts for nothing' 0 '' verify -D kept/4
rm kept/2/given-up

# ---- where nothing can be freed ----
cannot='; make one image of them with ckpt flatten, and remove the others$'
if is_root && mkdir ram && mount -t ramfs ram ram 2>/dev/null; then
	cp -a kept ram/
	expect 'a file system without holes' 3 \
		"^ckpt: CKPT-E0357: ram/.*/[12]/pages: this file system cannot free a part of a file: Operation not supported$cannot" \
		dedup -D ram/kept/4
	check 'a file system without holes: nothing is recorded' test -z "$(find ram -name '*given-up*')"
	expect 'a file system without holes: it is whole' 0 '' verify -D ram/kept/4
	expect 'a file system without holes: as one image' 0 '' flatten -D ram/kept/4 -o ram/flat
	umount ram
	cp -a kept others
	chmod -R a+rwX others
	chmod 755 .
	CKPT_WAS=$CKPT
	printf '#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups %s "$@"\n' "$CKPT" >as-nobody
	chmod 755 as-nobody
	CKPT=$T/as-nobody
	expect 'images of somebody else' 3 \
		"^ckpt: CKPT-E0357: others/.*/pages: only its owner is told whether somebody reads it$cannot" \
		dedup -D others/4 --give-up-parents
	expect 'images of somebody else: they are whole' 0 '' verify -D others/3
	CKPT=$CKPT_WAS
	rm -rf others
fi

# ---- somebody reads ----
perl -e 'open(my $f, "<", "kept/1/pages"); select(undef, undef, undef, 100);' 251>&- &
reader=$!
until_true 5 asleep $reader perl
exec 9<kept/1; flock -s 9
expect 'not while another ckpt is at work there' 1 '^ckpt: CKPT-E0356: kept/4/.*/1: another ckpt' dedup -D kept/4
exec 9<&-
expect 'not while somebody reads' 1 '^ckpt: CKPT-E0356: kept/4/.*/1/pages: somebody has it open' dedup -D kept/4
check 'nothing is recorded' test ! -e kept/1/given-up -a ! -e kept/1/.given-up.tmp
kill $reader; wait $reader 2>/dev/null
restore -D kept/4 --lazy=map
check 'restored with its memory mapped' test "$status" = 0
expect 'not while a program has it mapped' 1 '^ckpt: CKPT-E0356: ' dedup -D kept/4
check 'which goes on' goes_on
end
echo precious >precious
ln precious kept/1/.given-up.tmp
expect 'then it is' 0 '' dedup -D kept/4
check 'what had the name of its temporary file is left alone' test "$(cat precious)" = precious
expect 'and is whole' 0 '' verify -D kept/4

# ---- as it is dumped, and compressed ----
writer
expect 'a compressed dump' 0 '' dump -t "$PID" -D c1 -c --track-mem -R
expect 'another one' 0 '' pre-dump -t "$PID" -D p1
round pre-dump p2 p1 --auto-dedup
check 'something is freed at once' grep -Eq '^p2/\.\./p1: [1-9].* freed' "$T/out"
expect 'the last one' 0 '' dump -t "$PID" -D p3 --prev-images-dir ../p2 --auto-dedup -c
check 'and again' grep -Eq '^p3/\.\./p2: [1-9].* freed' "$T/out"
until_true 5 gone "$PID"
restore -D p3 --auto-dedup
check 'a restore uses nothing up, and says so' grep -q '^note: --auto-dedup: a restore uses no image up' "$T/err"
check 'it has its memory' goes_on
expect 'packed pages' 0 '' dump -t "$PID" -D z1 -c --track-mem -R
until_true 5 goes_on
round dump z2 z1 -R
round dump z3 z2 -c
until_true 5 gone "$PID"
packed=$(on_disk z1)
expect 'packed pages are freed' 0 '' dedup -D z3 --give-up-parents
check 'there are fewer' test "$(on_disk z1)" -lt "$packed"
expect 'the last one is whole' 0 '' verify -D z3
expect 'the packed one says it' 1 '^ckpt: CKPT-E0355: z1/image: ' verify -D z1
restored 'the last one of them' z3
expect 'nothing to go on from' 0 '' dedup -D c1
check 'nothing to go on from: said' grep -q '^c1: goes on from no image: nothing to free$' "$T/out"
expect 'a folder without an image' 1 '^ckpt: CKPT-E0301: ' dedup -D "$T"
finish_as_both
