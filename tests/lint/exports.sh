#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The preloaded library offers nothing but what it stands in front of and the functions of ckpt.h, needs nothing but libc, and is small.
# Functions that programs call all the time are not among them. Run in the build folder.
lib=libckpt-inproc.so
[ -f "$lib" ] || { echo "skipped: there is no $lib here: build it first"; exit 77; }
src=${srcdir:-$(dirname "$0")/../..}
failed=0
bad() { echo "not ok - $1"; [ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/# /'; failed=1; }

# Those of wrap.h, those that are written anew, and other names of the same.
reals=$(sed -n '/define CKPT_REALS/,/clang-format on/p' "$src/libinproc/wrap.h" | grep -oE 'X\([a-z0-9_]+\)' | sed 's/X(//; s/)//')
others='__sigsuspend __sysv_signal bsd_signal sigignore ssignal execv execvp execl execlp execle syscall __asan_default_options'
api=$(sed -n 's/^CKPT_WEAK .*[ *]\(ckpt_[a-z_]*\)(.*/\1/p' "$src/libinproc/ckpt.h")
# shellcheck disable=SC2086  # lists of words
want=$(printf '%s\n' $reals $others $api | LC_ALL=C sort -u)
have=$(nm -D --defined-only "$lib" | awk '{ print $3 }' | LC_ALL=C sort -u)
extra=$(printf '%s\n' "$have" | grep -vxF "$want")
missing=$(printf '%s\n' "$want" | grep -vxF "$have")
[ -z "$extra" ] || bad "exported without need:" "$extra"
[ -z "$missing" ] || bad "not exported:" "$missing"

# Those below are called too often.
files='open(at)?(64)?|p?read(64)?|p?write(64)?|close|l?stat(64)?|fstat(at)?(64)?|pipe2?|poll|select|epoll_wait|send.*|recv.*'
others='mmap(64)?|munmap|malloc|calloc|realloc|free|clock_gettime|gettimeofday|nanosleep|pthread_(mutex|cond|create|join).*|v?fork|clone'
hot=$(printf '%s\n' "$have" | grep -xE "$files|$others")
[ -z "$hot" ] || bad "called too often to stand in front of it:" "$hot"

foreign=$(nm -D --undefined-only "$lib" | awk '$1 == "U" && $2 !~ /@GLIBC_/ { print $2 }')
[ -z "$foreign" ] || bad "not libc's:" "$foreign"
[ "$(objdump -p "$lib" | grep -c NEEDED)" -le 1 ] || bad "needs more than libc:" "$(objdump -p "$lib" | grep NEEDED)"
# It must never be what makes a program allocate.
allocates=$(nm -D --undefined-only "$lib" | awk '{ print $2 }' |
	grep -E '^(malloc|calloc|realloc|free|mmap64|f?printf|f?puts|fopen|fwrite|strdup|__tls_get_addr|_Zn.*)(@|$)')
[ -z "$allocates" ] || bad "allocates or prints:" "$allocates"

# section NAME: its size in bytes
section() { size -A "$lib" | awk -v name="$1" '$1 == name { n = $2 } END { print n + 0 }'; }
[ "$(section .text)" -lt 102400 ] || bad ".text has $(section .text) bytes"
tls=$(($(section .tbss) + $(section .tdata)))
[ "$tls" -le 64 ] || bad "$tls bytes for each thread"
# One of ours, one of the compiler's.
[ "$(section .init_array)" -le 16 ] || bad "more than one constructor"
[ "$(section .fini_array)" -le 8 ] || bad "a destructor"
# What is written at the start, and what a child looks into, as layout.ld has it.
pages=$(objdump -h "$lib" | awk '$2 ~ /^\.(got|gnu\.hash|early|first)$/ { print substr($4, 1, 13) }')
[ "$(echo "$pages" | wc -l) $(echo "$pages" | uniq | wc -l)" = '4 1' ] || bad "not on one page: .got .gnu.hash .early .first"
objdump -p "$lib" | grep -q TEXTREL && bad "code that has to be written to"
[ "$failed" = 0 ] && echo "ok - exports what it must, $(section .text) bytes of code, $tls for each thread"
exit "$failed"
