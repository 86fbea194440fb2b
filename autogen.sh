#!/bin/sh -eu
# SPDX-License-Identifier: Apache-2.0
# Lists what is there (sources, kinds, messages, tests), so that adding a file edits no list.
cd "$(dirname "$0")"
names() { for f in "$1"/$2; do [ -e "$f" ] && basename "$f" ."${2##*.}"; done | LC_ALL=C sort; }
# Only if it differs: what did not change is not built again, and a source folder may be read-only. All at once: two
# builds may do this at a time.
put() {
	new=$(cat)
	if [ -e "$1" ] && [ "$new" = "$(cat "$1")" ]; then return; fi
	printf '%s\n' "$new" > "$1.$$" && mv "$1.$$" "$1"
}
list() { printf '%s =' "$1"; shift; for f in "$@"; do [ -e "$f" ] && printf ' %s' "$f"; done; echo; }
programs() { # VARIABLE LDADD FILE...: a program of one source each
	var=$1 ldadd=$2; shift 2
	printf '%s =' "$var"; for f in "$@"; do [ -e "$f" ] && printf ' %s' "${f%.c}"; done; echo
	for f in "$@"; do
		[ -e "$f" ] || continue
		v=$(printf %s "${f%.c}" | tr -c 'A-Za-z0-9' _)
		printf '%s_SOURCES = %s\n%s_LDADD = $(%s)\n' "$v" "$f" "$v" "$ldadd"
	done
}
{
	export LC_ALL=C
	list engine_src engine/*/*.[ch] engine/base/arch/*.h
	printf 'kind_names ='; for k in $(names engine/kinds '*.c'); do printf ' %s' "$k"; done; echo
	printf 'proto_src ='; for p in $(names proto '*.proto'); do printf ' proto/%s.pb-c.c' "$p"; done; echo
	printf 'proto_hdr ='; for p in $(names proto '*.proto'); do printf ' proto/%s.pb-c.h' "$p"; done; echo
	list proto_in proto/*.proto
	list injector_src injector/*.[ch]
	list tools_src tools/lib-*.c tools/*.h
	list ckpt_src tools/ckpt.c tools/cmd-*.c
	list ckpt_run_src tools/ckpt-run.c tools/run-*.c
	list ckpt_signal_src tools/ckpt-signal.c tools/signal-*.c
	list inproc_src libinproc/*.[ch]
	list testlib_src tests/lib/*.[ch] tests/fidelity/*.[ch] tests/property/operations*.[ch] tests/property/program.[ch] \
		tests/property/target.[ch]
	programs cases CASE_LIBS tests/cases/*.c
	programs property CASE_LIBS tests/property/run.c
	programs unit_tests UNIT_LIBS tests/unit/test-*.c
	programs examples EXAMPLE_LIBS libinproc/examples/*.c
	programs test_helpers CASE_LIBS tests/fault/*.c tests/bench/*.c tests/look/*.c tests/apps/*.c
	list script_tests tests/lint/*.sh tests/cli/*.sh tests/apps/*.sh tests/fault/*.sh tests/look/*.sh
	list man_pages man/*.1
	list man3_pages man/*.3
	list other_files LICENSE *.md .clang-format .ci/* tools/check tools/packages tools/quickstart tools/demo/* \
		injector/blob/*.c engine/*/README.md tests/README.md tests/*/README.md tests/lib/*.sh tests/apps/*.bash \
		tests/golden/* tests/bench/*.sh tests/images/*/* tests/fuzz/* tests/unit/*.h tests/look/*.py tests/look/*.cc tests/look/*.rs libinproc/*/README.md libinproc/*.ld
} | put lists.am
[ "${1-}" = lists ] || autoreconf -fi
