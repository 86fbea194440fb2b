# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the scripts of tests/look that compare with gdb: in $T, with ./threads there.
for tool in gdb python3; do command -v $tool >/dev/null || skip "$tool is missing"; done
threads=$PWD/tests/look/threads
[ -x "$threads" ] || skip "$threads is not built"
cd "$T" || exit 1
cp "$threads" threads
