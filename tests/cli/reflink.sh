#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files that an image shares with a file system that can (reflinks): they take no room, and stay what they were. In mounts of
# its own.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS-}" ] && unshare -m true 2>/dev/null; then
	OWN_MOUNTS=1 exec unshare -m --propagation private bash "$0" "$@"
fi
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
[ -n "${OWN_MOUNTS-}" ] || skip 'takes mounts of its own'
command -v mkfs.btrfs >/dev/null || skip 'there is no mkfs.btrfs'
truncate -s 400M fs.img
mkdir fs
mkfs.btrfs -q fs.img >/dev/null 2>&1 && mount -o loop fs.img fs 2>/dev/null || skip 'btrfs cannot be mounted here'
trap 'umount fs; cleanup' EXIT
chmod 1777 fs

MB=1000000
used() { sync -f fs; df --output=used -B1000 fs | tail -n 1; }
# takes KB COMMAND...: how much of the file system it uses up is in $taken.
takes() {
	local before
	before=$(used)
	"$@"
	taken=$(($(used) - before))
}
head -c $((40 * MB + 123)) /dev/urandom >fs/data # more than is in one pages file, where there are processors
head -c $((10 * MB)) /dev/urandom >fs/gone
sync -f fs
cp fs/data data.was
gone=$(sha256sum <fs/gone)
# shellcheck disable=SC2016  # it is the inner shell that expands
start bash -c 'exec 10<>fs/data 11<>fs/gone; rm fs/gone; mkfifo never; while :; do read -r _ <>never; done'
until_true 5 test -e never
until_true 5 asleep "$PID" bash
put_back() {
	restored --files rollback -D "$1"
	check "$1: the file is put back" cmp -s fs/data data.was
	check "$1: the deleted one, too" test "$(sha256sum <"/proc/$ROOT/fd/11")" = "$gone"
	ended
}

takes ckpt dump -t "$PID" -R -D fs/shared --carry written
check 'shared: dump' test "$status" = 0
check 'shared: the image has both' test "$(pages_size fs/shared)" -gt $((50 * MB))
check "shared: it took $taken KB" test "$taken" -lt 10000
takes ckpt dump -t "$PID" -R -D fs/live --carry written --live
check "of a live dump: it took $taken KB" test "$status" = 0 -a "$taken" -lt 10000
takes ckpt dump -t "$PID" -R -D fs/packed --carry written -c
check "packed: it took $taken KB" test "$status" = 0 -a "$taken" -gt 45000
takes ckpt dump -t "$PID" -R -D elsewhere --carry written
check 'on another file system: dump' test "$status" = 0
# The program goes on, and writes.
head -c $((30 * MB)) /dev/zero | tr '\0' x >"/proc/$PID/fd/10"
echo more >>"/proc/$PID/fd/11"
for i in fs/shared fs/live elsewhere; do expect "$i is whole" 0 '' verify -D "$i"; done
kill -KILL "$PID"; until_true 5 gone "$PID"; until_true 5 test ! -e "/proc/$PID"
put_back fs/shared
head -c $((30 * MB)) /dev/zero | tr '\0' y >fs/data
put_back fs/live
head -c $((30 * MB)) /dev/zero | tr '\0' z >fs/data
put_back elsewhere
finish
