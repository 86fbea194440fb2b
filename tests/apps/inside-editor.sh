#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Editors on terminals: one below script(1), where keys that are typed meanwhile come through, each once; and one whose
# terminal is somebody else's.
. "$(dirname "$0")/inside.bash"
. "$T/terminal.bash"
rounds=${INSIDE_ROUNDS:-5}
need nano
need script
need vim.tiny
: >typed
: >shown
start sh -c 'tail -c +1 -f typed | TERM=xterm script -q -e -f -c "nano -I note" /dev/null >shown'
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

[ -z "${CKPT_CASE_DRY-}" ] || good "an editor that is typed into"
on_terminal env TERM=xterm "$T/ckpt-run" vim.tiny -u NONE -i NONE --noplugin text
until_true shows '~' || bad "vim does not start"
type_in ':set nocompatible\rione\033'
until_true shows one || bad "vim does not show what is typed"
many
old=$pid
ask --kill || bad "the checkpoint that ends vim fails"
until_true gone "$old" || bad "vim is still there after the checkpoint"
restore -j || bad "the restore of vim fails"
type_in 'otwo\033:w\r'
until_true grep -qs two text || bad "vim does not go on"
type_in 'u:w\r'
until_true eval '[ "$(cat text)" = one ]' || bad "what was done before cannot be undone: $(cat text)"
type_in ':q!\r'
until_true gone "$pid" || bad "vim does not end"
touch stop
good "editors that are typed into: $((3 * rounds)) checkpoints, three restores"
