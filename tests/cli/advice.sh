#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What madvise(2) said of a large area, which changes all the time: an image that was made beside it (--live, or from one
# before) has what was true when it stood still (injector/areas-ahead.c).
. "$(dirname "$0")/../lib/cli.sh"
command -v python3 >/dev/null || skip 'there is no python3'
takes_tracking
"$CKPT" check --feature 'bpf_iter task_vma' | grep -q ^ok || skip 'only root sees on Linux 6.1 what is taken back at once'
cd "$T" || exit 1

cat >advice.py <<'P'
import ctypes, mmap, os, sys, time
m = mmap.mmap(-1, 160 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(m), 4096):
    m[at] = 1
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
open("ready", "w").close()
while not os.path.exists("ask"):
    on = not on
    m.madvise(mmap.MADV_DONTFORK if on else mmap.MADV_DOFORK)
    time.sleep(float(sys.argv[1]))
with open("said.new", "w") as said:
    said.write("as it was" if is_left_out() == on else "another advice")
os.rename("said.new", "said")
time.sleep(1000)
P
for pause in 0.00005 0.002; do
	rm -rf ready ask live* next*
	start bash -c "python3 advice.py $pause; :"
	until_true 20 test -e ready || { fail 'no target'; finish; }
	for i in {1..6}; do expect "live $i" 0 '' dump -R --live -t "$PID" -D live$i; done
	expect 'the first of a chain' 0 '' dump -R --track-mem -t "$PID" -D next0
	for i in {1..6}; do expect "next $i" 0 '' dump -R --track-mem -t "$PID" -D next$i --prev-images-dir ../next$((i - 1)); done
	check 'it is unharmed' unharmed "$PID"
	end_tree "$PID"
	touch ask
	for img in live{1..6} next{1..6}; do
		rm -f said
		restored -D $img
		[ "$ROOT" = 0 ] && continue
		until_true 10 test -e said
		check "$img: $(cat said), changed every $pause s" grep -qs '^as it was' said
		ended
	done
done
finish
