#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a program needs and this machine does not have when it is restored: segments, terminals, addresses, devices, room.
# That is said, with what can be done about it; nothing is left, what was in the way is untouched, and without it the
# program comes back.
# shellcheck disable=SC2016  # it is perl that expands
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v perl >/dev/null || skip 'there is no perl'

# run NAME CODE: the program that perl makes of it; it writes the file ready, and waits.
run() {
	rm -f ready
	start perl -e "$1"'; open(my $r, ">", "'"$T"'/ready"); close($r); sleep(1000) while 1;'
	until_true 10 test -e ready || return 1
	rm -f ready
}
dumped() { # NAME ARG...
	rm -rf img
	expect "$1: dumped" 0 '' dump -t "$PID" -D img "${@:2}"
	until_true 10 gone "$PID"
}
# refused NAME CODE SENTENCE ARGS...: by the plan and the restore, and nothing is left.
refused() {
	expect "$1: refused" 1 "^ckpt: CKPT-E$2: $3" restore -d -D img "${@:4}"
	check "$1: nothing is left" gone "$PID"
}
back() { # NAME ARG...
	restored -D img "${@:2}"
	check "$1: is back" unharmed "$ROOT"
	kill -KILL "$ROOT"
	until_true 5 gone "$ROOT"
}

# ---- System V shared memory: somebody is attached to it, or it is another one. Who may not choose ids has a namespace. ----
# 29 shmget, 30 shmat, 31 shmctl
attach='syscall(30, $id, 0, 0) != -1 or die;'
if [ -z "$BOXED" ] && run 'my $id = syscall(29, 0x636b7074 + $$, 8192, 01600); '"$attach"; then
	segment=$(ipcs -mp | awk -v pid="$PID" '$3 == pid { print $1 }') program=$PID key=$((0x636b7074 + PID))
	dumped 'a segment'
	run "my \$id = $segment; $attach"
	other=$PID PID=$program
	refused 'a segment that is attached' 0417 \
		"shared memory segment $segment \(key 0x[0-9a-f]+\): a process is attached to it; end the programs that are .*ipcs -mp"
	check 'who is attached is unharmed' unharmed "$other"
	kill -KILL "$other"
	until_true 5 gone "$other"
	ipcrm -m "$segment"
	other=$(perl -e 'print syscall(29, $ARGV[0] + 0, 4096, 01600)' "$key")
	refused 'another segment' 0418 \
		"shared memory segment $segment \(key 0x[0-9a-f]+\): another one has its id or its key; remove that one \(ipcrm -m\)"
	check 'the other segment is untouched' test "$(ipcs -m | awk -v id="$other" '$2 == id { print $5 }')" = 4096
	ipcrm -m "$other"
	# Its place is taken by one with another id: that shows when it is made. Places are told by the lowest 15 bits.
	echo $((segment + 32768)) >/proc/sys/kernel/shm_next_id
	other=$(perl -e 'print syscall(29, 0, 4096, 01600)')
	if [ "$other" = $((segment + 32768)) ]; then
		before=$(ipcs -m | wc -l)
		expect 'a segment in its place' 1 "^ckpt: CKPT-E0418: .*segment $segment: another one has its id; remove that one" \
			restore -d -D img
		check 'a segment in its place: nothing is left' gone "$PID"
		check 'nor a segment' test "$(ipcs -m | wc -l)" = "$before"
	fi
	ipcrm -m "$other"
	back 'a segment'
	ipcrm -m "$segment"
fi

# ---- a terminal with both ends: its number is taken ----
master='sysopen(my $m, "/dev/ptmx", 2) or die; my $n = pack("I", 0); ioctl($m, 0x80045430, $n) or die; $n = unpack("I", $n);'
slave='my $no = pack("I", 0); ioctl($m, 0x40045431, $no) or die; sysopen(my $s, "/dev/pts/$n", 0x102) or die;'
if perl -e "$master$slave"; then
	run "$master$slave"
	number=$(readlink "/proc/$PID/fd/"* | sed -n 's/^\/dev\/pts\/\([0-9]\)/\1/p') program=$PID
	dumped 'a terminal'
	run 'my @all; while (1) { '"$master"' push(@all, $m); last if $n >= '"$number"'; }'
	other=$PID PID=$program
	refused 'a terminal' 0421 \
		".*terminal /dev/pts/$number: the number is taken; end the program that has it, or restore where it is free"
	check 'who has the terminal is unharmed' unharmed "$other"
	kill -KILL "$other"
	until_true 5 gone "$other"
	back 'a terminal'
fi

# ---- a terminal whose other end is outside: the restore has to have one; of the leader of its session, the same ----
if command -v script >/dev/null; then
	wait='open(my $r, ">", "shell"); print $r "$$\n"; close($r); sleep(1000) while 1;'
	# job NAME SENTENCE PERL
	job() {
		local terminal
		rm -f shell job.pl
		echo "$3$wait" >job.pl
		start script -qec 'exec perl job.pl' /dev/null
		outer=$PID
		until_true 10 test -s shell || { fail "$1: no target"; return; }
		PID=$(cat shell)
		STARTED+=("$PID")
		terminal=$(readlink "/proc/$PID/fd/0")
		dumped "$1" --shell-job
		kill -KILL "$outer" 2>/dev/null
		until_true 5 test ! -e "$terminal"
		refused "$1" 0406 ".*terminal $terminal: $2; run the restore from a terminal with --shell-job" --shell-job
	}
	job 'a job' 'standard input is no terminal that could take its place' 'if (fork()) { sleep(1000) while 1; }'
	job 'a shell' 'is not there any more' ''
fi

# ---- an address and network devices that are not here: in a network of its own there is nothing but a loopback ----
udp='use IO::Socket::INET; my $s = IO::Socket::INET->new(Proto => "udp", PeerAddr => "198.51.100.1", PeerPort => 9) or die;'
if is_root && unshare -n ip link set lo up 2>/dev/null && address=$(perl -e "$udp"' print $s->sockhost;' 2>/dev/null); then
	device=$(ip -o -4 addr | awk -v a="$address" 'index($4, a "/") == 1 { print $2 }')
	was=$CKPT
	# alone COMMAND: the restores have such a network. Where all is down every address could be had.
	alone() {
		printf '#!/bin/sh\nexec unshare -n sh -c "ip link set lo up && %s && exec \\"\\$@\\"" sh %s "$@"\n' \
			"$1" "$was" >alone
		chmod +x alone
	}
	alone true
	# network NAME CODE SENTENCE PERL
	network() {
		run "$4" || { fail "$1: no target"; return; }
		dumped "$1"
		CKPT=$T/alone
		refused "$1" "$2" "$3"
		CKPT=$was
		back "$1"
	}
	network 'an address' 0420 \
		".*TCP address $address:[0-9]+: this machine does not have it; give this machine the address, or a way to it" \
		'use IO::Socket::INET; my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => "'"$address"'") or die;'
	none="network device $device: is not there"
	network 'a device' 0419 ".*$none; put the device there under that name" \
		'use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0); setsockopt($s, 1, 25, "'"$device"'\0") or die;'
	network 'a multicast group' 0419 ".*$none \(of a multicast group\); put the device there under that name" \
		'use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0);
		setsockopt($s, 0, 35, inet_aton("239.7.7.7") . inet_aton("'"$address"'")) or die;'
	network 'a packet socket' 0419 "$none; put the device there under that name" \
		'use Socket; socket(my $s, 17, SOCK_RAW, 0) or die;
		bind($s, pack("SnlSCCx8", 17, 0x88b5, '"$(cat "/sys/class/net/$device/ifindex")"', 0, 0, 0)) or die;'
	alone "ip addr add $address/32 dev lo"
	network 'a way' 0420 \
		'.*UDP address 198\.51\.100\.1:9: cannot be reached: .*; give this machine the address, or a way to it' \
		"$udp"
fi
# ---- room: contexts of io_setup(2), of which the machine has so many in all; here a filter says that they are used up ----
cat >full.pl <<'P'
# Loads the number of the call; is it io_setup, EAGAIN, else it is made.
my $code = pack("SCCL" x 4, 0x20, 0, 0, 0, 0x15, 0, 1, 206, 0x06, 0, 0, 0x5000b, 0x06, 0, 0, 0x7fff0000);
my $prog = pack("Sx6P", 4, $code);
syscall(157, 38, 1, 0, 0, 0) == 0 && syscall(317, 1, 0, $prog) == 0 or die;
exec(@ARGV);
P
if perl full.pl true 2>/dev/null && run 'my $context = pack("Q", 0); syscall(206, 10, $context) == 0 or die;'; then
	rm -rf img
	ckpt dump -t "$PID" -D img # with a note on what is not done
	until_true 10 gone "$PID"
	printf '#!/bin/sh\nexec perl %s/full.pl %s "$@"\n' "$T" "$CKPT" >full
	chmod +x full
	was=$CKPT CKPT=$T/full
	refused 'contexts' 0265 '.*no room for [0-9]+ requests; raise /proc/sys/fs/aio-max-nr'
	CKPT=$was
	back 'contexts'
fi

# ---- room to unpack pages: in a machine that has no memory left, in a folder that is full ----
if is_root && unshare -m --propagation private mount -t tmpfs none "$T" 2>/dev/null && run 'my $m = "x" x (200 << 20);'; then
	sed 's/^\(MemAvailable:\) .*/\1 20000 kB/' /proc/meminfo >meminfo
	mkdir small
	cat >poor <<-P
		#!/bin/sh
		exec unshare -m --propagation private sh -c '
			mount -t tmpfs -o size=8m none small && cp -r img small && mount --bind meminfo /proc/meminfo || exit
			cd small && { [ ! -e ../stream ] || exec <../stream; } && exec "\$@"' sh $CKPT "\$@"
	P
	chmod +x poor
	"$CKPT" dump -R -t "$PID" -D - >streamed 2>/dev/null
	dumped 'packed pages' -c
	was=$CKPT CKPT=$T/poor
	refused 'packed pages' 0333 \
		'img/pages: cannot unpack [0-9]+ MiB of pages: there is neither .*; free memory, or space in that folder'
	mv streamed stream
	LIMIT=30 refused 'a stream' 0333 '.*: no memory is left after [0-9]+ MiB of pages; free memory, or space in that folder' -D -
	CKPT=$was
	back 'packed pages'
fi
# ---- huge pages: those that the machine may make are reserved for nobody; whoever changes how many has the file locked ----
huge=/proc/sys/vm/nr_overcommit_hugepages
if is_root && [ "$(cat /proc/sys/vm/nr_hugepages)" = 0 ] && run 'open(my $f, "<", "'$huge'"); flock($f, 2) or die;'; then
	lock=$PID
	allowed=$(cat $huge)
	trap 'echo "$allowed" >$huge; cleanup' EXIT
	# 9 mmap: private, anonymous, MAP_HUGETLB
	if echo 8 >$huge && run 'my $p = syscall(9, 0, 4 << 20, 3, 0x40022, -1, 0); $p > 0 or die;'; then
		dumped 'huge pages'
		echo 0 >$huge
		refused 'huge pages' 0241 '2 huge pages of 2048 kB are needed, and 0 are free; reserve more: /proc/sys/vm/nr_hugepages'
		echo 8 >$huge
		back 'huge pages'
	fi
	# 319 memfd_create: MFD_HUGETLB; shared, 32 MiB of which two pages hold something and none is promised; and private, one page
	if echo 8 >$huge && run 'my $n = "huge"; my $fd = syscall(319, $n, 4); $fd > 2 or die; syscall(77, $fd, 32 << 20) == 0 or die;
		my $all = syscall(9, 0, 32 << 20, 3, 0x4001, $fd, 0); my $own = syscall(9, 0, 2 << 20, 3, 2, $fd, 0); $own > 0 or die;
		open(my $m, "+<", "/proc/self/mem"); for ($all, $all + (9 << 20), $own) { sysseek($m, $_, 0); syswrite($m, "x") or die; }
		close($m);'; then
		dumped 'a file of huge pages'
		echo 2 >$huge
		refused 'a file of huge pages' 0241 \
			'3 huge pages of 2048 kB are needed, and 2 are free; reserve more: /proc/sys/vm/nr_hugepages'
		echo 3 >$huge
		back 'a file of huge pages'
	fi
	echo "$allowed" >$huge
	trap cleanup EXIT
	kill -KILL "$lock"
fi
finish_as_both
