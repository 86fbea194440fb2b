/* SPDX-License-Identifier: Apache-2.0 */
/* Locked memory: areas one by one, all that there is, all that will be. The oracle compares the
 * flags of areas; what is mapped later shows what was said of the future. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul

static char *map(size_t pages)
{
	char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	CHECK(p != MAP_FAILED);
	return p;
}

static size_t in_core(char *p, size_t pages)
{
	unsigned char v[16];
	size_t n = 0;

	CHECK_CALL(mincore(p, pages * PAGE, v));
	for (size_t i = 0; i < pages; i++)
		n += v[i] & 1;
	return n;
}

static bool is_locked(char *p)
{
	return msync(p, PAGE, MS_INVALIDATE) < 0 && errno == EBUSY;
}

static void lock_all(int flags)
{
#ifdef __SANITIZE_ADDRESS__
	case_skip("with a sanitizer, which has terabytes of areas, mlockall(3) does nothing");
#endif
	if (mlockall(flags) < 0)
		case_skip("not so much memory may be locked: %m");
}

static void setup_future(void)
{
	lock_all(MCL_FUTURE);
}

static void check_future(void)
{
	char *p = map(8);

	CHECK(is_locked(p));
	CHECK_INT(in_core(p, 8), 8);
	CHECK_CALL(munlockall());
	CHECK(!is_locked(map(1)));
}

static void setup_on_fault(void)
{
	lock_all(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

static void check_on_fault(void)
{
	char *p = map(8);

	CHECK(is_locked(p));
	CHECK_INT(in_core(p, 8), 0);
	p[3 * PAGE] = 1;
	CHECK_INT(in_core(p, 8), 1);
}

static char *page;

static void setup_current(void)
{
	page = map(4);
	lock_all(MCL_CURRENT);
}

static void check_current(void)
{
	CHECK(is_locked(page));
	CHECK_INT(in_core(page, 4), 4);
	CHECK(!is_locked(map(8)));
}

/* The guard page of its stack is locked, and cannot be brought in; nor can what lies behind the end
 * of a file. */
static void *rest(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void setup_unreadable(void)
{
	int fd = CHECK_CALL(open("short", O_CREAT | O_RDWR, 0600));
	pthread_attr_t small;
	pthread_t t;

	CHECK_INT(write(fd, "short", 5), 5);
	lock_all(MCL_FUTURE);
	page = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(page != MAP_FAILED);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	CHECK(!pthread_create(&t, &small, rest, NULL));
}

static void check_unreadable(void)
{
	CHECK_TEXT(page, "short");
	CHECK(is_locked(page) && is_locked(page + PAGE));
	CHECK(is_locked(map(1)));
}

CASES({ "what is mapped later is locked", setup_future, check_future },
      { "what is mapped later is locked when it is touched", setup_on_fault, check_on_fault },
      { "all memory that there is stays locked, later memory is not", setup_current,
	check_current },
      { "what cannot be brought in is locked, too", setup_unreadable, check_unreadable })
