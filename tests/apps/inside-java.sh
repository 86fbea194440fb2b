#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Java with a hundred threads, locks, garbage and exceptions.
. "$(dirname "$0")/inside.bash"
need java
need javac

cat >"$T/Job.java" <<'JAVA'
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Job {
	static final AtomicLong[] counts = new AtomicLong[100];
	static volatile boolean stop;

	static void failed(String what) {
		try {
			Files.writeString(Path.of("failed"), what + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
		} catch (Exception e) {
			System.exit(3);
		}
	}

	static long work(int n) {
		long x = n;
		List<String> garbage = new ArrayList<>();
		for (int i = 0; i < 2000; i++) {
			x = x * 6364136223846793005L + i;
			if (i % 20 == 0)
				garbage.add("s" + x);
		}
		for (String s : garbage)
			x ^= s.hashCode();
		try {
			Object[] o = new Object[1];
			return x + o[(int) (x & 1) + 1].hashCode();
		} catch (ArrayIndexOutOfBoundsException | NullPointerException e) {
			return x;
		}
	}

	static void run(int i, Object lock, long expected) {
		try {
			while (!stop) {
				if (work(i) != expected)
					failed("thread " + i);
				if (i % 10 == 0)
					synchronized (lock) {
						lock.wait(5);
					}
				else
					Thread.sleep(10 + i % 7);
				counts[i].incrementAndGet();
			}
		} catch (Throwable e) {
			failed("thread " + i + ": " + e);
		}
	}

	public static void main(String[] args) throws Exception {
		Object lock = new Object();
		List<Thread> threads = new ArrayList<>();
		for (int i = 0; i < counts.length; i++) {
			final int n = i;
			final long expected = work(i);
			counts[i] = new AtomicLong();
			threads.add(new Thread(() -> run(n, lock, expected)));
		}
		for (Thread t : threads)
			t.start();
		for (long n = 1; !Files.exists(Path.of("stop")); n++) {
			Thread.sleep(20);
			long least = Long.MAX_VALUE;
			for (AtomicLong c : counts)
				least = Math.min(least, c.get());
			Files.writeString(Path.of("n.new"), least + "\n");
			Files.move(Path.of("n.new"), Path.of("n"), StandardCopyOption.ATOMIC_MOVE);
		}
		stop = true;
		for (Thread t : threads)
			t.join();
		Files.writeString(Path.of("ended"), "yes\n");
	}
}
JAVA
javac -d "$T" "$T/Job.java" >"$T/out" 2>&1 || bad "javac fails"
start java -XX:-UsePerfData -Xmx128m -cp "$T" Job
through java
comes_to_end java
good "java with a hundred threads: $rounds checkpoints, two restores"
