#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A web server in Java: a pool of threads, a heap that is checked, and clients that come while it works.
. "$(dirname "$0")/lib.bash"
. "$T/server.bash"
# many: sixteen clients at a time; their answers are the next numbers, each of them once.
asked=0
many() {
	local i clients=() before=$asked
	rm -f answer.*
	for i in {1..16}; do
		fetch "$port" /next >answer.$i &
		clients+=($!)
	done
	wait "${clients[@]}"
	asked=$((asked + 16))
	[ "$(sed -n 's/^is //p' answer.* | sort -n)" = "$(seq $((before + 1)) $asked)" ] || bad "$1: $(grep -h '^is' answer.*)"
}
start java -XX:-UsePerfData -Xmx64m -cp "$T" Server "$port"
until_true is heap well || bad "java does not start"
many "at the start"
for round in 1 2 3; do
	if [ $round = 2 ]; then take_same --tcp-close; else take --tcp-close; fi
	is heap well || bad "the heap is not what it was after restore $round"
	many "after restore $round"
done
dump -R --tcp-close || bad "dump -R fails"
many "after a dump that leaves it"
is heap well || bad "the heap is not what it was after a dump that leaves it"
good "a web server in Java goes on after three restores"
