#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sqlite3 in the middle of a transaction: it has a journal, and locks that keep other writers away.
. "$(dirname "$0")/lib.bash"
need sqlite3
: >commands
# tell SQL: it has been done.
n_told=0
tell() {
	n_told=$((n_told + 1))
	echo "$1; select 'done $n_told';" >>commands
	until_true grep -qx "done $n_told" out || bad "sqlite3 does not answer: $1"
}
other() { sqlite3 data.db "$1" 2>&1; }
start bash -c 'tail -n +1 -f commands | sqlite3 data.db'
tell 'pragma cache_size = 10; create table t(n integer primary key, x text)'
tell "begin immediate; with recursive c(i) as (select 1 union all select i + 1 from c where i < 5000)
	insert into t select i, 'text ' || i from c"
[ -s data.db-journal ] || bad "there is no journal"
if [ -z "${CKPT_CASE_DRY-}" ]; then
	! dump || bad "the locks are not refused"
	grep -q 'CKPT-E.*data.db' ckpt.out && grep -q -- --file-locks ckpt.out || bad "the locks are not named"
fi
for round in 1 2 3; do
	if [ $round = 1 ]; then take_same --file-locks; else take --file-locks; fi
	other "begin immediate" | grep -q locked || bad "another writer comes in after restore $round"
	tell "insert into t values(5000 + $round, 'later')"
done
tell "savepoint s; delete from t where n <= 100; rollback to s; commit"
[ "$(other 'select count(*), sum(n) from t; pragma integrity_check')" = "5003|12517506
ok" ] || bad "there is something else in the file: $(other 'select count(*), sum(n) from t; pragma integrity_check')"
other "begin immediate; commit" | grep -q . && bad "it still has a lock"
take
tell "begin; delete from t; rollback"
! grep -i error out || bad "sqlite3 complains"
good "a transaction goes on and keeps its locks after three restores"
