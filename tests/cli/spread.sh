#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An image of some size has its pages in several files, which are written at the same time: whole or absent, restored and
# changed as if they were one.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
[ "$(nproc)" -ge 2 ] || skip 'one processor: one file'
takes_tracking

# 48 MiB that are all different. Asked by a file, it writes some of it anew and says the sum of it all.
cat >prog.pl <<'P'
use Digest::MD5;
my ($dir) = @ARGV;
my $m = "";
$m .= sprintf("line %010d\n", $_) for 1 .. 3 << 20;
sub say_it { open(my $f, ">", "$dir/sum.new"); print $f Digest::MD5::md5_hex($m), "\n"; close($f); rename("$dir/sum.new", "$dir/sum"); }
say_it();
while (1) {
	if (-e "$dir/write") { substr($m, $_ << 20, 8) = "written!" for (3, 20, 40); unlink("$dir/write"); say_it(); }
	if (-e "$dir/ask") { unlink("$dir/ask"); say_it(); }
	select(undef, undef, undef, 0.02);
}
P
told() { rm -f sum; touch "$1"; until_true 10 test -s sum || echo 'says nothing'; cat sum; }
dies() { kill -KILL "$1" && until_true 5 gone "$1"; }
# comes_back NAME SUM ARGS...: what is restored has this content
comes_back() {
	local name=$1 sum=$2
	shift 2
	restored "$@"
	check "$name: its content" test "$(told ask)" = "$sum"
	[ "$ROOT" = 0 ] || dies "$ROOT"
}
size() { stat -c %s "$1"; }

rm -f sum; start perl prog.pl "$T"
until_true 30 test -s sum || { fail 'no target'; finish; }
first=$(cat sum)

# ---- files ----
expect 'a dump' 0 '' dump -t "$PID" -D a -R
check 'a second file' test "$(size a/pages-2)" -ge $((16 << 20))
check 'about as large as the first' test "$(size a/pages)" -lt $((2 * $(size a/pages-2)))
check 'nothing else is left' test "$(find a -name '.*.tmp' | wc -l)" = 0
expect 'it is whole' 0 '' verify -D a
expect 'and can be looked at' 0 '' mem -D a --search 'line 0003145728'
ckpt show -D a --json
check 'shown' test "$status" = 0
expect 'a live one' 0 '' dump -t "$PID" -D b -R --live
check 'has one, too' test -s b/pages-2
expect 'and is whole' 0 '' verify -D b
expect 'a packed one' 0 '' dump -t "$PID" -D packed -R --compress
check 'has none' test ! -e packed/pages-2
expect 'but is whole' 0 '' verify -D packed
timeout 60 "$CKPT" dump -t "$PID" -D - -R --live >stream 2>err
check 'a stream' test $? = 0
if taskset -c 0 true 2>/dev/null; then
	(
		taskset -p -c 0 "$BASHPID" >/dev/null
		expect 'on one processor' 0 '' dump -t "$PID" -D one -R
		check 'there is one file' test ! -e one/pages-2
		[ "$failed" = 0 ]
	)
	check 'on one processor: all of that' test $? = 0
fi
mkdir other; touch other/pages-2
expect 'somebody else has a file of that name' 1 '^ckpt: CKPT-E0304: other/pages-2: ' dump -t "$PID" -D other -R
check 'it stays' test -e other/pages-2 -a ! -e other/image -a ! -e other/pages

# ---- a chain of them ----
expect 'tracked' 0 '' dump -t "$PID" -D c1 -R --track-mem
second=$(told write)
check 'it has written' test "$first" != "$second"
check 'a second file, too' test -s c1/pages-2
expect 'what was written' 0 '' dump -t "$PID" -D c2 -R --prev-images-dir ../c1
expect 'is a whole image with the one before' 0 '' verify -D c2
expect 'flattened' 0 '' flatten -D c2 -o flat
expect 'whole as well' 0 '' verify -D flat

# ---- commits that were cut short ----
mkdir half; cp a/pages a/pages-2 half; cp a/image half/.image.4000000.0.tmp
expect 'killed before the last rename' 0 '' dump -t "$PID" -D half -R
expect 'the next dump takes its place' 0 '' verify -D half
rm -rf half; mkdir half; cp a/pages half; cp a/pages-2 half/.pages-2.4000000.0.tmp; cp a/image half/.image.4000000.0.tmp
expect 'killed before the first rename but one' 0 '' dump -t "$PID" -D half -R
check 'nothing of it is left' test "$(ls -A half | tr '\n' ' ')" = 'image pages pages-2 '
rm -rf half; mkdir half; cp a/pages-2 half/.pages-2.4000000.0.tmp
expect 'only its second file is left' 0 '' dump -t "$PID" -D half -R
check 'and goes' test "$(ls -A half | tr '\n' ' ')" = 'image pages pages-2 '

# ---- no room ----
if is_root && mkdir small && mount -t tmpfs -o size=40m small small 2>/dev/null; then
	expect 'no room for both' 1 '^ckpt: CKPT-E0306: ' dump -t "$PID" -D small/a -R
	check 'nothing is left' test "$(find small -type f | wc -l)" = 0
	check 'the target goes on' unharmed "$PID"
	umount small
fi

dies "$PID"

# ---- damaged ----
refused() { # NAME REGEX: neither verified nor restored
	expect "$1: seen by verify" 1 "^ckpt: CKPT-E03[0-9]*: .*a/pages-2: $2" verify -D a
	expect "$1: and by restore" 1 "^ckpt: CKPT-E03[0-9]*: .*a/pages-2: $2" restore -D a -d
}
mv a/pages-2 aside
refused 'missing' 'the file is missing'
mkfifo a/pages-2
refused 'a pipe' 'not a regular file'
rm a/pages-2; cp aside a/pages-2; truncate -s -4096 a/pages-2
refused 'cut' 'has [0-9]* bytes, had '
cp aside a/pages-2
printf '\377' | dd of=a/pages-2 bs=1 seek=$((2 << 20 | 77)) conv=notrunc status=none
refused 'a byte' 'chunk [0-9]* \(bytes 2097152 to 3145727\): checksum'
mv aside a/pages-2
mv a/pages aside
expect 'the first is missing' 1 '^ckpt: CKPT-E03[0-9]*: .*a/pages: the file is missing' verify -D a
mv aside a/pages
# As long as each is what it was; but not in the place of the other.
cp -r a swapped; mv swapped/pages x; mv swapped/pages-2 swapped/pages; mv x swapped/pages-2
check 'exchanged: refused' test "$("$CKPT" verify -D swapped >/dev/null 2>&1; echo $?)" = 1
expect 'the first is whole again' 0 '' verify -D a

# ---- restored ----
comes_back 'a restore' "$first" -D a
comes_back 'of a live dump' "$first" -D b
comes_back 'of a packed one' "$first" -D packed
rm -f root.pid
timeout 60 "$CKPT" restore -d -D - --pidfile root.pid <stream >out 2>err
check 'a stream is restored' test $? = 0
ROOT=$(cat root.pid); STARTED+=("$ROOT")
check 'of a stream: its content' test "$(told ask)" = "$first"
dies "$ROOT"
comes_back 'of a chain' "$second" -D c2
comes_back 'of one made of it' "$second" -D flat
! is_root || comes_back 'lazily' "$second" -D c2 --lazy
comes_back 'mapped' "$first" -D a --lazy=map
exec 9<c1/pages-2
expect 'not while somebody reads the second file' 1 '^ckpt: CKPT-E0356: c2/\.\./c1/pages-2: somebody has it open' \
	dedup -D c2 --give-up-parents
check 'nothing is recorded' test ! -e c1/given-up
exec 9<&-
ckpt dedup -D c2 --give-up-parents
check 'what the older one has in vain is freed' test "$status" = 0
expect 'the younger is whole' 0 '' verify -D c2
comes_back 'after that' "$second" -D c2

# ---- from inside, and once more from what came back ----
if [ -x "${CKPT%/*}/ckpt-run" ]; then
	rm -f sum; start "${CKPT%/*}/ckpt-run" perl prog.pl "$T"
	until_true 30 test -s sum || { fail 'no target'; finish; }
	CKPT=${CKPT%/*}/ckpt-signal expect 'from inside' 0 '' -D inside --kill "$PID"
	check 'from inside: a second file' test -s inside/pages-2
	until_true 5 gone "$PID"
	restored -D inside
	check 'from inside: its content' test "$(told ask)" = "$first"
	expect 'a dump of it' 0 '' dump -t "$ROOT" -D again
	[ "$ROOT" = 0 ] || until_true 5 gone "$ROOT"
	comes_back 'again' "$first" -D again
fi
finish_as_both
