#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Locks on files: refused without the option, taken again by a restore, which fails by name where somebody else holds one.
. "$(dirname "$0")/../lib/cli.sh"
command -v perl >/dev/null || skip 'no perl'
cd "$T" || exit 1

# Holds the lock of FILE, then tells so by a second file.
# shellcheck disable=SC2016  # it is perl that expands
hold='use Fcntl ":flock"; open(F, "+<", $ARGV[0]) && flock(F, LOCK_EX) or die; open(G, ">", $ARGV[1]); close(G); sleep 1 while 1'
free() { perl -e 'use Fcntl ":flock"; open(F, "<", $ARGV[0]) && flock(F, LOCK_SH | LOCK_NB) or exit 1' "$1"; }

echo data >data
start perl -e "$hold" "$T/data" "$T/held"
until_true 5 test -e held || { fail 'the target does not lock'; finish; }
TARGET=$PID
expect 'refused without the option' 3 '^ckpt: CKPT-E0209: .*data.*; add --file-locks' dump -t "$TARGET" -D img
expect 'check says so too' 3 'CKPT-E0209' check -t "$TARGET"
expect 'check with the option' 0 '' check -t "$TARGET" -l
expect 'a dump with the option' 0 '' dump -t "$TARGET" -D img --file-locks
until_true 5 gone "$TARGET"
until_true 5 free data || { fail 'the lock is still held'; finish; }

start perl -e "$hold" "$T/data" "$T/held-too"
until_true 5 test -e held-too || { fail 'the other one does not lock'; finish; }
ckpt restore -d -D img
check 'somebody else holds it: status' test "$status" = 1
check 'somebody else holds it: sentence' grep -q '^ckpt: CKPT-E0410: .*end the program that holds it$' "$T/err"
check 'nothing is left' gone "$TARGET"
kill -KILL "$PID"
until_true 5 free data

expect 'a restore takes it again' 0 '' restore -d -D img --pidfile root.pid
STARTED+=("$(cat img/root.pid)")
if free data; then fail 'it is not locked'; else pass 'it is locked'; fi
finish
