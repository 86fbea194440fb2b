#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# nginx: a master, two workers (of another user where root runs it) and a cache in memory that they share. It is asked
# by TCP, and by itself over a Unix socket.
. "$(dirname "$0")/lib.bash"
. "$T/nginx.bash"
workers() { [ "$(ps -o pid= --ppid "$pid" | wc -l)" -ge 2 ]; }
start nginx -e "$T/error.log" -c "$T/nginx.conf"
until_true answers || bad "nginx does not start: $(tail -n 3 "$T/error.log")"
hits MISS || bad "nothing is cached"
for round in 1 2 3; do
	if [ $round = 2 ]; then take_same; else take; fi
	for _ in 1 2 3 4 5; do answers || bad "nginx gives another answer after restore $round"; done
	hits HIT || bad "the cache that workers share is lost after restore $round"
done
# A connection that waits for its next request is somebody else's, too.
exec 7<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /numbers HTTP/1.1\r\nHost: x\r\n\r\n' >&7
read -r -t 10 status <&7
if [ -z "${CKPT_CASE_DRY-}" ]; then
	! dump || bad "an established connection is not refused"
	grep -q -- --tcp-close ckpt.out || bad "no remedy for an established connection is named"
fi
take --tcp-close
exec 7>&-
answers || bad "nginx gives another answer after its connections were closed"
# New workers; then an orderly end.
old=$(ps -o pid= --ppid "$pid" | head -n 1)
kill -HUP "$pid"
until_true test ! -e "/proc/${old// /}" || bad "the old workers do not go"
until_true workers || bad "there are no new workers"
hits HIT && answers || bad "the new workers give another answer"
kill -QUIT "$pid"
until_true test ! -e nginx.pid || bad "nginx does not end: $(tail -n 3 "$T/error.log")"
! grep -E '\[(alert|crit|emerg)\]' "$T/error.log" || bad "nginx complains"
good "nginx serves, caches, reloads and ends after four restores"
