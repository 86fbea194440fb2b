#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Lets system calls of dumps fail; see fail-dump.c.
program=${BUILD:-.}/tests/fault/fail-dump
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
exec "$program" "$@"
