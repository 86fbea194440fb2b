#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A shell with job control on a terminal: a pipeline in the foreground group, a job in the background. The terminal's
# other end is held by a program outside of the tree, as by a terminal emulator.
. "$(dirname "$0")/lib.bash"
python=/usr/bin/python3
[ -x $python ] || skip "there is no $python"

cat >"$T/holder.py" <<'PY'
import errno, os, pty, select, signal, sys, time

pid, master = pty.fork()
if pid == 0:
    for sig in signal.SIGINT, signal.SIGQUIT:      # ignored by what a shell starts in the background
        signal.signal(sig, signal.SIG_DFL)
    os.execvp("bash", ["bash", "--norc", "-i"])
open("pid", "w").write("%d\n" % pid)
os.mkfifo("keys")
keys = os.open("keys", os.O_RDWR | os.O_NONBLOCK)
shown = open("shown", "wb", buffering=0)
end = time.time() + 120
while time.time() < end and not os.path.exists("stop"):
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass
    ready, _, _ = select.select([keys, master], [], [], 0.1)
    if keys in ready:
        os.write(master, os.read(keys, 1000))
    if master in ready:
        try:
            shown.write(os.read(master, 1000))
        except OSError as e:        # nobody has the terminal open for now
            if e.errno != errno.EIO:
                raise
            time.sleep(0.02)
PY
$python "$T/holder.py" </dev/null >>"$T/out" 2>&1 &
until_true test -s pid || bad "no terminal"
read -r pid <pid
inner=$pid
until_true test -p keys || bad "no terminal"
type_in() { echo "$1" >keys; }
shows() { grep -aq "$1" shown; }

type_in 'PS1="ready> "'
until_true shows 'ready> ' || bad "the shell does not start"
type_in '(i=0; while :; do i=$((i+1)); echo $i >back.new; mv back.new back; sleep 0.02; done) &'
until_true greater back 1 || bad "the job does not start"
type_in 'X=kept; stty -echo; exec 9<>/dev/tty'
type_in 'while :; do echo tick; sleep 0.02; done | (i=0; while read t; do i=$((i+1)); echo $i >front.new; mv front.new front; done)'
until_true greater front 1 || bad "the pipeline does not start"

dump -j || bad "the dump fails"
until_true gone "$pid" || bad "the shell is still there after the dump"
restore -j || bad "the restore fails"
read -r b <back
read -r f <front
until_true greater back $((b + 2)) || bad "the job does not go on"
until_true greater front $((f + 2)) || bad "the pipeline does not go on"
# The terminal's own keys: the interrupt goes to the foreground group, the shell goes on.
printf '\003' >keys
type_in 'echo "value $X" >value'
until_true test -s value || bad "the shell does not take its terminal back"
[ "$(cat value)" = "value kept" ] || bad "the shell has lost its variable"
type_in 'kill %1; wait; echo over >over'
until_true test -s over || bad "the shell has lost its job"
type_in 'stty -a >settings'
until_true grep -qs -- ' -echo ' settings || bad "the terminal's settings are lost"
type_in 'echo through >&9; echo "to $?" >tty'
until_true test -s tty || bad "the shell does not go on"
[ "$(cat tty)" = "to 0" ] && shows through || bad "/dev/tty is lost"
type_in 'exit'
touch stop
good "a shell on a terminal keeps its jobs, variables and settings"
