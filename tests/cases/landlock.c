/* SPDX-License-Identifier: Apache-2.0 */
/* Domains of Landlock, which nothing shows, are noticed: of a process, of one of its threads, of
 * what it inherits one from. */
#include <linux/landlock.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

/* Nothing that the harness needs. */
static void confine(void)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SOCK };
	int fd = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

	if (fd < 0)
		case_skip("no Landlock: %m");
	CHECK_CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK_CALL(syscall(SYS_landlock_restrict_self, fd, 0));
	close(fd);
}

static void *thread(void *arg)
{
	confine();
	*(bool *)arg = true;
	for (;;)
		pause();
	return NULL;
}

static void setup_thread(void)
{
	static volatile bool ready;
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, thread, (void *)&ready));
	CHECK(EVENTUALLY(ready));
}

static void setup_child(void)
{
	case_child(confine, NULL);
}

/* Whoever dumps it has another uid. */
static void confine_user(void)
{
	CHECK_CALL(syscall(SYS_setresgid, 65534, 65534, 65534));
	CHECK_CALL(syscall(SYS_setresuid, 65534, 65534, 65534));
	confine();
}

static void setup_user(void)
{
	case_child(confine_user, NULL);
}

#define WORDS                                              \
	{                                                  \
		"CKPT-E0262", "it is in a Landlock domain" \
	}

CASES({ "a process in a Landlock domain is named", confine, NULL, .refused = WORDS },
      { "a thread in one is named", setup_thread, NULL, .refused = WORDS },
      { "a child in one is named", setup_child, NULL, .refused = WORDS },
      { "another user's in one is named", setup_user, NULL, .flags = CASE_ROOT, .refused = WORDS })
