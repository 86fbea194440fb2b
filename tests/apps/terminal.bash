# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For programs on a terminal whose other end is held by a program outside of the tree, as by a terminal emulator.
python=/usr/bin/python3
cat >"$T/holder.py" <<'PY'
import errno, os, pty, select, signal, sys, time

pid, master = pty.fork()
if pid == 0:
    # Ignored by what a shell starts in the background, and by python.
    for sig in signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ:
        signal.signal(sig, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
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
# on_terminal COMMAND...: sets pid and inner. What is written into the pipe keys is typed, shown is what it shows.
on_terminal() {
	[ -x $python ] || skip "there is no $python"
	rm -f pid keys shown stop
	$python "$T/holder.py" "$@" </dev/null >>"$T/out" 2>&1 &
	until_true test -s pid || bad "no terminal"
	read -r pid <pid
	inner=$pid
	until_true test -p keys || bad "no terminal"
}
type_in() { printf '%b' "$1" >keys; }
shows() { grep -aq "$1" shown; }
