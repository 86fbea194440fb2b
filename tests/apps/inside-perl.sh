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
perl_ends
good "perl with a child, pipes and alarms: $rounds checkpoints, two restores"
