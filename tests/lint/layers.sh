#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who may include whom. A folder is a layer: it may include itself and what stands behind it here, never upwards.
cd "$(dirname "$0")/../.." || exit 1
failed=0

# layer FOLDERS ALLOWED: regular expressions of what files under FOLDERS may include from this tree.
layer() {
	folders=$1 allowed=$2
	# shellcheck disable=SC2086  # a list of words
	found=$(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' --include='*.[ch]' $folders 2>/dev/null |
		grep -vE "\"($allowed)[^\"]*\"")
	[ -n "$found" ] || return 0
	echo "not ok - what files of $folders may include is: $allowed"
	printf '%s\n' "$found" | sed 's/^/# /'
	failed=1
}

layer engine/base 'engine/base/'
layer engine/model 'engine/(base|model)/|proto/'
# Kinds have no headers: nothing includes them, they do not include each other.
layer 'engine/capture engine/memory engine/plan engine/store engine/kinds' \
	'engine/(base|model|capture|memory|plan|store)/|proto/'
# What needs nothing but an image.
layer engine/look 'engine/(base|model|memory|store|look)/|proto/'
layer injector 'engine/(base|model|capture|memory|plan|store)/|injector/|proto/|libinproc/wire\.h|blob\.h'
# It lives in foreign processes: nothing of the engine but what needs no memory and no library.
[ ! -d libinproc ] || layer libinproc 'engine/base/|libinproc/'
layer tools 'engine/(base|look|model|capture|memory|plan|store)/|injector/|tools/|proto/|config\.h'

headers=$(find engine/kinds -name '*.h')
[ -z "$headers" ] || { echo "not ok - kinds have no headers: $headers"; failed=1; }
main=$(grep -rnE '^int main\(' --include='*.c' engine injector)
[ -z "$main" ] || { echo "not ok - libraries have no main(): $main"; failed=1; }
# The interpreter of the last stage knows no kind and no library.
blob=$(grep -hE '^#include' injector/blob/*.c | grep -vE '<(stdint|stddef|linux/|asm/|sys/syscall)|"engine/plan/sysvec\.h"')
[ -z "$blob" ] || { echo "not ok - the blob includes: $blob"; failed=1; }

[ "$failed" = 0 ] && echo "ok - every file includes only what its layer may"
exit "$failed"
