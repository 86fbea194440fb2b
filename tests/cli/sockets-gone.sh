#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sockets whose file is gone: they keep their name, and what is in that place by now is left alone.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
perl -MSocket -e 1 2>/dev/null || skip 'there is no perl'

# served NAME: a server whose socket NAME/s is deleted once it listens; with a second word one client of its own is connected.
served() {
	mkdir "$1"
	start perl -MSocket -e 'my ($f, $client, $ready) = @ARGV; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un($f)) or die;
		listen(S, 5); if ($client) { socket(C, PF_UNIX, SOCK_STREAM, 0); connect(C, sockaddr_un($f)) or die; accept(A, S); }
		unlink($f); open(R, ">", $ready); close(R); sleep 1000' "$T/$1/s" "${2-}" "$T/$1.ready"
	until_true 5 test -e "$1.ready"
	until_true 5 asleep "$PID" perl
	ckpt dump -t "$PID" -D "$1.img"
	check "$1: dump" test "$status" = 0
	until_true 5 test ! -e "/proc/$PID"
}
# listens PATH: a descriptor of $ROOT is a socket that listens, named PATH.
listens() {
	local fd ino
	for fd in "/proc/$ROOT/fd/"*; do
		ino=$(readlink "$fd") ino=${ino#socket:[} ino=${ino%]}
		awk -v i="$ino" -v p="$1" '$7 == i && $8 == p && $4 == "00010000" { found = 1 } END { exit !found }' \
			"/proc/$ROOT/net/unix" && return
	done
	return 1
}

served alone
before=$(stat -c '%y %z' alone)
restored -D alone.img
check 'alone: it listens by its name' listens "$T/alone/s"
check 'alone: nothing was ever made in the folder' test "$(stat -c '%y %z' alone)" = "$before"
ended; rm alone.pid
echo mine >alone/s
restored -D alone.img
check 'a file is there now: it listens by its name' listens "$T/alone/s"
check 'a file is there now: left alone' test "$(cat alone/s)" = mine
ended; rm alone.pid alone/s
start perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un($ARGV[0])) or die; listen(S, 1); sleep 1000' "$T/alone/s"
until_true 5 test -S alone/s
now=$(stat -c %i alone/s)
restored -D alone.img
check 'another server has the name: it listens, too' listens "$T/alone/s"
check 'another server has the name: its file is left alone' test "$(stat -c %i alone/s)" = "$now"
ended
rm -r alone; rm alone.pid
restored -D alone.img
check 'the folder is gone: it listens by its name' listens "$T/alone/s"
check 'the folder is gone: it is not back' test ! -e alone
ended

served client yes
restored -D client.img
check 'with a client: it listens by its name' listens "$T/client/s"
check 'with a client: no file is left' test -z "$(ls -A client)"
ended; rm client.pid
echo mine >client/s
ckpt restore -d -D client.img --pidfile "$T/client.pid"
check 'with a client, a file is there: refused' test "$status" = 1
check 'with a client, a file is there: why' grep -q "^ckpt: CKPT-E[0-9]*: .*socket $T/client/s: a file is in its place" err
check 'with a client, a file is there: left alone' test "$(cat client/s)" = mine

# What a server that has ended left in the place of its socket is put aside until the restore is sure.
mkdir stale
start perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un($ARGV[0])) or die; listen(S, 1); sleep 1000' "$T/stale/s"
until_true 5 test -S stale/s
until_true 5 asleep "$PID" perl
ckpt dump -t "$PID" -D stale.img
until_true 5 test ! -e "/proc/$PID"
now=$(stat -c %i stale/s)
: >stale.pid
ckpt restore -d -D stale.img --pidfile "$T/stale.pid"
check 'stale: a restore that fails' test "$status" = 1
check 'stale: leaves the file as it was' test "$(stat -c %i stale/s)" = "$now" -a "$(ls -A stale)" = s
rm stale.pid
restored -D stale.img
check 'stale: it listens' listens "$T/stale/s"
check 'stale: nothing else is left' test "$(ls -A stale)" = s
finish_as_both
