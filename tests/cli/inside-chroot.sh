#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs with the library that change their root: files are those of that root; without a /proc there nobody can be asked.
# In mounts of its own.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS-}" ] && unshare -m true 2>/dev/null; then
	OWN_MOUNTS=1 exec unshare -m --propagation private bash "$0" "$@"
fi
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
BUILD=${CKPT%/*} RUN=${CKPT%/*}/ckpt-run
[ -x "$BUILD/ckpt-signal" ] && [ -e "$BUILD/libckpt-inproc.so" ] || skip 'there is no ckpt-signal here'
[ -n "${OWN_MOUNTS-}" ] || skip 'takes mounts of its own'
command -v perl >/dev/null || skip 'there is no perl'
ask() { CKPT=$BUILD/ckpt-signal expect "$@"; }

mkdir -p root/proc root/in
cat >chroot.pl <<'PROG'
chroot($ARGV[0]) && chdir("/in") or die;
open($f, "+>", "/in/file"); syswrite($f, "kept");
open($g, "+>", "/in/gone"); syswrite($g, "deleted"); unlink("/in/gone");
open($r, ">", "/in/ready"); close($r);
sleep 1000;
PROG
start "$RUN" -D "$T/own" perl "$T/chroot.pl" "$T/root"
until_true 5 test -e root/in/ready
ask 'without /proc' 1 "^ckpt-signal: CKPT-E0281: process $PID: its root directory has no /proc; mount one there, or dump it from outside" \
	-D no "$PID"
check 'no image of that' test ! -e no
check 'it goes on' unharmed "$PID"
mount --bind /proc root/proc || skip 'there can be no other /proc'
ask 'with /proc' 0 '' --kill -D img "$PID"
until_true 5 test ! -e "/proc/$PID"
restored -j -D img
check 'with its root' test "$(readlink "/proc/$ROOT/root") $(readlink "/proc/$ROOT/cwd")" = "$T/root $T/root/in"
check 'its file' grep -lq kept "/proc/$ROOT/root/in/file"
check 'and one that was deleted' test "$(cat /proc/"$ROOT"/fd/* 2>/dev/null | grep -c deleted)" = 1
ended
umount root/proc
finish
