#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A hundred dumps of a program that forks, maps memory, starts threads and signals itself all the time.
. "$(dirname "$0")/lib.bash"
times=${STORM:-100}
coproc V { exec "$T/victim" storm "$T"; }
read -r -t 20 pid <&"${V[0]}" || bad "does not start"
inner=$pid
for ((round = 1; round <= times; round++)); do
	dump -R || bad "dump $round fails"
	[ $((round % 20)) != 0 ] || "$T/victim" well "$T" >"$T/out" || bad "not well after dump $round: $(cat "$T/out")"
	[ $((round % 50)) != 0 ] || "$T/ckpt" verify -D "$T/img$n_images" >"$T/ckpt.out" 2>&1 || bad "image $round is not whole"
	rm -rf "$T/img$n_images"
done
"$T/victim" well "$T" >"$T/out" || bad "not well: $(cat "$T/out")"
dump || bad "the last dump fails"
until_true gone "$pid" || bad "still there after the last dump"
restore || bad "the restore fails"
"$T/victim" well "$T" >"$T/out" || bad "not well after the restore: $(cat "$T/out")"
kill -KILL "$pid"
good "a storm goes on through $times dumps and a restore"
