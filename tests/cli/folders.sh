#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Folders that a dump cannot use, what it leaves of those that it made, and where log and pidfile go.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
start sleep 1000

expect 'a folder is made' 0 '' dump -t "$PID" -D img -R
check 'for its owner only' test "$(stat -c %a img)" = 700
check 'its files too' test "$(stat -c %a img/image)" = 600
check 'a summary' grep -Eq '^dumped 1 process, 1 thread, .* frozen for ' "$T/out"
check 'the process goes on' unharmed "$PID"
sum=$(cat img/* | sha256sum)
expect 'a folder that holds an image' 1 '^ckpt: CKPT-E0304: img.*; choose another folder with -D, or remove that image$' \
	dump -t "$PID" -D img -R
check 'that image is as it was' test "$(cat img/* | sha256sum)" = "$sum"
check 'nothing else is in there' test "$(find img -type f | wc -l)" -le 2
check 'the process goes on' unharmed "$PID"

expect 'its parent is missing' 1 '^ckpt: CKPT-E0305: no/img: .*No such file' dump -t "$PID" -D no/img
: >file
expect 'it is a file' 1 '^ckpt: CKPT-E0305: file: .*Not a directory' dump -t "$PID" -D file
check 'the file is as it was' test ! -s file
ln -s nowhere link
expect 'it is a dangling link' 1 '^ckpt: CKPT-E0305: link: ' dump -t "$PID" -D link
expect 'a log that cannot be written' 1 '^ckpt: .*/no/log: cannot write the log: No such file' \
	dump -t "$PID" -D img2 -o "$T/no/log"
check 'the folder that was made is gone' test ! -e img2
expect 'no such work folder' 1 '^ckpt: CKPT-E0313: no/d.log: cannot write the log: No such file' dump -t "$PID" -D img2 -W no -o d.log
check 'the folder that was made is gone' test ! -e img2
expect 'refused before anything' 3 '^ckpt: CKPT-E0502: --tls' dump -t "$PID" -D img2 --tls
check 'no folder was made' test ! -e img2
check 'the process goes on' unharmed "$PID"

expect 'a log, and nothing on stderr' 0 '' dump -t "$PID" -D img3 -R -o d.log -v4
check 'the log is in the folder' test -s img3/d.log
check 'for its owner only' test "$(stat -c %a img3/d.log)" = 600
check 'it does not cry wolf' test -z "$(grep -i error img3/d.log)"
mkdir work
expect 'a log in the work folder' 0 '' dump -t "$PID" -D img4 -R -W work -o d.log
check 'it is there' test -e work/d.log
ckpt dump -t "$PID" -D img5 -R -vvv
check 'without -o the log goes to stderr' test -s "$T/err"
expect 'quiet' 0 '' dump -t "$PID" -D img6 -R -v0
check 'no summary' test ! -s "$T/out"
expect 'numbers' 0 '' dump -t "$PID" -D img7 -R --display-stats
check 'frozen time' grep -Eq '^dump frozen time: [0-9]+ us$' "$T/out"

if is_root && command -v setpriv >/dev/null && as_nobody "$CKPT" --version >/dev/null 2>&1; then
	chmod 755 "$T"
	mkdir -m 755 closed
	bash -c 'setpriv --reuid 65534 --regid 65534 --clear-groups setsid sleep 1000 </dev/null >/dev/null 2>&1 &
		echo $! >theirs.new; mv theirs.new theirs; wait' 2>/dev/null &
	until_true 5 test -s theirs
	theirs=$(cat theirs)
	STARTED+=("$theirs")
	until_true 5 asleep "$theirs" sleep
	for d in closed closed/img; do
		as_nobody "$CKPT" dump -t "$theirs" -D $d >"$T/out" 2>"$T/err"
		check "not writable, $d: status" test $? = 1
		check "not writable, $d: sentence" \
			grep -Eq "^ckpt: CKPT-E0305: $d.*: Permission denied; choose a folder that you may write to\$" "$T/err"
		check "not writable, $d: one line" test "$(wc -l <"$T/err")" = 1
	done
	check 'nothing is in there' test -z "$(ls -A closed)"
	check 'the process goes on' unharmed "$theirs"
fi

# Killed, it leaves a worker that takes back what it has done. The next dump may have opened the folder by then.
# Sets $worker: it stands where it has begun to write the image.
stand() {
	rm -rf left
	"$CKPT" dump -t "$PID" -D left -R >"$T/out" 2>"$T/err" &
	killed=$!
	for ((tries = 0; tries < 5000; tries++)); do
		compgen -G 'left/.image*' >/dev/null && break
	done
	worker=$(tr -d " " <"/proc/$killed/task/$killed/children") # there is one
	kill -STOP "$worker" && [ ! -e left/image ]
} 2>/dev/null
mine=$PID
# shellcheck disable=SC2016  # perl's
start perl -e '$x = "x" x (64 << 20); sleep 1000'
for ((i = 0; i < 50; i++)); do
	stand && break
	kill -CONT "$worker" 2>/dev/null
	wait "$killed"
done
check 'a dump stands' test $i -lt 50
exec 7<left
kill -KILL "$killed"; wait "$killed" 2>/dev/null
kill -CONT "$worker"
check 'killed, its worker ends' until_true 10 gone "$worker"
check 'with all that it wrote' test -d left -a -z "$(ls -A left)"
expect 'the folder is still the one that was opened' 0 '' dump -t "$PID" -D /dev/fd/7/ -R
check 'the image is there' test -s left/image
check 'the process goes on' unharmed "$PID"
PID=$mine

# One that fails takes a folder away that it made, but not from another one that has opened it meanwhile.
both() {
	local fails
	rm -rf shared
	"$CKPT" dump -t 4194305 -D shared >/dev/null 2>&1 & # no such process, anywhere
	fails=$!
	"$CKPT" dump -t "$PID" -D shared -R >"$T/out" 2>"$T/err"
	local status=$?
	wait "$fails"
	[ "$status" = 0 ] && [ -s shared/image ]
}
for ((i = 0; i < 200; i++)); do both || break; done
check "a new folder for two, one of which fails, 200 times: $(cat "$T/err")" test "$i" = 200
check 'the process goes on' unharmed "$PID"

expect 'a dump ends the process' 0 '' dump -t "$PID" -D img8
check 'it is gone' until_true 5 gone "$PID"
finish
