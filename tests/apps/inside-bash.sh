#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A shell script: pipelines, subshells, a coprocess, traps, background jobs and a time limit on read.
. "$(dirname "$0")/inside.bash"

cat >"$T/job.sh" <<'SH'
failed() { echo "$*" >>failed; }
trap 'failed "a signal comes"' USR1
coproc DOUBLE { while read -r x; do echo $((2 * x)); done; }
n=0
while [ ! -e stop ]; do
	n=$((n + 1))
	[ "$(seq 100 | sort -rn | head -n 1)" = 100 ] || failed "a pipeline"
	[ "$( (exit 5); echo $?)" = 5 ] || failed "a subshell"
	echo $n >&"${DOUBLE[1]}"
	read -r x <&"${DOUBLE[0]}"
	[ "$x" = $((2 * n)) ] || failed "the coprocess says $x for $n"
	sleep 0.03 & a=$!
	(exit 9) & b=$!
	wait $a || failed "sleep ends with $?"
	wait $b
	[ $? = 9 ] || failed "a job's status is lost"
	before=$EPOCHREALTIME
	if read -r -t 0.1 x <&"${DOUBLE[0]}"; then failed "read finds $x"; fi
	after=$EPOCHREALTIME
	[ $((${after/./} - ${before/./})) -ge 99000 ] || failed "read -t 0.1 ends early"
	[ "$(cat <<<"here $n")" = "here $n" ] || failed "a here string"
	echo $n >n.new && mv n.new n
done
echo done >ended
SH
start bash "$T/job.sh"
through "the script"
many
comes_to_end "the script"
good "a shell script: $((2 * rounds)) checkpoints, two restores"
