# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For heaps.sh and inside-heaps.sh: programs that write to large memory all the time and look at all of it. They write
# growing numbers to "n", and what went wrong to "failed"; told to "stop", they look once more and write "ended".
# $LIVE_MIB: memory of java, instead of 512.
python=/usr/bin/python3

# numpy_script: np.py, arrays that are computed in place, by several threads; what they must hold is known.
numpy_script() {
	$python -c 'import numpy' 2>/dev/null || return 1
	cat >"$T/np.py" <<'PY'
import numpy as np, os, threading

N, SIDE, A, C, MASK = 4 << 20, 1024, 6364136223846793005, 1442695040888963407, 2 ** 64 - 1
start = np.arange(N, dtype=np.uint64)
counts = [0, 0, 0]

def failed(what):
    with open("failed", "a") as f:
        f.write(what + "\n")

def generate(i):        # every element is a generator of its own: after so many steps it is a linear function of the first
    x, a, c, n = start.copy(), 1, 0, 0
    while not os.path.exists("stop") or n % 8:
        np.multiply(x, np.uint64(A), out=x)
        np.add(x, np.uint64(C), out=x)
        a, c, n = a * A & MASK, (c * A + C) & MASK, n + 1
        if n % 8 == 0:
            wrong = np.count_nonzero(x != start * np.uint64(a) + np.uint64(c))
            if wrong:
                failed("generator %d, step %d: %d numbers are wrong" % (i, n, wrong))
        counts[i] = n

def multiply():         # by a matrix that turns columns: exact, and done by threads of the library
    turn = np.roll(np.eye(SIDE), 1, axis=1)
    first = np.arange(SIDE * SIDE, dtype=np.float64).reshape(SIDE, SIDE)
    m, n = first.copy(), 0
    while not os.path.exists("stop"):
        m = m @ turn
        n += 1
        if not np.array_equal(m, np.roll(first, n, axis=1)):
            failed("matrix, step %d" % n)
        counts[2] = n

threads = [threading.Thread(target=generate, args=(i,)) for i in range(2)] + [threading.Thread(target=multiply)]
for t in threads:
    t.start()
while any(t.is_alive() for t in threads):
    threads[0].join(0.02)
    n = os.open("n", os.O_WRONLY | os.O_CREAT) # in place: no dump has a name open that is about to go
    os.pwrite(n, b"%8d\n" % min(counts), 0)
    os.close(n)
open("ended", "w").write("yes\n")
PY
}

# java_class: Heap.class, blocks with numbers of their own, replaced and checked by threads while garbage is collected.
java_class() {
	command -v java >/dev/null && command -v javac >/dev/null || return 1
	cat >"$T/Heap.java" <<'JAVA'
import java.nio.file.*;
import java.util.concurrent.atomic.*;

public class Heap {
	static final int BLOCK = 8192; // longs
	static final AtomicLong[] counts = new AtomicLong[3];
	static long[][] blocks;
	static volatile boolean stop;

	static void failed(String what) {
		try {
			Files.writeString(Path.of("failed"), what + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
		} catch (Exception e) {
			System.exit(3);
		}
	}

	static void fill(long[] block, long stamp) {
		for (int i = 0; i < BLOCK; i++)
			block[i] = stamp * 1000003 + i;
	}

	static void check(int which, long stamp) {
		for (int i = 0; i < BLOCK; i++)
			if (blocks[which][i] != stamp * 1000003 + i) {
				failed("block " + which + ": " + i + " is " + blocks[which][i] + ", not of " + stamp);
				return;
			}
	}

	// Of its blocks a thread checks one after the other; it is written again, or replaced by a new one.
	static void run(int thread) {
		long[] stamp = new long[blocks.length];
		for (long n = 1; !stop; n++) {
			int which = (int) ((n * 7 * counts.length + thread) % blocks.length);
			which -= which % counts.length - thread;
			if (which >= blocks.length)
				continue;
			check(which, stamp[which]);
			stamp[which] = n;
			if (n % 3 == 0)
				blocks[which] = new long[BLOCK];
			fill(blocks[which], n);
			counts[thread].incrementAndGet();
		}
		for (int which = thread; which < blocks.length; which += counts.length)
			check(which, stamp[which]);
	}

	public static void main(String[] args) throws Exception {
		blocks = new long[(int) (Runtime.getRuntime().maxMemory() / 2 / (8 * BLOCK))][BLOCK];
		for (long[] block : blocks)
			fill(block, 0);
		Thread[] threads = new Thread[counts.length];
		for (int i = 0; i < threads.length; i++) {
			final int thread = i;
			counts[i] = new AtomicLong();
			threads[i] = new Thread(() -> run(thread));
			threads[i].start();
		}
		while (!Files.exists(Path.of("stop"))) {
			Thread.sleep(20);
			long least = Long.MAX_VALUE;
			for (AtomicLong c : counts)
				least = Math.min(least, c.get());
			Files.writeString(Path.of("n"), String.format("%8d%n", least), StandardOpenOption.CREATE,
					  StandardOpenOption.WRITE);
		}
		stop = true;
		for (Thread t : threads)
			t.join();
		Files.writeString(Path.of("ended"), "yes\n");
	}
}
JAVA
	javac -d "$T" "$T/Heap.java" >"$T/out" 2>&1 || bad "javac fails"
}
# Without its file of counters in /tmp, which the next Java program of that user removes while this one is away.
java_line=(java -XX:-UsePerfData "-Xms${LIVE_MIB:-512}m" "-Xmx${LIVE_MIB:-512}m" -XX:+AlwaysPreTouch -cp "$T" Heap)
