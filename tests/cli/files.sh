#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What if a file is another one at the restore? Lines of the table in ckpt-restore(1), FILES THAT CHANGED, are checks here.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v python3 >/dev/null || skip 'there is no python3'

# The build-id of a library as `file` would tell it, and another build that differs in it alone.
build_id() { python3 - "$1" <<'PY'
import sys
b = open(sys.argv[1], 'rb').read(); i = b.index(b'\x03\0\0\0GNU\0'); n = int.from_bytes(b[i-4:i], 'little')
print(b[i+8:i+8+n].hex())
PY
}
another_build() { python3 - "$1" "$2" <<'PY'
import sys
b = bytearray(open(sys.argv[1], 'rb').read()); i = b.index(b'\x03\0\0\0GNU\0')
b[i+8] ^= 0xff; open(sys.argv[2], 'wb').write(b)
PY
}
libc=$(ldd /bin/sleep | sed -n 's/.*libc\.so.* => \([^ ]*\).*/\1/p')
[ -e "$libc" ] || skip 'sleep has no libc'

# run_with: sleep with a libc of its own in lib/, and files: 3 read-only, 4 a log, 5 written to.
mkdir lib
cp "$libc" lib/libc.so.6
touch -d '2020-01-01' lib/libc.so.6
reset() {
	cp -p "$libc" lib/libc.so.6; touch -d '2020-01-01' lib/libc.so.6
	echo read-only >ro; touch -d '2020-01-01' ro
	echo line >log; touch -d '2020-01-01' log
	echo written >rw; touch -d '2020-01-01' rw
}
reset
run_it() {
	# shellcheck disable=SC2016  # it is the inner shell that expands
	start bash -c 'exec 3<ro 4>>log 5<>rw; LD_LIBRARY_PATH=$PWD/lib exec sleep 1000'
	until_true 5 asleep "$PID" sleep
}
# gives STATUS REGEX ARGS...: what `plan` says (REGEX in what it prints on stderr).
gives() {
	local name=$1 want=$2 re=$3
	shift 3
	ckpt plan "$@"
	check "$name: status" test "$status" = "$want"
	if [ -n "$re" ]; then check "$name: says so" grep -Eq -- "$re" "$T/err"; else check "$name: silence" test ! -s "$T/err"; fi
}

run_it
for how in '' none mapped all written; do
	ckpt dump -t "$PID" -R -D "img$how" ${how:+--carry $how}
	check "dump --carry $how" test "$status" = 0
done
ckpt dump -t "$PID" -R -D imghash --file-validation hash
ckpt dump -t "$PID" -D imgsize --file-validation filesize
check 'dumps by hash, by size' test "$status" = 0
until_true 5 gone "$PID"

# ---- nothing changed ----
gives 'unchanged' 0 '' -D img

# ---- code ----
another_build "$libc" lib/libc.so.6
was=$(build_id "$libc") is=$(build_id lib/libc.so.6)
gives 'another build' 1 "^ckpt: CKPT-E0425: file $T/lib/libc.so.6: is another build: its build-id was $was, is $is now" -D img
gives 'another build, by size only' 0 '' -D img --file-validation filesize
gives 'another build, of an image without build-ids' 0 '' -D imgsize
gives 'another build, but it is carried' 0 "^note: file $T/lib/libc.so.6: is another build: .*: the copy that the image carries is used" \
	-D imgmapped
restored -D imgmapped
check 'another build: the carried one is mapped' grep -q '/memfd:libc.so.6 (deleted)' "/proc/$ROOT/maps"
check 'another build: it runs' unharmed "$ROOT"
ckpt dump -t "$ROOT" -D again
check 'another build: and can be dumped again' test "$status" = 0
rm lib/libc.so.6
gives 'code is missing' 1 "^ckpt: CKPT-E0402: file $T/lib/libc.so.6: cannot look: No such" -D img
gives 'code is missing, but it is carried' 0 '^note: .*lib/libc.so.6: is not here.* carries is used' -D imgmapped
mkdir lib/libc.so.6
gives 'code has become a folder' 1 '^ckpt: CKPT-E0403: .*was a regular file, is a folder now' -D img
rmdir lib/libc.so.6; mkfifo lib/libc.so.6
gives 'code has become a FIFO' 1 '^ckpt: CKPT-E0403: .*was a regular file, is a FIFO now' -D img
rm lib/libc.so.6; head -c 3000 "$libc" >lib/libc.so.6
gives 'code is cut' 1 '^ckpt: CKPT-E0403: .*libc.so.6: had [0-9]* bytes, has 3000 now' -D img
head -c 40 "$libc" >lib/libc.so.6
gives 'code is no ELF file any more' 1 "^ckpt: CKPT-E0425: .*was $was, is none now" -D img
restored -D imgmapped
ended
# The note of the build-id with a length that leads out of the file, and without its name.
for how in 12:255 16:255 20:0; do
	python3 - "$libc" lib/libc.so.6 ${how/:/ } <<'PY'
import sys
b = bytearray(open(sys.argv[1], 'rb').read()); i = b.index(b'\x03\0\0\0GNU\0') - 8
at = i + int(sys.argv[3]) - 12
b[at:at + (3 if sys.argv[3] != '20' else 1)] = bytes([int(sys.argv[4])]) * (3 if sys.argv[3] != '20' else 1)
open(sys.argv[2], 'wb').write(b)
PY
	gives "the note of code is broken ($how)" 1 "^ckpt: CKPT-E0425: .*was $was, is none now" -D img
done
# The package that it belongs to, by dpkg or by rpm.
mkdir -p bin
printf '#!/bin/sh\necho "fake:amd64: $3"\n' >bin/dpkg-query
printf '#!/bin/sh\n[ "$1" = -qf ] && [ "$2" = -- ] && echo "fake-1.0-1.x86_64" # %%s\n' >bin/rpm
chmod +x bin/*
another_build "$libc" lib/libc.so.6
PATH=$PWD/bin:$PATH gives 'its package, by dpkg' 1 ' is [0-9a-f]* now .*' -D img
check 'its package, by dpkg: named' grep -q 'libc.so.6 (package fake:amd64): is another build' err
printf '#!/bin/sh\nexit 1\n' >bin/dpkg-query
PATH=$PWD/bin:$PATH gives 'its package, by rpm' 1 ' is [0-9a-f]* now .*' -D img
check 'its package, by rpm: named' grep -q 'libc.so.6 (package fake-1.0-1.x86_64): is another build' err
# A copy in the image that is not what was carried.
cp -r imgmapped imgbad
python3 - "$was" imgbad/pages <<'PY'
import sys
b = bytearray(open(sys.argv[2], 'rb').read()); b[b.index(bytes.fromhex(sys.argv[1])) + 20] ^= 1; open(sys.argv[2], 'wb').write(b)
PY
ckpt restore -d -D imgbad --pidfile "$T/bad.pid"
check 'a carried copy that is damaged' test "$status" = 1
check 'a carried copy that is damaged: says so' grep -q '^ckpt: CKPT-E0302: ' err
check 'a carried copy that is damaged: nothing runs' test ! -e bad.pid
reset
touch lib/libc.so.6
gives 'code is touched' 0 '' -D img

# ---- data that is read ----
echo READ-only >ro
gives 'data of the same size' 0 "^note: .*fd 3: file $T/ro: was written to since the dump, its size is the same" -D img
gives 'data of the same size, asked for build-ids alone' 0 '' -D img --file-validation buildid
gives 'data of the same size, with a hash' 1 "^ckpt: CKPT-E0403: .*file $T/ro: has another content" -D imghash
gives 'data of the same size, carried' 0 '^note: .*file .*/ro: .*carries is used' -D imgall
touch -d '2020-01-01' ro
gives 'data of the same size and time, hash' 1 'has another content' -D imghash --file-validation hash
echo longer than it was >ro
gives 'data is longer' 1 "^ckpt: CKPT-E0403: .*file $T/ro: had 10 bytes, has 19 now; put back" -D img
gives 'nothing is compared' 0 '' -D img --file-validation none
restored -D img --file-validation none
ended
restored -D imgall
check 'data is longer: the carried copy is read' test "$(cat "/proc/$ROOT/fd/3")" = read-only
check 'data is longer: the file is left alone' grep -q longer ro
ended
reset
mv ro ro2; echo other data >ro
mv rw ro2.tmp; mv ro2 rw
gives 'two files swapped' 1 '^ckpt: CKPT-E0403: .*/ro: had 10' -D img
check 'two files swapped: both are named' test "$(grep -c CKPT-E "$T/err")" = 2
rm -f ro2.tmp; reset
if ! is_root; then
	run_it
	chmod 0 lib/libc.so.6
	ckpt dump -t "$PID" -D imgshut
	check 'code may not be read any more: dump' test "$status" = 0
	# Linux 6.11: the kernel tells it of what is mapped.
	if "$CKPT" check --feature PROCMAP_QUERY >/dev/null 2>&1; then
		ckpt show --json -D imgshut
		check 'code may not be read any more: its build-id is known' grep -q "$was" out
	fi
	chmod 755 lib/libc.so.6
	chmod 0 ro
	gives 'data may not be read' 1 '^ckpt: CKPT-E0404: .*/ro: cannot open: Permission' -D img
	chmod 644 ro
fi

# ---- logs ----
echo more >>log
gives 'a log has grown' 1 "^ckpt: CKPT-E0426: .*file $T/log: had 5 bytes, has 10 now; restore with --grown append" -D img
gives 'a log has grown: append' 0 '^note: .*/log: has grown by 5 bytes, which stay' -D img --grown append
restored -D img --grown append
check 'append: it stays' test "$(wc -l <log)" = 2
echo on >>"/proc/$ROOT/fd/4"
check 'append: and goes on at its end' test "$(tail -n 1 log)" = on
ended
restored -D img --grown truncate
check 'truncate: it is as it was' test "$(cat log)" = line
ended
echo more >>log; : >img/busy.pid
ckpt restore -d -D img --grown truncate --pidfile busy.pid
check 'truncate: a restore that fails' test "$status" = 1
check 'truncate: cuts nothing' test "$(wc -l <log)" = 2
echo x >log
gives 'a log is shorter' 1 '^ckpt: CKPT-E0403: .*/log: had 5 bytes, has 2 now' -D img --grown append
reset

# ---- files that are written to ----
echo 'something else' >rw
gives 'written to since' 1 '^ckpt: CKPT-E0403: .*/rw: had 8 bytes, has 15 now' -D img
gives 'written to since, carried' 1 '^ckpt: CKPT-E0403: .*/rw: had 8' -D imgwritten
gives 'rollback' 0 '^note: .*/rw: had 8 bytes, has 15 now: it is put back' -D imgwritten --files rollback
check 'a plan changes nothing' grep -q something rw
: >imgwritten/busy.pid
ckpt restore -d -D imgwritten --files rollback --pidfile busy.pid
check 'rollback: a restore that fails puts nothing back' grep -q something rw
restored -D imgwritten --files rollback
check 'rollback: it is back' test "$(cat rw)" = written
check 'rollback: the process has that file' test "$(stat -L -c %i "/proc/$ROOT/fd/5")" = "$(stat -c %i rw)"
check 'rollback: at its time' test "$(stat -c %Y rw)" = "$(date -d 2020-01-01 +%s)"
check 'rollback: nothing else is there' test -z "$(ls | grep ckpt-back)"
ended
rm rw log
restored -D imgwritten --files rollback
check 'rollback of files that are gone' test "$(cat rw log)" = $'written\nline'
ended
reset

# ---- links on the way ----
mv lib lib.real; ln -s lib.real lib
gives 'a link of our own' 0 '' -D img
if is_root; then
	chown -h 65534 lib
	gives 'a link of somebody else' 1 "^ckpt: CKPT-E0427: file $T/lib/libc.so.6: a symbolic link on the way there belongs to somebody" \
		-D img
fi
rm lib; mv lib.real lib

# ---- another machine ----
ckpt show --file-list -D img
cp "$T/out" here.list
gives 'the list of this machine' 0 '' -D img --on-files here.list
sed "/\/libc.so.6$/s/$was/$is/" here.list >there.list
gives 'the list of another machine' 1 "^ckpt: CKPT-E0425: .*was $was, is $is now" -D img --on-files there.list
grep -v '/ro$' here.list >there.list
gives 'a list that lacks a file' 1 '^ckpt: CKPT-E0402: .*/ro: cannot look' -D img --on-files there.list
echo garbage >there.list
gives 'a list that is none' 1 '^ckpt: CKPT-E0510: there.list: line 1: is none' -D img --on-files there.list
gives 'a list that is a folder' 1 '^ckpt: ' -D img --on-files lib

# ---- the libc case, in a root folder of its own ----
if is_root; then
	mkdir -p root
	for f in /bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*'); do
		mkdir -p "root$(dirname "$f")"; cp "$f" "root$f"
	done
	start chroot "$T/root" /bin/sleep 1000
	until_true 5 asleep "$PID" sleep
	ckpt dump -t "$PID" -D imgroot --carry mapped
	check 'libc case: dump' test "$status" = 0
	another_build "root$libc" tmp; cp tmp "root$libc"
	restored -D imgroot
	check 'libc case: it runs' unharmed "$ROOT"
	check 'libc case: in its root' test "$(readlink "/proc/$ROOT/root")" = "$T/root"
	ended
fi
finish_as_both
