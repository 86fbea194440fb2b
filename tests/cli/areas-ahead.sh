#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is read before a tree stands still is read of all its processes, not only of the first: areas of the large ones
# (injector/areas-ahead.c), of those that wait (injector/quiet.c), descriptors (engine/capture/fds-ahead.c).
. "$(dirname "$0")/../lib/cli.sh"
command -v python3 >/dev/null || skip 'there is no python3'
takes_tracking
cd "$T" || exit 1

cat >large.py <<'P'
import os, sys, time
x = bytearray(64 << 20)
open("ready%d" % os.getpid(), "w").close()
time.sleep(1000)
P
start bash -c 'python3 large.py & python3 large.py & sleep 1000'
ready() { set -- ready*; [ -e "${2-}" ]; }
until_true 20 ready || { fail 'no target'; finish; }
read -ra children <"/proc/$PID/task/$PID/children"
known() { # DUMP [NUMBER]: those of two were, of others not
	check "$1: areas of the large ones were known" test \
		"$(grep -c "process \(${children[0]}\|${children[1]}\) (python3): its areas are known already" "$T/err")" = "${2-2}"
	check "$1: of no other" test "$(grep -c 'its areas are known already' "$T/err")" = "${2-2}"
}
ckpt dump -R -v4 --live -t "$PID" -D live
check 'live' test "$status" = 0
known live
expect 'a first one' 0 '' dump -R --track-mem -t "$PID" -D 1
ckpt dump -R -v4 --track-mem -t "$PID" -D 2 --prev-images-dir ../1
check 'the next one' test "$status" = 0
known next
check 'it is unharmed' unharmed "$PID"
# What ends cannot be looked at once more.
ckpt dump -v4 --track-mem -t "$PID" -D 3 --prev-images-dir ../2
check 'the last one' test "$status" = 0
if "$CKPT" check --feature 'bpf_iter task_vma' | grep -q ^ok; then known last; else known last 0; fi
for p in "$PID" "${children[@]}"; do until_true 10 test ! -e "/proc/$p"; done
for img in live 2 3; do
	restored -D $img
	[ "$ROOT" = 0 ] && continue
	check "$img: all is there" test "$(wc -w <"/proc/$ROOT/task/$ROOT/children")" = 3
	ended
done

# One with many areas and files, that waits: alone, and below another one.
cat >many.py <<'P'
import mmap, os, sys, time
m = mmap.mmap(-1, 2200 * 4096, flags=mmap.MAP_PRIVATE)
for i in range(0, 2200, 2):
    m.madvise(mmap.MADV_DONTFORK, i * 4096, 4096)
files = [open("file%d" % i, "w") for i in range(300)]
open("many%d" % os.getpid(), "w").close()
time.sleep(1000)
P
start python3 many.py
alone=$PID
start bash -c 'python3 many.py; true'
ready() { set -- many[0-9]*; [ -e "${2-}" ]; }
until_true 20 ready || { fail 'no target'; finish; }
read -r child <"/proc/$PID/task/$PID/children"
looked_up() { test "$(sed -n "s/.*process $1: \([0-9]*\) descriptors were looked up ahead/\1/p" "$T/err")" -ge 300; }
ckpt dump -R -v4 -t "$alone" -D alone
check 'who waits, alone' test "$status" = 0
waits=$(grep -c 'its areas are known already' "$T/err")
check 'its descriptors were looked up ahead' looked_up "$alone"
ckpt dump -R -v4 -t "$PID" -D below
check 'who waits, below another one' test "$status" = 0
check 'its areas are known as well as alone' test "$(grep -c "process $child .* are known already" "$T/err")" = "$waits"
check 'its descriptors, too, were looked up ahead' looked_up "$child"
check 'it is unharmed' unharmed "$PID"
finish
