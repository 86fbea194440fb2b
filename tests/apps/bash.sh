#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A shell with job control on a terminal: a pipeline in the foreground group, a job in the background. The terminal's
# other end is held by a program outside of the tree, as by a terminal emulator.
. "$(dirname "$0")/lib.bash"
. "$T/terminal.bash"
on_terminal bash --norc -i

type_in 'PS1="ready> "\r'
until_true shows 'ready> ' || bad "the shell does not start"
type_in '(i=0; while :; do i=$((i+1)); echo $i >back.new; mv back.new back; sleep 0.02; done) &\r'
until_true greater back 1 || bad "the job does not start"
type_in 'X=kept; stty -echo; exec 9<>/dev/tty\r'
type_in 'while :; do echo tick; sleep 0.02; done | (i=0; while read t; do i=$((i+1)); echo $i >front.new; mv front.new front; done)\r'
until_true greater front 1 || bad "the pipeline does not start"

dump -j || bad "the dump fails"
until_true gone "$pid" || bad "the shell is still there after the dump"
restore -j || bad "the restore fails"
read -r b <back
read -r f <front
until_true greater back $((b + 2)) || bad "the job does not go on"
until_true greater front $((f + 2)) || bad "the pipeline does not go on"
# The terminal's own keys: the interrupt goes to the foreground group, the shell goes on.
# A shell whose command ends well in that very moment takes no notice of the key (bash): then it is pressed again.
interrupt() {
	local i
	type_in '\003'
	type_in 'echo "value $X" >value\r'
	for ((i = 0; i < 20; i++)); do
		[ -s value ] && return
		sleep 0.05
	done
	return 1
}
interrupted=
for _ in 1 2 3 4 5 6 7 8 9 10; do interrupt && interrupted=yes && break; done
if [ -z "$interrupted" ]; then
	{ ps -o pid,ppid,pgid,tpgid,stat,pending,blocked,ignored,caught,wchan:20,args -s "$pid"; tail -c 300 shown; } >>"$T/out"
	bad "the shell does not take its terminal back"
fi
[ "$(cat value)" = "value kept" ] || bad "the shell has lost its variable"
type_in 'kill %1; wait; echo over >over\r'
until_true test -s over || bad "the shell has lost its job"
type_in 'stty -a >settings\r'
until_true grep -qs -- ' -echo ' settings || bad "the terminal's settings are lost"
type_in 'echo through >&9; echo "to $?" >tty\r'
until_true test -s tty || bad "the shell does not go on"
[ "$(cat tty)" = "to 0" ] && until_true shows through || bad "/dev/tty is lost"
type_in 'exit\r'
touch stop
good "a shell on a terminal keeps its jobs, variables and settings"
