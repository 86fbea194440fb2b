/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals on a parent's death. That of the root would come as soon as a `restore -d` ends, which is
 * not the parent that it was for: it is left out there, and named.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "tests/lib/case.h"

static volatile sig_atomic_t came;

static void count(int sig)
{
	(void)sig;
	came++;
}

static int asked(void)
{
	int sig = -1;

	CHECK_CALL(prctl(PR_GET_PDEATHSIG, &sig));
	return sig;
}

static void setup(void)
{
	signal(SIGUSR1, count);
	CHECK_CALL(prctl(PR_SET_PDEATHSIG, SIGUSR1));
}

static void check(void)
{
	test_sleep_ms(100); /* ckpt has ended meanwhile */
	CHECK_INT(came, 0);
	CHECK(asked() == SIGUSR1 || asked() == 0);
}

/* The parent of a child is one that lives. */
static void check_child(void)
{
	CHECK_INT(came, 0);
	CHECK_INT(asked(), SIGUSR1);
}

static void setup_child(void)
{
	case_child(setup, check_child);
}

CASES({ "the end of ckpt is no death of a parent", setup, check, .differs = { "*/pdeathsig" } },
      { "a child keeps the signal of its parent's death", setup_child, NULL })
