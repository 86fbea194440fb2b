#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is no image, no whole image, or not ours: every command that reads one says the same, and starts nothing.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
start sleep 1000
ckpt dump -t "$PID" -D good
[ "$status" = 0 ] || { fail 'no image to begin with'; finish; }
until_true 5 gone "$PID" || { fail 'the target is there still'; finish; }

expect 'a good image' 0 '' verify -D good
check 'said in one line' grep -Eq '^ok: good: 1 process, [0-9]+ records, .*, content id [0-9a-f]{16}$' "$T/out"
expect 'a good image is shown' 0 '' show -D good
check 'with its process' grep -q "$PID" "$T/out"
expect 'as JSON' 0 '' show -D good --json
if command -v python3 >/dev/null; then check 'JSON parses' python3 -m json.tool "$T/out" /dev/null; fi
expect 'one process' 0 '' show -D good -p "$PID"
check 'with its descriptors' grep -q 'fd 0' "$T/out"
expect 'one process as JSON' 0 '' show -D good -p "$PID" --json
expect 'a process that is not in it' 1 '^ckpt: CKPT-E0310: good: process 1 is not in this image' show -D good -p 1

# bad NAME DIR STATUS REGEX
bad() {
	local c
	for c in verify show plan restore; do
		expect "$1: $c" "$3" "$4" $c -D "$2"
	done
	check "$1: nothing runs" gone "$PID"
}
mkdir empty
bad 'no folder' nowhere 1 '^ckpt: CKPT-E0301: nowhere: .*; give the folder of a finished dump with -D$'
bad 'an empty folder' empty 1 '^ckpt: CKPT-E0301: empty.*; give the folder of a finished dump with -D$'
bad 'a file' good/image 1 '^ckpt: CKPT-E0301: good/image: '

copy() { rm -rf bad; cp -r good bad; }
copy; echo 'something else altogether' >bad/image
bad 'foreign' bad 1 '^ckpt: CKPT-E0308: bad.*; only images written by ckpt can be used$'
copy; : >bad/image
bad 'nothing in it' bad 1 '^ckpt: CKPT-E030[128]: bad'

# A later format, with a checksum that is right.
copy; perl -e '
	sub crc { my $c = 0xffffffff; for my $b (unpack("C*", $_[0])) { $c ^= $b;
		for (1 .. 8) { $c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1; } } return $c ^ 0xffffffff; }
	open(my $f, "+<", "bad/image"); binmode($f); my $h = "CKPTIMG\n" . pack("V", 1000);
	print $f $h . pack("V", crc($h));'
bad 'newer' bad 1 '^ckpt: CKPT-E0303: bad.*; restore with the ckpt that wrote it, or a newer one$'

size=$(stat -c %s good/image)
for cut in 1 15 16 20 $((size / 2)) $((size - 1)); do
	copy; truncate -s "$cut" bad/image
	expect "cut at $cut: verify" 1 '^ckpt: CKPT-E030[28]: bad.*' verify -D bad
	expect "cut at $cut: restore" 1 '^ckpt: CKPT-E030[28]: bad.*' restore -D bad
done
copy; echo more >>bad/image
expect 'something behind it' 1 '^ckpt: CKPT-E0302: bad.*' verify -D bad
flip() { perl -e 'open(my $f, "+<", $ARGV[0]); binmode($f); seek($f, $ARGV[1], 0); read($f, my $b, 1);
	seek($f, $ARGV[1], 0); print $f chr(ord($b) ^ (1 << $ARGV[1] % 8));' "$1" "$2"; }
for at in 0 9 13 16 21 30 $((size / 3)) $((size / 2)) $((size - 5)) $((size - 1)); do
	copy; flip bad/image "$at"
	expect "flipped bit at $at" 1 '^ckpt: CKPT-E030[238]: bad.*' restore -D bad
done
check 'nothing runs' gone "$PID"

copy; rm bad/pages
expect 'no pages: verify' 1 '^ckpt: CKPT-E0302: bad.*' verify -D bad
expect 'no pages: restore' 1 '^ckpt: CKPT-E0302: bad.*' restore -D bad
copy; truncate -s -4096 bad/pages
expect 'pages cut: verify' 1 '^ckpt: CKPT-E0302: bad.*' verify -D bad
expect 'pages cut: restore' 1 '^ckpt: CKPT-E0302: bad.*' restore -D bad
for at in 0 4097 $(($(stat -c %s good/pages) - 1)); do
	copy; flip bad/pages "$at"
	expect "flipped bit at $at of the pages: verify" 1 '^ckpt: CKPT-E0302: bad.*' verify -D bad
	expect "flipped bit at $at of the pages: restore" 1 '^ckpt: CKPT-E0302: bad.*' restore -D bad
	check 'nothing runs' gone "$PID"
done
finish
