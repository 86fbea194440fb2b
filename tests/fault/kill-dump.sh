#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kills dumps at chosen system calls and at random instants; see kill-dump.c.
program=${BUILD:-.}/tests/fault/kill-dump
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
exec "$program" "$@"
