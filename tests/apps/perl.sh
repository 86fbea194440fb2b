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
perl_ends
good "perl with a child, pipes and alarms goes on after three restores"
