#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Damages images; see flip.c.
program=${BUILD:-.}/tests/fault/flip
[ -x "$program" ] || { echo "skip - $program is not built"; exit 77; }
exec "$program" "$@"
