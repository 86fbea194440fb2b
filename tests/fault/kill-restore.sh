#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kills restores and lets their system calls fail; see kill-restore.c.
program=${BUILD:-.}/tests/fault/kill-restore
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
exec "$program" "$@"
