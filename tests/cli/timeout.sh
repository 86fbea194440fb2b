#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A process that nobody can stop, since it waits for a disk: a dump gives up in time, and says which thread it is and what
# it waits in; the tree goes on. The disk is a file system of the test's own that is held up.
. "$(dirname "$0")/../lib/cli.sh"
is_root || skip 'only root can hold up a file system'
command -v perl >/dev/null && command -v fsfreeze >/dev/null && command -v mkfs.ext4 >/dev/null ||
	skip 'perl, fsfreeze or mkfs.ext4 are missing'
if [ -z "${PRIVATE-}" ]; then
	unshare -m true 2>/dev/null || skip 'no mount namespaces'
	# So that it is unmounted whatever happens.
	rmdir "$T"
	PRIVATE=1 CKPT=$CKPT exec unshare -m --propagation private bash "$0"
fi
cd "$T" || exit 1
truncate -s 20M disk && mkfs.ext4 -q disk && mkdir small && mount -o loop disk small 2>err || skip "no file system: $(cat err)"
trap 'fsfreeze -u small 2>/dev/null; umount -l small; cleanup' EXIT

# A parent that counts, and a child that writes to that disk, and counts.
cat >writer.pl <<'P'
my ($name, $disk) = fork() ? ("parent", "parent.file") : ("child", "small/file");
my $n = 0;
while (1) {
	open(my $f, ">", $disk) or die; print $f $n; close $f;
	open(my $o, ">", "$name.new") or die; print $o ++$n; close $o; rename("$name.new", $name);
	select(undef, undef, undef, 0.01);
}
P
start perl writer.pl
until_true 10 test -e child -a -e parent || { fail 'no target'; finish; }
child=$(cat "/proc/$PID/task/$PID/children")
child=${child// /}
STARTED+=("$child")
beyond() { [ "$(($(cat "$1")))" -gt "$2" ]; }
goes_on() { until_true 10 beyond "$1" $(($(cat "$1") + 3)); }
stuck() { [ "$(state "$child")" = D ]; }

fsfreeze -f small || skip 'file systems cannot be held up here'
until_true 10 stuck || { fail 'the child does not wait for its disk'; finish; }
for what in 'dump -R' 'dump' 'dump --live -R' 'check'; do
	options=(-D img)
	[ "$what" != check ] || options=()
	# shellcheck disable=SC2086
	expect "$what gives up" 1 "^ckpt: CKPT-E0106: (thread|process) ($child|$PID): cannot stop .* in time.*; raise --timeout" \
		$what -t "$PID" --timeout 1 "${options[@]}"
	check "$what: there is no image" test ! -e img
	check "$what: nobody traces the child" grep -q '^TracerPid:[[:space:]]*0$' "/proc/$child/status"
	check "$what: its parent goes on" goes_on parent
done
# Killed in the middle, both of it: the moment at which the child could be stopped comes afterwards.
"$CKPT" dump -R -t "$PID" -D img --timeout 20 >"$T/out" 2>"$T/err" &
dump=$!
until_true 10 eval '[ "$(state "$PID")" = t ]'
attendant=$(cat "/proc/$dump/task/$dump/children")
# shellcheck disable=SC2086
kill -KILL $dump $attendant
{ wait $dump; } 2>/dev/null
check 'killed: its parent goes on' goes_on parent
fsfreeze -u small
check 'the child goes on with its disk' goes_on child
check 'and is unharmed' unharmed "$child"
expect 'then it can be dumped' 0 '' dump -R -t "$PID" -D img
expect 'as a whole' 0 '' verify -D img
finish
