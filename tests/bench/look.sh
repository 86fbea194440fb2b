#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How fast an image is looked into: medians of five, images on tmpfs, against cp where that does the same. Run it from
# the build folder as root; $BENCH_RUNS: instead of 5, $BENCH_MIB: instead of 1024.
set -u
. "$(dirname "$0")/lib.bash"
mib=${BENCH_MIB:-1024}

# image SORT NUMBER: of a fresh target, in $D/img
image() {
	begin "$1" "$2"
	"$ckpt" dump -t "$pid" -D "$D/img" >"$D/out" 2>&1 || { echo "dump of $1 fails:"; cat "$D/out"; end; exit 1; }
	end
}
# several NAME COMMAND...: wall times to the file NAME, peaks to NAME.peak
several() {
	local name=$1 i
	shift
	rm -f "$D/$name" "$D/$name.peak"
	for ((i = 0; i < runs; i++)); do
		rm -f "$D"/o.*
		"$load" warm "$mib" "$D"
		"$load" run "$@" >"$D/out" 2>&1
		sed -n 's/^wall \([0-9.]*\) .*/\1/p' "$D/out" >>"$D/$name"
		sed -n 's/.* peak \([0-9]*\) .*/\1/p' "$D/out" >>"$D/$name.peak"
	done
	grep -q 'status [01]$' "$D/out" || { echo "$* fails:"; tail -n 3 "$D/out"; exit 1; }
	rm -f "$D"/o.*
}
peak() { line "  peak memory" "$(calc "$(m "$1.peak")/1024")" MiB '<' 128; }

heading
image memory "$mib"
several cp /bin/sh -c "cat $D/img/pages* >$D/o.copy"
several core "$ckpt" core -D "$D/img" -o "$D/o.core"
line "cp of $mib MiB" "$(calc "$mib/1.024/$(m cp)")" GiB/s none ''
line "core of $mib MiB, compared with that" "$(calc "$(m cp)/$(m core)")" x '>=' 0.7
peak core
several search "$ckpt" mem -D "$D/img" --search 'nobody has ever written this'
line "search of $mib MiB for a text" "$(calc "$mib/1.024/$(m search)")" GiB/s '>=' 1
peak search
several regex "$ckpt" mem -D "$D/img" --regex 'nobody has [ew]ver written'
line "search of $mib MiB for an expression" "$(calc "$mib/1.024/$(m regex)")" GiB/s none ''
several diff "$ckpt" diff "$D/img" "$D/img"
line "diff of $mib MiB with itself" "$(m diff)" ms none ''
peak diff
several report "$ckpt" report -D "$D/img" -o "$D/o.copy"
line "report of $mib MiB" "$(m report)" ms none ''
peak report
image processes 200
several show "$ckpt" show -D "$D/img"
line "show of 200 processes" "$(m show)" ms '<' 100
peak show
several views "$ckpt" show -D "$D/img" --tree --files --memory --sockets --stats --json
line "  all views, as JSON" "$(m views)" ms none ''
peak views
image threads 200
several stacks "$ckpt" show -D "$D/img" --stacks
line "stacks of 200 threads" "$(m stacks)" ms '<' 2000
peak stacks
verdict
