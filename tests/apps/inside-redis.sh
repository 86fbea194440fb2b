#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A redis server and clients that keep it busy, all in one tree.
. "$(dirname "$0")/inside.bash"
need redis-server
need redis-cli
need redis-benchmark

ask_redis() { timeout 10 redis-cli -s "$T/redis.sock" "$@"; }
answers() { [ "$(ask_redis ping 2>/dev/null)" = PONG ]; }

# The clients: each counter is one higher than the one before, or a request was lost or made twice.
cat >"$T/client.sh" <<'SH'
n=0
while [ ! -e stop ]; do
	n=$((n + 1))
	got=$(redis-cli -s redis.sock incr counter)
	[ "$got" = "$n" ] || echo "counter is $got, not $n" >>failed
	echo $n >n.new && mv n.new n
done
SH
cat >"$T/job.sh" <<'SH'
redis-server --port 0 --unixsocket redis.sock --save '' --dir . --daemonize no --enable-debug-command yes &
until redis-cli -s redis.sock ping >/dev/null 2>&1; do sleep 0.05; done
redis-cli -s redis.sock debug populate 20000 key 100 >/dev/null
sh client.sh &
while [ ! -e stop ]; do
	redis-benchmark -s redis.sock -c 8 -n 3000 -r 1000 -q -t set,get,lpush,sadd >>bench.out 2>&1 || echo "the benchmark fails" >>failed
	b=$((b + 1))
	echo $b >b.new && mv b.new b
done
wait %2
touch ended
wait
SH
start bash "$T/job.sh"
until_true greater n 3 || bad "redis does not start"
until_true greater b 0 || bad "the benchmark does not start"
many
goes_on n || bad "the client does not go on after the checkpoints"
[ ! -e failed ] || bad "$(head -n 3 failed)"
for round in 1 2; do
	take
	goes_on n || bad "the client does not go on after restore $round"
	goes_on b || bad "the benchmark does not go on after restore $round"
	[ ! -e failed ] || bad "after restore $round: $(head -n 3 failed)"
done
touch stop
until_true test -e ended || bad "the clients do not come to their end"
until_true answers || bad "redis does not answer"
[ "$(ask_redis get counter)" = "$(number n)" ] || bad "the counter is $(ask_redis get counter), not $(number n)"
[ "$(ask_redis debug object key:7 2>/dev/null | grep -c Value)" = 1 ] || bad "a key is lost"
[ ! -e failed ] || bad "$(head -n 3 failed)"
ask_redis shutdown nosave
good "redis under load: $rounds checkpoints, two restores, no request lost or made twice"
