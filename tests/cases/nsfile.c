/* SPDX-License-Identifier: Apache-2.0 */
/* Open namespaces: they are those that the process is in. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "tests/lib/case.h"

static const char *const names[] = { "cgroup", "ipc", "mnt", "net", "pid", "user", "uts" };
static int fd[ARRAY_SIZE(names)];

static void setup(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		fd[i] = CHECK_CALL(open(path, O_RDONLY));
	}
}

static void check(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[64], mine[64] = "", is[64] = "";

		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		CHECK(readlink(path, mine, sizeof(mine) - 1) > 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd[i]);
		CHECK(readlink(path, is, sizeof(is) - 1) > 0);
		CHECK_TEXT(is, mine);
	}
}

CASES({ "open namespaces are those of the process", setup, check })
