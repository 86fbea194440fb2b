/* SPDX-License-Identifier: Apache-2.0 */
/* Huge pages that are asked for (MAP_HUGETLB): private, shared with a child, in a memory file. The
 * machine is allowed to make some of its free memory as long as the stories are told. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define HUGE (2ul << 20)
#define LIMIT "/proc/sys/vm/nr_overcommit_hugepages"
#define N 64

static long limit_before = -1;
static pid_t who_set_it;

static void set_limit(long n)
{
	FILE *f = fopen(LIMIT, "we");

	if (f)
		fprintf(f, "%ld", n);
	if (f)
		fclose(f);
}

__attribute__((constructor)) static void allow(int argc, char **argv)
{
	char *text;
	int lock;

	if (geteuid() != 0 || (argc > 1 && !strcmp(argv[1], "@target")))
		return;
	/* Others that change it wait, until the end of this program. */
	lock = open(LIMIT, O_RDONLY | O_CLOEXEC);
	flock(lock, LOCK_EX);
	text = test_read(LIMIT, NULL);
	if (!text || atol(text) >= N) {
		free(text);
		return;
	}
	limit_before = atol(text);
	who_set_it = getpid();
	set_limit(N);
	free(text);
}

__attribute__((destructor)) static void put_back(void)
{
	if (limit_before >= 0 && who_set_it == getpid())
		set_limit(limit_before);
}

static char *map(size_t n, int flags, int fd)
{
	char *p = mmap(NULL, n * HUGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		case_skip("no huge pages: %m");
	return p;
}

static char *private, *loose, *shared, *mine;
static int fd;

static void setup(void)
{
	private = map(4, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	private[5] = 'a';
	private[3 * HUGE + 7] = 'b';
	CHECK_CALL(mprotect(private + 3 * HUGE, HUGE, PROT_READ));
	loose = map(100, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1);
	loose[50 * HUGE] = 'l';
}

static void check(void)
{
	CHECK_INT(private[5], 'a');
	CHECK_INT(private[HUGE], 0);
	CHECK_INT(private[3 * HUGE + 7], 'b');
	private[2 * HUGE] = 'c';
	CHECK_CALL(mprotect(private + 3 * HUGE, HUGE, PROT_READ | PROT_WRITE));
	CHECK_INT(loose[50 * HUGE], 'l');
	CHECK(munmap(private, 4096) < 0 && errno == EINVAL);
	CHECK_CALL(munmap(private, HUGE));
}

static void check_child(void)
{
	CHECK(EVENTUALLY(__atomic_load_n(&shared[0], __ATOMIC_ACQUIRE) == 'p'));
	CHECK_INT(private[1], 'c');
	__atomic_store_n(&shared[2 * HUGE], 'c', __ATOMIC_RELEASE);
}

static void setup_child(void)
{
	private[1] = 'c';
}

static void setup_shared(void)
{
	shared = map(4, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	private = map(1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	shared[3 * HUGE] = 's';
	private[1] = 'p';
	CHECK_CALL(mprotect(shared + 3 * HUGE, HUGE, PROT_READ));
	case_child(setup_child, check_child);
}

static void check_shared(void)
{
	CHECK_INT(shared[3 * HUGE], 's');
	CHECK_INT(private[1], 'p');
	__atomic_store_n(&shared[0], 'p', __ATOMIC_RELEASE);
	CHECK(EVENTUALLY(__atomic_load_n(&shared[2 * HUGE], __ATOMIC_ACQUIRE) == 'c'));
}

static void setup_memfd(void)
{
	fd = memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING);
	if (fd < 0)
		case_skip("no memory file of huge pages: %m");
	CHECK_CALL(ftruncate(fd, 4 * HUGE));
	shared = map(4, MAP_SHARED, fd);
	mine = map(2, MAP_PRIVATE, fd);
	shared[HUGE] = 's';
	mine[2] = 'm';
	CHECK_CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
}

static void check_memfd(void)
{
	struct stat st;

	CHECK_INT(shared[HUGE], 's');
	CHECK_INT(mine[HUGE], 's');
	CHECK_INT(mine[2], 'm');
	CHECK_INT(shared[2], 0);
	CHECK_CALL(fstat(fd, &st));
	CHECK_INT(st.st_blksize, HUGE);
	CHECK_INT(st.st_size, 4 * HUGE);
	CHECK_INT(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK);
}

CASES({ "private huge pages come back", setup, check },
      { "huge pages are shared by parent and child", setup_shared, check_shared },
      { "a memory file of huge pages keeps size, content and seals", setup_memfd, check_memfd })
