#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images as streams: through pipes, sockets and files; who does not get all of it restores nothing, and a program whose
# image nobody took goes on.
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/sums.sh"
start_sums "$T/p"
dump() { timeout 60 "$CKPT" dump -t "$PID" -D - "$@" 2>"$T/err"; }
restore() { timeout 60 "$CKPT" restore -D - -d --pidfile "$T/p/pid1" >"$T/out" 2>"$T/err2"; }
came_back() {
	check "$1" test "$2" = "0 0"
	[ "$2" = "0 0" ] || sed "s/^/# /" "$T/err2"
	PID=$(cat p/pid1); rm -f p/pid1
	STARTED+=("$PID")
	check 'with its memory' same_sums "$T/p"
}

dump -R >s; status=$?
check 'into a file' test "$status" = 0
check 'the report is not in it' grep -q '^dumped 1 process' "$T/err"
check 'the program goes on' unharmed "$PID"
ckpt dump -t "$PID" -D plain -R
check 'zeroes take no room' test "$(stat -c %s s)" -lt $(($(pages_size plain) - 4000000))
rm -r plain
dump -R --compress zstd >z
check 'compressed' test "$(stat -c %s z)" -lt $(($(stat -c %s s) * 3 / 4))
for f in s z; do
	timeout 60 "$CKPT" verify -D - <$f >"$T/out" 2>"$T/err"
	check "$f is sound" grep -q '^ok: standard input: 1 process' "$T/out"
	# shellcheck disable=SC2002  # a pipe is what is tested
	cat $f | timeout 60 "$CKPT" show -D - >"$T/out" 2>"$T/err"
	check "$f is shown" grep -q '1 process' "$T/out"
	cat $f | timeout 60 "$CKPT" mem -D - -p "$PID" --search '399999 400000' >"$T/out" 2>"$T/err"
	check "$f: memory is found" grep -q '399999 400000' "$T/out"
done
check 'nothing is left in the folder' test -z "$(find . -name '.*.tmp' -o -name image -o -name pages)"

# Straight into a restore, over and over.
dump | restore; came_back 'through a pipe' "${PIPESTATUS[0]} ${PIPESTATUS[1]}"
dump --compress | restore; came_back 'compressed' "${PIPESTATUS[0]} ${PIPESTATUS[1]}"
dump --live | restore; came_back 'copied live' "${PIPESTATUS[0]} ${PIPESTATUS[1]}"
dump | cat | restore; came_back 'with something between' "${PIPESTATUS[0]} ${PIPESTATUS[2]}"
mkfifo f
dump >f & dumper=$!
restore <f; r=$?
wait "$dumper"; came_back 'through a named pipe' "$? $r"

# Cut or flipped anywhere: nothing is restored, and it is said.
kill -KILL "$PID"; until_true 5 gone "$PID"
size=$(stat -c %s z)
for at in 0 1 15 16 40 60 1000 $((RANDOM * 30)) $((size / 2)) $((size - 40000)) $((size - 33)) $((size - 1)); do
	head -c "$at" z | restore
	check "cut at $at: refused" test $? = 1
	check "cut at $at: said" grep -Eq '^ckpt: CKPT-E0(331|308): standard input: ' "$T/err2"
done
for at in 3 9 17 24 33 60 $((RANDOM * 30)) $((size / 3)) $((size - 30000)) $((size - 20)); do
	perl -e 'local $/; my $s = <STDIN>; substr($s, $ARGV[0], 1) = chr(ord(substr($s, $ARGV[0], 1)) ^ 32); print $s;' \
		"$at" <z | restore
	check "flipped at $at: refused" test $? = 1
	check "flipped at $at: said" grep -Eq '^ckpt: CKPT-E030[28]: standard input: ' "$T/err2"
done
{ cat z; echo; } | restore
check 'something behind it' grep -q '^ckpt: CKPT-E0302: standard input: frame .*follow' "$T/err2"
restore <p
check 'a folder, by mistake' test $? = 1
check 'nothing runs' gone "$PID"
check 'no pidfile is left' test ! -e p/pid1

# Whoever reads it may go away, or the disk behind it be full: then the program goes on.
rm -f p/*
start_sums "$T/p"
for most in 0 10 5000 1000000; do
	dump | head -c $most >/dev/null; s=("${PIPESTATUS[@]}")
	check "reader of $most bytes: refused" test "${s[0]}" = 1
	check "reader of $most bytes: said" grep -q '^ckpt: CKPT-E0330: standard output: ' "$T/err"
	check "reader of $most bytes: the program goes on" unharmed "$PID"
done
if is_root && mkdir small && mount -t tmpfs -o size=4m small small 2>/dev/null; then
	dump >small/s
	check 'a full disk' grep -q '^ckpt: CKPT-E0306: standard output: ' "$T/err"
	dump 2>/dev/null | cat >small/t 2>/dev/null
	check 'a full disk behind a pipe' test "${PIPESTATUS[0]}" = 1
	check 'the program goes on' unharmed "$PID"
	umount small
fi
# One that does not read at all is waited for, until somebody has enough of it.
mkfifo slow
sleep 100 <slow & reader=$!
STARTED+=("$reader")
"$CKPT" dump -t "$PID" -D - >slow 2>"$T/err" & dumper=$!
sleep 1
kill -TERM "$dumper"
wait "$dumper"
check 'stopped by a signal' grep -q 'dump stopped by SIGTERM, the process goes on' "$T/err"
check 'it goes on' unharmed "$PID"
check 'and nothing was changed in it' same_sums "$T/p"
kill "$reader"

"$CKPT" dump -t "$PID" -D - >&- 2>"$T/err"
check 'a standard output that is closed: refused' test $? = 1
check 'a standard output that is closed: said' grep -q '^ckpt: CKPT-E0316: standard output: cannot write: Bad' "$T/err"
check 'a standard output that is closed: it goes on' same_sums "$T/p"

if command -v script >/dev/null; then
	script -qec "$CKPT dump -t $PID -D -" /dev/null >"$T/out" 2>&1 </dev/null
	check 'not to a terminal' grep -q 'CKPT-E0332: standard output: an image is not for a terminal' "$T/out"
	check 'the program goes on' unharmed "$PID"
fi

# The same as an ordinary user.
if is_root; then
	kill -KILL "$PID"; until_true 5 gone "$PID"; rm -f p/*
	start setpriv --reuid 65534 --regid 65534 --clear-groups perl -e "$sums_program" "$T/p"
	SUM=$(ask_sums "$T/p")
	as_nobody "$CKPT" dump -t "$PID" -D - --compress 2>"$T/err" |
		as_nobody "$CKPT" restore -D - -d --pidfile "$T/p/pid1" >"$T/out" 2>"$T/err2"
	came_back 'as a user' "${PIPESTATUS[0]} ${PIPESTATUS[1]}"
fi
finish
