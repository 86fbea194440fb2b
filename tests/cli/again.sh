#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What stands against a dump for a moment only: a terminal that its reader is just about to read, a client that is just about
# to be served, a SIGSTOP that has just been sent. The dump waits for it.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v python3 >/dev/null || skip 'python3 is missing'
cat >program.py <<'E2'
import os, pty, time
pid, fd = pty.fork()
if not pid:
    n = 0
    while True:
        n += 1
        print(n, flush=True)
        time.sleep(0.01)
while True:
    time.sleep(0.016)
    lines = os.read(fd, 65536).split(b"\r\n")
    if len(lines) > 2:
        with open("new", "wb") as f: f.write(lines[-2])
        os.rename("new", "n")
E2
start python3 program.py
until_true 10 test -s n
refused=0
for ((i = 0; i < 25; i++)); do
	ckpt dump -t "$PID" -D img -R
	[ "$status" = 0 ] || { refused=$((refused + 1)); sed "s,^,# ," "$T/err"; }
	rm -rf img
done
check 'always dumped, though something is nearly always unread' test $refused = 0
before=$(cat n)
goes_on() { [ "$(cat n)" -gt "$before" ]; }
check 'it prints on' until_true 5 goes_on

# Two servers that take their time: whoever comes waits to be accepted, is answered, and is gone.
cat >server.py <<'E2'
import os, select, socket, time
by_path = socket.socket(socket.AF_UNIX)
by_path.bind("server")
by_port = socket.socket()
by_port.bind(("127.0.0.1", 0))
for s in by_path, by_port:
    s.listen(8)
open("port.new", "w").write("%d\n" % by_port.getsockname()[1])
os.rename("port.new", "port")
while True:
    for s in select.select([by_path, by_port], [], [])[0]:
        time.sleep(0.1)
        client = s.accept()[0]
        time.sleep(0.02)
        client.sendall(b"answer")
        client.close()
E2
cat >client.py <<'E2'
import socket, sys
name = sys.argv[1]
s = socket.socket() if name.isdigit() else socket.socket(socket.AF_UNIX)
s.connect(("127.0.0.1", int(name)) if name.isdigit() else name)
open("asked", "w")
sys.exit(s.recv(100) != b"answer")
E2
start python3 server.py
until_true 10 test -s port
for name in server "$(cat port)"; do
	rm -f asked
	python3 client.py "$name" & client=$!
	until_true 5 test -e asked
	ckpt dump -t "$PID" -D img -R
	check "a client of $name waits: dumped" test "$status" = 0
	wait $client
	check "the client of $name is answered" test $? = 0
	rm -rf img
done
start perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("idle")) or die; listen(S, 8); sleep 1000'
until_true 5 test -S idle
rm -f asked
python3 client.py idle & client=$!
until_true 5 test -e asked
ckpt dump -t "$PID" -D img -R
check 'nobody accepts it: refused' test "$status" = 3
check "nobody accepts it: what and why" \
	grep -q '^ckpt: CKPT-E0491: process '"$PID"' (perl): fd [0-9]*: socket:.*has not been accepted yet' "$T/err"
rm -rf img
ckpt dump -t "$PID" -D img -R --skip-in-flight
check 'nobody accepts it, --skip-in-flight: dumped' test "$status" = 0
check '--skip-in-flight: what is lost is said' grep -q 'connections (1) that are not accepted yet: will be closed' "$T/err"
rm -rf img
kill $client
start perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("slow")) or die; listen(S, 8);
	while (accept(C, S)) { open(F, ">accepted"); select(undef, undef, undef, 0.15); syswrite(C, "answer"); close C }'
until_true 5 test -S slow
python3 client.py slow & client=$!
until_true 5 test -e accepted
ckpt dump -t "$PID" -D img -R --skip-in-flight
check '--skip-in-flight: clients come and go, a dump waits for them' test "$status" = 0
wait $client
check 'who is answered meanwhile' test $? = 0
rm -rf img

start sleep 1000
refused=0
for ((i = 0; i < 40; i++)); do
	(sleep 0.00$((2 + i % 5))$((i % 10)); kill -STOP "$PID") &
	ckpt dump -t "$PID" -D img -R
	[ "$status" = 0 ] || { refused=$((refused + 1)); sed "s,^,# ," "$T/err"; }
	wait $!
	kill -CONT "$PID"
	rm -rf img
done
check 'always dumped, though it is being stopped' test $refused = 0
finish
