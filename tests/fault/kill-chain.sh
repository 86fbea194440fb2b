#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kills the rounds of a chain of images; see kill-chain.c.
program=${BUILD:-.}/tests/fault/kill-chain
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
exec "$program" "$@"
