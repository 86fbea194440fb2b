#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An editor on a terminal below script(1): keys that are typed meanwhile come through, each once.
. "$(dirname "$0")/inside.bash"
rounds=${INSIDE_ROUNDS:-8}
need nano
need script
: >typed
: >shown
start sh -c 'tail -c +1 -f typed | TERM=xterm script -q -e -f -c "nano -I note" /dev/null >shown'
shows() { grep -aq "$1" shown; }
until_true shows 'note' || bad "nano does not start"
line=0
press() { # a line more
	line=$((line + 1))
	printf 'line %d\r' $line >>typed
	echo "line $line" >>want
	until_true shows "line $line"
}
press || bad "nano does not show what is typed"
for round in 1 2; do
	load press
	many
	load_off
	line=$(wc -l <want) # of the other shell
	take
	press || bad "nano does not go on after restore $round"
done
printf '\017\r' >>typed
until_true test -s note || bad "nano does not write"
until_true eval '[ "$(cat note)" = "$(cat want)" ]' || bad "nano has written something else: $(diff note want | head -n 5)"
printf '\030' >>typed
until_true eval '! pgrep -s "$pid" nano >/dev/null' || bad "nano does not end"
good "an editor that is typed into: $((2 * rounds)) checkpoints, two restores"
