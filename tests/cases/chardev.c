/* SPDX-License-Identifier: Apache-2.0 */
/* Character devices without state. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int null, zero, full, random_, urandom;
static char buf[16], *mapped;

static void setup(void)
{
	null = CHECK_CALL(open("/dev/null", O_RDWR | O_APPEND));
	zero = CHECK_CALL(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	full = CHECK_CALL(open("/dev/full", O_WRONLY));
	random_ = CHECK_CALL(open("/dev/random", O_RDONLY | O_NONBLOCK));
	urandom = CHECK_CALL(open("/dev/urandom", O_RDONLY));
	mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
	CHECK(mapped != MAP_FAILED);
	mapped[4096] = 'm';
}

static void check(void)
{
	static const char zeros[16];

	CHECK(write(null, buf, 16) == 16 && read(null, buf, 16) == 0);
	CHECK(fcntl(null, F_GETFL) & O_APPEND);
	memset(buf, 1, 16);
	CHECK(read(zero, buf, 16) == 16 && !memcmp(buf, zeros, 16));
	CHECK(write(full, buf, 1) < 0 && errno == ENOSPC);
	CHECK(read(urandom, buf, 16) == 16 && memcmp(buf, zeros, 16));
	memset(buf, 0, 16);
	CHECK(read(random_, buf, 16) == 16 && memcmp(buf, zeros, 16));
	CHECK_INT(mapped[0], 0);
	CHECK_INT(mapped[4096], 'm');
}

CASES({ "null, zero, full, random and urandom work as before", setup, check })
