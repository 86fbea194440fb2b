#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ckpt migrate: the other side is a pid namespace, reached by nsenter and by ssh. Whatever dies or says the wrong thing,
# the program runs here or there, never in both places.
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/sums.sh"
is_root || skip 'needs root, to make the other side'

. "$here/tests/lib/elsewhere.sh"
there="nsenter -t $INIT -p -m sh -c"

migrate() { ckpt migrate "$PID" --remote-ckpt "$CKPT" "$@"; }
# refused NAME CODE ARGS...: it goes on here, and is not there.
refused() {
	local name=$1 code=$2
	shift 2
	migrate "$@"
	check "$name: refused" test "$status" = 1
	check "$name: said" grep -Eq "^ckpt: CKPT-E0$code: " "$T/err"
	check "$name: it goes on here" unharmed "$PID"
	check "$name: as it was" same_sums p
	check "$name: it is not there" eval '! runs_there "$PID"'
}

for how in root user; do
	if [ "$how" = user ]; then
		start setpriv --reuid 65534 --regid 65534 --clear-groups perl -e "$sums_program" "$T/p"
		SUM=$(ask_sums p)
	else
		start_sums p
	fi
	migrate --via "$there" --compress
	check "$how: it moves" test "$status" = 0
	check "$how: and how long it stood still is said" grep -q '^migrated 1 process.* it stood still for' "$T/out"
	check "$how: gone here" gone "$PID"
	check "$how: it runs there, with its memory" same_sums p
	check "$how: with its number" runs_there "$PID"
	end_there "$PID"
	rm -f p/*
done

start_sums p
refused "nobody there" "(330|448)" --via 'false'
refused 'who goes away' 330 --via 'head -c 100000 >/dev/null; :'
refused 'who says something else' 448 --via 'echo hello; cat >/dev/null; :'
refused 'who says very much' 448 --via 'perl -e '"'"'$| = 1; print "x" x 100; 1 while sysread STDIN, $b, 65536'"'"'; :'
refused 'who says all of it back' 448 --via 'cat; :'
refused 'who takes nothing' 330 --timeout 1 --via 'exec sleep 100 #'
check 'that time is said' grep -q 'it takes no more of the image for 6 s' "$T/err"
refused 'who takes all and says nothing' 448 --timeout 1 --via 'cat >/dev/null; :'
check 'the time is said' grep -q 'it has all, and says nothing for [6-9] s' "$T/err"
refused 'its number is taken there' 448 --via 'sh -c'
check 'the reason is said' grep -q 'CKPT-E0401: ' "$T/err"
refused "there is no ckpt there" "(330|448)" --via "$there" --remote-ckpt /nonexistent/ckpt
refused "a machine that does not exist" "(330|448)" name.invalid
check 'by ssh' grep -q '^ssh: \|not found\|cannot run' "$T/err"

"$CKPT" migrate "$PID" --via 'trap "" TERM; while :; do sleep 1; done; :' 2>"$T/err" & mover=$!
until_true 10 test -s "/proc/$mover/task/$mover/children"
sleep 0.5; kill -TERM $mover
check 'who does not end is ended' until_true 14 gone $mover
check 'and it goes on here' same_sums p

# The other side answers, but is not one.
cat >fake <<'EOF'
use strict; my ($last) = @ARGV; my $all = "";
$| = 1; print "ready\n";
while (sysread(STDIN, my $b, 65536)) { $all = substr($all . $b, -3); last if $all eq "go\n"; }
print "$last\n" if $last;
EOF
refused 'it fails at the last moment' 448 --via "perl fake failed; :"
migrate --via 'perl fake; :'
check 'silence at the last moment: said' grep -q '^ckpt: CKPT-E0449: .*nobody knows whether process' "$T/err"
check 'it stays stopped' test "$(state "$PID")" = T
kill -CONT "$PID"
check 'and goes on when told to' same_sums p

# Killed at any moment: it runs in one place, or stands stopped in this one.
twice=0 lost=0 ms=20
for ((i = 0; i < 16; i++)); do
	ms=$((ms + 11))
	{ timeout -s KILL "0.$(printf %03d $ms)" "$CKPT" migrate "$PID" --via "$there" --remote-ckpt "$CKPT"; } >/dev/null 2>&1
	until_true 5 eval 'unharmed "$PID" || gone "$PID" || [ "$(state "$PID")" = T ]'
	sleep 0.2
	if unharmed "$PID"; then
		runs_there "$PID" && twice=$((twice + 1))
	elif gone "$PID"; then
		runs_there "$PID" || lost=$((lost + 1))
		until_true 1 runs_there "$PID" && same_sums p || lost=$((lost + 1))
		end_there "$PID" 2>/dev/null
		rm -f p/*
		start_sums p
	else
		kill -CONT "$PID"
		runs_there "$PID" && end_there "$PID"
	fi
	same_sums p || lost=$((lost + 1))
done
check 'killed: never in both places' test $twice = 0
check 'killed: never lost' test $lost = 0

# Over ssh, to ourselves, by a server of our own.
if [ -x /usr/sbin/sshd ] && command -v ssh-keygen >/dev/null; then
	mkdir -m 700 ssh; mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f ssh/host; ssh-keygen -q -t ed25519 -N '' -f ssh/key
	cp ssh/key.pub ssh/authorized; chmod 600 ssh/*
	cat >ssh/config <<EOF
ListenAddress 127.0.0.1:$((20000 + RANDOM % 20000))
HostKey $T/ssh/host
AuthorizedKeysFile $T/ssh/authorized
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
EOF
	port=$(sed -n 's/^Listen.*://p' ssh/config)
	program=$PID
	start /usr/sbin/sshd -D -e -f "$T/ssh/config"
	PID=$program
	way="ssh -q -p $port -i $T/ssh/key -o UserKnownHostsFile=$T/ssh/known -o StrictHostKeyChecking=no root@127.0.0.1"
	until_true 10 eval "$way true" 2>/dev/null
	ckpt migrate "$PID" --via "$way" --remote-ckpt "nsenter -t $INIT -p -m $CKPT"
	check 'over ssh' test "$status" = 0
	check 'gone here' gone "$PID"
	check 'it runs there' same_sums p
	end_there "$PID"
fi

expect 'no place to go to' 2 'CKPT-E0504: migrate: where to' migrate 1
expect 'two of them' 2 'CKPT-E0504: migrate: where to' migrate 1 host --via cat
expect 'not a number' 2 'is not a process number' migrate x host
expect 'a handover from a folder' 2 'handover: only with' restore --handover -d -D p
finish
