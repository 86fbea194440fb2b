#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a program feels of dumps that let it go on, measured in it: medians of five, images on tmpfs. Run it from the
# build folder as root. $BENCH_RUNS: instead of 5, $BENCH_MIB: instead of 1024, $BENCH_PLOT: a PNG, if there is gnuplot.
set -u
. "$(dirname "$0")/lib.bash"
mib=${BENCH_MIB:-1024}

# said: what the program says of its requests since the last time: longest, 99.9th percentile, number a second
said() {
	rm -f "$D/t/said"
	: >"$D/t/ask"
	local i
	for ((i = 0; i < 1000; i++)); do [ -e "$D/t/said" ] && break; sleep 0.01; done
	cat "$D/t/said"
}
# dumps OPTION...: to the files frozen (as felt), total, slow, rate
dumps() {
	local i
	rm -f "$D"/{frozen,total,slow,rate}
	for ((i = 0; i < runs; i++)); do
		rm -rf "$D/img"
		warm memory "$mib"
		said >"$D/ignored"
		"$load" run "$ckpt" dump -R -t "$pid" -D "$D/img" "$@" >"$D/out" 2>&1
		grep -q 'status 0' "$D/out" || { echo "dump $* fails:"; cat "$D/out"; return 1; }
		said >"$D/said"
		cut -d' ' -f1 "$D/said" >>"$D/frozen"
		cut -d' ' -f2 "$D/said" >>"$D/slow"
		cut -d' ' -f3 "$D/said" >>"$D/rate"
		sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out" >>"$D/total"
	done
}
# block NAME PERCENT SIZE FROZEN TOTAL OPTION...: FROZEN in ms, "xN": so many times its own fork; TOTAL in writes
block() {
	local name=$1 limit=$4 total=$5 before
	mib=$3
	begin "serve$2" "$mib"
	shift 5
	said >"$D/ignored"
	sleep 1
	before=$(said)
	dumps "$@" || { end; return; }
	[ "${limit#x}" = "$limit" ] || limit=$(calc "${limit#x}*$(cat "$D/t/fork")")
	line "$name: longest request" "$(m frozen)" ms '<=' "$limit"
	line "  a plain fork of it takes" "$(cat "$D/t/fork")" ms none ''
	line "  in all, compared with a write of $mib MiB" "$(calc "$(m total)/($write*$mib)")" x '<=' "$total"
	line "  99.9th percentile of requests: before" "$(echo "$before" | cut -d' ' -f2)" ms none ''
	line "  meanwhile" "$(m slow)" ms none ''
	line "  requests a second, compared with before" "$(calc "$(m rate)/$(echo "$before" | cut -d' ' -f3)")" x none ''
	end
}
# chain: a full dump, and one of what 1 % of writes have changed since
chain() {
	local i full
	begin serve1 "$mib"
	rm -f "$D"/{frozen,full,total}
	for ((i = 0; i < runs; i++)); do
		rm -rf "$D"/{img,img2}
		warm memory "$mib"
		"$load" run "$ckpt" dump -R --track-mem -t "$pid" -D "$D/img" >"$D/out" 2>&1
		sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out" >>"$D/full"
		said >"$D/ignored"
		"$load" run "$ckpt" dump -R -t "$pid" -D "$D/img2" --prev-images-dir ../img >"$D/out" 2>&1
		grep -q 'status 0' "$D/out" || { echo "incremental dump fails:"; cat "$D/out"; end; return; }
		sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out" >>"$D/total"
		said | cut -d' ' -f1 >>"$D/frozen"
	done
	full=$(m full)
	line "incremental, $mib MiB, 1 % written: longest request" "$(m frozen)" ms '<=' 15
	line "  in all, compared with a full dump" "$(calc "$(m total)/$full")" x '<=' 0.1
	end
}
# lazy: until the first instruction
lazy() {
	local i
	rm -f "$D/wall"
	for ((i = 0; i < runs; i++)); do
		begin memory "$mib"
		"$ckpt" dump -t "$pid" -D "$D/img" >"$D/out" 2>&1 || { echo "dump fails:"; cat "$D/out"; end; return; }
		while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
		"$load" run "$ckpt" restore --lazy -d -D "$D/img" >"$D/out" 2>&1
		sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out" >>"$D/wall"
		end
	done
	line "lazy restore of $mib MiB: wall time" "$(m wall)" ms '<=' 6
}
# others: the same pause by who else is installed
others() {
	command -v criu >/dev/null || return
	begin serve0 "$mib"
	mkdir "$D/img"
	said >"$D/ignored"
	"$load" run "$(command -v criu)" dump -R -t "$pid" -D "$D/img" >"$D/out" 2>&1
	line "criu dump -R of $mib MiB, idle: longest request" "$(said | cut -d' ' -f1)" ms none ''
	line "  in all" "$(sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out")" ms none ''
	end
}
# plot FILE: how long it stands still, over its size
plot() {
	local size
	command -v gnuplot >/dev/null || return
	: >"$D/points"
	for size in 64 256 1024 4096; do
		[ "$size" -le $((4 * ${BENCH_MIB:-1024})) ] || continue
		mib=$size
		begin serve0 "$mib"
		dumps --live && echo "$mib $(m frozen) $(cat "$D/t/fork")" >>"$D/points"
		end
	done
	gnuplot -e "set terminal png size 800,500; set output '$1'; set logscale xy; set xlabel 'MiB'; set ylabel 'ms'; \
		plot '$D/points' using 1:2 with linespoints title 'dump --live -R', '' using 1:3 with linespoints title 'fork'"
}

heading
for ((i = 0; i < runs; i++)); do "$load" write "$mib" "$D/raw" >>"$D/write"; rm -f "$D/raw"; done
write=$(calc "$(m write)*1000/$mib")e-3 # ms for one MiB
all=$mib
block "$all MiB, idle, --live" 0 "$all" 4 1.3 --live
block "$((4 * all)) MiB, idle, --live" 0 $((4 * all)) 10 1.3 --live
block "$all MiB, 1 % written, --live" 1 "$all" 20 1.5 --live
block "$all MiB, all written, from a copy" 100 "$all" x1.5 3 --live --max-freeze-action copy
mib=$all
chain
others
mib=$((4 * all))
lazy
plot "${BENCH_PLOT:-live.png}"
verdict
