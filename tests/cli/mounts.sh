#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files behind mounts: covered, bound elsewhere, taken away; and a folder that has become too small at the restore. In mounts
# of its own.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS-}" ] && unshare -m true 2>/dev/null; then
	OWN_MOUNTS=1 exec unshare -m --propagation private bash "$0" "$@"
fi
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
mkdir here bound
[ -n "${OWN_MOUNTS-}" ] && mount --bind here bound 2>/dev/null || skip 'takes mounts of its own'

# holds FILE [COMMAND]: a process that has FILE open as 10; COMMAND is run there after that.
holds() {
	rm -f ready
	# shellcheck disable=SC2016  # it is the inner shell that expands
	start bash -c 'exec 10<>"$1"; eval "$2"; cd /; mkfifo "$3"; while :; do read -r _ <>"$3"; done' "$T" "$1" "${2-:}" "$T/ready"
	until_true 5 test -e ready
	until_true 5 asleep "$PID" bash
}
# back DIR: restored as $ROOT.
back() {
	ckpt restore -d -D "$1" --pidfile "$T/$1.pid"
	check "$1: restored" test "$status" = 0
	ROOT=$(cat "$1.pid" 2>/dev/null || echo 0)
	STARTED+=("$ROOT")
}

echo bound >here/f
holds "$T/bound/f"
expect 'a bind mount' 0 '' dump -t "$PID" -D img1
back img1
check 'by the mount that it was opened by' test "$(readlink "/proc/$ROOT/fd/10")" = "$T/bound/f"
kill -KILL "$ROOT"

holds "$T/here/f"
mount -t tmpfs none here
expect 'covered, but bound elsewhere' 0 '' dump -t "$PID" -D img2
back img2
echo more >>"/proc/$ROOT/fd/10"
check 'it is that file' test "$(cat bound/f)" = $'bound\nmore'
ended
umount here

mkdir alone; echo alone >alone/f
holds "$T/alone/f"
mount -t tmpfs none alone
expect 'covered, and nowhere else' 3 "^ckpt: CKPT-E0203: .*fd 10: file $T/alone/f: it is not at this path any more, yet it has a name" \
	dump -t "$PID" -D img3
check 'the program goes on' unharmed "$PID"
umount alone
expect 'uncovered again' 0 '' dump -t "$PID" -D img3
mkdir covered; mount --bind covered alone
expect 'covered at the restore: another file is not taken for it' 1 "^ckpt: CKPT-E0402: .*file $T/alone/f: cannot look" plan -D img3
umount alone

# Deleted files come back in their folder, as large as they were.
mkdir small
mount -t tmpfs -o size=8m none small
head -c 3000000 /dev/urandom >small/large
sum=$(sha256sum <small/large)
holds "$T/small/large" 'rm "$1"'
expect 'a deleted file' 0 '' dump -t "$PID" -D img4
until_true 5 test ! -e "/proc/$PID"
head -c 6000000 /dev/zero >small/fill
ckpt restore -d -D img4 --pidfile "$T/no.pid"
check 'no space for it: refused' test "$status" = 1
check 'no space for it: one sentence' test "$(grep -c . err)" = 1
check 'no space for it: which file, and why' grep -Eq 'small/large.*No space left' err
check 'no space for it: nothing is left' test "$(ls -A small)" = fill -a ! -e no.pid
rm small/fill
back img4
check 'with space it is back' test "$(sha256sum <"/proc/$ROOT/fd/10")" = "$sum"
ended
mount -o remount,ro small; rm img4.pid
back img4
check 'read-only: it says so' grep -q '^note: .*cannot be made in .*Read-only.*: will live in memory' err
check 'read-only: in memory' test "$(sha256sum <"/proc/$ROOT/fd/10")" = "$sum"
ended
umount small bound
finish
