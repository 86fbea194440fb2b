#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a program feels of dumps that let it go on, measured in it, and how soon it is back: medians of five, images on
# tmpfs. Run it from the build folder as root; five minutes. $BENCH_RUNS: instead of 5, $BENCH_MIB: instead of 1024,
# $BENCH_SECONDS: no row begins later (300), $BENCH_PLOT: a PNG, if there is gnuplot, of how long it stands still.
set -u
. "$(dirname "$0")/lib.bash"
all=${BENCH_MIB:-1024} mib=

# late WHAT: there is no time left for it
late() { [ "$SECONDS" -gt "${BENCH_SECONDS:-300}" ] && printf '%-52s %10s\n' "$1" 'no time'; }
# fails WHAT: what the command in $D/out did not do
fails() { echo "$1 fails:"; tail -n 5 "$D/out"; missed=$((missed + 1)); end; return 1; }
# timed COMMAND...: what it says to $D/out; false: it fails
timed() { timeout 90 "$load" run "$@" >"$D/out" 2>&1; grep -q 'status 0$' "$D/out"; }
wall() { sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out"; }
peak() { sed -n 's/.* peak \([0-9]*\) .*/\1/p' "$D/out"; }
# said: what the program says of its requests since the last time: longest, 99.9th percentile, number a second, and the
# longest for which it was made to stand still; said fork: how long one of it as it is takes
said() {
	rm -f "$D/t/said"
	: >"$D/t/${1-ask}"
	local i
	for ((i = 0; i < 1000; i++)); do [ -e "$D/t/said" ] && break; sleep 0.01; done
	cat "$D/t/said"
}
# limits: what the machine needs for as much. To the file write: a write of it by one thread, while nothing else works; to
# beside: the longest request while one writes it; to fork: a fork of the program as it is, pages where copies have left them.
limits() {
	kill -STOP "$pid"
	"$load" write "$mib" "$D/raw" >>"$D/write"
	rm -f "$D/raw"
	kill -CONT "$pid"
	warm memory "$mib"
	said >"$D/ignored"
	"$load" write "$mib" "$D/raw" >"$D/ignored"
	said | cut -d' ' -f1 >>"$D/beside"
	said fork >>"$D/fork"
	rm -f "$D/raw"
}
# ratios FILE FILE: medians of pairs, for a machine that others use as well is not the same a second later
ratios() { calc "$(paste "$D/$1" "$D/$2" | awk '{ print $1 / $2 }' | median)"; }
# dumps OPTION...: to the files frozen (stands still, as felt), longest, total, slow, rate, peak, write, beside, and fork
dumps() {
	local i
	rm -f "$D"/{frozen,longest,total,slow,rate,peak,write,beside,fork}
	for ((i = 0; i < runs; i++)); do
		warm memory "$mib"
		said >"$D/ignored"
		timed "$ckpt" dump -R -t "$pid" -D "$D/img" "$@" || fails "dump $*" || return
		said >"$D/said"
		cut -d' ' -f4 "$D/said" >>"$D/frozen"
		cut -d' ' -f1 "$D/said" >>"$D/longest"
		cut -d' ' -f2 "$D/said" >>"$D/slow"
		cut -d' ' -f3 "$D/said" >>"$D/rate"
		wall >>"$D/total"
		peak >>"$D/peak"
		rm -rf "$D/img"
		limits
	done
}
# small: what a dump of next to nothing costs
small() {
	late 'small process, dump -R' && return
	mib=1
	begin serve0 1
	dumps || return
	line 'small process, dump -R: stands still' "$(m frozen)" ms '<=' 1.5
	line '  in all' "$(m total)" ms '<=' 6
	end
}
# block NAME PERCENT SIZE FROZEN TOTAL OPTION...: FROZEN in ms, "xN": so many times its own fork; TOTAL in writes
block() {
	local name=$1 limit=$4 total=$5 before after
	late "$name" && return
	mib=$3
	begin "serve$2" "$mib"
	shift 5
	said >"$D/ignored"
	sleep 1
	before=$(said)
	dumps "$@" || return
	sleep 1
	after=$(said)
	[ "${limit#x}" = "$limit" ] || limit=$(calc "${limit#x}*$(m fork)")
	line "$name: stands still" "$(m frozen)" ms '<=' "$limit"
	line '  longest request' "$(m longest)" ms none ''
	line '  while a write of as much is made' "$(m beside)" ms none ''
	line '  a plain fork of it takes' "$(m fork)" ms none ''
	line "  a write of $mib MiB to tmpfs, one thread" "$(m write)" ms none ''
	line '  in all' "$(m total)" ms none ''
	line "  compared with that write of $mib MiB" "$(ratios total write)" x '<=' "$total"
	line '  peak memory of ckpt' "$(calc "$(m peak)/1024")" MiB '<=' 64
	line '  99.9th percentile of requests: before' "$(echo "$before" | cut -d' ' -f2)" ms none ''
	line '    meanwhile' "$(m slow)" ms none ''
	line '    after' "$(echo "$after" | cut -d' ' -f2)" ms none ''
	line '  requests a second, compared with before: meanwhile' "$(calc "$(m rate)/$(echo "$before" | cut -d' ' -f3)")" x none ''
	line '    after' "$(calc "$(echo "$after" | cut -d' ' -f3)/$(echo "$before" | cut -d' ' -f3)")" x none ''
	[ "$name" = "${name%idle*}" ] || echo "$mib $(m frozen) $(m fork)" >>"$D/points"
	end
}
# chain: a full dump, and one of what 1 % of writes have changed since
chain() {
	local i
	late incremental && return
	mib=$all
	begin serve1 "$mib"
	rm -f "$D"/{frozen,full,total}
	for ((i = 0; i < runs; i++)); do
		rm -rf "$D"/{img,img2}
		warm memory "$mib"
		timed "$ckpt" dump -R --track-mem -t "$pid" -D "$D/img" || fails 'dump --track-mem' || return
		wall >>"$D/full"
		said >"$D/ignored"
		timed "$ckpt" dump -R -t "$pid" -D "$D/img2" --prev-images-dir ../img || fails 'incremental dump' || return
		wall >>"$D/total"
		said | cut -d' ' -f4 >>"$D/frozen"
	done
	rm -rf "$D/img2"
	line "incremental, $mib MiB, 1 % written: stands still" "$(m frozen)" ms '<=' 15
	line '  in all, compared with a full dump' "$(ratios total full)" x '<=' 0.1
	end
}
# restores SIZE OPTION...: of one image; to the file total
restores() {
	local i
	mib=$1
	shift
	begin memory "$mib"
	timed "$ckpt" dump -t "$pid" -D "$D/img" || fails dump || return
	rm -f "$D"/{total,wall}
	for ((i = 0; i < runs; i++)); do
		end
		[ "$#" -gt 0 ] || warm memory "$mib"
		timed "$ckpt" restore -d -D "$D/img" "$@" || fails "restore $*" || return
		wall >>"$D/wall"
		sed -n 's/.* in \([0-9.]*\) s .*/\1e3/p' "$D/out" | awk '{ print $1 + 0 }' >>"$D/total"
	done
	end
	rm -rf "$D/img"
}
# eager: against the faster of one and two threads that read as much
eager() {
	local i one two fast
	late 'restore, eager' && return
	restores "$all" || return
	"$load" write "$all" "$D/raw" >"$D/ignored"
	rm -f "$D"/{one,two}
	for ((i = 0; i < runs; i++)); do
		warm memory "$all"
		"$load" read "$all" "$D/raw" >>"$D/one"
		warm memory "$all"
		"$load" read2 "$all" "$D/raw" >>"$D/two"
	done
	rm -f "$D/raw"
	one=$(m one) two=$(m two)
	fast=$(printf '%s\n' "$one" "$two" | sort -n | head -n 1)
	line "pread of $all MiB into fresh memory, one thread" "$(calc "$all/1.024/$one")" GiB/s none ''
	line '  two threads' "$(calc "$all/1.024/$two")" GiB/s none ''
	line "restore of $all MiB, compared with the faster" "$(calc "$fast/$(m total)")" x '>=' 0.9
}
lazy() {
	late 'restore, lazy' && return
	restores $((4 * all)) --lazy || return
	line "restore --lazy of $((4 * all)) MiB until it runs: wall time" "$(m wall)" ms '<=' 6
}
# pings SECONDS: the longest one of a redis server that works for others; asked: how many commands it has answered
pings() { timeout 60 redis-cli -p "$port" --latency --raw -i "$1" | awk '{ print $2 }'; }
asked() { redis-cli -p "$port" info stats | tr -d '\r' | sed -n 's/^total_commands_processed://p'; }
# rate MS: commands a second from now on for so long
rate() {
	local before
	before=$(asked)
	sleep "$(calc "$1/1000")"
	echo $((($(asked) - before) * 1000 / $1))
}
# redis: a server with so much data and clients that are not dumped with it
redis() {
	local i before took bench port=$((20000 + RANDOM % 12000))
	command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null || return
	late redis && return
	rm -rf "$D/t"
	mkdir "$D/t"
	setsid redis-server --port "$port" --save '' --dir "$D/t" --enable-debug-command yes \
		</dev/null >/dev/null 2>&1 &
	pid=$!
	disown
	for ((i = 0; i < 500; i++)); do redis-cli -p "$port" ping >/dev/null 2>&1 && break; sleep 0.01; done
	timeout 60 redis-cli -p "$port" debug populate $((all * 950)) key 1000 >"$D/out" 2>&1 || fails 'redis' || return
	redis-benchmark -p "$port" -c 8 -n 1000000000 -r $((all * 950)) -d 1000 -t set,get >/dev/null 2>&1 &
	bench=$!
	sleep 1
	pings 2 >"$D/before"
	before=$(rate 2000)
	rm -f "$D"/{frozen,total,rate}
	for ((i = 0; i < runs; i++)); do
		rm -rf "$D/img"
		warm memory "$all"
		pings 3 >>"$D/frozen" &
		took=$!
		(rate 1000 >>"$D/rate") &
		timed "$ckpt" dump --live -R --tcp-close -t "$pid" -D "$D/img" || {
			kill "$bench"
			fails 'dump of redis'
			return
		}
		wall >>"$D/total"
		wait "$took"
	done
	kill "$bench"
	end
	rm -rf "$D/img"
	line "redis of $all MiB under redis-benchmark: longest ping" "$(m frozen)" ms none ''
	line '  without a dump' "$(m before)" ms none ''
	line '  in all' "$(m total)" ms none ''
	line '  commands a second, compared with before' "$(calc "$(m rate)/$before")" x none ''
}
# others: the same pause by who else is installed
others() {
	mib=$all
	if command -v criu >/dev/null && ! late criu; then
		begin serve0 "$mib"
		mkdir "$D/img"
		said >"$D/ignored"
		timed "$(command -v criu)" dump -R -t "$pid" -D "$D/img" || fails 'criu dump' || return
		line "criu dump -R of $mib MiB, idle: stands still" "$(said | cut -d' ' -f4)" ms none ''
		line '  in all' "$(wall)" ms none ''
		end
	fi
	if command -v dmtcp_launch >/dev/null && ! late dmtcp; then
		local load="dmtcp_launch --new-coordinator --coord-port 0 --port-file $D/port --ckptdir $D/img $load"
		mkdir -p "$D/img"
		begin serve0 "$mib"
		said >"$D/ignored"
		timed "$(command -v dmtcp_command)" --coord-port "$(cat "$D/port")" --bcheckpoint || fails dmtcp || return
		line "dmtcp_command --bcheckpoint of $mib MiB: stands still" "$(said | cut -d' ' -f4)" ms none ''
		line '  in all' "$(wall)" ms none ''
		end
	fi
}
# plot FILE: how long it stands still, over its size
plot() {
	local size
	command -v gnuplot >/dev/null || return
	for size in 64 256; do
		late plot && return
		mib=$size
		begin serve0 "$mib"
		dumps --live || return
		echo "$mib $(m frozen) $(m fork)" >>"$D/points"
		end
	done
	sort -n -o "$D/points" "$D/points"
	gnuplot -e "set terminal png size 800,500; set output '$1'; set logscale xy; set xlabel 'MiB'; set ylabel 'ms'; \
		plot '$D/points' using 1:2 with linespoints title 'dump --live -R', '' using 1:3 with linespoints title 'fork'"
}

heading
small
block "$all MiB, idle, --live" 0 "$all" 4 1.3 --live
block "$((4 * all)) MiB, idle, --live" 0 $((4 * all)) 10 1.3 --live
block "$all MiB, 1 % written, --live" 1 "$all" 20 1.5 --live
block "$all MiB, all written, from a copy" 100 "$all" x1.5 3 --live --max-freeze-action copy
chain
eager
lazy
redis
others
plot "${BENCH_PLOT:-live.png}"
verdict
