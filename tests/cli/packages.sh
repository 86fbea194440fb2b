#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Which package code was of, and is of: dump --packages, and who tells it of another build.
. "$(dirname "$0")/../lib/cli.sh"
cd "$T" || exit 1
command -v python3 >/dev/null || skip 'there is no python3'

libc=$(ldd /bin/sleep | sed -n 's/.*libc\.so.* => \([^ ]*\).*/\1/p')
[ -e "$libc" ] || skip 'sleep has no libc'
mkdir lib bin
reset() { cp -p "$libc" lib/libc.so.6; }
another_build() {
	python3 - "$libc" lib/libc.so.6 <<'PY'
import sys
b = bytearray(open(sys.argv[1], 'rb').read()); b[b.index(b'\x03\0\0\0GNU\0') + 8] ^= 0xff
open(sys.argv[2], 'wb').write(b)
PY
}
# dpkg_says VERSION: it knows all of lib/ here, a diversion, and one that several packages have. It notes how the
# program that is dumped does meanwhile.
dpkg_says() {
	cat >bin/dpkg-query <<SH
#!/bin/sh
echo "\$1" >>'$T/asked'
grep -s -e ^State -e ^TracerPid /proc/\$(cat '$T/target')/status >>'$T/meanwhile'
case \$1 in
-S)
	echo "diversion by other from: $T/lib/libc.so.6"
	echo "fake:amd64, other: $T/lib/libc.so.6"
	echo "other: /not/asked/for"
	exit 1
	;;
-W) [ -z "$1" ] || printf 'other 7\nfake:amd64 $1\n' ;;
esac
SH
	chmod +x bin/dpkg-query
	rm -f asked meanwhile
}
# gives NAME REGEX ARGS...: what a plan finds wrong.
gives() {
	local name=$1 re=$2
	shift 2
	ckpt plan "$@"
	check "$name: status" test "$status" = 1
	check "$name: says so" grep -Eq -- "$re" err
}
PATH=$T/bin:$PATH

reset
LD_LIBRARY_PATH=$T/lib start sleep 1000
echo "$PID" >target
dpkg_says 1.0-1
ckpt dump -t "$PID" -R -D plain
check 'nobody is asked by default' test "$status" = 0 -a ! -e asked
ckpt dump -t "$PID" -R -D img --packages
check 'a dump asks' test "$status" = 0 -a "$(xargs <asked)" = '-S -W'
check 'when the program goes on' test "$(sort -u meanwhile | tr -d '\t' | xargs)" = 'State:S (sleeping) TracerPid:0'
ckpt show --json -D img
check 'the image has it' grep -q '"package": *"fake:amd64 1.0-1' out
check 'once: of that file alone' test "$(grep -c '"package":' out)" = 1
ckpt show --memory -D img
check 'the map has it' grep -q 'lib/libc.so.6  *fake:amd64 1.0-1$' out
ckpt show --memory -D plain
check 'a map without' test -z "$(grep package out)"
ckpt plan -D img
check 'nothing has changed' test -z "$(grep libc.so.6 err)"

dpkg_says 1.0-2
another_build
gives 'another version' "lib/libc.so.6 \(dumped from package fake:amd64 1.0-1, here fake:amd64 1.0-2\): is another build: " -D img
gives 'not kept' 'lib/libc.so.6 \(package fake:amd64 1.0-2\): is another build: ' -D plain
ckpt show --file-list -D img
cp out there.list
check 'a list has it' grep -q $'^#package\tfake:amd64 1.0-2$' there.list
head -c 3000 "$libc" >lib/libc.so.6
gives 'cut' 'lib/libc.so.6 \(dumped from package fake:amd64 1.0-1, here fake:amd64 1.0-2\): had [0-9]* bytes, has 3000 now' -D img
dpkg_says ''
another_build
gives 'no version is known' '1.0-1, here fake:amd64\): is another' -D img
printf '#!/bin/sh\nexit 1\n' >bin/dpkg-query
gives 'nobody knows' '1.0-1, here of no package that is known\): is another' -D img
reset
gives 'as another machine says' '1.0-1, here fake:amd64 1.0-2\): is another' -D img --on-files there.list

# rpm: a line for each, or none is believed.
cat >bin/rpm <<SH
#!/bin/sh
[ "\$1 \$2" = '-qf --' ] && shift 2
for f; do case \$f in $T/lib/libc.so.6) echo fake-2.0-1.x86_64 ;; *) echo "file \$f is not owned by any package" ;; esac; done
[ ! -e '$T/more' ] || echo more-1-1.x86_64
SH
chmod +x bin/rpm
ckpt dump -t "$PID" -R -D rpm --packages
ckpt show --json -D rpm
check 'rpm is asked' grep -q '"package": *"fake-2.0-1.x86_64' out
check 'rpm: of that file alone' test "$(grep -c '"package":' out)" = 1
touch more
ckpt dump -t "$PID" -R -D rpm2 --packages
check 'rpm: a line too many: dump' test "$status" = 0
ckpt show --json -D rpm2
check 'rpm: a line too many' test "$(grep -c '"package":' out)" = 0

# One that hangs.
printf '#!/bin/sh\nexec sleep 1000\n' >bin/dpkg-query
SECONDS=0
ckpt dump -t "$PID" -R -D hangs --packages
check 'one that hangs: the image is made' test "$status" = 0 -a "$SECONDS" -lt 30
check 'one that hangs: the program goes on' unharmed "$PID"
dpkg_says 1.0-1
ckpt dump -t "$PID" -D ends --packages
check 'of one that ends: dump' test "$status" = 0
ckpt show --json -D ends
check 'of one that ends' grep -q '"package": *"fake:amd64 1.0-1' out
finish_as_both
