#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What stands against a dump for a moment only: a terminal that its reader is just about to read. The dump waits for it.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v python3 >/dev/null || skip 'python3 is missing'
cat >program.py <<'E2'
import os, pty, time
pid, fd = pty.fork()
if not pid:
    n = 0
    while True:
        n += 1
        print(n, flush=True)
        time.sleep(0.01)
while True:
    time.sleep(0.016)
    lines = os.read(fd, 65536).split(b"\r\n")
    if len(lines) > 2:
        with open("new", "wb") as f: f.write(lines[-2])
        os.rename("new", "n")
E2
start python3 program.py
until_true 10 test -s n
refused=0
for ((i = 0; i < 25; i++)); do
	ckpt dump -t "$PID" -D img -R
	[ "$status" = 0 ] || { refused=$((refused + 1)); sed "s,^,# ," "$T/err"; }
	rm -rf img
done
check 'always dumped, though something is nearly always unread' test $refused = 0
before=$(cat n)
goes_on() { [ "$(cat n)" -gt "$before" ]; }
check 'it prints on' until_true 5 goes_on
finish
