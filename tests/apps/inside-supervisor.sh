#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A supervisor of processes: it reads what its children print, and starts those again that end.
. "$(dirname "$0")/inside.bash"
rounds=${INSIDE_ROUNDS:-8}
. "$T/supervisor.bash"
start supervisord -c "$T/s.conf"
until_true runs || bad "the supervisor does not start"
grow "at the start"
many
grow "after the checkpoints"
for round in 1 2; do
	take
	grow "after restore $round"
	runs || bad "after restore $round: $(ctl status)"
	# It learns of the end of a child that it has not started in this life.
	kill -KILL "$(pgrep -P "$pid" -f 'count.sh one')"
	rm -f one
	until_true test -s one || bad "a child is not started again after restore $round: $(tail -n 3 s.log)"
done
many
grep -qE 'exited|exit status' s.log && [ "$(grep -c 'not expected' s.log)" -le 2 ] || bad "children have ended: $(cat s.log)"
ctl shutdown >/dev/null
until_true test ! -e s.pid || bad "the supervisor does not end"
good "a supervisor and its children: $((2 * rounds)) checkpoints, two restores"
