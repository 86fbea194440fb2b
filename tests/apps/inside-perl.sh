#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Perl with a child, pipes and a timer signal.
. "$(dirname "$0")/inside.bash"
. "$T/perl.bash"
start perl "$T/p.pl"
until_true greater n 10 || bad "perl does not start"
many
goes_on n || bad "perl does not go on after the checkpoints"
for round in 1 2; do
	take
	goes_on n || bad "perl does not go on after restore $round"
	[ ! -e failed ] || bad "$(cat failed)"
done
sleep 1.2
touch stop
until_true test -s ended || bad "perl does not come to its end"
grep -q 'alarms [1-9]' ended || bad "no alarms: $(cat ended)"
good "perl with a child, pipes and alarms: $rounds checkpoints, two restores"
