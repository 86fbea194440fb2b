#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What madvise(2) said of a large area, which changes all the time: an image that was made beside it (--live, or from one
# before) has what was true when it stood still (injector/areas-ahead.c).
. "$(dirname "$0")/../lib/cli.sh"
command -v python3 >/dev/null || skip 'there is no python3'
takes_tracking
"$CKPT" check --feature 'bpf_iter task_vma' | grep -q ^ok || skip 'only root sees on Linux 6.1 what is taken back at once'
cd "$T" || exit 1

# The file it reads is another one once it is restored: then it looks once more.
cat >advice.py <<'P'
import ctypes, mmap, sys, time
m = mmap.mmap(-1, 160 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(m), 4096):
    m[at] = 1
open("ready", "w").close()
place = ctypes.addressof(ctypes.c_char.from_buffer(m))
def is_left_out():
    here = False
    for line in open("/proc/self/smaps"):
        word = line.split()
        if line[0] in "0123456789abcdef":
            start, end = (int(n, 16) for n in word[0].split("-"))
            here = start <= place < end
        elif here and word[0] == "VmFlags:":
            return "dc" in word
on = False
while True:
    if is_left_out() != on and is_left_out() != on:
        open("differs", "w").close()
        sys.exit(1)
    on = not on
    m.madvise(mmap.MADV_DONTFORK if on else mmap.MADV_DOFORK)
    time.sleep(0.002)
P
# looked PID N: it has slept that often, or differs.
sleeps() { sed -n 's/^voluntary_ctxt_switches:.//p' "/proc/$1/status"; }
looked() { [ -e differs ] || [ "$(sleeps "$1")" -ge "$2" ]; }
start python3 advice.py
until_true 20 test -e ready || { fail 'no target'; finish; }
for i in {1..6}; do expect "live $i" 0 '' dump -R --live -t "$PID" -D live$i; done
expect 'the first of a chain' 0 '' dump -R --track-mem -t "$PID" -D next0
for i in {1..6}; do expect "next $i" 0 '' dump -R --track-mem -t "$PID" -D next$i --prev-images-dir ../next$((i - 1)); done
check 'it is unharmed' unharmed "$PID"
kill -KILL "$PID"
until_true 10 gone "$PID" || fail 'it does not end'
for img in live{1..6} next{1..6}; do
	restored -D $img
	[ "$ROOT" = 0 ] && continue
	check "$img: it has looked" until_true 10 looked "$ROOT" $(($(sleeps "$ROOT") + 5))
	check "$img: as it was" test ! -e differs
	ended
done
finish
