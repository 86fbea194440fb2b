#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Editors on a terminal: one whose other end is outside of the tree, and one below script(1), all in the tree.
. "$(dirname "$0")/lib.bash"
. "$T/terminal.bash"
need vim.tiny
need nano
need script

on_terminal env TERM=xterm vim.tiny -u NONE -i NONE --noplugin text
until_true shows '~' || bad "the editor does not start"
type_in ':set nocompatible\rione\033'
type_in 'otwo\033'
until_true shows two || bad "the editor does not show what is typed"
for round in 1 2; do
	dump -j || bad "the dump fails"
	until_true gone "$pid" || bad "the editor is still there after the dump"
	restore -j || bad "the restore fails"
	type_in "oround $round\033:w\r"
	until_true grep -qs "round $round" text || bad "the editor does not go on after restore $round"
done
# It knows what was done before, and finds the terminal as it left it.
type_in 'uuu:w\r'
until_true eval '[ "$(cat text)" = one ]' || bad "what was done before cannot be undone: $(cat text)"
type_in ':q\r'
until_true gone "$pid" || bad "the editor does not end"
touch stop

: >typed
: >shown.nano
start sh -c 'tail -c +1 -f typed | TERM=xterm script -q -e -f -c "nano -I note" /dev/null >shown.nano'
seen() { grep -aq "$1" shown.nano; }
until_true seen 'note' || bad "nano does not start"
printf 'first line\r' >>typed
until_true seen 'first line' || bad "nano does not show what is typed"
for round in 1 2 3; do
	if [ $round = 2 ]; then take_same; else take; fi
	printf 'after %d\r' $round >>typed
	until_true seen "after $round" || bad "nano does not go on after restore $round"
done
printf '\017\r' >>typed
until_true test -s note || bad "nano does not write"
[ "$(cat note)" = 'first line
after 1
after 2
after 3' ] || bad "nano has written something else: $(cat note)"
printf '\030' >>typed
until_true eval '! pgrep -s "$pid" nano >/dev/null' || bad "nano does not end"
good "editors keep text, history and terminal"
