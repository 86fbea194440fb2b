#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory and what descriptors held, out of an image, against what the living process said.
. "$(dirname "$0")/../lib/cli.sh"
threads=$PWD/tests/look/threads
[ -x "$threads" ] || skip "$threads is not built"
cd "$T" || exit 1
cp "$threads" threads

start env -i SOME=thing "ODD=$(printf 'a\033[31mb')" ./threads 2
until_true 10 test -e ready
sleep 0.2
pid=$PID
tr '\0' '\n' <"/proc/$pid/environ" >environ
heap=$(awk '/\[heap\]/ { split($1, a, "-"); print a[1]; exit }' "/proc/$pid/maps")
text=$(awk '/r-xp.*threads$/ { split($1, a, "-"); print a[1]; exit }' "/proc/$pid/maps")
for at in "$heap" "$text"; do
	dd if="/proc/$pid/mem" of="live.$at" bs=4096 skip=$((0x$at / 4096)) count=1 status=none
done
ckpt dump -t "$pid" -D img

expect 'arguments' 0 '' mem -D img --args
printf './threads\n2\n' >want
check 'arguments: they are' cmp "$T/out" want
expect 'environment' 0 '' mem -D img --env -p "$pid"
check 'environment: it is' grep -qx 'SOME=thing' "$T/out"
check 'environment: escaped' grep -qx 'ODD=a\\x1b\[31mb' "$T/out"
expect 'text' 0 '' mem -D img --search 'the secret of this'
check 'text: where' grep -Eq "^$pid 0x[0-9a-f]+ .*/threads: the secret of this program" "$T/out"
at=$(awk '/threads: the secret/ { print $2; exit }' "$T/out")
expect 'bytes' 0 '' mem -D img --hex '74 68 65 20 73656372657420 6f'
check 'bytes: at the same place' grep -q " $at " "$T/out"
expect 'expression' 0 '' mem -D img --regex 's.cret (of|in) \w+ prog'
check 'expression: four later' grep -q "$(printf ' %#x ' $((at + 4)))" "$T/out"
expect 'nothing' 1 '' mem -D img --search 'nobody has ever written this' --area '[heap]'
expect 'in no such area' 1 '' mem -D img --search 'the secret of this' --area '[heap]'
expect 'a range' 0 '' mem -D img -p "$pid" "$at" 32
check 'a range: printed' grep -q '|the secret of th|' "$T/out"
for a in "$heap" "$text"; do
	expect "page at $a" 0 '' mem -D img -p "$pid" "0x$a" 4K -o "page.$a"
	check "page at $a: as it was" cmp "page.$a" "live.$a"
done
expect 'an area' 0 '' mem -D img -p "$pid" --area '[heap]' -o heap
check 'an area: begins with its page' cmp -n 4096 heap "live.$heap"

expect 'nowhere' 1 '^ckpt: CKPT-E0311: cannot read memory at 0x10: nothing is mapped there; ' mem -D img 16 4
expect 'the vDSO data' 1 '^ckpt: CKPT-E0311: cannot read memory at .*: the kernel keeps its data there' \
	mem -D img --area '[vvar]'
expect 'an area of another name' 1 '^ckpt: CKPT-E0310: img: process [0-9]* has no area nothing' mem -D img --area nothing
expect 'no numbers' 2 '^ckpt: CKPT-E0315: mem: ADDR LEN: they are no numbers' mem -D img here there
expect 'too far' 2 '^ckpt: CKPT-E0315: mem: ADDR LEN: they are outside' mem -D img 0xffffffffffffffff 16
expect 'too much' 2 '^ckpt: CKPT-E0315: mem: LEN: too much to print' mem -D img 0x1000 1000G
expect 'nothing asked for' 2 '^ckpt: CKPT-E0315: mem: what' mem -D img
expect 'two at a time' 2 'one of them at a time' mem -D img --hex 00 --search x
for words in '--search x 0x1000 16' '--env 0x1000 16' '--env --search x' '--args --env' '--area [heap] --env' '--area [heap] 0x1000 16'; do
	# shellcheck disable=SC2086  # words
	expect "two at a time: $words" 2 '^ckpt: CKPT-E0315: mem: .*one of them at a time' mem -D img $words
done
expect 'a file for what is found' 2 '^ckpt: CKPT-E0315: mem: -o FILE: only for' mem -D img --search x -o found
check 'a file for what is found: none' test ! -e found
expect 'odd digits' 2 '^ckpt: CKPT-E0315: --hex: "abc" are no pairs' mem -D img --hex abc
expect 'a bad expression' 2 '^ckpt: CKPT-E0315: --regex: .*, at character ' mem -D img --regex '(x'
LIMIT=20 ckpt mem -D img --regex '(a+a+a+)+[^a]{40}$' --area '[heap]'
check 'an expression that takes for ever' test "$status" -le 2
expect 'of nobody' 1 '^ckpt: CKPT-E0310: img: process 1 is not' mem -D img -p 1 --env
expect 'no word too many' 2 'there is a command already' mem -D img 1 2 3
mv threads away
expect 'the file is missing' 1 '^ckpt: CKPT-E0311: .*/threads: No such file' mem -D img "0x$text" 16
mv away threads

fd() { ckpt show -D img -p "$pid"; awk -v what="$1" '$1 == "fd" && $0 ~ what { print $2; exit }' "$T/out"; }
file=$(fd deleted=yes) pipe=$(fd 'pipe .*data')
expect 'a deleted file' 0 '' x img "fd:$pid:$file"
printf 'once upon a time' | cmp - "$T/out" && pass 'a deleted file: its content' || fail 'a deleted file: its content'
expect 'a pipe' 0 '' x img "fd:$pid:$pipe"
printf 'in the pipe' | cmp - "$T/out" && pass 'a pipe: its content' || fail 'a pipe: its content'
expect 'its other end' 0 '' x img "fd:$pid:$((pipe + 1))" -o other
printf 'in the pipe' | cmp - other && pass 'its other end: the same' || fail 'its other end: the same'
expect 'not over another one' 1 '^ckpt: CKPT-E0312: other: it is there already' x img "fd:$pid:$pipe" -o other
expect 'nothing in it' 1 '^ckpt: CKPT-E0314: .*; see what' x img "fd:$pid:0"
expect 'no such descriptor' 1 '^ckpt: CKPT-E0310: img: process [0-9]* has no descriptor 999' x img "fd:$pid:999"
expect 'no such object' 1 '^ckpt: CKPT-E0310: img: there is no object 9999' x img object:9999
expect 'nonsense' 2 'neither fd:PID:NUMBER nor object:ID' x img fd:x
expect 'words are missing' 2 '^ckpt: x: DIR fd:' x img
if command -v script >/dev/null; then
	start bash -c 'printf "\033[31mred" | sleep 1000; true'
	sleep 0.3
	ckpt dump -t "$PID" -D red
	child=$("$CKPT" show -D red --tree | awk '/sleep 1000$/ && !/bash/ { print $1 }')
	ckpt x red "fd:$child:0"
	check 'raw into a file' grep -q "$(printf '\033')" "$T/out"
	script -qec "$CKPT x red fd:$child:0" /dev/null </dev/null >screen 2>&1
	check 'escaped on a terminal' grep -q 'x1b\[31mred' screen
	check 'nothing raw on a terminal' test -z "$(grep "$(printf '\033')" screen)"
fi
finish
