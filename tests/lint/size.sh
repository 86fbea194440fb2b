#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# No file over 500 lines, no function over 60. What is bigger wants to be two things.
cd "$(dirname "$0")/../.." || exit 1

# Exceptions, "FILE" or "FILE:FUNCTION", each with its reason.
exceptions=''

# shellcheck disable=SC2046  # names without blanks
awk -v exceptions=" $exceptions " '
	function bad(what, text) {
		if (index(exceptions, " " what " "))
			return
		print "not ok - " text
		failed = 1
	}
	FNR == 1 { open = 0; prev = "" }
	FNR == 501 { bad(FILENAME, FILENAME ": more than 500 lines") }
	# Kernel style: a function opens and closes in the first column, and so does nothing else that opens.
	/^\{/ { open = FNR; name = prev; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
	/^\}/ && open {
		if (FNR - open - 1 > 60)
			bad(FILENAME ":" name, FILENAME ":" open ": " name "(): " FNR - open - 1 " lines")
		open = 0
	}
	/^[A-Za-z_]/ && !open { prev = $0 }
	END { if (!failed) print "ok - no file over 500 lines, no function over 60"; exit failed }
' $(find engine injector tools libinproc tests -name '*.[ch]' 2>/dev/null | LC_ALL=C sort)
