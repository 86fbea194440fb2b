# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For nginx.sh and inside-nginx.sh: a master, two workers and a cache in memory that they share.
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
