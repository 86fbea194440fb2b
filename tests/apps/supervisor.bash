# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For supervisor.sh and inside-supervisor.sh: two children that count, and what they print.
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
