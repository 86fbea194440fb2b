#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `--max-freeze` is a promise: a dump that cannot keep it fails, or reads out of copies, as was chosen; and who asked for
# a short stop is told why it was none.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'there is no perl'
takes_tracking

# Writes to all of its memory all the time, or to none of it; MIB.
cat >writer.pl <<'P'
my ($mib, $writes) = @ARGV;
my $m = "x" x ($mib << 20);
open(my $ready, ">", "ready") or die;
while (1) { $writes ? $m =~ tr/xy/yx/ : select(undef, undef, undef, 0.05); }
P
writer() { # MIB WRITES COMMAND...
	rm -f ready
	start "${@:3}" perl writer.pl "$1" "$2"
	until_true 20 test -e ready || { fail 'no target'; finish; }
}
end() { kill -KILL "$PID"; until_true 5 gone "$PID"; }
none() { # NAME
	check "$1: there is no image" test ! -e img
	check "$1: the target goes on" unharmed "$PID"
}
# keeps OPTION...: it stands still for 50 ms, its stop for the tracking to begin not counted, or is not dumped.
keeps() {
	local frozen
	rm -rf img
	ckpt dump -R -t "$PID" -D img --max-freeze 50 "$@"
	frozen=$(sed -n 's/.* frozen for \([0-9]*\)\.[0-9]* ms$/\1/p' "$T/out")
	if [ "$status" = 0 ]; then [ "${frozen:-1000}" -le 70 ]; else grep -q "^ckpt: CKPT-E0116: " "$T/err"; fi
}
# A busy machine may not let it go on for a while when all is done: then once more.
kept() { # NAME OPTION...
	keeps "${@:2}" || keeps "${@:2}" || keeps "${@:2}"
	check "$1" test $? = 0
	[ "$status" = 0 ] || none "$1"
	rm -rf img
}

writer 256 yes
kept 'all of it is written all the time' --live
kept 'it need not be said that it is live'
# On a machine that is very busy what it has beside memory may take longer: then that is refused.
copied() { ckpt dump -R -t "$PID" -D img --max-freeze 50 --max-freeze-action copy; [ "$status" = 0 ]; }
check 'or it is copied' until_true 1 copied
expect 'which is whole' 0 '' verify -D img
check 'the copied one goes on' unharmed "$PID"
rm -rf img
end

writer 16 ''
expect 'one that does not write' 0 '' dump -R -t "$PID" -D img --max-freeze 5000
rm -rf img
end

# What cannot be tracked stands still for all of its memory. The last descriptor is the file that it has open.
writer 256 '' bash -c 'exec 3<&-; ulimit -n 4; exec "$@"' untracked
ckpt dump -R -t "$PID" -D img --live
check 'not tracked: it is dumped' test "$status" = 0
check 'not tracked: why it stands still is said' \
	grep -q "^note: process $PID: its memory cannot be tracked, .*: it may not use userfaultfd(2)\$" "$T/err"
rm -rf img
expect 'not tracked: not stopped for that' 1 '^ckpt: CKPT-E0116: ' dump -R -t "$PID" -D img --live --max-freeze 50
none 'not tracked'
expect 'not tracked: no pre-dump, and why' 3 "^ckpt: CKPT-E0344: process $PID: .*: it may not use userfaultfd\(2\);" \
	pre-dump -t "$PID" -D img
end
finish_as_both
