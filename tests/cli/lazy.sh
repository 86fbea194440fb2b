#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory that comes later: the processes that bring it are killed, the image is damaged while it is used. The program has
# what it had or is ended with a reason, it never finds other bytes.
. "$(dirname "$0")/../lib/cli.sh"
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

server() { ps -eo pid=,ppid=,comm= | awk '$3 == "ckpt-lazy" { print $1, $2 }'; }
# Those of this restore: the one whose parent is another of them is the server.
serving() { server | awk '{ p[$1] = $2 } END { for (i in p) if (p[i] in p) print i }' | sort -n | tail -n 1; }
keeping() { local s; s=$(serving); [ -n "$s" ] && awk '/^PPid/ { print $2 }' "/proc/$s/status"; }
answer() { rm -f answer; echo x >ask & until_true 60 test -e answer; cat answer 2>/dev/null; }
unserved() { [ -z "$(serving)" ]; }
ended() { until_true 20 test ! -e "/proc/$PID"; }
end() { kill -KILL "$PID" 2>/dev/null; ended; until_true 20 unserved; }

if [ "$(id -u)" != 0 ]; then
	expect 'a user cannot serve' 1 '^ckpt: CKPT-E0440: ' restore -d -D img --lazy
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

# A byte of memory, far from the end, which comes first.
cp -r img flipped
printf '\x55' | dd of=flipped/pages bs=1 seek=$((MB * 524288 + 77)) conv=notrunc 2>/dev/null
for how in serve map; do
	ckpt restore -d -D flipped --lazy=$how
	check "flipped byte, $how: the tree is ended" ended
	check "flipped byte, $how: why is said" until_true 10 grep -q 'CKPT-E0302\|checksum' flipped/lazy.log
	rm -f flipped/lazy.log
	end
done

cp -r img short
ckpt restore -d -D short --lazy
truncate -s $((MB * 262144)) short/pages
check 'cut short: the tree is ended, or was complete before' \
	eval 'ended || test "$(answer)" = "bad 0"'
end
finish
