#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What checkpoints from inside cost: the pause that the program sees, against a plain fork of it; and what the library
# costs as long as there is none, against the same program without it. Medians of 5; of the costs, of 41. Run in the build
# folder, on a quiet machine, with images on tmpfs; prints a table and judges nothing.
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
	local gaps=() totals=() i start pid
	rm -rf "$dir/t" && mkdir "$dir/t"
	setsid ./ckpt-run -- "$program" run "$2" "$3" "$4" "$dir/t" </dev/null >/dev/null 2>&1 &
	pid=$!
	for ((i = 0; i < 6000; i++)); do [ -e "$dir/t/fork" ] && break; sleep 0.01; done
	for i in 1 2 3 4 5; do
		sleep 0.3
		gap >/dev/null
		rm -rf "$dir/img"
		start=$(date +%s%N)
		./ckpt-signal -D "$dir/img" "$pid" >/dev/null 2>"$dir/err" || { cat "$dir/err"; break; }
		totals+=($((($(date +%s%N) - start) / 1000)))
		sleep 0.1
		gaps+=("$(gap)")
	done
	printf '%-28s pause %8s us   fork %8s us   total %9s us\n' "$1" "$(printf '%s\n' "${gaps[@]}" | median)" \
		"$(cat "$dir/t/fork")" "$(printf '%s\n' "${totals[@]}" | median)"
	kill "$pid"
	wait "$pid" 2>/dev/null
}

# Short runs in pairs that take turns, and the median of what they differ by: the machine has slow moments and slow seconds.
cost() {
	local plain=() with=() ratios=() i
	for ((i = 0; i < 41; i++)); do
		((i % 2)) && plain+=("$("$program" cost "$1")")
		with+=("$(./ckpt-run -- "$program" cost "$1")")
		((i % 2)) || plain+=("$("$program" cost "$1")")
		ratios+=("$(awk -v a="${plain[i]}" -v b="${with[i]}" 'BEGIN { printf "%.3f", b / a }')")
	done
	printf '%-28s plain %10s ns   with %10s ns   %s\n' "$1" "$(printf '%s\n' "${plain[@]}" | median)" \
		"$(printf '%s\n' "${with[@]}" | median)" "$(printf '%s\n' "${ratios[@]}" | median)"
}

pause '16 MiB' 16 small 2
pause '16 MiB, 200 threads' 16 small 200
pause '1 GiB of small pages' 1024 small 2
pause '1 GiB of huge pages' 1024 huge 2
for name in open-read-close malloc-free clock_gettime stat pipe mutex poll thread fork fork-exec; do
	cost "$name"
done
