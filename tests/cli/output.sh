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

# On a terminal one line says how far it is, where that takes longer than half a second, and goes away. To ckpt each large
# piece of a file takes long here; and who is waited for waits until it is told.
sluggish=$(dirname "$CKPT")/tests/cli/sluggish.so
if command -v script >/dev/null && test -e "$sluggish"; then
	start perl -e 'my $m = ""; $m .= pack("w", rand(1 << 30)) for 1 .. 3e5; open(my $f, ">", "small"); close($f); sleep(1000)'
	until_true 60 test -e small
	# sluggishly ARGS...: with a terminal, what is shown there in ./tty.
	sluggishly() {
		timeout 100 script -qefc "LD_PRELOAD=$sluggish $CKPT $*" /dev/null >tty </dev/null
		check "$*: status" test $? = 0
	}
	# told WHAT: how far it is with that, of MiB.
	told() { grep -q $'\r\e\\[K'"$1"' [0-9.]* [KM]iB of [0-9.]* MiB ([0-9]* %), [0-9.]* [KM]*i*B/s, 0:[0-9][0-9] left' tty; }
	come() { grep -q $'\r\e\\[Kreceiving [0-9.]* [KM]iB, [0-9.]* [KM]*i*B/s' tty; }

	LD_PRELOAD=$sluggish ckpt dump -t "$PID" -D quietly -R
	check 'no bar but on a terminal' test "$status" = 0 -a ! -s "$T/err" -a "$(wc -l <"$T/out")" = 1
	sluggishly dump -t "$PID" -D of-all -R
	check 'a dump: told' told dumping
	check 'it goes away, the summary stays' grep -q $'\r\e\\[Kdumped 1 process, 1 thread, ' tty
	sluggishly dump -t "$PID" -D live -R --live --compress=zstd
	check 'rounds while it runs: told' told dumping
	check 'and not at the end alone' grep -q $'\r\e\\[Kdumping [^\r]* ([0-9]\{1,2\} %)' tty
	check 'what is packed when it goes on: told' told packing
	sluggishly dump -t "$PID" -D copied -R --max-freeze-action copy
	check 'what copies of it have: told' told dumping
	sluggishly pre-dump -t "$PID" -D before
	check 'a pre-dump: told' told 'dumping memory'
	sluggishly dump -t "$PID" -D after --prev-images-dir ../before
	until_true 5 gone "$PID"
	sluggishly verify -D after
	check 'what is verified: told' told checking
	sluggishly flatten -D after -o whole
	check 'what is compared first: told' told checking
	check 'what is flattened: told' told flattening
	sluggishly core -D after -o core
	check 'a core file: told' told writing
	sluggishly dedup -D after
	check 'what nothing is freed for before it is compared: told' told checking
	sluggishly restore -d -D whole --pidfile ../pid.flat
	check 'a restore: told' told '\(restoring\|checking\)'
	PID=$(cat pid.flat)
	STARTED+=("$PID")

	# A reader who does not read until he is told, and none is told without reading.
	# shellcheck disable=SC2016  # another shell expands
	timeout 100 script -qefc "$CKPT dump -R -t $PID -D - | bash -c '
		for ((i = 0; i < 400; i++)); do grep -q sending tty && break; sleep 0.05; done; cat >stream'" /dev/null >tty </dev/null
	check 'a stream: told' grep -q $'\r\e\\[Ksending [0-9.]* MiB' tty
	sluggishly restore -d -D - '<stream' '--pidfile $PWD/pid.stream' '|| true'
	check 'a stream that comes: told' come
	timeout 100 script -qefc "LD_PRELOAD=$sluggish $CKPT page-server -D there --address $T/sock" /dev/null >tty </dev/null &
	server=$!
	until_true 20 test -S sock
	ckpt dump -t "$PID" -D here --page-server --address "$T/sock"
	wait "$server"
	check 'a page server takes it' test "$?.$status" = 0.0
	check 'and told' come
fi

[ -c /dev/full ] || finish
# full STATUS ARGS...
full() {
	timeout 20 "$CKPT" "${@:2}" >/dev/full 2>"$T/err"
	check "nowhere to write, ${*:2}: status" test $? = "$1"
	[ "$1" = 0 ] || check "nowhere to write, ${*:2}: why" \
		grep -q '^ckpt: CKPT-E0316: standard output: cannot write: No space left' "$T/err"
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
"$CKPT" show -D img >&- 2>"$T/err"
check 'a closed standard output' test $? = 1
check 'a closed standard output: said' grep -q '^ckpt: CKPT-E0316: standard output: cannot write: Bad' "$T/err"
# What has been done has been done.
start sleep 1000
full 0 dump -t "$PID" -D done
full 0 flatten -D done -o flat
for what in 'core -D done -o big.core' 'report -D done -o page.html'; do
	# shellcheck disable=SC2086  # several words
	(ulimit -f 1; exec "$CKPT" $what 2>"$T/err")
	check "a file may not get as large, $what: status" test $? = 1
	check "a file may not get as large, $what: why" grep -q '^ckpt: CKPT-E0313: .*: cannot write' "$T/err"
done
expect 'a list of names, and JSON' 2 'choose between --file-list and --json' show -D done --file-list --json
ckpt plan -D done -o -
check 'a log for standard output makes no file' test "$status" = 0 -a ! -e done/-
finish
