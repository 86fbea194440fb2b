#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# nginx: who asks it meanwhile is served, and a restore finds the cache that its workers share.
. "$(dirname "$0")/inside.bash"
rounds=${INSIDE_ROUNDS:-8}
. "$T/nginx.bash"
start nginx -e "$T/error.log" -c "$T/nginx.conf"
until_true answers || bad "nginx does not start: $(tail -n 3 "$T/error.log")"
hits MISS || bad "nothing is cached"
for round in 1 2; do
	load answers
	many --tcp-close
	load_off
	take --tcp-close
	for _ in 1 2 3 4 5; do answers || bad "nginx gives another answer after restore $round"; done
	hits HIT || bad "the cache that workers share is lost after restore $round"
done
kill -QUIT "$pid"
until_true test ! -e nginx.pid || bad "nginx does not end: $(tail -n 3 "$T/error.log")"
! grep -E '\[(alert|crit|emerg)\]' "$T/error.log" || bad "nginx complains"
good "nginx: $((2 * rounds)) checkpoints under load, two restores"
