#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where memory is short the image of a program that goes on does not push out of the page cache what others read. In mounts
# of its own: this machine is made to look as if it had little memory unused, or much.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS-}" ] && unshare -m true 2>/dev/null; then
	OWN_MOUNTS=1 exec unshare -m --propagation private bash "$0" "$@"
fi
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
[ "$(stat -f -c %T .)" != tmpfs ] || skip 'no file system with a cache: $TMPDIR is on tmpfs'
command -v perl >/dev/null || skip 'there is no perl'

# cached FILE...: how many MiB of them are in the page cache, by cachestat(2) of Linux 6.5
cached() {
	perl -e 'my $mib = 0;
		for (@ARGV) {
			open(my $f, "<", $_) or exit 1; my ($s, $all) = ("\0" x 40, pack("QQ", 0, 0));
			syscall(451, fileno($f), $all, $s, 0) == 0 or exit 1;
			$mib += (unpack("Q5", $s))[0] >> 8;
		}
		print($mib)' "$@"
}
echo x >file
cached file >/dev/null || skip 'cachestat(2) is missing: Linux 6.5'
unused() { printf 'MemTotal: 8000000 kB\nMemFree: %d kB\nMemAvailable: 6000000 kB\n' "$1" >meminfo; }
unused 4000000
[ -n "${OWN_MOUNTS-}" ] && mount --bind meminfo /proc/meminfo 2>/dev/null || skip 'takes mounts of its own'

program() { # shellcheck disable=SC2016  # it is perl that expands
	rm -f ready
	start perl -e 'my $m = "x1y" x (40 << 20); open(R, ">", "ready"); close R; sleep 1 while 1'
	until_true 20 test -e ready
}
# keeps NAME TEST MIB OPTION...: so much of the image stays
keeps() {
	rm -rf img
	ckpt dump -t "$PID" -D img "${@:4}"
	check "$1: is dumped" test "$status" = 0
	check "$1: what stays in the cache" test "$(cached img/pages*)" "$2" "$3"
	check "$1: is whole" "$CKPT" verify -D img
}

program
keeps 'enough memory' -ge 100 -R
unused 1001000
keeps 'enough for some of it' -le 10 -R --max-freeze-action copy
unused 500000
keeps 'little memory' -le 10 -R
keeps 'little memory, live' -le 10 -R --live
keeps 'little memory, of a copy' -le 10 -R --max-freeze-action copy
check 'the program goes on' unharmed "$PID"
keeps 'who is ended may be restored soon' -ge 100
finish
