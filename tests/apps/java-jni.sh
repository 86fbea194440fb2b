#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Java with a native library from a deleted file, from outside, with no option.
. "$(dirname "$0")/lib.bash"
. "$T/jni.bash"
build
start java -XX:-UsePerfData -Xmx64m -cp "$T" Jni
until_true greater n 3 || bad "java does not start"
has_deleted "$pid" || bad "the library is not mapped, or not deleted"
take_same
for round in 1 2; do
	take
	until_true greater n $(($(number n) + 3)) || bad "java does not go on after restore $round"
	[ -n "$(ps -o pid= -p "$pid")" ] || bad "java has died after restore $round"
done
dump -R || bad "dump -R fails"
until_true greater n $(($(number n) + 3)) || bad "java does not go on after a dump that leaves it"
[ ! -e loaded.so ] && [ ! -e deleted.log ] || bad "a deleted file is back"
touch stop
until_true test -s ended || bad "java does not come to its end"
good "java with a native library that was deleted: two restores"
