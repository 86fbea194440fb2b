#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Clocks after a restore: those of the machine, or going on where they were; on a machine whose clocks are behind they do not
# go back unless that is asked for, and then it is said.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

command -v python3 >/dev/null || skip 'there is no python3'
cat >prog.py <<'PROG'
import os, sys, time
last, least = time.monotonic(), 0
while not os.path.exists(sys.argv[1] + '/end'):
	now = time.monotonic()
	least = min(least, now - last)
	last = now
	if os.path.exists(sys.argv[1] + '/tell'):
		os.unlink(sys.argv[1] + '/tell')
		with open(sys.argv[1] + '/told.new', 'w') as f:
			f.write('%d %d\n' % (now, least))
		os.rename(sys.argv[1] + '/told.new', sys.argv[1] + '/told')
	time.sleep(0.01)
PROG

# what_it_sees: $now, and $least: by how much its clock ever went back.
what_it_sees() {
	rm -f "$T/told"
	: >"$T/tell"
	until_true 10 test -s "$T/told" || fail 'the program does not answer'
	read -r now least <"$T/told"
}
near() { [ $(($1 - $2)) -ge -1 ] && [ $(($1 - $2)) -le 60 ]; }
uptime_s() { cut -d. -f1 /proc/uptime; }
end_it() {
	: >"$T/end"
	until_true 10 test ! -e "/proc/$(cat img/root.pid)" || fail 'the program does not end'
	rm -f "$T/end" img/root.pid
}

start python3 "$T/prog.py" "$T"
until_true 5 asleep "$PID" python3
what_it_sees
before=$now
expect 'a dump' 0 '' dump -t "$PID" -D img
[ "$status" = 0 ] || finish
until_true 5 test ! -e "/proc/$PID"

expect 'no such choice' 2 'clock' restore -D img --clock sundial
expect 'a restore' 0 '' restore -D img -d --pidfile root.pid
check 'nothing is said of clocks' test -z "$(grep -i clock "$T/err")"
what_it_sees
check 'its clock is that of the machine' near "$(uptime_s)" "$now"
end_it

expect 'clocks that go on' 0 '' restore -D img -d --pidfile root.pid --clock continue
what_it_sees
check 'go on where they were' near "$now" "$before"
check 'and not back' test "$least" = 0
end_it

# A machine that has not run for as long.
if unshare -T --monotonic -1000 --boottime -1000 true 2>/dev/null; then
	CKPT_BEFORE=$CKPT
	printf '#!/bin/sh\nexec unshare -T --monotonic -1000 --boottime -1000 "%s" "$@"\n' "$CKPT" >younger
	chmod +x younger
	CKPT=$T/younger
	expect 'a machine with younger clocks' 0 'clocks of this machine are behind' restore -D img -d --pidfile root.pid
	what_it_sees
	check 'they go on there by themselves' near "$now" "$before"
	check 'and not back' test "$least" = 0
	end_it
	# The program sleeps until a moment that will not come for long: that is what it is named for.
	ckpt restore -D img -d --pidfile root.pid --clock host
	check 'clocks that go back are named' grep -q '^note: CLOCK_MONOTONIC goes back by [0-9]* s' "$T/err"
	kill -KILL "$(cat img/root.pid)"
	CKPT=$CKPT_BEFORE
fi
finish
