# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For scripts of tests/cli: a program with memory of several sorts that says what its checksum is when it is asked.

# shellcheck disable=SC2016  # it is perl that expands
sums_program='use Digest::MD5 "md5_hex"; my $dir = shift; my $noise;
	open(my $f, "<", "/dev/urandom"); read($f, $noise, 3 << 20); close($f);
	my @m = (join(" ", 1 .. 400000), "\0" x (5 << 20), $noise, "x" x (4 << 20), $noise);
	while (1) { select(undef, undef, undef, 0.02); next if !-e "$dir/ask";
		open(my $o, ">", "$dir/new"); print $o md5_hex(@m), "\n"; close($o); rename("$dir/new", "$dir/said"); unlink("$dir/ask"); }'

# In $T, with a folder ./p for it.
command -v perl >/dev/null || skip 'perl is missing'
cd "$T" || exit 1
chmod 755 .; mkdir p; chmod 777 p
# start_sums DIR: $PID is the program, $SUM its checksum.
# shellcheck disable=SC2034  # for the scripts
start_sums() {
	start perl -e "$sums_program" "$1"
	SUM=$(ask_sums "$1")
}
ask_sums() {
	rm -f "$1/said"
	: >"$1/ask"
	until_true 10 test -s "$1/said" && cat "$1/said"
}
same_sums() { [ -n "$SUM" ] && [ "$(ask_sums "$1")" = "$SUM" ]; }
