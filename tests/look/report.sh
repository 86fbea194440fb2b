#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The page of a report: well-formed enough for a browser to show all of it, from nothing but itself. In Chromium where it
# is installed ($CHROMIUM or chromium); else only what can be read in the file.
. "$(dirname "$0")/../lib/cli.sh"
image=$here/tests/images/two
cd "$T" || exit 1

expect 'a page' 0 '' report -D "$image" -o page.html
check 'both processes' test "$(grep -c '<details class=process' page.html)" = 2
check 'a picture of each' test "$(grep -c '<svg class=map' page.html)" = 2
check 'nothing raw in it' test -z "$(grep "$(printf '\033')" page.html)"
check 'nothing from elsewhere' test -z "$(grep -E 'https?:|src=|<script|<link|url\(' page.html | grep -v default-src)"
check 'private' test "$(stat -c %a page.html)" = 600
expect 'not over another one' 1 '^ckpt: CKPT-E0312: page.html: it is there already' report -D "$image" -o page.html
expect 'no file' 2 '^ckpt: CKPT-E0504: report: -o FILE is missing' report -D "$image"
expect 'no image' 1 '^ckpt: CKPT-E0301: ' report -D none -o x.html

# Names that are made to be markup.
start bash -c 'exec -a "<script>alert(1)</script>&amp;<b>" sleep 1000'
ckpt dump -t "$PID" -D evil
expect 'a program with a name like markup' 0 '' report -D evil -o evil.html
check 'it is text' grep -q '&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;&lt;b&gt;' evil.html
check 'it is nothing else' test -z "$(grep '<script' evil.html)"

# Without a network, where that can be; what the browser complains of goes to chromium.err.
alone=()
is_root && unshare -n true 2>/dev/null && alone=(unshare -n)
browser=$(command -v "${CHROMIUM:-chromium}") || { echo "# Chromium is missing: the page was not shown"; finish; }
show() { # PAGE OPTIONS...
	local page=$1
	shift
	timeout 60 ${alone[@]+"${alone[@]}"} "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
		--enable-logging=stderr --user-data-dir="$T/profile" "$@" "file://$T/$page" 2>"$T/err" </dev/null
}
quiet() { ! grep -E 'CONSOLE|Content.Security.Policy' "$T/err"; }
if show page.html --dump-dom >dom && [ -s dom ]; then
	check 'shown: a table of processes' grep -q '<th>command</th>' dom
	check 'shown: pictures' test "$(grep -o '<svg' dom | wc -l)" = 2
	check 'shown: stacks' grep -q '#0  0x000000000042fcde in ?? ()' dom
	check 'shown: closed as it was opened' test "$(grep -o '<details' dom | wc -l)" = "$(grep -o '</details>' dom | wc -l)"
	check 'shown: it complains of nothing' quiet
	show page.html --window-size=1000,1400 --screenshot="$T/page.png" >/dev/null
	check 'shown: painted' test "$(stat -c %s page.png 2>/dev/null || echo 0)" -gt 10000
	show evil.html --dump-dom >dom
	check 'shown: a name like markup is text' grep -q '&lt;script&gt;alert(1)&lt;/script&gt;' dom
	check 'shown: a name like markup runs nothing' test -z "$(grep '<script' dom)"
	check 'shown: a name like markup: no complaints' quiet
	# That it would have been noticed.
	sed 's|</body>|<script>1</script><img src=http://127.0.0.1/x></body>|' page.html >forbidden.html
	show forbidden.html --dump-dom >dom
	check 'shown: what a page may not do is noticed' grep -q 'CONSOLE' "$T/err"
	[ -z "${KEEP_PAGE-}" ] || cp page.png page.html "$KEEP_PAGE"
else
	cp dom "$T/out"
	fail 'Chromium cannot show the page'
fi
finish
