#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A supervisor of processes: it reads what its children print, and starts those again that end.
. "$(dirname "$0")/lib.bash"
. "$T/supervisor.bash"
start supervisord -c "$T/s.conf"
until_true runs || bad "the supervisor does not start"
grow "at the start"
for round in 1 2; do
	if [ $round = 1 ]; then take; else take_same; fi
	grow "after restore $round"
	runs || bad "after restore $round: $(ctl status)"
	logged=$(wc -l <one.log)
	until_true eval '[ $(wc -l <one.log) -gt $logged ]' || bad "output is not read after restore $round"
	# It learns of the end of a child that it has not started in this life.
	kill -KILL "$(pgrep -P "$pid" -f 'count.sh one')"
	rm -f one
	until_true test -s one || bad "a child is not started again after restore $round: $(tail -n 3 s.log)"
done
ctl stop two | grep -q 'two: stopped' || bad "a child cannot be stopped"
ctl start two | grep -q 'two: started' || bad "a child cannot be started"
grow "after a start"
ctl shutdown >/dev/null
until_true test ! -e s.pid || bad "the supervisor does not end"
good "a supervisor and its children go on after two restores"
