#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory that cannot be tracked: kernels without the calls, programs under a filter; and programs that end, become others
# or fork in the middle of a round.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'perl is missing'
takes_tracking

# filter.pl ERRNO NR COMMAND ARG...: runs ARG... under a filter (seccomp(2)) in which call NR, with COMMAND as its second
# argument unless that is 0, fails.
cat >filter.pl <<'P'
my ($errno, $nr, $command, @run) = @ARGV;
my $fail = pack("SCCL", 0x06, 0, 0, 0x50000 | $errno);
my $pass = pack("SCCL", 0x06, 0, 0, 0x7fff0000);
my $load = sub { pack("SCCL", 0x20, 0, 0, $_[0]) };     # of struct seccomp_data: 0 the call, 24 its second argument
my $same = sub { pack("SCCL", 0x15, 0, $_[1], $_[0]) }; # else skip as many
my @f = ($load->(0), $same->($nr, oct($command) ? 3 : 1));
push(@f, $load->(24), $same->(oct($command), 1)) if oct($command);
my $code = join("", @f, $fail, $pass);
my $prog = pack("Sx6P", length($code) / 8, $code);
syscall(157, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";    # prctl
syscall(317, 1, 0, $prog) == 0 or die "seccomp: $!";
exec(@run);
P
SCAN=0xc0606610 API=0xc018aa3f IOCTL=16 ENOTTY=25 EINVAL=22
perl filter.pl $ENOTTY $IOCTL 0xdead true 2>/dev/null || skip 'filters cannot be made here'

# Counts in a file and has 16 MiB; asked by a file it becomes itself again, or forks all the time.
cat >prog.pl <<'P'
my ($name) = @ARGV;
my $m = "x" x (16 << 20); my $n = 0;
open(my $w, ">", $name);
while (1) {
	$n++;
	substr($m, ($n % 4096) * 4096, 1) = "y";
	sysseek($w, 0, 0); syswrite($w, sprintf("%8d", $n));
	exec("perl", $0, $name) if -e "$name.exec";
	if (-e "$name.fork") { if (!fork()) { select(undef, undef, undef, 0.01); exit; } while (waitpid(-1, 1) > 0) {} }
	select(undef, undef, undef, 0.005);
}
P
count() { local n; n=$(cat n 2>/dev/null); echo $((n)); }
beyond() { [ "$(count)" -gt "$1" ]; }
prog() {
	rm -f n
	start "$@" perl prog.pl "$T/n"
	until_true 20 beyond 2 || { fail 'no target'; finish; }
}
still() {
	local now
	now=$(count)
	check "$1: the target goes on" until_true 20 beyond $((now + 2))
	check "$1: nobody traces it" unharmed "$PID"
}
end() { kill -KILL "$PID"; until_true 5 gone "$PID"; }
without() { # without NAME ERRNO COMMAND: this ioctl(2) of ckpt's own fails
	local was=$CKPT
	printf '#!/bin/sh\nexec perl %s/filter.pl %s %s %s %s "$@"\n' "$T" "$2" $IOCTL "$3" "$was" >without
	chmod +x without
	CKPT=$T/without
	ckpt pre-dump -t "$PID" -D p
	check "$1: a pre-dump is refused by name" grep -Eq '^ckpt: CKPT-E0344: ' "$T/err"
	check "$1: nothing is left" test "$status" = 3 -a ! -e p
	ckpt dump -t "$PID" -D d1 --track-mem -R
	check "$1: a dump is there" test "$status" = 0
	check "$1: that none can go on from it is said" grep -Eq '^note: .*no image can go on from this one' "$T/err"
	ckpt dump -t "$PID" -D d2 --prev-images-dir ../d1 -R
	check "$1: the next one is complete" test "$status" = 0 -a ! -e d2/parent
	CKPT=$was
	expect "$1: it is whole" 0 '' verify -D d2
	still "$1"
	rm -rf p d1 d2
}

prog
without 'no PAGEMAP_SCAN' $ENOTTY $SCAN
without 'another PAGEMAP_SCAN' $EINVAL $SCAN
without 'no tracking by userfaultfd' $EINVAL $API

# ---- a container that forbids userfaultfd(2) to who restores ----
EPERM=1 USERFAULTFD=323 was=$CKPT
printf '#!/bin/sh\nexec perl %s/filter.pl %s %s 0 %s "$@"\n' "$T" $EPERM $USERFAULTFD "$was" >without
CKPT=$T/without
ckpt check --feature UFFD_FEATURE_WP_ASYNC
check 'no userfaultfd: what it costs is told' grep -q '^missing .*memory cannot be tracked' "$T/out"
expect 'no userfaultfd: a dump' 0 '' dump -t "$PID" -D u
until_true 5 gone "$PID"
expect 'no userfaultfd: none to serve memory with' 1 '^ckpt: (CKPT-E0440: )?.*userfaultfd' restore -d -D u --lazy
check 'no userfaultfd: nothing is left' gone "$PID"
[ -n "$BOXED" ] || expect 'no userfaultfd: restored all the same' 0 '^note: .*no_new_privs' restore -d -D u
[ -z "$BOXED" ] || ckpt restore -d -D u
check 'no userfaultfd: it goes on' until_true 20 beyond $(($(count) + 2))
CKPT=$was
[ -n "$BOXED" ] || end
prog

# ---- in the middle of a round ----
for what in fork exec; do
	touch n.$what
	for i in 1 2 3; do
		ckpt pre-dump -t "$PID" -D r1
		if [ "$status" = 0 ]; then
			ckpt dump -t "$PID" -D r2 --prev-images-dir ../r1 -R
			[ "$status" != 0 ] || ckpt verify -D r2
		fi
		# A round may fail, for a process that is there no more; but then it says so.
		[ "$status" = 0 ] || check "$what: what fails says why" grep -Eq '^ckpt: (CKPT-E[0-9]{4}: )?process ' "$T/err"
		[ "$status" = 0 ] || check "$what: nothing is left" test ! -e r2/image -o -e r2/parent
		rm -rf r1 r2
	done
	rm n.$what
	still "$what in a round"
done
for i in 1 2 3; do
	"$CKPT" pre-dump -t "$PID" -D x1 >"$T/out" 2>"$T/err" &
	round=$!
	sleep 0.0$i
	end
	wait $round
	status=$?
	check 'it ends in a round: a whole image, or one sentence' \
		test $status = 0 -a -e x1/image -o $status = 1 -a "$(wc -l <"$T/err")" = 1 -a ! -e x1/image
	[ $status != 0 ] || expect 'it ends in a round: whole' 0 '' verify -D x1
	rm -rf x1
	prog
done
end

# ---- a program under a filter ----
prog perl filter.pl $EINVAL $IOCTL 0xdead
expect 'under a filter: a pre-dump' 3 '^ckpt: CKPT-E0344: process [0-9]+: its memory cannot be tracked' pre-dump -t "$PID" -D f1
if is_root; then # others may not suspend it
	ckpt dump -t "$PID" -D f2 --track-mem -R
	check 'under a filter: a dump is there' test "$status" = 0
	check 'under a filter: no image can go on from it' grep -Eq '^note: .*no image can go on' "$T/err"
	refused=1 no_copy='CKPT-E0117: process [0-9]+: a seccomp filter may keep it from .*; raise --max-freeze, leave out '
else
	refused=3 no_copy='CKPT-E0230: process [0-9]+ .*: .*, which only root may suspend; run ckpt dump as root, '
fi
expect 'under a filter: no copy, and what to do' $refused "^ckpt: $no_copy" \
	dump -t "$PID" -D f3 -R --max-freeze-action copy
check 'under a filter: no image' test ! -e f3
still 'under a filter'
finish_as_both
