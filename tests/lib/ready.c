/* SPDX-License-Identifier: Apache-2.0 */
/* child.N is there for each process but the first. */
#include <stdlib.h>
#include "tests/lib/proc.h"
#include "tests/lib/ready.h"

size_t ready_busy(const char *dir, struct oracle_busy *v, size_t room)
{
	size_t n = 0;

	for (int i = 0; i == 0 || test_exists("%s/child.%d", dir, i); i++) {
		char *path = test_text("%s/ready.%d", dir, i), *text = test_read(path, NULL);
		char *at = text;
		pid_t name = text ? strtol(text, &at, 10) : 0;

		for (; n < room && at && *at == ' '; n++) {
			v[n].name = name;
			v[n].start = strtoul(at, &at, 16);
			v[n].end = strtoul(at + 1, &at, 16);
		}
		free(text);
		free(path);
	}
	return n;
}

bool ready_has_verdict(const char *dir)
{
	for (int i = 0; i == 0 || test_exists("%s/child.%d", dir, i); i++)
		if (test_exists("%s/verdict.%d", dir, i))
			return true;
	return false;
}
