#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Perl: a parent and a child that pass numbers along pipes, and a timer signal.
. "$(dirname "$0")/lib.bash"
need perl

cat >"$T/p.pl" <<'PL'
use strict;
use warnings;
use IO::Handle;
my ($alarms, %seen) = (0);
pipe(my $down_r, my $down_w) or die;
pipe(my $up_r, my $up_w) or die;
$_->autoflush(1) for $down_w, $up_w;
my $child = fork();
if (!$child) {
	while (<$down_r>) { print $up_w $_ * 2, "\n"; }
	exit 0;
}
$SIG{ALRM} = sub { $alarms++; alarm(1); };
alarm(1);
my $n = 0;
until (-e "stop") {
	$n++;
	print $down_w "$n\n";
	my $got = <$up_r>;
	if ($got != 2 * $n) { open(my $f, ">", "failed"); print $f "$n gives $got"; exit 1; }
	$seen{$n} = "x" x ($n % 100);
	open(my $f, ">", "n.new") or die;
	print $f "$n\n";
	close($f);
	rename("n.new", "n");
	select(undef, undef, undef, 0.002);
}
kill("TERM", $child);
waitpid($child, 0);
open(my $f, ">", "ended");
print $f scalar(keys %seen) == $n ? "alarms $alarms\n" : "lost\n";
PL
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
