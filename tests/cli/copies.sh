#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Dumps that read out of copies of processes: nothing of a copy is left, and where there can be none that is said.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'there is no perl'
children() { cat "/proc/$PID/task/$PID/children"; }
# Others may have copies now, too: one of ours still has the arguments of our program.
no_copies() {
	local p
	[ -z "$(children)" ] || return 1
	for p in $(pgrep -x ckpt-copy); do
		! grep -qsF "$T/ready" "/proc/$p/cmdline" || return 1
	done
}
copy() { expect "$1" "$2" "$3" dump -R -t "$PID" -D img --max-freeze-action copy "${@:4}"; }
# shellcheck disable=SC2016  # it is perl that expands
large='open(R, ">", "'$T/ready'"); close R; my $x = "x" x 4e6; syscall(157, 36, 1, 0, 0, 0) if $ARGV[0]; 1 while sleep(1000);'
idle=$large
launch() { # COMMAND ARGUMENT
	rm -f ready
	# shellcheck disable=SC2086
	start $1 perl -e "$large" "$2"
	until_true 10 test -e ready
	sleep 0.2
}

chmod 777 .
launch '' 0
expect 'who is to end needs no copy' 1 'needs -R' dump -t "$PID" -D img --max-freeze-action copy
copy 'a copy' 0 ''
check 'nothing is left of it' until_true 5 no_copies
check 'the process is unharmed' unharmed "$PID"
expect 'its image is whole' 0 '' verify -D img
rm -rf img
copy 'a copy after rounds' 0 '' --live --max-freeze 5000
check 'the process is unharmed then' unharmed "$PID"
rm -rf img

copy 'a copy, compressed' 0 '' --compress
expect 'is whole, too' 0 '' verify -D img
"$CKPT" dump -R -t "$PID" -D - --max-freeze-action copy 2>"$T/err" >stream
check 'a copy into a stream' "$CKPT" verify -D - <stream
rm -rf img

# shellcheck disable=SC2016
large='open(R, ">", "'$T/ready'"); close R; my $x = "x" x 2e8; my $i = 0;
while (++$i) { substr($x, $_ << 12, 4) = pack "V", $i for 0 .. 48000 }'
launch '' 0
copy 'who writes all of much memory' 0 '' --live
check 'it is unharmed' unharmed "$PID"
check 'nothing is left of that copy' until_true 5 no_copies
kill -KILL "$PID"
until_true 10 gone "$PID" || fail 'it does not end'
restored -D img
check 'it goes on' unharmed "$ROOT"
ended
rm -rf img

large=$idle
launch '' 1
copy 'who takes orphans' 1 '^ckpt: CKPT-E0117: .*takes orphans'
check 'who takes orphans: unharmed' unharmed "$PID"

if is_root && command -v setpriv >/dev/null && command -v prlimit >/dev/null; then
	launch 'prlimit --nproc=1:1 setpriv --reuid 61234 --regid 61234 --clear-groups' 0
	copy 'who may have no more processes' 1 '^ckpt: CKPT-E0117: .*Resource temporarily unavailable; raise'
	check 'who may have no more processes: unharmed' unharmed "$PID"
	check 'who may have no more processes: nothing is left' no_copies
fi
finish
