/* SPDX-License-Identifier: Apache-2.0 */
/* Mapped files: private and shared, read-only, past the end; memory files with names and seals. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul

static char *private, *shared, *read_only, *page[2];
static int fd;
static char buf[PAGE];

static int make(const char *name, size_t pages)
{
	int f = CHECK_CALL(open(name, O_CREAT | O_TRUNC | O_RDWR, 0644));

	for (size_t i = 0; i < pages; i++) {
		memset(buf, 'a' + i, PAGE);
		CHECK(write(f, buf, PAGE) == PAGE);
	}
	return f;
}

static char *map(int f, size_t pages, int prot, int flags, off_t offset)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, f, offset);

	CHECK(p != MAP_FAILED);
	return p;
}

static void setup(void)
{
	int f = make("f", 10);

	private = map(f, 10, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	shared = map(f, 5, PROT_READ | PROT_WRITE, MAP_SHARED, 5 * PAGE);
	close(f);
	f = CHECK_CALL(open("f", O_RDONLY));
	read_only = map(f, 10, PROT_READ, MAP_SHARED, 0);
	close(f);
	private[3] = '3';
	private[9 * PAGE] = '9';
	shared[0] = 'S';
	CHECK_CALL(mprotect(private + 2 * PAGE, PAGE, PROT_READ));
}

static void check(void)
{
	CHECK_INT(private[3], '3');
	CHECK_INT(private[4], 'a');
	CHECK_INT(private[9 * PAGE], '9');
	CHECK_INT(private[9 * PAGE + 1], 'j');
	CHECK_INT(shared[0], 'S');
	CHECK_INT(private[5 * PAGE], 'S');
	CHECK_INT(read_only[5 * PAGE], 'S');
	shared[PAGE] = 'T';
	CHECK_INT(read_only[6 * PAGE], 'T');
	CHECK_INT(private[6 * PAGE], 'T');
	fd = CHECK_CALL(open("f", O_RDONLY));
	CHECK(pread(fd, buf, 10, 6 * PAGE) == 10 && buf[0] == 'T' && buf[1] == 'g');
	CHECK(pread(fd, buf, 10, 0) == 10 && buf[3] == 'a');
	/* Opened for reading only: cannot be made writable. */
	CHECK(mprotect(read_only, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
	CHECK_CALL(mprotect(private + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	private[2 * PAGE] = 'x';
}

static void setup_end(void)
{
	int f = make("short", 2);

	private = map(f, 8, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	shared = map(f, 8, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	CHECK_CALL(ftruncate(f, PAGE + 100));
	private[50] = 'p';
	fd = f;
}

static void check_end(void)
{
	CHECK_INT(private[50], 'p');
	CHECK_INT(private[PAGE + 99], 'b');
	CHECK_INT(private[PAGE + 100], 0);
	CHECK_CALL(ftruncate(fd, 6 * PAGE));
	CHECK_INT(shared[5 * PAGE], 0);
	CHECK(pwrite(fd, "z", 1, 4 * PAGE) == 1);
	CHECK_INT(shared[4 * PAGE], 'z');
	CHECK_INT(private[4 * PAGE], 'z');
}

static int sealed, hole;

static void setup_memfd(void)
{
	fd = CHECK_CALL(memfd_create("a name", MFD_ALLOW_SEALING | MFD_CLOEXEC));
	CHECK_CALL(ftruncate(fd, 20 * PAGE));
	shared = map(fd, 20, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	private = map(fd, 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	shared[0] = 'm';
	shared[19 * PAGE] = 'n';
	private[PAGE] = 'p';
	CHECK_CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	CHECK_INT(lseek(fd, 77, SEEK_SET), 77);
	sealed = CHECK_CALL(memfd_create("sealed", MFD_ALLOW_SEALING));
	CHECK(write(sealed, "for ever", 8) == 8);
	CHECK_CALL(fcntl(sealed, F_ADD_SEALS,
			 F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
	read_only = map(sealed, 1, PROT_READ, MAP_SHARED, 0);
	/* Mapped only. */
	hole = CHECK_CALL(memfd_create("mapped", 0));
	CHECK_CALL(ftruncate(hole, 2 * PAGE));
	page[0] = map(hole, 1, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE);
	page[1] = map(hole, 1, PROT_READ, MAP_SHARED, PAGE);
	page[0][5] = '5';
	close(hole);
}

static void check_memfd(void)
{
	struct stat st;

	CHECK_INT(shared[0], 'm');
	CHECK_INT(shared[19 * PAGE], 'n');
	CHECK_INT(shared[10 * PAGE], 0);
	CHECK_INT(private[PAGE], 'p');
	CHECK_INT(private[0], 'm');
	shared[2 * PAGE] = 'q';
	CHECK(pread(fd, buf, 1, 2 * PAGE) == 1 && buf[0] == 'q');
	CHECK_INT(private[2 * PAGE], 'q');
	CHECK_INT(lseek(fd, 0, SEEK_CUR), 77);
	CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_INT(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK);
	CHECK(ftruncate(fd, PAGE) < 0 && errno == EPERM);
	CHECK_INT(fcntl(sealed, F_GET_SEALS),
		  F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	CHECK(pwrite(sealed, "x", 1, 0) < 0 && errno == EPERM);
	CHECK(pread(sealed, buf, 100, 0) == 8 && !memcmp(buf, "for ever", 8));
	CHECK(!memcmp(read_only, "for ever", 8));
	CHECK_CALL(fstat(sealed, &st));
	CHECK_INT(st.st_size, 8);
	page[0][6] = '6';
	CHECK(page[1][5] == '5' && page[1][6] == '6');
}

static void check_memfd_child(void)
{
	CHECK(EVENTUALLY(__atomic_load_n(shared, __ATOMIC_ACQUIRE) == 'P'));
	CHECK(pwrite(fd, "C", 1, 1) == 1);
}

static void setup_memfd_shared(void)
{
	fd = CHECK_CALL(memfd_create("both", 0));
	CHECK_CALL(ftruncate(fd, PAGE));
	shared = map(fd, 1, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	shared[2] = '2';
	case_child(NULL, check_memfd_child);
}

static void check_memfd_shared(void)
{
	CHECK_INT(shared[2], '2');
	__atomic_store_n(shared, 'P', __ATOMIC_RELEASE);
	CHECK(EVENTUALLY(__atomic_load_n(shared + 1, __ATOMIC_ACQUIRE) == 'C'));
}

CASES({ "mapped files keep private changes and show shared ones", setup, check },
      { "mappings past the end of a file stay so", setup_end, check_end },
      { "memory files keep content, seals, name and mappings", setup_memfd, check_memfd },
      { "a memory file is shared by parent and child", setup_memfd_shared, check_memfd_shared })
