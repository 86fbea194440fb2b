#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory policies of areas (mbind(2)) come back. In mounts of its own: a machine with one memory node, which is not
# asked, is made to look like one with two.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS-}" ] && unshare -m true 2>/dev/null; then
	OWN_MOUNTS=1 exec unshare -m bash "$0" "$@"
fi
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

command -v perl >/dev/null || skip 'there is no perl'
cat >numa.pl <<'PROG'
my $one = pack("Q", 1);
syscall(238, 3, $one, 64) == 0 or exit 1;			# set_mempolicy: interleave
my $a = syscall(9, 0, 1 << 20, 3, 0x22, -1, 0);				# mmap
my $b = syscall(9, 0, 1 << 20, 3, 0x21, -1, 0);				# shared
syscall(237, $a, 1 << 20, 2, $one, 64, 0) == 0 or exit 1;	# mbind: bind
syscall(237, $b, 1 << 20, 1 | 1 << 15, $one, 64, 0) == 0 or exit 1;	# prefer, static
sleep 1000;
PROG
# policies PID: how many areas have which.
policies() { sed -n 's/^[0-9a-f]* \(bind\|prefer[^ ]*\|interleave\)[: ].*/\1/p' "/proc/$1/numa_maps" | sort | uniq -c; }
nodes=/sys/devices/system/node/online
echo 0-1 >online
[ -n "${OWN_MOUNTS-}" ] && [ -e "/proc/$$/numa_maps" ] && mount --bind online "$nodes" 2>/dev/null ||
	skip "takes mounts of its own, and a kernel with memory nodes"
start perl "$T/numa.pl"
before=$(policies "$PID")
check 'the program has policies' grep -q bind <<<"$before"
ckpt dump -t "$PID" -D numa
check 'a process with memory policies can be dumped' test "$status" = 0
check 'nothing is lost' test ! -s "$T/err"
until_true 5 gone "$PID"
ckpt restore -d -D numa --pidfile pid
check 'and restored' test "$status" = 0
STARTED+=("$(cat numa/pid)")
check 'each area has its policy, and the others the one of the thread' test "$(policies "$(cat numa/pid)")" = "$before"
finish
