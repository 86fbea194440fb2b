#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a dump cannot take along is said by name, and the program goes on with it.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1

command -v perl >/dev/null || skip 'there is no perl'
# 248, 250: add_key(2), keyctl(2) with KEYCTL_GET_KEYRING_ID; -2: of the process.
cat >keys.pl <<'PROG'
my ($type, $name, $key) = ("user", "ckpt-test", "secret");
syscall(248, $type, $name, $key, 6, -2) >= 0 or exit 1;
sleep 1000;
PROG
if perl -e 'my ($t, $n, $k) = ("user", "ckpt-test", "secret"); exit(syscall(248, $t, $n, $k, 6, -2) < 0)'; then
	start perl "$T/keys.pl"
	ckpt dump -R -t "$PID" -D keys
	check 'a process with keys can be dumped' test "$status" = 0
	check 'its keys are said to be lost' grep -q "process $PID: the keys of its own keyring" "$T/err"
	check 'it goes on' unharmed "$PID"
	ckpt show -D keys
	check 'the image knows' grep -q 'the keys of its own keyring' "$T/out"
fi
finish
