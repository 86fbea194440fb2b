#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ckpt-run: what it starts and what it refuses, what it gives to the program, and as a supervisor: checkpoints in
# between, signals, exit status, going on from the newest whole checkpoint.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
RUN=${CKPT%/*}/ckpt-run
[ -x "$RUN" ] && [ -e "${CKPT%/*}/libckpt-inproc.so" ] || skip 'there is no ckpt-run here'

# run NAME STATUS REGEX ARGS...: as expect, of ckpt-run.
run() { CKPT=$RUN expect "$@"; }

# Counts to END in steps of 50 ms, one number a line on stdout, and ends with STATUS.
mkfifo never
cat >count.sh <<'PROG'
exec 9<>"$1/never"
for ((i = 1; i <= $2; i++)); do
	echo $i
	read -r -t 0.05 _ <&9
done
exit "${3-0}"
PROG
count() { echo bash "$T/count.sh" "$T" "$@"; }
# The numbers are 1, 2, 3, ... without a gap or a repetition.
whole() { awk '$1 != NR { exit 1 }' "$1"; }
has_lines() { [ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]; }
n_checkpoints() { find "$1" -name image 2>/dev/null | wc -l; }
newest() { find "$1" -name image | sort | tail -n 1 | sed 's,/image$,,'; }
settled() { [ -z "$(find "$1" -name '.*.tmp')" ]; }
has_checkpoints() { [ "$(n_checkpoints "$1")" -ge "$2" ]; }

# ---- usage ----
run 'no program' 2 '^ckpt-run: program: its name is missing \(see `ckpt-run --help`\)$'
run 'unknown option' 2 '^ckpt-run: --frob: there is no such option' --frob true
run 'unknown letter' 2 '^ckpt-run: -q: there is no such option' -q true
run 'value missing' 2 '^ckpt-run: --interval: the value is missing' --interval
run 'value for a flag' 2 '^ckpt-run: --resume=1: this option takes no value' --resume=1 true
run 'interval is no number' 2 '"often" is not a number of seconds' -D d --interval often true
run 'interval is negative' 2 '"-1" is not a number of seconds' -D d --interval -1 true
run 'interval is zero' 2 'at least 0.01 seconds' -D d --interval 0 true
run 'interval without a folder' 2 '^ckpt-run: --interval: it needs a folder: -D DIR' --interval 1 true
run 'resume without a folder' 2 '^ckpt-run: --resume: it needs a folder' --resume true
run 'last one without a folder' 2 'it needs a folder' --checkpoint-on TERM true
run 'keep nothing' 2 '"0" is not a number from 1' --keep 0 true
run 'no such signal' 2 '"FROB" is not a signal ' -D d --checkpoint-on FROB true
run 'signal that cannot be caught' 2 'this signal cannot be waited for' -D d --checkpoint-on KILL true
run 'reserved: not one of all' 2 'is not a signal that can be reserved' --signal TERM true
run 'reserved: glibc has it' 2 'is not a signal that can be reserved' --signal 32 true
run 'the same signal twice' 2 'asks the program itself' -D d --signal USR1 --checkpoint-on SIGUSR1 true
check 'nothing was made' test ! -e d
# Every option of the help is in the manual page, and the other way round.
options_of() { tr -d '\\' <"$1" | grep -oE -- '--[a-z][a-z-]+' | sort -u; }
# shellcheck disable=SC2154  # of cli.sh
ckpt_page=$here/man/ckpt-run.1
run 'help' 0 '' --help
check 'help and manual page have the same options' \
	test "$(options_of out)" = "$(options_of "$ckpt_page" | grep -vxE -- '--(open-mode|requeue|time)')"
check 'help is complete' grep -q '^Exit status: ' "$T/out"
run 'version' 0 '' --version
check 'version text' grep -Eq '^ckpt-run [0-9]+\.[0-9]+$' "$T/out"

# ---- what cannot be run ----
run 'not found' 127 '^ckpt-run: frobnicate: not found in PATH$' frobnicate
run 'path not found' 127 '^ckpt-run: ./frob: cannot execute: No such file' ./frob
echo text >text
run 'not executable' 126 '^ckpt-run: ./text: cannot execute: Permission denied$' ./text
run 'a folder' 126 '^ckpt-run: .*: cannot execute: Is a directory$' "$T"
refused='run it without ckpt-run and use ckpt dump -t PID$'
if echo 'int main(void) { return 0; }' >static.c && ${CC:-cc} -static -o static static.c 2>/dev/null; then
	run 'static' 3 "^ckpt-run: CKPT-E0115: ./static: it is linked statically; $refused" ./static
	printf '#!%s/static\n' "$T" >script; chmod +x script
	run 'a script for a static one' 3 "^ckpt-run: CKPT-E0115: script ./script: $T/static: it is linked statically" ./script
	printf '#!/usr/bin/env static\n' >script
	PATH=$T:$PATH run 'a script, found by env' 3 '^ckpt-run: CKPT-E0115: script ./script: .*static: it is linked st' ./script
fi
cp "$(type -P true)" mine
chmod 4755 mine
if is_root; then
	chown 65534 mine; chmod 4755 mine
	run 'setuid' 3 "^ckpt-run: CKPT-E0115: ./mine: it is a setuid program; $refused" ./mine
	chown 0:65534 mine; chmod 2755 mine
	run 'setgid' 3 '^ckpt-run: CKPT-E0115: ./mine: it is a setgid program' ./mine
else
	run 'setuid, but of this user' 0 '' ./mine
fi
printf '\177ELF\001\001\001' >elf32; head -c 100 /dev/zero >>elf32; chmod +x elf32
run 'another sort of ELF' 3 '^ckpt-run: CKPT-E0115: ./elf32: it is no 64-bit program for x86-64' ./elf32

# ---- what the program gets ----
run 'the status' 7 '' sh -c 'exit 7'
run 'environment' 0 '' sh -c 'env; echo pid $$'
check 'the signal' grep -qx 'CKPT_SIGNAL=64' out
check 'the library' grep -Eq '^LD_PRELOAD=/.*/libckpt-inproc.so' out
check 'the engine' grep -Eq '^CKPT_ENGINE=/.*/ckpt-signal$' out
check 'no folder' test -z "$(grep ^CKPT_DIR= out)"
check 'nobody in between' test "$(sed -n 's/^CKPT_ROOT=//p' out)" = "$(sed -n 's/^pid //p' out)"
run 'what it costs' 0 '' cat /proc/self/status /proc/self/smaps
check 'no thread' grep -qE '^Threads:[[:blank:]]*1$' out
# Where threads share it the kernel takes 10 ms to make it larger: the first checkpoint would wait for that.
[ "$(ulimit -n)" -gt 900 ] && check 'room for a descriptor' test "$(sed -n 's/^FDSize:[[:blank:]]*//p' out)" -gt 900
# Its areas, and what lies unnamed behind its data.
resident=$(awk '/^[0-9a-f]+-/ { ours = $6 ~ /ckpt/ || ($6 == "" && ours) } ours && /^Rss/ { n += $2 } END { print n }' out)
check "at most 300 KiB: $resident" test "$resident" -le 300 -a "$resident" -gt 0
ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 LD_PRELOAD=libc.so.6 \
	run 'what was preloaded stays' 0 '' -D some/folder --signal RTMIN+3 --keep 5 env
check 'behind ours' grep -Eq '^LD_PRELOAD=/.*/libckpt-inproc.so:libc.so.6$' out
check 'the folder is absolute' grep -qx "CKPT_DIR=$T/some/folder" out
check 'and there, for its owner only' test "$(stat -c %a some/folder)" = 700
check 'another signal' grep -qx 'CKPT_SIGNAL=37' out
check 'how many are kept' grep -qx 'CKPT_KEEP=5' out
echo 'echo plain' >plain; chmod +x plain
run 'no first line: a shell runs it' 0 '' ./plain
check 'it ran' grep -qx plain out
CKPT_LIBRARY=$T/none run 'no library' 1 "^ckpt-run: $T/none: cannot be read; set CKPT_LIBRARY to its path\$" true
mkdir 'b lank'; cp "${CKPT%/*}/libckpt-inproc.so" 'b lank'
CKPT_LIBRARY="$T/b lank/libckpt-inproc.so" run 'a blank in its path' 1 'cannot be preloaded: a blank' true
: >file
run 'the folder is a file' 1 '^ckpt-run: CKPT-E0305: .*/file: cannot use as a folder for checkpoints' -D file true

# ---- the supervisor ----
# supervise ARGS...: in a session of its own, in the background, with standard files of its own; its pid in $PID.
supervise() {
	setsid "$RUN" "$@" </dev/null >>counted 2>/dev/null &
	PID=$!
	STARTED+=("$PID")
}
ends() { wait "$PID" 2>/dev/null; status=$?; }
run 'the status, by a supervisor' 7 '' -D s --interval 60 sh -c 'exit 7'
run 'not found, by a supervisor' 127 'not found in PATH' -D s --interval 60 frobnicate
run 'a signal' 137 '' -D s --interval 60 sh -c 'kill -KILL $$'
rm -r s

rm -f counted
# shellcheck disable=SC2046  # words
supervise -D job --interval 0.2 $(count 1000000)
check 'checkpoints are taken' until_true 20 has_checkpoints job 2
check 'and more' until_true 20 test -e job/ckpt.000005
check 'of which two stay' until_true 5 test "$(n_checkpoints job)" -le 3
expect 'a checkpoint is an image' 0 '' verify -D "$(newest job)"
run 'another one there' 1 '^ckpt-run: CKPT-E0309: .*/job: another ckpt-run works there; wait until' -D job true
CHILD=$(cat "/proc/$PID/task/$PID/children"); CHILD=${CHILD%% *}
kill -KILL "$PID"; wait "$PID" 2>/dev/null
check 'the program survives its supervisor' unharmed "$CHILD"
# The checkpoint that was being taken, if any, goes on, and holds the lock.
run 'it still runs' 1 "^ckpt-run: CKPT-E0309: .*/job: (its program still runs as process $CHILD|another ckpt-run works there); " \
	-D job --resume true
kill -KILL "$CHILD"; until_true 5 gone "$CHILD"
until_true 15 settled job
check 'its numbers so far' whole counted

# The newest is damaged: named, and the one before is used. What was written since is cut off.
newest=$(newest job)
printf X | dd of="$newest/pages" bs=1 seek=5000 conv=notrunc 2>/dev/null
before=$(wc -l <counted)
setsid "$RUN" -D job --resume bash "$T/count.sh" "$T" 3 </dev/null >>counted 2>notes &
PID=$!
STARTED+=("$PID")
check 'it goes on' until_true 20 has_lines counted $((before + 2))
check 'a damaged one is named' grep -q "^note: $T/$newest is not used: CKPT-E0302: " notes
check 'what was cut off is named' grep -q "^note: file $T/counted: cut back from " notes
check 'and kept' test -n "$(find job -name 'cut.*')"
check 'where it was' whole counted
kill -USR1 "$PID"
ends
check 'a signal is passed on, and ends it' test "$status" = 138
check 'its checkpoints stay' has_checkpoints job 1
check 'and that is said' grep -Eq '^ckpt-run: the program was ended by SIGUSR1; [0-9]+ checkpoints? of it stays? in ' notes

# One whole job: stopped twice by the batch system, ends by itself the third time.
rm -rf job counted
for i in 1 2; do
	setsid "$RUN" -D job --resume --checkpoint-on TERM --checkpoint-on USR1 bash "$T/count.sh" "$T" 30 \
		</dev/null >>counted 2>>"notes$i" &
	PID=$!
	STARTED+=("$PID")
	until_true 20 has_lines counted $((i * 8))
	# To all of the group, as batch systems do.
	[ "$i" = 1 ] && kill -TERM -- "-$PID" || kill -USR1 "$PID"
	ends
	check "job $i: start me again" test "$status" = 85
	check "job $i: it is said where" grep -q "^ckpt-run: checkpointed in $T/job/ckpt.00000$i; start it again" "notes$i"
done
LIMIT=30 run 'job 3: it ends by itself' 0 'restored: 1 process, 1 thread' -D job --resume bash "$T/count.sh" "$T" 30
check 'all has been counted once' test "$(wc -l <counted)" = 30
check 'in order' whole counted
check 'nothing of it is left' test "$(n_checkpoints job)" = 0
run 'job 4 starts afresh' 0 '' -D job --resume bash "$T/count.sh" "$T" 3
check 'from the start' test "$(head -n 1 out)" = 1

# What cannot be: told, and the program gets the signal, or goes on.
cat >refuse.sh <<'PROG'
exec 8</dev/kmsg
trap 'echo got it; exit 9' TERM
exec 9<>"$1/never"
echo ready
while :; do read -r -t 1 _ <&9; done
PROG
if is_root && [ -r /dev/kmsg ]; then
	rm -rf job
	setsid "$RUN" -D job --interval 0.2 --checkpoint-on TERM bash "$T/refuse.sh" "$T" </dev/null >refused 2>why &
	PID=$!
	STARTED+=("$PID")
	until_true 10 grep -q 'no checkpoint: CKPT-E0201' why && until_true 10 grep -qx ready refused
	sleep 1
	check 'the same reason is said once' test "$(grep -c 'no checkpoint: CKPT-E0201' why)" = 1
	kill -TERM "$PID"
	ends
	check 'no last checkpoint: the program gets the signal' grep -qx 'got it' refused
	check 'and its status is passed on' test "$status" = 9
	check 'which is said' grep -qx 'ckpt-run: the program gets SIGTERM instead' why
	check 'and nothing is left' test "$(find job -name 'ckpt.*' | wc -l)" = 0
fi
finish
