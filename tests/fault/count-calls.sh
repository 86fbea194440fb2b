#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Counts the system calls of dumps; see count-calls.c.
program=${BUILD:-.}/tests/fault/count-calls
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
exec "$program" "$@"
