/* SPDX-License-Identifier: Apache-2.0 */
/* Areas that the kernel watches over: guard regions, sealed and droppable memory. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul
#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL, MADV_GUARD_REMOVE: Linux 6.13 */
#define GUARD_REMOVE 103
#define SYS_MSEAL 462 /* Linux 6.10 */
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif

static sigjmp_buf jump;

static void on_fault(int sig)
{
	siglongjmp(jump, sig);
}

static int fault(volatile char *p)
{
	int sig;

	signal(SIGSEGV, on_fault);
	sig = sigsetjmp(jump, 1);
	if (!sig)
		(void)*p;
	return sig;
}

static char *map(size_t pages, int flags, int fd)
{
	char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static char *plain, *locked, *mapped;

static void setup_child(void)
{
	CHECK_INT(fault(plain + 9 * PAGE), SIGSEGV);
}

static void check_child(void)
{
	CHECK_INT(fault(plain + 9 * PAGE), SIGSEGV);
	CHECK_INT(plain[2 * PAGE], 'g');
}

static void setup_guards(void)
{
	int fd = CHECK_CALL(open("f", O_CREAT | O_RDWR, 0644));

	plain = map(20, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(plain, 'g', 20 * PAGE);
	if (madvise(plain, PAGE, GUARD_INSTALL) < 0)
		case_skip("no guard regions: %m");
	CHECK_CALL(madvise(plain + 9 * PAGE, 3 * PAGE, GUARD_INSTALL));
	locked = map(4, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	locked[PAGE] = 'l';
	CHECK_CALL(madvise(locked, PAGE, GUARD_INSTALL));
	mlock(locked, 4 * PAGE); /* says no when it comes to the guard page, but locked it is */
	CHECK_CALL(ftruncate(fd, 4 * PAGE));
	mapped = map(4, MAP_SHARED, fd);
	if (madvise(mapped + PAGE, PAGE, GUARD_INSTALL) < 0)
		mapped = NULL; /* Linux 6.15 */
	close(fd);
	case_child(setup_child, check_child);
}

static void check_guards(void)
{
	CHECK_INT(fault(plain), SIGSEGV);
	CHECK_INT(plain[PAGE], 'g');
	for (size_t i = 9; i < 12; i++)
		CHECK_INT(fault(plain + i * PAGE), SIGSEGV);
	CHECK_INT(plain[8 * PAGE] + plain[12 * PAGE], 2 * 'g');
	CHECK_INT(fault(locked), SIGSEGV);
	CHECK_INT(locked[PAGE], 'l');
	if (mapped) {
		CHECK_INT(fault(mapped + PAGE), SIGSEGV);
		CHECK_INT(mapped[2 * PAGE], 0);
	}
	CHECK_CALL(madvise(plain, PAGE, GUARD_REMOVE));
	CHECK_INT(plain[0], 0);
}

static char *sealed;

static void setup_sealed(void)
{
	char *p = map(6, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	memset(p, 's', 6 * PAGE);
	sealed = p + 2 * PAGE;
	CHECK_CALL(mprotect(sealed + PAGE, PAGE, PROT_READ));
	if (syscall(SYS_MSEAL, sealed, 2 * PAGE, 0) < 0)
		case_skip("no mseal(2): %m");
}

static void check_sealed(void)
{
	CHECK(munmap(sealed, PAGE) < 0 && errno == EPERM);
	CHECK(mprotect(sealed + PAGE, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EPERM);
	CHECK_INT(sealed[0] + sealed[PAGE], 2 * 's');
	sealed[1] = 't';
	CHECK_CALL(munmap(sealed - PAGE, PAGE));
	CHECK_CALL(munmap(sealed + 2 * PAGE, PAGE));
}

static char *droppable;

static void setup_droppable(void)
{
	droppable =
		mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
	if (droppable == MAP_FAILED)
		case_skip("no droppable memory: %m");
	memset(droppable, 'd', 4 * PAGE);
}

/* The kernel may take the pages away at any time, and gives none to a child. */
static void check_droppable(void)
{
	int status;
	pid_t pid;

	CHECK(droppable[0] == 0 || droppable[0] == 'd');
	memset(droppable, 'e', 4 * PAGE);
	pid = CHECK_CALL(fork());
	if (pid == 0)
		_exit(droppable[0]);
	CHECK_CALL(waitpid(pid, &status, 0));
	CHECK_INT(status, 0);
}

CASES({ "guard regions stay, of memory, locked memory and files", setup_guards, check_guards },
      { "sealed memory is sealed again", setup_sealed, check_sealed },
      { "droppable memory stays droppable", setup_droppable, check_droppable })
