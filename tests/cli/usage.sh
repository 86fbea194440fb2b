#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is wrong on the command line ends with status 2, one sentence, and nothing done. Help and version come from one table.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

expect 'no command' 2 '^ckpt: command: one is missing'
expect 'unknown command' 2 '^ckpt: frobnicate: there is no such command' frobnicate
expect 'two commands' 2 '^ckpt: restore: there is another command already' dump restore
expect 'stray word' 2 '^ckpt: 4711: an option begins with -' dump 4711
expect 'unknown option' 2 '^ckpt: --frobnicate: there is no such option' dump --frobnicate
expect 'unknown letter' 2 '^ckpt: -Q: there is no such option' dump -Q
expect 'value missing at the end' 2 '^ckpt: -t: the value is missing' dump -t
expect 'long value missing' 2 '^ckpt: --images-dir: the value is missing' dump --images-dir
expect 'value for a flag' 2 '^ckpt: --leave-running=1: this option takes no value' dump --leave-running=1
expect 'no tree' 2 '^ckpt: dump: --tree PID \(-t\) is missing' dump -D img
expect 'tree is no number' 2 '^ckpt: -t: "sleep" is not a process number' dump -t sleep
expect 'tree is zero' 2 '^ckpt: --tree=0: "0" is not a process number' dump --tree=0
expect 'tree is negative' 2 '^ckpt: -t: "-5" is not a process number' dump -t -5
expect 'tree overflows' 2 '^ckpt: -t: "99999999999999999999" is not' dump -t 99999999999999999999
expect 'timeout is no number' 2 '^ckpt: --timeout: "soon" is not a number' dump -t 1 --timeout soon
expect 'verbosity is no level' 2 'is not a level from 0 to 4' dump -t 1 --verbosity=loud
expect 'ambiguous abbreviation' 2 '^ckpt: --leave: more than one option begins like this' dump --leave
expect 'empty value' 2 'is not a value that is not empty' dump -t 1 -D ''
expect 'running and stopped' 2 'choose between --leave-running and --leave-stopped' dump -t 1 -R -s
expect 'sibling without detached' 2 'needs --restore-detached' restore -S
expect 'option of another command' 2 '^ckpt: --tree: ckpt show has no such option' show -t 1
expect 'our own option with dump' 2 '^ckpt: --json: ckpt dump has no such option' dump -t 1 --json
expect 'bad ghost limit' 2 '"12x" is not a size' dump -t 1 --ghost-limit 12x
expect 'bad choice' 2 'is not one of iptables\|nftables\|skip' dump -t 1 --network-lock firewall
check 'nothing was made' test -z "$(find . -mindepth 1 ! -name out ! -name err)"

expect 'version' 0 '' --version
check 'version text' grep -Eq '^ckpt [0-9]+\.[0-9]+$' "$T/out"
expect 'version of a command' 0 '' dump -V
expect 'help' 0 '' --help
for c in dump restore check plan show verify core mem x diff report; do
	check "help names $c" grep -q "^  ckpt $c " "$T/out"
done
expect 'help of a command' 0 '' help restore
cp "$T/out" "$T/help"
expect 'help of a command as an option' 0 '' restore --help
check 'both are the same' cmp -s "$T/out" "$T/help"
expect 'help before the rest is judged' 0 '' dump -h

ln -s "$CKPT" criu
"$T/criu" dump >"$T/out" 2>"$T/err" </dev/null
check 'called as criu: status' test $? = 2
check 'called as criu: same words' grep -q '^ckpt: dump: --tree PID' "$T/err"

"$CKPT" check --feature kcmp <&- 2>"$T/err" >/dev/full
check 'full stdout, closed stdin: no crash' test $? -lt 4
finish
