#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sqlite3: one database in memory, one in a file that is written all the time.
. "$(dirname "$0")/inside.bash"
need sqlite3

# Each transaction moves an amount: the sum stays.
cat >"$T/job.sh" <<'SH'
transactions() {
	echo "pragma synchronous=off;"
	echo "create table account(id integer primary key, balance integer);"
	echo "with recursive n(i) as (select 1 union all select i+1 from n where i<200) insert into account select i, 100 from n;"
	i=0
	while [ ! -e stop ]; do
		i=$((i + 1))
		a=$((i * 7 % 200 + 1)) b=$((i * 13 % 200 + 1))
		echo "begin; update account set balance = balance - 1 where id = $a;
			update account set balance = balance + 1 where id = $b; commit;"
		echo "select case when sum(balance) = 20000 and count(*) = 200 then $i else 'bad' end from account;"
		# Not faster than it is read; and a lock on the file, which is refused, is not held all the time.
		[ $((i % 4)) != 0 ] || sleep 0.02
	done
}
transactions | sqlite3 :memory: >memory.out 2>memory.err &
transactions | sqlite3 data.db >file.out 2>file.err &
wait
touch ended
SH
lines() { wc -l <"$1"; }
more() { [ "$(lines "$1")" -gt "$2" ]; }
go_on() {
	local f
	for f in memory.out file.out; do
		until_true more $f $(($(lines $f) + 20)) || bad "$f does not grow $1"
		! grep -q bad $f || bad "$f: a sum is wrong $1"
	done
	[ ! -s memory.err ] && [ ! -s file.err ] || bad "$(head -n 3 memory.err file.err)"
}
start bash "$T/job.sh"
until_true test -s file.out || bad "sqlite3 does not start"
go_on "at the start"
many
go_on "after the checkpoints"
for round in 1 2; do
	take
	go_on "after restore $round"
done
touch stop
until_true test -e ended || bad "sqlite3 does not come to its end"
[ "$(sqlite3 data.db 'pragma integrity_check')" = ok ] || bad "the file is damaged"
for f in memory.out file.out; do
	[ "$(tail -n 1 $f)" = "$(lines $f)" ] || bad "$f: $(lines $f) lines, the last one is $(tail -n 1 $f)"
done
good "sqlite3 in memory and in a file: $rounds checkpoints, two restores"
