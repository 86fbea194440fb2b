#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Configuration files: syntax, order, what `ckpt config` says of them, and every way in which one can be wrong.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
export HOME=$T/home
mkdir -p home/.config/ckpt home/.criu
unset CKPT_CONFIG_FILE CRIU_CONFIG_FILE

# has NAME VALUE ORIGIN ARGS...: what `config` says of the option NAME.
has() {
	local name=$1 value=$2 origin=$3
	shift 3
	ckpt config "$@"
	check "$name is $value ($origin)" grep -Eq "^$name +$value +$origin\$" "$T/out"
}
has timeout 10 default
cat >home/.config/ckpt/default.conf <<'CONF'
# a comment
timeout 11		# and another
ghost-limit=20M
work-dir "/a folder/with \"quotes\""

leave-running
carry mapped
no-link-remap
CONF
conf=$T/home/.config/ckpt/default.conf
has timeout 11 "$conf:2"
has ghost-limit 20M "$conf:3"
has work-dir '/a folder/with "quotes"' "$conf:4"
has leave-running yes "$conf:6"
has carry mapped "$conf:7"
has link-remap no "$conf:8"
has timeout 10 default --no-default-config
echo 'timeout 12' >env.conf
export CKPT_CONFIG_FILE=$T/env.conf
has timeout 12 "$T/env.conf:1"
printf 'timeout\t13\r\ntcp-close' >named.conf
has timeout 13 named.conf:1 --config named.conf
has tcp-close yes named.conf:2 --config=named.conf
has timeout 14 'command line' --config named.conf --timeout 14
has leave-running yes "$conf:6" --config named.conf
has timeout 13 named.conf:1 --config named.conf --no-default-config
unset CKPT_CONFIG_FILE
check 'every option has a line' test "$(wc -l <out)" = "$("$CKPT" help options | wc -l)"

# What is for one command means nothing to another; what is needed is read.
expect 'restore with options of dump' 1 '^ckpt: CKPT-E0301: ' restore -D none
start sleep 1000
echo 'leave-running' >home/.config/ckpt/default.conf
expect 'a dump that leaves it, by a file' 0 '' dump -t "$PID" -D img
check 'it runs' unharmed "$PID"
echo 'file-locks' >home/.config/ckpt/default.conf

# As criu.
ln -s "$CKPT" criu
echo 'timeout 21' >home/.criu/default.conf
"$T/criu" config >"$T/out" 2>"$T/err"
check 'as criu' grep -Eq "^timeout +21 +$T/home/.criu/default.conf:1\$" "$T/out"
echo 'timeout 22' >c.conf
CRIU_CONFIG_FILE=c.conf "$T/criu" config >"$T/out" 2>"$T/err"
check 'as criu, by its variable' grep -Eq '^timeout +22 +c.conf:1$' "$T/out"

# wrong LINE TEXT REGEX
wrong() {
	printf '# first\n%s\n' "$1" >bad.conf
	expect "wrong: $1" 1 "^ckpt: CKPT-E0510: bad.conf: line 2: $2.*; correct that line\$" check --config bad.conf
}
wrong 'frobnicate' '--frobnicate: there is no such option'
wrong 'ghost-limit 3X' '--ghost-limit=3X: "3X" is not a size'
wrong 'timeout soon' '.*"soon" is not a number'
wrong 'file-validation maybe' '.*is not one of'
wrong 'timeout 1 2' 'an option has one value'
wrong 'timeout=1 2' 'an option has one value'
wrong 'timeout' '.*the value is missing'
wrong 'leave-running yes' '.*takes no value'
wrong '--timeout 3' 'options are written without the dashes'
wrong 'work-dir "open' 'is no text, or a quote is not closed'
wrong 'config other.conf' 'a configuration file cannot name another'
wrong $'time\001out 3' 'is no text'
printf 'timeout 3\0\n' >bad.conf
expect 'binary' 1 '^ckpt: CKPT-E0510: bad.conf: line 1: is no text' check --config bad.conf
expect 'a folder' 1 "^ckpt: CKPT-E0511: configuration file $T: cannot read: Is a directory" check --config "$T"
expect 'not there' 1 '^ckpt: CKPT-E0511: configuration file nowhere: cannot read: No such file' check --config nowhere
head -c 2000000 /dev/zero | tr '\0' '\n' >large.conf
expect 'far too large' 1 '^ckpt: CKPT-E0511: configuration file large.conf: cannot read: File too large' check --config large.conf
CKPT_CONFIG_FILE=nowhere expect 'a variable that leads nowhere' 1 '^ckpt: CKPT-E0511: configuration file nowhere: cannot read' config
rm home/.config/ckpt/default.conf; mkdir home/.config/ckpt/default.conf
expect 'a default file that is a folder' 1 '^ckpt: CKPT-E0511: configuration file .*default.conf: cannot read: Is a directory' check
rmdir home/.config/ckpt/default.conf; ln -s default.conf home/.config/ckpt/default.conf
expect 'a default file that leads to itself' 1 '^ckpt: CKPT-E0511: configuration file .*: Too many levels' check
echo 'stream' >refused.conf
expect 'what is refused is refused' 3 '^ckpt: CKPT-E0502: --stream: ' restore -D none --no-default-config --config refused.conf
finish
