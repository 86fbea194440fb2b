/* SPDX-License-Identifier: Apache-2.0 */
/* What a program said of its memory: advice, locks, names. The oracle compares the flags of every
 * area in smaps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

#ifndef PR_SET_VMA /* Linux 5.17 */
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#define PAGE 4096ul

static char *fresh(void)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* A page of its own, so that no two areas merge. */
	CHECK(p != MAP_FAILED);
	CHECK_CALL(mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE));
	p[PAGE] = 'v';
	return p + PAGE;
}

static const int advices[] = {
	MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_SEQUENTIAL,
	MADV_RANDOM,   MADV_DONTFORK,   MADV_DONTDUMP,  MADV_WIPEONFORK,
};
static char *advised[ARRAY_SIZE(advices)], *locked, *on_fault, *named;

static void setup(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++) {
		advised[i] = fresh();
		if (madvise(advised[i], PAGE, advices[i]) < 0)
			CHECK_INT(errno, EINVAL);
	}
	locked = fresh();
	on_fault = fresh();
	CHECK_CALL(mlock(locked, PAGE));
	CHECK_CALL(mlock2(on_fault, PAGE, MLOCK_ONFAULT));
	named = fresh();
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, named, PAGE, "a name");
}

static void check(void)
{
	int status;
	pid_t pid;

	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		CHECK_INT(advised[i][0], 'v');
	CHECK_INT(locked[0], 'v');
	pid = CHECK_CALL(fork());
	if (pid == 0)
		_exit(advised[7][0]);
	CHECK_CALL(waitpid(pid, &status, 0));
	CHECK_INT(status, 0);
	pid = CHECK_CALL(fork());
	if (pid == 0)
		_exit(advised[5][0]);
	CHECK_CALL(waitpid(pid, &status, 0));
	CHECK(WIFSIGNALED(status));
}

CASES({ "advice, locks and names of memory stay", setup, check })
