#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compressed images: smaller, the same for whoever reads them, and refused when they are damaged.
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/sums.sh"
start_sums "$T/p"
i=0
ckpt dump -t "$PID" -D plain -R
check 'a plain image' test "$status" = 0
for how in --compress -c -clz4 --compress=lz4:5 '--compress lz4' '--compress zstd' --compress=zstd:9 '-c zstd:1'; do
	dir="img$((++i))"
	# shellcheck disable=SC2086  # two words
	ckpt dump $how -t "$PID" -D "$dir" -R
	check "$how: an image" test "$status" = 0
	check "$how: is small" test "$(pages_size "$dir")" -lt $(($(pages_size plain) * 3 / 4))
	expect "$how: is sound" 0 '' verify -D "$dir"
done
ckpt dump --compress none -t "$PID" -D none -R
check 'none is none' test "$(pages_size none)" -gt $(($(pages_size plain) * 3 / 4))
for how in lz5 zstd:0 zstd:23 zstd: lz4:x none:1 ''; do
	expect "not a method: $how" 2 'is not lz4, zstd, zstd:LEVEL or none' dump --compress="$how" -t "$PID" -D no
done

# Whoever looks into it sees the same.
expect 'shown' 0 '' show -D img6 --memory
ckpt mem -D img6 -p "$PID" --search '399999 400000' && cp out packed.hits
check 'memory is found' grep -q '399999 400000' "$T/out"
ckpt core -D img6 -p "$PID" -o core.packed
check 'a core file' test "$status" = 0
check 'with the memory' grep -qa '399998 399999 400000' core.packed
check 'the program goes on' unharmed "$PID"

# restored DIR [AS...]: ends what runs and brings DIR back.
restored() {
	local dir=$1
	shift
	kill -KILL "$PID" 2>/dev/null; until_true 5 gone "$PID"
	rm -f pid1
	"$@" timeout 60 "$CKPT" restore -D "$dir" -d --pidfile "$T/p/pid1" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	check "$dir is restored" test "$status" = 0
	PID=$(cat p/pid1); rm -f p/pid1
	STARTED+=("$PID")
	check 'with its memory' same_sums "$T/p"
}
restored img1
restored img6
# Compressed while it is copied, for it is killed anyway; and once more what came back.
ckpt dump -t "$PID" -D killed --compress
check 'a dump that kills' test "$status" = 0
restored killed
for live in '' --live; do
	ckpt dump -t "$PID" -D "killed$live.zstd" --compress zstd $live
	check "one more $live" test "$status" = 0
	restored "killed$live.zstd"
done
if is_root; then
	chmod 700 killed; chown -R 65534 killed
	kill -KILL "$PID"; until_true 5 gone "$PID"
	rm -f p/*
	start setpriv --reuid 65534 --regid 65534 --clear-groups perl -e "$sums_program" "$T/p"
	SUM=$(ask_sums "$T/p")
	mkdir user; chown 65534 user
	as_nobody "$CKPT" dump -t "$PID" -D "$T/user/img" --compress >"$T/out" 2>"$T/err"
	check 'a dump by a user' test -s user/img/image
	restored "$T/user/img" as_nobody
fi

# Damage is found by whoever reads it, before anything runs.
kill -KILL "$PID"; until_true 5 gone "$PID"
at=$(($(pages_size img1) / 2))
perl -e 'open(my $f, "+<", "img1/pages"); seek($f, $ARGV[0], 0); read($f, my $b, 1); seek($f, $ARGV[0], 0);
	print $f chr(ord($b) ^ 4);' "$at"
expect 'a flipped byte: verify' 1 '^ckpt: CKPT-E0302: img1/pages: chunk [0-9]+ .*damaged' verify -D img1
expect 'a flipped byte: restore' 1 '^ckpt: CKPT-E0302: img1/pages: chunk [0-9]+ .*damaged' restore -d -D img1
truncate -s $((at * 2 - 1)) img1/pages
expect 'a byte is missing' 1 '^ckpt: CKPT-E0302: img1/pages: has [0-9]+ bytes, had' restore -d -D img1
rm img2/pages
expect 'the pages are missing' 1 '^ckpt: CKPT-E0302: img2/pages: the file is missing' restore -d -D img2
check 'nothing runs' gone "$PID"

room=$(($(pages_size img3) / 1024 + 4096))k
# Disks that are too small for it leave nothing.
if is_root && mkdir small && mount -t tmpfs -o "size=$room" small small 2>/dev/null; then
	start_sums "$T/p"
	expect 'a full disk' 1 '^ckpt: CKPT-E0306: ' dump -t "$PID" -D small/img -R --compress
	check 'the program goes on' unharmed "$PID"
	check 'nothing is left' test -z "$(find small -type f)"
	ckpt dump -t "$PID" -D small/img --compress
	check 'the compressed image alone has room' test "$status" = 0
	umount small
fi
finish
