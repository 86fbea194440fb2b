#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs that write all the time, dumped --live several times in a row: a redis server of some 100 MB under load, and
# python with a big array. What the last image holds is consistent in itself.
. "$(dirname "$0")/lib.bash"
need redis-server
need redis-cli
need redis-benchmark
python=/usr/bin/python3
[ -x $python ] || skip "there is no $python"
ask() { timeout 10 redis-cli -s "$T/redis.sock" "$@" 2>/dev/null; }
# All at once: a client that outlives its server would write what it thinks of that to a file of the image.
# The load is in the tree; each counter is one higher than the one before.
cat >"$T/job.sh" <<'SH'
redis-server --port 0 --unixsocket redis.sock --save '' --dir . --daemonize no --enable-debug-command yes &
until redis-cli -s redis.sock ping >/dev/null 2>&1; do sleep 0.05; done
redis-cli -s redis.sock debug populate 100000 key 800 >/dev/null
redis-benchmark -s redis.sock -c 4 -n 100000000 -r 100000 -d 400 -q set key:__rand_int__ v >/dev/null 2>&1 &
seq 100000000 | sed 's/.*/incr a/' | redis-cli -s redis.sock | {
	while read -r got; do
		n=$((n + 1))
		[ "$got" = $n ] || echo "counter is $got, not $n" >failed
		# Of the same size, and always the same file: it goes on after each dump, and an image may be of just then.
		[ $((n % 100)) != 0 ] || printf '%15d\n' $n 1<>n
	done
}
SH
start bash "$T/job.sh"
until_true greater n 300 || bad "redis does not start"
if [ -z "${CKPT_CASE_DRY-}" ]; then
	live redis
	live redis --max-freeze-action copy
	until_true greater n $(($(number n) + 300)) || bad "redis does not go on after dumps that leave it"
	kill_all
	until_true gone "$pid" || bad "something is left of it"
	restore || bad "the last image of redis cannot be restored"
	rm -f n
	until_true test -s n || bad "redis does not go on after the restore"
fi
until_true greater n $(($(number n) + 300)) || bad "redis does not go on"
[ "$(ask dbsize)" -ge 100001 ] || bad "redis has $(ask dbsize) keys"
[ ! -e failed ] || bad "$(cat failed)"
kill_all
until_true gone "$pid" || bad "something is left of it"
rm -f n

cat >"$T/big.py" <<'PY'
import os
size, n, page = 64 << 20, 0, 4096
big = bytearray(size)
out = os.open("n", os.O_RDWR | os.O_CREAT)
while not os.path.exists("stop"):
    n += 1
    stamp = n.to_bytes(8, "little")
    for at in range(n * 7 % 16 * page, size, 16 * page):     # each round the next of 16 pages, all with its number
        big[at:at + 8] = stamp
    for back in range(min(n, 16)):
        want = (n - back).to_bytes(8, "little")
        first = (n - back) * 7 % 16 * page
        if big[first:first + 8] != want or big[first + size - 16 * page:first + size - 16 * page + 8] != want:
            open("failed", "w").write("round %d, %d before" % (n, back))
    os.pwrite(out, b"%15d\n" % n, 0)     # of the same size, and never elsewhere: it goes on after each dump
if any(big[at:at + 8] != (n - (n - at // page * 7) % 16).to_bytes(8, "little") for at in range(0, size, page)):
    open("failed", "w").write("at the end")
open("ended", "w").write("yes\n")
PY
for action in fail copy; do
	rm -f n stop ended
	start $python "$T/big.py"
	until_true greater n 20 || bad "python does not start"
	if [ -z "${CKPT_CASE_DRY-}" ]; then
		live python --max-freeze-action $action
		kill -KILL "$pid"
		until_true gone "$pid" || bad "something is left of it"
		restore || bad "the last image of python ($action) cannot be restored"
	fi
	until_true greater n $(($(number n) + 3)) || bad "python does not go on after the restore ($action)"
	touch stop
	until_true test -s ended || bad "python does not come to its end"
	[ ! -e failed ] || bad "the array is not what it was ($action): $(cat failed)"
	until_true gone "$pid" || bad "something is left of it"
done
good "programs that write all the time are dumped live and restored from the last image"
