#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kills what frees pages in a chain of images; see kill-dedup.c.
program=${BUILD:-.}/tests/fault/kill-dedup
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
exec "$program" "$@"
