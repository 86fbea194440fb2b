#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The well-known first example, to the letter: a shell script that prints a number each second, as a job of a shell.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
cat >loop.sh <<'LOOP'
#!/bin/sh
i=0
while :; do
	sleep 1
	i=$((i + 1))
	echo $i
done
LOOP
chmod +x loop.sh
bash -c './loop.sh </dev/null >numbers 2>&1 & echo $! >pid.new; mv pid.new pid; wait' 2>/dev/null &
until_true 5 test -s pid
PID=$(cat pid)
STARTED+=("$PID")
until_true 10 test -s numbers
has_lines() { [ "$(wc -l <numbers)" -ge "$1" ]; }
# The numbers are 1, 2, 3, ... without a gap or a repetition.
whole() { awk '$1 != NR { exit 1 }' numbers; }

expect 'dump' 0 '' dump -t "$PID" -D img/ -o dump.log -v4 --tcp-established -j
check 'it is gone' until_true 5 test ! -e "/proc/$PID"
check 'the log is there' test -s img/dump.log
before=$(wc -l <numbers)
sleep 1.5
check 'nobody prints meanwhile' test "$(wc -l <numbers)" = "$before"

expect 'restore' 0 '' restore -D img/ -o restore.log -d --tcp-close -j -v4
check 'the log is there' test -s img/restore.log
# In a namespace of its own it has another number out here.
[ -z "$BOXED" ] || PID=$(sed -n 's/.*pid \([0-9]*\) outside$/\1/p' "$T/out")
check 'it is there under its old number' unharmed "$PID"
check 'it goes on' until_true 10 has_lines $((before + 3))
check 'where it was' whole

end() { for p in $(cat "/proc/$PID/task/$PID/children" 2>/dev/null) "$PID"; do kill -KILL "$p" 2>/dev/null; done; }
# From out here another namespace cannot be dumped.
[ -z "$BOXED" ] || { end; finish; }
# Once more, of the restored one: its parent is another now.
expect 'dump of the restored one' 0 '' dump -t "$PID" -D img2/ -o dump.log -v4 --tcp-established -j
check 'it is gone' until_true 5 gone "$PID"
until_true 5 test ! -e "/proc/$PID"
before=$(wc -l <numbers)
expect 'restore of the restored one' 0 '' restore -D img2/ -o restore.log -d --tcp-close -j -v4
check 'it goes on' until_true 10 has_lines $((before + 3))
check 'where it was' whole
end
finish
