#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How fast ckpt is: medians of five, images on tmpfs, rates as ratios to what the machine does itself in the same run.
# Run it from the build folder as root; not part of `make check`, because times are no test. $BENCH_RUNS: instead of 5.
# On a busy machine `chrt -f 10` in front of it gives figures that can be compared with each other.
set -u
. "$(dirname "$0")/lib.bash"
# one SORT NUMBER: dumps and a restore; appends to files total, frozen, wall, peak, rtotal, rwall. How long the target
# stands still is told by a dump that lets it go on: the other one ends with its death.
one() {
	begin "$1" "$2"
	warm "$1" "$2"
	"$load" run "$ckpt" dump -R -t "$pid" -D "$D/img" >"$D/out" 2>&1
	sed -n -e 's/.*frozen for \([0-9.]*\) ms.*/\1/p' -e 's/.*frozen for \([0-9.]*\) s.*/\1e3/p' "$D/out" |
		awk '{ print $1 + 0 }' >>"$D/frozen"
	rm -rf "$D/img"
	warm "$1" "$2"
	"$load" run "$ckpt" dump -t "$pid" -D "$D/img" >"$D/out" 2>&1
	grep -q 'status 0' "$D/out" || { echo "dump of $1 fails:"; cat "$D/out"; end; return 1; }
	while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
	sed -n 's/.* in \([0-9.]*\) s .*/\1/p' "$D/out" | awk '{ print $1 * 1000 }' >>"$D/total"
	sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out" >>"$D/wall"
	sed -n 's/.* peak \([0-9]*\) .*/\1/p' "$D/out" >>"$D/peak"
	warm "$1" "$2"
	"$load" run "$ckpt" restore -d -D "$D/img" >"$D/out" 2>&1
	grep -q 'status 0' "$D/out" || { echo "restore of $1 fails:"; cat "$D/out"; return 1; }
	sed -n 's/.* in \([0-9.]*\) s .*/\1/p' "$D/out" | awk '{ print $1 * 1000 }' >>"$D/rtotal"
	sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out" >>"$D/rwall"
	end
}
# live MIB: dumps --live -R; appends to frozen and total.
live() {
	local i
	rm -f "$D"/{frozen,total}
	begin memory "$1"
	for ((i = 0; i < runs; i++)); do
		warm memory "$1"
		"$load" run "$ckpt" dump --live -R -t "$pid" -D "$D/img" >"$D/out" 2>&1
		grep -q 'status 0' "$D/out" || { echo "dump --live fails:"; cat "$D/out"; end; return 1; }
		sed -n 's/.*frozen for \([0-9.]*\) ms.*/\1/p' "$D/out" >>"$D/frozen"
		sed -n 's/.* in \([0-9.]*\) s .*/\1/p' "$D/out" | awk '{ print $1 * 1000 }' >>"$D/total"
		rm -rf "$D/img"
	done
	end
}
several() {
	local i
	rm -f "$D"/{total,frozen,wall,peak,rtotal,rwall,write,read}
	for ((i = 0; i < runs; i++)); do
		one "$1" "$2" || return 1
		[ "$1" != memory ] && continue
		# Of the same size, in the same run.
		"$load" write "$2" "$D/raw" >>"$D/write"
		warm memory "$2"
		"$load" read "$2" "$D/raw" >>"$D/read"
		rm -f "$D/raw"
	done
}

heading
mib=${BENCH_MIB:-1024}
if several memory "$mib"; then
	w=$(m write) r=$(m read) d=$(m total) s=$(m rtotal)
	line "write of $mib MiB to tmpfs, one thread" "$(calc "$mib/1.024/$w")" GiB/s none ''
	line "dump of $mib MiB of random memory" "$(calc "$mib/1.024/$d")" GiB/s none ''
	line "  compared with that write" "$(calc "$w/$d")" x '>=' 0.8
	line "  frozen" "$(m frozen)" ms none ''
	line "pread of $mib MiB into fresh memory" "$(calc "$mib/1.024/$r")" GiB/s none ''
	line "restore of $mib MiB" "$(calc "$mib/1.024/$s")" GiB/s none ''
	line "  compared with that pread" "$(calc "$r/$s")" x '>=' 0.8
	line "  peak memory of ckpt during the dump" "$(calc "$(m peak)/1024")" MiB '<' 64
	if live "$mib"; then
		line "dump --live -R of the same: frozen" "$(m frozen)" ms '<=' 4
		line "  in all, compared with that write" "$(calc "$(m total)/$w")" x '<=' 1.3
	fi
fi
if several small 0; then
	line "small process: dump, wall time" "$(m wall)" ms '<=' 6
	line "  frozen" "$(m frozen)" ms '<=' 1.5
	line "small process: restore, wall time" "$(m rwall)" ms '<=' 5
fi
while read -r sort n limit; do
	several "$sort" "$n" || continue
	line "$n $sort: frozen" "$(m frozen)" ms '<=' "$limit"
	line "  dump, wall time" "$(m wall)" ms none ''
	line "  restore, wall time" "$(m rwall)" ms none ''
	line "  peak memory of ckpt" "$(calc "$(m peak)/1024")" MiB '<' 64
done <<'TABLE'
threads 200 16
processes 200 181
areas 10000 37
files 5000 51
TABLE
verdict
