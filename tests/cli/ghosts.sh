#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Deleted files: a limit for them, one that changes during the dump, folders that cannot be written to. Names that a dump gives.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

# hold FILE...: a process that has them open from 10 on; they are deleted then.
hold() {
	# shellcheck disable=SC2016  # it is the inner shell that expands
	start bash -c 'n=10; for f; do eval "exec $n<>\"\$f\""; rm "$f"; n=$((n + 1)); done; mkfifo "$0"
		while :; do read -r _ <>"$0"; done' "$T/never.$RANDOM" "$@"
	until_true 5 test ! -e "${!#}"
	until_true 5 asleep "$PID" bash
}
content() { cat "/proc/$1/fd/$2" 2>/dev/null; }
# changing DIR REGEX: dumps until somebody who changes a file has had a turn meanwhile, which REGEX tells.
changing() {
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
		rm -rf "$1"
		ckpt dump -t "$PID" -R -D "$1"
		[ "$status" = 0 ] || break
	done
	check "$1: changed during the dump" test "$status" = 1
	check "$1: says so" grep -q "$2" err
}

mkdir d
head -c 3000000 /dev/zero | tr '\0' x >d/large
echo small >d/small
sum=$(sha256sum <d/large)
hold "$T/d/large" "$T/d/small"
expect 'a limit' \
	1 "^ckpt: CKPT-E0261: .*fd 10: deleted file $T/d/large: it has 3000000 bytes, more than the limit of 1048576; raise --ghost-limit" \
	dump -t "$PID" -D img --ghost-limit 1m
check 'no image is left' test ! -e img/image
expect 'check says so too' 1 '^ckpt: CKPT-E0261: .*3000000' check -t "$PID" --ghost-limit 2900K
expect 'a limit that fits' 0 '' check -t "$PID" --ghost-limit 3M
expect 'no limit' 0 '' check -t "$PID"
expect 'no size' 2 '^ckpt: --ghost-limit: "3X" is not a size' check -t "$PID" --ghost-limit 3X
expect 'a size that is none' 2 'is not a size' check -t "$PID" --ghost-limit 99999999999G
expect 'a dump' 0 '' dump -t "$PID" -D img
rm -r d
ckpt restore -D img -d --pidfile "$T/pid1"
check 'restored though the folder is gone' test "$status" = 0
STARTED+=("$(cat pid1)")
check 'with its content' test "$(content "$(cat pid1)" 10 | sha256sum)" = "$sum"
check 'the folder is not back' test ! -e d
kill -KILL "$(cat pid1)"; until_true 5 gone "$(cat pid1)"; rm pid1
if is_root && mkdir d && mount -t tmpfs -o ro none d 2>/dev/null; then
	ckpt restore -D img -d --pidfile "$T/pid1"
	check 'restored though the folder is read-only' test "$status" = 0
	check 'that is said' grep -q "^note: .*deleted file $T/d/large: cannot be made in $T/d (Read-only.*): will live in memory" "$T/err"
	STARTED+=("$(cat pid1)")
	check 'with its content, too' test "$(content "$(cat pid1)" 10 | sha256sum)" = "$sum"
	kill -KILL "$(cat pid1)"; until_true 5 gone "$(cat pid1)"
	umount d
fi

# The same content twice is stored once, also of different files; one that differs in the last byte is not.
mkdir -p twice
head -c 4000000 /dev/urandom >twice/a
cp twice/a twice/b
{ head -c 3999999 twice/a; echo; } >twice/c
sums=$(cat twice/{a,b,c} | sha256sum)
hold "$T/twice/a" "$T/twice/b" "$T/twice/c"
expect 'the same twice' 0 '' dump -t "$PID" -D img4
size=$(pages_size img4)
check 'is stored once' test "$size" -gt 8000000 -a "$size" -lt 11000000
ckpt restore -D img4 -d --pidfile "$T/pid4"
check 'and comes back' test "$(cat "/proc/$(cat pid4)/fd/"{10,11,12} | sha256sum)" = "$sums"
kill -KILL "$(cat pid4)"; until_true 5 gone "$(cat pid4)"

# Somebody outside goes on writing.
mkdir -p w
head -c 40000000 /dev/zero | tr '\0' y >w/log
exec 9>>w/log
hold "$T/w/log"
(while echo more >&9; do :; done) & writer=$!
exec 9>&-
STARTED+=("$writer")
changing img2 '^ckpt: CKPT-E0260: .*w/log.* changed it during the dump; dump again'
kill "$writer"; wait "$writer" 2>/dev/null
check 'the program goes on' unharmed "$PID"
check 'no image of that' test ! -e img2/image

# Or cuts it, again and again.
head -c 40000000 /dev/zero | tr '\0' z >w/cut
hold "$T/w/cut"
perl -e 'open(F, "+<", $ARGV[0]) or die; while (1) { truncate(F, 100); truncate(F, 40000000); }' "/proc/$PID/fd/10" & writer=$!
STARTED+=("$writer")
changing img5 '^ckpt: CKPT-E0260: .*w/cut'
kill "$writer"; wait "$writer" 2>/dev/null
check 'the program goes on' unharmed "$PID"
check 'no image of that' test ! -e img5/image

# Or its name comes and goes, and with it whether it is a deleted file at all.
mkdir v v/away
echo kept >v/away/b; ln v/away/b v/file
hold "$T/v/file"
perl -e 'while (1) { link($ARGV[0], $ARGV[1]); unlink($ARGV[1]); }' v/away/b v/file & writer=$!
STARTED+=("$writer")
good=0 odd=0
for i in 1 2 3 4 5 6; do
	ckpt dump -t "$PID" -R -D "v$i"
	if [ "$status" = 0 ]; then good=$i; elif ! grep -q '^ckpt: CKPT-E' err; then odd=$i; fi
done
kill "$writer"; wait "$writer" 2>/dev/null
check 'a name that comes and goes: a dump, or a reason' test "$odd" = 0
check 'the program goes on' unharmed "$PID"
ln -f v/away/b v/file
expect 'when it stays there is a dump' 0 '' dump -t "$PID" -D v7
for i in $good 7; do
	[ "$i" != 0 ] || continue
	rm -f pidv
	ckpt restore -D "v$i" -d --pidfile "$T/pidv"
	check "a name that comes and goes: restored ($i)" test "$status" = 0
	check 'with its content' test "$(content "$(cat pidv)" 10)" = kept
	kill -KILL "$(cat pidv)"; until_true 5 gone "$(cat pidv)"
done

# Larger than the memory that ckpt takes: contents pass through, piece by piece.
most() { python3 -c 'import resource, subprocess, sys
r = subprocess.call(sys.argv[2:], stdin=subprocess.DEVNULL)
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print("%d KiB" % most, file=sys.stderr); sys.exit(r or most > int(sys.argv[1]))' "$@" >out 2>err; }
if command -v python3 >/dev/null; then
	mkdir big
	truncate -s 120000000 big/file
	head -c 60000000 /dev/urandom | dd of=big/file bs=1M seek=20 conv=notrunc status=none
	sum=$(sha256sum <big/file)
	hold "$T/big/file"
	check 'a dump of 60 MB takes less than 40 MiB' most 40960 "$CKPT" dump -t "$PID" -D img6
	check 'holes are not stored' test "$(pages_size img6)" -lt 66000000
	check 'nor does a restore take more' most 40960 "$CKPT" restore -d -D img6 --pidfile "$T/pid6"
	STARTED+=("$(cat pid6)")
	check 'it is what it was' test "$(content "$(cat pid6)" 10 | sha256sum)" = "$sum"
	check 'with its holes' test "$(stat -L -c %b "/proc/$(cat pid6)/fd/10")" -lt 130000
	kill -KILL "$(cat pid6)"; until_true 5 gone "$(cat pid6)"
	rm -r img6
fi

# A file with other names is given one here, unless that is forbidden; a failed dump takes it back.
mkdir here there
echo linked >here/a
ln here/a there/b
hold "$T/here/a"
expect 'forbidden' 3 '^ckpt: CKPT-E0203: .*here/a.*--no-link-remap forbids' dump -t "$PID" -D img3 --no-link-remap
expect 'a check gives no name' 0 '' check -t "$PID"
check 'no name is there' test -z "$(ls -A here)"
mkdir full; : >full/image
ckpt dump -t "$PID" -D full
check 'a dump that fails' test "$status" = 1
check 'leaves no name' test -z "$(ls -A here)"
ckpt dump -t "$PID" -D img3
check 'a dump' test "$status" = 0
check 'says so' grep -q "^note: file $T/here/a: was given the name $T/here/.ckpt-link-" "$T/err"
ckpt restore -D img3 -d --pidfile "$T/pid2"
STARTED+=("$(cat pid2)")
check 'is restored' test "$status" = 0
echo again >>"/proc/$(cat pid2)/fd/10"
check 'and it is that file' grep -q again there/b
finish_as_both
