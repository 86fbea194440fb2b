#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The table of options, row by row: each is accepted or refused as it says, and the manual pages name what works.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

expect 'the table' 0 '' help options
cp "$T/out" table
check 'it has every option of CRIU' test "$(wc -l <table)" -ge 85
check 'three fields in each row' test -z "$(awk -F '\t' 'NF != 3' table)"

# A value that the option takes.
value() {
	case $1 in
	SIZE) echo 300M ;;
	SELECTOR=ACTION) echo kind:x=drop ;;
	'fd[N]:KEY') echo 'fd[3]:x' ;;
	FILE) echo /dev/null ;;
	*'|'*) echo "${1%%|*}" ;;
	PID | N | FD | PORT | SECONDS) echo 3 ;;
	*) echo x ;;
	esac
}

# `plan` of a folder without an image understands every option of CRIU and starts nothing.
mkdir none
while IFS=$'\t' read -r spelled fate _; do
	spelled=${spelled#*--}          # NAME, NAME VALUE or NAME[=VALUE]
	name=${spelled%%[ [=]*}
	args=(--"$name") flag=yes
	case $spelled in
	*'[='*) flag=no ;;
	*' '?*) flag=no; args+=("$(value "${spelled##* }")") ;;
	esac
	case $name in
	track-timeout | give-up-parents) continue ;;
	images-dir | json | pid | help | version | log-file | tree | files | memory | sockets | stats | stacks | raw) continue ;;
	carry | packages | config | on-files | file-list | output | search | hex | regex | area | env | args | debug-dir) continue ;;
	live | max-freeze | max-freeze-action | via | remote-ckpt | remote-options | handover) continue ;;
	esac
	case $fate in
	works | harmless) expect "$name" 1 '^ckpt: CKPT-E0301: ' plan -D none "${args[@]}" ;;
	noted)
		ckpt plan -D none "${args[@]}"
		check "$name: a note" grep -q "^note: --$name: " "$T/err"
		;;
	refused)
		expect "$name" 3 "^ckpt: CKPT-E0502: --$name: cannot .*; leave the option out\$" plan -D none "${args[@]}"
		if [ $flag = yes ]; then
			expect "no-$name" 1 '^ckpt: CKPT-E0301: ' plan -D none "--no-$name"
		fi
		;;
	*) fail "$name: unknown fate $fate" ;;
	esac
done <table

expect 'abbreviation' 1 'CKPT-E0301' plan -D none --tcp-est
expect 'joined letters and values' 1 'CKPT-E0301' plan -jdvDnone
expect 'options before the command' 1 'CKPT-E0301' -v4 -j -D none plan
expect 'after --' 1 'CKPT-E0301' -D none -- plan
expect 'undone' 1 'CKPT-E0301' plan -D none --lazy-pages --no-lazy-pages
expect 'cgroups ignored: no note' 1 'CKPT-E0301' plan -D none --manage-cgroups=ignore
for c in service swrk cpuinfo; do
	expect "command $c" 3 "^ckpt: CKPT-E0503: $c: cannot do that" "$c" -D none
done

for c in dump pre-dump page-server lazy-pages migrate flatten dedup restore check plan show verify core mem x diff report; do
	page=$here/man/ckpt-$c.1
	ckpt help "$c"
	sed -n '/^An option/q; s/^  .*--\([a-z-]*\).*/\1/p' "$T/out" >names
	while read -r o; do
		case $o in help | version) continue ;; esac
		check "ckpt-$c(1) names --$o" grep -q -- "--$o" <(sed 's/\\-/-/g' "$page")
	done <names
done
finish
