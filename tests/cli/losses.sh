#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a dump or a restore cannot keep is said by name; what looks like it and can be kept is not.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

command -v perl >/dev/null || skip 'there is no perl'
# 248, 250: add_key(2), keyctl(2) with KEYCTL_GET_KEYRING_ID; -2: of the process.
cat >keys.pl <<'PROG'
my ($type, $name, $key) = ("user", "ckpt-test", "secret");
syscall(248, $type, $name, $key, 6, -2) >= 0 or exit 1;
sleep 1000;
PROG
if perl -e 'my ($t, $n, $k) = ("user", "ckpt-test", "secret"); exit(syscall(248, $t, $n, $k, 6, -2) < 0)'; then
	start perl "$T/keys.pl"
	ckpt dump -R -t "$PID" -D keys
	check 'a process with keys can be dumped' test "$status" = 0
	check 'its keys are said to be lost' grep -q "process $PID: the keys of its own keyring" "$T/err"
	check 'it goes on' unharmed "$PID"
	ckpt show -D keys
	check 'the image knows' grep -q 'the keys of its own keyring' "$T/out"
fi

# 206: io_setup(2)
cat >ring.pl <<'EOF'
my $context = pack("Q", 0);
exit 77 if syscall(206, 8, $context) != 0;
open(my $ready, ">", "ring-is-there");
select(undef, undef, undef, 1000);
EOF
start perl ring.pl
if until_true 5 test -e ring-is-there; then
	until_true 5 asleep "$PID" perl
	expect 'requests that nobody can see' 0 "^note: process $PID .*: what io_submit.2. was asked" \
		dump -t "$PID" -D ring -R
fi

# Both ends have said that it is over, and nobody has closed them yet.
cat >ended.pl <<'EOF'
use Socket;
socket(my $listens, AF_INET, SOCK_STREAM, 0);
bind($listens, sockaddr_in(0, INADDR_LOOPBACK)) && listen($listens, 5) or die;
socket(my $client, AF_INET, SOCK_STREAM, 0);
connect($client, getsockname($listens)) or die;
accept(my $server, $listens) or die;
for ($server, $client) { shutdown($_, 1) }
for ($server, $client) { sysread($_, my $nothing, 1) }
close($listens);
open(my $ready, ">", "ended");
print $ready join("\n", map { (sockaddr_in(getsockname($_)))[0] } $server, $client), "\n";
close($ready);
select(undef, undef, undef, 1000);
EOF
start perl ended.pl
until_true 5 test -s ended
until_true 5 asleep "$PID" perl
ckpt dump -t "$PID" -D ended.img -R
check 'a connection that has ended' test "$status" = 0
for port in $(cat ended); do
	check 'its address is lost' grep -q "^note: process $PID: .*connection that has ended: its address 127.0.0.1:$port" "$T/err"
done
check 'it goes on' unharmed "$PID"

# 35: nanosleep(2) without a place for what is left of its time; sleep(1) has one.
start perl -e 'my $t = pack("qq", 1000, 0); syscall(35, $t, 0)'
until_true 5 grep -q '^35 ' "/proc/$PID/syscall"
expect 'a wait' 0 '' dump -t "$PID" -D img1 -R
until_true 5 grep -q '^219 ' "/proc/$PID/syscall" # restart_syscall(2)
expect 'a wait that was interrupted before' 0 "^note: .*thread $PID: it waits with a time limit" \
	dump -t "$PID" -D img2 -R
start sleep 1000
until_true 5 asleep "$PID" sleep
expect 'a sleep' 0 '' dump -t "$PID" -D img3 -R
expect 'a sleep that was interrupted before' 0 '' dump -t "$PID" -D img4 -R

# 190: fsetxattr(2)
cat >attribute.pl <<'EOF'
open(my $f, "+>", "file") or die;
my ($name, $value) = ("user.colour", "red");
exit 77 if syscall(190, fileno($f), $name, $value, 3, 0) != 0;
unlink("file");
open(my $ready, ">", "ready");
select(undef, undef, undef, 1000);
EOF
start perl attribute.pl
if until_true 5 test -e ready; then
	until_true 5 asleep "$PID" perl
	expect 'an extended attribute of a deleted file' 0 \
		"^note: deleted file $T/file: its extended attribute user.colour" dump -t "$PID" -D img5
fi

# 9: mmap(2) of it, private and to read. Only root can open what is behind a mapping.
cat >mapped.pl <<'EOF'
open(my $f, "+>", "mapped") or die;
truncate($f, 5000);
syscall(9, 0, 4096, 1, 2, fileno($f), 0) != -1 or die;
unlink("mapped");
close($f);
open(my $ready, ">", "is-mapped");
select(undef, undef, undef, 1000);
EOF
start perl mapped.pl
until_true 5 test -e is-mapped
until_true 5 asleep "$PID" perl
said="^note: deleted file $T/mapped: what is not mapped of it, its owner, mode and time"
is_root && said=''
expect 'a deleted file that is only mapped' 0 "$said" dump -t "$PID" -D img-mapped

# The first listens at a port that the kernel chooses, and loses it; somebody else takes it.
cat >port.pl <<'EOF'
use Socket;
my ($port, $then, $file) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, 0) or exit 77;
bind($s, sockaddr_in($port, INADDR_LOOPBACK)) && listen($s, 1) or exit 77;
shutdown($s, 2) if $then eq "shut";
open(my $f, ">", "$file.new");
my ($got) = sockaddr_in(getsockname($s));
print $f $got;
close($f);
rename("$file.new", $file);
select(undef, undef, undef, 1000);
EOF
if [ -e /proc/sys/net/ipv4/ip_local_port_range ]; then
	start perl port.pl 0 shut port
	until_true 5 test -s port
	until_true 5 asleep "$PID" perl
	expect 'a TCP socket that lost its port' 0 '' dump -t "$PID" -D img-port
	ckpt plan -D img-port
	check 'shows it again' test "$status" = 0
	check 'and nothing is lost' sh -c '! grep -q "shows port" out err'
	start perl port.pl "$(cat port)" keep taken
	until_true 5 test -s taken
	ckpt plan -D img-port
	check 'if it cannot, that is said once' \
		test "$(cat out err | grep -c "shows port $(cat port), which it lost: will show another")" = 1
	check 'and is no problem' test "$status" = 0
fi

# What is in a FIFO that nobody has open for reading.
mkfifo fifo
start perl -e 'open(my $r, "+<", "fifo"); open(my $w, ">", "fifo"); syswrite($w, "abc"); close($r);
	open(my $ready, ">", "full"); select(undef, undef, undef, 1000);'
until_true 5 test -e full
until_true 5 asleep "$PID" perl
expect 'a FIFO without a reader' 0 "^note: process $PID: fd [0-9]*: FIFO $T/fifo: 3 bytes in it" \
	dump -t "$PID" -D img7

if command -v setpriv >/dev/null && [ -z "$BOXED" ]; then
	start setpriv --pdeathsig TERM sleep 1000
	until_true 5 asleep "$PID" sleep
	expect 'a parent-death signal' 0 '' dump -t "$PID" -D img6
	ckpt restore -D img6 -d --pidfile "$T/pid6"
	check 'restored' test "$status" = 0
	STARTED+=("$(cat pid6)")
	check 'it is said that the signal is left out' \
		grep -q "^note: process $PID: its parent-death signal: ckpt, its parent, ends before it" err
	check 'and it does not come' kill -0 "$(cat pid6)"
fi
# Who made the pair lives, outside of the tree: nobody else can have its number here.
cat >pair.pl <<'EOF'
use Socket; use POSIX;
socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die;
$SIG{CHLD} = "IGNORE";
my $pid = fork();
if (!$pid) {
	POSIX::setsid();
	open(my $ready, ">", "paired");
	print $ready "$$\n";
	close($ready);
	select(undef, undef, undef, 1000);
}
close($a), close($b);
select(undef, undef, undef, 1000) while 1;
EOF
start perl pair.pl
until_true 5 test -s paired
child=$(cat paired)
until_true 5 asleep "$child" perl
expect 'a pair of sockets made outside' 0 '' dump -t "$child" -D img8
until_true 5 gone "$child"
ckpt plan -D img8
if [ "$(id -u)" = 0 ]; then
	check 'that they name another one is told' \
		grep -q "fd [0-9]*: socket:.*its peer was process $PID, uid 0, gid 0 (SO_PEERCRED): will be told as" "$T/out" "$T/err"
fi

finish_as_both
