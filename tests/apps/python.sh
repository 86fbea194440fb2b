#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Python with threads and a pool of worker processes (semaphores in deleted files, pipes, queues).
. "$(dirname "$0")/lib.bash"
python=/usr/bin/python3
[ -x $python ] || skip "there is no $python"
$python -c 'import multiprocessing.synchronize' 2>/dev/null || skip "python has no semaphores"

cat >"$T/p.py" <<'PY'
import hashlib, multiprocessing, os, threading, time

def work(n):
    return hashlib.sha256(b"%d" % n).hexdigest()

expected = [work(n) for n in range(40)]
counts = [0, 0, 0]

def spin(i):
    lock = threading.Lock()
    while not os.path.exists("stop"):
        with lock:
            if work(7) != expected[7]:
                open("failed", "w").write("thread %d" % i)
            counts[i] += 1
        time.sleep(0.003)

def report(n):
    with open("n.new", "w") as f:
        f.write("%d\n" % n)
    os.rename("n.new", "n")

def main():
    # The start method's own tracker would hold on to names; fork is the classic one.
    pool = multiprocessing.get_context("fork").Pool(3)
    threads = [threading.Thread(target=spin, args=(i,)) for i in range(3)]
    data = {i: os.urandom(10) for i in range(20000)}
    digest = hash(frozenset(data.items()))
    for t in threads:
        t.start()
    n = 0
    while not os.path.exists("stop"):
        before = list(counts)
        if pool.map(work, range(40)) != expected:
            open("failed", "w").write("pool")
        if hash(frozenset(data.items())) != digest:
            open("failed", "w").write("data")
        n += 1
        report(n)
    for t in threads:
        t.join()
    pool.close()
    pool.join()
    open("ended", "w").write(str(min(counts)))

main()
PY
start $python "$T/p.py"
until_true greater n 3 || bad "python does not start"
take_same
read -r before <n
until_true greater n $((before + 3)) || bad "python does not go on after it was compared"
! oracle compare >/dev/null || bad "the oracle does not see that it has gone on"
for round in 1 2 3; do
	take
	read -r before <n
	until_true greater n $((before + 3)) || bad "python does not go on after restore $round"
	[ ! -e failed ] || bad "wrong results: $(cat failed)"
done
dump -R || bad "dump -R fails"
read -r before <n
until_true greater n $((before + 3)) || bad "python does not go on after a dump -R"
touch stop
until_true test -s ended || bad "python does not come to its end"
[ ! -e failed ] || bad "wrong results: $(cat failed)"
good "python with threads and a pool goes on after three restores"
