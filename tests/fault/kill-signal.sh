#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kills requesters at chosen system calls and at random instants; see kill-signal.c.
program=${BUILD:-.}/tests/fault/kill-signal
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
exec "$program" "$@"
