# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For perl.sh and inside-perl.sh: a parent and a child that pass numbers along pipes, and a timer signal.
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

# It is told to end, and its timer has gone on.
perl_ends() {
	sleep 1.2
	touch stop
	until_true test -s ended || bad "perl does not come to its end"
	grep -q 'alarms [1-9]' ended || bad "no alarms: $(cat ended)"
}
