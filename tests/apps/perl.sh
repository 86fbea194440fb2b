#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Perl: a parent and a child that pass numbers along pipes, and a timer signal.
. "$(dirname "$0")/lib.bash"
. "$T/perl.bash"
start perl "$T/p.pl"
until_true greater n 10 || bad "perl does not start"
take_same
for round in 1 2 3; do
	take
	read -r before <n
	until_true greater n $((before + 20)) || bad "perl does not go on after restore $round"
	[ ! -e failed ] || bad "$(cat failed)"
done
sleep 1.2
touch stop
until_true test -s ended || bad "perl does not come to its end"
grep -q 'alarms [1-9]' ended || bad "no alarms: $(cat ended)"
good "perl with a child, pipes and alarms goes on after three restores"
