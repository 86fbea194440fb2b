# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For java-jni.sh and inside-java-jni.sh: a program in Java whose native library is loaded from a file that is deleted
# at once, as drivers and compressors come in jars. It has a deleted log, too. build: makes Jni.class and libjni.so in $T.
build() {
	local home
	need java
	need javac
	need gcc
	home=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
	[ -e "$home/include/jni.h" ] || skip "there is no jni.h"
	cat >"$T/Jni.java" <<'JAVA'
import java.io.RandomAccessFile;
import java.nio.file.*;

public class Jni {
	static native long next(long n); // counts in the library, too

	public static void main(String[] args) throws Exception {
		Path library = Path.of("loaded.so"), log = Path.of("deleted.log");
		Files.copy(Path.of("libjni.so"), library);
		System.load(library.toAbsolutePath().toString());
		Files.delete(library);
		RandomAccessFile file = new RandomAccessFile("deleted.log", "rw");
		Files.delete(log);
		for (long n = 1; !Files.exists(Path.of("stop")); n++) {
			Thread.sleep(10);
			if (next(n) != 2 * n + n)
				throw new Exception("the library has lost count at " + n);
			file.writeLong(n);
			if (file.length() != 8 * n)
				throw new Exception("the deleted file has " + file.length() + " bytes at " + n);
			Files.writeString(Path.of("n.new"), n + "\n");
			Files.move(Path.of("n.new"), Path.of("n"), StandardCopyOption.ATOMIC_MOVE);
		}
		file.seek(0);
		for (long n = 1; n <= file.length() / 8; n++)
			if (file.readLong() != n)
				throw new Exception("the deleted file has another content");
		Files.writeString(Path.of("ended"), "yes\n");
	}
}
JAVA
	cat >"$T/jni.c" <<'C'
#include <jni.h>
static long calls;
static long (*volatile step)(long) = 0;
static long twice(long n) { return 2 * n; }
JNIEXPORT jlong JNICALL Java_Jni_next(JNIEnv *env, jclass c, jlong n)
{
	(void)env, (void)c;
	if (!step)
		step = twice;
	return step(n) + ++calls;
}
C
	gcc -shared -fPIC -I"$home/include" -I"$home/include/linux" -o "$T/libjni.so" "$T/jni.c" &&
		javac -d "$T" "$T/Jni.java" >"$T/out" 2>&1 || bad "the program does not build"
}
# has_deleted PID: a deleted library of ours is mapped.
has_deleted() { grep -q 'loaded.so (deleted)' "/proc/$1/maps"; }
