#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rules for sockets whose other end is outside: each sort is closed, connected again, given, dropped, or left to who restores.
. "$(dirname "$0")/../lib/cli.sh"
command -v perl >/dev/null || skip "there is no perl"
cd "$T" || exit 1

# Answers every message with its sort. Ends with the test.
cat >server.pl <<'PL'
use Socket; use IO::Select; $| = 1;
sub un { my ($type, $name) = @_; socket(my $s, PF_UNIX, $type, 0) or die; bind($s, pack_sockaddr_un($name)) or die "$name: $!"; return $s; }
sub in { my ($type) = @_; socket(my $s, PF_INET, $type, 0) or die; bind($s, pack_sockaddr_in(0, INADDR_LOOPBACK)) or die $!; return $s; }
my %sort; my $set = IO::Select->new;
sub add { my ($s, $name) = @_; $sort{fileno $s} = $name; $set->add($s); }
my %listens;
for ([stream => un(SOCK_STREAM, "stream")], [packets => un(5, "packets")], [tcp => in(SOCK_STREAM)]) {
	listen($_->[1], 5) or die; add($_->[1], $_->[0]); $listens{fileno $_->[1]} = 1;
	if ($_->[0] eq "tcp") { open(my $p, ">", "tcp.port"); print $p (unpack_sockaddr_in(getsockname $_->[1]))[0]; close $p; } }
add(un(SOCK_DGRAM, "datagrams"), "datagrams");
my $udp = in(SOCK_DGRAM); add($udp, "udp");
open(my $p, ">", "udp.port"); print $p (unpack_sockaddr_in(getsockname $udp))[0]; close $p;
open(my $r, ">", "serves"); close $r;
my @kept;
while (my @can = $set->can_read) {
	for my $s (@can) {
		if ($listens{fileno $s}) { accept(my $c, $s) or next; push @kept, $c; add($c, $sort{fileno $s}); next; }
		my $from = recv($s, my $text, 100, 0);
		if (!defined $from || $text eq "") { $set->remove($s); close $s if !$listens{fileno $s}; next; }
		open(my $o, ">>", "got"); print $o "$sort{fileno $s} $text\n"; close $o;
	}
}
PL
# Descriptors: 10 stream, 11 packets, 12 datagrams, 13 udp, 14 tcp.
cat >prog.pl <<'PL'
use Socket; use POSIX; chdir $ARGV[0]; $SIG{PIPE} = "IGNORE";
sub said { return $!{EPIPE} ? "shut" : $!{EBADF} ? "none" : $!{ECONNREFUSED} ? "refused" : $!{EDESTADDRREQ} ? "alone" : $!+0; }
sub port { open(my $f, "<", "$_[0].port"); my $n = <$f>; return pack_sockaddr_in($n, INADDR_LOOPBACK); }
my @to = ([PF_UNIX, SOCK_STREAM, pack_sockaddr_un("$ARGV[0]/stream")], [PF_UNIX, 5, pack_sockaddr_un("$ARGV[0]/packets")],
	[PF_UNIX, SOCK_DGRAM, pack_sockaddr_un("$ARGV[0]/datagrams")],
	[PF_INET, SOCK_DGRAM, port("udp")], [PF_INET, SOCK_STREAM, port("tcp")]);
for my $i (0 .. 4) { my ($domain, $type, $peer) = @{$to[$i]};
	socket(my $s, $domain, $type, 0) or die; connect($s, $peer) or die "$i: $!";
	POSIX::dup2(fileno $s, 10 + $i); }
open(my $r, ">", "ready"); close $r;
while (1) {
	select(undef, undef, undef, 0.02);
	next if !-e "go";
	my @r = map { POSIX::write($_, "from $_", 7) ? "ok" : said() } 10 .. 14;
	unlink "go";
	open(my $o, ">", "result.new"); print $o "@r\n"; close $o; rename("result.new", "result");
}
PL
start perl server.pl
until_true 5 test -e serves || { fail 'no server'; finish; }
start perl "$T/prog.pl" "$T"
until_true 5 test -e ready || { fail 'no program'; finish; }
prog=$PID

ckpt check -t "$prog" --tcp-close
check 'who is outside is named' test "$(grep -c 'CKPT-E0202' "$T/err")" = 3
cat >keep.txt <<'RULES'
fd:10=reconnect
fd:11=reconnect
fd:12=reconnect
fd:13=reconnect
fd:14=reconnect
RULES
expect 'a dump' 0 '' dump -t "$prog" -D img --rules keep.txt
[ "$status" = 0 ] || finish
until_true 5 gone "$prog"

# try NAME WANT RULES...: restores, lets the program write to all five.
try() {
	local name=$1 want=$2
	shift 2
	rm -f result go img/pid got
	"$CKPT" restore -D img -d --pidfile pid "$@" >out 2>err </dev/null
	until_true 5 test -s img/pid || { fail "$name"; cat err; return; }
	: >go
	until_true 5 test -s result
	check "$name: $(cat result)" test "$(cat result)" = "$want"
	kill -KILL "$(cat img/pid)"
	until_true 5 gone "$(cat img/pid)"
}
try 'connected again' 'ok ok ok ok ok'
for name in 'stream from 10' 'packets from 11' 'datagrams from 12' 'udp from 13' 'tcp from 14'; do
	check "the server has heard: $name" until_true 5 grep -qx "$name" got
done
sed 's/=.*/=close/' keep.txt >close.txt
try 'closed' 'shut shut refused alone shut' --rules close.txt
sed 's/=.*/=drop/' keep.txt >drop.txt
try 'dropped' 'none none none none none' --rules drop.txt
# Given: sockets of perl, which hands them on to ckpt.
cat >give.pl <<'PL'
use Socket; use POSIX;
my $n = 30; my @rules;
for my $type (SOCK_STREAM, 5, SOCK_DGRAM, SOCK_DGRAM, SOCK_STREAM) {
	socketpair(my $a, my $b, PF_UNIX, $type, 0) or die;
	POSIX::dup2(fileno $a, $n); POSIX::dup2(fileno $b, $n + 10);
	push @rules, "--rule", "fd:" . ($n - 20) . "=fd:$n"; $n++; }
if (!fork()) { for (10 .. 29) { POSIX::close($_) } exec(@ARGV, @rules); }
wait; POSIX::close($_) for 30 .. 34;
open(my $o, ">", "given");
for (40 .. 44) { my $t = ""; POSIX::read($_, $t, 100); print $o "$t\n"; }
PL
rm -f result go img/pid given
perl give.pl "$CKPT" restore -D img -d --pidfile pid >out 2>err </dev/null & STARTED+=($!)
until_true 5 test -s img/pid || { fail 'given'; cat err; finish; }
: >go
until_true 5 test -s given
check 'given ones are heard' test "$(tr '\n' ' ' <given)" = 'from 10 from 11 from 12 from 13 from 14 '
kill -KILL "$(cat img/pid)"
finish
