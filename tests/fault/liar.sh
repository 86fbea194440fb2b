#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program that looks as if it had the library and says what it likes to who asks it, who may be root: there is one
# sentence and no image, or an image that is whole; nobody else's memory is read. $LIAR_ROUNDS: random liars.
. "$(dirname "$0")/../lib/cli.sh"
ckpt_signal=$(dirname "$CKPT")/ckpt-signal library=$(dirname "$CKPT")/libckpt-inproc.so
liar=$(realpath "${BUILD:-.}")/tests/fault/liar
[ -x "$ckpt_signal" ] && [ -r "$library" ] && [ -x "$liar" ] || skip 'ckpt-signal, the library or liar are not built'
cp "$liar" "$library" "$T" && mkdir "$T/w" && chmod 777 "$T/w" && chmod 755 "$T" && cd "$T/w" || exit 1

# lies NAME HOW SEED OPTION...
lies() {
	local name=$1 how=$2 seed=$3
	shift 3
	rm -rf ready "$T/img"
	as_nobody "$T/liar" "$T/libckpt-inproc.so" "$how" "$seed" &
	STARTED+=($!)
	disown $!
	until_true 5 test -s ready || { fail "$name: it does not start"; return; }
	timeout -k 5 30 "$ckpt_signal" -D "$T/img" --wait 1 "$@" "$(cat ready)" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	kill -KILL "$(cat ready)"
	case $status in
	0) "$CKPT" verify -D "$T/img" >/dev/null 2>&1 ;;
	1 | 3) grep -q '^ckpt-signal: ' "$T/err" && [ ! -e "$T/img/image" ] ;;
	*) false ;;
	esac
}
for how in --stop --snapshot; do
	for lie in tids excluded copy; do
		check "$lie, $how: a sentence, or a whole image" lies "$lie" "$lie" 1 $how
	done
done
check 'threads of others: no image' test ! -e "$T/img/image"
bad=0
for ((i = 0; i < ${LIAR_ROUNDS:-20}; i++)); do
	how=--stop
	[ $((i % 2)) = 0 ] || how=--snapshot
	lies "random $i" random "$i" $how && continue
	bad=$((bad + 1))
	echo "# random $i $how: status $status: $(head -n 3 "$T/err")"
done
check "random answers: $i liars, $bad times neither a sentence nor a whole image" test $bad = 0
finish
