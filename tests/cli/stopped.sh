#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --leave-stopped: whoever called for it finds all threads standing still, also one that takes long to get there.
. "$(dirname "$0")/../lib/cli.sh"
command -v python3 >/dev/null || skip 'there is no python3'
cd "$T" || exit 1

# Its second thread wants a processor that others have most of the time.
cpu=$(taskset -pc $$ | sed 's/.*: *\([0-9]*\).*/\1/')
cat >threads.py <<'P'
import os, sys, threading, time
def wait():
    os.sched_setaffinity(0, {int(sys.argv[1])})
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    open("ready", "w").close()
    time.sleep(1000)
threading.Thread(target=wait, daemon=True).start()
time.sleep(1000)
P
occupy() {
	for _ in {1..4}; do
		taskset -c "$cpu" timeout 30 sh -c 'while :; do :; done' 2>/dev/null &
		STARTED+=($!)
	done
}
all_stopped() { [ "$(cat "/proc/$1/task/"*/status | grep -c '^State:.T')" = 2 ]; }

start python3 threads.py "$cpu"
until_true 10 test -e ready || { fail 'no target'; finish; }
old=$PID
occupy
expect 'dumped and stopped' 0 '' dump -s -t "$old" -D img
check 'all threads of it stand still' all_stopped "$old"
kill -KILL "$old"
until_true 10 gone "$old" || fail 'it does not end'
for _ in {1..3}; do
	restored -s -D img
	check 'all threads of what was restored stand still' all_stopped "$ROOT"
	ended
done
restored -s -D img
kill -CONT "$ROOT"
check 'it goes on' until_true 30 unharmed "$ROOT"
finish
