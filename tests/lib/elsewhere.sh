# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests/cli: another side for a program to go to, a pid namespace. Its first process, $INIT as numbered here, collects
# whoever ends there.
# shellcheck disable=SC2016  # it is perl that expands
start unshare -pf --mount-proc --kill-child perl -e '$SIG{CHLD} = "IGNORE"; sleep(1000) while 1'
INIT=$(cat "/proc/$PID/task/$PID/children"); INIT=${INIT%% *}
[ -n "$INIT" ] || skip 'no pid namespace can be made'
# By the number that a process has there.
runs_there() { nsenter -t "$INIT" -p -m test -e "/proc/$1"; }
end_there() { nsenter -t "$INIT" -p -m kill -KILL "$1" 2>/dev/null; }
