/* SPDX-License-Identifier: Apache-2.0 */
/* membarrier(2): who has registered may go on using it. */
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define GET_REGISTRATIONS (1 << 9) /* Linux 6.3 */

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

static void *wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void setup(void)
{
	pthread_t thread;

	if (membarrier(MEMBARRIER_CMD_QUERY) < 0)
		case_skip("no membarrier: %m");
	CHECK(!pthread_create(&thread, NULL, wait_for_ever, NULL));
	CHECK_INT(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), -1);
	CHECK_CALL(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE));
	CHECK_CALL(membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED));
}

static void check(void)
{
	CHECK_CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE));
	if (membarrier(GET_REGISTRATIONS) < 0)
		return; /* then the global one is not known, and nobody can tell */
	CHECK(membarrier(GET_REGISTRATIONS) & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
	CHECK_INT(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ), -1);
}

CASES({ "what was registered stays so, and nothing else", setup, check })
