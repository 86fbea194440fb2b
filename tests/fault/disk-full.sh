#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Dumps into file systems that are too small by more or less: each is refused with its code, leaves nothing behind and
# the program alone; with room enough it succeeds.
set -u
victim=${BUILD:-.}/tests/fault/victim
ckpt=$(realpath "${CKPT:-${BUILD:-.}/ckpt}")
skip() { echo "skip - $*"; exit 77; }
[ -x "$victim" ] && [ -x "$ckpt" ] || skip "ckpt or $victim is not built"
[ "$(id -u)" = 0 ] || skip "only root can make a small file system"
if [ "${1-}" != inside ]; then
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	exec unshare -m --propagation private "$0" inside
fi

T=$(mktemp -d /tmp/ckpt-full.XXXXXX)
failed=0
coproc V { exec "$victim" read "$T"; }
V_pid=$!
read -r -t 20 pid <&"${V[0]}" || { echo "not ok - the victim does not start"; exit 1; }
end() {
	kill -KILL "$pid" 2>/dev/null
	wait "$V_pid"
	umount "$T/small" 2>/dev/null
	rm -rf "$T"
}
trap end EXIT
bad() { echo "not ok - $*"; sed 's/^/# /' "$T/out"; failed=1; }

mkdir "$T/small"
done=no
for kib in 4 8 16 32 64 80 96 112 128 144 160 192 256 512 65536; do
	mount -t tmpfs -o size=${kib}k small "$T/small" || skip "cannot mount a small file system"
	"$ckpt" dump -t "$pid" -D "$T/small/img" -R >"$T/out" 2>&1
	status=$?
	if [ $status = 0 ]; then
		"$ckpt" verify -D "$T/small/img" >"$T/out" 2>&1 || bad "$kib KiB: success without an image"
		done=yes
	else
		[ $done = no ] || bad "$kib KiB: fails, although less was enough"
		grep -q CKPT-E0306 "$T/out" || bad "$kib KiB: no word of the full disk (status $status)"
		[ -z "$(find "$T/small" -type f)" ] || bad "$kib KiB: files are left: $(find "$T/small" -type f)"
	fi
	"$victim" well "$T" >"$T/out" 2>&1 || bad "$kib KiB: the program is harmed"
	umount "$T/small"
done
[ $done = yes ] || bad "never succeeds"
[ $failed = 0 ] && echo "ok - full disks are reported, leave nothing behind and the program alone"
exit $failed
