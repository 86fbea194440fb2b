#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rules: what becomes of open files that are not to come back as they were. A program with a log, a pipe and a socket
# whose other ends are outside, and a file.
. "$(dirname "$0")/../lib/cli.sh"
command -v perl >/dev/null || skip "there is no perl"
cd "$T" || exit 1

cat >server.pl <<'PL'
use Socket; use POSIX;
socket(my $s, PF_UNIX, SOCK_STREAM, 0); bind($s, pack_sockaddr_un("srv")) && listen($s, 5) or die;
$| = 1;
while (accept(my $c, $s)) { if (!fork()) { while (sysread($c, my $x, 100)) { open(my $o, ">>", "srv.out"); print $o $x; } exit; } }
PL
# Descriptors: 3 log, 4 pipe (from the shell), 5 socket, 6 data.
cat >prog.pl <<'PL'
use Socket; use POSIX; use Fcntl;
chdir $ARGV[0]; $SIG{PIPE} = "IGNORE";
my $p = POSIX::open("pipe", O_WRONLY); POSIX::dup2($p, 14); POSIX::close($p);
my $l = POSIX::open("$ARGV[0]/log", O_WRONLY | O_CREAT | O_APPEND); POSIX::dup2($l, 3) if $l != 3;
POSIX::dup2(14, 4); POSIX::close(14);
socket(my $s, PF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un("$ARGV[0]/srv")) or die "connect: $!";
POSIX::dup2(fileno($s), 5) if fileno($s) != 5; close($s) if fileno($s) != 5;
my $d = POSIX::open("$ARGV[0]/data", O_RDONLY); POSIX::dup2($d, 6) if $d != 6;
open(my $r, ">", "ready"); close($r);
while (1) {
	select(undef, undef, undef, 0.02);
	next if !-e "go";
	my @r = map { POSIX::write($_, "from $_\n", 7) ? "ok" : $!+0 } 3, 4, 5;
	push @r, defined(POSIX::fstat(6)) ? "there" : "gone" if 0;
	push @r, -e "/proc/self/fd/6" ? "there" : "gone";
	open(my $o, ">", "result.new"); print $o "@r\n"; close($o); rename("result.new", "result");
	unlink("go");
}
PL
echo data >data
mkfifo pipe
cat pipe >pipe.out & STARTED+=($!)
start perl server.pl
until_true 5 test -S srv || { fail 'no server'; finish; }
start perl "$T/prog.pl" "$T"
until_true 5 test -e ready || { fail 'no program'; finish; }
ls -l "/proc/$PID/fd" >fds
sock=$(readlink "/proc/$PID/fd/5"); ino=${sock//[^0-9]/}

ckpt dump -t "$PID" -D img
check 'the socket is refused by name' grep -q "CKPT-E0202: .*fd 5: .*$ino" "$T/err"
expect 'a rule that matches nothing' 1 'CKPT-E0252: rule "/nowhere=drop": matches nothing in the tree' \
	check -t "$PID" --rule /nowhere=drop --rule fd:5=reconnect --rule fd:4=drop
expect 'a rule that fails' 1 'CKPT-E0253: .*fd 6: .*rule "path:.*=fail" refuses it' \
	check -t "$PID" --rule "path:$T/da*=fail" --rule fd:5=reconnect --rule fd:4=drop
expect 'nonsense' 1 'CKPT-E0512: rule "fd:5=maybe": it has to end with' check -t "$PID" --rule fd:5=maybe
echo x >rules.txt
expect 'nonsense in a file' 1 'CKPT-E0512: rules.txt: rule "x": it has to end' check -t "$PID" --rules rules.txt
printf '# sockets go on\n\nkind:unix=reconnect\n' >rules.txt
expect 'no such file' 1 'CKPT-E0513: rules no: cannot open: No such file' check -t "$PID" --rules no
expect 'a folder of rules' 1 "CKPT-E0513: rules $T: .*Is a directory" check -t "$PID" --rules "$T"
expect 'a dump' 0 '' dump -t "$PID" -D img --rules rules.txt --external "$T/pipe"
[ "$status" = 0 ] || finish
until_true 5 gone "$PID"

expect 'what was left out has to be given' 1 "CKPT-E0422: .*fd 4: $T/pipe: it was left out" restore -D img -d
expect 'a rule that matches nothing in the image' 1 'CKPT-E0252: rule "kind:eventfd=drop"' \
	plan -D img --rule kind:eventfd=drop --rule fd:4=drop
expect 'what cannot be' 1 'CKPT-E0423: .*data: rule "close": only a socket' \
	plan -D img --rule "$T/data=close" --rule fd:4=drop
ckpt plan -D img --rule fd:6=drop --rule "fd:4=path:$T/log2"
check 'the plan shows what they take' grep -q "^rule \"fd:6=drop\": takes object .*: $T/data" "$T/out"

# try NAME WANT RULES...: restores with descriptor 9, lets the program write, compares what came of it.
try() {
	local name=$1 want=$2
	shift 2
	rm -f result go img/pid
	"$CKPT" restore -D img -d --pidfile pid "$@" >out 2>err 9>>given </dev/null
	until_true 5 test -s img/pid || { fail "$name"; return; }
	: >go
	until_true 5 test -s result
	check "$name" test "$(cat result)" = "$want"
	[ "$(cat result)" = "$want" ] || { ls -l "/proc/$(cat img/pid)/fd"; cat result; }
	kill -KILL "$(cat img/pid)"
	until_true 5 gone "$(cat img/pid)"
}
: >newlog
try 'given, another path, dropped' 'ok ok ok gone' --inherit-fd "fd[9]:$T/pipe" --rule "$T/log=path:$T/newlog" --rule fd:6=drop
check 'the pipe went to what was given' grep -q 'from 4' given
check 'the log went to the other path' grep -q 'from 3' newlog
until_true 5 test -s srv.out
check 'the socket is connected again' grep -q 'from 5' srv.out
try 'closed' 'ok ok 32 there' --rule "fd:4=path:$T/newlog" --rule "unix[$ino]=close"
finish
