#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A supervisor of processes: it reads what its children print, and starts those again that end.
. "$(dirname "$0")/lib.bash"
need supervisord
need supervisorctl
cat >"$T/count.sh" <<'SH'
while :; do n=$((n + 1)); echo $n >$1.new; mv $1.new $1; echo "$1 $n"; sleep 0.05; done
SH
cat >"$T/s.conf" <<CONF
[supervisord]
nodaemon=true
directory=$T
logfile=$T/s.log
pidfile=$T/s.pid
childlogdir=$T
[unix_http_server]
file=$T/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://$T/s.sock
[program:one]
command=/bin/sh count.sh one
stdout_logfile=$T/one.log
startsecs=0
[program:two]
command=/bin/sh count.sh two
stdout_logfile=$T/two.log
startsecs=0
CONF
ctl() { timeout 20 supervisorctl -c "$T/s.conf" "$@" 2>&1; }
runs() { [ "$(ctl status | grep -c RUNNING)" = 2 ]; }
grow() {
	local f
	for f in one two; do until_true greater $f $(($(number $f) + 2)) || bad "$f does not go on $1"; done
}
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
