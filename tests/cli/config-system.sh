#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Configuration files of the machine and of the user, in their order, and one that may not be read. In mounts of its own, with
# an /etc of its own.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS-}" ] && unshare -m true 2>/dev/null; then
	OWN_MOUNTS=1 exec unshare -m --propagation private bash "$0" "$@"
fi
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
mkdir -p etc/ckpt etc/criu home/.config/ckpt home/.criu
cp /etc/passwd /etc/group etc; cp /etc/ld.so.c* etc 2>/dev/null; cp -r /etc/alternatives etc 2>/dev/null
[ -n "${OWN_MOUNTS-}" ] && mount --bind etc /etc 2>/dev/null || skip 'takes mounts of its own'
export HOME=$T/home
unset CKPT_CONFIG_FILE CRIU_CONFIG_FILE

# has PROGRAM NAME VALUE ORIGIN ARGS...
has() {
	"$1" config "${@:5}" >out 2>err
	check "$2 is $3 ($4)" grep -Eq "^$2 +$3 +$4\$" out
}
printf 'timeout 1\nghost-limit 1M\ncarry all\nlog-file a\nwork-dir w1\n' >etc/ckpt/default.conf
printf 'timeout 2\nghost-limit 2M\ncarry written\nlog-file b\n' >home/.config/ckpt/default.conf
printf 'timeout 3\nghost-limit 3M\ncarry mapped\n' >variable.conf
printf 'timeout 4\nghost-limit 4M\n' >named.conf
export CKPT_CONFIG_FILE=$T/variable.conf
has "$CKPT" timeout 5 'command line' --config named.conf --timeout 5
has "$CKPT" ghost-limit 4M named.conf:2 --config named.conf --timeout 5
has "$CKPT" carry mapped "$T/variable.conf:3" --config named.conf
has "$CKPT" log-file b "$T/home/.config/ckpt/default.conf:4" --config named.conf
has "$CKPT" work-dir w1 /etc/ckpt/default.conf:5 --config named.conf
has "$CKPT" work-dir '.*' default --config named.conf --no-default-config
has "$CKPT" ghost-limit 4M named.conf:2 --config named.conf --no-default-config
unset CKPT_CONFIG_FILE

ln -s "$CKPT" criu
printf 'timeout 11\nghost-limit 11M\nlog-file a\n' >etc/criu/default.conf
printf 'timeout 12\nghost-limit 12M\n' >etc/criu/runc.conf
printf 'timeout 13\n' >home/.criu/default.conf
has "$T/criu" timeout 13 "$T/home/.criu/default.conf:1"
has "$T/criu" ghost-limit 12M /etc/criu/runc.conf:2
has "$T/criu" log-file a /etc/criu/default.conf:3
has "$CKPT" timeout 2 "$T/home/.config/ckpt/default.conf:1"

check 'no log was written' test ! -e a -a ! -e b
printf 'timeout 1\nno such line\n' >etc/ckpt/default.conf
expect 'a bad line in the file of the machine' 1 '^ckpt: CKPT-E0510: /etc/ckpt/default.conf: line 2: ' check
rm etc/ckpt/default.conf; mkdir etc/ckpt/default.conf
expect 'it is a folder' 1 '^ckpt: CKPT-E0511: configuration file /etc/ckpt/default.conf: cannot read: Is a directory' check
rmdir etc/ckpt/default.conf
echo 'timeout 1' >etc/ckpt/default.conf; chmod 600 etc/ckpt/default.conf; chmod 755 "$T"
as_nobody "$CKPT" check >out 2>err
check 'it may not be read: status' test $? = 1
check 'it may not be read: says so' \
	grep -q '^ckpt: CKPT-E0511: configuration file /etc/ckpt/default.conf: cannot read: Permission denied' err
umount /etc
finish
