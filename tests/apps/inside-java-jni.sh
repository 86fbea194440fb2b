#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Java with a native library from a deleted file, from inside, with no option.
. "$(dirname "$0")/inside.bash"
. "$T/jni.bash"
rounds=${INSIDE_ROUNDS:-6}
build
start java -Xmx64m -cp "$T" Jni
until_true greater n 3 || bad "java does not start"
many
goes_on n || bad "java does not go on after the checkpoints"
for round in 1 2; do
	take
	goes_on n || bad "java does not go on after restore $round"
done
[ ! -e loaded.so ] && [ ! -e deleted.log ] || bad "a deleted file is back"
touch stop
until_true test -s ended || bad "java does not come to its end"
good "java with a native library that was deleted: $rounds checkpoints, two restores"
