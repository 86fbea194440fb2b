#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A debugger and what it debugs: refused by name, and neither is disturbed.
. "$(dirname "$0")/lib.bash"
need gdb
[ -z "${CKPT_CASE_DRY-}" ] || skip "without ckpt there is nothing to see"
cat >"$T/count.sh" <<'SH'
while [ ! -e stop ]; do n=$((n + 1)); echo $n >n.new; mv n.new n; sleep 0.02; done; exit 7
SH
start gdb -q -nx -batch -ex 'set startup-with-shell off' -ex run --args bash "$T/count.sh"
until_true greater n 1 || bad "gdb does not start its program"
debuggee=$(pgrep -P "$pid")
for target in "$pid" "$debuggee"; do
	for how in -R --leave-stopped --live ""; do
		# shellcheck disable=SC2086
		! "$T/ckpt" dump -t "$target" -D "$T/img" $how >ckpt.out 2>&1 || bad "dump $how takes process $target"
		grep -q "CKPT-E0104.*$debuggee" ckpt.out || bad "dump $how does not name process $debuggee and its debugger"
		[ ! -e img/image ] || bad "there is an image of process $target"
	done
	! "$T/ckpt" check -t "$target" >ckpt.out 2>&1 || bad "check finds nothing wrong"
	grep -q "CKPT-E0104.*$debuggee" ckpt.out || bad "check does not name process $debuggee"
done
rm ckpt.out
until_true greater n $(($(number n) + 3)) || bad "the debugged program does not go on"
touch stop
until_true grep -q 'exited with code 07' out || bad "gdb does not see the end of its program"
! grep -q SIG out || bad "gdb has seen a signal"
good "a debugger and its program are refused by name and go on"
