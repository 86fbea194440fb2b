#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A restore of a restore, ten times, of programs that check themselves.
. "$(dirname "$0")/lib.bash"
times=${AGAIN:-10}
for sort in many tree; do
	coproc V { exec "$T/victim" $sort "$T"; }
	parent=$V_PID
	read -r -t 20 pid <&"${V[0]}" || bad "$sort: does not start"
	inner=$pid
	for ((round = 1; round <= times; round++)); do
		dump || bad "$sort: dump $round fails"
		until_true gone "$pid" || bad "$sort: still there after dump $round"
		restore || bad "$sort: restore $round fails"
		"$T/victim" well "$T" >"$T/out" || bad "$sort: not well after restore $round: $(cat "$T/out")"
		rm -rf "$T/img$n_images"
	done
	kill_all
	until_true gone "$pid" || bad "something is left of it"
	wait "$parent" 2>/dev/null
	rm -f heart
done
good "a restore of a restore, $times times"
