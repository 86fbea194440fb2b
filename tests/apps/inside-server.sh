#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A web server in Java: who asks it meanwhile is served, and a restore finds the heap and the counter.
. "$(dirname "$0")/inside.bash"
rounds=${INSIDE_ROUNDS:-8}
. "$T/server.bash"
start java -XX:-UsePerfData -Xmx64m -cp "$T" Server "$port"
until_true is heap well || bad "java does not start"
for round in 1 2; do
	load is heap well
	many --tcp-close
	load_off
	before=$(fetch "$port" /next | sed -n 's/^is //p')
	take --tcp-close
	is heap well || bad "the heap is not what it was after restore $round"
	is next $((before + 1)) || bad "the counter is not what it was after restore $round"
done
good "a web server in Java: $((2 * rounds)) checkpoints under load, two restores"
