#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A redis server with data, asked over a Unix socket before and after.
. "$(dirname "$0")/lib.bash"
need redis-server
need redis-cli

ask() { timeout 10 redis-cli -s "$T/redis.sock" "$@"; }
answers() { [ "$(ask ping 2>/dev/null)" = PONG ]; }

start redis-server --port 0 --unixsocket "$T/redis.sock" --save '' --dir "$T" --daemonize no --enable-debug-command yes
until_true answers || bad "redis does not start"
ask debug populate 20000 key 100 >/dev/null
for i in 1 2 3 4 5; do ask rpush list "item $i" >/dev/null; done
ask zadd sorted 1 one 2 two 3 three >/dev/null
ask setex later 5000 x >/dev/null
digest=$(ask debug digest)
take_same
for round in 1 2 3; do
	sleep 0.2
	take
	until_true answers || bad "redis does not answer after restore $round"
	[ "$(ask debug digest)" = "$digest" ] || bad "redis has other data after restore $round"
	[ "$(ask dbsize)" = 20003 ] || bad "redis has $(ask dbsize) keys"
	[ "$(ask incr count)" = 1 ] && [ "$(ask del count)" = 1 ] || bad "redis cannot be written to"
done
dump -R || bad "dump -R fails"
[ "$(ask debug digest)" = "$digest" ] || bad "redis has other data after a dump -R"
ask shutdown nosave
good "redis answers with the same data after three restores"
