# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For the scripts that measure: targets, medians, a line of the table. Sourced from the build folder.
BUILD=$(realpath "${BUILD:-.}")
ckpt=${CKPT:-$BUILD/ckpt} load=$BUILD/tests/bench/load reaper=$BUILD/tests/fault/reaper
[ -x "$ckpt" ] && [ -x "$load" ] && [ -x "$reaper" ] || { echo "build first: make check TESTS= in the build folder"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skip - needs root"; exit 77; }
if [ -z "${BENCH_INSIDE-}" ]; then
	BENCH_INSIDE=1 CKPT_TEST_LIMIT=1800 exec "$reaper" bash "$0" "$@"
fi
runs=${BENCH_RUNS:-5}
D=$(mktemp -d /dev/shm/ckpt-bench.XXXXXX)
trap 'rm -rf "$D"' EXIT
missed=0

median() { sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : "-" }'; }
calc() { awk "BEGIN { printf \"%.2f\", $1 }"; }
# line WHAT MEASURED UNIT COMPARISON TARGET
line() {
	local verdict=met
	[ "$4" = none ] || awk "BEGIN { exit !($2 $4 $5) }" || { verdict=MISSED; missed=$((missed + 1)); }
	[ "$4" = none ] && verdict=
	printf '%-52s %10s %-6s %2s %-8s %s\n' "$1" "$2" "$3" "${4/none/}" "$5" "$verdict"
}
begin() { # SORT NUMBER: a fresh target; sets pid
	rm -rf "$D/t" "$D/img"
	mkdir "$D/t"
	setsid "$load" "$1" "$2" "$D/t" </dev/null >/dev/null 2>&1 &
	pid=$!
	disown
	local i
	for ((i = 0; i < 6000; i++)); do
		[ -e "$D/t/ready" ] && { sleep 0.05; return; }
		sleep 0.01
	done
	echo "target $1 does not start"
	exit 1
}
end() { # all of its session
	local p
	for p in $(ps -o pid= -s "$pid"); do kill -KILL "$p"; done
	while [ -n "$(ps -o pid= -s "$pid")" ]; do sleep 0.01; done
}
# A virtual machine gives free memory back to its host, and getting it again takes longer than anything measured here.
warm() { [ "$1" != memory ] || "$load" warm "$2" "$D"; }
m() { median <"$D/$1"; }
heading() {
	stolen=$(stolen)
	echo "ckpt $("$ckpt" --version | head -n 1), Linux $(uname -r), $(nproc) processors, medians of $runs"
	printf '%-52s %10s %-6s %2s %-8s\n' what measured unit '' target
}
# Ticks in which a processor would have worked, had the host not given it to others.
stolen() { awk '/^cpu /{ print $9 }' /proc/stat; }
verdict() {
	[ "$missed" = 0 ] && echo "all targets are met" || echo "$missed targets are missed"
	echo "taken by the host of the machine: $(calc "($(stolen)-$stolen)/$(getconf CLK_TCK)") s of a processor in $SECONDS s"
}
