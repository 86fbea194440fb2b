#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `ckpt check`: every feature is said to be there or missing, the exit status fits, and nothing stays behind.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

# fits: status 3 where a needed feature is missing, else 0.
fits() {
	if grep -q '^missing .*NEEDED' "$T/out"; then [ "$status" = 3 ]; else [ "$status" = 0 ]; fi
}
ckpt check
check 'the status fits' fits
check 'nothing on stderr' test ! -s "$T/err"
check 'each line says ok or missing' test -z "$(sed '$d' "$T/out" | grep -Ev '^(ok     |missing) ')"
check 'what is missing has a cost' test -z "$(awk '/^missing/ && NF < 4' "$T/out")"
for f in ptrace process_vm_readv pidfd_getfd kcmp PAGEMAP_SCAN PTRACE_GET_RSEQ_CONFIGURATION 'clone3 set_tid' \
	'user and pid namespaces' map_files 'bpf_iter task_vma' PR_SET_MM_MAP PR_TIMER_CREATE_RESTORE_IDS UFFD_FEATURE_WP_ASYNC \
	TFD_IOC_SET_TICKS AMX memfd_create CAP_SYS_RESOURCE; do
	check "it probes $f" grep -q " $f" "$T/out"
done
expect 'one feature' 0 '' check --feature memfd_create
check 'and only that' test "$(wc -l <"$T/out")" = 1
expect 'no such feature' 1 '^ckpt: frobnication: cannot probe: there is no such feature' check --feature frobnication
kids=
read -r kids <"/proc/$$/task/$$/children"
check 'no child is left' test -z "$kids"

if is_root && command -v setpriv >/dev/null && as_nobody "$CKPT" --version >/dev/null 2>&1; then
	as_nobody "$CKPT" check >"$T/out" 2>"$T/err"
	status=$?
	check 'as an ordinary user: the status fits' fits
	check 'as an ordinary user: no capability' grep -q '^missing  CAP_SYS_PTRACE' "$T/out"
fi
# What the probe says about choosing pids is what the kernel does with less than root.
if is_root && command -v setpriv >/dev/null; then
	setpriv --bounding-set -all --inh-caps -all "$CKPT" check --feature CAP_SETUID >"$T/out" 2>"$T/err"
	check 'without capabilities: missing, status 3' test $? = 3
fi
finish
