#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ckpt page-server: the memory of a dump goes to another folder, over TCP or a Unix socket. Both folders get their part
# or neither does, and a program whose memory nobody kept goes on.
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/sums.sh"
export LIMIT=60

# serve ARGS...: a server of the folder ./there in the background; $SERVER, $PORT, what it says in ./said.
serve() {
	rm -f said
	"$CKPT" page-server -D there "$@" >said 2>"$T/said.err" &
	SERVER=$!
	STARTED+=("$SERVER")
	until_true 10 grep -q 'listens at' said || { sed 's/^/# /' "$T/said.err"; return 1; }
	PORT=$(sed -n 's/.* listens at .*:\([0-9]*\)$/\1/p' said)
}
# served [SECONDS]: it has ended, or is ended then.
served() { until_true "${1:-20}" gone "$SERVER" || kill "$SERVER"; wait "$SERVER"; }
fresh() { rm -rf here there; rm -f p/pid1; }
nothing_in() { [ -z "$(find "$@" -name image -o -name pages -o -name '.*.tmp' 2>/dev/null)" ]; }
end() { kill -KILL "$PID" 2>/dev/null; until_true 5 gone "$PID"; }
# came_back NAME: what was dumped comes back from ./there.
came_back() {
	check "$1: nothing but records here" eval 'test -e here/image && ! test -e here/pages'
	expect "$1: half of it is none" 1 '^ckpt: CKPT-E0350: here/pages: missing: .* page server at ' restore -d -D here
	cp here/* there/
	end; rm -f p/said
	ckpt restore -d -D there --pidfile "$T/p/pid1"
	check "$1: restored" test "$status" = 0
	PID=$(cat p/pid1 2>/dev/null); STARTED+=("$PID")
	check "$1: with its memory" same_sums p
	fresh
}
# refused NAME CODES ARGS...: the program goes on, and there is no image.
refused() {
	local name=$1 codes=$2
	shift 2
	ckpt dump -t "$PID" -D here --page-server "$@"
	check "$name: refused" test "$status" = 1
	check "$name: said" grep -Eq "^ckpt: (CKPT-E0($codes): |$codes)" "$T/err"
	check "$name: no image" nothing_in here there
	check "$name: it goes on" unharmed "$PID"
	check "$name: as it was" same_sums p
}

start_sums "$T/p"
for how in plain --compress --live -R "-R --live"; do
	serve
	# shellcheck disable=SC2086  # words
	ckpt dump -t "$PID" -D here --page-server --port "$PORT" ${how#plain}
	check "$how: dumped" test "$status" = 0
	check "$how: the server ends well" served
	check "$how: and says what it took" grep -q '^took an image of .* from 127.0.0.1:' said
	came_back "$how"
done
serve --address "$T/sock"
check 'a Unix socket is ours alone' test "$(stat -c %a sock)" = 600
ckpt dump -t "$PID" -D here --page-server --address "$T/sock"
check 'by a Unix socket' served
check 'which is gone' test ! -e sock
came_back 'by a Unix socket'

serve --address ::1 2>/dev/null && {
	ckpt dump -t "$PID" -D here --page-server --address localhost --address ::1 --port "$PORT"
	check 'by IPv6' served
	came_back 'by IPv6'
}
# In the background; and one who only looks, or says something else, is not the one.
ckpt page-server -D there -d --pidfile "$T/p/pid2" -W "$T" -o "$T/server.log" -v4
check 'in the background' test "$status" = 0
PORT=$(sed -n 's/.* listens at .*:\([0-9]*\)$/\1/p' "$T/out") SERVER=$(cat p/pid2)
STARTED+=("$SERVER")
exec 8<>/dev/tcp/127.0.0.1/"$PORT"; exec 8>&-
exec 8<>/dev/tcp/127.0.0.1/"$PORT"; echo "GET / HTTP/1.1, please" >&8; cat <&8 >/dev/null; exec 8>&-
ckpt dump -t "$PID" -D here --page-server --address 127.0.0.1 --port "$PORT"
check 'after others' test "$status" = 0
check 'it ends' until_true 10 gone "$SERVER"
came_back 'after others'
mkfifo status
"$CKPT" page-server -D there --status-fd 9 9>status >said 2>/dev/null & SERVER=$!
check 'it says when it listens' test "$(od -An -tx1 <status)" = ' 00'
kill -TERM $SERVER; wait $SERVER
check 'stopped' test $? = 1
check 'and leaves nothing' nothing_in there
fresh

# A chain: pre-dumps to servers, too.
if "$CKPT" check --feature UFFD_FEATURE_WP_ASYNC | grep -q ^ok; then
	mkdir far near
	for i in 1 2 3; do
		rm -f said
		"$CKPT" page-server -D "far/$i" >said 2>"$T/said.err" & SERVER=$!
		until_true 10 grep -q 'listens at' said
		PORT=$(sed -n 's/.* listens at .*:\([0-9]*\)$/\1/p' said)
		command=pre-dump; [ $i = 3 ] && command=dump
		prev=(--prev-images-dir "../$((i - 1))"); [ $i = 1 ] && prev=()
		ckpt $command -t "$PID" -D "near/$i" --page-server --port "$PORT" ${prev[@]+"${prev[@]}"}
		check "chain $i: $command" test "$status" = 0
		check "chain $i: taken" served
	done
	check 'no pages here' test -z "$(find near -name pages)"
	check 'the last one is small' test "$(pages_size far/3)" -lt $(($(pages_size far/1) / 3))
	end; rm -f p/said
	ckpt restore -d -D far/3 --pidfile "$T/p/pid1"
	PID=$(cat p/pid1); STARTED+=("$PID")
	check 'the chain comes back' same_sums p
	# Without its parent there, it is no image.
	mkdir far/x; ckpt pre-dump -t "$PID" -D near/4
	serve; ckpt dump -t "$PID" -D near/5 --page-server --port "$PORT" --prev-images-dir ../4
	check 'a parent that is not there: refused' test "$status" = 1
	check 'a parent that is not there: said' grep -q 'CKPT-E0448: .*failed there' "$T/err"
	served; check 'a parent that is not there: by the server' grep -q '^ckpt: CKPT-E0340' "$T/said.err"
	check 'nothing is kept' nothing_in there near/5
	check 'it goes on' same_sums p
	ckpt pre-dump -t "$PID" -D near/6
	cp -r near/6 moved
	serve --prev-images-dir ../moved; ckpt dump -t "$PID" -D near/7 --page-server --port "$PORT" --prev-images-dir ../6
	check 'a parent that is somewhere else' served
	check 'verified' "$CKPT" verify -D there >/dev/null
	start_sums "$T/p"; fresh
fi

# Whoever is not there, says something else, or goes away.
refused 'nobody there' 352 --port 1
refused 'no such name' 352 --address name.invalid --port 1
# fake PERL: something listens at $PORT, and does that with whom it accepted, $c.
fake() {
	rm -f fake
	# shellcheck disable=SC2016  # it is perl that expands
	perl -e 'use IO::Socket::INET; my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1"); $| = 1;
		print $l->sockport, "\n"; my $c = $l->accept; '"$1" >fake 2>/dev/null &
	STARTED+=("$!")
	until_true 5 test -s fake
	PORT=$(cat fake)
}
fake 'print $c "SSH-2.0-OpenSSH\n"; 1 while sysread $c, my $b, 65536;'
refused 'another service' 448 --port "$PORT"
fake 'print $c "ckpt-takes-1\n"; sysread $c, my $b, 65536;'
refused 'who goes away' '330|448' --port "$PORT"
fake 'print $c "ckpt-takes-1\n"; sleep 100;'
"$CKPT" dump -t "$PID" -D here --page-server --port "$PORT" 2>"$T/err" & dumper=$!
until_true 10 eval '[ "$(state "$PID")" = t ]'
kill -KILL "$(cut -d' ' -f1 "/proc/$dumper/task/$dumper/children")"; wait $dumper
check 'its worker is killed: failed' test $? = 1
check 'its worker is killed: said' grep -q '^ckpt: CKPT-E0317: ' "$T/err"
check 'its worker is killed: nothing is left' test ! -e here
check 'its worker is killed: it goes on' same_sums p
fake 'print $c "ckpt-takes-1\nready\n"; 1 while sysread $c, my $b, 65536;'
"$CKPT" dump -t "$PID" -D here --page-server --port "$PORT" 2>"$T/err" & dumper=$!
until_true 10 test -e here/image; kill -TERM $dumper; wait $dumper
check 'who is silent at the end: stopped' test $? = 1
check 'who is silent at the end: no image' until_true 5 nothing_in here
check 'who is silent at the end: it goes on' same_sums p
fake 'print $c "ckpt-takes-1\nready\n"; my $a = "";
	while (sysread $c, my $b, 65536) { $a = substr($a.$b, -5); last if $a eq "keep\n"; }'
refused 'who goes away at the last moment' 351 --port "$PORT"

# The server is killed, or the dump is.
for ms in 2 20 60 100 150; do
	for who in server dump; do
		serve
		"$CKPT" dump -t "$PID" -D here --page-server --port "$PORT" -R >"$T/out" 2>"$T/err" & dumper=$!
		sleep "0.$(printf %03d $ms)"
		if [ $who = server ]; then kill -KILL "$SERVER" 2>/dev/null; else kill -KILL $dumper 2>/dev/null; fi
		wait $dumper 2>/dev/null
		served 2 2>/dev/null # nobody may have come to it
		until_true 10 unharmed "$PID"
		check "$who killed after $ms ms: the program goes on" same_sums p
		[ -e here/image ] && check "$who killed after $ms ms: all or nothing" "$CKPT" verify -D there >/dev/null
		[ -e there/image ] && check "$who killed after $ms ms: whole" "$CKPT" verify -D there >/dev/null
		fresh
	done
done
if is_root && mkdir there && mount -t tmpfs -o size=4m small there 2>/dev/null; then
	serve
	ckpt dump -t "$PID" -D here --page-server --port "$PORT"
	check 'no space there: refused' test "$status" = 1
	served; check 'no space there: said' grep -q '^ckpt: CKPT-E0306: there/pages: ' "$T/said.err"
	check 'no space there: nothing is left' nothing_in here there
	check 'no space there: it goes on' same_sums p
	umount there
fi
fresh; mkdir here; touch here/image
serve; ckpt dump -t "$PID" -D here --page-server --port "$PORT"
check 'an image is here' grep -q 'CKPT-E0304' "$T/err"
kill "$SERVER"; wait "$SERVER"; fresh; mkdir there; touch there/pages
expect 'an image is there' 1 '^ckpt: CKPT-E0304: there/pages: ' page-server -D there
fresh
# What is in the way of a Unix socket is left alone, unless it is one that nobody listens to any more.
echo precious >file; ln -s file link; mkdir folder
for what in file link folder; do
	expect "a $what is in the way" 1 '^ckpt: CKPT-E0352: .* cannot listen: Address already in use' \
		page-server -D there --address "./$what"
done
check 'the file is there' test "$(cat file link)" = $'precious\nprecious'
serve --address ./left; kill -KILL "$SERVER"; wait "$SERVER" 2>/dev/null
check 'killed: its socket is left' test -S left
serve --address ./left; kill "$SERVER"; wait "$SERVER"
check 'and taken by the next' test ! -e left
fresh
expect 'too long a path' 1 '^ckpt: CKPT-E0352: .* too long for a Unix socket' page-server -D there --address "$T/$(printf 'x%.0s' {1..120})"
expect 'a stream' 2 '^ckpt: CKPT-E0504: page-server: -D -: ' page-server -D -
expect 'nobody to be told' 2 '^ckpt: CKPT-E0504: --status-fd 77: ' page-server -D there --status-fd 77
expect 'one that cannot be told' 2 '^ckpt: CKPT-E0504: --status-fd 0: ' page-server -D there --status-fd 0
# No number is left for whoever connects.
for limit in {7..12}; do
	fresh; rm -f said
	(ulimit -n "$limit"; exec "$CKPT" page-server -D there >said 2>"$T/err") & SERVER=$!
	STARTED+=("$SERVER")
	until_true 5 eval 'grep -q "listens at" said || gone "$SERVER"'
	PORT=$(sed -n 's/.* listens at .*:\([0-9]*\)$/\1/p' said)
	[ -z "$PORT" ] || break
done
exec 8<>/dev/tcp/127.0.0.1/"$PORT"
check 'no descriptors are left: it ends' until_true 5 gone "$SERVER"
exec 8>&-
check 'no descriptors are left: said' grep -q '^ckpt: CKPT-E0505: .* cannot accept who connects: Too many open files; ' "$T/err"
fresh
expect 'no port' 2 '^ckpt: CKPT-E0504: dump: --port is missing' dump -t "$PID" -D here --page-server
expect 'an address of nothing' 2 '^ckpt: CKPT-E0504: --address' dump -t "$PID" -D here --port 3
expect 'no such port' 2 '^ckpt: CKPT-E0504: --port 70000: ' page-server -D there --port 70000
expect 'a port of a Unix socket' 2 '^ckpt: CKPT-E0504: --port: ' page-server -D there --address ./x --port 3
expect 'not a socket' 2 '^ckpt: CKPT-E0504: --ps-socket 1: ' dump -t "$PID" -D here --page-server --ps-socket 1
expect 'not encrypted' 3 '^ckpt: CKPT-E0502: --tls: cannot encrypt' page-server -D there --tls
finish_as_both
