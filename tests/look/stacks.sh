#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Back-traces out of an image are those that gdb printed of the living process, frame by frame: C with threads and signal
# handlers, C++, Rust, python, redis. And what becomes of them when files are missing, changed, stripped.
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/gdb.sh"

# trace NAME COMMAND...: starts it; gdb's frames in gdb.out; image in ./NAME.img, its stacks in NAME.json
trace() {
	local name=$1
	shift
	rm -f ready
	start "$@"
	until_true 10 test -e ready || { fail "$name: it does not get ready"; return 1; }
	until_true 5 [ "$(state "$PID")" = S ]
	sleep 0.2
	gdb -q -batch -nx -p "$PID" -x "$here/tests/look/gdb-frames.py" >gdb.out 2>gdb.err </dev/null
	ckpt dump -t "$PID" -D "$name.img"
	[ "$status" = 0 ] || { fail "$name: no image"; return 1; }
	ckpt show -D "$name.img" --stacks --json
	cp "$T/out" "$name.json"
}
# same NAME REGEX: what trace left is the same; names of functions that REGEX matches too.
same() {
	if python3 "$here/tests/look/compare.py" gdb.out "$1.json" "$2" >cmp 2>&1; then
		pass "$1: $(tail -n 1 cmp)"
	else
		cp cmp "$T/out"
		fail "$1: as gdb has it"
	fi
}

trace c ./threads 8 && same c 'rest|deeper|main|work|handler|interrupted'
ckpt show -D c.img --stacks
check 'as text' grep -q '^#1  0x0000[0-9a-f]* in rest ()$' "$T/out"
check 'the library is named' grep -q '^#0 .* from /.*/libc.*so' "$T/out"
check 'the signal is shown' grep -q '^#[0-9]* *<signal handler called>$' "$T/out"
check 'nothing is incomplete' test -z "$(grep 'ends here' "$T/out")"
expect 'of one process' 0 '' show -D c.img --stacks -p "$PID"
expect 'of none' 1 '^ckpt: CKPT-E0310: c.img: process 1 is not in this image' show -D c.img --stacks -p 1
# One that cannot be opened: it is looked for when the first stack is.
mkdir no && : >no/libunwind-x86_64.so.8
LD_LIBRARY_PATH=$T/no expect 'without libunwind' 0 '' show -D c.img --stacks
check 'without libunwind: said' grep -q 'libunwind-x86_64.so.8 is not installed' "$T/out"

if command -v g++ >/dev/null; then
	g++ -g -O2 -o template "$here/tests/look/template.cc" && trace c++ ./template && same c++ 'shop::|main'
	ckpt show -D c++.img --stacks
	check 'C++: what was inlined' grep -q 'in shop::counter<.*, 7>::inlined(int) () (inlined)$' "$T/out"
	check 'C++ is demangled' grep -q 'in shop::counter<.*, 7>::wait(int) ()' "$T/out"
fi
if command -v rustc >/dev/null; then
	rustc -g -O -o work "$here/tests/look/work.rs" 2>/dev/null && trace rust ./work && same rust 'work::|main'
	ckpt show -D rust.img --stacks
	check 'Rust is demangled' grep -q 'in work::rest' "$T/out"
fi
trace python python3 -c '
import select, threading, time
for i in range(3): threading.Thread(target=select.select, args=([], [], [])).start()
open("ready", "w")
time.sleep(1000)' && same python main
if command -v redis-server >/dev/null; then
	(until_true 10 test -S sock; touch ready) &
	trace redis redis-server --port 0 --save '' --unixsocket "$T/sock" && same redis 'ae|main|bio'
fi

# The program is gone: its frames have no names, and the walk says why it ends, at the first of them.
mv threads away
ckpt show -D c.img --stacks
check 'without the program: still' test "$status" = 0
check 'without the program: why' grep -q 'ends here: .*/threads: No such file' "$T/out"
check 'without the program: libraries' grep -q 'in start_thread ()\|in .*poll ()' "$T/out"
printf more >>away; cp away threads
ckpt show -D c.img --stacks
check 'another size' grep -q 'ends here: .*/threads: it has another size' "$T/out"
cp /bin/true threads; truncate -s "$(stat -c %s "$threads")" threads
ckpt show -D c.img --stacks
check 'another build' grep -q 'ends here: .*/threads: it has another build-id' "$T/out"

# Deleted while it ran: it came with the image.
cp "$threads" gone
rm -f ready
start ./gone 3
until_true 10 test -e ready
rm gone
ckpt dump -t "$PID" -D carried.img
if [ "$status" = 0 ]; then
	ckpt show -D carried.img --stacks
	check 'a deleted program: named out of the image' grep -q 'in deeper ()' "$T/out"
	check 'a deleted program: complete' test -z "$(grep 'ends here' "$T/out")"
else
	fail 'a deleted program cannot be dumped'
fi
strip -o stripped "$threads"
trace stripped ./stripped 5 && same stripped main
ckpt show -D stripped.img --stacks
check 'stripped: ??' grep -q ' in ?? ()$' "$T/out"

# What was stripped is elsewhere, by build-id; a file of another program there is none.
if command -v objcopy >/dev/null && [ -x template ]; then
	id=$(readelf -n template | sed -n 's/.*Build ID: //p')
	mkdir -p "debug/.build-id/${id:0:2}" "other/.build-id/${id:0:2}"
	objcopy --only-keep-debug template "debug/.build-id/${id:0:2}/${id:2}.debug"
	objcopy --only-keep-debug "$threads" "other/.build-id/${id:0:2}/${id:2}.debug"
	strip -o bald template
	trace bald ./bald && same bald main
	for dir in none other; do
		ckpt show -D bald.img --stacks --debug-dir "$dir"
		check "debug files in $dir: ??" grep -q ' in ?? ()$' "$T/out"
	done
	ckpt show -D bald.img --stacks --json --debug-dir debug
	cp "$T/out" bald.json
	check 'its debug file: names' grep -q 'shop::counter<.*::wait(int)' bald.json
	check 'its debug file: what was inlined' grep -q '"inlined": *true' bald.json
	ckpt report -D bald.img --debug-dir debug -o bald.html
	check 'its debug file: in the report' grep -q '::inlined(int) () (inlined)' bald.html
	rm -f ready
	start ./bald
	until_true 10 test -e ready
	rm bald
	ckpt dump -t "$PID" -D gone.img
	ckpt show -D gone.img --stacks --debug-dir debug
	check 'a deleted program: names of its debug file' grep -q 'in shop::counter<.*::wait' "$T/out"
fi

# Compiled while it runs: nothing says how to unwind it, but it has frame pointers.
if command -v node >/dev/null; then
	cat >wait.js <<-'E'
		function inner(n) {
			if (n)
				return inner(n - 1) + 1;
			require('fs').writeFileSync('ready', '');
			return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
		}
		inner(3);
	E
	rm -f ready
	start node wait.js
	until_true 20 test -e ready
	sleep 0.3
	ckpt dump -t "$PID" -D node.img
	ckpt show -D node.img --stacks
	check 'JavaScript: frames are guessed' grep -q ' (guessed by the frame pointer)$' "$T/out"
	check 'JavaScript: up to where it began, or why not' grep -q 'node::Start(\|ends here' "$T/out"
fi

# Nothing but .debug_frame says how to unwind.
if cc -g -O2 -fno-asynchronous-unwind-tables -fno-unwind-tables -o bare "$here/tests/look/threads.c" 2>/dev/null; then
	trace debug-frame ./bare 6 && same debug-frame 'rest|deeper|main|work|handler|interrupted'
fi

# Two hundred threads, in less than two seconds.
rm -f ready
start "$threads" 200
until_true 10 test -e ready
ckpt dump -t "$PID" -D many.img
begin=$(date +%s%N)
ckpt show -D many.img --stacks
took=$((($(date +%s%N) - begin) / 1000000))
check "202 threads: $took ms" test "$took" -lt 2000
check '202 threads: complete' test -z "$(grep 'ends here' "$T/out")"
check '202 threads: grouped' grep -q '^[0-9]* threads at the same place: [0-9 ]*$' "$T/out"

# A stack that is garbage, and one that has no end: the walk ends and says why.
if cc -g -O2 -o garbage "$here/tests/look/garbage.c" 2>/dev/null; then
	for how in zero random loop deep; do
		rm -f ready
		start ./garbage $how
		until_true 10 test -e ready
		sleep 0.1
		ckpt dump -t "$PID" -D $how.img
		LIMIT=10 ckpt show -D $how.img --stacks
		check "garbage, $how: shown" test "$status" = 0
		check "garbage, $how: says that it ends" grep -q 'ends here' "$T/out"
		check "garbage, $how: bounded" test "$(wc -l <"$T/out")" -lt 5000
	done
fi
finish
