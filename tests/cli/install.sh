#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is installed works where it is: the launcher finds its library and engine, pkg-config the header, programs in C and
# C++ compile with it, run without ckpt, and take checkpoints of themselves with it. Header and manual agree.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
build=${CKPT%/*} cc=${CC:-cc}
[ -e "$build/Makefile" ] && [ -e "$build/libckpt-inproc.so" ] || skip 'this is no build folder'
for tool in make pkg-config "${cc%% *}" c++; do command -v "${tool##* }" >/dev/null || skip "there is no $tool"; done
env -u MAKEFLAGS -u MAKELEVEL make -s -C "$build" install DESTDIR="$T/inst" >"$T/out" 2>&1
check 'make install' test $? = 0
prefix=$(sed -n 's/^prefix=//p' "$build/ckpt.pc")
inst=$T/inst$prefix
pc=$(find "$T/inst" -name ckpt.pc)
flags=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$inst" --cflags ckpt)
check 'pkg-config tells where the header is' test "${flags% }" = "-I$inst/include"
unset CKPT_LIBRARY CKPT_ENGINE
export ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0

# The example, as somebody else would have it.
# shellcheck disable=SC2154  # of cli.sh
sed 's,"libinproc/ckpt.h",<ckpt.h>,' "$here/libinproc/examples/primes.c" >primes.c
# shellcheck disable=SC2086  # words
$cc -Wall -Wextra -Werror $flags primes.c -o primes >out 2>&1
check 'the example compiles' test -x primes
CKPT=./primes expect 'it runs without ckpt' 0 '' 300000 100000
check 'and counts' grep -qx '25997 primes, restored 0 times' out
setsid -w "$inst/bin/ckpt-run" -D p ./primes 300000 100000 >counted 2>&1 </dev/null
check 'it runs with ckpt' grep -qx '25997 primes, restored 0 times' counted
check 'and takes checkpoints' test "$(grep -c ': checkpoint$' counted)" = 2
CKPT=$inst/bin/ckpt expect 'which are whole' 0 '' verify -D p/ckpt.000001
cat >hello.cc <<'CC'
#include <ckpt.h>
int main()
{
	if (!ckpt_available())
		return 7;
	return ckpt_on(CKPT_BEFORE, [](ckpt_event, void *) { return 0; }, nullptr) ? 8 : ckpt_error()[0];
}
CC
# shellcheck disable=SC2086
c++ -Wall -Wextra -Werror $flags hello.cc -o hello >out 2>&1
check 'C++ compiles' test -x hello
CKPT=./hello expect 'C++ without ckpt' 7 ''
CKPT=$inst/bin/ckpt-run expect 'C++ with ckpt' 0 '' ./hello

# Every function of the header is in the manual page, and the other way round.
page=$(find "$T/inst" -name ckpt.h.3)
check 'the manual page is there' test -s "$page"
declared=$(sed -n 's/^CKPT_WEAK.* \**\(ckpt_[a-z]*\)(.*/\1/p' "$inst/include/ckpt.h" | sort)
documented=$(sed -n '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/p' "$page" | grep -oE '\bckpt_[a-z]+\(' | tr -d '(' |
	grep -vx ckpt_available | sort -u)
check "what is declared is documented: ${declared//$'\n'/ }" test "$declared" = "$documented"
finish
