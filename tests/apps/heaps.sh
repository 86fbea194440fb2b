#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Python with numpy arrays and java with a large heap, at work, dumped --live several times in a row: the last image is
# restored, and every number in it looked at.
. "$(dirname "$0")/lib.bash"
. "$T/heaps.bash"
: "${LIVE_ROUNDS:=2}"
# through NAME COMMAND...: when it writes numbers that it has computed, until it ends.
through() {
	local name=$1
	shift
	rm -f n stop ended
	start "$@"
	until_true greater n 3 || bad "$name does not start"
	if [ -z "${CKPT_CASE_DRY-}" ]; then
		live "$name"
		live "$name" --max-freeze-action copy
		until_true greater n $(($(number n) + 3)) || bad "$name does not go on after the dumps"
		kill -KILL "$pid"
		until_true gone "$pid" || bad "something is left of it"
		restore || bad "the last image of $name cannot be restored"
	fi
	rm -f n
	until_true greater n 3 || bad "$name does not go on"
	touch stop
	until_true test -s ended || bad "$name does not come to its end"
	[ ! -e failed ] || bad "$name: $(head -n 3 failed)"
	until_true gone "$pid" || bad "something is left of it"
	rm -rf img*
	told="$told${told:+, }$name"
}
told=
numpy_script && through numpy $python "$T/np.py"
java_class && through java "${java_line[@]}"
[ -n "$told" ] || skip "there is neither numpy nor java"
good "$told: dumped live at work, $((2 * LIVE_ROUNDS)) times each, and restored from the last image"
