#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Node with timers, promises, worker threads and children, and a web server.
. "$(dirname "$0")/lib.bash"
. "$T/node.bash"
port=$(free_port)
serves() { fetch "$port" "/$1" | grep -q "hash of /$1 is $(printf 'x/%s' "$1" | sha256sum | cut -d ' ' -f 1)"; }
start node "$T/job.js" "$port"
until_true greater n 1 && until_true serves first || bad "node does not start"
for round in 1 2 3; do
	if [ $round = 2 ]; then take_same; else take; fi
	until_true greater n $(($(number n) + 3)) || bad "node does not go on after restore $round"
	serves $round || bad "node gives another answer after restore $round"
	[ ! -e failed ] || bad "after restore $round: $(head -n 3 failed)"
done
dump -R || bad "dump -R fails"
until_true greater n $(($(number n) + 3)) || bad "node does not go on after a dump that leaves it"
touch stop
until_true test -s ended || bad "node does not come to its end"
[ ! -e failed ] || bad "$(head -n 3 failed)"
good "node with workers, timers, children and a web server goes on after three restores"
