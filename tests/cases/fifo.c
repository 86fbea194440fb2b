/* SPDX-License-Identifier: Apache-2.0 */
/* Named pipes: contents and ends. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int r, w, both;
static char text[100];

static void setup(void)
{
	CHECK_CALL(mkfifo("f", 0600));
	CHECK_CALL(mkfifo("g", 0600));
	both = CHECK_CALL(open("g", O_RDWR));
	r = CHECK_CALL(open("f", O_RDONLY | O_NONBLOCK));
	w = CHECK_CALL(open("f", O_WRONLY));
	CHECK(write(w, "in between", 10) == 10);
	CHECK(write(both, "itself", 6) == 6);
}

static void check(void)
{
	CHECK(read(r, text, 100) == 10 && !memcmp(text, "in between", 10));
	CHECK(read(r, text, 100) < 0 && errno == EAGAIN);
	CHECK(write(w, "x", 1) == 1 && read(r, text, 100) == 1);
	close(w);
	CHECK(read(r, text, 100) == 0);
	CHECK(read(both, text, 100) == 6 && !memcmp(text, "itself", 6));
	/* It is still the one that has the name. */
	w = CHECK_CALL(open("f", O_WRONLY | O_NONBLOCK));
	CHECK(write(w, "y", 1) == 1 && read(r, text, 100) == 1 && text[0] == 'y');
}

CASES({ "named pipes keep their contents and stay connected", setup, check })
