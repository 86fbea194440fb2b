# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the scripts of this folder. Sourcing it runs the script again: below a reaper, once as root (@inject) and once as
# an ordinary user (@inject-user), as far as that can be done. The functions are for the inner run.
set -u
BUILD=$(realpath "${BUILD:-.}")

skip() { echo "skip - ${VARIANT-}${VARIANT+: }$*"; exit 77; }

if [ -z "${VARIANT-}" ]; then
	CKPT=$(realpath "${CKPT:-$BUILD/ckpt}")
	[ -z "${CKPT_CASE_DRY-}" ] || CKPT=/bin/true
	[ -x "$CKPT" ] && [ -x "$BUILD/tests/apps/oracle" ] || skip "$CKPT or the test helpers are not built"
	failed=0 passed=0
	for VARIANT in @inject @inject-user; do
		as=() T=$(mktemp -d /tmp/ckpt-app.XXXXXX)
		[ $VARIANT = @inject ] && [ "$(id -u)" != 0 ] && continue
		[ $VARIANT = @inject ] || as=(-u)
		# The build folder may be closed to the ordinary user.
		cp "$CKPT" "$T/ckpt"
		cp "$BUILD"/tests/fault/{reaper,victim} "$BUILD/tests/apps/oracle" "$T"
		cp "$0" "$(dirname "$0")"/*.bash "$T"
		chmod -R a+rX "$T"
		chmod a+rwx "$T"
		VARIANT=$VARIANT T=$T SOURCES=$(cd "$(dirname "$0")/../.." && pwd) HOME=$T \
			"$T/reaper" ${as[@]+"${as[@]}"} bash "$T/$(basename "$0")" </dev/null
		case $? in 0) passed=1 ;; 77) ;; *) failed=1 ;; esac
		rm -rf "$T"
	done
	[ $failed = 0 ] || exit 1
	[ $passed = 1 ] || exit 77
	exit 0
fi

. "$T/common.bash"

# start COMMAND...: in a session of its own without anything of ours open; sets pid and inner (its own view of it).
start() {
	setsid "$@" </dev/null >>"$T/out" 2>&1 &
	pid=$! inner=$!
	disown
}
# dump ARGS...: of the tree below pid.
dump() {
	n_images=$((n_images + 1))
	"$T/ckpt" dump -t "$pid" -D "$T/img$n_images" "$@" >"$T/ckpt.out" 2>&1
}
# live NAME OPTION...: dumped --live, again and again; $LIVE_ROUNDS: instead of 4. The last image is left.
live() {
	local i name=$1
	shift
	for ((i = 1; i <= ${LIVE_ROUNDS:-4}; i++)); do
		[ $i = 1 ] || rm -rf "$T/img$n_images"
		dump --live -R "$@" || bad "dump --live $* $i of $name fails"
	done
}
# take ARGS...: dump, see it gone, restore.
take() {
	local old=$pid
	dump "$@" || bad "the dump fails"
	until_true gone "$old" || bad "process $old is still there after the dump"
	restore "$@" || bad "the restore fails"
}

# oracle COMMAND: what the fidelity oracle says of the tree below pid.
oracle() {
	local line
	[ -n "${ORACLE_PID-}" ] || coproc ORACLE { exec "$T/oracle"; }
	echo "$1 $pid" >&"${ORACLE[1]}"
	while read -r -t 60 line <&"${ORACLE[0]}"; do
		case $line in ok) return 0 ;; bad) return 1 ;; *) echo "#   oracle: $line" ;; esac
	done
	return 1
}
# take_same ARGS...: as take, but it stands still before and after, and nothing that can be seen of it may differ.
take_same() {
	local old=$pid
	dump -s "$@" || bad "the dump that leaves it stopped fails"
	# A signal that waits comes before the stop, in any thread: once more. So if a connection has just ended, which loses
	# its address.
	for _ in {1..20}; do
		"$T/ckpt" show --raw -D "$T/img$n_images" | grep -Eq '^ *sigpending|connection that has ended' || break
		oracle continue
		sleep 0.0$((RANDOM % 90 + 10))
		dump -s "$@" || bad "the dump that leaves it stopped fails again"
	done
	oracle look || bad "the oracle cannot look"
	oracle end
	until_true gone "$old" || bad "process $old cannot be ended"
	restore -s "$@" || bad "the restore that leaves it stopped fails"
	oracle compare || bad "the restored program differs"
	oracle continue || bad "it cannot be continued"
}
# Without ckpt: is the script itself right?
[ -z "${CKPT_CASE_DRY-}" ] || take() { :; }
[ -z "${CKPT_CASE_DRY-}" ] || take_same() { :; }
[ -z "${CKPT_CASE_DRY-}" ] || gone() { :; }
[ -z "${CKPT_CASE_DRY-}" ] || restore() { :; }
