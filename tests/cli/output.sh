#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is printed: names that a terminal would obey never go there raw, and output that is lost is no success.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
cat >names.pl <<'E2'
use Fcntl ':flock';
my $comm = "\e[31m\xc2\x9b3X";
syscall(157, 15, $comm, 0, 0, 0);
open(my $file, ">", "file\e]0;p\x07\xc2\x9bx") or die;
syswrite($file, "x");
open(my $lock, ">", "lock\e[1m\xc2\x9b") or die;
flock($lock, LOCK_EX) or die;
fork() or sleep(60), exit;
open(my $ready, ">", "ready");
close($ready);
sleep(1000);
E2
start perl names.pl
until_true 5 test -e ready
# A line feed ends a line, tabs stand between columns; of UTF-8 there are control characters, too.
raw() { LC_ALL=C grep -aP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' "$@" | cat -v | sed 's,^,# ,' | grep .; }
# tame STATUS ARGS...
tame() {
	local want=$1
	shift
	ckpt "$@"
	check "$*: status" test "$status" = "$want"
	check "$*: nothing raw" eval '! raw "$T/out" "$T/err"'
}
tame 3 check -t "$PID"
tame 3 dump -t "$PID" -D refused
check 'the names are there' grep -qF '\x1b[1m\xc2\x9b: a lock' "$T/err"
tame 0 dump -t "$PID" -D img --file-locks -v4
tame 0 show -D img
tame 0 show --raw -D img
tame 0 show --file-list -D img
cp "$T/out" list
tame 0 core -D img -o core.file
until_true 5 gone "$PID"
tame 0 plan -D img -v
check 'the child is named' grep -q 'fork process [0-9]* (\\x1b\[31m\\xc2\\x9b3X)' "$T/out"
tame 0 plan -D img --rule 'path:/*/file*=drop'
tame 0 plan -D img --on-files list
rm file*
tame 1 plan -D img
tame 1 restore -d -D img
tame 0 plan -D img --on-files list

# On a terminal one line says how far it is, where that takes longer than half a second, and goes away.
if command -v script >/dev/null; then
	start perl -e 'my $m = ""; for (1 .. 64) { $m .= pack("w", rand(1 << 30)) for 1 .. 1e5; $m .= "x" x (1 << 19); }
		open(my $f, ">", "slow"); close($f); sleep(1000)'
	until_true 60 test -e slow
	ckpt dump -s -t "$PID" -D slowly --compress=zstd:14
	check 'no bar but on a terminal' test "$status" = 0 -a ! -s "$T/err" -a "$(wc -l <"$T/out")" = 1
	timeout 100 script -qec "$CKPT dump -t $PID -D slowly2 --compress=zstd:14" /dev/null >tty </dev/null
	check 'a bar on a terminal' grep -q \
		$'\r\e\\[Kdumping [0-9.]* [KMG]*i*B of [0-9.]* MiB ([0-9]* %), [0-9.]* [KMG]*i*B/s, [0-9]*:[0-9][0-9] left' tty
	check 'it goes away, the summary stays' grep -q $'\r\e\\[Kdumped 1 process, 1 thread, ' tty
fi

[ -c /dev/full ] || finish
# full STATUS ARGS...
full() {
	timeout 20 "$CKPT" "${@:2}" >/dev/full 2>"$T/err"
	check "nowhere to write, ${*:2}: status" test $? = "$1"
	[ "$1" = 0 ] || check "nowhere to write, ${*:2}: why" grep -q '^ckpt: standard output: cannot write: ' "$T/err"
}
for args in 'show' 'show --raw' 'show --json' 'show --file-list' 'show --stacks' 'verify' 'mem --search perl'; do
	# shellcheck disable=SC2086
	full 1 $args -D img
done
full 1 check
full 1 config
full 1 --help
full 1 help options
full 1 help dump
full 1 --version
# What has been done has been done.
start sleep 1000
full 0 dump -t "$PID" -D done
full 0 flatten -D done -o flat
finish
