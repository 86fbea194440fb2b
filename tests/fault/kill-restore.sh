#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kills restores and lets their system calls fail; see kill-restore.c.
program=${BUILD:-.}/tests/fault/kill-restore
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
# The image's numbers have to stay free for minutes: where nobody else can take them.
unshare -pf --mount-proc true 2>/dev/null && exec unshare -pf --mount-proc --kill-child "$program" "$@"
exec "$program" "$@"
