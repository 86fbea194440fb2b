/* SPDX-License-Identifier: Apache-2.0 */
/* The nice value of a session as a whole: sched(7), autogroup. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/lib/case.h"

static bool has_nice(const char *want)
{
	char *text = test_read("/proc/self/autogroup", NULL);

	return text && strstr(text, want);
}

static void set_nice(const char *nice)
{
	int fd = open("/proc/self/autogroup", O_WRONLY);

	if (fd < 0 || !has_nice(" nice "))
		case_skip("sessions have no nice value here");
	/* One every 100 ms, on the whole machine. */
	for (int i = 0; i < 200 && write(fd, nice, strlen(nice)) < 0; i++)
		usleep(20000);
	close(fd);
}

static void setup_child(void)
{
	CHECK_CALL(setsid());
	set_nice("5");
	CHECK(has_nice(" nice 5\n"));
}

static void check_child(void)
{
	CHECK(has_nice(" nice 5\n"));
}

static void setup(void)
{
	set_nice("11");
	CHECK(has_nice(" nice 11\n"));
	case_child(setup_child, check_child);
}

static void check(void)
{
	CHECK(has_nice(" nice 11\n"));
}

static void setup_negative(void)
{
	set_nice("-7");
	CHECK(has_nice(" nice -7\n"));
}

static void check_negative(void)
{
	CHECK(has_nice(" nice -7\n"));
}

CASES({ "each session keeps its nice value", setup, check },
      { "also a negative one", setup_negative, check_negative, .flags = CASE_ROOT })
