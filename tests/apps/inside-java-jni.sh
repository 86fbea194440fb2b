#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Java with a native library from a deleted file, from inside, with no option.
. "$(dirname "$0")/inside.bash"
. "$T/jni.bash"
rounds=${INSIDE_ROUNDS:-6}
build
start java -XX:-UsePerfData -Xmx64m -cp "$T" Jni
through java 3
[ ! -e loaded.so ] && [ ! -e deleted.log ] || bad "a deleted file is back"
comes_to_end java
good "java with a native library that was deleted: $rounds checkpoints, two restores"
