#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `ckpt show` prints of an image of two processes that was made once: to the byte. `show.sh --write` writes anew what is
# expected. And of a tree of two hundred: in time.
. "$(dirname "$0")/../lib/cli.sh"
image=$here/tests/images/two golden=$here/tests/golden
[ ! -e /tmp/small/small ] || skip 'there is a /tmp/small/small, which the image does not expect'
cd "$T" || exit 1

same() {
	local name=$1
	shift
	expect "$name" 0 '' "$@"
	if [ "${WRITE-}" = yes ]; then cp "$T/out" "$golden/$name"; fi
	cp "$T/out" is
	diff "$golden/$name" is >"$T/out" 2>&1
	check "$name: as it was" cmp -s "$golden/$name" is
}
[ "${1-}" != --write ] || WRITE=yes
same two.show show -D "$image"
same two.views show -D "$image" --tree --files --memory --sockets --stats
same two.child show -D "$image" --tree --files --memory --sockets --stats --stacks -p 13951
same two.json show -D "$image" --tree --files --memory --sockets --stats --json
same two.stacks show -D "$image" --stacks
same two.stacks.json show -D "$image" --stacks --json -p 13951
same two.raw show -D "$image" --raw
same two.raw-child show -D "$image" -p 13951
same two.raw.json show -D "$image" --json -p 13951
same two.pipe x "$image" fd:13942:3
same two.hex mem -D "$image" -p 13951 --area '[stack]'
same two.search mem -D "$image" --search small --area '[stack]'
same two.args mem -D "$image" -p 13951 --args

# Documented, so it stays: names and types of the columns.
if command -v python3 >/dev/null; then
	ckpt show -D "$image" --tree --files --memory --sockets --stats --stacks --json
	cp "$T/out" all.json
	sed 's/\\-/-/g' "$here/man/ckpt-show.1" >page
	python3 - all.json page >"$T/out" <<-'E'
		import json, re, sys
		views = json.load(open(sys.argv[1]))
		page = open(sys.argv[2]).read()
		bad = [v for v in ("tree", "files", "memory", "sockets", "stats", "stacks") if v not in views]
		for name, rows in views.items():
		    for row in rows:
		        for key, value in row.items():
		            if not re.search(r"\b%s\b" % re.escape(key), page):
		                bad.append("%s.%s is not in ckpt-show(1)" % (name, key))
		            if type(value) not in (int, str) and (name, type(value)) != ("stacks", list):
		                bad.append("%s.%s is a %s" % (name, key, type(value)))
		print("\n".join(bad))
		sys.exit(1 if bad else 0)
	E
	check 'every key is in the manual page' test $? = 0
fi

# Without its end it is no image, for nobody.
cp -r "$image" cut
truncate -s -8 cut/image
for look in show 'show --raw' 'show --stacks' 'show --files --json' 'mem --args -p 13942' 'core -o no' 'report -o no'; do
	# shellcheck disable=SC2086  # words
	expect "half an image: $look" 1 '^ckpt: CKPT-E0302: cut/image: record 43 ' $look -D cut
done
expect 'half an image: x' 1 '^ckpt: CKPT-E0302: ' x cut fd:13942:3
expect 'half an image: diff' 1 '^ckpt: CKPT-E0302: ' diff "$image" cut
check 'half an image: nothing is written' test ! -e no

# One screen, whatever there is.
start bash -c 'for i in $(seq 199); do sleep 1000 & done; wait'
sleep 1
ckpt dump -t "$PID" -D many
# Of the processor: how long it takes is up to who else runs.
TIMEFORMAT='%U %S'
{ time ckpt show -D many; } 2>took
took=$(awk '{ print int(1000 * ($1 + $2)) }' took)
check "200 processes: $took ms" test "$took" -lt 100
check '200 processes: on a screen' test "$(wc -l <"$T/out")" -lt 60
check '200 processes: the rest is named' grep -q 'and 170 more: --tree$' "$T/out"
expect 'all of them' 0 '' show -D many --tree
check 'all of them: one a line' test "$(grep -c 'sleep 1000$' "$T/out")" = 199
check 'all of them: in their tree' grep -q '  sleep 1000$' "$T/out"
"$CKPT" show -D many >/dev/full 2>err
check 'a full standard output is a failure' test $? = 1
check 'and says so' grep -q '^ckpt: CKPT-E0316: standard output: cannot write' err
finish
