#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes the image reader and the planner, images that go on from each other, or what comes from a peer: fuzz.sh [SECONDS
# [image|chain|peer]]. Builds with clang in a folder of its own below the working directory (fuzz-build); the corpus starts
# with images of a few programs (of a peer: with nothing). What it finds is left in fuzz-build/crash-*.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
command -v clang >/dev/null || { echo "skip - there is no clang"; exit 77; }
what=${2:-image} corpus=corpus
[ "$what" = image ] || corpus=corpus-$what
mkdir -p "fuzz-build/$corpus"
cd fuzz-build
sanitize=-fsanitize=address,undefined
if [ ! -e Makefile ]; then
	"$top/configure" -q CC=clang CFLAGS="-g -O1 -fsanitize=fuzzer-no-link $sanitize -fno-sanitize-recover=undefined" \
		LDFLAGS="$sanitize"
fi
make -s -j"$(nproc)" libengine.a
packages="libprotobuf-c json-c libelf libcap nettle libunwind-generic libpcre2-8 liblz4 libzstd"
# shellcheck disable=SC2086  # a list of words
libs="libengine.a $(pkg-config --libs $packages) -liberty -lpthread"
flags="-std=gnu11 -D_GNU_SOURCE -g -O1 -I$top -I. $sanitize"
# shellcheck disable=SC2086  # lists of words
clang $flags -DSTANDALONE -o fuzz-one "$top/tests/fuzz/fuzz-$what.c" $libs
# shellcheck disable=SC2086
clang $flags -fsanitize=fuzzer -o "fuzz-$what" "$top/tests/fuzz/fuzz-$what.c" $libs
ckpt=$(realpath "${CKPT:-../ckpt}")
# Nothing of ours may stay open in what is dumped.
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	[ "$fd" -lt 3 ] || [ "$fd" = 255 ] || eval "exec $fd>&-"
done
if [ -x "$ckpt" ] && [ "$what" != peer ] && [ -z "$(ls "$corpus")" ]; then
	threads='import threading, time; threading.Thread(target=time.sleep, args=(100,)).start()'
	for program in "sleep 100" "bash -c 'sleep 100 | cat & wait'" "python3 -c '$threads'"; do
		eval "setsid $program </dev/null >/dev/null 2>&1 &"
		pid=$!
		sleep 1
		rm -rf img
		if [ "$what" = chain ]; then
			rm -rf img2 img3
			"$ckpt" pre-dump -t $pid -D img && "$ckpt" pre-dump -t $pid -D img2 --prev-images-dir ../img &&
				"$ckpt" dump -t $pid -D img3 --prev-images-dir ../img2 -R &&
				./fuzz-one --input img img2 img3 >"$corpus/${program%% *}" && "$ckpt" dedup -D img3 &&
				./fuzz-one --input img img2 img3 >"$corpus/${program%% *}-given-up"
		else
			"$ckpt" dump -t $pid -D img -R && ./fuzz-one --input img/image img/pages >"$corpus/${program%% *}"
		fi
		kill -KILL -- -$pid
	done
fi
FUZZ_DIR=$(mktemp -d /dev/shm/ckpt-fuzz.XXXXXX)
export FUZZ_DIR
trap 'rm -rf "$FUZZ_DIR"' EXIT
"./fuzz-$what" -max_len=65536 -rss_limit_mb=1024 -timeout=10 -max_total_time="${1:-60}" -print_final_stats=1 "$corpus"
