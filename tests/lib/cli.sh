# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the scripts of tests/cli: runs ckpt, compares exit status and messages, starts targets under a parent that waits.
# The script runs again under a reaper, a subreaper that ends and collects whatever the script leaves behind: pid 1
# of a machine or a container may not.
set -u

# What a test runner leaves open would be dumped with the targets, and refused: its other end is outside.
for f in /proc/$$/fd/*; do
	f=${f##*/}
	[ "$f" -le 2 ] || [ "$f" = 255 ] || eval "exec $f>&-"
done

if [ -z "${CKPT_REAPER-}" ] && command -v perl >/dev/null; then
	# 157, 36: prctl(PR_SET_CHILD_SUBREAPER). Only descendants are ended, by number.
	# shellcheck disable=SC2016  # it is perl that expands
	exec env CKPT_REAPER=1 perl -e '
		syscall(157, 36, 1, 0, 0, 0);
		my $pid = fork();
		if (!$pid) { exec @ARGV; exit 127; }
		my $status = 1;
		while (1) { my $p = wait(); last if $p < 0; if ($p == $pid) { $status = $? >> 8 || ($? ? 1 : 0); last; } }
		for (1 .. 50) {
			open(my $f, "<", "/proc/self/task/$$/children") or last;
			my @left = split(" ", <$f> // "");
			last if !@left;
			kill("KILL", @left);
			wait();
		}
		exit $status;' "$BASH" "$0" "$@"
fi

# shellcheck disable=SC2034  # for the scripts
here=$(cd "$(dirname "$0")/../.." && pwd)
CKPT=${CKPT:-$PWD/ckpt}
case $CKPT in /*) ;; *) CKPT=$PWD/$CKPT ;; esac
T=$(mktemp -d "${TMPDIR:-/tmp}/ckpt-cli.XXXXXX")
STARTED=()              # pids of targets
failed=0 n=0

skip() { echo "skipped: $*"; exit 77; }
[ -x "$CKPT" ] || skip "there is no $CKPT: build it first"

# What could not be started has number 0 in these tests, which would be all of us.
kill() {
	[ "${*: -1}" != 0 ] && builtin kill "$@"
}
cleanup() {
	for p in ${STARTED[@]+"${STARTED[@]}"}; do kill -KILL "$p" 2>/dev/null; done
	rm -rf "$T"
}
trap cleanup EXIT

pass() { n=$((n + 1)); echo "ok $n - $*"; }
fail() {
	n=$((n + 1)); failed=$((failed + 1))
	echo "not ok $n - $*"
	{ sed 's/^/# out: /' "$T/out" | head -n 20; sed 's/^/# err: /' "$T/err"; } 2>/dev/null
}
finish() { echo "1..$n"; [ "$failed" = 0 ]; exit; }
# The same, and by root once more as an ordinary user.
finish_as_both() {
	if is_root && ! as_nobody test -x "$CKPT" -a -r "$here/tests/cli/${0##*/}"; then
		echo 'ok - as an ordinary user # SKIP that one cannot reach this folder'
	elif is_root; then
		chmod 1777 "$T"
		as_nobody env -u CKPT_REAPER TMPDIR="$T" CKPT="$CKPT" bash "$here/tests/cli/${0##*/}" | sed 's/^/# as a user: /'
		check 'all of that as an ordinary user' test "${PIPESTATUS[0]}" = 0
	fi
	finish
}

# May pids not be chosen here? Then a restore makes a user and pid namespace, says so in a note, and the numbers that
# the programs have in it are free there.
BOXED=
"$CKPT" check --feature 'clone3 set_tid' | grep -q only && BOXED=yes

# ckpt ARGS...: its exit status in $status, its output in $T/out and $T/err, without that note. Never for ever.
ckpt() {
	timeout -k 5 "${LIMIT:-60}" "$CKPT" "$@" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	[ -z "$BOXED" ] || sed -i '/^note: pids may not be chosen here/d' "$T/err"
}

# expect NAME STATUS REGEX ARGS...: runs ckpt; REGEX (extended) has to match its only line on stderr, '' means that
# nothing is said there.
expect() {
	local name=$1 want=$2 re=$3
	shift 3
	ckpt "$@"
	if [ "$status" != "$want" ]; then
		fail "$name: exit status $status instead of $want"
	elif [ -z "$re" ] && [ -s "$T/err" ]; then
		fail "$name: something on stderr"
	elif [ -n "$re" ] && { [ "$(wc -l <"$T/err")" != 1 ] || ! grep -Eq -- "$re" "$T/err"; }; then
		fail "$name: not the one sentence /$re/"
	else
		pass "$name"
	fi
}

# check NAME COMMAND...
check() {
	local name=$1
	shift
	if "$@"; then pass "$name"; else fail "$name"; fi
}

# What takes PAGEMAP_SCAN of Linux 6.7.
takes_tracking() { "$CKPT" check --feature PAGEMAP_SCAN 2>/dev/null | grep -q 'not' && skip 'this kernel cannot track memory'; }

# pages_size DIR: what the pages files of an image have.
pages_size() { cat "$1"/pages* | wc -c; }

# until_true SECONDS COMMAND...: bounded waiting.
until_true() {
	local tries=$(($1 * 20))
	shift
	while [ "$tries" -gt 0 ]; do
		"$@" && return 0
		sleep 0.05
		tries=$((tries - 1))
	done
	return 1
}

# start COMMAND...: in a session of its own, under a shell that waits for it; $PID is its pid.
start() {
	rm -f "$T/pid"
	# shellcheck disable=SC2016  # it is the inner shell that expands
	bash -c 'f=$1; shift; setsid "$@" </dev/null >/dev/null 2>&1 & echo $! >"$f.new"; mv "$f.new" "$f"; wait' \
		start "$T/pid" "$@" 2>/dev/null &
	until_true 5 test -s "$T/pid" || { echo "cannot start $*"; exit 1; }
	PID=$(cat "$T/pid")
	# The shell's fork has become the program, and the program sleeps. (What ckpt-run starts has another name.)
	[ "${1##*/}" = ckpt-run ] || until_true 5 asleep "$PID" "${1##*/}" || :
	STARTED+=("$PID")
}
comm() { cat "/proc/$1/comm" 2>/dev/null; }
state() { sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null; }
asleep() { [ "$(comm "$1")" = "${2:0:15}" ] && [ "$(state "$1")" = S ]; }
# Is it there, is nobody tracing it, is it not stopped? One that is about to end has no memory any more.
unharmed() {
	awk '/^State:/ { runs = $2 ~ /[RSD]/ } /^TracerPid:/ { free = $2 == 0 } /^VmSize:/ { lives = 1 }
		END { exit !(runs && free && lives) }' "/proc/$1/status" 2>/dev/null
}
gone() { ! [ -e "/proc/$1" ] || [ "$(state "$1")" = Z ]; }
is_root() { [ "$(id -u)" = 0 ]; }
# as_nobody COMMAND...: as uid 65534 without groups.
as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }

# restored ARGS...: ckpt restore -d; the root of what it started is $ROOT.
restored() {
	rm -f "$T/root.pid"
	ckpt restore -d --pidfile "$T/root.pid" "$@"
	check "restore $*" test "$status" = 0
	ROOT=$(cat "$T/root.pid" 2>/dev/null || echo 0)
	STARTED+=("$ROOT")
}
# ended: what that was is killed, and its numbers are free.
ended() { end_tree "$ROOT"; }
# end_tree PID: the same of a process and its children.
end_tree() {
	local p all=()
	{ read -ra all <"/proc/$1/task/$1/children"; } 2>/dev/null
	all+=("$1")
	kill -KILL "${all[@]}"
	for p in "${all[@]}"; do
		until_true 10 gone "$p" || fail "process $p does not end"
		until_true 5 test ! -e "/proc/$p" || :
	done
}
