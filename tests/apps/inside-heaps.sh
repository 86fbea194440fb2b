#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Python with numpy arrays and java with a large heap, at work, asked for checkpoints several times in a row, restored
# twice, and every number looked at.
. "$(dirname "$0")/inside.bash"
. "$T/heaps.bash"
rounds=${LIVE_ROUNDS:-2}
told=
if numpy_script; then
	start $python "$T/np.py"
	through numpy 3
	comes_to_end numpy
	until_true gone "$pid" || bad "something is left of it"
	rm -rf n stop ended img*
	told=numpy
fi
if java_class; then
	start "${java_line[@]}"
	through java 3
	comes_to_end java
	told="$told${told:+, }java"
fi
[ -n "$told" ] || skip "there is neither numpy nor java"
good "$told: $rounds checkpoints at work and two restores each"
