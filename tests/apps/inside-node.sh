#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Node with timers, promises, worker threads and a child process.
. "$(dirname "$0")/inside.bash"
. "$T/node.bash"
start node "$T/job.js"
until_true greater n 1 || bad "node does not start"
many
goes_on n || bad "node does not go on after the checkpoints"
for round in 1 2; do
	take
	goes_on n || bad "node does not go on after restore $round"
	[ ! -e failed ] || bad "after restore $round: $(head -n 3 failed)"
done
touch stop
until_true test -s ended || bad "node does not come to its end"
[ ! -e failed ] || bad "$(head -n 3 failed)"
good "node with workers, timers and children: $rounds checkpoints, two restores"
