#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The example of the sources: it runs without ckpt, takes checkpoints of itself, and goes on from each of them.
. "$(dirname "$0")/inside.bash"
[ -x "$T/primes" ] || skip "libinproc/examples/primes is not built"
[ -z "${CKPT_CASE_DRY-}" ] || skip "without ckpt there is nothing to see"

[ "$("$T/primes" 2000000 500000)" = "148933 primes, restored 0 times" ] || bad "it does not run without ckpt"

setsid -w "$T/ckpt-run" -D "$T/p" "$T/primes" 2000000 500000 >>"$T/out" 2>&1 </dev/null || bad "it fails below ckpt-run"
[ "$(grep -c ': checkpoint$' "$T/out")" = 3 ] || bad "not three checkpoints"
[ "$(tail -n 1 "$T/out")" = "148933 primes, restored 0 times" ] || bad "another result below ckpt-run"
# Two are kept (ckpt-run --keep); the engine may be about to remove the third.
for _ in {1..50}; do [ -d "$T/p/ckpt.000001" ] || break; sleep 0.1; done
[ "$(cd "$T/p" && echo ckpt.*)" = "ckpt.000002 ckpt.000003" ] || bad "checkpoints: $(cd "$T/p" && echo ckpt.*)"

cp "$T/out" "$T/whole"
for image in 2 3; do
	"$T/ckpt" verify -D "$T/p/ckpt.00000$image" >"$T/ckpt.out" 2>&1 || bad "checkpoint $image is damaged"
	# As it was at the time: the restored program goes on behind it.
	head -n $((image - 1)) "$T/whole" >"$T/out"
	timeout 60 "$T/ckpt" restore -D "$T/p/ckpt.00000$image" >"$T/ckpt.out" 2>&1 </dev/null ||
		bad "checkpoint $image: it does not go on to its end"
	grep -q ': restored' "$T/out" || bad "checkpoint $image: ckpt_now() does not return a second time"
	tail -n 1 "$T/out" | grep -q '148933 primes, restored [12] times$' || bad "checkpoint $image: another result"
done
good "a program takes checkpoints of itself, and goes on from them"
