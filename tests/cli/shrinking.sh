#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program that gives most of its memory back while room is made for it (injector/room.c): the image has the size that it says.
. "$(dirname "$0")/../lib/cli.sh"
command -v python3 >/dev/null || skip 'there is no python3'
MIB=1000
[ "$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)" -gt $((MIB * 3)) ] || skip "less than $((MIB * 3)) MiB of memory"
SHM=$(mktemp -d /dev/shm/ckpt-shrinking.XXXXXX 2>/dev/null) || skip 'there is no tmpfs in /dev/shm'
trap 'rm -rf "$SHM"; cleanup' EXIT
cd "$T" || exit 1

cat >shrink.py <<'P'
import mmap, os, sys, time
folder, ms, size = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) << 20
m = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, size, 4096):
    m[at] = 1
open("ready", "w").close()
while not any(name.endswith(".tmp") for name in os.listdir(folder)):
    time.sleep(0.0002)
time.sleep(ms / 1000)
m.close()
time.sleep(1000)
P
for ms in 0.2 0.5 0.8 1 1.5; do
	rm -rf "$SHM/img" ready; mkdir "$SHM/img"
	start python3 shrink.py "$SHM/img" $ms $MIB
	until_true 30 test -e ready || { fail 'no target'; finish; }
	sleep 0.1
	expect "smaller after $ms ms: dumped" 0 '' dump -t "$PID" -D "$SHM/img"
	expect "smaller after $ms ms: whole" 0 '' verify -D "$SHM/img"
done
finish
