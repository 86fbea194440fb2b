#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# nginx: a master, two workers (of another user where root runs it) and a cache in memory that they share. It is asked
# by TCP, and by itself over a Unix socket.
. "$(dirname "$0")/lib.bash"
PATH=$PATH:/usr/sbin
need nginx
port=$(free_port)
mkdir "$T"/{www,temp,cache}
chmod a+rwx "$T"/{temp,cache}
seq 20000 >"$T/www/numbers"
user= master=$(id -u)
[ "$master" != 0 ] || user='user www-data;'
cat >"$T/nginx.conf" <<CONF
daemon off; pid $T/nginx.pid; error_log $T/error.log; worker_processes 2; $user
events { worker_connections 64; }
http {
	access_log $T/access.log;
	client_body_temp_path $T/temp/b; proxy_temp_path $T/temp/p; fastcgi_temp_path $T/temp/f;
	uwsgi_temp_path $T/temp/u; scgi_temp_path $T/temp/s;
	proxy_cache_path $T/cache levels=1 keys_zone=shared:1m;
	server {
		listen 127.0.0.1:$port; listen unix:$T/nginx.sock;
		location / { root $T/www; }
		location /cached/ {
			proxy_pass http://unix:$T/nginx.sock:/; proxy_cache shared; proxy_cache_valid 1h;
			add_header X-Cache \$upstream_cache_status;
		}
	}
}
CONF
answers() { fetch "$port" /numbers >answer && tail -n +2 answer | sed '1,/^\r*$/d' | cmp -s - "$T/www/numbers"; }
hits() { fetch "$port" /cached/numbers | grep -aq "^X-Cache: $1"; }
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
