#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Python with threads, a pool of processes, queues and other programs that it runs.
. "$(dirname "$0")/inside.bash"
python=/usr/bin/python3
[ -x $python ] || skip "there is no $python"
$python -c 'import multiprocessing.synchronize' 2>/dev/null || skip "python has no semaphores"

cat >"$T/p.py" <<'PY'
import hashlib, multiprocessing, os, queue, subprocess, threading, time

def work(n):
    return hashlib.sha256(b"%d" % n).hexdigest()

def failed(what):
    with open("failed", "a") as f:
        f.write(what + "\n")

expected = [work(n) for n in range(40)]
counts = [0] * 5

def spin(i):
    while not os.path.exists("stop"):
        if work(7) != expected[7]:
            failed("thread %d" % i)
        start = time.monotonic()
        time.sleep(0.05)
        if time.monotonic() - start < 0.0499:
            failed("a sleep of %f s" % (time.monotonic() - start))
        counts[i] += 1

def produce(q):
    for n in range(10 ** 9):
        if os.path.exists("stop"):
            break
        q.put(n)
    q.put(None)

def consume(q):
    want = 0
    while (n := q.get()) is not None:
        if n != want:
            failed("item %d, not %d" % (n, want))
        want += 1
        counts[3] += 1
        time.sleep(0.001)

def run():
    while not os.path.exists("stop"):
        out = subprocess.run(["/bin/sh", "-c", "echo $((6 * 7)); exit 3"], stdout=subprocess.PIPE)
        if out.stdout != b"42\n" or out.returncode != 3:
            failed("a program returns %r" % (out,))
        counts[4] += 1

def main():
    pool = multiprocessing.get_context("fork").Pool(3)
    q = queue.Queue(10)
    threads = [threading.Thread(target=spin, args=(i,)) for i in range(3)]
    threads += [threading.Thread(target=f, args=a) for f, a in ((produce, (q,)), (consume, (q,)), (run, ()))]
    for t in threads:
        t.start()
    n = 0
    while not os.path.exists("stop"):
        if pool.map(work, range(40)) != expected:
            failed("pool")
        n += 1
        with open("n.new", "w") as f:
            f.write("%d\n" % n)
        os.rename("n.new", "n")
    for t in threads:
        t.join()
    pool.close()
    pool.join()
    with open("ended", "w") as f:
        f.write("%d\n" % min(counts))

main()
PY
start $python "$T/p.py"
through python 3
many
comes_to_end python
until_true greater ended 0 || bad "a thread has done nothing"
good "python with threads, a pool and programs: $((2 * rounds)) checkpoints, two restores"
