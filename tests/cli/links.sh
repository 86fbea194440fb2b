#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Symbolic links that somebody put on the way of an image's paths: ours lead on, those of others are refused, and nothing is
# made or removed where they lead.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
is_root || skip 'links of somebody else are made by root'
chmod 755 "$T"

# made NAME COMMAND: a process in the folder NAME/in; COMMAND is run there first. Its image is NAME.img.
made() {
	mkdir -p "$1/in"
	# shellcheck disable=SC2016  # it is the inner shell that expands
	start bash -c 'cd "$1/in"; eval "$2"; cd "${3:-.}"; mkfifo "$4"; while :; do read -r _ <>"$4"; done' \
		"$1" "$T/$1" "$2" "${3-}" "$T/$1.never"
	until_true 5 test -e "$1.never"
	until_true 5 asleep "$PID" bash
	ckpt dump -t "$PID" -D "$1.img" --carry written
	check "$1: dump" test "$status" = 0
	until_true 5 test ! -e "/proc/$PID"
}
# astray NAME OWNER: its folder is now behind a link of OWNER.
astray() {
	[ -L "$1" ] || { mv "$1" "$1.real"; ln -s "$1.real" "$1"; }
	chown -h "$2" "$1"
}
refused() {
	ckpt "${@:3}"
	check "$1: refused" test "$status" = 1
	check "$1: why" grep -Eq "$2" "$T/err"
}

theirs='CKPT-E0427: .*a symbolic link on the way there belongs to somebody'
made cwd :
astray cwd 0
restored -D cwd.img
check 'cwd: by a link of our own' test "$(readlink "/proc/$ROOT/cwd")" = "$T/cwd.real/in"
ended
astray cwd 65534
refused 'cwd' "process [0-9]*: its working directory .*a symbolic link" plan -D cwd.img

made ghost 'exec 3<>gone; echo content >&3; rm gone' /
rm -r ghost/in
astray ghost 0
restored -D ghost.img
check 'ghost: by a link of our own, in a folder that is gone' test "$(cat "/proc/$ROOT/fd/3")" = content
check 'ghost: not in memory' test "$(readlink "/proc/$ROOT/fd/3")" = "$T/ghost.real/in/gone (deleted)"
check 'ghost: the folder is not back' test ! -e ghost/in
ended
astray ghost 65534
restored -D ghost.img
check 'ghost: by a link of somebody else it is said' grep -q '^note: .*deleted file .*gone: cannot be made in .*a link of somebody else' err
check 'ghost: and in memory' test "$(cat "/proc/$ROOT/fd/3") $(readlink "/proc/$ROOT/fd/3")" = "content /memfd:gone (deleted)"
check 'ghost: nothing was made there' test -z "$(ls -A ghost.real)"
ended

made fifo 'mkfifo f; exec 3<>f; rm f' /
astray fifo 65534
refused 'fifo' "CKPT-E0427: .*deleted FIFO .*/f: cannot be made in .*: a link of somebody" plan -D fifo.img

made back 'exec 3<>written; echo before >&3' /
echo something else >back/in/written
astray back 65534
refused 'rollback' 'cannot be put back|CKPT-E0427' restore -d -D back.img --pidfile "$T/back.pid" --files rollback
check 'rollback: it is as it was' test "$(cat back/in/written)" = 'something else'
check 'rollback: nothing is beside it' test "$(ls -A back/in)" = written
astray back 0
restored -D back.img --files rollback
check 'rollback: by a link of our own' test "$(cat back/in/written)" = before
ended

perl -e 1 2>/dev/null || skip 'there is no perl'
mkdir socket
start perl -MSocket -e 'chdir $ARGV[0]; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("$ARGV[0]/s")) or die; listen(S, 1);
	chdir "/"; sleep 1000' "$T/socket"
until_true 5 test -S socket/s
until_true 5 asleep "$PID" perl
ckpt dump -t "$PID" -D socket.img
rm -f socket/s
astray socket 65534
refused 'socket' "$theirs|belongs to somebody else" plan -D socket.img
check 'socket: nothing was made there' test -z "$(ls -A socket.real)"
finish
