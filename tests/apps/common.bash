# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What lib.bash and inside.bash share: for the inner run of a script, in $T. VARIANT is what its results are told of.
cd "$T" || exit 1
n_images=0
need() { command -v "$1" >/dev/null || skip "there is no $1"; }
bad() {
	echo "not ok - $VARIANT: $*"
	[ ! -s "$T/ckpt.out" ] || sed 's/^/#   ckpt: /' "$T/ckpt.out"
	[ ! -s "$T/out" ] || tail -n 20 "$T/out" | sed 's/^/#   program: /'
	exit 1
}
good() { echo "ok - $VARIANT: $*"; exit 0; }

# until_true COMMAND...: at most twenty seconds.
until_true() {
	local i
	for ((i = 0; i < 2000; i++)); do
		"$@" && return 0
		sleep 0.01
	done
	return 1
}
# number FILE: what is in it, 0 if nothing is.
number() { local is=0; read -r is 2>/dev/null <"$1"; echo "${is:-0}"; }
# greater FILE NUMBER: the file holds a greater number.
greater() { [ "$(number "$1")" -gt "$2" ]; }
# gone PID: with all of its session, reaped.
gone() { [ -z "$(ps -o pid= -s "$1")" ]; }
# kill_all: the session of pid; what is in its group at once.
kill_all() {
	local p
	kill -KILL -- -"$pid" 2>/dev/null
	for p in $(ps -o pid= -s "$pid"); do kill -KILL "$p" 2>/dev/null; done
}
# restore ARGS...: the last image; sets pid.
restore() {
	"$T/ckpt" restore -d -D "$T/img$n_images" "$@" >"$T/ckpt.out" 2>&1 || return 1
	# In a pid namespace of its own, it has another number outside.
	pid=$(sed -n 's/.* pid \([0-9]*\) outside.*/\1/p' "$T/ckpt.out")
	pid=${pid:-$inner}
}

# free_port: one that nobody listens on.
free_port() {
	local port
	for _ in {1..50}; do
		port=$((20000 + RANDOM % 12000))
		(exec 8<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo $port; return; }
	done
}
# fetch PORT PATH: the answer of a web server, header and all.
fetch() {
	local answer
	exec 8<>"/dev/tcp/127.0.0.1/$1" || return 1
	printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&8
	answer=$(timeout 10 cat <&8)
	exec 8>&-
	[ -n "$answer" ] && echo "$answer"
} 2>/dev/null
