#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two images of a program that changed known things in between.
. "$(dirname "$0")/../lib/cli.sh"
command -v python3 >/dev/null || skip 'python3 is missing'
cd "$T" || exit 1

cat >change.py <<'E2'
import mmap, os, signal, threading, time
area = mmap.mmap(-1, 64 * 4096)
for i in range(64):
    area[i * 4096] = 1
print("%x" % 0, flush=True)
keep = os.open("kept", os.O_RDWR | os.O_CREAT)
gone = os.open("gone", os.O_RDWR | os.O_CREAT)
go = threading.Event()
signal.signal(signal.SIGUSR1, lambda *a: None)
open("ready", "w").close()
signal.pause()
for i in range(7):
    area[i * 9 * 4096 + 5] = 99
os.write(keep, b"more")
os.dup2(os.open("/dev/null", os.O_RDONLY), 77)
os.close(gone)
child = os.fork()
if not child:
    time.sleep(1000)
threading.Thread(target=time.sleep, args=(1000,)).start()
open("ready2", "w").close()
signal.pause()
E2
start python3 change.py
until_true 10 test -e ready
sleep 0.3
ckpt dump -t "$PID" -D one -R
[ "$status" = 0 ] || { fail 'no first image'; finish; }
kill -USR1 "$PID"
until_true 10 test -e ready2
sleep 0.3
ckpt dump -t "$PID" -D two -R
[ "$status" = 0 ] || { fail 'no second image'; finish; }

expect 'the same twice' 0 '' diff one one
check 'the same twice: nothing' test ! -s "$T/out"
expect 'two images' 0 '' diff one two
cp "$T/out" text
check 'the process that came' grep -Eq '^added process [0-9]+: .*change.py' text
check 'the thread that came' grep -Eq "^added thread $PID [0-9]+: " text
check 'the descriptor that came' grep -Eq "^added descriptor $PID 77: .*/dev/null" text
check 'the descriptor that went' grep -Eq "^gone descriptor $PID [0-9]+: .*/gone" text
check 'the position that moved' grep -Eq "^changed descriptor $PID [0-9]+: .*pos=0 .*/kept .*pos=4" text
check 'the area that came' grep -Eq "^added area $PID [0-9a-f]+: " text
expect 'as JSON' 0 '' diff one two --json
python3 - "$PID" "$T/out" "$here/man/ckpt-diff.1" >verdict 2>&1 <<'E2'
import json, re, sys
rows = json.load(open(sys.argv[2]))["changes"]
shared = [r for r in rows if r["what"] == "memory" and r.get("after", "").startswith(("shm", "/dev/zero"))]
assert [r["pages"] for r in shared] == [7], shared
assert all(r["pid"] for r in rows)
page = open(sys.argv[3]).read()
for r in rows:
    for key, value in r.items():
        assert re.search(r"\b%s\b" % key, page), key
        assert type(value) is (int if key in ("pid", "pages") else str), (key, value)
E2
check 'seven pages of the shared area' test $? = 0
cp verdict "$T/out"
expect 'the other way round' 0 '' diff two one
check 'the other way round: gone' grep -Eq '^gone process' "$T/out"
expect 'one image' 2 '^ckpt: diff: DIR1 DIR2' diff one
expect 'no image' 1 '^ckpt: CKPT-E0301: none' diff one none
expect 'no image first' 1 '^ckpt: CKPT-E0301: none' diff none one
finish
