#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ckpt lazy-pages: a tree is restored elsewhere (in another pid namespace) before its memory is there, which follows from
# where it was dumped. Whatever fails, it runs here or there, or stands stopped here; it never finds other bytes.
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/sums.sh"
is_root || skip 'needs root: page faults are served'
. "$here/tests/lib/elsewhere.sh"
said_port() { sed -n 's/.* listens at .*:\([0-9]*\)$/\1/p' "$1"; }
stopped() { [ "$(state "$PID")" = T ]; }

# lend ARGS...: the dump that waits, $DUMPER at $PORT; its image goes to ./there.
lend() {
	rm -rf here there lent; rm -f p/said
	timeout 100 "$CKPT" dump -t "$PID" -D here --lazy-pages "$@" >lent 2>&1 & DUMPER=$!
	STARTED+=("$DUMPER")
	until_true 20 grep -q 'listens at' lent || { sed 's/^/# /' lent; return 1; }
	PORT=$(said_port lent)
	cp -r here there
}
# borrow ARGS...: the one between, $BORROWER.
borrow() {
	rm -f borrowed
	"$CKPT" lazy-pages -D there "$@" >borrowed 2>&1 & BORROWER=$!
	STARTED+=("$BORROWER")
	until_true 10 grep -q 'listens at' borrowed
}
restore_there() {
	timeout 60 nsenter -t "$INIT" -p -m "$CKPT" restore -d -D "$T/there" --lazy-pages >"$T/out" 2>"$T/err"
	status=$?
}
# moved NAME: all of it is there, and nothing here.
moved() {
	check "$1: restored" test "$status" = 0
	check "$1: with its memory" same_sums p
	wait "$BORROWER"; check "$1: all was brought" test $? = 0
	wait "$DUMPER"; check "$1: the dump is done" test $? = 0
	check "$1: gone here" gone "$PID"
	check "$1: it runs there" runs_there "$PID"
	end_there "$PID"; rm -f p/*
	start_sums p
}

start_sums p
lend --port 0
check 'the image has no pages' test ! -e here/pages
check 'it stands still' test "$(state "$PID")" = t
borrow --page-server --port "$PORT"
restore_there; moved 'over TCP'
lend --page-server --address "$T/sock" -c zstd
borrow --page-server --address "$T/sock"
restore_there; moved 'a Unix socket, compressed'

# Told on terminals how far it is; to ckpt each large piece of a file takes long here.
sluggish=$(dirname "$CKPT")/tests/cli/sluggish.so
if command -v script >/dev/null && test -e "$sluggish"; then
	on_tty() { timeout 100 script -qefc "LD_PRELOAD=$sluggish $CKPT $*" /dev/null </dev/null; }
	told() { grep -q $'\r\e\\[K'"$1"' [0-9.]* MiB of [0-9.]* MiB ([0-9]* %), ' "$2"; }
	rm -rf here there; rm -f p/said sock
	on_tty dump -t "$PID" -D here --lazy-pages --address "$T/sock" >lent & DUMPER=$!
	until_true 20 grep -q 'listens at' lent
	cp -r here there
	on_tty lazy-pages -D there --page-server --address "$T/sock" >borrowed & BORROWER=$!
	until_true 20 grep -q 'listens at' borrowed
	restore_there; moved 'on terminals'
	check 'on terminals: the dump tells' told lending lent
	check 'on terminals: the one between tells' told bringing borrowed
fi

# Only what changed since an image whose pages are there already.
timeout 60 "$CKPT" page-server -D kept --address "$T/kept.sock" >/dev/null 2>&1 & SERVER=$!
STARTED+=("$SERVER")
until_true 10 test -S kept.sock
ckpt pre-dump -t "$PID" -D before --page-server --address "$T/kept.sock"
check 'an image before' test "$status" = 0
wait "$SERVER"
lend --port 0 --prev-images-dir ../before
check 'the rest of a chain: no pages' eval 'test -L here/parent && test ! -e here/pages'
borrow --page-server --port "$PORT"
restore_there
check 'the rest of a chain: not without those before' grep -q '^ckpt: CKPT-E0350: .*/before/pages: missing' "$T/err"
mv kept/pages before
restore_there; moved 'the rest of a chain'
rm -rf before kept

# A restore that fails is over; another one may come. So may another lazy-pages.
lend --port 0
borrow --page-server --port "$PORT"
ckpt restore -d -D there --lazy-pages
check 'its number is taken' grep -q '^ckpt: CKPT-E0401: ' "$T/err"
exec 8<>/dev/tcp/127.0.0.1/"$PORT"; echo 'get me' >&8; exec 8>&-
kill -KILL "$BORROWER"; wait "$BORROWER" 2>/dev/null
borrow --page-server --port "$PORT"
restore_there; moved 'at the second attempt'

# The folder has the pages: nothing to bring.
rm -rf there; rm -f p/said
ckpt dump -t "$PID" -D there
until_true 5 gone "$PID"
borrow
restore_there
check 'from the folder' test "$status" = 0
check 'with its memory' same_sums p
wait "$BORROWER"; check 'and lazy-pages ends' test $? = 0
end_there "$PID"; rm -f p/*; rm -rf there
start_sums p

# Asked to stop before anybody came, or with somebody who waits.
for who in nobody lazy-pages; do
	lend --port 0
	[ $who = nobody ] || borrow --page-server --port "$PORT"
	kill -TERM "$DUMPER"; wait "$DUMPER"
	check "stopped with $who: refused" test $? = 1
	check "stopped with $who: it goes on" unharmed "$PID"
	check "stopped with $who: as it was" same_sums p
	check "stopped with $who: no image" test ! -e here/image
done
wait "$BORROWER"; check 'who waits for it ends' test $? = 1
# Of another image.
lend --port 0; mv there first
ckpt show -D first
check 'half an image is none' grep -q 'CKPT-E0350' "$T/err"
kill -TERM "$DUMPER"; wait "$DUMPER"
lend --port 0; rm -r there; mv first there
expect 'another image' 1 '^ckpt: CKPT-E0448: .*it lends image' lazy-pages -D there --page-server --port "$PORT"
check 'the dump still waits' test "$(state "$PID")" = t
kill -TERM "$DUMPER"; wait "$DUMPER"; same_sums p
expect 'nobody brings it' 1 '^ckpt: CKPT-E0450: .*lazy-pages.socket: cannot connect' restore -d -D there --lazy-pages

# A byte that changes on its way: the first ones are needed before it runs, the last ones not.
cat >proxy.pl <<'PROXY'
use IO::Socket::INET; use IO::Select;
my ($to, $at) = @ARGV; my $n = 0;
my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1"); $| = 1; print "x listens at :", $l->sockport, "\n";
my $c = $l->accept; my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $to);
my $both = IO::Select->new($c, $s);
while (my @r = $both->can_read) { for my $f (@r) {
	sysread($f, my $b, 65536) or exit;
	if ($f == $s) { my $k = $at - $n; $n += length $b;
		substr($b, $k, 1) = chr(ord(substr($b, $k, 1)) ^ 4) if $k >= 0 && $k < length $b; exit if $at < 0 && $n > -$at; }
	my $o = $f == $s ? $c : $s; while (length $b) { my $w = syswrite($o, $b) or exit; substr($b, 0, $w) = ""; } } }
PROXY
# A negative one: it is cut there.
for at in 40 100000 5000000 9000000 15000000 -50 -8000000 -16000000; do
	lend --port 0
	rm -f through; perl proxy.pl "$PORT" "$at" >through 2>/dev/null & STARTED+=("$!")
	until_true 5 grep -q listens through
	borrow --page-server --port "$(said_port through)"
	restore_there
	if [ $status = 0 ]; then
		# It was let run: then it ends there, and stays stopped here.
		until_true 10 eval '! runs_there "$PID"' || end_there "$PID"
		check "at $at: said" until_true 10 grep -q 'was ended:' there/lazy.log
		wait "$DUMPER"
		check "at $at: what was left here is said" grep -q '^ckpt: CKPT-E0449: ' lent
		check "at $at: it stays stopped" stopped
		kill -CONT "$PID"
	else
		check "at $at: not restored" eval '! runs_there "$PID"'
		check "at $at: the restore says why" eval '[ $status = 1 ] && grep -q "^ckpt: CKPT-E0" "$T/err"'
		check "at $at: said" grep -Eq '^ckpt: CKPT-E0(302|331|308|448|450)' borrowed
		wait "$BORROWER" 2>/dev/null; kill -TERM "$DUMPER" 2>/dev/null; wait "$DUMPER"
		# Cut in the moment in which it was let run: nobody here can know.
		if stopped; then
			check "at $at: it stays stopped, which is said" grep -q '^ckpt: CKPT-E0449: ' lent
			sed 's/^/# lent: /' lent
			kill -CONT "$PID"
		fi
	fi
	check "at $at: it is here as it was" same_sums p
done

# child PID: its only one.
child() { tr -d ' ' <"/proc/$1/task/$1/children"; }
# Killed at any moment: one of them, or the restore's own server has nothing to do with it. Of the dump a worker is left,
# which ends the process here, lets it go on or leaves it stopped, and then ends itself.
for ms in 5 30 60 100 150; do
	for who in dump lazy-pages; do
		lend --port 0
		borrow --page-server --port "$PORT"
		dump=$(child "$DUMPER")
		worker=$(child "$dump")
		restore_there & r=$!
		sleep "0.$(printf %03d $ms)"
		if [ $who = dump ]; then kill -KILL "$dump"; else kill -KILL "$BORROWER"; fi
		wait $r
		wait "$BORROWER" "$DUMPER" 2>/dev/null & w=$!
		until_true 3 gone "$DUMPER" || kill -TERM "$DUMPER" 2>/dev/null
		wait "$BORROWER" 2>/dev/null; wait "$DUMPER" 2>/dev/null; wait $w 2>/dev/null
		until_true 10 gone "$worker"
		until_true 5 eval 'unharmed "$PID" || gone "$PID" || stopped'
		if gone "$PID"; then
			check "$who killed after $ms ms: it runs there" same_sums p
			end_there "$PID"; rm -f p/*; start_sums p
			continue
		fi
		check "$who killed after $ms ms: not in both places" eval 'stopped || ! runs_there "$PID"'
		if stopped; then
			until_true 5 eval '! runs_there "$PID"' || end_there "$PID"
			kill -CONT "$PID"
		fi
		check "$who killed after $ms ms: nothing is lost" same_sums p
	done
done

expect 'not with -R' 2 '^ckpt: CKPT-E0504: --lazy-pages: not with -R' dump -t "$PID" -D x --lazy-pages -R --port 1
expect 'a stream' 2 '^ckpt: CKPT-E0504: --lazy-pages: only with' restore -D - --lazy-pages
as_nobody "$CKPT" --version >/dev/null 2>&1 || finish
ckpt dump -t "$PID" -D img; chmod -R a+rwX img .
as_nobody "$CKPT" lazy-pages -D img -W "$T/p" >borrowed 2>&1 & BORROWER=$!
until_true 5 grep -q listens borrowed
as_nobody "$CKPT" restore -d -D img -W "$T/p" --lazy-pages 2>"$T/err"
check 'a user cannot serve' grep -q '^ckpt: CKPT-E0440: ' "$T/err"
kill $BORROWER; wait $BORROWER
finish
