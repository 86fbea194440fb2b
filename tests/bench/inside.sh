#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What checkpoints from inside cost: the pause that the program sees, against its longest gap in half a second without one and a
# plain fork of it; and what the library costs as long as there is none, against the same program without it. Medians of 5; of
# the costs, of 41, with quartiles. Run in the build folder, on a quiet machine, with images on tmpfs; prints a table and judges
# nothing. $BENCH_COSTS: only these costs.
set -u
program=$PWD/tests/bench/inside reaper=$PWD/tests/fault/reaper
[ -x "$program" ] && [ -x "$reaper" ] || { echo "build first: make check TESTS= in the build folder"; exit 77; }
if [ -z "${BENCH_INSIDE-}" ]; then
	BENCH_INSIDE=1 CKPT_TEST_LIMIT=1800 exec "$reaper" bash "$0" "$@"
fi
dir=$(mktemp -d "${BENCH_DIR:-/dev/shm}/ckpt-bench.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

gap() { # since the last time
	rm -f "$dir/t/gap"
	: >"$dir/t/ask"
	local i
	for ((i = 0; i < 500; i++)); do [ -e "$dir/t/gap" ] && break; sleep 0.01; done
	cat "$dir/t/gap"
}

# pause NAME MIB small|huge THREADS
pause() {
	local gaps=() without=() totals=() i start pid
	rm -rf "$dir/t" && mkdir "$dir/t"
	setsid ./ckpt-run -- "$program" run "$2" "$3" "$4" "$dir/t" </dev/null >/dev/null 2>&1 &
	pid=$!
	for ((i = 0; i < 6000; i++)); do [ -e "$dir/t/fork" ] && break; sleep 0.01; done
	for i in 1 2 3 4 5; do
		# To remove the image of before takes the processors, too.
		rm -rf "$dir/img"
		sleep 0.3
		gap >/dev/null
		sleep 0.5
		without+=("$(gap)")
		start=$(date +%s%N)
		./ckpt-signal -D "$dir/img" "$pid" >/dev/null 2>"$dir/err" || { cat "$dir/err"; break; }
		totals+=($((($(date +%s%N) - start) / 1000)))
		sleep 0.1
		gaps+=("$(gap)")
	done
	printf '%-28s pause %8s us   without %8s us   fork %8s us   total %9s us\n' "$1" \
		"$(printf '%s\n' "${gaps[@]}" | median)" "$(printf '%s\n' "${without[@]}" | median)" \
		"$(cat "$dir/t/fork")" "$(printf '%s\n' "${totals[@]}" | median)"
	kill "$pid"
	wait "$pid" 2>/dev/null
}

# quartiles NUMBER...: the middle one, and where half of them are
quartiles() {
	printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 }
		END { printf "%s (%s to %s)", v[int((NR + 1) / 2)], v[int((NR + 3) / 4)], v[int((3 * NR + 1) / 4)] }'
}
# beside BEFORE MEASURED AFTER
beside() { awk -v a="$1" -v x="$2" -v b="$3" 'BEGIN { printf "%.3f", 2 * x / (a + b) }'; }
# Short runs that take turns, and what those with the library differ by from those before and after: the machine has slow
# moments and slow seconds. What is left of these is seen in how those without it differ from each other.
cost() {
	local plain=() with=() ratios=() same=() i
	plain+=("$("$program" cost "$1")")
	for ((i = 0; i < 41; i++)); do
		with+=("$(./ckpt-run -- "$program" cost "$1")")
		plain+=("$("$program" cost "$1")")
		ratios+=("$(beside "${plain[i]}" "${with[i]}" "${plain[i + 1]}")")
		((i < 1)) || same+=("$(beside "${plain[i - 1]}" "${plain[i]}" "${plain[i + 1]}")")
	done
	printf '%-16s plain %10s ns   with %10s ns   %s   plain among themselves %s\n' "$1" \
		"$(printf '%s\n' "${plain[@]}" | median)" "$(printf '%s\n' "${with[@]}" | median)" \
		"$(quartiles "${ratios[@]}")" "$(quartiles "${same[@]}")"
}

[ -n "${BENCH_COSTS-}" ] || {
	pause '16 MiB' 16 small 2
	pause '16 MiB, 200 threads' 16 small 200
	pause '1 GiB of small pages' 1024 small 2
	pause '1 GiB of huge pages' 1024 huge 2
}
for name in ${BENCH_COSTS:-open-read-close malloc-free clock_gettime stat pipe mutex poll thread fork fork-exec}; do
	cost "$name"
done
