/* SPDX-License-Identifier: Apache-2.0 */
/* Event counters: their count, and whether a read takes all or one of it. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int plain, semaphore, empty;

static void setup(void)
{
	plain = CHECK_CALL(eventfd(41, EFD_CLOEXEC));
	semaphore = CHECK_CALL(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
	empty = CHECK_CALL(eventfd(0, EFD_NONBLOCK));
	CHECK(write(plain, &(uint64_t){ 1 }, 8) == 8);
}

static void check(void)
{
	uint64_t n = 0;

	CHECK(read(plain, &n, 8) == 8);
	CHECK_INT(n, 42);
	for (int i = 0; i < 3; i++) {
		CHECK(read(semaphore, &n, 8) == 8);
		CHECK_INT(n, 1);
	}
	CHECK(read(semaphore, &n, 8) < 0 && errno == EAGAIN);
	CHECK(read(empty, &n, 8) < 0 && errno == EAGAIN);
}

static int full;

static void setup_full(void)
{
	full = CHECK_CALL(eventfd(0, EFD_NONBLOCK));
	CHECK(write(full, &(uint64_t){ 0xfffffffffffffffe }, 8) == 8);
}

static void check_full(void)
{
	uint64_t n = 0;

	CHECK(write(full, &(uint64_t){ 1 }, 8) < 0 && errno == EAGAIN);
	CHECK(read(full, &n, 8) == 8);
	CHECK(n == 0xfffffffffffffffe);
}

CASES({ "event counters keep count, mode and flags", setup, check },
      { "an event counter that is full stays full", setup_full, check_full })
